"""
Tests for L{post.sim.clock}.
"""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.sim.clock import EPOCH_S, SimClock, SkewedClock


class SimClockTests(SynchronousTestCase):
    """
    Tests for L{SimClock}.
    """

    def setUp(self) -> None:
        self.clock = SimClock()
        self.made: list[object] = []

    def test_interfaces(self) -> None:
        """
        Clocks and their calls are what a reactor's time is.
        """
        verifyObject(IReactorTime, self.clock)
        verifyObject(IReactorTime, SkewedClock(self.clock))
        verifyObject(IDelayedCall, self.clock.callLater(1, self.made.append, 1))

    def test_order(self) -> None:
        """
        Calls are made when they are due, those due at one instant in the order in which they were asked for.
        """
        self.clock.callLater(2, self.made.append, "late")
        self.clock.callLater(1, self.made.append, "first")
        self.clock.callLater(1, self.made.append, "second")
        self.clock.at(EPOCH_S + 1, self.made.append, "third")
        self.clock.advance(1)
        self.assertEqual(["first", "second", "third"], self.made)
        self.assertEqual(EPOCH_S + 1, self.clock.seconds())
        self.clock.advance(1)
        self.assertEqual("late", self.made[-1])

    def test_calls_made_by_calls(self) -> None:
        """
        What a call asks for is done within the same L{SimClock.advance} if it becomes due in it, at its own time.
        """

        def again(left: int) -> None:
            self.made.append(self.clock.seconds() - EPOCH_S)
            if left:
                self.clock.callLater(1, again, left - 1)

        self.clock.callLater(1, again, 5)
        self.clock.advance(3.5)
        self.assertEqual([1, 2, 3], self.made)

    def test_cancel(self) -> None:
        """
        A cancelled call is not made and cannot be cancelled again.
        """
        call = self.clock.callLater(1, self.made.append, 1)
        call.cancel()
        self.clock.advance(2)
        self.assertEqual([], self.made)
        self.assertFalse(call.active())
        self.assertRaises(AlreadyCancelled, call.cancel)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_called(self) -> None:
        """
        A call that was made cannot be cancelled or put off.
        """
        call = self.clock.callLater(1, self.made.append, 1)
        self.clock.advance(1)
        self.assertRaises(AlreadyCalled, call.cancel)
        self.assertRaises(AlreadyCalled, call.reset, 1)

    def test_reset_and_delay(self) -> None:
        """
        A call that was put off is made once, at its new time.
        """
        soon, late = (self.clock.callLater(each, self.made.append, each) for each in (1, 2))
        soon.reset(5)
        late.delay(1)
        self.assertEqual([late, soon], self.clock.getDelayedCalls())
        self.clock.advance(4)
        self.assertEqual([2], self.made)
        soon.reset(0.5)
        self.clock.advance(10)
        self.assertEqual([2, 1], self.made)

    def test_error(self) -> None:
        """
        What a call raises comes out, and the clock goes on behind it.
        """
        self.clock.callLater(1, lambda: 1 // 0)
        self.clock.callLater(2, self.made.append, 2)
        self.assertRaises(ZeroDivisionError, self.clock.advance, 3)
        self.assertEqual(EPOCH_S + 1, self.clock.seconds())
        self.clock.advance(2)
        self.assertEqual([2], self.made)

    def test_run_until(self) -> None:
        """
        Time stops passing when the predicate holds, or at the limit.
        """
        for delay in (1, 2, 3):
            self.clock.callLater(delay, self.made.append, delay)
        self.assertTrue(self.clock.run_until(lambda: 2 in self.made, 10))
        self.assertEqual(EPOCH_S + 2, self.clock.seconds())
        self.assertFalse(self.clock.run_until(lambda: 7 in self.made, 10))
        self.assertEqual(EPOCH_S + 12, self.clock.seconds())

    def test_many_cancelled(self) -> None:
        """
        Timers that are always cancelled, as those of answered questions are, do not pile up.
        """
        for _ in range(10_000):
            self.clock.callLater(60, self.made.append, 0).cancel()
        self.assertTrue(len(self.clock._heap) < 3000)

    @given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["wait", "cancel", "reset"]), st.integers(0, 9))))
    def test_as_twisted(self, steps: list[tuple[int, str, int]]) -> None:
        """
        Whatever is asked of it, it makes the same calls in the same time as Twisted's own clock.
        """
        self.assertEqual(_play(Clock(), steps), _play(SimClock(0.0), steps))


class SkewedClockTests(SynchronousTestCase):
    """
    Tests for L{SkewedClock}.
    """

    def setUp(self) -> None:
        self.world = SimClock()
        self.clock = SkewedClock(self.world, -30.0)
        self.made: list[object] = []

    def test_skew(self) -> None:
        """
        It shows another time of day, and seconds of the same length.
        """
        call = self.clock.callLater(5, self.made.append, 1)
        self.assertEqual(EPOCH_S - 30, self.clock.seconds())
        self.assertEqual(EPOCH_S - 25, call.getTime())
        call.reset(4)
        self.world.advance(4)
        self.assertEqual([1], self.made)

    def test_pause(self) -> None:
        """
        What became due in its sleep is done on waking, unless it is cancelled by what comes first.
        """
        calls: list[IDelayedCall] = []
        self.clock.callLater(1, lambda: calls[0].cancel())
        calls.append(self.clock.callLater(2, self.made.append, "cancelled"))
        self.clock.callLater(3, self.made.append, "late")
        self.clock.pause()
        self.world.advance(10)
        self.assertEqual([], self.made)
        self.clock.resume()
        self.world.advance(0)
        self.assertEqual(["late"], self.made)

    def test_halt(self) -> None:
        """
        A dead computer's timers never ring; others' do.
        """
        self.clock.callLater(1, self.made.append, "dead")
        self.world.callLater(2, self.made.append, "alive")
        self.clock.halt()
        self.clock.callLater(1, self.made.append, "dead")
        self.world.advance(5)
        self.assertEqual(["alive"], self.made)


def _play(clock: Clock | SimClock, steps: list[tuple[int, str, int]]) -> list[list[int]]:
    """
    Which calls each passing of time made.  (Twisted's clock first lets all the time pass, and then makes the calls.)
    """
    batches: list[list[int]] = []
    made: list[int] = []
    calls: list[IDelayedCall] = []
    choice = Random(7)
    for number, (delay, action, amount) in enumerate([*steps, (0, "wait", 100)]):
        calls.append(clock.callLater(delay, made.append, number))
        call = choice.choice(calls)
        if action == "wait":
            clock.advance(amount)
            batches.append(sorted(made))
            made.clear()
        elif call.active():
            if action == "cancel":
                call.cancel()
            else:
                call.reset(amount)
    return batches
