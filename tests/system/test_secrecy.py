"""
The third promise, on real disks: what others keep for alice and bob tells them nothing that they should not know.
"""

from __future__ import annotations

import base64
import imaplib
import smtplib
import sqlite3
import zlib
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.crypto.convergent import conceal_private
from post.messaging.pending import PENDING
from post.past.blocks import CERTIFICATE, CONTENT, PUBLIC_KEY
from tests.system.rings import SECRETS, Ring, place, wait_for

SUBJECT = "Quarterly figures of the Zanzibar branch"
WORDS = (b"rosebud lantern", b"Zanzibar", b"Quarterly", b"kumquat-report.pdf", b"weathercock")
ADDRESSES = (b"alice@example.org", b"bob@example.org", b"alice", b"bob@")
WRONG = "a guess: tulip"
PASSWORDS = (*(secret.encode() for secret in SECRETS.values()), WRONG.encode(), b"tulip")
MESSAGE = (
    f"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: {SUBJECT}\r\n"
    "Message-ID: <kumquat@test.example>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    "--b\r\nContent-Type: text/plain\r\n\r\n"
).encode() + (
    b"rosebud lantern weathercock\r\n" * 4000
    + b"--b\r\nContent-Type: application/pdf; name=kumquat-report.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(b"rosebud lantern weathercock " * 30_000).replace(b"\n", b"\r\n")
    + b"--b--\r\n"
)


class SecrecyTests(SynchronousTestCase):
    """
    Tests of what is on disk after a mail.
    """

    def test_disks(self) -> None:
        """
        No other node has text, subject, file name or address of a message in its directory or log; stored blocks do not
        compress.
        """
        with Ring() as ring:
            ring.stop_node("node2")
            ring.send("alice", "bob", MESSAGE)  # First pending, then delivered: all forms that a mail takes.
            ring.start_node("node2")
            wait_for("the message", lambda: ring.count("bob", SUBJECT))
            self.guess(ring)
            ring.stop()
            kinds: list[int] = []
            for name in ("node3", "node4", "node5"):
                kinds += self.check_files(ring.home(name))
            for name in ("node1", "node2"):
                self.check_log(ring.home(name))
                kinds += self.check_blocks(ring.home(name) / "blocks.sqlite")
            # What lies where is decided by hashes; but somewhere all of it lies.
            self.assertEqual({CONTENT, PUBLIC_KEY, CERTIFICATE, PENDING}, set(kinds))
            self.assertGreater(len(kinds), 20)

    def guess(self, ring: Ring) -> None:
        """
        Somebody mistypes, by each way to log in.
        """
        client = smtplib.SMTP(*place(ring.home_of("bob")["submission"]), timeout=60)
        self.assertRaises(smtplib.SMTPAuthenticationError, client.login, "bob", WRONG)
        client.close()
        with imaplib.IMAP4(*place(ring.home_of("bob")["imap"]), timeout=60) as imap:
            self.assertRaises(imaplib.IMAP4.error, imap.login, "bob", WRONG)
            self.assertEqual("OK", imap.login("bob", SECRETS["bob"])[0])

    def check_files(self, home: Path) -> list[int]:
        """
        A node of somebody else: every file of it; the kinds of its blocks.
        """
        self.check_log(home)
        for path in home.rglob("*"):
            if not path.is_file() or path.name in (
                "directory",
                "blocks.sqlite",
                "blocks.sqlite-wal",
                "blocks.sqlite-shm",
            ):
                continue  # The directory names members openly; the blocks are looked at one by one.
            data = path.read_bytes()
            for word in (*WORDS, *ADDRESSES):
                self.assertNotIn(word, data, path)
        return self.check_blocks(home / "blocks.sqlite")

    def check_log(self, home: Path) -> None:
        """
        Nobody's log tells of what is in messages, or a password, also of those that were wrong.
        """
        log = (home / "node.log").read_bytes()
        for word in (*WORDS, *PASSWORDS, *(base64.b64encode(word) for word in PASSWORDS)):
            self.assertNotIn(word, log)
        if home.name not in ("node1", "node2"):
            for word in ADDRESSES:
                self.assertNotIn(word, log)

    def check_blocks(self, path: Path) -> list[int]:
        """
        Addresses are in certificate and identity blocks (and in the certificates of receipts) alone.  The kinds of all.
        """
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        rows = connection.execute("SELECT kind, data FROM blocks").fetchall()
        connection.close()
        for kind, data in rows:
            for word in WORDS:
                self.assertNotIn(word, data)
            if kind == CONTENT:
                for word in ADDRESSES:
                    self.assertNotIn(word, data)
                self.assertGreaterEqual(len(zlib.compress(data, 9)), 0.99 * len(data))
        return [kind for kind, _ in rows]

    def test_measure(self) -> None:
        """
        The measure would notice cleartext: what is concealed does not compress, what is not does.
        """
        text = b"rosebud lantern weathercock " * 1000
        entropy = iter(range(256))
        _, hidden = conceal_private(text, lambda size: bytes([next(entropy)]) * size)
        self.assertGreaterEqual(len(zlib.compress(hidden, 9)), 0.99 * len(hidden))
        self.assertLess(len(zlib.compress(text, 9)), 0.5 * len(text))
