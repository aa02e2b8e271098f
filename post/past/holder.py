"""
A node as a holder: what it does when asked to keep, to show, to renew.

Everything is verified before it is stored, and a receipt leaves only when the store says that it is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from post.crypto.keys import SigningKey
from post.errors import Conflict, NotFound, PeerError, PostError, Refused
from post.ids import Contact, Handle
from post.interfaces import IBlockStore, Stored
from post.past.blocks import FINAL_NUMBER, PUBLIC_KEY, BlockKind, contradict, lasting
from post.past.messages import ABSENT, Fetch, Found, Have, Having, Kept, Offer, Renew, Rival, Store, Want
from post.past.receipts import Signer
from post.rpc import Rpc
from post.tasks import sleep
from post.wire import RefusalCode, StorageClass

LIFE_LIMIT_S = 3 * 366 * 86400
"""Nothing is promised for longer; its owner renews it."""
EXTENSIONS = 16
"""Leases extended in one turn of the reactor and one commit: the data of each is read to see that it is still there, 4
MiB at most, some 10 ms."""
OFFERS = 100
"""Offered objects looked at in one turn: some 5 ms."""


class Holder:
    """
    What this node keeps, for whomever.
    """

    def __init__(
        self,
        rpc: Rpc,
        store: IBlockStore,
        clock: IReactorTime,
        key: SigningKey,
        kinds: dict[int, BlockKind],
        ours: Callable[[Handle], bool],
    ) -> None:
        self._store = store
        self._clock = clock
        self._kinds = kinds
        self._ours = ours
        self._signer = Signer(key, clock)
        rpc.serve(Store, self._asked_to_store)
        rpc.serve(Fetch, self._asked_to_fetch)
        rpc.serve(Have, self._asked_what_is_here)
        rpc.serve(Offer, self._offered)
        rpc.serve(Renew, self._asked_to_renew)

    # Keeping.

    async def _asked_to_store(self, peer: Contact, message: Store) -> Kept | Rival:
        digest = sha256(message.data).digest()
        try:
            return await self.keep(message, digest)
        except Conflict as conflict:
            return Rival(conflict.current)

    def keep(self, message: Store, digest: bytes) -> Deferred[Kept]:
        """
        Store what C{message} brings, whose SHA-256 is C{digest}; fires with the receipt when it is durable.

        @raise PeerError: if it must not be under its handle.
        @raise Conflict: if what is held must not give way to it.
        """
        knows = self._kinds.get(message.kind)
        if knows is None:
            raise Refused(RefusalCode.UNSUPPORTED, f"kind {message.kind}")
        now = self._clock.seconds()
        self._check_expiry(message.expires, now)
        if message.storage_class == StorageClass.FOREVER and not lasting(message.kind, message.data):
            raise PeerError("an object that is to outlive every lease, and is neither a certificate nor a sealed copy")
        item = self._decide(knows, message, digest, now)
        latest = knows.latest(message.data)
        if latest is not None and message.expires > latest:
            raise PeerError("an object that is to outlive what it is for")
        return self._put(knows, item, message, digest)

    @staticmethod
    def _check_expiry(expires: int, now: float) -> None:
        if not now <= expires <= now + LIFE_LIMIT_S:
            raise PeerError("an expiry in the past, or absurdly far ahead")

    def _decide(self, knows: BlockKind, message: Store, digest: bytes, now: float) -> Stored:
        """
        What is to be under the handle afterwards.
        """
        handle, data = message.handle, message.data
        held = self._store.holding(handle)
        if held is None:
            order = knows.check(handle, data, now)
            return Stored(handle, knows.kind, message.storage_class, message.expires, order, data)
        if held.kind != knows.kind:
            raise PeerError("an object of another kind under its handle")
        kept_class, kept_until = max(held.storage_class, message.storage_class), max(held.expires, message.expires)
        if held.digest == digest:
            # It was verified when it came.
            return Stored(handle, knows.kind, kept_class, kept_until, held.order, data)
        item = Stored(handle, knows.kind, kept_class, kept_until, knows.check(handle, data, now), data)
        old = self._store.get(handle)
        if old is None or knows.supersedes(item, old):
            return item
        if item.order > old.order and not (knows.kind == PUBLIC_KEY and item.order == FINAL_NUMBER):
            raise PeerError("a version absurdly far ahead of what is held")
        if item.order != old.order or contradict(knows.kind, data, old.data):
            raise Conflict(old.data)
        # As good as what is held: two receipts for one delivery, say.
        return Stored(handle, knows.kind, kept_class, kept_until, old.order, old.data)

    def _put(self, knows: BlockKind, item: Stored, message: Store, digest: bytes) -> Deferred[Kept]:
        # The asker may give up waiting, which cancels what it waits for; the object becomes durable all the same, and
        # those who are told of what is held have to know.
        receipt: Deferred[Kept] = Deferred()

        def durable(_: None) -> None:
            knows.stored(item)
            self._signer.receipt(item.handle, digest, message.storage_class, message.expires).chainDeferred(receipt)

        self._store.put(item).addCallback(durable).addErrback(receipt.errback)
        return receipt

    # Showing.

    def _asked_to_fetch(self, peer: Contact, message: Fetch) -> Found:
        item = self._store.get(message.handle)
        if item is None or item.kind != message.kind:
            raise NotFound(str(message.handle))
        return Found(StorageClass(item.storage_class), item.expires, item.data)

    async def _asked_what_is_here(self, peer: Contact, message: Have) -> Having:
        orders: list[int] = []
        for start in range(0, len(message.handles), OFFERS):
            orders += self.orders(message.handles[start : start + OFFERS])
            await sleep(self._clock, 0)
        return Having(tuple(orders))

    def orders(self, handles: Iterable[Handle]) -> list[int]:
        """
        Of each the order of the version that is held, or L{ABSENT}.  The data is not read: that it is intact is the
        scrub's business.
        """
        held = (self._store.holding(handle) for handle in handles)
        return [ABSENT if each is None else each.order for each in held]

    # Keeping for longer.

    async def _offered(self, peer: Contact, message: Offer) -> Want:
        """
        What of the offer belongs here and is missing, or older.  What is here is kept for as long as at the other.
        """
        now = self._clock.seconds()
        missing: list[int] = []
        shorter: list[tuple[int, Handle, int]] = []
        for index, offered in enumerate(message.items):
            if index % OFFERS == OFFERS - 1:
                await sleep(self._clock, 0)
            if offered.kind not in self._kinds or offered.expires < now or not self._ours(offered.handle):
                continue
            held = self._store.holding(offered.handle)
            if held is None or (held.order < offered.order and held.kind == offered.kind):
                missing.append(index)
            elif held.digest == offered.digest and held.expires < offered.expires <= now + LIFE_LIMIT_S:
                shorter.append((index, offered.handle, offered.expires))
        missing += await self._extend(shorter)
        return Want(tuple(missing))

    async def _asked_to_renew(self, peer: Contact, message: Renew) -> Want:
        self._check_expiry(message.expires, self._clock.seconds())
        return Want(tuple(await self.renew(message.handles, message.expires)))

    async def renew(self, handles: Iterable[Handle], expires: int) -> list[int]:
        """
        Keep C{handles} until C{expires} at least; returns the places of those that are not here.
        """
        return await self._extend((index, handle, expires) for index, handle in enumerate(handles))

    async def _extend(self, leases: Iterable[tuple[int, Handle, int]]) -> list[int]:
        """
        Returns the numbers of the leases that could not be extended, because the object is not here, or not any more,
        or the disk does not take it.
        """
        lacking: list[int] = []
        writing: list[Deferred[None]] = []
        for count, (number, handle, expires) in enumerate(leases, 1):
            item = self._intact(handle)
            if item is None:
                lacking.append(number)
                continue
            expires = self._limited(item, expires)
            if item.expires < expires:
                longer = Stored(handle, item.kind, item.storage_class, expires, item.order, item.data)
                writing.append(self._store.put(longer).addErrback(_note, number, lacking))
            if count % EXTENSIONS == 0:
                await DeferredList([*writing, sleep(self._clock, 0)], consumeErrors=True)
                writing = []
        await DeferredList(writing, consumeErrors=True)
        return lacking

    def _limited(self, item: Stored, expires: int) -> int:
        """
        C{expires}, or until when C{item} may be kept at the latest.
        """
        knows = self._kinds.get(item.kind)
        latest = knows.latest(item.data) if knows is not None else None
        return expires if latest is None else min(expires, latest)

    def _intact(self, handle: Handle) -> Stored | None:
        try:
            return self._store.get(handle)
        except PostError:
            return None


def _note(failure: Failure, number: int, lacking: list[int]) -> None:
    failure.trap(PostError)
    lacking.append(number)
