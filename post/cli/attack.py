"""
C{post sim attack}: whether lookups find their way where some of the nodes lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from post.cli import experiments
from post.errors import ConfigError
from post.sim import attack as experiment
from post.sim.attack import AttackReport
from post.sim.liars import ALONE, INVENTED, MIXED


@click.command()
@click.option(
    "--nodes", type=click.IntRange(5, experiments.NODES_LIMIT), default=2000, show_default=True, help="In the ring."
)
@click.option(
    "--faulty",
    type=click.FloatRange(0, 50, max_open=True),
    multiple=True,
    default=(25.0,),
    show_default=True,
    help="Percent of the nodes that lie.  Given several times, one ring after the other.",
)
@click.option(
    "--tactic",
    type=click.Choice([ALONE, MIXED, INVENTED]),
    default=ALONE,
    show_default=True,
    help="Whom liars name around them: one another alone, also honest nodes that know no better, also invented ones.",
)
@click.option("--directory", is_flag=True, help="Nodes know who has been certified, as in an organization they do.")
@click.option(
    "--away",
    type=click.FloatRange(0, 90),
    default=0.0,
    show_default=True,
    help="Percent of those certified that are not there.",
)
@click.option("--lookups", type=click.IntRange(1), default=1000, show_default=True, help="In each ring.")
@experiments.options
def attack(
    nodes: int,
    faulty: Sequence[float],
    tactic: str,
    directory: bool,
    away: float,
    lookups: int,
    seed: int | None,
    latency: str,
    as_json: bool,
    plot: Path | None,
) -> None:
    """
    Whether lookups find their way where some of the nodes lie, as usual and by secure routing.
    """
    if away and not directory:
        raise ConfigError("--away", "has no meaning without --directory")
    draw = experiments.plotter(plot, "attack")
    seed = experiments.chosen(seed)
    delay = experiments.delay(latency, seed)
    reports = []
    for each in faulty:
        with experiments.progress(f"{nodes:,} nodes, {each:g} % lie", as_json) as told:
            reports.append(experiment.run(nodes, seed, each / 100, lookups, delay, told, directory, away / 100, tactic))
    said = "" if tactic == ALONE else f" --tactic {tactic}"
    listed = f" --directory --away {away:g}" if directory else ""
    repeat = f"attack --nodes {nodes} {experiments.every('--faulty', faulty)}{said}{listed} --lookups {lookups}"
    experiments.show(_ATTACK, reports, as_json, repeat, seed, latency)
    if plot is not None:
        draw(reports, plot)


_ATTACK: experiments.Rows[AttackReport] = (
    ("nodes", lambda each: f"{each.nodes:,}"),
    ("of these, liars", lambda each: f"{100 * each.faulty_fraction:.1f} %"),
    ("lookups", lambda each: f"{each.lookups:,}"),
    ("delivered by the root, as usual", lambda each: f"{100 * each.plain_success:.2f} %"),
    ("root and replicas found, securely", lambda each: f"{100 * each.success:.3f} %"),
    ("extra messages for each of these", lambda each: f"{each.overhead:.1f}"),
    ("  of which test the first answer", lambda each: f"{each.checks:.1f}"),
    ("  at most", lambda each: f"{each.most:,}"),
    ("first answer doubted", lambda each: f"{100 * each.doubted:.1f} %"),
    ("still in doubt at the end", lambda each: f"{100 * each.unsure:.1f} %"),
    ("ways gone for each", lambda each: f"{each.ways:.1f}"),
    ("seconds it took here", lambda each: f"{each.wall_s:.1f}"),
)
