"""
How a node comes into the ring (Pastry, section 2.4; MSPastry, section 3), and how two rings find each other.

A newcomer asks a node of the ring the way to its own id, hop by hop, and takes from each the rows of its table that
will serve it too.  The last one is the root of its id, whose leaf set is nearly its own.  It probes all of them,
whereby they learn of it; only when each has answered or is dead is it active, so no two nodes ever both believe
themselves the root of a key while one of them knows of the other.

Whoever finds nobody active may have to found a ring, and of many that are switched on together only one may.  Those
that stand in the list of seeds come first, since everybody asks them; of these the one with the smallest id founds, as
soon as it has heard from every seed, or has waited long enough for those that are off.  Should two rings arise all the
same (a broken network), their members go on asking the seeds they do not know (L{Join.seek}), and the rings merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import PeerError, PostError
from post.ids import Contact, Key, NodeId
from post.pastry.config import PastryConfig
from post.pastry.liveness import Liveness
from post.pastry.messages import AVOID_LIMIT, NEWS_LIMIT, Locate, Located
from post.pastry.repair import Repair
from post.pastry.ring import Ring
from post.pastry.routing import next_hop
from post.rpc import Rpc, expect
from post.tasks import Tasks, gather, sleep
from post.wire import Priority


@dataclass(frozen=True)
class _Answer:
    """
    What one seed said: C{None} where it did not answer.
    """

    contact: Contact
    located: Located


class Join:
    """
    The way in.

    @ivar active: whether this node takes part in routing.
    @ivar founder: whether it would found a ring, being one of those whom all ask.
    """

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
        self.active = False
        self.founder = False
        self.repair = Repair(clock, random, ring, config, liveness, tasks, self.locate)
        self._rpc = rpc
        self._clock = clock
        self._random = random
        self._ring = ring
        self._config = config
        self._liveness = liveness
        self._seeds: list[str] = []
        rpc.serve(Locate, self._asked_the_way)

    # Coming in.

    async def enter(self, seeds: Sequence[str]) -> None:
        """
        Find the ring that C{seeds} (C{host:port}, perhaps our own among them) belong to, or found it; returns when we
        are active.  Goes on for as long as it takes.
        """
        ours = set(self._rpc.transport.local.addresses)
        self._seeds = [seed for seed in dict.fromkeys(seeds) if seed not in ours]
        self.founder = len(self._seeds) < len(set(seeds)) or not self._seeds
        began_at = self._clock.seconds()
        pause_s = self._config.join_first_s
        rounds = 0
        while True:
            answers = await self._ask_seeds()
            ring = [answer for answer in answers if answer.located.active]
            if ring and await self._enter_through(ring):
                break
            if not ring and self._is_to_found(answers, self._clock.seconds() - began_at):
                self.log.info("founding a ring")
                break
            rounds += 1
            if rounds % 10 == 0:
                self.log.info(
                    "still looking for the ring: {answered} of {seeds} seeds answer, {active} are in it",
                    answered=len(answers),
                    seeds=len(self._seeds),
                    active=len(ring),
                )
            await sleep(self._clock, pause_s * self._random.uniform(0.8, 1.2))
            pause_s = min(2 * pause_s, self._config.join_most_s if ring or not answers else 1.0)
        self.active = True

    async def _ask_seeds(self) -> list[_Answer]:
        answers = await gather(self._ask_seed(seed) for seed in self._seeds)
        # Two addresses may lead to one node; our own other address leads to none.
        unique = {answer.contact.id: answer for answer in answers if answer is not None}
        return [unique[node] for node in unique if node != self._ring.owner]

    async def _ask_seed(self, seed: str) -> _Answer | None:
        try:
            contact = await self._rpc.transport.introduce(seed).addTimeout(self._config.seed_s, self._clock)
            if contact.id == self._ring.owner:
                return None
            located = await self._ask_way(contact, 0, ())
        except (PostError, TimeoutError) as error:
            self.log.debug("seed {seed}: {error}", seed=seed, error=error)
            return None
        return _Answer(contact, located)

    def _is_to_found(self, answers: Sequence[_Answer], waited_s: float) -> bool:
        """
        Nobody is active: whether it is up to us.
        """
        if not self.founder and any(answer.located.founder for answer in answers):
            return False
        rivals = [answer.contact.id for answer in answers if answer.located.founder == self.founder]
        if any(rival < self._ring.owner for rival in rivals):
            return False
        if len(answers) == len(self._seeds):
            return True
        # Not on the strength of silence alone: whoever is in nobody's list, and hears nobody, is merely off-line.
        return waited_s >= self._config.join_alone_s and (self.founder or bool(answers))

    async def _enter_through(self, ring: Sequence[_Answer]) -> bool:
        """
        Take our place; C{False} if that did not come about and has to be tried again.
        """
        for answer in self._random.sample(ring, len(ring)):
            if not await self._follow(answer.contact, answer.located):
                continue
            await self.repair.settled()
            if not self._ring.leaves.complete:
                await self.repair.attempt()
            if len(self._ring.leaves) and self._ring.leaves.complete:
                return True
        return False

    # The way to our own id.

    async def locate(self) -> None:
        """
        Ask those whom we know the way to our own id, and have those considered who are there.
        """
        nearest_first = [self._ring.contacts[node] for node in self._ring.near if node in self._ring.contacts]
        others = [contact for contact in self._ring.members() if contact not in nearest_first]
        for contact in [*nearest_first, *others][: self._config.lookup_tries]:
            try:
                located = await self._ask_way(contact, 0, ())
            except PostError:
                self._liveness.suspect(contact)
                continue
            if located.active and await self._follow(contact, located):
                return

    async def _follow(self, contact: Contact, located: Located) -> bool:
        """
        From the answer of C{contact} to the root of our id; consider its leaf set.
        """
        avoid: list[NodeId] = []
        path = [(contact, located)]
        for _ in range(self._config.hop_limit):
            contact, located = path[-1]
            for other in located.rows:
                self._ring.tabulate(other)
            following = located.next_hop
            if following is None:
                self.repair.consider([contact, *located.leaves])
                return True
            row = self._ring.owner.shared_digits(contact.id)
            try:
                answer = await self._ask_way(following, row, avoid)
                if not answer.active or any(following.id == other.id for other, _ in path):
                    raise PeerError("a way that leads nowhere")
                path.append((following, answer))
            except PostError as error:
                self.log.debug("the way by {hop}: {error}", hop=following, error=error)
                avoid.append(following.id)
                if len(avoid) > AVOID_LIMIT:
                    return False
                try:
                    path[-1] = (contact, await self._ask_way(contact, row, avoid))
                except PostError:
                    path.pop()
                    if not path:
                        return False
        return False

    async def _ask_way(self, contact: Contact, row: int, avoid: Sequence[NodeId]) -> Located:
        question = Locate(Key(self._ring.owner), row, self.founder, tuple(avoid))
        return expect(Located, await self._rpc.ask(contact, question, self._config.seed_s, Priority.URGENT))

    def _asked_the_way(self, peer: Contact, question: Locate) -> Located:
        """
        Whoever asks is not in the ring yet, or has lost its place in it: it is never its own next hop.
        """
        if not self.active:
            return Located(False, self.founder)
        ring = self._ring
        avoid = {*question.avoid, *ring.suspects, peer.id, NodeId(question.key)}
        hop = next_hop(question.key, ring.leaves, ring.table, avoid)
        rows = self._rows(question)
        if hop != ring.owner:
            return Located(True, self.founder, ring.contacts[hop], (), rows)
        leaves = [contact for contact in ring.leaf_contacts() if contact.id not in avoid]
        return Located(True, self.founder, None, tuple(leaves), rows)

    def _rows(self, question: Locate) -> tuple[Contact, ...]:
        """
        From our table, what the asker has not seen: the rows for which our ids are alike.
        """
        ring = self._ring
        last = ring.owner.shared_digits(question.key)
        nodes = [node for row in range(question.row, last + 1) for node in ring.table.row(row)]
        found = [self._rpc.transport.local, *(ring.contacts[node] for node in nodes if node in ring.contacts)]
        return tuple(contact for contact in found if int(contact.id) != question.key)[:NEWS_LIMIT]

    # Rings that lost sight of each other.

    async def seek(self) -> None:
        """
        See whether a seed that we do not know is in another ring; then both become one.
        """
        known = {address for contact in self._ring.contacts.values() for address in contact.addresses}
        strangers = [seed for seed in self._seeds if seed not in known]
        if not strangers:
            return
        answer = await self._ask_seed(self._random.choice(strangers))
        if answer is None or not answer.located.active or answer.contact.id in self._ring.contacts:
            return
        if await self._follow(answer.contact, answer.located):
            await self.repair.settled()
