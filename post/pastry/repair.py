"""
How a leaf set is made and kept complete (MSPastry, sections 3 and 4.2).

Whoever is heard of and would be a member is probed; whoever answers is a member, and its answer names others.  That is
all that joining, repair and the merging of two rings have in common, and nearly all they are.  A member that is lost
is replaced from the farthest survivor on its side, whose own leaf set goes on where ours ends.  When a whole side is
lost, the way to our own neighborhood is asked of others, as a newcomer would.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from post.ids import Contact, NodeId
from post.pastry.config import PastryConfig
from post.pastry.leafset import LeafSet
from post.pastry.liveness import Liveness
from post.pastry.messages import KNOWN_LIMIT, Probe, Probed, Reach
from post.pastry.ring import Ring, prefixes, reach
from post.tasks import Tasks, sleep

POOL_LIMIT = 512
"""Nodes heard of and not yet probed, kept until it is clear that they are not needed."""
MEND_FIRST_S = 0.5
"""Before the second attempt to complete a leaf set; then the time doubles."""


class Repair:
    """
    Finds the members of a leaf set.
    """

    def __init__(
        self,
        clock: IReactorTime,
        random: Random,
        ring: Ring,
        config: PastryConfig,
        liveness: Liveness,
        tasks: Tasks,
        locate: Callable[[], Awaitable[None]],
    ) -> None:
        """
        @param locate: asks others for the way to our own id, and has us consider whom they name.
        """
        self._clock = clock
        self._random = random
        self._ring = ring
        self._config = config
        self._liveness = liveness
        self._tasks = tasks
        self._locate = locate
        self._pool: dict[NodeId, Contact] = {}
        self._probing: set[NodeId] = set()
        self._idle: list[Deferred[None]] = []
        self._mending = False

    # Candidates.

    def consider(self, contacts: Iterable[Contact]) -> None:
        """
        A member, or the root of our id, has C{contacts} in its leaf set: probe those that belong into ours.
        """
        fresh = False
        for contact in contacts:
            if self._ring.is_news(contact) and contact.id not in self._pool and len(self._pool) < POOL_LIMIT:
                self._pool[contact.id] = contact
                fresh = True
        if fresh:
            self._advance()

    def is_candidate(self, node: NodeId) -> bool:
        """
        Whether C{node} is here because somebody vouched for it.
        """
        return node in self._pool

    def question(self, active: bool) -> Probe:
        """
        A probe that says whom we know, and whom we are about to know.
        """
        tentative = self._tentative()
        known = list(tentative)[:KNOWN_LIMIT]
        return Probe(active, reach(tentative), prefixes(known))

    def _tentative(self) -> LeafSet:
        """
        What the leaf set would be if all of whom we have heard were alive.
        """
        if not self._pool:
            return self._ring.leaves
        leaves = self._ring.leaves.copy()
        for node in self._pool:
            leaves.add(node, vouched=True)
        return leaves

    def _advance(self) -> None:
        """
        Probe whoever would be a member.
        """
        tentative = self._tentative()
        for node, contact in list(self._pool.items()):
            if node in tentative and node not in self._probing:
                self._probing.add(node)
                self._liveness.examine(contact).addCallback(self._examined, node)
        self._rest()

    def _examined(self, alive: bool, node: NodeId) -> None:
        self._probing.discard(node)
        self._pool.pop(node, None)
        self._advance()

    def _rest(self) -> None:
        if not self._probing:
            self._pool.clear()
            waiting, self._idle = self._idle, []
            for each in waiting:
                each.callback(None)

    def settled(self) -> Deferred[None]:
        """
        Fires when all have answered or are dead.
        """
        done: Deferred[None] = Deferred()
        self._idle.append(done)
        if not self._probing:
            self._rest()
        return done

    # Members that are lost.

    def mend(self) -> None:
        """
        Complete the leaf set, if it is not, and go on until it is.
        """
        if not self._mending and not self._ring.leaves.complete:
            self._mending = True
            self._tasks.spawn(self._mend())

    async def _mend(self) -> None:
        pause_s = MEND_FIRST_S
        try:
            while True:
                await self.attempt()
                if self._ring.leaves.complete:
                    return
                await sleep(self._clock, pause_s * self._random.uniform(0.8, 1.2))
                pause_s = min(2 * pause_s, self._config.mend_most_s)
        finally:
            self._mending = False

    async def attempt(self) -> None:
        """
        Ask once on each side that lacks members, and see whom that brings.
        """
        leaves = self._ring.leaves
        for missing, end in zip(leaves.missing(), leaves.ends(), strict=True):
            if not missing or leaves.complete:
                continue
            contact = self._ring.contacts.get(end)
            if contact is not None and end not in self._ring.suspects:
                await self._liveness.examine(contact)
            elif end == self._ring.owner:
                await self._locate()
        await self.settled()

    def learned(self, contact: Contact, answer: Probed) -> None:
        """
        C{contact}, who is alive, says how far it sees, and whom we have missed.
        """
        self.consider(answer.news)
        leaves = self._ring.leaves
        if leaves.whole:
            # It has lost nobody, and yet does not see all: so neither do we.
            if answer.active and answer.reach.complete and not answer.reach.whole:
                leaves.open()
        elif not self._pool and answer.active and self._spans_gap(contact.id, answer.reach):
            leaves.close()

    def _spans_gap(self, node: NodeId, reach: Reach) -> bool:
        """
        Whether C{node}, at one end of our gap, sees to its other end.  Since it named nobody, the gap is empty.
        """
        after, before = self._ring.leaves.ends()
        if reach.whole:
            return True
        if node == after and before != self._ring.owner:
            return node.clockwise(reach.after) >= node.clockwise(before)
        if node == before and after != self._ring.owner:
            return reach.before.clockwise(node) >= after.clockwise(node)
        return False
