"""
Where copies are: asking those who should have objects whether they do, without fetching anything.

What a holder says here is a claim.  It has signed for what it keeps, and whoever lies about it now could as well have
thrown it away; so this is for showing people how their mail stands, and nothing is given up because of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from twisted.logger import Logger

from post.errors import PeerError, PostError
from post.ids import Contact, Handle, NodeId
from post.past.messages import ABSENT, OFFER_LIMIT, Have, Having
from post.rpc import Rpc, expect
from post.tasks import gather
from post.wire import Priority

DEADLINE_S = 10.0
"""For an answer about a thousand objects, each a look into an index."""


@dataclass
class Sighting:
    """
    Who has something: by holder the order of its version; who did not answer; whether nobody could be asked.
    """

    handle: Handle
    orders: dict[NodeId, int] = field(default_factory=dict)
    silent: set[NodeId] = field(default_factory=set)
    unasked: bool = False

    @property
    def holders(self) -> frozenset[NodeId]:
        """
        Those that have the newest version seen: an older one is no copy.
        """
        newest = max(self.orders.values(), default=0)
        return frozenset(node for node, order in self.orders.items() if order == newest)


class Lookout:
    """
    Asks.
    """

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        local: NodeId,
        orders: Callable[[Iterable[Handle]], list[int]],
        choose: Callable[[Handle], Awaitable[list[Contact]]],
    ) -> None:
        """
        @param orders: what this node itself has.
        @param choose: whom to ask.
        """
        self._rpc = rpc
        self._local = local
        self._orders = orders
        self._choose = choose

    async def look(self, handles: Sequence[Handle]) -> list[Sighting]:
        """
        Who has each of C{handles}, in their order.  Raises nothing: who does not answer is among the silent.
        """
        lists: dict[NodeId, tuple[Contact, list[Sighting]]] = {}
        found = [Sighting(handle) for handle in handles]
        for sighting in found:
            try:
                chosen = await self._choose(sighting.handle)
            except PostError:
                sighting.unasked = True
                continue
            for contact in chosen:
                lists.setdefault(contact.id, (contact, []))[1].append(sighting)
        await gather(self._ask(*each) for each in lists.values())
        return found

    async def _ask(self, contact: Contact, wanted: Sequence[Sighting]) -> None:
        for start in range(0, len(wanted), OFFER_LIMIT):
            page = wanted[start : start + OFFER_LIMIT]
            try:
                orders = await self._ask_page(contact, tuple(sighting.handle for sighting in page))
            except PostError as error:
                self.log.debug("{contact} does not say what it has: {error}", contact=contact, error=error)
                for sighting in page:
                    sighting.silent.add(contact.id)
                continue
            for sighting, order in zip(page, orders, strict=True):
                if order != ABSENT:
                    sighting.orders[contact.id] = order

    async def _ask_page(self, contact: Contact, handles: tuple[Handle, ...]) -> Sequence[int]:
        if contact.id == self._local:
            return self._orders(handles)
        answer = await self._rpc.ask(contact, Have(handles), DEADLINE_S, Priority.BULK)
        orders = expect(Having, answer).orders
        if len(orders) != len(handles):
            raise PeerError(f"{len(orders)} answers to {len(handles)} questions")
        return orders
