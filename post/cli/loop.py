"""
Waiting for Deferreds in a command: an event loop of its own, which ends when the work does.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

_T = TypeVar("_T")


def run(work: Callable[[Any], Coroutine[Any, Any, _T]]) -> _T:  # Any: every interface of a reactor.
    """
    What C{work} returns, given a reactor that is nobody else's.
    """
    reactor: Any = SelectReactor()
    ended: list[_T | Failure] = []

    def begin() -> None:
        def end(result: _T | Failure) -> None:
            ended.append(result)
            reactor.stop()

        Deferred.fromCoroutine(work(reactor)).addBoth(end)

    reactor.callWhenRunning(begin)
    reactor.run(installSignalHandlers=False)
    (result,) = ended
    if isinstance(result, Failure):
        result.raiseException()
    return result
