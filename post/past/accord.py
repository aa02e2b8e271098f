"""
Whether our clock agrees with others' (pure): each receipt says when its holder signed it.

Leases, certificates and the dates of mail all rest on clocks that agree.  The median over several holders is not moved
by the one whose clock is wrong; a node that alone disagrees with it has to look at its own.
"""

from __future__ import annotations

from collections import OrderedDict
from statistics import median

from post.ids import NodeId

HOLDERS_LIMIT = 64
"""Holders remembered, those that were heard last; a median needs no more."""
ENOUGH = 2
"""Of one other clock nobody can say which of the two is wrong."""


class Accord:
    """
    By holder, by how many seconds its clock was ahead of ours when last heard.
    """

    def __init__(self) -> None:
        self._ahead: OrderedDict[NodeId, int] = OrderedDict()

    def note(self, holder: NodeId, ahead_s: int) -> None:
        """
        C{holder} has just signed a receipt.
        """
        self._ahead[holder] = ahead_s
        self._ahead.move_to_end(holder)
        if len(self._ahead) > HOLDERS_LIMIT:
            self._ahead.popitem(last=False)

    def ahead_s(self) -> float | None:
        """
        By how much the others are ahead of us, by their median; C{None} if too few have been heard.
        """
        return float(median(self._ahead.values())) if len(self._ahead) >= ENOUGH else None
