"""
Tests of L{post.mail.quota}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.mail.quota import DAY_S, MEMBERS_LIMIT, Quota


class QuotaTests(SynchronousTestCase):
    """
    Tests of L{Quota}.
    """

    def test_used(self) -> None:
        """
        A whole day's may be sent at once; then as much as comes back.
        """
        quota = Quota(100)
        self.assertEqual([0.0, 0.0], [quota.wait_s("alice", 50, 0), quota.wait_s("alice", 50, 0)])
        self.assertEqual(DAY_S / 100, quota.wait_s("alice", 1, 0))
        self.assertEqual(0.0, quota.wait_s("bob", 100, 0))
        self.assertEqual(DAY_S / 200, quota.wait_s("alice", 1, DAY_S / 200))
        self.assertEqual(0.0, quota.wait_s("alice", 1, DAY_S / 100))
        self.assertEqual(0.0, quota.wait_s("alice", 100, 10 * DAY_S))
        self.assertLess(0.0, quota.wait_s("alice", 100, 10 * DAY_S))

    def test_edges(self) -> None:
        """
        More than a day's at once is a day's; none set is no limit; a clock set back gives nothing; memory is bounded.
        """
        quota = Quota(10)
        self.assertEqual(0.0, quota.wait_s("alice", 100, DAY_S))
        self.assertEqual(float(DAY_S), quota.wait_s("alice", 100, 0))
        self.assertEqual(0.0, Quota(0).wait_s("alice", 10**9, 0))
        for number in range(MEMBERS_LIMIT + 10):
            quota.wait_s(str(number), 1, 0)
        self.assertEqual(MEMBERS_LIMIT, len(quota._rests))
