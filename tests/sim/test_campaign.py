"""
Campaigns of faults: a short one with fixed seeds, and whether it would see what it is to see.
"""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from post.sim.campaign import Campaign, CampaignReport, run

SEEDS = range(1, 9)


class CampaignTests(SynchronousTestCase):
    """
    Tests of L{run}.
    """

    def test_short(self) -> None:
        """
        After whatever happens there is one ring, and nothing was delivered by a node that should not have; all kinds
        of faults are among it.
        """
        reports = [run(seed, 24) for seed in SEEDS]
        self.assertEqual([], [report for report in reports if not report.passed])
        faults = " ".join(fault for report in reports for fault in report.faults)
        for words in ("die", "come", "come back", "breaks into", "ways are cut", "sleep for", "are lost for"):
            self.assertIn(words, faults)
        self.assertTrue(sum(report.lookups for report in reports) > 1000, reports)

    def test_repeated(self) -> None:
        """
        A seed repeats all but the time it took.
        """
        one, two = (run(3, 12) for _ in range(2))
        self.assertEqual(one, replace(two, wall_s=one.wall_s))
        self.assertNotEqual(one.faults, run(4, 12).faults)


class JudgeTests(SynchronousTestCase):
    """
    Tests of L{Campaign}: what is wrong is seen.
    """

    def setUp(self) -> None:
        self.campaign = Campaign(5, 8)
        self.campaign.form()
        self.assertEqual((0, 0), (self.campaign.mend(), self.campaign.probe()))

    def lie(self) -> None:
        """
        Let a lookup be delivered at the node that is farthest from its root.
        """
        overlay = self.campaign.overlay
        sent = overlay.look_up(overlay.anybody())
        assert sent is not None
        number = next(number for number, each in overlay.lookups.items() if each is sent)
        wrong = max(overlay.active(), key=sent.key.distance)
        overlay.delivered(overlay.members[wrong], number)

    def test_wrong(self) -> None:
        """
        A delivery by who is not the root is demanded to be elsewhere, and named; while the network is broken it is
        excused.
        """
        self.lie()
        self.campaign.advance(2.0)
        self.assertEqual((1, 0, 1), (self.campaign.wrong, self.campaign.excused, len(self.campaign.mistakes)))
        self.campaign._part()
        self.lie()
        self.campaign.advance(2.0)
        self.assertEqual(1, self.campaign.wrong)

    def test_no_ring(self) -> None:
        """
        Where somebody never comes in there is no ring.
        """
        overlay = self.campaign.overlay
        member = overlay.anybody()
        overlay.crash(member.id)
        overlay.members[member.id] = member  # It counts as there, and is not.
        self.assertIsNone(self.campaign.mend())

    def test_passed(self) -> None:
        """
        A run in which anything of that happened has not passed.
        """
        good = CampaignReport(1, 5, (), 10, 0, 3, 1.0, 0, 0, (), 100.0, 1.0)
        self.assertTrue(good.passed)
        for bad in (replace(good, wrong=1), replace(good, missing=1), replace(good, failed=1)):
            self.assertFalse(bad.passed)
        self.assertFalse(replace(good, right_s=None).passed)
