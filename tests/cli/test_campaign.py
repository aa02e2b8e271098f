"""
C{post sim campaign} from a terminal.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from post.cli.campaign import _told
from post.sim.campaign import CampaignReport
from tests.cli.commands import post


class CampaignTests(SynchronousTestCase):
    """
    Tests of it.
    """

    def test_runs(self) -> None:
        """
        A line for each run, with one seed after the other.
        """
        result = post("sim", "campaign", "--runs", "2", "--nodes", "8", "--seed", "3")
        self.assertEqual(0, result.exit_code, result.output)
        lines = result.output.splitlines()
        self.assertEqual(2, len(lines))
        for line, seed in zip(lines, (3, 4), strict=True):
            self.assertRegex(line, rf"^seed {seed}: \d+ nodes, \d+ faults, [\d,]+ lookups: one ring after \d+ s, ")

    def test_json(self) -> None:
        """
        All figures for programs, the seed that chance chose among them.
        """
        found = json.loads(post("sim", "campaign", "--nodes", "6", "--json").output)
        self.assertTrue({"seed", "nodes", "faults", "wrong", "right_s", "passed"} <= found.keys())

    def test_failed(self) -> None:
        """
        Of a run that failed it is told what happened, and how to repeat it.
        """
        report = CampaignReport(7, 5, ("0 s: 5 nodes", "9 s: 2 die"), 10, 1, 0, None, 2, 0, ("at 3",), 100.0, 1.0)
        expected = "seed 7: 5 nodes, 1 faults, 10 lookups: no ring, 1 at a wrong node, 2 missing, 0 could not join"
        again = "Repeat it with: post sim campaign --nodes 20 --seed 7"
        self.assertEqual([expected, "  0 s: 5 nodes", "  9 s: 2 die", "  at 3", again], _told(report, 20).splitlines())
