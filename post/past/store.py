"""
The block store of a node, on SQLite with group commit.

Format, version 1 (application id 0x50425354)::

    blocks(handle BLOB UNIQUE, kind, class, expires, rank, size, digest BLOB, data BLOB)    rowid table
    index by (kind)

C{rank} is the order of versions under one handle.  C{digest} is the SHA-256 of the data: SQLite returns flipped bits
without a word, so every read compares.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from post.commit import GroupCommit, InReactor
from post.ids import Handle, Id
from post.interfaces import Holding, IBlockStore, Stored

APPLICATION = 0x50425354
VERSION = 1
_SCHEMA = (
    "CREATE TABLE blocks(id INTEGER PRIMARY KEY, handle BLOB NOT NULL UNIQUE, kind INTEGER NOT NULL,"
    " class INTEGER NOT NULL, expires INTEGER NOT NULL, rank INTEGER NOT NULL, size INTEGER NOT NULL,"
    " digest BLOB NOT NULL, data BLOB NOT NULL)",
    "CREATE INDEX blocks_by_kind ON blocks(kind)",
    "CREATE INDEX blocks_by_expiry ON blocks(expires)",
)
_PUT = (
    "INSERT INTO blocks(handle, kind, class, expires, rank, size, digest, data) VALUES(?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT(handle) DO UPDATE SET kind=excluded.kind, class=excluded.class, expires=excluded.expires,"
    " rank=excluded.rank, size=excluded.size, digest=excluded.digest, data=excluded.data"
)
_EXTEND = "UPDATE blocks SET class=?, expires=? WHERE handle=?"
_PAGE = 500


@implementer(IBlockStore)
class SqliteBlockStore:
    """
    Blocks in a file.
    """

    log = Logger()

    def __init__(self, path: Path, in_reactor: InReactor) -> None:
        self._commit = GroupCommit(path, APPLICATION, VERSION, _SCHEMA, in_reactor)
        self._reading = sqlite3.connect(path, isolation_level=None)
        self._in_flight: dict[Handle, tuple[int, Stored | None]] = {}
        self._turn = 0
        self.damaged = 0
        count, size = self._reading.execute("SELECT count(*), coalesce(sum(size), 0) FROM blocks").fetchone()
        self._count, self._bytes = int(count), int(size)

    def put(self, item: Stored) -> Deferred[None]:
        old = self.holding(item.handle)
        self._count += old is None
        self._bytes += len(item.data) - (old.size_bytes if old is not None else 0)
        handle = item.handle.packed()
        digest = sha256(item.data).digest()
        if old is not None and old.digest == digest and item.handle not in self._in_flight:
            # The same bytes: only what we know of them changes, and the blob need not be written again.
            extended = (item.storage_class, item.expires, handle)
            return self._submit(item.handle, item, lambda connection: _execute(connection, _EXTEND, extended))
        row = (
            handle,
            item.kind,
            item.storage_class,
            item.expires,
            item.order,
            len(item.data),
            digest,
            item.data,
        )
        return self._submit(item.handle, item, lambda connection: _execute(connection, _PUT, row))

    def delete(self, handle: Handle) -> Deferred[None]:
        old = self.holding(handle)
        if old is not None:
            self._count -= 1
            self._bytes -= old.size_bytes
        row = (handle.packed(),)
        return self._submit(
            handle, None, lambda connection: _execute(connection, "DELETE FROM blocks WHERE handle=?", row)
        )

    def _submit(self, handle: Handle, item: Stored | None, change: object) -> Deferred[None]:
        """
        Hand C{change} to the writer; until it is done, reads see C{item}.
        """
        self._turn += 1
        turn = self._turn
        self._in_flight[handle] = (turn, item)
        assert callable(change)
        done = self._commit.submit(change)

        def landed(result: object) -> object:
            if self._in_flight.get(handle, (0, None))[0] == turn:
                del self._in_flight[handle]
            return result

        done.addBoth(landed)
        return done

    def get(self, handle: Handle) -> Stored | None:
        flying = self._in_flight.get(handle)
        if flying is not None:
            return flying[1]
        row = self._reading.execute(
            "SELECT kind, class, expires, rank, data, digest FROM blocks WHERE handle=?", (handle.packed(),)
        ).fetchone()
        if row is None:
            return None
        if sha256(row[4]).digest() != row[5]:
            self.damaged += 1
            self.log.error("block {handle} is damaged on disk", handle=handle)
            return None
        return Stored(handle, *row[:5])

    def holding(self, handle: Handle) -> Holding | None:
        flying = self._in_flight.get(handle)
        if flying is not None:
            return holding_of(flying[1]) if flying[1] is not None else None
        row = self._reading.execute(
            "SELECT kind, class, expires, rank, size, digest FROM blocks WHERE handle=?", (handle.packed(),)
        ).fetchone()
        return Holding(handle, *row) if row is not None else None

    def scan(self, low: int, high: int) -> Iterator[Holding]:
        # A page at a time, so that no read transaction stays open while the caller does something else.
        start = low.to_bytes(20, "big")
        end = high.to_bytes(21, "big")[-20:] if high < 1 << 160 else b"\xff" * 20
        upper = "<=" if high >= 1 << 160 else "<"
        comparison = ">="
        while True:
            rows = self._reading.execute(
                "SELECT handle, kind, class, expires, rank, size, digest FROM blocks"
                f" WHERE handle {comparison} ? AND handle {upper} ? ORDER BY handle LIMIT {_PAGE}",
                (start, end),
            ).fetchall()
            for row in rows:
                yield Holding(Handle(Id.from_bytes(row[0])), *row[1:])
            if len(rows) < _PAGE:
                return
            start, comparison = rows[-1][0], ">"

    def of_kind(self, kind: int) -> Iterator[Stored]:
        handles = self._reading.execute("SELECT handle FROM blocks WHERE kind=?", (kind,)).fetchall()
        for (handle,) in handles:
            item = self.get(Handle(Id.from_bytes(handle)))
            if item is not None and item.kind == kind:
                yield item

    def totals(self) -> tuple[int, int]:
        return self._count, self._bytes

    def close(self) -> Deferred[None]:
        self._reading.close()
        return self._commit.close()


def holding_of(item: Stored) -> Holding:
    """
    What a scan shows of C{item}.
    """
    return Holding(
        item.handle,
        item.kind,
        item.storage_class,
        item.expires,
        item.order,
        len(item.data),
        sha256(item.data).digest(),
    )


def _execute(connection: sqlite3.Connection, statement: str, row: tuple[object, ...]) -> None:
    connection.execute(statement, row)
