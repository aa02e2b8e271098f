"""
Which of the nodes that may stand at a place of the routing table is nearest in the network (Pastry, section 2.5;
MSPastry, section 4.2: proximity neighbor selection).

Near neighbors in the first rows are what makes a way of many hops hardly longer than the direct one.  How far a node is
shows when it is asked something, so it is asked for the row of its table in which we would stand: whoever is near to us
has near nodes there, and of all whom we hear of those are asked first who were named by somebody near.  Each is asked
once, a hundred in one go and few later, and none where nothing new is heard of or everybody is a neighbor anyway.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import PostError, Unreachable
from post.ids import Contact, NodeId
from post.pastry.config import PastryConfig
from post.pastry.liveness import Liveness
from post.pastry.messages import Row, ShareRow
from post.pastry.ring import Ring
from post.rpc import Rpc, expect
from post.tasks import Tasks

CANDIDATES_LIMIT = 128
"""Nodes heard of and not yet asked; of more, one that was named by the farthest is dropped."""
ASKED_LIMIT = 256
"""Nodes remembered to have been asked, so that nobody is asked twice because others name it again."""
PARALLEL = 4
"""Asked at once."""


class Proximity:
    """
    Measures, and lets nearer nodes take the places of farther ones.
    """

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        clock: IReactorTime,
        ring: Ring,
        config: PastryConfig,
        liveness: Liveness,
        tasks: Tasks,
        is_active: Callable[[], bool],
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._ring = ring
        self._config = config
        self._liveness = liveness
        self._tasks = tasks
        self._is_active = is_active
        self._candidates: dict[NodeId, tuple[float, Contact]] = {}  # By how far whoever named it is.
        self._informant_s = 0.0
        self._asked: dict[NodeId, None] = {}
        self._running = 0
        self._allowance = float(config.measure_first)
        self._counted_at = clock.seconds()
        ring.contested = self.consider

    def consider(self, contact: Contact) -> None:
        """
        C{contact} may stand at a place of the table, which another one has, or has just taken it itself.
        """
        node = contact.id
        if node in self._asked or self._ring.leaves.whole:
            return
        known = self._candidates.get(node)
        if known is not None and known[0] <= self._informant_s:
            return
        self._candidates[node] = (self._informant_s, contact)
        if len(self._candidates) > CANDIDATES_LIMIT:
            del self._candidates[max(self._candidates, key=self._distance)]
        self.begin()

    def begin(self) -> None:
        """
        Ask, as far as that is allowed now.
        """
        while self._running < PARALLEL and self._may_ask():
            self._running += 1
            self._tasks.spawn(self._work())

    def _may_ask(self) -> bool:
        """
        Whether one of the candidates can be asked now.
        """
        now = self._clock.seconds()
        gained = (now - self._counted_at) / self._config.measure_s
        self._allowance = min(self._allowance + max(0.0, gained), float(self._config.measure_first))
        self._counted_at = now
        return self._is_active() and bool(self._candidates) and self._allowance >= 1

    async def _work(self) -> None:
        try:
            while self._may_ask():
                self._allowance -= 1
                _, contact = self._candidates.pop(min(self._candidates, key=self._distance))
                await self._ask(contact)
        finally:
            self._running -= 1

    async def _ask(self, contact: Contact) -> None:
        node = contact.id
        self._asked[node] = None
        if len(self._asked) > ASKED_LIMIT:
            del self._asked[next(iter(self._asked))]
        ring = self._ring
        if node in ring.absent or node in ring.suspects:
            return
        row = ring.owner.shared_digits(node)
        try:
            answer = expect(Row, await self._rpc.ask(contact, ShareRow(row, True), self._config.seed_s))
        except Unreachable:
            self._liveness.suspect(contact)
            return
        except PostError as error:
            self.log.debug("row {row} of {contact}: {error}", row=row, contact=contact, error=error)
            return
        ring.tabulate(contact)
        # What is near to somebody near is near.
        self._informant_s = self._rpc.transport.round_trip_s(node) or float("inf")
        try:
            for other in answer.contacts:
                ring.tabulate(other)
        finally:
            self._informant_s = 0.0

    def _distance(self, node: NodeId) -> float:
        return self._candidates[node][0]
