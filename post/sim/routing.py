"""
An experiment: how far, how straight and how surely messages are routed in a ring where nobody comes or goes.
"""

from __future__ import annotations

import gc
import math
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from post.sim.latency import sphere
from post.sim.network import Delay
from post.sim.overlay import Overlay, Sent
from post.sim.reach import Reaches

JOINED_LIMIT = 2000
"""Nodes up to which a ring forms by the protocol; a larger one is put together from global knowledge."""
JOINS_PER_S = 20.0
GRACE_S = 60.0
"""After the last lookup or join, for what is still under way."""
IDLE_S = 60.0
"""For which the messages of an idle ring are counted."""
JOINS, GLOBAL = "joins", "global"
STEP_LOOKUPS = 1000
"""Between two tellings of how far it is."""

Told = Callable[[int, int], None]
"""Is told how much of how much has been done."""


@dataclass(frozen=True)
class RoutingReport:
    """
    What was measured.  Messages count with their replies and acknowledgements, as frames that arrived.

    @ivar built: how the ring was made, L{JOINS} or L{GLOBAL}.
    @ivar delivered: lookups that arrived; C{wrong}: of these, at a node that is not the root of the key.
    @ivar settled_s: how long the ring was left alone before it was measured.
    @ivar stretch_mean: the ways of all lookups over the direct ones, with links that are there already.
    @ivar msgs_per_join: for all that the nodes said from the first to the end of the last join, C{None} if nobody
        joined.
    @ivar msgs_per_node_s: in a minute in which nothing was looked up.
    @ivar bytes_per_node: memory of this process over what it was before, after all lookups.
    @ivar events_per_s: what the simulator did in a second of real time, once the ring was there.
    @ivar idle_events_per_s: the same while nothing was looked up.
    @ivar indirect: how many nodes are reached by way of others, of all nodes together.
    """

    nodes: int
    seed: int
    built: str
    lookups: int
    delivered: int
    wrong: int
    wrong_leaf_sets: int
    hops_mean: float
    hops_p99: int
    hops_histogram: tuple[int, ...]
    stretch_mean: float
    msgs_per_join: float | None
    msgs_per_node_s: float
    bytes_per_node: int
    events_per_s: float
    idle_events_per_s: float
    wall_s: float
    settled_s: float = 0.0
    indirect: int = 0


def run(
    nodes: int,
    seed: int,
    lookups: int,
    delay: Delay | None = None,
    told: Told = lambda done, total: None,
    joined_limit: int = JOINED_LIMIT,
    reaches: Reaches | None = None,
    settled_s: float = 0.0,
) -> RoutingReport:
    """
    Make a ring of C{nodes}, leave it alone for C{settled_s}, count what it says when nothing happens, and look up as
    many keys, ten for each node and second.
    """
    gc.collect()
    memory = _memory_bytes()
    began_at = time.perf_counter()
    total = nodes + lookups
    overlay = Overlay(seed, delay or sphere(seed))
    overlay.network.reaches = reaches
    joins = nodes <= joined_limit
    form(overlay, nodes, joined_limit, lambda done: told(done, total))
    building = overlay.network.frames
    gc.freeze()  # Otherwise what stays is looked through again and again.
    try:
        formed_at = time.perf_counter()
        events = overlay.clock.advance(settled_s)
        settling = overlay.network.frames
        idle_events = overlay.clock.advance(IDLE_S)
        idle = overlay.network.frames - settling
        idle_wall_s = time.perf_counter() - formed_at
        idle_events_per_s = (events + idle_events) / idle_wall_s
        events += idle_events
        sent: list[Sent] = []
        for number in range(lookups):
            one = overlay.look_up(overlay.anybody())
            if one is not None:
                sent.append(one)
            events += overlay.clock.advance(0.1 / nodes)
            if number % STEP_LOOKUPS == 0:
                told(nodes + number, total)
        events += overlay.clock.advance(GRACE_S)
        told(total, total)
        events_per_s = events / (time.perf_counter() - formed_at)
    finally:
        gc.unfreeze()
    arrived = [each for each in sent if each.deliveries]
    hops = sorted(each.hops for each in arrived)
    direct_s = sum(each.direct_s for each in arrived)
    wall_s = time.perf_counter() - began_at
    return RoutingReport(
        nodes,
        seed,
        JOINS if joins else GLOBAL,
        lookups,
        len(arrived),
        sum(each.wrong for each in arrived),
        overlay.wrong_leaf_sets(),
        sum(hops) / len(hops) if hops else math.nan,
        hops[math.ceil(0.99 * len(hops)) - 1] if hops else 0,
        tuple(hops.count(number) for number in range(hops[-1] + 1)) if hops else (),
        sum(each.way_s for each in arrived) / direct_s if direct_s else math.nan,
        building / nodes if joins else None,
        idle / IDLE_S / nodes,
        max(0, _memory_bytes() - memory) // nodes,
        events_per_s,
        idle_events_per_s,
        wall_s,
        settled_s,
        overlay.indirect(),
    )


def form(overlay: Overlay, nodes: int, joined_limit: int, told: Callable[[int], None]) -> int:
    """
    Make a ring of C{nodes}: by the protocol up to C{joined_limit}, from global knowledge above.

    @param told: is told how many there are.
    @return: how many events that took.
    """
    events = 0
    if nodes <= joined_limit:
        while len(overlay.members) < nodes:
            overlay.join()
            events += overlay.clock.advance(1 / JOINS_PER_S)
            told(len(overlay.members))
        overlay.wait(lambda: len(overlay.active()) == nodes, GRACE_S)
    else:
        overlay.found(nodes)
    told(nodes)
    return events


def quantile(values: list[float], part: float) -> float:
    """
    The least of C{values}, which rise, that C{part} of them are not above.
    """
    return values[math.ceil(part * len(values)) - 1] if values else math.nan


def _memory_bytes() -> int:
    """
    The most that this process has used so far.
    """
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
