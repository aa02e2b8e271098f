"""
Tests for L{post.pastry.indirect}: rings in which not everybody reaches everybody.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from post.ids import Contact, NodeId
from post.pastry.config import PastryConfig
from post.pastry.indirect import AT_ONCE, RUNNING_LIMIT, Indirect
from post.pastry.messages import Rumor
from post.pastry.news import News
from post.relay.messages import Inquire, Inquired, Outcome
from post.rpc import ASK, TELL
from post.sim.reach import Reaches, unreachable
from post.wire import Priority, RefusalCode, decode
from tests.pastry.rings import Member, Rings
from tests.pastry.test_rings import RingCase

SMALL = PastryConfig(half=3)


def apart(*pairs: tuple[Member, Member]) -> Reaches:
    """
    Neither of two can dial the other.
    """
    cut = {frozenset((one.id, other.id)) for one, other in pairs}
    return lambda source, target: frozenset((source, target)) not in cut


def indirect(rings: Rings) -> set[tuple[NodeId, NodeId]]:
    """
    Who reaches whom by way of others.
    """
    return {(member.id, contact.id) for member in rings.living() for contact in member.relay.indirect()}


class SplitTests(RingCase):
    """
    Leaf sets are not split.
    """

    def test_every_pair(self) -> None:
        """
        Whichever two of a small ring do not reach each other: leaf sets are the true ones, and everything arrives.
        """
        for one, other in combinations(range(5), 2):
            rings = Rings(one * 5 + other, 5, SMALL)
            rings.network.reaches = apart((rings.members[one], rings.members[other]))
            rings.boot()
            self.assertRight(rings, 40, 20)
            between = {(rings.members[one].id, rings.members[other].id)}
            self.assertTrue(indirect(rings) <= between | {(high, low) for low, high in between})

    def test_neighbors(self) -> None:
        """
        Two neighbors on the ring reach each other by way of a third node, and each is root of its own keys.
        """
        rings = Rings(3, 20, SMALL)
        one = rings.members[6]
        other = rings.by_id[rings.truth(one, rings.members)[0][0]]
        rings.network.reaches = apart((one, other))
        rings.formed()
        self.assertRight(rings, 30)
        self.assertEqual({(one.id, other.id), (other.id, one.id)}, indirect(rings))

    def test_many_pairs(self) -> None:
        """
        The same where a tenth of all pairs are apart, and where one of two can dial the other: then there are links.
        """
        for one_way in (False, True):
            rings = Rings(5, 30, SMALL)
            rings.network.reaches = unreachable(2, 10, one_way)
            rings.boot(seeds=rings.seeds(8))
            self.assertRight(rings, 60)
            self.assertEqual(one_way, not indirect(rings))

    def test_rosters(self) -> None:
        """
        Where everybody knows everybody, nobody tells all that somebody is dead whom it merely does not reach.
        """
        rings = Rings(8, 40, SMALL)
        rings.network.reaches = unreachable(2, 5)
        rings.boot(seeds=rings.seeds(8))
        self.assertEqual([], rings.settle(60))
        rings.advance(120)
        told: list[News] = []

        def note(source: NodeId, target: NodeId, frame: bytes) -> None:
            message = decode(frame[5:]) if frame[0] == TELL else None
            if isinstance(message, News):
                told.append(message)

        rings.network.observer = note
        for member in rings.members:
            for other in rings.members:
                if other is not member:
                    member.pastry.suspect(other.contact)
        rings.advance(60)
        self.assertEqual([], [entry for news in told for entry in news.entries if entry.gone])
        self.assertEqual({len(rings.members)}, {len(member.pastry.members()) for member in rings.members})


class Asking:
    """
    Stands for L{Indirect} while others are asked, whose C{answer} takes as long as a test says.
    """

    def __init__(self) -> None:
        self.answer: Deferred[bool] = Deferred()

    async def seek(self, contact: Contact) -> bool:
        """
        What they say.
        """
        return await self.answer

    def doubt(self, node: NodeId) -> None:
        """
        See L{Indirect.doubt}.
        """

    def rumored(self, peer: Contact, gone: Iterable[NodeId], confirmed: int) -> None:
        """
        See L{Indirect.rumored}.
        """

    def buried(self, node: NodeId, was_member: bool) -> int:
        """
        See L{Indirect.buried}.
        """
        return 0


class AskingTests(SynchronousTestCase):
    """
    Tests for L{Indirect}: who asks whom, and what is believed.
    """

    def ring(self, count: int = 30) -> Rings:
        """
        One that has come to rest, and says who asks whom.
        """
        rings = Rings(11, count, SMALL)
        rings.formed()
        self.assertEqual([], rings.settle(30))
        rings.advance(30)
        self.asked: list[tuple[NodeId, NodeId]] = []
        rings.network.observer = self._note
        return rings

    def _note(self, source: NodeId, target: NodeId, frame: bytes) -> None:
        if frame[:1] == bytes([ASK]) and frame[9:11] == b"\0\x77":
            self.asked.append((source, target))

    def test_at_rest(self) -> None:
        """
        Where everybody reaches everybody, and nobody dies, nobody asks.
        """
        rings = self.ring()
        rings.advance(600)
        self.assertEqual([], self.asked)

    def test_death(self) -> None:
        """
        When a node dies, those next to it ask three others each, the rest of its leaf set one or two, and nobody else,
        however many have links with it.
        """
        for silent in (False, True):
            rings = self.ring()
            dead = rings.members[10]
            after, before = rings.truth(dead)
            dead.crash(silent)
            self.assertEqual([], rings.settle(40))
            rings.advance(60)
            self.assertLessEqual(len(self.asked), 2 * AT_ONCE + 6)
            self.assertTrue({source for source, _ in self.asked} <= {*after, *before})
            self.assertTrue({source for source, _ in self.asked} & {after[0], before[0]})

    def test_rumor_of_a_liar(self) -> None:
        """
        However many a single node says to know who say so, it cannot have somebody buried who lives, neither by those
        who reach it nor by those who do not.
        """
        rings = self.ring(10)
        one, other = rings.members[1], rings.members[2]
        for _ in range(3):
            liar = next(each for each in rings.members if each.id in one.pastry.ring.leaves and each is not other)
            rings.network.block(one.id, other.id)
            rings.network.block(other.id, one.id)
            liar.rpc.tell(one.contact, Rumor((other.id,), 255), Priority.URGENT)
            rings.advance(20)
        self.assertEqual([], rings.wrong())

    def test_says_that_it_reaches(self) -> None:
        """
        Who says that it reaches somebody, and does not, is found out; another one is the relay.
        """
        rings = Rings(5, 5, SMALL)
        one, other, liar, *_ = rings.members
        rings.network.reaches = apart((one, other), (liar, other))
        liar_says = Inquired(Outcome.REACHED)
        rings.boot(members=rings.members[1:])
        rings.advance(30)
        liar.rpc.serve(Inquire, lambda peer, question: liar_says)
        one.boot(rings.seeds(5))
        self.assertEqual([], rings.settle(60))
        self.assertIn((one.id, other.id), indirect(rings))

    def test_back_meanwhile(self) -> None:
        """
        Who is back while others are still asked is not buried.
        """
        rings = self.ring(10)
        one = rings.members[1]
        other = rings.by_id[rings.truth(one)[0][2]]
        asking = Asking()
        one.pastry.liveness.indirect = cast(Indirect, asking)
        other.freeze()
        told = one.pastry.liveness.examine(other.contact)
        rings.advance(3)
        self.assertNoResult(told)
        other.thaw()
        rings.advance(0.5)
        asking.answer.callback(False)
        rings.advance(1)
        self.assertTrue(self.successResultOf(told))
        self.assertIn(other.id, one.pastry.ring.leaves)

    def test_inquire(self) -> None:
        """
        A node answers what it knows: that it reaches somebody, that it does not, or nothing, where it would be no
        relay.
        """
        rings = self.ring(6)
        asker, asked, third, dead, distant, _ = rings.members
        dead.crash()
        rings.advance(30)

        def outcome(contact: Contact) -> int:
            answer = rings.finish(asker.rpc.ask(asked.contact, Inquire(contact)))
            assert isinstance(answer, Inquired)
            return answer.outcome

        self.assertEqual(Outcome.REACHED, outcome(third.contact))
        self.assertEqual(Outcome.DEAD, outcome(dead.contact))
        self.assertEqual(Outcome.UNKNOWN, outcome(asked.contact))
        self.assertEqual(Outcome.UNKNOWN, outcome(asker.contact))
        rings.finish(Deferred.fromCoroutine(asked.relay.open(distant.contact, [third.contact])))
        self.assertEqual(Outcome.UNKNOWN, outcome(distant.contact))

    def test_flood(self) -> None:
        """
        Of many questions of one peer about nodes that nobody knows, half of what can be looked into at once is; the
        others are refused, and another peer is answered meanwhile.
        """
        rings = self.ring(3)
        asker, asked, third = rings.members
        refused: list[Failure] = []
        for _ in range(3 * RUNNING_LIMIT):
            nobody = Contact(rings.point(), ("nowhere:1",), 1)
            asker.rpc.ask(asked.contact, Inquire(nobody)).addErrback(refused.append)
        self.assertEqual(Inquired(Outcome.REACHED), rings.finish(third.rpc.ask(asked.contact, Inquire(asker.contact))))
        rings.advance(10)
        self.assertEqual(3 * RUNNING_LIMIT - RUNNING_LIMIT // 2, len(refused))
        self.assertEqual({RefusalCode.OVERLOADED}, {getattr(each.value, "code", None) for each in refused})

    def test_far_away(self) -> None:
        """
        For an application that gets no answer from a node far away on the ring, a way around is looked for.
        """
        rings = self.ring(20)
        one = rings.members[3]
        far = next(each for each in rings.members if each is not one and each.id not in one.pastry.ring.leaves)
        rings.network.reaches = apart((one, far))
        rings.network.block(one.id, far.id)
        rings.network.block(far.id, one.id)
        rings.advance(15)
        one.pastry.suspect(far.contact)
        rings.advance(15)
        self.assertTrue(one.relay.is_indirect(far.id))
