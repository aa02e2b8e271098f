"""
How a leaf set is made and kept complete (MSPastry, sections 3 and 4.2).

Whoever is heard of and would be a member is probed; whoever answers is a member, and its answer names others.  That is
all that joining, repair and the merging of two rings have in common, and nearly all they are.  A member that is lost
is replaced from the farthest survivor on its side, whose own leaf set goes on where ours ends.  When a whole side is
lost, or it turns out that we are not where we thought, the way to our own place is asked of others, as a newcomer
would.

What others say is trusted as far as they see: only somebody whose leaf set goes from our last member past a node can
say that there is nobody in between (L{LeafSet.vouched}).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.ids import Contact, NodeId
from post.pastry.config import PastryConfig
from post.pastry.informants import Informants
from post.pastry.leafset import LeafSet, Side
from post.pastry.liveness import Liveness
from post.pastry.messages import KNOWN_LIMIT, Probe, Probed, Reach
from post.pastry.ring import Ring, prefixes, reach
from post.pastry.wider import Wider
from post.tasks import Tasks, sleep

POOL_LIMIT = 512
"""Nodes heard of and not yet probed, kept until it is clear that they are not needed."""
NAMERS_LIMIT = 8
"""Who named one of them, the first ones: if they have often named nobody, another one's word is not needed either."""
DORMANT_S = 3.0
"""A newcomer is active so long after it said that it is not; most are sooner."""
MEND_FIRST_S = 0.5
"""Before the second attempt to complete a leaf set; then the time doubles."""
WIDER_ATTEMPTS = 2
"""Attempts that change nothing, after which all members are asked, not only the last ones on either side."""
VAIN_ATTEMPTS = 7
"""Attempts that change nothing, after which those we reach must be the whole ring, unless one of them says that there
are more: about half a minute, so that everybody else has had the time to repair what we would learn from."""
GROPE_LIMIT = 100
"""Nodes asked on the way to a side of our leaf set that is lost; twelve further each time."""

Locate = Callable[[Contact | None], Coroutine[Any, Any, None]]


class Repair:
    """
    Finds the members of a leaf set.

    @ivar contradicted: told of who says what cannot be.
    """

    __slots__ = (
        "_clock",
        "_config",
        "_dormant",
        "_idle",
        "_informants",
        "_liveness",
        "_locate",
        "_mending",
        "_namers",
        "_others_exist",
        "_pool",
        "_probing",
        "_random",
        "_relocating",
        "_ring",
        "_strangers",
        "_tasks",
        "_wider",
        "contradicted",
    )

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        random: Random,
        ring: Ring,
        config: PastryConfig,
        liveness: Liveness,
        tasks: Tasks,
        locate: Locate,
    ) -> None:
        """
        @param locate: asks a node, or several, for the way to our own id, and probes who is there.
        """
        self._clock = clock
        self._random = random
        self._ring = ring
        self._config = config
        self._liveness = liveness
        self._tasks = tasks
        self._locate = locate
        self._pool: dict[NodeId, tuple[Contact, Side]] = {}
        self._namers: dict[NodeId, set[NodeId]] = {}  # Of these: who named them.
        self._informants = Informants()
        self._probing: dict[NodeId, float] = {}  # Since when.
        self._idle: list[Deferred[None]] = []
        self._mending = False
        self._relocating = False
        self._strangers: dict[NodeId, Contact] = {}  # Heard of while we lack members; nobody vouches for them.
        self._dormant: dict[NodeId, float] = {}  # When they said that they are not active.
        self.contradicted: Callable[[Contact], None] = lambda contact: None
        self._wider = Wider(2 * config.half)
        self._others_exist = False  # Somebody said in this attempt that the ring is larger than its leaf set.

    # Candidates.

    def consider(self, contacts: Iterable[Contact], seen: Reach, informant: NodeId | None = None) -> None:
        """
        C{informant}, who sees as far as C{seen}, has C{contacts} in its leaf set: probe those that belong into ours.
        """
        fresh = False
        for contact in contacts:
            node = contact.id
            if node in self._ring.absent:
                self._liveness.retry_soon(node)
            if not self._ring.is_news(contact) or len(self._pool) >= POOL_LIMIT:
                continue
            _, before = self._pool.get(node, (contact, Side.NEITHER))
            sides = before | self.sides(node, seen)
            if not self._ring.leaves.wants(node, sides):
                lacking = not self._ring.leaves.complete
                if lacking and len(self._strangers) < POOL_LIMIT and not self._wider.is_doubted(informant):
                    self._strangers[node] = contact
            else:
                fresh = fresh or node not in self._pool or sides != before
                self._pool[node] = (contact, sides)
                namers = self._namers.setdefault(node, set())
                if informant is not None and len(namers) < NAMERS_LIMIT:
                    namers.add(informant)
        if fresh:
            self._advance()

    def heard(self, node: NodeId, active: bool) -> None:
        """
        C{node} says whether it is in the ring.
        """
        if active:
            self._dormant.pop(node, None)
        elif node in self._dormant or len(self._dormant) < POOL_LIMIT:
            self._dormant[node] = self._clock.seconds()

    def dormant(self) -> Collection[NodeId]:
        """
        Who said lately that it is not in the ring yet.
        """
        since = self._clock.seconds() - DORMANT_S
        self._dormant = {node: at for node, at in self._dormant.items() if at > since}
        return self._dormant

    def sides(self, node: NodeId, seen: Reach) -> Side:
        """
        Where C{node} may come into our gap, if somebody who sees as far as C{seen} has it in its leaf set, or is it.
        """
        known = self._pool[node][1] if node in self._pool else Side.NEITHER
        return known | (Side.BOTH if seen.whole else self._ring.leaves.vouched(node, seen.before, seen.after))

    def is_awaited(self, key: int) -> bool:
        """
        Whether somebody nearer to C{key} than we are has been heard of, and not yet heard from.
        """
        owner = self._ring.owner
        ours = (owner.distance(key), owner)
        return any((node.distance(key), node) < ours and self._is_likely(node) for node in self._probing)

    def _is_likely(self, node: NodeId) -> bool:
        """
        Whether anybody whom we believe has named C{node}.
        """
        namers = self._namers.get(node)
        now = self._clock.seconds()
        return not namers or any(self._informants.is_believed(each, now) for each in namers)

    def question(self, active: bool, ask_back: bool = False) -> Probe:
        """
        A probe that says whom we know, and whom we are about to know.
        """
        tentative = self._tentative()
        known = list(tentative)[:KNOWN_LIMIT]
        return Probe(active, reach(tentative), prefixes(known), ask_back)

    def _tentative(self) -> LeafSet:
        """
        What the leaf set would be if all of whom we have heard were alive.
        """
        if not self._pool:
            return self._ring.leaves
        leaves = self._ring.leaves.copy()
        for node, (_, sides) in self._pool.items():
            leaves.add(node, sides)
        return leaves

    def _advance(self) -> None:
        """
        Probe whoever would be a member.
        """
        tentative = self._tentative()
        for node, (contact, _) in list(self._pool.items()):
            # Somebody may be dead at once, and the pool another one when we are back here.
            if node in self._pool and node not in self._probing and node in tentative:
                self._probing[node] = self._clock.seconds()
                self._liveness.examine(contact).addCallback(self._examined, node)
        self._rest()

    def _examined(self, alive: bool, node: NodeId) -> None:
        since = self._probing.pop(node)
        namers = self._namers.pop(node, set()) - {node}
        if not alive:
            self._informants.was_vain(namers, since, self._clock.seconds())
        self._pool.pop(node, None)
        self._advance()

    def _rest(self) -> None:
        if not self._probing:
            self._pool.clear()
            self._namers.clear()
            waiting, self._idle = self._idle, []
            for each in waiting:
                each.callback(None)

    def settled(self) -> Deferred[None]:
        """
        Fires when all have answered or are dead.
        """
        done: Deferred[None] = Deferred()
        self._idle.append(done)
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
        vain = 0
        leaves = self._ring.leaves
        self._wider.settled()  # What was said while we came in is no word on this.
        try:
            while True:
                version = leaves.version
                self._judge()
                await self.attempt(vain >= WIDER_ATTEMPTS)
                if vain >= WIDER_ATTEMPTS:
                    await self._grope(Side.AFTER)
                    await self._grope(Side.BEFORE)
                if leaves.complete:
                    return
                vain = vain + 1 if leaves.version == version else 0
                if vain >= VAIN_ATTEMPTS and not self._others_exist and not self._in_gap():
                    self.log.info("the others are gone: {count} nodes are the whole ring", count=len(leaves) + 1)
                    leaves.close()
                    return
                await sleep(self._clock, pause_s * self._random.uniform(0.8, 1.2))
                pause_s = min(2 * pause_s, self._config.mend_most_s) if vain else MEND_FIRST_S
        finally:
            self._mending = False
            self._strangers.clear()

    async def _grope(self, side: Side) -> None:
        """
        Nobody sees what lies next to our last member on C{side}: all who did are dead.  So go towards it from afar,
        from each node to the nearest one that it knows; the last has to be the one.
        """
        ring = self._ring
        asked: set[NodeId] = set()
        while ring.leaves.missing()[0 if side is Side.AFTER else 1] and len(asked) < GROPE_LIMIT:
            after, before = ring.leaves.ends()
            self._judge()
            there = self._in_gap()
            if not there:
                return
            ways = {node: after.clockwise(node) if side is Side.AFTER else node.clockwise(before) for node in there}
            node = min(there, key=ways.__getitem__)
            if node in asked:
                ring.admit(there[node], side)
                return
            asked.add(node)
            if not await self._liveness.examine(there[node]):
                self._strangers.pop(node, None)

    def _in_gap(self) -> dict[NodeId, Contact]:
        """
        Of all whom we know, those who would be members if somebody vouched for them.
        """
        leaves = self._ring.leaves
        known = self._strangers | {contact.id: contact for contact in self._ring.members()}
        return {
            node: contact
            for node, contact in known.items()
            if leaves.wants(node, Side.BOTH) and not leaves.wants(node) and node not in self._ring.absent
        }

    async def attempt(self, wide: bool = False) -> None:
        """
        Ask once on each side that lacks members (or everybody, if C{wide}), and see whom that brings.
        """
        ring = self._ring
        self._others_exist = False
        after, before = ring.leaves.missing()
        ends = ring.leaves.ends()
        asked = [end for missing, end in zip((after, before), ends, strict=True) if missing]
        if wide:
            dormant = self.dormant()  # They know little of the ring, so they come last.
            asked += sorted(ring.leaves, key=dormant.__contains__)
        for node in dict.fromkeys(asked):
            contact = ring.contacts.get(node)
            if contact is not None and node not in ring.suspects and not ring.leaves.complete:
                await self._liveness.examine(contact)
        if (ring.owner in asked or wide) and not ring.leaves.complete:
            await self._locate(None)
        await self.settled()

    def learned(self, contact: Contact, probe: Probe, answer: Probed) -> None:
        """
        C{contact}, who is alive, says how far it sees, and whom we had missed when we asked.
        """
        leaves = self._ring.leaves
        seen = answer.reach
        self.heard(contact.id, answer.active)
        is_wider = answer.active and seen.complete and not seen.whole and self._may_be_wider(contact, probe, answer)
        self._others_exist = self._others_exist or is_wider
        opened = leaves.whole and is_wider
        if opened:
            # It has lost nobody, and yet does not see all: so neither do we.
            leaves.open()
        if is_wider and not leaves.complete:
            self._wider.said(contact.id, self._clock.seconds())
        self.consider([contact, *answer.news], seen, contact.id)
        if opened or (is_wider and self._is_misplaced(contact.id, seen)):
            self._relocate(contact)
        elif not leaves.complete and self._is_told_all(contact.id, probe) and self._spans_gap(contact.id, answer):
            leaves.close()

    def _judge(self) -> None:
        """
        Whether we go on looking for whom others say we lack.
        """
        if self._wider.judge(self._clock.seconds(), len(self._ring.leaves)):
            self._strangers.clear()  # Perhaps those have named these; others will name them again.

    def _may_be_wider(self, contact: Contact, probe: Probe, answer: Probed) -> bool:
        """
        Whether to believe C{contact} that it has a full leaf set, and the ring is larger than that.
        """
        if not self._wider.fits(contact.id, probe, answer):
            self.contradicted(contact)
            return False
        return not self._wider.is_doubted(contact.id)

    def _is_told_all(self, node: NodeId, probe: Probe) -> bool:
        """
        Whether C{node}, which was asked with C{probe}, has nobody that is not a member now.  It names who is in our gap
        only if we told it that we lack somebody, and not those whom we said we know, who may be gone since.
        """
        ours = prefixes(self._ring.leaves)
        here = {ours[at : at + 4] for at in range(0, len(ours), 4)}
        said = {probe.known[at : at + 4] for at in range(0, len(probe.known), 4)}
        return not probe.reach.complete and self._pool.keys() <= {node} and said <= here

    def _is_misplaced(self, node: NodeId, seen: Reach) -> bool:
        """
        Whether C{node}, of which we believed that it stands next to us, has so many nearer ones that it does not even
        see us.
        """
        leaves = self._ring.leaves
        is_next = node in (leaves.successor(), leaves.predecessor())
        return is_next and seen.before.clockwise(self._ring.owner) > seen.before.clockwise(seen.after)

    def _relocate(self, contact: Contact) -> None:
        if not self._relocating:
            self._relocating = True
            self._tasks.spawn(self._find_place(contact))

    async def _find_place(self, contact: Contact) -> None:
        try:
            await self._locate(contact)
            await self.settled()
        finally:
            self._relocating = False

    def _spans_gap(self, node: NodeId, answer: Probed) -> bool:
        """
        Whether C{node} sees all of our gap.  Since it named nobody, that is empty.
        """
        leaves = self._ring.leaves
        seen = answer.reach
        if not answer.active:
            return False
        if seen.whole:
            # Else it is whole in another ring, or has not heard yet who died.
            return node in leaves and seen.size == len(leaves)
        after, before = leaves.ends()
        if self._ring.owner in (after, before):
            return False
        if node == after:
            return node.clockwise(seen.after) >= node.clockwise(before)
        if node == before:
            return seen.before.clockwise(node) >= after.clockwise(node)
        return False
