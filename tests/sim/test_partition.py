"""
The experiment about networks that break.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from post.sim.partition import run


class PartitionTests(SynchronousTestCase):
    """
    Tests of L{run}.
    """

    def test_three(self) -> None:
        """
        A ring that breaks into three is three rings, each of which has everything arrive at its own roots, and then
        one again, in which everything arrives where it should.
        """
        told: list[tuple[int, int]] = []
        report = run(40, 3, (34, 33, 33), 120.0, 0.05, told=lambda done, total: told.append((done, total)))
        self.assertEqual(("joins", (14, 13, 13)), (report.built, report.parts))
        assert report.apart_s is not None and report.one_s is not None
        self.assertTrue(1 < report.apart_s < 120, report)
        self.assertTrue(1 < report.one_s < 120, report)
        self.assertTrue(report.lookups > 600, report)
        self.assertEqual((report.lookups, 0), (report.delivered, report.refused))
        self.assertEqual((0, 0, 0), (report.wrong_apart, report.wrong_after, report.wrong_leaf_sets))
        self.assertEqual((120, 120), told[-1])
        self.assertAlmostEqual(report.msgs_per_node, sum(report.msgs_by_kind.values()) / 40)

    def test_repeated(self) -> None:
        """
        A seed repeats all but the time it took.
        """
        one, two = (run(12, 4, (30, 70), 30.0) for _ in range(2))
        self.assertEqual(one, replace(two, wall_s=one.wall_s, events_per_s=one.events_per_s))
        self.assertEqual((4, 8), one.parts)
