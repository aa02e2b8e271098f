"""
Rings of many Pastry nodes on an imaginary network, driven from one seed and judged by global knowledge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Annotated, TypeVar, cast

from msgspec import Meta
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate
from post.ids import BITS, RING, Contact, Id, Key, NodeId
from post.interfaces import IApplication
from post.pastry.config import PastryConfig
from post.pastry.node import Pastry
from post.pastry.reunion import ASKED_FIRST
from post.relay.transport import RelayTransport
from post.rpc import Rpc
from post.sim.clock import SimClock, SkewedClock
from post.sim.network import SimNetwork
from post.sim.reach import Claims
from post.sim.signing import check, sign
from post.wire import Message, message

_T = TypeVar("_T")


@message(0xF010)
class Parcel(Message, frozen=True):
    """
    Something to be routed.
    """

    number: Annotated[int, Meta(ge=0)]


@dataclass(frozen=True)
class Stub:
    """
    As much of a certificate as Pastry looks at.
    """

    owner: str


@implementer(IApplication)
class Recorder:
    """
    An application that remembers what Pastry tells it.

    @ivar delivered: the parcels and their keys.
    @ivar members: the leaf set, if every change has been told.
    @ivar updates: these changes.
    """

    def __init__(self, delivering: Callable[[Key], None] | None = None) -> None:
        self._delivering = delivering
        self.delivered: list[tuple[Key, int]] = []
        self.passed: list[tuple[Key, NodeId]] = []
        self.members: set[NodeId] = set()
        self.updates: list[tuple[NodeId, bool]] = []

    def deliver(self, key: Key, message: Message, origin: Contact) -> None:
        if not isinstance(message, Parcel):
            return  # It is for another application.
        if self._delivering is not None:
            self._delivering(key)
        self.delivered.append((key, message.number))

    def forward(self, key: Key, message: Message, next_hop: Contact) -> bool:
        if isinstance(message, Parcel):
            self.passed.append((key, next_hop.id))
        return True

    def update(self, contact: Contact, joined: bool) -> None:
        self.updates.append((contact.id, joined))
        if joined:
            self.members.add(contact.id)
        else:
            self.members.discard(contact.id)


class Member:
    """
    A computer with a node on it.

    @ivar address: where it listens, in each of its lives.
    @ivar joined: fires when it is in the ring.
    """

    def __init__(self, rings: Rings, number: int, node: NodeId) -> None:
        self.address = f"host{number}:1"
        self.id = node
        self.up = False
        self.frozen = False
        self._rings = rings
        self._boots = 0

    def boot(self, seeds: Iterable[str], seen: bytes = b"", save: Callable[[bytes], None] | None = None) -> None:
        """
        Start the node; with C{save} it remembers whom it has seen, as it did in its last life (C{seen}).
        """
        rings = self._rings
        self._boots += 1
        self.clock = SkewedClock(rings.clock)
        self.contact = Contact(self.id, (self.address,), self._boots)
        certificate = cast(NodeCertificate, Stub(rings.owner(self.id)))
        self.complaints = Complaints(self.clock)
        random = Random(f"{rings.seed} {self.address} {self._boots}")
        transport = rings.network.transport(self.contact, certificate)
        chance = Random(f"relay {rings.seed} {self.address} {self._boots}")
        self.relay = RelayTransport(transport, self.clock, chance, chance.randbytes, self.complaints, Claims(self.id))
        self.rpc = Rpc(self.relay, self.clock, self.complaints)
        self.pastry = Pastry(self.rpc, self.clock, random, self.complaints, rings.config, self.relay)
        self.pastry.secure.use(partial(sign, self.id), check)
        self.recorder = Recorder(lambda key: rings.check(self, key))
        self.pastry.add_application(self.recorder)
        if save is not None:
            self.pastry.reunion.remember(seen, save)
            self.pastry.seek_also(self.pastry.reunion.addresses(ASKED_FIRST))
        self.rpc.start()
        self.up = True
        self.joined: Deferred[None] = Deferred.fromCoroutine(self.pastry.join(list(seeds)))
        self.joined.addErrback(rings.failed)

    def crash(self, silent: bool = False) -> None:
        """
        End without a word; C{silent} if the computer goes too.
        """
        self._rings.network.crash(self.id, silent)
        self.clock.halt()
        self.up = False

    def stop(self) -> None:
        """
        End in order.
        """
        self.pastry.stop()
        self.rpc.stop()
        self.up = False

    def freeze(self) -> None:
        """
        The computer falls asleep.
        """
        self.frozen = True
        self._rings.network.freeze(self.id)
        self.clock.pause()

    def thaw(self) -> None:
        """
        It wakes up.
        """
        self.frozen = False
        self.clock.resume()
        self._rings.network.thaw(self.id)


class Rings:
    """
    All computers.

    @ivar failures: of what was to succeed.
    @ivar usurped: deliveries by a node while another one, active and reachable, was nearer to the key.
    """

    def __init__(self, seed: int, count: int, config: PastryConfig | None = None, owners: int = 0) -> None:
        """
        @param owners: how many people own the nodes; each node has its own if 0.
        """
        self.seed = seed
        self.random = Random(seed)
        self.clock = SimClock()
        self.network = SimNetwork(self.clock, self.random)
        self.config = config or PastryConfig()
        self.failures: list[Failure] = []
        self.usurped: list[str] = []
        self._owners = owners
        self.members = [Member(self, number, self.point()) for number in range(count)]
        self.by_id = {member.id: member for member in self.members}
        self.parcels = 0

    def failed(self, failure: Failure) -> None:
        """
        Something did not succeed.
        """
        self.failures.append(failure)

    def owner(self, node: NodeId) -> str:
        """
        Whose C{node} is.
        """
        return f"owner {node % self._owners}" if self._owners else node.hex()

    def point(self) -> NodeId:
        """
        Somewhere on the ring.
        """
        return NodeId(Id(self.random.getrandbits(BITS)))

    # Time.

    def advance(self, seconds: float) -> None:
        """
        Let time pass.
        """
        self.clock.advance(seconds)

    def until(self, happened: Callable[[], bool], limit_s: float) -> bool:
        """
        Let time pass, in steps of a tenth of a second, until C{happened()}; C{False} if it does not in C{limit_s}.
        """
        end_s = self.clock.seconds() + limit_s
        while not happened():
            if self.clock.seconds() >= end_s:
                return False
            self.clock.advance(0.1)
        return True

    def finish(self, work: Deferred[_T], limit_s: float = 60.0) -> _T:
        """
        The result of C{work}, which has to come.
        """
        results: list[_T] = []
        failures: list[Failure] = []
        work.addCallbacks(results.append, failures.append)
        self.until(lambda: bool(results or failures), limit_s)
        if failures:
            failures[0].raiseException()
        return results[0]

    # Booting.

    def seeds(self, count: int = 3) -> list[str]:
        """
        The addresses of the first members.
        """
        return [member.address for member in self.members[:count]]

    def boot(self, members: Iterable[Member] | None = None, seeds: Sequence[str] | None = None) -> None:
        """
        Start all at once.
        """
        for member in self.members if members is None else members:
            member.boot(self.seeds() if seeds is None else seeds)

    def enter(self, member: Member) -> None:
        """
        Start C{member} and wait until it is in the ring.
        """
        member.boot(self.seeds())
        assert self.until(lambda: member.pastry.active, 60), f"{member.id} is not in the ring"

    def formed(self, count: int | None = None) -> list[Member]:
        """
        Let the first C{count} members (all by default) form a ring, one by one.
        """
        founders = self.members[:count]
        for member in founders:
            self.enter(member)
        return founders

    # Judging.

    def check(self, member: Member, key: Key) -> None:
        """
        C{member} delivers under C{key}: note it if it should not.
        """
        active = [
            other
            for other in self.living()
            if other is member
            or (other.pastry.active and not other.frozen and self.network.passes(member.id, other.id))
        ]
        root = self.root(key, active)
        if root is not member:
            self.usurped.append(f"{member.id} delivers {key}, whose root is {root.id}")

    def living(self) -> list[Member]:
        """
        Those that run.
        """
        return [member for member in self.members if member.up]

    def truth(self, member: Member, living: Sequence[Member] | None = None) -> tuple[list[NodeId], list[NodeId]]:
        """
        Who ought to be the successors and the predecessors of C{member}.
        """
        half = self.config.half
        others = [other.id for other in (living or self.living()) if other is not member]
        order = sorted(others, key=member.id.clockwise)
        return order[:half], order[::-1][:half]

    def wrong(self, living: Sequence[Member] | None = None) -> list[str]:
        """
        What is not as it should be, of leaf sets and of who is active.
        """
        living = living or self.living()
        complaints = []
        for member in living:
            leaves = member.pastry.ring.leaves
            expected = self.truth(member, living)
            if not member.pastry.active:
                complaints.append(f"{member.id} is not active")
            if (leaves.successors(), leaves.predecessors()) != expected:
                complaints.append(
                    f"{member.id} has {len(leaves.successors())}+{len(leaves.predecessors())} (whole: {leaves.whole})"
                    f", of which wrong {len(set(leaves) - {*expected[0], *expected[1]})}"
                )
            elif leaves.whole != (len(living) - 1 <= 2 * self.config.half) and len(living) - 1 != 2 * self.config.half:
                # A full leaf set that is not whole sees as much as one that is.
                complaints.append(f"{member.id} thinks whole: {leaves.whole}")
        return complaints

    def settle(self, limit_s: float, living: Sequence[Member] | None = None) -> list[str]:
        """
        Let time pass until nothing is wrong; what still is after C{limit_s}.
        """
        self.until(lambda: not self.wrong(living), limit_s)
        return self.wrong(living)

    def root(self, key: int, living: Sequence[Member] | None = None) -> Member:
        """
        The true root of C{key}.
        """
        return min(living or self.living(), key=lambda member: (member.id.distance(key), member.id))

    def nearest(self, key: int, count: int, living: Sequence[Member] | None = None) -> list[NodeId]:
        """
        The true replica set of C{key}.
        """
        nodes: list[NodeId] = []
        owners: set[str] = set()
        for member in sorted(living or self.living(), key=lambda member: (member.id.distance(key), member.id)):
            if self.owner(member.id) not in owners:
                owners.add(self.owner(member.id))
                nodes.append(member.id)
        return nodes[:count]

    def key(self) -> Key:
        """
        Any key; now and then one that is very near a node, or on the border between two.
        """
        chosen = self.random.random()
        if chosen < 0.6:
            return Key(self.point())
        one = self.random.choice(self.living())
        if chosen < 0.8:
            return Key(Id((one.id + self.random.randint(-2, 2)) % RING))
        following = self.truth(one)[0]
        half = one.id.clockwise(following[0]) // 2 if following else RING // 2
        return Key(Id((one.id + half + self.random.randint(-1, 1)) % RING))

    def deliveries(self) -> dict[tuple[Key, int], list[Member]]:
        """
        Who was given which parcel.
        """
        found: dict[tuple[Key, int], list[Member]] = {}
        for member in self.members:
            if hasattr(member, "recorder"):
                for parcel in member.recorder.delivered:
                    found.setdefault(parcel, []).append(member)
        return found

    def send(self, origin: Member, key: Key | None = None) -> tuple[Key, int]:
        """
        Route a parcel from C{origin}.
        """
        self.parcels += 1
        key = self.key() if key is None else key
        origin.pastry.route(key, Parcel(self.parcels))
        return key, self.parcels

    def misrouted(self, count: int, limit_s: float = 10.0) -> list[str]:
        """
        Route C{count} parcels from anywhere to anywhere; what went wrong.
        """
        living = self.living()
        sent = [self.send(self.random.choice(living)) for _ in range(count)]
        self.until(lambda: self.deliveries().keys() >= set(sent), limit_s)
        found = self.deliveries()
        expected = {parcel: [self.root(parcel[0])] for parcel in sent}
        return [
            f"{key} is at {[str(member.id) for member in found.get((key, number), [])]} instead of {roots[0].id}"
            for (key, number), roots in expected.items()
            if found.get((key, number)) != roots
        ]

    def misplaced(self, count: int, k: int = 3) -> list[str]:
        """
        Ask C{count} times for a replica set; what was wrong.
        """
        wrong = []
        for _ in range(count):
            key, member = self.key(), self.random.choice(self.living())
            answer = self.finish(Deferred.fromCoroutine(member.pastry.replica_set(key, k)))
            if [contact.id for contact in answer] != self.nearest(key, k):
                wrong.append(f"{key} asked from {member.id}: {[str(contact) for contact in answer]}")
        return wrong

    def overgrown(self) -> list[str]:
        """
        Which tables hold more than they may, or name somebody that is not known.
        """
        found = []
        for member in self.living():
            ring = member.pastry.ring
            known = {*ring.leaves, *ring.table, *(ring.roster or ())}
            if known != set(ring.contacts):
                found.append(f"{member.id}: contacts of nobody, or none of somebody")
            if not ring.suspects <= known:
                found.append(f"{member.id}: suspects that are not known")
            if member.recorder.members != set(ring.leaves):
                found.append(f"{member.id}: the applications believe in another leaf set")
        return found
