"""
Tests of L{post.gateway.relay} and L{post.gateway.connection}, on a reactor in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.gateway.connection import Connection, Opportunistic
from post.gateway.dns import Dns, DnsUnavailable, Exchange, NoRecords, NoSuchName
from post.gateway.relay import CONNECT_S, Relay
from post.gateway.sts import Policies, Policy
from post.mail.outbound import Outgoing
from post.mail.relay import IRelay, Outcome, Verdict
from post.smtp.client import COMMAND_S, GREETING_S, IStream, TlsFailed, Unavailable

HOST = "gw.example.org"
MESSAGE = b"From: alice@example.org\r\nDate: now\r\nMessage-ID: <1@example.org>\r\n\r\n.\r\nx\r\n"
OUTGOING = Outgoing(
    1, "alice@example.org", "alice@example.org", "example.net", ("x@example.net",), b"", 1, 1_700_000_000, b"s" * 16
)
NAMES = ("x@example.net",)
GOOD = ("220 mx", "250 mx", "250 ok", "250 ok", "354 go", "250 2.0.0 taken", "221 bye")


class FakeDns:
    """
    Says what it is told to; an exception is raised.
    """

    def __init__(self) -> None:
        self.exchanges: list[Exchange] | Exception = [Exchange(10, "mx.example.net")]
        self.known: dict[str, list[str]] = {}
        self.fails: set[str] = set()

    async def mx(self, domain: str) -> list[Exchange]:
        assert domain == "example.net"
        if isinstance(self.exchanges, Exception):
            raise self.exchanges
        return self.exchanges

    async def addresses(self, host: str) -> list[str]:
        if host in self.fails:
            raise DnsUnavailable(host)
        if host not in self.known:
            raise NoRecords(host)
        return list(self.known[host])


class FakePolicies:
    """
    One policy, or none.
    """

    def __init__(self) -> None:
        self.policy: Policy | None = None

    async def of(self, domain: str) -> Policy | None:
        return self.policy


class Tls(StringTransport):
    """
    A transport that can be told to begin TLS, and counts how often.
    """

    begun = 0
    aborted = False

    def startTLS(self, options: object) -> None:
        """
        Noted.
        """
        self.begun += 1

    def abortConnection(self) -> None:
        """
        Noted.
        """
        self.aborted = True
        super().abortConnection()


class RelayTests(SynchronousTestCase):
    """
    Tests of L{Relay}.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.dns, self.policies = FakeDns(), FakePolicies()
        self.dns.known = {
            "mx.example.net": ["192.0.2.1"],
            "mx2.example.net": ["192.0.2.2", "2001:db8::2"],
            "example.net": ["192.0.2.9"],
        }
        self.proven: list[bool] = []
        self.signature: Deferred[bytes] = succeed(b"DKIM-Signature: x\r\n")
        self.sent = b""

        def tls(host: str, proven: bool) -> Opportunistic:
            self.proven.append(proven)
            return Opportunistic(host)

        self.relay = Relay(
            self.reactor,
            cast(Dns, self.dns),
            cast(Policies, self.policies),
            lambda message: self.signature,
            tls,
            HOST,
            "example.org",
            2525,
            Random(1),
        )
        self.asked: list[str] = []

    def deliver(self, *servers: Sequence[str] | None, names: Sequence[str] = NAMES) -> list[Verdict]:
        """
        What comes of an attempt when C{servers} are connected to one after the other: each says so much, or refuses to
        be connected to.
        """
        attempt = Deferred.fromCoroutine(self.relay.deliver(OUTGOING, names, MESSAGE))
        for said in servers:
            clients: list[Any] = self.reactor.tcpClients
            host, port, factory, timeout, _ = clients.pop()
            self.assertEqual((2525, CONNECT_S), (port, timeout))
            self.asked.append(host)
            if said is None:
                factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
                continue
            transport = Tls()
            protocol = factory.buildProtocol(None)
            protocol.makeConnection(transport)
            for line in said:
                protocol.dataReceived(line.encode() + b"\r\n")
            self.sent = transport.value()
            if not transport.disconnecting:
                protocol.connectionLost(Failure(ConnectionDone()))
        verdicts: list[Any] = []
        attempt.addCallback(verdicts.extend)
        self.successResultOf(attempt)
        return verdicts

    def test_interface(self) -> None:
        """
        It is what the queue needs.
        """
        self.assertTrue(verifyObject(IRelay, self.relay))

    def test_taken(self) -> None:
        """
        The message goes out with its signature and a Received field that says nothing of the machine where it was
        written.
        """
        [verdict] = self.deliver(GOOD)
        self.assertEqual((Outcome.DELIVERED, "mx.example.net"), (verdict.outcome, verdict.remote))
        self.assertEqual(["192.0.2.1"], self.asked)
        head, _, rest = self.sent.partition(b"DATA\r\n")[2].partition(b"From: ")
        self.assertTrue(
            head.startswith(b"DKIM-Signature: x\r\nReceived: from example.org by gw.example.org (POST)"), head
        )
        self.assertNotIn(b"127.0.0.1", head)
        self.assertTrue(rest.endswith(b"\r\n\r\n..\r\nx\r\n.\r\nQUIT\r\n"))

    def test_completed(self) -> None:
        """
        Date and Message-ID are added where a mail program has left them out, the same whenever it is tried.
        """
        prepare = self.relay._prepared(OUTGOING, b"From: alice@example.org\r\n\r\nx\r\n")
        prepared = self.successResultOf(Deferred.fromCoroutine(prepare))
        self.assertIn(b"\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\n", prepared)
        self.assertIn(b"\r\nMessage-ID: <73737373737373737373737373737373@example.org>\r\nFrom: ", prepared)

    def test_unsigned(self) -> None:
        """
        A message whose header is none does not leave.
        """
        self.signature = fail(ValueError("no header"))
        [verdict] = self.deliver()
        self.assertEqual((Outcome.REFUSED, "5.6.0"), (verdict.outcome, verdict.status))

    def test_order(self) -> None:
        """
        The nearest server first, then the next; of each all addresses.
        """
        self.dns.exchanges = [Exchange(20, "mx2.example.net"), Exchange(10, "mx.example.net")]
        [verdict] = self.deliver(None, None, GOOD)
        self.assertEqual("192.0.2.1", self.asked[0])
        self.assertEqual({"192.0.2.2", "2001:db8::2"}, set(self.asked[1:]))
        self.assertEqual("mx2.example.net", verdict.remote)

    def test_busy(self) -> None:
        """
        A server that takes nothing now is passed over; what one says of a recipient ends the attempt.
        """
        self.dns.exchanges = [Exchange(10, "mx.example.net"), Exchange(20, "mx2.example.net")]
        [verdict] = self.deliver(("421 busy",), ("220 mx", "250 mx", "250 ok", "450 4.7.1 later", "221 bye"))
        self.assertEqual((Outcome.LATER, "4.7.1", "mx2.example.net"), (verdict.outcome, verdict.status, verdict.remote))

    def test_nobody(self) -> None:
        """
        If none can be used, it is for now, and said of whom and why.
        """
        [verdict] = self.deliver(("554 no",))
        self.assertEqual((Outcome.LATER, "4.0.0", "554 no"), (verdict.outcome, verdict.status, verdict.words))
        [verdict] = self.deliver(None)
        self.assertEqual((Outcome.LATER, "4.4.1"), (verdict.outcome, verdict.status))

    def test_names(self) -> None:
        """
        What the DNS says decides: no such domain and no mail are for good, no answer is for now; without an MX the
        domain's own address counts.
        """
        for exchanges, outcome, status in (
            (NoSuchName("x"), Outcome.REFUSED, "5.1.2"),
            ([Exchange(0, "")], Outcome.REFUSED, "5.1.10"),
            ([Exchange(0, HOST), Exchange(5, "mx.example.net")], Outcome.REFUSED, "5.4.6"),
            (DnsUnavailable("x"), Outcome.LATER, "4.4.3"),
            ([Exchange(0, "nowhere.example.net")], Outcome.LATER, "4.4.4"),
            ([Exchange(0, "m\xfc.example.net"), Exchange(5, ""), Exchange(5, "a\nb")], Outcome.LATER, "4.4.4"),
        ):
            self.dns.exchanges = exchanges
            [verdict] = self.deliver()
            self.assertEqual((outcome, status), (verdict.outcome, verdict.status))
        self.dns.exchanges = NoRecords("x")
        self.deliver(GOOD)
        self.assertEqual(["192.0.2.9"], self.asked)

    def test_nothing_there(self) -> None:
        """
        A domain with neither an MX nor an address takes no mail.
        """
        self.dns.exchanges, self.dns.known = NoRecords("x"), {}
        [verdict] = self.deliver()
        self.assertEqual((Outcome.REFUSED, "5.1.2"), (verdict.outcome, verdict.status))
        self.dns.fails = {"example.net"}
        [verdict] = self.deliver()
        self.assertEqual(Outcome.LATER, verdict.outcome)

    def test_encrypted(self) -> None:
        """
        A server that begins TLS and breaks off is spoken to again without, unless its domain demands it; then mail
        rather waits, and only servers that the policy names are asked.
        """
        broken = ("220 mx", "250-mx\r\n250 STARTTLS", "220 go")
        [verdict] = self.deliver(broken, GOOD)
        self.assertEqual(Outcome.DELIVERED, verdict.outcome)
        self.policies.policy = Policy("1", "enforce", 1000, ("mx.example.net",))
        [verdict] = self.deliver(broken)
        self.assertEqual((Outcome.LATER, True), (verdict.outcome, self.proven[-1]))
        [verdict] = self.deliver(("220 mx", "250 mx"))
        self.assertEqual((Outcome.LATER, "4.7.4"), (verdict.outcome, verdict.status))
        self.policies.policy = Policy("1", "enforce", 1000, ("other.example.net",))
        [verdict] = self.deliver()
        self.assertEqual((Outcome.LATER, "4.7.0"), (verdict.outcome, verdict.status))
        self.policies.policy = Policy("1", "testing", 1000, ("other.example.net",))
        [verdict] = self.deliver(GOOD)
        self.assertEqual((Outcome.DELIVERED, False), (verdict.outcome, self.proven[-1]))


class ConnectionTests(SynchronousTestCase):
    """
    Tests of L{Connection}.
    """

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.transport = Tls()
        self.connection = Connection(self.clock, Opportunistic("mx.example.net"))
        self.connection.makeConnection(self.transport)

    def test_interfaces(self) -> None:
        """
        It is what the client and Twisted need.
        """
        for interface in (IStream, IPushProducer, IHandshakeListener):
            self.assertTrue(verifyObject(interface, self.connection))

    def test_injected(self) -> None:
        """
        What somebody has slipped in between STARTTLS and TLS is no answer, and ends it (CVE-2011-0411).
        """
        reply = Deferred.fromCoroutine(self.connection.reply(GREETING_S))
        self.connection.dataReceived(b"220 go\r\n250 AUTH PLAIN\r\n")
        self.assertEqual(220, self.successResultOf(reply).code)
        tls = Deferred.fromCoroutine(self.connection.start_tls())
        self.failureResultOf(tls, TlsFailed)
        self.assertEqual(0, self.transport.begun)

    def test_handshake(self) -> None:
        """
        Nothing is said before the handshake has come to its end; it does not take for ever.
        """
        tls = Deferred.fromCoroutine(self.connection.start_tls())
        self.assertNoResult(tls)
        self.connection.handshakeCompleted()
        self.successResultOf(tls)
        again = Deferred.fromCoroutine(self.connection.start_tls())
        self.clock.advance(61)
        self.failureResultOf(again, TlsFailed)

    def test_silent(self) -> None:
        """
        A server that says nothing, or does not take what it is sent, is left; so is one that says what is no SMTP.
        """
        reply = Deferred.fromCoroutine(self.connection.reply(GREETING_S))
        self.clock.advance(GREETING_S + 1)
        self.failureResultOf(reply, Unavailable)
        self.connection.pauseProducing()
        sent = Deferred.fromCoroutine(self.connection.send(b"x", COMMAND_S))
        self.assertNoResult(sent)
        self.clock.advance(COMMAND_S + 1)
        self.failureResultOf(sent, Unavailable)
        self.connection.resumeProducing()
        self.successResultOf(Deferred.fromCoroutine(self.connection.send(b"x", COMMAND_S)))
        self.connection.dataReceived(b"SSH-2.0-x\r\n")
        self.failureResultOf(Deferred.fromCoroutine(self.connection.reply(GREETING_S)), Unavailable)
        self.assertTrue(self.transport.aborted)

    def test_lost(self) -> None:
        """
        What had been said before the connection was lost is heard; then nothing is.
        """
        self.connection.dataReceived(b"250 taken\r\n")
        self.connection.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(250, self.successResultOf(Deferred.fromCoroutine(self.connection.reply(1))).code)
        self.failureResultOf(Deferred.fromCoroutine(self.connection.reply(1)), Unavailable)
        self.failureResultOf(Deferred.fromCoroutine(self.connection.send(b"x", 1)), Unavailable)
