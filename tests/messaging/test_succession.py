"""
Tests for L{post.messaging.succession}, and for what a log makes of being closed.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred

from post.crypto.convergent import Convergence
from post.errors import BadSignature, PostError, TooFewReplicas, Unconfirmed
from post.interfaces import IJournal
from post.messaging.history import LogClosed, LogKeys
from post.messaging.log import SNAPSHOT_RECORDS, Log
from post.messaging.storage import SecureStore
from post.messaging.succession import Succession
from post.past.blocks import FINAL_NUMBER, PUBLIC_KEY, read_signed_block
from post.past.node import Past
from post.tasks import Tasks
from post.wire import StorageClass

from .doubles import FakeJournal
from .test_log import MASTER, Lines, LogCase

OLD, NEW, NEWEST = (LogKeys(master, b"device", epoch) for epoch, master in enumerate((MASTER, b"n" * 32, b"o" * 32)))


class SuccessionTests(LogCase):
    """
    Tests for L{Succession}.
    """

    def succession(self, keys: LogKeys = NEW, before: tuple[LogKeys, ...] = (OLD,), sees: bool = True) -> Succession:
        """
        From the log of the case.
        """
        past = cast(Past, self.past)
        return Succession(past, self.clock, self.entropy, keys, before, 1000, lambda: sees)

    def succeed(self, keys: LogKeys = NEW, before: tuple[LogKeys, ...] = (OLD,), sees: bool = True) -> None:
        """
        Do it.
        """
        self.successResultOf(Deferred.fromCoroutine(self.succession(keys, before, sees).run()))

    def opened(self, master: bytes = b"n" * 32, epoch: int = 1) -> tuple[Log, Lines]:
        """
        The new log on an empty machine.
        """
        past, lines = cast(Past, self.past), Lines()
        store = SecureStore(past, self.clock, self.entropy, Convergence(1, b"c" * 32))
        journal = cast(IJournal, FakeJournal())
        log = Log(
            past, store, journal, self.clock, self.entropy, master, b"device", epoch, 1000, lines, Tasks(), lambda: True
        )
        self.successResultOf(Deferred.fromCoroutine(log.open()))
        self.clock.advance(0)
        return log, lines

    def test_goes_on(self) -> None:
        """
        The new log has every record of the old one, in order, with clusters and snapshots, and goes on from there.
        """
        expected = [b"%d" % number for number in range(SNAPSHOT_RECORDS + 30)]
        for record in expected[:-1]:
            number = self.append(record)
        self.successResultOf(self.kept(number))
        self.successResultOf(self.kept(self.append(expected[-1])))
        self.succeed()
        log, lines = self.opened()
        self.assertEqual(expected, lines.lines)
        lines.lines.append(b"more")
        log.append(b"more")
        self.clock.advance(0)
        self.assertEqual([*expected, b"more"], self.opened()[1].lines)

    def test_closed(self) -> None:
        """
        Who has the old key keeps nothing more: a writer that runs is told so, and so is one that starts.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        self.succeed()
        failure = self.failureResultOf(self.kept(self.append(b"stolen")))
        self.assertIsInstance(failure.value, LogClosed)
        self.assertRaises(LogClosed, self.log.append, b"again")
        log, _ = self.writer(self.journal)
        self.failureResultOf(Deferred.fromCoroutine(log.open()), LogClosed)
        log, _ = self.writer(FakeJournal())
        self.failureResultOf(Deferred.fromCoroutine(log.open()), LogClosed)
        self.assertEqual([b"one"], self.opened()[1].lines)

    def test_again(self) -> None:
        """
        Done again, it changes nothing, however far the new log has come.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        self.succeed()
        first = dict(self.past.objects)
        self.succeed()
        self.assertEqual(first, self.past.objects)
        log, _ = self.opened()
        log.append(b"two")
        self.clock.advance(0)
        self.succeed()
        self.assertEqual([b"one", b"two"], self.opened()[1].lines)

    def test_cut_short(self) -> None:
        """
        What was closed, but not gone on with, is gone on with; by somebody with yet other keys, too.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        self.succeed()
        del self.past.objects[NEW.handle]
        self.succeed(NEWEST, (NEW, OLD))
        self.assertEqual([b"one"], self.opened(b"o" * 32, 2)[1].lines)
        block = read_signed_block(self.past.objects[OLD.handle].data)
        self.assertEqual((FINAL_NUMBER, OLD.epoch + 1), (block.number, block.epoch))

    def test_chain(self) -> None:
        """
        Lost twice: the log in between is closed as well.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        self.succeed()
        log, _ = self.opened()
        log.append(b"two")
        self.clock.advance(0)
        self.succeed(NEWEST, (NEW, OLD))
        self.assertEqual([b"one", b"two"], self.opened(b"o" * 32, 2)[1].lines)
        stolen = Deferred.fromCoroutine(log.kept_to(log.append(b"stolen")))
        self.clock.advance(0)
        self.failureResultOf(stolen, LogClosed)

    def test_nothing(self) -> None:
        """
        A mailbox that was never begun leaves nothing to go on with.
        """
        self.succeed()
        self.assertEqual({}, self.past.objects)

    def test_faster(self) -> None:
        """
        A head that its writer has got in between the reading and the closing is in the new log.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        insert = self.past.insert

        async def slow(kind: int, *arguments: object) -> object:
            if kind == PUBLIC_KEY and self.log.count == 1:
                self.successResultOf(self.kept(self.append(b"two")))
            return await insert(kind, *arguments)  # type: ignore[arg-type]

        self.past.insert = slow  # type: ignore[assignment,method-assign]
        self.succeed()
        self.assertEqual([b"one", b"two"], self.opened()[1].lines)

    def test_not_now(self) -> None:
        """
        Where it cannot be known what the old log has, or too few keep what is written, it is left for later.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        before = dict(self.past.objects)
        self.past.confirmed = False
        self.failureResultOf(Deferred.fromCoroutine(self.succession().run()), Unconfirmed)
        self.past.confirmed = True
        self.failureResultOf(Deferred.fromCoroutine(self.succession(sees=False).run()), Unconfirmed)
        self.past.copies = 1
        self.failureResultOf(Deferred.fromCoroutine(self.succession().run()), TooFewReplicas)
        self.assertEqual(before, self.past.objects)
        self.past.copies = 3
        self.succeed()
        self.assertEqual([b"one"], self.opened()[1].lines)


class LogKeysTests(LogCase):
    """
    Tests for L{LogKeys}.
    """

    def test_open(self) -> None:
        """
        A head is opened with its own keys only, and what is closed is no head any more.
        """
        self.successResultOf(self.kept(self.append(b"one")))
        data = self.past.objects[OLD.handle].data
        self.assertEqual((b"one",), OLD.open(data).tail)
        self.assertRaises(BadSignature, NEW.open, data)
        self.assertRaises(BadSignature, NEW.open_last, data)
        past = cast(Past, self.past)
        work = Succession(past, self.clock, self.entropy, NEW, (OLD,), 1000, lambda: True).run()
        self.successResultOf(Deferred.fromCoroutine(work))
        closed = self.past.objects[OLD.handle]
        self.assertEqual((FINAL_NUMBER, StorageClass.HEAD), (closed.order, closed.storage_class))
        self.assertRaises(LogClosed, OLD.open, closed.data)
        self.assertEqual((b"one",), OLD.open_last(closed.data).tail)
        self.assertRaises(PostError, NEW.open_last, closed.data)
