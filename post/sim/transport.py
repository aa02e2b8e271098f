"""
One node's end of the imaginary network: L{post.interfaces.ITransport} without sockets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from post.crypto.certificates import NodeCertificate
from post.crypto.trust import Trust
from post.errors import Unreachable
from post.ids import Contact, NodeId
from post.interfaces import IReceiver, ITransport
from post.wire import FRAME_LIMIT, Priority

if TYPE_CHECKING:
    from post.sim.network import SimNetwork

WAITING_LIMIT = 10_000
"""Frames that wait for one link to be made; more are dropped."""
BACKOFF_FIRST_S = 0.5
BACKOFF_MOST_S = 30.0
"""After a failed attempt to link there is no other for this long, doubling (as L{post.net.config})."""


class _Dial:
    """
    An attempt to link, what waits to be sent, and who waits to be introduced.
    """

    __slots__ = ("epoch", "frames", "introductions")

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self.frames: list[bytes] = []
        self.introductions: list[Deferred[Contact]] = []


class SimLink:
    """
    Our end of the link with C{peer}.

    @ivar delay_s: what a frame takes to get there.
    @ivar due_s: when the last frame that went arrives; none may overtake it.
    @ivar heard_at: when the last one came.
    """

    __slots__ = ("delay_s", "due_s", "heard_at", "peer")

    def __init__(self, peer: SimTransport, delay_s: float, now: float) -> None:
        self.peer = peer
        self.delay_s = delay_s
        self.due_s = self.heard_at = now


@implementer(ITransport)
class SimTransport:
    """
    Made by L{post.sim.network.SimNetwork.transport}; one for each life of a node.

    @ivar up: started, and neither stopped nor crashed.
    @ivar peers: our links.
    """

    __slots__ = (
        "_backoff",
        "_certificate",
        "_certificates",
        "_dials",
        "_network",
        "_receiver",
        "_trust",
        "local",
        "peers",
        "up",
    )

    def __init__(
        self, network: SimNetwork, local: Contact, certificate: NodeCertificate | None, trust: bytes = b""
    ) -> None:
        """
        @param trust: the root, which may know of certificates that have been revoked.
        """
        self.local = local
        self._trust = trust
        self.up = False
        self.peers: dict[NodeId, SimLink] = {}
        self._network = network
        self._certificate = certificate
        self._receiver: IReceiver | None = None
        self._dials: dict[NodeId, _Dial] = {}
        self._backoff: dict[NodeId, tuple[float, float, int]] = {}  # Until when, how long next, for which epoch.
        self._certificates: dict[NodeId, NodeCertificate] = {}

    # ITransport.

    def start(self, receiver: IReceiver) -> None:
        self._receiver = receiver
        self.up = True
        self._network.listen(self)

    def stop(self) -> Deferred[None]:
        if self.up:
            self._network.leave(self)
        return succeed(None)

    def introduce(self, address: str) -> Deferred[Contact]:
        if not self.up:
            return fail(Unreachable("not started"))
        return self._network.introduce(self, address)

    def send(self, peer: Contact, frame: bytes, priority: Priority) -> bool:
        if len(frame) > FRAME_LIMIT:
            raise ValueError(f"a frame of {len(frame)} bytes")
        link = self.peers.get(peer.id)
        if link is not None and self.up:
            self._network.carry(self, link, frame)
            return True
        if not self.up or peer.id == self.local.id or not peer.addresses:
            return False
        dial = self._dials.get(peer.id)
        if dial is None:
            if not self._may_dial(peer):
                return False
            dial = self._dial(peer.id, peer.epoch)
        if len(dial.frames) >= WAITING_LIMIT:
            return False
        dial.frames.append(frame)
        return True

    def writable(self, peer: NodeId) -> Deferred[None]:
        return succeed(None)

    def round_trip_s(self, peer: NodeId) -> float | None:
        link = self.peers.get(peer)
        if link is None:
            return None
        back = link.peer.peers.get(self.local.id)
        return link.delay_s + back.delay_s if back is not None else self._network.round_trip_s(self.local.id, peer)

    def silent_s(self, peer: NodeId) -> float | None:
        link = self.peers.get(peer)
        return None if link is None else self._network.clock.seconds() - link.heard_at

    def certificate(self, peer: NodeId) -> NodeCertificate | None:
        return self._certificate if peer == self.local.id else self._certificates.get(peer)

    def linked(self, peer: NodeId) -> Contact | None:
        link = self.peers.get(peer)
        return None if link is None else link.peer.local

    def links(self) -> Sequence[Contact]:
        return [link.peer.local for link in self.peers.values()]

    def recheck(self) -> None:
        for link in list(self.peers.values()):
            if not self.believes(link.peer):
                self._network.cut(self, link.peer)

    def believes(self, other: SimTransport) -> bool:
        """
        Whether we link with C{other}.
        """
        certificate, trust = other._certificate, self._trust
        return certificate is None or not isinstance(trust, Trust) or trust.taken(certificate.public_key) is None

    # What the network does to us.

    def meet(self, target: NodeId) -> Deferred[Contact]:
        """
        Fires with the contact of C{target} when we are linked.
        """
        link = self.peers.get(target)
        if link is not None:
            return succeed(link.peer.local)
        dial = self._dials.get(target) or self._dial(target, 0)
        waiting: Deferred[Contact] = Deferred()
        dial.introductions.append(waiting)
        return waiting

    def link_made(self, other: SimTransport) -> None:
        """
        A link with C{other} is there.
        """
        assert self._receiver is not None
        peer = other.local
        link = self.peers.get(peer.id)
        if link is None or link.peer is not other:
            if link is not None:
                self.lose(link.peer)
            link = self.peers[peer.id] = self._network.link(self, other)
            if other._certificate is not None:
                self._certificates[peer.id] = other._certificate
            self._receiver.peer_found(peer)
        self._backoff.pop(peer.id, None)
        dial = self._dials.pop(peer.id, None)
        if dial is not None:
            for frame in dial.frames:
                self._network.carry(self, link, frame)
            for waiting in dial.introductions:
                waiting.callback(peer)

    def unreached(self, target: NodeId) -> None:
        """
        An attempt to link has failed.
        """
        dial = self._dials.pop(target, None)
        if dial is None or self._receiver is None:
            return
        self._back_off(target, dial.epoch)
        for waiting in dial.introductions:
            waiting.errback(Unreachable(f"no way to {target}"))
        self._receiver.peer_lost(target)

    def lose(self, other: SimTransport) -> None:
        """
        The link with C{other}, if it is still that one, has broken.
        """
        if self.is_linked(other) and self._receiver is not None:
            del self.peers[other.local.id]
            self._receiver.peer_lost(other.local.id)

    def receive(self, source: SimTransport, frame: bytes) -> None:
        """
        A frame has arrived.
        """
        assert self._receiver is not None
        self._receiver.frame_received(source.local, frame)

    def is_linked(self, other: SimTransport) -> bool:
        """
        Whether we have a link with C{other}, and not with another life of the same node.
        """
        link = self.peers.get(other.local.id)
        return link is not None and link.peer is other

    def die(self) -> list[SimTransport]:
        """
        Be no more.

        @return: with whom we were linked.
        """
        self.up = False
        self._receiver = None
        peers = [link.peer for link in self.peers.values()]
        self.peers = {}
        self._dials = {}
        return peers

    # How.

    def _dial(self, target: NodeId, epoch: int) -> _Dial:
        dial = self._dials[target] = _Dial(epoch)
        self._network.dial(self, target)
        return dial

    def _may_dial(self, peer: Contact) -> bool:
        until_s, _, epoch = self._backoff.get(peer.id, (0.0, 0.0, 0))
        return self._network.clock.seconds() >= until_s or peer.epoch > epoch

    def _back_off(self, target: NodeId, epoch: int) -> None:
        _, wait_s, _ = self._backoff.get(target, (0.0, BACKOFF_FIRST_S, 0))
        self._backoff[target] = (self._network.clock.seconds() + wait_s, min(2 * wait_s, BACKOFF_MOST_S), epoch)
