"""
What has been moved so far, on disk: so that a repeated run goes on quickly, and memory does not grow with a mailbox.

Losing it costs time only.  What is in the ring already, the node knows (L{post.moving}).

Format, version 1: SQLite, application id 0x504D4F56, with the tables

    found (folder, name, stamp, digest)   which octets a message of the source had, by its cheap name
    taken (target, digest, copy)          what has been answered as filed
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from post.errors import ConfigError
from post.files import lock, make_directory

APPLICATION = 0x504D4F56
VERSION = 1
COMMIT_EVERY = 200
"""Changes in one transaction: what a crash may cost is to be asked of the node again."""

_SCHEMA = """
CREATE TABLE found (folder TEXT, name TEXT, stamp TEXT, digest BLOB, PRIMARY KEY (folder, name)) WITHOUT ROWID;
CREATE TABLE taken (target TEXT, digest BLOB, copy INTEGER, PRIMARY KEY (target, digest, copy)) WITHOUT ROWID;
"""
_PASSING = """
CREATE TEMP TABLE copies (target TEXT, digest BLOB, count INTEGER, PRIMARY KEY (target, digest)) WITHOUT ROWID;
CREATE TEMP TABLE trouble (place TEXT, reason TEXT);
CREATE TEMP TABLE listing (rank INTEGER, name TEXT);
"""


class Ledger:
    """
    The file C{path}, used by one process at a time; C{None} keeps nothing.

    @raise ConfigError: if it is of another program or version, or in use.
    """

    def __init__(self, path: Path | None) -> None:
        self._lock = -1
        if path is not None:
            make_directory(path.parent, 0o700)
            self._lock = lock(path.with_suffix(".lock"))
        # Threads: none but the one that is ours.
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None)
        try:
            self._open(path)
        except sqlite3.DatabaseError as error:
            raise ConfigError(str(path), f"cannot be used: {error}; without it everything is looked at again") from None
        if path is not None:
            path.chmod(0o600)
        self._changes = 0

    def _open(self, path: Path | None) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, version) != (APPLICATION, VERSION):
            if tables:
                raise ConfigError(str(path), "is no ledger of an import, or of a newer version")
            self._connection.executescript(
                f"BEGIN; PRAGMA application_id={APPLICATION}; PRAGMA user_version={VERSION}; {_SCHEMA} COMMIT;"
            )
        # A transaction that a crash of the machine takes back costs time only.
        self._connection.executescript(f"PRAGMA synchronous=OFF; {_PASSING} BEGIN;")

    def _changed(self) -> None:
        self._changes += 1
        if self._changes % COMMIT_EVERY == 0:
            self._connection.execute("COMMIT")
            self._connection.execute("BEGIN")

    def digest(self, folder: str, name: str, stamp: str) -> bytes | None:
        """
        Which octets this message had when it was last read, if its stamp is the same.
        """
        row = self._connection.execute(
            "SELECT digest FROM found WHERE folder=? AND name=? AND stamp=?", (folder, name, stamp)
        ).fetchone()
        return bytes(row[0]) if row else None

    def found(self, folder: str, name: str, stamp: str, digest: bytes) -> None:
        """
        It has been read, and has these.
        """
        self._connection.execute("INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?)", (folder, name, stamp, digest))
        self._changed()

    def next_copy(self, target: str, digest: bytes) -> int:
        """
        How many messages with these octets this run has seen before for C{target}.
        """
        (count,) = self._connection.execute(
            "INSERT INTO copies VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET count = count + 1 RETURNING count",
            (target, digest),
        ).fetchone()
        return int(count) - 1

    def is_taken(self, target: str, digest: bytes, copy: int) -> bool:
        """
        Whether the node has said that this one is filed.
        """
        row = self._connection.execute(
            "SELECT 1 FROM taken WHERE target=? AND digest=? AND copy=?", (target, digest, copy)
        ).fetchone()
        return row is not None

    def take(self, target: str, digest: bytes, copy: int) -> None:
        """
        It has.
        """
        self._connection.execute("INSERT OR IGNORE INTO taken VALUES (?, ?, ?)", (target, digest, copy))
        self._changed()

    def trouble(self, place: str, reason: str) -> None:
        """
        Note what could not be moved, until the end of this run.
        """
        self._connection.execute("INSERT INTO trouble VALUES (?, ?)", (place, reason))

    def troubles(self) -> Iterator[tuple[str, str]]:
        """
        All that was noted.
        """
        yield from self._connection.execute("SELECT place, reason FROM trouble ORDER BY rowid")

    def ordered(self, listing: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        """
        The names in C{listing} by their rank; one such at a time.
        """
        self._connection.execute("DELETE FROM listing")
        self._connection.executemany("INSERT INTO listing VALUES (?, ?)", listing)
        yield from self._connection.execute("SELECT rank, name FROM listing ORDER BY rank, name")

    def close(self) -> None:
        """
        Keep what has been said.
        """
        if self._connection.in_transaction:
            self._connection.execute("COMMIT")
        self._connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
