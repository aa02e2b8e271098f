"""
Tests for L{post.scribe.allowance}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.ids import Id, NodeId
from post.scribe import allowance
from post.scribe.allowance import Allowances

ONE, OTHER, THIRD = (NodeId(Id(number)) for number in range(3))


class AllowancesTests(SynchronousTestCase):
    """
    Tests of who may ask how much.
    """

    def test_rate(self) -> None:
        """
        A peer may ask for as much as the burst at once, and then as fast as the rate; others are not concerned.
        """
        allowances = Allowances(2.0, 3.0)
        self.assertEqual([True] * 3 + [False], [allowances.take(ONE, 100.0) for _ in range(4)])
        self.assertTrue(allowances.take(OTHER, 100.0))
        self.assertEqual([True, False], [allowances.take(ONE, 100.5) for _ in range(2)])
        self.assertEqual([True] * 3 + [False], [allowances.take(ONE, 1000.0) for _ in range(4)])

    def test_clock_set_back(self) -> None:
        """
        A clock that is set back gives nobody more, and goes on to give from there.
        """
        allowances = Allowances(1.0, 1.0)
        self.assertTrue(allowances.take(ONE, 1000.0))
        self.assertFalse(allowances.take(ONE, 10.0))
        self.assertTrue(allowances.take(ONE, 11.0))

    def test_peers(self) -> None:
        """
        No more peers are remembered than the limit.
        """
        self.patch(allowance, "PEERS_LIMIT", 2)
        allowances = Allowances(0.0, 1.0)
        for peer in (ONE, OTHER, THIRD):
            self.assertTrue(allowances.take(peer, 1.0))
        self.assertEqual([False, False, True], [allowances.take(peer, 1.0) for peer in (OTHER, THIRD, ONE)])
