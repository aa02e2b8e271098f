"""
Tests for L{post.complaints}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from post.complaints import PEERS_LIMIT, Complaints


class ComplaintsTests(SynchronousTestCase):
    """
    Tests of L{Complaints}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.complaints = Complaints(self.clock)
        self.seen = self.enterContext(capturedLogs())

    def test_once_a_minute(self) -> None:
        """
        Each complaint counts, and is logged once per peer, kind and minute.
        """
        for peer, kind in (("a", "lied"), ("a", "lied"), ("b", "lied"), ("a", "cheated")):
            self.complaints.note(peer, kind)
        self.assertEqual([("a", "lied"), ("b", "lied"), ("a", "cheated")], [(e["peer"], e["kind"]) for e in self.seen])
        self.assertEqual({"lied": 3, "cheated": 1}, dict(self.complaints.counts))
        self.clock.advance(60)
        self.complaints.note("a", "lied")
        self.assertEqual(4, len(self.seen))

    def test_clock_set_back(self) -> None:
        """
        When the clock is set back by a day, complaints do not wait for it to catch up.
        """
        self.complaints.note("a", "lied")
        self.clock.rightNow -= 86400
        self.complaints.note("a", "lied")
        self.assertEqual(2, len(self.seen))

    def test_detail(self) -> None:
        """
        What the peer said is cut, and cannot draw in the terminal of whoever reads it.
        """
        self.complaints.note("a", "lied", "\x1b[2J\n" + "x" * 300)
        self.assertEqual("?[2J?" + "x" * 195, self.seen[0]["detail"])

    def test_bounded(self) -> None:
        """
        What is remembered of peers has a limit.
        """
        for peer in range(PEERS_LIMIT + 5):
            self.complaints.note(peer, "lied")
        self.assertLessEqual(len(self.complaints._last), PEERS_LIMIT)
