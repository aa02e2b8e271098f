"""
The time of the imaginary world: one clock for many thousand nodes.

L{SimClock} has the shape of a reactor's time (C{IReactorTime}), but C{callLater} costs the same with ten calls pending
as with a million; Twisted's own test clock sorts its list at each call.  Two calls due at one instant run in the order
in which they were made, so that a run depends on nothing but its seed.

Each node of a simulation has its own L{SkewedClock}: computers disagree about the time of day, fall asleep, and die
with all their timers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import Any

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

EPOCH_S = 1_800_000_000.0
"""Where simulated time begins unless told otherwise: in January 2027, so that dates and certificates look real."""

SLOTS_PER_S = 32
"""Short enough that the timers of many thousand nodes wait in lists; long enough that not every frame finds a new one.
A power of two, so that where a slot ends is exact."""

_PENDING, _CALLED, _CANCELLED = 0, 1, 2
_Entry = tuple[float, int, Any, "tuple[Any, ...] | None"]


@implementer(IDelayedCall)
class SimCall:
    """
    A call that is to be made later.
    """

    __slots__ = ("_args", "_function", "_kwargs", "_owner", "_state", "due_s", "order")

    def __init__(
        self,
        owner: SimClock | SkewedClock,
        function: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> None:
        self._owner = owner
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._state = _PENDING
        self.due_s = 0.0
        self.order = 0

    def getTime(self) -> float:
        return self.due_s + self._owner.skew_s

    def cancel(self) -> None:
        self._check()
        self._state = _CANCELLED
        self._function = _nothing
        self._args = ()
        self._owner.forget(self)

    def delay(self, secondsLater: float) -> None:
        self._check()
        self._owner.schedule(self, self.due_s + secondsLater)

    def reset(self, secondsFromNow: float) -> None:
        self._check()
        self._owner.schedule(self, self._owner.seconds() - self._owner.skew_s + secondsFromNow)

    def active(self) -> bool:
        return self._state == _PENDING

    def run(self) -> None:
        """
        Make the call.
        """
        self._state = _CALLED
        self._function(*self._args, **self._kwargs)

    def _check(self) -> None:
        if self._state == _CALLED:
            raise AlreadyCalled
        if self._state == _CANCELLED:
            raise AlreadyCancelled


@implementer(IReactorTime)
class SimClock:
    """
    One for the whole world.  What a call raises comes out of L{advance}: in a simulation a bug must not be a log line.
    """

    skew_s = 0.0

    def __init__(self, start_s: float = EPOCH_S) -> None:
        self._now_s = start_s
        self._order = 0
        self._stale = 0
        self._pending = 0
        # What is due: (time, order, function, arguments), or (time, order, SimCall, None) for what can be taken back.
        # A heap of what is due before C{_soon_s}; the rest waits in the order in which it came, by slots of time, so
        # that the heap stays small however many nodes there are.
        self._heap: list[_Entry] = []
        self._soon_s = start_s
        self._slots: dict[int, list[_Entry]] = {}
        self._numbers: list[int] = []  # Of the slots; a heap.

    def seconds(self) -> float:
        return self._now_s

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object) -> IDelayedCall:
        if delay < 0:
            raise ValueError(f"{delay} s is in the past")
        call = SimCall(self, callable, args, kwargs)
        self.schedule(call, self._now_s + delay)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        entries = [*self._heap, *chain.from_iterable(self._slots.values())]
        return [
            call
            for _, order, call, arguments in sorted(entries, key=lambda entry: entry[:2])
            if arguments is None and call.active() and call.order == order
        ]

    def at(self, due_s: float, function: Callable[..., object], *args: object) -> None:
        """
        Call C{function} at the time C{due_s}; this cannot be taken back, and is cheaper than C{callLater}.
        """
        self._order += 1
        self._put((due_s, self._order, function, args))

    def schedule(self, call: SimCall, due_s: float) -> None:
        """
        Have C{call}, new or not, made at C{due_s}.
        """
        if call.order:
            self._stale += 1
        self._order += 1
        call.order = self._order
        call.due_s = due_s
        self._put((due_s, self._order, call, None))

    def _put(self, entry: _Entry) -> None:
        self._pending += 1
        due_s = entry[0]
        if due_s < self._soon_s:
            heappush(self._heap, entry)
            return
        number = int(due_s * SLOTS_PER_S)
        slot = self._slots.get(number)
        if slot is None:
            self._slots[number] = [entry]
            heappush(self._numbers, number)
        else:
            slot.append(entry)

    def _next_slot(self) -> None:
        """
        Let the next slot be the heap, which is empty.
        """
        number = heappop(self._numbers)
        self._heap = self._slots.pop(number)
        heapify(self._heap)
        self._soon_s = (number + 1) / SLOTS_PER_S

    def forget(self, call: SimCall) -> None:
        """
        C{call} is cancelled.  Its entry stays until most entries are such; then all are dropped at once.
        """
        self._stale += 1
        if self._stale > 1000 and self._stale * 2 > self._pending:
            self._heap = [entry for entry in self._heap if _is_to_come(entry)]
            heapify(self._heap)
            self._slots = {
                number: [entry for entry in slot if _is_to_come(entry)] for number, slot in self._slots.items()
            }
            self._stale = 0
            self._pending = len(self._heap) + sum(map(len, self._slots.values()))

    def fire(self, call: SimCall) -> None:
        """
        Make a call whose time has come.
        """
        call.run()

    def advance(self, seconds: float) -> int:
        """
        Let C{seconds} pass, doing what becomes due.

        @return: how many calls were made.
        """
        return self._run(self._now_s + seconds, None)

    def run_until(self, predicate: Callable[[], bool], limit_s: float) -> bool:
        """
        Let time pass until C{predicate()}, asked after every call made, holds; for C{limit_s} at most.

        @return: whether it held.
        """
        if predicate():
            return True
        self._run(self._now_s + limit_s, predicate)
        return predicate()

    def _run(self, end_s: float, until: Callable[[], bool] | None) -> int:
        made = 0
        while True:
            heap = self._heap  # "forget" may have put another in its place.
            if not heap:
                # What is due at the very end of a slot is in that one or, by the rounding of numbers, in the next.
                if not self._numbers or self._numbers[0] > int(end_s * SLOTS_PER_S):
                    break
                self._next_slot()
                continue
            if heap[0][0] > end_s:
                break
            due_s, order, function, arguments = heappop(heap)
            self._pending -= 1
            if arguments is not None:
                if due_s > self._now_s:
                    self._now_s = due_s
                function(*arguments)
            elif function.order != order or not function.active():
                self._stale -= 1
                continue
            else:
                if due_s > self._now_s:
                    self._now_s = due_s
                function._owner.fire(function)
            made += 1
            if until is not None and until():
                return made
        self._now_s = end_s
        return made


def _is_to_come(entry: _Entry) -> bool:
    """
    Whether what C{entry} would call has not been taken back, nor put off.
    """
    return entry[3] is not None or (entry[2].active() and entry[2].order == entry[1])


@implementer(IReactorTime)
class SkewedClock:
    """
    The time as one computer sees it: C{skew_s} off, standing still while the computer sleeps, ending when it dies.
    """

    __slots__ = (
        "_asleep",
        "_clock",
        "_halted",
        "skew_s",
    )

    def __init__(self, clock: SimClock, skew_s: float = 0.0) -> None:
        self._clock = clock
        self.skew_s = skew_s
        self._halted = False
        self._asleep: list[SimCall] | None = None

    def seconds(self) -> float:
        return self._clock.seconds() + self.skew_s

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kwargs: object) -> IDelayedCall:
        if delay < 0:
            raise ValueError(f"{delay} s is in the past")
        call = SimCall(self, callable, args, kwargs)
        self.schedule(call, self._clock.seconds() + delay)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        return [call for call in self._clock.getDelayedCalls() if isinstance(call, SimCall) and call._owner is self]

    def pause(self) -> None:
        """
        Fall asleep: what becomes due from now on waits for L{resume}.
        """
        if self._asleep is None:
            self._asleep = []

    def resume(self) -> None:
        """
        Wake up: all that became due meanwhile is due now.
        """
        overdue, self._asleep = self._asleep or [], None
        for call in overdue:
            if call.active():
                call.order = 0  # It left the heap when its time came.
                self.schedule(call, self._clock.seconds())

    def halt(self) -> None:
        """
        Die: nothing that was to be called ever is.
        """
        self._halted = True

    def schedule(self, call: SimCall, due_s: float) -> None:
        self._clock.schedule(call, due_s)

    def forget(self, call: SimCall) -> None:
        self._clock.forget(call)

    def fire(self, call: SimCall) -> None:
        if self._halted:
            return
        if self._asleep is not None:
            self._asleep.append(call)
        else:
            call.run()


def _nothing() -> None:
    """
    In place of what a cancelled call would have called, so that it does not keep that alive.
    """
