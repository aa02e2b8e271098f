"""
A node as a holder: what it does when asked to keep, to show, to renew.

Everything is verified before it is stored, and a receipt leaves only when the store says that it is durable.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from post.crypto.keys import SigningKey
from post.errors import Conflict, NotFound, PeerError, Refused
from post.ids import Contact, Handle
from post.interfaces import IBlockStore, Stored
from post.past.blocks import PUBLIC_KEY, BlockKind
from post.past.messages import Fetch, Found, Kept, Offer, Renew, Rival, Store, Want
from post.past.receipts import Signer
from post.rpc import Rpc
from post.wire import RefusalCode, StorageClass

LIFE_LIMIT_S = 3 * 366 * 86400
"""Nothing is promised for longer; its owner renews it."""


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
        rpc.serve(Offer, self._offered)
        rpc.serve(Renew, self._asked_to_renew)

    async def _asked_to_store(self, peer: Contact, message: Store) -> Kept | Rival:
        try:
            return await self.keep(message.kind, message.handle, message.data, message.storage_class, message.expires)
        except Conflict as conflict:
            return Rival(conflict.current)

    def keep(self, kind: int, handle: Handle, data: bytes, storage_class: StorageClass, expires: int) -> Deferred[Kept]:
        """
        Store C{data}; fires with the receipt when it is durable.

        @raise PeerError: if C{data} must not be under C{handle}.
        @raise Conflict: if what is held must not give way to it.
        """
        knows = self._kinds.get(kind)
        if knows is None:
            raise Refused(RefusalCode.UNSUPPORTED, f"kind {kind}")
        now = self._clock.seconds()
        if not now <= expires <= now + LIFE_LIMIT_S:
            raise PeerError("an expiry in the past, or absurdly far ahead")
        digest = sha256(data).digest()
        item = self._decide(knows, handle, data, digest, storage_class, expires, now)
        return self._put(knows, item, digest, storage_class, expires)

    def _decide(
        self,
        knows: BlockKind,
        handle: Handle,
        data: bytes,
        digest: bytes,
        storage_class: StorageClass,
        expires: int,
        now: float,
    ) -> Stored:
        """
        What is to be under C{handle} afterwards.
        """
        held = self._store.holding(handle)
        if held is not None and held.kind == knows.kind:
            kept_class, kept_until = max(held.storage_class, storage_class), max(held.expires, expires)
            if held.digest == digest:
                # It was verified when it came.
                return Stored(handle, knows.kind, kept_class, kept_until, held.order, data)
            item = Stored(handle, knows.kind, kept_class, kept_until, knows.check(handle, data, now), data)
            old = self._store.get(handle)
            if old is None or knows.supersedes(item, old):
                return item
            if item.order < old.order or knows.kind == PUBLIC_KEY:
                raise Conflict(old.data)
            # As good as what is held: two receipts for one delivery, say.
            return Stored(handle, knows.kind, kept_class, kept_until, old.order, old.data)
        return Stored(handle, knows.kind, storage_class, expires, knows.check(handle, data, now), data)

    def _put(
        self, knows: BlockKind, item: Stored, digest: bytes, storage_class: StorageClass, expires: int
    ) -> Deferred[Kept]:
        def durable(_: None) -> Deferred[Kept]:
            knows.stored(item)
            return self._signer.receipt(item.handle, digest, storage_class, expires)

        receipt: Deferred[Kept] = self._store.put(item).addCallback(durable)
        return receipt

    def _asked_to_fetch(self, peer: Contact, message: Fetch) -> Found:
        item = self._store.get(message.handle)
        if item is None or item.kind != message.kind:
            raise NotFound(str(message.handle))
        return Found(StorageClass(item.storage_class), item.expires, item.data)

    def _offered(self, peer: Contact, message: Offer) -> Want:
        """
        What of the offer belongs here and is missing, or older.
        """
        now = self._clock.seconds()
        missing = []
        for index, offered in enumerate(message.items):
            knows = self._kinds.get(offered.kind)
            if knows is None or offered.expires < now or not self._ours(offered.handle):
                continue
            held = self._store.holding(offered.handle)
            if held is None or held.order < offered.order or (held.kind != offered.kind):
                missing.append(index)
        return Want(tuple(missing))

    async def _asked_to_renew(self, peer: Contact, message: Renew) -> Want:
        now = self._clock.seconds()
        if not now <= message.expires <= now + LIFE_LIMIT_S:
            raise PeerError("an expiry in the past, or absurdly far ahead")
        missing = []
        last: Deferred[None] | None = None
        for index, handle in enumerate(message.handles):
            item = self._store.get(handle)
            if item is None:
                missing.append(index)
            elif item.expires < message.expires:
                last = self._store.put(
                    Stored(handle, item.kind, item.storage_class, message.expires, item.order, item.data)
                )
        if last is not None:
            await last
        return Want(tuple(missing))
