"""
Tests for L{post.front.submission}: transcripts.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, eventAsText
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.errors import PostError, TooFewReplicas, Unreachable
from post.front import submission
from post.front.auth import DELAY_S, PLACES, Throttle
from post.front.submission import LOGINS_LIMIT, SubmissionFactory, SubmissionProtocol
from post.mail.interfaces import (
    DirectoryUnavailable,
    IMailAccounts,
    ISubmission,
    RecipientOutside,
    RecipientUnknown,
)
from post.smtp.data import MEMORY_BYTES
from post.smtp.server import (
    BUFFER_LIMIT,
    COMMANDS_LIMIT,
    CONNECTIONS_LIMIT,
    ERRORS_LIMIT,
    IDLE_S,
    LINE_LIMIT,
    LINGER_S,
    RECIPIENTS_LIMIT,
)
from tests.front.accounts import ALICE, PASSWORD, FakeAccounts
from tests.smtp.test_data import SMUGGLED, cut, stuffed

DOMAIN = "example.org"
SIZE_LIMIT = 5000
TLS = object()
"""Stands for what C{startTLS} takes."""


def base64(text: bytes) -> bytes:
    """
    As AUTH wants it.
    """
    return b64encode(text)


LOGIN = b"AUTH PLAIN " + base64(b"\0alice\0" + PASSWORD) + b"\r\n"
WRONG = b"AUTH PLAIN " + base64(b"\0alice\0guess") + b"\r\n"
ENVELOPE = b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"


class Wire(StringTransport):
    """
    A TCP connection, as far as the protocol can tell.
    """

    def __init__(self, peer: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", peer, 4000), lenient=True)
        self.tls: list[object] = []

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        Nothing to see.
        """

    def startTLS(self, context: object) -> None:
        """
        Remember it.
        """
        self.tls.append(context)


class Client:
    """
    Says something, and reads the replies.
    """

    def __init__(self, factory: SubmissionFactory, clock: Clock, peer: str = "127.0.0.1") -> None:
        protocol = factory.buildProtocol(IPv4Address("TCP", peer, 4000))
        assert protocol is not None
        self.protocol: SubmissionProtocol = protocol
        self.clock = clock
        self.wire = Wire(peer)
        self.protocol.makeConnection(self.wire)
        self.greeting = self.heard()

    def heard(self) -> list[str]:
        """
        The lines that have come since the last call.
        """
        self.clock.advance(0)
        data: bytes = self.wire.value()
        self.wire.clear()
        assert data.endswith(b"\r\n") or not data
        return data.decode("ascii").splitlines()

    def say(self, data: bytes) -> list[str]:
        """
        Send C{data}, and read what comes.
        """
        self.protocol.dataReceived(data)
        return self.heard()

    def codes(self, data: bytes) -> list[int]:
        """
        Send C{data}; the codes of the replies, one for each.
        """
        return [int(line[:3]) for line in self.say(data) if line[3:4] == " "]

    def hang_up(self) -> None:
        """
        The client goes away.
        """
        self.protocol.connectionLost(Failure(ConnectionDone()))


class SubmissionCase(SynchronousTestCase):
    """
    A port, and connections to it.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.accounts = FakeAccounts()
        self.factory = self.port()

    def port(self, tls: Any = None, implicit: bool = False, **more: Any) -> SubmissionFactory:
        """
        A factory for the accounts.
        """
        throttle = Throttle(self.clock)
        return SubmissionFactory(self.accounts, self.clock, throttle, tls, implicit, SIZE_LIMIT, DOMAIN, **more)

    def connect(self, *, hello: bool = True, login: bool = True, peer: str = "127.0.0.1") -> Client:
        """
        A new connection.
        """
        client = Client(self.factory, self.clock, peer)
        if hello:
            self.assertEqual([250], client.codes(b"EHLO desk.example\r\n"))
        if hello and login:
            self.assertEqual([235], client.codes(LOGIN))
        return client

    @property
    def taken(self) -> list[tuple[str, list[str], bytes]]:
        """
        What has been submitted: sender, recipients, message.
        """
        return self.accounts.alice.taken


class GreetingTests(SubmissionCase):
    """
    Who speaks, and what is offered.
    """

    def offers(self, client: Client) -> list[str]:
        """
        The reply to EHLO.
        """
        return client.say(b"EHLO desk.example\r\n")

    def test_fakes(self) -> None:
        """
        What these tests pretend to be is what it pretends to be.
        """
        self.assertTrue(verifyObject(IMailAccounts, self.accounts))
        self.assertTrue(verifyObject(ISubmission, self.accounts.alice))
        self.assertTrue(verifyObject(IPushProducer, self.connect().protocol))

    def test_greeting(self) -> None:
        """
        The server says who it is, and that it knows ESMTP.
        """
        self.assertEqual(["220 example.org ESMTP POST ready"], self.connect(hello=False).greeting)

    def test_offers(self) -> None:
        """
        On loopback all is offered that works; after logging in, no more AUTH.
        """
        self.factory = self.port(tls=TLS)
        client = self.connect(hello=False)
        common = ["250-example.org", "250-PIPELINING", "250-8BITMIME", "250-SIZE 5000"]
        end = ["250 ENHANCEDSTATUSCODES"]
        self.assertEqual([*common, "250-STARTTLS", "250-AUTH PLAIN LOGIN", *end], self.offers(client))
        client.say(LOGIN)
        self.assertEqual([*common, "250-STARTTLS", *end], self.offers(client))

    def test_offers_outside(self) -> None:
        """
        To a client on another machine AUTH is offered, and taken, only under TLS.
        """
        self.factory = self.port(tls=TLS)
        client = self.connect(login=False, peer="192.0.2.7")
        self.assertNotIn("AUTH", " ".join(self.offers(client)))
        self.assertEqual([538], client.codes(LOGIN))
        self.assertEqual([], self.accounts.judged)
        self.assertEqual([220], client.codes(b"STARTTLS\r\n"))
        self.assertIn("250-AUTH PLAIN LOGIN", self.offers(client))
        self.assertEqual([235], client.codes(LOGIN))

    def test_offers_under_tls(self) -> None:
        """
        With TLS from the first octet, there is no STARTTLS, and AUTH for everybody.
        """
        self.factory = self.port(implicit=True)
        client = self.connect(hello=False, peer="192.0.2.7")
        self.assertNotIn("STARTTLS", " ".join(self.offers(client)))
        self.assertEqual([503, 235], client.codes(b"STARTTLS\r\n" + LOGIN))

    def test_old(self) -> None:
        """
        HELO is answered in one line and has no extensions, so no AUTH.
        """
        client = self.connect(hello=False)
        self.assertEqual(["250 example.org"], client.say(b"HELO desk\r\n"))
        self.assertEqual([503], client.codes(LOGIN))

    def test_nameless(self) -> None:
        """
        Whoever says hello says a name.
        """
        self.assertEqual([501, 501, 503], self.connect(hello=False).codes(b"EHLO\r\nHELO  \r\nMAIL FROM:<>\r\n"))

    def test_small_talk(self) -> None:
        """
        What needs neither login nor name is answered; what is unknown is said to be so.
        """
        said = b"NOOP\r\nnoop x\r\nRSET\r\nVRFY bob\r\nHELP\r\nEXPN list\r\n\r\nQUIT\r\n"
        client = self.connect(hello=False)
        self.assertEqual([250, 250, 250, 252, 214, 500, 500, 221], client.codes(said))
        self.assertTrue(client.wire.disconnecting)


class MessageTests(SubmissionCase):
    """
    A message on its way in.
    """

    def test_message(self) -> None:
        """
        250 is said when the message has been submitted, not before.
        """
        client = self.connect()
        self.assertEqual([250, 250, 354], client.codes(ENVELOPE))
        self.accounts.gate.closed = True
        self.assertEqual([], client.say(b"Subject: x\r\n\r\n..\r\n.\r\n"))
        self.accounts.gate.let_one()
        self.assertEqual(["250 2.0.0 Kept by the ring as m1."], client.heard())
        self.assertEqual([(ALICE, ["bob@example.org"], b"Subject: x\r\n\r\n.\r\n")], self.taken)

    def test_trace(self) -> None:
        """
        The Received field says how and when it came, and nothing that the client says can break it.
        """
        client = self.connect(login=False)
        client.say(b"EHLO a(b\x00;c\r\n" + LOGIN + ENVELOPE + b".\r\n")
        self.assertEqual(
            [
                b"Received: from a?b??c ([127.0.0.1])\r\n\tby example.org (POST) with ESMTPA;\r\n"
                b"\tFri, 15 Jan 2027 08:00:00 -0000\r\n"
            ],
            self.accounts.alice.traces,
        )

    def test_several(self) -> None:
        """
        One connection takes one message after the other, each with its own recipients.
        """
        client = self.connect()
        self.assertEqual([250, 250, 354, 250], client.codes(ENVELOPE + b"one\r\n.\r\n"))
        self.assertEqual([503, 503], client.codes(b"RCPT TO:<bob@example.org>\r\nDATA\r\n"))
        said = b"MAIL FROM:<>\r\nRCPT TO:<carol@example.org>\r\nRCPT TO:<carol@example.org>\r\nDATA\r\ntwo\r\n.\r\n"
        self.assertEqual([250, 250, 250, 354, 250], client.codes(said))
        self.assertEqual(
            [(ALICE, ["bob@example.org"], b"one\r\n"), ("", ["carol@example.org"], b"two\r\n")], self.taken
        )

    def test_pipelined(self) -> None:
        """
        All at once, with a ring that takes its time: the replies come in order, and each when its command is done.
        """
        client = self.connect()
        self.accounts.gate.closed = True
        said = b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
        heard = [client.codes(said + b"x\r\n.\r\nNOOP\r\n" + ENVELOPE)]
        for _ in range(3):
            self.accounts.gate.let_one()
            heard.append([int(line[:3]) for line in client.heard()])
        self.assertEqual([[250], [250], [250, 354], [250, 250, 250]], heard)
        self.assertEqual([(ALICE, ["a@example.org", "b@example.org"], b"x\r\n")], self.taken)

    def test_order(self) -> None:
        """
        What comes out of order is refused and changes nothing.
        """
        stranger = self.connect(login=False)
        self.assertEqual([530, 503, 503], stranger.codes(ENVELOPE))
        client = self.connect()
        self.assertEqual([503, 503], client.codes(b"RCPT TO:<bob@example.org>\r\nDATA\r\n"))
        self.assertEqual([250, 503, 554], client.codes(b"MAIL FROM:<>\r\nMAIL FROM:<>\r\nDATA\r\n"))
        self.assertEqual([250, 503], client.codes(b"RSET\r\nRCPT TO:<bob@example.org>\r\n"))
        self.assertEqual([250, 250, 503], client.codes(b"MAIL FROM:<>\r\nEHLO desk\r\nRCPT TO:<bob@example.org>\r\n"))
        self.assertEqual([501, 501], client.codes(b"DATA now\r\nSTARTTLS now\r\n"))

    def test_addresses(self) -> None:
        """
        A space before the address, any case, a source route, a parameter: all that is seen in the wild.
        """
        client = self.connect()
        self.assertEqual([250], client.codes(b"mail from: <alice@example.org> body=8bitmime size=10 AUTH=<>\r\n"))
        self.assertEqual([250], client.codes(b"RCPT TO: <@relay.example:bob@example.org>\r\n"))
        self.assertEqual([250], client.codes(b"RCPT TO:<Postmaster>\r\n"))
        self.assertEqual([354, 250], client.codes(b"DATA\r\n.\r\n"))
        self.assertEqual([(ALICE, ["bob@example.org", "Postmaster@example.org"], b"")], self.taken)

    def test_bad_addresses(self) -> None:
        """
        No address, and one that would need SMTPUTF8, which is not offered.
        """
        client = self.connect()
        bad = b"MAIL FROM:bob\r\nMAIL <a@b>\r\nMAIL\r\n"
        self.assertEqual([501, 501, 501], client.codes(bad))
        self.assertEqual([553], client.codes("MAIL FROM:<jürgen@example.org>\r\n".encode()))
        self.assertEqual([555, 250], client.codes(b"MAIL FROM:<> SMTPUTF8\r\nMAIL FROM:<>\r\n"))
        self.assertEqual([501, 501], client.codes(b"RCPT TO:<>\r\nRCPT TO:bob\r\n"))
        self.assertEqual([553, 555], client.codes("RCPT TO:<jürgen@b>\r\nRCPT TO:<a@b> NOTIFY=NEVER\r\n".encode()))

    def test_sender(self) -> None:
        """
        Whoever may not send as that address is told so at once; the RCPTs that were sent along are not mistakes.
        """
        client = self.connect()
        said = b"MAIL FROM:<bob@example.org>\r\n" + b"RCPT TO:<bob@example.org>\r\n" * 2 * ERRORS_LIMIT
        self.assertEqual([550] + [503] * 2 * ERRORS_LIMIT, client.codes(said))
        self.assertFalse(client.wire.disconnecting)

    def test_recipients(self) -> None:
        """
        Each recipient is judged by itself, and the message goes to those that were accepted.
        """
        self.accounts.refuse("nobody@example.org", RecipientUnknown("x"))
        self.accounts.refuse("a@elsewhere.org", RecipientOutside("x"))
        self.accounts.refuse("new@example.org", DirectoryUnavailable("x"))
        client = self.connect()
        client.say(b"MAIL FROM:<alice@example.org>\r\n")
        names = ("nobody@example.org", "a@elsewhere.org", "new@example.org", "bob@example.org")
        heard = [client.say(f"RCPT TO:<{name}>\r\n".encode())[0][:9] for name in names]
        self.assertEqual(["550 5.1.1", "550 5.7.1", "450 4.3.0", "250 2.1.5"], heard)
        client.say(b"DATA\r\n.\r\n")
        self.assertEqual([["bob@example.org"]], [recipients for _, recipients, _ in self.taken])

    def test_too_many_recipients(self) -> None:
        """
        Beyond the limit further ones are put off (RFC 5321, 4.5.3.1.10), and the message goes to the others.
        """
        client = self.connect()
        client.say(b"MAIL FROM:<alice@example.org>\r\n")
        said = b"".join(b"RCPT TO:<u%d@example.org>\r\n" % number for number in range(RECIPIENTS_LIMIT))
        self.assertEqual({250}, set(client.codes(said)))
        self.assertEqual([452, 250], client.codes(b"RCPT TO:<v@example.org>\r\nRCPT TO:<u1@example.org>\r\n"))
        self.assertEqual([354, 250], client.codes(b"DATA\r\n.\r\n"))
        self.assertEqual(RECIPIENTS_LIMIT, len(self.taken[0][1]))

    def test_ring_away(self) -> None:
        """
        A ring that cannot keep the message, or does not answer, is a reason to try again; that works.
        """
        client = self.connect()
        for error in (TooFewReplicas(1, 2), Unreachable("x"), PostError("x")):
            self.accounts.refuse("submit", error)
            self.assertEqual([250, 250, 354, 451], client.codes(ENVELOPE + b"x\r\n.\r\n"))
        self.accounts.alice.errors.clear()
        self.assertEqual([250, 250, 354, 250], client.codes(ENVELOPE + b"x\r\n.\r\n"))

    def test_bug(self) -> None:
        """
        What nobody expected is logged and answered with 451; its text is not for the client.
        """
        self.accounts.alice.errors["submit"] = RuntimeError("hidden")
        client = self.connect()
        client.say(ENVELOPE)
        self.assertEqual(
            ["451 4.3.0 Something is wrong here. Nothing is lost; try again in a moment."], client.say(b".\r\n")
        )
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.assertEqual([250], client.codes(b"NOOP\r\n"))


class DataTests(SubmissionCase):
    """
    What is between DATA and the dot.
    """

    def test_size(self) -> None:
        """
        A message that is announced too large is refused before it is sent.
        """
        client = self.connect()
        self.assertEqual([552], client.codes(b"MAIL FROM:<> SIZE=5001\r\n"))
        self.assertEqual([552], client.codes(b"MAIL FROM:<> SIZE=99999999999999999999\r\n"))
        self.assertEqual(
            [501, 501, 555], client.codes(b"MAIL FROM:<> SIZE=x\r\nMAIL FROM:<> SIZE\r\nMAIL FROM:<> X=1\r\n")
        )
        self.assertEqual([250], client.codes(b"MAIL FROM:<> SIZE=5000\r\n"))

    def test_too_large(self) -> None:
        """
        One that is not announced is read to its end, then refused; the connection goes on where it was.
        """
        client = self.connect()
        client.say(ENVELOPE)
        for _ in range(20):
            self.assertEqual([], client.say(b"QUIT\r\n" * 100))
        self.assertEqual([552, 250, 250, 354], client.codes(b".\r\n" + ENVELOPE))
        self.assertEqual([], self.taken)

    def test_smuggled(self) -> None:
        """
        What somebody else might take for an end is none, and the whole message is refused.
        """
        for end in SMUGGLED:
            client = self.connect()
            client.say(ENVELOPE)
            self.assertEqual([], client.say(b"hello" + end + b"MAIL FROM:<bob@example.org>\r\n"), end)
            self.assertEqual([554, 250], client.codes(b"\r\n.\r\nNOOP\r\n"), end)
        self.assertEqual([], self.taken)

    def test_no_room(self) -> None:
        """
        A full disk is a reason to try again, and does not end the connection.
        """
        self.factory = self.port(spool_dir=str(Path(self.mktemp()) / "nowhere"))
        self.factory.size_limit = 2 * MEMORY_BYTES
        client = self.connect()
        client.say(ENVELOPE)
        self.assertEqual([452, 250], client.codes(b"x" * (MEMORY_BYTES + 1) + b"\r\n.\r\nNOOP\r\n"))
        self.assertEqual([], self.taken)

    def test_gone_in_data(self) -> None:
        """
        A message whose end has not come is not sent, and nothing of it is left.
        """
        (directory := Path(self.mktemp())).mkdir()
        self.factory = self.port(spool_dir=str(directory))
        self.factory.size_limit = 2 * MEMORY_BYTES
        client = self.connect()
        before = set(Path("/proc/self/fd").iterdir())
        client.say(ENVELOPE + b"x" * (MEMORY_BYTES + 1) + b"\r\n.")
        client.hang_up()
        self.assertEqual(before, set(Path("/proc/self/fd").iterdir()))
        self.assertEqual(([], [], []), (self.taken, list(directory.iterdir()), self.clock.getDelayedCalls()))

    def test_gone_before_reply(self) -> None:
        """
        A message that was whole is submitted, whether or not anybody waits for the reply.
        """
        self.accounts.gate.closed = True
        for error in (None, Unreachable("x")):
            client = self.connect()
            client.say(b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n")
            self.accounts.gate.let_one()
            client.heard()
            client.say(b"DATA\r\nx\r\n.\r\nNOOP\r\n")
            client.hang_up()
            if error is not None:
                self.accounts.refuse("submit", error)
            self.accounts.gate.let_one()
            self.assertEqual(([], []), (client.heard(), self.clock.getDelayedCalls()))
        self.assertEqual([("", ["bob@example.org"], b"x\r\n")], self.taken)

    @given(
        st.lists(st.binary(max_size=40).map(lambda line: line.translate(None, b"\r\n\0"))),
        st.lists(st.integers(0, 999)),
    )
    def test_exact(self, lines: list[bytes], at: list[int]) -> None:
        """
        What is submitted is what was meant, to the octet, whatever the lines and however the octets came.
        """
        self.setUp()
        client = self.connect()
        client.say(ENVELOPE)
        message = b"".join(line + b"\r\n" for line in lines)
        heard = [code for chunk in cut(stuffed(message), at) for code in client.codes(chunk)]
        self.assertEqual(([250], [message]), (heard, [each for _, _, each in self.taken]))


class TlsTests(SubmissionCase):
    """
    STARTTLS, up to where TLS begins.
    """

    def setUp(self) -> None:
        super().setUp()
        self.factory = self.port(tls=TLS)

    def test_forgotten(self) -> None:
        """
        What was said before TLS may have been said by somebody else: hello, login and message are forgotten.
        """
        client = self.connect()
        client.say(b"MAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n")
        self.assertEqual(["220 2.0.0 Go ahead."], client.say(b"STARTTLS\r\n"))
        self.assertEqual([TLS], client.wire.tls)
        self.assertEqual([503, 503], client.codes(b"DATA\r\nMAIL FROM:<>\r\n"))
        self.assertEqual([503, 250, 530], client.codes(LOGIN + b"EHLO desk\r\nMAIL FROM:<>\r\n"))
        self.assertEqual([235, 503], client.codes(LOGIN + b"STARTTLS\r\n"))
        client.say(ENVELOPE + b".\r\n")
        self.assertIn(b"with ESMTPSA;", self.accounts.alice.traces[0])

    def test_injected(self) -> None:
        """
        A command behind STARTTLS is not answered under TLS: the connection ends.
        """
        client = self.connect(login=False)
        self.assertEqual([], client.say(b"STARTTLS\r\n" + LOGIN))
        self.assertEqual(([], True), (client.wire.tls, client.wire.disconnected))
        self.assertEqual([], self.accounts.judged)
        self.assertEqual([], client.say(b"NOOP\r\n"))

    def test_injected_in_part(self) -> None:
        """
        Not even a part of one.
        """
        client = self.connect(login=False)
        self.assertEqual([], client.say(b"STARTTLS\r\nM"))
        self.assertEqual(([], True), (client.wire.tls, client.wire.disconnected))


class LoginTests(SubmissionCase):
    """
    AUTH.
    """

    def test_ways(self) -> None:
        """
        PLAIN and LOGIN, with and without the first answer at once, by name and by address.
        """
        whole, name, password = base64(b"\0alice\0secret"), base64(ALICE.encode()), base64(PASSWORD)
        ways = (
            [(b"AUTH PLAIN " + whole, 235)],
            [(b"auth plain", 334), (whole, 235)],
            [(b"AUTH PLAIN " + base64(ALICE.encode() + b"\0" + ALICE.encode() + b"\0secret"), 235)],
            [(b"AUTH LOGIN", 334), (name, 334), (password, 235)],
            [(b"AUTH LOGIN " + name, 334), (password, 235)],
        )
        for way in ways:
            client = self.connect(login=False)
            self.assertEqual([code for _, code in way], [client.codes(line + b"\r\n")[0] for line, _ in way])
            self.assertEqual([250], client.codes(b"MAIL FROM:<alice@example.org>\r\n"))

    def test_prompts(self) -> None:
        """
        LOGIN asks as everybody asks.
        """
        client = self.connect(login=False)
        self.assertEqual(["334 VXNlcm5hbWU6"], client.say(b"AUTH LOGIN\r\n"))
        self.assertEqual(["334 UGFzc3dvcmQ6"], client.say(b"YWxpY2U=\r\n"))

    def test_mistakes(self) -> None:
        """
        What is no answer ends the exchange, and the next line is a command again.
        """
        for said in (
            b"AUTH\r\n",
            b"AUTH PLAIN\r\n*\r\n",
            b"AUTH LOGIN\r\n*\r\n",
            b"AUTH LOGIN\r\nYWxpY2U=\r\n*\r\n",
            b"AUTH PLAIN\r\n\r\n",
            b"AUTH PLAIN =\r\n",
            b"AUTH PLAIN !!!\r\n",
            b"AUTH PLAIN YWxpY2U\r\n",
            b"AUTH PLAIN " + base64(b"bob\0alice\0secret") + b"\r\n",
            b"AUTH PLAIN " + base64(b"\0\xff\0secret") + b"\r\n",
            b"AUTH PLAIN " + base64(b"\0alice") + b"\r\n",
            b"AUTH LOGIN /w==\r\n",
            b"AUTH CRAM-MD5\r\n",
            b"AUTH PLAIN\r\n" + b"A" * LINE_LIMIT + b"\r\n",
            b"AUTH LOGIN\r\n" + b"A" * LINE_LIMIT + b"\r\n",
            b"AUTH PLAIN " + b"A" * LINE_LIMIT + b"\r\n",
        ):
            client = self.connect(login=False)
            *first, last = client.codes(said)
            self.assertEqual((set(), 5), (set(first) - {334}, last // 100), said)
            self.assertEqual([250, 235], client.codes(b"NOOP\r\n" + LOGIN), said)
        self.assertEqual({("alice", PASSWORD)}, set(self.accounts.judged))

    def test_once(self) -> None:
        """
        Nobody logs in twice, or in the middle of a message.
        """
        client = self.connect()
        self.assertEqual([503], client.codes(LOGIN))

    def test_not_open(self) -> None:
        """
        A mailbox that is not open yet is no wrong password.
        """
        self.accounts.ready = False
        client = self.connect(login=False)
        self.assertEqual([454], client.codes(LOGIN))
        self.accounts.ready = True
        self.assertEqual([235], client.codes(LOGIN))

    def test_bug(self) -> None:
        """
        A failure while a password is judged lets nobody in, is logged, and does not take a place for good.
        """
        self.accounts.error = RuntimeError("broken")
        client = self.connect(login=False)
        for _ in range(PLACES + 1):
            self.assertEqual([451, 530], client.codes(LOGIN + b"MAIL FROM:<>\r\n"))
        self.assertEqual(PLACES + 1, len(self.flushLoggedErrors(RuntimeError)))

    def test_wrong(self) -> None:
        """
        The answer to a wrong password is kept back, each time for longer, and the last one ends the connection.
        """
        client = self.connect(login=False)
        for number in range(LOGINS_LIMIT):
            delay_s = DELAY_S * 2**number
            self.assertEqual([], client.codes(WRONG))
            self.clock.advance(delay_s - 0.01)
            self.assertEqual([], client.heard())
            self.clock.advance(0.01)
            self.assertEqual(["535 5.7.8 Wrong name or password."], client.heard())
        self.assertTrue(client.wire.disconnecting)

    def test_others_go_on(self) -> None:
        """
        While one answer is kept back, others from the same place log in and send.
        """
        guesser = self.connect(login=False)
        self.assertEqual([], guesser.codes(WRONG))
        client = self.connect()
        self.assertEqual([250, 250, 354, 250], client.codes(ENVELOPE + b".\r\n"))
        self.assertEqual([], guesser.heard())

    def test_many_guesses(self) -> None:
        """
        Guessing in many connections, and going away before the answer, does not help: when all places of a source are
        taken, no further password of it is looked at before one is free.  Other sources do not notice.
        """
        for number in range(PLACES):
            guesser = self.connect(login=False)
            guesser.say(WRONG)
            if number % 2:
                guesser.hang_up()
        client = self.connect(login=False)
        self.assertEqual([], client.codes(LOGIN))
        self.assertEqual(PLACES, len(self.accounts.judged))
        self.factory.implicit_tls = True
        self.connect(peer="192.0.2.7")
        self.clock.advance(DELAY_S)
        self.assertEqual(["235 2.7.0 Welcome."], client.heard())

    def test_many_at_once(self) -> None:
        """
        No more passwords of one source are judged at once than it has places.
        """
        self.accounts.door.closed = True
        clients = [self.connect(login=False) for _ in range(PLACES + 5)]
        for client in clients:
            client.say(LOGIN)
        self.assertEqual(PLACES, len(self.accounts.judged))
        while self.accounts.door.waiting:
            self.accounts.door.let_one()
            self.clock.advance(DELAY_S)
        self.assertEqual([["235 2.7.0 Welcome."]] * (PLACES + 5), [client.heard() for client in clients])

    def test_gone(self) -> None:
        """
        Whoever goes away leaves nothing waiting, at whatever point that is.
        """
        self.accounts.door.closed = True
        judged, kept, waiting = (self.connect(login=False) for _ in range(3))
        judged.say(WRONG)
        kept.say(WRONG)
        self.accounts.door.waiting.pop().callback(None)
        for _ in range(PLACES - 2):
            self.factory.throttle.begin("127.0.0.1")
        waiting.say(WRONG)
        for client in (judged, kept, waiting):
            client.hang_up()
        self.accounts.door.let_one()
        self.clock.advance(0)
        self.assertEqual(([], 2), (self.clock.getDelayedCalls(), len(self.accounts.judged)))

    def test_pipelined(self) -> None:
        """
        What is sent behind AUTH waits for its outcome.
        """
        self.accounts.door.closed = True
        client = self.connect(login=False)
        self.assertEqual([], client.codes(LOGIN + b"MAIL FROM:<>\r\n"))
        self.accounts.door.let_one()
        self.assertEqual(["235 2.7.0 Welcome.", "250 2.1.0 Ok."], client.heard())


class SecrecyTests(SubmissionCase):
    """
    What is logged.
    """

    def test_logs(self) -> None:
        """
        Whatever goes wrong, no password and nothing of a message is in the log.
        """
        with capturedLogs() as events:
            client = self.connect(login=False)
            client.say(WRONG)
            self.clock.advance(DELAY_S)
            self.accounts.error = RuntimeError("broken")
            client.say(LOGIN)
            self.accounts.error = None
            client.say(LOGIN)
            for error in (RuntimeError("broken"), PostError("odd")):
                self.accounts.alice.errors["submit"] = error
                self.assertEqual([250, 250, 354, 451], client.codes(ENVELOPE + b"Subject: private\r\n.\r\n"))
            client.hang_up()
        logged = "\n".join(eventAsText(event) for event in events)
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))
        self.assertIn("a message failed: PostError", logged)
        encoded = [each.split()[-1].decode() for each in (LOGIN, WRONG)]
        for secret in (PASSWORD.decode(), "guess", *encoded, "private"):
            self.assertNotIn(secret, logged)


class LimitTests(SubmissionCase):
    """
    What is too much.
    """

    def test_stopped(self) -> None:
        """
        When there is no more time, who is in the middle of a message is told to send it again, and others that it ends.
        """
        busy, idle = self.connect(), self.connect()
        busy.say(b"EHLO x\r\n" + LOGIN + ENVELOPE + b"Subject: half\r\n")
        self.assertEqual([True, False], [each.protocol.occupied for each in (busy, idle)])
        self.factory.stop_all()
        self.assertTrue(busy.heard()[-1].startswith("451 4.3.2"))
        self.assertTrue(idle.heard()[-1].startswith("421 4.3.2"))

    def test_errors(self) -> None:
        """
        After too many bad commands the connection ends.
        """
        client = self.connect()
        heard = client.codes(b"WHAT\r\n" * (ERRORS_LIMIT + 5))
        self.assertEqual([500] * ERRORS_LIMIT + [421], heard)
        self.assertTrue(client.wire.disconnecting)

    def test_errors_forgiven(self) -> None:
        """
        A mail program that sends mail may go on making the same mistake.
        """
        client = self.connect()
        for _ in range(ERRORS_LIMIT):
            self.assertEqual([500, 500, 250, 250, 354, 250], client.codes(b"X\r\nY\r\n" + ENVELOPE + b".\r\n"))

    def test_commands(self) -> None:
        """
        Talking without end and sending nothing ends the connection.
        """
        client = self.connect()
        heard = [code for _ in range(11) for code in client.codes(b"NOOP\r\n" * (COMMANDS_LIMIT // 10))]
        self.assertEqual(([250], 421), (sorted(set(heard[:-1])), heard[-1]))
        self.assertTrue(client.wire.disconnecting)

    def test_browser(self) -> None:
        """
        A web page that makes a browser speak to us gets no further than the first line, whatever it puts behind it.
        """
        for verb in (b"POST / HTTP/1.1", b"GET / HTTP/1.1", b"options *"):
            client = self.connect(hello=False)
            self.assertEqual([554], client.codes(verb + b"\r\nHost: localhost\r\n\r\nEHLO x\r\n" + LOGIN + ENVELOPE))
            self.assertTrue(client.wire.disconnecting)
        self.assertEqual([], self.accounts.judged)

    def test_long_line(self) -> None:
        """
        A line without end is one mistake, and no part of it is a command.
        """
        client = self.connect(login=False)
        self.assertEqual([], client.codes(b"NOOP " + b"x" * LINE_LIMIT))
        self.assertEqual([500, 250], client.codes(b"\r\nNOOP\r\n"))

    def test_idle(self) -> None:
        """
        Whoever says nothing for long is told so, and the connection ends, even if the client does not end its side.
        """
        client = self.connect()
        self.clock.advance(IDLE_S - 1)
        client.say(b"NOOP\r\n")
        self.clock.advance(IDLE_S - 1)
        self.assertEqual([], client.heard())
        self.clock.advance(1)
        self.assertEqual(["421 4.4.2 Idle for too long."], client.heard())
        self.assertEqual((True, False), (client.wire.disconnecting, client.wire.disconnected))
        self.clock.advance(LINGER_S)
        self.assertTrue(client.wire.disconnected)

    def test_patience(self) -> None:
        """
        Nobody is idle who is waiting for us.
        """
        client = self.connect()
        client.say(ENVELOPE)
        self.accounts.gate.closed = True
        client.say(b".\r\n")
        self.clock.advance(2 * IDLE_S)
        self.accounts.gate.let_one()
        self.assertEqual(["250 2.0.0 Kept by the ring as m1."], client.heard())

    def test_after_quit(self) -> None:
        """
        Whatever comes behind QUIT is not looked at, and does not keep the connection.
        """
        client = self.connect()
        self.assertEqual([221], client.codes(b"QUIT\r\nNOOP\r\n"))
        for _ in range(3):
            self.assertEqual([], client.say(b"NOOP\r\n" * 1000))
            self.clock.advance(LINGER_S / 3)
        self.assertTrue(client.wire.disconnected)
        client.hang_up()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_ahead(self) -> None:
        """
        A client that sends without waiting is not read beyond a bound, until what it sent has been worked on.
        """
        client = self.connect()
        client.say(b"MAIL FROM:<>\r\n")
        self.accounts.gate.closed = True
        client.say(b"RCPT TO:<bob@example.org>\r\n")
        client.say(b"NOOP " + b"x" * 2000 + b"\r\n")
        self.assertEqual("producing", client.wire.producerState)
        for _ in range(BUFFER_LIMIT // 2000):
            client.say(b"NOOP " + b"x" * 2000 + b"\r\n")
        self.assertEqual("paused", client.wire.producerState)
        self.accounts.gate.let_one()
        self.assertEqual({"250"}, {line[:3] for line in client.heard()})
        self.assertEqual("producing", client.wire.producerState)

    def test_deaf(self) -> None:
        """
        A client that does not read its replies gets no more of them, nor is it read, until it does.
        """
        client = self.connect()
        said = b"NOOP " + b"x" * 1000 + b"\r\n"
        client.protocol.pauseProducing()
        self.assertEqual([], client.codes(said * (BUFFER_LIMIT // len(said))))
        self.assertEqual("producing", client.wire.producerState)
        self.assertEqual([], client.codes(said))
        self.assertEqual("paused", client.wire.producerState)
        client.protocol.resumeProducing()
        self.assertEqual({"250 2.0.0 Ok."}, set(client.heard()))
        self.assertEqual("producing", client.wire.producerState)

    def test_connections(self) -> None:
        """
        When there are too many connections, the oldest in which nobody has logged in makes room; if there is none, the
        new one is not taken.
        """
        self.patch(submission, "CONNECTIONS_LIMIT", 3)
        first, second, third = self.connect(), self.connect(login=False), self.connect()
        fourth = self.connect(login=False)
        second.hang_up()
        self.assertEqual([False, True, False], [each.wire.disconnected for each in (first, second, third)])
        fourth.say(LOGIN)
        self.assertIsNone(self.factory.buildProtocol(None))
        self.assertGreater(CONNECTIONS_LIMIT, 100)

    def test_stop(self) -> None:
        """
        When the node is stopped, every client is told to come back.
        """
        client, busy = self.connect(), self.connect()
        busy.say(ENVELOPE)
        self.accounts.gate.closed = True
        busy.say(b".\r\n")
        self.factory.stop_all()
        for each, code in ((client, 421), (busy, 451)):
            self.assertEqual(f"{code} 4.3.2", each.heard()[0][:9])
            self.assertTrue(each.wire.disconnecting)


TALK = [
    b"EHLO desk\r\n",
    b"HELO desk\n",
    LOGIN,
    b"AUTH LOGIN\r\n",
    base64(b"alice") + b"\r\n",
    base64(PASSWORD) + b"\r\n",
    b"*\r\n",
    b"MAIL FROM:<alice@example.org> SIZE=20\r\n",
    b"RCPT TO:<bob@example.org>\r\n",
    b"RCPT TO:<nobody@example.org>\r\n",
    b"DATA\r\n",
    b"..dot\r\n",
    b"bare\n.\r\n",
    b".\r\n",
    b"NOOP\r\n",
    b"RSET\r\n",
    b"x" * LINE_LIMIT + b"\r\n",
    b"\xff\0\r\n",
    b"y" * SIZE_LIMIT,
]
talks = st.lists(st.sampled_from(TALK), max_size=25).map(b"".join)


class PropertyTests(SubmissionCase):
    """
    What holds whatever the client says.
    """

    def talk(self, chunks: list[bytes], login: bool) -> tuple[list[str], list[tuple[str, list[str], bytes]]]:
        """
        What is answered to C{chunks} in a new connection, and what was submitted.
        """
        self.setUp()
        self.accounts.refuse("nobody@example.org", RecipientUnknown("x"))
        client = self.connect(hello=login)
        heard = [line for chunk in chunks for line in client.say(chunk)]
        client.hang_up()
        self.assertEqual([], self.clock.getDelayedCalls())
        return heard, self.taken

    @given(talks, st.lists(st.integers(0, 20_000), max_size=30), st.booleans())
    def test_chunks(self, said: bytes, at: list[int], login: bool) -> None:
        """
        The same is answered and the same submitted, however the octets come in.
        """
        self.assertEqual(self.talk([said], login), self.talk(cut(said, at), login))

    @given(talks, st.booleans())
    def test_octets(self, said: bytes, login: bool) -> None:
        """
        Even one by one.
        """
        said = said.replace(b"y" * SIZE_LIMIT, b"y" * 20).replace(b"x" * LINE_LIMIT, b"x" * 20)
        octets = [said[index : index + 1] for index in range(len(said))]
        self.assertEqual(self.talk([said], login), self.talk(octets, login))

    @given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from(TALK)), max_size=20), st.booleans())
    def test_anything(self, chunks: list[bytes], login: bool) -> None:
        """
        Nothing that a client can say raises, and every line of the answer is a reply.
        """
        heard, _ = self.talk(chunks, login)
        self.assertEqual([], [line for line in heard if not line[:3].isdigit() or line[3] not in " -"])
