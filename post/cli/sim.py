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
from typing import Any

import click

from post.errors import ConfigError
from post.sim import routing as routing_experiment
from post.sim.latency import MODELS, matrix
from post.sim.network import Delay
from post.sim.routing import RoutingReport, Told

NODES_LIMIT = 1_000_000
SEED_LIMIT = 1 << 32

_Command = Callable[..., Any]


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
    draw = _plotter(plot)
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
        _tell(reports)
        click.echo(f"Repeat it with: post sim routing{_nodes(sizes)} --lookups {lookups} --seed {seed}")
    if plot is not None:
        draw(reports, plot)


def _nodes(sizes: Sequence[int]) -> str:
    return "".join(f" --nodes {nodes}" for nodes in sizes)


def _tell(reports: Sequence[RoutingReport]) -> None:
    """
    A table.
    """
    rows = [
        ("nodes", *(f"{each.nodes:,}" for each in reports)),
        ("ring made by", *(each.built for each in reports)),
        ("delivered", *(f"{each.delivered:,} of {each.lookups:,}" for each in reports)),
        ("at a wrong node", *(str(each.wrong) for each in reports)),
        ("wrong leaf sets", *(str(each.wrong_leaf_sets) for each in reports)),
        ("hops, mean", *(f"{each.hops_mean:.2f}" for each in reports)),
        ("hops, 99 %", *(str(each.hops_p99) for each in reports)),
        ("way / direct way", *(f"{each.stretch_mean:.2f}" for each in reports)),
        (
            "messages per join",
            *("-" if each.msgs_per_join is None else f"{each.msgs_per_join:.0f}" for each in reports),
        ),
        ("messages per node and second, idle", *(f"{each.msgs_per_node_s:.3f}" for each in reports)),
        ("bytes per node here", *(f"{each.bytes_per_node:,}" for each in reports)),
        ("events per second here", *(f"{each.events_per_s:,.0f}" for each in reports)),
        ("seconds it took here", *(f"{each.wall_s:.1f}" for each in reports)),
    ]
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


def _plotter(path: Path | None) -> Callable[[Sequence[RoutingReport], Path], None]:
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
    return plots.routing


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
