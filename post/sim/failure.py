"""
An experiment: a part of all nodes dies in one instant.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from post.errors import ConfigError
from post.sim.latency import sphere
from post.sim.network import Delay
from post.sim.overlay import Overlay, Sent
from post.sim.routing import JOINED_LIMIT, Told, form, quantile

SETTLED_S = 60.0
"""Between the forming of the ring and the blow."""
LOOKUPS_S = 2.0
"""After the blow, while all lookups are made."""
GRACE_S = 60.0
"""After the last lookup, for what is still under way."""
PATIENCE_S = 600.0
"""For all leaf sets to be right again."""
STEP_S = 0.5
"""Between two looks."""


@dataclass(frozen=True)
class FailureReport:
    """
    What was measured.

    @ivar killed: who died, with the computer: nothing even refuses.
    @ivar refused: lookups that their origin was too busy to take.
    @ivar delivered: that arrived; C{wrong}: of these, at a node that was not the root among those alive.
    @ivar took_p50_s: until a lookup arrived, for half of them; C{took_p99_s}: for 99 %; C{took_most_s}: for all.
    @ivar right_s: from the blow until all leaf sets were right; C{None} if that took longer than L{PATIENCE_S}.
    @ivar wrong_leaf_sets: of how many nodes the leaf set was wrong just after the blow; C{left_wrong}: at the end.
    @ivar msgs_per_node: that arrived from the blow until all was right, lookups included.
    """

    nodes: int
    seed: int
    built: str
    killed: int
    lookups: int
    refused: int
    delivered: int
    wrong: int
    took_p50_s: float
    took_p99_s: float
    took_most_s: float
    right_s: float | None
    wrong_leaf_sets: int
    left_wrong: int
    msgs_per_node: float
    events_per_s: float
    wall_s: float


def run(
    nodes: int,
    seed: int,
    part: float,
    lookups: int,
    delay: Delay | None = None,
    told: Told = lambda done, total: None,
    joined_limit: int = JOINED_LIMIT,
) -> FailureReport:
    """
    Make a ring of C{nodes}, end C{part} of them, look up as many keys from anywhere in the next L{LOOKUPS_S}, and wait
    until the rest is a ring.
    """
    began_at = time.perf_counter()
    if round(part * nodes) >= nodes:
        raise ConfigError("--percent", f"nobody is left of {nodes} nodes")
    overlay = Overlay(seed, delay or sphere(seed))
    total = nodes + lookups
    events = form(overlay, nodes, joined_limit, lambda done: told(done, total))
    events += overlay.clock.advance(SETTLED_S)
    frames = overlay.network.frames
    for node in overlay.random.sample(overlay.active(), round(part * nodes)):
        overlay.crash(node)
    struck_s = overlay.clock.seconds()
    wrong = overlay.wrong_leaf_sets()
    sent: list[Sent] = []
    for number in range(lookups):
        one = overlay.look_up(overlay.anybody())
        if one is not None:
            sent.append(one)
        events += overlay.clock.advance(LOOKUPS_S / lookups)
        told(nodes + number, total)
    right_s = None if wrong else 0.0
    while right_s is None and overlay.clock.seconds() < struck_s + PATIENCE_S:
        if overlay.is_right():
            right_s = overlay.clock.seconds() - struck_s
        else:
            events += overlay.clock.advance(STEP_S)
    frames = overlay.network.frames - frames
    rest_s = struck_s + LOOKUPS_S + GRACE_S - overlay.clock.seconds()
    if rest_s > 0:
        events += overlay.clock.advance(rest_s)
    told(total, total)
    arrived = [each for each in sent if each.deliveries]
    took_s = sorted(each.took_s for each in arrived if each.took_s is not None)
    wall_s = time.perf_counter() - began_at
    return FailureReport(
        nodes,
        seed,
        "joins" if nodes <= joined_limit else "global",
        nodes - len(overlay.active()),
        lookups,
        lookups - len(sent),
        len(arrived),
        sum(each.wrong for each in arrived),
        quantile(took_s, 0.5),
        quantile(took_s, 0.99),
        quantile(took_s, 1.0),
        right_s,
        wrong,
        overlay.wrong_leaf_sets(),
        frames / len(overlay.active()),
        events / wall_s,
        wall_s,
    )
