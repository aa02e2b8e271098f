"""
Greylisting: who has not written to somebody before is asked to come again, as every mail server does.

Kept on disk, so that a restart does not put everybody off again; what a crash loses costs a sender one more try.
Format, version 1 (application id 0x5047524C)::

    seen(key BLOB PRIMARY KEY, first INTEGER, last INTEGER, passed INTEGER)

C{key} is 16 octets of a hash of source, envelope sender and recipient, or of source and the sender's domain, which has
C{passed} when any of its messages has.  Times are unix seconds.
"""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

APPLICATION = 0x5047524C
VERSION = 1
ROWS_LIMIT = 200_000
"""About 20 MB; those not heard of for longest are forgotten first, a tenth at a time."""
RETRY_S = 2 * 86400
"""Who comes again later than this begins anew."""
PASSED_S = 36 * 86400
"""For so long who has passed need not wait: a monthly newsletter comes at once."""


class Greylist:
    """
    Remembers who has written to whom.
    """

    log = Logger()

    def __init__(self, path: Path, clock: IReactorTime, delay_s: int) -> None:
        """
        @param delay_s: how long a stranger has to wait; 0: not at all.
        """
        self._clock = clock
        self._delay_s = delay_s
        self._path = path
        self._rows = 0
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._prepare()
        except sqlite3.DatabaseError as error:
            # Nothing in it is worth a gateway that does not start.
            self.log.warn("the greylist is begun anew: {error}", error=error)
            for name in (self._path.name, f"{self._path.name}-wal", f"{self._path.name}-shm"):
                self._path.with_name(name).unlink(missing_ok=True)
            return self._prepare()

    def _prepare(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            application, version = (
                connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
            )
            if (application, version) not in ((0, 0), (APPLICATION, VERSION)):
                raise sqlite3.DatabaseError("not of this version")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute(f"PRAGMA application_id={APPLICATION}")
            connection.execute(f"PRAGMA user_version={VERSION}")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS seen(key BLOB PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL,"
                " passed INTEGER NOT NULL) WITHOUT ROWID"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS by_last ON seen(last)")
            (self._rows,) = connection.execute("SELECT count(*) FROM seen").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def passes(self, net: str, sender: str, recipient: str) -> bool:
        """
        Whether a message from C{sender} at C{net} to C{recipient} need not wait (any longer).
        """
        if not self._delay_s:
            return True
        try:
            return self._passes(net, sender, recipient)
        except sqlite3.Error as error:
            self.log.warn("the greylist cannot be used: {error}", error=error)
            return True

    def _passes(self, net: str, sender: str, recipient: str) -> bool:
        now = int(self._clock.seconds())
        sender = sender.lower()
        known, tried = _key(net, sender.rpartition("@")[2]), _key(net, sender, recipient.lower())
        if self._known(known, now):
            self._note(known, now, now, True)
            return True
        row = self._connection.execute("SELECT first FROM seen WHERE key=?", (tried,)).fetchone()
        first = row[0] if row is not None else now
        if not 0 <= now - first <= RETRY_S:
            first = now
        passed = now - first >= self._delay_s
        self._note(tried, first, now, passed)
        if passed:
            self._note(known, now, now, True)
        return passed

    def _known(self, key: bytes, now: int) -> bool:
        row = self._connection.execute("SELECT last, passed FROM seen WHERE key=?", (key,)).fetchone()
        return row is not None and bool(row[1]) and now - row[0] <= PASSED_S

    def _note(self, key: bytes, first: int, last: int, passed: bool) -> None:
        self._connection.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", (key, first, last, int(passed)))
        # Rows that were replaced are counted too: how many there really are is looked at only now and then.
        self._rows += 1
        if self._rows > ROWS_LIMIT + ROWS_LIMIT // 10:
            (self._rows,) = self._connection.execute("SELECT count(*) FROM seen").fetchone()
            if self._rows > ROWS_LIMIT:
                forget = "DELETE FROM seen WHERE key IN (SELECT key FROM seen ORDER BY last LIMIT ?)"
                self._rows -= self._connection.execute(forget, (self._rows - ROWS_LIMIT + ROWS_LIMIT // 10,)).rowcount

    def close(self) -> None:
        """
        Let go of the disk.
        """
        self._connection.close()


def _key(*parts: str) -> bytes:
    return sha256("\0".join((str(len(parts)), *parts)).encode("utf-8", "surrogateescape")).digest()[:16]
