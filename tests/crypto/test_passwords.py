"""
Tests for L{post.crypto.passwords}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.crypto.entropy import SeededEntropy
from post.crypto.passwords import check_password, hash_password


class PasswordTests(SynchronousTestCase):
    """
    Tests of L{hash_password} and L{check_password}.
    """

    def test_password(self) -> None:
        """
        The right password is right, no other is, and equal passwords do not look alike.
        """
        entropy = SeededEntropy(b"x")
        one, other = (hash_password("pass:wörd".encode(), entropy) for _ in range(2))
        self.assertNotEqual(one, other)
        self.assertTrue(check_password("pass:wörd".encode(), one))
        for wrong in (b"", b"pass", "pass:wörD".encode(), b"\0" * 100):
            self.assertFalse(check_password(wrong, other))

    def test_cost(self) -> None:
        """
        Guessing is expensive: Argon2id with 19 MiB, as RFC 9106 and OWASP have it.
        """
        self.assertTrue(hash_password(b"x", SeededEntropy(b"x")).startswith("$argon2id$v=19$m=19456,t=2,p=1$"))

    def test_nobody(self) -> None:
        """
        No password is right for a name that does not exist, or a hash that is damaged.
        """
        for stored in ("", "nonsense", "$argon2id$v=19$m=19456,t=2,p=1$", "$2b$12$abc"):
            self.assertFalse(check_password(b"", stored))
            self.assertFalse(check_password(b"x", stored))
