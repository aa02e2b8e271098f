"""
The figures of experiments as pictures, drawn by matplotlib (the extra C{plot}).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")  # Into files only; no display is looked for.

from matplotlib.figure import Figure

from post.sim.attack import AttackReport
from post.sim.churn import ChurnReport
from post.sim.failure import FailureReport
from post.sim.joins import JoinsReport
from post.sim.partition import PartitionReport
from post.sim.routing import JOINS, RoutingReport
from post.sim.storage import StorageReport


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
        # In tables that were made from global knowledge those who stand there are not the nearest.
        over = sorted(
            (each.nodes, each.hops_mean, each.stretch_mean if each.built == JOINS else math.nan) for each in reports
        )
        sizes, hops, stretch = zip(*over, strict=True)
        figure = _over("nodes", sizes, {"hops, mean": hops, "way / direct way": stretch})
    figure.savefig(path)


def churn(reports: Sequence[ChurnReport], path: Path) -> None:
    """
    Of one run what became of lookups, of several control traffic and delay over how long nodes stayed.
    """
    if len(reports) > 1:
        over = sorted(
            ((each.asked_session_s or each.session_mean_s) / 60, each.control_msgs_per_node_s, each.stretch_mean)
            for each in reports
        )
        stays_min, control, stretch = zip(*over, strict=True)
        what = {"control messages per node and second": control, "time / that of the direct way": stretch}
        _over("session, mean, in minutes", stays_min, what).savefig(path)
        return
    report = reports[0]
    figure, (axes,) = _figure(1)
    names = ("lost", "lost with\ntheir origin", "at a wrong\nnode", "delivered\ntwice")
    values = (report.lost, report.orphaned, report.incorrect, report.doubled)
    bars = axes.bar(names, [each / max(report.lookups, 1) for each in values])
    axes.bar_label(bars, [f"{each:,}" for each in values])
    axes.set_ylabel("share of lookups")
    axes.set_title(f"{report.lookups:,} lookups, {report.nodes:,.0f} nodes, {report.session_mean_s / 60:.0f} min each")
    figure.savefig(path)


def failure(reports: Sequence[FailureReport], path: Path) -> None:
    """
    How long lookups took that were made just after the blow, and until all was right.
    """
    report = reports[0]
    figure, (axes,) = _figure(1)
    names = ["half", "99 %", "all", "leaf sets\nright"]
    values = [report.took_p50_s, report.took_p99_s, report.took_most_s, report.right_s or math.nan]
    axes.bar_label(axes.bar(names, values), [f"{each:.1f}" for each in values])
    axes.set_ylabel("seconds after they were made, or after the blow")
    axes.set_title(f"{report.killed:,} of {report.nodes:,} killed: {report.delivered:,} of {report.lookups:,} arrived")
    figure.savefig(path)


def partition(reports: Sequence[PartitionReport], path: Path) -> None:
    """
    Deliveries by who was not the root, and what the healing cost.
    """
    report = reports[0]
    figure, (wrong, messages) = _figure(2)
    counts = {
        "while\nbroken": report.wrong_apart,
        "until one\nring": report.wrong_meeting,
        "after": report.wrong_after,
    }
    wrong.bar_label(wrong.bar(list(counts), list(counts.values())))
    wrong.set_ylabel("wrong deliveries")
    wrong.set_title(f"{' + '.join(str(part) for part in report.parts)} nodes, {report.broken_s / 60:g} min apart")
    messages.barh(list(report.msgs_by_kind), [each / report.nodes for each in report.msgs_by_kind.values()])
    messages.invert_yaxis()
    messages.set_xlabel("messages per node until all were one ring")
    figure.savefig(path)


def joins(reports: Sequence[JoinsReport], path: Path) -> None:
    """
    Of which messages a join consists, and how long it took.
    """
    figure, (messages, seconds) = _figure(2)
    names = [_rate(each.rate_per_s) for each in reports]
    low = [0.0] * len(reports)
    for kind in dict.fromkeys(kind for each in reports for kind in each.msgs_by_kind):
        values = [each.msgs_by_kind.get(kind, 0) / each.nodes for each in reports]
        messages.bar(names, values, bottom=low, label=kind)
        low = [one + other for one, other in zip(low, values, strict=True)]
    messages.set_ylabel("messages per join")
    messages.legend(fontsize="small")
    for name, values in (("half", [x.active_p50_s for x in reports]), ("99 %", [x.active_p99_s for x in reports])):
        seconds.plot(names, values, marker="o", linestyle="none", label=name)
    seconds.set_ylim(bottom=0)
    seconds.set_ylabel("seconds until active")
    seconds.legend()
    figure.savefig(path)


def _rate(rate_per_s: float) -> str:
    return f"{rate_per_s:g}/s" if rate_per_s else "all at once"


def attack(reports: Sequence[AttackReport], path: Path) -> None:
    """
    What part of lookups found the root, and at what cost, over the part of the nodes that lie.
    """
    ordered = sorted(reports, key=lambda each: each.faulty_fraction)
    liars = [100 * each.faulty_fraction for each in ordered]
    figure, (success, cost) = _figure(2)
    success.plot(liars, [100 * each.success for each in ordered], marker="o", label="secure")
    success.plot(liars, [100 * each.plain_success for each in ordered], marker="o", label="as usual")
    success.set_ylabel("lookups that found the root, %")
    success.set_ylim(0, 104)
    success.legend()
    cost.plot(liars, [each.overhead for each in ordered], marker="o")
    cost.set_ylabel("extra messages for each")
    _from_zero(cost)
    for axes in (success, cost):
        axes.set_xticks(liars, [f"{each:g}" for each in liars])
        axes.set_xlabel("nodes that lie, %")
        axes.grid(alpha=0.3)
    figure.suptitle(f"{ordered[0].nodes:,} nodes, {ordered[0].lookups:,} lookups each")
    figure.savefig(path)


def storage(reports: Sequence[StorageReport], path: Path) -> None:
    """
    Of what share of objects 0, 1, ..., k or more copies were in the ring, over time.
    """
    report = reports[0]
    figure, (axes,) = _figure(1)
    there = [(at_s / 60, counts, sum(counts)) for at_s, _, counts in report.copies_up if sum(counts)]
    numbers = range(report.k + 1)
    shares = [[100 * counts[number] / count for _, counts, count in there] for number in numbers]
    names = [*(str(number) for number in numbers[:-1]), f"{report.k} or more"]
    colors = matplotlib.colormaps["RdYlGn"]([number / report.k for number in numbers])
    axes.stackplot([minute for minute, _, _ in there], shares, labels=names, colors=colors)
    axes.set_ylim(0, 100)
    axes.set_xlabel("minutes")
    axes.set_ylabel("objects, %")
    figure.legend(title="copies up", loc="outside right center", reverse=True)
    axes.set_title(
        f"{report.up_mean:.0f} of {report.nodes:,} nodes up, {report.inserted:,} objects, {report.lost:,} lost"
    )
    figure.savefig(path)


def _figure(count: int) -> tuple[Figure, Sequence[Any]]:  # Any: what matplotlib's subplots are.
    figure = Figure(figsize=(5.2 * count, 3.6), layout="constrained")
    found = figure.subplots(1, count)
    return figure, [found] if count == 1 else list(found)


def _from_zero(axes: Any) -> None:
    """
    Let the scale begin at zero, and end above all that is drawn.
    """
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)


def _over(what: str, values: Sequence[float], lines: Mapping[str, Sequence[float]]) -> Figure:
    """
    One picture for each of C{lines} over C{values}, which grow by factors.
    """
    figure, pictures = _figure(len(lines))
    for axes, (name, line) in zip(pictures, lines.items(), strict=True):
        axes.plot(values, line, marker="o")
        axes.set_xscale("log")
        axes.set_xticks(values, [f"{value:,g}" for value in values], minor=False)
        axes.minorticks_off()
        _from_zero(axes)
        axes.set_xlabel(what)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    return figure
