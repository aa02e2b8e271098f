"""
The ids that the authority has certified, as far as it makes them known (pure): who may be in the ring at all.

With it nobody can be hidden without a gap that shows: whoever stands in the list near a key, and is named by nobody
there, is away, or kept from us.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from post.ids import NodeId
from post.pastry.statement import Statement


class Membership:
    """
    All certified ids.
    """

    __slots__ = ("_ids",)

    def __init__(self, ids: Iterable[NodeId]) -> None:
        self._ids = sorted(set(ids))

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, node: object) -> bool:
        if not isinstance(node, int):
            return False
        place = bisect_left(self._ids, node)
        return place < len(self._ids) and self._ids[place] == node

    def around(self, key: int, half: int) -> list[NodeId]:
        """
        The C{half} on either side of C{key}, nearest first (of equally near ones the smaller); all, if there are fewer.
        """
        count = len(self._ids)
        if count <= 2 * half:
            there = self._ids
        else:
            place = bisect_left(self._ids, key)
            there = [self._ids[(place + step) % count] for step in range(-half, half)]
        return sorted(there, key=lambda node: (node.distance(key), node))

    def between(self, low: NodeId, high: NodeId) -> int:
        """
        How many there are from C{low} clockwise to C{high}, these included.
        """
        first, last = bisect_left(self._ids, low), bisect_right(self._ids, high)
        return last - first if low <= high else len(self._ids) - first + last


def presence(said: Statement, members: Membership) -> float:
    """
    The part of those certified between the ends of a leaf set that are in it.
    """
    after, before = said.ends()
    listed = len(members) if said.whole else members.between(before, after)
    return sum(node in members for node in (said.node, *said.members())) / max(1, listed)
