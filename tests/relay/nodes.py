"""
A few nodes that relay, on an imaginary network where not everybody reaches everybody; and relays that cannot be
trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import TypeVar

from twisted.internet.defer import Deferred
from zope.interface import implementer

from post.complaints import Complaints
from post.crypto.certificates import read_node
from post.crypto.entropy import SeededEntropy
from post.crypto.trust import Trust
from post.ids import Contact, Id, NodeId
from post.interfaces import IReceiver
from post.relay.carrier import relay_frame
from post.relay.messages import RELAY_FRAME, Carried, Carry
from post.relay.proof import CertifiedProof
from post.relay.transport import RelayTransport
from post.sim.clock import SimClock
from post.sim.network import SimNetwork, even_delay
from post.wire import Message, Priority, decode
from tests.net.members import AUTHORITY, NOW, Listener

_T = TypeVar("_T")


class Nodes:
    """
    So many nodes with certificates; C{apart} are the pairs of which neither can dial the other.

    @ivar frames: of relaying, as they arrive: (source, target, message).
    """

    def __init__(self, apart: Iterable[tuple[int, int]] = (), one_way: bool = False) -> None:
        """
        @param one_way: whether the second of each pair can dial the first.
        """
        self.clock = SimClock()
        self.clock.advance(NOW - self.clock.seconds())
        self.network = SimNetwork(self.clock, Random(1), even_delay(0.02))
        self.apart = {*apart} if one_way else {*apart, *((other, one) for one, other in apart)}
        self.network.reaches = lambda source, target: (int(source), int(target)) not in self.apart
        self.network.observer = self._note
        self.frames: list[tuple[int, int, Message]] = []
        self.all: dict[int, Contact] = {}

    def _note(self, source: NodeId, target: NodeId, frame: bytes) -> None:
        if frame[0] == RELAY_FRAME:
            self.frames.append((int(source), int(target), decode(frame[1:])))

    def contact(self, number: int, epoch: int = 1) -> Contact:
        """
        How to reach a node.
        """
        return self.all.setdefault(number, Contact(NodeId(Id(number)), (f"host{number}:1",), epoch))

    def node(self, number: int, epoch: int = 1) -> Node:
        """
        One that keeps to the rules.
        """
        return Node(self, number, epoch)

    def crook(self, number: int, does: Callable[[Carried], Iterable[Message]]) -> None:
        """
        One that sends, for each frame that it is to carry, what C{does} makes of it.
        """
        contact = self.contact(number)
        transport = self.network.transport(contact)
        transport.start(Crook(lambda target, frame: transport.send(self.all[target], frame, Priority.NORMAL), does))

    def run(self, work: Deferred[_T], limit_s: float = 30.0) -> _T:
        """
        Let time pass until C{work} is done.
        """
        results: list[_T] = []
        work.addCallback(results.append)
        self.clock.run_until(lambda: bool(results), limit_s)
        return results[0]


class Node:
    """
    @ivar heard: what its receiver was told.
    """

    def __init__(self, nodes: Nodes, number: int, epoch: int) -> None:
        nodes.all[number] = Contact(NodeId(Id(number)), (f"host{number}:1",), epoch)
        self.contact = nodes.all[number]
        key, chain = AUTHORITY.member(number)
        self.trust = Trust(AUTHORITY.root)
        self.certificate = read_node(chain[0])
        self.heard = Listener()
        self.complaints = Complaints(nodes.clock)
        self.transport = RelayTransport(
            nodes.network.transport(self.contact, self.certificate, self.trust),
            nodes.clock,
            Random(number),
            SeededEntropy(f"{number} {epoch}".encode()),
            self.complaints,
            CertifiedProof(key, chain, self.trust, nodes.clock),
        )
        self.transport.resolve = lambda node: nodes.all.get(int(node))
        self.transport.start(self.heard)
        self._nodes = nodes

    def send(self, number: int, frame: bytes, priority: Priority = Priority.NORMAL) -> bool:
        """
        Send C{frame} to a node.
        """
        return self.transport.send(self._nodes.contact(number), frame, priority)

    def open(self, number: int, *relays: int) -> bool:
        """
        Look for a way around to a node.
        """
        contacts = [self._nodes.contact(relay) for relay in relays]
        return self._nodes.run(Deferred.fromCoroutine(self.transport.open(self._nodes.contact(number), contacts)))

    def indirect(self) -> list[int]:
        """
        Who is reached by way of others.
        """
        return [int(contact.id) for contact in self.transport.indirect()]


@implementer(IReceiver)
class Crook:
    """
    A relay with a mind of its own.
    """

    def __init__(self, send: Callable[[int, bytes], object], does: Callable[[Carried], Iterable[Message]]) -> None:
        self._send = send
        self._does = does

    def frame_received(self, peer: Contact, frame: bytes) -> None:
        message = decode(frame[1:]) if frame[:1] == bytes([RELAY_FRAME]) else None
        if isinstance(message, Carry):
            for each in self._does(Carried(peer.id, message.payload)):
                self._send(int(message.target), relay_frame(each))

    def peer_found(self, peer: Contact) -> None:
        pass

    def peer_lost(self, peer: NodeId) -> None:
        pass
