"""
What has been exported into a directory, in the file C{.post-export} in it: so that a repeated run goes on.

Format, version 1: SQLite, application id 0x504D4F58, with the tables

    account (address)                 whose mailbox it is
    message (folder, key, name)       the file that a message is in; for an mbox, the folder, and no key:
    place (folder, validity, uid, offset)   up to where it is written, and which UID was the last
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from post.errors import ConfigError
from post.files import lock, make_directory

NAME = ".post-export"
APPLICATION = 0x504D4F58
VERSION = 1

_SCHEMA = """
CREATE TABLE account (address TEXT);
CREATE TABLE message (folder TEXT, key BLOB, name TEXT, PRIMARY KEY (folder, key)) WITHOUT ROWID;
CREATE TABLE place (folder TEXT PRIMARY KEY, validity INTEGER, uid INTEGER, offset INTEGER) WITHOUT ROWID;
"""


class Exported:
    """
    The directory C{root}, into which the mailbox of C{account} is exported in the form C{form}.

    @raise ConfigError: if there is something else in it, or another process at it.
    """

    def __init__(self, root: Path, account: str, form: str) -> None:
        path = root / NAME
        if root.exists() and not root.is_dir():
            raise ConfigError(str(root), "is not a directory")
        if not path.exists() and root.is_dir() and any(root.iterdir()):
            raise ConfigError(str(root), "is not empty, and no export was begun in it: name another directory")
        make_directory(root, 0o700)
        self._lock = lock(root / f"{NAME}.lock")
        self._connection = sqlite3.connect(path, isolation_level=None)
        try:
            self._open(path, f"{account} {form}")
        except sqlite3.DatabaseError as error:
            raise ConfigError(str(path), f"cannot be used: {error}") from None

    def _open(self, path: Path, what: str) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (application, version) != (APPLICATION, VERSION):
            if tables:
                raise ConfigError(str(path), "is not of an export, or of a newer version")
            self._connection.executescript(
                f"BEGIN; PRAGMA application_id={APPLICATION}; PRAGMA user_version={VERSION}; {_SCHEMA} COMMIT;"
            )
            self._connection.execute("INSERT INTO account VALUES (?)", (what,))
        # What a crash of the machine takes back is written again over the same files.
        self._connection.execute("PRAGMA synchronous=OFF")
        (found,) = self._connection.execute("SELECT address FROM account").fetchone()
        if found != what:
            raise ConfigError(str(path.parent), f"has an export of {found}: name another directory")

    def name(self, folder: str, key: bytes) -> str | None:
        """
        The file of a message, if it was written.
        """
        row = self._connection.execute("SELECT name FROM message WHERE folder=? AND key=?", (folder, key)).fetchone()
        return str(row[0]) if row else None

    def named(self, folder: str, key: bytes, name: str) -> None:
        """
        It is about to be there.
        """
        self._connection.execute("INSERT OR REPLACE INTO message VALUES (?, ?, ?)", (folder, key, name))

    def place(self, folder: str) -> tuple[int, int, int] | None:
        """
        UIDVALIDITY, last UID and length of the part of an mbox that is written.
        """
        row = self._connection.execute("SELECT validity, uid, offset FROM place WHERE folder=?", (folder,)).fetchone()
        return (int(row[0]), int(row[1]), int(row[2])) if row else None

    def placed(self, folder: str, place: tuple[int, int, int] | None) -> None:
        """
        It is written up to there; C{None}: it is complete, and no part any more.
        """
        if place is None:
            self._connection.execute("DELETE FROM place WHERE folder=?", (folder,))
        else:
            self._connection.execute("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?)", (folder, *place))

    def close(self) -> None:
        """
        No more.
        """
        self._connection.close()
        os.close(self._lock)
