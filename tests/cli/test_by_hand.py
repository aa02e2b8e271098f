"""
Tests of making a node by hand: L{post.cli.ca}, L{post.cli.node}, L{post.cli.user}.
"""

from __future__ import annotations

import stat
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.cli import VERBS
from post.crypto.certificates import read_identity
from post.crypto.documents import open_directory
from post.crypto.passwords import check_password
from post.home import Home
from post.wire import pack
from tests.cli.commands import Organisation, post
from tests.scratch import scratch


class CommandTests(SynchronousTestCase):
    """
    Tests of C{post} itself.
    """

    def test_help(self) -> None:
        """
        Every verb explains itself.
        """
        self.assertEqual(0, post("--version").exit_code)
        overview = post("--help").output
        for verb in VERBS:
            self.assertIn(f"  {verb} ", overview)
            self.assertEqual(0, post(verb, "--help").exit_code)
        self.assertEqual(2, post("nonsense").exit_code)

    def test_wrong(self) -> None:
        """
        What goes wrong is one line, and an exit code that tells.
        """
        directory = scratch(self)
        (directory / "file").write_text("")
        for arguments, code, said in (
            (("status", "--config", directory / "none"), 78, "No such file or directory"),
            (("ca", "export", "--authority", directory, directory / "x"), 78, "holds no authority"),
            (("ca", "request", directory / "file" / "x", directory / "y"), 1, "File exists"),
            (("ca", "request", directory / "file", directory / "y"), 78, "chmod 600"),
            (("ca", "init", directory / "a", "--domain", "a b"), 78, "is not a domain"),
            (
                ("ca", "init", directory / "a", "--domain", "a.org", "--copies", "1", "--minimum", "2"),
                78,
                "cannot be more",
            ),
        ):
            result = post(*arguments)
            self.assertEqual((code, 1), (result.exit_code, len(result.output.splitlines())), result.output)
            self.assertTrue(result.output.startswith("post: "))
            self.assertIn(said, result.output)


class AuthorityTests(SynchronousTestCase):
    """
    Tests of C{post ca}.
    """

    def setUp(self) -> None:
        self.organisation = Organisation(scratch(self))

    def test_request(self) -> None:
        """
        A key is made once, for its owner alone, and a second request is for the same key.
        """
        key, request = self.organisation.directory / "key", self.organisation.directory / "request"
        self.organisation.run("ca", "request", key, request)
        made = key.read_bytes(), request.read_bytes()
        self.organisation.run("ca", "request", key, request)
        self.assertEqual(made, (key.read_bytes(), request.read_bytes()))
        self.assertEqual(0o600, stat.S_IMODE(key.stat().st_mode))
        key.write_bytes(b"nonsense")
        self.assertEqual(78, post("ca", "request", key, request).exit_code)

    def test_membership(self) -> None:
        """
        What all members need is for members only.
        """
        self.organisation.export()
        self.assertEqual(0o600, stat.S_IMODE(self.organisation.membership.stat().st_mode))

    def test_policy(self) -> None:
        """
        The policy is shown, and changed in what is given; what nobody could keep is refused.
        """
        show = ("ca", "policy", "--authority", self.organisation.authority)
        before = self.organisation.run(*show)
        self.assertEqual("example.org: 3 copies, at least 2 on other nodes; messages up to 50,000,000 octets\n", before)
        self.assertEqual(78, post(*show, "--copies", "1").exit_code)
        self.assertEqual(before, self.organisation.run(*show))
        after = self.organisation.run(*show, "--copies", "5", "--size-limit", "1024")
        self.assertEqual("example.org: 5 copies, at least 2 on other nodes; messages up to 1,024 octets\n", after)
        self.assertEqual(after, self.organisation.run(*show))

    def test_no_request(self) -> None:
        """
        Nothing is certified that is no request.
        """
        (junk := self.organisation.directory / "junk").write_bytes(b"nonsense")
        authority = ("--authority", self.organisation.authority)
        for arguments in (
            ("ca", "issue-node", *authority, "--owner", "x", junk, junk),
            ("ca", "issue-user", *authority, "--address", "x@example.org", junk, junk),
        ):
            self.assertEqual(78, post(*arguments).exit_code)
            self.assertEqual(b"nonsense", junk.read_bytes())

    def test_replace(self) -> None:
        """
        A place on the ring, or a name, that another key has is given away only if that is said; the same key may come
        again.
        """
        organisation = self.organisation
        home = organisation.certify_node("alice")
        other = organisation.directory / "other"
        organisation.run("ca", "request", other / "key", other / "request")
        for issue in (
            ("ca", "issue-node", "--authority", organisation.authority, "--owner", "alice"),
            ("ca", "issue-user", "--authority", organisation.authority, "--address", "alice@example.org"),
        ):
            organisation.run(*issue, home / "request", home / "again")
            refused = post(*issue, other / "request", other / "chain")
            self.assertEqual(78, refused.exit_code)
            self.assertIn("--replace", refused.output)
            self.assertFalse((other / "chain").exists())
            organisation.run(*issue, "--replace", other / "request", other / "chain")
            (other / "chain").unlink()
            self.assertEqual(78, post(*issue, home / "request", home / "again").exit_code)


class NodeTests(SynchronousTestCase):
    """
    Tests of C{post node}.
    """

    def setUp(self) -> None:
        self.organisation = Organisation(scratch(self))
        self.home = self.organisation.certify_node("alice")

    def init(self, *options: str, home: Path | None = None) -> tuple[int, str]:
        """
        Exit code and words of an attempt.
        """
        home = home or self.home
        files = ("--chain", self.home / "chain", "--membership", self.organisation.membership)
        result = post("node", "init", home, *files, *options)
        return result.exit_code, result.output

    def test_init(self) -> None:
        """
        A node is made of its key, its certificates and what all members have; that is said with the authority's
        fingerprint, and done once.
        """
        exported = self.organisation.run("ca", "export", "--authority", self.organisation.authority, self.home / "m")
        said = self.organisation.init_node(self.home, "--listen", "127.0.0.1:7654", "--seed", "10.0.0.2:7654")
        self.assertIn(exported.splitlines()[-1], said)
        home = Home(self.home)
        home.check()
        home.credentials(int(time.time()))
        code, again = self.init("--listen", "127.0.0.1:7654")
        self.assertEqual((78, True), (code, "is a node's already" in again))

    def test_address(self) -> None:
        """
        A node that listens everywhere has to say under which address it is reached.
        """
        code, said = self.init("--listen", "0.0.0.0:7654")
        self.assertEqual((78, True), (code, "--address" in said))
        self.assertFalse((self.home / "version").exists())
        self.assertEqual(0, self.init("--listen", "0.0.0.0:7654", "--address", "10.0.0.1:7654")[0])

    def test_wrong(self) -> None:
        """
        An address that is none, a missing or foreign key, another authority's certificates: nothing is made.
        """
        other = Organisation(self.organisation.directory / "other")
        foreign = other.certify_node("eve")
        chain = (self.home / "chain").read_bytes()
        self.assertEqual(78, self.init("--listen", "nonsense")[0])
        self.assertEqual(78, self.init("--listen", "h:1", "--name", "")[0])
        self.assertIn("make it with", self.init("--listen", "h:1", home=self.home / "none")[1])
        for data in (b"nonsense", (foreign / "chain").read_bytes()):
            (self.home / "chain").write_bytes(data)
            self.assertEqual(78, self.init("--listen", "h:1")[0])
        (self.home / "chain").write_bytes(chain)
        self.assertEqual(78, self.init("--listen", "h:1", home=foreign)[0])
        self.organisation.membership.write_bytes(b"nonsense")
        self.assertEqual(78, self.init("--listen", "h:1")[0])
        self.assertFalse((self.home / "version").exists() or (self.home / "node.toml").exists())

    def test_update(self) -> None:
        """
        Who came later is known after an update; an older one, or another authority's, changes nothing.
        """
        self.organisation.init_node(self.home, "--listen", "127.0.0.1:7654")
        old = self.organisation.membership.read_bytes()
        self.organisation.certify_user("bob")
        self.organisation.export()
        config = ("--config", self.home / "node.toml")
        said = self.organisation.run("node", "update", *config, self.organisation.membership)
        self.assertEqual("People in the directory now: 1; nodes: 1.\n", said)
        now, home = int(time.time()), Home(self.home)
        root = home.credentials(now).root
        self.assertIsNotNone(home.directory(root, now).account("bob@example.org"))
        self.organisation.membership.write_bytes(old)
        self.assertEqual(78, post("node", "update", *config, self.organisation.membership).exit_code)
        other = Organisation(self.organisation.directory / "other")
        other.export()
        self.assertEqual(78, post("node", "update", *config, other.membership).exit_code)
        data = home.directory_file.read_bytes()
        self.assertIsNotNone(open_directory(data, root, now).account("bob@example.org"))

    def test_renew(self) -> None:
        """
        Newer certificates for the same key and place take the place of the old; no others do.
        """
        self.organisation.init_node(self.home, "--listen", "127.0.0.1:7654")
        bob = self.organisation.certify_node("bob")
        config = ("node", "renew", "--config", self.home / "node.toml", "--chain")
        issue = ("ca", "issue-node", "--authority", self.organisation.authority, "--owner", "alice")
        self.organisation.run(*issue, self.home / "request", self.home / "fresh", "--role", "always-on")
        self.assertIn("valid until", self.organisation.run(*config, self.home / "fresh"))
        fresh = (self.home / "fresh").read_bytes()
        self.assertEqual(fresh, (self.home / "node.chain").read_bytes())
        self.organisation.run(*issue, self.home / "request", self.home / "second", "--index", "1")
        for chain in (self.home / "second", bob / "chain", self.home / "node.toml", self.home / "none"):
            self.assertEqual(78, post(*config, chain).exit_code)
        self.assertEqual(fresh, (self.home / "node.chain").read_bytes())


class UserTests(SynchronousTestCase):
    """
    Tests of C{post user}.
    """

    def setUp(self) -> None:
        self.organisation = Organisation(scratch(self))
        self.home = self.organisation.certify_node("alice")
        self.organisation.init_node(self.home, "--listen", "127.0.0.1:7654")
        self.config = ("--config", self.home / "node.toml")

    def test_add(self) -> None:
        """
        A person lives on the node once added, with the password that was given.
        """
        self.organisation.add_user(self.home, "alice", "pass:wörd")
        home = Home(self.home)
        (account,) = home.accounts(home.credentials(int(time.time())).root)
        self.assertEqual("alice@example.org", account.address)
        self.assertTrue(check_password("pass:wörd".encode(), account.password_hash))
        self.assertEqual("alice@example.org\n", self.organisation.run("user", "list", *self.config))
        key, chain = (self.organisation.directory / f"alice.{kind}" for kind in ("key", "chain"))
        again = ("user", "add", *self.config, "--key", key, "--chain", chain, "--password-file", "-")
        self.assertIn("lives here already", post(*again, stdin="other\n").output)

    def test_password(self) -> None:
        """
        A password can be changed, by any spelling of the address or of what is before its @, of those who live here.
        """
        self.organisation.add_user(self.home, "alice", "one")
        change = ("user", "password", *self.config, "--password-file", "-")
        home = Home(self.home)
        for spelling, password in (("Alice@example.org", "two"), ("ALICE", "three")):
            self.organisation.run(*change, spelling, stdin=f"{password}\r\n")
            (account,) = home.accounts(home.credentials(int(time.time())).root)
            self.assertTrue(check_password(password.encode(), account.password_hash))
        for address in ("bob@example.org", "bob", "alice@", "", "alice@example.com"):
            refused = post(*change, address, stdin="four\n")
            self.assertEqual((78, 1), (refused.exit_code, len(refused.output.splitlines())))
            self.assertIn("post user list shows who does", refused.output)

    def test_passwords_refused(self) -> None:
        """
        A password that no mail program could send is refused; where nobody can be asked, that is said.
        """
        key, chain = self.organisation.certify_user("alice")
        add = ("user", "add", *self.config, "--key", key, "--chain", chain)
        for password in ("", "\n", "a\tb\n", "x" * 1001 + "\n", "a\nb\n"):
            self.assertEqual(78, post(*add, "--password-file", "-", stdin=password).exit_code)
        self.assertIn("--password-file", post(*add, stdin="x\n").output)
        self.assertEqual("", self.organisation.run("user", "list", *self.config))

    def test_wrong(self) -> None:
        """
        Neither a key that is not the certificate's, nor a person of another authority, nor what is no certificate.
        """
        alice, bob = (self.organisation.certify_user(name) for name in ("alice", "bob"))
        other = Organisation(self.organisation.directory / "other").certify_user("alice")
        for key, chain in ((alice[0], bob[1]), (other[0], other[1]), (alice[0], alice[0]), (alice[1], alice[1])):
            add = ("user", "add", *self.config, "--key", key, "--chain", chain, "--password-file", "-")
            self.assertEqual(78, post(*add, stdin="x\n").exit_code)

    def test_renew(self) -> None:
        """
        Newer certificates for the key of somebody who lives here are used; older ones and other people's are not.
        """
        self.organisation.add_user(self.home, "alice", "x")
        directory = self.organisation.directory
        before = (directory / "alice.chain").read_bytes()
        (directory / "old.chain").write_bytes(before)
        self.organisation.certify_user("alice")
        renew = ("user", "renew", *self.config, "--chain")
        self.assertIn("valid until", self.organisation.run(*renew, directory / "alice.chain"))
        home = Home(self.home)
        (account,) = home.accounts(home.credentials(int(time.time())).root)
        self.assertNotEqual(before, pack(account.chain))
        # Others may seal to it for as long as the certificate is valid.
        self.assertEqual(read_identity(account.chain[0]).not_after, account.sealing[-1].expires)
        self.organisation.certify_user("bob")
        for chain in ("old.chain", "bob.chain", "alice.key", "none"):
            self.assertEqual(78, post(*renew, directory / chain).exit_code, chain)
        self.assertTrue(check_password(b"x", account.password_hash))
