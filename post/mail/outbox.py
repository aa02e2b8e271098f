"""
A member's side of mail for outside (POST, section 5): handing it to the ring for the gateways, and seeing how it goes
on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.crypto.names import canonical, canonical_domain
from post.errors import Conflict, NotFound, PostError
from post.ids import Handle, NodeId
from post.interfaces import Entropy, IJournal
from post.mail.gateways import Gateways
from post.mail.interfaces import RecipientOutside, RecipientUnknown
from post.mail.letter import Letter
from post.mail.outbound import (
    ENDED,
    LIFE_S,
    OUTBOUND,
    RECIPIENTS_LIMIT,
    TRYING,
    Outgoing,
    Queued,
    make_entry,
    open_said,
    outbound_handle,
    progress_in,
    secret_of,
    slot_of,
)
from post.messaging.account import Account
from post.messaging.dispatch import Signer
from post.past.node import Past
from post.tasks import gather
from post.wire import Document, StorageClass, pack, unpack

LISTED_LIMIT = 1000
"""Of what was sent, so much is remembered for C{post queue list}."""
JOURNALED = "outbound"
"""Under which name."""


class Sent(Document, frozen=True):
    """
    What is remembered of an entry.
    """

    slot: bytes
    accepted: int
    recipients: Annotated[tuple[str, ...], Meta(max_length=RECIPIENTS_LIMIT)]
    ended: bool = False


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
        journal: IJournal,
        past: Past,
        gateways: Gateways,
        node_id: NodeId,
        signer: Callable[[], Signer],
        clock: IReactorTime,
        entropy: Entropy,
    ) -> None:
        self._account = account
        self._journal = journal
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

    async def send(self, sender: str, recipients: Sequence[str], letter: Letter, content: bytes) -> None:
        """
        Have the ring keep it for the gateways.  Returning means promise 1; doing it again changes nothing.

        @param content: by which the same message is recognised.
        @raise PostError: if it cannot be kept now.
        """
        domains: dict[str, list[str]] = {}
        for recipient in dict.fromkeys(recipients):
            domains.setdefault(self.check(recipient), []).append(recipient)
        now = int(self._clock.seconds())
        sent = [
            Sent(slot_of(self._account.master, content, sender, some), now, tuple(some))
            for each in domains.values()
            for some in (each[at : at + RECIPIENTS_LIMIT] for at in range(0, len(each), RECIPIENTS_LIMIT))
        ]
        await gather(self._send(sender, each, letter) for each in sent)
        self._remember(sent)

    async def _send(self, sender: str, sent: Sent, letter: Letter) -> None:
        handle = outbound_handle(self._node_id, sent.slot)
        domain = self.check(sent.recipients[0])
        outgoing = Outgoing(
            1,
            self._account.address,
            sender,
            domain,
            sent.recipients,
            letter.reference,
            letter.size,
            sent.accepted,
            sent.slot,
        )
        entry = make_entry(
            outgoing,
            self._account.signer,
            self._secret(sent.slot),
            await self._gateways.keys(handle),
            self._node_id,
            self._signer(),
            self._entropy,
        )
        data, expires = pack(Queued(1, entry, b"")), sent.accepted + LIFE_S
        try:
            await self._past.insert(OUTBOUND, handle, data, StorageClass.PENDING, expires)
        except Conflict:
            # It was sent before, and a gateway is at it already.  That it is about the same follows from the handle.
            pass

    def _secret(self, slot: bytes) -> bytes:
        return secret_of(self._account.master, slot)

    # What was sent.

    def _listed(self) -> list[Sent]:
        data = self._journal.value(JOURNALED)
        return list(unpack(tuple[Sent, ...], data)) if data else []

    def _remember(self, sent: Sequence[Sent]) -> None:
        known = {each.slot: each for each in self._listed()}
        known |= {each.slot: each for each in sent if each.slot not in known}
        self._write(list(known.values()))

    def _write(self, sent: Sequence[Sent]) -> None:
        now = self._clock.seconds()
        kept = [each for each in sent if each.accepted + LIFE_S > now][-LISTED_LIMIT:]
        # Only a list for people: nobody waits for it, and its loss loses no mail.
        self._journal.write([], [(JOURNALED, pack(tuple(kept)))]).addErrback(
            lambda failure: self.log.warn("the list of what was sent is not kept: {error}", error=failure.value)
        )

    async def list(self) -> list[Shown]:
        """
        What was sent and is not done, as far as the ring says now.
        """
        waiting = [each for each in self._listed() if not each.ended]
        shown = await gather(self._show(each) for each in waiting)
        ended = {sent.slot for sent, each in zip(waiting, shown, strict=True) if each is None}
        if ended:
            everything = [
                Sent(each.slot, each.accepted, each.recipients, each.ended or each.slot in ended)
                for each in self._listed()
            ]
            self._write(everything)
        return [each for each in shown if each is not None]

    async def _show(self, sent: Sent) -> Shown | None:
        handle = outbound_handle(self._node_id, sent.slot)
        try:
            progress = progress_in(await self._past.furthest(OUTBOUND, handle))
            said = open_said(progress, self._secret(sent.slot), sent.recipients)
        except NotFound:
            return None
        except PostError as error:
            return Shown(
                handle, sent.accepted, self._account.address, sent.recipients, (), (), 0, False, 0, f"unknown: {error}"
            )
        if progress is None:
            return Shown(handle, sent.accepted, self._account.address, sent.recipients, (), (), 0, False, 0, "")
        if progress.state == ENDED:
            return None
        return Shown(
            handle,
            sent.accepted,
            self._account.address,
            said.left,
            said.delivered,
            said.failed,
            progress.tries,
            progress.state == TRYING,
            progress.due,
            said.words,
        )
