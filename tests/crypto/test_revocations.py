"""
Tests for L{post.crypto.revocations} and L{post.crypto.trust}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.certificates import verify_identity, verify_node
from post.crypto.documents import Policy, open_policy, sign_policy
from post.crypto.revocations import (
    IDENTITY,
    NODE,
    REASON_LIMIT,
    REVOKED_LIMIT,
    SIZE_LIMIT,
    Revocation,
    Revocations,
    open_revocations,
    sign_revocations,
)
from post.crypto.trust import Revoked, Taken, Trust, check_revoked
from post.errors import BadSignature, PeerError
from tests.crypto.issued import DAY, NOW, Issuer

ISSUER = Issuer()
KEY = ISSUER.leaf_key.public


def listed(*entries: Revocation, serial: int = 1) -> Revocations:
    """
    A list of the authority's.
    """
    return Revocations(1, "example.org", serial, NOW, NOW + DAY, entries)


class RevocationsTests(SynchronousTestCase):
    """
    Tests of the signed list.
    """

    def test_round_trip(self) -> None:
        """
        What is signed is what is read, and it is of use to whom has the root alone.
        """
        entry = Revocation(NODE, "ab" * 20, KEY, NOW, NOW + DAY, "stolen")
        signed = sign_revocations(listed(entry), ISSUER.issuing, ISSUER.key)
        found = open_revocations(signed, ISSUER.root, NOW)
        self.assertEqual(listed(entry), found)
        self.assertEqual({KEY: Taken(NOW, "stolen")}, found.keys())
        self.assertEqual(([entry], []), (found.of(NODE, "ab" * 20), found.of(IDENTITY, "ab" * 20)))

    def test_not_the_authority(self) -> None:
        """
        Neither another authority can revoke, nor one document stand for another.
        """
        other = Issuer(b"other")
        signed = sign_revocations(listed(), other.issuing, other.key)
        self.assertRaises(BadSignature, open_revocations, signed, ISSUER.root, NOW)
        signed = sign_revocations(listed(), ISSUER.issuing, ISSUER.key)
        self.assertRaises(PeerError, open_policy, signed, ISSUER.root, NOW)
        policy = sign_policy(Policy(1, "example.org", 1, NOW), ISSUER.issuing, ISSUER.key)
        self.assertRaises(PeerError, open_revocations, policy, ISSUER.root, NOW)

    @given(st.data())
    def test_altered(self, data: st.DataObject) -> None:
        """
        A list that was altered or cut anywhere is refused.
        """
        signed = sign_revocations(listed(Revocation(NODE, "ab" * 20, KEY, NOW, NOW + DAY)), ISSUER.issuing, ISSUER.key)
        place = data.draw(st.integers(0, len(signed) - 1))
        change = data.draw(st.integers(1, 255))
        altered = signed[:place] + bytes([signed[place] ^ change]) + signed[place + 1 :]
        for hostile in (altered, signed[:place], signed + b"\0"):
            self.assertRaises(PeerError, open_revocations, hostile, ISSUER.root, NOW)

    def test_size(self) -> None:
        """
        The longest list with usual names and reasons fits; what is longer than a message is refused unread.
        """
        entry = Revocation(IDENTITY, f"{'a' * 20}@example.org", KEY, NOW, NOW + DAY, "the laptop was stolen on a train")
        longest = sign_revocations(listed(*[entry] * REVOKED_LIMIT), ISSUER.issuing, ISSUER.key)
        self.assertEqual(REVOKED_LIMIT, len(open_revocations(longest, ISSUER.root, NOW).entries))
        self.assertLess(len(longest), SIZE_LIMIT)
        worst = Revocation(IDENTITY, f"{'a' * 300}@example.org", KEY, NOW, NOW + DAY, "x" * REASON_LIMIT)
        signed = sign_revocations(listed(*[worst] * REVOKED_LIMIT), ISSUER.issuing, ISSUER.key)
        self.assertRaises(PeerError, open_revocations, signed, ISSUER.root, NOW)


class TrustTests(SynchronousTestCase):
    """
    Tests of L{Trust}.
    """

    def setUp(self) -> None:
        self.trust = Trust(ISSUER.root)

    def test_root(self) -> None:
        """
        It is the root; and each is another, even in one process.
        """
        self.assertEqual(ISSUER.root, self.trust)
        self.assertIs(self.trust, Trust.of(self.trust))
        Trust.of(ISSUER.root).revoke({KEY: Taken(NOW)}, NOW)
        verify_node(ISSUER.node(), self.trust, NOW)

    def test_revoked(self) -> None:
        """
        A revoked key is believed in nothing that it did since, and in what it did before.
        """
        self.trust.revoke({KEY: Taken(NOW, "stolen")}, NOW + 10)
        verify_node(ISSUER.node(), self.trust, NOW - 1)
        verify_identity(ISSUER.identity(), self.trust, NOW - 1)
        error = self.assertRaises(Revoked, verify_node, ISSUER.node(), self.trust, NOW)
        self.assertEqual("a certificate that was revoked on 2023-11-14 22:13 UTC (stolen)", str(error))
        self.assertRaises(Revoked, verify_identity, ISSUER.identity(), self.trust, NOW)
        verify_node(ISSUER.node(), ISSUER.root, NOW)

    def test_slow_clock(self) -> None:
        """
        A node whose clock is behind the authority's refuses at once too what it knows to be revoked.
        """
        self.trust.revoke({KEY: Taken(NOW + 300)}, NOW)
        self.assertRaises(Revoked, check_revoked, self.trust, KEY, NOW)
        check_revoked(self.trust, KEY, NOW - 1)

    def test_replaced(self) -> None:
        """
        A newer list replaces the older whole; keys that it does not name are believed.
        """
        self.trust.revoke({KEY: Taken(NOW)}, NOW)
        self.trust.revoke({b"other": Taken(NOW)}, NOW)
        verify_node(ISSUER.node(), self.trust, NOW + 1)
        self.assertEqual((None, Taken(NOW)), (self.trust.taken(KEY), self.trust.taken(b"other")))
