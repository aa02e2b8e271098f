"""
Tests for L{post.pastry.failures}.
"""

from __future__ import annotations

from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.pastry.failures import KEPT, PRIOR_S, FailureRate, period_s


class FailureRateTests(SynchronousTestCase):
    """
    Tests for L{FailureRate} and L{period_s}.
    """

    def test_steady(self) -> None:
        """
        Where nodes die at a steady rate, that is what is found, within what so few deaths can tell.
        """
        clock, chance, watched, session_s = Clock(), Random(1), 60, 1800.0
        failures, found = FailureRate(clock), []
        for _ in range(400):
            clock.advance(chance.expovariate(watched / session_s))
            failures.note()
            found.append(failures.rate(watched) * session_s)
        settled = sorted(found[KEPT:])
        self.assertTrue(0.9 < settled[len(settled) // 2] < 1.2, settled[len(settled) // 2])
        self.assertTrue(settled[0] > 0.4 and settled[-1] < 3, (settled[0], settled[-1]))

    def test_nobody_dies(self) -> None:
        """
        A node that sees nobody die watches less and less closely; one that has seen nothing yet does not divide by
        zero.
        """
        clock = Clock()
        failures = FailureRate(clock)
        first = failures.rate(60)
        self.assertTrue(0.9 / PRIOR_S < first < 1.2 / PRIOR_S)
        clock.advance(100 * PRIOR_S)
        self.assertTrue(failures.rate(60) < first / 5000)
        self.assertTrue(failures.rate(0) > 0)

    def test_burst(self) -> None:
        """
        When many die at once the rate is high, and falls again with time.
        """
        clock = Clock()
        failures = FailureRate(clock)
        clock.advance(3600)
        for _ in range(2 * KEPT):
            failures.note()
        at_once = failures.rate(60)
        clock.advance(3600)
        self.assertTrue(at_once > 1000 * failures.rate(60))

    def test_period(self) -> None:
        """
        Nodes that are asked once in the period, and die at the rate, are dead when a message comes no more often than
        was allowed.
        """
        rate, part, hops = 1 / 1800, 0.03, 1.5
        chance, every_s, met = Random(2), period_s(1 / 1800, 0.03, 1.5), 0
        for _ in range(100_000):
            # Alive when it was last heard from; the message comes at any time in the period.
            met += chance.expovariate(rate) < chance.uniform(0, every_s)
        self.assertTrue(0.8 * part < met / 100_000 * hops < 1.1 * part, met)
