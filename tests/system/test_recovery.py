"""
A machine is lost, and its person comes back on an empty one by the recovery code: real processes.
"""

from __future__ import annotations

import shutil

from twisted.trial.unittest import SynchronousTestCase

from tests.scratch import scratch
from tests.system.machines import Machine
from tests.system.rings import wait_for

FOLDERS = ("INBOX", "Sent", "Work/2026", "Work/Ünlü")


class RecoveryTests(SynchronousTestCase):
    """
    Tests of recovery.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.alice = Machine(self, self.directory, "alice")
        self.alice.init(4)
        self.alice.start()
        self.alice.wait("active")
        self.others = [self.joined(name) for name in ("bob", "carol", "dave")]
        for each in (self.alice, *self.others):
            each.wait("serving")

    def joined(self, name: str) -> Machine:
        """
        Another one.
        """
        machine = Machine(self, self.directory, name)
        code, said = machine.join(self.alice.token(name))
        self.assertEqual(0, code, said)
        machine.start()
        machine.wait("active")
        return machine

    def test_lost(self) -> None:
        """
        Every folder, flag, UID order and octet is as before; mail that came meanwhile is there too.
        """
        bob, carol, _ = self.others
        wait_for("bob's code is in force", lambda: bob.recovery == "in force")
        carol.send("bob", "before")
        bob.wait_for_mail("before")
        bob.kill()
        shutil.rmtree(bob.home)
        carol.send("bob", "meanwhile")
        again = Machine(self, self.directory / "new", "bob")
        exit_code, said = again.recover(bob.recovery_code)
        self.assertEqual(0, exit_code, said)
        again.start()
        again.wait("serving")
        for subject in ("before", "meanwhile"):
            again.wait_for_mail(subject)
            self.assertEqual(1, again.subjects(subject))
