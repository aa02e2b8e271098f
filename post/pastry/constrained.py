"""
The constrained routing table: for each length of a common prefix and each digit after it, the node nearest to one
certain point (pure; Castro et al., OSDI 2002, section 4).

In the fast table any node will do for a place, and so a liar gets in by seeming near in the network.  Here a place
belongs to the node nearest to the point that our own id makes with that one digit changed, and nobody chooses where it
stands: of these places liars have no more than their part of the ring.  It is used for lookups that a fast one failed.

Nodes need it so seldom that it is not there until it is first asked for.  It is then made from whom the node knows, and
learns from what is heard from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from post.ids import BITS, DIGITS, Contact, NodeId

COLUMNS = 16


def point(owner: NodeId, row: int, digit: int) -> int:
    """
    Where the node of that place stands, if there is one: C{owner} with C{digit} in C{row}.
    """
    shift = BITS - 4 - 4 * row
    return int(owner) & ~(0xF << shift) | digit << shift


class ConstrainedTable:
    """
    C{owner}'s.

    @ivar source: whom to begin with.
    """

    __slots__ = ("_rows", "owner", "source")

    def __init__(self, owner: NodeId, source: Callable[[], Iterable[Contact]]) -> None:
        self.owner = owner
        self.source = source
        self._rows: list[list[Contact | None] | None] | None = None

    @property
    def made(self) -> bool:
        """
        Whether it is there.
        """
        return self._rows is not None

    def heard(self, contact: Contact) -> None:
        """
        C{contact} may be nearer to the point of its place than who has that; nothing if there is no table yet.
        """
        if self._rows is not None:
            self._put(self._rows, contact)

    def remove(self, node: NodeId) -> None:
        """
        C{node} is dead, or lies.
        """
        if self._rows is None:
            return
        row = self.owner.shared_digits(node)
        places = self._rows[row] if row < len(self._rows) else None
        if places is not None and (holder := places[node.digit(row)]) is not None and holder.id == node:
            places[node.digit(row)] = None

    def toward(self, key: int) -> Contact | None:
        """
        The node of the place from which C{key} is a digit nearer.
        """
        row = self.owner.shared_digits(key)
        rows = self._made()
        places = rows[row] if row < len(rows) else None
        return None if places is None else places[(key >> (BITS - 4 - 4 * row)) & 0xF]

    def contacts(self) -> list[Contact]:
        """
        Everybody in it, the first row first.
        """
        return [contact for places in self._made() for contact in places or () if contact is not None]

    def _made(self) -> list[list[Contact | None] | None]:
        if self._rows is None:
            self._rows = []
            for contact in self.source():
                self._put(self._rows, contact)
        return self._rows

    def _put(self, rows: list[list[Contact | None] | None], contact: Contact) -> None:
        node = contact.id
        row = self.owner.shared_digits(node)
        if row >= DIGITS:
            return
        while len(rows) <= row:
            rows.append(None)
        places = rows[row]
        if places is None:
            places = rows[row] = [None] * COLUMNS
        digit = node.digit(row)
        holder = places[digit]
        place = point(self.owner, row, digit)
        if holder is None or holder.id == node or node.distance(place) < holder.id.distance(place):
            places[digit] = contact
