"""
An experiment: the network breaks into parts for a while, in which rings of their own go on, and then works again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from post.ids import NodeId
from post.sim.census import Census
from post.sim.churn import LOOKUPS_PER_NODE_S
from post.sim.latency import sphere
from post.sim.network import Delay
from post.sim.overlay import Overlay, Sent
from post.sim.routing import JOINED_LIMIT, Told, form

SETTLED_S = 60.0
"""Between the forming of the ring and the break."""
PATIENCE_S = 900.0
"""For all to be one ring again."""
AFTER_S = 300.0
"""For which keys are looked up once it is."""
GRACE_S = 60.0
"""After the last lookup, for what is still under way."""
STEP_S = 0.5
"""Between two looks."""


@dataclass(frozen=True)
class PartitionReport:
    """
    What was measured.

    @ivar parts: how many nodes were in each.
    @ivar apart_s: from the break until each part was a ring of its own; C{None} if that did not come about.
    @ivar one_s: from the healing until all were one ring; C{None} if that took longer than L{PATIENCE_S}.
    @ivar delivered: lookups that arrived, of all, made before the break and until long after the healing.
    @ivar wrong_apart: deliveries, while the network was broken, by a node that reached a nearer one.
    @ivar wrong_meeting: deliveries, after the healing and before all were one ring, by who was the root of one of the
        rings and not of all.
    @ivar wrong_after: deliveries after that by a node that was not the root.
    @ivar msgs_per_node: that arrived while the rings became one; C{msgs_by_kind} by the name of the message.
    @ivar msgs_per_node_s: in the last minutes before the healing.
    """

    nodes: int
    seed: int
    built: str
    parts: tuple[int, ...]
    broken_s: float
    apart_s: float | None
    one_s: float | None
    lookups: int
    refused: int
    delivered: int
    wrong_apart: int
    wrong_meeting: int
    wrong_after: int
    msgs_per_node: float
    msgs_by_kind: dict[str, int]
    msgs_per_node_s: float
    wrong_leaf_sets: int
    events_per_s: float
    wall_s: float


class _Traffic:
    """
    Keys are looked up all the time.
    """

    def __init__(self, overlay: Overlay, lookups_per_node_s: float) -> None:
        self.sent: list[Sent] = []
        self.refused = 0
        self.events = 0
        self._overlay = overlay
        self._chance = Random(f"lookups {overlay.seed}")
        self._per_s = lookups_per_node_s * len(overlay.active())
        self._next_s = self._gap_s()

    def advance(self, seconds: float) -> None:
        """
        Let C{seconds} pass.
        """
        clock = self._overlay.clock
        end_s = clock.seconds() + seconds
        while self._next_s <= seconds:
            self.events += clock.advance(self._next_s)
            seconds -= self._next_s
            one = self._overlay.look_up(self._overlay.anybody())
            if one is None:
                self.refused += 1
            else:
                self.sent.append(one)
            self._next_s = self._gap_s()
        self._next_s -= seconds
        self.events += clock.advance(max(0.0, end_s - clock.seconds()))

    def _gap_s(self) -> float:
        return self._chance.expovariate(self._per_s)


def run(
    nodes: int,
    seed: int,
    shares: Sequence[float],
    broken_s: float,
    lookups_per_node_s: float = LOOKUPS_PER_NODE_S,
    delay: Delay | None = None,
    told: Told = lambda done, total: None,
    joined_limit: int = JOINED_LIMIT,
) -> PartitionReport:
    """
    Make a ring of C{nodes}, break the network into parts that have C{shares} of them for C{broken_s}, heal it, and wait
    until all are one ring.
    """
    began_at = time.perf_counter()
    overlay = Overlay(seed, delay or sphere(seed))
    clock, network = overlay.clock, overlay.network
    events = form(overlay, nodes, joined_limit, lambda done: told(done, nodes))
    traffic = _Traffic(overlay, lookups_per_node_s)
    traffic.advance(SETTLED_S)
    parts = _parts(overlay, shares)
    network.partition(parts)
    broke_s = clock.seconds()
    apart_s = None
    frames_apart, since_s = 0, broke_s
    while clock.seconds() < broke_s + broken_s:
        if apart_s is None and all(overlay.is_right(part) for part in parts):
            apart_s = clock.seconds() - broke_s
        if clock.seconds() < broke_s + broken_s / 2:
            frames_apart, since_s = network.frames, clock.seconds()
        traffic.advance(min(STEP_S if apart_s is None else 10.0, broke_s + broken_s - clock.seconds()))
        told(int(clock.seconds() - broke_s), int(broken_s))
    frames_apart = network.frames - frames_apart
    quiet_s = clock.seconds() - since_s
    wrong_apart = overlay.wrong
    census = Census(network)
    network.heal()
    healed_s = clock.seconds()
    one_s = None
    while one_s is None and clock.seconds() < healed_s + PATIENCE_S:
        if overlay.is_right():
            one_s = clock.seconds() - healed_s
        else:
            traffic.advance(STEP_S)
    census.stop()
    wrong_meeting = overlay.wrong - wrong_apart
    traffic.advance(AFTER_S)
    events += traffic.events + clock.advance(GRACE_S)
    told(int(broken_s), int(broken_s))
    wall_s = time.perf_counter() - began_at
    return PartitionReport(
        nodes,
        seed,
        "joins" if nodes <= joined_limit else "global",
        tuple(len(part) for part in parts),
        broken_s,
        apart_s,
        one_s,
        len(traffic.sent) + traffic.refused,
        traffic.refused,
        sum(each.deliveries > 0 for each in traffic.sent),
        wrong_apart,
        wrong_meeting,
        overlay.wrong - wrong_apart - wrong_meeting,
        census.without() / nodes,
        dict(census.counts.most_common()),
        frames_apart / nodes / quiet_s if quiet_s else 0.0,
        overlay.wrong_leaf_sets(),
        events / wall_s,
        wall_s,
    )


def _parts(overlay: Overlay, shares: Sequence[float]) -> list[list[NodeId]]:
    """
    Everybody, by chance; each part in the order of ids, and not empty.
    """
    nodes = overlay.random.sample(overlay.active(), len(overlay.active()))
    whole, count = sum(shares), len(nodes)
    ends = [round(count * sum(shares[: number + 1]) / whole) for number in range(len(shares))]
    return [sorted(nodes[start:end]) for start, end in zip([0, *ends], ends, strict=False)]
