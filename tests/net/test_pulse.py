"""
Tests for L{post.net.pulse}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.net.pulse import Pulse


class PulseTests(SynchronousTestCase):
    """
    Tests for L{Pulse}.
    """

    def setUp(self) -> None:
        self.pulse = Pulse(30)

    def test_due(self) -> None:
        """
        A ping is due at once, and then again after each interval while something waits for an answer, or that ping
        does.
        """
        self.assertTrue(self.pulse.due(1000, waiting=False))
        number = self.pulse.ping(1000)
        self.assertFalse(self.pulse.due(1029, waiting=True))
        self.assertTrue(self.pulse.due(1030, waiting=False))
        self.pulse.pong(number, 1001)
        self.assertFalse(self.pulse.due(1030, waiting=False))
        self.assertTrue(self.pulse.due(1030, waiting=True))

    def test_round_trip(self) -> None:
        """
        The first measurement is taken as it is, a later one moves the estimate by an eighth of the difference.
        """
        self.pulse.pong(self.pulse.ping(1000), 1000.5)
        self.assertEqual(0.5, self.pulse.round_trip_s)
        self.pulse.pong(self.pulse.ping(1030), 1031.3)
        self.assertAlmostEqual(0.6, self.pulse.round_trip_s or 0)

    def test_wrong_pongs(self) -> None:
        """
        A pong that nobody asked for, or a late one, says nothing; nor does a clock that steps back show a negative
        time.
        """
        self.pulse.pong(0, 1000)
        first, second = self.pulse.ping(1000), self.pulse.ping(1030)
        self.pulse.pong(first, 1031)
        self.assertIsNone(self.pulse.round_trip_s)
        self.pulse.pong(second, 1029)
        self.assertEqual(0.0, self.pulse.round_trip_s)
        self.pulse.pong(second, 1040)
        self.assertEqual(0.0, self.pulse.round_trip_s)

    def test_silent(self) -> None:
        """
        A peer is silent if nothing came since an unanswered ping; anything that comes shows that it is there.
        """
        self.assertFalse(self.pulse.silent(0))
        number = self.pulse.ping(1000)
        self.assertTrue(self.pulse.silent(999))
        self.assertFalse(self.pulse.silent(1001))
        self.pulse.pong(number, 1002)
        self.assertFalse(self.pulse.silent(999))
