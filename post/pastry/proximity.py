"""
Which of the nodes that may stand at a place of the routing table is nearest in the network (Pastry, section 2.5;
MSPastry, section 4.2: proximity neighbor selection).

Near neighbors in the first rows are what makes a way of many hops hardly longer than the direct one.  How far a node is
shows when it is asked something, so it is asked for the rows of its table that we share, and how far those are from it:
who is near to somebody near is near.  From both round trips follows how far away somebody is at the least and at the
most (as far as the network keeps to the triangle inequality).  Whoever cannot be nearer than who has the place is not
asked, and of the others first those who must be near.  So the search goes straight to the nodes around us.  Each is
asked once, a hundred in one go and few later, and none where nothing new is heard of or a hop leads to anybody anyway.

Tables get better with time as those of our neighbors do, so now and then somebody near is asked again for whom it has.
"""

from __future__ import annotations

from itertools import zip_longest
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import PostError, Unreachable
from post.ids import Contact, NodeId
from post.pastry.config import PastryConfig
from post.pastry.liveness import Liveness
from post.pastry.messages import Row, ShareRow
from post.pastry.ring import NEARER, Ring
from post.pastry.upkeep import UNITS_PER_S
from post.rpc import Rpc, expect
from post.tasks import Tasks

CANDIDATES_LIMIT = 128
"""Nodes heard of and not yet asked; of more, the one that may be farthest is dropped."""
ASKED_LIMIT = 256
"""Nodes remembered to have been asked, so that nobody is asked twice because others name it again."""
PARALLEL = 4
"""Asked at once."""
NEAREST = 4
"""Of a row, which are asked again."""
UNKNOWN_S = 1.0
"""For how far one is taken of whom nobody said how far it is."""


class Proximity:
    """
    Measures, and lets nearer nodes take the places of farther ones.
    """

    __slots__ = (
        "_allowance",
        "_asked",
        "_begun",
        "_candidates",
        "_clock",
        "_config",
        "_counted_at",
        "_hint_s",
        "_liveness",
        "_random",
        "_ring",
        "_rpc",
        "_running",
        "_tasks",
    )

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        clock: IReactorTime,
        random: Random,
        ring: Ring,
        config: PastryConfig,
        liveness: Liveness,
        tasks: Tasks,
    ) -> None:
        self._rpc = rpc
        self._random = random
        self._clock = clock
        self._ring = ring
        self._config = config
        self._liveness = liveness
        self._tasks = tasks
        self._candidates: dict[NodeId, tuple[float, Contact]] = {}  # How far it is at the most.
        self._hint_s = (0.0, UNKNOWN_S)  # How far the one that is spoken of is at the least and at the most.
        self._asked: dict[NodeId, None] = {}
        self._begun = False
        self._running = 0
        self._allowance = float(config.measure_first)
        self._counted_at = clock.seconds()
        ring.contested = self.consider

    def consider(self, contact: Contact) -> None:
        """
        C{contact} may stand at a place of the table, which another one has, or has just taken it itself.
        """
        node = contact.id
        if node in self._asked or self._ring.leaves.whole or self._ring.roster is not None:
            return
        least_s, most_s = self._hint_s
        known = self._candidates.get(node)
        if (known is not None and known[0] <= most_s) or not self._could_be_nearer(node, least_s):
            return
        self._candidates[node] = (most_s, contact)
        if len(self._candidates) > CANDIDATES_LIMIT:
            del self._candidates[max(self._candidates, key=self._distance)]
        self._employ()

    def begin(self, settled: bool = False) -> None:
        """
        This node is in the ring.  Before that nobody is asked, since who is asked takes the asker into its table.

        @param settled: it has been for long, and has asked all whom it may ask in one go.
        """
        self._begun = True
        if settled:
            self._allowance = 0.0
        self._employ()

    def _employ(self) -> None:
        while self._begun and self._running < PARALLEL and self._may_ask():
            self._running += 1
            self._tasks.spawn(self._work())

    def _could_be_nearer(self, node: NodeId, least_s: float) -> bool:
        """
        Whether C{node}, which is so far away at the least, might get the place of another.
        """
        holder = self._ring.table.toward(node)
        if holder is None or holder == node:
            return True
        holder_s = self._ring.round_trip_s(holder)
        return holder_s is None or least_s < NEARER * holder_s

    def _may_ask(self) -> bool:
        """
        Whether one of the candidates can be asked now.
        """
        now = self._clock.seconds()
        gained = (now - self._counted_at) / self._config.measure_s
        self._allowance = min(self._allowance + max(0.0, gained), float(self._config.measure_first))
        self._counted_at = now
        return bool(self._candidates) and self._allowance >= 1

    async def _work(self) -> None:
        try:
            while self._may_ask():
                self._allowance -= 1
                _, contact = self._candidates.pop(min(self._candidates, key=self._distance))
                await self.ask(contact)
        finally:
            self._running -= 1

    async def ask(self, contact: Contact) -> None:
        """
        See how far C{contact} is, and whom it knows.
        """
        node = contact.id
        self._asked[node] = None
        if len(self._asked) > ASKED_LIMIT:
            del self._asked[next(iter(self._asked))]
        ring = self._ring
        if node in ring.absent or node in ring.suspects:
            return
        row = ring.owner.shared_digits(node)
        try:
            answer = expect(Row, await self._rpc.ask(contact, ShareRow(row, 0, before=True), self._config.seed_s))
        except Unreachable:
            self._liveness.suspect(contact)
            return
        except PostError as error:
            self.log.debug("row {row} of {contact}: {error}", row=row, contact=contact, error=error)
            return
        ring.tabulate(contact)
        near_s = self._rpc.transport.round_trip_s(node)
        try:
            for other, units in zip_longest(answer.contacts, answer.round_trips[: len(answer.contacts)]):
                if units and near_s is not None:
                    from_it_s = units / UNITS_PER_S
                    self._hint_s = (abs(from_it_s - near_s), from_it_s + near_s)
                ring.tabulate(other)
                self._hint_s = (0.0, UNKNOWN_S)
        finally:
            self._hint_s = (0.0, UNKNOWN_S)

    async def improve(self) -> None:
        """
        Ask one of the nearest in a row of the table again whom it has.
        """
        ring = self._ring
        if ring.leaves.whole or not ring.table.depth:
            return
        row = ring.table.row(self._random.randrange(ring.table.depth))
        far = sorted((far_s, node) for node in row if (far_s := ring.round_trip_s(node)) is not None)
        if far:
            _, node = self._random.choice(far[:NEAREST])
            await self.ask(ring.contacts[node])

    def _distance(self, node: NodeId) -> float:
        return self._candidates[node][0]
