"""
POP3 over sockets, with the client of the standard library: what no double can show.
"""

from __future__ import annotations

import poplib
import select
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from post.config import Mail
from post.front.certificate import mail_certificate
from post.front.service import MailServices
from tests.front.imap.doubles import SIZE_LIMIT, FakeAccounts, FakeMailbox
from tests.front.pop3.doubles import DOTS, SIMPLE

LARGE = b"Subject: large\r\n\r\n" + (b"." * 70 + b"\r\n.\r\n\xff\0\r\n") * 40_000


def exchange(sock: socket.socket, said: bytes) -> bytes:
    """
    Send C{said} while reading, until the other side ends; all that it said.  In one thread, because a TLS connection
    of the standard library must not be used by two.
    """
    sock.setblocking(False)
    heard, rest = bytearray(), memoryview(said)
    while True:
        moved = False
        if rest:
            try:
                rest = rest[sock.send(rest[:16_384]) :]
                moved = True
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pass
        try:
            piece = sock.recv(1 << 20)
            if not piece:
                return bytes(heard)
            heard += piece
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if not moved and not any(select.select([sock], [sock] if rest else [], [], 20)):
                raise TimeoutError("silent for 20 s") from None


def _reactor() -> Any:  # TCP and time.
    from twisted.internet import reactor

    return reactor


class SocketTests(TestCase):
    """
    Tests for a real connection.
    """

    timeout = 30

    def setUp(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        reactor = _reactor()
        tls = mail_certificate(directory, int(reactor.seconds()))
        self.mailbox = FakeMailbox(Clock())
        for message in (SIMPLE, DOTS, LARGE):
            self.mailbox.receive(message)
        anywhere = "127.0.0.1:0"
        settings = Mail(submission="", submissions="", imap="", imaps="", pop3=anywhere, pop3s=anywhere)
        self.services = MailServices(reactor, FakeAccounts(self.mailbox), settings, tls, SIZE_LIMIT, "example.org")
        self.services.listen()
        self.context = ssl.create_default_context(cafile=str(directory / "mail.pem"))

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]  # Trial waits for it.
        return Deferred.fromCoroutine(self.services.stop())

    def plain(self) -> poplib.POP3:
        """
        A client at the plain port.
        """
        return poplib.POP3(*self.services.bound["pop3"], timeout=20)

    def starting(self) -> poplib.POP3:
        """
        A client that has started TLS there.
        """
        client = self.plain()
        client.stls(self.context)
        return client

    def secure(self) -> poplib.POP3:
        """
        A client at the port of implicit TLS.
        """
        return poplib.POP3_SSL(*self.services.bound["pop3s"], context=self.context, timeout=20)

    def in_a_thread(self, connect: Callable[[], poplib.POP3]) -> Deferred[None]:
        """
        List, read everything to the octet, see that there is one session at a time, and remove a message.
        """

        def work() -> None:
            client = connect()
            self.assertEqual([], client.capa()["PIPELINING"])
            client.user("alice")
            client.pass_("secret")
            sizes = [len(SIMPLE), len(DOTS), len(LARGE)]
            self.assertEqual((3, sum(sizes)), client.stat())
            self.assertEqual([b"%d %d" % (n, size) for n, size in enumerate(sizes, 1)], client.list()[1])
            for number, message in enumerate((SIMPLE, DOTS, LARGE), 1):
                lines = client.retr(number)[1]
                self.assertEqual(message, b"".join(line + b"\r\n" for line in lines))
            self.assertEqual([b"Subject: dots", b"", b"."], client.top(2, 1)[1])
            with self.assertRaisesRegex(poplib.error_proto, "IN-USE"):
                other = self.plain()
                self.addCleanup(other.close)
                other.user("alice")
                other.pass_("secret")
            client.dele(2)
            self.assertEqual(b"+OK Goodbye.", client.quit())
            again = connect()
            again.user("alice")
            self.assertEqual(b"+OK 2 messages", again.pass_("secret").partition(b",")[0])
            again.quit()

        return deferToThread(work)

    def test_plain(self) -> Deferred[None]:
        """
        On this machine it goes without TLS.
        """
        return self.in_a_thread(self.plain)

    def test_stls(self) -> Deferred[None]:
        """
        After STLS, with the certificate checked.
        """
        return self.in_a_thread(self.starting)

    def test_implicit(self) -> Deferred[None]:
        """
        TLS from the first octet (RFC 8314).
        """
        return self.in_a_thread(self.secure)

    def test_ahead(self) -> Deferred[None]:
        """
        Who sends far ahead, for more than any buffer holds, gets every answer in the end, with TLS and without.
        """

        def work() -> None:
            for connect in (self.plain, self.starting):
                client = connect()
                said = b"USER alice\r\nPASS secret\r\n" + b"RETR 3\r\n" * 20 + b"NOOP\r\n" * 40_000 + b"QUIT\r\n"
                heard = exchange(client.sock, said)
                self.assertEqual(20, heard.count(b"+OK %d octets\r\nSubject: large" % len(LARGE)))
                self.assertTrue(heard.endswith(b".\r\n" + b"+OK\r\n" * 40_000 + b"+OK Goodbye.\r\n"))
                client.close()

        return deferToThread(work)

    def test_injected(self) -> Deferred[None]:
        """
        What comes with STLS in one segment ends the connection, and is not answered.
        """

        def work() -> bytes:
            with socket.create_connection(self.services.bound["pop3"], timeout=10) as client:
                heard = client.recv(100)
                client.sendall(b"STLS\r\nCAPA\r\n")
                try:
                    heard += client.recv(100)
                except ConnectionResetError:
                    pass
                return heard

        return deferToThread(work).addCallback(lambda heard: self.assertEqual(b"+OK POST ready\r\n", heard))
