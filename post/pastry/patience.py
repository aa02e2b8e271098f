"""
How long a hop may take to acknowledge a message (pure).

The estimator of RFC 6298, over what comes on top of the round trip of the link: how late others are, in the mean, and
four times how much that varies.  On a quiet network that is hardly anything; where computers are busy or frames get
lost it grows by itself.  As in MSPastry (section 3.2) it is less patient than TCP, which would add a second: to be
wrong costs a message and a question, since a message that comes over two ways is delivered once.
"""

from __future__ import annotations

GAIN = 1 / 8
RISE, FALL = 1 / 4, 1 / 32
"""How fast the variation follows: slowly downwards, since most are prompt where one in ten is late, and an
acknowledgement that comes too late is not measured."""
VARIATIONS = 4


class Patience:
    """
    Of one node with all others, since it hears from most of them too rarely to know each.
    """

    __slots__ = ("_late_s", "_least_s", "_most_s", "_varies_s")

    def __init__(self, least_s: float, most_s: float) -> None:
        self._least_s = least_s
        self._most_s = most_s
        self._late_s = 0.0
        self._varies_s = 0.1 / VARIATIONS  # Before anything is known.

    def wait_s(self, round_trip_s: float) -> float:
        """
        How long to wait for somebody who is so far away.
        """
        return round_trip_s + min(max(self._late_s + VARIATIONS * self._varies_s, self._least_s), self._most_s)

    def took(self, seconds: float, round_trip_s: float) -> None:
        """
        An acknowledgement has come.
        """
        late_s = min(max(0.0, seconds - round_trip_s), 2 * self._most_s)  # It may be that we slept.
        surprise_s = abs(late_s - self._late_s) - self._varies_s
        self._varies_s += (RISE if surprise_s > 0 else FALL) * surprise_s
        self._late_s += GAIN * (late_s - self._late_s)

    def hasty(self) -> None:
        """
        Who did not answer in time is alive: as if it had taken twice as long.
        """
        self.took(2 * self.wait_s(0.0), 0.0)
