"""
Nodes that have nothing but notice boards, on an imaginary network.
"""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import cast

from twisted.internet.defer import Deferred

from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate
from post.ids import Contact, Id, NodeId
from post.notices.board import Board
from post.notices.messages import Posted
from post.rpc import Rpc
from post.sim.clock import SimClock
from post.sim.network import SimNetwork, even_delay
from post.wire import Message


class Place:
    """
    One node.
    """

    def __init__(self, network: SimNetwork, clock: SimClock, number: int) -> None:
        self.address = f"host{number}:1"
        self.contact = Contact(NodeId(Id(number << 100)), (self.address,), 1)
        self.complaints = Complaints(clock)
        # Nobody looks at certificates here.
        transport = network.transport(self.contact, cast(NodeCertificate, None))
        self.rpc = Rpc(transport, clock, self.complaints)
        self.board = Board(self.rpc, clock, self.complaints)

    def tell(self, other: Place, message: Message) -> None:
        """
        Say something to another, as a node that goes by no rule could.
        """
        self.rpc.tell(other.contact, message)

    def claim(self, other: Place, kind: int, serial: int) -> None:
        """
        Say that there is a notice here.
        """
        self.tell(other, Posted(kind, serial))


class Places:
    """
    Some of them, each linked with the next.
    """

    def __init__(self, count: int) -> None:
        self.clock = SimClock()
        self.network = SimNetwork(self.clock, Random(1), even_delay(0.01))
        self.all = [Place(self.network, self.clock, number + 1) for number in range(count)]
        for place in self.all:
            place.rpc.start()

    def link(self, *places: Place) -> None:
        """
        Make a link between each two that follow one another.
        """
        for one, other in pairwise(places):
            made: Deferred[Contact] = one.rpc.transport.introduce(other.address)
            made.addErrback(lambda failure: failure)
        self.clock.advance(0.1)

    def stop(self) -> None:
        """
        Switch all off.
        """
        for place in self.all:
            place.board.stop()
            place.rpc.stop()
