"""
Mail from the Internet, with real processes: a Postfix elsewhere, a name server, a ring whose last node is the gateway.

A Postfix looks up exchangers at port 53 and connects to port 25 only, which belong to the machine; so this one is told
the port of ours (C{default_transport}).  What the gateway asks the DNS, it asks our name server.
"""

from __future__ import annotations

import base64
import imaplib
import smtplib
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.names import NameServer, Zone
from tests.programs import need
from tests.smtp.test_data import SMUGGLED
from tests.system.ports import free_ports
from tests.system.postfix import Postfix
from tests.system.rings import PATIENCE_S, Ring, mail, place, wait_for

ORIGIN = b"X-POST-Origin: internet; not verified by POST\r\n"


class Elsewhere:
    """
    The domain C{elsewhere.example}: its key, and what it says in the DNS.
    """

    def __init__(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        self._key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.zone: Zone = {
            "elsewhere.example": {"TXT": ["v=spf1 ip4:127.0.0.1 -all"], "MX": [[10, "mx.elsewhere.example"]]},
            "s1._domainkey.elsewhere.example": {"TXT": [f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"]},
            "_dmarc.elsewhere.example": {"TXT": ["v=DMARC1; p=reject"]},
            "_dmarc.strict.example": {"TXT": ["v=DMARC1; p=reject"]},
            "_dmarc.wary.example": {"TXT": ["v=DMARC1; p=quarantine"]},
            "1.0.0.127.in-addr.arpa": {"PTR": ["mx.elsewhere.example"]},
            "mx.elsewhere.example": {"A": ["127.0.0.1"]},
            "example.org": {"MX": [[10, "node5.example.org"]]},
        }

    def signed(self, message: bytes) -> bytes:
        """
        C{message} with its DKIM signature.
        """
        signature: bytes = dkim.sign(message, b"s1", b"elsewhere.example", self._key)
        return signature + message


def letter(subject: str, author: str = "eve@elsewhere.example") -> bytes:
    """
    A message with what may break on its way: 8-bit text, lines with a dot, and no order in its header.
    """
    return (
        f"Subject: {subject}\r\nTo: alice@example.org\r\nFrom: Eve <{author}>\r\nX-Odd:   kept \r\n"
        f"Message-ID: <{subject.replace(' ', '.')}@elsewhere.example>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
        "\r\n.\r\n..\r\nGr\u00fc\u00dfe \t\r\n\r\n\r\n"
    ).encode()


class GatewayTests(SynchronousTestCase):
    """
    Eve, elsewhere, writes to Alice.
    """

    def setUp(self) -> None:
        self.scratch = Path(self.enter_scratch())
        self.elsewhere = Elsewhere()
        need("postfix", {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})

    def enter_scratch(self) -> str:
        """
        A directory that goes with the test.
        """
        directory = tempfile.TemporaryDirectory(prefix="gateway-")
        self.addCleanup(directory.cleanup)
        return directory.name

    def ring(self, names: NameServer) -> Ring:
        """
        Five nodes, of which the last is the gateway.
        """
        return Ring(options=("--gateway", "--dns", names.place))

    def postfix(self, ring: Ring) -> Postfix:
        """
        The rest of the Internet, which knows our port.
        """
        host, port = place(ring.node("node5")["smtp"])
        return Postfix("elsewhere.example", f"default_transport = smtp:[{host}]:{port}")

    def send(self, postfix: Postfix, message: bytes, *recipients: str) -> None:
        """
        Hand a message to Postfix.
        """
        with smtplib.SMTP(*place(postfix.place), timeout=60) as client:
            client.sendmail("eve@elsewhere.example", recipients or ("alice@example.org",), message, ["BODY=8BITMIME"])

    def received(self, ring: Ring, user: str, subject: str, folder: str = "INBOX") -> tuple[bytes, set[str]]:
        """
        The octets and the flags of the only message with this subject.
        """
        wait_for(subject, lambda: ring.count(user, subject, folder))
        client = ring.imap(user)
        try:
            client.select(folder, readonly=True)
            [found] = client.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
            answer: Any = client.fetch(found, "(FLAGS BODY.PEEK[])")[1][0]
            return answer[1], {flag.decode() for flag in imaplib.ParseFlags(answer[0])}
        finally:
            client.shutdown()

    def test_exchange(self) -> None:
        """
        What Postfix sends is in Alice's Inbox to the octet, below lines that say where it came from and what was
        verified; greylisted at first, when Postfix comes again.  Who is nobody here is refused, and forged mail too.
        """
        with NameServer(self.scratch, free_ports(1)[0], self.elsewhere.zone) as names, self.ring(names) as ring:
            ring.configure("node5", "greylist_s = 2")
            with self.postfix(ring) as postfix:
                message = self.elsewhere.signed(letter("from outside"))
                self.send(postfix, message)
                octets, flags = self.received(ring, "alice", "from outside")
                self.assertGreater(postfix.logged("You are new here"), 0)
                self.assertTrue(octets.endswith(message), octets)
                self.assertIn("$Unverified", flags)
                self.assertNotIn("$Verified", flags)
                lines = octets.removesuffix(message)
                self.assertTrue(lines.startswith(ORIGIN), lines)
                for said in (
                    b"Authentication-Results: node5.example.org;\r\n",
                    b"spf=pass smtp.mailfrom=elsewhere.example",
                    b"dkim=pass header.d=elsewhere.example header.s=s1",
                    b"dmarc=pass (p=reject) header.from=elsewhere.example",
                    b"Return-Path: <eve@elsewhere.example>\r\n",
                    b"(mx.elsewhere.example [127.0.0.1])",
                    b"with ESMTPS;",
                ):
                    self.assertIn(said, lines)
                self.send(
                    postfix, letter("to all of us"), "alice+x@example.org", "bob@example.org", "carol@example.org"
                )
                self.received(ring, "bob", "to all of us")
                self.received(ring, "alice", "to all of us")
                wait_for("the bounce", lambda: postfix.logged("550 5.1.1"))
                self.send(postfix, letter("forged", "boss@strict.example"))
                wait_for("the refusal", lambda: postfix.logged("550 5.7.1 The DMARC policy of strict.example"))
                self.send(postfix, letter("doubtful", "boss@wary.example"))
                octets, _ = self.received(ring, "alice", "doubtful", "Junk")
                self.assertIn(b"dmarc=fail (p=quarantine) header.from=wary.example", octets)
                self.assertEqual(0, ring.count("alice", "forged"))
            smtp = ring.node("node5")["smtp"]
            self.check_hostile(smtp)
            self.check_smuggling(ring, smtp)
            self.check_injection(smtp)

    def swaks(self, smtp: str, *arguments: str | Path) -> str:
        """
        What C{swaks} says.
        """
        command = [need("swaks"), "--server", smtp, "--from", "eve@elsewhere.example", "--timeout", "20s", *arguments]
        said = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        return said.stdout.decode("utf-8", "replace")

    def check_hostile(self, smtp: str) -> None:
        """
        Nothing is relayed, however the recipient is dressed up, and log-in is not offered.
        """
        for address in (
            "x@elsewhere.example",
            "X@ELSEWHERE.EXAMPLE.",
            "x%elsewhere.example@example.org",
            '"x@elsewhere.example"@example.org',
            "elsewhere.example!x@example.org",
            "@example.org:x@elsewhere.example",
            "x@[192.0.2.1]",
            "alice@example.org@elsewhere.example",
        ):
            said = self.swaks(smtp, "--to", address)
            self.assertRegex(said, r"<\*\* 5(50 5\.[17]\.1|01 5\.)", address)
            self.assertNotIn("354", said, address)
        said = self.swaks(smtp, "--to", "alice@example.org", "--auth", "--auth-user", "alice", "--auth-password", "x")
        self.assertIn("Host did not advertise authentication", said)

    def check_smuggling(self, ring: Ring, smtp: str) -> None:
        """
        What other servers have taken for the end of a message is none: the whole is refused, nothing of it arrives, and
        what stands behind is no command.
        """
        data = self.scratch / "smuggled"
        inner = (
            b"MAIL FROM:<eve@elsewhere.example>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"
        )
        for end in SMUGGLED:
            data.write_bytes(b"Subject: smuggled\r\nFrom: eve@elsewhere.example\r\n\r\nx" + end + inner + b"\r\n.\r\n")
            said = self.swaks(smtp, "--to", "alice@example.org", "--data", f"@{data}", "--no-data-fixup")
            self.assertIn("<** 554 5.6.0", said, end)
            self.assertEqual(1, said.count("354 "), said)
        # Had one of them been taken, it would be there before this one.
        self.assertIn("250 2.0.0", self.swaks(smtp, "--to", "alice@example.org", "--header", "Subject: the last one"))
        self.received(ring, "alice", "the last one")
        self.assertEqual(0, ring.count("alice", "smuggled") + ring.count("alice", "smuggled", "Junk"))

    def check_injection(self, smtp: str) -> None:
        """
        A command that came with STARTTLS, before anything was encrypted, ends the connection and is not answered.
        """
        with socket.create_connection(place(smtp), timeout=20) as client:
            lines = client.makefile("rb")
            self.assertTrue(lines.readline().startswith(b"220 "))
            client.sendall(b"EHLO elsewhere.example\r\n")
            heard = list(iter(lambda: lines.readline()[3:].strip(), b" ENHANCEDSTATUSCODES".strip()))
            self.assertIn(b"-STARTTLS", heard)
            client.sendall(b"STARTTLS\r\nMAIL FROM:<eve@elsewhere.example>\r\nRCPT TO:<alice@example.org>\r\n")
            answered = b""
            try:
                while piece := client.recv(1000):
                    answered += piece
            except ConnectionResetError:
                pass
            self.assertNotRegex(answered, rb"(?m)^2")

    def test_gateway_lost(self) -> None:
        """
        The gateway is killed and its disk wiped as soon as Postfix has its 250, while the recipient is away: the
        message arrives, once.
        """
        with NameServer(self.scratch, free_ports(1)[0], self.elsewhere.zone) as names, self.ring(names) as ring:
            ring.configure("node5", "greylist_s = 0")
            ring.stop_node("node1")
            with self.postfix(ring) as postfix:
                self.send(postfix, letter("promised"))
                wait_for("the 250", lambda: postfix.logged("status=sent"))
                ring.kill("node5", wipe=True)
                ring.start_node("node1")
                wait_for("the message", lambda: ring.count("alice", "promised"), 2 * PATIENCE_S)
                # Whatever brought it twice would bring it before what is sent now: all that waits is pushed at once.
                ring.send("bob", "alice", mail("the next one", sender="bob", recipient="alice"))
                wait_for("the next one", lambda: ring.count("alice", "the next one"))
                self.assertEqual(1, ring.count("alice", "promised"))
