"""
Tests for L{post.health.metrics}.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from post.health.metrics import Metrics
from post.mail.tally import Tally
from tests.health.samples import ALICE, FACTS, MAILBOX, facts

DOCS = Path(__file__).parent.parent.parent / "docs" / "metrics.md"


class MetricsTests(SynchronousTestCase):
    """
    Tests of L{Metrics}.
    """

    def setUp(self) -> None:
        self.tally = Tally()
        self.facts = FACTS
        self.metrics = Metrics(lambda: self.facts, self.tally)

    def value(self, name: str, **labels: str) -> float:
        """
        One figure, as Prometheus' own parser reads it.
        """
        families = text_string_to_metric_families(self.metrics.text().decode())
        found = [
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        self.assertEqual(1, len(found), (name, labels))
        return found[0]

    def test_figures(self) -> None:
        """
        What the node knows is there, and read off it each time.
        """
        self.assertEqual(4, self.value("post_links"))
        self.assertEqual(5_600_000, self.value("post_block_bytes"))
        self.assertEqual(2, self.value("post_notifications_waiting"))
        self.assertEqual(3, self.value("post_peers", presence="here"))
        self.assertEqual(0.0015, self.value("post_round_trip_seconds"))
        self.assertEqual(1, self.value("post_complaints_total", kind="broken message"))
        self.assertEqual(19, self.value("post_objects", copies="3"))
        self.assertEqual(19, self.value("post_objects_exposed", nodes="3"))
        self.assertEqual(0, self.value("post_log_records_unconfirmed"))
        self.facts = facts(links=7, others=1, mailboxes=(msgspec.structs.replace(MAILBOX, unconfirmed=3),))
        self.assertEqual(7, self.value("post_links"))
        self.assertEqual(1, self.value("post_alerts", level="alarm"))
        self.assertEqual(3, self.value("post_log_records_unconfirmed"))

    def test_certificates(self) -> None:
        """
        Of several certificates of a kind the one that ends first counts.
        """
        self.assertEqual(
            FACTS.certificates[2].ends, self.value("post_certificate_end_timestamp_seconds", kind="identity")
        )

    def test_deliveries(self) -> None:
        """
        Times of delivery are counted in rising steps, the last of which has all.
        """
        for seconds in (0.01, 0.05, 0.3, 10**9, -3.0):
            self.tally.delivered(seconds)
        self.assertEqual(3, self.value("post_delivery_seconds_bucket", le="0.05"))
        self.assertEqual(4, self.value("post_delivery_seconds_bucket", le="0.5"))
        self.assertEqual(5, self.value("post_delivery_seconds_bucket", le="+Inf"))
        self.assertEqual(5, self.value("post_delivery_seconds_count"))

    def test_nobody(self) -> None:
        """
        Nobody is named.
        """
        text = self.metrics.text().decode()
        for name in (ALICE, "alice", "bob", "owner3", "Minutes"):
            self.assertNotIn(name, text)

    def test_apart(self) -> None:
        """
        Two nodes in one process have figures of their own.
        """
        other = Metrics(lambda: facts(links=9), Tally())
        self.assertIn(b"post_links 9.0", other.text())
        self.assertIn(b"post_links 4.0", self.metrics.text())

    def test_documented(self) -> None:
        """
        C{docs/metrics.md} names every figure, and none that is not there.
        """
        families = text_string_to_metric_families(self.metrics.text().decode())
        ours = {family.name for family in families if family.name.startswith("post_")}
        rows = re.findall(r"^\| (`post_.*?) \|", DOCS.read_text(), re.M)
        named = {name.removesuffix("_total") for row in rows for name in re.findall(r"post_\w+", row)}
        self.assertEqual(ours, named)
