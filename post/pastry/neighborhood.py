"""
The neighborhood set: the nodes that are nearest to us in the network, wherever they are on the ring (pure).

It takes no part in routing.  It is where a search for a near node begins, for a newcomer that asks us the way and for
ourselves when the leaf set is lost (Pastry, section 2.2; the papers' M).
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator

from post.ids import NodeId

SIZE = 32
"""The papers' M."""


class NeighborhoodSet:
    """
    The C{size} nodes with the shortest round trips among those measured.
    """

    __slots__ = ("_nearest", "_times", "size")

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self._nearest: list[tuple[float, NodeId]] = []
        self._times: dict[NodeId, float] = {}

    def __len__(self) -> int:
        return len(self._nearest)

    def __contains__(self, node: object) -> bool:
        return node in self._times

    def __iter__(self) -> Iterator[NodeId]:
        """
        Nearest first.
        """
        return iter([node for _, node in self._nearest])

    def measured(self, node: NodeId, round_trip_s: float) -> None:
        """
        C{node} is this far away now.
        """
        self.remove(node)
        insort(self._nearest, (round_trip_s, node))
        self._times[node] = round_trip_s
        if len(self._nearest) > self.size:
            _, farthest = self._nearest.pop()
            del self._times[farthest]

    def remove(self, node: NodeId) -> None:
        """
        Forget C{node}, if it is there.
        """
        known = self._times.pop(node, None)
        if known is not None:
            self._nearest.remove((known, node))
