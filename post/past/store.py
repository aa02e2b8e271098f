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
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from zope.interface import implementer

from post.commit import DiskError, GroupCommit, InReactor
from post.errors import Overloaded
from post.ids import RING, Handle, Id
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
_EXTEND = "UPDATE blocks SET kind=?, class=?, expires=?, rank=? WHERE handle=?"
_HOLDING = "SELECT handle, kind, class, expires, rank, size, digest FROM blocks"
_PAGE = 500

FLYING_LIMIT_BYTES = 64 * 1024 * 1024
"""Data on its way to the disk, which is in memory until it is there.  More is refused: the disk is slower than the
ring, and whoever asks does better with another holder."""


class _Flight:
    """
    A change on its way to the disk.  C{item} is what will be under the handle.
    """

    def __init__(self, handle: Handle, item: Stored | None, rewrite: bool) -> None:
        self.handle = handle
        self.item = item
        self.size_bytes = len(item.data) if item is not None else 0
        self.more_items = 0
        self.more_bytes = 0
        self._rewrite = rewrite
        self._holding: Holding | None = None

    @property
    def holding(self) -> Holding | None:
        """
        What scans show of it.
        """
        if self._holding is None and self.item is not None:
            self._holding = holding_of(self.item)
        return self._holding

    def write(self, connection: sqlite3.Connection) -> None:
        """
        Do it, in the writer's thread, which also computes the digest: neither is for the reactor to wait for.
        """
        handle, item = self.handle.packed(), self.item
        if item is not None and not self._rewrite:
            meta = (item.kind, item.storage_class, item.expires, item.order, handle)
            connection.execute(_EXTEND, meta)
            return
        old = connection.execute("SELECT size FROM blocks WHERE handle=?", (handle,)).fetchone()
        if item is None:
            connection.execute("DELETE FROM blocks WHERE handle=?", (handle,))
        else:
            size, digest = len(item.data), sha256(item.data).digest()
            row = (handle, item.kind, item.storage_class, item.expires, item.order, size, digest, item.data)
            connection.execute(_PUT, row)
        self.more_items = (item is not None) - (old is not None)
        self.more_bytes = self.size_bytes - (old[0] if old is not None else 0)


@implementer(IBlockStore)
class SqliteBlockStore:
    """
    Blocks in a file.  What the disk does not take or give raises L{DiskError}.
    """

    log = Logger()

    def __init__(self, path: Path, in_reactor: InReactor) -> None:
        self._path = path
        self._commit = GroupCommit(path, APPLICATION, VERSION, _SCHEMA, in_reactor)
        self._reading = sqlite3.connect(path, isolation_level=None)
        self._reading.text_factory = bytes  # What a flipped bit makes of a blob need not be UTF-8.
        self._flying: dict[Handle, _Flight] = {}
        self._flying_bytes = 0
        self._damaged: set[Handle] = set()
        ((self._count, self._bytes),) = self._query("SELECT count(*), coalesce(sum(size), 0) FROM blocks")

    @property
    def damaged(self) -> int:
        """
        How many blocks are known to be damaged, and not yet replaced.
        """
        return len(self._damaged)

    # Writing.

    def put(self, item: Stored) -> Deferred[None]:
        if self._flying_bytes + len(item.data) > FLYING_LIMIT_BYTES:
            return fail(Overloaded(f"{self._flying_bytes} bytes wait for the disk"))
        return self._submit(_Flight(item.handle, item, rewrite=not self._has(item)))

    def _has(self, item: Stored) -> bool:
        """
        Whether these very bytes are on the disk, so that the blob need not be written again.  They are read: whoever is
        told that they are durable has been told so of these, and not of what the disk has made of them meanwhile.
        """
        if item.handle in self._flying:
            return False
        try:
            found = self._query(
                "SELECT data, digest FROM blocks WHERE handle=? AND size=?", item.handle.packed(), len(item.data)
            )
        except DiskError:
            return False  # A bad sector is given up when the blob is written elsewhere.
        return bool(found) and found[0][0] == item.data and sha256(item.data).digest() == found[0][1]

    def delete(self, handle: Handle) -> Deferred[None]:
        return self._submit(_Flight(handle, None, rewrite=True))

    def _submit(self, flight: _Flight) -> Deferred[None]:
        """
        Hand a change to the writer; until it is done, whether or not anybody waits for it, reads see what it brings.
        """
        handle = flight.handle
        self._flying[handle] = flight
        self._flying_bytes += flight.size_bytes

        def landed(error: Exception | None) -> None:
            self._flying_bytes -= flight.size_bytes
            if self._flying.get(handle) is flight:
                del self._flying[handle]
            if error is None:
                self._count += flight.more_items
                self._bytes += flight.more_bytes
                self._damaged.discard(handle)

        return self._commit.submit(flight.write, flight.size_bytes, landed)

    # Reading.

    def get(self, handle: Handle) -> Stored | None:
        flight = self._flying.get(handle)
        if flight is not None:
            return flight.item
        found = self._query(
            "SELECT kind, class, expires, rank, data, digest FROM blocks WHERE handle=?", handle.packed()
        )
        if not found:
            return None
        kind, storage_class, expires, order, data, digest = found[0]
        if not isinstance(data, bytes) or sha256(data).digest() != digest:
            if handle not in self._damaged:
                self._damaged.add(handle)
                self.log.error("block {handle} is damaged on disk", handle=handle)
            return None
        return Stored(handle, kind, storage_class, expires, order, data)

    def holding(self, handle: Handle) -> Holding | None:
        flight = self._flying.get(handle)
        if flight is not None:
            return flight.holding
        if handle in self._damaged:
            return None
        found = self._query(f"{_HOLDING} WHERE handle=?", handle.packed())
        return Holding(handle, *found[0][1:]) if found else None

    def scan(self, low: int, high: int) -> Iterator[Holding]:
        # A page at a time, so that no read transaction stays open while the caller does something else.
        high = min(high, RING)
        while low < high:
            rows = self._query(
                f"{_HOLDING} WHERE handle BETWEEN ? AND ? ORDER BY handle LIMIT {_PAGE}",
                _packed(low),
                _packed(high - 1),
            )
            stop = int.from_bytes(rows[-1][0], "big") + 1 if len(rows) == _PAGE else high
            page: dict[Handle, Holding | None] = {}
            for packed, *known in rows:
                handle = Handle(Id.from_bytes(packed))
                if handle not in self._damaged:
                    page[handle] = Holding(handle, *known)
            page.update((handle, flight.holding) for handle, flight in self._flying.items() if low <= handle < stop)
            for handle in sorted(page):
                holding = page[handle]
                if holding is not None:
                    yield holding
            low = stop

    def of_kind(self, kind: int) -> Iterator[Stored]:
        rows = self._query("SELECT handle FROM blocks WHERE kind=?", kind)
        handles = dict.fromkeys([*(Handle(Id.from_bytes(row[0])) for row in rows), *self._flying])
        for handle in handles:
            item = self.get(handle)
            if item is not None and item.kind == kind:
                yield item

    def totals(self) -> tuple[int, int]:
        return self._count, self._bytes

    def _query(self, question: str, *arguments: object) -> list[tuple[Any, ...]]:  # What SQLite holds.
        try:
            return self._reading.execute(question, arguments).fetchall()
        except sqlite3.Error as error:
            raise DiskError(self._path.name, f"cannot be read: {error}") from None

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


def _packed(place: int) -> bytes:
    return place.to_bytes(20, "big")
