"""
Pastry alone on many imaginary nodes.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.ids import Key
from post.interfaces import IApplication
from post.sim.latency import sphere
from post.sim.overlay import Overlay


class OverlayTests(SynchronousTestCase):
    """
    Tests of L{Overlay}.
    """

    def joined(self, count: int) -> Overlay:
        """
        One that has formed by the protocol.
        """
        overlay = Overlay(5, sphere(5))
        while len(overlay.members) < count:
            overlay.join()
            overlay.clock.advance(0.2)
        self.assertTrue(overlay.wait(lambda: len(overlay.active()) == count, 30))
        return overlay

    def test_interface(self) -> None:
        """
        Who counts deliveries is an application.
        """
        overlay = Overlay(1)
        overlay.found(1)
        verifyObject(IApplication, overlay.anybody())

    def test_from_knowledge(self) -> None:
        """
        A ring made from global knowledge is one: every leaf set is right from the first moment and stays so, in rings
        of all sizes around that of a leaf set, and lookups arrive at the root.
        """
        for count in (1, 2, 24, 25, 26, 100):
            overlay = Overlay(count, sphere(1))
            overlay.found(count)
            self.assertEqual(0, overlay.wrong_leaf_sets(), count)
            overlay.clock.advance(130)
            self.assertEqual(0, overlay.wrong_leaf_sets(), count)
            sent = [overlay.look_up(overlay.anybody()) for _ in range(50)]
            overlay.clock.advance(5)
            self.assertEqual([(1, 0)] * 50, [(each.deliveries, each.wrong) for each in sent if each is not None])

    def test_alike(self) -> None:
        """
        Whoever joins such a ring finds nothing amiss: it is what the protocol would have made.
        """
        overlay = Overlay(2, sphere(2))
        overlay.found(60)
        member = overlay.join()
        self.assertTrue(overlay.wait(lambda: member.id in overlay.active(), 10))
        overlay.clock.advance(5)
        self.assertEqual((61, 0), (len(overlay.active()), overlay.wrong_leaf_sets()))

    def test_judge(self) -> None:
        """
        What is wrong is seen: a leaf set that lacks somebody, and a delivery by who is not the root.
        """
        overlay = self.joined(5)
        self.assertEqual(0, overlay.wrong_leaf_sets())
        member = overlay.anybody()
        leaves = member.pastry.ring.leaves
        gone = next(iter(leaves))
        sent = overlay.look_up(member, Key(gone))
        assert sent is not None
        leaves.remove(gone)
        self.assertEqual(1, overlay.wrong_leaf_sets())
        overlay.delivered(member, 1)
        self.assertEqual((1, 1), (sent.deliveries, sent.wrong))
        self.assertEqual((1, gone), (overlay.wrong, overlay.mistakes[-1].root))

    def test_judge_of_parts(self) -> None:
        """
        Whoever reaches nobody nearer to a key is its root, and a part that is a ring of its own is right as such.
        """
        overlay = Overlay(3)
        ring = overlay.found(6)
        overlay.network.partition([ring[::2]])
        for place in range(6):
            self.assertEqual(ring[place], overlay.root(ring[place], ring[place]))
            beside = overlay.root(ring[place], ring[(place + 1) % 6])
            self.assertIn(beside, (ring[(place - 1) % 6], ring[(place + 1) % 6]))
            self.assertEqual(ring[place], overlay.root(ring[place]))
        self.assertEqual((0, 3), (overlay.wrong_leaf_sets(), overlay.wrong_leaf_sets(ring[::2])))
        self.assertTrue(overlay.is_right() and not overlay.is_right(ring[::2]))
        overlay.clock.advance(60)
        self.assertEqual((6, 0, 0), (overlay.wrong_leaf_sets(), *map(overlay.wrong_leaf_sets, (ring[::2], ring[1::2]))))
        overlay.network.block(ring[0], ring[2])
        self.assertIn(overlay.root(ring[2], ring[0]), (ring[0], ring[4]))

    def test_ways(self) -> None:
        """
        A lookup's way is the sum of its hops: one hop, and it is the direct one.
        """
        overlay = self.joined(4)
        one, two = overlay.active()[:2]
        sent = overlay.look_up(overlay.members[one], Key(two))
        assert sent is not None
        overlay.clock.advance(2)
        self.assertEqual((1, 1), (sent.hops, sent.deliveries))
        self.assertAlmostEqual(overlay.network.delay(one, two), sent.way_s)
        self.assertEqual(sent.direct_s, sent.way_s)

    def test_crash(self) -> None:
        """
        Whoever crashes is no longer in the ring, for the judge at once and for the others soon.
        """
        overlay = self.joined(6)
        gone = overlay.active()[2]
        overlay.crash(gone)
        self.assertNotIn(gone, overlay.active())
        self.assertEqual(5, overlay.wrong_leaf_sets())
        self.assertTrue(overlay.wait(lambda: not overlay.wrong_leaf_sets(), 60))
        self.assertEqual([], overlay.failures)
