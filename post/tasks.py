"""
Background work that ends with its owner.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

_T = TypeVar("_T")


def sleep(clock: IReactorTime, seconds: float) -> Deferred[None]:
    """
    Fires after C{seconds}; cancelling it cancels the timer.
    """
    done: Deferred[None] = Deferred(lambda _: call.cancel())
    call = clock.callLater(seconds, done.callback, None)
    return done


class Rest:
    """
    Pauses of one coroutine, which others can cut short.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._pause: Deferred[None] | None = None
        self._woken = False

    def wake(self) -> None:
        """
        End the pause, if there is one.
        """
        if self._pause is not None:
            self._woken = True
            self._pause.cancel()

    async def pause(self, seconds: float) -> None:
        """
        Returns after C{seconds}, or when it is woken; what cancels the coroutine itself does so.
        """
        self._woken = False
        self._pause = pause = sleep(self._clock, seconds)
        try:
            await pause
        except CancelledError:
            if not self._woken:
                raise
        finally:
            self._pause = None


async def gather(coroutines: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """
    Run all at once, wait until every one has ended, and return their results or raise the first failure itself.

    Waiting for the failed ones' siblings too means that nothing goes on behind the caller's back.
    """
    outcomes = await DeferredList([Deferred.fromCoroutine(each) for each in coroutines], consumeErrors=True)
    for _, outcome in outcomes:
        if isinstance(outcome, Failure):
            outcome.raiseException()
    return [outcome for _, outcome in outcomes]


class Tasks:
    """
    The background coroutines of one service.

    @ivar stopped: whether nothing starts any more.
    """

    __slots__ = ("_recurring", "_running", "stopped")

    log = Logger()

    def __init__(self) -> None:
        self._running: set[Deferred[Any]] = set()
        self._recurring: list[_Recurring] = []
        self.stopped = False

    def spawn(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """
        Run C{coroutine}; log how it failed, if it does.  After L{stop} it is closed unrun.
        """
        if self.stopped:
            coroutine.close()
            return
        work = Deferred.fromCoroutine(coroutine)
        if not work.called:
            self._running.add(work)
        work.addBoth(self._ended, work)

    def _ended(self, result: object, work: Deferred[Any]) -> None:
        self._running.discard(work)
        if isinstance(result, Failure) and not result.check(CancelledError):
            self.log.failure("background work failed", failure=result)

    def every(
        self, clock: IReactorTime, seconds: Callable[[], float], work: Callable[[], Coroutine[Any, Any, object] | None]
    ) -> None:
        """
        Do C{work} again and again, C{seconds()} after the last time ended; what it returns is waited for, if that is a
        coroutine.  A failure is logged and does not end it, nor does the cancelling of something that it waited for;
        only L{stop} does.
        """
        if not self.stopped:
            self._recurring.append(_Recurring(self, clock, seconds, work))

    def stop(self) -> None:
        """
        Cancel what is left; nothing starts any more.
        """
        self.stopped = True
        for each in self._recurring:
            each.stop()
        for work in list(self._running):
            work.cancel()


class _Recurring:
    """
    Work that is done again and again.  Between two times it is one timer and nothing else: a simulation has several of
    these for each of many thousand nodes.
    """

    __slots__ = ("_call", "_clock", "_seconds", "_tasks", "_work")

    def __init__(
        self,
        tasks: Tasks,
        clock: IReactorTime,
        seconds: Callable[[], float],
        work: Callable[[], Coroutine[Any, Any, object] | None],
    ) -> None:
        self._tasks = tasks
        self._clock = clock
        self._seconds = seconds
        self._work = work
        self._call: IDelayedCall | None = clock.callLater(seconds(), self._due)

    def stop(self) -> None:
        """
        Not again.
        """
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _due(self) -> None:
        self._call = None
        try:
            coroutine = self._work()
        except Exception:
            # Whatever it was: what is done again and again has another chance, and a node does not die of one failure.
            self._tasks.log.failure("periodic work failed")
            coroutine = None
        if coroutine is None:
            self._wait()
        else:
            self._tasks.spawn(self._attend(coroutine))

    async def _attend(self, coroutine: Coroutine[Any, Any, object]) -> None:
        try:
            await coroutine
        except Exception:  # As above.
            if self._tasks.stopped:
                raise
            self._tasks.log.failure("periodic work failed")
        self._wait()

    def _wait(self) -> None:
        if not self._tasks.stopped:
            self._call = self._clock.callLater(self._seconds(), self._due)
