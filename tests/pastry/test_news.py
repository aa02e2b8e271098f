"""
Tests for L{post.pastry.news}: what happens in a small ring everybody hears of at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from post.errors import Refused
from post.ids import RING, Contact, NodeId
from post.pastry.gossip import UNASKED_LIMIT, Compare
from post.pastry.news import BATCH_LIMIT, ECHO_S, HEARD_S, LEAD_S, RECENT_S, SPREAD_S, STRIDE, Heard, News, Report
from post.pastry.roster import Entry, Roster
from post.wire import RefusalCode
from tests.pastry.rings import Member, Rings
from tests.pastry.test_gossip import GossipCase
from tests.pastry.test_rings import SMALL

COUNT = 40


class NewsCase(GossipCase):
    """
    A ring of forty, of which everybody knows everybody.
    """

    def setUp(self) -> None:
        """
        There are some who are not in it yet.
        """
        self.rings = Rings(21, COUNT + 10, SMALL)
        self.rings.formed(COUNT)
        self.newcomer, *self.others = self.rings.members[COUNT:]
        self.ring = self.rings.members[:COUNT]
        self.assertKnown(self.rings, 300)
        self.rings.advance(RECENT_S + SPREAD_S)

    def leader(self) -> Member:
        """
        Who has the lead.
        """
        return self.rings.root(int(self.rings.clock.seconds() / LEAD_S) * STRIDE % RING)

    def unaware(self, node: NodeId, here: bool, of: Sequence[Member] | None = None) -> list[NodeId]:
        """
        Who has not heard that C{node} is here, or that it is not.
        """
        members = self.rings.living() if of is None else of
        rosters = [(member.id, member.pastry.ring.roster) for member in members if member.id != node]
        return [each for each, roster in rosters if roster is None or (node in roster) != here]

    def assertAware(self, node: NodeId, limit_s: float, of: Sequence[Member] | None = None, here: bool = True) -> None:
        """
        All hear of C{node} in C{limit_s}.
        """
        self.rings.until(lambda: not self.unaware(node, here, of), limit_s)
        self.assertEqual([], self.unaware(node, here, of))


class TellingTests(NewsCase):
    """
    Everybody hears of it.
    """

    def test_join(self) -> None:
        """
        Of a newcomer within two seconds, though several have it in their leaf sets before they hear that it is new.
        """
        for newcomer in (self.newcomer, *self.others[:4]):
            self.rings.enter(newcomer)
            self.assertAware(newcomer.id, 2)
            self.rings.advance(SPREAD_S)

    def test_many(self) -> None:
        """
        Of several who come at the same time as soon as those who came just before have been told, and they of one
        another.
        """
        for newcomer in (self.newcomer, *self.others):
            newcomer.boot(self.rings.seeds())
            self.rings.advance(0.2)
        self.assertKnown(self.rings, 2 * SPREAD_S + 2)

    def test_death(self) -> None:
        """
        Of a death within a second after one of the two who stood next to it has found out, each once.
        """
        gone = self.ring[7]
        gone.crash(silent=True)
        self.assertTrue(self.rings.until(lambda: len(self.unaware(gone.id, False)) < COUNT - 1, 60))
        self.assertAware(gone.id, 1, here=False)

    def test_dead_leader(self) -> None:
        """
        If the leader is dead, and nobody knows that yet, another one is taken.
        """
        self.leader().crash(silent=True)
        self.rings.enter(self.newcomer)
        self.assertAware(self.newcomer.id, HEARD_S + 3)

    def test_silent_leader(self) -> None:
        """
        A leader that tells nothing on is noticed by those who do not hear their own news.
        """
        leader = self.leader()
        leader.rpc.serve(Report, lambda peer, report: Heard())
        leader.rpc.serve(Compare, lambda peer, question: None)
        self.rings.enter(self.newcomer)
        self.assertAware(self.newcomer.id, 2 * ECHO_S + 3, [member for member in self.ring if member is not leader])

    def test_dead_heads(self) -> None:
        """
        Nor does anybody miss it because those are dead who would have told it.
        """
        leader = self.leader()
        for member in self.rings.random.sample([member for member in self.ring if member is not leader], 8):
            member.crash(silent=True)
        self.newcomer.boot([member.address for member in self.rings.living()])
        self.assertTrue(self.rings.until(lambda: self.newcomer.pastry.active, 60))
        self.assertAware(self.newcomer.id, 3 * HEARD_S + 3)

    def test_refusing_heads(self) -> None:
        """
        Nor because these have no rosters any more.
        """
        leader = self.leader()
        refusing = self.rings.random.sample([member for member in self.ring if member is not leader], 8)
        for member in refusing:
            member.pastry.ring.enroll(None, 0)
            member.pastry._gossip._not_before = float("inf")
        self.rings.enter(self.newcomer)
        self.assertAware(self.newcomer.id, HEARD_S + 3, [member for member in self.ring if member not in refusing])

    def test_unwilling_heads(self) -> None:
        """
        Nor because these tell nothing on: another one in their place is told.
        """
        leader = self.leader()
        heads = {node for row, node in self.roster(leader).heads(0, leader.pastry.ring.table, ())}
        unwilling = [self.rings.by_id[node] for node in sorted(heads)][::2]

        def refuse(peer: Contact, news: News) -> Heard:
            raise Refused(RefusalCode.NOT_READY)

        for member in unwilling:
            member.rpc.serve(News, refuse)
        self.newcomer.boot([leader.address])
        willing = [member for member in self.ring if member not in unwilling]
        self.assertTrue(self.rings.until(lambda: self.newcomer.pastry.active, 30))
        self.assertAware(self.newcomer.id, SPREAD_S + 1, willing)

    def roster(self, member: Member) -> Roster:
        """
        That of C{member}.
        """
        roster = member.pastry.ring.roster
        assert roster is not None
        return roster

    def test_dead_leader_and_heads(self) -> None:
        """
        If a quarter dies at once, the leader too, the others know all these deaths soon after they have been found.
        """
        dying = {self.leader(), *self.rings.random.sample(self.ring, COUNT // 4)}
        for member in dying:
            member.crash(silent=True)
        self.assertRight(self.rings, 90)
        self.assertKnown(self.rings, 30)


class CostTests(NewsCase):
    """
    What it costs.
    """

    def test_join(self) -> None:
        """
        Each hears of a newcomer once, and those who tell others acknowledge.
        """
        self.newcomer.boot(self.rings.seeds())
        said = self.said(self.rings, 10)
        self.assertEqual([], self.unaware(self.newcomer.id, True))
        self.assertTrue(COUNT - 1 <= said[News] <= COUNT + 5, said[News])
        self.assertTrue(said[Report] <= 2, said[Report])

    def test_many(self) -> None:
        """
        Of ten who come within two seconds all hear with three messages.
        """
        for newcomer in (self.newcomer, *self.others):
            newcomer.boot(self.rings.seeds())
        said = self.said(self.rings, 3 * SPREAD_S)
        self.assertKnown(self.rings, 0)
        self.assertTrue(said[News] <= 4 * (COUNT + 10), said[News])

    def test_death(self) -> None:
        """
        Each hears of a death once, though both neighbors report it.
        """
        gone = self.ring[7]
        gone.crash(silent=True)
        said = self.said(self.rings, 60)
        self.assertEqual([], self.unaware(gone.id, False))
        self.assertTrue(said[News] <= COUNT + 5, said[News])
        self.assertTrue(said[Report] <= 3, said[Report])


class LiarTests(NewsCase):
    """
    One who lies makes others say little.
    """

    def test_old(self) -> None:
        """
        What is not new is not told on, however it comes.
        """
        liar, victim = self.ring[3], self.ring[9]
        entries = tuple(Entry(member.contact, member.contact.epoch) for member in self.ring)
        for _ in range(5):
            liar.rpc.tell(victim.contact, News(entries, 0))
            liar.rpc.tell(victim.contact, Report(entries))
        self.assertEqual(5, self.said(self.rings, SPREAD_S)[News])

    def test_row(self) -> None:
        """
        Nobody tells more nodes than those below the place that it has in the table of whoever tells it.
        """
        liar = self.ring[3]
        victim = next(member for member in self.ring if member.id.shared_digits(liar.id) == 0)
        entry = Entry(Contact(self.newcomer.id, (self.newcomer.address,), 1), 1)
        liar.rpc.tell(victim.contact, News((entry,), 0))
        below = [member for member in self.ring if member.id.shared_digits(victim.id) and member is not victim]
        self.assertTrue(self.said(self.rings, SPREAD_S)[News] <= 1 + len(below))

    def test_calls_itself_dead(self) -> None:
        """
        Who speaks is not dead.
        """
        liar, victim = self.ring[3], self.ring[9]
        death = Entry(Contact(liar.id, (), liar.contact.epoch), liar.contact.epoch, True)
        liar.rpc.tell(victim.contact, News((death,), 0))
        self.rings.advance(1)
        self.assertEqual(1, victim.complaints.counts["calls itself dead"])
        self.assertEqual([], self.unaware(liar.id, True))

    def test_flood(self) -> None:
        """
        What is reported to a leader is limited as what is told.
        """
        liar, leader = self.ring[3], self.leader()
        entries = [Entry(Contact(self.rings.point(), (), 1), 1) for _ in range(4 * BATCH_LIMIT)]
        for start in range(0, len(entries), BATCH_LIMIT):
            liar.rpc.tell(leader.contact, Report(tuple(entries[start : start + BATCH_LIMIT])))
        self.rings.advance(1)
        self.assertTrue(len(leader.pastry.ring.roster or ()) <= COUNT + max(UNASKED_LIMIT, leader.pastry.ring.size()))
