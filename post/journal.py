"""
The local journal of a log's writer, on SQLite, and one in memory that forgets what was not flushed.

Format, version 1 (application id 0x504A524E)::

    rows(number INTEGER PRIMARY KEY, record BLOB)
    named(name TEXT PRIMARY KEY, value BLOB)
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from post.commit import GroupCommit, InReactor
from post.interfaces import IJournal

APPLICATION = 0x504A524E
VERSION = 1
_SCHEMA = (
    "CREATE TABLE rows(number INTEGER PRIMARY KEY, record BLOB NOT NULL)",
    "CREATE TABLE named(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)


@implementer(IJournal)
class SqliteJournal:
    """
    A journal in a file.
    """

    def __init__(self, path: Path, in_reactor: InReactor) -> None:
        self._commit = GroupCommit(path, APPLICATION, VERSION, _SCHEMA, in_reactor)
        self._reading = sqlite3.connect(path, isolation_level=None)

    def write(self, rows: Sequence[tuple[int, bytes]], values: Sequence[tuple[str, bytes]]) -> Deferred[None]:
        def change(connection: sqlite3.Connection) -> None:
            connection.executemany("INSERT OR REPLACE INTO rows VALUES(?, ?)", rows)
            connection.executemany("INSERT OR REPLACE INTO named VALUES(?, ?)", values)

        return self._commit.submit(change)

    def rows(self, start: int) -> Iterator[tuple[int, bytes]]:
        return iter(
            self._reading.execute("SELECT number, record FROM rows WHERE number >= ? ORDER BY number", (start,))
        )

    def value(self, name: str) -> bytes | None:
        found = self._reading.execute("SELECT value FROM named WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None

    def discard(self, before: int) -> Deferred[None]:
        return self._commit.submit(lambda connection: _discard(connection, before))

    def close(self) -> Deferred[None]:
        self._reading.close()
        return self._commit.close()


def _discard(connection: sqlite3.Connection, before: int) -> None:
    connection.execute("DELETE FROM rows WHERE number < ?", (before,))


@implementer(IJournal)
class MemoryJournal:
    """
    A journal on a disk that takes C{sync_s} seconds to flush.
    """

    def __init__(self, clock: IReactorTime, sync_s: float = 0.002) -> None:
        self._clock = clock
        self._sync_s = sync_s
        self._rows: dict[int, bytes] = {}
        self._values: dict[str, bytes] = {}
        self._durable_rows: dict[int, bytes] = {}
        self._durable_values: dict[str, bytes] = {}
        self._alive = True

    def write(self, rows: Sequence[tuple[int, bytes]], values: Sequence[tuple[str, bytes]]) -> Deferred[None]:
        rows, values = list(rows), list(values)
        self._rows.update(rows)
        self._values.update(values)

        def flush() -> None:
            self._durable_rows.update(rows)
            self._durable_values.update(values)

        return self._later(flush)

    def rows(self, start: int) -> Iterator[tuple[int, bytes]]:
        return iter([(number, self._rows[number]) for number in sorted(self._rows) if number >= start])

    def value(self, name: str) -> bytes | None:
        return self._values.get(name)

    def discard(self, before: int) -> Deferred[None]:
        self._rows = {number: row for number, row in self._rows.items() if number >= before}

        def flush() -> None:
            self._durable_rows = {number: row for number, row in self._durable_rows.items() if number >= before}

        return self._later(flush)

    def close(self) -> Deferred[None]:
        return self._later(lambda: None)

    def use(self, clock: IReactorTime) -> None:
        """
        Go on with another clock: a halted machine's disk in its next life.
        """
        self._clock = clock

    def crash(self) -> MemoryJournal:
        """
        The journal as a new process finds it: without what was not flushed, and the old one never answers again.
        """
        self._alive = False
        survivor = MemoryJournal(self._clock, self._sync_s)
        survivor._rows, survivor._values = dict(self._durable_rows), dict(self._durable_values)
        survivor._durable_rows, survivor._durable_values = self._durable_rows, self._durable_values
        return survivor

    def _later(self, flush: object) -> Deferred[None]:
        done: Deferred[None] = Deferred()

        def act() -> None:
            if self._alive:
                assert callable(flush)
                flush()
                done.callback(None)

        self._clock.callLater(self._sync_s, act)
        return done
