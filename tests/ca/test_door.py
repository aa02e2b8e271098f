"""
Tests for L{post.ca.door}: what is said over HTTP, and how those who guess are slowed down.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from post.ca.door import CONNECTION_S, CONNECTIONS_LIMIT, PER_SOURCE_LIMIT, door_site
from post.ca.questions import (
    ENTRUST,
    JOIN,
    PREFIX,
    QUESTION_LIMIT,
    RECOVER,
    VERSION,
    Greeting,
    No,
    Proven,
    Recover,
    Welcome,
    check_proven,
    read,
    sign_claim,
)
from post.crypto.certificates import make_request
from post.crypto.recovery import RecoveryKeys
from post.front.auth import PLACES
from post.hashes import Purpose
from post.tasks import Tasks
from tests.ca.members import Newcomer, Office
from tests.crypto.issued import NOW
from tests.scratch import scratch


class Wire(StringTransport):
    """
    One who has connected.
    """

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


class DoorTests(SynchronousTestCase):
    """
    Tests of L{door_site}.
    """

    def setUp(self) -> None:
        self.office = Office(scratch(self))
        self.clock = Clock()
        self.clock.advance(NOW)
        self.tasks = Tasks()
        self.addCleanup(self.tasks.stop)
        self.site = door_site(self.office.enrolment, self.clock, self.tasks)

    def connect(self, source: str = "10.0.0.9") -> tuple[Wire, object]:
        """
        Somebody connects.
        """
        address = IPv4Address("TCP", source, 5555)
        wire = Wire(peerAddress=address)
        channel = self.site.buildProtocol(address)
        channel.makeConnection(wire)
        return wire, channel

    def ask(self, request: bytes, source: str = "10.0.0.9") -> Wire:
        """
        One request; the answer is what is written.
        """
        wire, channel = self.connect(source)
        channel.dataReceived(request)  # type: ignore[attr-defined]
        return wire

    def post(self, question: str, data: bytes, source: str = "10.0.0.9") -> Wire:
        """
        Ask something.
        """
        head = f"POST {PREFIX}{question} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(data)}\r\n\r\n"
        return self.ask(head.encode() + data, source)

    def answer(self, wire: Wire) -> tuple[int, bytes]:
        """
        Status and body of what was answered.
        """
        head, _, body = wire.value().partition(b"\r\n\r\n")
        return int(head.split()[1]), body

    def refusal(self, wire: Wire) -> str:
        """
        What is said.
        """
        return read(No, self.answer(wire)[1]).text

    def test_greeting(self) -> None:
        """
        Everybody is told who answers.
        """
        status, body = self.answer(self.ask(f"GET {PREFIX}authority HTTP/1.1\r\nHost: a\r\n\r\n".encode()))
        self.assertEqual((200, self.office.authority.root), (status, read(Greeting, body).root))
        self.assertEqual(404, self.answer(self.ask(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"))[0])

    def test_join(self) -> None:
        """
        A newcomer is certified.
        """
        code, bob = self.office.code(), Newcomer("bob")
        status, body = self.answer(self.post(JOIN, bob.question(self.office, code)))
        self.assertEqual(200, status)
        welcome = check_proven(read(Proven, body), Welcome, code.key, Purpose.JOIN_ANSWER)
        self.assertEqual("bob@example.org", welcome.address)

    def test_guessing(self) -> None:
        """
        The answer to a wrong code is kept back, longer each time, and soon nothing more from there is looked at; others
        are not hindered.
        """
        question = Newcomer("eve").question(Office(scratch(self), b"x"), self.office.code())
        forged = question[:-1] + bytes([question[-1] ^ 1])
        waited = []
        for _ in range(3):
            wire, began = self.post(JOIN, forged), self.clock.seconds()
            self.assertEqual(b"", wire.value())
            while not wire.value():
                self.clock.advance(0.25)
            waited.append(self.clock.seconds() - began)
            self.assertIn("no such code", self.refusal(wire))
        self.assertEqual(sorted(set(waited)), waited)
        held = [self.post(JOIN, forged) for _ in range(PLACES)]
        code, bob = self.office.code(), Newcomer("bob")
        shut_out = self.post(JOIN, bob.question(self.office, code))
        self.assertEqual({b""}, {wire.value() for wire in [*held, shut_out]})
        self.assertEqual(200, self.answer(self.post(JOIN, bob.question(self.office, code), "10.0.0.10"))[0])
        self.clock.pump([1] * 60)
        self.assertEqual(200, self.answer(shut_out)[0])

    def test_guessing_to_recover(self) -> None:
        """
        So is the answer to a recovery code that does not exist, or does no more.
        """
        bob, new = self.office.joined("bob"), Newcomer("new")
        first, second = (RecoveryKeys(letter * 16, b"f" * 16) for letter in (b"p", b"q"))
        bob.entrust(self.office, first)
        bob.entrust(self.office, second)
        requests = make_request(new.key), make_request(new.person)
        body = Recover(VERSION, self.office.enrolment.door, *requests, 0, ())
        waited = []
        for keys, said in ((RecoveryKeys(b"x" * 16, b"f" * 16), "no such recovery code"), (first, "has been renewed")):
            wire, began = self.post(RECOVER, sign_claim(body, keys.claim)), self.clock.seconds()
            self.assertEqual(b"", wire.value())
            while not wire.value():
                self.clock.advance(0.25)
            waited.append(self.clock.seconds() - began)
            self.assertIn(said, self.refusal(wire))
        self.assertEqual(sorted(set(waited)), waited)
        self.assertEqual(200, self.answer(self.post(RECOVER, sign_claim(body, second.claim), "10.0.0.10"))[0])

    def test_garbage(self) -> None:
        """
        What is no question gets one line, and no traceback.
        """
        for question in (JOIN, "news", "renew", ENTRUST, RECOVER):
            wire = self.post(question, b"nonsense")
            self.assertEqual((400, "not understood"), (self.answer(wire)[0], self.refusal(wire)[:14]))
        self.assertIn("does not know", self.refusal(self.post("weather", b"")))
        self.assertIn(
            "does not know", self.refusal(self.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"))
        )

    def test_long(self) -> None:
        """
        A request that is longer than a question, or does not say how long it is, is cut off before it is read.
        """
        head = f"POST {PREFIX}{JOIN} HTTP/1.1\r\nHost: a\r\n"
        for length in (f"Content-Length: {QUESTION_LIMIT + 1}", "Transfer-Encoding: chunked"):
            wire = self.ask(f"{head}{length}\r\n\r\n".encode())
            self.assertEqual((True, b""), (wire.aborted, wire.value()), length)

    def test_too_many(self) -> None:
        """
        There are only so many connections, of one source and of all; one that ends makes room.
        """
        ours = [self.connect() for _ in range(PER_SOURCE_LIMIT + 1)]
        self.assertEqual([False] * PER_SOURCE_LIMIT + [True], [wire.aborted for wire, _ in ours])
        others = [self.connect(f"10.1.0.{number}") for number in range(CONNECTIONS_LIMIT)]
        self.assertTrue(others[-1][0].aborted)
        for _, channel in [*ours, *others]:
            channel.connectionLost()  # type: ignore[attr-defined]
        self.assertFalse(self.connect()[0].aborted)
        self.assertEqual(1, self.site.connections.total())

    def test_ends(self) -> None:
        """
        No connection lasts, whatever happens on it.
        """
        wire, channel = self.connect()
        for _ in range(int(CONNECTION_S / 10)):
            channel.dataReceived(b"X-Slow: 1\r\n")  # type: ignore[attr-defined]
            self.clock.advance(10)
        self.assertTrue(wire.aborted or wire.disconnecting)

    def test_gone(self) -> None:
        """
        Who has hung up while the answer was kept back is not answered, and nothing breaks.
        """
        question = Newcomer("eve").question(Office(scratch(self), b"x"), self.office.code())
        wire, channel = self.connect()
        head = f"POST {PREFIX}{JOIN} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(question)}\r\n\r\n"
        channel.dataReceived(head.encode() + question[:-1] + b"x")  # type: ignore[attr-defined]
        channel.connectionLost()  # type: ignore[attr-defined]
        self.clock.advance(60)
        self.assertEqual(b"", wire.value())
        self.assertEqual([], self.flushLoggedErrors())
