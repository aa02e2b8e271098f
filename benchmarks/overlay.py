"""
What the overlay does, and what that costs, beside the published figures: the table of docs/overlay.md.

    python benchmarks/overlay.py [--full] [--seed N] [--row NAME ...] [--keep FILE [--draw DIRECTORY]]

Each row is one run of C{post sim}, whose command is printed; a seed repeats it exactly.  By default rings are a tenth
of the size that the figures speak of, or less, and the whole takes about half an hour; C{--full} is for the real sizes,
and takes many hours.  C{--keep} appends what each run reported to a file, one line of JSON each; C{--draw} only makes
the pictures of docs/overlay.md of what was kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from post.sim.attack import AttackReport
from post.sim.churn import ChurnReport
from post.sim.routing import RoutingReport

Report = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """
    A line of the table.

    @ivar command: of C{post sim}, for rings of the size that the figure speaks of.
    @ivar quick: what is different in smaller ones.
    @ivar published: the figure of others.
    @ivar measured: ours, from what was reported.
    """

    name: str
    command: str
    quick: str
    published: str
    measured: Callable[[Report], str]


def _hops(report: Report) -> str:
    return (
        f"{report['hops_mean']:.2f} hops (99 %: {report['hops_p99']}), {report['wrong']} wrong, "
        f"{report['lookups'] - report['delivered']} lost; way {report['stretch_mean']:.2f}; "
        f"idle {report['msgs_per_node_s']:.3f} messages per node and second; "
        f"{report['events_per_s']:,.0f} events/s ({report['idle_events_per_s']:,.0f} when idle), "
        f"{report['bytes_per_node']:,} bytes per node"
    )


def _churn(report: Report) -> str:
    return (
        f"{report['lost']} lost and {report['incorrect']} wrong of {report['lookups']:,}; "
        f"time {report['stretch_mean']:.2f}; {report['control_msgs_per_node_s']:.2f} messages per node and second"
    )


def _failure(report: Report) -> str:
    right = "never" if report["right_s"] is None else f"{report['right_s']:.0f} s"
    return (
        f"{report['delivered']:,} of {report['lookups']:,} delivered, {report['wrong']} wrong; "
        f"leaf sets right after {right}"
    )


def _partition(report: Report) -> str:
    one = "never" if report["one_s"] is None else f"{report['one_s']:.0f} s"
    return f"one ring after {one}; {report['wrong_after']} wrong after that"


def _joins(report: Report) -> str:
    return (
        f"{report['active']:,} in, {report['wrong_leaf_sets']} leaf sets wrong; {report['msgs_per_join']:.0f} messages "
        f"per join, {report['distance_msgs_per_join']:.0f} more for distances"
    )


def _attack(report: Report) -> str:
    return (
        f"{report['success']:.4f} (plain {report['plain_success']:.3f}); "
        f"{report['overhead']:.1f} more messages per lookup, {report['most']} at the most"
    )


_SPEED = "Pastry 3.98 hops, FreePastry 3.69 at 50,000"
_DSN = "MSPastry: lost < 1.6e-5, 0 wrong, stretch < 2, 0.24 to 0.26 messages"
_OSDI = "OSDI 2002: > 0.999 up to 30 %"

ROWS = (
    Row("hops", "routing --nodes 100000 --lookups 1000000", "--nodes 10000 --lookups 20000", _SPEED, _hops),
    Row(
        "ways",
        "routing --nodes 10000 --joined 10000 --settle 30 --lookups 20000",
        "--nodes 1000 --settle 10",
        "FreePastry 2.17 and 1.55; perfect tables 1.34; idle 0.358 messages per node and second",
        _hops,
    ),
    *(
        Row(f"small-{nodes}", f"routing --nodes {nodes} --lookups 10000 --settle 10", "--lookups 2000", "", _hops)
        for nodes in (5, 20, 50, 200, 1000)
    ),
    *(
        Row(
            f"churn-{name}",
            f"churn --nodes 2000 --session {minutes} --minutes 240 --warm-up 60",
            "--nodes 200 --minutes 60 --warm-up 30",
            _DSN,
            _churn,
        )
        for name, minutes in (
            ("37.7h", 2262),
            ("2.3h", 138),
            ("134min", 134),
            ("60min", 60),
            ("30min", 30),
            ("15min", 15),
        )
    ),
    *(
        Row(
            f"churn-{name}-loss",
            f"churn --nodes 2000 --session {minutes} --minutes 240 --warm-up 60 --loss 5",
            "--nodes 200 --minutes 60 --warm-up 30",
            "MSPastry: lost 3.3e-5, wrong 1.6e-5",
            _churn,
        )
        for name, minutes in (("2.3h", 138),)
    ),
    Row(
        "failure-10",
        "failure --nodes 1000 --percent 10 --lookups 20000",
        "--nodes 300 --lookups 6000",
        "FreePastry 90.2 %",
        _failure,
    ),
    Row(
        "failure-50", "failure --nodes 10000 --percent 50 --lookups 20000", "--nodes 1000 --lookups 2000", "", _failure
    ),
    *(
        Row(
            f"partition-{split.replace('/', '-')}",
            f"partition --nodes 1000 --split {split} --minutes 60",
            "--nodes 200 --minutes 20",
            "",
            _partition,
        )
        for split in ("50/50", "30/70", "34/33/33")
    ),
    Row(
        "pairs",
        "routing --nodes 1000 --unreachable 2.3 --lookups 10000",
        "--nodes 200 --lookups 4000",
        "needed source routing",
        _hops,
    ),
    Row(
        "pairs-one-way",
        "routing --nodes 1000 --unreachable 2.3 --one-way --lookups 10000",
        "--nodes 200 --lookups 4000",
        "",
        _hops,
    ),
    *(
        Row(
            f"joins-{rate or 'at-once'}",
            f"joins --nodes 1000 --rate {rate}",
            "--nodes 300",
            "FreePastry did not finish at 5/s",
            _joins,
        )
        for rate in (5, 100, 0)
    ),
    *(
        Row(
            f"attack-{faulty}",
            f"attack --nodes 10000 --faulty {faulty} --lookups 10000",
            "--nodes 1000 --lookups 300",
            _OSDI,
            _attack,
        )
        for faulty in (10, 20, 25, 30)
    ),
    Row(
        "attack-directory",
        "attack --nodes 1000 --faulty 45 --directory --lookups 2000",
        "--nodes 200 --lookups 300",
        "",
        _attack,
    ),
)


def measure(row: Row, seed: int, full: bool) -> Report:
    """
    Run one row.

    @raise subprocess.CalledProcessError: if it fails.
    """
    arguments = [*row.command.split(), "--seed", str(seed)]
    quick = [] if full else row.quick.split()
    for option, value in zip(quick[::2], quick[1::2], strict=True):
        if option in arguments:
            arguments[arguments.index(option) + 1] = value
        else:
            arguments += [option, value]
    print(f"{row.name}: post sim {' '.join(arguments)}", flush=True)
    run = [sys.executable, "-m", "post.cli", "sim", *arguments, "--json"]
    found: Report = json.loads(subprocess.run(run, check=True, stdout=subprocess.PIPE).stdout)
    return found


def draw(kept: Path, directory: Path) -> None:
    """
    Hops and ways over the size of rings, control traffic and delay over how long nodes stay, and what becomes of
    lookups over the part that lies: of each row the last report in C{kept}.
    """
    from post.sim import plots  # matplotlib is needed for nothing else here.

    reports = {line.pop("row"): line for line in map(json.loads, kept.read_text(encoding="utf-8").splitlines())}

    def of(*begins: str) -> list[Report]:
        return [report for name, report in reports.items() if name.startswith(begins) and not name.endswith("loss")]

    directory.mkdir(parents=True, exist_ok=True)
    liars = [report for report in of("attack") if not report["directory"]]
    if sizes := of("small", "ways", "hops"):
        plots.routing([RoutingReport(**report) for report in sizes], directory / "routing.png")
    if sessions := of("churn"):
        plots.churn([ChurnReport(**report) for report in sessions], directory / "churn.png")
    if liars:
        plots.attack([AttackReport(**report) for report in liars], directory / "attack.png")


def main() -> None:
    """
    Run the rows.
    """
    parser = argparse.ArgumentParser(description="The overlay beside the published figures.")
    parser.add_argument("--full", action="store_true", help="at the sizes that the figures speak of")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--row", action="append", choices=[row.name for row in ROWS], help="only this one")
    parser.add_argument("--keep", type=Path, help="append the reports to this file")
    parser.add_argument("--draw", type=Path, metavar="DIRECTORY", help="draw what was kept, and run nothing")
    options = parser.parse_args()
    if options.draw is not None:
        if options.keep is None:
            parser.error("--draw needs the file of --keep")
        draw(options.keep, options.draw)
        return
    for row in ROWS:
        if options.row and row.name not in options.row:
            continue
        report = measure(row, options.seed, options.full)
        if options.keep is not None:
            with options.keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"row": row.name, **report}) + "\n")
        print(
            f"    {row.measured(report)}, {report['wall_s']:.0f} s here"
            + (f" ({row.published})" if row.published else "")
        )


if __name__ == "__main__":
    main()
