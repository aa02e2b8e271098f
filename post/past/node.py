"""
PAST on one node (POST, section 2): insert, look up, and keep (Rowstron and Druschel, SOSP 2001).

Routing finds the replica set of a handle; data then goes straight to its k holders, in parallel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from random import Random

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate
from post.crypto.keys import SigningKey
from post.errors import Conflict, PeerError, PostError, Refused, Unreachable
from post.ids import Contact, Handle, Key, NodeId
from post.interfaces import IApplication, IBlockStore, Stored
from post.past.blocks import (
    CONTENT,
    PUBLIC_KEY,
    BlockKind,
    CertificateKind,
    ContentKind,
    PublicKeyKind,
)
from post.past.holder import Holder
from post.past.insertion import BYTES_PER_S, PATIENCE_S, Inserted, Insertion
from post.past.messages import OFFER_LIMIT, Fetch, Found, Kept, Renew, Rival, Store, Want
from post.past.reading import Cache, Newest, Race
from post.past.receipts import Verifier
from post.past.replication import Replication
from post.pastry.node import Pastry
from post.rpc import Rpc, expect
from post.tasks import Tasks, gather
from post.wire import Message, Priority, RefusalCode, StorageClass

STORE_DEADLINE_S = 10.0
READ_DEADLINE_S = 3.0
SEEN_LIMIT = 100_000
"""Public-key blocks of which the highest number seen is remembered."""
LARGE_BYTES = 32 * 1024


@implementer(IApplication)
class Past:
    """
    The block storage of one node.
    """

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        pastry: Pastry,
        store: IBlockStore,
        clock: IReactorTime,
        random: Random,
        complaints: Complaints,
        key: SigningKey,
        certificate: NodeCertificate,
        root: bytes,
        k: int,
        minimum: int,
    ) -> None:
        self.k = k
        self.minimum = minimum
        self._rpc = rpc
        self._pastry = pastry
        self._store = store
        self._clock = clock
        self._complaints = complaints
        self._local = certificate.node_id
        self._kinds: dict[int, BlockKind] = {}
        for kind in (ContentKind(), PublicKeyKind(root), CertificateKind(root)):
            self.register(kind)
        self._tasks = Tasks()
        self._holder = Holder(rpc, store, clock, key, self._kinds, self._is_ours)
        self._verifier = Verifier()
        self._cache = Cache()
        self._highest: dict[Handle, int] = {}
        self._replication = Replication(rpc, store, clock, random, self._local, self._replicas, self._tasks)
        pastry.add_application(self)

    def register(self, kind: BlockKind) -> None:
        """
        Keep a kind of object that an application defines.
        """
        self._kinds[kind.kind] = kind

    def start(self) -> None:
        """
        Begin to look after the copies.
        """
        self._replication.start()

    def stop(self) -> None:
        """
        Let go.
        """
        self._tasks.stop()

    # What Pastry tells.

    def deliver(self, key: Key, message: Message, origin: Contact) -> None:
        """
        Nothing is routed to PAST: it asks for replica sets and talks to holders.
        """

    def forward(self, key: Key, message: Message, next_hop: Contact) -> bool:
        return True

    def update(self, contact: Contact, joined: bool) -> None:
        self._replication.changed()

    # Where things are.

    def _replicas(self, handle: Handle) -> list[Contact] | None:
        return self._pastry.nearest(handle, self.k)

    def _is_ours(self, handle: Handle) -> bool:
        """
        Whether this node should keep C{handle}; in doubt, yes.
        """
        nearest = self._replicas(handle)
        return nearest is None or any(contact.id == self._local for contact in nearest)

    def rank(self, handle: Handle) -> int:
        """
        How many nodes are nearer to C{handle} than this one, k at most.
        """
        nearest = self._replicas(handle) or []
        places = [place for place, contact in enumerate(nearest) if contact.id == self._local]
        return places[0] if places else self.k

    async def _choose(self, handle: Handle, count: int, avoid: set[NodeId]) -> list[Contact]:
        nearest = self._pastry.nearest(handle, count, avoid)
        return nearest if nearest is not None else await self._pastry.replica_set(handle, count, avoid)

    def held(self, handle: Handle) -> Stored | None:
        """
        What this node itself keeps under C{handle}.
        """
        return self._store.get(handle)

    def holdings(self, kind: int) -> Iterator[Stored]:
        """
        All of one kind that this node keeps.
        """
        return self._store.of_kind(kind)

    # Writing.

    async def insert(
        self, kind: int, handle: Handle, data: bytes, storage_class: StorageClass, expires: int
    ) -> Inserted:
        """
        Put an object on its k holders.  Doing it again changes nothing but a later expiry.

        @raise TooFewReplicas: if fewer than the policy's minimum are on other nodes than this one.
        @raise Conflict: if a holder has a newer or rival version.
        """
        digest = sha256(data).digest()
        message = Store(kind, handle, storage_class, expires, data)
        patience_s = PATIENCE_S + len(data) / BYTES_PER_S
        inserted = await Insertion(
            self._local,
            self.k,
            self.minimum,
            self._clock,
            patience_s,
            lambda count, avoid: self._choose(handle, count, avoid),
            lambda contact: self._store_at(contact, message, digest, patience_s),
            self._pastry.suspect,
        ).run()
        if kind == CONTENT:
            self._cache.put(handle, data)
        elif kind == PUBLIC_KEY:
            self._see(handle, self._kinds[kind].check(handle, data, self._clock.seconds()))
        return inserted

    def _store_at(self, contact: Contact, message: Store, digest: bytes, patience_s: float) -> Deferred[Kept]:
        if contact.id == self._local:
            try:
                return self._holder.keep(
                    message.kind, message.handle, message.data, message.storage_class, message.expires
                )
            except PostError as error:
                return fail(error)
        priority = Priority.BULK if len(message.data) > LARGE_BYTES else Priority.NORMAL
        asked = self._rpc.ask(contact, message, STORE_DEADLINE_S + patience_s, priority)
        return asked.addCallback(self._check_receipt, contact, message, digest)

    def _check_receipt(self, answer: Message, contact: Contact, message: Store, digest: bytes) -> Kept:
        """
        A receipt is a claim until its signature has been verified; a rival until it has proven to be one.
        """
        try:
            if isinstance(answer, Rival):
                knows = self._kinds[message.kind]
                now = self._clock.seconds()
                theirs, ours = (knows.check(message.handle, data, now) for data in (answer.data, message.data))
                if theirs < ours or answer.data == message.data:
                    raise PeerError("a rival that is none")
                raise Conflict(answer.data)
            kept = expect(Kept, answer)
            certificate = self._rpc.transport.certificate(contact.id)
            if certificate is None:
                raise Unreachable(f"{contact} is gone")
            self._verifier.check(
                kept, certificate.public_key, message.handle, digest, message.storage_class, message.expires
            )
            return kept
        except PeerError as error:
            self._complaints.note(contact, "worthless receipt", error)
            raise

    # Reading.

    async def lookup(self, kind: int, handle: Handle) -> bytes:
        """
        The first authentic copy of an object that never changes.

        @raise NotFound: if nobody has it who should.
        @raise Unreachable: if those who might did not answer.
        """
        data = self._cache.get(handle)
        if data is not None:
            return data
        item = self._store.get(handle)
        if item is not None and item.kind == kind:
            return item.data
        # Beyond the replica set, because it may have moved since the object was stored.
        contacts = [each for each in await self._choose(handle, 2 * self.k, set()) if each.id != self._local]
        race = Race(
            handle,
            contacts,
            self._clock,
            lambda contact: self._fetch(contact, kind, handle),
            lambda contact, data: self._check_found(contact, kind, handle, data),
            self._pastry.suspect,
        )
        found = await race.run()
        if kind == CONTENT:
            self._cache.put(handle, found.data)
        if race.lacking:
            self._tasks.spawn(self._repair(kind, handle, found, race.lacking))
        return found.data

    def _fetch(self, contact: Contact, kind: int, handle: Handle) -> Deferred[Found]:
        asked = self._rpc.ask(contact, Fetch(kind, handle), READ_DEADLINE_S)
        return asked.addCallback(lambda answer: expect(Found, answer))

    def _check_found(self, contact: Contact, kind: int, handle: Handle, data: bytes) -> None:
        try:
            self._kinds[kind].check(handle, data, self._clock.seconds())
        except PeerError as error:
            self._complaints.note(contact, "corrupt block", error)
            raise

    async def _repair(self, kind: int, handle: Handle, found: Found, lacking: Sequence[Contact]) -> None:
        """
        Give an object to those in its replica set who lack it.
        """
        nearest = {contact.id for contact in await self._choose(handle, self.k, set())}
        message = Store(kind, handle, found.storage_class, found.expires, found.data)
        for contact in lacking:
            if contact.id in nearest and found.expires > self._clock.seconds():
                try:
                    await self._store_at(contact, message, sha256(found.data).digest(), PATIENCE_S)
                except PostError as error:
                    self.log.debug("repair of {handle}: {error}", handle=handle, error=error)

    async def newest(self, handle: Handle) -> Newest:
        """
        The highest authentic version of a public-key block that its present holders have; those who lag get it too.

        It is confirmed if all k of them answered, or all there are and at least the policy's minimum of others.
        """
        shown: dict[NodeId, bytes | None] = {}
        contacts: dict[NodeId, Contact] = {}
        failed: set[NodeId] = set()
        while len(shown) < self.k:
            chosen = await self._choose(handle, self.k, failed)
            fresh = [contact for contact in chosen if contact.id not in shown and contact.id not in failed]
            if not fresh:
                break
            contacts.update((contact.id, contact) for contact in fresh)
            answers = await gather(self._version_at(contact, handle) for contact in fresh)
            for contact, (answered, data) in zip(fresh, answers, strict=True):
                if answered:
                    shown[contact.id] = data
                else:
                    failed.add(contact.id)
        return self._judge(handle, shown, contacts)

    async def _version_at(self, contact: Contact, handle: Handle) -> tuple[bool, bytes | None]:
        """
        Whether C{contact} answered, and with which version, if any.
        """
        if contact.id == self._local:
            item = self._store.get(handle)
            return True, item.data if item is not None and item.kind == PUBLIC_KEY else None
        try:
            data = (await self._fetch(contact, PUBLIC_KEY, handle)).data
            self._check_found(contact, PUBLIC_KEY, handle, data)
        except Refused as refused:
            return refused.code == RefusalCode.NOT_FOUND, None
        except Unreachable:
            self._pastry.suspect(contact)
            return False, None
        except PostError:
            return False, None
        return True, data

    def _judge(self, handle: Handle, shown: dict[NodeId, bytes | None], contacts: dict[NodeId, Contact]) -> Newest:
        knows, now = self._kinds[PUBLIC_KEY], self._clock.seconds()
        orders = {data: knows.check(handle, data, now) for data in shown.values() if data is not None}
        best = max(orders, key=lambda data: (orders[data], sha256(data).digest()), default=None)
        number = orders[best] if best is not None else 0
        elsewhere = len(shown) - (self._local in shown)
        # With fewer than k answers there were no more candidates.
        confirmed = elsewhere >= self.minimum and number >= self._highest.get(handle, 0)
        if best is not None:
            self._see(handle, number)
            lagging = [contacts[node] for node, data in shown.items() if data is None or orders[data] < number]
            if lagging:
                self._tasks.spawn(self._write_back(handle, best, lagging))
        return Newest(best, number, confirmed)

    async def _write_back(self, handle: Handle, data: bytes, lagging: Sequence[Contact]) -> None:
        expires = int(self._clock.seconds()) + 30 * 86400
        for contact in lagging:
            message = Store(PUBLIC_KEY, handle, StorageClass.HEAD, expires, data)
            try:
                await self._store_at(contact, message, sha256(data).digest(), PATIENCE_S)
            except PostError as error:
                self.log.debug("write-back of {handle}: {error}", handle=handle, error=error)

    def _see(self, handle: Handle, number: int) -> None:
        if len(self._highest) >= SEEN_LIMIT:
            self._highest.clear()
        self._highest[handle] = max(number, self._highest.get(handle, 0))

    # Looking after.

    async def renew(self, handles: Sequence[Handle], expires: int) -> int:
        """
        Have C{handles} kept until C{expires}; returns how many copies were found wanting.
        """
        lists: dict[NodeId, tuple[Contact, list[Handle]]] = {}
        for handle in handles:
            for contact in await self._choose(handle, self.k, set()):
                lists.setdefault(contact.id, (contact, []))[1].append(handle)
        wanting = 0
        for contact, named in lists.values():
            for start in range(0, len(named), OFFER_LIMIT):
                wanting += await self._renew_at(contact, named[start : start + OFFER_LIMIT], expires)
        return wanting

    async def _renew_at(self, contact: Contact, handles: Sequence[Handle], expires: int) -> int:
        try:
            answer = await self._rpc.ask(contact, Renew(tuple(handles), expires), 60.0, Priority.BULK)
            return len(expect(Want, answer).missing)
        except PostError:
            return len(handles)

    async def holders(self, kind: int, handle: Handle) -> list[tuple[Contact, bool]]:
        """
        Who should keep an object, and whether they do.
        """

        async def has(contact: Contact) -> tuple[Contact, bool]:
            if contact.id == self._local:
                return contact, self._store.holding(handle) is not None
            try:
                found = await self._fetch(contact, kind, handle)
                self._check_found(contact, kind, handle, found.data)
            except PostError:
                return contact, False
            return contact, True

        return await gather(has(contact) for contact in await self._choose(handle, self.k, set()))
