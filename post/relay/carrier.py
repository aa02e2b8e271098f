"""
Carrying frames for others who do not reach one another.

Whoever has a link with us is a certified member, and may have so much carried to whom we reach ourselves.  What it is
we neither can read nor need to: the two have proven themselves to each other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime

from post.complaints import Complaints
from post.ids import Contact, NodeId
from post.interfaces import ITransport
from post.relay.allowance import Allowance
from post.relay.messages import RELAY_FRAME, Carried, Carry, NoWay
from post.wire import Message, Priority, encode

_T = TypeVar("_T")

RATE_BYTES = 512 * 1024
"""Carried for one peer in a second.  Mail is a few blocks of 256 KiB; a home line uploads about as much."""
BURST_BYTES = 2 * 1024 * 1024
"""At once after a pause: eight blocks."""
RATE_FRAMES = 200
"""Frames carried for one peer in a second; a busy node sends a tenth of that to another one."""
BURST_FRAMES = 1000
TOTAL_RATE_BYTES = 2 * 1024 * 1024
"""For all together: our own traffic goes first."""
TOTAL_BURST_BYTES = 8 * 1024 * 1024
PEERS_LIMIT = 256
"""Peers whose use is remembered; beyond that the one that came longest ago is forgotten, and has its burst again.  More
nodes than these are hardly linked with one that they all need."""
ASKERS_LIMIT = 64
"""Who is told that a target is gone: the last ones who had something carried to it."""


def relay_frame(message: Message) -> bytes:
    """
    C{message} as a frame of a link.
    """
    return bytes([RELAY_FRAME]) + encode(message)


class _Customer:
    """
    What is carried for one peer.
    """

    __slots__ = ("frames", "size")

    def __init__(self, now: float) -> None:
        self.size = Allowance(RATE_BYTES, BURST_BYTES, now)
        self.frames = Allowance(RATE_FRAMES, BURST_FRAMES, now)


class Carrier:
    """
    Carries.

    @ivar frames: how many have been carried.
    @ivar size_bytes: how much they held.
    """

    def __init__(
        self,
        transport: ITransport,
        clock: IReactorTime,
        complaints: Complaints,
        way: Callable[[NodeId], Contact | None],
    ) -> None:
        """
        @param way: the contact of a node that we reach ourselves, or may.
        """
        self.frames = 0
        self.size_bytes = 0
        self._transport = transport
        self._clock = clock
        self._complaints = complaints
        self._way = way
        self._customers: OrderedDict[NodeId, _Customer] = OrderedDict()
        self._total = Allowance(TOTAL_RATE_BYTES, TOTAL_BURST_BYTES, clock.seconds())
        self._askers: OrderedDict[NodeId, OrderedDict[NodeId, Contact]] = OrderedDict()  # By target.

    def carry(self, peer: Contact, message: Carry) -> None:
        """
        C{peer} wants something carried.
        """
        target = self._way(message.target)
        if target is None or target.id == peer.id:
            self._answer(peer, NoWay(message.target))
            return
        size = len(message.payload)
        if not self._may(peer, size):
            self._complaints.note(peer, "too much to carry for it")
            self._answer(peer, NoWay(message.target, busy=True))
            return
        frame = relay_frame(Carried(peer.id, message.payload))
        if not self._transport.send(target, frame, Priority(message.priority)):
            self._answer(peer, NoWay(message.target))
            return
        self.frames += 1
        self.size_bytes += size
        askers = self._askers.setdefault(target.id, OrderedDict())
        askers[peer.id] = peer
        askers.move_to_end(peer.id)
        _shrink(askers, ASKERS_LIMIT)
        self._askers.move_to_end(target.id)
        _shrink(self._askers, PEERS_LIMIT)

    def lost(self, node: NodeId) -> None:
        """
        C{node} is not reached: those for whom we carried to it are to find another relay.
        """
        for asker in self._askers.pop(node, OrderedDict()).values():
            self._answer(asker, NoWay(node))

    def _may(self, peer: Contact, size: int) -> bool:
        now = self._clock.seconds()
        customer = self._customers.get(peer.id)
        if customer is None:
            customer = self._customers[peer.id] = _Customer(now)
        self._customers.move_to_end(peer.id)
        _shrink(self._customers, PEERS_LIMIT)
        return customer.frames.take(1, now) and customer.size.take(size, now) and self._total.take(size, now)

    def _answer(self, peer: Contact, message: NoWay) -> None:
        self._transport.send(peer, relay_frame(message), Priority.URGENT)


def _shrink(kept: OrderedDict[NodeId, _T], limit: int) -> None:
    while len(kept) > limit:
        kept.popitem(last=False)
