"""
How far apart imaginary nodes are.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import ConfigError
from post.ids import BITS, Id, NodeId
from post.sim.latency import FARTHEST_S, NEAREST_S, matrix, sphere, square
from tests.scratch import scratch


def nodes(count: int, seed: int = 1) -> list[NodeId]:
    """
    Some.
    """
    chance = Random(seed)
    return [NodeId(Id(chance.getrandbits(BITS))) for _ in range(count)]


class ModelTests(SynchronousTestCase):
    """
    Tests of the models that need no file.
    """

    def test_metric(self) -> None:
        """
        Ways are symmetric, stay within the limits, have no short cuts, and are the same in another run.
        """
        for model in (sphere, square):
            delay, again = model(7), model(7)
            one, two, three = nodes(3)
            for a, b in ((one, two), (two, three), (one, three)):
                self.assertAlmostEqual(delay(a, b), delay(b, a))
                self.assertEqual(delay(a, b), again(a, b))
                self.assertTrue(NEAREST_S <= delay(a, b) <= NEAREST_S + FARTHEST_S)
            self.assertTrue(delay(one, three) <= delay(one, two) + delay(two, three))
            self.assertAlmostEqual(NEAREST_S, delay(one, one), 6)
            self.assertNotEqual(delay(one, two), model(8)(one, two))

    def test_spread(self) -> None:
        """
        On the sphere half of all ways are longer than a quarter around it: no part of it is crowded.
        """
        delay = sphere(3)
        there = nodes(200)
        longer = sum(delay(a, b) > NEAREST_S + FARTHEST_S / 2 for a, b in pairwise(there))
        self.assertTrue(75 < longer < 125, longer)


class MatrixTests(SynchronousTestCase):
    """
    Tests of measured delays.
    """

    def setUp(self) -> None:
        self.path = scratch(self) / "king.txt"

    def refused(self, text: str) -> str:
        """
        Why a file with C{text} is not taken.
        """
        self.path.write_text(text)
        return str(self.assertRaises(ConfigError, matrix, self.path, 1))

    def test_read(self) -> None:
        """
        Half of a round trip is one way; remarks, empty lines and commas are no matter.
        """
        self.path.write_text("# two hosts\n\n0 80  # near, far\n80, 0\n")
        delay = matrix(self.path, 1)
        there = nodes(50)
        ways = {round(delay(there[0], other) - NEAREST_S, 6) for other in there[1:]}
        self.assertEqual({0.0, 0.04}, ways)

    def test_bad(self) -> None:
        """
        What is no matrix is refused, and the line named.
        """
        self.assertIn("line 2: what stands there is no number", self.refused("0 1\n1 x\n"))
        self.assertIn("line 2: 1 numbers, where the first line has 2", self.refused("0 1\n1\n"))
        self.assertIn("line 1: a round trip takes at least 0 ms", self.refused("0 -1\n1 0\n"))
        self.assertIn("line 1: a round trip takes at least 0 ms", self.refused("0 nan\n1 0\n"))
        self.assertIn("1 lines of 2 numbers", self.refused("0 1\n"))
        self.assertIn("0 lines of 0 numbers", self.refused("\n# nothing\n"))

    @given(st.text(max_size=200))
    def test_anything(self, text: str) -> None:
        """
        Anything else is refused too, in one line, or is a matrix.
        """
        self.path.write_text(text, "utf-8", "replace")
        try:
            delay = matrix(self.path, 1)
        except ConfigError as error:
            self.assertNotIn("\n", str(error))
        else:
            one, two = nodes(2)
            self.assertTrue(delay(one, two) >= NEAREST_S)
