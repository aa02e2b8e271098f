"""
Tests for L{post.tasks}.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.errors import NotFound
from post.tasks import Rest, Tasks, gather, sleep


class TasksTests(SynchronousTestCase):
    """
    Tests for L{Tasks}, L{gather} and L{sleep}.
    """

    def test_stop(self) -> None:
        """
        What runs is cancelled, what comes after never starts.
        """
        clock, tasks, ended = Clock(), Tasks(), list[str]()

        async def work() -> None:
            try:
                await sleep(clock, 5)
            finally:
                ended.append("x")

        tasks.spawn(work())
        tasks.stop()
        tasks.spawn(work())
        self.assertEqual((["x"], []), (ended, clock.getDelayedCalls()))

    def test_failure(self) -> None:
        """
        A failure is logged.
        """

        async def work() -> None:
            raise KeyError("x")

        Tasks().spawn(work())
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))

    def test_every(self) -> None:
        """
        Periodic work goes on after a failure.
        """
        clock, tasks, done = Clock(), Tasks(), list[int]()

        async def work() -> None:
            done.append(1)
            raise KeyError("x")

        tasks.every(clock, lambda: 1.0, work)
        clock.pump([1.0] * 3)
        self.assertEqual(3, len(done))
        self.assertEqual(3, len(self.flushLoggedErrors(KeyError)))
        tasks.stop()

    def test_gather(self) -> None:
        """
        The first failure is raised itself, after all have ended.
        """
        clock, ended = Clock(), list[int]()

        async def work(seconds: int, error: Exception | None) -> int:
            await sleep(clock, seconds)
            ended.append(seconds)
            if error is not None:
                raise error
            return seconds

        good = Deferred.fromCoroutine(gather([work(2, None), work(1, None)]))
        bad = Deferred.fromCoroutine(gather([work(3, NotFound("x")), work(4, None)]))
        clock.pump([1.0] * 3)
        self.assertEqual([2, 1], self.successResultOf(good))
        self.assertNoResult(bad)
        clock.advance(1)
        self.failureResultOf(bad, NotFound)
        self.assertEqual([1, 2, 3, 4], ended)

    def test_cancelled_below(self) -> None:
        """
        Periodic work goes on although what it waited for was cancelled by somebody else, and ends when it is stopped.
        """
        clock, tasks, waits = Clock(), Tasks(), list[Deferred[None]]()

        async def work() -> None:
            waits.append(Deferred())
            await waits[-1]

        tasks.every(clock, lambda: 1.0, work)
        clock.advance(1)
        waits[0].cancel()
        self.assertEqual(1, len(self.flushLoggedErrors()))
        clock.advance(1)
        self.assertEqual(2, len(waits))
        tasks.stop()
        clock.advance(1)
        self.assertEqual((2, []), (len(waits), clock.getDelayedCalls()))


class RestTests(SynchronousTestCase):
    """
    Tests for L{Rest}.
    """

    def test_woken(self) -> None:
        """
        A pause ends when its time is over, or when it is woken; waking nobody does nothing.
        """
        clock = Clock()
        rest = Rest(clock)
        rest.wake()
        pause = Deferred.fromCoroutine(rest.pause(5))
        clock.advance(4)
        self.assertNoResult(pause)
        clock.advance(1)
        self.successResultOf(pause)
        pause = Deferred.fromCoroutine(rest.pause(5))
        rest.wake()
        self.successResultOf(pause)
        self.assertEqual([], clock.getDelayedCalls())

    def test_cancelled(self) -> None:
        """
        Whose coroutine is cancelled does not go on.
        """
        clock = Clock()
        rest = Rest(clock)
        pause = Deferred.fromCoroutine(rest.pause(5))
        rest.wake()
        self.successResultOf(pause)
        pause = Deferred.fromCoroutine(rest.pause(5))
        pause.cancel()
        self.failureResultOf(pause, CancelledError)
        self.assertEqual([], clock.getDelayedCalls())
