"""
What the experiments of C{post sim} have in common: their options, tables, pictures, and progress.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from random import SystemRandom
from typing import Any, TypeVar, cast

import click

from post.errors import ConfigError
from post.sim.latency import MODELS, matrix
from post.sim.network import Delay
from post.sim.reach import Reaches, unreachable
from post.sim.routing import Told

NODES_LIMIT = 1_000_000
SEED_LIMIT = 1 << 32
LATENCY = "sphere"
"""The model where none is named."""

Command = Callable[..., Any]
R = TypeVar("R")
Rows = tuple[tuple[str, Callable[[R], str]], ...]
"""The name of each line of a table, and how what stands there is shown."""


def options(command: Command) -> Command:
    """
    Those that every experiment has.
    """
    for option in (
        click.option("--seed", type=click.IntRange(0, SEED_LIMIT), help="Repeats a run exactly.  [default: by chance]"),
        click.option(
            "--latency",
            default=LATENCY,
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


def unreached(command: Command) -> Command:
    """
    Those that say that not everybody reaches everybody.
    """
    for option in (
        click.option(
            "--unreachable",
            type=click.FloatRange(0, 50),
            default=0.0,
            show_default=True,
            help="Percent of all pairs that cannot link with each other.",
        ),
        click.option("--one-way", is_flag=True, help="Of each such pair, one can link with the other all the same."),
    ):
        command = option(command)
    return command


def reaching(seed: int, percent: float, one_way: bool) -> tuple[Reaches | None, str]:
    """
    Who reaches whom, and the options that say so again.
    """
    if not percent:
        return None, ""
    return unreachable(seed, percent, one_way), f" --unreachable {percent:g}" + " --one-way" * one_way


def chosen(seed: int | None) -> int:
    """
    The seed, by chance where none is given.
    """
    return SystemRandom().randrange(SEED_LIMIT) if seed is None else seed


def show(lines: Rows[R], reports: Sequence[R], as_json: bool, repeat: str, seed: int, latency: str) -> None:
    """
    What was found, as a table with a column for each report, and the command that repeats it: C{repeat} and the options
    that all have.  Or as JSON: an object for one, a list for several.
    """
    if as_json:
        found = [
            {
                name: None if value != value else value for name, value in asdict(cast(Any, report)).items()
            }  # JSON has no NaN.
            for report in reports
        ]
        click.echo(json.dumps(found[0] if len(found) == 1 else found))
    else:
        table(lines, reports)
        far = "" if latency == LATENCY else f" --latency {latency}"
        click.echo(f"Repeat it with: post sim {repeat}{far} --seed {seed}")


def every(option: str, values: Sequence[object]) -> str:
    """
    An option that was given several times.
    """
    return " ".join(f"{option} {value}" for value in values)


def table(lines: Rows[R], reports: Sequence[R]) -> None:
    """
    A column for each report.
    """
    rows = [(name, *(show(report) for report in reports)) for name, show in lines]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for name, *values in rows:
        shown = "  ".join(value.rjust(width) for value, width in zip(values, widths[1:], strict=True))
        click.echo(f"{name.ljust(widths[0])}  {shown}")


def delay(latency: str, seed: int) -> Delay:
    """
    The model that C{--latency} names.

    @raise ConfigError: if there is none of that name.
    """
    if latency in MODELS:
        return MODELS[latency](seed)
    path = Path(latency)
    if not path.is_file():
        raise ConfigError("--latency", f"{latency} is neither {' nor '.join(MODELS)} nor a file")
    return matrix(path, seed)


def plotter(path: Path | None, experiment: str) -> Callable[[Sequence[Any], Path], None]:
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
def progress(label: str, quiet: bool) -> Iterator[Told]:
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
