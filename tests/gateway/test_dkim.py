"""
Tests of L{post.gateway.dkim}.
"""

from __future__ import annotations

from pathlib import Path

import dkim
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import ConfigError
from post.gateway.dkim import KEYS_LIMIT, Key, check_selector, make_key, read_keys, sign
from tests.scratch import scratch

NOW = 1_700_000_000
"""Before now: a signature from the future is not believed."""
MESSAGE = (
    b"From: Alice  <alice@example.org>\r\nTo: x@example.net,\r\n\ty@example.net\r\nSubject: a\r\n  b \r\n"
    b"Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\nHello  you \t\r\n\r\n.\r\n\r\n\r\n"
)
ODD = [b" ", b"\t", b"x", b"\r\n", b"\r\n ", b"\xc3\xbc", b"."]


class SignTests(SynchronousTestCase):
    """
    Tests of L{sign}, with dkimpy as the other side.
    """

    key: Key

    @classmethod
    def setUpClass(cls) -> None:
        cls.key = Key("s1", rsa.generate_private_key(65537, 2048))

    def verified(self, message: bytes, key: Key) -> bool:
        """
        Whether dkimpy believes it, with the key in the DNS.
        """
        name, text = key.record("example.org")
        zone = {f"{name}.".encode(): text.encode()}
        found: bool = dkim.verify(message, dnsfunc=lambda name, timeout=5: zone.get(name))
        return found

    def test_verified(self) -> None:
        """
        A signed message is verified; a changed one, or one with another From or Subject in front, is not.
        """
        signed = sign(MESSAGE, [self.key], "example.org", NOW) + MESSAGE
        self.assertTrue(self.verified(signed, self.key))
        self.assertTrue(self.verified(b"Received: by somebody\r\n" + signed, self.key))
        for changed in (
            signed.replace(b"Hello", b"Hullo"),
            signed.replace(b"x@example.net", b"z@example.net"),
            b"From: eve@example.com\r\n" + signed,
            b"Subject: else\r\n" + signed,
            signed + b"more\r\n",
        ):
            self.assertFalse(self.verified(changed, self.key))

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.sampled_from([b" ", b"\t", b"x", b"\r\n", b"\r\n ", b"\xc3\xbc", b"."]), max_size=30), st.booleans()
    )
    def test_any(self, pieces: list[bytes], in_subject: bool) -> None:
        """
        Whatever the white space, in the header or below it.
        """
        odd = b"".join(pieces)
        if in_subject:
            odd = odd.replace(b"\r\n ", b" ").replace(b"\r\n", b" ")
            message = b"Subject:" + odd + b"\r\nFrom: a@example.org\r\n\r\nx\r\n"
        else:
            message = b"From: a@example.org\r\n\r\n" + odd + b"\r\n"
        signed = sign(message, [self.key], "example.org", NOW) + message
        self.assertTrue(self.verified(signed, self.key))

    def test_lines(self) -> None:
        """
        The field is in lines that every server takes, one for each key.
        """
        both = [self.key, Key("s2", ed25519.Ed25519PrivateKey.generate())]
        fields = sign(MESSAGE, both, "example.org", NOW)
        self.assertEqual(2, fields.count(b"DKIM-Signature: "))
        self.assertIn(b"a=ed25519-sha256;", fields)
        self.assertTrue(all(len(line) <= 78 for line in fields.split(b"\r\n")))
        self.assertTrue(fields.endswith(b"\r\n"))

    def test_no_header(self) -> None:
        """
        What is no message is not signed.
        """
        for message in (b" folded\r\n\r\n", b"no field\r\n\r\n"):
            self.assertRaises(ValueError, sign, message, [self.key], "example.org", NOW)
        self.assertEqual(b"", sign(MESSAGE, [], "example.org", NOW))


class KeyTests(SynchronousTestCase):
    """
    Tests of the keys on disk.
    """

    def test_kept(self) -> None:
        """
        A key is made once, for its owner's eyes, and found again; a few at most.
        """
        directory = scratch(self)
        self.assertEqual([], read_keys(directory))
        first = make_key(directory, "s1", "ed25519")
        self.assertEqual(first.record("example.org"), make_key(directory, "s1", "rsa").record("example.org"))
        self.assertEqual(0o600, (directory / "dkim" / "s1.pem").stat().st_mode & 0o777)
        for number in range(2, KEYS_LIMIT + 1):
            make_key(directory, f"s{number}", "ed25519")
        self.assertRaises(ConfigError, make_key, directory, "one-more", "ed25519")
        self.assertEqual(["s1", "s2", "s3", "s4"], [key.selector for key in read_keys(directory)])

    def test_unusable(self) -> None:
        """
        A damaged key, one that others can read, and a name that DNS does not have are refused with the file.
        """
        for selector in ("", "A", "a.b", "a b", "../x", "-a", "x" * 64):
            self.assertRaises(ConfigError, check_selector, selector)
        directory = scratch(self)
        make_key(directory, "s1", "ed25519")
        file: Path = directory / "dkim" / "s1.pem"
        file.chmod(0o644)
        self.assertRaises(ConfigError, read_keys, directory)
        file.chmod(0o600)
        file.write_text("no key")
        self.assertRaises(ConfigError, read_keys, directory)
