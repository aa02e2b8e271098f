"""
Who has been certified.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from post.ids import Contact, NodeId
from post.pastry.membership import Membership, presence
from post.pastry.statement import Statement
from tests.pastry.strategies import node, nodes, points

several = st.lists(nodes, min_size=1, max_size=20, unique=True)


class MembershipTests(SynchronousTestCase):
    """
    Tests of L{Membership}.
    """

    @given(several, points, st.integers(1, 6))
    def test_around(self, ids: list[NodeId], key: int, half: int) -> None:
        """
        Nearest first; of more than asked for, so many on either side, among which are the nearest of all.
        """
        found = Membership(ids).around(key, half)
        self.assertEqual(min(len(ids), 2 * half), len(set(found)))
        self.assertEqual(sorted(found, key=lambda each: (each.distance(key), each)), found)
        nearest = sorted(ids, key=lambda each: (each.distance(key), each))
        self.assertEqual(nearest[: min(half, len(ids))], found[:half])

    @given(several, nodes, nodes)
    def test_between(self, ids: list[NodeId], low: NodeId, high: NodeId) -> None:
        """
        All on the way clockwise, the ends included.
        """
        expected = sum(low.clockwise(each) <= low.clockwise(high) for each in ids)
        self.assertEqual(expected, Membership(ids).between(low, high))

    def test_presence(self) -> None:
        """
        The part of those between the ends of a leaf set that it names, or of all where it is the whole ring.
        """
        members = Membership(map(node, (10, 20, 30, 40, 50)))
        said = Statement(1, node(20), 1, 0, 0, bytes(16), False, (Contact(node(40)),), (Contact(node(10)),))
        self.assertEqual(0.75, presence(said, members))
        self.assertEqual(0.6, presence(replace(said, whole=True), members))
        self.assertEqual(1.0, presence(replace(said, after=(Contact(node(21)), Contact(node(22)))), members))
        self.assertEqual(0.0, presence(said, Membership([])))

    def test_empty(self) -> None:
        """
        Where nobody is known to be certified there is nobody near.
        """
        self.assertEqual(([], 0), (Membership([]).around(5, 3), len(Membership([]))))
