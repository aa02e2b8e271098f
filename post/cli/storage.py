"""
C{post sim storage}: what becomes of stored objects while nodes come and go.
"""

from __future__ import annotations

from pathlib import Path

import click

from post.cli.experiments import Rows, chosen, delay, options, plotter, progress, show
from post.past.blocks import CONTENT_LIMIT
from post.sim import storage as experiment
from post.sim.storage import StorageReport

NODES_LIMIT = 2000
"""They have keys and certificates, and come in one after the other, in an imaginary minute and more than a real one."""
OBJECTS_LIMIT = 100_000
SIZE_LEAST = 16
"""Bytes of chance of which no two are the same."""
COPIES_LIMIT = 20
"""As in policies."""


@click.command()
@click.option(
    "--nodes",
    type=click.IntRange(1, NODES_LIMIT),
    default=100,
    show_default=True,
    help="Computers; of these a part is up: SESSION / (SESSION + OFF).",
)
@click.option("--objects", type=click.IntRange(1, OBJECTS_LIMIT), default=200, show_default=True, help="That are kept.")
@click.option(
    "--size", type=click.IntRange(SIZE_LEAST, CONTENT_LIMIT), default=4096, show_default=True, help="Of each, in bytes."
)
@click.option("--k", type=click.IntRange(1, COPIES_LIMIT), default=experiment.K, show_default=True, help="Copies.")
@click.option(
    "--session",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    help="Minutes for which a node is up, in the mean; 0: nobody goes.",
)
@click.option(
    "--off",
    type=click.FloatRange(0.01),
    default=30.0,
    show_default=True,
    help="Minutes for which it is off then, in the mean.",
)
@click.option(
    "--gone",
    type=click.FloatRange(0, 100),
    default=10.0,
    show_default=True,
    help="Percent of those that go whose disk is lost; another computer comes instead.",
)
@click.option("--minutes", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Of coming and going.")
@click.option(
    "--fetches",
    type=click.FloatRange(0.0001, 1000),
    default=experiment.FETCHES_PER_S,
    show_default=True,
    help="In a second, by all nodes together.",
)
@options
def storage(
    nodes: int,
    objects: int,
    size: int,
    k: int,
    session: float,
    off: float,
    gone: float,
    minutes: float,
    fetches: float,
    seed: int | None,
    latency: str,
    as_json: bool,
    plot: Path | None,
) -> None:
    """
    What becomes of stored objects while nodes come and go, and some for good.
    """
    if nodes < k:
        raise click.BadParameter(f"on {nodes} nodes there cannot be {k} copies", param_hint="--nodes")
    draw = plotter(plot, "storage")
    seed = chosen(seed)
    far = delay(latency, seed)
    with progress("simulated seconds", as_json) as told:
        report = experiment.run(
            nodes, seed, objects, size, 60 * session, 60 * off, gone / 100, 60 * minutes, k, fetches, far, told
        )
    repeat = (
        f"storage --nodes {nodes} --objects {objects} --size {size} --k {k} --session {session:g} --off {off:g}"
        f" --gone {gone:g} --minutes {minutes:g} --fetches {fetches:g}"
    )
    show(_STORAGE, [report], as_json, repeat, seed, latency)
    if plot is not None:
        draw([report], plot)


def _kib(size_bytes: int) -> str:
    return f"{size_bytes / 1024:,.0f} KiB"


_STORAGE: Rows[StorageReport] = (
    ("nodes, of these up in the mean", lambda each: f"{each.nodes:,}, {each.up_mean:,.1f}"),
    ("up, off, mean", lambda each: f"{each.session_mean_s / 60:.1f} min, {each.off_mean_s / 60:.1f} min"),
    ("went, of these for good", lambda each: f"{each.departures:,}, {each.gone:,}"),
    ("inserted", lambda each: f"{each.inserted:,} of {each.objects:,}"),
    ("refused", lambda each: f"{each.failed_inserts:,}"),
    ("fetched", lambda each: f"{each.fetched:,} of {each.fetches:,}"),
    ("not found", lambda each: f"{each.not_found:,}"),
    ("late", lambda each: f"{each.late:,}"),
    ("  of these two, no copy was up", lambda each: f"{each.dark:,}"),
    ("wrong bytes", lambda each: f"{each.wrong:,}"),
    ("ended with their origin", lambda each: f"{each.orphaned:,}"),
    ("lost for good", lambda each: f"{each.lost:,}"),
    ("last copy gone though there was time to repair", lambda each: f"{each.unrepaired:,}"),
    ("objects with too few copies up, mean", lambda each: f"{100 * each.below_k:.2f} %"),
    ("stored by inserts", lambda each: _kib(each.stored_bytes)),
    ("sent as repair", lambda each: f"{_kib(each.repair_bytes)}, {each.repair_ratio:.2f} times"),
    ("  of these needlessly", lambda each: _kib(each.needless_bytes)),
    ("on disks at the end", lambda each: _kib(each.disk_bytes)),
    ("messages per node and second", lambda each: f"{each.msgs_per_node_s:.3f}"),
    ("seconds it took here", lambda each: f"{each.wall_s:.1f}"),
)
