"""
The local journal of a log's writer, on SQLite, and one in memory that forgets what was not flushed.

Format, version 2 (application id 0x504A524E)::

    rows(number INTEGER PRIMARY KEY, record BLOB, digest BLOB)
    named(name TEXT PRIMARY KEY, value BLOB, digest BLOB)

C{digest} is the SHA-256 of what stands before it: SQLite returns flipped bits without a word, so every read compares.
Version 1 had no digests.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from post.commit import DiskError, GroupCommit, InReactor
from post.interfaces import IJournal

APPLICATION = 0x504A524E
VERSION = 2
_SCHEMA = (
    "CREATE TABLE rows(number INTEGER PRIMARY KEY, record BLOB NOT NULL, digest BLOB NOT NULL)",
    "CREATE TABLE named(name TEXT PRIMARY KEY, value BLOB NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID",
)
_PAGE = 500
"""Rows read at once: no read transaction stays open while the caller does something else."""


def _add_digests(connection: sqlite3.Connection) -> None:
    """
    From version 1 to 2.
    """
    connection.create_function("sha256", 1, _digest, deterministic=True)
    for table, column in (("rows", "record"), ("named", "value")):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN digest BLOB NOT NULL DEFAULT x''")
        connection.execute(f"UPDATE {table} SET digest=sha256({column})")


def forget_closing(path: Path) -> None:
    """
    Of a journal that nobody uses now: let whoever opens it take it for one that was not closed in order.

    @raise DiskError: if it cannot be written.
    """
    try:
        connection = sqlite3.connect(path)
        try:
            with connection:
                connection.execute("DELETE FROM named WHERE name = 'closed'")
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise DiskError(path.name, f"cannot be written: {error}") from None


def _digest(data: bytes) -> bytes:
    return sha256(data).digest()


@dataclass(frozen=True, slots=True)
class _Flight:
    """
    A change on its way to the disk: what reads see already.
    """

    rows: Sequence[tuple[int, bytes]]
    values: dict[str, bytes]
    before: int

    def write(self, connection: sqlite3.Connection) -> None:
        """
        Do it.
        """
        if self.before:
            connection.execute("DELETE FROM rows WHERE number < ?", (self.before,))
        rows = [(number, record, _digest(record)) for number, record in self.rows]
        connection.executemany("INSERT OR REPLACE INTO rows VALUES(?, ?, ?)", rows)
        values = [(name, value, _digest(value)) for name, value in self.values.items()]
        connection.executemany("INSERT OR REPLACE INTO named VALUES(?, ?, ?)", values)


@implementer(IJournal)
class SqliteJournal:
    """
    A journal in a file.

    Reads see what was written, durable or not, and raise L{DiskError} for what the disk has damaged or does not give.
    """

    def __init__(self, path: Path, in_reactor: InReactor) -> None:
        self._path = path
        self._commit = GroupCommit(path, APPLICATION, VERSION, _SCHEMA, in_reactor, {1: _add_digests})
        self._reading = sqlite3.connect(path, isolation_level=None)
        self._reading.text_factory = bytes  # What a flipped bit makes of a blob need not be UTF-8.
        self._flights: dict[int, _Flight] = {}
        self._turn = 0

    def write(self, rows: Sequence[tuple[int, bytes]], values: Sequence[tuple[str, bytes]]) -> Deferred[None]:
        return self._submit(_Flight(list(rows), dict(values), 0))

    def discard(self, before: int) -> Deferred[None]:
        return self._submit(_Flight((), {}, before))

    def _submit(self, flight: _Flight) -> Deferred[None]:
        self._turn += 1
        turn = self._turn
        self._flights[turn] = flight

        def landed(_: Exception | None) -> None:
            del self._flights[turn]

        return self._commit.submit(flight.write, landed=landed)

    def rows(self, start: int) -> Iterator[tuple[int, bytes]]:
        while True:
            found = self._query(
                f"SELECT number, record, digest FROM rows WHERE number >= ? ORDER BY number LIMIT {_PAGE}", start
            )
            stop = found[-1][0] + 1 if len(found) == _PAGE else None
            page = {number: self._intact(f"record {number}", record, digest) for number, record, digest in found}
            for flight in self._flights.values():
                for number in [number for number in page if number < flight.before]:
                    del page[number]
                page.update(row for row in flight.rows if start <= row[0] and (stop is None or row[0] < stop))
            yield from sorted(page.items())
            if stop is None:
                return
            start = stop

    def value(self, name: str) -> bytes | None:
        for flight in reversed(self._flights.values()):
            if name in flight.values:
                return flight.values[name]
        found = self._query("SELECT value, digest FROM named WHERE name = ?", name)
        return self._intact(name, *found[0]) if found else None

    def _query(self, question: str, argument: object) -> list[tuple[Any, ...]]:
        try:
            return self._reading.execute(question, (argument,)).fetchall()
        except sqlite3.Error as error:
            raise DiskError(self._path.name, f"cannot be read: {error}") from None

    def _intact(self, what: str, data: object, digest: object) -> bytes:
        if not isinstance(data, bytes) or _digest(data) != digest:
            raise DiskError(self._path.name, f"{what} is damaged on disk")
        return data

    def close(self) -> Deferred[None]:
        self._reading.close()
        return self._commit.close()


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
