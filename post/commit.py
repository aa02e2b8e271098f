"""
Group commit: one writer thread, a queue, one SQLite transaction for all that waits.

A single durable write costs a disk flush; a hundred that wait together cost one.  The thread takes whatever has
gathered while it was flushing, writes it in one transaction, and tells the reactor once per transaction.

Guarantee: the Deferred of L{GroupCommit.submit} fires only after C{synchronous=FULL} has flushed the change (and, in
WAL mode, everything submitted before it).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from twisted.internet.defer import Deferred

from post.errors import ConfigError

BATCH_LIMIT = 512
"""Changes in one transaction: bounds how long the first of them waits for the last."""

InReactor = Callable[..., Any]
"""C{reactor.callFromThread}."""
Change = Callable[[sqlite3.Connection], None]

_END = None


def open_database(path: Path, application: int, version: int, schema: Sequence[str]) -> sqlite3.Connection:
    """
    A connection to the database at C{path}, made if it does not exist.

    @raise ConfigError: if it is somebody else's file, damaged, or of a version that this program does not know.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        found = connection.execute("PRAGMA application_id").fetchone()[0]
        number = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if (found, number, tables) == (0, 0, 0):
            connection.execute("BEGIN IMMEDIATE")
            for statement in schema:
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id={application}")
            connection.execute(f"PRAGMA user_version={version}")
            connection.execute("COMMIT")
            return connection
    except sqlite3.Error as error:
        raise ConfigError(str(path), f"cannot be used as a database: {error}") from None
    if found != application:
        raise ConfigError(str(path), "is a database of another program")
    if number > version:
        raise ConfigError(str(path), f"was written by a newer version of POST (format {number}, known is {version})")
    return connection


class GroupCommit:
    """
    The writer of one database.
    """

    def __init__(
        self, path: Path, application: int, version: int, schema: Sequence[str], in_reactor: InReactor
    ) -> None:
        self._connection = open_database(path, application, version, schema)
        self._in_reactor = in_reactor
        self._queue: SimpleQueue[tuple[Change, Deferred[None]] | None] = SimpleQueue()
        self._closed = False
        self._ended: Deferred[None] = Deferred()
        self._thread = Thread(target=self._run, name=f"commit {path.name}", daemon=True)
        self._thread.start()

    def submit(self, change: Change) -> Deferred[None]:
        """
        Let C{change} act on the database in the writer's thread; fires when it is durable, fails if it cannot be.
        """
        done: Deferred[None] = Deferred()
        if self._closed:
            done.errback(RuntimeError("the database is closed"))
        else:
            self._queue.put((change, done))
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

    def _run(self) -> None:
        ending = False
        while not ending:
            batch = [self._queue.get()]
            while len(batch) < BATCH_LIMIT and not self._queue.empty():
                batch.append(self._queue.get())
            ending = batch[-1] is _END
            changes = [item for item in batch if item is not None]
            if changes:
                self._in_reactor(_tell, *self._write(changes))
        self._connection.close()
        self._in_reactor(self._ended.callback, None)

    def _write(self, changes: list[tuple[Change, Deferred[None]]]) -> tuple[list[Deferred[None]], BaseException | None]:
        waiting = [done for _, done in changes]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for change, _ in changes:
                change(self._connection)
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            return waiting, error
        return waiting, None


def _tell(waiting: list[Deferred[None]], error: BaseException | None) -> None:
    for done in waiting:
        if error is None:
            done.callback(None)
        else:
            done.errback(error)
