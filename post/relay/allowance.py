"""
How much somebody may have carried (pure): a bucket that fills at a rate and is emptied by what is sent.
"""

from __future__ import annotations


class Allowance:
    """
    So many units per second, and C{burst} at once after a pause.
    """

    __slots__ = ("_at_s", "_burst", "_left", "_per_s")

    def __init__(self, per_s: float, burst: float, now: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._at_s = now

    def take(self, units: float, now: float) -> bool:
        """
        Use C{units}, if that many are left.
        """
        self._fill(now)
        if units > self._left:
            return False
        self._left -= units
        return True

    def use(self, units: float, now: float) -> None:
        """
        Use C{units} in any case, and be in debt if they are not there.
        """
        self._fill(now)
        self._left -= units

    def wait_s(self, units: float, now: float) -> float:
        """
        After how long so many are left.
        """
        self._fill(now)
        return max(0.0, (units - self._left) / self._per_s)

    def _fill(self, now: float) -> None:
        # A clock that was set back fills nothing.
        self._left = min(self._burst, self._left + max(0.0, now - self._at_s) * self._per_s)
        self._at_s = now
