"""
Tests for L{post.cli.importing} where no node is needed; L{tests.system.test_moving} has one.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.cli.importing import ledger_name, printable
from post.moving.requests import Folder, Folders
from tests.cli.commands import post
from tests.scratch import scratch

CONF = Path(__file__).parent.parent.parent / "conf" / "member.toml"


class ImportTests(SynchronousTestCase):
    """
    Commands as people type them.
    """

    def refusal(self, *arguments: str | Path, code: int = 78) -> str:
        """
        What is said of a command that cannot be done.
        """
        result = post(*arguments, "--config", CONF)
        self.assertEqual(code, result.exit_code, result.output)
        self.assertEqual(1, result.output.count("\n"), result.output)
        return result.output

    def test_not_running(self) -> None:
        """
        Without a node it is said that one has to run.
        """
        for verb in ("import", "export"):
            said = self.refusal(verb, "maildir", scratch(self) / "x", code=69)
            self.assertIn("is not running: start it first", said)

    def test_clear_password(self) -> None:
        """
        A password goes in clear to no other machine, if nobody says that it may; a port is a number.
        """
        asked = ("import", "imap", "old.example", "--user", "alice", "--security", "none")
        self.assertIn("--insecure", self.refusal(*asked))
        self.assertIn("HOST:PORT", self.refusal("import", "imap", "old.example:many", "--user", "alice"))
        self.assertIn("--password-file", self.refusal("import", "imap", "old.example", "--user", "alice"))

    def test_ledger(self) -> None:
        """
        What is remembered is of one mailbox, source and folder: one that begins anew under the same address has none.
        """

        def name(address: str = "a@x", validity: int = 7, into: str = "", what: str = "maildir /m") -> str:
            return ledger_name(address, Folders(1, (Folder("INBOX", "", validity, 0, 0),), 1), into, what)

        names = {name(), name("b@x"), name(validity=8), name(into="Old"), name(what="mbox /m")}
        self.assertEqual(5, len(names))
        self.assertEqual(name(), name())

    def test_printable(self) -> None:
        """
        The name of a file does nothing to a terminal.
        """
        self.assertEqual("a?[2Jb?ü", printable("a\x1b[2Jb\nü"))
