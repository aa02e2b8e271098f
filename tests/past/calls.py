"""
Real databases in a test that has no reactor: what their writer's thread tells waits until somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import Event
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from post.commit import GroupCommit

_T = TypeVar("_T")

PATIENCE_S = 30.0
"""Of real time, for a disk to answer; only a bug takes longer."""


class Calls:
    """
    Stands for C{reactor.callFromThread}.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], Any]] = SimpleQueue()

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._queue.put(lambda: function(*arguments))

    def wait(self, work: Deferred[_T]) -> _T | Failure:
        """
        What C{work} fires with, success or failure.
        """
        results: list[_T | Failure] = []
        work.addBoth(results.append)
        while not results:
            self._queue.get(timeout=PATIENCE_S)()
        return results[0]

    def result(self, work: Deferred[_T]) -> _T:
        """
        Of C{work} that has to succeed.
        """
        result = self.wait(work)
        if isinstance(result, Failure):
            result.raiseException()
        return result


class Brake:
    """
    Holds up the writer of a database: what is submitted from now on waits, and is then taken together.
    """

    def __init__(self, commit: GroupCommit) -> None:
        self._held = Event()
        self._go = Event()
        commit.submit(lambda _: self._hold())
        self._held.wait(PATIENCE_S)

    def _hold(self) -> None:
        self._held.set()
        self._go.wait(PATIENCE_S)

    def release(self) -> None:
        """
        Let it go on.
        """
        self._go.set()
