"""
A ring of PAST nodes on wires in memory: real questions and answers, real stores in memory, real certificates; Pastry is
what a test says that it is.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine
from random import Random
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate
from post.errors import Unreachable
from post.hashes import Purpose, handle_of
from post.ids import Contact, Handle, Id, NodeId
from post.interfaces import IApplication, IReceiver, ITransport
from post.past.memory import MemoryBlockStore
from post.past.node import Past
from post.rpc import Rpc
from post.sim.authority import Authority
from post.wire import Message, Priority, StorageClass

_T = TypeVar("_T")

NOW = 1_700_000_000
LATENCY_S = 0.01
DAY_S = 86400


@implementer(ITransport)
class Wire:
    """
    One node's end of all wires.
    """

    def __init__(self, ring: Ring, local: Contact) -> None:
        self.local = local
        self._ring = ring
        self.receiver: IReceiver | None = None

    def start(self, receiver: IReceiver) -> None:
        self.receiver = receiver

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def introduce(self, address: str) -> Deferred[Contact]:
        return succeed(self.local)

    def send(self, peer: Contact, frame: bytes, priority: Priority) -> bool:
        if peer.id == self.local.id:
            return False  # Nobody links with itself.
        self._ring.clock.callLater(LATENCY_S, self._ring.carry, self.local, peer.id, frame)
        return True

    def writable(self, peer: NodeId) -> Deferred[None]:
        return succeed(None)

    def round_trip_s(self, peer: NodeId) -> float | None:
        return None

    def silent_s(self, peer: NodeId) -> None:
        return None

    def certificate(self, peer: NodeId) -> NodeCertificate | None:
        return self._ring.certificates.get(peer)

    def linked(self, peer: NodeId) -> None:
        return None

    def links(self) -> list[Contact]:
        return []

    def recheck(self) -> None:
        """
        Everybody is believed.
        """


class Overlay:
    """
    What one node knows of the ring: of those whom the test lets it know, all but whom it suspects.

    @ivar misled: whom it is told of by a root that lies, unless it asks securely.
    """

    def __init__(self, ring: Ring, local: Contact) -> None:
        self.local = local
        self._ring = ring
        self.suspects: set[NodeId] = set()
        self.knows = True
        self.lost = False
        self.misled: list[Contact] = []

    def add_application(self, application: IApplication) -> None:
        """
        It is told of changes by L{Ring.change}.
        """

    def suspect(self, contact: Contact) -> None:
        self.suspects.add(contact.id)

    def nearest(self, key: Id, count: int, avoid: Collection[NodeId] = ()) -> list[Contact] | None:
        return self._nearest(key, count, avoid) if self.knows else None

    async def replica_set(
        self, key: Id, count: int, avoid: Collection[NodeId] = (), secure: bool = False
    ) -> list[Contact]:
        if self.lost:
            raise Unreachable("the root")
        if self.misled and not secure:
            return self.misled[:count]
        return self._nearest(key, count, avoid)

    def _nearest(self, key: Id, count: int, avoid: Collection[NodeId]) -> list[Contact]:
        return [each for each in self._ring.around(key) if each.id not in {*avoid, *self.suspects}][:count]


class Member:
    """
    A node.
    """

    def __init__(self, ring: Ring, name: str, k: int, minimum: int) -> None:
        self.key, _, certificate = ring.authority.node(name)
        ring.certificates[certificate.node_id] = certificate
        self.contact = Contact(certificate.node_id, (f"{name}:1",), 1)
        self.wire = Wire(ring, self.contact)
        self.complaints = Complaints(ring.clock)
        self.rpc = Rpc(self.wire, ring.clock, self.complaints)
        self.rpc.start()
        self.overlay = Overlay(ring, self.contact)
        self.store = MemoryBlockStore(ring.clock)
        self.past = Past(
            self.rpc,
            self.overlay,  # type: ignore[arg-type]  # What of Pastry PAST uses.
            self.store,
            ring.clock,
            Random(name),
            self.complaints,
            self.key,
            certificate,
            ring.authority.root,
            k,
            minimum,
        )


class Ring:
    """
    So many nodes.  C{down} are those that do not answer, C{outside} those that nobody knows.
    """

    def __init__(self, count: int, k: int = 3, minimum: int = 2) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.authority = Authority(b"past", NOW)
        self.certificates: dict[NodeId, NodeCertificate] = {}
        self.down: set[NodeId] = set()
        self.outside: set[NodeId] = set()
        self.heard: list[tuple[NodeId, NodeId, int]] = []
        self.members = [Member(self, f"owner{number}", k, minimum) for number in range(count)]
        self.by_id = {member.contact.id: member for member in self.members}

    def carry(self, sender: Contact, receiver: NodeId, frame: bytes) -> None:
        """
        A frame has come to the other end of a wire.
        """
        if sender.id in self.down or receiver in self.down:
            return
        self.heard.append((sender.id, receiver, len(frame)))
        there = self.by_id[receiver].wire.receiver
        assert there is not None
        there.frame_received(sender, frame)

    def around(self, key: int) -> list[Contact]:
        """
        Everybody inside, nearest to C{key} first.
        """
        inside = [member.contact for member in self.members if member.contact.id not in self.outside]
        return sorted(inside, key=lambda contact: (contact.id.distance(key), contact.id))

    def near(self, key: int) -> list[Member]:
        """
        The same as members.
        """
        return [self.by_id[contact.id] for contact in self.around(key)]

    def change(self) -> None:
        """
        Everybody's leaf set has changed.
        """
        for member in self.members:
            if member.contact.id not in self.down:
                member.past.update(member.contact, True)

    def pass_time(self, seconds: float) -> None:
        """
        Let everything happen that does in so many seconds.
        """
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            calls = self.clock.getDelayedCalls()
            due = min((call.getTime() for call in calls), default=end)
            self.clock.advance(max(0.0, min(due, end) - self.clock.seconds()) or 1e-6)

    def outcome(self, work: Coroutine[Any, Any, _T] | Deferred[_T], patience_s: float = 60.0) -> _T | Failure:
        """
        How C{work} ends.
        """
        results: list[_T | Failure] = []
        deferred = work if isinstance(work, Deferred) else Deferred.fromCoroutine(work)
        deferred.addBoth(results.append)
        end = self.clock.seconds() + patience_s
        while not results and self.clock.seconds() < end:
            self.pass_time(0.005)
        assert results, "it hangs"
        return results[0]

    def do(self, work: Coroutine[Any, Any, _T] | Deferred[_T]) -> _T:
        """
        The result of C{work}, which has to succeed.
        """
        result = self.outcome(work)
        if isinstance(result, Failure):
            result.raiseException()
        return result

    def holders(self, handle: Handle) -> list[Member]:
        """
        Who has something under C{handle}.
        """
        return [member for member in self.members if member.store.get(handle) is not None]

    def instead(self, member: Member, kind: type[Message], answer: Message) -> None:
        """
        Whenever C{member} is asked this, let it answer that.
        """
        member.rpc.serve(kind, lambda peer, message: answer)


def content(data: bytes) -> Handle:
    """
    The handle of a content block.
    """
    return handle_of(Purpose.CONTENT_BLOCK, data)


MAIL = StorageClass.MAIL
EXPIRES = NOW + 30 * DAY_S
