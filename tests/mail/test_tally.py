"""
Tests for L{post.mail.tally}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.errors import TooFewReplicas
from post.mail.interfaces import ISubmission, RecipientUnknown, SenderRefused
from post.mail.tally import BOUNDS_S, Counted, Tally
from tests.front.accounts import ALICE, FakeSubmission, Gate


class CountedTests(SynchronousTestCase):
    """
    Tests of L{Counted}.
    """

    def setUp(self) -> None:
        self.tally = Tally()
        self.inner = FakeSubmission(ALICE, Gate())
        self.counted = Counted(self.inner, self.tally)

    def test_same(self) -> None:
        """
        It is what it counts for.
        """
        verifyObject(ISubmission, self.counted)
        self.assertEqual(self.inner.size_limit, self.counted.size_limit)
        self.assertRaises(SenderRefused, self.counted.check_sender, "eve@example.org")
        self.counted.check_sender(ALICE)
        self.inner.errors["x@example.org"] = RecipientUnknown("x@example.org")
        self.failureResultOf(self.counted.check_recipient("x@example.org"), RecipientUnknown)

    def test_outcomes(self) -> None:
        """
        What was accepted, put off and refused is counted apart, and the reply and the error are as they were.
        """
        named = self.successResultOf(self.counted.submit(ALICE, [ALICE], b"", b""))
        self.assertEqual("m1", named)
        for error in (TooFewReplicas(1, 2), SenderRefused("eve")):
            self.inner.errors["submit"] = error
            self.failureResultOf(self.counted.submit(ALICE, [ALICE], b"", b""), type(error))
        self.assertEqual({"accepted": 1, "deferred": 1, "refused": 1}, dict(self.tally.submissions))


class TallyTests(SynchronousTestCase):
    """
    Tests of L{Tally}.
    """

    def test_steps(self) -> None:
        """
        Each time is counted in the first step that is long enough.
        """
        tally = Tally()
        for seconds in BOUNDS_S:
            tally.delivered(seconds)
        tally.delivered(BOUNDS_S[-1] + 1)
        self.assertEqual([1] * (len(BOUNDS_S) + 1), tally.deliveries)
