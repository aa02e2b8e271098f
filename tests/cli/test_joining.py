"""
Tests of L{post.cli.init}, L{post.cli.join} and what C{post ca} does for them; L{tests.system.test_joining} joins.
"""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

from click.testing import Result
from twisted.trial.unittest import SynchronousTestCase

from post.ca.authority import Authority
from post.ca.code import JoinCode
from post.ca.tokens import Tokens
from post.cli.join import check_clock
from post.cli.settling import listening, make_keys
from post.config import load
from post.crypto.documents import open_policy
from post.crypto.entropy import system_entropy
from post.crypto.passwords import check_password
from post.errors import ConfigError
from post.files import lock
from post.home import Home
from tests.cli.commands import Organisation, post
from tests.scratch import scratch

CODE = JoinCode("127.0.0.1:1", b"f" * 16, b"s" * 16, 1_700_000_040).to_text()


class Case(SynchronousTestCase):
    """
    With a place for a new organisation.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.home = self.directory / "alice"
        self.config = self.home / "node.toml"

    def init(self, *options: str, address: str = "alice@example.org", home: Path | None = None) -> Result:
        """
        Try to make one.
        """
        given = ("--user", address, "--host", "127.0.0.1", "--password-file", "-", *options)
        return post("init", home or self.home, *given, stdin="secret\n")

    def made(self, machines: int = 1) -> str:
        """
        Make one.
        """
        result = self.init("--machines", str(machines))
        self.assertEqual(0, result.exit_code, result.output)
        return result.output

    def refused(self, result: Result, said: str, code: int = 78) -> None:
        """
        One line, and the exit code.
        """
        self.assertEqual((code, 1), (result.exit_code, len(result.output.splitlines())), result.output)
        self.assertIn(said, result.output)

    def authority(self) -> Authority:
        """
        The one that was made.
        """
        return Authority.open(self.home / "authority", system_entropy)


class InitTests(Case):
    """
    Tests of C{post init}.
    """

    def test_init(self) -> None:
        """
        Authority, node and person are there, and it is said what to do next.
        """
        said = self.made()
        for words in ("twistd", "post ca token", "post join", "root.key", str(self.config)):
            self.assertIn(words, said)
        home, now = Home(self.home), int(time.time())
        home.check()
        root = home.credentials(now).root
        self.assertEqual(self.authority().root, root)
        (account,) = home.accounts(root)
        self.assertTrue(check_password(b"secret", account.password_hash))
        self.assertIsNotNone(home.directory(root, now).account("alice@example.org"))
        settings = load(self.config).settings
        self.assertEqual(("127.0.0.1:7654", "127.0.0.1:7655"), (settings.links.listen, settings.authority.address))
        self.assertFalse((self.home / "joining").exists())
        self.refused(self.init("--machines", "1"), "is a node's already")

    def test_few_machines(self) -> None:
        """
        For one or two machines the policy's numbers are low; for each number it is said what may be off.
        """
        for machines, numbers, said in (
            (1, (1, 0), "one copy"),
            (2, (2, 1), "two copies"),
            (3, (3, 2), "all must be on"),
            (4, (3, 2), "one may be off"),
            (9, (3, 2), "two may be off"),
        ):
            self.home = self.directory / str(machines)
            self.assertIn(said, self.made(machines))
            authority = self.authority()
            policy = open_policy(authority.policy(), authority.root, int(time.time()))
            self.assertEqual(numbers, (policy.k, policy.minimum))

    def test_policy(self) -> None:
        """
        The command that the output names shows and changes the numbers of the authority that the node here serves.
        """
        self.assertIn(f"post ca policy --config {self.config} --copies 3 --minimum 2", self.made())
        raised = post("ca", "policy", "--config", self.config, "--copies", "3", "--minimum", "2")
        self.assertIn("3 copies, at least 2", raised.output)
        self.assertEqual(raised.output, post("ca", "policy", "--config", self.config).output)

    def test_asked(self) -> None:
        """
        Where nobody can be asked, it is said which option is missing; what is no address is refused.
        """
        self.refused(post("init", self.home, "--machines", "1"), "--user")
        self.refused(self.init(), "--machines")
        self.refused(self.init("--machines", "1", address="alice"), "is not a mail address")
        self.refused(post("init", self.home, "--user", "a@b.org", "--machines", "1"), "--password-file")
        self.assertFalse((self.home / "version").exists())

    def test_cut_short(self) -> None:
        """
        One that was cut short can be repeated; the authority stays the same, and so do the keys.
        """
        self.made()
        root, key = self.authority().root, (self.home / "node.key").read_bytes()
        (self.home / "version").unlink()
        self.made()
        self.assertEqual((root, key), (self.authority().root, (self.home / "node.key").read_bytes()))
        (self.home / "version").unlink()
        self.refused(self.init("--machines", "1", address="alice@example.com"), "is the authority of example.org")

    def test_by_hand(self) -> None:
        """
        Settings that were written before are used, if they say where the authority is.
        """
        self.home.mkdir()
        self.config.write_text('links.listen = "127.0.0.1:9"')
        self.refused(self.init("--machines", "1"), "authority.directory")
        self.config.write_text('links.listen = "127.0.0.1:9"\nauthority.directory = "authority"')
        self.made()

    def test_in_use(self) -> None:
        """
        Two do not make one directory at once.
        """
        self.home.mkdir()
        held = lock(self.home / "lock")
        self.refused(self.init("--machines", "1"), "is in use")
        os.close(held)
        self.made()

    def test_listening(self) -> None:
        """
        A node that is reached by others listens at all interfaces, one on loopback there alone.
        """
        for host, expected in (
            ("127.0.0.1", "127.0.0.1:5"),
            ("::1", "[::1]:5"),
            ("192.168.1.2", "0.0.0.0:5"),
            ("fd00::1", "[::]:5"),
            ("pc.example.org", "0.0.0.0:5"),
        ):
            self.assertEqual(expected, listening(host, 5))


class TokenTests(Case):
    """
    Tests of C{post ca token}, C{list} and C{serve}.
    """

    def setUp(self) -> None:
        super().setUp()
        self.made()

    def token(self, *arguments: str | Path) -> Result:
        """
        Ask for a code.
        """
        return post("ca", "token", "--config", self.config, *arguments)

    def test_token(self) -> None:
        """
        A code says where the authority is and which it is, and is also shown as a QR.
        """
        result = self.token("Bob@example.org", "--hours", "1")
        found = re.search(r"post join (\S+)", result.output)
        assert found is not None
        code = JoinCode.from_text(found[1])
        self.assertEqual("127.0.0.1:7655", code.where)
        self.assertTrue(0 <= time.time() + 3600 - code.expires < 120)
        self.assertIn("▄", result.output)
        self.assertNotIn("▄", self.token("bob@example.org", "--no-qr").output)
        token = Tokens(self.home / "authority").find(code.name)
        self.assertIsNone(token)  # The second took its place.

    def test_refused(self) -> None:
        """
        No code for an address that cannot be, for somebody who has an account, or without a place to ask at.
        """
        self.refused(self.token("bob@example.com"), "is not of the domain")
        self.refused(self.token("bob"), "is not a mail address")
        self.refused(self.token("alice@example.org"), "has an account already")
        self.assertEqual(0, self.token("alice@example.org", "--replace").exit_code)
        where = ("--authority", self.home / "authority")
        self.refused(post("ca", "token", *where, "bob@example.org"), "--door")
        self.refused(post("ca", "token", *where, "--door", "nonsense", "bob@example.org"), "is not host:port")
        self.assertEqual(0, post("ca", "token", *where, "--door", "ca.example.org:7655", "bob@example.org").exit_code)

    def test_list(self) -> None:
        """
        People, nodes and codes are listed, for people and for programs.
        """
        self.token("bob@example.org")
        listed = post("ca", "list", "--config", self.config).output
        for words in ("person  alice@example.org", "of alice@example.org, until", "code    for bob@example.org, open"):
            self.assertIn(words, listed)
        found = json.loads(post("ca", "list", "--config", self.config, "--json").output)
        self.assertEqual(["alice@example.org"], [each["address"] for each in found["people"]])
        self.assertEqual([("bob@example.org", "open")], [(each["address"], each["state"]) for each in found["codes"]])

    def test_role(self) -> None:
        """
        A member's machine is given a role, and it is taken away again; nothing changes where none is named.
        """
        ours = ("--config", self.config)
        for options, said in (
            ((), "alice@example.org: none."),
            (("--add", "gateway"), "from its next certificate on: gateway."),
            (("--add", "always-on"), "from its next certificate on: always-on, gateway."),
            ((), "alice@example.org: always-on, gateway."),
            (("--remove", "gateway"), "from its next certificate on: always-on."),
        ):
            self.assertIn(said, post("ca", "role", "Alice@Example.ORG", *options, *ours).output)
        (member,) = self.authority().members(int(time.time())).members
        self.assertEqual(("always-on",), member.roles)
        for name in (member.node.hex()[:8], "alice@example.org/0"):
            self.assertIn("always-on.", post("ca", "role", name, *ours).output)
        self.refused(
            post("ca", "role", "bob@example.org", "--add", "gateway", *ours), "has no machine that is a member"
        )
        self.refused(post("ca", "role", "alice@example.org/1", "--add", "gateway", *ours), "has no machine that is")
        both = ("--add", "gateway", "--remove", "gateway")
        self.refused(post("ca", "role", "alice@example.org", *both, *ours), "both name gateway")

    def test_serve(self) -> None:
        """
        A node that was made by hand serves the authority after one command; another authority it does not.
        """
        organisation = Organisation(self.directory)
        home = organisation.certify_node("dave")
        organisation.init_node(home, "--listen", "127.0.0.1:7654")
        config = ("--config", home / "node.toml")
        serve = ("ca", "serve", *config, "--authority")
        before = (home / "node.toml").read_text()
        self.refused(post(*serve, self.home / "authority"), "is not the authority of this node")
        self.refused(post(*serve, organisation.authority), "authority.address")
        self.refused(post(*serve, organisation.authority, "--listen", "x"), "is not host:port")
        self.assertEqual(before, (home / "node.toml").read_text())
        self.refused(post("ca", "token", *config, "bob@example.org"), "serves no authority")
        self.assertEqual(0, post(*serve, organisation.authority, "--listen", "127.0.0.1:7655").exit_code)
        self.assertEqual(str(organisation.authority), load(home / "node.toml").settings.authority.directory)
        self.assertEqual(0, post("ca", "token", *config, "bob@example.org").exit_code)
        self.refused(post(*serve, organisation.authority), "has a section [authority] already")


class JoinTests(Case):
    """
    Tests of C{post join}.
    """

    def join(self, code: str = CODE) -> Result:
        """
        Try to.
        """
        return post("join", code, self.home, "--password-file", "-", stdin="secret\n")

    def test_refused(self) -> None:
        """
        What is no code is refused before anything is made; where nobody answers, that is said, and the keys stay for
        the next attempt.
        """
        self.refused(self.join("uncle"), "no code has 'U' in it")
        self.refused(self.join(CODE[:40]), "is not right")
        self.assertFalse(self.home.exists())
        self.refused(self.join(), "127.0.0.1:1: ", 69)
        key = (self.home / "node.key").read_bytes()
        self.refused(self.join(), "127.0.0.1:1: ", 69)
        self.assertEqual(key, make_keys(self.home)[0].to_pem())

    def test_node(self) -> None:
        """
        A directory that is a node's stays what it is.
        """
        self.made()
        self.refused(self.join(), "is a node's already")

    def test_clock(self) -> None:
        """
        A machine whose clock is a day off is told so.
        """
        now = int(time.time())
        check_clock(now + 60)
        for theirs, said in ((now - 86400, "24.0 hours ahead"), (now + 86400, "24.0 hours behind")):
            self.assertIn(said, str(self.assertRaises(ConfigError, check_clock, theirs)))
