"""
Ends a process when the one that started it has ended, however that came about.

The parent makes a pipe, keeps its writing end open and to itself, and hands the reading end to the child, with its
number in the environment.  The pipe closes when the parent is gone: the child reads that, and stops in order.  A child
that is frozen reads nothing; so where the kernel offers it (Linux) it is also asked to kill the child at that moment.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.python.failure import Failure
from zope.interface import implementer

VARIABLE = "POST_LIFELINE"
"""The environment variable with the number of the pipe's reading end."""

_PR_SET_PDEATHSIG = 1


@implementer(IReadDescriptor)
class Lifeline:
    """
    The child's end.
    """

    def __init__(self, descriptor: int, stop: Callable[[], object]) -> None:
        self._descriptor = descriptor
        self._stop = stop

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "lifeline"

    def doRead(self) -> ConnectionDone:  # type: ignore[override]  # Reactors look for these, not for what they declare.
        # Nothing is ever written, so this is the end.  Some reactors say so without letting us read.
        return CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        os.close(self._descriptor)
        if reason.check(ConnectionDone):  # Otherwise the reactor is ending by itself.
            self._stop()


def hold(reactor: IReactorFDSet, stop: Callable[[], object]) -> None:
    """
    C{stop} when our parent ends, if it gave us a lifeline.
    """
    descriptor = os.environ.pop(VARIABLE, "")
    if not descriptor.isdecimal():
        return
    if sys.platform == "linux":
        # The process that we are to die with may have died already: then the pipe tells.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    reactor.addReader(Lifeline(int(descriptor), stop))
