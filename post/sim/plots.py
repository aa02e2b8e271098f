"""
The figures of experiments as pictures, drawn by matplotlib (the extra C{plot}).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")  # Into files only; no display is looked for.

from matplotlib.figure import Figure

from post.sim.churn import ChurnReport
from post.sim.routing import RoutingReport


def routing(reports: Sequence[RoutingReport], path: Path) -> None:
    """
    Of one ring how often which number of hops was needed, of several the mean hops and the stretch over their sizes.
    """
    if len(reports) == 1:
        report = reports[0]
        figure, (axes,) = _figure(1)
        axes.bar(range(len(report.hops_histogram)), [each / report.delivered for each in report.hops_histogram])
        axes.set_xticks(range(len(report.hops_histogram)))
        axes.set_xlabel("hops")
        axes.set_ylabel("share of lookups")
        axes.set_title(f"{report.nodes:,} nodes: {report.hops_mean:.2f} hops in the mean")
    else:
        ordered = sorted(reports, key=lambda each: each.nodes)
        sizes = [each.nodes for each in ordered]
        figure, (hops, stretch) = _figure(2)
        for axes, values, what in (
            (hops, [each.hops_mean for each in ordered], "hops, mean"),
            (stretch, [each.stretch_mean for each in ordered], "way / direct way"),
        ):
            axes.plot(sizes, values, marker="o")
            axes.set_xscale("log")
            axes.set_ylim(bottom=0)
            axes.set_xlabel("nodes")
            axes.set_ylabel(what)
            axes.grid(alpha=0.3)
    figure.savefig(path)


def churn(reports: Sequence[ChurnReport], path: Path) -> None:
    """
    What became of lookups.
    """
    report = reports[0]
    figure, (axes,) = _figure(1)
    names = ("lost", "lost with\ntheir origin", "at a wrong\nnode", "delivered\ntwice")
    values = (report.lost, report.orphaned, report.incorrect, report.doubled)
    bars = axes.bar(names, [each / report.lookups for each in values])
    axes.bar_label(bars, [f"{each:,}" for each in values])
    axes.set_ylabel("share of lookups")
    axes.set_title(f"{report.lookups:,} lookups, {report.nodes:,.0f} nodes, {report.session_mean_s / 60:.0f} min each")
    figure.savefig(path)


def _figure(count: int) -> tuple[Figure, Sequence[Any]]:  # Any: what matplotlib's subplots are.
    figure = Figure(figsize=(5.2 * count, 3.6), layout="constrained")
    found = figure.subplots(1, count)
    return figure, [found] if count == 1 else list(found)
