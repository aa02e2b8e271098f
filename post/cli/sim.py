"""
C{post sim}: what a ring of any size would do, on an imaginary network, with the code that runs in production.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from post.cli.attack import attack
from post.cli.campaign import campaign
from post.cli.experiments import (
    NODES_LIMIT,
    Rows,
    chosen,
    delay,
    every,
    options,
    plotter,
    progress,
    reaching,
    show,
    unreached,
)
from post.cli.faults import failure, joins, partition
from post.cli.storage import storage
from post.sim import churn as churn_experiment
from post.sim import routing as routing_experiment
from post.sim.churn import ChurnReport
from post.sim.routing import RoutingReport


@click.group()
@click.pass_context
def sim(context: click.Context) -> None:
    """
    What rings of any size do, on an imaginary network.

    The code is that of the real nodes; a seed repeats a run exactly.
    """
    # An exception would end whatever node is at work just now, and be logged as its failure, while the run goes on.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    context.call_on_close(lambda: signal.signal(signal.SIGINT, before))


for _command in (attack, campaign, failure, joins, partition, storage):
    sim.add_command(_command)


@sim.command()
@click.option(
    "--nodes",
    "sizes",
    type=click.IntRange(1, NODES_LIMIT),
    multiple=True,
    default=(1000,),
    show_default=True,
    help="Given several times, one ring after the other.",
)
@click.option("--lookups", type=click.IntRange(1), default=10_000, show_default=True, help="In each ring.")
@click.option(
    "--joined",
    type=click.IntRange(0),
    default=routing_experiment.JOINED_LIMIT,
    show_default=True,
    help="Rings up to this size form node by node; larger ones are put together from global knowledge.",
)
@click.option(
    "--settle",
    "settled_min",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Minutes for which the ring is left alone before it is measured.",
)
@unreached
@options
def routing(
    sizes: Sequence[int],
    lookups: int,
    joined: int,
    settled_min: float,
    unreachable: float,
    one_way: bool,
    seed: int | None,
    latency: str,
    as_json: bool,
    plot: Path | None,
) -> None:
    """
    How many hops, how long ways, how many messages, where nobody comes or goes.
    """
    draw = plotter(plot, "routing")
    seed = chosen(seed)
    far = delay(latency, seed)
    reaches, apart = reaching(seed, unreachable, one_way)
    reports = []
    for nodes in sizes:
        with progress(f"{nodes:,} nodes", as_json) as told:
            reports.append(routing_experiment.run(nodes, seed, lookups, far, told, joined, reaches, 60 * settled_min))
    repeat = f"routing {every('--nodes', sizes)} --lookups {lookups}"
    if joined != routing_experiment.JOINED_LIMIT:
        repeat += f" --joined {joined}"
    if settled_min:
        repeat += f" --settle {settled_min:g}"
    show(_ROUTING, reports, as_json, repeat + apart, seed, latency)
    if plot is not None:
        draw(reports, plot)


@sim.command()
@click.option("--nodes", type=click.IntRange(2, NODES_LIMIT), default=500, show_default=True, help="About as many.")
@click.option(
    "--session",
    "sessions_min",
    type=click.FloatRange(0.1),
    multiple=True,
    default=(134.0,),
    show_default=True,
    help="Minutes for which a node stays, in the mean; as in a Poisson process.  Given several times, one run each.",
)
@click.option(
    "--trace",
    "trace_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Who comes and goes when, from a file of lines SECOND NODE up|down, instead of --nodes and --session.",
)
@click.option("--minutes", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Of lookups.")
@click.option("--warm-up", type=click.FloatRange(0), default=60.0, show_default=True, help="Minutes before these.")
@click.option("--loss", type=click.FloatRange(0, 50), default=0.0, show_default=True, help="Percent of all frames.")
@click.option(
    "--lookups",
    type=click.FloatRange(0.0001),
    default=churn_experiment.LOOKUPS_PER_NODE_S,
    show_default=True,
    help="Of each node in a second.",
)
@unreached
@options
def churn(
    nodes: int,
    sessions_min: Sequence[float],
    trace_path: Path | None,
    minutes: float,
    warm_up: float,
    loss: float,
    lookups: float,
    unreachable: float,
    one_way: bool,
    seed: int | None,
    latency: str,
    as_json: bool,
    plot: Path | None,
) -> None:
    """
    What becomes of lookups while nodes come and go.
    """
    draw = plotter(plot, "churn")
    seed = chosen(seed)
    far = delay(latency, seed)
    reaches, apart = reaching(seed, unreachable, one_way)
    if trace_path is None:
        asked_s: list[float | None] = [60 * session_min for session_min in sessions_min]
        runs = [churn_experiment.poisson(seed, nodes, 60 * session_min) for session_min in sessions_min]
        repeat = f"--nodes {nodes} {every('--session', [f'{each:g}' for each in sessions_min])}"
    else:
        asked_s = [None]
        runs = [iter(list(churn_experiment.trace(trace_path)))]
        repeat = f"--trace {trace_path}"
    reports = []
    for events, session_s in zip(runs, asked_s, strict=True):
        with progress("simulated seconds", as_json) as told:
            report = churn_experiment.run(
                events, seed, 60 * minutes, 60 * warm_up, loss / 100, lookups, far, told, reaches
            )
        reports.append(replace(report, asked_session_s=session_s))
    repeat = f"{repeat} --minutes {minutes:g} --warm-up {warm_up:g} --loss {loss:g} --lookups {lookups:g}"
    show(_CHURN, reports, as_json, f"churn {repeat}{apart}", seed, latency)
    if plot is not None:
        draw(reports, plot)


_ROUTING: Rows[RoutingReport] = (
    ("nodes", lambda each: f"{each.nodes:,}"),
    ("ring made by", lambda each: each.built),
    ("delivered", lambda each: f"{each.delivered:,} of {each.lookups:,}"),
    ("at a wrong node", lambda each: str(each.wrong)),
    ("wrong leaf sets", lambda each: str(each.wrong_leaf_sets)),
    ("reached by way of others", lambda each: f"{each.indirect:,}"),
    ("hops, mean", lambda each: f"{each.hops_mean:.2f}"),
    ("hops, 99 %", lambda each: str(each.hops_p99)),
    ("way / direct way", lambda each: f"{each.stretch_mean:.2f}"),
    ("messages per join", lambda each: "-" if each.msgs_per_join is None else f"{each.msgs_per_join:.0f}"),
    ("messages per node and second, idle", lambda each: f"{each.msgs_per_node_s:.3f}"),
    ("bytes per node here", lambda each: f"{each.bytes_per_node:,}"),
    ("events per second here", lambda each: f"{each.events_per_s:,.0f}"),
    ("seconds it took here", lambda each: f"{each.wall_s:.1f}"),
)

_CHURN: Rows[ChurnReport] = (
    ("nodes, mean", lambda each: f"{each.nodes:,.1f}"),
    (
        "session, mean",
        lambda each: "as traced" if each.asked_session_s is None else f"{each.asked_session_s / 60:g} min",
    ),
    ("stayed, mean of those that went", lambda each: f"{each.session_mean_s / 60:.1f} min"),
    ("came, went", lambda each: f"{each.arrivals:,}, {each.departures:,}"),
    ("lookups", lambda each: f"{each.lookups:,}"),
    ("lost", lambda each: f"{each.lost:,}"),
    ("lost with their origin", lambda each: f"{each.orphaned:,}"),
    ("at a wrong node", lambda each: f"{each.incorrect:,}"),
    ("delivered twice", lambda each: f"{each.doubled:,}"),
    ("hops, mean", lambda each: f"{each.hops_mean:.2f}"),
    ("time / that of the direct way", lambda each: f"{each.stretch_mean:.2f}"),
    ("control messages per node and second", lambda each: f"{each.control_msgs_per_node_s:.3f}"),
    ("reached by way of others at the end", lambda each: f"{each.indirect:,}"),
    ("wrong leaf sets at the end", lambda each: str(each.wrong_leaf_sets)),
    ("seconds it took here", lambda each: f"{each.wall_s:.1f}"),
)
