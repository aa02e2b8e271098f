"""
Tests for L{post.past.receipts}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.entropy import SeededEntropy
from post.crypto.keys import SigningKey
from post.errors import BadSignature, PeerError
from post.ids import Handle, Id
from post.past.messages import Kept
from post.past.receipts import BATCH_LIMIT, VERIFIED_KEPT, Signer, Verifier, climb, leaf, tree
from post.wire import decode, encode

KEY = SigningKey.generate(SeededEntropy(b"holder"))
OTHER = SigningKey.generate(SeededEntropy(b"other"))
DIGEST = b"d" * 32


def handle(number: int) -> Handle:
    return Handle(Id(number))


class TreeTests(SynchronousTestCase):
    """
    Tests for L{tree} and L{climb}.
    """

    @given(st.integers(1, 70))
    def test_paths(self, count: int) -> None:
        """
        From every leaf its path leads to the root, and from no other leaf.
        """
        leaves = [leaf(handle(number), DIGEST, 1, 2, 3) for number in range(count)]
        root, paths = tree(leaves)
        for index, path in enumerate(paths):
            self.assertEqual(root, climb(leaves[index], index, path))
            self.assertNotEqual(root, climb(leaf(handle(count), DIGEST, 1, 2, 3), index, path))


class ReceiptTests(SynchronousTestCase):
    """
    Tests for L{Signer} and L{Verifier}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.signer = Signer(KEY, self.clock)

    def receipts(self, count: int) -> list[Kept]:
        """
        Those of one turn.
        """
        waiting = [self.signer.receipt(handle(number), DIGEST, 2, 5000) for number in range(count)]
        self.clock.advance(0)
        return [self.successResultOf(each) for each in waiting]

    def test_one_signature(self) -> None:
        """
        All that became durable in one turn share a signature, and each receipt proves its own object over the wire.
        """
        receipts = self.receipts(5)
        self.assertEqual(1, len({kept.signature for kept in receipts}))
        verifier = Verifier()
        for number, kept in enumerate(receipts):
            again = decode(encode(kept))
            assert isinstance(again, Kept)
            verifier.check(again, KEY.public, handle(number), DIGEST, 2, 5000)

    def test_nothing_else(self) -> None:
        """
        A receipt proves nothing for another object, class, expiry, time, place or holder.
        """
        kept = self.receipts(3)[1]
        good = (kept, KEY.public, handle(1), DIGEST, 2, 5000)
        Verifier().check(*good)
        forged = [
            (kept, OTHER.public, handle(1), DIGEST, 2, 5000),
            (kept, KEY.public, handle(2), DIGEST, 2, 5000),
            (kept, KEY.public, handle(1), b"e" * 32, 2, 5000),
            (kept, KEY.public, handle(1), DIGEST, 4, 5000),
            (kept, KEY.public, handle(1), DIGEST, 2, 9000),
            (Kept(kept.at + 1, kept.index, kept.path, kept.signature), *good[1:]),
            (Kept(kept.at, 0, kept.path, kept.signature), *good[1:]),
            (Kept(kept.at, kept.index + 4, kept.path, kept.signature), *good[1:]),
            (Kept(kept.at, kept.index, kept.path[:-1], kept.signature), *good[1:]),
            (Kept(kept.at, kept.index, kept.path, kept.signature[:-1]), *good[1:]),
        ]
        verifier = Verifier()
        verifier.check(*good)
        for each in forged:
            self.assertRaises(BadSignature, verifier.check, *each)

    def test_many(self) -> None:
        """
        A turn with more than one tree holds gets several.
        """
        receipts = [self.signer.receipt(handle(number), DIGEST, 2, 5000) for number in range(BATCH_LIMIT + 1)]
        self.clock.advance(0)
        self.clock.advance(0)
        last = self.successResultOf(receipts[-1])
        self.assertEqual((0, ()), (last.index, last.path))
        first = self.successResultOf(receipts[0])
        Verifier().check(first, KEY.public, handle(0), DIGEST, 2, 5000)

    def test_given_up(self) -> None:
        """
        Who gives up waiting does not disturb the others.
        """
        first, second = (self.signer.receipt(handle(number), DIGEST, 2, 5000) for number in range(2))
        first.addErrback(lambda _: None)
        first.cancel()
        self.clock.advance(0)
        Verifier().check(self.successResultOf(second), KEY.public, handle(1), DIGEST, 2, 5000)

    def test_memory(self) -> None:
        """
        Of the signatures that were verified only so many are remembered.
        """
        verifier = Verifier()
        for number in range(VERIFIED_KEPT + 5):
            waiting = self.signer.receipt(handle(number), DIGEST, 2, 5000)
            self.clock.advance(0)
            verifier.check(self.successResultOf(waiting), KEY.public, handle(number), DIGEST, 2, 5000)
        self.assertEqual(VERIFIED_KEPT, len(verifier._verified))

    @given(st.binary(max_size=120))
    def test_garbage(self, data: bytes) -> None:
        """
        Whatever comes in a receipt's place is a L{PeerError}.
        """
        try:
            kept = decode(b"\0\x21" + data)
        except PeerError:
            return
        assert isinstance(kept, Kept)
        self.assertRaises(PeerError, Verifier().check, kept, KEY.public, handle(1), DIGEST, 2, 5000)
