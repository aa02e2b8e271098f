"""
Whether nodes stand as close together as they should.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from post.ids import BITS, RING, Id, NodeId
from post.pastry.density import DOUBTED, checks, step, usual_step
from tests.pastry.strategies import node

NODES = 2000


def ring(random: Random) -> list[NodeId]:
    """
    A ring, in the order of ids.
    """
    return sorted(NodeId(Id(random.getrandbits(BITS))) for _ in range(NODES))


class DensityTests(SynchronousTestCase):
    """
    Tests of the routing failure test.
    """

    def test_step(self) -> None:
        """
        The mean distance along the arc, also where that passes zero; no arc has none.
        """
        self.assertEqual(10.0, step([node(5), node(10), node(25)]))
        self.assertEqual(10.0, step([node(-10), node(2), node(10)]))
        self.assertEqual(float("inf"), step([node(3)]))

    def test_told_apart(self) -> None:
        """
        The arcs of a ring pass the test but for the few that the table promises; arcs of the 30 % that lie do not.
        """
        random = Random(3)
        there = ring(random)
        liars = [each for each in there if random.random() < 0.3]
        true = [step(there[at : at + 25]) / (RING / NODES) for at in range(0, NODES - 25, 5)]
        false = [step(liars[at : at + 25]) / (RING / NODES) for at in range(len(liars) - 25)]
        self.assertTrue(sum(ratio > DOUBTED for ratio in true) < 0.08 * len(true))
        self.assertEqual(0, sum(ratio <= DOUBTED for ratio in false))

    def test_usual(self) -> None:
        """
        What liars state moves the ring's step little, though it is most of what is stated; and where nothing is stated
        our own leaf set counts.
        """
        random = Random(4)
        there = ring(random)
        liars = [each for each in there if random.random() < 0.3]
        honest = [step(there[at : at + 25]) for at in random.sample(range(NODES - 25), 5)]
        false = [step(liars[at : at + 25]) for at in random.sample(range(len(liars) - 25), 8)]
        found = usual_step(honest[0], honest[1:] + false)
        self.assertTrue(0.8 < found / (RING / NODES) < 1.2, found / (RING / NODES))
        self.assertEqual(7.0, usual_step(7.0, []))

    def test_checks(self) -> None:
        """
        The sparser a set, the more liars may be in it, and the more members have to answer: so many that there is one
        chance in two thousand that all are liars.
        """
        self.assertEqual([7, 7, 9, 12], [checks(ratio) for ratio in (0.5, 1.0, 1.3, 1.7)])
        for ratio in (1.0, 1.2, 1.4):
            self.assertTrue((0.3 * ratio) ** checks(ratio) <= 0.0005)
        self.assertTrue(checks(1e9) < 100)
