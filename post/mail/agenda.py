"""
What is to be done when: many things, one timer.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from post.tasks import sleep


class Due(NamedTuple):
    """
    What C{key} names is due C{at} (seconds), and C{pause_s} after that again if it is not done.
    """

    at: float
    pause_s: float
    key: bytes


class Agenda:
    """
    Things that are due, and one who waits for them.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._due: list[Due] = []
        self._resting: Deferred[None] | None = None
        self._nudged = False

    def replace(self, due: Iterable[Due]) -> None:
        """
        Forget everything, and begin with this.
        """
        self._due = list(due)
        heapify(self._due)

    def add(self, due: Due) -> None:
        """
        That too; whoever rests wakes up if it comes first.
        """
        first = self._due[0].at if self._due else due.at
        heappush(self._due, due)
        if due.at <= first and self._resting is not None and not self._nudged:
            self._nudged = True
            self._resting.cancel()

    async def take(self, most: int, most_s: float) -> list[Due]:
        """
        At most so many things that are due now, which are forgotten; if there are none, nothing, after waiting for the
        next, C{most_s} at most.
        """
        now = self._clock.seconds()
        taken: list[Due] = []
        while self._due and self._due[0].at <= now and len(taken) < most:
            taken.append(heappop(self._due))
        if not taken:
            await self._rest(min(most_s, self._due[0].at - now) if self._due else most_s)
        return taken

    async def _rest(self, seconds: float) -> None:
        self._nudged = False
        self._resting = sleep(self._clock, seconds)
        try:
            await self._resting
        except CancelledError:
            if not self._nudged:
                raise  # Whoever waits is to stop.
        finally:
            self._resting = None
