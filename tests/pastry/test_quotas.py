"""
What one peer may take of a node's time and room.
"""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.errors import Refused
from post.ids import RING, Contact, Id, Key
from post.pastry.config import PastryConfig
from post.pastry.gossip import Compare
from post.pastry.messages import Heartbeat, Probe, Route, Taken
from post.pastry.quotas import (
    ANSWERS,
    ROUTED,
    ROUTED_LIMIT,
    SAID,
    SAID_LIMIT,
    WINDOW_S,
    Quota,
    Remembered,
    Shares,
    fair_share,
)
from post.pastry.roster import Roster
from post.relay.messages import Inquire, Inquired
from post.rpc import Failed
from post.wire import Message, RefusalCode, encode
from tests.pastry import spoken
from tests.pastry.rings import Member, Parcel, Rings
from tests.pastry.strategies import node


class QuotaTests(SynchronousTestCase):
    """
    Tests of L{Quota}.
    """

    def test_window(self) -> None:
        """
        Each has as much; what is too much is so until the window ends, and nothing is kept of it after that.
        """
        quota = Quota(clock := Clock(), 3)
        self.assertEqual([True] * 3 + [False] * 2, [quota.take(node(1)) for _ in range(5)])
        self.assertTrue(quota.take(node(2)))
        clock.advance(WINDOW_S)
        self.assertTrue(quota.take(node(1)))
        self.assertEqual({node(1): 1}, quota._counts)

    def test_clock_set_back(self) -> None:
        """
        A clock that was set back shuts nobody out.
        """
        clock = Clock()
        clock.advance(1000)
        quota = Quota(clock, 1)
        self.assertEqual([True, False], [quota.take(node(1)) for _ in range(2)])
        clock.rightNow = 10.0
        self.assertTrue(quota.take(node(1)))


class SharesTests(SynchronousTestCase):
    """
    Tests of L{Shares}.
    """

    def fill(self, shares: Shares, *points: int) -> list[int]:
        """
        Let each of C{points} in turn take what it gets.

        @return: how much that was.
        """
        got = dict.fromkeys(points, 0)
        while there := [point for point in points if shares.has_room(node(point))]:
            for point in there:
                if shares.has_room(node(point)):
                    shares.take(node(point))
                    got[point] += 1
        return list(got.values())

    def test_one(self) -> None:
        """
        One peer fills half; who comes then finds room, and so does the one after that.
        """
        shares = Shares(1000, node(0))
        self.assertEqual([500], self.fill(shares, 1))
        self.assertEqual([250], self.fill(shares, 2))
        self.assertEqual([125], self.fill(shares, 3))
        self.assertTrue(shares.has_room(node(4)))

    def test_own(self) -> None:
        """
        What is our own needs nothing of what the others have, nor they of ours.
        """
        shares = Shares(1000, node(0))
        self.assertEqual([1000, 500], self.fill(shares, 0) + self.fill(shares, 1))
        self.assertEqual(1500, len(shares))
        shares.give(node(0))
        self.assertTrue(shares.has_room(node(0)))

    @given(st.lists(st.integers(0, 4), max_size=60))
    def test_bounded(self, takers: list[int]) -> None:
        """
        Whoever takes what in which order: all together never have more than there is, and all is given back.
        """
        shares = Shares(10, node(0))
        taken = []
        for point in takers:
            if shares.has_room(node(point)):
                shares.take(node(point))
                taken.append(point)
        self.assertLessEqual(sum(point != 0 for point in taken), 10)
        self.assertEqual(len(taken), len(shares))
        for point in taken:
            shares.give(node(point))
        self.assertEqual((0, {}), (len(shares), shares._by))


class RememberedTests(SynchronousTestCase):
    """
    Tests of L{Remembered}.
    """

    def test_flood(self) -> None:
        """
        Whatever one brings, what others brought before is not forgotten for it, and it is no more than the limit.
        """
        remembered = Remembered(100)
        for number in range(20):
            remembered.add(("honest", number), node(number % 4))
        for number in range(10_000):
            remembered.add(("flood", number), node(9))
            self.assertLessEqual(len(remembered), 100)
        self.assertTrue(all(("honest", number) in remembered for number in range(20)))
        self.assertIn(("flood", 9_999), remembered)
        self.assertNotIn(("flood", 0), remembered)

    def test_oldest(self) -> None:
        """
        Of one who brought too much the oldest is forgotten.
        """
        remembered = Remembered(100)
        for number in range(101):
            remembered.add(number, node(1))
        self.assertEqual(list(range(11, 101)), list(remembered._by))

    @given(st.lists(st.integers(1, 1000), min_size=1, max_size=20), st.integers(20, 500))
    def test_fair_share(self, wanted: list[int], most: int) -> None:
        """
        It is as large as can be: all together have no more than there is, and would with one more each.
        """
        share = fair_share(wanted, most)
        self.assertLessEqual(sum(min(each, share) for each in wanted), most)
        more = sum(min(each, share + 1) for each in wanted)
        self.assertTrue(more > most or share == max(wanted))


class QuotasTests(SynchronousTestCase):
    """
    The same in a ring of four.
    """

    def setUp(self) -> None:
        self.rings = Rings(4, 4, PastryConfig(held_limit=100))
        self.rings.formed()
        self.assertEqual([], self.rings.settle(15))
        self.victim, self.flooder, self.other = self.rings.members[:3]

    def route(self, number: int, origin: Member, target: Member) -> Route:
        """
        Something to be brought to C{target}.
        """
        return Route(Key(Id(target.id)), number, 0, origin.contact, encode(Parcel(number)))

    def test_all_kinds(self) -> None:
        """
        Each message of Pastry is under some quota.
        """
        kinds = [*spoken.PASTRY, Inquire, Inquired]
        self.assertEqual(sorted(map(str, kinds)), sorted(map(str, (*ROUTED, *SAID, *ANSWERS))))

    def test_said(self) -> None:
        """
        Who says too much is refused as overload, and counted; another one is answered meanwhile, and it later too.
        """
        question = self.flooder.pastry._question(False)
        for _ in range(SAID_LIMIT + 10):
            self.flooder.rpc.tell(self.victim.contact, Heartbeat(bytes(8)))
        self.rings.advance(1)
        self.assertGreaterEqual(self.victim.complaints.counts["more messages than its share"], 10)
        refused = self.failureResultOf(self.ask(self.flooder, question), Refused).value
        self.assertEqual(RefusalCode.OVERLOADED, refused.code)
        self.successResultOf(self.ask(self.other, question))
        self.rings.advance(WINDOW_S)
        self.successResultOf(self.ask(self.flooder, question))

    def ask(self, source: Member, question: Probe) -> Deferred[Message]:
        """
        Ask the victim.
        """
        answer = source.rpc.ask(self.victim.contact, question)
        self.rings.advance(0.5)
        return answer

    def test_routed(self) -> None:
        """
        Who sends more messages than its share has them refused; it suspects nobody for it, and they arrive later.
        """
        count = ROUTED_LIMIT + 100
        for number in range(count):
            if number % 50 == 0:
                self.rings.advance(0.1)
            self.flooder.pastry.route(Key(Id(self.victim.id)), Parcel(number))
        self.assertNotIn(self.victim.id, self.flooder.pastry.ring.suspects)
        self.assertGreater(self.victim.complaints.counts["more messages than its share"], 0)
        self.other.pastry.route(Key(Id(self.victim.id)), Parcel(count))
        self.rings.advance(0.1)
        self.assertIn((Key(Id(self.victim.id)), count), self.victim.recorder.delivered)
        self.rings.advance(WINDOW_S + 1)
        arrived = {number for _, number in self.victim.recorder.delivered}
        self.assertEqual(set(range(count + 1)), arrived)

    def test_held(self) -> None:
        """
        One peer whose messages have to wait leaves room for those of others, and for our own.
        """
        away = self.rings.members[3]
        self.victim.pastry.ring.suspects.add(away.id)
        key = Key(Id(away.id))
        answers = [
            self.flooder.rpc.ask(self.victim.contact, self.route(number, self.flooder, away)) for number in range(100)
        ]
        self.rings.advance(0.3)
        refusals = [self.failureResultOf(answer, Refused).value.code for answer in answers[50:]]
        self.assertEqual([RefusalCode.OVERLOADED] * 50, refusals)
        self.assertEqual(50, self.victim.complaints.counts["more messages to hold than its share"])
        asked = self.other.rpc.ask(self.victim.contact, self.route(1000, self.other, away))
        self.victim.pastry.route(key, Parcel(2000))
        self.rings.advance(0.3)
        self.assertEqual(Taken(held=True), self.successResultOf(asked))
        self.victim.pastry.suspect(away.contact)
        self.rings.advance(1)
        arrived = {number for _, number in away.recorder.delivered}
        self.assertEqual({*range(50), 1000, 2000}, arrived)
        self.assertEqual(0, len(self.victim.pastry._held))

    def test_number_seen(self) -> None:
        """
        Who saw the number of a message cannot have another one, under that number, taken for it.
        """
        forged = Route(Key(Id((self.victim.id + 1) % RING)), 7, 0, self.other.contact, encode(Parcel(1)))
        self.flooder.rpc.tell(self.victim.contact, forged)
        self.rings.advance(0.2)
        self.other.rpc.tell(self.victim.contact, self.route(7, self.other, self.victim))
        self.rings.advance(0.2)
        self.assertEqual([1, 7], [number for _, number in self.victim.recorder.delivered])

    def test_busy_is_no_ring_too_large(self) -> None:
        """
        A node whose questions about rosters are refused as overload does not conclude that the ring is too large for
        one, as it does if nobody else has any.
        """
        for code, refusals in ((RefusalCode.OVERLOADED, 0), (RefusalCode.NOT_READY, 1)):
            for member in self.rings.members[1:]:
                member.rpc.serve(Compare, partial(_answer, Failed(code)))
            gossip = self.victim.pastry._gossip
            self.rings.finish(Deferred.fromCoroutine(gossip._compare(Roster(self.victim.contact))))
            self.assertEqual(refusals, gossip._refusals)


def _answer(answer: Message, peer: Contact, question: Message) -> Message:
    return answer
