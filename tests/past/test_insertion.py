"""
Tests for L{post.past.insertion}.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from post.commit import DiskError
from post.errors import Conflict, PostError, Refused, TooFewReplicas, Unreachable
from post.ids import Contact, Id, NodeId
from post.past.insertion import CHOOSE_AGAIN_S, Inserted, Insertion
from post.past.messages import Kept

PATIENCE_S = 1.0
KEPT = Kept(0, 0, (), b"")
NODES = [Contact(NodeId(Id(number))) for number in range(8)]
LOCAL = NODES[0].id


@dataclass
class Holders:
    """
    The nodes that there are, nearest first, and what they were asked.
    """

    contacts: list[Contact]
    k: int = 3
    minimum: int = 2
    clock: Clock = field(default_factory=Clock)
    asked: dict[NodeId, Deferred[Kept]] = field(default_factory=dict)
    suspected: list[NodeId] = field(default_factory=list)
    lost: bool = False
    slow_choice: list[Deferred[None]] | None = None

    def insert(self) -> Deferred[Inserted]:
        insertion = Insertion(
            LOCAL,
            self.k,
            self.minimum,
            self.clock,
            PATIENCE_S,
            self.choose,
            self.store,
            lambda contact: self.suspected.append(contact.id),
        )
        return Deferred.fromCoroutine(insertion.run())

    async def choose(self, count: int, avoid: set[NodeId]) -> list[Contact]:
        if self.slow_choice is not None:
            waiting: Deferred[None] = Deferred()
            self.slow_choice.append(waiting)
            await waiting
        if self.lost:
            raise Unreachable("the root")
        return [contact for contact in self.contacts if contact.id not in avoid][:count]

    def store(self, contact: Contact) -> Deferred[Kept]:
        assert contact.id not in self.asked, "asked twice"
        waiting = self.asked[contact.id] = Deferred()
        return waiting

    def keep(self, *numbers: int) -> None:
        for number in numbers:
            self.asked[NODES[number].id].callback(KEPT)

    def refuse(self, number: int, error: Exception | None = None) -> None:
        self.asked[NODES[number].id].errback(error or Refused(5))

    @property
    def open(self) -> list[int]:
        return [int(node) for node, waiting in self.asked.items() if not waiting.called]


class InsertionTests(SynchronousTestCase):
    """
    Tests for L{Insertion}.
    """

    def test_parallel(self) -> None:
        """
        The k nearest are asked at once, and nobody else; it is done when all have it.
        """
        holders = Holders(NODES[1:])
        work = holders.insert()
        self.assertEqual([1, 2, 3], holders.open)
        holders.keep(1, 3)
        self.assertNoResult(work)
        holders.keep(2)
        inserted = self.successResultOf(work)
        self.assertEqual((3, 3, {1, 2, 3}), (inserted.copies, inserted.elsewhere, set(inserted.receipts)))
        self.assertEqual([], holders.clock.getDelayedCalls())

    def test_local(self) -> None:
        """
        Our own copy is one of the k, but not one of the policy's minimum.
        """
        holders = Holders(NODES[:3])
        work = holders.insert()
        holders.keep(0, 1)
        self.assertNoResult(work)
        holders.keep(2)
        inserted = self.successResultOf(work)
        self.assertEqual((3, 2), (inserted.copies, inserted.elsewhere))

    def test_local_is_not_enough(self) -> None:
        """
        Where the minimum is as large as k, a further node is asked besides us.
        """
        holders = Holders(NODES, minimum=3)
        work = holders.insert()
        self.assertEqual([0, 1, 2, 3], holders.open)
        holders.keep(0, 1, 2)
        self.assertNoResult(work)
        holders.keep(3)
        self.assertEqual(3, self.successResultOf(work).elsewhere)

    def test_refused(self) -> None:
        """
        Who refuses is replaced by the next nearest at once.
        """
        for error in (Refused(5), Unreachable(""), DiskError("", "")):
            holders = Holders(NODES[1:])
            work = holders.insert()
            holders.refuse(2, error)
            self.assertEqual([1, 3, 4], holders.open)
            holders.keep(1, 3, 4)
            self.assertEqual({1, 3, 4}, set(self.successResultOf(work).receipts))

    def test_slow(self) -> None:
        """
        Who does not answer in time is replaced and suspected, and if it answers after all, counts as well.
        """
        holders = Holders(NODES[1:])
        work = holders.insert()
        holders.keep(1)
        holders.clock.advance(PATIENCE_S)
        self.assertEqual(([2, 3, 4, 5], [2, 3]), (holders.open, holders.suspected))
        holders.keep(2, 5)
        self.assertEqual({1, 2, 5}, set(self.successResultOf(work).receipts))
        holders.keep(3, 4)

    def test_own_disk_slow(self) -> None:
        """
        Our own disk may be slow too: it is replaced, but nobody suspects us.
        """
        holders = Holders(NODES)
        work = holders.insert()
        holders.keep(1, 2)
        holders.clock.advance(PATIENCE_S)
        self.assertEqual(([0, 3], []), (holders.open, holders.suspected))
        holders.keep(3)
        self.assertEqual(3, self.successResultOf(work).copies)

    def test_own_disk_stuck(self) -> None:
        """
        If our own disk never answers and too few others can have it, that is said and not waited for.
        """
        holders = Holders(NODES[:3])
        work = holders.insert()
        holders.keep(1)
        holders.refuse(2)
        self.assertEqual(1, self.failureResultOf(work, TooFewReplicas).value.copies)

    def test_minimum(self) -> None:
        """
        With no candidates left the minimum is enough; it is said how many there are.
        """
        holders = Holders(NODES[1:4])
        work = holders.insert()
        holders.keep(1)
        holders.refuse(2)
        self.assertNoResult(work)
        holders.keep(3)
        inserted = self.successResultOf(work)
        self.assertEqual((2, 2), (inserted.copies, inserted.elsewhere))

    def test_too_few(self) -> None:
        """
        Below the minimum nothing is promised, and who is only slow is waited for.
        """
        holders = Holders(NODES[:3])
        work = holders.insert()
        holders.keep(0, 1)
        holders.clock.advance(PATIENCE_S)
        self.assertNoResult(work)
        holders.refuse(2, Unreachable(""))
        error = self.failureResultOf(work, TooFewReplicas).value
        self.assertEqual((1, 2), (error.copies, error.needed))

    def test_late_is_enough(self) -> None:
        """
        Whoever is slow and then answers makes up the minimum.
        """
        holders = Holders(NODES[:3])
        work = holders.insert()
        holders.keep(0, 1)
        holders.clock.advance(PATIENCE_S)
        holders.keep(2)
        self.assertEqual(3, self.successResultOf(work).copies)

    def test_nobody(self) -> None:
        """
        Where there is nobody, that is said at once.
        """
        self.failureResultOf(Holders([]).insert(), TooFewReplicas)

    def test_conflict(self) -> None:
        """
        A rival version ends it, whoever else has kept ours.
        """
        holders = Holders(NODES[1:])
        work = holders.insert()
        holders.keep(1, 2)
        holders.refuse(3, Conflict(b"theirs"))
        self.assertEqual(b"theirs", self.failureResultOf(work, Conflict).value.current)

    def test_bug(self) -> None:
        """
        A bug of ours is not hidden as somebody's refusal.
        """
        holders = Holders(NODES[1:])
        work = holders.insert()
        holders.refuse(1, ZeroDivisionError())
        self.failureResultOf(work, ZeroDivisionError)

    def test_lost_root(self) -> None:
        """
        If it can no longer be known who is next, those asked before may be enough; if not, that is the reason given.
        """
        for enough in (True, False):
            holders = Holders(NODES[1:])
            work = holders.insert()
            holders.lost = True
            holders.refuse(1)
            holders.keep(2)
            self.assertNoResult(work)
            holders.clock.advance(CHOOSE_AGAIN_S)
            self.assertEqual([3], holders.open)
            if enough:
                holders.keep(3)
                self.assertEqual(2, self.successResultOf(work).copies)
            else:
                holders.refuse(3)
                self.failureResultOf(work, Unreachable)

    def test_root_found_again(self) -> None:
        """
        What cannot be known now may be known in a moment: then all k are had, and not the minimum only.
        """
        holders = Holders(NODES[1:])
        work = holders.insert()
        holders.lost = True
        holders.refuse(1)
        holders.keep(2, 3)
        self.assertNoResult(work)
        holders.lost = False
        holders.clock.advance(CHOOSE_AGAIN_S)
        self.assertEqual([4], holders.open)
        holders.keep(4)
        self.assertEqual({2, 3, 4}, set(self.successResultOf(work).receipts))

    def test_cancelled(self) -> None:
        """
        Who waits may give up; late answers harm nobody.
        """
        holders = Holders(NODES[1:])
        work = holders.insert()
        work.addErrback(lambda _: None)
        work.cancel()
        holders.keep(1)
        holders.refuse(2)
        holders.clock.advance(PATIENCE_S)
        self.assertEqual([3], holders.open)

    @given(st.data())
    def test_any_order(self, chance: st.DataObject) -> None:
        """
        Whatever happens in whatever order: when every question has been answered it has ended; with success only if
        enough hold it, with at least k if there were ever so many who were willing; nobody is asked twice, and no timer
        stays.
        """
        k = chance.draw(st.integers(1, 4))
        minimum = chance.draw(st.integers(1, k))
        count = chance.draw(st.integers(0, len(NODES)))
        nodes = chance.draw(st.permutations(NODES[:count]))
        holders = Holders(list(nodes), k, minimum, slow_choice=[])
        results: list[Inserted | Failure] = []
        holders.insert().addBoth(results.append)
        kept: set[int] = set()
        refused: set[int] = set()
        assert holders.slow_choice is not None
        while holders.open or holders.slow_choice:
            events = ["choose"] * bool(holders.slow_choice) + ["keep", "refuse"] * bool(holders.open) + ["time"]
            event = chance.draw(st.sampled_from(events))
            if event == "choose":
                holders.slow_choice.pop().callback(None)
            elif event == "time":
                if not holders.clock.getDelayedCalls():
                    continue
                holders.clock.advance(PATIENCE_S / 2)
            else:
                number = chance.draw(st.sampled_from(holders.open))
                if event == "keep":
                    if not results:
                        kept.add(number)
                    holders.keep(number)
                else:
                    refused.add(number)
                    holders.refuse(number)
        self.assertEqual((1, []), (len(results), holders.clock.getDelayedCalls()))
        elsewhere = len(kept - {0})
        if isinstance(results[0], Failure):
            self.assertIsInstance(results[0].value, TooFewReplicas)
            self.assertLess(elsewhere, minimum)
            self.assertEqual({int(node.id) for node in nodes} - {0}, (kept | refused) - {0})
        else:
            inserted = results[0]
            self.assertEqual((kept, elsewhere), ({int(node) for node in inserted.receipts}, inserted.elsewhere))
            self.assertGreaterEqual(elsewhere, minimum)
            if len(kept) < k:
                self.assertEqual(count, len(holders.asked))


class PathTests(SynchronousTestCase):
    """
    Failures of the store itself.
    """

    def test_at_once(self) -> None:
        """
        Refusals that come before the question has left are no different.
        """
        holders = Holders(NODES)
        errors: list[PostError] = [Unreachable(""), Refused(5)]
        ask = holders.store
        insertion = Insertion(
            LOCAL,
            3,
            2,
            holders.clock,
            PATIENCE_S,
            holders.choose,
            lambda contact: fail(errors.pop()) if errors else ask(contact),
            lambda contact: None,
        )
        work = Deferred.fromCoroutine(insertion.run())
        self.assertEqual([2, 3, 4], holders.open)
        holders.keep(2, 3, 4)
        self.assertEqual(3, self.successResultOf(work).copies)
