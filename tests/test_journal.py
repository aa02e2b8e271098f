"""
Tests for L{post.journal}: what every journal promises, on SQLite and in memory, and what only files can suffer.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.commit import DiskError
from post.errors import ConfigError
from post.interfaces import IJournal
from post.journal import MemoryJournal, SqliteJournal
from tests.past.calls import Calls

_T = TypeVar("_T")


class MemoryDisk:
    """
    Journals in memory.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.clock = Clock()
        self.journal = MemoryJournal(self.clock)

    def settle(self, work: Deferred[_T]) -> _T:
        """
        Wait for C{work}.
        """
        self.clock.advance(1)
        results: list[_T] = []
        work.addCallback(results.append)
        return results[0]

    def crash(self) -> None:
        """
        The power fails, and comes back.
        """
        self.journal = self.journal.crash()


class FileDisk:
    """
    Journals in files, whose writer's thread is not heard while nobody waits.
    """

    def __init__(self, test: SynchronousTestCase) -> None:
        self.path = Path(test.mktemp())
        self.calls = Calls()
        self.journal = SqliteJournal(self.path, self.calls)

    def settle(self, work: Deferred[_T]) -> _T:
        """
        Wait for C{work}.
        """
        return self.calls.result(work)

    def crash(self) -> None:
        """
        The process ends and starts again.
        """
        self.settle(self.journal.close())
        self.journal = SqliteJournal(self.path, self.calls)


class JournalTests(SynchronousTestCase):
    """
    What every journal promises.
    """

    disks = (MemoryDisk, FileDisk)

    def each(self) -> list[MemoryDisk | FileDisk]:
        """
        One of every kind.
        """
        disks = [kind(self) for kind in self.disks]
        for disk in disks:
            self.addCleanup(self.close, disk)
        return disks

    def close(self, disk: MemoryDisk | FileDisk) -> None:
        disk.settle(disk.journal.close())

    def test_interface(self) -> None:
        """
        Both are what a log is given.
        """
        for disk in self.each():
            verifyObject(IJournal, disk.journal)

    def test_read_back(self) -> None:
        """
        What was written is there after a restart: rows in the order of their numbers, from any of them on, and values.
        """
        for disk in self.each():
            disk.settle(disk.journal.write([(3, b"c"), (1, b"a"), (2, b"b")], [("head", b"one"), ("kept", b"")]))
            disk.settle(disk.journal.write([(2, b"B")], [("head", b"two")]))
            disk.crash()
            self.assertEqual([(1, b"a"), (2, b"B"), (3, b"c")], list(disk.journal.rows(0)))
            self.assertEqual([(2, b"B"), (3, b"c")], list(disk.journal.rows(2)))
            values = [disk.journal.value(name) for name in ("head", "kept", "none")]
            self.assertEqual([b"two", b"", None], values)

    def test_seen_at_once(self) -> None:
        """
        Reads see what was written before it is durable: whoever reads the log to write it anew must miss nothing.
        """
        for disk in self.each():
            disk.settle(disk.journal.write([(1, b"a"), (2, b"b")], [("head", b"one")]))
            disk.journal.write([(3, b"c")], [("head", b"two")])
            disk.journal.discard(2)
            last = disk.journal.write([(4, b"d"), (2, b"B")], [])
            for _ in range(2):
                self.assertEqual([(2, b"B"), (3, b"c"), (4, b"d")], list(disk.journal.rows(0)))
                self.assertEqual(b"two", disk.journal.value("head"))
                disk.settle(last)
                last = disk.journal.discard(0)

    def test_discard(self) -> None:
        """
        What was discarded is gone, and stays so.
        """
        for disk in self.each():
            disk.settle(disk.journal.write([(number, b"") for number in range(5)], []))
            disk.settle(disk.journal.discard(3))
            self.assertEqual([3, 4], [number for number, _ in disk.journal.rows(0)])
            disk.crash()
            self.assertEqual([3, 4], [number for number, _ in disk.journal.rows(0)])

    def test_callers_list(self) -> None:
        """
        The caller may change its list after it has handed it over.
        """
        for disk in self.each():
            rows = [(1, b"a")]
            work = disk.journal.write(rows, [])
            rows.append((2, b"b"))
            disk.settle(work)
            disk.crash()
            self.assertEqual([(1, b"a")], list(disk.journal.rows(0)))

    def test_many(self) -> None:
        """
        Rows are read a page at a time, and what is written meanwhile does not disturb that.
        """
        for disk in self.each():
            disk.settle(disk.journal.write([(number, b"%d" % number) for number in range(1200)], []))
            seen = []
            for number, record in disk.journal.rows(0):
                self.assertEqual(b"%d" % number, record)
                seen.append(number)
                if number == 600:
                    disk.settle(disk.journal.write([(0, b"0")], [("head", b"")]))
            self.assertEqual(list(range(1200)), seen)

    def test_given_up(self) -> None:
        """
        Who gives up waiting takes nothing back.
        """
        for disk in self.each():
            waiting = disk.journal.write([(1, b"a")], [])
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
            self.assertEqual([(1, b"a")], list(disk.journal.rows(0)))
            disk.settle(disk.journal.write([], []))
            disk.crash()
            self.assertEqual([(1, b"a")], list(disk.journal.rows(0)))

    @given(
        st.lists(
            st.one_of(
                st.tuples(
                    st.just("write"),
                    st.lists(st.tuples(st.integers(0, 6), st.binary(max_size=2)), max_size=3),
                    st.lists(st.tuples(st.sampled_from("ab"), st.binary(max_size=2)), max_size=2),
                ),
                st.tuples(st.just("discard"), st.integers(0, 7)),
                st.tuples(st.just("settle")),
            ),
            max_size=12,
        )
    )
    def test_alike(self, steps: list[tuple[object, ...]]) -> None:
        """
        Whatever is done, and whether or not it is durable already, a file and memory show the same.
        """
        memory, file = MemoryDisk(self), FileDisk(self)
        for step in steps:
            shown = []
            for disk in (memory, file):
                match step:
                    case ("write", rows, values):
                        disk.journal.write(rows, values)  # type: ignore[arg-type]
                    case ("discard", before):
                        disk.journal.discard(before)  # type: ignore[arg-type]
                    case _:
                        disk.settle(disk.journal.discard(0))
                shown.append((list(disk.journal.rows(0)), disk.journal.value("a"), disk.journal.value("b")))
            self.assertEqual(shown[0], shown[1])
        file.settle(file.journal.close())


class MemoryJournalTests(SynchronousTestCase):
    """
    Tests for L{MemoryJournal}.
    """

    def test_crash(self) -> None:
        """
        A crash loses what was not flushed, all of it; what was written before is there, and the dead journal never
        answers.
        """
        clock = Clock()
        journal = MemoryJournal(clock, 1.0)
        journal.write([(1, b"a")], [("head", b"one")])
        clock.advance(1)
        lost = [journal.write([(2, b"b")], [("head", b"two")]), journal.discard(2)]
        survivor = journal.crash()
        clock.advance(5)
        for each in lost:
            self.assertNoResult(each)
        self.assertEqual([(1, b"a")], list(survivor.rows(0)))
        self.assertEqual(b"one", survivor.value("head"))

    def test_another_clock(self) -> None:
        """
        The disk of a machine that starts again goes by the clock of its new life.
        """
        journal = MemoryJournal(Clock(), 1.0).crash()
        clock = Clock()
        journal.use(clock)
        work = journal.write([(1, b"a")], [])
        self.assertNoResult(work)
        clock.advance(1)
        self.successResultOf(work)


class SqliteJournalTests(SynchronousTestCase):
    """
    Tests for L{SqliteJournal}.
    """

    def setUp(self) -> None:
        self.disk = FileDisk(self)
        self.disk.settle(self.disk.journal.write([(1, b"first"), (2, b"second")], [("head", b"payload")]))

    def tearDown(self) -> None:
        self.disk.settle(self.disk.journal.close())

    def meddle(self, *statements: str) -> None:
        """
        With the file, behind the journal's back.
        """
        connection = sqlite3.connect(self.disk.path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    def test_damaged_record(self) -> None:
        """
        A record of which the disk gives back other bytes is not passed on.
        """
        self.meddle("UPDATE rows SET record=x'00' WHERE number=2")
        rows = self.disk.journal.rows(0)
        error = self.assertRaises(DiskError, list, rows)
        self.assertEqual(f"{self.disk.path.name}: record 2 is damaged on disk", str(error))

    def test_damaged_value(self) -> None:
        """
        Nor is a value, of whatever type SQLite now thinks it is.
        """
        for damage in ("x'00'", "CAST(x'ff80' AS TEXT)", "7"):
            self.meddle(f"UPDATE named SET value={damage}")
            error = self.assertRaises(DiskError, self.disk.journal.value, "head")
            self.assertEqual(f"{self.disk.path.name}: head is damaged on disk", str(error))

    def test_unreadable(self) -> None:
        """
        A file that cannot be read any more says so in one of our errors.
        """
        self.meddle("DROP TABLE named")
        self.assertIn("cannot be read", str(self.assertRaises(DiskError, self.disk.journal.value, "head")))

    def test_unwritable(self) -> None:
        """
        So does one that cannot be written, and reads no longer see what was not written.
        """
        self.meddle("CREATE TRIGGER no BEFORE INSERT ON rows BEGIN SELECT RAISE(ABORT, 'no'); END")
        failure = self.disk.calls.wait(self.disk.journal.write([(3, b"third")], []))
        self.assertIsInstance(getattr(failure, "value", None), DiskError)
        self.assertEqual([1, 2], [number for number, _ in self.disk.journal.rows(0)])

    def test_first_format(self) -> None:
        """
        A journal of version 1, which had no digests, is taken over with all that is in it.
        """
        path = Path(self.mktemp())
        old = sqlite3.connect(path)
        for statement in (
            "CREATE TABLE rows(number INTEGER PRIMARY KEY, record BLOB NOT NULL)",
            "CREATE TABLE named(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
            "INSERT INTO rows VALUES(7, x'616263')",
            "INSERT INTO named VALUES('head', x'646566')",
            f"PRAGMA application_id={0x504A524E}",
            "PRAGMA user_version=1",
        ):
            old.execute(statement)
        old.commit()
        old.close()
        for _ in range(2):
            journal = SqliteJournal(path, self.disk.calls)
            self.assertEqual(([(7, b"abc")], b"def"), (list(journal.rows(0)), journal.value("head")))
            self.disk.settle(journal.close())

    def test_newer(self) -> None:
        """
        A journal of a newer version is refused.
        """
        path = Path(self.mktemp())
        self.disk.settle(SqliteJournal(path, self.disk.calls).close())
        newer = sqlite3.connect(path)
        newer.execute("PRAGMA user_version=3")
        newer.close()
        error = self.assertRaises(ConfigError, SqliteJournal, path, self.disk.calls)
        self.assertIn("newer version of POST (format 3", str(error))
