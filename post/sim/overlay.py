"""
Pastry alone, on many thousand nodes of an imaginary network, judged by somebody who sees all of them.

The nodes are L{post.pastry.node.Pastry} as it runs in production, their messages are encoded and decoded; only the
network and the time are imagined.  A ring forms as real ones do, node by node, or is put together from global knowledge
where that would take too long: every leaf set is then right, and each place of a table holds the nearest of a few of
the nodes that may stand there.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Annotated

from msgspec import Meta
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate
from post.errors import Overloaded
from post.ids import BITS, DIGITS, Contact, Id, Key, NodeId
from post.interfaces import IApplication
from post.pastry.config import PastryConfig
from post.pastry.node import Pastry
from post.pastry.table import COLUMNS
from post.relay.proof import Proof
from post.relay.transport import RelayTransport
from post.rpc import Rpc
from post.sim.clock import SimClock, SkewedClock
from post.sim.network import Delay, SimNetwork
from post.sim.reach import Claims
from post.wire import Message, message

CHOICES = 8
"""Nodes of which the nearest is put into a place of a table that is made from global knowledge."""
SEEDS = 3
"""Addresses of the ring that a newcomer is told of."""
MISTAKES_KEPT = 100
"""More than one looks at."""


@message(0xFE01)
class Lookup(Message, frozen=True):
    """
    Something to be routed; only imaginary nodes say it.
    """

    number: Annotated[int, Meta(ge=0)]


def address(node: NodeId) -> str:
    """
    Where a node listens.
    """
    return f"{node.hex()}:1"


class Sent:
    """
    One lookup and what became of it.

    @ivar hops: over how many links it went.
    @ivar way_s: how long these are together.
    @ivar direct_s: how long the one from its origin to the root would have been.
    @ivar took_s: after which time it was delivered; C{None} if it was not.
    @ivar deliveries: how often it was.
    @ivar wrong: how often by a node that was not the root of its key.
    """

    __slots__ = ("at_s", "deliveries", "direct_s", "hops", "key", "origin", "took_s", "way_s", "wrong")

    def __init__(self, origin: NodeId, key: Key, at_s: float) -> None:
        self.origin = origin
        self.key = key
        self.at_s = at_s
        self.hops = 0
        self.way_s = 0.0
        self.direct_s = 0.0
        self.took_s: float | None = None
        self.deliveries = 0
        self.wrong = 0


@dataclass(frozen=True, slots=True)
class Mistake:
    """
    C{node} delivered what it should not have, since it reached C{root}, which was nearer to the key.
    """

    at_s: float
    key: Key
    node: NodeId
    root: NodeId


@implementer(IApplication)
class Member:
    """
    One node, for one life.
    """

    __slots__ = ("active", "clock", "joined", "overlay", "pastry", "relay", "rpc")

    def __init__(self, overlay: Overlay, node: NodeId, epoch: int) -> None:
        self.overlay = overlay
        self.clock = SkewedClock(overlay.clock)
        contact = Contact(node, (address(node),), epoch)
        # Without a certificate, each node counts as having an owner of its own.
        certificate, proof = overlay.papers.get(node) or (None, Claims(node))
        transport = overlay.network.transport(contact, certificate)
        complaints = Complaints(self.clock)
        chance = overlay.random
        self.relay = RelayTransport(transport, self.clock, chance, chance.randbytes, complaints, proof)
        self.rpc = Rpc(self.relay, self.clock, complaints)
        self.pastry = Pastry(self.rpc, self.clock, chance, complaints, overlay.config, self.relay)
        self.pastry.add_application(self)
        self.joined: Deferred[None] | None = None

    @property
    def id(self) -> NodeId:
        """
        Its place on the ring.
        """
        return self.pastry.local.id

    @property
    def address(self) -> str:
        """
        Where it listens.
        """
        return self.pastry.local.addresses[0]

    # IApplication.

    def deliver(self, key: Key, message: Message, origin: Contact) -> None:
        if isinstance(message, Lookup):
            self.overlay.delivered(self, message.number)

    def forward(self, key: Key, message: Message, next_hop: Contact) -> bool:
        if isinstance(message, Lookup):
            sent = self.overlay.lookups.get(message.number)
            if sent is not None:
                sent.hops += 1
                sent.way_s += self.overlay.network.delay(self.id, next_hop.id)
        return True

    def update(self, contact: Contact, joined: bool) -> None:
        pass


class Overlay:
    """
    All nodes.

    @ivar members: who runs, by id.
    @ivar lookups: those that were sent and not taken out, by number.
    @ivar wrong: deliveries by who was not the root; C{mistakes}: the last L{MISTAKES_KEPT} of them.
    @ivar asleep: who sleeps.
    @ivar papers: of those who have any, the certificate, and how they prove to others that it is theirs.
    @ivar failures: of joins that ended with an error, which none should.
    """

    def __init__(self, seed: int, delay: Delay | None = None, loss: float = 0.0, config: PastryConfig | None = None):
        self.seed = seed
        self.random = Random(seed)
        self.clock = SimClock()
        self.network = SimNetwork(self.clock, self.random, delay, loss)
        self.config = config or PastryConfig()
        self.members: dict[NodeId, Member] = {}
        self.lookups: dict[int, Sent] = {}
        self.wrong = 0
        self.mistakes: deque[Mistake] = deque(maxlen=MISTAKES_KEPT)
        self.failures: list[Failure] = []
        self.asleep: set[NodeId] = set()
        self.papers: dict[NodeId, tuple[NodeCertificate, Proof]] = {}
        self._active: list[NodeId] = []  # Who takes part in routing; rising.
        self._numbers = 0
        self._epochs = 0

    # Who is there.

    def point(self) -> NodeId:
        """
        Anywhere on the ring.
        """
        return NodeId(Id(self.random.getrandbits(BITS)))

    def active(self) -> Sequence[NodeId]:
        """
        Who is in the ring, in the order of ids.
        """
        return self._active

    def anybody(self) -> Member:
        """
        One of those in the ring.
        """
        return self.members[self.random.choice(self._active)]

    def root(self, key: int, seen_from: NodeId | None = None) -> NodeId:
        """
        The true root of C{key}: of those in the ring (and of these, those that C{seen_from} reaches and is reached by)
        the nearest to it, of equals that with the smaller id.
        """
        place = bisect_left(self._active, key)
        found = (self._reached(place - 1, -1, seen_from), self._reached(place, 1, seen_from))
        return min(found, key=lambda node: (node.distance(key), node))

    def nearest(self, key: int, count: int) -> list[NodeId]:
        """
        The C{count} of those in the ring that are nearest to C{key}, nearest first.
        """
        place = bisect_left(self._active, key)
        there = {self._active[(place + step) % len(self._active)] for step in range(-count, count)}
        return sorted(there, key=lambda node: (node.distance(key), node))[:count]

    def _reached(self, place: int, step: int, seen_from: NodeId | None) -> NodeId:
        """
        The first from C{place} on that C{seen_from} reaches; C{seen_from} itself if there is nobody else.
        """
        passes = self.network.passes
        node = self._active[place % len(self._active)]
        if seen_from is None:
            return node
        for _ in range(len(self._active)):
            if node == seen_from or (self._serves(node) and passes(seen_from, node) and passes(node, seen_from)):
                return node
            place += step
            node = self._active[place % len(self._active)]
        return seen_from

    def _serves(self, node: NodeId) -> bool:
        """
        Whether it takes part just now: it neither sleeps, nor has it stepped back because it did.
        """
        return node not in self.asleep and self.members[node].pastry.active

    def wrong_leaf_sets(self, nodes: Sequence[NodeId] | None = None) -> int:
        """
        How many of those in the ring have a leaf set that is not the true one; or of C{nodes}, in the order of ids, if
        these are to be a ring of their own.
        """
        ring = self._active if nodes is None else nodes
        return sum(not self._is_right(place, ring) for place in range(len(ring)))

    def is_right(self, nodes: Sequence[NodeId] | None = None) -> bool:
        """
        Whether no leaf set is wrong.  (Sooner found out than how many are.)
        """
        ring = self._active if nodes is None else nodes
        return all(self._is_right(place, ring) for place in range(len(ring)))

    def _is_right(self, place: int, ring: Sequence[NodeId]) -> bool:
        leaves = self.members[ring[place]].pastry.ring.leaves
        after, before = self._neighbors(place, ring)
        return leaves.successors() == after and leaves.predecessors() == before

    def _neighbors(self, place: int, ring: Sequence[NodeId]) -> tuple[list[NodeId], list[NodeId]]:
        """
        The true successors and predecessors of whoever is at C{place} in C{ring}.
        """
        count = len(ring)
        half = min(self.config.half, count - 1)
        after = [ring[(place + step) % count] for step in range(1, half + 1)]
        before = [ring[(place - step) % count] for step in range(1, half + 1)]
        return after, before

    def indirect(self) -> int:
        """
        How many nodes are reached by way of others, of all nodes together.
        """
        return sum(len(member.relay.indirect()) for member in self.members.values())

    # Who comes and goes.

    def found(self, count: int, acquainted: bool = False) -> list[NodeId]:
        """
        Put a ring of C{count} nodes together from global knowledge, with links to whom they have in their tables; who
        is in it.  Nobody may be there yet.

        @param acquainted: with links to all of their leaf sets too, as rings have that formed node by node.
        """
        assert not self.members
        for _ in range(count):
            self._boot(self.point())
        self._active = sorted(self.members)
        for place, node in enumerate(self._active):
            after, before = self._neighbors(place, self._active)
            ring = self.members[node].pastry.ring
            found = dict.fromkeys([*after, *before])
            table = [self.members[each].pastry.local for each in self._table(node)]
            ring.place([self.members[each].pastry.local for each in found], count - 1 <= len(found), table)
        for node, member in self.members.items():
            member.pastry.begin(settled=True)
            leaves = member.pastry.ring.leaves
            after = leaves.successors() if acquainted else leaves.successors()[:1]
            for other in dict.fromkeys([*after, *member.pastry.ring.table]):
                if self.network.reaches is None:
                    self.network.connect(node, other)
        return list(self._active)

    def _table(self, node: NodeId) -> Iterator[NodeId]:
        """
        For each place in the table of C{node} the nearest of a few that may stand there.
        """
        low, high = 0, len(self._active)
        for row in range(DIGITS):
            if high - low <= 1:
                return
            base = (node >> (BITS - 4 * row)) << (BITS - 4 * row)
            step = 1 << (BITS - 4 - 4 * row)
            borders = [bisect_left(self._active, base + digit * step, low, high) for digit in range(COLUMNS)] + [high]
            own = node.digit(row)
            for digit in range(COLUMNS):
                if digit == own or borders[digit] == borders[digit + 1]:
                    continue
                there = range(borders[digit], borders[digit + 1])
                chosen = there if len(there) <= CHOICES else self.random.sample(there, CHOICES)
                yield min((self._active[each] for each in chosen), key=lambda other: self.network.delay(node, other))
            low, high = borders[own], borders[own + 1]

    def join(self, node: NodeId | None = None, seeds: Collection[str] = ()) -> Member:
        """
        Start a node, which finds its way into the ring by C{seeds}, or by some of those that are in it.
        """
        node = self.point() if node is None else node
        # Where not everybody reaches everybody, somebody is told of nodes that it reaches, or never comes in.
        there = [each for each in self._active if self.network.reaches is None or self.network.reaches(node, each)]
        if self._active and not there:
            return self.join()
        if not seeds and there:
            seeds = [self.members[self.random.choice(there)].address for _ in range(SEEDS)]
        member = self._boot(node)
        member.joined = Deferred.fromCoroutine(member.pastry.join(list(seeds) or [member.address]))
        member.joined.addCallbacks(self._entered, self._failed, (member,))
        return member

    def _entered(self, result: None, member: Member) -> None:
        if member.id in self.members:
            insort(self._active, member.id)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.failures.append(failure)

    def _boot(self, node: NodeId) -> Member:
        self._epochs += 1
        member = self.members[node] = Member(self, node, self._epochs)
        member.rpc.start()
        return member

    def crash(self, node: NodeId, silent: bool = True) -> None:
        """
        End a node without a word; C{silent} if its computer goes with it.
        """
        member = self.members.pop(node)
        self.network.crash(node, silent)
        member.clock.halt()
        place = bisect_left(self._active, node)
        if place < len(self._active) and self._active[place] == node:
            del self._active[place]

    def sleep(self, node: NodeId) -> None:
        """
        A node stops where it is; its links stay.
        """
        self.asleep.add(node)
        self.network.freeze(node)
        self.members[node].clock.pause()

    def wake(self, node: NodeId) -> None:
        """
        It goes on, as if no time had passed.
        """
        self.asleep.remove(node)
        self.members[node].clock.resume()
        self.network.thaw(node)

    # Lookups.

    def look_up(self, origin: Member, key: Key | None = None) -> Sent | None:
        """
        Route a message from C{origin} to any key; C{None} if it is too busy to take it.
        """
        self._numbers += 1
        number = self._numbers
        key = Key(self.point()) if key is None else key
        sent = self.lookups[number] = Sent(origin.id, key, self.clock.seconds())
        try:
            origin.pastry.route(key, Lookup(number))
        except Overloaded:
            del self.lookups[number]
            return None
        return sent

    def delivered(self, member: Member, number: int) -> None:
        """
        A lookup has arrived at C{member}.
        """
        sent = self.lookups.get(number)
        if sent is None:
            return
        sent.deliveries += 1
        if sent.took_s is None:
            sent.took_s = self.clock.seconds() - sent.at_s
            sent.direct_s = self.network.delay(sent.origin, member.id) if member.id != sent.origin else 0.0
        root = self.root(sent.key, member.id)
        if root != member.id:
            sent.wrong += 1
            self.wrong += 1
            self.mistakes.append(Mistake(self.clock.seconds(), sent.key, member.id, root))

    def wait(self, happened: Callable[[], bool], limit_s: float, step_s: float = 0.1) -> bool:
        """
        Let time pass until C{happened()}, which is asked every C{step_s}; C{False} if it is not in C{limit_s}.
        """
        end_s = self.clock.seconds() + limit_s
        while not happened():
            if self.clock.seconds() >= end_s:
                return False
            self.clock.advance(step_s)
        return True
