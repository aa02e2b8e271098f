"""
C{post sim}: what a ring of any size would do, on an imaginary network, with the code that runs in production.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from random import SystemRandom
from typing import Any, TypeVar

import click

from post.errors import ConfigError
from post.sim import churn as churn_experiment
from post.sim import routing as routing_experiment
from post.sim.churn import ChurnReport
from post.sim.latency import MODELS, matrix
from post.sim.network import Delay
from post.sim.routing import RoutingReport, Told

NODES_LIMIT = 1_000_000
SEED_LIMIT = 1 << 32

_Command = Callable[..., Any]
_R = TypeVar("_R")
_Rows = tuple[tuple[str, Callable[[_R], str]], ...]
"""The name of each line of a table, and how what stands there is shown."""


def _options(command: _Command) -> _Command:
    for option in (
        click.option("--seed", type=click.IntRange(0, SEED_LIMIT), help="Repeats a run exactly.  [default: by chance]"),
        click.option(
            "--latency",
            default="sphere",
            show_default=True,
            metavar="MODEL",
            help="sphere, square, or a file with a matrix of round trips in milliseconds.",
        ),
        click.option("--json", "as_json", is_flag=True, help="For programs."),
        click.option(
            "--plot", type=click.Path(path_type=Path, dir_okay=False), help="Draw it into this .svg or .png file."
        ),
    ):
        command = option(command)
    return command


@click.group()
def sim() -> None:
    """
    What rings of any size do, on an imaginary network.

    The code is that of the real nodes; a seed repeats a run exactly.
    """


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
@_options
def routing(
    sizes: Sequence[int],
    lookups: int,
    joined: int,
    seed: int | None,
    latency: str,
    as_json: bool,
    plot: Path | None,
) -> None:
    """
    How many hops, how long ways, how many messages, where nobody comes or goes.
    """
    draw = _plotter(plot, "routing")
    seed = SystemRandom().randrange(SEED_LIMIT) if seed is None else seed
    delay = _delay(latency, seed)
    reports = []
    for nodes in sizes:
        with _progress(f"{nodes:,} nodes", as_json) as told:
            reports.append(routing_experiment.run(nodes, seed, lookups, delay, told, joined))
    if as_json:
        found = [asdict(report) for report in reports]
        click.echo(json.dumps(found[0] if len(found) == 1 else found))
    else:
        _table(_ROUTING, reports)
        click.echo(f"Repeat it with: post sim routing{_nodes(sizes)} --lookups {lookups} --seed {seed}")
    if plot is not None:
        draw(reports, plot)


@sim.command()
@click.option("--nodes", type=click.IntRange(2, NODES_LIMIT), default=500, show_default=True, help="About as many.")
@click.option(
    "--session",
    "session_min",
    type=click.FloatRange(0.1),
    default=134.0,
    show_default=True,
    help="Minutes for which a node stays, in the mean; as in a Poisson process.",
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
@_options
def churn(
    nodes: int,
    session_min: float,
    trace_path: Path | None,
    minutes: float,
    warm_up: float,
    loss: float,
    lookups: float,
    seed: int | None,
    latency: str,
    as_json: bool,
    plot: Path | None,
) -> None:
    """
    What becomes of lookups while nodes come and go.
    """
    draw = _plotter(plot, "churn")
    seed = SystemRandom().randrange(SEED_LIMIT) if seed is None else seed
    if trace_path is None:
        events = churn_experiment.poisson(seed, nodes, 60 * session_min)
        repeat = f"--nodes {nodes} --session {session_min:g}"
    else:
        events = iter(list(churn_experiment.trace(trace_path)))
        repeat = f"--trace {trace_path}"
    with _progress("simulated seconds", as_json) as told:
        report = churn_experiment.run(
            events, seed, 60 * minutes, 60 * warm_up, loss / 100, lookups, _delay(latency, seed), told
        )
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        _table(_CHURN, [report])
        repeat = f"{repeat} --minutes {minutes:g} --warm-up {warm_up:g} --loss {loss:g} --lookups {lookups:g}"
        click.echo(f"Repeat it with: post sim churn {repeat} --seed {seed}")
    if plot is not None:
        draw([report], plot)


def _nodes(sizes: Sequence[int]) -> str:
    return "".join(f" --nodes {nodes}" for nodes in sizes)


_ROUTING: _Rows[RoutingReport] = (
    ("nodes", lambda each: f"{each.nodes:,}"),
    ("ring made by", lambda each: each.built),
    ("delivered", lambda each: f"{each.delivered:,} of {each.lookups:,}"),
    ("at a wrong node", lambda each: str(each.wrong)),
    ("wrong leaf sets", lambda each: str(each.wrong_leaf_sets)),
    ("hops, mean", lambda each: f"{each.hops_mean:.2f}"),
    ("hops, 99 %", lambda each: str(each.hops_p99)),
    ("way / direct way", lambda each: f"{each.stretch_mean:.2f}"),
    ("messages per join", lambda each: "-" if each.msgs_per_join is None else f"{each.msgs_per_join:.0f}"),
    ("messages per node and second, idle", lambda each: f"{each.msgs_per_node_s:.3f}"),
    ("bytes per node here", lambda each: f"{each.bytes_per_node:,}"),
    ("events per second here", lambda each: f"{each.events_per_s:,.0f}"),
    ("seconds it took here", lambda each: f"{each.wall_s:.1f}"),
)

_CHURN: _Rows[ChurnReport] = (
    ("nodes, mean", lambda each: f"{each.nodes:,.1f}"),
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
    ("wrong leaf sets at the end", lambda each: str(each.wrong_leaf_sets)),
    ("seconds it took here", lambda each: f"{each.wall_s:.1f}"),
)


def _table(lines: _Rows[_R], reports: Sequence[_R]) -> None:
    """
    A column for each report.
    """
    rows = [(name, *(show(report) for report in reports)) for name, show in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *values in rows:
        shown = "  ".join(value.rjust(width) for value, width in zip(values, widths[1:], strict=True))
        click.echo(f"{name.ljust(widths[0])}  {shown}")


def _delay(latency: str, seed: int) -> Delay:
    if latency in MODELS:
        return MODELS[latency](seed)
    path = Path(latency)
    if not path.is_file():
        raise ConfigError("--latency", f"{latency} is neither {' nor '.join(MODELS)} nor a file")
    return matrix(path, seed)


def _plotter(path: Path | None, experiment: str) -> Callable[[Sequence[Any], Path], None]:
    """
    What draws; found out before hours of work are done.
    """
    if path is None:
        return lambda reports, path: None
    if path.suffix not in (".svg", ".png"):
        raise ConfigError("--plot", f"{path} ends neither in .svg nor in .png")
    if not path.resolve().parent.is_dir():
        raise ConfigError("--plot", f"there is no directory {path.resolve().parent}")
    try:
        from post.sim import plots
    except ImportError:
        raise ConfigError("--plot", "matplotlib draws it, and is not installed: pip install 'post[plot]'") from None
    drawer: Callable[[Sequence[Any], Path], None] = getattr(plots, experiment)
    return drawer


@contextmanager
def _progress(label: str, quiet: bool) -> Iterator[Told]:
    """
    A bar on standard error, where somebody looks at it.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def told(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield told
