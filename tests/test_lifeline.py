"""
Tests for L{post.lifeline}.
"""

from __future__ import annotations

import os

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.pollreactor import PollReactor
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post import lifeline


class LifelineTests(SynchronousTestCase):
    """
    Tests of L{lifeline.Lifeline} and L{lifeline.hold}.
    """

    def setUp(self) -> None:
        self.stopped = list[str]()
        self.addCleanup(os.environ.pop, lifeline.VARIABLE, None)

    def stop(self) -> None:
        self.stopped.append("x")

    def test_end(self) -> None:
        """
        Whichever way a reactor has of noticing that the other end has closed, we stop, once.
        """
        for reactor in (EPollReactor(), PollReactor(), SelectReactor()):
            self.stopped.clear()
            reading, writing = os.pipe()
            with self.subTest(reactor=reactor):
                reactor.addReader(lifeline.Lifeline(reading, self.stop))
                reactor.doIteration(0)
                self.assertEqual([], self.stopped)
                os.close(writing)
                reactor.doIteration(1)
                reactor.doIteration(0)
                self.assertEqual((["x"], False), (self.stopped, self.holds(reactor)))
                self.assertRaises(OSError, os.fstat, reading)
            close(reactor)

    def test_own_end(self) -> None:
        """
        When the reactor ends by itself there is nothing left to stop.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        reactor = SelectReactor()
        self.addCleanup(close, reactor)
        reactor.addReader(lifeline.Lifeline(reading, self.stop))
        self.assertTrue(self.holds(reactor))
        reactor.disconnectAll()
        self.assertEqual([], self.stopped)
        self.assertRaises(OSError, os.fstat, reading)

    def test_without(self) -> None:
        """
        Who was given no lifeline, or something that is none, runs without.
        """
        reactor = SelectReactor()
        self.addCleanup(close, reactor)
        for value in (None, "", "x", "-1"):
            if value is not None:
                os.environ[lifeline.VARIABLE] = value
            lifeline.hold(reactor, self.stop)
            self.assertFalse(self.holds(reactor))
            self.assertNotIn(lifeline.VARIABLE, os.environ)

    def holds(self, reactor: PosixReactorBase) -> bool:
        """
        Whether C{reactor} watches a lifeline, which then is a proper descriptor.
        """
        lines = [reader for reader in reactor.getReaders() if isinstance(reader, lifeline.Lifeline)]
        return all(verifyObject(IReadDescriptor, line) for line in lines) and bool(lines)


def close(reactor: PosixReactorBase) -> None:
    """
    Let go of what a reactor that never ran has opened for itself.
    """
    for reader in reactor.removeAll():
        reader.connectionLost(Failure(ConnectionLost()))
