"""
The experiment about routing.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from post.sim.routing import run


class RoutingTests(SynchronousTestCase):
    """
    Tests of L{run}.
    """

    def test_joined(self) -> None:
        """
        A ring that forms by the protocol delivers everything at the right node; the report adds up.
        """
        told: list[tuple[int, int]] = []
        report = run(60, 4, 300, told=lambda done, total: told.append((done, total)))
        self.assertEqual(("joins", 300, 0, 0), (report.built, report.delivered, report.wrong, report.wrong_leaf_sets))
        self.assertEqual(300, sum(report.hops_histogram))
        mean = sum(hops * count for hops, count in enumerate(report.hops_histogram)) / 300
        self.assertAlmostEqual(mean, report.hops_mean)
        self.assertTrue(0.9 < report.hops_mean < 1.1, report)
        self.assertTrue(report.stretch_mean >= 1, report)
        self.assertTrue(report.msgs_per_join is not None and 10 < report.msgs_per_join < 300, report)
        self.assertEqual((360, 360), told[-1])

    def test_known(self) -> None:
        """
        A larger one is put together, and needs about as many hops as the papers say: log16 of its size at most.
        """
        report = run(600, 4, 300, joined_limit=0)
        self.assertEqual(("global", 300, 0, 0), (report.built, report.delivered, report.wrong, report.wrong_leaf_sets))
        self.assertIsNone(report.msgs_per_join)
        self.assertTrue(1.5 < report.hops_mean < 2.4, report)

    def test_repeated(self) -> None:
        """
        A seed repeats all but the time it took and the memory; another one does not.
        """
        one, two, other = (run(40, seed, 50) for seed in (6, 6, 7))
        two = replace(two, wall_s=one.wall_s, bytes_per_node=one.bytes_per_node)
        two = replace(two, events_per_s=one.events_per_s, idle_events_per_s=one.idle_events_per_s)
        self.assertEqual(one, two)
        self.assertNotEqual((one.hops_histogram, one.msgs_per_join), (other.hops_histogram, other.msgs_per_join))

    def test_settled(self) -> None:
        """
        A ring that is left alone for a while says less after that, and its ways are no longer.
        """
        young, old = (run(300, 5, 300, settled_s=settled_s) for settled_s in (0.0, 600.0))
        self.assertEqual((0.0, 600.0), (young.settled_s, old.settled_s))
        self.assertLess(old.msgs_per_node_s, young.msgs_per_node_s)
        self.assertLessEqual(old.stretch_mean, young.stretch_mean)
