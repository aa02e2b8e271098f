"""
Tests for L{post.mail.agenda}.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.mail.agenda import Agenda, Due


class AgendaTests(SynchronousTestCase):
    """
    Tests for L{Agenda}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.agenda = Agenda(self.clock)

    def take(self, most: int = 10, most_s: float = 100.0) -> Deferred[list[Due]]:
        """
        Ask for what is due.
        """
        return Deferred.fromCoroutine(self.agenda.take(most, most_s))

    def test_order(self) -> None:
        """
        What is due comes in the order of time, so much of it as is asked for, and once.
        """
        self.agenda.replace([Due(3, 1, b"c"), Due(1, 1, b"a"), Due(9, 1, b"z")])
        self.agenda.add(Due(2, 1, b"b"))
        self.clock.advance(5)
        self.assertEqual([b"a", b"b"], [due.key for due in self.successResultOf(self.take(2))])
        self.assertEqual([b"c"], [due.key for due in self.successResultOf(self.take(2))])
        self.assertNoResult(self.take())

    def test_waits(self) -> None:
        """
        Where nothing is due, one waits for the next thing, but not for longer than one wants to.
        """
        for most_s, waited_s in ((100.0, 7), (3.0, 3)):
            self.agenda.replace([Due(self.clock.seconds() + 7, 1, b"a")])
            taken = self.take(most_s=most_s)
            self.clock.advance(waited_s - 0.5)
            self.assertNoResult(taken)
            self.clock.advance(0.5)
            self.assertEqual([], self.successResultOf(taken))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_woken(self) -> None:
        """
        What comes first wakes the one who waits; what comes later does not.
        """
        self.agenda.replace([Due(50, 1, b"a")])
        taken = self.take()
        self.agenda.add(Due(60, 1, b"b"))
        self.assertNoResult(taken)
        self.agenda.add(Due(10, 1, b"c"))
        self.assertEqual([], self.successResultOf(taken))
        self.clock.advance(10)
        self.assertEqual([b"c"], [due.key for due in self.successResultOf(self.take())])

    def test_stopped(self) -> None:
        """
        Who is to stop, stops.
        """
        taken = self.take()
        taken.cancel()
        self.failureResultOf(taken, CancelledError)
        self.assertEqual([], self.clock.getDelayedCalls())
