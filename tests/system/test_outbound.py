"""
Mail to the Internet, with real processes: a ring whose last two nodes are gateways, a name server, and a Postfix that
is the mail server of C{elsewhere.example}.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.names import NameServer
from tests.gateway.trust import Trust, WebServer
from tests.programs import need
from tests.system.ports import free_ports
from tests.system.postfix import Postfix
from tests.system.rings import Ring, wait_for

GATEWAYS = ("node4", "node5")
SECURE = """
smtpd_tls_security_level = may
smtpd_tls_cert_file = {0}/cert.pem
smtpd_tls_key_file = {0}/key.pem
smtpd_tls_received_header = yes
"""


def letter(subject: str, recipient: str = "xavier@elsewhere.example") -> bytes:
    """
    A message with what may break on its way: 8-bit text, lines with a dot, folded and odd fields, a blind copy.
    """
    return (
        f"From: Alice <alice@example.org>\r\nTo: {recipient}\r\nSubject: {subject}\r\nX-Odd:   kept \r\n"
        f"Bcc: secret@elsewhere.example\r\nMessage-ID: <{subject.replace(' ', '.')}@example.org>\r\n"
        "Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain;\r\n\tcharset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
        "\r\n.\r\n..\r\nGr\u00fc\u00dfe \t\r\n.x\r\n\r\n\r\n"
    ).encode()


class OutboundTests(SynchronousTestCase):
    """
    Alice writes to Xavier, elsewhere.
    """

    def setUp(self) -> None:
        need("postfix", {"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
        directory = tempfile.TemporaryDirectory(prefix="outbound-")
        self.addCleanup(directory.cleanup)
        self.scratch = Path(directory.name)
        self.zone: dict[str, dict[str, Any]] = {
            "elsewhere.example": {"MX": [[10, "mx.elsewhere.example"]]},
            "mx.elsewhere.example": {"A": ["127.0.0.1"]},
            "null.example": {"MX": [[0, ""]]},
            "example.org": {"MX": [[10, "node4.example.org"], [10, "node5.example.org"]]},
        }
        names = NameServer(self.scratch, free_ports(1)[0], self.zone)
        names.__enter__()
        self.addCleanup(names.__exit__, None, None, None)
        self.names = names

    def ring(self, port: int, more: str = "") -> Ring:
        """
        A ring that sends mail for outside to C{port}, and tries again soon.
        """
        ring = Ring(options=("--gateways", "2", "--dns", self.names.place))
        ring.__enter__()
        self.addCleanup(ring.__exit__, None, None, None)
        self.addCleanup(ring.show_logs)
        for name in GATEWAYS:
            self.configure(ring, name, f"smtp_port = {port}\nretry_s = 2\nwarn_s = 600\n{more}")
        return ring

    def configure(self, ring: Ring, name: str, settings: str) -> None:
        """
        Add lines to the section of a gateway's settings that is about being one, and start it anew.
        """
        ring.stop_node(name)
        file = ring.home(name) / "node.toml"
        file.write_text(file.read_text().replace("[gateway]\n", f"[gateway]\n{settings}\n"))
        ring.start_node(name)

    def post(self, ring: Ring, node: str, *arguments: str) -> str:
        """
        What C{post} prints.
        """
        command = [sys.executable, "-m", "post.cli", *arguments, "--config", str(ring.home(node) / "node.toml")]
        return subprocess.run(command, check=True, timeout=60, capture_output=True, text=True).stdout

    def publish(self, ring: Ring) -> None:
        """
        Make the gateways' keys, and put them into the DNS.
        """
        for name in GATEWAYS:
            printed = self.post(ring, name, "gateway", "dkim")
            host, _, rest = printed.partition(". IN TXT ")
            self.zone[host] = {"TXT": ["".join(rest.split('"')[1::2])]}
            ring.stop_node(name)
            ring.start_node(name)
        self.names.set(self.zone)

    def send(self, ring: Ring, message: bytes, *recipients: str) -> None:
        """
        Alice's mail program sends.
        """
        with ring.smtp("alice") as client:
            client.sendmail(
                "alice@example.org", recipients or ("xavier@elsewhere.example",), message, ["BODY=8BITMIME"]
            )

    def certificate(self) -> None:
        """
        What Postfix shows: nobody can verify it.
        """
        command = (
            "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=mx.elsewhere.example -keyout key.pem -out cert.pem"
        )
        subprocess.run(
            [need("openssl"), *command.split()], cwd=self.scratch, check=True, capture_output=True, timeout=60
        )

    def test_exchange(self) -> None:
        """
        What Alice sends is in Xavier's mailbox to the octet, encrypted on its way, with a signature that opendkim
        verifies with the key in the DNS, and without a word about Alice's machine.
        """
        self.certificate()
        self.scratch.chmod(0o755)
        with Postfix("elsewhere.example", SECURE.format(self.scratch)) as postfix:
            ring = self.ring(postfix.port)
            self.publish(ring)
            refused = subprocess.run(
                [sys.executable, "-m", "post.cli", "gateway", "dkim", "--config", str(ring.home("node1"))],
                capture_output=True,
                text=True,
                timeout=60,
            )
            self.assertEqual((78, 1), (refused.returncode, refused.stderr.count("\n")))
            self.assertIn("without the role gateway", refused.stderr)
            self.send(ring, letter("hello"))
            wait_for("the message", postfix.texts)
            [text] = postfix.texts()
            sent = letter("hello").replace(b"Bcc: secret@elsewhere.example\r\n", b"")
            self.assertTrue(text.endswith(sent.replace(b"\r\n", b"\n")), text)
            self.assertIn(b"using TLSv1.3", text)
            self.assertIn(b"Return-Path: <alice@example.org>", text)
            self.assertEqual(1, text.count(b"127.0.0.1"), text)  # Postfix says from where we came.
            self.verify(text)

    def verify(self, text: bytes) -> None:
        """
        Ask opendkim.
        """
        keys = "".join(f"{name} {found['TXT'][0]}\n" for name, found in self.zone.items() if "_domainkey" in name)
        (self.scratch / "dns").write_text(keys)
        (self.scratch / "opendkim.conf").write_text(f"Mode v\nTestDNSData file:{self.scratch}/dns\nSyslog no\n")
        # What stands in the mailbox is behind two fields that Postfix's delivery adds.
        (self.scratch / "message").write_bytes(text)
        path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        options = ["-x", str(self.scratch / "opendkim.conf"), "-t", str(self.scratch / "message"), "-vv"]
        told = subprocess.run([need("opendkim", path), *options], capture_output=True, text=True, timeout=60)
        self.assertIn("verification (s=post-", told.stdout + told.stderr)
        self.assertIn("succeeded", told.stdout + told.stderr)

    def queue(self, ring: Ring, node: str) -> list[dict[str, Any]]:
        """
        What waits there.
        """
        found: list[dict[str, Any]] = json.loads(self.post(ring, node, "queue", "list", "--json"))
        return found

    def test_gateway_lost(self) -> None:
        """
        What is sent while Postfix is down outlives the gateway that took it, killed and wiped, and leaves by the other
        one, once; the sender sees it wait, and then no more.
        """
        postfix = Postfix("elsewhere.example")
        self.addCleanup(postfix.__exit__, None, None, None)
        ring = self.ring(postfix.port)
        self.send(ring, letter("patience"))

        def taker() -> str:
            # Not while it tries: then the other one would wait until that is over for certain.
            now = time.time()
            tried = [name for name in GATEWAYS for each in self.queue(ring, name) if each["due"] > now + 2]
            return tried[0] if tried else ""

        first = wait_for("an attempt", taker)
        [waiting] = self.queue(ring, "node1")
        self.assertEqual((["xavier@elsewhere.example"], "alice@example.org"), (waiting["left"], waiting["sender"]))
        self.assertIn("connected", waiting["words"])
        ring.kill(first, wipe=True)
        postfix.start()
        wait_for("the message", postfix.texts, 120)
        wait_for("an empty queue", lambda: not self.queue(ring, "node1"))
        [other] = [name for name in GATEWAYS if name != first]
        [text] = postfix.texts()
        self.assertIn(f"{other}.example.org".encode(), text)
        self.assertEqual(0, ring.count("alice", "Your message"))

    def test_refused(self) -> None:
        """
        Who is refused is reported to Alice, once; who is refused for now gets the message later, once; a domain that
        takes no mail, or is none, is known as such.
        """
        rules = "{nobody@elsewhere.example=550 5.1.1 Not here}, {later@elsewhere.example=450 4.7.1 Come again}"
        postfix = Postfix(
            "elsewhere.example", f"smtpd_recipient_restrictions = check_recipient_access inline:{{{rules}}}"
        )
        self.addCleanup(postfix.__exit__, None, None, None)
        postfix.start()
        ring = self.ring(postfix.port)
        people = ("nobody", "later", "xavier")
        self.send(ring, letter("to three"), *(f"{name}@elsewhere.example" for name in people))
        self.send(ring, letter("to nowhere"), "x@null.example", "x@nothing.example")
        wait_for("a delivery", postfix.texts)
        wait_for("the reports", lambda: ring.count("alice", "Your message could not be delivered") == 3)
        told = b"".join(self.texts(ring))
        for words in (
            b"Status: 5.1.1",
            b"takes no mail",
            b"no such domain",
            b"Final-Recipient: rfc822; x@null.example",
        ):
            self.assertIn(words, told)
        [waiting] = self.queue(ring, "node1")
        self.assertEqual(
            (["later@elsewhere.example"], ["xavier@elsewhere.example"], ["nobody@elsewhere.example"]),
            (waiting["left"], waiting["delivered"], waiting["failed"]),
        )
        postfix.stop()
        settings = postfix.directory / "postfix" / "main.cf"
        settings.write_text(settings.read_text().replace("450 4.7.1 Come again", "OK"))
        postfix.start()
        self.post(ring, "node1", "queue", "retry", waiting["name"][:10])
        wait_for("the other delivery", lambda: len(postfix.texts()) == 2)
        wait_for("an empty queue", lambda: not self.queue(ring, "node1"))
        self.assertEqual(3, ring.count("alice", "Your message"))

    def texts(self, ring: Ring) -> list[bytes]:
        """
        What is in Alice's Inbox.
        """
        client = ring.imap("alice")
        try:
            answer: Any = client.fetch("1:*", "(BODY.PEEK[])")[1]
            return [each[1] for each in answer if isinstance(each, tuple)]
        finally:
            client.shutdown()

    def test_policy(self) -> None:
        """
        A domain's policy (MTA-STS) is fetched over HTTPS, and while its server does not prove its name, mail waits.
        """
        trust = Trust(self.scratch)
        self.scratch.chmod(0o755)
        policy = b"version: STSv1\r\nmode: enforce\r\nmx: mx.elsewhere.example\r\nmax_age: 86400\r\n"
        web = WebServer(trust, "mta-sts.elsewhere.example", {"/.well-known/mta-sts.txt": policy})
        web.__enter__()
        self.addCleanup(web.__exit__, None, None, None)
        self.zone["_mta-sts.elsewhere.example"] = {"TXT": ["v=STSv1; id=1;"]}
        self.zone["mta-sts.elsewhere.example"] = {"A": ["127.0.0.1"]}
        self.names.set(self.zone)
        self.certificate()
        postfix = Postfix("elsewhere.example", SECURE.format(self.scratch))
        self.addCleanup(postfix.__exit__, None, None, None)
        postfix.start()
        ring = self.ring(postfix.port, f'sts_port = {web.port}\nroots = "{trust.roots}"')
        self.send(ring, letter("secret"))
        wait_for("an attempt", lambda: any(each["tries"] for each in self.queue(ring, "node1")))
        self.assertIn("No secure connection", self.queue(ring, "node1")[0]["words"])
        self.assertEqual([], postfix.texts())
        postfix.stop()
        for made, shown in zip(trust.certify("mx.elsewhere.example"), ("cert.pem", "key.pem"), strict=True):
            (self.scratch / shown).write_bytes(made.read_bytes())
        postfix.start()
        wait_for("the message", postfix.texts)
        self.assertIn(b"using TLSv1.3", postfix.texts()[0])
