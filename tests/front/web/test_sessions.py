"""
Tests for L{post.front.web.sessions}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.entropy import SeededEntropy
from post.front.web.sessions import IDLE_S, LIFE_S, PER_PERSON_LIMIT, SESSIONS_LIMIT, Sessions
from tests.front.accounts import ALICE

BOB = "bob@example.org"


class SessionsTests(SynchronousTestCase):
    """
    Tests of L{Sessions}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.passwords = {ALICE: "hash", BOB: "other"}
        self.sessions = Sessions(self.clock, SeededEntropy(b"sessions"), self.passwords.get)

    def log_in(self, address: str = ALICE) -> str:
        """
        The key of a new session.
        """
        key = self.sessions.open(address)
        assert key is not None
        return key

    def test_life(self) -> None:
        """
        A session is known by its key alone, and over with a log-out.
        """
        key = self.log_in()
        self.assertEqual(ALICE, self.sessions.find(key))
        for other in ("", key[:-1], key.swapcase(), "x" * 1000):
            self.assertIsNone(self.sessions.find(other))
        self.sessions.close(key)
        self.assertIsNone(self.sessions.find(key))
        self.assertEqual(0, len(self.sessions))

    def test_ends(self) -> None:
        """
        It ends when nobody uses it, and some time however busy it is.
        """
        idle, busy = self.log_in(), self.log_in(BOB)
        self.clock.advance(IDLE_S - 1)
        self.assertEqual(BOB, self.sessions.find(busy))
        self.clock.advance(2)
        self.assertIsNone(self.sessions.find(idle))
        while self.clock.seconds() <= LIFE_S - IDLE_S / 2:
            self.clock.advance(IDLE_S / 2)
            self.assertEqual(BOB, self.sessions.find(busy))
        self.clock.advance(IDLE_S / 2)
        self.assertIsNone(self.sessions.find(busy))

    def test_password(self) -> None:
        """
        It ends with the password that opened it, and with the account.
        """
        key, other = self.log_in(), self.log_in(BOB)
        self.passwords[ALICE] = "new"
        del self.passwords[BOB]
        self.assertEqual([None, None], [self.sessions.find(each) for each in (key, other)])
        self.assertIsNone(self.sessions.open(BOB))

    def test_bounded(self) -> None:
        """
        One person has so many sessions, and all together have so many; the oldest go first.
        """
        bob = self.log_in(BOB)
        keys = [self.log_in() for _ in range(PER_PERSON_LIMIT + 5)]
        found = [self.sessions.find(key) for key in keys]
        self.assertEqual([None] * 5 + [ALICE] * PER_PERSON_LIMIT, found)
        self.assertEqual(BOB, self.sessions.find(bob))
        for number in range(2 * SESSIONS_LIMIT):
            self.passwords[f"{number}@example.org"] = "hash"
            self.log_in(f"{number}@example.org")
        self.assertEqual(SESSIONS_LIMIT, len(self.sessions))

    def test_tokens(self) -> None:
        """
        A form's token is for one visitor, and for nobody without a key.
        """
        one, two = self.sessions.key(), self.sessions.key()
        self.assertTrue(self.sessions.check(one, self.sessions.token(one)))
        self.assertFalse(self.sessions.check(two, self.sessions.token(one)))
        self.assertFalse(self.sessions.check("", self.sessions.token("")))
        self.assertFalse(self.sessions.check(one, "é"))
        other = Sessions(self.clock, SeededEntropy(b"another run"), self.passwords.get)
        self.assertFalse(other.check(one, self.sessions.token(one)))
