"""
Tests for L{post.cli.public_log}: C{post ca log}.
"""

from __future__ import annotations

import json
import os

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.commands import Organisation, post
from tests.scratch import scratch


class PublicLogTests(SynchronousTestCase):
    """
    An authority by hand, and a node that has not run yet.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.organisation = Organisation(self.directory)
        self.home = self.organisation.certify_node("bob@example.org")
        self.organisation.run("ca", "revoke", "--authority", self.organisation.authority, "bob@example.org/0")

    def log(self, *arguments: object) -> tuple[int, str]:
        """
        Exit code and words.
        """
        result = post("ca", "log", *map(str, arguments))
        return result.exit_code, result.output

    def test_shown(self) -> None:
        """
        Each entry is a line, by name if one is given; as JSON an object.
        """
        where = ("--authority", self.organisation.authority)
        code, said = self.log(*where)
        self.assertEqual((0, 2), (code, len(said.splitlines())), said)
        self.assertIn("certified node key", said)
        self.assertIn("revoked node key", said)
        code, said = self.log(*where, "--json", "Bob@example.org")
        [entry] = map(json.loads, said.splitlines())
        self.assertEqual(
            ("node", "bob@example.org", 0, False), tuple(entry[k] for k in ("kind", "of", "number", "late"))
        )
        self.assertEqual(self.log(*where, "bob@example.org"), self.log(*where, "BOB"))
        code, said = self.log(*where, entry["name"][:8])
        self.assertEqual((0, 2), (code, len(said.splitlines())), said)

    def test_refused(self) -> None:
        """
        One line, and what to do, for a name that is not in it, an authority that is none, a machine that has no copy
        yet, and an entry that there is not.
        """
        self.organisation.init_node(self.home, "--listen", "127.0.0.1:7654")
        mine = ("--config", self.home / "node.toml")
        where = ("--authority", self.organisation.authority)
        for arguments, reason in (
            ((*where, "carol@example.org"), "carol@example.org: is in none of the 2 entries"),
            (("--authority", self.directory), "holds no authority"),
            (mine, "since this node asks no authority: post ca log --authority DIRECTORY"),
            ((*where, "bo"), "bo: is in none of the 2 entries"),
            ((*mine, "--known", "1"), "has no copy of the public log"),
            ((*where, "--known", "1"), "is said on the machine of the node that warns"),
        ):
            code, said = self.log(*arguments)
            self.assertNotEqual(0, code)
            self.assertIn(reason, said)
            self.assertEqual(1, len(said.splitlines()), said)
        settings = self.home / "node.toml"
        settings.write_text(settings.read_text() + '\n[authority]\ndoors = ["127.0.0.1:7655"]\n')
        code, said = self.log(*mine)
        self.assertIn("has no copy of the public log: the node fetches it when it runs", said)

    def test_nowhere(self) -> None:
        """
        Where there is no node, or one that serves no authority, it is said how to name the authority.
        """
        self.patch(os, "environ", {**os.environ, "POST_CONFIG": str(self.directory / "none" / "node.toml")})
        for verb in ("list", "log", "policy"):
            result = post("ca", verb)
            self.assertEqual((78, 1), (result.exit_code, len(result.output.splitlines())), result.output)
            self.assertIn("--authority: is needed", result.output)
        self.organisation.init_node(self.home, "--listen", "127.0.0.1:7654")
        for arguments in (("list",), ("token", "carol@example.org"), ("revoke", "bob@example.org")):
            result = post("ca", *arguments, "--config", self.home / "node.toml")
            self.assertEqual((78, 1), (result.exit_code, len(result.output.splitlines())), result.output)
            self.assertIn("this node serves no authority: say --authority DIRECTORY", result.output)
