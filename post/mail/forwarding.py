"""
What a node does for the mail for outside that it keeps: see that a gateway knows of it, until it is done.

Whoever is in the replica set of an entry does so, so the work moves with the entries as nodes come and go, and nothing
is forgotten by any crash that leaves one copy.  Each entry has an order of gateways by nearness.  The first is told,
and told again, since it keeps nothing on its own disk; the next one when the first has not been heard for
L{TAKEOVER_S}.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from post.errors import PeerError, PostError, Refused, Unreachable
from post.ids import Contact, Handle, Key, NodeId
from post.interfaces import Stored
from post.mail.gateways import Gateways
from post.mail.messages import Relay, Relaying
from post.mail.outbound import DONE, OUTBOUND
from post.past.node import Past
from post.pastry.node import Pastry
from post.rpc import Rpc, expect
from post.tasks import Tasks
from post.wire import RefusalCode

FIRST_S = 0.05
"""Before the nearest holder tells the gateway.  The next ones wait longer by L{RANK_S} each: usually one is enough."""
RANK_S = 2.0
PAUSE_S = 5.0
"""Between two times, at least."""
PAUSE_LIMIT_S = 120.0
"""And at most, whatever the gateway says: so late at the latest it is noticed that a gateway has gone."""
NOBODY_S = 15.0
"""After no gateway was there."""
TAKEOVER_S = 20.0
"""A gateway that has not answered for so long is gone, and the next one takes over: longer than a link takes to come
back, or a node to start."""
DEADLINE_S = 10.0
ERRANDS_LIMIT = 100_000
"""Entries seen to at once; about 30 MB of memory.  More wait in the store until these are fewer."""
AT_ONCE = 16
"""Questions to gateways at once."""


@dataclass
class _Errand:
    """
    One entry that we keep.
    """

    pause_s: float
    timer: IDelayedCall | None = None
    telling: bool = False


class Forwarding:
    """
    This node as a holder of mail for outside.
    """

    log = Logger()

    def __init__(
        self,
        past: Past,
        rpc: Rpc,
        pastry: Pastry,
        gateways: Gateways,
        here: Callable[[Handle], Awaitable[int]] | None,
        clock: IReactorTime,
        random: Random,
        tasks: Tasks,
    ) -> None:
        """
        @param here: tells this node's own gateway, if it is one; returns the pause.
        """
        self._past = past
        self._rpc = rpc
        self._pastry = pastry
        self._gateways = gateways
        self._here = here
        self._clock = clock
        self._random = random
        self._tasks = tasks
        self._errands: dict[Handle, _Errand] = {}
        self._silent_since: dict[NodeId, float] = {}
        self._at_once = DeferredSemaphore(AT_ONCE)
        self._left_out = False
        self._stopped = False

    @property
    def waiting(self) -> int:
        """
        How many entries are seen to.
        """
        return len(self._errands)

    def resume(self) -> None:
        """
        Take up again what was waiting when this node stopped, or was too much at once.
        """
        self._left_out = False
        for item in self._past.holdings(OUTBOUND):
            self.told(item)

    def stop(self) -> None:
        """
        Do nothing any more.
        """
        self._stopped = True
        for handle in list(self._errands):
            self._end(handle)

    def told(self, item: Stored) -> None:
        """
        C{item}, some mail for outside, or how far it is, is durable here.
        """
        if item.order == DONE:
            self._end(item.handle)
            return
        if self._stopped or item.handle in self._errands or item.expires < self._clock.seconds():
            return
        if len(self._errands) >= ERRANDS_LIMIT:
            self._left_out = True
            return
        errand = self._errands[item.handle] = _Errand(FIRST_S + RANK_S * self._past.rank(item.handle))
        self._wait(item.handle, errand)

    def _wait(self, handle: Handle, errand: _Errand) -> None:
        errand.timer = self._clock.callLater(errand.pause_s * self._random.uniform(0.9, 1.0), self._due, handle)

    def _due(self, handle: Handle) -> None:
        errand = self._errands.get(handle)
        if errand is not None and not errand.telling:
            errand.telling = True
            self._tasks.spawn(self._tell_in_turn(handle, errand))

    def _end(self, handle: Handle) -> None:
        errand = self._errands.pop(handle, None)
        if errand is not None and errand.timer is not None and errand.timer.active():
            errand.timer.cancel()
        if self._left_out and not self._stopped and len(self._errands) < ERRANDS_LIMIT // 2:
            self.resume()

    async def _tell_in_turn(self, handle: Handle, errand: _Errand) -> None:
        await self._at_once.acquire()
        # If this fails by a bug of ours, it may go better later.
        errand.pause_s = PAUSE_LIMIT_S
        try:
            item = self._past.held(handle)
            if item is None or item.order == DONE or item.expires < self._clock.seconds():
                self._end(handle)
            else:
                errand.pause_s = min(PAUSE_LIMIT_S, max(PAUSE_S, await self._tell(handle)))
                errand.pause_s *= 1 + self._past.rank(handle) / 4
        finally:
            self._at_once.release()
            errand.telling = False
            if self._errands.get(handle) is errand and not self._stopped:
                self._wait(handle, errand)

    async def _tell(self, handle: Handle) -> float:
        """
        The first gateway that is there; returns after how many seconds it is to be told again.
        """
        nobody_s = PAUSE_LIMIT_S
        for node in self._gateways.in_order(handle):
            try:
                pause = await self._tell_one(node, handle)
            except Refused as error:
                if error.code == RefusalCode.NOT_READY:
                    if self._is_awaited(node):
                        return PAUSE_S
                    nobody_s = NOBODY_S
                    continue
                self.log.debug("{handle} is not for gateway {node}: {error}", handle=handle, node=node, error=error)
            except (Unreachable, PeerError) as error:
                self.log.debug("{handle}: gateway {node}: {error}", handle=handle, node=node, error=error)
                if self._is_awaited(node):
                    return PAUSE_S
                nobody_s = NOBODY_S
            except PostError as error:
                self.log.debug("{handle}: gateway {node}: {error}", handle=handle, node=node, error=error)
            else:
                self._silent_since.pop(node, None)
                return pause
        return nobody_s

    def _is_awaited(self, node: NodeId) -> bool:
        """
        Whether a gateway that does not answer may be back in a moment.
        """
        now = self._clock.seconds()
        return now - self._silent_since.setdefault(node, now) < TAKEOVER_S

    async def _tell_one(self, node: NodeId, handle: Handle) -> float:
        contact = await self._contact(node)
        if contact.id == self._pastry.local.id:
            if self._here is None:
                raise Refused(RefusalCode.NOT_READY, "no gateway by its certificate")
            return await self._here(handle)
        return expect(Relaying, await self._rpc.ask(contact, Relay(handle), DEADLINE_S)).pause

    async def _contact(self, node: NodeId) -> Contact:
        return await contact_of(self._pastry, node)


async def contact_of(pastry: Pastry, node: NodeId) -> Contact:
    """
    Where a node is.

    @raise Unreachable: if it is not there.
    """
    nearest = await pastry.replica_set(Key(node), 1)
    if not nearest or nearest[0].id != node:
        raise Unreachable(f"gateway {node}")
    return nearest[0]
