"""
Tests for L{post.pastry.leafset}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ids import RING, NodeId
from post.pastry.leafset import LeafSet, Side
from tests.pastry.strategies import node, nodes, points

HALF = 2
owners_and_others = st.tuples(nodes, st.lists(nodes, max_size=12, unique=True)).map(
    lambda drawn: (drawn[0], [each for each in drawn[1] if each != drawn[0]])
)


def built(owner: NodeId, others: list[NodeId]) -> LeafSet:
    """
    The leaf set of C{owner} that has met all C{others}.
    """
    leaves = LeafSet(owner, HALF)
    for other in others:
        leaves.add(other)
    return leaves


def clockwise(owner: NodeId, others: list[NodeId]) -> list[NodeId]:
    return sorted(others, key=owner.clockwise)


def by_distance(key: int, everybody: list[NodeId]) -> list[NodeId]:
    return sorted(everybody, key=lambda each: (each.distance(key), each))


class LeafSetTests(SynchronousTestCase):
    """
    Tests for L{LeafSet}.
    """

    @given(owners_and_others)
    def test_nearest_on_both_sides(self, drawn: tuple[NodeId, list[NodeId]]) -> None:
        """
        Whatever the order in which nodes are met, the nearest on either side remain, and the set is whole exactly if
        that is everybody.
        """
        owner, others = drawn
        leaves = built(owner, others)
        order = clockwise(owner, others)
        self.assertEqual(order[:HALF], leaves.successors())
        self.assertEqual(order[::-1][:HALF], leaves.predecessors())
        self.assertEqual({*order[:HALF], *order[-HALF:]}, set(leaves))
        self.assertEqual(len(others) <= 2 * HALF, leaves.whole)
        self.assertTrue(leaves.complete)
        self.assertEqual(order[0] if order else None, leaves.successor())
        self.assertEqual(order[-1] if order else None, leaves.predecessor())

    @given(owners_and_others, points)
    def test_closest_is_root(self, drawn: tuple[NodeId, list[NodeId]], key: int) -> None:
        """
        A key that is covered has its root, the nearest of all nodes, in the set.
        """
        owner, others = drawn
        leaves = built(owner, others)
        if leaves.covers(key):
            self.assertEqual(by_distance(key, [owner, *others])[0], leaves.closest(key))
        if leaves.whole:
            self.assertTrue(leaves.covers(key))

    @given(owners_and_others, points)
    def test_around(self, drawn: tuple[NodeId, list[NodeId]], key: int) -> None:
        """
        What is told of the nodes around a key is true: they come in order of distance, and nobody is left out.
        """
        owner, others = drawn
        leaves = built(owner, others)
        around = list(leaves.around(key))
        self.assertEqual(by_distance(key, [owner, *others])[: len(around)], around)
        if leaves.whole:
            self.assertEqual(len(others) + 1, len(around))
        elif key == owner:
            self.assertTrue(len(around) > HALF)
        self.assertEqual(leaves.covers(key), bool(around))

    @given(owners_and_others, st.data())
    def test_losses(self, drawn: tuple[NodeId, list[NodeId]], data: st.DataObject) -> None:
        """
        A set that lost members still tells the truth about what it covers, and says how many it lacks.
        """
        owner, others = drawn
        leaves = built(owner, others)
        whole = leaves.whole
        gone = data.draw(st.lists(st.sampled_from(others), unique=True)) if others else []
        members = sum(leaves.remove(each) for each in gone)
        left = [each for each in others if each not in gone]
        key = data.draw(points)
        if leaves.covers(key):
            self.assertEqual(by_distance(key, [owner, *left])[0], leaves.closest(key))
        around = list(leaves.around(key))
        self.assertEqual(by_distance(key, [owner, *left])[: len(around)], around)
        self.assertEqual(whole, leaves.whole)
        self.assertEqual(0 if whole else members, sum(leaves.missing()))
        self.assertEqual(whole or not members, leaves.complete)

    @given(owners_and_others, st.data())
    def test_repair(self, drawn: tuple[NodeId, list[NodeId]], data: st.DataObject) -> None:
        """
        When all that is left is met again, vouched for and nearest first, the set is as if the dead had never been.
        """
        owner, others = drawn
        leaves = built(owner, others)
        gone = data.draw(st.lists(st.sampled_from(others), unique=True)) if others else []
        for each in gone:
            leaves.remove(each)
        left = [each for each in others if each not in gone]
        for each in by_distance(owner, left):
            leaves.add(each, sides=Side.BOTH)
        if len(left) <= 2 * HALF:
            leaves.close()
        fresh = built(owner, left)
        self.assertEqual(set(fresh), set(leaves))
        if not leaves.whole:
            self.assertEqual(fresh.successors(), leaves.successors())

    @given(owners_and_others)
    def test_membership(self, drawn: tuple[NodeId, list[NodeId]]) -> None:
        """
        Who was added is in the set or was told to go, and whoever is in it is not wanted.
        """
        owner, others = drawn
        leaves = LeafSet(owner, HALF)
        members: set[NodeId] = set()
        for other in others:
            if leaves.wants(other):
                members.add(other)
                evicted = leaves.add(other)
                if evicted is not None:
                    members.remove(evicted)
        self.assertEqual(members, set(leaves))
        self.assertFalse(any(leaves.wants(each) for each in [owner, *members]))
        self.assertTrue(all(each in leaves for each in members))
        self.assertNotIn(owner, leaves)

    def test_tie(self) -> None:
        """
        Of two nodes equally near to a key the one with the smaller id is its root, for whoever asks.
        """
        for owner, other in ((node(10), node(20)), (node(20), node(10))):
            leaves = built(owner, [other])
            self.assertEqual(node(10), leaves.closest(15))
            self.assertEqual([node(10), node(20)], list(leaves.around(15)))
            self.assertEqual(node(20), leaves.closest(16))

    def test_stranger_does_not_fill_gap(self) -> None:
        """
        A node from far away does not take the place of a lost member, because whoever lives in between would be
        overlooked; one that a member vouches for does.
        """
        leaves = built(node(0), [node(each * 10) for each in range(-4, 5) if each])
        leaves.remove(node(20))
        self.assertEqual((1, 0), leaves.missing())
        self.assertFalse(leaves.wants(node(RING // 2)))
        self.assertIs(None, leaves.add(node(RING // 2)))
        self.assertFalse(leaves.covers(30))
        leaves.add(node(30), sides=Side.BOTH)
        self.assertTrue(leaves.covers(30))
        self.assertEqual([node(10), node(30)], leaves.successors())

    def test_open(self) -> None:
        """
        When it turns out that there are others somewhere, the keys in the widest arc are not ours to judge any more.
        """
        leaves = built(node(0), [node(10), node(20), node(-10)])
        leaves.open()
        self.assertFalse(leaves.covers(RING // 2))
        self.assertTrue(leaves.covers(15))
        self.assertTrue(leaves.covers(-10 % RING))
        self.assertEqual((0, 1), leaves.missing())
        self.assertEqual((node(20), node(-10)), leaves.ends())
        leaves.close()
        self.assertTrue(leaves.covers(RING // 2))

    def test_one_side_lost(self) -> None:
        """
        A set without successors covers nothing beyond its owner.
        """
        leaves = built(node(0), [node(each * 10) for each in range(-4, 5) if each])
        for each in leaves.successors():
            leaves.remove(each)
        self.assertIs(None, leaves.successor())
        self.assertFalse(leaves.covers(1))
        self.assertTrue(leaves.covers(0))
        self.assertEqual([node(0)], list(leaves.around(0)))
        self.assertEqual((node(0), node(-20)), leaves.ends())

    def test_copy(self) -> None:
        """
        A copy goes its own way.
        """
        leaves = built(node(0), [node(10)])
        leaves.copy().add(node(20))
        self.assertEqual([node(10)], list(leaves))
