"""
The experiment about many that come.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from post.sim.joins import run


def tell(told: list[int], done: int, total: int) -> None:
    """
    Remember how far it is.
    """
    told.append(done)


class JoinsTests(SynchronousTestCase):
    """
    Tests of L{run}.
    """

    def test_rates(self) -> None:
        """
        One after the other or all at once, everybody is in the ring in the end, and all leaf sets are right.
        """
        for rate in (20.0, 0.0):
            told: list[int] = []
            report = run(50, 3, rate, None, partial(tell, told))
            self.assertEqual((50, 0, 0), (report.active, report.failed, report.wrong_leaf_sets))
            assert report.right_s is not None
            self.assertTrue(report.right_s < 30, report)
            self.assertTrue(0 < report.active_p50_s <= report.active_p99_s < 30, report)
            self.assertTrue(20 < report.msgs_per_join < 200, report)
            whole = report.msgs_per_join + report.distance_msgs_per_join + report.heartbeats_per_join
            self.assertAlmostEqual(whole, sum(report.msgs_by_kind.values()) / 50)
            self.assertEqual(50, told[-1])

    def test_repeated(self) -> None:
        """
        A seed repeats all but the time it took.
        """
        one, two = (run(15, 4, 10.0) for _ in range(2))
        self.assertEqual(one, replace(two, wall_s=one.wall_s, events_per_s=one.events_per_s))
