"""
Tests for L{post.messaging.storage}.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.convergent import BLOCK_LIMIT, Convergence
from post.crypto.entropy import SeededEntropy
from post.errors import NotFound, PeerError, TooFewReplicas
from post.messaging import storage
from post.messaging.storage import MANIFEST, PIECES_LIMIT, WINDOW, Lease, Manifest, SecureStore
from post.past.node import Past
from post.wire import StorageClass, pack

from .doubles import FakePast

LEASE = Lease(StorageClass.MAIL, 1000)
CONVERGENCE = Convergence(1, b"c" * 32)
LONG = bytes(range(251)) * 4200


class SecureStoreTests(SynchronousTestCase):
    """
    Tests for L{SecureStore}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.past = FakePast(self.clock, b"")
        self.store = self.another(b"one")

    def another(self, seed: bytes) -> SecureStore:
        return SecureStore(cast(Past, self.past), self.clock, SeededEntropy(seed), CONVERGENCE)

    def run_coroutine(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def fails(self, coroutine: Any, error: type[Exception]) -> None:
        self.failureResultOf(Deferred.fromCoroutine(coroutine), error)

    def test_round_trip(self) -> None:
        """
        Cleartexts of any size, shared or not, come back, whole and in ranges.
        """
        for length in (0, 1, BLOCK_LIMIT, BLOCK_LIMIT + 1, len(LONG)):
            for shared in (False, True):
                reference = self.run_coroutine(self.store.store(LONG[:length], LEASE, shared))
                self.assertEqual(LONG[:length], self.run_coroutine(self.store.fetch(reference, len(LONG))))

    @settings(max_examples=40)
    @given(st.integers(0, len(LONG) + 9), st.integers(0, len(LONG) + 9))
    def test_ranges(self, start: int, stop: int) -> None:
        """
        Any range is what slicing would give, and only the blocks in which it lies are fetched.
        """
        reference = self.run_coroutine(self.store.store(LONG, LEASE))
        self.assertEqual(LONG[start:stop], self.run_coroutine(self.store.read(reference, start, stop)))

    def test_shared(self) -> None:
        """
        What two people share is stored once, however it is cut; what is private is not.
        """
        one = self.run_coroutine(self.store.store(LONG, LEASE, True))
        pieces = (LONG[at : at + 1000] for at in range(0, len(LONG), 1000))
        count = len(self.past.objects)
        two = self.run_coroutine(self.another(b"two").store_pieces(pieces, LEASE, True))
        self.assertEqual((one, count), (two, len(self.past.objects)))
        private = [self.run_coroutine(self.another(seed).store(b"x", LEASE)) for seed in (b"a", b"b")]
        self.assertNotEqual(private[0].ciphertext_hash, private[1].ciphertext_hash)

    def test_streams(self) -> None:
        """
        A long cleartext is taken piece by piece: no more is held than what is on its way.
        """
        taken, most = 0, 0

        def pieces() -> Iterator[bytes]:
            nonlocal taken, most
            for _ in range(20):
                most = max(most, taken - len(self.past.inserts))
                taken += 1
                yield bytes(BLOCK_LIMIT)

        reference = self.run_coroutine(self.store.store_pieces(pieces(), LEASE))
        self.assertEqual(
            (MANIFEST, 20 * BLOCK_LIMIT), (reference.kind, self.run_coroutine(self.store.manifest(reference)).length)
        )
        self.assertLessEqual(most, WINDOW + 1)

    def test_too_long(self) -> None:
        """
        More than one manifest can name is refused before it is stored whole.
        """
        self.patch(storage, "PIECES_LIMIT", 4)
        self.fails(self.store.store_pieces((bytes(BLOCK_LIMIT) for _ in range(100)), LEASE), ValueError)
        self.assertLess(len(self.past.inserts), 100)

    def test_limit(self) -> None:
        """
        A reader names how much it takes.
        """
        reference = self.run_coroutine(self.store.store(LONG, LEASE))
        self.fails(self.store.fetch(reference, len(LONG) - 1), PeerError)

    def test_lying_manifest(self) -> None:
        """
        A manifest that contradicts itself, nests, or is none is refused.
        """
        piece = self.run_coroutine(self.store.store(b"x" * 10, LEASE))
        nested = msgspec.structs.replace(piece, kind=MANIFEST)
        for data in (
            pack(Manifest(1, 11, 10, (piece,))),
            pack(Manifest(1, 10, 5, (piece,))),
            pack(Manifest(1, 20, 10, (piece,))),
            pack(Manifest(1, 10, 10, (nested,))),
            pack(Manifest(2, 10, 10, (piece,))),
            pack((1, -1, 10, ())),
            pack((1, 0, 0, ())),
            pack((1, 10 * (PIECES_LIMIT + 1), 10, (piece,) * (PIECES_LIMIT + 1))),
            b"garbage",
        ):
            reference = self.run_coroutine(self.store.store(data, LEASE))
            lying = msgspec.structs.replace(reference, kind=MANIFEST)
            self.fails(self.store.fetch(lying), PeerError)
            self.fails(self.store.read(lying, 0, 5), PeerError)

    def test_lost(self) -> None:
        """
        What the ring cannot keep, or has lost, is said so.
        """
        reference = self.run_coroutine(self.store.store(b"x", LEASE))
        self.past.objects.clear()
        self.fails(self.store.fetch(reference), NotFound)
        self.past.copies = 1
        self.fails(self.store.store(LONG, LEASE), TooFewReplicas)
