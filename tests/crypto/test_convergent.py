"""
Tests for L{post.crypto.convergent}.
"""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.convergent import (
    BLOCK_LIMIT,
    Convergence,
    Reference,
    conceal_private,
    conceal_shared,
    padded_length,
    reveal,
)
from post.crypto.entropy import SeededEntropy
from post.errors import BadSignature, PeerError
from post.hashes import Purpose, tagged
from post.wire import pack, unpack

OURS = Convergence(1, b"o" * 32)
TEXT = b"the same attachment, sent by two people"


def forge(reference: Reference, **fields: object) -> Reference:
    """
    A reference that differs in some fields.
    """
    return msgspec.structs.replace(reference, **fields)


class ConcealTests(SynchronousTestCase):
    """
    Tests of L{conceal_shared}, L{conceal_private} and L{reveal}.
    """

    @given(st.binary(max_size=3000), st.integers(0, 1))
    def test_round_trip(self, cleartext: bytes, kind: int) -> None:
        """
        What was concealed is revealed to the octet, and the reference survives its bytes.
        """
        for reference, ciphertext in (
            conceal_shared(cleartext, OURS, kind),
            conceal_private(cleartext, SeededEntropy(b"x"), kind),
        ):
            self.assertEqual(cleartext, reveal(unpack(Reference, pack(reference)), ciphertext))

    def test_shared(self) -> None:
        """
        Two who store the same make the same block; with another secret, generation or kind it is another.
        """
        block = conceal_shared(TEXT, OURS)
        self.assertEqual(block, conceal_shared(TEXT, Convergence(1, b"o" * 32)))
        others = [
            conceal_shared(TEXT, Convergence(1, b"p" * 32)),
            conceal_shared(TEXT, Convergence(2, b"o" * 32)),
            conceal_shared(TEXT, OURS, 1),
            conceal_shared(TEXT + b"\0", OURS),
        ]
        self.assertEqual(5, len({block[1], *(ciphertext for _, ciphertext in others)}))

    def test_private(self) -> None:
        """
        Content that is nobody else's makes another block each time, and never the one it would make if shared.
        """
        entropy = SeededEntropy(b"x")
        blocks = {conceal_private(TEXT, entropy)[1] for _ in range(3)} | {conceal_shared(TEXT, OURS)[1]}
        self.assertEqual(4, len(blocks))

    def test_limit(self) -> None:
        """
        A block holds up to 256 KiB.
        """
        reference, ciphertext = conceal_shared(bytes(BLOCK_LIMIT), OURS)
        self.assertEqual(bytes(BLOCK_LIMIT), reveal(reference, ciphertext))
        self.assertRaises(ValueError, conceal_shared, bytes(BLOCK_LIMIT + 1), OURS)

    @given(st.data())
    def test_altered(self, data: st.DataObject) -> None:
        """
        A block in which anything is other than it was is never taken for it.
        """
        reference, ciphertext = conceal_shared(TEXT, OURS)
        place = data.draw(st.integers(0, len(ciphertext) - 1))
        bit = data.draw(st.integers(0, 7))
        altered = bytearray(ciphertext)
        altered[place] ^= 1 << bit
        for wrong in (bytes(altered), ciphertext[:place], ciphertext + b"\0"):
            self.assertRaises(BadSignature, reveal, reference, wrong)
            # Nor by a reference that was made for it: the key does not fit.
            made = forge(reference, ciphertext_hash=tagged(Purpose.CONTENT_BLOCK, wrong))
            self.assertRaises(BadSignature, reveal, made, wrong)

    def test_forged_reference(self) -> None:
        """
        A reference with another key, length, commitment, suite or version reveals nothing.
        """
        reference, ciphertext = conceal_shared(TEXT, OURS)
        for fields in (
            {"key": b"k" * 32},
            {"length": len(TEXT) - 1},
            {"length": len(TEXT) + 1},
            {"length": 100_000},
            {"commitment": b"c" * 32},
            {"suite": 2},
            {"version": 2},
        ):
            self.assertRaises(BadSignature, reveal, forge(reference, **fields), ciphertext)

    def test_two_keys(self) -> None:
        """
        The commitment is to the cleartext: a block that opens under the named key to something else is refused.
        """
        reference, _ = conceal_shared(TEXT, OURS)
        other, ciphertext = conceal_shared(b"other text of the same padded length", OURS)
        mixed = forge(other, commitment=reference.commitment)
        self.assertRaises(BadSignature, reveal, mixed, ciphertext)

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """
        Bytes that are no reference raise L{PeerError}, as do its own with one other.
        """
        self.assertRaises(PeerError, unpack, Reference, data)
        packed = pack(conceal_shared(TEXT, OURS)[0])
        try:
            self.assertIsInstance(unpack(Reference, packed[: len(data)] + data + packed[2 * len(data) :]), Reference)
        except PeerError:
            pass


class PaddingTests(SynchronousTestCase):
    """
    Tests of L{padded_length}.
    """

    @given(st.integers(0, BLOCK_LIMIT))
    def test_padding(self, length: int) -> None:
        """
        Padding only adds, at most 12 percent above 256 octets, never more for less, and nothing to what is padded.
        """
        padded = padded_length(length)
        self.assertGreaterEqual(padded, length)
        self.assertLessEqual(padded, max(256, length * 1.12))
        self.assertLessEqual(padded_length(max(0, length - 1)), padded)
        self.assertEqual(padded, padded_length(padded))

    def test_sizes(self) -> None:
        """
        Few sizes are left, so that one tells little.
        """
        sizes = {padded_length(length) for length in range(BLOCK_LIMIT + 1)}
        self.assertLess(len(sizes), 200)
        self.assertEqual(BLOCK_LIMIT, max(sizes))
