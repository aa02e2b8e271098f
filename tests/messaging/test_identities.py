"""
Tests for L{post.messaging.identities}, and for what L{post.messaging.account} publishes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.complaints import Complaints
from post.crypto.certificates import issue_identity, make_request, read_identity
from post.crypto.keys import SigningKey
from post.crypto.sealing import SealingKey
from post.crypto.trust import Revoked, Taken, Trust
from post.ids import Contact, Id, NodeId
from post.messaging.account import Account, AccountCredentials, HeldKey, Superseded
from post.messaging.identities import Identities, identity_handle
from post.messaging.identity import Identity
from post.past.blocks import SERIAL_SHIFT, read_signed_block
from post.past.node import Past
from post.sim.authority import Authority
from post.tasks import Tasks

from .doubles import FakePast

NOW = 1_700_000_000
HERE, THERE = (Contact(NodeId(Id(number)), (f"host{number}:1",), number) for number in (1, 2))


class MovedTests(SynchronousTestCase):
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

    def publish(self, credentials: AccountCredentials, contact: Contact) -> Deferred[None]:
        """
        Be at C{contact}.
        """
        account = Account(credentials, cast(Past, self.past), self.identities(self.root), self.clock)
        return Deferred.fromCoroutine(account.publish(contact, 1000))

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
        account = Account(self.new, cast(Past, self.past), self.theirs, self.clock)
        self.assertEqual(2, len(account.sealing_keys))

    def test_superseded(self) -> None:
        """
        The old machine does not publish over what the new one has, though it does not know yet that it is revoked; and
        what it could sign without asking has a lower number.
        """
        self.published(self.new, THERE)
        self.failureResultOf(self.publish(self.old, HERE), Superseded)
        item = self.past.objects[identity_handle(self.old.account)]
        self.assertGreaterEqual(item.order, read_identity(self.new.chain[0]).serial << SERIAL_SHIFT)
