"""
IMAP over sockets, with the client of the standard library: what no double can show.
"""

from __future__ import annotations

import imaplib
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from post.front.auth import Throttle
from post.front.certificate import mail_certificate
from post.front.imap.server import ImapFactory
from tests.front.imap.doubles import SIMPLE, SIZE_LIMIT, FakeAccounts, FakeMailbox

LARGE = b"Subject: large\r\n\r\n" + bytes(range(1, 256)).replace(b"\n", b"").replace(b"\r", b"") * 10_000


def _reactor() -> Any:  # TCP and time.
    from twisted.internet import reactor

    return reactor


class SocketTests(TestCase):
    """
    Tests for a real connection.
    """

    timeout = 30

    def setUp(self) -> None:
        self.reactor = _reactor()
        directory = Path(self.mktemp())
        directory.mkdir()
        tls = mail_certificate(directory, int(self.reactor.seconds()))
        self.mailbox = FakeMailbox(Clock())
        self.factory = ImapFactory(
            FakeAccounts(self.mailbox), self.reactor, Throttle(self.reactor), tls, False, SIZE_LIMIT
        )
        self.port = self.reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.context = ssl.create_default_context(cafile=str(directory / "mail.pem"))

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]  # Trial waits for it.
        self.factory.stop_all()
        stopped: Deferred[None] = self.port.stopListening()
        return stopped

    def with_client(self, work: Callable[[imaplib.IMAP4], None]) -> Deferred[None]:
        """
        Do C{work} in a thread, with a client.
        """

        def run() -> None:
            with imaplib.IMAP4("127.0.0.1", self.port.getHost().port, timeout=20) as client:
                work(client)

        return deferToThread(run)

    def test_imaplib(self) -> Deferred[None]:
        """
        Log in, make a folder, append, search, fetch, mark, move and delete.
        """

        def work(client: imaplib.IMAP4) -> None:
            client.login("alice", "secret")
            self.assertEqual(("OK", [b"Created."]), client.create("Work"))
            self.assertIn(b"APPENDUID", client.append("Work", "(\\Flagged)", "", SIMPLE)[1][0])
            client.append("Work", "", "", LARGE)
            self.assertEqual(("OK", [b"2"]), client.select("Work"))
            self.assertEqual(("OK", [b"1"]), client.search(None, "FLAGGED", "SUBJECT", "hello"))
            fetched = client.fetch("1:2", "(UID BODY.PEEK[])")[1]
            self.assertEqual([SIMPLE, LARGE], [each[1] for each in fetched if isinstance(each, tuple)])
            self.assertEqual([b"1 (FLAGS (\\Flagged \\Seen))"], client.store("1", "+FLAGS", "\\Seen")[1])
            self.assertEqual("OK", client.uid("MOVE", "1", "Trash")[0])
            self.assertEqual(("OK", [b"1"]), client.select("Trash"))
            self.assertEqual(("OK", [b"Renamed."]), client.rename("Work", "Play"))
            self.assertIn(b'(\\HasNoChildren) "/" "Play"', client.list()[1])

        return self.with_client(work)

    def test_starttls(self) -> Deferred[None]:
        """
        STARTTLS with the certificate that we make ourselves, checked; a large message comes whole through it.
        """
        self.mailbox.receive(LARGE)

        def work(client: imaplib.IMAP4) -> None:
            client.starttls(self.context)
            client.login("alice", "secret")
            client.select("INBOX")
            self.assertEqual(LARGE, client.fetch("1", "(BODY[])")[1][0][1])  # type: ignore[index]

        return self.with_client(work)
