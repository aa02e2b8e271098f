"""
Tests for L{post.pastry.table}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ids import NodeId
from post.pastry.table import COLUMNS, RoutingTable
from tests.pastry.strategies import node, nodes, points


class RoutingTableTests(SynchronousTestCase):
    """
    Tests for L{RoutingTable}.
    """

    @given(nodes, st.lists(st.tuples(nodes, st.booleans()), max_size=40))
    def test_as_a_dictionary(self, owner: NodeId, steps: list[tuple[NodeId, bool]]) -> None:
        """
        Whatever is added and removed, each place is held by the first that came for it and has not been removed.
        """
        table = RoutingTable(owner)
        places: dict[tuple[int, int], NodeId] = {}
        for each, comes in steps:
            if each == owner:
                self.assertFalse(table.add(each))
                continue
            row = owner.shared_digits(each)
            place = (row, each.digit(row))
            if comes:
                self.assertEqual(place not in places, table.add(each))
                places.setdefault(place, each)
            else:
                self.assertEqual(places.get(place) == each, table.remove(each))
                if places.get(place) == each:
                    del places[place]
            self.assertEqual(sorted(places.values()), sorted(table))
            self.assertEqual(len(places), len(table))
        for each in places.values():
            self.assertIn(each, table)
            self.assertEqual(each, table.toward(each))

    @given(nodes, st.lists(nodes, max_size=40), points)
    def test_toward(self, owner: NodeId, others: list[NodeId], key: int) -> None:
        """
        Who stands towards a key shares more digits with it than we do.
        """
        table = RoutingTable(owner)
        for each in others:
            table.add(each)
        found = table.toward(key)
        if found is not None:
            self.assertTrue(found.shared_digits(key) > owner.shared_digits(key))
        elif key != owner:
            self.assertFalse(any(each.shared_digits(key) > owner.shared_digits(key) for each in others))

    @given(nodes, st.lists(nodes, max_size=40), st.integers(-1, 41))
    def test_rows(self, owner: NodeId, others: list[NodeId], row: int) -> None:
        """
        A row has at most sixteen nodes, whose ids are like ours for as many digits; rows that were never made are
        empty.
        """
        table = RoutingTable(owner)
        for each in others:
            table.add(each)
        there = table.row(row)
        self.assertTrue(len(there) <= COLUMNS)
        self.assertEqual([row] * len(there), [owner.shared_digits(each) for each in there])

    def test_nearer(self) -> None:
        """
        A place goes to whoever is nearer in the network, where that is known.
        """
        table = RoutingTable(node(0))
        first, second = node(1 << 156), node((1 << 156) + 1)
        table.add(first)
        self.assertFalse(table.add(second))
        self.assertFalse(table.add(second, lambda one, other: False))
        self.assertTrue(table.add(second, lambda one, other: (one, other) == (second, first)))
        self.assertEqual([second], list(table))
        self.assertFalse(table.add(second, lambda one, other: True))
