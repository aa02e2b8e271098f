"""
Tests for puzzles that strangers have to solve (POST, section 4.5): L{post.mail.puzzling}, and what becomes of mail.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.puzzles import BITS_LIMIT, challenge, is_solved
from post.ids import AccountId, Id
from post.mail.interfaces import PuzzleTooHard
from post.mail.personal import Unacceptable
from post.mail.preferences import KNOWN_S, Preferences
from post.mail.puzzling import PAUSE_S, TRIES, Allowance, Solver
from post.mail.records import Acquainted, PuzzleSet
from post.messaging.identities import FRESH_S, Identities
from tests.messaging.test_dispatch import BOB_NODE

from .doubles import Person, Place

MAIL = b"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: Hello\r\nMessage-ID: <1@x>\r\n\r\nHello.\r\n"
BITS = 10


def mail(number: int) -> bytes:
    """
    Another message.
    """
    return MAIL.replace(b"<1@x>", b"<%d@x>" % number)


class StrangerTests(SynchronousTestCase):
    """
    Alice, whom Bob does not know, writes to him.
    """

    def setUp(self) -> None:
        self.place = Place(b"puzzles")
        self.alice, self.bob = Person(self.place, "alice"), Person(self.place, "bob")

    def demand(self, bits: int) -> None:
        """
        Bob demands so much of strangers, long ago.
        """
        self.place.run(self.bob.personal.set_puzzle(bits))
        self.place.clock.advance(max(FRESH_S, KNOWN_S) + 1)

    def lazy(self) -> None:
        """
        Alice's program is an older one, or does not want to.
        """
        self.alice.submission._solver.solve = _useless  # type: ignore[method-assign]

    def counts(self) -> dict[str, int]:
        """
        Where Bob's messages are.
        """
        return {folder.name: folder.messages for folder in self.bob.mailbox.folders() if folder.messages}

    def test_solved(self) -> None:
        """
        Her node solves the puzzle, and her message is in the Inbox; from then on she is no stranger and solves nothing.
        """
        self.demand(BITS)
        solved: list[int] = []
        solve = self.alice.submission._solver.solve

        async def watched(named: bytes, recipient: AccountId, bits: int) -> int:
            solved.append(bits)
            found = await solve(named, recipient, bits)
            self.assertTrue(is_solved(challenge(named, recipient), bits, found))
            return found

        self.alice.submission._solver.solve = watched  # type: ignore[method-assign]
        self.alice.send(mail(1), "bob")
        self.assertEqual({"INBOX": 1}, self.counts())
        self.bob.send(MAIL.replace(b"alice@", b"bob@"), "alice")
        self.alice.send(mail(2), "bob")
        self.assertEqual([BITS, 0], solved)
        self.assertEqual({"INBOX": 2, "Sent": 1}, self.counts())

    def test_unsolved(self) -> None:
        """
        Without the work it is in Junk: not lost, not returned, and she is still a stranger.
        """
        self.demand(BITS)
        self.lazy()
        self.alice.send(mail(1), "bob")
        self.assertEqual({"Junk": 1}, self.counts())
        self.assertIn("$Junk", self.bob.folder("Junk").entries()[0].flags)
        self.assertTrue(self.bob.mailbox.state.preferences.is_stranger(self.alice.account.id))
        self.assertEqual([], self.place.waiting())

    def test_known(self) -> None:
        """
        Whom Bob has written to, or whose mail he had in his Inbox before, need not work; nor need he himself.
        """
        self.lazy()
        self.alice.send(mail(1), "bob")
        self.demand(BITS)
        self.alice.send(mail(2), "bob")
        self.bob.send(MAIL.replace(b"alice@", b"bob@"), "bob")
        self.assertEqual({"INBOX": 3, "Sent": 1}, self.counts())

    def test_written_to(self) -> None:
        """
        The same of whom he has only written to.
        """
        self.demand(BITS)
        self.lazy()
        self.bob.send(MAIL.replace(b"alice@", b"bob@"), "alice")
        self.alice.send(mail(1), "bob")
        self.assertEqual({"INBOX": 1, "Sent": 1}, self.counts())

    def test_rule(self) -> None:
        """
        A rule that matches decides before the puzzle does.
        """
        self.demand(BITS)
        self.lazy()
        self.place.run(self.bob.personal.add_rule("folder Work if subject hello"))
        self.alice.send(mail(1), "bob")
        self.assertEqual({"Work": 1}, self.counts())

    def test_raised(self) -> None:
        """
        What was on its way, or made by what Bob's card said a moment ago, is judged by that; what comes later, by what
        is in force.
        """
        self.bob.leave()
        self.alice.send(mail(1), "bob")
        (waiting,) = self.place.waiting()
        self.bob.open()
        self.place.run(self.bob.personal.set_puzzle(20))
        self.place.run(self.place.reception.receive(waiting))
        self.assertEqual({"INBOX": 1}, self.counts())
        carol = Person(self.place, "carol")
        carol.submission._solver.solve = _useless  # type: ignore[method-assign]
        self.place.clock.advance(KNOWN_S + 1)
        carol.send(MAIL.replace(b"alice@", b"carol@"), "bob")
        self.assertEqual({"INBOX": 1, "Junk": 1}, self.counts())

    def test_too_hard(self) -> None:
        """
        Somebody who demands more than is agreed to is not written to, and that is said when they are named.
        """
        self.place.run(self.bob.mailbox.keep([PuzzleSet(BITS_LIMIT + 1, 0, 1)]))
        self.place.run(self.bob.account.publish(BOB_NODE, 86400))
        self.place.clock.advance(FRESH_S + 1)
        check = self.alice.submission.check_recipient("bob@example.org")
        self.assertRaises(PuzzleTooHard, self.place.run, check)
        self.assertRaises(PuzzleTooHard, self.alice.send, mail(1), "bob")
        self.assertEqual({}, self.counts())

    def test_kept(self) -> None:
        """
        The demand survives the machine, is on the card, and is bad only if it is no difficulty.
        """
        self.demand(BITS)
        self.bob.restart(forget=True)
        self.assertEqual(BITS, self.bob.mailbox.state.preferences.puzzle.bits)
        card = self.place.run(self.place.identities.find(self.bob.account.id, 0)).card
        self.assertEqual(BITS, card.puzzle_bits)
        for bits in (-1, BITS_LIMIT + 1):
            self.assertRaises(Unacceptable, self.place.run, self.bob.personal.set_puzzle(bits))
        self.demand(0)
        self.lazy()
        self.alice.send(mail(1), "bob")
        self.assertEqual({"INBOX": 1}, self.counts())


async def _useless(named: bytes, recipient: AccountId, bits: int) -> int:
    return 1


class PreferencesTests(SynchronousTestCase):
    """
    Tests for what L{Preferences} say of strangers.
    """

    def test_demands(self) -> None:
        """
        While others may not have heard of a change the easier puzzle is enough, whichever way it was changed.
        """
        stranger, friend = AccountId(Id(1)), AccountId(Id(2))
        preferences = Preferences()
        self.assertEqual(0, preferences.demands(stranger, 0))
        preferences.apply(Acquainted(friend, False))
        for bits, before in ((20, 10), (10, 20)):
            preferences.apply(PuzzleSet(bits, before, 1000))
            self.assertEqual(10, preferences.demands(stranger, 999))
            self.assertEqual(10, preferences.demands(stranger, 999 + KNOWN_S))
            self.assertEqual(bits, preferences.demands(stranger, 1000 + KNOWN_S))
            self.assertEqual(0, preferences.demands(friend, 5000))
        again = Preferences()
        for chunk in preferences.chunks():
            again.restore(chunk)
        self.assertEqual(preferences.puzzle, again.puzzle)


class AllowanceTests(SynchronousTestCase):
    """
    Tests for L{Allowance}.
    """

    def test_limit(self) -> None:
        """
        Two of the hardest puzzles are as much as one message gets; what is easy costs next to nothing.
        """
        allowance = Allowance()
        for number in range(100):
            self.assertEqual(0, allowance.take(AccountId(Id(number)), 0))
        self.assertEqual(BITS_LIMIT, allowance.take(AccountId(Id(100)), BITS_LIMIT))
        self.assertEqual(BITS_LIMIT, allowance.take(AccountId(Id(101)), BITS_LIMIT))
        self.assertRaises(PuzzleTooHard, allowance.take, AccountId(Id(102)), 1)
        self.assertEqual(BITS_LIMIT, allowance.granted[AccountId(Id(101))])
        self.assertNotIn(AccountId(Id(102)), allowance.granted)


class SolverTests(SynchronousTestCase):
    """
    Tests for L{Solver}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.solver = Solver(cast(Identities, None), self.clock)

    def solve(self, bits: int) -> Deferred[int]:
        """
        Begin to.
        """
        return Deferred.fromCoroutine(self.solver.solve(b"n" * 32, AccountId(Id(1)), bits))

    def test_in_turn(self) -> None:
        """
        It works for a moment, then lets others; one puzzle comes after the other.
        """
        hard, easy = self.solve(18), self.solve(1)
        self.clock.advance(PAUSE_S)
        self.assertNoResult(hard)
        self.assertNoResult(easy)
        turns = 1
        while not hard.called:
            self.clock.advance(PAUSE_S)
            turns += 1
        self.assertEqual(self.successResultOf(hard) // TRIES, turns)
        self.assertTrue(self.successResultOf(easy) < TRIES)

    def test_cancelled(self) -> None:
        """
        Giving up ends the work, and the next one begins.
        """
        hard, easy = self.solve(60), self.solve(1)
        self.clock.advance(PAUSE_S)
        hard.cancel()
        self.failureResultOf(hard, CancelledError)
        self.successResultOf(easy)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_none(self) -> None:
        """
        Where nothing is demanded nothing is done.
        """
        self.assertEqual(0, self.successResultOf(self.solve(0)))
