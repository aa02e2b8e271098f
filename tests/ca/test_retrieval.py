"""
Tests for L{post.ca.retrieval}.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from post.ca.code import short_fingerprint
from post.ca.retrieval import (
    FILE,
    RETRY_FIRST_S,
    Recovering,
    Retrieval,
    account_copy,
    provided,
    read_recovering,
    renewed,
    retrievals,
    write_recovering,
)
from post.crypto.certificates import make_request, read_identity
from post.crypto.keys import SigningKey
from post.crypto.recovery import RecoveryKeys
from post.errors import ConfigError, PeerError
from post.messaging.account import AccountCredentials
from post.messaging.sealed_copy import PAST_LIMIT, AccountCopy, PastKeys, open_copy
from post.past.blocks import PUBLIC_KEY
from post.past.node import Past
from post.wire import StorageClass
from tests.crypto.issued import NOW
from tests.messaging.doubles import FakePast
from tests.test_home import ENTROPY, HomeTestCase, new_account

OLD, NEW = b"o" * 16, b"n" * 16
BOB = "bob@example.org"


class RetrievalCase(HomeTestCase):
    """
    A new machine of bob, whose account is in the ring.
    """

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.clock.advance(NOW)
        self.root = self.authority.root
        self.past = FakePast(self.clock, self.root)
        self.lost = provided(new_account(self.authority, BOB), self.keys(OLD), ENTROPY)
        assert self.lost.deposit is not None
        key = SigningKey.generate(ENTROPY)
        chain = self.authority.issue_user(make_request(key), BOB, NOW)
        self.recovering = Recovering(1, OLD, self.lost.deposit.share, NEW, key.to_pem(), chain, "hashed")
        write_recovering(self.home, BOB, self.recovering)
        self.reloads = 0

    def keys(self, secret: bytes) -> RecoveryKeys:
        """
        Of a code of this authority.
        """
        return RecoveryKeys(secret, short_fingerprint(self.root))

    def deposited(self) -> None:
        """
        The ring has the copy.
        """
        assert self.lost.deposit is not None
        work = self.past.insert(
            PUBLIC_KEY, self.lost.deposit.handle, self.lost.deposit.block, StorageClass.FOREVER, NOW + 1000
        )
        self.successResultOf(Deferred.fromCoroutine(work))

    def reload(self) -> None:
        self.reloads += 1

    def run_it(self) -> tuple[Retrieval, Deferred[None]]:
        """
        What the node does.
        """
        (retrieval,) = retrievals(self.home, self.root, self.clock, ENTROPY)
        return retrieval, Deferred.fromCoroutine(retrieval.run(cast(Past, self.past), self.reload))


class RetrievalTests(RetrievalCase):
    """
    Tests for L{Retrieval}.
    """

    def test_fetched(self) -> None:
        """
        The account lives here afterwards, with keys that the lost machine has not, and the file is gone.
        """
        self.deposited()
        retrieval, work = self.run_it()
        self.successResultOf(work)
        self.assertEqual((True, "", 1), (retrieval.done, retrieval.trouble, self.reloads))
        (account,) = self.home.accounts(self.root)
        self.assertEqual((BOB, self.lost.account), (account.address, account.account))
        self.assertNotIn(self.lost.master, (account.master, account.key.to_pem()))
        self.assertEqual((1, (PastKeys(self.lost.master, 0),)), (account.epoch, account.past))
        self.assertEqual(self.lost.naming, account.naming)
        old, fresh = account.sealing
        self.assertEqual(self.lost.sealing[0].key.key_id, old.key.key_id)
        self.assertLessEqual(old.expires, NOW)
        self.assertGreater(fresh.expires, NOW)
        self.assertFalse(self.home.account_file(BOB, FILE).exists())
        self.assertEqual([], retrievals(self.home, self.root, self.clock, ENTROPY))

    def test_next(self) -> None:
        """
        What is sealed under the new code has the new keys, and those of before.
        """
        self.deposited()
        self.successResultOf(self.run_it()[1])
        (account,) = self.home.accounts(self.root)
        deposit = account.deposit
        assert deposit is not None
        self.assertFalse(deposit.entrusted)
        copy = open_copy(deposit.block, self.keys(NEW), deposit.share)
        self.assertEqual((account.master, account.past, 2), (copy.master, copy.past, len(copy.sealing)))
        self.assertRaises(PeerError, open_copy, deposit.block, self.keys(OLD), deposit.share)

    def test_waits(self) -> None:
        """
        It is said what is waited for, and it goes on when the ring has the copy.
        """
        self.past.confirmed = False
        retrieval, work = self.run_it()
        self.assertIn("too few machines", retrieval.trouble)
        self.past.confirmed = True
        self.clock.advance(RETRY_FIRST_S)
        self.assertIn("no sealed copy", retrieval.trouble)
        self.assertNoResult(work)
        self.deposited()
        self.clock.advance(2 * RETRY_FIRST_S)
        self.successResultOf(work)
        self.assertTrue(self.home.has_account(BOB))

    def test_cut_short(self) -> None:
        """
        Cut short after the account was written, there is nothing left to do; before, it begins anew.
        """
        self.deposited()
        self.successResultOf(self.run_it()[1])
        write_recovering(self.home, BOB, self.recovering)
        before = self.home.account_file(BOB, "account").read_bytes()
        self.assertEqual([], retrievals(self.home, self.root, self.clock, ENTROPY))
        self.assertFalse(self.home.account_file(BOB, FILE).exists())
        self.assertEqual(before, self.home.account_file(BOB, "account").read_bytes())

    def test_file(self) -> None:
        """
        What C{post recover} noted is for its owner alone, and one that is damaged is said to be.
        """
        path = self.home.account_file(BOB, FILE)
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        self.assertEqual(self.recovering, read_recovering(self.home, BOB))
        for damaged in (b"", path.read_bytes()[:-1], msgspec.msgpack.encode([2, *[b""] * 6])):
            path.write_bytes(damaged)
            self.assertRaises(ConfigError, read_recovering, self.home, BOB)
        path.chmod(0o644)
        self.assertRaises(ConfigError, read_recovering, self.home, BOB)


class RenewedTests(RetrievalCase):
    """
    Tests for L{renewed}.
    """

    def renew(self, copy: AccountCopy) -> AccountCredentials:
        """
        The account on the new machine.
        """
        return renewed(copy, self.recovering, self.root, ENTROPY, NOW)

    def test_another(self) -> None:
        """
        A copy of somebody else's account is not taken.
        """
        eve = new_account(self.authority, "eve@example.org")
        self.assertRaises(PeerError, self.renew, account_copy(eve))
        damaged = msgspec.structs.replace(
            account_copy(self.lost), sealing=(msgspec.structs.replace(account_copy(self.lost).sealing[0], secret=b"x"),)
        )
        self.assertRaises(PeerError, self.renew, damaged)

    def test_often(self) -> None:
        """
        However often machines are lost, the copy stays small; the first master, from which names follow, stays in it.
        """
        account = self.lost
        person = read_identity(self.recovering.chain[0])
        for _ in range(30):
            account = dataclasses.replace(self.renew(account_copy(account)), account=person.account)
        copy = account_copy(account)
        self.assertEqual((PAST_LIMIT, 30), (len(copy.past), copy.epoch))
        self.assertEqual(self.lost.master, account.naming)
        assert account.deposit is not None
        self.assertLess(len(account.deposit.block), 4096)
