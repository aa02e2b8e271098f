"""
Tests for L{post.pastry.repair}: whose word counts for what.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.ids import RING, Contact, NodeId
from post.pastry.config import PastryConfig
from post.pastry.informants import FORGIVEN, VAIN_S
from post.pastry.leafset import Side
from post.pastry.liveness import Liveness
from post.pastry.messages import Probed, Reach
from post.pastry.repair import Repair
from post.pastry.ring import Ring
from post.tasks import Tasks
from tests.pastry.rings import Rings
from tests.pastry.strategies import node

CONFIG = PastryConfig(half=2, probe_tries=1)


def contact(point: int) -> Contact:
    """
    The node at C{point}.
    """
    return Contact(node(point), (f"host{point}:1",))


class RepairTests(SynchronousTestCase):
    """
    Tests for L{Repair} on a node of its own, at 0, among neighbors at 10, 20, -10 and -20, in a ring of more.
    """

    def setUp(self) -> None:
        rings = Rings(1, 1, CONFIG)
        rings.boot(seeds=[])
        self.member = rings.members[0]
        self.rings = rings
        self.asked: list[NodeId] = []
        self.ring = Ring(node(0), CONFIG, lambda contact, joined: None)
        self.located: list[Contact | None] = []
        pastry = self.member.pastry

        async def locate(contact: Contact | None) -> None:
            self.located.append(contact)

        self.tasks = Tasks()
        self.liveness = Liveness(
            self.member.rpc,
            self.member.clock,
            rings.random,
            self.ring,
            CONFIG,
            self.tasks,
            pastry._question,
            lambda contact, probe, answer: None,
            lambda contact: self.ring.suspects.discard(contact.id),
            lambda contact, was_leaf: None,
        )
        self.repair = Repair(self.member.clock, rings.random, self.ring, CONFIG, self.liveness, self.tasks, locate)
        for point in (10, 20, 1000, -10, -20):
            self.ring.admit(contact(point))
        self.assertEqual({node(point) for point in (10, 20, -10, -20)}, set(self.ring.leaves))

    def lose(self, *points: int) -> None:
        for point in points:
            self.ring.bury(contact(point), 0.0)

    def answer(self, point: int, reach: Reach, *news: int, active: bool = True) -> None:
        """
        Hear from the node at C{point}.
        """
        probe = self.repair.question(True)
        told = Probed(active, reach, tuple(contact(each) for each in news))
        self.repair.learned(contact(point), probe, told)

    def probing(self) -> set[NodeId]:
        return set(self.repair._probing)

    def test_replacement(self) -> None:
        """
        A lost successor is replaced by whom the last one left names, which sees that far.
        """
        self.lose(20)
        self.answer(10, Reach(False, True, node(40), node(-10), 4), 30, 40)
        self.assertEqual({node(30)}, self.probing())

    def test_far_side_does_not_vouch(self) -> None:
        """
        Who is beyond our farthest predecessor does not become a successor because that predecessor names it.
        """
        self.lose(20)
        self.answer(-20, Reach(False, True, node(0), node(-40), 4), -30, -40)
        self.assertEqual(set(), self.probing())
        self.assertEqual(Side.BEFORE, self.repair.sides(node(-30), Reach(False, True, node(0), node(-40), 4)))

    def test_awaited(self) -> None:
        """
        A key that would be of somebody who has not answered yet is not ours to deliver.
        """
        self.lose(10, 20)
        self.answer(-10, Reach(False, True, node(12), node(-30), 4), 12)
        self.assertTrue(self.repair.is_awaited(8))
        self.assertFalse(self.repair.is_awaited(5))

    def test_phantoms(self) -> None:
        """
        Who names one node after the other that does not exist has us wait for some seconds in all, and then for nothing
        more for a while; what another one says is waited for.
        """
        self.lose(10, 20)
        waited = 0
        reach = Reach(False, True, node(400), node(-30), 4)
        for number in range(300):
            if not self.repair._probing:
                self.answer(-10, reach, 300 - number)
            waited += self.repair.is_awaited(300)
            self.rings.advance(0.1)
        self.assertGreater(waited, 10 * VAIN_S - 1)
        self.assertLess(waited, 10 * (VAIN_S + 2 * CONFIG.probe_s + 30 * FORGIVEN) + 1)
        self.rings.advance(5)
        self.answer(-10, reach, 5)
        self.assertFalse(self.repair.is_awaited(8))
        self.answer(-20, reach, 6)
        self.assertTrue(self.repair.is_awaited(8))
        self.rings.advance(VAIN_S / FORGIVEN)
        self.answer(-10, reach, 7)
        self.assertTrue(self.repair.is_awaited(8))

    def test_gap_is_empty(self) -> None:
        """
        When somebody at one end of the gap sees to the other and names nobody, those who are left are the whole ring.
        """
        self.lose(20)
        self.answer(10, Reach(False, True, node(-20), node(-10), 4))
        self.assertTrue(self.ring.leaves.whole)

    def test_gap_is_not_empty(self) -> None:
        """
        It does not close if that one does not see so far, is not in the ring itself, or names somebody.
        """
        self.lose(20)
        self.answer(10, Reach(False, True, node(-30), node(-10), 4))
        self.answer(10, Reach(False, True, node(-20), node(-10), 4), active=False)
        self.answer(10, Reach(False, True, node(-20), node(-10), 4), 500)
        self.assertFalse(self.ring.leaves.whole)

    def test_stranger_does_not_close(self) -> None:
        """
        That a node of another, smaller ring sees all of that says nothing of ours.
        """
        self.lose(20)
        self.answer(RING // 2, Reach(True, True, node(0), node(0), 1))
        self.assertFalse(self.ring.leaves.whole)

    def test_only_members_close(self) -> None:
        """
        Nor does it if it says that it has as many members as we have: of ours it is none.
        """
        self.lose(20)
        self.answer(RING // 2, Reach(True, True, node(0), node(0), 3))
        self.assertFalse(self.ring.leaves.whole)
        self.rings.advance(5)
        self.answer(10, Reach(True, True, node(0), node(0), 3))
        self.assertTrue(self.ring.leaves.whole)

    def test_larger_ring(self) -> None:
        """
        Who believes to know the whole ring, and hears of a larger one, asks there for its place.
        """
        self.lose(20, -20)
        self.ring.leaves.close()
        self.answer(10, Reach(False, True, node(40), node(-40), 4), 30, 40)
        self.assertFalse(self.ring.leaves.whole)
        self.assertEqual([contact(10)], self.located)

    def test_no_larger_ring(self) -> None:
        """
        Who says so, and names too few for that, contradicts itself.
        """
        said: list[Contact] = []
        self.repair.contradicted = said.append
        self.lose(20, -20)
        self.ring.leaves.close()
        self.answer(10, Reach(False, True, node(40), node(-40), 4), 30)
        self.assertTrue(self.ring.leaves.whole)
        self.assertEqual(([contact(10)], []), (said, self.located))

    def test_misplaced(self) -> None:
        """
        So does whoever stands next to somebody that does not see it.
        """
        self.answer(10, Reach(False, True, node(14), node(6), 4))
        self.assertEqual([contact(10)], self.located)
        self.answer(20, Reach(False, True, node(24), node(16), 4))
        self.assertEqual([contact(10)], self.located)

    def test_settled(self) -> None:
        """
        Without candidates there is nothing to wait for.
        """
        self.assertIs(None, self.successResultOf(self.repair.settled()))

    def test_dead_candidates(self) -> None:
        """
        Candidates that turn out dead at once, all of them in one go, are each asked once.
        """
        self.lose(10, 20)
        before = self.liveness.probes
        self.member.rpc.stop()
        self.repair.consider([contact(12), contact(14)], Reach(False, True, node(14), node(-20), 4))
        done = self.repair.settled()
        self.rings.advance(5)
        self.assertIs(None, self.successResultOf(done))
        self.assertEqual(2, self.liveness.probes - before)


class MendTests(SynchronousTestCase):
    """
    Tests for L{Repair.mend} in whole rings.
    """

    def test_both_sides_of_a_gap(self) -> None:
        """
        When nobody who is left saw across a gap, the ring closes over it all the same.
        """
        rings = Rings(5, 24, PastryConfig(half=3))
        rings.formed()
        self.assertEqual([], rings.settle(15))
        order = sorted(rings.members, key=lambda member: member.id)
        for member in order[8:15]:
            member.crash()
        self.assertEqual([], rings.settle(60))
        self.assertEqual([], rings.misrouted(50))

    def test_ends(self) -> None:
        """
        Mending ends: afterwards nobody waits, asks or remembers strangers.
        """
        rings = Rings(6, 12, PastryConfig(half=3))
        rings.formed()
        for member in rings.members[6:]:
            member.crash()
        self.assertEqual([], rings.settle(60))
        rings.advance(60)
        for member in rings.living():
            repair = member.pastry._repair
            self.assertFalse(repair._mending)
            self.assertEqual(
                ({}, {}, {}, [], {}),
                (repair._pool, repair._namers, repair._strangers, repair._idle, repair._probing),
            )
