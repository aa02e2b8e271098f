"""
Tests for L{post.front.auth}.
"""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.errors import Refused, Unreachable
from post.front import auth
from post.front.auth import (
    DELAY_LIMIT_S,
    DELAY_S,
    FORGET_S,
    MECHANISMS,
    PLACES,
    BadAnswer,
    Throttle,
    admit,
    decode,
    on_loopback,
    plain,
)
from tests.front.accounts import ALICE, PASSWORD, FakeAccounts

HERE, THERE = "127.0.0.1", "192.0.2.7"


class ThrottleTests(SynchronousTestCase):
    """
    Tests for L{Throttle}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.throttle = Throttle(self.clock)

    def guess(self, source: str, name: str = "alice") -> float:
        """
        A wrong password; how long its answer is kept back.
        """
        self.throttle.begin(source)
        return self.throttle.failed(source, name)

    def log_in(self, source: str, name: str) -> None:
        """
        A right password.
        """
        self.throttle.begin(source)
        self.throttle.succeeded(source, name)

    def test_doubles(self) -> None:
        """
        Each wrong password is answered later than the one before, up to a limit, whatever other sources do.
        """
        delays = [self.guess(HERE) for _ in range(10)]
        self.assertEqual([0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0, 15.0, 15.0], delays)
        self.assertEqual(DELAY_S, self.guess(THERE))

    def test_forgets(self) -> None:
        """
        Wrong passwords are forgotten after a while without any.
        """
        self.guess(HERE)
        self.clock.advance(FORGET_S)
        self.assertEqual(2 * DELAY_S, self.guess(HERE))
        self.clock.advance(FORGET_S + 1)
        self.assertEqual(DELAY_S, self.guess(HERE))

    def test_right_is_not_slow(self) -> None:
        """
        A right password is judged at once, after however many wrong ones.
        """
        for _ in range(5):
            self.guess(HERE)
        self.assertEqual(0.0, self.throttle.delay_s(HERE))

    def test_forgives(self) -> None:
        """
        Whoever mistyped, and then did not, begins anew; by name or by address.
        """
        for _ in range(5):
            self.guess(HERE)
        self.log_in(HERE, "Alice@example.org")
        self.assertEqual(DELAY_S, self.guess(HERE))

    def test_does_not_forgive(self) -> None:
        """
        Logging in to one account does not make guesses at another cheaper, nor does one wrong password for one's own.
        """
        self.assertEqual(DELAY_S, self.guess(HERE))
        self.log_in(HERE, "mallory")
        self.assertEqual(2 * DELAY_S, self.guess(HERE))
        self.guess(HERE, "mallory")
        self.log_in(HERE, "mallory")
        self.assertEqual(8 * DELAY_S, self.guess(HERE))

    def test_places(self) -> None:
        """
        With all places taken by wrong passwords the next one waits until the first is free.
        """
        for _ in range(PLACES):
            self.assertEqual(0.0, self.throttle.delay_s(HERE))
            self.guess(HERE)
        self.assertEqual(DELAY_S, self.throttle.delay_s(HERE))
        self.assertEqual(0.0, self.throttle.delay_s(THERE))
        self.clock.advance(DELAY_S)
        self.assertEqual(0.0, self.throttle.delay_s(HERE))

    def test_rate(self) -> None:
        """
        However many connections guess at once, in an hour only so many passwords can be tried.
        """
        guesses = 0
        while self.clock.seconds() < 3600:
            while not (delay_s := self.throttle.delay_s(HERE)):
                self.guess(HERE)
                guesses += 1
            self.clock.advance(delay_s)
        self.assertLess(guesses, PLACES * (3600 / DELAY_LIMIT_S + 2))

    def test_judging(self) -> None:
        """
        What is being judged takes a place too, however it ends.
        """
        for _ in range(PLACES):
            self.throttle.begin(HERE)
        self.assertEqual(DELAY_S, self.throttle.delay_s(HERE))
        self.throttle.abandoned(HERE)
        self.assertEqual(0.0, self.throttle.delay_s(HERE))
        self.log_in(HERE, "alice")
        self.assertEqual(0.0, self.throttle.delay_s(HERE))

    def test_bounded(self) -> None:
        """
        Only so many sources are remembered; the one that was quiet longest is forgotten first.
        """
        self.patch(auth, "SOURCES_LIMIT", 3)
        for source in ("a", "b", "a", "c", "d"):
            self.guess(source)
        self.assertEqual(2.0, self.guess("a"))
        self.assertEqual(DELAY_S, self.guess("b"))

    def test_networks(self) -> None:
        """
        Who has a whole IPv6 network is one source, and an IPv4 address is the same however it is written.
        """
        self.assertEqual([0.5, 1.0], [self.guess("2001:db8:0:1::1"), self.guess("2001:db8:0:1:ffff::2")])
        self.assertEqual(0.5, self.guess("2001:db8:0:2::1"))
        self.assertEqual([0.5, 1.0], [self.guess(THERE), self.guess(f"::ffff:{THERE}")])


class AdmitTests(SynchronousTestCase):
    """
    Tests for L{admit}.
    """

    def setUp(self) -> None:
        self.accounts = FakeAccounts()
        self.throttle = Throttle(Clock())
        self.waited: list[float] = []

    async def wait(self, seconds: float) -> None:
        """
        Time that does not go by.
        """
        self.waited.append(seconds)

    def admit(self, name: str, password: bytes) -> Deferred[str]:
        """
        Somebody here says C{name} and C{password}.
        """
        return Deferred.fromCoroutine(admit(self.accounts, self.throttle, HERE, name, password, self.wait))

    def test_right(self) -> None:
        """
        A right password is answered at once, with the account's address.
        """
        self.assertEqual(ALICE, self.successResultOf(self.admit("alice", PASSWORD)))
        self.assertEqual([], self.waited)

    def test_wrong(self) -> None:
        """
        A wrong one is refused later each time, and logging in to another account does not change that.
        """
        for _ in range(3):
            self.failureResultOf(self.admit("bob", b"guess"), Refused)
            self.successResultOf(self.admit("alice", PASSWORD))
        self.assertEqual([0.5, 1.0, 2.0], self.waited)

    def test_not_judged(self) -> None:
        """
        What could not be judged counts for nothing.
        """
        self.accounts.error = Unreachable("the ring")
        for _ in range(2 * PLACES):
            self.failureResultOf(self.admit("alice", PASSWORD), Unreachable)
        self.assertEqual(([], 0.0), (self.waited, self.throttle.delay_s(HERE)))


class LoopbackTests(SynchronousTestCase):
    """
    Tests for L{on_loopback}.
    """

    def test_here(self) -> None:
        """
        Every way to write this machine.
        """
        for source in (HERE, "127.9.9.9", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(on_loopback(source), source)

    def test_elsewhere(self) -> None:
        """
        What is not certainly this machine is not.
        """
        for source in (THERE, "0.0.0.0", "::", "2001:db8::1", "::ffff:192.0.2.7", "localhost", "unknown", ""):
            self.assertFalse(on_loopback(source), source)


class AnswerTests(SynchronousTestCase):
    """
    Tests for what clients answer.
    """

    def test_decode(self) -> None:
        """
        Base64, and "=" for nothing (RFC 4954, 4).
        """
        self.assertEqual(b"alice", decode(b"YWxpY2U="))
        self.assertEqual(b"", decode(b"="))
        self.assertEqual(b"", decode(b""))

    def test_no_base64(self) -> None:
        """
        What is no base64 is refused, not repaired.
        """
        for answer in (b"YWxpY2U", b"Y W x p", b"YW*pY2U=", b"\xff", b"===="):
            with self.assertRaises(BadAnswer, msg=answer):
                decode(answer)

    def test_plain(self) -> None:
        """
        Name and password; to act for oneself may be said.
        """
        self.assertEqual(("alice", b"p\xff"), plain(b"\0alice\0p\xff"))
        self.assertEqual(("alice", b""), plain(b"alice\0alice\0"))

    def test_no_plain(self) -> None:
        """
        Anything else, and acting for another.
        """
        for answer in (b"", b"\0", b"\0\0", b"\0\0p", b"\0a\0p\0x", b"bob\0alice\0p", b"\0\xff\0p", b"\xff\0a\0p"):
            with self.assertRaises(BadAnswer, msg=answer):
                plain(answer)

    @given(
        st.sampled_from(sorted(MECHANISMS)), st.lists(st.one_of(st.binary(), st.binary().map(b64encode)), min_size=2)
    )
    def test_anything(self, mechanism: bytes, answers: list[bytes]) -> None:
        """
        Whatever is answered, an exchange ends after two answers: with name and password, or refused.
        """
        exchange = MECHANISMS[mechanism]()
        next(exchange)
        with self.assertRaises((BadAnswer, StopIteration)) as caught:
            for answer in answers:
                exchange.send(answer)
        if isinstance(caught.exception, StopIteration):
            name, password = caught.exception.value
            self.assertEqual((str, bytes), (type(name), type(password)))
