"""
How often nodes die, judged by those whose death one has seen, and how often to look after them for that reason
(MSPastry, section 4.1: self-tuning).
"""

from __future__ import annotations

from collections import deque

from twisted.internet.interfaces import IReactorTime

KEPT = 16
"""The deaths that count: the last ones, so that the rate follows the time of day, and enough not to waver by more than
a quarter of it."""
PRIOR_S = 36_000.0
"""What is believed before anybody has died: one node in ten hours of one node's life.  As deaths are seen that counts
less and less."""


class FailureRate:
    """
    Deaths per node and second.
    """

    __slots__ = ("_clock", "_deaths")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._deaths = deque([clock.seconds()], KEPT)

    def note(self) -> None:
        """
        Somebody has died.
        """
        self._deaths.append(self._clock.seconds())

    def rate(self, watched: int) -> float:
        """
        Of C{watched} nodes, each one's chance to die in the next second.
        """
        seen = len(self._deaths)
        lived_s = max(1, watched) * max(1.0, self._clock.seconds() - self._deaths[0])
        return seen / (lived_s + PRIOR_S * (KEPT - seen) / KEPT)


def period_s(rate: float, part: float, hops: float) -> float:
    """
    How long nodes may be left alone so that no more than C{part} of all messages meet a dead one, if each passes by
    C{hops} of them, and they die at C{rate} (of MSPastry's formula the first term; it holds for small parts).

    Of those last heard from at any time in a period C{T} a part of C{rate * T / 2} is dead.
    """
    return 2 * part / (rate * hops)
