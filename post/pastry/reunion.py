"""
Nodes that lost sight of each other find together again by what they remember of each other (L{post.pastry.seen}).

Whoever looks for the ring asks those it was linked with last, besides its seeds.  In the ring, a node looks from time
to time for one of whom it has lost sight: if that is in another ring, both become one.  (Those that died as members of
the leaf set L{post.pastry.liveness} tries as well, and sooner; but that is forgotten at a restart.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.ids import Address, Contact, NodeId
from post.pastry.ring import Ring
from post.pastry.seen import Seen
from post.rpc import Rpc

ASKED_FIRST = 16
"""Nodes asked at once by whoever enters the ring, besides its seeds."""
ASKED_MOST = 48
"""And asked if that brought nobody."""
KEEP_S = 600.0
"""Between two times that what is remembered is written; the first time soon after the ring was entered."""


class Reunion:
    """
    Remembers, once it is told what was remembered before.

    @param visit: asks who is at an address for its ring, and lets it and ours become one; returns who was there.
    """

    log = Logger()

    def __init__(
        self, rpc: Rpc, clock: IReactorTime, ring: Ring, visit: Callable[[Address], Awaitable[NodeId | None]]
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._ring = ring
        self._visit = visit
        self._seen: Seen | None = None
        self._save: Callable[[bytes], None] = lambda data: None
        self._keep_at = 0.0

    def remember(self, kept: bytes, save: Callable[[bytes], None]) -> None:
        """
        C{kept} is what the last life of this node gave to C{save}, or what is left of it; empty if it is the first.
        """
        assert self._seen is None
        self._seen = Seen(self._ring.owner)
        self._seen.read(kept, self._clock.seconds())
        self._save = save
        self._rpc.watch(found=self._met)

    def addresses(self, count: int = ASKED_MOST) -> tuple[Address, ...]:
        """
        Where C{count} nodes were when we saw them last.
        """
        return self._seen.addresses(count) if self._seen is not None else ()

    def _met(self, peer: Contact) -> None:
        assert self._seen is not None
        self._seen.note(peer, self._clock.seconds())

    async def look(self) -> None:
        """
        Look for one of those of whom we lost sight, and write down whom we know if it is time.
        """
        seen = self._seen
        if seen is None:
            return
        ring, now = self._ring, self._clock.seconds()
        if now >= self._keep_at or now < self._keep_at - KEEP_S:  # The second: the clock was set back.
            self.keep()
        linked = {contact.id for contact in self._rpc.transport.links()}
        due = seen.due(now, ring.contacts.keys() | ring.absent.keys() | linked)
        if due is None:
            return
        node, addresses = due
        found = None
        for address in addresses:
            found = found or await self._visit(address)
        seen.looked(node, found, self._clock.seconds())

    def keep(self) -> None:
        """
        Write down whom we know, if that is not written already.
        """
        seen = self._seen
        if seen is None:
            return
        now = self._clock.seconds()
        for contact in self._rpc.transport.links():
            seen.note(contact, now)
        if not seen.changed:
            return
        self._keep_at = now + KEEP_S
        try:
            self._save(seen.pack())
        except OSError as error:
            seen.changed = True
            self.log.warn("whom this node has seen cannot be written down: {error}", error=error)
