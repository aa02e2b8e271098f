"""
Those who wait for records of a log to be safe.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from post.errors import PostError


class Waiting:
    """
    Who waits for which record.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Deferred[None]]] = []

    def until(self, number: int) -> Deferred[None]:
        """
        Fires when the record with this number is safe.
        """
        done: Deferred[None] = Deferred()
        self._waiting.append((number, done))
        return done

    def release(self, below: int) -> None:
        """
        The records numbered below C{below} are safe.
        """
        ready = [deferred for number, deferred in self._waiting if number < below]
        self._waiting = [each for each in self._waiting if each[0] >= below]
        for deferred in ready:
            if not deferred.called:
                deferred.callback(None)

    def refuse(self, error: PostError) -> None:
        """
        Whatever is waited for will not be, or not now.
        """
        refused, self._waiting = self._waiting, []
        for _, deferred in refused:
            if not deferred.called:
                deferred.errback(error)

    def renumber(self, shift: int) -> None:
        """
        The records that are waited for have other numbers now.
        """
        self._waiting = [(number + shift, deferred) for number, deferred in self._waiting]
