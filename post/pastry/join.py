"""
How a node comes into the ring (Pastry, section 2.4; MSPastry, section 3), and how two rings find each other.

A newcomer asks a node of the ring the way to its own id, hop by hop, and takes from each the rows of its table that
will serve it too.  The last one is the root of its id, whose leaf set is nearly its own.  It probes the root and then
all of whom it hears, whereby they learn of it; only when each has answered or is dead, and nobody is missing on either
side, is it active.  So no two nodes ever both believe themselves the root of a key while one of them knows of the
other.  Only a few come in beside one node at a time; the others wait until they are told (L{post.pastry.entrance}).

Whoever finds nobody active may have to found a ring, and of many that are switched on together only one may.  Those
that are asked come first, because they stand in a list of seeds; of these the one with the smallest id founds, as soon
as it has heard from every seed, or has waited long enough for those that are off.  It announces itself to all that
asked it.  Should two rings arise all the same (a broken network), their members go on asking the seeds they do not know
(L{Join.seek}), and the rings merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import PeerError, PostError
from post.ids import Contact, Key, NodeId
from post.pastry.config import PastryConfig
from post.pastry.entrance import Entrance
from post.pastry.liveness import Liveness
from post.pastry.messages import AVOID_LIMIT, NEWS_LIMIT, Announce, Locate, Located
from post.pastry.quotas import Quota
from post.pastry.repair import Repair
from post.pastry.ring import Ring
from post.pastry.routing import next_hop
from post.rpc import Rpc, expect
from post.tasks import Tasks, gather
from post.wire import Priority

INVITERS_LIMIT = 100
"""Nodes remembered to have announced themselves, while we look for a ring.  One of them suffices."""
INVITES_LIMIT = 20
"""Announcements that one of them may make in ten seconds; each has us look for the ring once more, at once."""
ENTRY_ATTEMPTS = 10
"""Looks around for members that came in at the same time, before a newcomer begins anew."""
SEEDS_LIMIT = 200
"""Addresses asked for the way: twice what can be set."""
PROGRESS_S = 10.0
"""Whoever looks for the ring says so about as often."""
FIRST_SEED_S = 0.5
"""After so long the others are asked too, if the first one has not answered."""
RIVAL_S = 3.0
"""Whoever may found a ring asks about once a second; after so long without it is off."""


@dataclass(frozen=True)
class _Answer:
    """
    What one seed said.
    """

    contact: Contact
    located: Located


class Join:
    """
    The way in.

    @ivar active: whether this node takes part in routing.
    @ivar founder: whether it would found a ring, being in a list of seeds.
    @ivar seek_s: how long to wait before the next look whether a seed is in another ring.
    """

    __slots__ = (
        "_clock",
        "_config",
        "_entrance",
        "_gate",
        "_inviters",
        "_invites",
        "_liveness",
        "_must_wait",
        "_random",
        "_ring",
        "_rpc",
        "_rumored",
        "_seeds",
        "_sighted_at",
        "_woken",
        "active",
        "founder",
        "repair",
        "seek_s",
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
        self.active = False
        self.founder = False
        self.seek_s = config.seek_s
        self.repair = Repair(clock, random, ring, config, liveness, tasks, self.locate)
        self._rpc = rpc
        self._clock = clock
        self._random = random
        self._ring = ring
        self._config = config
        self._liveness = liveness
        self._seeds: list[str] = []
        self._rumored: dict[str, None] = {}  # Of these, those that nobody has set, in their order.
        self._inviters: dict[NodeId, Contact] = {}
        self._invites = Quota(clock, INVITES_LIMIT)
        self._gate: Contact | None = None  # Beside whom we come in.
        self._must_wait = False  # It has no room for us.
        self._sighted_at: float | None = None  # When somebody last said to be in a ring.
        self._entrance = Entrance(rpc, clock, ring, config)
        self._woken: Deferred[None] | None = None
        rpc.serve(Locate, self._asked_the_way)
        rpc.serve(Announce, self._announced)

    # Coming in.

    async def enter(self, seeds: Sequence[str]) -> None:
        """
        Find the ring that C{seeds} (C{host:port}, perhaps our own among them) belong to, or found it; returns when we
        are active.  Goes on for as long as it takes.
        """
        ours = set(self._rpc.transport.local.addresses)
        given = [seed for seed in dict.fromkeys(seeds) if seed not in ours]
        self.founder = self.founder or len(given) < len(set(seeds)) or not given
        self._rumored = {seed: None for seed in self._rumored if seed not in given}
        self._seeds = [*given, *self._rumored]
        began_at = self._clock.seconds()
        pause_s = self._config.join_first_s
        said_at = began_at
        while True:
            answers = await self._ask_around()
            ring = [answer for answer in answers if answer.located.active]
            if ring:
                self._sighted_at = self._clock.seconds()
            if ring and await self._enter_through(ring):
                break
            if not ring and self._is_to_found(answers, self._clock.seconds() - began_at):
                self.log.info("founding a ring")
                self._ring.leaves.close()
                break
            if self._clock.seconds() - said_at >= PROGRESS_S:
                said_at = self._clock.seconds()
                self.log.info(
                    "still looking for the ring: {answered} of {seeds} seeds answer, {active} are in it",
                    answered=len(answers),
                    seeds=len(self._seeds),
                    active=len(ring),
                )
            if self._must_wait:
                pause_s = max(pause_s, self._config.join_entry_s)  # We are told when it is our turn.
            if await self._pause(pause_s * self._random.uniform(0.8, 1.2)):
                pause_s = self._config.join_first_s
            else:
                alone = self._must_wait or not answers
                pause_s = min(2 * pause_s, self._config.join_most_s if alone else 1.0)
        self.active = True
        # The others in the ring know us by our probes, or will by our questions.
        told = [answer.contact for answer in answers] + ([self._gate] if self._gate is not None else [])
        for contact in dict.fromkeys(told):
            self._rpc.tell(contact, Announce(), Priority.URGENT)
        self._entrance.open(to_all=not ring)
        self._inviters.clear()

    def also(self, seeds: Iterable[str]) -> bool:
        """
        Ask these too while looking for the ring; returns whether there were any that had not been asked.  Being among
        them makes nobody a founder.
        """
        known = {*self._rpc.transport.local.addresses, *self._seeds}
        fresh = [seed for seed in dict.fromkeys(seeds) if seed not in known][: max(0, SEEDS_LIMIT - len(self._seeds))]
        self._seeds += fresh
        self._rumored.update(dict.fromkeys(fresh))
        return bool(fresh)

    def sighted(self, peer: Contact) -> None:
        """
        C{peer} speaks to us as one who is in a ring: so no other is to be founded, and there is somebody to ask.
        """
        if self.founder and not self.active:
            self._sighted_at = self._clock.seconds()
            self.also(peer.addresses)

    async def _pause(self, seconds: float) -> bool:
        """
        @return: whether something happened meanwhile for which it is worth to look again at once.
        """
        if self._inviters:
            return True  # Somebody announced itself while we asked others.
        self._woken = Deferred()
        try:
            await self._woken.addTimeout(seconds, self._clock)
        except TimeoutError:
            return False
        finally:
            self._woken = None
        return True

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.called:
            self._woken.callback(None)

    def _announced(self, peer: Contact, announce: Announce) -> None:
        if not self.active:
            if not self._invites.take(peer.id):
                return
            if len(self._inviters) < INVITERS_LIMIT:
                self._inviters[peer.id] = peer
            self._wake()
            return
        if announce.waiting:
            self._entrance.take_over(peer, announce.waiting)
            return
        if announce.invited:
            self._rpc.tell(peer, Announce(), Priority.URGENT)
            return
        self._ring.tabulate(peer)
        self.repair.heard(peer.id, True)
        if self._ring.leaves.whole and peer.id not in self._ring.leaves:
            self._liveness.look_after(peer)  # It is active, and not in our ring.
        self._entrance.came_in(peer)

    async def _ask_around(self) -> list[_Answer]:
        """
        Those who announced themselves to us, else one seed, else all: as soon as one of them is active.
        """
        inviters, self._inviters = list(self._inviters.values()), {}
        answers = await gather(self._ask_first(each) for each in inviters[: self._config.lookup_tries])
        if any(answer is not None and answer.located.active for answer in answers):
            return _distinct(answers)
        seeds = self._random.sample(self._seeds, len(self._seeds))
        suffices: Deferred[bool] = Deferred()

        async def one() -> list[_Answer | None]:
            answers = [await self._ask_seed(seed) for seed in seeds[:1]]
            if not suffices.called:
                suffices.callback(any(answer is not None and answer.located.active for answer in answers))
            return answers

        async def others() -> list[_Answer | None]:
            try:
                if await suffices.addTimeout(FIRST_SEED_S, self._clock):
                    return []
            except TimeoutError:
                pass
            return await gather(self._ask_seed(seed) for seed in seeds[1:])

        return _distinct([*answers, *chain.from_iterable(await gather([one(), others()]))])

    async def _ask_seed(self, seed: str) -> _Answer | None:
        try:
            contact = await self._rpc.transport.introduce(seed).addTimeout(self._config.seed_s, self._clock)
        except (PostError, TimeoutError) as error:
            self.log.debug("seed {seed}: {error}", seed=seed, error=error)
            return None
        if contact.id == self._ring.owner:
            # We have stood in the list all the time, under a name that we did not know.
            if seed in self._seeds:
                self._seeds.remove(seed)
                self.founder = self.founder or seed not in self._rumored
            return None
        return await self._ask_first(contact)

    async def _ask_first(self, contact: Contact) -> _Answer | None:
        try:
            return _Answer(contact, await self._ask_way(contact, 0, ()))
        except PostError as error:
            self.log.debug("{contact} does not say the way: {error}", contact=contact, error=error)
            return None

    def _is_to_found(self, answers: Sequence[_Answer], waited_s: float) -> bool:
        """
        Nobody is active: whether it is up to us.
        """
        if not self.founder:
            return False  # Whoever is in nobody's list, and hears nobody, is merely off-line.
        if self._sighted_at is not None and self._clock.seconds() < self._sighted_at + self._config.join_sighted_s:
            return False  # There is a ring, and we shall be in it.
        since = self._clock.seconds() - RIVAL_S
        rivals = [answer.contact.id for answer in answers] + self._entrance.rivals(since)
        if any(rival < self._ring.owner for rival in rivals):
            return False
        heard = {address for answer in answers for address in answer.contact.addresses}
        # Who is not in anybody's list is asked, but not waited for: it may be gone for good.
        awaited = set(self._seeds) - self._rumored.keys()
        return heard >= awaited or len(answers) >= len(self._seeds) or waited_s >= self._config.join_alone_s

    async def _enter_through(self, ring: Sequence[_Answer]) -> bool:
        """
        Take our place; C{False} if that did not come about and has to be tried again.
        """
        leaves = self._ring.leaves
        if not leaves:
            leaves.open()  # We know nobody, and that is not the entire ring.
        self._must_wait = False
        for answer in self._random.sample(ring, len(ring)):
            if not await self._follow(answer.contact, answer.located):
                if self._must_wait:
                    break
                continue
            for _ in range(ENTRY_ATTEMPTS):
                await self.repair.settled()
                if not leaves or not leaves.complete:
                    await self.repair.attempt(wide=True)
                elif await self._is_confirmed():
                    return True
            return False
        return False

    async def _is_confirmed(self) -> bool:
        """
        Whether those next to us, who see what we do, miss nobody in our leaf set.  (Who had no place on one side may
        have been dropped before it turned out that the other side wants it.)
        """
        leaves = self._ring.leaves
        version = leaves.version
        for node in dict.fromkeys([leaves.successor(), leaves.predecessor()]):
            if node is not None and node in leaves:
                await self._liveness.examine(self._ring.contacts[node])
        await self.repair.settled()
        return bool(leaves) and leaves.complete and leaves.version == version

    # The way to our own id.

    async def locate(self, contact: Contact | None = None) -> None:
        """
        Ask C{contact}, or those whom we know until one can say it, for the way to our own id; probe who is there.
        """
        if contact is not None:
            asked = [contact]
        else:
            asked = sorted(self._ring.members(), key=self._distance_s)[: self._config.lookup_tries]
        for each in asked:
            try:
                located = await self._ask_way(each, 0, ())
            except PostError:
                self._liveness.suspect(each)
                continue
            if located.active and await self._follow(each, located):
                return

    def _distance_s(self, contact: Contact) -> float:
        """
        How far C{contact} is in the network, if that is known; else farther than all of whom it is.
        """
        round_trip_s = self._ring.round_trip_s(contact.id)
        return float("inf") if round_trip_s is None else round_trip_s

    async def _follow(self, contact: Contact, located: Located) -> bool:
        """
        From the answer of C{contact} to the root of our id, and probe that; C{False} if it cannot be reached, or others
        come in there just now.
        """
        avoid: list[NodeId] = []
        path = [(contact, located)]
        for _ in range(self._config.hop_limit):
            contact, located = path[-1]
            for other in located.rows:
                self._ring.tabulate(other)
            following = located.next_hop
            if following is None:
                self._gate, self._must_wait = contact, located.busy
                return not located.busy and await self._liveness.examine(contact)
            row = self._ring.owner.shared_digits(contact.id)
            try:
                if any(following.id == other.id for other, _ in path):
                    raise PeerError("a way in circles")
                answer = await self._ask_way(following, row, avoid)
                if not answer.active:
                    raise PeerError("a way that leads out of the ring")
                path.append((following, answer))
            except PostError as error:
                self.log.debug("the way by {hop}: {error}", hop=following, error=error)
                if len(avoid) == AVOID_LIMIT:
                    return False
                avoid.append(following.id)
                try:
                    again = await self._ask_way(contact, row, avoid)
                except PostError:
                    return False
                if not again.active:
                    return False
                path[-1] = (contact, again)
        return False

    async def _ask_way(self, contact: Contact, row: int, avoid: Sequence[NodeId]) -> Located:
        question = Locate(Key(self._ring.owner), row, self.founder, tuple(avoid), self.active)
        return expect(Located, await self._rpc.ask(contact, question, self._config.seed_s, Priority.URGENT))

    def _asked_the_way(self, peer: Contact, question: Locate) -> Located:
        """
        Whoever asks is not in the ring yet, or has lost its place in it: it is never its own next hop.
        """
        if not self.active:
            if not question.active:
                self._asked_by_newcomer(peer, question)
            return Located(False, self.founder)
        ring = self._ring
        avoid = {*question.avoid, *ring.suspects, *self.repair.dormant(), peer.id, NodeId(question.key)}
        hop = next_hop(question.key, ring.leaves, ring.table, avoid)
        rows = self._rows(question)
        if hop != ring.owner:
            return Located(True, self.founder, ring.contacts[hop], rows)
        return Located(True, self.founder, None, rows, not question.active and not self._entrance.lets_in(peer))

    def _asked_by_newcomer(self, peer: Contact, question: Locate) -> None:
        """
        So we stand in its list of seeds; and if it stands in ours it is up now.
        """
        self.founder = True
        if self._entrance.note(peer, question.founder) and not set(self._seeds).isdisjoint(peer.addresses):
            self._wake()

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
        # Not all of whom we know: there may be nodes of another ring in our table.
        near = {address for contact in self._ring.leaf_contacts() for address in contact.addresses}
        strangers = [seed for seed in self._seeds if seed not in near]
        if not strangers:
            return
        address = self._random.choice(strangers)
        version = self._ring.leaves.version
        node = await self.visit(address)
        if node is None:
            self.seek_s = self._config.seek_s
        elif node not in self._ring.leaves:
            is_same = version == self._ring.leaves.version
            self.seek_s = min(2 * self.seek_s, self._config.seek_most_s) if is_same else self._config.seek_s

    async def visit(self, address: str) -> NodeId | None:
        """
        The same for whoever is at C{address}; returns who is, if it is in a ring.
        """
        answer = await self._ask_seed(address)
        if answer is None or not answer.located.active:
            return None
        if answer.contact.id not in self._ring.leaves:
            await self._follow(answer.contact, answer.located)
        return answer.contact.id


def _distinct(answers: Iterable[_Answer | None]) -> list[_Answer]:
    """
    One of each node: two addresses may lead to one, our own other address leads to none.
    """
    return list({answer.contact.id: answer for answer in answers if answer is not None}.values())
