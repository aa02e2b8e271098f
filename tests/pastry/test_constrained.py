"""
The routing table whose places nobody can win.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ids import Contact, NodeId
from post.pastry.constrained import ConstrainedTable, point
from tests.pastry.strategies import node, nodes, points


def table(owner: NodeId, *others: NodeId) -> ConstrainedTable:
    """
    One that begins with C{others}.
    """
    return ConstrainedTable(owner, lambda: [Contact(each) for each in others])


class ConstrainedTableTests(SynchronousTestCase):
    """
    Tests of L{ConstrainedTable}.
    """

    @given(nodes, st.lists(nodes, max_size=30, unique=True), points)
    def test_toward(self, owner: NodeId, others: list[NodeId], key: int) -> None:
        """
        Who stands there shares one digit more with the key than we do, and of all that do is the nearest to our id with
        that digit changed.
        """
        row = owner.shared_digits(key)
        there = [each for each in others if each != owner and each.shared_digits(key) > row < 40]
        found = table(owner, *others).toward(key) if row < 40 else None
        self.assertEqual(bool(there), found is not None)
        if found is not None:
            place = point(owner, row, found.id.digit(row))
            self.assertEqual(min(each.distance(place) for each in there), found.id.distance(place))

    @given(nodes, st.lists(nodes, max_size=20, unique=True))
    def test_order(self, owner: NodeId, others: list[NodeId]) -> None:
        """
        Heard in any order, at the beginning or later, the same nodes make the same table.
        """
        one, two = table(owner, *others), table(owner)
        self.assertEqual([], two.contacts())
        for each in reversed(others):
            two.heard(Contact(each))
        distances = [
            [
                each.id.distance(
                    point(owner, owner.shared_digits(each.id), each.id.digit(owner.shared_digits(each.id)))
                )
                for each in found.contacts()
            ]
            for found in (one, two)
        ]
        self.assertEqual(*distances)

    def test_lazy(self) -> None:
        """
        There is no table until it is asked for, and what is heard before costs nothing.
        """
        asked: list[None] = []

        def source() -> list[Contact]:
            asked.append(None)
            return [Contact(node(1 << 156))]

        lazy = ConstrainedTable(node(0), source)
        lazy.heard(Contact(node(2 << 156)))
        lazy.remove(node(1 << 156))
        self.assertEqual((False, []), (lazy.made, asked))
        self.assertEqual([node(1 << 156)], [each.id for each in lazy.contacts()])
        self.assertIsNone(lazy.toward(2 << 156))
        self.assertEqual((True, 1), (lazy.made, len(asked)))

    def test_remove(self) -> None:
        """
        Whoever is gone holds no place, and nobody else loses it; who is heard of next has it.
        """
        near, far = node(3 << 156), node((3 << 156) + 5)
        there = table(node(0), near, far)
        there.remove(far)
        self.assertEqual(near, (there.toward(near) or Contact(node(0))).id)
        there.remove(near)
        self.assertIsNone(there.toward(near))
        there.heard(Contact(far))
        self.assertEqual([far], [each.id for each in there.contacts()])

    def test_newer(self) -> None:
        """
        A node that is heard of again is known by what is said last.
        """
        there = table(node(0), node(3 << 156))
        self.assertEqual(0, there.contacts()[0].epoch)
        there.heard(Contact(node(3 << 156), ("elsewhere:1",), 7))
        self.assertEqual(7, there.contacts()[0].epoch)
