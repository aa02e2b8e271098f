"""
Tests for L{post.pastry.replicas}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ids import RING, Id, Key, NodeId
from post.pastry.leafset import LeafSet
from post.pastry.replicas import choose, span
from tests.pastry.strategies import node, nodes, points

HALF = 3
rings = st.lists(nodes, min_size=1, max_size=14, unique=True)


def built(everybody: list[NodeId]) -> LeafSet:
    """
    The leaf set of the first.
    """
    leaves = LeafSet(everybody[0], HALF)
    for other in everybody:
        leaves.add(other)
    return leaves


def nearest(key: int, everybody: list[NodeId]) -> list[NodeId]:
    return sorted(everybody, key=lambda each: (each.distance(key), each))


class ChooseTests(SynchronousTestCase):
    """
    Tests for L{choose}.
    """

    @given(rings, points, st.integers(1, 5), st.integers(1, 8), st.data())
    def test_brute_force(self, everybody: list[NodeId], key: int, count: int, owners: int, data: st.DataObject) -> None:
        """
        A certain choice is the one that somebody would make who knows the whole ring, and one that is not certain is
        the beginning of it.
        """
        avoid = data.draw(st.sets(st.sampled_from(everybody)))
        expected: list[NodeId] = []
        for each in nearest(key, everybody):
            if each not in avoid and all(each % owners != other % owners for other in expected):
                expected.append(each)
        leaves = built(everybody)
        choice = choose(key, count, leaves, lambda each: str(each % owners), avoid)
        self.assertEqual(tuple(expected[: len(choice.nodes)]), choice.nodes)
        if choice.certain:
            self.assertEqual(min(count, len(expected)), len(choice.nodes))
        self.assertEqual(choice.certain, leaves.whole or len(choice.nodes) == count)
        if choice.plain:
            self.assertEqual(tuple(nearest(key, everybody)[: len(choice.nodes)]), choice.nodes)


class SpanTests(SynchronousTestCase):
    """
    Tests for L{span}.
    """

    @given(rings, points, st.integers(1, 4), st.data())
    def test_same_everywhere(self, everybody: list[NodeId], point: int, count: int, data: st.DataObject) -> None:
        """
        Every key in the range has the same nearest nodes, and the key itself is in it.
        """
        key = Key(Id(point))
        leaves = built(everybody)
        choice = choose(key, count, leaves, lambda each: each.hex())
        if not choice.certain:
            return
        low, high = span(key, choice.nodes, leaves)
        width = low.clockwise(high)
        self.assertTrue(low.clockwise(key) <= width)
        for step in (0, 1, width - 1, width, data.draw(st.integers(0, width))):
            other = (low + min(width, max(0, step))) % RING
            self.assertEqual(set(choice.nodes), set(nearest(other, everybody)[: len(choice.nodes)]), other)

    def test_wide(self) -> None:
        """
        The range goes nearly as far as it could.
        """
        everybody = [node(each * 100) for each in range(10)]
        leaves = LeafSet(node(300), HALF)
        for each in everybody:
            leaves.add(each)
        self.assertEqual((251, 349), span(Key(Id(310)), [node(300), node(200), node(400)], leaves))

    def test_unknown_neighbor(self) -> None:
        """
        The range ends with the leaf set: right behind its last member there may be another node.
        """
        leaves = LeafSet(node(100), 1)
        for point in (90, 110, 111):
            leaves.add(node(point))
        self.assertEqual((106, 110), span(Key(Id(108)), [node(110)], leaves))

    def test_border(self) -> None:
        """
        A key as near to one node as to another makes no range.
        """
        leaves = built([node(0), node(100), node(300)])
        key = Key(Id(50))
        self.assertEqual((key, key), span(key, [node(0)], leaves))
