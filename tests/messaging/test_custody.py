"""
Tests for L{post.messaging.custody} and L{post.messaging.sealed_copy}.
"""

from __future__ import annotations

from typing import cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.entropy import SeededEntropy
from post.crypto.recovery import RecoveryKeys
from post.errors import PeerError
from post.ids import AccountId, Id
from post.messaging.custody import AGAIN_S, RETRY_FIRST_S, Custody
from post.messaging.sealed_copy import AccountCopy, Deposit, PastKeys, SealingSecret, make_deposit, open_copy
from post.past.blocks import PUBLIC_KEY, sign_block
from post.past.node import Past
from post.wire import StorageClass

from .doubles import FakePast

ENTROPY = SeededEntropy(b"custody")
COPY = AccountCopy(
    1,
    "alice@example.org",
    AccountId(Id(7)),
    b"m" * 32,
    3,
    (PastKeys(b"n" * 32, 2),),
    (SealingSecret(bytes(96), 1000),),
)


def keys(letter: bytes = b"p") -> RecoveryKeys:
    """
    Of one code or another.
    """
    return RecoveryKeys(letter * 16, b"f" * 16)


class SealedCopyTests(SynchronousTestCase):
    """
    Tests for L{make_deposit} and L{open_copy}.
    """

    def test_opened(self) -> None:
        """
        It is opened by its code and share together, and by neither of them with another.
        """
        deposit = make_deposit(COPY, keys(), ENTROPY)
        self.assertEqual(COPY, open_copy(deposit.block, keys(), deposit.share))
        self.assertRaises(PeerError, open_copy, deposit.block, keys(b"q"), deposit.share)
        self.assertRaises(PeerError, open_copy, deposit.block, keys(), bytes(32))
        self.assertEqual((keys().handle, keys().claim.public), (deposit.handle, deposit.claim))

    def test_secret(self) -> None:
        """
        Nothing of it, nor the code, can be read in what stays on the machine or lies in the ring.
        """
        deposit = make_deposit(COPY, keys(), ENTROPY)
        for secret in (b"p" * 16, COPY.master, b"alice"):
            self.assertNotIn(secret, msgspec.msgpack.encode(deposit))

    def test_garbage(self) -> None:
        """
        What the code's owner has sealed, and is no copy, is refused.
        """
        for payload in (b"", b"x" * 100):
            block = sign_block(keys().copy, 1, 0, b"\0" * 32, payload)
            self.assertRaises(PeerError, open_copy, block, keys(), bytes(32))
        newer = make_deposit(msgspec.structs.replace(COPY, version=2), keys(), ENTROPY)
        self.assertRaises(PeerError, open_copy, newer.block, keys(), newer.share)


class CustodyTests(SynchronousTestCase):
    """
    Tests for L{Custody}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.past = FakePast(self.clock, b"")
        self.told = 0
        self.custody = Custody(cast(Past, self.past), self.clock, self.tell)
        self.deposit = make_deposit(COPY, keys(), ENTROPY)

    def tell(self) -> None:
        self.told += 1

    def run_custody(self) -> Deferred[None]:
        """
        Until the test ends.
        """
        work = Deferred.fromCoroutine(self.custody.run())
        work.addErrback(lambda _: None)
        self.addCleanup(work.cancel)
        return work

    def entrusted(self, deposit: Deposit) -> Deposit:
        """
        When the authority knows.
        """
        return msgspec.structs.replace(deposit, share=b"")

    def test_kept(self) -> None:
        """
        The copy is put into the ring for ever, and it is told that the authority may know of it now.
        """
        self.assertEqual("", self.custody.state)
        self.custody.use(self.deposit)
        self.assertEqual("waiting", self.custody.state)
        self.run_custody()
        item = self.past.objects[keys().handle]
        self.assertEqual((PUBLIC_KEY, StorageClass.FOREVER), (item.kind, item.storage_class))
        self.assertEqual((1, "waiting"), (self.told, self.custody.state))
        self.custody.use(self.entrusted(self.deposit))
        self.assertEqual("in force", self.custody.state)
        self.clock.advance(AGAIN_S)
        self.assertEqual(1, self.told)

    def test_retried(self) -> None:
        """
        Where too few machines are on-line it is tried again, and put there again when it was lost.
        """
        self.past.copies = 1
        self.custody.use(self.deposit)
        self.run_custody()
        self.assertEqual((0, {}), (self.told, self.past.objects))
        self.past.copies = 3
        self.clock.advance(RETRY_FIRST_S)
        self.assertTrue(self.custody.kept)
        self.past.objects.clear()
        self.clock.advance(AGAIN_S)
        self.assertIn(keys().handle, self.past.objects)

    def test_renewed(self) -> None:
        """
        Another code is looked after at once.
        """
        self.custody.use(self.entrusted(self.deposit))
        self.run_custody()
        self.custody.use(make_deposit(COPY, keys(b"q"), ENTROPY))
        self.assertIn(keys(b"q").handle, self.past.objects)
        self.assertEqual((1, "waiting"), (self.told, self.custody.state))

    def test_stopped(self) -> None:
        """
        It ends when its node does, also while it waits.
        """
        self.past.copies = 1
        self.custody.use(self.deposit)
        self.run_custody().cancel()
        self.assertEqual([], self.clock.getDelayedCalls())
