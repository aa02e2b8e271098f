"""
Tests for L{post.gateway.mx}: transcripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from post.errors import Refused, TooFewReplicas
from post.gateway.dns import Dns, NoSuchName
from post.gateway.greylist import Greylist
from post.gateway.mx import HOPS_LIMIT, PACE_S, MxFactory, MxPolicy, MxProtocol
from post.gateway.sources import MISSES_LIMIT, Sources
from post.gateway.verification import Advice, Verdict, Verifier
from post.mail.interfaces import IInbound, Octets, RecipientOutside, RecipientUnknown
from post.smtp.server import ERRORS_LIMIT, RECIPIENTS_LIMIT
from tests.front.test_submission import Wire
from tests.scratch import scratch
from tests.smtp.test_data import SMUGGLED

RESULTS = b"Authentication-Results: mx.example.org; spf=none; dkim=none; dmarc=none\r\n"
ENVELOPE = b"MAIL FROM:<eve@b.example>\r\nRCPT TO:<alice@example.org>\r\n"
LETTER = b"DATA\r\nFrom: eve@b.example\r\n\r\nHello.\r\n.\r\n"


@implementer(IInbound)
class FakeInbound:
    """
    Knows alice, and keeps what it accepts.
    """

    domain = "example.org"
    size_limit = 10_000
    postmaster = ""

    def __init__(self) -> None:
        self.taken: list[tuple[str, list[str], bytes, bytes, bool]] = []
        self.failure: Exception | None = None
        self.asked: list[str] = []

    async def check_recipient(self, address: str) -> None:
        """
        There is alice only.
        """
        self.asked.append(address)
        local, _, domain = address.rpartition("@")
        if domain != self.domain:
            raise RecipientOutside(address)
        if local.partition("+")[0] != "alice":
            raise RecipientUnknown(address)

    async def accept(
        self, sender: str, recipients: Sequence[str], message: Octets, trace: bytes, junk: bool = False
    ) -> str:
        """
        Keep it, or fail.
        """
        if self.failure is not None:
            raise self.failure
        self.taken.append((sender, list(recipients), bytes(message), trace, junk))
        return "kept"


class FakeVerifier:
    """
    Finds of every message what it is told.
    """

    verdict = Verdict(RESULTS, Advice.ACCEPT)

    async def examine(self, source: str, helo: str, sender: str, message: Octets) -> Verdict:
        """
        As L{Verifier}.
        """
        return self.verdict


class FakeDns:
    """
    Knows one name, and one list.
    """

    listed_addresses: tuple[str, ...] = ()
    name = "mx.b.example"

    async def ptr(self, address: str) -> list[str]:
        """
        The name of one machine.
        """
        if address != "192.0.2.1":
            raise NoSuchName(address)
        return [self.name]

    async def addresses(self, name: str) -> list[str]:
        """
        Its address.
        """
        return ["192.0.2.1"]

    async def listed(self, address: str, zone: str) -> list[str]:
        """
        What a block list says.
        """
        if zone == "dead.example":
            raise Refused(0, "no answer")
        return list(self.listed_addresses)


class MxTests(SynchronousTestCase):
    """
    A server elsewhere talks to a gateway.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.inbound, self.verifier, self.dns = FakeInbound(), FakeVerifier(), FakeDns()
        self.path = scratch(self) / "greylist.sqlite"
        self.factory = self.make()

    def make(self, delay_s: int = 0, policy: MxPolicy | None = None, connections: int = 3, rate: int = 20) -> MxFactory:
        """
        A gateway.
        """
        greylist = Greylist(self.path, self.clock, delay_s)
        self.addCleanup(greylist.close)
        return MxFactory(
            self.inbound,
            cast("Verifier", self.verifier),
            cast("Dns", self.dns),
            greylist,
            Sources(self.clock, connections, rate),
            policy or MxPolicy(),
            self.clock,
            object(),
            "mx.example.org",
        )

    def connect(self, peer: str = "192.0.2.1") -> tuple[MxProtocol, Wire]:
        """
        A connection, with hello said.
        """
        protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", peer, 4000))
        wire = Wire(peer)
        protocol.makeConnection(wire)
        self.said(protocol, wire, b"EHLO mx.b.example\r\n")
        return protocol, wire

    def said(self, protocol: MxProtocol, wire: Wire, data: bytes) -> list[str]:
        """
        The replies to C{data}.
        """
        wire.clear()
        protocol.dataReceived(data)
        self.clock.advance(0)
        heard: bytes = wire.value()
        return heard.decode("ascii").splitlines()

    def talk(self, *commands: bytes) -> list[str]:
        """
        The codes of the replies on a connection of its own.
        """
        protocol, wire = self.connect()
        replies = [line for command in commands for line in self.said(protocol, wire, command)]
        protocol.connectionLost()
        return [" ".join(line.split(" ")[:2]) for line in replies]

    def test_interface(self) -> None:
        """
        The double is one.
        """
        self.assertTrue(verifyObject(IInbound, self.inbound))

    def test_taken(self) -> None:
        """
        A message for somebody is taken as it is, with what was found out and where it came from.
        """
        codes = self.talk(ENVELOPE, LETTER)
        self.assertEqual(["250 2.1.0", "250 2.1.5", "354 End", "250 2.0.0"], codes)
        [(sender, recipients, message, trace, junk)] = self.inbound.taken
        self.assertEqual(("eve@b.example", ["alice@example.org"], False), (sender, recipients, junk))
        self.assertEqual(b"From: eve@b.example\r\n\r\nHello.\r\n", message)
        self.assertTrue(trace.startswith(RESULTS + b"Received: from mx.b.example (mx.b.example [192.0.2.1])"), trace)

    def test_reverse_name(self) -> None:
        """
        What a stranger's DNS calls their machine is no more than a name in the Received field.
        """
        for name in ("x) by bank (y.example", "b\u00fc.example", "a\r\nSubject: forged"):
            self.dns.name = name
            self.assertEqual("250 2.0.0", self.talk(ENVELOPE, LETTER)[-1])
            trace = self.inbound.taken[-1][3]
            self.assertNotIn(b"by bank", trace)
            self.assertEqual(2, trace.count(b"("), trace)  # The other says what we are.
            self.assertNotIn(b"\nSubject", trace)

    def test_no_relay(self) -> None:
        """
        Mail for elsewhere is refused, however it is written, and log-in is not offered.
        """
        protocol, wire = self.connect()
        self.assertNotIn("AUTH", " ".join(self.said(protocol, wire, b"EHLO x\r\n")))
        for address in (
            b"x@b.example",
            b"x%b.example@example.org",
            b'"x@b.example"@example.org',
            b"b.example!x@example.org",
        ):
            codes = self.talk(b"MAIL FROM:<eve@b.example>\r\nRCPT TO:<" + address + b">\r\n")
            self.assertEqual(["250 2.1.0", "550 5.7.1"], codes, address)
        self.assertEqual("550 5.1.1", self.talk(b"MAIL FROM:<>\r\nRCPT TO:<carol@example.org>\r\n")[1])

    def test_guessing(self) -> None:
        """
        Who tries one name after another is shown the door.
        """
        tries = b"".join(b"RCPT TO:<a%d@example.org>\r\n" % number for number in range(ERRORS_LIMIT + 5))
        codes = self.talk(b"MAIL FROM:<eve@b.example>\r\n" + tries)
        self.assertEqual(ERRORS_LIMIT, codes.count("550 5.1.1"))
        self.assertEqual("421 4.7.0", codes[-1])

    def test_guessing_on(self) -> None:
        """
        Nor does a new connection help: whoever has asked for too many that are nobody is told nothing any more, of
        anybody, and nothing is looked up for them; others are.
        """
        tries = b"".join(b"RCPT TO:<a%d@example.org>\r\n" % number for number in range(ERRORS_LIMIT))
        codes = []
        for _ in range(MISSES_LIMIT // ERRORS_LIMIT + 2):
            codes += self.talk(b"MAIL FROM:<eve@b.example>\r\n" + tries)
        self.assertEqual(MISSES_LIMIT, codes.count("550 5.1.1"))
        asked = len(self.inbound.asked)
        self.assertEqual(["250 2.1.0", "450 4.7.1"], self.talk(ENVELOPE))
        self.assertEqual(asked, len(self.inbound.asked))
        protocol, wire = self.connect("192.0.2.2")
        self.assertEqual("250", self.said(protocol, wire, ENVELOPE)[1][:3])
        self.clock.advance(60)
        self.assertEqual(["250 2.1.0", "250 2.1.5"], self.talk(ENVELOPE))

    def test_recipients(self) -> None:
        """
        A message has only so many recipients; the rest is for another one.
        """
        protocol, wire = self.connect()
        self.said(protocol, wire, b"MAIL FROM:<eve@b.example>\r\n")
        for number in range(RECIPIENTS_LIMIT):
            self.assertEqual(
                ["250 2.1.5 Ok."], self.said(protocol, wire, b"RCPT TO:<alice+%d@example.org>\r\n" % number)
            )
        self.assertEqual("452 4.5.3", self.said(protocol, wire, b"RCPT TO:<alice@example.org>\r\n")[0][:9])

    def test_advice(self) -> None:
        """
        What is to be refused is; what is doubtful goes to Junk; and what cannot be known now comes again.
        """
        for verdict, code in (
            (Verdict(RESULTS, Advice.JUNK, False, "b.example"), "250 2.0.0"),
            (Verdict(RESULTS, Advice.REJECT, False, "b.example"), "550 5.7.1"),
            (Verdict(RESULTS, Advice.REJECT, True, "b.example"), "451 4.7.0"),
        ):
            self.verifier.verdict = verdict
            self.assertEqual(code, self.talk(ENVELOPE, LETTER)[-1])
        self.assertEqual([True], [junk for *_, junk in self.inbound.taken])
        self.factory = self.make(policy=MxPolicy("junk"))
        self.assertEqual("250 2.0.0", self.talk(ENVELOPE, LETTER)[-1])
        self.factory = self.make(policy=MxPolicy("note"))
        self.assertEqual("250 2.0.0", self.talk(ENVELOPE, LETTER)[-1])
        self.assertEqual([True, True, False], [junk for *_, junk in self.inbound.taken])

    def test_not_kept(self) -> None:
        """
        If too little of the ring answers, the server elsewhere keeps the message.
        """
        self.inbound.failure = TooFewReplicas(1, 2)
        self.assertEqual("451 4.3.1", self.talk(ENVELOPE, LETTER)[-1])

    def test_circle(self) -> None:
        """
        A message that has come by a hundred servers goes in a circle.
        """
        trace = b"Received: from a by b\r\n" * (HOPS_LIMIT + 1)
        codes = self.talk(ENVELOPE, b"DATA\r\n" + trace + b"From: a@b.example\r\n\r\nx\r\n.\r\n")
        self.assertEqual("554 5.4.6", codes[-1])

    def test_smuggling(self) -> None:
        """
        No line end but CRLF ends anything.
        """
        for end in SMUGGLED:
            inner = b"MAIL FROM:<smuggled@b.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nx"
            codes = self.talk(ENVELOPE, b"DATA\r\nx" + end + inner + b"\r\n.\r\n")
            self.assertEqual(4, len(codes), end)
            self.assertEqual("5", codes[-1][0], end)
        self.assertEqual([], self.inbound.taken)

    def test_injection(self) -> None:
        """
        What was sent in the clear behind STARTTLS is not answered inside TLS.
        """
        protocol, wire = self.connect()
        self.said(protocol, wire, b"STARTTLS\r\nMAIL FROM:<eve@b.example>\r\n")
        self.assertTrue(wire.disconnecting or wire.disconnected or not wire.tls)
        self.assertEqual([], self.inbound.taken)

    def test_greylisted(self) -> None:
        """
        A stranger comes again.
        """
        self.factory = self.make(60)
        self.assertEqual(["250 2.1.0", "450 4.7.1"], self.talk(ENVELOPE))
        self.clock.advance(61)
        self.assertEqual(["250 2.1.0", "250 2.1.5"], self.talk(ENVELOPE))

    def test_rates(self) -> None:
        """
        One source gets so many connections at once, and messages in a minute.
        """
        self.factory = self.make(connections=2, rate=2)
        protocol, wire = self.connect()
        other, _ = self.connect()
        turned: Any = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4001))
        away = Wire("192.0.2.1")
        turned.makeConnection(away)
        self.assertTrue(away.value().startswith(b"421 4.7.0 Too many connections"))
        codes = [self.said(protocol, wire, b"MAIL FROM:<>\r\nRSET\r\n")[0][:9] for _ in range(3)]
        self.assertEqual(["250 2.1.0", "250 2.1.0", "451 4.7.1"], codes)
        other.connectionLost()
        self.connect()

    def test_listed(self) -> None:
        """
        Who is on a block list is refused; a list that does not answer, or answers that it is not to be asked so, says
        nothing.
        """
        self.factory = self.make(policy=MxPolicy(dnsbl=("dead.example", "list.example")))
        self.dns.listed_addresses = ("127.255.255.254",)
        self.assertEqual(["250 2.1.0"], self.talk(b"MAIL FROM:<>\r\n"))
        self.dns.listed_addresses = ("127.0.0.2",)
        self.assertEqual(["554 5.7.1"], self.talk(b"MAIL FROM:<>\r\n"))

    def test_slow(self) -> None:
        """
        A message that drips in is given up.
        """
        protocol, wire = self.connect()
        self.said(protocol, wire, ENVELOPE + b"DATA\r\nSubject: slow\r\n")
        for _ in range(3):
            protocol.dataReceived(b"x")
            wire.clear()
            self.clock.advance(PACE_S)
        self.assertTrue(wire.disconnecting)
        self.assertEqual([], self.inbound.taken)
