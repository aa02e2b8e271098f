"""
An experiment: what becomes of stored objects while nodes come and go (Rowstron and Druschel, SOSP 2001; POST, section
2: "regardless of node addition or failure").

Computers are up and off in turn; most come back with what their disks had.  Objects are inserted in the first minutes,
and fetched from then on: any of them by any node.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random

from post.sim.hosts import Hosts
from post.sim.keeping import Keeping
from post.sim.latency import sphere
from post.sim.network import Delay
from post.sim.overlay import Overlay
from post.sim.routing import JOINS_PER_S, Told
from post.sim.turnover import Turnover

K, MINIMUM = 3, 2
"""Copies of everything, and how many of them have to be on other nodes than the one that inserts: as policies have
it."""
FETCHES_PER_S = 1.0
GRACE_S = 60.0
"""After the last fetch, for what is under way; and before the first insert, for the ring to come to rest."""
STEP_S = 10.0
"""Between two tellings of how far it is."""


@dataclass(frozen=True)
class StorageReport:
    """
    What was measured.  Messages count with their replies, as frames that arrived.

    @ivar nodes: computers, of which a part is up; C{up_mean}: how many nodes were in the ring.
    @ivar k: copies that are to be made.
    @ivar size: of each object in bytes.
    @ivar session_mean_s: how long those were up that went; C{off_mean_s}: how long those were off that came; 0 if none.
    @ivar simulated_s: from the first insert to the last fetch.
    @ivar departures: of nodes; C{gone}: of these, for good.
    @ivar inserted: objects whose insert was acknowledged; of the others C{failed_inserts} were refused, and the rest
        ended with their origin.
    @ivar fetched: fetches that got the right bytes in L{post.sim.keeping.LATE_S}; C{late}: those that did not, or to
        which some did not answer who might have had it; C{wrong}: those that got other bytes; C{orphaned}: those that
        ended with their origin.
    @ivar not_found: fetches to which all who were asked said that they have not got it.
    @ivar dark: of those that were late or not found, those of objects of which no node in the ring had a copy.
    @ivar lost: acknowledged objects that are at the end on no disk of a computer that is up, or comes back.
    @ivar unrepaired: how often the last node went that ran and had a copy, though of such nodes fewer than k had gone
        in the last L{post.sim.keeping.REPAIR_S}: there had been time to make other copies.
    @ivar below_k: the mean share of objects with fewer than k copies on nodes in the ring.
    @ivar stored_bytes: of data that acknowledged inserts put on disks.
    @ivar repair_bytes: of data that holders were sent later; C{repair_ratio}: for each byte stored;
        C{needless_bytes}: of what was sent to those who had got it from another one before.
    @ivar disk_bytes: of data on all disks at the end.
    @ivar msgs_per_node_s: of nodes in the ring, all kinds together.
    @ivar copies_up: over time: seconds since the first insert, nodes in the ring, and of how many objects 0, 1, ..., k
        or more copies were on these.
    """

    nodes: int
    seed: int
    k: int
    size: int
    session_mean_s: float
    off_mean_s: float
    simulated_s: float
    up_mean: float
    departures: int
    gone: int
    objects: int
    inserted: int
    failed_inserts: int
    fetches: int
    fetched: int
    not_found: int
    dark: int
    late: int
    wrong: int
    orphaned: int
    lost: int
    unrepaired: int
    below_k: float
    stored_bytes: int
    repair_bytes: int
    repair_ratio: float
    needless_bytes: int
    disk_bytes: int
    msgs_per_node_s: float
    wall_s: float
    copies_up: tuple[tuple[float, int, tuple[int, ...]], ...] = ()


def run(
    nodes: int,
    seed: int,
    objects: int,
    size: int,
    session_s: float,
    off_s: float,
    gone_part: float,
    simulated_s: float,
    k: int = K,
    fetches_per_s: float = FETCHES_PER_S,
    delay: Delay | None = None,
    told: Told = lambda done, total: None,
) -> StorageReport:
    """
    Let C{nodes} computers be a ring, come and go, and keep C{objects} of C{size} bytes for C{simulated_s}.

    @param session_s: how long a node is up, in the mean; 0: nobody goes.
    @param off_s: how long it is off, in the mean.
    @param gone_part: of those that go, the part that never comes back.
    """
    began_at = time.perf_counter()
    overlay = Overlay(seed, delay or sphere(seed))
    hosts = Hosts(overlay, k, min(MINIMUM, k - 1))
    total = int(simulated_s)
    form(hosts, nodes)
    chance = Random(f"storage {seed}")
    keeping = Keeping(hosts, chance)
    turnover = Turnover(hosts, chance, session_s, off_s, gone_part, keeping.left)
    frames = overlay.network.frames
    keeping.begin(objects, size, simulated_s, fetches_per_s)
    turnover.begin()
    while keeping.second < simulated_s:
        told(int(keeping.second), total)
        overlay.clock.advance(min(STEP_S, simulated_s - keeping.second))
    frames = overlay.network.frames - frames
    turnover.end()
    overlay.clock.advance(GRACE_S)
    keeping.close()
    told(total, total)
    up_mean = _mean([float(up) for _, up, _ in keeping.samples])
    stored_bytes, repair_bytes = keeping.stored_copies * size, hosts.ledger.repair_bytes
    return StorageReport(
        nodes=nodes,
        seed=seed,
        k=k,
        size=size,
        session_mean_s=_mean(turnover.stays_s),
        off_mean_s=_mean(turnover.aways_s),
        simulated_s=simulated_s,
        up_mean=up_mean,
        departures=len(turnover.stays_s),
        gone=turnover.gone,
        objects=objects,
        inserted=len(keeping.acknowledged),
        failed_inserts=keeping.failed_inserts,
        fetches=keeping.fetches,
        fetched=keeping.fetched,
        not_found=keeping.not_found,
        dark=keeping.dark,
        late=keeping.late,
        wrong=keeping.wrong,
        orphaned=keeping.orphaned,
        lost=keeping.lost,
        unrepaired=keeping.unrepaired,
        below_k=keeping.below_k,
        stored_bytes=stored_bytes,
        repair_bytes=repair_bytes,
        repair_ratio=repair_bytes / stored_bytes if stored_bytes else 0.0,
        needless_bytes=hosts.ledger.needless_bytes,
        disk_bytes=sum(host.disk.totals()[1] for host in hosts.all.values() if host.disk is not None),
        msgs_per_node_s=frames / simulated_s / up_mean,
        wall_s=time.perf_counter() - began_at,
        copies_up=tuple(keeping.samples),
    )


def form(hosts: Hosts, nodes: int) -> None:
    """
    Let C{nodes} new computers become a ring, one after the other, and that come to rest.
    """
    overlay = hosts.overlay
    for _ in range(nodes):
        hosts.buy().boot()
        overlay.clock.advance(1 / JOINS_PER_S)
    overlay.wait(lambda: len(overlay.active()) == nodes, GRACE_S)
    overlay.clock.advance(GRACE_S)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
