"""
The computer of the authority is lost, and a copy of its directory is served elsewhere, as docs/administration.md says:
real processes.
"""

from __future__ import annotations

import re
import shutil
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.commands import post
from tests.scratch import scratch
from tests.system.machines import Machine
from tests.system.rings import wait_for


def is_answered(machine: Machine) -> bool:
    """
    Whether its node has asked the authority, and nothing hindered it.
    """
    return machine.status().get("authority_trouble") == ""


class AuthorityLostTests(SynchronousTestCase):
    """
    Four machines; that of alice serves the authority.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.alice = Machine(self, self.directory, "alice")
        self.alice.init(4)
        self.alice.start()
        self.alice.wait("active")
        self.bob, self.carol, self.dave = (self.joined(name, self.alice) for name in ("bob", "carol", "dave"))
        for each in (self.alice, self.bob, self.carol, self.dave):
            each.wait("serving")
        wait_for("alice's code is in force", lambda: self.alice.recovery == "in force")

    def joined(self, name: str, authority: Machine) -> Machine:
        """
        Another one, by a code from C{authority}.
        """
        machine = Machine(self, self.directory, name)
        code, said = machine.join(authority.token(name))
        self.assertEqual(0, code, said)
        machine.start()
        machine.wait("active")
        return machine

    def set(self, machine: Machine, old: str, new: str) -> None:
        """
        Change a machine's settings, and start it again.
        """
        text = machine.config.read_text()
        self.assertTrue(re.search(old, text, re.M), text)
        machine.config.write_text(re.sub(old, new, text, flags=re.M))
        machine.stop()
        machine.start()

    def test_lost(self) -> None:
        """
        Bob's node serves the copy; carol's asks there; alice, whose machine it was, is back by her recovery code, with
        her mail; and others join.
        """
        self.bob.send("alice", "from before")
        self.alice.wait_for_mail("from before")
        shutil.copytree(self.alice.home / "authority", self.directory / "copy")
        self.alice.kill()
        shutil.rmtree(self.alice.home)

        shutil.copytree(self.directory / "copy", self.bob.home / "authority")
        where = f"127.0.0.1:{self.bob.door}"
        served = f'directory = "authority"\nlisten = "{where}"\naddress = "{where}"'
        self.set(self.bob, r"^doors = .*$", served)
        for each in (self.carol, self.dave):
            self.set(each, r"^doors = .*$", f'doors = ["{where}"]')
        for each in (self.bob, self.carol, self.dave):
            each.wait("serving")
            wait_for("it can be asked", partial(is_answered, each))

        again = Machine(self, self.directory / "again", "alice")
        code, said = again.recover(self.alice.recovery_code, "--authority", where)
        self.assertEqual(0, code, said)
        again.start()
        again.wait("serving")
        again.wait_for_mail("from before")
        erin = self.joined("erin", self.bob)
        erin.wait("serving")
        wait_for("alice is found", lambda: again.published)
        erin.send("alice", "from after")
        again.wait_for_mail("from after")
        warned = post("status", "--config", self.carol.config).output
        self.assertNotIn("another log", warned)
