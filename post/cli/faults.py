"""
C{post sim failure|partition|joins}: what becomes of rings to which much happens at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from post.cli.experiments import NODES_LIMIT, Rows, chosen, delay, every, options, plotter, progress, show
from post.sim import failure as failure_experiment
from post.sim import joins as joins_experiment
from post.sim import partition as partition_experiment
from post.sim.churn import LOOKUPS_PER_NODE_S
from post.sim.failure import FailureReport
from post.sim.joins import JoinsReport
from post.sim.partition import PartitionReport
from post.sim.routing import JOINED_LIMIT

PARTS_LIMIT = 10
"""Into which a network breaks: of more, most would have nobody in them."""

_joined = click.option(
    "--joined",
    type=click.IntRange(0),
    default=JOINED_LIMIT,
    show_default=True,
    help="Rings up to this size form node by node; larger ones are put together from global knowledge.",
)


def _shares(ctx: click.Context, param: click.Parameter, value: str) -> tuple[float, ...]:
    """
    Shares such as C{30/70}, of which none is nothing.
    """
    parts = value.split("/")
    if not 2 <= len(parts) <= PARTS_LIMIT or not all(part.isascii() and part.isdigit() for part in parts):
        raise click.BadParameter(f"{value!r} is not like 30/70: two to {PARTS_LIMIT} whole numbers")
    shares = tuple(float(part) for part in parts)
    if min(shares) < 1 or max(shares) > NODES_LIMIT:
        raise click.BadParameter(f"in {value!r} a part has nobody, or too many")
    return shares


@click.command()
@click.option("--nodes", type=click.IntRange(3, NODES_LIMIT), default=1000, show_default=True, help="In the ring.")
@click.option(
    "--percent", type=click.FloatRange(0, 90), default=10.0, show_default=True, help="Of them, killed in one instant."
)
@click.option(
    "--lookups", type=click.IntRange(1), default=20_000, show_default=True, help="In the two seconds after that."
)
@_joined
@options
def failure(
    nodes: int,
    percent: float,
    lookups: int,
    joined: int,
    seed: int | None,
    latency: str,
    as_json: bool,
    plot: Path | None,
) -> None:
    """
    What becomes of lookups, and how soon the rest is a ring, when a part of all nodes dies at once.
    """
    draw = plotter(plot, "failure")
    seed = chosen(seed)
    far = delay(latency, seed)
    with progress(f"{nodes:,} nodes", as_json) as told:
        report = failure_experiment.run(nodes, seed, percent / 100, lookups, far, told, joined)
    repeat = f"failure --nodes {nodes} --percent {percent:g} --lookups {lookups}{_unless_default(joined)}"
    show(_FAILURE, [report], as_json, repeat, seed, latency)
    if plot is not None:
        draw([report], plot)


@click.command()
@click.option("--nodes", type=click.IntRange(3, NODES_LIMIT), default=1000, show_default=True, help="In the ring.")
@click.option(
    "--split",
    callback=_shares,
    default="50/50",
    show_default=True,
    metavar="A/B[/C...]",
    help="The parts of the network.",
)
@click.option(
    "--minutes", type=click.FloatRange(0.1), default=60.0, show_default=True, help="For which they are apart."
)
@click.option(
    "--lookups",
    type=click.FloatRange(0.0001),
    default=LOOKUPS_PER_NODE_S,
    show_default=True,
    help="Of each node in a second.",
)
@_joined
@options
def partition(
    nodes: int,
    split: tuple[float, ...],
    minutes: float,
    lookups: float,
    joined: int,
    seed: int | None,
    latency: str,
    as_json: bool,
    plot: Path | None,
) -> None:
    """
    What becomes of a ring while its network is broken, and how soon it is one again afterwards.
    """
    draw = plotter(plot, "partition")
    if nodes * min(split) < sum(split):
        raise click.BadParameter(f"of {nodes} nodes one part would have none", param_hint="--split")
    seed = chosen(seed)
    far = delay(latency, seed)
    with progress("simulated seconds", as_json) as told:
        report = partition_experiment.run(nodes, seed, split, 60 * minutes, lookups, far, told, joined)
    shares = "/".join(f"{share:.0f}" for share in split)
    repeat = f"partition --nodes {nodes} --split {shares} --minutes {minutes:g} --lookups {lookups:g}"
    show(_PARTITION, [report], as_json, repeat + _unless_default(joined), seed, latency)
    if plot is not None:
        draw([report], plot)


@click.command()
@click.option("--nodes", type=click.IntRange(1, NODES_LIMIT), default=1000, show_default=True, help="In the ring.")
@click.option(
    "--rate",
    "rates",
    type=click.FloatRange(0),
    multiple=True,
    default=(5.0,),
    show_default=True,
    help="Newcomers in a second; 0: all at once.  Given several times, one ring after the other.",
)
@options
def joins(
    nodes: int,
    rates: Sequence[float],
    seed: int | None,
    latency: str,
    as_json: bool,
    plot: Path | None,
) -> None:
    """
    How soon many nodes become one ring, and what that costs.
    """
    draw = plotter(plot, "joins")
    seed = chosen(seed)
    far = delay(latency, seed)
    reports = []
    for rate in rates:
        with progress(f"{nodes:,} nodes", as_json) as told:
            reports.append(joins_experiment.run(nodes, seed, rate, far, told))
    repeat = f"joins --nodes {nodes} {every('--rate', [f'{rate:g}' for rate in rates])}"
    show(_JOINS, reports, as_json, repeat, seed, latency)
    if plot is not None:
        draw(reports, plot)


def _unless_default(joined: int) -> str:
    return "" if joined == JOINED_LIMIT else f" --joined {joined}"


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.1f} s"


_FAILURE: Rows[FailureReport] = (
    ("nodes", lambda each: f"{each.nodes:,}"),
    ("ring made by", lambda each: each.built),
    ("killed", lambda each: f"{each.killed:,}"),
    ("delivered", lambda each: f"{each.delivered:,} of {each.lookups:,}"),
    ("refused by their origin", lambda each: f"{each.refused:,}"),
    ("at a wrong node", lambda each: str(each.wrong)),
    ("took, half of them", lambda each: f"{each.took_p50_s:.2f} s"),
    ("took, 99 %", lambda each: f"{each.took_p99_s:.2f} s"),
    ("took, all", lambda each: f"{each.took_most_s:.2f} s"),
    ("wrong leaf sets just after", lambda each: f"{each.wrong_leaf_sets:,}"),
    ("all leaf sets right after", lambda each: _seconds(each.right_s)),
    ("wrong leaf sets at the end", lambda each: str(each.left_wrong)),
    ("messages per node until then", lambda each: f"{each.msgs_per_node:.0f}"),
    ("events per second here", lambda each: f"{each.events_per_s:,.0f}"),
    ("seconds it took here", lambda each: f"{each.wall_s:.1f}"),
)

_PARTITION: Rows[PartitionReport] = (
    ("nodes", lambda each: f"{each.nodes:,}"),
    ("ring made by", lambda each: each.built),
    ("parts", lambda each: " + ".join(f"{part:,}" for part in each.parts)),
    ("apart for", lambda each: f"{each.broken_s / 60:g} min"),
    ("each part a ring after", lambda each: _seconds(each.apart_s)),
    ("one ring, after the healing", lambda each: _seconds(each.one_s)),
    ("delivered", lambda each: f"{each.delivered:,} of {each.lookups:,}"),
    ("at a wrong node, while apart", lambda each: str(each.wrong_apart)),
    ("at a wrong node, until one ring", lambda each: str(each.wrong_meeting)),
    ("at a wrong node, after that", lambda each: str(each.wrong_after)),
    ("messages per node while becoming one", lambda each: f"{each.msgs_per_node:.0f}"),
    ("messages per node and second, apart", lambda each: f"{each.msgs_per_node_s:.3f}"),
    ("wrong leaf sets at the end", lambda each: str(each.wrong_leaf_sets)),
    ("events per second here", lambda each: f"{each.events_per_s:,.0f}"),
    ("seconds it took here", lambda each: f"{each.wall_s:.1f}"),
)

_JOINS: Rows[JoinsReport] = (
    ("nodes", lambda each: f"{each.nodes:,}"),
    ("newcomers per second", lambda each: f"{each.rate_per_s:g}" if each.rate_per_s else "all at once"),
    ("in the ring", lambda each: f"{each.active:,}"),
    ("ways in that failed", lambda each: str(each.failed)),
    ("wrong leaf sets", lambda each: str(each.wrong_leaf_sets)),
    ("right, after the last came", lambda each: _seconds(each.right_s)),
    ("until active, half", lambda each: f"{each.active_p50_s:.2f} s"),
    ("until active, 99 %", lambda each: f"{each.active_p99_s:.2f} s"),
    ("messages per join", lambda each: f"{each.msgs_per_join:.1f}"),
    ("to find out distances, per join", lambda each: f"{each.distance_msgs_per_join:.1f}"),
    ("heartbeats meanwhile, per join", lambda each: f"{each.heartbeats_per_join:.1f}"),
    ("events per second here", lambda each: f"{each.events_per_s:,.0f}"),
    ("seconds it took here", lambda each: f"{each.wall_s:.1f}"),
)
