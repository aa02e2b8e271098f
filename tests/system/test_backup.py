"""
A node's directory copied while it runs, and put back after more has happened: real processes.
"""

from __future__ import annotations

import shutil

from twisted.trial.unittest import SynchronousTestCase

from post.home import Home
from tests.cli.commands import post
from tests.scratch import scratch
from tests.system.machines import Machine
from tests.system.rings import wait_for


class BackupTests(SynchronousTestCase):
    """
    Tests of C{post backup} and C{post restore}.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.alice = Machine(self, self.directory, "alice")
        self.alice.init(3)
        self.alice.start()
        self.alice.wait("active")
        self.bob, self.carol = (Machine(self, self.directory, name) for name in ("bob", "carol"))
        for each in (self.bob, self.carol):
            code, said = each.join(self.alice.token(each.name))
            self.assertEqual(0, code, said)
            each.start()
        for each in (self.alice, self.bob, self.carol):
            each.wait("serving")

    def test_restored(self) -> None:
        """
        What is put back is older than the ring: what came since is caught up with before anything is written, and no
        UID is used again.
        """
        bob = self.bob
        self.carol.send("bob", "before")
        bob.wait_for_mail("before")
        target = self.directory / "backup.tar"
        result = post("backup", target, "--config", bob.config)
        self.assertEqual(0, result.exit_code, result.output)
        self.assertIn("holds private keys", result.output)
        self.carol.send("bob", "since")
        bob.wait_for_mail("since")
        with bob.logged_in() as client:
            client.select()
            client.uid("STORE", "1", "+FLAGS", r"(\Flagged)")
            client.create("Since")
            uids = client.uid("SEARCH", "ALL")[1][0].split()
        wait_for("all is kept", lambda: bob.behind == 0)
        bob.kill()
        refused = post("restore", target, bob.home)
        self.assertEqual((78, 1), (refused.exit_code, len(refused.output.splitlines())), refused.output)
        self.assertIn("is not empty", refused.output)
        shutil.rmtree(bob.home)
        result = post("restore", target, bob.home)
        self.assertEqual(0, result.exit_code, result.output)
        bob.start()
        bob.wait("serving")
        self.carol.send("bob", "after")
        bob.wait_for_mail("after")
        with bob.logged_in() as client:
            client.select()
            self.assertEqual(b"1", client.uid("SEARCH", "FLAGGED")[1][0])
            self.assertEqual("OK", client.select("Since")[0])
            client.select()
            again = client.uid("SEARCH", "ALL")[1][0].split()
        self.assertEqual(uids, again[:2])
        self.assertGreater(int(again[2]), int(uids[1]) + 1)

    def test_without_blocks(self) -> None:
        """
        Without what it keeps for others a backup is small, and the node gets that from the ring again.
        """
        target = self.directory / "copies"
        target.mkdir()
        self.carol.send("bob", "before")
        self.bob.wait_for_mail("before")
        result = post("backup", "--without-blocks", target, "--config", self.bob.config)
        self.assertEqual(0, result.exit_code, result.output)
        self.bob.kill()
        shutil.rmtree(self.bob.home)
        (made,) = target.iterdir()
        result = post("restore", made, self.bob.home)
        self.assertEqual(0, result.exit_code, result.output)
        self.assertFalse((self.bob.home / "blocks.sqlite").exists())
        Home(self.bob.home).check()
        self.bob.start()
        self.bob.wait("serving")
        self.assertEqual(1, self.bob.subjects("before"))
        wait_for("blocks", lambda: self.bob.status()["blocks"])
