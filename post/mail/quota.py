"""
How much one member may send to the Internet: whoever has got hold of their password, or their machine, should not have
the whole domain refused everywhere.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

DAY_S = 86400
MEMBERS_LIMIT = 10_000
"""Members remembered; whoever has not sent for longest is forgotten first, and by then has their whole quota again."""


@dataclass
class _Rest:
    """
    What is left, as of a time.
    """

    count: float
    at: float


class Quota:
    """
    So many recipients a day for each member: all at once, or spread; what is used comes back evenly.
    """

    def __init__(self, per_day: int) -> None:
        """
        @param per_day: 0 for as many as they like.
        """
        self._per_day = per_day
        self._rests: OrderedDict[str, _Rest] = OrderedDict()

    def wait_s(self, member: str, count: int, now: float) -> float:
        """
        Take C{count} of C{member}'s quota and return 0; or take nothing, and return after how many seconds there is
        enough.
        """
        if not self._per_day:
            return 0.0
        count = min(count, self._per_day)
        rest = self._rests.pop(member, None) or _Rest(self._per_day, now)
        # A clock that was set back gives nothing.
        regained = max(0.0, now - rest.at) * self._per_day / DAY_S
        rest = self._rests[member] = _Rest(min(self._per_day, rest.count + regained), now)
        if len(self._rests) > MEMBERS_LIMIT:
            self._rests.popitem(last=False)
        if rest.count < count:
            return (count - rest.count) * DAY_S / self._per_day
        rest.count -= count
        return 0.0
