"""
The recipient's side of notification (POST, section 3.3): open, authenticate, hand to the application, and give the
receipt only when the application says that what arrived survives this machine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from post.crypto.certificates import IdentityCertificate, NodeCertificate
from post.crypto.keys import SigningKey
from post.crypto.sealing import SealingKey
from post.errors import NotFound, Overloaded, PeerError
from post.ids import AccountId, Contact
from post.messaging.messages import Filed, Push
from post.messaging.notification import (
    Notification,
    Signed,
    acknowledge,
    authenticate,
    check_envelope,
    disclose,
    envelope_hash,
)
from post.messaging.pending import LIFE_LIMIT_S
from post.rpc import Rpc

RECEIPTS_KEPT = 4096
"""Receipts given lately, so that the second delegate to push the same envelope is answered without any work."""
ARRIVING_LIMIT = 256
"""Notifications being filed at once; a delegate that is turned away tries again."""


@dataclass(frozen=True)
class Arrival:
    """
    An authentic notification.  C{signed} is the evidence, to be kept with what it brought (POST, section 4.4).
    """

    notification: Notification
    sender: IdentityCertificate | NodeCertificate
    signed: Signed


class Inbox(Protocol):
    """
    An account that receives.
    """

    @property
    def key(self) -> SigningKey:
        """
        What signs receipts.
        """

    @property
    def chain(self) -> Sequence[bytes]:
        """
        The certificates of that key.
        """

    @property
    def sealing_keys(self) -> Sequence[SealingKey]:
        """
        Every key to which something may still be sealed.
        """

    async def deliver(self, arrival: Arrival) -> None:
        """
        Take it, once: C{(sender.account, notification.id)} may come again and again.  Returning means promise 1.
        """


class Reception:
    """
    Where this node's accounts are reached.
    """

    def __init__(self, rpc: Rpc, clock: IReactorTime, root: bytes) -> None:
        self._clock = clock
        self._root = root
        self._inboxes: dict[AccountId, Inbox] = {}
        self._receipts: OrderedDict[bytes, bytes] = OrderedDict()
        self._arriving: dict[bytes, list[Deferred[bytes]]] = {}
        rpc.serve(Push, self._pushed)

    def open(self, account: AccountId, inbox: Inbox) -> None:
        """
        C{account} receives here from now on.
        """
        self._inboxes[account] = inbox

    def close(self, account: AccountId) -> None:
        """
        And no longer.
        """
        self._inboxes.pop(account, None)

    def is_here(self, account: AccountId) -> bool:
        """
        Whether C{account} lives on this node.
        """
        return account in self._inboxes

    async def _pushed(self, peer: Contact, message: Push) -> Filed:
        return Filed(await self.receive(message.envelope))

    async def receive(self, envelope: bytes) -> bytes:
        """
        File what is in C{envelope}; returns the receipt.

        @raise NotFound: if the recipient does not live here.
        @raise PeerError: if it is not authentic, or has expired.
        @raise Overloaded: if too much is arriving at once.
        @raise PostError: if it cannot be filed durably now; to be tried again.
        """
        named = envelope_hash(envelope)
        known = self._receipts.get(named)
        if known is not None:
            return known
        answer: Deferred[bytes] = Deferred()
        waiting = self._arriving.get(named)
        if waiting is not None:
            waiting.append(answer)
            return await answer
        if len(self._arriving) >= ARRIVING_LIMIT:
            raise Overloaded("too many notifications at once")
        self._arriving[named] = [answer]
        # Beside whoever pushed it: one delegate's deadline must not end what the others wait for too.
        Deferred.fromCoroutine(self._file(named, envelope)).addBoth(self._filed, named)
        return await answer

    def _filed(self, result: bytes | Failure, named: bytes) -> None:
        if isinstance(result, bytes):
            self._receipts[named] = result
            if len(self._receipts) > RECEIPTS_KEPT:
                self._receipts.popitem(last=False)
        for each in self._arriving.pop(named):
            if not each.called:  # A pusher may have given up.
                each.callback(result)

    async def _file(self, named: bytes, envelope: bytes) -> bytes:
        now = self._clock.seconds()
        letter, _ = check_envelope(envelope, self._root, now)
        if letter.expires < now or letter.expires - letter.stamp > LIFE_LIMIT_S:
            # Ids seen are forgotten some time after this; an old envelope must not be new again then.
            raise PeerError("an expired notification")
        inbox = self._inboxes.get(letter.recipient)
        if inbox is None:
            raise NotFound(f"account {letter.recipient} is not here")
        signed = disclose(letter, inbox.sealing_keys)
        notification, sender = authenticate(signed, letter, self._root)
        await inbox.deliver(Arrival(notification, sender, signed))
        return acknowledge(named, letter, int(self._clock.seconds()), inbox.key, inbox.chain)
