"""
Tests for L{post.pastry.neighborhood}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ids import NodeId
from post.pastry.neighborhood import NeighborhoodSet
from tests.pastry.strategies import node

few = st.integers(0, 8).map(node)


class NeighborhoodSetTests(SynchronousTestCase):
    """
    Tests for L{NeighborhoodSet}.
    """

    @given(st.lists(st.tuples(few, st.floats(0, 1)), max_size=30))
    def test_nearest_first(self, measured: list[tuple[NodeId, float]]) -> None:
        """
        The last measurement of each counts; whoever is kept is in order, and there are never more than fit.
        """
        near = NeighborhoodSet(3)
        times: dict[NodeId, float] = {}
        for each, time in measured:
            near.measured(each, time)
            times[each] = time
            self.assertTrue(len(near) <= 3)
        kept = list(near)
        self.assertEqual(sorted(kept, key=lambda each: (times[each], each)), kept)
        self.assertEqual(min(3, len(times)) == 3 or len(times) < 3, len(kept) <= len(times))
        self.assertTrue(all(each in near for each in kept))

    def test_farthest_goes(self) -> None:
        """
        When there are too many the farthest has to go, perhaps the new one.
        """
        near = NeighborhoodSet(2)
        for point, time in ((1, 0.3), (2, 0.1), (3, 0.2), (4, 0.9)):
            near.measured(node(point), time)
        self.assertEqual([node(2), node(3)], list(near))

    def test_remove(self) -> None:
        """
        Who is removed is forgotten; who was not there may be removed too.
        """
        near = NeighborhoodSet(2)
        near.measured(node(1), 0.1)
        near.remove(node(1))
        near.remove(node(2))
        self.assertEqual([], list(near))
        self.assertNotIn(node(1), near)
