"""
An experiment: what becomes of lookups while nodes come and go (MSPastry, section 5).
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from random import Random

from post.errors import ConfigError
from post.ids import NodeId
from post.sim.latency import sphere
from post.sim.network import Delay
from post.sim.overlay import Overlay, Sent
from post.sim.reach import Reaches
from post.sim.routing import Told

GRACE_S = 60.0
"""After the last lookup, for what is still on its way."""
FORGET_S = 120.0
"""After which a lookup is judged: nothing takes so long to arrive that arrives."""
LOOKUPS_PER_NODE_S = 0.014
"""So that 2,000 nodes make 400,000 in four hours."""
SHOWN_S = 10.0
"""Between two tellings of how far it is."""
EVENTS_LIMIT = 10_000_000
"""Lines of a trace."""

Event = tuple[float, int, bool]
"""Seconds from the beginning, which node, whether it comes (or goes)."""


@dataclass(frozen=True)
class ChurnReport:
    """
    What was measured after the warm-up.  Messages count with their replies and acknowledgements.

    @ivar nodes: that were in the ring, in the mean.
    @ivar session_mean_s: for which a node stayed, of those that went: less than C{asked_session_s}, since those that
        stay for long have not gone by the end.
    @ivar lost: lookups that were never delivered though their origin lived on for L{FORGET_S}; C{orphaned}: those whose
        origin did not.
    @ivar incorrect: deliveries by a node that was not the root among those in the ring.
    @ivar doubled: lookups delivered more than once.
    @ivar stretch_mean: the time that lookups took over that of the direct way, all together.
    @ivar control_msgs_per_node_s: all messages that are no hop of a lookup nor its acknowledgement.
    @ivar indirect: how many nodes are reached by way of others at the end, of all nodes together.
    """

    nodes: float
    seed: int
    loss: float
    session_mean_s: float
    simulated_s: float
    arrivals: int
    departures: int
    lookups: int
    delivered: int
    lost: int
    orphaned: int
    incorrect: int
    doubled: int
    hops_mean: float
    stretch_mean: float
    control_msgs_per_node_s: float
    wrong_leaf_sets: int
    wall_s: float
    indirect: int = 0
    asked_session_s: float | None = None


def poisson(seed: int, nodes: int, session_s: float) -> Iterator[Event]:
    """
    C{nodes} that are there at the beginning, and others that come at such a rate that about as many always are; each
    stays for a time that is C{session_s} in the mean, exponentially distributed, and does not come again.
    """
    chance = Random(f"churn {seed}")
    leaving: list[tuple[float, int]] = []
    numbers = count()
    for number in range(nodes):
        yield 0.0, next(numbers), True
        heappush(leaving, (chance.expovariate(1 / session_s), number))
    coming_s = chance.expovariate(nodes / session_s)
    while True:
        if leaving and leaving[0][0] < coming_s:
            at_s, number = heappop(leaving)
            yield at_s, number, False
        else:
            number = next(numbers)
            yield coming_s, number, True
            heappush(leaving, (coming_s + chance.expovariate(1 / session_s), number))
            coming_s += chance.expovariate(nodes / session_s)


def trace(path: Path) -> Iterator[Event]:
    """
    From a file: each line has the second, the node's number, and C{up} or C{down}, separated by spaces or commas, in
    the order of time.

    @raise ConfigError: says which line is wrong.
    """
    last_s = 0.0
    there: set[int] = set()
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            text = line.partition("#")[0].replace(",", " ").split()
            if not text:
                continue
            where = f"{path}, line {number}"
            try:
                at_s, node, up = float(text[0]), int(text[1]), {"up": True, "down": False}[text[2].lower()]
            except (ValueError, KeyError, IndexError):
                raise ConfigError(where, "not a second, a node's number, and up or down") from None
            if not math.isfinite(at_s) or at_s < last_s or number > EVENTS_LIMIT:
                raise ConfigError(where, "times have to rise")
            if (node in there) is up:
                raise ConfigError(where, f"node {node} is {'up' if up else 'down'} already")
            (there.add if up else there.discard)(node)
            last_s = at_s
            yield at_s, node, up


class Churn:
    """
    One run.
    """

    def __init__(self, overlay: Overlay, events: Iterator[Event]) -> None:
        self.overlay = overlay
        self.arrivals = self.departures = 0
        self.stays_s: list[float] = []
        self._events = events
        self._next: Event | None = None
        self._places: dict[int, NodeId] = {}  # A node that comes again has the id that it had.
        self._came_s: dict[int, float] = {}
        self._at_s = 0.0

    def begin(self) -> int:
        """
        Put together those who are there at the beginning; how many these are.
        """
        first: list[int] = []
        for event in self._events:
            if event[0] > 0:
                self._next = event
                break
            first.append(event[1])
        for number, node in zip(first, self.overlay.found(len(first), acquainted=True), strict=True):
            self._places[number] = node
            self._came_s[number] = 0.0
        return len(first)

    def until(self, second: float) -> bool:
        """
        Let nodes come and go until C{second} after the beginning; C{False} if the trace has ended before.
        """
        while self._next is not None and self._next[0] <= second:
            at_s, number, up = self._next
            self._pass(at_s)
            self._happen(number, up)
            self._next = next(self._events, None)
        self._pass(second)
        return self._next is not None

    def _pass(self, second: float) -> None:
        if second > self._at_s:
            self.overlay.clock.advance(second - self._at_s)
            self._at_s = second

    def _happen(self, number: int, up: bool) -> None:
        overlay = self.overlay
        if up:
            self.arrivals += 1
            self._places[number] = overlay.join(self._places.get(number)).id
            self._came_s[number] = self._at_s
        else:
            self.departures += 1
            self.stays_s.append(self._at_s - self._came_s.pop(number))
            overlay.crash(self._places[number])


def run(
    events: Iterator[Event],
    seed: int,
    simulated_s: float,
    warm_up_s: float = 3600.0,
    loss: float = 0.0,
    lookups_per_node_s: float = LOOKUPS_PER_NODE_S,
    delay: Delay | None = None,
    told: Told = lambda done, total: None,
    reaches: Reaches | None = None,
) -> ChurnReport:
    """
    Let nodes come and go as C{events} says for C{warm_up_s}, and while keys are looked up for C{simulated_s} more.
    """
    began_at = time.perf_counter()
    overlay = Overlay(seed, delay or sphere(seed), loss)
    overlay.network.reaches = reaches
    churn = Churn(overlay, events)
    if not churn.begin():
        raise ConfigError("the trace", "nobody is there at the beginning, at second 0")
    total = int(warm_up_s + simulated_s)
    chance = Random(f"lookups {seed}")
    tally = _Tally(overlay)
    frames = 0
    second, began_s, present, shown_s = 0.0, 0.0, 0.0, 0.0
    going_on = True
    while going_on and second < total:
        there = len(overlay.active())
        wait_s = chance.expovariate(there * lookups_per_node_s) if there else 1.0
        if second < warm_up_s <= second + wait_s:
            began_s, present, frames = second, 0.0, overlay.network.frames
            tally.begin()
            churn.arrivals = churn.departures = 0
            churn.stays_s.clear()
        present += there * wait_s
        second += wait_s
        going_on = churn.until(second)
        if overlay.active():
            tally.add(overlay.look_up(overlay.anybody()))
        if second >= shown_s:
            told(min(int(second), total), total)
            shown_s = second + SHOWN_S
    measured_s = second - began_s
    frames = overlay.network.frames - frames
    overlay.clock.advance(GRACE_S)
    tally.close()
    told(total, total)
    return ChurnReport(
        present / measured_s,
        seed,
        loss,
        sum(churn.stays_s) / len(churn.stays_s) if churn.stays_s else math.nan,
        measured_s,
        churn.arrivals,
        churn.departures,
        tally.sent,
        tally.delivered,
        tally.lost,
        tally.orphaned,
        tally.incorrect,
        tally.doubled,
        tally.hops / tally.delivered if tally.delivered else math.nan,
        tally.took_s / tally.direct_s if tally.direct_s else math.nan,
        (frames - 2 * tally.hops) / present,
        overlay.wrong_leaf_sets(),
        time.perf_counter() - began_at,
        overlay.indirect(),
    )


class _Tally:
    """
    Adds up what became of lookups, and lets go of those that are done with.
    """

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self._open: dict[int, Sent] = overlay.lookups
        self.begin()

    def begin(self) -> None:
        """
        Count from now on.
        """
        self.sent = self.delivered = self.lost = self.orphaned = self.incorrect = self.doubled = self.hops = 0
        self.took_s = self.direct_s = 0.0
        self._open.clear()

    def add(self, sent: Sent | None) -> None:
        """
        A lookup was made; C{None} if its origin refused it, which counts as lost.
        """
        self.sent += 1
        if sent is None:
            self.lost += 1
        before_s = self._overlay.clock.seconds() - FORGET_S
        while self._open:
            number, oldest = next(iter(self._open.items()))
            if oldest.at_s > before_s:
                break
            self._judge(self._open.pop(number))

    def close(self) -> None:
        """
        Judge all that are left.
        """
        while self._open:
            self._judge(self._open.pop(next(iter(self._open))))

    def _judge(self, sent: Sent) -> None:
        self.hops += sent.hops
        self.incorrect += sent.wrong
        if sent.took_s is None:
            if sent.origin in self._overlay.members:
                self.lost += 1
            else:
                self.orphaned += 1
            return
        self.delivered += 1
        self.doubled += sent.deliveries > 1
        self.took_s += sent.took_s
        self.direct_s += sent.direct_s
