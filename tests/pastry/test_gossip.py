"""
Tests for L{post.pastry.gossip}: in small rings everybody knows everybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from post.errors import PeerError
from post.ids import BITS, DIGITS, Contact, Id, NodeId
from post.pastry import gossip, roster
from post.pastry.gossip import AHEAD_MS, ROUND_S, UNASKED_LIMIT, Compare, Compared
from post.pastry.news import BATCH_LIMIT, RECENT_LIMIT, Heard, News, Report
from post.pastry.roster import Entry
from post.rpc import ASK, TELL
from post.wire import Message, decode, encode
from tests.pastry.rings import Member, Rings
from tests.pastry.strategies import nodes
from tests.pastry.test_rings import SMALL, RingCase


class GossipCase(RingCase):
    """
    Rings that are larger than a leaf set, and small.
    """

    def formed(self, seed: int, count: int = 20) -> Rings:
        """
        A ring of which everybody knows everybody.
        """
        rings = Rings(seed, count, SMALL)
        rings.formed()
        self.assertKnown(rings, 300)
        return rings

    def assertKnown(self, rings: Rings, limit_s: float, living: Sequence[Member] | None = None) -> None:
        """
        Within C{limit_s} each roster has those that live, no more and no less, under the addresses that they have.
        """
        rings.until(lambda: not self.unknown(rings, living), limit_s)
        self.assertEqual([], self.unknown(rings, living))

    def unknown(self, rings: Rings, living: Sequence[Member] | None = None) -> list[str]:
        """
        Which rosters are not right.
        """
        living = living or rings.living()
        there = {member.id for member in living}
        wrong = []
        for member in living:
            listed = member.pastry.ring.roster
            if listed is None or {*listed, member.id} != there or len(listed) != len(there):
                wrong.append(f"{member.id} has {None if listed is None else len(listed)} of {len(there)}")
            elif any(member.pastry.ring.contacts[each] != rings.by_id[each].contact for each in listed):
                wrong.append(f"{member.id} has wrong contacts")
        return wrong

    def said(self, rings: Rings, seconds: float) -> Counter[type[Message]]:
        """
        How many messages of each kind are told or asked in that time.
        """
        found: Counter[type[Message]] = Counter()

        def observe(source: NodeId, target: NodeId, frame: bytes) -> None:
            if frame[0] in (TELL, ASK):
                found[type(decode(frame[9 if frame[0] == ASK else 5 :]))] += 1

        rings.network.observer = observe
        rings.advance(seconds)
        rings.network.observer = None
        return found


class RosterTests(GossipCase):
    """
    Who is in the rosters.
    """

    def test_one_hop(self) -> None:
        """
        Of sixty nodes each knows all soon after the last has come, and whatever is sent is one hop away.
        """
        rings = Rings(1, 60)
        rings.formed()
        self.assertKnown(rings, 120)
        self.assertEqual([], rings.misrouted(200))
        self.assertTrue(sum(len(member.recorder.passed) for member in rings.members) <= 200)
        self.assertEqual([], rings.overgrown())
        self.assertEqual({60}, {len(member.pastry.members()) for member in rings.members})
        self.assertEqual([], self.flushLoggedErrors())

    def test_size(self) -> None:
        """
        The size of the ring is known exactly, unless the leaf set contradicts by far.
        """
        rings = Rings(2, 40)
        rings.formed()
        self.assertKnown(rings, 120)
        self.assertIn(40, [member.pastry.size() for member in rings.members])
        for pastry in [member.pastry for member in rings.members]:
            judged = pastry.ring.size()
            self.assertEqual(min(max(40, 2 * judged // 3), 3 * judged // 2), pastry.size())

    def test_newcomer(self) -> None:
        """
        Whoever comes in is known to all a few seconds later, and knows all.
        """
        rings = Rings(3, 31, SMALL)
        rings.formed(30)
        self.assertKnown(rings, 300)
        rings.enter(rings.members[30])
        self.assertKnown(rings, 5)

    def test_death(self) -> None:
        """
        That somebody has died all know a few seconds after its neighbors do.
        """
        rings = self.formed(4, 30)
        gone = rings.members[7]
        gone.crash(silent=True)
        near = [rings.by_id[node] for node in rings.truth(gone, [*rings.living(), gone])[0]]
        self.assertTrue(rings.until(lambda: gone.id not in near[0].pastry.ring.leaves, 60))
        self.assertKnown(rings, 10)
        self.assertEqual([False] * 29, [member.pastry.is_alive(gone.id) for member in rings.living()])
        self.assertEqual([], rings.overgrown())

    def test_restart(self) -> None:
        """
        Whoever starts anew is known as what it is now, whether its death was told before or not.
        """
        for away_s in (0.0, 60.0):
            rings = self.formed(5)
            rings.members[7].crash(silent=True)
            rings.advance(away_s)
            rings.enter(rings.members[7])
            self.assertKnown(rings, 60)

    def test_many_deaths(self) -> None:
        """
        When a third dies at once the rest soon knows.
        """
        rings = self.formed(6, 30)
        for member in rings.random.sample(rings.members, 10):
            member.crash(silent=True)
        self.assertRight(rings, 90)
        self.assertKnown(rings, 180)

    def test_partition(self) -> None:
        """
        Of a ring in two parts each knows its own; when they are one again each knows all, though all were called dead.
        """
        rings = self.formed(7)
        half = rings.random.sample(rings.members, 10)
        others = [member for member in rings.members if member not in half]
        rings.network.partition([[member.id for member in half]])
        rings.advance(600)
        self.assertKnown(rings, 300, half)
        self.assertKnown(rings, 300, others)
        rings.network.heal()
        self.assertRight(rings, 330)
        self.assertKnown(rings, 300)

    def test_asleep(self) -> None:
        """
        Whoever slept for long begins anew, and brings nobody back who has died meanwhile.
        """
        self.patch(gossip, "STALE_S", 150.0)
        self.patch(roster, "DEATH_S", 300.0)
        rings = self.formed(8)
        sleeper, *dying = rings.members[5:9]
        sleeper.freeze()
        for member in dying:
            member.crash(silent=True)
        rings.advance(2 * roster.DEATH_S)
        sleeper.thaw()
        self.assertRight(rings, 60)
        self.assertKnown(rings, 60)

    def test_unreachable(self) -> None:
        """
        A node that one other cannot reach stays in all other rosters, and the two do not quarrel about it for ever.
        """
        rings = self.formed(9, 30)
        one = rings.members[4]
        far = next(member for member in rings.members if member.id not in one.pastry.ring.leaves and member is not one)
        rings.network.block(one.id, far.id)
        rings.network.block(far.id, one.id)
        for _ in range(4):
            one.pastry.suspect(far.contact)
            rings.advance(120)
        others = [member for member in rings.members if member is not one]
        self.assertEqual([True] * 29, [len(member.pastry.ring.roster or ()) == 30 for member in others])
        listed = far.pastry.ring.roster
        self.assertTrue(listed is not None and listed.own().version <= far.contact.epoch + 1)
        self.assertEqual([], rings.misrouted(100))


class CostTests(GossipCase):
    """
    What it costs.
    """

    def test_idle(self) -> None:
        """
        Where nothing happens each node asks once a minute, and that is all.
        """
        rings = self.formed(10, 30)
        rings.advance(120)
        said = self.said(rings, 600)
        self.assertEqual(0, said[News])
        self.assertTrue(240 <= said[Compare] <= 330, said[Compare])

    def test_whole(self) -> None:
        """
        Where each leaf set holds all there is no roster, and nothing is said about it.
        """
        rings = Rings(11, 24)
        rings.formed()
        said = self.said(rings, 300)
        self.assertEqual((0, 0), (said[News], said[Compare]))
        self.assertEqual({None}, {member.pastry.ring.roster for member in rings.members})

    def test_large(self) -> None:
        """
        Nor is there one in a large ring.
        """
        self.patch(gossip, "ROSTER_LIMIT", 12)
        rings = Rings(12, 60)
        rings.formed()
        said = self.said(rings, 300)
        self.assertEqual((0, 0), (said[News], said[Compare]))
        self.assertEqual({None}, {member.pastry.ring.roster for member in rings.members})
        self.assertEqual([], rings.overgrown())

    def test_too_large(self) -> None:
        """
        Where it turns out that there are too many nodes all rosters are given up, and the contacts with them; for long.
        """
        self.patch(gossip, "ROSTER_LIMIT", 40)
        self.patch(roster, "ROSTER_LIMIT", 40)
        rings = Rings(13, 80)
        rings.formed()
        self.assertTrue(rings.until(lambda: all(member.pastry.ring.roster is None for member in rings.members), 900))
        said = self.said(rings, 600)
        self.assertEqual((0, 0), (said[News], said[Compare]))
        self.assertEqual([], rings.overgrown())
        self.assertEqual([], rings.misrouted(60))

    def test_shrinks(self) -> None:
        """
        When a ring becomes so small that each leaf set holds all of it the rosters go.
        """
        rings = self.formed(14, 9)
        for member in rings.members[5:]:
            member.crash()
        self.assertRight(rings, 90)
        rings.advance(30)
        self.assertEqual({None}, {member.pastry.ring.roster for member in rings.living()})
        self.assertEqual([], rings.overgrown())


class LiarTests(GossipCase):
    """
    What one peer can do to the rosters of others.
    """

    def setUp(self) -> None:
        """
        A ring of twenty, one of which lies.
        """
        self.rings = self.formed(15)
        self.liar, self.victim = self.rings.members[3], self.rings.members[9]

    def tell(self, entries: Sequence[Entry], row: int = 0) -> None:
        """
        The liar tells everybody.
        """
        for member in self.rings.members:
            if member is not self.liar:
                for start in range(0, len(entries), BATCH_LIMIT):
                    self.liar.rpc.tell(member.contact, News(tuple(entries[start : start + BATCH_LIMIT]), row))
        self.rings.advance(2)

    def assertHealed(self, limit_s: float) -> None:
        """
        All rosters are right again, and no leaf set ever was wrong.
        """
        self.assertEqual([], self.rings.wrong())
        self.assertEqual([], self.rings.misrouted(40))
        self.assertKnown(self.rings, limit_s)
        self.assertEqual([], self.rings.overgrown())
        self.assertEqual([], self.rings.usurped)

    def test_all_dead(self) -> None:
        """
        Everybody who is called dead contradicts.
        """
        self.tell([Entry(Contact(member.id, (), 1), 1, True) for member in self.rings.members])
        self.assertHealed(5)

    def test_false_addresses(self) -> None:
        """
        So does whoever is said to have moved.
        """
        self.tell([Entry(Contact(member.id, ("nowhere:1",), 50), 60) for member in self.rings.members])
        for member in self.rings.members:
            for contact in member.pastry.ring.leaf_contacts():
                self.assertEqual(self.rings.by_id[contact.id].contact, contact)
        self.rings.advance(5)
        for member in self.rings.members:
            for other in self.rings.members:
                if other is not self.liar and other is not member:
                    self.assertEqual(other.contact, member.pastry.ring.contacts[other.id])
        self.assertEqual([], self.rings.misrouted(40))

    def test_future(self) -> None:
        """
        A version that nobody could contradict is refused and counted.
        """
        ahead = int(self.rings.clock.seconds() * 1000) + 2 * AHEAD_MS
        self.tell([Entry(Contact(self.victim.id, ("nowhere:1",), 1), ahead), Entry(self.victim.contact, ahead, True)])
        self.tell([Entry(Contact(self.victim.id, ("nowhere:1",), 70), 60)])
        counted = self.rings.members[0].complaints.counts["impossible version of a node"]
        self.assertEqual(3, counted)
        self.assertHealed(0)

    def test_made_up(self) -> None:
        """
        Of nodes that do not exist one peer brings few, and those are found out.
        """
        chance = Random(1)
        entries = [Entry(Contact(NodeId(Id(chance.getrandbits(BITS))), ("nowhere:1",), 1), 1) for _ in range(640)]
        self.tell(entries, DIGITS)
        for member in self.rings.members:
            self.assertTrue(len(member.pastry.ring.roster or ()) <= 20 + UNASKED_LIMIT)
        self.assertEqual([], self.rings.wrong())
        self.assertEqual([], self.rings.misrouted(40, 60.0))
        self.assertKnown(self.rings, 1800)
        self.assertHealed(0)

    def test_flood(self) -> None:
        """
        However much one peer says, what is kept of it is bounded.
        """
        chance = Random(2)
        for _ in range(50):
            self.tell([Entry(Contact(NodeId(Id(chance.getrandbits(BITS))), (), 1), 1) for _ in range(BATCH_LIMIT)])
        for member in self.rings.members:
            listed, gossips = member.pastry.ring.roster, member.pastry._gossip
            self.assertTrue(listed is None or len(listed) <= roster.ROSTER_LIMIT)
            self.assertTrue(len(gossips._brought) <= 20)
            self.assertTrue(len(gossips._telling._relaying.entries) <= RECENT_LIMIT)
            self.assertTrue(len(member.pastry.ring.contacts) <= 20 + roster.ROSTER_LIMIT)
        self.assertEqual([], self.rings.wrong())
        self.assertEqual([], self.rings.misrouted(40, 60.0))

    def test_unknown_marks(self) -> None:
        """
        Whoever wants what is not there gets nothing.
        """
        answers: list[Message] = []
        question = Compare(bytes(8), (), bytes(8 * BATCH_LIMIT))
        self.liar.rpc.ask(self.victim.contact, question).addCallback(answers.append)
        self.rings.advance(1)
        [answer] = answers
        assert isinstance(answer, Compared)
        self.assertEqual(((), b""), (answer.entries, answer.marks))


entries = st.builds(
    Entry,
    st.builds(Contact, nodes, st.sampled_from([(), ("host:1",)]), st.integers(0, 3)),
    st.integers(0, 5),
    st.booleans(),
)
several = st.lists(entries, max_size=5).map(tuple)
fingerprints = st.binary(min_size=8, max_size=8)
messages = st.one_of(
    st.builds(Compare, fingerprints, several, st.binary(max_size=40)),
    st.builds(Compared, fingerprints, several, st.binary(max_size=40)),
    st.builds(News, several, st.integers(0, DIGITS)),
    st.builds(Report, several),
    st.just(Heard()),
)


class MessagesTests(GossipCase):
    """
    What nodes say of rosters.
    """

    @given(messages)
    def test_round_trip(self, message: Message) -> None:
        """
        Every message is read as it was written.
        """
        self.assertEqual(message, decode(encode(message)))

    @given(messages, st.data())
    def test_damaged(self, message: Message, data: st.DataObject) -> None:
        """
        Damaged bytes are another message or a L{PeerError}.
        """
        damaged = bytearray(encode(message))
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(2, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        try:
            decode(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
        except PeerError:
            pass

    def test_limits(self) -> None:
        """
        More than a message may hold is refused.
        """
        entry = Entry(Contact(NodeId(Id(1)), (), 1), 1)
        for message in (
            Compare(bytes(8), (entry,) * (BATCH_LIMIT + 1)),
            Compare(bytes(8), (), bytes(8 * BATCH_LIMIT + 1)),
            Compare(bytes(7)),
            Compared(bytes(8), (), bytes(8 * roster.ROSTER_LIMIT + 1)),
            News((entry,), DIGITS + 1),
            News((Entry(Contact(NodeId(Id(1)), ("a",) * 5, 1), 1),)),
            News((Entry(Contact(NodeId(Id(1)), (), 1), 1 << 62),)),
        ):
            self.assertRaises(PeerError, decode, encode(message))

    @settings(max_examples=30)
    @given(st.lists(st.tuples(messages, st.booleans()), min_size=1, max_size=8))
    def test_nonsense(self, said: list[tuple[Message, bool]]) -> None:
        """
        Whatever a peer says of rosters, nothing goes wrong, and soon they are right again.
        """
        rings = Rings(16, 9, SMALL)
        rings.formed()
        liar, victim = rings.members[8], rings.members[0].contact
        for message, asks in said:
            if asks:
                liar.rpc.ask(victim, message, 1.0).addErrback(lambda failure: None)
            else:
                liar.rpc.tell(victim, message)
            rings.advance(0.1)
        rings.advance(ROUND_S)
        self.assertRight(rings, 60, 10)
        self.assertKnown(rings, 300)
        self.assertEqual([], self.flushLoggedErrors())
