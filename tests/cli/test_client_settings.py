"""
Tests for C{post client-settings}.
"""

from __future__ import annotations

import plistlib
from pathlib import Path
from xml.etree import ElementTree

from twisted.trial.unittest import SynchronousTestCase

from post.cli.client_settings import muttrc
from post.front.autoconfig import Server
from tests.cli.commands import post
from tests.scratch import scratch

CONF = Path(__file__).parent.parent.parent / "conf"


class ClientSettingsTests(SynchronousTestCase):
    """
    The settings of the example for members.
    """

    def run_post(self, *arguments: str | Path, config: str = "member.toml", code: int = 0) -> str:
        """
        What the command says.
        """
        result = post("client-settings", "Alice@example.org", "--config", CONF / config, *arguments)
        self.assertEqual(code, result.exit_code, result.output)
        return result.output

    def test_text(self) -> None:
        """
        A person reads what to enter, the best way first.
        """
        lines = self.run_post().splitlines()
        self.assertEqual("User name   alice@example.org", lines[0])
        self.assertEqual(
            [
                "IMAP        127.0.0.1, port 1993, SSL/TLS, normal password",
                "IMAP        127.0.0.1, port 1143, STARTTLS, normal password",
                "SMTP        127.0.0.1, port 1465, SSL/TLS, normal password",
                "SMTP        127.0.0.1, port 1587, STARTTLS, normal password",
            ],
            lines[3:7],
        )

    def test_thunderbird(self) -> None:
        """
        Thunderbird's file has the domain, and what to try in which order.
        """
        root = ElementTree.fromstring(self.run_post("--form", "thunderbird"))
        self.assertEqual("example.org", root.findtext("emailProvider/domain"))
        found = [server.findtext("port") for server in root.findall("emailProvider/incomingServer")]
        self.assertEqual(["1993", "1143"], found)

    def test_mobileconfig(self) -> None:
        """
        A profile is a property list; made again it is the same, so that it replaces the former; it has no password.
        """
        path = scratch(self) / "alice.mobileconfig"
        self.run_post("--form", "mobileconfig", "--output", path)
        (account,) = plistlib.loads(path.read_bytes())["PayloadContent"]
        self.assertEqual(
            ("127.0.0.1", 1993, True),
            (
                account["IncomingMailServerHostName"],
                account["IncomingMailServerPortNumber"],
                account["IncomingMailServerUseSSL"],
            ),
        )
        self.assertEqual(path.read_text(), self.run_post("--form", "mobileconfig"))
        self.assertFalse([key for key in account if key.endswith("Password") and account[key] is not True])

    def test_mutt(self) -> None:
        """
        In a .muttrc nothing of an address is taken for a command.
        """
        self.assertIn('set folder = "imaps://alice%40example.org@127.0.0.1:1993/"', self.run_post("--form", "mutt"))
        text = muttrc("`id`$x@example.org", [Server("imap", "h", 1, "STARTTLS"), Server("smtp", "h", 2, "SSL")])
        self.assertIn('set from = "\\`id\\`\\$x@example.org"', text)
        self.assertIn('"imap://%60id%60%24x%40example.org@h:1/"', text)

    def test_refused(self) -> None:
        """
        What is no address, and a node that serves no mail program, get one line.
        """
        self.assertIn("turns all services off", self.run_post(config="gateway.toml", code=78))
        result = post("client-settings", "alice", "--config", CONF / "member.toml")
        self.assertEqual((78, "post: alice: is not a mail address\n"), (result.exit_code, result.output))
