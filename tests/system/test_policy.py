"""
A changed policy on a running node, as real processes.
"""

from __future__ import annotations

import smtplib

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.commands import post
from tests.scratch import scratch
from tests.system.machines import Machine
from tests.system.rings import mail, wait_for

MINUTE_S = 60


class PolicyTests(SynchronousTestCase):
    """
    Tests of C{post ca policy}.
    """

    def test_without_restart(self) -> None:
        """
        Within a minute of the command the node that serves the authority refuses what is now too large, at once and on
        a connection that was there before, and its status says which policy is in force.
        """
        alice = Machine(self, scratch(self), "alice")
        alice.init(1)
        alice.start()
        alice.wait("serving")
        self.assertEqual(1, alice.status()["policy"])
        large = mail("large", b"x" * 70 + b"\r\n" + b"all work and no play\r\n" * 1000, "alice", "alice")
        addresses = ("alice@example.org", ["alice@example.org"])
        with smtplib.SMTP("127.0.0.1", alice.submission, timeout=60) as before:
            before.login("alice", "alice-secret")
            before.sendmail(*addresses, large)
            result = post("ca", "policy", "--authority", alice.home / "authority", "--size-limit", "5000")
            self.assertEqual(0, result.exit_code, result.output)
            wait_for("another policy", lambda: alice.status().get("policy", 1) != 1, MINUTE_S)
            refused = self.assertRaises(smtplib.SMTPResponseException, before.sendmail, *addresses, large)
            self.assertEqual(552, refused.smtp_code)
        alice.send("alice", "small")
        alice.wait_for_mail("small")
