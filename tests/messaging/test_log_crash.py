"""
Tests for L{post.messaging.log} when machines die, disks are restored and the ring comes late.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.convergent import Convergence
from post.crypto.entropy import SeededEntropy
from post.errors import NotFound, PostError, TooFewReplicas, Unreachable
from post.journal import MemoryJournal
from post.messaging import log as log_module
from post.messaging.log import Log
from post.messaging.storage import SecureStore
from post.past.blocks import CONTENT, PUBLIC_KEY
from post.past.node import Past
from post.tasks import Tasks, sleep

from .doubles import FakeInserted, FakePast, backup
from .test_log import MASTER, Lines


class SlowPast(FakePast):
    """
    A ring that takes a moment for everything, and forgets no request of a machine that died meanwhile.
    """

    versions: dict[int, bytes]

    async def insert(self, kind: int, handle: Any, data: bytes, *rest: Any) -> FakeInserted:
        await sleep(self.clock, 0.001)
        inserted = await super().insert(kind, handle, data, *rest)
        if kind == PUBLIC_KEY:
            number = self.objects[handle].order
            # One number never names two blocks.
            assert self.versions.setdefault(number, data) == data, f"two heads {number}"
        await sleep(self.clock, 0.001)
        return inserted

    async def lookup(self, kind: int, handle: Any) -> bytes:
        await sleep(self.clock, 0.001)
        return await super().lookup(kind, handle)


class CrashTests(SynchronousTestCase):
    """
    Tests for L{Log}, on a disk and a ring that take their time.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.past = SlowPast(self.clock, b"")
        self.past.versions = {}
        self.entropy = SeededEntropy(b"x")
        self.patch(log_module, "SNAPSHOT_RECORDS", 6)

    def writer(self, journal: MemoryJournal) -> tuple[Log, Lines, Tasks]:
        ring, lines, tasks = cast(Past, self.past), Lines(), Tasks()
        store = SecureStore(ring, self.clock, self.entropy, Convergence(1, b"c" * 32))
        log = Log(ring, store, journal, self.clock, self.entropy, MASTER, b"device", 0, 1000, lines, tasks)
        return log, lines, tasks

    def run_coroutine(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        outcome: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(outcome.append)
        for _ in range(300):
            if not outcome:
                self.clock.advance(0.001)
        [result] = outcome
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def opened(self, journal: MemoryJournal) -> tuple[Log, Lines, Tasks]:
        log, lines, tasks = self.writer(journal)
        self.run_coroutine(log.open())
        return log, lines, tasks

    def append(self, log: Log, lines: Lines, record: bytes) -> int:
        number = log.append(record)
        lines.lines.append(record)
        return number

    def test_every_point(self) -> None:
        """
        Whenever the machine dies: what was said to be journaled is there when it comes back, in order, what was said to
        be kept also if it comes back without its disk, and nobody ever signs two heads of one number.
        """
        for steps in range(60):
            self.setUp()
            journal = MemoryJournal(self.clock, 0.002)
            log, lines, tasks = self.opened(journal)
            journaled: list[int] = []
            kept: list[int] = []
            for turn in range(steps):
                if turn % 3 == 0:
                    number = self.append(log, lines, b"record %d" % turn)
                    for waiting, done in ((log.journaled(number), journaled), (log.kept_to(number), kept)):
                        Deferred.fromCoroutine(waiting).addCallbacks(
                            lambda _, n=number, d=done: d.append(n), lambda _: None
                        )
                self.clock.advance(0.001)
            promised, survives = len(journaled), len(kept)
            written = list(lines.lines)
            survivor = journal.crash()
            tasks.stop()
            _, fresh, _ = self.opened(MemoryJournal(self.clock, 0.002))
            self.assertGreaterEqual(len(fresh.lines), survives, f"crash after {steps}")
            self.assertEqual(written[: len(fresh.lines)], fresh.lines)
            again, restored, _ = self.opened(survivor)
            self.assertGreaterEqual(len(restored.lines), promised, f"crash after {steps}")
            self.assertEqual(written[: len(restored.lines)], restored.lines)
            number = self.append(again, restored, b"life goes on")
            self.run_coroutine(again.kept_to(number))
            _, last, _ = self.opened(MemoryJournal(self.clock, 0.002))
            self.assertEqual(restored.lines, last.lines)

    def behind(self) -> tuple[MemoryJournal, list[bytes]]:
        """
        A journal restored from a backup, and all that the ring knows.
        """
        journal = MemoryJournal(self.clock, 0.001)
        log, lines, tasks = self.opened(journal)
        self.run_coroutine(log.kept_to(self.append(log, lines, b"first")))
        self.clock.advance(0.01)
        old = backup(journal, self.clock)
        for number in range(20):
            self.run_coroutine(log.kept_to(self.append(log, lines, b"later %d" % number)))
        log.stop()
        tasks.stop()
        return old, lines.lines

    def test_late_ring(self) -> None:
        """
        A restored disk is opened without the ring and written to; when the ring answers, its records come first, then
        ours, those too that were appended while the ring's were being fetched, and nobody is told too early.
        """
        journal, known = self.behind()
        self.past.confirmed = False
        log, lines, _ = self.opened(journal)
        self.assertEqual([b"first"], lines.lines)
        lines.after_recovery = [b"mark"]
        first = self.append(log, lines, b"ours 0")
        self.clock.advance(0)
        self.past.confirmed = True
        self.past.copies = 1
        waiting = Deferred.fromCoroutine(log.kept_to(first))
        self.clock.advance(0)
        during = self.append(log, lines, b"ours 1")
        late = Deferred.fromCoroutine(log.kept_to(during))
        early: list[object] = []
        waiting.addErrback(early.append)
        late.addErrback(early.append)
        for _ in range(60):
            self.clock.advance(0.001)
        self.assertEqual([*known, b"mark", b"ours 0", b"ours 1"], lines.lines)
        self.assertEqual((len(known), len(known) + 3), (log.kept, log.count))
        self.assertEqual(2, len(early))
        self.past.copies = 3
        self.run_coroutine(log.kept_to(log.count - 1))
        self.assertEqual(lines.lines, self.opened(MemoryJournal(self.clock, 0.001))[1].lines)
        self.assertEqual(lines.lines, self.opened(journal)[1].lines)

    def test_half_a_past(self) -> None:
        """
        If not all that the ring's head names can be had, nothing is taken over, and nothing is written, until it can.
        """
        journal, known = self.behind()
        lost = {handle: item for handle, item in self.past.objects.items() if item.kind == CONTENT}
        self.assertTrue(lost)
        for handle in lost:
            del self.past.objects[handle]
        log, lines, _ = self.opened(journal)
        number = self.append(log, lines, b"ours")
        self.assertRaises(NotFound, self.run_coroutine, log.kept_to(number))
        self.assertEqual([b"first", b"ours"], lines.lines)
        self.past.objects.update(lost)
        self.run_coroutine(log.kept_to(number))
        self.assertEqual([*known, b"ours"], lines.lines)

    def test_same_records(self) -> None:
        """
        Records that the ring got from this machine before it died are not added again.
        """
        journal = MemoryJournal(self.clock, 0.001)
        log, lines, tasks = self.opened(journal)
        self.run_coroutine(log.kept_to(self.append(log, lines, b"one")))
        self.run_coroutine(log.journaled(self.append(log, lines, b"two")))
        self.clock.advance(0.001)
        old = backup(journal, self.clock)
        self.assertEqual(2, len(list(old.rows(0))))
        self.run_coroutine(log.kept_to(self.append(log, lines, b"three")))
        log.stop()
        tasks.stop()
        self.assertEqual([b"one", b"two", b"three"], self.opened(old)[1].lines)

    def test_stop(self) -> None:
        """
        Whoever waits when the node stops is told so, and so is who comes later.
        """
        log, lines, tasks = self.opened(MemoryJournal(self.clock, 0.5))
        number = self.append(log, lines, b"one")
        waiting = [Deferred.fromCoroutine(each) for each in (log.journaled(number), log.kept_to(number))]
        log.stop()
        tasks.stop()
        for each in waiting:
            self.failureResultOf(each, Unreachable)
        self.assertRaises(PostError, log.append, b"two")
        self.failureResultOf(Deferred.fromCoroutine(log.kept_to(number)), Unreachable)
        self.clock.advance(1)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_records_wait_for_their_snapshot(self) -> None:
        """
        Records stay in the journal until the ring keeps the snapshot that they are in.
        """
        journal = MemoryJournal(self.clock, 0.001)
        log, lines, _ = self.opened(journal)
        refuse, insert = [True], self.past.insert

        async def heads_fail(kind: int, *rest: Any) -> Any:
            if kind == PUBLIC_KEY and refuse[0]:
                raise TooFewReplicas(1, 2)
            return await insert(kind, *rest)

        self.past.insert = heads_fail  # type: ignore[method-assign, assignment]
        for number in range(10):
            self.append(log, lines, b"%d" % number)
        self.assertRaises(TooFewReplicas, self.run_coroutine, log.kept_to(9))
        self.assertEqual(10, len(list(journal.rows(0))))
        refuse[0] = False
        self.run_coroutine(log.kept_to(9))
        self.clock.advance(0.01)
        self.assertEqual(0, len(list(journal.rows(0))))
        self.assertEqual(lines.lines, self.opened(MemoryJournal(self.clock, 0.001))[1].lines)

    def test_many_chunks(self) -> None:
        """
        A state of a thousand chunks comes back from the ring, and its head stays small.
        """

        class Wide(Lines):
            def snapshot(self) -> Sequence[bytes]:
                return [line + b"\n" for line in self.lines]

        journal = MemoryJournal(self.clock, 0)
        log, lines, _ = self.opened(journal)
        wide = log._reader = Wide()
        for number in range(1000):
            self.append(log, wide, b"%d" % number)
        while log.kept < log.count:
            self.clock.advance(0.001)
        self.assertLess(len(self.past.objects[log.handle].data), 1000)
        again, fresh, _ = self.writer(MemoryJournal(self.clock, 0))
        opening = Deferred.fromCoroutine(again.open())
        while not opening.called:
            self.clock.advance(0.001)
        self.successResultOf(opening)
        self.assertEqual(wide.lines, fresh.lines)
        del lines
