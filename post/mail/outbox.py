"""
A member's side of mail for outside (POST, section 5): handing it to the ring for the gateways, and seeing how it goes
on.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.crypto.names import canonical, canonical_domain, split
from post.crypto.trust import Revoked, check_revoked
from post.errors import BadSignature, Conflict, NotFound, Overloaded, PostError
from post.ids import Handle, NodeId
from post.interfaces import Entropy
from post.mail.gateways import Gateways
from post.mail.interfaces import RecipientOutside, RecipientUnknown
from post.mail.journeys import Journey
from post.mail.letter import Letter
from post.mail.outbound import (
    ENDED,
    LIFE_S,
    OUTBOUND,
    RECIPIENTS_LIMIT,
    TRYING,
    Outgoing,
    Progress,
    Queued,
    Said,
    Waybill,
    make_entry,
    open_entry,
    open_said,
    outbound_handle,
    progress_in,
    secret_of,
    slot_of,
    waybill_in,
)
from post.mail.records import Passage, Standing
from post.messaging.account import Account
from post.messaging.dispatch import Signer
from post.past.node import Past
from post.tasks import gather
from post.wire import StorageClass, pack, unpack

LISTED_LIMIT = 1000
"""Entries shown at once."""
SETTLED_S = 600
"""After a key was revoked: every gateway that is there knows by then, and sends nothing more that it has signed.  And
after an attempt was due: a gateway that can make it has begun by then."""
AGAIN_LIMIT = 100
"""How often the same message is sent again to somebody who has been given up: each time is another entry to look at."""


@dataclass(frozen=True)
class _Parcel:
    """
    What goes into one entry.
    """

    slot: bytes
    accepted: int
    recipients: tuple[str, ...]


@dataclass(frozen=True)
class Shown:
    """
    An entry as C{post queue list} shows it.
    """

    handle: Handle
    accepted: int
    sender: str
    left: tuple[str, ...]
    delivered: tuple[str, ...]
    failed: tuple[str, ...]
    tries: int
    trying: bool
    due: int
    words: str


class Outbox:
    """
    Where one account's mail for outside goes.
    """

    log = Logger()

    def __init__(
        self,
        account: Account,
        past: Past,
        gateways: Gateways,
        node_id: NodeId,
        signer: Callable[[], Signer],
        root: bytes,
        clock: IReactorTime,
        entropy: Entropy,
    ) -> None:
        self._account = account
        self._root = root
        self._past = past
        self._gateways = gateways
        self._node_id = node_id
        self._signer = signer
        self._clock = clock
        self._entropy = entropy

    def check(self, address: str) -> str:
        """
        The canonical domain of C{address}, which is outside.

        @raise RecipientUnknown: if that is no address.
        @raise RecipientOutside: if there is no gateway.
        """
        try:
            canonical(address)
            domain = canonical_domain(address.rpartition("@")[2])
        except ValueError:
            raise RecipientUnknown(address) from None
        if not self._gateways.all():
            raise RecipientOutside(address)
        return domain

    async def send(self, sender: str, recipients: Sequence[str], letter: Letter, content: bytes) -> Sequence[Passage]:
        """
        Have the ring keep it for the gateways.  Returning means promise 1; doing it again changes nothing.

        @param content: by which the same message is recognised.
        @raise PostError: if it cannot be kept now.
        """
        domains: dict[str, list[str]] = {}
        for recipient in dict.fromkeys(recipients):
            domains.setdefault(self.check(recipient), []).append(recipient)
        now = int(self._clock.seconds())
        parcels = [
            _Parcel(slot_of(self._account.naming, content, sender, some), now, tuple(some))
            for each in domains.values()
            for some in (each[at : at + RECIPIENTS_LIMIT] for at in range(0, len(each), RECIPIENTS_LIMIT))
        ]
        done = await gather(self._send(sender, each, letter) for each in parcels)
        return [passage for each in done for passage in each]

    async def _send(self, sender: str, parcel: _Parcel, letter: Letter) -> list[Passage]:
        """
        Have it kept.  If it was sent before, it is the same entry; but for whom that has been given up, by whichever
        gateway, it is another one: their notice says that it may be sent once more.
        """
        passages: dict[str, Passage] = {}
        for _ in range(AGAIN_LIMIT):
            handle = outbound_handle(self._node_id, parcel.slot)
            data, expires = pack(Queued(1, await self._entry(sender, parcel, letter), b"")), parcel.accepted + LIFE_S
            copies, failed = self._past.k, tuple[str, ...]()
            try:
                copies = (await self._past.insert(OUTBOUND, handle, data, StorageClass.PENDING, expires)).copies
            except Conflict:
                # A gateway is or was at it already.  That it is about the same follows from the handle.
                progress, said = await self._stage(handle)
                if progress is not None and said is not None and progress.state == ENDED:
                    failed = said.failed
            for each in parcel.recipients:
                passages[each] = Passage(each, Standing.WAITING, parcel.accepted, expires, copies, handle)
            again = tuple(each for each in parcel.recipients if each in failed)
            if not again:
                return list(passages.values())
            slot = slot_of(self._account.naming, handle.packed(), sender, again)
            parcel = replace(parcel, slot=slot, recipients=again)
        raise Overloaded("the same message too often")

    async def _entry(self, sender: str, parcel: _Parcel, letter: Letter) -> bytes:
        outgoing = Outgoing(
            1,
            self._account.address,
            sender,
            self.check(parcel.recipients[0]),
            parcel.recipients,
            letter.reference,
            letter.size,
            parcel.accepted,
            parcel.slot,
        )
        return make_entry(
            outgoing,
            self._account.signer,
            self._secret(parcel.slot),
            await self._gateways.keys(outbound_handle(self._node_id, parcel.slot)),
            self._node_id,
            self._signer(),
            self._entropy,
        )

    def _secret(self, slot: bytes) -> bytes:
        return secret_of(self._account.masters[0], slot)

    async def renew(self, passages: Sequence[Passage]) -> list[Passage]:
        """
        Of C{passages}, what no gateway sends on any longer: it was signed by a machine of ours that is lost, whose key
        is revoked, or sealed to gateways of which none is left.  It was accepted all the same, so it is handed over
        again; returns where that waits.  Doing it again changes nothing.

        @raise PostError: if that cannot be done now.
        """
        found: list[Passage] = []
        for handle in dict.fromkeys(passage.handle for passage in passages if passage.handle is not None):
            found += await self._renew(handle, {each.address for each in passages if each.handle == handle})
        return found

    async def _renew(self, handle: Handle, waiting: Container[str]) -> list[Passage]:
        try:
            data = await self._past.furthest(OUTBOUND, handle)
        except NotFound:
            return []
        entry, progress, now = unpack(Queued, data).entry, progress_in(data), int(self._clock.seconds())
        if not entry or (progress is not None and progress.state == TRYING and progress.due > now):
            return []
        waybill = waybill_in(entry)
        for master in self._account.masters:
            secret = secret_of(master, waybill.slot)
            try:
                outgoing, author = open_entry(waybill, secret, self._root)
            except BadSignature:
                continue
            again = tuple(each for each in open_said(progress, secret, outgoing.recipients).left if each in waiting)
            due = progress.due if progress is not None else waybill.stamp
            if not again or not (
                self._is_revoked(author.public_key) or (due + SETTLED_S < now and await self._is_orphaned(waybill))
            ):
                return []
            slot = slot_of(self._account.naming, handle.packed(), outgoing.sender, again)
            letter = Letter(outgoing.message, outgoing.size, b"")
            return await self._send(outgoing.sender, _Parcel(slot, now, again), letter)
        return []

    def _is_revoked(self, key: bytes) -> bool:
        """
        Whether all gateways know that C{key} is revoked.
        """
        try:
            check_revoked(self._root, key, self._clock.seconds() - SETTLED_S)
        except Revoked:
            return True
        return False

    async def _is_orphaned(self, waybill: Waybill) -> bool:
        """
        Whether there are gateways, and none of them can open it.
        """
        known = await self._gateways.keys(outbound_handle(waybill.node, waybill.slot))
        return not {each.key_id for each in waybill.epoch.secrets} & {key_id for key_id, _ in known}

    # How it goes on.

    def is_outside(self, address: str) -> bool:
        """
        Whether C{address}, of somebody to whom something was sent, is of another domain.
        """
        return canonical_domain(split(address)[1]) != split(canonical(self._account.address))[1]

    async def became(self, passages: Sequence[Passage]) -> list[tuple[str, Standing, int]]:
        """
        To whom of C{passages} it has gone, or by whom it was refused, as far as the ring says now, and since when.

        @raise PostError: if that cannot be known now.
        """
        found: list[tuple[str, Standing, int]] = []
        for handle in dict.fromkeys(passage.handle for passage in passages if passage.handle is not None):
            progress, said = await self._stage(handle)
            if progress is None or said is None:
                continue
            gone = dict.fromkeys(said.delivered, Standing.HANDED_ON) | dict.fromkeys(said.failed, Standing.REFUSED)
            found += [
                (passage.address, gone[passage.address], progress.at)
                for passage in passages
                if passage.handle == handle and passage.address in gone
            ]
        return found

    async def _stage(self, handle: Handle) -> tuple[Progress | None, Said | None]:
        """
        How far the entry under C{handle} is; no progress before the first attempt, and nothing at all if it is gone.
        """
        try:
            data = await self._past.furthest(OUTBOUND, handle)
        except NotFound:
            return None, None
        progress = progress_in(data)
        if progress is None:
            return None, Said(1, ())
        for master in self._account.masters:
            try:
                return progress, open_said(progress, secret_of(master, progress.slot), ())
            except BadSignature:
                pass  # Sent from a machine that has been lost since.
        return None, None

    async def list(self, journeys: Iterable[Journey]) -> list[Shown]:
        """
        What of C{journeys} has not left yet, as far as the ring says now.
        """
        handles: dict[Handle, tuple[int, list[str]]] = {}
        for journey in journeys:
            for passage in journey.waiting():
                if passage.handle is not None and self.is_outside(passage.address):
                    handles.setdefault(passage.handle, (journey.at, []))[1].append(passage.address)
        some = list(handles.items())[:LISTED_LIMIT]
        shown = await gather(self._show(handle, at, recipients) for handle, (at, recipients) in some)
        return [each for each in shown if each is not None]

    async def _show(self, handle: Handle, accepted: int, recipients: Sequence[str]) -> Shown | None:
        sender = self._account.address
        waiting = Shown(handle, accepted, sender, tuple(recipients), (), (), 0, False, 0, "")
        try:
            progress, said = await self._stage(handle)
        except PostError as error:
            return replace(waiting, words=f"it is not known now how far it is: {error}")
        if progress is None and said is None:
            # It still waits, by our own record: computers that are off may have it.
            return replace(waiting, words="no copy of it can be found among the computers that are there")
        if said is None or (progress is not None and progress.state == ENDED):
            return None
        if progress is None:
            return waiting
        return Shown(
            handle,
            accepted,
            sender,
            said.left,
            said.delivered,
            said.failed,
            progress.tries,
            progress.state == TRYING,
            progress.due,
            said.words,
        )
