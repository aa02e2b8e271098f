"""
Tests for L{post.front.service} on real sockets, with a real mail program's library.
"""

from __future__ import annotations

import smtplib
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import TestCase

from post.config import Mail
from post.errors import ConfigError
from post.front.certificate import mail_certificate
from post.front.service import MailServices
from tests.front.accounts import ALICE, PASSWORD, FakeAccounts

NOWHERE = Mail(submission="", submissions="", imap="", imaps="")
ANY = "127.0.0.1:0"
MESSAGE = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nend\r\n"


class MailServicesCase(TestCase):
    """
    Submission, plain and over TLS, on ports of their own.
    """

    timeout = 20

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.accounts = FakeAccounts()
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.tls = mail_certificate(self.directory, int(self.reactor.seconds()))
        self.services = self.make(Mail(submission=ANY, submissions=ANY, imap="", imaps=""))
        self.services.listen()
        self.threads = ThreadPool(0, 2)
        self.threads.start()

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]  # Trial waits for it.
        self.threads.stop()
        return Deferred.fromCoroutine(self.services.stop())

    def make(self, settings: Mail) -> MailServices:
        """
        Services with C{settings}.
        """
        return MailServices(self.reactor, self.accounts, settings, self.tls, 100_000, "example.org")

    def outside(self, work: Callable[[], Any]) -> Deferred[Any]:
        """
        Do something that blocks, as the clients of the standard library do.
        """
        return deferToThreadPool(self.reactor, self.threads, work)

    def trust(self) -> ssl.SSLContext:
        """
        A mail program that has been told to trust our certificate.
        """
        return ssl.create_default_context(cafile=str(self.directory / "mail.pem"))


class SmtplibTests(MailServicesCase):
    """
    Sending with L{smtplib}.
    """

    async def send(self, connect: Callable[[], smtplib.SMTP]) -> None:
        """
        Log in, send, and see that the message has come to the octet.
        """

        def work() -> None:
            with connect() as client:
                client.login("alice", PASSWORD.decode())
                client.sendmail(ALICE, ["bob@example.org", "carol@example.org"], MESSAGE)

        await self.outside(work)
        self.assertEqual([(ALICE, ["bob@example.org", "carol@example.org"], MESSAGE)], self.accounts.alice.taken)

    def start_tls(self) -> smtplib.SMTP:
        """
        A connection after STARTTLS.
        """
        client = smtplib.SMTP("localhost", self.services.bound["submission"][1], timeout=10)
        client.starttls(context=self.trust())
        return client

    async def test_plain(self) -> None:
        """
        On this machine it goes without TLS.
        """
        await self.send(lambda: smtplib.SMTP(*self.services.bound["submission"], timeout=10))
        self.assertIn(b"with ESMTPA;", self.accounts.alice.traces[0])

    async def test_starttls(self) -> None:
        """
        STARTTLS, with a certificate that is that of localhost.
        """
        await self.send(self.start_tls)
        self.assertIn(b"with ESMTPSA;", self.accounts.alice.traces[0])

    async def test_tls(self) -> None:
        """
        TLS from the first octet (RFC 8314).
        """
        port = self.services.bound["submissions"][1]
        await self.send(lambda: smtplib.SMTP_SSL("localhost", port, timeout=10, context=self.trust()))
        self.assertIn(b"with ESMTPSA;", self.accounts.alice.traces[0])

    async def test_large(self) -> None:
        """
        A message over the limit is refused in each way, and the connection goes on.
        """

        def work() -> list[int]:
            with self.start_tls() as client:
                client.login("alice", PASSWORD.decode())
                client.mail(ALICE)
                client.rcpt("bob@example.org")
                unannounced = client.data(b"x" * 200_000)
                return [code for code, _ in (unannounced, client.mail(ALICE, ["size=200000"]), client.noop())]

        self.assertEqual([552, 552, 250], await self.outside(work))
        self.assertEqual([], self.accounts.alice.taken)

    async def test_ahead(self) -> None:
        """
        A client that sends far ahead, under TLS, loses nothing: it is held up, and goes on when the ring has answered.
        """
        said = b"RCPT TO:<bob@example.org>\r\n" + (b"NOOP " + b"x" * 1000 + b"\r\n") * 3000 + b"QUIT\r\n"

        def work() -> bytes:
            client = self.start_tls()
            client.login("alice", PASSWORD.decode())
            client.mail(ALICE)
            assert client.sock is not None and client.file is not None
            client.sock.sendall(said)
            heard: bytes = client.file.read()
            client.close()
            return heard

        self.accounts.gate.closed = True
        answered = self.outside(work)
        await self.accounts.gate.reached
        self.accounts.gate.let_one()
        self.assertEqual(b"250 2.1.5 Ok.\r\n" + b"250 2.0.0 Ok.\r\n" * 3000 + b"221 2.0.0 Goodbye.\r\n", await answered)

    async def test_much_said(self) -> None:
        """
        A client that asks for more than it reads gets every reply in the end, under TLS and without.
        """

        def work(client: smtplib.SMTP) -> int:
            assert client.sock is not None
            client.ehlo()
            client.sock.sendall(b"EHLO desk\r\n" * 9000 + b"QUIT\r\n")
            assert client.file is not None
            heard: bytes = client.file.read()
            client.close()
            self.assertTrue(heard.endswith(b"\r\n221 2.0.0 Goodbye.\r\n"))
            return heard.count(b"250 ENHANCEDSTATUSCODES\r\n")

        self.assertEqual(9000, await self.outside(lambda: work(self.start_tls())))
        bound = self.services.bound["submission"]
        self.assertEqual(9000, await self.outside(lambda: work(smtplib.SMTP(*bound, timeout=10))))


class SocketTests(MailServicesCase):
    """
    What no library would do.
    """

    def exchange(self, *said: bytes) -> bytes:
        """
        Say each of C{said} after having heard something, and return what is heard until the end.
        """
        with socket.create_connection(self.services.bound["submission"], timeout=10) as client:
            heard = client.recv(4096)
            for each in said:
                client.sendall(each)
                heard += (last := client.recv(4096))
            while last:
                try:
                    last = client.recv(4096)
                except ConnectionResetError:
                    break
                heard += last
            return heard

    async def test_injected(self) -> None:
        """
        What comes with STARTTLS in one segment ends the connection, and is not answered.
        """
        heard = await self.outside(lambda: self.lose(b"EHLO x\r\n", b"STARTTLS\r\nNOOP\r\n"))
        self.assertEqual((True, False), (heard.endswith(b"ENHANCEDSTATUSCODES\r\n"), b"2.0.0" in heard))

    def lose(self, *said: bytes) -> bytes:
        """
        The same, where the server may end at once.
        """
        with socket.create_connection(self.services.bound["submission"], timeout=10) as client:
            heard = client.recv(4096)
            for each in said:
                client.sendall(each)
                try:
                    heard += client.recv(4096)
                except ConnectionResetError:
                    break
            return heard

    async def test_injected_later(self) -> None:
        """
        What comes after the go-ahead but is no TLS ends the connection too.
        """
        heard = await self.outside(lambda: self.exchange(b"EHLO x\r\n", b"STARTTLS\r\n", b"NOOP\r\nNOOP\r\n"))
        self.assertEqual(1, heard.count(b"2.0.0 "))

    async def test_stop(self) -> None:
        """
        When the services stop, clients are told so and ports are free.
        """

        def work() -> bytes:
            with socket.create_connection(bound, timeout=10) as client:
                client.recv(4096)
                self.reactor.callFromThread(stopping.callback, None)
                return client.recv(4096)

        bound = self.services.bound["submission"]
        stopping: Deferred[None] = Deferred()
        stopping.addCallback(lambda _: Deferred.fromCoroutine(self.services.stop()))
        heard = await self.outside(work)
        await stopping
        self.assertEqual(b"421 4.3.2", heard[:9])
        with self.assertRaises(ConnectionRefusedError):
            await self.outside(lambda: socket.create_connection(bound, timeout=10))

    async def test_drained(self) -> None:
        """
        Who is in the middle of a message when the services stop can send the rest, and has the answer to it.
        """

        def work() -> list[bytes]:
            with socket.create_connection(bound, timeout=10) as client, client.makefile("rb") as lines:
                client.sendall(b"EHLO x\r\nAUTH PLAIN " + login + b"\r\n")
                client.sendall(
                    b"MAIL FROM:<alice@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\nSubject: half\r\n"
                )
                while not lines.readline().startswith(b"354 "):
                    pass
                self.reactor.callFromThread(stopping.callback, None)
                for _ in range(200):
                    try:
                        socket.create_connection(bound, timeout=10).close()
                    except ConnectionRefusedError:
                        break
                    except ConnectionResetError:
                        continue  # It was in the queue of the port that was closed.
                client.sendall(b"\r\nrest\r\n.\r\n")
                return [lines.readline()[:9], lines.readline()[:9], lines.readline()]

        login = b64encode(f"\0alice\0{PASSWORD.decode()}".encode())
        bound = self.services.bound["submission"]
        stopping: Deferred[None] = Deferred()
        stopping.addCallback(lambda _: Deferred.fromCoroutine(self.services.stop()))
        heard = await self.outside(work)
        await stopping
        self.assertEqual([b"250 2.0.0", b"421 4.3.2", b""], heard)
        self.assertEqual([b"Subject: half\r\n\r\nrest\r\n"], [message for _, _, message in self.accounts.alice.taken])


class ListenTests(MailServicesCase):
    """
    Tests for L{MailServices.listen}.
    """

    async def test_off(self) -> None:
        """
        What is turned off is not there.
        """
        services = self.make(NOWHERE)
        services.listen()
        self.assertEqual({}, services.bound)
        await services.stop()

    async def test_taken(self) -> None:
        """
        A port that somebody has is named, with the setting; what was taken before is let go by L{MailServices.stop}.
        """
        taken = "{}:{}".format(*self.services.bound["submission"])
        services = self.make(Mail(submission=ANY, submissions=taken, imap="", imaps=""))
        with self.assertRaises(ConfigError) as caught:
            services.listen()
        self.assertEqual("mail.submissions", caught.exception.where)
        self.assertIn(taken, caught.exception.reason)
        await services.stop()

    async def test_all(self) -> None:
        """
        All six are there if they are set, IMAP and POP3 too.
        """

        def greeting(name: str) -> bytes:
            address = services.bound[name]
            with socket.create_connection(address, timeout=10) as client:
                if not name.endswith("s"):
                    return client.recv(4)
                with self.trust().wrap_socket(client, server_hostname="localhost") as wrapped:
                    return wrapped.recv(4)

        services = self.make(Mail(submission=ANY, submissions=ANY, imap=ANY, imaps=ANY, pop3=ANY, pop3s=ANY))
        services.listen()
        names = ("submission", "submissions", "imap", "imaps", "pop3", "pop3s")
        heard = await self.outside(lambda: [greeting(name) for name in names])
        await services.stop()
        self.assertEqual([b"220 ", b"220 ", b"* OK", b"* OK", b"+OK ", b"+OK "], heard)
