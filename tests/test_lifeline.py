"""
Tests for L{post.lifeline}.
"""

from __future__ import annotations

import os

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from post import lifeline


@implementer(IReactorFDSet)
class Descriptors:
    """
    What a reactor watches.
    """

    def __init__(self) -> None:
        self.readers: list[IReadDescriptor] = []

    def addReader(self, reader: IReadDescriptor) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: IReadDescriptor) -> None:
        self.readers.remove(reader)

    def addWriter(self, writer: object) -> None:
        raise NotImplementedError("nobody writes here")

    def removeWriter(self, writer: object) -> None:
        raise NotImplementedError("nobody writes here")

    def removeAll(self) -> list[IReadDescriptor | IWriteDescriptor]:
        raise NotImplementedError("nobody asks for that here")

    def getReaders(self) -> list[IReadDescriptor]:
        return self.readers

    def getWriters(self) -> list[IWriteDescriptor]:
        return []


class LifelineTests(SynchronousTestCase):
    """
    Tests of L{lifeline.Lifeline} and L{lifeline.hold}.
    """

    def setUp(self) -> None:
        self.reactor, self.stopped = Descriptors(), list[str]()
        self.addCleanup(os.environ.pop, lifeline.VARIABLE, None)

    def test_end(self) -> None:
        """
        When the other end closes, we stop, once.
        """
        reading, writing = os.pipe()
        line = lifeline.Lifeline(reading, self.reactor, lambda: self.stopped.append("x"))
        verifyObject(IReadDescriptor, line)
        verifyObject(IReactorFDSet, self.reactor)
        self.reactor.addReader(line)
        os.close(writing)
        self.assertEqual(reading, line.fileno())
        line.doRead()
        self.assertEqual((["x"], []), (self.stopped, self.reactor.readers))
        line.connectionLost(Failure(OSError()))
        self.assertRaises(OSError, os.fstat, reading)

    def test_without(self) -> None:
        """
        Who was given no lifeline, or something that is none, runs without.
        """
        for value in (None, "", "x", "-1"):
            if value is not None:
                os.environ[lifeline.VARIABLE] = value
            lifeline.hold(self.reactor, lambda: self.stopped.append("x"))
            self.assertEqual([], self.reactor.readers)
            self.assertNotIn(lifeline.VARIABLE, os.environ)
