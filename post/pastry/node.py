"""
Pastry on one node: what the applications above see of the overlay (Rowstron and Druschel, Middleware 2001).

The parts: L{post.pastry.ring} is what is known of the others, L{post.pastry.liveness} finds out who is alive,
L{post.pastry.repair} keeps the leaf set complete, L{post.pastry.join} is the way in, L{post.pastry.lookup} finds the
replica set of a key.  Here a message is routed: each hop acknowledges it, and one that does not is suspected and gone
around, so no message is lost while somebody's death is being found out (MSPastry, section 3.2).  Only an active root
delivers, and only if nobody nearer to the key is merely suspected; until that is known the message is held.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.complaints import Complaints
from post.errors import Overloaded, PeerError, PostError, Refused
from post.ids import Contact, Id, Key, NodeId
from post.interfaces import IApplication
from post.pastry.config import PastryConfig
from post.pastry.gossip import Gossip
from post.pastry.indirect import Indirect
from post.pastry.join import Join
from post.pastry.liveness import Liveness
from post.pastry.lookup import Lookup
from post.pastry.messages import GONE_LIMIT, PAYLOAD_LIMIT, Claim, Find, Found, Probe, Probed, Reach, Route, Taken
from post.pastry.origins import Origins
from post.pastry.patience import Patience
from post.pastry.proximity import Proximity
from post.pastry.quotas import Quotas, Remembered, Shares
from post.pastry.reunion import Reunion
from post.pastry.ring import Ring
from post.pastry.routing import next_hop
from post.pastry.secure import Secure
from post.pastry.upkeep import Upkeep
from post.relay.transport import RelayTransport
from post.rpc import Rpc, expect
from post.tasks import Tasks, gather, sleep
from post.wire import Message, Priority, RefusalCode, decode, encode

_Name = tuple[NodeId, int, int]

DELIVERED_KEPT = 10_000
"""Messages delivered lately, so that one that came over two ways is delivered once."""


class Pastry:
    """
    One node of the ring.
    """

    __slots__ = (
        "_applications",
        "_awake_at",
        "_clock",
        "_complaints",
        "_delivered",
        "_entering",
        "_gossip",
        "_held",
        "_holding",
        "_indirect",
        "_join",
        "_lookup",
        "_origins",
        "_patience",
        "_proximity",
        "_random",
        "_repair",
        "_returned",
        "_rpc",
        "_tasks",
        "_tended_at",
        "_upkeep",
        "config",
        "liveness",
        "local",
        "reunion",
        "ring",
        "secure",
    )

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        clock: IReactorTime,
        random: Random,
        complaints: Complaints,
        config: PastryConfig | None = None,
        relay: RelayTransport | None = None,
    ) -> None:
        """
        @param relay: what C{rpc} sends over, if it can reach nodes by way of others.
        """
        self.local = rpc.transport.local
        self.config = config = config or PastryConfig()
        self.ring = Ring(self.local.id, config, self._changed)
        self._rpc = rpc
        self._clock = clock
        self._random = random
        self._complaints = complaints
        self._tasks = Tasks()
        self._applications: list[IApplication] = []
        self._returned: list[Callable[[], None]] = []
        self._patience = Patience(config.hop_least_s, config.hop_most_s)
        self._delivered = Remembered(DELIVERED_KEPT)
        self._held = Shares(config.held_limit, self.local.id)
        self._holding: set[_Name] = set()  # Of these, those of which nobody can say where they go.
        self._awake_at = self._tended_at = clock.seconds()
        self._entering: Deferred[None] | None = None
        self.liveness = Liveness(
            rpc, clock, random, self.ring, config, self._tasks, self._question, self._answered, self._acquit, self._died
        )
        self.liveness.indirect = self._indirect = None if relay is None else self._look_around(relay)
        self._join = Join(rpc, clock, random, self.ring, config, self.liveness, self._tasks)
        self._repair = self._join.repair
        self._repair.contradicted = lambda peer: complaints.note(peer, "leaf set that contradicts itself")
        self.reunion = Reunion(rpc, clock, self.ring, self._join.visit)
        self._proximity = Proximity(rpc, clock, random, self.ring, config, self.liveness, self._tasks)
        self.ring.round_trip_s = rpc.transport.round_trip_s
        self._gossip = Gossip(
            rpc, clock, random, complaints, self.ring, self.liveness, self._tasks, lambda: self._join.active
        )
        self._origins = Origins(rpc.transport, clock, complaints, self.ring)
        self._lookup = Lookup(rpc, clock, random, self.ring, config, complaints, self.owner_of, self._route)
        self._upkeep = Upkeep(rpc, clock, random, self.ring, config, self.liveness, self._tasks)
        self.secure = Secure(
            rpc, clock, random, self.ring, config, complaints, self.owner_of, lambda: self.active, self.route
        )
        rpc.watch(found=self._found)
        rpc.serve(Probe, self._probed)
        rpc.serve(Route, self._routed)
        rpc.gate = Quotas(clock, complaints).admits

    def _look_around(self, relay: RelayTransport) -> Indirect:
        rpc = self._rpc
        relay.resolve = lambda node: rpc.transport.linked(node) or self.ring.contacts.get(node)
        live = self.liveness
        return Indirect(rpc, self._clock, self.ring, relay, self._tasks, live.probe, live.answers)

    # For the applications.

    def add_application(self, application: IApplication) -> None:
        """
        Tell C{application} what is delivered here, what passes, and who comes and goes.
        """
        self._applications.append(application)

    def watch_return(self, returned: Callable[[], None]) -> None:
        """
        Call C{returned} whenever this node is back in the ring after it was not running for a while.
        """
        self._returned.append(returned)

    @property
    def active(self) -> bool:
        """
        Whether this node is in the ring.  Whoever wakes up is not, from the first moment on.
        """
        return self._join.active and not self._has_slept()

    async def join(self, seeds: Sequence[str]) -> None:
        """
        Enter the ring that C{seeds} (C{host:port}) belong to, or found one; returns when this node is active.

        Seeds may name this node itself: it is then one of those that found a ring if there is none.  Without any other
        seed it founds one at once.
        """
        self._entering = Deferred.fromCoroutine(self._join.enter(seeds))
        await self._entering
        self.begin()

    def seek_also(self, seeds: Iterable[str]) -> bool:
        """
        While the ring is looked for, ask these too; returns whether there were any that had not been asked.
        """
        return self._join.also(seeds)

    def begin(self, settled: bool = False) -> None:
        """
        Take part, and keep up what is known of the ring; for whoever knows its place there already.

        @param settled: we have been in the ring for long, and know who is near.
        """
        self._join.active = True
        self._proximity.begin(settled)
        self._awake_at = self._clock.seconds()
        every = self._tasks.every
        every(self._clock, lambda: self.config.beat_s, self._beat)
        every(self._clock, self.liveness.pause_s, self._tick)
        every(self._clock, lambda: self._about(self._join.seek_s), self._join.seek)
        every(self._clock, lambda: self._about(self.config.improve_s), self._proximity.improve)
        every(self._clock, lambda: self._about(self.config.reunite_s), self.reunion.look)
        self._repair.mend()
        self._gossip.tick()

    def stop(self) -> None:
        """
        Take part no longer.
        """
        self._join.active = False
        if self._entering is not None:
            self._entering.cancel()
        self._tasks.stop()

    def members(self) -> list[Contact]:
        """
        Everybody we know to be in the ring, ourselves included: all of it, if it is small.
        """
        return [self.local, *self.ring.members()]

    def size(self) -> int:
        """
        How many nodes are in the ring, ourselves included and without those that seem dead.  Exact if we know all of
        them; otherwise judged by how close together our leaf set stands, which in a ring of any size is right within a
        fifth two times out of three.
        """
        ring = self.ring
        judged = ring.size()
        if ring.roster is None:
            return judged
        counted = len(ring.roster) - sum(node in ring.roster for node in ring.suspects)
        # A roster is hearsay: nobody is to make the ring look twice as large as it is.
        return min(max(counted, 2 * judged // 3), 3 * judged // 2)

    def is_alive(self, node: NodeId) -> bool:
        """
        Whether there is no reason to think that C{node} is gone.
        """
        if node == self.local.id:
            return True
        if node in self.ring.suspects or node in self.ring.absent:
            return False
        if self.ring.roster is not None and node not in self.ring.leaves and self.ring.roster.is_gone(node):
            return False
        return not self.ring.leaves.whole or node in self.ring.leaves

    def suspect(self, contact: Contact) -> None:
        """
        C{contact} did not answer an application: see whether it is alive, and avoid it meanwhile.
        """
        self.liveness.suspect(contact)
        if self._indirect is not None:
            self._indirect.befriend(contact)

    def nearest(self, key: Id, count: int, avoid: Collection[NodeId] = ()) -> list[Contact] | None:
        """
        The C{count} nodes of distinct owners nearest to C{key}, nearest first, or all if there are fewer; without
        C{avoid} and those that seem dead.  C{None} if this node cannot know.
        """
        return self._lookup.here(key, count, avoid) if self.active else None

    async def replica_set(
        self, key: Id, count: int, avoid: Collection[NodeId] = (), secure: bool = False
    ) -> list[Contact]:
        """
        The same, from the root of C{key} where this node cannot know; if C{secure}, also where some of the others lie,
        at the cost of about ten questions, and of some hundred if they do.

        @raise Unreachable: if the root does not answer.
        @raise Overloaded: if too many messages wait for a decision here.
        """
        found = self.nearest(key, count, avoid)
        if secure and (found is None or self.secure.misses(key, found)):
            return await self.secure.find(key, count, avoid)
        if found is not None:
            return found
        return await self._lookup.anywhere(key, count, avoid)

    def route(self, key: Key, message: Message, secure: bool = False, stepwise: bool = False) -> None:
        """
        Bring C{message} to the root of C{key}, which delivers it to its applications, at least once unless the ring is
        broken; if C{secure}, find that root first (L{Secure}), and give it the message without anybody in between.

        @param stepwise: go digit by digit, for an application which wants to meet others on the way, also where
            everybody knows the root.
        @raise ValueError: if it is longer than L{PAYLOAD_LIMIT}.
        @raise Overloaded: if too many messages wait for a decision here.
        """
        number = self._random.getrandbits(62)
        if secure:
            self._tasks.spawn(self._route_straight(self._enclosed(key, message, number)))
        else:
            self._route(key, message, number, stepwise)

    def owner_of(self, node: NodeId) -> str:
        """
        Whose a node is; the node itself where its certificate has not been seen.
        """
        certificate = self._rpc.transport.certificate(node)
        return certificate.owner if certificate is not None else node.hex()

    # Routing.

    def _route(self, key: Key, message: Message, number: int, stepwise: bool = False) -> None:
        self._accept(self._enclosed(key, message, number, stepwise))

    def _enclosed(self, key: Key, message: Message, number: int, stepwise: bool = False) -> Route:
        payload = encode(message)
        if len(payload) > PAYLOAD_LIMIT:
            raise ValueError(f"a routed message of {len(payload)} bytes")
        return Route(key, number, 0, self.local, payload, stepwise)

    async def _route_straight(self, route: Route) -> None:
        """
        Give C{route} to the root, as often as it takes to find one that takes it.
        """
        for _ in range(self.config.lookup_tries):
            try:
                root, *_ = await self.replica_set(route.key, 1, secure=True)
            except PostError as error:
                self.log.info("no safe way to {key}: {error}", key=route.key, error=error)
                continue
            if root.id == self.local.id:
                self._accept(route)
                return
            if await self._hand_over(root, route):
                return

    def _routed(self, peer: Contact, route: Route) -> Taken:
        if route.hops >= self.config.hop_limit:
            self._complaints.note(peer, "message going in circles", route.key)
            return Taken()
        named = _name(route)
        if named not in self._holding and named not in self._delivered:
            self._accept(route, peer.id)
        return Taken(named in self._holding)

    def _accept(self, route: Route, bringer: NodeId | None = None) -> None:
        """
        @param bringer: who gave it to us, if it is not our own.
        @raise Overloaded: if too many messages of C{bringer} are on their way through here.
        """
        bringer = self.local.id if bringer is None else bringer
        if not self._held.has_room(bringer):
            if bringer != self.local.id:
                self._complaints.note(bringer, "more messages to hold than its share")
            raise Overloaded("too many messages to route")
        hop = self._decide(route, ())
        if not self._applications_agree(route, hop):
            return
        self._held.take(bringer)
        self._tasks.spawn(self._carry(route, hop, bringer))

    def _applications_agree(self, route: Route, hop: NodeId | None) -> bool:
        if hop is None or hop == self.local.id or not self._applications:
            return True
        try:
            message = decode(route.payload)
        except PeerError:
            return True  # It may be of a later version than ours, and is not for us anyway.
        contact = self.ring.contacts[hop]
        return all([application.forward(route.key, message, contact) for application in self._applications])

    async def _carry(self, route: Route, hop: NodeId | None, bringer: NodeId) -> None:
        """
        Until somebody nearer to the key, C{hop} if it can be, has acknowledged it, or it is delivered here.
        """
        tried: set[NodeId] = set()
        named = _name(route)
        left_s = self.config.hold_most_s  # Of pauses, and not by the clock: whoever slept for longer goes on.
        pause_s = self.config.hold_s
        try:
            while left_s > 0:
                if hop is None:
                    # Those who have too much to do are not asked again and again.
                    pause_s = min(2 * pause_s, self.config.held_s) if tried else self.config.hold_s
                    tried.clear()
                    self._holding.add(named)
                    left_s -= pause_s
                    await sleep(self._clock, pause_s)
                elif hop == self.local.id:
                    self._deliver(route, bringer)
                    return
                else:
                    taken = await self._hand_over(self.ring.contacts[hop], route)
                    if taken is None:
                        tried.add(hop)
                    elif not taken.held:
                        return
                    else:
                        # Should it die before it knows to whom the message goes, that would die with it.
                        left_s -= self.config.held_s
                        await sleep(self._clock, self.config.held_s)
                hop = self._decide(route, tried)
            self.log.info("no way to {key}", key=route.key)
        finally:
            self._held.give(bringer)
            self._holding.discard(named)

    def _decide(self, route: Route, tried: Collection[NodeId]) -> NodeId | None:
        """
        Who is next; ourselves to deliver, C{None} if that cannot be said just now.
        """
        ring, key = self.ring, route.key
        if ring.leaves.covers(key) and ring.leaves.closest(key) == self.local.id:
            return self.local.id if self._is_sure_of(key) else None
        # If the root does not answer us, the message waits at the next one to it: that one may reach it, or is the
        # first to know that it is dead, and the root then.
        avoid = ring.suspects.union(tried) if tried else ring.suspects
        hop = next_hop(key, ring.leaves, ring.table, avoid, None if route.stepwise else ring.roster, route.hops == 0)
        return hop if hop != self.local.id else None

    def _is_sure_of(self, key: Key) -> bool:
        """
        Whether nobody can be the root of C{key} instead of us.
        """
        return self.active and not self._repair.is_awaited(key)

    async def _hand_over(self, hop: Contact, route: Route) -> Taken | None:
        transport = self._rpc.transport
        # What is known of an earlier link does not tell how long it takes to make one.
        round_trip_s = transport.round_trip_s(hop.id) if transport.linked(hop.id) is not None else None
        patience_s = self.config.hop_stranger_s if round_trip_s is None else self._patience.wait_s(round_trip_s)
        onward = Route(route.key, route.number, route.hops + 1, route.origin, route.payload, route.stepwise)
        given_at = self._clock.seconds()
        try:
            taken = expect(Taken, await self._rpc.ask(hop, onward, patience_s, Priority.URGENT))
        except Overloaded:
            return None
        except PostError as error:
            if not isinstance(error, Refused) or error.code != RefusalCode.OVERLOADED:
                self.liveness.suspect(hop)
            return None  # Who has too much to do is alive.
        if round_trip_s is not None:
            self._patience.took(self._clock.seconds() - given_at, round_trip_s)
        return taken

    def _deliver(self, route: Route, bringer: NodeId) -> None:
        named = _name(route)
        if named in self._delivered:
            return
        self._delivered.add(named, bringer)
        try:
            message = decode(route.payload)
        except PeerError as error:
            self._complaints.note(route.origin, "routed what is no message", error)
            return
        origin = self._origins.contact(route.origin, bringer)
        if isinstance(message, Find):
            self._lookup.asked(route.key, route.number, message, origin)
            return
        if isinstance(message, Claim):
            self.secure.vouching.arrived(message, origin, bringer)
            return
        if isinstance(message, Found):
            self._lookup.brought(origin, message)
            return
        for application in self._applications:
            application.deliver(route.key, message, origin)

    # Who is there.

    def _changed(self, contact: Contact, joined: bool) -> None:
        for application in self._applications:
            application.update(contact, joined)

    def _found(self, peer: Contact) -> None:
        was_absent = peer.id in self.ring.absent
        self.ring.meet(peer)
        if was_absent:
            # It may not know that it was dead to us, and then does not ask us.
            self.liveness.look_after(peer)

    def _question(self, ask_back: bool) -> Probe:
        return self._repair.question(self.active, ask_back)

    def _probed(self, peer: Contact, probe: Probe) -> Probed:
        """
        Somebody asks whether we are alive, and so tells that it is.
        """
        ring = self.ring
        is_new = self._admit(peer, probe.reach)
        self._repair.heard(peer.id, probe.active)
        if probe.active:
            self._join.sighted(peer)
            ring.tabulate(peer)
            self._gossip.heard(peer)
            sees_less = ring.leaves.whole and probe.reach.complete and not probe.reach.whole
            if self.active and (is_new or sees_less or probe.ask_back):
                # It may come from another ring, or a larger one than we know, of which its answer will tell.
                self.liveness.look_after(peer)
        known = {probe.known[at : at + 4] for at in range(0, len(probe.known), 4)}
        gone = [node for node in ring.absent if (node & 0xFFFFFFFF).to_bytes(4, "big") in known]
        if gone and self._indirect is not None:
            self._indirect.named(peer, [ring.absent[node].contact for node in gone])
        for node in gone:
            self.liveness.retry_soon(node)
        return Probed(self.active, ring.reach(), ring.news_for(peer.id, probe.reach, known), tuple(gone[:GONE_LIMIT]))

    def _answered(self, contact: Contact, probe: Probe, answer: Probed) -> None:
        """
        C{contact} is alive, and says whom we do not know.
        """
        ring = self.ring
        contact = self._rpc.transport.linked(contact.id) or contact
        is_back = contact.id in ring.absent
        if contact.id in ring.suspects:
            self._acquit(contact)
        self._admit(contact, answer.reach)
        if answer.active:
            ring.tabulate(contact)
            self._gossip.heard(contact)
        if is_back:
            self.liveness.retry_soon()
        self.liveness.hear_of_deaths(contact, answer.gone)
        if self._indirect is not None:
            self._indirect.answered(contact, answer.news)
        self._repair.learned(contact, probe, answer)
        if self.active:
            self._repair.mend()

    def _acquit(self, contact: Contact) -> None:
        """
        C{contact} was suspected wrongly.  Whatever it should have, and was given to others meanwhile, has to come to
        it, so for the applications it is as if it had just entered.
        """
        self._patience.hasty()
        self.ring.suspects.discard(contact.id)
        if contact.id in self.ring.leaves:
            self._changed(contact, True)

    def _admit(self, contact: Contact, seen: Reach) -> bool:
        """
        C{contact}, who is alive, may have a place in our leaf set.
        """
        was_whole = self.ring.leaves.whole
        is_new = self.ring.admit(contact, self._repair.sides(contact.id, seen))
        if was_whole and not self.ring.leaves.whole and self.active:
            # One node too many for all to know all.  Whoever is opposite to it on the ring would not hear of it.
            for member in self.ring.leaf_contacts():
                self.liveness.look_after(member)
        return is_new

    def _died(self, contact: Contact, was_leaf: bool) -> None:
        self._lookup.forget(contact.id)
        self._gossip.died(contact.id)
        if was_leaf and self.active:
            self._repair.mend()

    # Now and then.

    def _about(self, seconds: float) -> float:
        return seconds * self._random.uniform(0.9, 1.1)

    def _has_slept(self) -> bool:
        return self._clock.seconds() - self._awake_at > self.config.beat_s + self.config.asleep_s

    def _beat(self) -> None:
        """
        See whether we were not running for a while.  Then we are perhaps dead to the others, and they have taken over
        what was ours: step back until they have said what is.
        """
        slept = self._has_slept()
        self._awake_at = self._clock.seconds()
        if slept and self._join.active:
            self.log.info("this node was not running for a while")
            self._join.active = False
            self._tasks.spawn(self._come_back())

    def _tick(self) -> None:
        self.liveness.tick()
        now = self._clock.seconds()
        if now < self._tended_at + self.config.heartbeat_least_s:
            return
        self._tended_at = now
        self._gossip.tick()
        self._upkeep.tick(self.size())
        if self.secure.is_due():
            self._tasks.spawn(self.secure.maintain())

    async def _come_back(self) -> None:
        leaves = self.ring.leaves
        await gather(_wait(self.liveness.examine(contact)) for contact in self.ring.leaf_contacts())
        await self._repair.settled()
        self._repair.mend()
        while not leaves.complete:
            await sleep(self._clock, self.config.hold_s)
        self._join.active = True
        self.log.info("this node is back in the ring")
        for returned in self._returned:
            returned()


def _name(route: Route) -> _Name:
    """
    What tells C{route} from every other.  Its contents are part of that, so that nobody who saw a number gets another
    message taken for it.
    """
    return route.origin.id, route.number, hash(route.key.packed() + route.payload)


async def _wait(done: Deferred[bool]) -> bool:
    return await done
