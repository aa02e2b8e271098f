"""
Tests of C{post recover} as far as nobody is asked, and of the codes that other commands print.
"""

from __future__ import annotations

import re
import time

from twisted.trial.unittest import SynchronousTestCase

from post.ca.code import short_fingerprint
from post.ca.recovery_code import RecoveryCode
from post.ca.retrieval import account_copy
from post.cli import recover
from post.home import Home
from post.messaging.account import AccountCredentials
from post.messaging.sealed_copy import open_copy
from tests.cli.commands import Organisation, post
from tests.scratch import scratch


def code_in(said: str) -> RecoveryCode:
    """
    The recovery code that a command printed.
    """
    found = re.search(r"^  ([0-9A-Z]{5}(?:-[0-9A-Z]{1,5})+)$", said, re.M)
    assert found is not None, said
    return RecoveryCode.from_text(found[1])


class RecoverTests(SynchronousTestCase):
    """
    A node whose owner runs these commands.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.home = self.directory / "alice"

    def init(self) -> str:
        """
        An organisation; what is said.
        """
        options = ("--user", "alice@example.org", "--machines", "1", "--host", "127.0.0.1", "--password-file", "-")
        result = post("init", self.home, *options, stdin="secret\n")
        self.assertEqual(0, result.exit_code, result.output)
        return result.output

    def account(self) -> AccountCredentials:
        """
        The one that lives there.
        """
        home = Home(self.home)
        return home.accounts(home.credentials(int(time.time())).root)[0]

    def test_printed(self) -> None:
        """
        The code leads to the authority, opens what was sealed, and is nowhere on the machine.
        """
        code = code_in(self.init())
        root = (self.home / "root.der").read_bytes()
        self.assertEqual(("127.0.0.1:7655", short_fingerprint(root)), (code.where, code.fingerprint))
        account = self.account()
        assert account.deposit is not None
        copy = open_copy(account.deposit.block, code.keys, account.deposit.share)
        self.assertEqual(account_copy(account), copy)
        files = [path.read_bytes() for path in self.home.rglob("*") if path.is_file()]
        self.assertEqual([], [data for data in files if code.secret in data or code.to_text().encode() in data])

    def test_new_code(self) -> None:
        """
        Another code seals another copy; while the node does not run, it is said that the old one still counts.
        """
        first = code_in(self.init())
        result = post("recover", "--new-code", "--config", self.home)
        self.assertEqual(0, result.exit_code, result.output)
        self.assertIn("until then the one before is", result.output)
        second = code_in(result.output)
        self.assertNotEqual(first.secret, second.secret)
        account = self.account()
        assert account.deposit is not None
        self.assertEqual(second.keys.handle, account.deposit.handle)
        self.assertFalse(account.deposit.entrusted)

    def test_unseen(self) -> None:
        """
        A code that could not be shown, as the terminal had gone, does not end the one on paper.
        """
        self.init()
        before = self.account().deposit

        def gone(*_: object) -> None:
            raise BrokenPipeError

        self.patch(recover, "show_code", gone)
        self.assertRaises(BrokenPipeError, post, "recover", "--new-code", "--config", self.home)
        self.assertEqual(before, self.account().deposit)

    def test_misused(self) -> None:
        """
        One line that says what to do, and nothing is changed.
        """
        self.init()
        before = {path: path.read_bytes() for path in self.home.rglob("*") if path.is_file()}
        empty = self.directory / "empty"
        for arguments, said in (
            (("--new-code", "CODE"), "takes no code"),
            (("--new-code", "--config", self.home, "--user", "bob@example.org"), "does not live here"),
            (("--new-code", "--config", self.home, "--user", "bob"), "is not a mail address"),
            (("--new-code", "--config", empty), "no such file"),
            ((), "is needed where nobody can be asked"),
            (("0000", empty), "is not right"),
            (("x" * 2000, empty), "too long"),
        ):
            result = post("recover", *arguments)
            self.assertEqual((78, 1), (result.exit_code, len(result.output.splitlines())), result.output)
            self.assertIn(said, result.output.lower() if said.islower() else result.output)
        good = RecoveryCode("127.0.0.1:1", b"f" * 16, b"s" * 16).to_text()
        result = post("recover", good, empty, "--authority", "nowhere")
        self.assertIn("is not HOST:PORT", result.output)
        result = post("recover", good, empty, "--password-file", "-", stdin="secret\n")
        self.assertEqual((69, 1), (result.exit_code, len(result.output.splitlines())), result.output)
        self.assertFalse((empty / "version").exists())
        after = {path: path.read_bytes() for path in self.home.rglob("*") if path.is_file()}
        self.assertEqual(before, after)

    def test_by_hand(self) -> None:
        """
        Who lives on a node that asks no authority has no code, and is told so; where it asks one, they have.
        """
        organisation = Organisation(self.directory / "hand")
        home = organisation.certify_node("bob")
        organisation.init_node(home, "--listen", "127.0.0.1:1")
        self.assertIn("There is no recovery code", organisation.add_user(home, "bob", "secret"))
        result = post("recover", "--new-code", "--config", home)
        self.assertEqual((78, 1), (result.exit_code, len(result.output.splitlines())), result.output)
        self.assertIn("there is no recovery code", result.output)
        with (home / "node.toml").open("a") as file:
            file.write('\n[authority]\ndoors = ["127.0.0.1:7655"]\n')
        self.assertEqual("127.0.0.1:7655", code_in(organisation.add_user(home, "carol", "secret")).where)
        result = post("recover", "--new-code", "--config", home)
        self.assertIn("bob@example.org, carol@example.org", result.output)
        result = post("recover", "--new-code", "--config", home, "--user", "Bob@example.org")
        self.assertEqual(0, result.exit_code, result.output)
