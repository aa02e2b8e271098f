"""
Tests for L{post.scribe.publication}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PeerError
from post.scribe.publication import (
    PAYLOAD_LIMIT,
    PUBLICATION_LIMIT,
    SKEW_S,
    Publication,
    check,
    claimed,
    group_of,
    sign,
)
from tests.scribe.groups import ALICE, AUTHORITY, GROUP, MALLORY

NOW = 1_800_000_000
SAID = Publication(1, ALICE.account, NOW * 1000, b"hello")
DATA = sign(SAID, ALICE.key, ALICE.chain)


class PublicationTests(SynchronousTestCase):
    """
    Tests of what a publication must be.
    """

    def test_group(self) -> None:
        """
        Each account has a group of its own, which what it says belongs to.
        """
        self.assertEqual(GROUP, check(DATA, AUTHORITY.root, NOW).group)
        self.assertNotEqual(GROUP, group_of(MALLORY.account))

    def test_largest(self) -> None:
        """
        The longest payload fits.
        """
        data = sign(Publication(1, ALICE.account, NOW * 1000, bytes(PAYLOAD_LIMIT)), ALICE.key, ALICE.chain)
        self.assertLess(len(data), PUBLICATION_LIMIT)
        self.assertEqual(PAYLOAD_LIMIT, len(check(data, AUTHORITY.root, NOW).payload))

    def test_time(self) -> None:
        """
        A publication counts for an hour before and after its time.
        """
        for away_s in (SKEW_S, -SKEW_S):
            self.assertEqual(SAID, check(DATA, AUTHORITY.root, NOW + away_s))
            self.assertRaises(PeerError, check, DATA, AUTHORITY.root, NOW + 2 * away_s)

    def test_others(self) -> None:
        """
        Nobody publishes in another's name, under another authority, or in a version that is not known.
        """
        for signer in (MALLORY, ALICE):
            for said in (SAID, Publication(2, ALICE.account, NOW * 1000, b"hello")):
                if (signer, said) != (ALICE, SAID):
                    self.assertRaises(PeerError, check, sign(said, signer.key, signer.chain), AUTHORITY.root, NOW)
        self.assertRaises(PeerError, check, sign(SAID, MALLORY.key, ALICE.chain), AUTHORITY.root, NOW)
        self.assertRaises(PeerError, check, DATA, AUTHORITY.issuing, NOW)

    @given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
    def test_altered(self, place: int, change: int) -> None:
        """
        With any byte changed it is refused.
        """
        altered = DATA[:place] + bytes([DATA[place] ^ change]) + DATA[place + 1 :]
        self.assertRaises(PeerError, check, altered, AUTHORITY.root, NOW)

    @given(st.binary(max_size=300))
    def test_garbage(self, data: bytes) -> None:
        """
        Garbage is refused, and nothing else happens.
        """
        for look in (claimed, lambda each: check(each, AUTHORITY.root, NOW)):
            self.assertRaises(PeerError, look, data)
        self.assertRaises(PeerError, claimed, bytes(PUBLICATION_LIMIT + 1))
