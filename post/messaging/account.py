"""
An account: what an application holds in its hand (POST, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.crypto.certificates import read_identity
from post.crypto.keys import SigningKey
from post.crypto.sealing import SealingKey
from post.errors import Conflict, PeerError, PostError, Unconfirmed
from post.hashes import Purpose, keyed, tagged
from post.ids import AccountId, Contact
from post.messaging.dispatch import Signer
from post.messaging.identities import Identities, identity_handle
from post.messaging.identity import Card, Identity, Public, PublishedKey, parse, render
from post.messaging.notification import Notification
from post.messaging.sealed_copy import Deposit, PastKeys
from post.past.blocks import (
    CERTIFICATE,
    PUBLIC_KEY,
    account_number,
    block_hash,
    certificate_block,
    certificate_handle,
    read_signed_block,
    sign_block,
)
from post.past.node import Past
from post.past.reading import Newest
from post.wire import StorageClass

RENEW_S = 86400
"""How often an identity block is looked after when nothing changes: its lease is renewed, a lost copy replaced."""


PUBLISHED_LIMIT = 4
"""Sealing keys in an identity block, 1.7 KB each; one is in use, and the one before it for a while."""


class Superseded(PostError):
    """
    Our certificate is no longer the one that counts: the account was certified anew, for another machine.
    """


@dataclass(frozen=True)
class HeldKey:
    """
    A sealing key of ours, and until when (unix seconds) others may seal to it.
    """

    key: SealingKey
    expires: int


@dataclass(frozen=True)
class AccountCredentials:
    """
    Everything that makes an account work, as it is kept on the trusted node.

    @ivar epoch: of the mailbox log; with C{master} its keys follow from it.
    @ivar past: the keys of the logs that were continued in this one, the last one first: each because a machine was
        lost on which its keys were.
    @ivar deposit: what lies in the ring for the day on which this machine is lost.
    """

    address: str
    account: AccountId
    key: SigningKey
    chain: tuple[bytes, ...]
    master: bytes
    sealing: tuple[HeldKey, ...]
    password_hash: str
    epoch: int = 0
    past: tuple[PastKeys, ...] = ()
    deposit: Deposit | None = None

    @property
    def naming(self) -> bytes:
        """
        The secret from which the ids of what this account sends follow: the first master there was.  What is sent again
        after a recovery is the same notification; who knows the secret can sign nothing with it.
        """
        return self.past[-1].master if self.past else self.master


class Account:
    """
    An account on its trusted node.
    """

    log = Logger()

    def __init__(
        self, credentials: AccountCredentials, past: Past, identities: Identities, clock: IReactorTime
    ) -> None:
        self._credentials = credentials
        self._past = past
        self._identities = identities
        self._clock = clock
        self._number = 0
        """Of the last version of the identity block that is, or may be, ours; 0 if there is none since we started."""
        self.address = credentials.address
        self.id = credentials.account
        self.naming = credentials.naming
        self.masters = (credentials.master, *(keys.master for keys in credentials.past))
        """The present master, and those of lost machines: with these nothing new is sealed."""
        self.signer = Signer(credentials.key, credentials.chain)
        self.public: Callable[[], Public] = Public
        """What else the identity block says, when it is published next."""

    def renew(self, credentials: AccountCredentials) -> None:
        """
        Use newer certificates from now on; the identity block shows them when it is published next.
        """
        self._credentials = credentials
        self.signer = Signer(credentials.key, credentials.chain)

    @property
    def key(self) -> SigningKey:
        """
        What signs in this account's name.
        """
        return self._credentials.key

    @property
    def chain(self) -> tuple[bytes, ...]:
        """
        The certificates of L{key}.
        """
        return self._credentials.chain

    @property
    def sealing_keys(self) -> Sequence[SealingKey]:
        """
        The keys to which others may have sealed.
        """
        return [held.key for held in self._credentials.sealing]

    def notification_id(self, application: str, content: bytes, recipient: AccountId) -> bytes:
        """
        The id under which C{content} goes to C{recipient}: the same, however often it is sent.
        """
        return keyed(self.naming, Purpose.NOTIFICATION_ID, application.encode(), recipient.packed(), content)

    def notification(self, application: str, content: bytes, recipient: AccountId, payload: bytes) -> Notification:
        """
        What to dispatch: C{content} is what makes it the same one, C{payload} what it says.
        """
        named = self.notification_id(application, content, recipient)
        return Notification(1, named, recipient, int(self._clock.seconds()), application, payload)

    async def publish(self, contact: Contact, lease_s: int) -> None:
        """
        See that the identity block says who we are and that we are at C{contact}.

        The certificate goes under its name too, where those look whose directory is older than we are.

        @raise Superseded: if the account has a newer certificate, used somewhere else.
        @raise Unconfirmed: if it cannot be known now what the ring has.
        @raise PostError: if it cannot be written now.
        """
        handle = identity_handle(self.id)
        public = self.public()
        keys = self._published_keys()
        card = Card(self.address, self.address, contact, keys, public.puzzle_bits, public.block_list, public.lists)
        newest = await self._look(contact)
        number, parent = 0, b"\0" * 32
        data = newest.data
        if data is not None:
            number, parent = newest.number, block_hash(data)
        if data is None or not self._says(data, card):
            number = account_number(number, read_identity(self.chain[0]).serial)
            data = sign_block(self.key, number, 0, parent, render(card), self.chain)
        # Before it is known whether it gets anywhere: some holder may have it, and it is ours.
        self._number = number
        expires = int(self._clock.seconds()) + lease_s
        try:
            await self._past.insert(PUBLIC_KEY, handle, data, StorageClass.HEAD, expires)
            named = certificate_handle(self.address)
            await self._past.insert(CERTIFICATE, named, certificate_block(self.chain), StorageClass.FOREVER, expires)
        except Conflict as conflict:
            raise Unconfirmed("somebody else publishes this identity") from conflict
        self._identities.remember(self.id, Identity(read_identity(self.chain[0]), card, number))

    async def look(self, contact: Contact) -> None:
        """
        See that nobody else is in the place of us, who have published that we are at C{contact}.

        @raise Superseded, Unconfirmed: as L{publish}.
        """
        await self._look(contact)

    async def _look(self, contact: Contact) -> Newest:
        newest = await self._past.newest(identity_handle(self.id))
        if not newest.confirmed:
            raise Unconfirmed(f"identity of {self.address}")
        if newest.data is not None:
            block = read_signed_block(newest.data)
            if block.chain and read_identity(block.chain[0]).serial > read_identity(self.chain[0]).serial:
                raise Superseded(f"{self.address} has a newer certificate, which is used elsewhere")
            # Who has published once writes every later version; another one is by somebody who has the same key.
            if self._number and newest.number > self._number:
                raise Superseded(_copied(self.address, block.payload, contact))
        return newest

    def _published_keys(self) -> tuple[PublishedKey, ...]:
        """
        Those that others may still seal to; the rest, such as that of a machine that was lost, open what is old.
        """
        now = self._clock.seconds()
        held = [each for each in self._credentials.sealing if each.expires > now]
        return tuple(PublishedKey(each.key.key_id, each.key.public, each.expires) for each in held[-PUBLISHED_LIMIT:])

    def _says(self, data: bytes, card: Card) -> bool:
        block = read_signed_block(data)
        try:
            return parse(block.payload) == card and block.chain == self.chain
        except PeerError:
            return False


def _copied(address: str, payload: bytes, contact: Contact) -> str:
    """
    What is to be said when another copy of an account has published itself.
    """
    try:
        theirs = parse(payload).contact
    except PeerError:
        theirs = None
    where = ", ".join(theirs.addresses) if theirs is not None and theirs.addresses != contact.addresses else "elsewhere"
    return f"another copy of {address}'s files is in use ({where}): stop one of the two, and start this one again"


def entry_key(sender: AccountId, notification_id: bytes) -> bytes:
    """
    The 16 bytes by which an application knows a notification again.
    """
    return tagged(Purpose.NOTIFICATION_ID, sender.packed(), notification_id)[:16]


def outside_key(notification_id: bytes) -> bytes:
    """
    The same for what a gateway brought in: whichever gateway that was, since the Internet's servers try the others when
    one has not answered.
    """
    return tagged(Purpose.NOTIFICATION_ID, b"outside", notification_id)[:16]
