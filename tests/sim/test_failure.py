"""
The experiment about many that die at once.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from post.sim.failure import run


class FailureTests(SynchronousTestCase):
    """
    Tests of L{run}.
    """

    def test_tenth(self) -> None:
        """
        When a tenth dies everything still arrives, at the right node; the report adds up.
        """
        told: list[tuple[int, int]] = []
        report = run(80, 3, 0.1, 400, told=lambda done, total: told.append((done, total)), joined_limit=0)
        self.assertEqual(("global", 8), (report.built, report.killed))
        self.assertEqual((400, 0, 400, 0), (report.lookups, report.refused, report.delivered, report.wrong))
        assert report.right_s is not None
        self.assertTrue(1 < report.right_s < 60, report)
        self.assertTrue(0 < report.took_p50_s <= report.took_p99_s <= report.took_most_s < 20, report)
        self.assertTrue(10 < report.wrong_leaf_sets <= 72, report)
        self.assertEqual(0, report.left_wrong)
        self.assertEqual((480, 480), told[-1])

    def test_half(self) -> None:
        """
        When half dies the rest is a ring again.
        """
        report = run(60, 4, 0.5, 10, joined_limit=0)
        assert report.right_s is not None
        self.assertEqual((30, 0), (report.killed, report.left_wrong))
        self.assertTrue(report.right_s < 120, report)

    def test_nobody(self) -> None:
        """
        When nobody dies nothing was ever wrong.
        """
        report = run(20, 5, 0.0, 10, joined_limit=0)
        self.assertEqual((0, 0, 0.0, 10), (report.killed, report.wrong_leaf_sets, report.right_s, report.delivered))

    def test_repeated(self) -> None:
        """
        A seed repeats all but the time it took.
        """
        one, two = (run(20, 6, 0.2, 40) for _ in range(2))
        self.assertEqual(one, replace(two, wall_s=one.wall_s, events_per_s=one.events_per_s))
        self.assertEqual("joins", one.built)
