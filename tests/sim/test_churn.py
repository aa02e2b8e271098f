"""
The experiment about nodes that come and go.
"""

from __future__ import annotations

from itertools import islice

from twisted.trial.unittest import SynchronousTestCase

from post.errors import ConfigError
from post.sim.churn import Event, poisson, run, trace
from tests.scratch import scratch


class PoissonTests(SynchronousTestCase):
    """
    Tests of L{poisson}.
    """

    def test_rates(self) -> None:
        """
        As many go as come, each stays as long as was asked for in the mean, and who goes had come.
        """
        came: dict[int, float] = {}
        stays = []
        present = 0
        last_s = 0.0
        for at_s, node, up in islice(poisson(1, 200, 600.0), 20_000):
            self.assertTrue(at_s >= last_s)
            last_s = at_s
            if up:
                self.assertNotIn(node, came)
                came[node] = at_s
                present += 1
            else:
                stays.append(at_s - came[node])
                present -= 1
        self.assertTrue(150 < present < 250, present)
        self.assertTrue(570 < sum(stays) / len(stays) < 630, sum(stays) / len(stays))


class TraceTests(SynchronousTestCase):
    """
    Tests of L{trace}.
    """

    def setUp(self) -> None:
        self.path = scratch(self) / "trace"

    def read(self, text: str) -> list[Event]:
        """
        What is in a file of C{text}.
        """
        self.path.write_text(text)
        return list(trace(self.path))

    def test_read(self) -> None:
        """
        Seconds, nodes, and whether they come.
        """
        found = self.read("# two\n0 1 up\n0,2,UP\n\n12.5 1 down\n13 1 up\n")
        self.assertEqual([(0.0, 1, True), (0.0, 2, True), (12.5, 1, False), (13.0, 1, True)], found)

    def test_bad(self) -> None:
        """
        What makes no sense is refused, and the line named.
        """
        for text, words in (
            ("0 1 up\nx 1 down\n", "line 2: not a second"),
            ("0 1\n", "line 1: not a second"),
            ("0 1 sideways\n", "line 1: not a second"),
            ("5 1 up\n4 1 down\n", "line 2: times have to rise"),
            ("inf 1 up\n", "line 1: times have to rise"),
            ("-1 1 up\n", "line 1: times have to rise"),
            ("0 1 up\n1 1 up\n", "line 2: node 1 is up already"),
            ("0 1 down\n", "line 1: node 1 is down already"),
        ):
            self.assertIn(words, str(self.assertRaises(ConfigError, self.read, text)))


class ChurnTests(SynchronousTestCase):
    """
    Tests of L{run}.
    """

    def test_nobody_goes(self) -> None:
        """
        Where nobody comes or goes everything arrives once.
        """
        report = run(iter([(0.0, node, True) for node in range(30)] + [(90.0, 99, True)]), 2, 60.0, 20.0, 0.0, 0.2)
        self.assertEqual((30.0, 0, 0), (round(report.nodes, 6), report.arrivals, report.departures))
        self.assertTrue(200 < report.lookups < 550, report.lookups)
        self.assertEqual(report.lookups, report.delivered)
        self.assertEqual((0, 0, 0, 0), (report.lost, report.orphaned, report.incorrect, report.doubled))

    def test_come_and_go(self) -> None:
        """
        With sessions of ten minutes nothing arrives at a wrong node, and what is lost is counted: what was delivered,
        lost, and lost with its origin is all that was sent.
        """
        report = run(poisson(3, 60, 600.0), 3, 300.0, 60.0, 0.0, 0.1)
        self.assertTrue(report.arrivals > 10 and report.departures > 10, report)
        self.assertEqual(report.lookups, report.delivered + report.lost + report.orphaned)
        self.assertEqual(0, report.incorrect)
        self.assertTrue(report.lost <= report.lookups / 500, report)
        self.assertEqual(0, report.wrong_leaf_sets)
        self.assertTrue(0.05 < report.control_msgs_per_node_s < 3, report)

    def test_same_place(self) -> None:
        """
        Who comes again has the id that it had; a run ends when its trace does.
        """
        events = [(0.0, node, True) for node in range(8)]
        events += [(30.0, 3, False), (60.0, 3, True), (90.0, 5, False)]
        report = run(iter(events), 4, 1000.0, 0.0, 0.0, 0.1)
        self.assertEqual((1, 2), (report.arrivals, report.departures))
        self.assertTrue(90 <= report.simulated_s < 120, report)
        self.assertAlmostEqual((30.0 + 90.0) / 2, report.session_mean_s)
