"""
Mail between two people on two nodes, by the standard library's clients, on real processes.
"""

from __future__ import annotations

import base64
import imaplib
import random
import re
import shutil
import socket
import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from post.past.blocks import CONTENT
from tests.system.rings import SECRETS, Ring, mail, place, untrusting, wait_for

NESTED = (
    b"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: nested\r\n"
    b"Message-ID: <nested@test.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=outer\r\n\r\npreamble\r\n--outer\r\n"
    b"Content-Type: multipart/alternative; boundary=inner\r\n\r\n--inner\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    + "Grüße aus Köln, und ein Punkt allein:\r\n.\r\n..zwei\r\n".encode()
    + b"--inner\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"<p>Gr\xfc\xdfe</p>\r\n--inner--\r\n--outer\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(bytes(range(256)) * 400).replace(b"\n", b"\r\n")
    + b"--outer\r\nContent-Type: message/rfc822\r\n\r\nSubject: within\r\nX-Odd:   spaces \r\n\r\nhello\r\n"
    b"--outer--\r\nepilogue\r\n"
)


def attachment(data: bytes, width: int, sender: str, recipient: str, subject: str) -> bytes:
    """
    A mail with C{data} attached in lines of C{width}.
    """
    coded = base64.b64encode(data)
    lines = b"\r\n".join(coded[at : at + width] for at in range(0, len(coded), width))
    return (
        f"From: {sender}@example.org\r\nTo: {recipient}@example.org\r\nSubject: {subject}\r\n"
        f"Message-ID: <{subject}.{sender}@test.example>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee there.\r\n"
        "--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    ).encode() + (lines + b"\r\n--b--\r\n")


def fetch(client: imaplib.IMAP4, subject: str) -> bytes:
    """
    The one message with this subject in the selected folder, whole.
    """
    numbers = wait_for("the message", lambda: find(client, subject)).split()
    assert len(numbers) == 1, numbers
    data = client.fetch(numbers[0].decode(), "(BODY.PEEK[])")[1][0]
    assert isinstance(data, tuple)
    return data[1]


def find(client: imaplib.IMAP4, subject: str) -> bytes:
    """
    The sequence numbers of the messages with this subject.
    """
    client.noop()
    found: bytes = client.search(None, "SUBJECT", f'"{subject}"')[1][0]
    return found


class MailTests(SynchronousTestCase):
    """
    Tests of one ring, one after the other on the same processes.
    """

    def test_mail(self) -> None:
        """
        What alice sends is what bob gets, to the octet, and everything is still there when all have been restarted.
        """
        with Ring() as ring:
            self.texts(ring)
            self.large(ring)
            self.idle(ring)
            self.shared_attachment(ring)
            before = self.change_folders(ring)
            ring.stop()
            ring.start()
            self.assertEqual(before, self.look(ring))
            self.recover(ring, before)
            self.refusals(ring)

    def texts(self, ring: Ring) -> None:
        """
        A text and a nested mail arrive as they were, in clear and over TLS.
        """
        plain, secret = (
            mail("plain words"),
            mail("secret words", b"\r\n.\r\n..\r\n.dots\r\n" + b"long " * 3000 + b"\r\n"),
        )
        ring.send("alice", "bob", plain)
        for message in (secret, NESTED):
            with ring.smtp("alice", tls=True) as client:
                client.sendmail("alice@example.org", ["bob@example.org"], message)
        host, port = place(ring.home_of("bob")["imaps"])
        with imaplib.IMAP4_SSL(host, port, ssl_context=untrusting(), timeout=60) as client:
            client.login("bob@example.org", SECRETS["bob"])
            client.select()
            for subject, message in (("plain words", plain), ("secret words", secret), ("nested", NESTED)):
                self.assert_prepended(message, fetch(client, subject))
        with ring.imap("alice") as client:
            client.select("Sent")
            self.assert_prepended(NESTED, fetch(client, "nested"))

    def assert_prepended(self, sent: bytes, got: bytes) -> None:
        """
        Only whole header lines have been put in front.
        """
        self.assertTrue(got.endswith(sent), (got[:400], got[-400:]))
        prefix = got[: -len(sent)]
        self.assertTrue(re.fullmatch(rb"([!-9;-~]+:.*\r\n([ \t].*\r\n)*)*", prefix), prefix)

    def large(self, ring: Ring) -> None:
        """
        20 MB.
        """
        message = attachment(random.Random(1).randbytes(15_000_000), 76, "alice", "bob", "twenty")
        self.assertGreater(len(message), 20_000_000)
        ring.send("alice", "bob", message)
        with ring.imap("bob") as client:
            self.assert_prepended(message, fetch(client, "twenty"))

    def idle(self, ring: Ring) -> None:
        """
        A mail program that waits in IDLE is told.
        """
        waiting = socket.create_connection(place(ring.home_of("bob")["imap"]), timeout=60)
        lines = waiting.makefile("rb")

        def read_until(start: bytes) -> bytes:
            while True:
                line = lines.readline()
                self.assertTrue(line, "hung up")
                if start in line:
                    return line

        read_until(b"* OK")
        waiting.sendall(f'a LOGIN bob "{SECRETS["bob"]}"\r\n'.encode())
        read_until(b"a OK")
        waiting.sendall(b"b SELECT INBOX\r\nc IDLE\r\n")
        read_until(b"+ ")
        ring.send("alice", "bob", mail("do not wait"))
        number = int(read_until(b"EXISTS").split()[1])
        waiting.sendall(b"DONE\r\n")
        read_until(b"c OK")
        waiting.close()
        self.assertGreater(number, 3)

    def shared_attachment(self, ring: Ring) -> None:
        """
        The same attachment, sent by two people with different line widths, is stored once.
        """
        data = random.Random(2).randbytes(600_000)
        large: list[set[bytes]] = []
        for sender, recipient, width in (("alice", "bob", 76), ("bob", "alice", 64)):
            ring.send(sender, recipient, attachment(data, width, sender, recipient, "shared"))
            large.append(large_blocks(ring))
        self.assertEqual(large[0], large[1])
        for user, sender, width in (("bob", "alice", 76), ("alice", "bob", 64)):
            with ring.imap(user) as client:
                self.assert_prepended(attachment(data, width, sender, user, "shared"), fetch(client, "shared"))

    def change_folders(self, ring: Ring) -> dict[str, list[bytes]]:
        """
        Flags, copy, move, expunge, and folders made, renamed and deleted.
        """
        with ring.imap("bob") as client:
            self.assertEqual("OK", client.create("Projects")[0])
            self.assertEqual("OK", client.create("Projects/Bridge")[0])
            self.assertEqual("OK", client.create("Doomed")[0])
            first = find(client, "plain words").decode()
            self.assertEqual("OK", client.store(first, "+FLAGS", r"(\Flagged $Later)")[0])
            self.assertEqual("OK", client.copy(first, "Projects/Bridge")[0])
            moved = find(client, "secret words").decode()
            self.assertEqual("OK", client._simple_command("MOVE", moved, "Archive")[0])
            gone = find(client, "do not wait").decode()
            client.store(gone, "+FLAGS", r"(\Deleted)")
            self.assertEqual("OK", client.expunge()[0])
            self.assertEqual("OK", client.rename("Projects", "Works")[0])
            self.assertEqual("OK", client.delete("Doomed")[0])
        return self.look(ring)

    def look(self, ring: Ring) -> dict[str, list[bytes]]:
        """
        Everything that bob's mail program can see: folders, UIDVALIDITY, and of each message UID, flags and size.
        """
        found: dict[str, list[bytes]] = {}
        with ring.imap("bob") as client:
            for line in client.list()[1]:
                assert isinstance(line, bytes)
                name = line.rpartition(b' "/" ')[2].decode().strip('"')
                client.select(f'"{name}"', readonly=True)
                validity = client.response("UIDVALIDITY")[1][0]
                assert validity is not None
                rows = client.uid("FETCH", "1:*", "(UID FLAGS RFC822.SIZE INTERNALDATE)")[1]
                found[name] = [validity, *(seen(row) for row in rows if isinstance(row, bytes))]
        self.assertIn("Works/Bridge", found)
        self.assertNotIn("Doomed", found)
        self.assertEqual(2, len(found["Works/Bridge"]))
        self.assertEqual(2, len(found["Archive"]))
        return found

    def recover(self, ring: Ring, before: dict[str, list[bytes]]) -> None:
        """
        Without bob's journal, and with his keys, everything comes back from the ring.
        """
        ring.stop_node("node2")
        for path in ring.home("node2").glob("accounts/*/journal.sqlite*"):
            path.unlink()
        shutil.rmtree(ring.home("node2") / "cache", ignore_errors=True)
        ring.start_node("node2")
        self.assertEqual(before, self.look(ring))
        with ring.imap("bob") as client:
            self.assert_prepended(NESTED, fetch(client, "nested"))

    def refusals(self, ring: Ring) -> None:
        """
        What cannot be is refused, and says why.
        """
        with ring.smtp("alice") as client:
            self.assertEqual(250, client.mail("alice@example.org")[0])
            self.assertEqual(550, client.rcpt("nobody@example.org")[0])
            code, text = client.rcpt("someone@elsewhere.example")
            self.assertEqual(550, code)
            self.assertIn(b"outside this domain", text)
            client.rset()
            code, _ = client.mail("alice@example.org", ["SIZE=60000000"])
            self.assertEqual(552, code)
        self.turn_stranger_away(ring)

    def turn_stranger_away(self, ring: Ring) -> None:
        """
        Who has no certificate gets nowhere with a node.
        """
        stranger = socket.create_connection(place(ring.node("node3")["link"]), timeout=60)
        try:
            with untrusting().wrap_socket(stranger) as connection:
                connection.sendall(b"hello")
                self.assertEqual(b"", connection.recv(4096))
        except OSError:
            pass  # So it is told by TLS.


def seen(row: bytes) -> bytes:
    """
    Without C{\\Recent}, which is of one session, and with the flags in order.
    """
    flags = re.search(rb"FLAGS \(([^)]*)\)", row)
    assert flags is not None
    words = sorted(set(flags[1].split()) - {b"\\Recent"})
    return row[: flags.start(1)] + b" ".join(words) + row[flags.end(1) :]


def large_blocks(ring: Ring) -> set[bytes]:
    """
    The content blocks of more than 100 KB, by handle, and that each is on some disk.
    """
    found: set[bytes] = set()
    for path in ring.path.glob("node*/blocks.sqlite"):
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        found |= {
            row[0] for row in connection.execute("SELECT handle FROM blocks WHERE kind=? AND size > 100000", (CONTENT,))
        }
        connection.close()
    return found
