"""
Tests for L{post.ca.tokens} and L{post.ca.heard}.
"""

from __future__ import annotations

import stat

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from post.ca import tokens as module
from post.ca.code import JoinCode, short_fingerprint
from post.ca.heard import AGAIN_S, GIVEN, Heard
from post.ca.tokens import KEPT_S, TOKENS_LIMIT, Tokens
from post.crypto.entropy import SeededEntropy
from post.errors import ConfigError
from post.ids import Id, NodeId
from tests.crypto.issued import DAY, NOW
from tests.scratch import scratch

WHERE = "10.0.0.1:7655"


class TokensTests(SynchronousTestCase):
    """
    Tests of L{Tokens}.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.tokens = Tokens(self.directory)
        self.entropy = SeededEntropy(b"tokens")

    def make(self, address: str = "bob@example.org", index: int = 0) -> JoinCode:
        return self.tokens.make(WHERE, b"root", address, NOW + DAY, self.entropy, index)

    def test_make(self) -> None:
        """
        What is noted of a code recognizes it, does not tell its secret, and is for nobody else to read.
        """
        code = self.make()
        self.assertEqual((WHERE, short_fingerprint(b"root")), (code.where, code.fingerprint))
        token = self.tokens.find(code.name)
        assert token is not None
        self.assertEqual((code.key, "bob@example.org", b""), (token.key, token.address, token.used_by))
        self.assertLessEqual(NOW + DAY - 60, token.expires)
        (path,) = (self.directory / "tokens").iterdir()
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        self.assertNotIn(code.secret, path.read_bytes())
        self.assertIsNone(self.tokens.find(bytes(16)))

    def test_withdraw(self) -> None:
        """
        Of one machine only the newest code is good; one that has been used stays known.
        """
        used, open_, other = self.make(), self.make(), self.make("carol@example.org")
        second = self.make(index=1)
        token = self.tokens.find(used.name)
        assert token is not None
        self.tokens.write(msgspec.structs.replace(token, used_by=b"k" * 32, used_at=NOW))
        self.tokens.withdraw("bob@example.org", 0)
        known = {each.name for each in self.tokens.all()}
        self.assertEqual({used.name, other.name, second.name}, known)
        self.assertNotIn(open_.name, known)

    def test_forget(self) -> None:
        """
        Long after its end a code is forgotten, not before.
        """
        code = self.make()
        self.tokens.forget(NOW + DAY + KEPT_S - 60)
        self.assertIsNotNone(self.tokens.find(code.name))
        self.tokens.forget(NOW + DAY + KEPT_S + 60)
        self.assertIsNone(self.tokens.find(code.name))

    def test_limit(self) -> None:
        """
        There are not more than so many.
        """
        self.assertLess(TOKENS_LIMIT, 10_000)
        self.patch(module, "TOKENS_LIMIT", 2)
        self.make()
        self.make()
        self.assertRaises(ConfigError, self.make)

    def test_damaged(self) -> None:
        """
        A file that is damaged, newer or readable by others is said, not used.
        """
        code = self.make()
        (path,) = (self.directory / "tokens").iterdir()
        whole = path.read_bytes()
        for data in (b"nonsense", whole.replace(b"\x01", b"\x02", 1)):
            path.write_bytes(data)
            self.assertRaises(ConfigError, self.tokens.find, code.name)
        path.write_bytes(whole)
        path.chmod(0o644)
        self.assertRaises(ConfigError, self.tokens.find, code.name)


class HeardTests(SynchronousTestCase):
    """
    Tests of L{Heard}.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.heard = Heard(self.directory)
        self.nodes = [NodeId(Id(number)) for number in range(1, 40)]
        self.members = frozenset(self.nodes)

    def test_addresses(self) -> None:
        """
        Those heard of last come first, one's own not at all; a new address takes the place of the old.
        """
        one, two, three = self.nodes[:3]
        self.heard.note(one, ("a:1",), self.members, NOW)
        self.heard.note(two, ("b:1", "b:2"), self.members, NOW + 1)
        self.heard.note(three, ("c:1",), self.members, NOW + 2)
        self.heard.note(one, ("a:2",), self.members, NOW + 3)
        self.assertEqual(("a:2", "c:1", "b:1", "b:2"), Heard(self.directory).addresses(None))
        self.assertEqual(("c:1", "b:1", "b:2"), self.heard.addresses(one))

    def test_bounds(self) -> None:
        """
        Only so many are told; whoever is no member any more is forgotten.
        """
        for at, node in enumerate(self.nodes):
            self.heard.note(node, (f"h{at}:1",), self.members, NOW + at)
        self.assertEqual(GIVEN, len(self.heard.addresses(None)))
        self.heard.note(self.nodes[0], ("x:1",), frozenset(self.nodes[:2]), NOW + 100)
        self.assertEqual(("x:1", "h1:1"), self.heard.addresses(None))

    def test_written_seldom(self) -> None:
        """
        The same said again is not written again, until much later.
        """
        path = self.directory / "heard"
        self.heard.note(self.nodes[0], ("a:1",), self.members, NOW)
        before = path.read_bytes()
        self.heard.note(self.nodes[0], ("a:1",), self.members, NOW + AGAIN_S - 1)
        self.assertEqual(before, path.read_bytes())
        self.heard.note(self.nodes[0], ("a:1",), self.members, NOW + AGAIN_S)
        self.assertNotEqual(before, path.read_bytes())

    def test_damaged(self) -> None:
        """
        A damaged file is as good as none: it fills again.
        """
        self.heard.note(self.nodes[0], ("a:1",), self.members, NOW)
        (self.directory / "heard").write_bytes(b"nonsense")
        self.assertEqual((), self.heard.addresses(None))
        self.heard.note(self.nodes[0], ("a:1",), self.members, NOW)
        self.assertEqual(("a:1",), self.heard.addresses(None))
