"""
An experiment: how soon, how surely and at what cost many nodes become one ring by the protocol alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from post.ids import NodeId
from post.sim.census import DISTANCE, UPKEEP, Census
from post.sim.latency import sphere
from post.sim.network import Delay
from post.sim.overlay import SEEDS, Overlay, address
from post.sim.routing import Told, quantile

PATIENCE_S = 600.0
"""After the last newcomer, for the ring to be right."""
STEP_S = 0.1
"""Between two looks."""


@dataclass(frozen=True)
class JoinsReport:
    """
    What was measured.  Messages count with their replies, as frames that arrived, until the ring was right.

    @ivar rate_per_s: newcomers in a second; 0 if all came at once.
    @ivar active: who was in the ring at the end; C{failed}: whose way in ended with an error.
    @ivar right_s: after the last newcomer had come, until all were active and all leaf sets right; C{None} if that
        took longer than L{PATIENCE_S}.
    @ivar active_p50_s: from its start until a node was active, for half of them; C{active_p99_s}: for 99 %.
    @ivar msgs_per_join: without what finds out distances and without heartbeats.
    @ivar distance_msgs_per_join: what finds out who is near in the network.
    @ivar heartbeats_per_join: of those that waited for the others to come.
    @ivar msgs_by_kind: all, by the name of the message.
    """

    nodes: int
    seed: int
    rate_per_s: float
    active: int
    failed: int
    wrong_leaf_sets: int
    right_s: float | None
    active_p50_s: float
    active_p99_s: float
    msgs_per_join: float
    distance_msgs_per_join: float
    heartbeats_per_join: float
    msgs_by_kind: dict[str, int]
    simulated_s: float
    events_per_s: float
    wall_s: float


def run(
    nodes: int, seed: int, rate_per_s: float, delay: Delay | None = None, told: Told = lambda done, total: None
) -> JoinsReport:
    """
    Start C{nodes}, one after the other or all at once; each is told of some who are in the ring, or, before anybody
    is, of the first ones.
    """
    began_at = time.perf_counter()
    overlay = Overlay(seed, delay or sphere(seed))
    census = Census(overlay.network)
    start_s = overlay.clock.seconds()
    started: dict[NodeId, float] = {}
    took_s: list[float] = []
    events = 0

    def entered(result: object, node: NodeId) -> None:
        took_s.append(overlay.clock.seconds() - started[node])
        told(len(took_s), nodes)

    points = [overlay.point() for _ in range(nodes)]
    founders = [address(point) for point in points[:SEEDS]]
    for point in points:
        started[point] = overlay.clock.seconds()
        joined = overlay.join(point, () if overlay.active() else founders).joined
        assert joined is not None
        joined.addCallback(entered, point)
        if rate_per_s:
            events += overlay.clock.advance(1 / rate_per_s)
    last_s = overlay.clock.seconds()
    right_s = None
    while right_s is None and overlay.clock.seconds() < last_s + PATIENCE_S:
        if len(overlay.active()) == nodes and overlay.is_right():
            right_s = overlay.clock.seconds() - last_s
        else:
            events += overlay.clock.advance(STEP_S)
    census.stop()
    took_s.sort()
    told(nodes, nodes)
    wall_s = time.perf_counter() - began_at
    return JoinsReport(
        nodes,
        seed,
        rate_per_s,
        len(overlay.active()),
        len(overlay.failures),
        overlay.wrong_leaf_sets(),
        right_s,
        quantile(took_s, 0.5),
        quantile(took_s, 0.99),
        census.without(*DISTANCE, *UPKEEP) / nodes,
        census.of(*DISTANCE) / nodes,
        census.of(*UPKEEP) / nodes,
        dict(census.counts.most_common()),
        overlay.clock.seconds() - start_s,
        events / wall_s,
        wall_s,
    )
