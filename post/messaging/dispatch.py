"""
The sender's side of notification (POST, section 3.3).

A recipient who seems to be on-line is told directly; the receipt means that the recipient's insertion is on k nodes.
If none has come within a moment, the notification is also made pending: an object on the k nodes nearest to its handle,
which become its delegates.  Whichever of the two is complete first fulfils promise 1.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.crypto.certificates import read_node
from post.crypto.keys import SigningKey
from post.errors import Conflict, PeerError, PostError, Unreachable
from post.ids import AccountId, Contact, Handle, NodeId
from post.messaging import pending
from post.messaging.identities import Identities
from post.messaging.messages import Arrived, Filed, Push
from post.messaging.notification import (
    Notification,
    check_receipt,
    enclose,
    envelope_hash,
    is_timely,
    letter_in,
    pending_handle,
    receipt_time,
)
from post.messaging.reception import Reception
from post.past.node import Past
from post.pastry.node import Pastry
from post.rpc import Rpc, expect
from post.tasks import Tasks, sleep
from post.wire import StorageClass

HEDGE_S = 0.25
"""How long a direct push alone may take before the notification is made pending as well.  On a local network a receipt
comes within 20 ms; waiting a quarter second saves six stores for nearly every mail between people at work."""
PUSH_DEADLINE_S = 20.0
"""For an answer to a push: the recipient stores on k nodes in between."""


@dataclass(frozen=True)
class Outcome:
    """
    How promise 1 was fulfilled: the recipient's receipt is here, or C{copies} nodes keep the notification.

    C{at} is when the recipient gave the receipt, C{expires} until when the notification may wait (unix seconds),
    C{handle} where it and then its receipt are found, if it was made pending.
    """

    delivered: bool
    copies: int
    at: int
    expires: int
    handle: Handle


@dataclass(frozen=True)
class Signer:
    """
    A key that signs, and its certificates.
    """

    key: SigningKey
    chain: tuple[bytes, ...]


Heard = Callable[[Handle, int], None]
"""Takes the handle of a notification and when its recipient gave the receipt, in unix seconds."""


class Dispatch:
    """
    Sends the notifications of this node's accounts.
    """

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        pastry: Pastry,
        past: Past,
        identities: Identities,
        reception: Reception,
        clock: IReactorTime,
        root: bytes,
        node: Signer,
        pending_s: int,
        tasks: Tasks,
    ) -> None:
        self._rpc = rpc
        self._pastry = pastry
        self._past = past
        self._identities = identities
        self._reception = reception
        self._clock = clock
        self._root = root
        self._node = node
        self._node_id = read_node(node.chain[0]).node_id
        self.pending_s = pending_s
        self._tasks = tasks
        self.receipts: list[Heard] = []
        """Who is told of receipts that this node comes to know after L{notify} has returned."""
        rpc.serve(Arrived, self._arrived)

    def renew(self, node: Signer) -> None:
        """
        Show the node's newer certificates from now on.
        """
        self._node = node

    async def notify(self, sender: Signer | None, notification: Notification) -> Outcome:
        """
        See that C{notification} reaches its recipient, now or later.  Returning means promise 1.

        @param sender: whose it is; C{None} if it came from outside, and this node is the gateway that answers for it.

        @raise NotFound: if the recipient has never published an identity.
        @raise PostError: if neither a receipt nor enough copies could be had; sending the same again doubles nothing.
        """
        identity = await self._identities.find(notification.recipient)
        now = self._clock.seconds()
        key = identity.sealing_key(now)
        expires = notification.sent + self.pending_s
        # Taken now: the node's certificates may have been renewed while we waited.
        sender = sender or self._node
        envelope = enclose(
            notification,
            sender.key,
            sender.chain,
            key.public,
            key.key_id,
            self._node.key,
            self._node_id,
            self._node.chain,
            expires,
        )
        errand = _Errand(self, notification.recipient, envelope, expires)
        if self._reception.is_here(notification.recipient):
            errand.push(self._reception.receive(envelope))
        elif self._pastry.is_alive(identity.card.contact.id):
            errand.push(self.push(identity.card.contact, notification.recipient, envelope))
        return await errand.run()

    async def push(self, contact: Contact, recipient: AccountId, envelope: bytes) -> bytes:
        """
        Offer C{envelope} to the node where C{recipient} seems to be; returns the recipient's receipt.

        @raise Unreachable, Refused: if it cannot be had there now.
        @raise PeerError: if the answer is no receipt for it.
        """
        try:
            answer = await self._rpc.ask(contact, Push(envelope), PUSH_DEADLINE_S)
        except Unreachable:
            self._pastry.suspect(contact)
            raise
        receipt = expect(Filed, answer).receipt
        self._check(receipt, recipient, envelope)
        return receipt

    def _check(self, receipt: bytes, recipient: AccountId, envelope: bytes) -> None:
        """
        @raise PeerError: unless C{recipient} signed it, for this envelope.
        """
        delivered = check_receipt(receipt, self._root, self._clock.seconds())
        if delivered.recipient != recipient or delivered.envelope != envelope_hash(envelope):
            raise PeerError("a receipt by somebody else, or for something else")
        if not is_timely(delivered.at, letter_in(envelope)):
            raise PeerError("a receipt from before the notification")

    def _check_place(self, receipt: bytes, recipient: AccountId, envelope: bytes) -> None:
        """
        The receipt may be for another envelope of the same notification, sealed anew when it was sent again.

        @raise PeerError: unless C{recipient} signed it, for whatever waits in the place of C{envelope}.
        """
        delivered, letter = check_receipt(receipt, self._root, self._clock.seconds()), letter_in(envelope)
        if (delivered.recipient, delivered.node, delivered.slot) != (recipient, letter.node, letter.slot):
            raise PeerError("a receipt by somebody else, or for something else")
        if not is_timely(delivered.at, letter):
            raise PeerError("a receipt from before the notification")

    async def make_pending(self, recipient: AccountId, envelope: bytes, expires: int) -> int | bytes:
        """
        Put C{envelope} on the k nodes nearest to its handle; returns how many keep it, or the receipt if it has been
        delivered already.

        @raise TooFewReplicas: if fewer than the policy's minimum do.
        """
        handle, data = pending.waiting(envelope)
        try:
            return (await self._past.insert(pending.PENDING, handle, data, StorageClass.PENDING, expires)).copies
        except Conflict as conflict:
            # A delegate was quicker.
            receipt = pending.receipt_in(conflict.current)
            if receipt is None:
                raise
            self._check_place(receipt, recipient, envelope)
            return receipt

    async def end(self, envelope: bytes, receipt: bytes, expires: int) -> None:
        """
        Replace a pending notification by the receipt, wherever it waits.  Failing is no harm: the holders that were not
        reached push once more, and the recipient answers them with a receipt each.
        """
        handle, data = pending.delivered(envelope, receipt)
        self.heard(handle, receipt)
        self._tasks.spawn(self._tell_sender(letter_in(envelope).node, receipt))
        until = expires + pending.RECEIPT_OUTLIVES_S
        try:
            await self._past.insert(pending.PENDING, handle, data, StorageClass.PENDING, until)
        except PostError as error:
            self.log.debug("receipt of {handle} not everywhere: {error}", handle=handle, error=error)

    async def _tell_sender(self, node: NodeId, receipt: bytes) -> None:
        """
        Let the sending node know, if it is there: whoever looks at what they have sent need not wait until it asks.
        """
        if node == self._node_id:
            return
        try:
            nearest = await self._pastry.replica_set(node, 1)
        except PostError:
            return  # It finds the receipt in the ring.
        for contact in nearest:
            if contact.id == node:
                self._rpc.tell(contact, Arrived(receipt))

    def _arrived(self, peer: Contact, message: Arrived) -> None:
        delivered = check_receipt(message.receipt, self._root, self._clock.seconds())
        self.heard(pending_handle(delivered), message.receipt)

    def heard(self, handle: Handle, receipt: bytes) -> None:
        """
        C{receipt}, which is authentic, is that of the notification under C{handle}.
        """
        for told in list(self.receipts):
            told(handle, receipt_time(receipt))


_Offer = Coroutine[Any, Any, bytes]


class _Errand:
    """
    One notification on its way: a push and an insertion that race.
    """

    def __init__(self, dispatch: Dispatch, recipient: AccountId, envelope: bytes, expires: int) -> None:
        self._dispatch = dispatch
        self._recipient = recipient
        self._envelope = envelope
        self._expires = expires
        self._done: Deferred[Outcome] = Deferred()
        self._pushing = False
        self._inserted = False
        self._receipt: bytes | None = None
        self._failure: PostError | None = None
        self._hedge: Deferred[None] | None = None

    def push(self, offer: _Offer) -> None:
        """
        Begin to offer it to the recipient.
        """
        self._pushing = True
        self._dispatch._tasks.spawn(self._push(offer))

    async def run(self) -> Outcome:
        """
        Until promise 1 is fulfilled, or cannot be.
        """
        if self._pushing:
            self._hedge = sleep(self._dispatch._clock, HEDGE_S)
            try:
                await self._hedge
            except CancelledError:
                pass  # The push has ended, well or not.
        if self._receipt is not None:
            return self._outcome(0)
        self._dispatch._tasks.spawn(self._insert())
        return await self._done

    async def _push(self, offer: _Offer) -> None:
        try:
            self._receipt = await offer
        except PostError as error:
            self._dispatch.log.debug("no receipt at once: {error}", error=error)
        finally:
            # Also when it failed by a bug of ours, or is cancelled because we stop: somebody waits for the outcome.
            self._pushing = False
            if self._hedge is not None and not self._hedge.called:
                self._hedge.cancel()
            if self._receipt is None:
                self._give_up()
        if self._receipt is not None:
            self._succeed(self._outcome(0))
            if self._inserted:
                await self._end(self._receipt)

    async def _insert(self) -> None:
        try:
            kept = await self._dispatch.make_pending(self._recipient, self._envelope, self._expires)
        except PostError as error:
            self._failure = error
        except BaseException:
            self._failure = Unreachable("the notification could not be made pending")
            raise
        else:
            if isinstance(kept, bytes):
                self._receipt = self._receipt or kept
            self._succeed(self._outcome(kept if isinstance(kept, int) else 0))
        finally:
            self._give_up()
        self._inserted = True
        if self._receipt is not None:
            # It came while the copies were being made, which have to learn of it.
            await self._end(self._receipt)

    async def _end(self, receipt: bytes) -> None:
        await self._dispatch.end(self._envelope, receipt, self._expires)

    def _outcome(self, copies: int) -> Outcome:
        at = receipt_time(self._receipt) if self._receipt is not None else 0
        handle = pending_handle(letter_in(self._envelope))
        return Outcome(self._receipt is not None, copies, at, self._expires, handle)

    def _succeed(self, outcome: Outcome) -> None:
        if not self._done.called:
            self._done.callback(outcome)

    def _give_up(self) -> None:
        if self._failure is not None and not self._pushing and not self._done.called:
            self._done.errback(self._failure)
