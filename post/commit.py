"""
Group commit: one writer thread, a queue, one SQLite transaction for all that waits.

A single durable write costs a disk flush; a hundred that wait together cost one.  The thread takes whatever has
gathered while it was flushing, writes it in one transaction, and tells the reactor once per transaction.

Guarantee: the Deferred of L{GroupCommit.submit} fires only after C{synchronous=FULL} has flushed the change (and, in
WAL mode, everything submitted before it).  Changes are applied in the order in which they were submitted, and one that
fails takes no other with it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from post.errors import ConfigError, PostError

BATCH_LIMIT = 512
"""Changes in one transaction: bounds how long the first of them waits for the last."""
BATCH_BYTES = 8 * 1024 * 1024
"""And octets, for the same reason: a tenth of a second on a common disk."""

InReactor = Callable[..., Any]
"""C{reactor.callFromThread}."""
Change = Callable[[sqlite3.Connection], None]
Landed = Callable[[Exception | None], None]

_END = None

_HOPELESS = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB})
"""Errors of the disk, not of a change: trying each change again by itself would only take long."""


class DiskError(PostError):
    """
    The local disk is full, read-only or broken: what should have been read or written was not.
    """

    def __init__(self, where: str, reason: object) -> None:
        super().__init__(f"{where}: {reason}")


def open_database(
    path: Path,
    application: int,
    version: int,
    schema: Sequence[str],
    migrations: Mapping[int, Change] | None = None,
) -> sqlite3.Connection:
    """
    A connection to the database at C{path}, made if it does not exist; C{migrations} lead from the versions named to
    the next.

    @raise ConfigError: if it is somebody else's file, damaged, not writable, or of a version that this program does
        not know.
    """
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        _prepare(connection, path, application, version, schema, migrations or {})
    except sqlite3.Error as error:
        if connection is not None:
            connection.close()
        raise ConfigError(str(path), f"cannot be used as a database: {error}") from None
    except ConfigError:
        if connection is not None:
            connection.close()
        raise
    return connection


def _prepare(
    connection: sqlite3.Connection,
    path: Path,
    application: int,
    version: int,
    schema: Sequence[str],
    migrations: Mapping[int, Change],
) -> None:
    # Nothing is written, not even the journal's mode, before it is certain that the file is ours.
    found, number, tables = (
        connection.execute(question).fetchone()[0]
        for question in ("PRAGMA application_id", "PRAGMA user_version", "SELECT count(*) FROM sqlite_master")
    )
    fresh = (found, number, tables) == (0, 0, 0)
    if not fresh and found != application:
        raise ConfigError(str(path), "is a database of another program")
    if number > version:
        raise ConfigError(str(path), f"was written by a newer version of POST (format {number}, known is {version})")
    if not fresh and not all(step in migrations for step in range(number, version)):
        raise ConfigError(str(path), f"has a format ({number}) that this version of POST cannot read")
    if connection.execute("PRAGMA journal_mode=WAL").fetchone()[0] != "wal":
        raise ConfigError(str(path), "lies on a file system that cannot keep a database")
    connection.execute("PRAGMA synchronous=FULL")
    # Also where there is nothing to change: a file that cannot be written is found out now and not by the first mail.
    connection.execute("BEGIN IMMEDIATE")
    if fresh:
        for statement in schema:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={application}")
    else:
        for step in range(number, version):
            migrations[step](connection)
    connection.execute(f"PRAGMA user_version={version}")
    connection.execute("COMMIT")


@dataclass(frozen=True, slots=True)
class _Submitted:
    """
    A change on its way.
    """

    change: Change
    size_bytes: int
    landed: Landed | None
    done: Deferred[None]

    def tell(self, error: Exception | None) -> None:
        """
        It has become durable, or failed.
        """
        if self.landed is not None:
            self.landed(error)
        if error is None:
            self.done.callback(None)
        else:
            self.done.errback(error)


class GroupCommit:
    """
    The writer of one database.
    """

    log = Logger()

    def __init__(
        self,
        path: Path,
        application: int,
        version: int,
        schema: Sequence[str],
        in_reactor: InReactor,
        migrations: Mapping[int, Change] | None = None,
    ) -> None:
        self._path = path
        self._connection = open_database(path, application, version, schema, migrations)
        self._in_reactor = in_reactor
        self._queue: SimpleQueue[_Submitted | None] = SimpleQueue()
        self._closed = False
        self._failing = False
        self._ended: Deferred[None] = Deferred()
        self._thread = Thread(target=self._run, name=f"commit {path.name}", daemon=True)
        self._thread.start()

    def submit(self, change: Change, size_bytes: int = 0, landed: Landed | None = None) -> Deferred[None]:
        """
        Let C{change} act on the database in the writer's thread; fires when it is durable, fails with L{DiskError} if
        it cannot be.  C{change} may be called again if a neighbour in its transaction fails.

        C{landed} is told first, and even if nobody waits for the Deferred any more: whoever gives up waiting does not
        take the change back.
        """
        done: Deferred[None] = Deferred()
        submitted = _Submitted(change, size_bytes, landed, done)
        if self._closed:
            submitted.tell(DiskError(self._path.name, "is closed"))
        else:
            self._queue.put(submitted)
        return done

    def close(self) -> Deferred[None]:
        """
        Write what is queued, and close.
        """
        if not self._closed:
            self._closed = True
            self._queue.put(_END)
        closed: Deferred[None] = Deferred()
        self._ended.addCallback(lambda _: closed.callback(None))
        return closed

    # In the writer's thread.

    def _run(self) -> None:
        ending = False
        while not ending:
            changes: list[_Submitted] = []
            size = 0
            while not ending and (not changes or not self._queue.empty()):
                submitted = self._queue.get()
                if submitted is _END:
                    ending = True
                else:
                    changes.append(submitted)
                    size += submitted.size_bytes
                if len(changes) >= BATCH_LIMIT or size >= BATCH_BYTES:
                    break
            if changes:
                self._in_reactor(self._tell, self._write(changes))
        try:
            self._connection.close()
        except sqlite3.Error as error:
            self._in_reactor(self._note, DiskError(self._path.name, error))
        self._in_reactor(self._ended.callback, None)

    def _write(self, changes: list[_Submitted]) -> list[tuple[_Submitted, Exception | None]]:
        error = self._commit(changes)
        if error is None or len(changes) == 1 or _code(error) in _HOPELESS:
            return [(submitted, error) for submitted in changes]
        return [outcome for submitted in changes for outcome in self._write([submitted])]

    def _commit(self, changes: list[_Submitted]) -> Exception | None:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for submitted in changes:
                submitted.change(self._connection)
            self._connection.execute("COMMIT")
        except Exception as error:
            try:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                pass  # The next BEGIN fails, and says so.
            return error
        return None

    # In the reactor's.

    def _tell(self, outcomes: list[tuple[_Submitted, Exception | None]]) -> None:
        for submitted, error in outcomes:
            if isinstance(error, sqlite3.Error):
                error = DiskError(self._path.name, f"cannot be written: {error}")
                self._note(error)
            elif error is None:
                self._failing = False
            submitted.tell(error)

    def _note(self, error: DiskError) -> None:
        """
        Once per spell of trouble: a full disk fails everything for hours.
        """
        if not self._failing:
            self._failing = True
            self.log.error("{error}", error=error)


def _code(error: Exception) -> int:
    """
    SQLite's primary result code; 0 for what does not come from SQLite.
    """
    return getattr(error, "sqlite_errorcode", 0) & 0xFF
