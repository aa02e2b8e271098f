"""
C{post sim campaign}: faults by chance, after which there must be one ring; with fresh seeds, for as long as one likes.
"""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from post.cli.experiments import SEED_LIMIT, chosen, progress
from post.sim.campaign import NODES_LEAST, CampaignReport, run

NODES_LIMIT = 2000
"""More take hours, and show no other faults."""


@click.command()
@click.option("--runs", type=click.IntRange(1), default=1, show_default=True, help="With one seed after the other.")
@click.option(
    "--nodes", type=click.IntRange(NODES_LEAST, NODES_LIMIT), default=60, show_default=True, help="At first, at most."
)
@click.option("--seed", type=click.IntRange(0, SEED_LIMIT), help="Of the first run.  [default: by chance]")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_context
def campaign(ctx: click.Context, runs: int, nodes: int, seed: int | None, as_json: bool) -> None:
    """
    Let nodes die, come, sleep, and be cut off by chance; in the end there must be one ring.

    Ends with 1 if in some run it was not so, or something was delivered by a node that should not have.
    """
    first = chosen(seed)
    reports = []
    for number in range(runs):
        with progress(f"seed {first + number}", as_json) as told:
            report = run(first + number, nodes, told)
        reports.append(report)
        if not as_json:
            click.echo(_told(report, nodes))
    if as_json:
        found = [asdict(report) | {"passed": report.passed} for report in reports]
        click.echo(json.dumps(found[0] if runs == 1 else found))
    if not all(report.passed for report in reports):
        ctx.exit(1)


def _told(report: CampaignReport, most: int) -> str:
    """
    One line of a run in which all was well; of another one what happened, and the command that repeats it.
    """
    line = f"seed {report.seed}: {report.nodes} nodes, {len(report.faults) - 1} faults, {report.lookups:,} lookups: "
    if report.passed:
        return f"{line}one ring after {report.right_s:.0f} s, nothing at a wrong node"
    ring = "no ring" if report.right_s is None else f"one ring after {report.right_s:.0f} s"
    line += f"{ring}, {report.wrong} at a wrong node, {report.missing} missing, {report.failed} could not join"
    again = f"Repeat it with: post sim campaign --nodes {most} --seed {report.seed}"
    return "\n".join([line, *(f"  {each}" for each in (*report.faults, *report.mistakes)), again])
