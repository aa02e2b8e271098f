"""
Keeping k copies as nodes come and go (POST, section 2: "regardless of node addition or failure").

When the leaf set changes, or somebody in it who was suspected turns out to be well, every holder walks through what it
holds, a page at a time, and offers each object to those who should have it too; they say what they lack, and get it.
The same walk happens now and then without an occasion, so that whatever one walk missed is mended by a later one.

Nothing is given up here.  An object that is no longer this node's stays, and so does one that has expired: a clock that
is wrong for some minutes, on all nodes, must not cost anybody's mail.  What has expired is shown to whoever asks for it
and not offered to anybody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import PostError, Unreachable
from post.ids import RING, Contact, Handle, NodeId
from post.interfaces import Holding, IBlockStore
from post.past.messages import OFFER_LIMIT, Kept, Offer, Offered, Rival, Store, Want
from post.rpc import Rpc, expect
from post.tasks import Tasks, gather, sleep
from post.wire import Priority, StorageClass

SETTLE_S = 0.5
"""After a change, before walking: changes come in groups."""
PERIOD_S = 900.0
"""Between two walks without an occasion."""
PAGE = 200
"""Objects looked at in one turn of the reactor: about 2 ms."""
SENDING = 4
"""Objects on their way to one node at a time."""


class Replication:
    """
    The walks of one node.
    """

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        store: IBlockStore,
        clock: IReactorTime,
        random: Random,
        local: NodeId,
        replicas: Callable[[Handle], list[Contact] | None],
        tasks: Tasks,
    ) -> None:
        self._rpc = rpc
        self._store = store
        self._clock = clock
        self._random = random
        self._local = local
        self._replicas = replicas
        self._tasks = tasks
        self._changed = False
        self._walking = False
        self.sent = 0
        """Objects copied to other nodes so far."""

    def start(self) -> None:
        """
        Walk now and then from now on.
        """
        self._tasks.every(self._clock, lambda: PERIOD_S * self._random.uniform(0.8, 1.2), self._walk)
        self.changed()

    def changed(self) -> None:
        """
        The leaf set has changed, or somebody in it may lack what was put around it.
        """
        self._changed = True
        if not self._walking:
            self._walking = True
            self._tasks.spawn(self._walk_while_changed())

    async def _walk_while_changed(self) -> None:
        try:
            rest_s = 0.0
            while self._changed:
                await sleep(self._clock, rest_s + SETTLE_S * self._random.uniform(1.0, 1.5))
                self._changed = False
                began = self._clock.seconds()
                try:
                    await self._walk()
                except PostError as error:
                    # Our disk, say.  The periodic walk tries again; what changed meanwhile is another occasion.
                    self.log.warn("copies were not looked after: {error}", error=error)
                # Under load suspicions come and go all the time, and walking is load too.
                rest_s = self._clock.seconds() - began
        finally:
            self._walking = False

    async def _walk(self) -> None:
        """
        Once through everything held.
        """
        offers: dict[NodeId, tuple[Contact, list[Offered]]] = {}
        now = self._clock.seconds()
        for page in _pages(self._store.scan(0, RING)):
            for holding in page:
                self._consider(holding, offers, now)
            for contact, items in list(offers.values()):
                if len(items) >= OFFER_LIMIT - PAGE:
                    del offers[contact.id]
                    await self._offer(contact, items)
            await sleep(self._clock, 0)
        await gather(self._offer(contact, items) for contact, items in offers.values())

    def _consider(self, holding: Holding, offers: dict[NodeId, tuple[Contact, list[Offered]]], now: float) -> None:
        if holding.expires < now:
            return
        for contact in self._replicas(holding.handle) or ():
            if contact.id != self._local:
                offered = Offered(holding.kind, holding.handle, holding.order, holding.expires, holding.digest)
                offers.setdefault(contact.id, (contact, []))[1].append(offered)

    async def _offer(self, contact: Contact, items: list[Offered]) -> None:
        try:
            answer = await self._rpc.ask(contact, Offer(tuple(items)), 30.0, Priority.BULK)
            missing = [items[index] for index in sorted(set(expect(Want, answer).missing)) if index < len(items)]
            for start in range(0, len(missing), SENDING):
                await gather(self._send(contact, offered) for offered in missing[start : start + SENDING])
        except PostError as error:
            # The next walk offers it again.
            self.log.debug("offer to {contact}: {error}", contact=contact, error=error)

    async def _send(self, contact: Contact, offered: Offered) -> None:
        """
        One object; that C{contact} refuses it must not keep the others from it.

        @raise Unreachable: if C{contact} is gone.
        """
        try:
            item = self._store.get(offered.handle)
            if item is None:
                return
            message = Store(item.kind, item.handle, StorageClass(item.storage_class), item.expires, item.data)
            answer = await self._rpc.ask(contact, message, 30.0, Priority.BULK)
            if not isinstance(answer, Rival):
                expect(Kept, answer)
                self.sent += 1
        except Unreachable:
            raise
        except PostError as error:
            self.log.debug("{handle} for {contact}: {error}", handle=offered.handle, contact=contact, error=error)


def _pages(holdings: Iterator[Holding]) -> Iterator[list[Holding]]:
    page: list[Holding] = []
    for holding in holdings:
        page.append(holding)
        if len(page) == PAGE:
            yield page
            page = []
    yield page
