"""
Tests for L{post.home}.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from post.ca.authority import Authority
from post.ca.retrieval import provided
from post.config import Files
from post.crypto.certificates import make_request, read_identity
from post.crypto.entropy import SeededEntropy
from post.crypto.keys import SigningKey
from post.crypto.recovery import RecoveryKeys
from post.crypto.sealing import SealingKey
from post.errors import ConfigError
from post.files import write_file, write_secret
from post.home import Home
from post.messaging.account import AccountCredentials, HeldKey
from post.messaging.sealed_copy import PastKeys
from post.wire import pack
from tests.crypto.issued import DAY, NOW
from tests.scratch import scratch

ENTROPY = SeededEntropy(b"home")


def new_account(authority: Authority, address: str) -> AccountCredentials:
    """
    An account that C{authority} has certified.
    """
    key = SigningKey.generate(ENTROPY)
    chain = authority.issue_user(make_request(key), address, NOW)
    certificate = read_identity(chain[0])
    sealing = (HeldKey(SealingKey.generate(ENTROPY), NOW + DAY),)
    return AccountCredentials(certificate.address, certificate.account, key, chain, ENTROPY(32), sealing, "hash")


def same(one: AccountCredentials, other: AccountCredentials) -> bool:
    """
    Whether two are one account in everything that is kept.
    """

    def kept(each: AccountCredentials) -> tuple[object, ...]:
        sealing = [(held.key.to_bytes(), held.expires) for held in each.sealing]
        lost = (each.epoch, each.past, each.deposit)
        return each.address, each.account, each.key.to_pem(), each.chain, each.master, sealing, each.password_hash, lost

    return kept(one) == kept(other)


class HomeTestCase(SynchronousTestCase):
    """
    A node's directory, and the authority that made it a member.
    """

    def setUp(self) -> None:
        self.scratch = scratch(self)
        self.authority = Authority.create(self.scratch / "authority", "example.org", ENTROPY, NOW)
        self.home = self.make(self.authority, "node")

    def make(self, authority: Authority, name: str) -> Home:
        """
        A node of C{authority} in a directory called C{name}.
        """
        key = SigningKey.generate(ENTROPY)
        chain = authority.issue_node(make_request(key), name, NOW)
        home = Home(self.scratch / name)
        policy, directory = authority.policy(), authority.directory()
        home.create(key, chain, authority.root, authority.convergence, policy, directory)
        return home


class NodeTests(HomeTestCase):
    """
    Tests of what makes a node a member.
    """

    def test_round_trip(self) -> None:
        """
        What was made is what is found.
        """
        self.home.check()
        found = self.home.credentials(NOW)
        self.assertEqual((self.authority.root, self.authority.convergence), (found.root, found.convergence))
        self.assertEqual("example.org", self.home.policy(found.root, NOW).domain)
        self.assertEqual(1, len(self.home.directory(found.root, NOW).members))

    def test_private(self) -> None:
        """
        Nobody else may look into it, and what is secret not even if they could.
        """
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.home.path.iterdir()}
        self.assertEqual(0o700, stat.S_IMODE(self.home.path.stat().st_mode))
        self.assertEqual((0o600, 0o600), (modes["node.key"], modes["convergence"]))

    def test_evidence(self) -> None:
        """
        What proves that others lie is kept; that there is none, or it cannot be read, stops nobody.
        """
        self.assertEqual(b"", self.home.evidence())
        self.home.write_evidence(b"proofs")
        self.assertEqual(b"proofs", self.home.evidence())
        (self.home.path / "evidence").unlink()
        (self.home.path / "evidence").mkdir()
        self.assertEqual(b"", self.home.evidence())

    def test_seeds(self) -> None:
        """
        Through which nodes the ring can be entered is remembered; at first nothing is.
        """
        self.assertEqual((), self.home.seeds())
        self.home.write_seeds(("a:1", "[::1]:2"))
        self.assertEqual(("a:1", "[::1]:2"), self.home.seeds())

    def test_seen(self) -> None:
        """
        Whom the node has seen is remembered; a file that cannot be read is as good as none.
        """
        self.assertEqual(b"", self.home.seen())
        self.home.write_seen(b"somebody somewhere\n")
        self.assertEqual(b"somebody somewhere\n", self.home.seen())
        (self.home.path / "seen").unlink()
        (self.home.path / "seen").mkdir()
        self.assertEqual(b"", self.home.seen())

    def test_unlock(self) -> None:
        """
        A directory that is let go of can be used by another.
        """
        self.home.lock()
        self.assertRaises(ConfigError, Home(self.home.path).lock)
        self.home.unlock()
        other = Home(self.home.path)
        other.lock()
        other.unlock()

    def test_once(self) -> None:
        """
        Another node is not made over it.
        """
        before = (self.home.path / "node.key").read_bytes()
        self.assertRaises(ConfigError, self.make, self.authority, "node")
        self.assertEqual(before, (self.home.path / "node.key").read_bytes())

    def test_check(self) -> None:
        """
        What is no node's directory, or that of another version, is said to be so.
        """
        for text in ("POST node 3\n", "", "\xff\n" * 50):
            (self.home.path / "version").write_text(text)
            self.assertIn("version", str(self.assertRaises(ConfigError, self.home.check)))
        (self.home.path / "version").unlink()
        self.assertRaises(ConfigError, self.home.check)
        self.assertRaises(ConfigError, Home(self.scratch / "none").check)
        self.assertRaises(ConfigError, Home(self.home.path / "node.key").check)

    def test_locked(self) -> None:
        """
        One process at a time uses it.
        """
        self.home.lock()
        self.assertRaises(ConfigError, Home(self.home.path).lock)
        assert self.home._lock is not None
        os.close(self.home._lock)

    def test_damaged(self) -> None:
        """
        Of every file, that it is missing, damaged, foreign or readable by others is said with its name.
        """
        other = self.make(Authority.create(self.scratch / "other", "example.org", ENTROPY, NOW), "foreign")
        mine = self.make(self.authority, "second")
        cases: list[tuple[str, bytes | None, str]] = [
            ("node.key", None, "node.key"),
            ("node.key", b"nonsense", "node.key"),
            ("node.key", (mine.path / "node.key").read_bytes(), "node.chain"),
            ("node.chain", pack(()), "node.chain"),
            ("node.chain", b"nonsense", "node.chain"),
            ("node.chain", (mine.path / "node.chain").read_bytes(), "node.chain"),
            ("node.chain", (other.path / "node.chain").read_bytes(), "node.chain"),
            ("root.der", (other.path / "root.der").read_bytes(), "node.chain"),
            ("root.der", b"nonsense", "node.chain"),
            ("convergence", None, "convergence"),
            ("convergence", pack([2, 1, bytes(32)]), "convergence"),
            ("convergence", pack([1, 1, bytes(31)]), "convergence"),
        ]
        for name, data, blamed in cases:
            whole = (self.home.path / name).read_bytes()
            self.replace(name, data)
            error = self.assertRaises(ConfigError, self.home.credentials, NOW)
            self.assertEqual(str(self.home.path / blamed), error.where)
            self.replace(name, whole)
        for name in ("node.key", "convergence"):
            (self.home.path / name).chmod(0o644)
            self.assertRaises(ConfigError, self.home.credentials, NOW)
            (self.home.path / name).chmod(0o600)
        self.home.credentials(NOW)

    def replace(self, name: str, data: bytes | None) -> None:
        if data is None:
            (self.home.path / name).unlink()
        else:
            write_secret(self.home.path / name, data)

    def test_signed(self) -> None:
        """
        So it is of policy and directory.
        """
        other = self.make(Authority.create(self.scratch / "other", "example.org", ENTROPY, NOW), "foreign")
        for name, opened in (("policy", self.home.policy), ("directory", self.home.directory)):
            for data in (b"nonsense", (other.path / name).read_bytes()):
                write_file(self.home.path / name, data)
                error = self.assertRaises(ConfigError, opened, self.authority.root, NOW)
                self.assertEqual(str(self.home.path / name), error.where)

    def test_ended(self) -> None:
        """
        A certificate that has ended says when.
        """
        error = self.assertRaises(ConfigError, self.home.credentials, NOW + 2 * 365 * DAY + 1)
        self.assertEqual("ended on 2025-11-13", error.reason)

    def test_clock(self) -> None:
        """
        One that has not begun says when it does, what the clock says, and that it is to be set; the root is there all
        the same.
        """
        error = self.assertRaises(ConfigError, self.home.credentials, NOW - 2 * DAY)
        self.assertIn("begins on 2023-11-14", error.reason)
        self.assertIn("the clock says 2023-11-12", error.reason)
        self.assertIn("timedatectl", error.reason)
        self.assertEqual(self.authority.root, self.home.root())


class AccountTests(HomeTestCase):
    """
    Tests of the accounts that live in a node's directory.
    """

    def accounts(self) -> list[AccountCredentials]:
        return self.home.accounts(self.authority.root)

    def test_recoverable(self) -> None:
        """
        What an account has for its recovery is kept, and an account that was written before there was that is read.
        """
        plain = new_account(self.authority, "alice@example.org")
        keys = RecoveryKeys(b"p" * 16, b"f" * 16)
        past = (PastKeys(b"m" * 32, 1),)
        full = provided(dataclasses.replace(plain, epoch=2, past=past), keys, ENTROPY)
        self.home.write_account(full)
        self.assertTrue(same(full, self.accounts()[0]))
        path = self.home.account_file(plain.address, "account")
        older = msgspec.msgpack.encode(msgspec.msgpack.decode(path.read_bytes())[:6])
        path.write_bytes(older)
        self.assertTrue(same(dataclasses.replace(plain), self.accounts()[0]))

    def test_round_trip(self) -> None:
        """
        Accounts are found again, whatever characters their names have, each with a directory of its own.
        """
        names = ["alice", "a/b", "../../x".replace("..", "y"), "%61lice", "o'neill", "a=b~c_d-e.f", "{x}|*?"]
        made = [new_account(self.authority, f"{name}@example.org") for name in names]
        for account in made:
            self.assertFalse(self.home.has_account(account.address))
            self.home.write_account(account)
            self.assertTrue(self.home.has_account(account.address))
        found = {account.address: account for account in self.accounts()}
        self.assertEqual(len(names), len(found))
        self.assertTrue(all(same(account, found[account.address]) for account in made))
        accounts = self.home.path / "accounts"
        self.assertEqual({accounts}, {self.home.journal(account.address).parent.parent for account in made})
        self.assertTrue((accounts / "alice@example.org" / "account").exists())

    def test_secret(self) -> None:
        """
        The file of an account is its owner's alone.
        """
        self.home.write_account(new_account(self.authority, "alice@example.org"))
        path = self.home.path / "accounts" / "alice@example.org" / "account"
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        path.chmod(0o640)
        self.assertRaises(ConfigError, self.accounts)

    def test_password(self) -> None:
        """
        A password is changed, and nothing else.
        """
        account = new_account(self.authority, "alice@example.org")
        self.home.write_account(account)
        self.home.write_password(account.address, "other", self.authority.root)
        (found,) = self.accounts()
        self.assertEqual(("other", account.master), (found.password_hash, found.master))
        self.assertRaises(ConfigError, self.home.write_password, "bob@example.org", "x", self.authority.root)

    def test_foreign(self) -> None:
        """
        An account of another authority, with another's key, damaged, or under another's name, is refused by its file.
        """
        other = Authority.create(self.scratch / "other", "example.org", ENTROPY, NOW)
        alice, bob = (new_account(self.authority, f"{name}@example.org") for name in ("alice", "bob"))
        path = self.home.path / "accounts" / "alice@example.org" / "account"

        def refused() -> None:
            self.assertEqual(str(path), self.assertRaises(ConfigError, self.accounts).where)

        self.home.write_account(new_account(other, "alice@example.org"))
        refused()
        mixed = AccountCredentials(
            alice.address, alice.account, bob.key, alice.chain, alice.master, alice.sealing, alice.password_hash
        )
        self.home.write_account(mixed)
        refused()
        for data in (b"", b"nonsense", pack([2, b"", [], b"", [], ""]), pack([1, b"", [], b"", [], ""])):
            write_secret(path, data)
            refused()
        self.home.write_account(bob)
        (path.parent.parent / "bob@example.org" / "account").replace(path)
        refused()


class FilesTests(HomeTestCase):
    """
    Tests of files that are elsewhere.
    """

    def test_elsewhere(self) -> None:
        """
        A key may be where another program provides it.
        """
        elsewhere = self.scratch / "run" / "key"
        elsewhere.parent.mkdir()
        Path(self.home.path / "node.key").rename(elsewhere)
        self.assertRaises(ConfigError, self.home.credentials, NOW)
        Home(self.home.path, Files(key=str(elsewhere))).credentials(NOW)
