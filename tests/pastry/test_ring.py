"""
Tests for L{post.pastry.ring}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ids import Contact, NodeId
from post.pastry.config import PastryConfig
from post.pastry.leafset import Side
from post.pastry.messages import Reach
from post.pastry.ring import Ring, prefixes, reach
from post.pastry.roster import Roster
from tests.pastry.strategies import node, nodes

CONFIG = PastryConfig(half=2, absent_limit=3)
steps = st.lists(st.tuples(st.sampled_from(("admit", "vouched", "tabulate", "suspect", "bury")), nodes), max_size=40)


def contact(point: int, epoch: int = 1) -> Contact:
    """
    The node at C{point}.
    """
    return Contact(node(point), (f"host{point}:1",), epoch)


class RingTests(SynchronousTestCase):
    """
    Tests for L{Ring}.
    """

    def setUp(self) -> None:
        self.told: list[tuple[Contact, bool]] = []
        self.ring = self.made(node(0))

    def made(self, owner: NodeId) -> Ring:
        return Ring(owner, CONFIG, lambda contact, joined: self.told.append((contact, joined)))

    @given(nodes, steps)
    def test_in_step(self, owner: NodeId, steps: list[tuple[str, NodeId]]) -> None:
        """
        Whatever happens, there are contacts of exactly those in the leaf set or the table, only these are suspected,
        nobody is both a member and absent, and what was told adds up to the leaf set.
        """
        self.told = []
        ring = self.made(owner)
        for verb, who in steps:
            whom = Contact(who, ("host:1",))
            if verb == "tabulate":
                ring.tabulate(whom)
            elif verb == "bury":
                ring.bury(whom, 0.0)
            elif verb == "suspect" and who in ring.contacts:
                ring.suspects.add(who)
            elif verb in ("admit", "vouched") and who != owner:
                ring.admit(whom, Side.BOTH if verb == "vouched" else Side.NEITHER)
            known = {*ring.leaves, *ring.table}
            self.assertEqual(known, set(ring.contacts))
            self.assertTrue(ring.suspects <= known)
            self.assertFalse(set(ring.absent) & set(ring.leaves))
            self.assertTrue(len(ring.absent) <= CONFIG.absent_limit)
            members: set[NodeId] = set()
            for told, joined in self.told:
                (members.add if joined else members.remove)(told.id)
            self.assertEqual(set(ring.leaves), members)

    def test_evicted_is_named(self) -> None:
        """
        Who has to leave the leaf set is told of with its addresses.
        """
        for point in (10, 20, 500, 990, 15):
            self.ring.admit(contact(point))
        gone = [told for told, joined in self.told if not joined]
        self.assertEqual(1, len(gone))
        self.assertEqual(contact(int(gone[0].id)), gone[0])

    def test_restart(self) -> None:
        """
        A member with a new epoch is told of again, with its new address, and is no suspect any more; hearsay of its
        former life changes nothing.
        """
        self.ring.admit(contact(10))
        self.ring.suspects.add(node(10))
        again = Contact(node(10), ("elsewhere:1",), 2)
        self.ring.meet(again)
        self.ring.meet(contact(10))
        self.assertEqual([again], self.ring.leaf_contacts())
        self.assertEqual(set(), self.ring.suspects)
        self.assertEqual([(contact(10), True), (again, True)], self.told)

    def test_news_of_the_dead(self) -> None:
        """
        Hearsay of a dead node is no news, unless it has started anew.
        """
        self.ring.admit(contact(10))
        self.ring.bury(contact(10), 5.0)
        self.assertEqual([5.0 + CONFIG.absent_first_s], [absent.retry_at for absent in self.ring.absent.values()])
        self.assertFalse(self.ring.is_news(contact(10)))
        self.assertTrue(self.ring.is_news(contact(10, 2)))
        self.ring.tabulate(contact(10))
        self.assertNotIn(node(10), self.ring.table)

    def test_nearer(self) -> None:
        """
        A place in the table goes to whoever is nearer in the network by a tenth at least, once both are measured; the
        one before is let go, and every contest is told.
        """
        contested: list[Contact] = []
        far: dict[NodeId, float] = {}
        self.ring.contested, self.ring.round_trip_s = contested.append, far.get
        first, second = contact(8 << 152), contact((8 << 152) + 1)
        self.ring.tabulate(first)
        self.ring.tabulate(second)
        far[second.id] = 0.095
        self.ring.tabulate(second)
        far[first.id] = 0.1
        self.ring.tabulate(second)
        self.assertEqual([first.id], list(self.ring.table))
        self.assertNotIn(second.id, self.ring.contacts)
        far[second.id] = 0.08
        self.ring.tabulate(second)
        self.assertEqual([second.id], list(self.ring.table))
        self.assertEqual({second.id}, set(self.ring.contacts))
        self.ring.tabulate(second)
        self.assertEqual([first, second, second, second, second], contested)

    def test_absent_limit(self) -> None:
        """
        Those that died last are remembered.
        """
        for point in (1, 2, 3, 4):
            self.ring.admit(contact(point))
            self.ring.bury(contact(point), 0.0)
        self.assertEqual([node(2), node(3), node(4)], list(self.ring.absent))

    def test_roster_dropped(self) -> None:
        """
        When a ring has become too large for a roster, it matters again who is near of those in the table.
        """
        self.ring.tabulate(contact(5 << 150))
        contested: list[Contact] = []
        self.ring.contested = contested.append
        self.ring.enroll(Roster(contact(0)), 0.0)
        self.assertEqual([], contested)
        self.ring.enroll(None, 1.0)
        self.assertEqual([contact(5 << 150)], contested)

    def test_news_for(self) -> None:
        """
        A neighbor is told whom it lacks: of a full leaf set only those between its ends, suspects included, and never
        itself or whom it knows.
        """
        for point in (10, 20, 30, 40):
            self.ring.admit(contact(point))
        self.ring.suspects.add(node(20))
        full = Reach(False, True, node(30), node(1 << 159), 4)
        self.assertEqual((contact(20),), self.ring.news_for(node(10), full, {prefixes([node(30)])}))
        lacking = Reach(False, False, node(30), node(1 << 159), 3)
        self.assertEqual((contact(20), contact(40)), self.ring.news_for(node(10), lacking, {prefixes([node(30)])}))

    @given(st.lists(nodes, min_size=2, max_size=12, unique=True))
    def test_digest(self, everybody: list[NodeId]) -> None:
        """
        Neighbors whose leaf sets are right compute the same digest, and not if one lacks somebody that both should
        know.
        """
        order = sorted(everybody)
        one, other = self.made(order[0]), self.made(order[1])
        for each in everybody:
            one.admit(Contact(each))
            other.admit(Contact(each))
        self.assertEqual(one.digest(other.owner), other.digest(one.owner))
        self.assertEqual(other.owner, one.leaves.successor())
        one.bury(Contact(other.owner), 0.0)
        self.assertNotEqual(one.digest(other.owner), other.digest(one.owner))

    def test_reach(self) -> None:
        """
        Without members a leaf set reaches as far as its owner.
        """
        self.assertEqual(Reach(True, True, node(0), node(0), 0), reach(self.ring.leaves))
