"""
Tests for L{post.crypto.documents}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.documents import (
    Directory,
    DirectoryEntry,
    Member,
    Policy,
    Signed,
    open_directory,
    open_policy,
    sign_directory,
    sign_policy,
)
from post.errors import BadSignature, PeerError
from post.hashes import Purpose
from post.wire import pack, unpack
from tests.crypto.issued import ACCOUNT, DAY, NOW, PLACE, Issuer

OURS, THEIRS = Issuer(), Issuer(b"another")
POLICY = Policy(1, "example.org", 4, NOW, k=5, minimum=2)
SIGNED_POLICY = sign_policy(POLICY, OURS.issuing, OURS.key)
DIRECTORY = Directory(
    "example.org",
    9,
    NOW,
    NOW + DAY,
    [DirectoryEntry("alice@example.org", ACCOUNT)],
    [Member(PLACE, "alice", ("gateway",))],
)
SIGNED_DIRECTORY = sign_directory(DIRECTORY, OURS.issuing, OURS.key)


class DocumentTests(SynchronousTestCase):
    """
    Tests of policy and directory.
    """

    def test_round_trip(self) -> None:
        """
        What the authority signed is what a member reads.
        """
        self.assertEqual(POLICY, open_policy(SIGNED_POLICY, OURS.root, NOW))
        directory = open_directory(SIGNED_DIRECTORY, OURS.root, NOW)
        self.assertEqual((9, NOW + DAY, DIRECTORY.members), (directory.serial, directory.expires, directory.members))
        self.assertEqual(
            (ACCOUNT, None), (directory.account("alice@example.org"), directory.account("bob@example.org"))
        )
        self.assertEqual(([PLACE], []), (directory.nodes_with("gateway"), directory.nodes_with("always-on")))

    def test_other_authority(self) -> None:
        """
        A document of another authority, or of a member, or for another purpose, is not ours.
        """
        body = unpack(Signed, SIGNED_POLICY).body
        for issuing, key in (
            (THEIRS.issuing, THEIRS.key),
            (OURS.issuing, THEIRS.key),
            (OURS.node()[0], OURS.leaf_key),
        ):
            self.assertRaises(BadSignature, open_policy, sign_policy(POLICY, issuing, key), OURS.root, NOW)
        other = pack(Signed(1, body, OURS.issuing, OURS.key.sign(Purpose.SIGN_DIRECTORY, body)))
        self.assertRaises(BadSignature, open_policy, other, OURS.root, NOW)
        self.assertRaises(PeerError, open_directory, SIGNED_POLICY, OURS.root, NOW)

    def test_when(self) -> None:
        """
        A document of an authority whose certificate has ended is worth nothing.
        """
        self.assertRaises(BadSignature, open_policy, SIGNED_POLICY, OURS.root, NOW + 101 * DAY)

    def test_newer(self) -> None:
        """
        A version that is not known is not guessed at, although the authority signed it.
        """
        newer = Policy(2, "example.org", 4, NOW)
        self.assertRaises(PeerError, open_policy, sign_policy(newer, OURS.issuing, OURS.key), OURS.root, NOW)
        signed = unpack(Signed, SIGNED_POLICY)
        outer = pack(Signed(2, signed.body, signed.issuing, signed.signature))
        self.assertRaises(PeerError, open_policy, outer, OURS.root, NOW)

    def test_impossible(self) -> None:
        """
        A policy that nobody could keep is refused.
        """
        impossible = Policy(1, "example.org", 4, NOW, k=2, minimum=3)
        self.assertRaises(PeerError, open_policy, sign_policy(impossible, OURS.issuing, OURS.key), OURS.root, NOW)

    @given(st.sampled_from([SIGNED_POLICY, SIGNED_DIRECTORY]), st.data())
    def test_altered(self, document: bytes, data: st.DataObject) -> None:
        """
        One byte that is another, anywhere, and nobody believes it; no other exception than L{PeerError}.
        """
        place = data.draw(st.integers(0, len(document) - 1))
        altered = document[:place] + data.draw(st.binary(min_size=1, max_size=1)) + document[place + 1 :]
        for opened in (open_policy, open_directory):
            try:
                opened(altered, OURS.root, NOW)
            except PeerError:
                continue
            self.assertEqual(_signed_parts(document), _signed_parts(altered))

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """
        Anything at all.
        """
        for opened in (open_policy, open_directory):
            self.assertRaises(PeerError, opened, data, OURS.root, NOW)


def _signed_parts(document: bytes) -> tuple[int, bytes]:
    """
    What an altered document must still be the same in, if it is believed.
    """
    signed = unpack(Signed, document)
    return signed.version, signed.body
