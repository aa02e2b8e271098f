"""
The routing table: for each length of a common prefix, one node for each digit that may follow (pure).

Row C{r} holds nodes whose ids share their first C{r} hexadecimal digits with ours; there they stand by their next
digit.  A message for a key then comes one digit closer with each hop (Pastry, section 2.3).  Any node will do for a
place; the nearer one in the network is kept where that is known.  Rows are made as needed: with C{N} nodes about
C{log16 N} of the forty are ever used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from post.ids import NodeId

COLUMNS = 16

Nearer = Callable[[NodeId, NodeId], bool]
"""Whether the first node is nearer to us in the network than the second."""


class RoutingTable:
    """
    The places of C{owner}'s table and who holds them.
    """

    __slots__ = ("_count", "_rows", "owner")

    def __init__(self, owner: NodeId) -> None:
        self.owner = owner
        self._rows: list[list[NodeId | None] | None] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, node: object) -> bool:
        return isinstance(node, int) and node != self.owner and self.toward(node) == node

    def __iter__(self) -> Iterator[NodeId]:
        return (node for row in range(len(self._rows)) for node in self.row(row))

    def toward(self, key: int) -> NodeId | None:
        """
        Who shares one more digit with C{key} than we do, if we know anybody.
        """
        row = self.owner.shared_digits(key)
        if row >= len(self._rows):
            return None
        places = self._rows[row]
        return None if places is None else places[_digit(key, row)]

    def row(self, row: int) -> list[NodeId]:
        """
        Everybody in one row.
        """
        places = self._rows[row] if 0 <= row < len(self._rows) else None
        return [node for node in places if node is not None] if places else []

    def filled(self, row: int) -> int:
        """
        A bit, from the lowest on, for each place of a row in which nobody is needed: who is there, or it is ours.
        """
        bits = 1 << self.owner.digit(row)
        for node in self.row(row):
            bits |= 1 << _digit(node, row)
        return bits

    @property
    def depth(self) -> int:
        """
        How many rows have been made.
        """
        return len(self._rows)

    def add(self, node: NodeId, nearer: Nearer | None = None) -> bool:
        """
        Give C{node} its place, if that is free or C{node} is nearer than who holds it.

        @return: whether it has the place now and had not before.
        """
        if node == self.owner:
            return False
        row = self.owner.shared_digits(node)
        while len(self._rows) <= row:
            self._rows.append(None)
        places = self._rows[row]
        if places is None:
            places = self._rows[row] = [None] * COLUMNS
        column = _digit(node, row)
        holder = places[column]
        if holder is None:
            self._count += 1
        elif holder == node or nearer is None or not nearer(node, holder):
            return False
        places[column] = node
        return True

    def remove(self, node: NodeId) -> bool:
        """
        Forget C{node}.

        @return: whether it was there.
        """
        if node not in self:
            return False
        row = self.owner.shared_digits(node)
        places = self._rows[row]
        assert places is not None
        places[_digit(node, row)] = None
        self._count -= 1
        return True


def _digit(key: int, row: int) -> int:
    return (key >> (156 - 4 * row)) & 0xF
