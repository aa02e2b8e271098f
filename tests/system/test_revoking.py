"""
A machine and a person are revoked, as real processes.
"""

from __future__ import annotations

import smtplib
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.commands import post
from tests.scratch import scratch
from tests.system.machines import Machine
from tests.system.rings import wait_for

MINUTE_S = 60


class RevokingTests(SynchronousTestCase):
    """
    Tests of C{post ca revoke}.
    """

    def setUp(self) -> None:
        directory = scratch(self)
        self.alice, self.bob, self.carol = (Machine(self, directory, name) for name in ("alice", "bob", "carol"))
        self.alice.init(2)
        self.alice.start()
        self.alice.wait("active")
        for other in (self.bob, self.carol):
            code, said = other.join(self.alice.token(other.name))
            self.assertEqual(0, code, said)
            other.start()
            other.wait("active")
        for each in (self.alice, self.bob, self.carol):
            each.wait("serving")

    def refused(self, sender: Machine) -> bool:
        """
        Whether mail from there to bob is refused for good.
        """
        try:
            sender.send("bob", "are you there?")
        except smtplib.SMTPRecipientsRefused as error:
            return {code for code, _ in error.recipients.values()} == {550}
        except (smtplib.SMTPException, OSError):
            pass
        return False

    def test_revoked(self) -> None:
        """
        Within a minute of the command the machine has ended by itself and says why, and mail to its person gets 550 on
        every other node; the others go on.  The machine does not start again.
        """
        began = time.monotonic()
        options = ("--config", self.alice.config, "--reason", "laptop stolen", "--nodes")
        result = post("ca", "revoke", *options, "bob@example.org")
        self.assertEqual(0, result.exit_code, result.output)
        self.assertEqual(2, result.output.count("Revoked "), result.output)
        self.assertEqual(78, self.bob.ended())
        wait_for("alice knows", lambda: self.refused(self.alice), MINUTE_S)
        wait_for("carol knows", lambda: self.refused(self.carol), MINUTE_S)
        took = time.monotonic() - began
        print(f"revoked everywhere after {took:.1f} s")
        said = [line for line in self.bob.log.splitlines() if "(laptop stolen): ask the authority" in line]
        self.assertTrue(said, self.bob.log)
        self.bob.start()
        self.assertEqual(78, self.bob.ended())
        self.carol.send("alice", "still here")
        self.alice.wait_for_mail("still here")
        self.assertIn("was revoked before", post("ca", "revoke", *options[:2], "bob@example.org").output)
