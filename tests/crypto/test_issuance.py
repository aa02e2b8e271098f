"""
Tests for L{post.crypto.issuance}.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.certificates import issue_issuing, issue_root
from post.crypto.entropy import SeededEntropy
from post.crypto.issuance import (
    ENTRY_LIMIT,
    HEAD_LIMIT,
    IDENTITY,
    LENGTH_LIMIT,
    START,
    Entry,
    Head,
    link,
    open_head,
    read_entry,
    sign_head,
)
from post.crypto.keys import SigningKey
from post.errors import PeerError
from post.wire import pack
from tests.crypto.issued import DAY, NOW

ENTRY = Entry(1, 3, NOW, IDENTITY, "bob@example.org", "7", b"k" * 32, b"c" * 32, NOW + DAY)


@dataclass
class Signer:
    """
    An authority's certificates and key.
    """

    root: bytes
    issuing: bytes
    key: SigningKey


def signer(seed: bytes) -> Signer:
    """
    An authority of example.org.
    """
    entropy = SeededEntropy(seed)
    root_key, key = SigningKey.generate(entropy), SigningKey.generate(entropy)
    root = issue_root(root_key, "example.org", NOW - DAY, NOW + DAY, entropy)
    return Signer(root, issue_issuing(root, root_key, key, "example.org", NOW - DAY, NOW + DAY, entropy), key)


def head(length: int, fill: bytes = b"l") -> Head:
    """
    Of a log with a link made of one byte.
    """
    return Head(1, "example.org", length, fill * 32, NOW)


class EntryTests(SynchronousTestCase):
    """
    Tests of L{read_entry} and L{link}.
    """

    def test_round_trip(self) -> None:
        """
        An entry is read back in its place, and refused in any other, in another version or another encoding.
        """
        self.assertEqual(ENTRY, read_entry(pack(ENTRY), 3))
        self.assertRaises(PeerError, read_entry, pack(ENTRY), 4)
        self.assertRaises(PeerError, read_entry, pack(msgspec.structs.replace(ENTRY, version=2)), 3)
        self.assertRaises(PeerError, read_entry, pack(msgspec.structs.replace(ENTRY, name="bob\x1b[2J@example.org")), 3)
        self.assertRaises(PeerError, read_entry, pack(msgspec.structs.replace(ENTRY, at=1 << 38)), 3)
        longer = pack(ENTRY).replace(b"\x03", b"\xcc\x03", 1)  # 3, in two bytes.
        self.assertRaises(PeerError, read_entry, longer, 3)

    def test_largest(self) -> None:
        """
        The longest names that there are fit into an entry.
        """
        most = (1 << 38) - 1
        largest = Entry(1, LENGTH_LIMIT - 1, most, "n" * 16, "n" * 320, "o" * 320, START, START, most, True)
        self.assertEqual(largest, read_entry(pack(largest), LENGTH_LIMIT - 1))
        self.assertLess(len(pack(largest)), ENTRY_LIMIT)

    @given(st.binary(max_size=2 * ENTRY_LIMIT))
    def test_garbage(self, data: bytes) -> None:
        """
        What is no entry is refused as a peer's mistake.
        """
        self.assertRaises(PeerError, read_entry, data, 0)

    def test_link(self) -> None:
        """
        A link depends on every entry before it, and on their order.
        """
        one, other = b"one", b"other"
        links = {link(link(START, one), other), link(link(START, other), one), link(START, other), link(START, one)}
        self.assertEqual(4, len(links))


class HeadTests(SynchronousTestCase):
    """
    Tests of L{open_head} and what heads say.
    """

    def test_signed(self) -> None:
        """
        A head is believed if an authority under the root has signed it for this purpose, and within the limit.
        """
        ours, other = signer(b"ours"), signer(b"other")
        signed = sign_head(head(4), ours.issuing, ours.key)
        self.assertEqual(head(4), open_head(signed, ours.root, NOW))
        self.assertRaises(PeerError, open_head, signed, other.root, NOW)
        self.assertRaises(PeerError, open_head, sign_head(head(4), ours.issuing, other.key), ours.root, NOW)
        self.assertRaises(PeerError, open_head, signed + bytes(HEAD_LIMIT), ours.root, NOW)

    def test_serial(self) -> None:
        """
        The serial rises with the length, and tells two logs of the same length apart; the largest is still a serial of
        a notice.
        """
        self.assertLess(head(4, b"\xff").serial, head(5, b"\0").serial)
        self.assertLess(head(4, b"l").serial, head(4, b"m").serial)
        self.assertLess(head(LENGTH_LIMIT, b"\xff").serial, 1 << 62)
