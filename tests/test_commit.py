"""
Tests for L{post.commit}.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from post.commit import BATCH_BYTES, DiskError, GroupCommit, open_database
from post.errors import ConfigError
from tests.past.calls import Brake, Calls

OURS = 0x1234
SCHEMA = ("CREATE TABLE words(word TEXT PRIMARY KEY) WITHOUT ROWID",)


class OpenTests(SynchronousTestCase):
    """
    Tests for L{open_database}.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def refusal(self, version: int = 1) -> str:
        """
        Why the file is refused, in one line that begins with its name.
        """
        error = self.assertRaises(ConfigError, open_database, self.path, OURS, version, SCHEMA)
        self.assertEqual([str(self.path)], [str(error).partition(": ")[0]])
        self.assertNotIn("\n", str(error))
        return str(error.reason)

    def test_made(self) -> None:
        """
        A file that is not there is made, and is the same when it is opened again.
        """
        first = open_database(self.path, OURS, 1, SCHEMA)
        first.execute("INSERT INTO words VALUES('kept')")
        first.close()
        again = open_database(self.path, OURS, 1, SCHEMA)
        self.assertEqual([("kept",)], again.execute("SELECT word FROM words").fetchall())
        self.assertEqual((2,), again.execute("PRAGMA synchronous").fetchone())
        again.close()

    def test_foreign(self) -> None:
        """
        The database of another program is refused, and not a byte of it is changed.
        """
        other = sqlite3.connect(self.path)
        other.execute("CREATE TABLE recipes(name)")
        other.commit()
        other.close()
        before = self.path.read_bytes()
        self.assertEqual("is a database of another program", self.refusal())
        self.assertEqual(before, self.path.read_bytes())

    def test_newer(self) -> None:
        """
        A file that a newer version wrote is refused, and says which format it has.
        """
        open_database(self.path, OURS, 3, SCHEMA).close()
        self.assertEqual("was written by a newer version of POST (format 3, known is 2)", self.refusal(2))

    def test_too_old(self) -> None:
        """
        A file of a format from which no migration leads here is refused.
        """
        open_database(self.path, OURS, 1, SCHEMA).close()
        self.assertEqual("has a format (1) that this version of POST cannot read", self.refusal(2))

    def test_migrated(self) -> None:
        """
        An older file is brought forward step by step, once.
        """
        open_database(self.path, OURS, 1, SCHEMA).close()
        steps = {
            1: lambda connection: connection.execute("CREATE TABLE second(x)"),
            2: lambda connection: connection.execute("ALTER TABLE second ADD COLUMN y"),
        }
        for _ in range(2):
            connection = open_database(self.path, OURS, 3, SCHEMA, steps)
            columns = [row[1] for row in connection.execute("PRAGMA table_info(second)")]
            self.assertEqual((3, ["x", "y"]), (connection.execute("PRAGMA user_version").fetchone()[0], columns))
            connection.close()

    def test_migration_fails(self) -> None:
        """
        A migration that fails in the middle leaves the file as it was.
        """
        open_database(self.path, OURS, 1, SCHEMA).close()

        def fail(connection: sqlite3.Connection) -> None:
            connection.execute("DROP TABLE words")
            connection.execute("nonsense")

        self.assertRaises(ConfigError, open_database, self.path, OURS, 2, SCHEMA, {1: fail})
        connection = open_database(self.path, OURS, 1, SCHEMA)
        self.assertEqual([], connection.execute("SELECT * FROM words").fetchall())
        connection.close()

    def test_damaged(self) -> None:
        """
        Something that is no database is refused.
        """
        self.path.write_bytes(b"no database" * 1000)
        self.assertEqual("cannot be used as a database: file is not a database", self.refusal())

    def test_no_folder(self) -> None:
        """
        So is a place where no file can be.
        """
        self.path = self.path / "not" / "there"
        self.assertEqual("cannot be used as a database: unable to open database file", self.refusal())

    def test_read_only(self) -> None:
        """
        A file that cannot be written is refused at once, and not when the first mail comes.
        """
        open_database(self.path, OURS, 1, SCHEMA).close()
        # File permissions do not stop root.  A "write version" that SQLite does not know makes it read-only for all.
        data = self.path.read_bytes()
        self.path.write_bytes(data[:18] + b"\3" + data[19:])
        self.assertIn("readonly", self.refusal())


class GroupCommitTests(SynchronousTestCase):
    """
    Tests for L{GroupCommit}.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.calls = Calls()
        self.commit = GroupCommit(self.path, OURS, 1, SCHEMA, self.calls)
        self.addCleanup(lambda: self.calls.wait(self.commit.close()))

    def words(self) -> list[str]:
        """
        What another process would read now.
        """
        connection = sqlite3.connect(self.path)
        found = [row[0] for row in connection.execute("SELECT word FROM words ORDER BY word")]
        connection.close()
        return found

    def add(self, word: str) -> Deferred[None]:
        return self.commit.submit(lambda connection: _add(connection, word))

    def test_durable(self) -> None:
        """
        When the Deferred fires, another process reads the change.
        """
        self.calls.result(self.add("one"))
        self.assertEqual(["one"], self.words())

    def test_one_transaction(self) -> None:
        """
        What waits together is committed together: nobody sees the first before the last.
        """
        brake = Brake(self.commit)
        seen: list[list[str]] = []
        first = self.add("a")
        self.commit.submit(lambda _: seen.append(self.words()))
        last = self.add("b")
        brake.release()
        for each in (first, last):
            self.calls.result(each)
        self.assertEqual(([[]], ["a", "b"]), (seen, self.words()))

    def test_innocent_neighbours(self) -> None:
        """
        A change that fails takes none with it that waited together with it, and the order of the others stays.
        """
        self.calls.result(self.add("taken"))
        brake = Brake(self.commit)
        first, bad, bug, last = self.add("a"), self.add("taken"), self.commit.submit(_stumble), self.add("b")
        brake.release()
        self.calls.result(first)
        self.calls.result(last)
        self.assertIsInstance(self.failure(bad).value, DiskError)
        self.assertIsInstance(self.failure(bug).value, ZeroDivisionError)
        self.assertEqual(["a", "b", "taken"], self.words())

    def failure(self, work: Deferred[None]) -> Failure:
        failure = self.calls.wait(work)
        assert isinstance(failure, Failure)
        return failure

    def test_half_a_change(self) -> None:
        """
        Of a change that fails in its middle nothing stays.
        """

        def half(connection: sqlite3.Connection) -> None:
            _add(connection, "half")
            _stumble(connection)

        self.failure(self.commit.submit(half))
        self.calls.result(self.add("after"))
        self.assertEqual(["after"], self.words())

    def test_full(self) -> None:
        """
        On a full disk a change fails with an error that names the file, what was acknowledged stays, what fits is
        still taken, and when there is room again, so is the rest.
        """
        self.calls.result(self.add("before"))
        self.calls.result(self.commit.submit(lambda connection: _limit(connection, 4)))
        error = self.failure(self.add("x" * 100_000)).value
        self.assertIsInstance(error, DiskError)
        self.assertEqual(f"{self.path.name}: cannot be written: database or disk is full", str(error))
        self.calls.result(self.add("small"))
        self.calls.result(self.commit.submit(lambda connection: _limit(connection, 1 << 20)))
        self.calls.result(self.add("x" * 100_000))
        self.assertEqual(["before", "small", "x" * 100_000], self.words())

    def test_given_up(self) -> None:
        """
        Who gives up waiting does not take the change back, and C{landed} hears of it all the same.
        """
        landed: list[Exception | None] = []
        brake = Brake(self.commit)
        waiting = self.commit.submit(lambda connection: _add(connection, "a"), landed=landed.append)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual([], landed)
        brake.release()
        self.calls.result(self.add("b"))
        self.assertEqual(([None], ["a", "b"]), (landed, self.words()))

    def test_large(self) -> None:
        """
        Large changes do not all wait for one another.
        """
        order: list[str] = []

        def in_reactor(*call: Any) -> None:
            order.append("told")
            self.calls(*call)

        commit = GroupCommit(Path(self.mktemp()), OURS, 1, SCHEMA, in_reactor)
        brake = Brake(commit)

        def note(name: str) -> Deferred[None]:
            return commit.submit(lambda _: order.append(name), BATCH_BYTES // 2)

        works = [note(name) for name in "abcd"]
        brake.release()
        for work in works:
            self.calls.result(work)
        self.calls.result(commit.close())
        self.assertEqual(["told", "a", "b", "told", "c", "d", "told", "told"], order)

    def test_closed(self) -> None:
        """
        Closing writes what waits; after it nothing is taken.
        """
        brake = Brake(self.commit)
        waiting = self.add("last")
        closed = self.commit.close()
        late: list[Exception | None] = []
        self.assertIsInstance(self.failure(self.commit.submit(_stumble, landed=late.append)).value, DiskError)
        brake.release()
        self.calls.result(closed)
        self.successResultOf(waiting)
        self.assertEqual((["last"], 1), (self.words(), len(late)))

    def test_closed_twice(self) -> None:
        """
        Closing again is no harm.
        """
        self.calls.result(self.commit.close())
        self.calls.result(self.commit.close())


def _add(connection: sqlite3.Connection, word: str) -> None:
    connection.execute("INSERT INTO words VALUES(?)", (word,))


def _limit(connection: sqlite3.Connection, pages: int) -> None:
    connection.execute(f"PRAGMA max_page_count={pages}")


def _stumble(connection: sqlite3.Connection) -> None:
    raise ZeroDivisionError
