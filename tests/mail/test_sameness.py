"""
Tests for L{post.mail.sameness}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.mail import sameness
from post.mail.sameness import AGAIN_S, Sameness

CONTENT, OTHER = b"c" * 32, b"o" * 32
BARE = b"Subject: backup done\r\n\r\n"


class SamenessTests(SynchronousTestCase):
    """
    Tests of L{Sameness}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.sameness = Sameness(self.clock)

    def test_telling(self) -> None:
        """
        What has a name or a moment of its own is the same for ever, to every node.
        """
        for field in (b"Message-ID: <1@x>", b"date: Wed, 25 Nov 2026 09:00:00 +0000", b"Received: from a by b"):
            first = self.sameness.identified(CONTENT, field + b"\r\n" + BARE)
            self.clock.advance(30 * 86400)
            self.assertEqual(first, self.sameness.identified(CONTENT, field + b"\r\n" + BARE))
            self.assertEqual(first, Sameness(self.clock).identified(CONTENT, field + b"\r\n" + BARE))
            self.assertNotEqual(first, self.sameness.identified(OTHER, field + b"\r\n" + BARE))

    def test_bare(self) -> None:
        """
        What has neither is a retry for an hour, and then said again.
        """
        self.clock.advance(5)
        first = self.sameness.identified(CONTENT, BARE)
        self.clock.advance(AGAIN_S - 1)
        self.assertEqual(first, self.sameness.identified(CONTENT, BARE))
        self.clock.advance(2)
        self.assertNotEqual(first, self.sameness.identified(CONTENT, BARE))

    def test_bounded(self) -> None:
        """
        Only so many are remembered; the oldest is forgotten first.
        """
        self.patch(sameness, "UNNAMED_LIMIT", 2)
        first = self.sameness.identified(CONTENT, BARE)
        self.clock.advance(1)
        for number in range(2):
            self.sameness.identified(b"%032d" % number, BARE)
        self.assertNotEqual(first, self.sameness.identified(CONTENT, BARE))
