"""
Tests for L{post.messaging.identities}, and for what L{post.messaging.account} publishes.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.complaints import Complaints
from post.crypto.certificates import issue_identity, make_request, read_identity
from post.crypto.keys import SigningKey
from post.crypto.sealing import SealingKey
from post.crypto.trust import Revoked, Taken, Trust
from post.errors import TooFewReplicas, Unconfirmed
from post.ids import Contact, Id, NodeId
from post.messaging.account import RENEW_S, Account, AccountCredentials, HeldKey, Superseded
from post.messaging.identities import Identities, identity_handle
from post.messaging.identity import Identity
from post.messaging.publishing import LOOK_S, RETRY_FIRST_S, Publishing
from post.past.blocks import SERIAL_SHIFT, read_signed_block
from post.past.node import Past
from post.sim.authority import Authority
from post.tasks import Tasks

from .doubles import FakePast

NOW = 1_700_000_000
HERE, THERE = (Contact(NodeId(Id(number)), (f"host{number}:1",), number) for number in (1, 2))


class MovedCase(SynchronousTestCase):
    """
    An account whose machine was lost, and which has new keys on another.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.authority = Authority(b"identities", NOW)
        self.root = Trust(self.authority.root)
        self.past = FakePast(self.clock, self.authority.root)
        self.old = self.authority.account("alice")
        self.new = self.anew(self.old)
        self.theirs = self.identities(self.root)
        self.published(self.old, HERE)
        self.assertEqual(HERE, self.found().card.contact)

    def identities(self, root: bytes) -> Identities:
        """
        As a correspondent has them.
        """
        return Identities(cast(Past, self.past), self.clock, root, Complaints(self.clock), Tasks())

    def anew(self, old: AccountCredentials) -> AccountCredentials:
        """
        The account with other keys, and a higher serial.
        """
        authority = self.authority
        key = SigningKey.generate(authority.entropy)
        person = read_identity(old.chain[0])
        leaf = issue_identity(
            authority.issuing,
            authority.key,
            make_request(key),
            old.address,
            old.account,
            person.serial + 1,
            person.not_before,
            person.not_after,
            authority.entropy,
        )
        sealing = (
            replace(old.sealing[0], expires=NOW),
            HeldKey(SealingKey.generate(authority.entropy), person.not_after),
        )
        return replace(old, key=key, chain=(leaf, authority.issuing), sealing=sealing)

    def account(self, credentials: AccountCredentials) -> Account:
        """
        On some machine.
        """
        return Account(credentials, cast(Past, self.past), self.identities(self.root), self.clock)

    def publish(self, credentials: AccountCredentials, contact: Contact) -> Deferred[None]:
        """
        Be at C{contact}.
        """
        return Deferred.fromCoroutine(self.account(credentials).publish(contact, 1000))

    def published(self, credentials: AccountCredentials, contact: Contact) -> None:
        """
        The same, which has to succeed.
        """
        self.successResultOf(self.publish(credentials, contact))

    def find(self) -> Deferred[Identity]:
        """
        What the correspondent makes of it.
        """
        return Deferred.fromCoroutine(self.theirs.find(self.old.account))

    def found(self) -> Identity:
        """
        The same, which has to succeed.
        """
        return self.successResultOf(self.find())

    def revoke(self) -> None:
        """
        The old key is known to be revoked.
        """
        self.root.revoke({self.old.key.public: Taken(NOW, "lost")}, NOW)


class MovedTests(MovedCase):
    """
    Tests of what others find, and of what the lost machine can do.
    """

    def test_remembered(self) -> None:
        """
        What was asked lately is used; but not when its key has been revoked since: then it is asked anew.
        """
        self.published(self.new, THERE)
        self.assertEqual(HERE, self.found().card.contact)
        self.revoke()
        found = self.found()
        self.assertEqual(THERE, found.card.contact)
        self.assertEqual(self.new.sealing[1].key.key_id, found.sealing_key(NOW).key_id)

    def test_nowhere(self) -> None:
        """
        As long as the new machine has not published anything, nothing is sealed to keys that somebody else may have.
        """
        self.revoke()
        self.failureResultOf(self.find(), Revoked)

    def test_sealing(self) -> None:
        """
        The lost machine's sealing key is held, and not published any more.
        """
        self.published(self.new, THERE)
        block = read_signed_block(self.past.objects[identity_handle(self.old.account)].data)
        self.assertNotIn(self.old.sealing[0].key.key_id.hex().encode(), block.payload)
        self.assertEqual(2, len(self.account(self.new).sealing_keys))

    def test_superseded(self) -> None:
        """
        The old machine does not publish over what the new one has, though it does not know yet that it is revoked; and
        what it could sign without asking has a lower number.
        """
        self.published(self.new, THERE)
        self.failureResultOf(self.publish(self.old, HERE), Superseded)
        item = self.past.objects[identity_handle(self.old.account)]
        self.assertGreaterEqual(item.order, read_identity(self.new.chain[0]).serial << SERIAL_SHIFT)

    def test_copied(self) -> None:
        """
        Who has published, and finds a later version that is not theirs, knows that somebody has a copy of their files,
        and where; a new start is no copy.
        """
        first, second = self.account(self.old), self.account(self.old)
        self.successResultOf(Deferred.fromCoroutine(first.publish(HERE, 1000)))
        self.successResultOf(Deferred.fromCoroutine(first.look(HERE)))
        self.successResultOf(Deferred.fromCoroutine(second.publish(THERE, 1000)))
        self.successResultOf(Deferred.fromCoroutine(second.look(THERE)))
        failure = self.failureResultOf(Deferred.fromCoroutine(first.look(HERE)), Superseded)
        self.assertIn("another copy of alice@example.org's files is in use (host2:1)", str(failure.value))
        self.failureResultOf(Deferred.fromCoroutine(first.publish(HERE, 1000)), Superseded)

    def test_unsure(self) -> None:
        """
        A version of ours that was kept by too few, and may be somewhere, is ours; and where too few answer nothing is
        concluded.
        """
        account = self.account(self.old)
        self.past.copies = 1
        self.failureResultOf(Deferred.fromCoroutine(account.publish(THERE, 1000)), TooFewReplicas)
        self.past.copies = 3
        self.successResultOf(Deferred.fromCoroutine(account.publish(THERE, 1000)))
        self.past.confirmed = False
        self.failureResultOf(Deferred.fromCoroutine(account.look(THERE)), Unconfirmed)


class PublishingTests(MovedCase):
    """
    Tests for L{Publishing}.
    """

    def run_publishing(self) -> tuple[Publishing, Deferred[None], list[bool]]:
        """
        The old machine's.
        """
        noted: list[bool] = []
        account = self.account(self.old)
        publishing = Publishing(account, self.clock, Random(1), lambda: HERE, 1000, noted.append)
        work = Deferred.fromCoroutine(publishing.run())

        def end() -> None:
            work.addErrback(lambda _: None)
            work.cancel()

        self.addCleanup(end)
        return publishing, work, noted

    def test_renewed(self) -> None:
        """
        Published at once, looked at every few minutes, written anew every day.
        """
        self.past.objects.clear()
        _, work, noted = self.run_publishing()
        self.assertEqual([True], noted)
        inserts = len(self.past.inserts)
        self.clock.advance(LOOK_S)
        self.assertEqual(inserts, len(self.past.inserts))
        self.clock.advance(RENEW_S)
        self.assertEqual([True, True], noted)
        self.assertNoResult(work)

    def test_taken_over(self) -> None:
        """
        It ends when somebody else is there: at the next look, or when it is told to look.
        """
        for told in (False, True):
            self.past.objects.clear()
            publishing, work, _ = self.run_publishing()
            self.published(self.new, THERE)
            self.assertNoResult(work)
            if told:
                publishing.look()
            else:
                self.clock.advance(LOOK_S)
            self.failureResultOf(work, Superseded)

    def test_retried(self) -> None:
        """
        What cannot be published now is tried again soon.
        """
        self.past.confirmed = False
        _, work, noted = self.run_publishing()
        self.assertEqual([], noted)
        self.past.confirmed = True
        self.clock.advance(RETRY_FIRST_S)
        self.assertEqual([True], noted)
        self.assertNoResult(work)
