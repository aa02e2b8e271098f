"""
Block stores on the disks that they can be on, for tests of what every store promises.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.ids import Handle
from post.past.memory import MemoryBlockStore
from post.past.store import SqliteBlockStore
from tests.past.calls import Brake, Calls

_T = TypeVar("_T")


class MemoryDisk:
    """
    A store in memory.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.clock = Clock()
        self.store = MemoryBlockStore(self.clock)

    def settle(self, work: Deferred[_T]) -> _T:
        """
        Wait for C{work}.
        """
        self.clock.advance(1)
        results: list[_T] = []
        work.addCallback(results.append)
        return results[0]

    def hold(self) -> None:
        """
        Nothing becomes durable until L{settle}: so it is anyway.
        """

    def restart(self) -> None:
        """
        The process ends, and another opens the same store.
        """
        self.clock.advance(1)
        self.store = self.store.crash()

    def damage(self, handle: Handle) -> None:
        """
        Flip a bit of what is under C{handle}.
        """
        self.store.damage(handle)

    def close(self) -> None:
        self.settle(self.store.close())


class FileDisk:
    """
    A store in a file.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.path = Path(test.mktemp())
        self.calls = Calls()
        self.store = SqliteBlockStore(self.path, self.calls)
        self.brake: Brake | None = None

    def settle(self, work: Deferred[_T]) -> _T:
        """
        Wait for C{work}.
        """
        if self.brake is not None:
            self.brake.release()
            self.brake = None
        return self.calls.result(work)

    def hold(self) -> None:
        """
        Nothing becomes durable until L{settle}.
        """
        self.brake = Brake(self.store._commit)

    def restart(self) -> None:
        """
        The process ends, and another opens the same store.
        """
        self.close()
        self.store = SqliteBlockStore(self.path, self.calls)

    def damage(self, handle: Handle) -> None:
        """
        Flip a bit of what is under C{handle}.
        """
        self.meddle("UPDATE blocks SET data=CAST(x'ff' || substr(data, 2) AS BLOB) WHERE handle=?", handle.packed())

    def meddle(self, statement: str, *arguments: object) -> None:
        """
        With the file, behind the store's back.
        """
        connection = sqlite3.connect(self.path)
        connection.execute(statement, arguments)
        connection.commit()
        connection.close()

    def close(self) -> None:
        self.settle(self.store.close())


Disk = MemoryDisk | FileDisk


def disks(test: SynchronousTestCase) -> list[Disk]:
    """
    One of every kind, closed at the end of the test.
    """
    found: list[Disk] = [MemoryDisk(test), FileDisk(test)]
    for disk in found:
        test.addCleanup(disk.close)
    return found
