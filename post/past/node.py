"""
PAST on one node (POST, section 2): insert, look up, and keep (Rowstron and Druschel, SOSP 2001).

Routing finds the replica set of a handle; data then goes straight to its k holders, in parallel.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from random import Random

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate
from post.crypto.keys import SigningKey
from post.errors import Conflict, NotFound, PeerError, PostError, Refused, Unreachable
from post.ids import Contact, Handle, Key, NodeId
from post.interfaces import Holding, IApplication, IBlockStore, Stored
from post.past.accord import Accord
from post.past.blocks import (
    CONTENT,
    FINAL_NUMBER,
    PUBLIC_KEY,
    BlockKind,
    CertificateKind,
    ContentKind,
    PublicKeyKind,
    contradict,
    reach,
    read_signed_block,
)
from post.past.holder import LIFE_LIMIT_S, Holder
from post.past.insertion import BYTES_PER_S, PATIENCE_S, Inserted, Insertion
from post.past.lookout import Lookout
from post.past.messages import OFFER_LIMIT, Fetch, Found, Kept, Renew, Rival, Store, Want
from post.past.reading import CACHE_BYTES, Cache, Newest, Race
from post.past.receipts import Verifier
from post.past.replication import Replication
from post.past.scrub import Scrub
from post.pastry.node import Pastry
from post.rpc import Rpc, expect
from post.tasks import Tasks, gather
from post.wire import Message, Priority, RefusalCode, StorageClass

STORE_DEADLINE_S = 10.0
READ_DEADLINE_S = 3.0
RENEW_DEADLINE_S = 60.0
"""For a thousand leases, each of whose data the holder reads."""
SEEN_LIMIT = 100_000
"""Public-key blocks of which the highest number seen is remembered: about 20 MB."""
LARGE_BYTES = 32 * 1024
WRITE_BACK_S = 86400
"""For so long at least a version is kept by a holder who lagged behind, whatever the others say."""


@dataclass(frozen=True)
class _Shown:
    """
    What a holder shows under a handle: a version and its place among all versions, or none.
    """

    contact: Contact
    data: bytes | None = None
    place: tuple[int, int, bytes] = (0, 0, b"")
    storage_class: int = StorageClass.HEAD
    expires: int = 0


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
        cache_bytes: int = CACHE_BYTES,
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
        self._versions = PublicKeyKind(root)
        for kind in (ContentKind(), self._versions, CertificateKind(root)):
            self.register(kind)
        self._tasks = Tasks()
        self._holder = Holder(rpc, store, clock, key, self._kinds, self._is_ours)
        # Beyond the replica set, as a reader looks, because that may have moved.
        self.lookout = Lookout(
            rpc, self._local, self._holder.orders, lambda handle: self._choose(handle, 2 * self.k, set())
        )
        self._verifier = Verifier()
        self._cache = Cache(cache_bytes)
        self._highest: OrderedDict[Handle, int] = OrderedDict()
        self.accord = Accord()
        """How far our clock is from those of the holders that gave us receipts."""
        self._replication = Replication(rpc, store, clock, random, self._local, self._replicas, self._tasks)
        self._scrub = Scrub(store, clock, self._tasks, self._mend)
        pastry.add_application(self)

    def register(self, kind: BlockKind) -> None:
        """
        Keep a kind of object that an application defines.
        """
        self._kinds[kind.kind] = kind

    def use(self, k: int, minimum: int) -> None:
        """
        Make so many copies from now on, and of what there is too.
        """
        more = k > self.k
        self.k, self.minimum = k, minimum
        if more:
            self._replication.changed()

    def start(self) -> None:
        """
        Begin to look after the copies, here and elsewhere.
        """
        self._replication.start()
        self._scrub.start()

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

    async def _choose(self, handle: Handle, count: int, avoid: set[NodeId], secure: bool = False) -> list[Contact]:
        """
        @param secure: let nobody hide them, where our own leaf set does not tell.
        """
        nearest = self._pastry.nearest(handle, count, avoid)
        return nearest if nearest is not None else await self._pastry.replica_set(handle, count, avoid, secure)

    async def _choose_more(self, handle: Handle, count: int, avoid: set[NodeId], given: set[NodeId]) -> list[Contact]:
        """
        The same, more and more: when one of those who were C{given} as usual has failed, or there are no others, as
        somebody who lies may have wanted it, then they are found securely.
        """
        found = await self._choose(handle, count, avoid, secure=bool(avoid))
        if not avoid and all(contact.id in given for contact in found):
            found = await self._choose(handle, count, avoid, secure=True)
        given.update(contact.id for contact in found)
        return found

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
        given: set[NodeId] = set()
        inserted = await Insertion(
            self._local,
            self.k,
            self.minimum,
            self._clock,
            patience_s,
            lambda count, avoid: self._choose_more(handle, count, avoid, given),
            lambda contact: self._store_at(contact, message, digest, patience_s),
            self._pastry.suspect,
        ).run()
        if kind == CONTENT:
            self._cache.put(handle, data)
        elif kind == PUBLIC_KEY:
            self._see(handle, read_signed_block(data).number)
        return inserted

    def _store_at(self, contact: Contact, message: Store, digest: bytes, patience_s: float) -> Deferred[Kept]:
        if contact.id == self._local:
            try:
                return self._holder.keep(message, digest)
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
                self._check_rival(answer.data, message)
                raise Conflict(answer.data)
            kept = expect(Kept, answer)
            certificate = self._rpc.transport.certificate(contact.id)
            if certificate is None:
                raise Unreachable(f"{contact} is gone")
            self._verifier.check(
                kept, certificate.public_key, message.handle, digest, message.storage_class, message.expires
            )
            self.accord.note(contact.id, kept.at - int(self._clock.seconds()))
            return kept
        except PeerError as error:
            self._complaints.note(contact, "worthless receipt", error)
            raise

    def _check_rival(self, data: bytes, message: Store) -> None:
        kind, handle, now = message.kind, message.handle, self._clock.seconds()
        if kind == PUBLIC_KEY:
            theirs = self._versions.place(handle, data, now)[0]
            number = read_signed_block(message.data).number
            # To the last one, whatever it does not continue is a rival.
            ours = reach(message.data) + 1 if number == FINAL_NUMBER else number
        else:
            theirs, ours = (self._kinds[kind].check(handle, each, now) for each in (data, message.data))
        if theirs < ours or (theirs == ours and not contradict(kind, data, message.data)):
            raise PeerError("a rival that is none")

    # Reading.

    async def lookup(self, kind: int, handle: Handle) -> bytes:
        """
        The first authentic copy of an object that never changes.

        @raise NotFound: if nobody has it who should.
        @raise Unreachable: if those who might did not answer.
        """
        data = self._cache.get(handle) if kind == CONTENT else None
        if data is not None:
            return data
        item = self._held_intact(handle)
        if item is not None and item.kind == kind:
            return item.data
        return (await self._look_elsewhere(kind, handle)).data

    async def _look_elsewhere(self, kind: int, handle: Handle) -> Found:
        """
        In the ring.  Those who lack it get it, ourselves included.
        """
        # Beyond the replica set, because it may have moved since the object was stored.
        chosen = await self._choose(handle, 2 * self.k, set())
        race = self._race(kind, handle, chosen)
        try:
            found = await race.run()
        except (NotFound, Unreachable) as error:
            # As usual we were perhaps told of whoever somebody wanted us to find.
            others = await self._others(handle, chosen)
            if not others:
                raise
            race = self._race(kind, handle, others)
            try:
                found = await race.run()
            except NotFound:
                raise error from None
        if kind == CONTENT:
            self._cache.put(handle, found.data)
        self._tasks.spawn(self._repair(kind, handle, found, [*race.lacking, self._pastry.local]))
        return found

    def _race(self, kind: int, handle: Handle, contacts: Sequence[Contact]) -> Race:
        return Race(
            handle,
            [each for each in contacts if each.id != self._local],
            self._clock,
            lambda contact: self._fetch(contact, kind, handle),
            lambda contact, data: self._check_found(contact, kind, handle, data),
            self._pastry.suspect,
        )

    async def _others(self, handle: Handle, chosen: Sequence[Contact]) -> list[Contact]:
        """
        Those near C{handle} who are found securely, and are not among C{chosen}, who were found as usual.
        """
        before = {contact.id for contact in chosen}
        try:
            found = await self._choose(handle, 2 * self.k, set(), secure=True)
        except PostError:
            return []
        return [contact for contact in found if contact.id not in before]

    async def _mend(self, holding: Holding) -> None:
        """
        Our copy is damaged: get another one.
        """
        try:
            if holding.kind == PUBLIC_KEY:
                await self.newest(holding.handle)
            else:
                await self._look_elsewhere(holding.kind, holding.handle)
        except PostError as error:
            # It is missing now, and the other holders offer it when they walk.
            self.log.info("{handle} cannot be mended now: {error}", handle=holding.handle, error=error)

    def _held_intact(self, handle: Handle) -> Stored | None:
        """
        From our own disk, if it can be read; the ring has other copies.
        """
        try:
            return self._store.get(handle)
        except PostError as error:
            self.log.warn("{handle}: {error}", handle=handle, error=error)
            return None

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
        if found.expires > self._clock.seconds():
            message = Store(kind, handle, found.storage_class, found.expires, found.data)
            await self._hand_out(message, lacking)

    async def _hand_out(self, message: Store, lacking: Iterable[Contact]) -> None:
        """
        To those of C{lacking} who are of the replica set.
        """
        digest = sha256(message.data).digest()
        try:
            nearest = {contact.id for contact in await self._choose(message.handle, self.k, set())}
        except PostError as error:
            self.log.debug("repair of {handle}: {error}", handle=message.handle, error=error)
            return
        for contact in lacking:
            if contact.id in nearest:
                try:
                    await self._store_at(contact, message, digest, PATIENCE_S)
                except PostError as error:
                    self.log.debug("repair of {handle}: {error}", handle=message.handle, error=error)

    async def newest(self, handle: Handle, wide: bool = False) -> Newest:
        """
        The highest authentic version of a public-key block that its present holders have; those who lag get it too.

        It is confirmed if all k of them answered, or all there are and at least the policy's minimum of others.

        @param wide: find them securely, ask the k after those as well, and confirm it only if too few of all are
            silent to have kept a version by themselves.  If the k nearest were out of reach for a moment, the next ones
            have what was written then, and the nearest, who are back, do not know that they lag.
        """
        shown: dict[NodeId, _Shown] = {}
        failed: set[NodeId] = set()
        count = 2 * self.k if wide else self.k
        while len(shown) < count:
            if not await self._ask_for_versions(handle, count, shown, failed, secure=wide):
                break
        beyond: set[NodeId] = set()
        if any(each.data is None for each in shown.values()):
            # Who has none may be new in the replica set.  Those who were in it before have not let go of theirs, and if
            # one of them does not answer, there may be a version that nobody here has seen.
            beyond.update(failed)
            await self._ask_for_versions(handle, 2 * self.k, shown, beyond)
            if any(each.data is not None for each in shown.values()):
                beyond -= failed
        sure = not beyond and not (wide and len(failed) >= max(1, self.minimum))
        return self._judge(handle, list(shown.values()), sure)

    async def _ask_for_versions(
        self,
        handle: Handle,
        count: int,
        shown: dict[NodeId, _Shown],
        failed: set[NodeId],
        secure: bool = False,
    ) -> bool:
        """
        Ask those of the C{count} nearest who were not asked yet; C{False} if there are none.
        """
        chosen = await self._choose(handle, count, failed, secure)
        fresh = [contact for contact in chosen if contact.id not in shown and contact.id not in failed]
        answers = await gather(self._version_at(contact, handle) for contact in fresh)
        for contact, answer in zip(fresh, answers, strict=True):
            if answer is not None:
                shown[contact.id] = answer
            else:
                failed.add(contact.id)
        return bool(fresh)

    async def _version_at(self, contact: Contact, handle: Handle) -> _Shown | None:
        """
        What C{contact} shows; C{None} if that is nothing to rely on.
        """
        try:
            if contact.id == self._local:
                item = self._store.get(handle)
                if item is None or item.kind != PUBLIC_KEY:
                    return _Shown(contact)
                found = Found(StorageClass(item.storage_class), item.expires, item.data)
            else:
                found = await self._fetch(contact, PUBLIC_KEY, handle)
            place = self._versions.place(handle, found.data, self._clock.seconds())
        except Refused as refused:
            return _Shown(contact) if refused.code == RefusalCode.NOT_FOUND else None
        except Unreachable:
            self._pastry.suspect(contact)
            return None
        except PeerError as error:
            self._complaints.note(contact, "corrupt block", error)
            return None
        except PostError:
            return None
        return _Shown(contact, found.data, place, found.storage_class, found.expires)

    def _judge(self, handle: Handle, shown: Sequence[_Shown], sure: bool) -> Newest:
        best = max(shown, key=lambda each: each.place, default=None)
        number = best.place[0] if best is not None else 0
        elsewhere = sum(each.contact.id != self._local for each in shown)
        # With fewer than k answers there were no more candidates.
        confirmed = sure and elsewhere >= self.minimum and number >= self._highest.get(handle, 0)
        if best is None or best.data is None:
            return Newest(None, 0, confirmed)
        self._see(handle, number)
        lagging = [each.contact for each in shown if each.place[0] < number]
        if lagging:
            until = max(each.expires for each in shown if each.place == best.place)
            self._tasks.spawn(self._write_back(handle, best.data, until, lagging))
        return Newest(best.data, number, confirmed)

    async def _write_back(self, handle: Handle, data: bytes, until: int, lagging: Sequence[Contact]) -> None:
        now = int(self._clock.seconds())
        expires = min(max(until, now + WRITE_BACK_S), now + LIFE_LIMIT_S - 86400)
        await self._hand_out(Store(PUBLIC_KEY, handle, StorageClass.HEAD, expires, data), lagging)

    def _see(self, handle: Handle, number: int) -> None:
        self._highest[handle] = max(number, self._highest.pop(handle, 0))
        if len(self._highest) > SEEN_LIMIT:
            self._highest.popitem(last=False)

    async def furthest(self, kind: int, handle: Handle, wide: bool = False) -> bytes:
        """
        Of an object that goes through stages, the furthest that those k show who should have it and answer.

        Unlike L{newest} it promises nothing: whoever goes on from there writes, and is refused by the holder of more.

        @param wide: ask the k after those as well, who have what was written while the nearest were out of reach.
        @raise NotFound: if nobody has it who should.
        @raise Unreachable: if none of them answers.
        """
        chosen = await self._choose(handle, 2 * self.k if wide else self.k, set())
        shown = await self._shown(chosen, kind, handle)
        if all(each is None for each in shown):
            raise Unreachable(f"{handle}")
        found = [each for each in shown if each]
        if not found:
            raise NotFound(f"{handle}")
        now = self._clock.seconds()
        return max(found, key=lambda data: (self._kinds[kind].check(handle, data, now), sha256(data).digest()))

    # Looking after.

    async def renew(self, handles: Sequence[Handle], expires: int) -> int:
        """
        Have C{handles} kept until C{expires}; returns how many copies were found wanting.
        """
        lists: dict[NodeId, tuple[Contact, list[Handle]]] = {}
        wanting = 0
        for handle in handles:
            try:
                chosen = await self._choose(handle, self.k, set())
            except PostError:
                wanting += self.k
                continue
            # Nobody in sight to keep a copy is no better than somebody who has lost it.
            wanting += self.k - len(chosen)
            for contact in chosen:
                lists.setdefault(contact.id, (contact, []))[1].append(handle)
        return wanting + sum(await gather(self._renew_at(*each, expires) for each in lists.values()))

    async def _renew_at(self, contact: Contact, handles: Sequence[Handle], expires: int) -> int:
        wanting = 0
        for start in range(0, len(handles), OFFER_LIMIT):
            page = handles[start : start + OFFER_LIMIT]
            try:
                if contact.id == self._local:
                    wanting += len(await self._holder.renew(page, expires))
                else:
                    answer = await self._rpc.ask(contact, Renew(tuple(page), expires), RENEW_DEADLINE_S, Priority.BULK)
                    wanting += len(expect(Want, answer).missing)
            except PostError:
                wanting += len(page)
        return wanting

    async def holders(self, kind: int, handle: Handle) -> list[tuple[Contact, bool]]:
        """
        Who should keep an object, and whether they do.
        """
        contacts = await self._choose(handle, self.k, set())
        return [
            (contact, bool(data))
            for contact, data in zip(contacts, await self._shown(contacts, kind, handle), strict=True)
        ]

    async def shown(self, kind: int, handle: Handle) -> list[bytes | None]:
        """
        What each of those who should keep an object, or did before the replica set moved, has of it, which may be
        different versions: empty if it has none, C{None} if it does not answer.
        """
        return await self._shown(await self._choose(handle, 2 * self.k, set()), kind, handle)

    async def _shown(self, contacts: Sequence[Contact], kind: int, handle: Handle) -> list[bytes | None]:
        async def has(contact: Contact) -> bytes | None:
            if contact.id == self._local:
                item = self._held_intact(handle)
                return item.data if item is not None and item.kind == kind else b""
            try:
                found = await self._fetch(contact, kind, handle)
                self._check_found(contact, kind, handle, found.data)
            except Refused as refused:
                return b"" if refused.code == RefusalCode.NOT_FOUND else None
            except PostError:
                return None
            return found.data

        return await gather(has(contact) for contact in contacts)
