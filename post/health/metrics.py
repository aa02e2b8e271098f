"""
A node's figures for Prometheus; docs/metrics.md tells what each means.

They are read off the node when they are asked for.  The registry is the node's own, and no name of a person is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from post import __version__
from post.health.alerts import Level, alerts
from post.health.facts import Facts, Presence
from post.mail.tally import BOUNDS_S, Tally

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Figures(Collector):
    """
    Reads them off.
    """

    def __init__(self, facts: Callable[[], Facts], tally: Tally) -> None:
        self._facts = facts
        self._tally = tally

    def describe(self) -> Iterable[Metric]:
        """
        Nothing: to be registered is no reason to be asked.
        """
        return ()

    def collect(self) -> Iterable[Metric]:
        """
        All of them, as they are now.
        """
        facts = self._facts()
        yield from _node(facts)
        yield from _mailboxes(facts)
        yield from _survey(facts)
        yield from _counters(facts, self._tally)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"post_{name}", text, value=value)


def _by(name: str, text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(f"post_{name}", text, labels=[label])
    for which, value in values:
        family.add_metric([which], value)
    return family


def _node(facts: Facts) -> Iterable[Metric]:
    status = facts.status
    yield _by("info", "1, with the version of the program.", "version", [(__version__, 1)])
    yield _gauge("active", "1 if the node is in the ring.", status.active)
    yield _gauge("serving", "1 if all mailboxes of this node are open.", facts.serving)
    states = [(each.value, sum(peer.presence is each for peer in facts.peers)) for each in Presence]
    yield _by("peers", "Nodes, ourselves included, by how they seem to be.", "presence", states)
    yield _gauge("ring_size", "Nodes in the ring, estimated where it is large.", facts.ring_size)
    yield _gauge("links", "Links that are up.", status.links)
    yield _gauge("indirect", "Nodes that are reached only by way of others.", status.indirect)
    yield CounterMetricFamily("post_carried", "Frames carried for nodes that do not reach each other.", status.carried)
    if (round_trip := facts.round_trip_ms()) is not None:
        yield _gauge("round_trip_seconds", "Median round-trip time to linked nodes.", round_trip / 1000)
    if facts.clock_ahead_s is not None:
        yield _gauge("clock_ahead_seconds", "By how much other nodes' clocks are ahead of ours.", facts.clock_ahead_s)
    yield _gauge("blocks", "Objects kept for the ring.", status.blocks)
    yield _gauge("block_bytes", "Bytes of them.", status.block_bytes)
    yield _gauge("disk_free_bytes", "Free on the disk of the data directory.", facts.disk.free)
    yield _gauge("disk_total_bytes", "Size of that disk.", facts.disk.total)
    yield _gauge(
        "notifications_waiting", "Notifications here for people who are off-line.", status.notifications_waiting
    )
    yield _gauge("copies_wanted", "Copies of everything that the policy wants.", status.copies)
    yield _gauge("copies_minimum", "Copies on other nodes without which mail is not accepted.", status.minimum)
    yield _gauge("others", "Other nodes that could keep copies.", status.others)
    yield _gauge("authority_answers", "0 if the authority could not be asked.", not facts.authority_trouble)
    ends: dict[str, float] = {}
    for each in facts.certificates:
        ends[each.kind] = min(each.ends, ends.get(each.kind, each.ends))
    yield _by("certificate_end_timestamp_seconds", "When the first of a kind ends.", "kind", ends.items())
    found = alerts(facts)
    levels = [(level.name.lower(), sum(alert.level is level for alert in found)) for level in Level]
    yield _by("alerts", "What is wrong, as the page shows it.", "level", levels)


def _mailboxes(facts: Facts) -> Iterable[Metric]:
    boxes = facts.mailboxes
    yield _gauge("accounts", "Accounts that live here.", len(boxes))
    yield _gauge("accounts_open", "Of these, open ones.", sum(box.open for box in boxes))
    yield _gauge("messages", "Messages in all mailboxes.", sum(box.messages for box in boxes))
    unconfirmed = sum(box.unconfirmed for box in boxes)
    yield _gauge("log_records_unconfirmed", "Changes that the ring does not keep yet.", unconfirmed)


def _survey(facts: Facts) -> Iterable[Metric]:
    found = [box.durability for box in facts.mailboxes if box.durability is not None]
    if not found:
        return
    copies: dict[int, int] = {}
    for each in found:
        for kind in each.kinds:
            for number, objects in kind.copies.items():
                copies[number] = copies.get(number, 0) + objects
    text = "Objects of people here that were looked at, by the copies found."
    yield _by("objects", text, "copies", ((str(number), copies[number]) for number in sorted(copies)))
    exposed: dict[int, int] = {}
    for each in found:
        for loss in each.losses:
            exposed[loss.nodes] = exposed.get(loss.nodes, 0) + loss.exposed
    text = "Objects that would be lost if some so many nodes vanished."
    yield _by("objects_exposed", text, "nodes", ((str(nodes), exposed[nodes]) for nodes in sorted(exposed)))
    yield _gauge("survey_timestamp_seconds", "When the oldest of these looks was.", min(each.at for each in found))


def _counters(facts: Facts, tally: Tally) -> Iterable[Metric]:
    submissions = CounterMetricFamily("post_submissions", "Messages submitted here.", labels=["outcome"])
    for outcome, count in sorted(tally.submissions.items()):
        submissions.add_metric([outcome], count)
    yield submissions
    complaints = CounterMetricFamily("post_complaints", "Misdeeds of other nodes.", labels=["kind"])
    for kind, count in sorted(facts.status.complaints.items()):
        complaints.add_metric([kind], count)
    yield complaints
    buckets, so_far = [], 0
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), tally.deliveries, strict=True):
        so_far += count
        buckets.append((bound, float(so_far)))
    text = "From submission to being filed here, of messages that came."
    yield HistogramMetricFamily("post_delivery_seconds", text, buckets=buckets, sum_value=tally.delivery_s)


class Metrics:
    """
    Of one node.
    """

    def __init__(self, facts: Callable[[], Facts], tally: Tally) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(facts, tally))
        # Memory, processor time, open files of this process, where the system tells.
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """
        In Prometheus' text format, L{CONTENT_TYPE}.
        """
        return generate_latest(self._registry)
