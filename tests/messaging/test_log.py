"""
Tests for L{post.messaging.log} and L{post.messaging.head}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.commit import DiskError
from post.crypto.convergent import Convergence
from post.crypto.entropy import SeededEntropy
from post.errors import PostError, TooFewReplicas, Unconfirmed, Unreachable
from post.interfaces import IJournal
from post.messaging import log as log_module
from post.messaging.log import Forked, Log
from post.messaging.storage import SecureStore
from post.past.blocks import CONTENT, PUBLIC_KEY
from post.past.node import Past
from post.tasks import Tasks

from .doubles import FakeJournal, FakePast, Rows, Values

MASTER = b"m" * 32


class Lines:
    """
    An application whose state is the list of all records.
    """

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.after_recovery: list[bytes] = []

    def restore(self, chunks: Sequence[bytes]) -> None:
        self.lines = [line for chunk in chunks for line in chunk.split(b"\n") if line]

    def replay(self, number: int, record: bytes) -> None:
        assert number == len(self.lines), (number, len(self.lines))
        self.lines.append(record)

    def recovered(self) -> Sequence[bytes]:
        return self.after_recovery

    def missing(self, chunks: Sequence[bytes]) -> Sequence[bytes]:
        return [line for chunk in chunks for line in chunk.split(b"\n") if line not in self.lines]

    def snapshot(self) -> Sequence[bytes]:
        return [b"\n".join(self.lines[start : start + 100]) for start in range(0, len(self.lines), 100)]


class LogCase(SynchronousTestCase):
    """
    A log, its journal, and its ring.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.past = FakePast(self.clock, b"")
        self.journal = FakeJournal()
        self.entropy = SeededEntropy(self.id().encode())
        self.log, self.lines = self.writer(self.journal)
        self.successResultOf(Deferred.fromCoroutine(self.log.open()))

    def writer(self, journal: FakeJournal, may_begin: Callable[[], bool] = lambda: True) -> tuple[Log, Lines]:
        past = cast(Past, self.past)
        lines = Lines()
        store = SecureStore(past, self.clock, self.entropy, Convergence(1, b"c" * 32))
        log = Log(
            past,
            store,
            cast(IJournal, journal),
            self.clock,
            self.entropy,
            MASTER,
            b"device",
            0,
            1000,
            lines,
            Tasks(),
            may_begin,
        )
        return log, lines

    def append(self, record: bytes) -> int:
        number = self.log.append(record)
        self.lines.lines.append(record)
        return number

    def kept(self, number: int) -> Deferred[None]:
        waiting = Deferred.fromCoroutine(self.log.kept_to(number))
        self.clock.advance(0)
        return waiting

    def reopened(self, journal: FakeJournal) -> tuple[Log, Lines]:
        log, lines = self.writer(journal)
        self.successResultOf(Deferred.fromCoroutine(log.open()))
        self.clock.advance(0)
        return log, lines


class LogTests(LogCase):
    """
    Tests for L{Log}.
    """

    def test_survives_the_journal(self) -> None:
        """
        What was kept comes back from the ring alone.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        self.successResultOf(self.kept(self.append(b"two")))
        log, lines = self.reopened(FakeJournal())
        self.assertEqual([b"one", b"two"], lines.lines)
        self.assertTrue(log.recovered)

    def test_survives_the_ring(self) -> None:
        """
        What was journaled comes back from the journal alone, while the ring does not answer.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        self.past.confirmed = False
        log, lines = self.writer(self.journal)
        self.successResultOf(Deferred.fromCoroutine(log.open()))
        self.assertEqual([b"one"], lines.lines)
        self.assertFalse(log.recovered)

    def test_not_confirmed(self) -> None:
        """
        With neither journal nor ring nothing is opened: an empty mailbox would be written over the real one.
        """
        self.past.confirmed = False
        log, _ = self.writer(FakeJournal())
        self.failureResultOf(Deferred.fromCoroutine(log.open()), Unconfirmed)

    def test_not_begun_in_a_part(self) -> None:
        """
        A log of which this machine has nothing is neither begun nor taken over while too few members are in sight: the
        others may well know it, or more of it.  Whoever has a journal goes on.
        """
        self.assertEqual({True}, set(self.past.widely))
        sight: list[str] = []
        log, lines = self.writer(FakeJournal(), may_begin=lambda: bool(sight))
        self.failureResultOf(Deferred.fromCoroutine(log.open()), Unconfirmed)
        self.successResultOf(self.kept(self.append(b"one")))
        self.failureResultOf(Deferred.fromCoroutine(log.open()), Unconfirmed)
        self.assertEqual([], lines.lines)
        sight.append("most of them")
        self.successResultOf(Deferred.fromCoroutine(log.open()))
        self.assertEqual([b"one"], lines.lines)
        again, lines = self.writer(self.journal, may_begin=lambda: False)
        self.successResultOf(Deferred.fromCoroutine(again.open()))
        self.assertEqual([b"one"], lines.lines)

    def test_long(self) -> None:
        """
        Thousands of records, through tails, clusters and snapshots, come back in order from either place.
        """
        records = [b"record %d " % number + b"x" * 100 for number in range(5000)]
        for record in records:
            self.append(record)
            if len(self.lines.lines) % 7 == 0:
                self.clock.advance(0)
        self.successResultOf(self.kept(len(records) - 1))
        self.assertEqual(records, self.reopened(FakeJournal())[1].lines)
        self.assertEqual(records, self.reopened(self.journal)[1].lines)
        self.assertLess(len(self.journal.table), 2 * log_module.SNAPSHOT_RECORDS)

    def test_snapshot_shares_chunks(self) -> None:
        """
        The second snapshot stores only the chunks that changed.
        """
        for number in range(log_module.SNAPSHOT_RECORDS * 2 + 10):
            self.append(b"record %d" % number)
        self.successResultOf(self.kept(self.log.count - 1))
        stored = sum(kind == CONTENT for kind, _ in self.past.inserts)
        self.assertLess(stored, 2 * log_module.SNAPSHOT_RECORDS / 100 + 20 + 64)

    def test_coalesces(self) -> None:
        """
        Appends made while one head is being written share the next.
        """
        heads: list[Deferred[Any]] = []
        insert = self.past.insert

        async def slow(*arguments: Any) -> Any:
            held: Deferred[None] = Deferred()
            heads.append(held)
            await held
            return await insert(*arguments)

        self.past.insert = slow  # type: ignore[method-assign, assignment]
        waiting = [self.kept(self.append(b"0"))]
        waiting += [self.kept(self.append(b"%d" % number)) for number in range(1, 50)]
        heads[0].callback(None)
        self.successResultOf(waiting[0])
        self.assertNoResult(waiting[1])
        heads[1].callback(None)
        for each in waiting[1:]:
            self.successResultOf(each)
        self.assertEqual(2, len(heads))

    def test_too_few(self) -> None:
        """
        While the ring cannot keep it, whoever waits is told so; the record is written as soon as it can be.
        """
        self.past.copies = 1
        self.failureResultOf(self.kept(self.append(b"one")), TooFewReplicas)
        self.past.copies = 3
        self.clock.advance(log_module.RETRY_LIMIT_S)
        self.assertEqual(1, self.log.kept)

    def test_asking_again_hurries(self) -> None:
        """
        Somebody who waits now does not wait for the next attempt's turn.
        """
        self.past.copies = 1
        number = self.append(b"one")
        self.failureResultOf(self.kept(number), TooFewReplicas)
        self.past.copies = 3
        self.successResultOf(self.kept(number))

    def test_same_bytes_after_a_crash(self) -> None:
        """
        A head that may have reached some holders is sent again as it was, not signed anew under the same number.
        """
        sent: list[bytes] = []

        async def lost(kind: int, handle: object, data: bytes, *rest: object) -> Any:
            if kind == PUBLIC_KEY:
                sent.append(data)
            raise TooFewReplicas(1, 2)

        real, self.past.insert = self.past.insert, lost  # type: ignore[method-assign, assignment]
        self.append(b"one")
        self.clock.advance(0)
        self.past.insert = real  # type: ignore[method-assign]
        log, lines = self.reopened(self.journal)
        self.assertEqual(b"one", lines.lines[0])
        self.assertEqual(1, log.kept)
        self.assertEqual(sent[0], self.past.objects[log.handle].data)

    def test_restored_backup(self) -> None:
        """
        A journal that is behind the ring is caught up with, and nothing that only it knew is lost.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        backup = FakeJournal()
        backup.table, backup.values = dict(self.journal.table), dict(self.journal.values)
        self.successResultOf(self.kept(self.append(b"two")))
        backup.table[1] = b"three"
        log, lines = self.reopened(backup)
        self.assertEqual([b"one", b"two", b"three"], lines.lines)
        self.assertEqual(3, log.kept)
        self.assertEqual([b"one", b"two", b"three"], self.reopened(FakeJournal())[1].lines)

    def test_second_copy(self) -> None:
        """
        Of two copies of one account, the one that finds the other's head takes it over, and adds its own to it.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        other, _ = self.reopened(FakeJournal())
        kept = Deferred.fromCoroutine(other.kept_to(other.append(b"theirs")))
        self.clock.advance(0)
        self.successResultOf(kept)
        self.successResultOf(self.kept(self.append(b"ours")))
        self.assertEqual([b"one", b"theirs", b"ours"], self.lines.lines)
        self.assertEqual(self.lines.lines, self.reopened(self.journal)[1].lines)
        self.assertEqual(self.lines.lines, self.reopened(FakeJournal())[1].lines)

    def test_busy_copy(self) -> None:
        """
        If the other copy is always ahead of this one, this one stops, and says so.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        other, lines = self.reopened(FakeJournal())
        real = self.past.insert

        async def late(kind: int, *rest: Any) -> Any:
            self.past.insert = real  # type: ignore[method-assign]
            number = other.append(b"theirs %d" % other.count)
            lines.lines.append(b"theirs")
            self.clock.advance(0)
            await other.kept_to(number)
            self.past.insert = late  # type: ignore[method-assign, assignment]
            return await real(kind, *rest)

        self.past.insert = late  # type: ignore[method-assign, assignment]
        self.failureResultOf(self.kept(self.append(b"ours")), Forked)
        self.assertRaises(Forked, self.log.append, b"more")
        self.flushLoggedErrors()

    def test_sealed(self) -> None:
        """
        Nothing of a record can be read in what the ring holds.
        """
        self.successResultOf(self.kept(self.append(b"secret words" * 30)))
        self.successResultOf(self.kept(self.append(b"x" * 17000)))
        for item in self.past.objects.values():
            self.assertNotIn(b"secret words", item.data)

    def test_broken_disk(self) -> None:
        """
        When the journal cannot be written, nobody is promised anything.
        """
        from twisted.internet.defer import fail

        self.journal.write = lambda rows, values: fail(OSError("disk full"))  # type: ignore[method-assign]
        number = self.append(b"one")
        self.failureResultOf(Deferred.fromCoroutine(self.log.journaled(number)), PostError)
        self.failureResultOf(self.kept(number), PostError)
        self.flushLoggedErrors(OSError)

    def test_failed_row(self) -> None:
        """
        After a record that could not be journaled nothing more is promised; a head that holds it all the same has its
        row with it, so that it is not missing later.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        self.journal.refuse = lambda rows, values: [number for number, _ in rows] == [1] and not values
        failed = self.append(b"two")
        self.failureResultOf(self.kept(failed), PostError)
        self.assertRaises(PostError, self.log.append, b"three")
        self.clock.pump([1] * 10)
        self.assertEqual([], self.clock.getDelayedCalls())
        log, lines = self.reopened(self.journal)
        self.assertEqual(log.count, len(lines.lines))
        self.assertGreaterEqual(log.count, log._head.count)
        self.flushLoggedErrors(DiskError)

    def test_opened_again(self) -> None:
        """
        A log whose first record could not be journaled can be opened again when there is room; one that was stopped
        cannot.
        """
        self.journal.refuse = lambda rows, values: True
        self.failureResultOf(Deferred.fromCoroutine(self.log.journaled(self.append(b"one"))), PostError)
        self.journal.refuse = lambda rows, values: False
        self.clock.advance(0)
        self.successResultOf(Deferred.fromCoroutine(self.log.open()))
        self.assertEqual([], self.lines.lines)
        self.successResultOf(self.kept(self.append(b"two")))
        self.assertEqual([b"two"], self.reopened(self.journal)[1].lines)
        self.log.stop()
        self.failureResultOf(Deferred.fromCoroutine(self.log.open()), Unreachable)
        self.flushLoggedErrors(DiskError)

    def test_failed_row_in_a_head(self) -> None:
        """
        A head whose write comes before the failure of a row is known has that row with it.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        outcome: list[Deferred[None]] = []
        write = self.journal.write

        def late(rows: Rows, values: Values) -> Deferred[None]:
            if values or rows[0][0] != 1:
                return write(rows, values)
            outcome.append(Deferred())
            return outcome[0]

        self.journal.write = late  # type: ignore[method-assign]
        self.successResultOf(self.kept(self.append(b"two")))
        outcome[0].errback(OSError("disk full"))
        self.assertEqual([b"one", b"two"], self.reopened(self.journal)[1].lines)
        self.flushLoggedErrors(OSError)

    def test_failed_snapshot(self) -> None:
        """
        A snapshot that could not be journaled is not taken for the one that the journal has.
        """
        self.patch(log_module, "SNAPSHOT_RECORDS", 150)
        refused: list[str] = []

        def refuse(rows: Rows, values: Values) -> bool:
            if not refused and any(name == "chunk/0" for name, _ in values):
                refused.append("chunk/0")
                return True
            return False

        self.journal.refuse = refuse
        for number in range(160):
            self.append(b"%d" % number)
        self.failureResultOf(self.kept(159), PostError)
        self.append(b"160")
        self.successResultOf(self.kept(160))
        self.assertEqual(["chunk/0"], refused)
        self.assertEqual(self.lines.lines, self.reopened(self.journal)[1].lines)
        self.assertEqual(self.lines.lines, self.reopened(FakeJournal())[1].lines)


class DamageTests(LogCase):
    """
    Tests for L{Log} on a journal that has not all it should have.
    """

    def setUp(self) -> None:
        super().setUp()
        self.patch(log_module, "SNAPSHOT_RECORDS", 150)
        for number in range(160):
            self.append(b"%d" % number)
        self.successResultOf(self.kept(159))
        self.append(b"160")
        self.successResultOf(self.kept(160))

    def failed_opening(self, journal: FakeJournal, error: type[Exception]) -> tuple[Log, Lines]:
        log, lines = self.writer(journal)
        self.failureResultOf(Deferred.fromCoroutine(log.open()), error)
        return log, lines

    def check_recovery(self, journal: FakeJournal) -> None:
        """
        It is not opened without the ring; with it all is there, and stays.
        """
        self.past.confirmed = False
        log, lines = self.failed_opening(journal, Unconfirmed)
        self.past.confirmed = True
        self.successResultOf(Deferred.fromCoroutine(log.open()))
        self.assertEqual(self.lines.lines, lines.lines)
        self.past.confirmed = False
        log, lines = self.reopened(journal)
        self.assertEqual(self.lines.lines, lines.lines)
        self.past.confirmed = True
        number = log.append(b"more")
        lines.lines.append(b"more")
        self.clock.advance(0)
        self.successResultOf(Deferred.fromCoroutine(log.kept_to(number)))
        self.assertEqual([*self.lines.lines, b"more"], self.reopened(FakeJournal())[1].lines)

    def test_other_chunks(self) -> None:
        """
        Of a snapshot whose chunks are not those that it names.
        """
        self.journal.values["chunk/0"] = b"another time"
        self.check_recovery(self.journal)

    def test_missing_row(self) -> None:
        """
        Of a head one of whose rows is missing.
        """
        del self.journal.table[160]
        self.check_recovery(self.journal)

    def test_damaged(self) -> None:
        """
        Of anything that cannot be read, or is not what it should be.
        """
        for name in (160, "head", "kept", "snapshot", "chunk/1"):
            journal = self.journal.copy()
            journal.damaged.add(name)
            ring = dict(self.past.objects)
            self.check_recovery(journal)
            self.past.objects = ring
        self.journal.values["snapshot"] = b"garbage"
        self.check_recovery(self.journal)

    def test_damaged_after_the_head(self) -> None:
        """
        Of a row that only this machine had: it is lost, and does not come in the way again.
        """
        self.journal.table[161] = b"a flag"
        self.journal.damaged.add(161)
        self.check_recovery(self.journal)

    def test_own_head_is_newer(self) -> None:
        """
        Of a head that had not got to the ring: it has the newest records itself.
        """
        self.past.copies = 1
        self.failureResultOf(self.kept(self.append(b"161")), TooFewReplicas)
        self.past.copies = 3
        del self.journal.table[161]
        self.check_recovery(self.journal)

    def test_adoption_not_journaled(self) -> None:
        """
        What came from the ring and could not be journaled is not opened: it would be written on from an empty journal.
        """
        journal = FakeJournal()
        journal.refuse = lambda rows, values: any(name == "snapshot" for name, _ in values)
        log, lines = self.failed_opening(journal, DiskError)
        journal.refuse = lambda rows, values: False
        self.successResultOf(Deferred.fromCoroutine(log.open()))
        self.assertEqual(self.lines.lines, lines.lines)
        self.assertEqual(self.lines.lines, self.reopened(journal)[1].lines)

    def test_rows_of_another_past(self) -> None:
        """
        Rows after a gap never follow on what is appended later.
        """
        self.journal.table.update({162: b"other", 163: b"past"})
        log, lines = self.reopened(self.journal)
        log.append(b"161")
        self.assertEqual([*self.lines.lines, b"161"], self.reopened(self.journal)[1].lines)
        del lines


class ForkTests(LogCase):
    """
    Tests for L{Log} where one log was begun, or continued, in two parts of the ring that did not see each other.
    """

    def part(self, prefix: bytes, count: int, journal: FakeJournal) -> tuple[Log, Lines]:
        """
        A writer that knows only what its part of the ring knows, and has written so many records there.
        """
        log, lines = self.reopened(journal)
        for number in range(count):
            record = b"%s %d" % (prefix, number)
            lines.lines.append(record)
            kept = Deferred.fromCoroutine(log.kept_to(log.append(record)))
            self.clock.advance(0)
            self.successResultOf(kept)
        return log, lines

    def parted(self, theirs: int, ours: int) -> tuple[Log, Lines, Log, Lines, FakeJournal, FakeJournal]:
        """
        Two logs under one key; the ring that comes back together shows C{theirs}.
        """
        first, second = FakeJournal(), FakeJournal()
        here, heres = self.part(b"ours", ours, second)
        blocks = dict(self.past.objects)
        self.past.objects.clear()
        there, theres = self.part(b"theirs", theirs, first)
        self.past.objects = {**blocks, **self.past.objects}
        return there, theres, here, heres, first, second

    def check(self, log: Log, lines: Lines, everything: Sequence[bytes]) -> None:
        """
        The writer goes on, and has everything, as has whoever asks the ring.
        """
        self.clock.advance(log_module.LOOK_S)
        lines.lines.append(b"goes on")
        kept = Deferred.fromCoroutine(log.kept_to(log.append(b"goes on")))
        self.clock.pump([0, 1, 1, 1])
        self.successResultOf(kept)
        self.assertEqual({*everything, b"goes on"}, set(lines.lines))
        self.assertEqual(lines.lines, self.reopened(FakeJournal())[1].lines)

    def test_shorter(self) -> None:
        """
        What was kept where the log had fewer heads is added to the other.
        """
        _, theirs, log, lines, _, _ = self.parted(5, 3)
        self.check(log, lines, theirs.lines + lines.lines)
        self.assertEqual(len(set(lines.lines)), len(lines.lines))

    def test_equal(self) -> None:
        """
        With equally many heads both choose the same; nothing is lost, whichever of the two writes first.
        """
        for turn in range(8):
            self.past.objects.clear()
            self.entropy = SeededEntropy(b"%d" % turn)
            there, theirs, here, ours, _, _ = self.parted(4, 4)
            everything = theirs.lines + ours.lines
            self.check(here, ours, everything)
            self.check(there, theirs, [*everything, b"goes on"])

    def test_restarted(self) -> None:
        """
        The same after a restart: no more is lost than by going on.
        """
        for theirs, ours in ((5, 3), (4, 4), (3, 3)):
            self.past.objects.clear()
            _, their_lines, _, lines, _, journal = self.parted(theirs, ours)
            everything = their_lines.lines + lines.lines
            log, again = self.reopened(journal)
            self.check(log, again, everything)

    def test_snapshots(self) -> None:
        """
        What is in a snapshot only, without its records, is not lost either, on neither side.
        """
        self.patch(log_module, "SNAPSHOT_RECORDS", 4)
        for theirs, ours in ((30, 3), (30, 10), (12, 12), (5, 3)):
            for turn in range(4):
                self.past.objects.clear()
                self.entropy = SeededEntropy(b"%d" % turn)
                _, their_lines, log, lines, _, _ = self.parted(theirs, ours)
                self.check(log, lines, their_lines.lines + lines.lines)
