"""
Which link leads to which peer: taking up and giving up links, what waits to be sent, and dialling.

A peer is dialled when there is something to send to it and no link.  If it cannot be reached, what waits is dropped and
the receiver told; the next send after the backoff tries again.  Nothing here tries of its own accord: who wants a peer
back goes on sending to it.

The receiver is told that a peer is lost whenever frames may have been lost, and found when a link is up.  A link that
both ends closed in order because it was idle, or one of two, is no loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate
from post.errors import Unreachable
from post.ids import Address, Contact, NodeId
from post.interfaces import IReceiver
from post.net.config import LinkConfig
from post.net.dial import Connect, Dialler
from post.net.introduce import Introductions
from post.net.link import Link, Stage
from post.net.messages import Hello, Reason
from post.net.owner import AlreadyLinked, ILinkOwner
from post.net.peers import PEERS_LIMIT, Claim, Peer, Peers, Verdict, judge
from post.net.queue import Budget
from post.wire import FRAME_LIMIT, Priority

Identify = Callable[[Sequence[bytes]], NodeCertificate]


@implementer(ILinkOwner)
class Switchboard:
    """
    The peers of a node and the links to them.

    @ivar receiver: whoever is told what happens; C{None} before the start and after the end.
    @ivar connections: every connection there is, also those that are not, or no longer, a link to anybody.
    """

    log = Logger()

    def __init__(
        self,
        local: Contact,
        clock: IReactorTime,
        random: Random,
        complaints: Complaints,
        config: LinkConfig,
        identify: Identify,
        connect: Connect,
    ) -> None:
        self.local = local
        self.clock = clock
        self.complaints = complaints
        self.config = config
        self.receiver: IReceiver | None = None
        self.connections: set[Link] = set()
        self.linked: dict[NodeId, Link] = {}
        self.certificates: dict[NodeId, NodeCertificate] = {}
        self.emptied: Deferred[None] | None = None
        self._random = random
        self._identify = identify
        self._peers = Peers()
        self._dialler = Dialler(clock, config, connect, self._unreached)
        self._introductions = Introductions(connect, self._peers)
        self._budget = Budget(config.queues_bytes)
        self._dirty: list[Link] = []
        self._flushing: IDelayedCall | None = None

    # Sending.

    def send(self, contact: Contact, frame: bytes, priority: Priority) -> bool:
        """
        See L{post.interfaces.ITransport.send}.
        """
        if len(frame) > FRAME_LIMIT:
            raise ValueError(f"a frame of {len(frame)} bytes")
        peer = self._peers.get(contact.id)
        link = peer.link if peer is not None else None
        if peer is None or link is None:
            return self._send_unlinked(contact, frame, priority)
        if link.queue is None or not link.queue.put(frame, priority):
            return False
        if not link.scheduled and link.ready:
            self.wake(link)
        return True

    def _send_unlinked(self, contact: Contact, frame: bytes, priority: Priority) -> bool:
        if self.receiver is None or contact.id == self.local.id:
            return False
        peer = self._peers.known(contact.id)
        waiting = peer.dialling or peer.pending
        if not waiting and not self._dialler.may_dial(peer, contact):
            return False
        if not peer.queue_for(self.config, self._budget).put(frame, priority):
            return False
        if not waiting:
            self._dialler.dial(peer, contact)
        return True

    def writable(self, peer: NodeId) -> Deferred[None]:
        """
        See L{post.interfaces.ITransport.writable}.
        """
        known = self._peers.get(peer)
        return succeed(None) if known is None else known.writable(self.config.bulk_low_bytes)

    def wake(self, link: Link) -> None:
        link.scheduled = True
        self._dirty.append(link)
        if self._flushing is None:
            self._flushing = self.clock.callLater(0, self._flush)

    def _flush(self) -> None:
        """
        Write what was sent in this turn of the reactor: one batch per link, however many frames.
        """
        self._flushing = None
        dirty, self._dirty = self._dirty, []
        for link in dirty:
            link.scheduled = False
            link.flush()
            self.drained(link)

    def drained(self, link: Link) -> None:
        peer = self._peers.get(link.peer.id)
        if peer is not None and peer.writers and peer.link is link:
            peer.refill(self.config.bulk_low_bytes)

    # What links tell.

    def opened(self, link: Link) -> None:
        self.connections.add(link)
        if self.receiver is None:
            link.abort()

    def closed(self, link: Link) -> None:
        self.connections.discard(link)
        emptied = self.emptied
        if emptied is not None and not self.connections:
            self.emptied = None
            emptied.callback(None)

    def identify(self, chain: Sequence[bytes]) -> NodeCertificate:
        return self._identify(chain)

    def hello(self, link: Link) -> Hello:
        config = self.config
        return Hello(config.lowest, config.highest, config.features, self.local, link.expects)

    def admit(self, link: Link) -> int:
        peer = self._peers.known(link.peer.id)
        if link.dialled:
            current = peer.link
            if peer.pending is not None or (
                current is not None and current.stage is Stage.UP and current.peer.epoch >= link.peer.epoch
            ):
                raise AlreadyLinked(peer.id)
            peer.pending = link
        return peer.lost

    def received(self, link: Link, frame: bytes) -> None:
        if self.receiver is not None:
            self.receiver.frame_received(link.peer, frame)

    def up(self, link: Link) -> None:
        peer = self._peers.known(link.peer.id)
        if peer.pending is link:
            peer.pending = None
        if self.receiver is None:
            link.leave(Reason.STOPPING)
            return
        _remember(self.certificates, peer.id, link.certificate)
        match self._verdict(peer.link, link):
            case Verdict.REFUSE:
                link.abort()
            case Verdict.KEEP:
                link.leave(Reason.DUPLICATE)
            case Verdict.SWITCH:
                self._retire(peer)
                self._take(peer, link)
            case Verdict.REPLACE:
                self._cut(peer)
                self._adopt(peer, link)

    def _verdict(self, old: Link | None, new: Link) -> Verdict:
        if old is None or old.stage is Stage.GONE:
            return Verdict.REPLACE
        if old.stage is Stage.LEAVING:
            return Verdict.SWITCH
        return judge(Claim.of(old), Claim.of(new))

    def ended(self, link: Link) -> None:
        peer = self._peers.get(link.peer.id) if link.known else None
        if peer is None:
            return
        if link.pulse.round_trip_s is not None:
            peer.round_trip_s = link.pulse.round_trip_s
        if peer.pending is link:
            peer.pending = None
            if peer.link is None and peer.dialling is None:
                self._unreached(peer, link.peer)
        elif link is peer.link:
            self._parted(peer, link)
        elif link in peer.predecessors:
            peer.predecessors.discard(link)
            self._release(peer, link.clean)
        elif link.leaving and not link.clean:
            self._release(peer, False)

    # Taking up and giving up links.

    def _adopt(self, peer: Peer, link: Link) -> None:
        self._take(peer, link)
        self._tell_found(link.peer)

    def _take(self, peer: Peer, link: Link) -> None:
        """
        Send over C{link} from now on.
        """
        peer.link = link
        self._peers.renew(peer)
        self.linked[peer.id] = link
        link.queue = peer.queue_for(self.config, self._budget)
        link.held = bool(peer.predecessors)
        link.pulse.round_trip_s = peer.round_trip_s
        dialling, peer.dialling = peer.dialling, None
        if dialling is not None:
            dialling.cancel()
        peer.introduced(link.peer)
        if link.queue and not link.scheduled:
            self.wake(link)
        if len(self.linked) > self.config.link_limit:
            self._make_room(link)

    def _make_room(self, newest: Link) -> None:
        idle = [each for each in self.linked.values() if each is not newest and each.ready and not each.queue]
        if idle:
            min(idle, key=lambda each: each.used_at).leave(Reason.IDLE)

    def _retire(self, peer: Peer) -> None:
        """
        Let the link end in order; the next one waits for that.
        """
        link = self._unlink(peer)
        if link is not None:
            peer.predecessors.add(link)
            link.leave(Reason.DUPLICATE)

    def _cut(self, peer: Peer) -> None:
        """
        Cut the link, if there is one: it leads nowhere.
        """
        link = self._unlink(peer)
        if link is not None:
            link.abort()
            self._lost(peer)

    def _parted(self, peer: Peer, link: Link) -> None:
        """
        The link has ended by itself or by the peer.
        """
        self._unlink(peer)
        now = self.clock.seconds()
        if not link.clean or link.heard_bye == Reason.STOPPING:
            if now - link.up_at < self.config.steady_s:
                peer.backoff.failed(link.peer, now, self._random, self.config)
            else:
                peer.backoff.reset()
            self._lost(peer)
            return
        peer.backoff.reset()
        if not peer.queue:
            peer.drop_queue()
        elif self.receiver is not None and not peer.pending:
            self._dialler.dial(peer, link.peer)

    def _unlink(self, peer: Peer) -> Link | None:
        link, peer.link = peer.link, None
        if link is not None:
            link.queue = None
            self.linked.pop(peer.id, None)
        return link

    def _release(self, peer: Peer, clean: bool) -> None:
        """
        Another link to C{peer} than the one in use has ended; that one may go on.
        """
        link = peer.link
        if not clean:
            peer.lost += 1
            if peer.queue is not None:
                peer.queue.clear()
                peer.refill(self.config.bulk_low_bytes)
            self._tell_lost(peer.id)
            if link is not None:
                self._tell_found(link.peer)
        if link is not None:
            link.held = bool(peer.predecessors)
            if not link.scheduled:
                self.wake(link)

    def _tell_found(self, contact: Contact) -> None:
        self.log.debug("linked with {peer}", peer=contact)
        if self.receiver is not None:
            try:
                self.receiver.peer_found(contact)
            except Exception:
                self.log.failure("a receiver failed on finding {peer}", peer=contact)

    def _tell_lost(self, node_id: NodeId) -> None:
        self.log.debug("lost {peer}", peer=node_id)
        if self.receiver is not None:
            try:
                self.receiver.peer_lost(node_id)
            except Exception:
                self.log.failure("a receiver failed on losing {peer}", peer=node_id)

    def _lost(self, peer: Peer) -> None:
        peer.lost += 1
        peer.drop_queue()
        self._tell_lost(peer.id)

    # Peers that cannot be reached, and peers of which only an address is known.

    def _unreached(self, peer: Peer, contact: Contact) -> None:
        peer.backoff.failed(contact, self.clock.seconds(), self._random, self.config)
        peer.drop_queue()
        peer.introduced(None)
        self._tell_lost(peer.id)

    def introduce(self, address: Address) -> Deferred[Contact]:
        """
        See L{post.interfaces.ITransport.introduce}.
        """
        return fail(Unreachable("not serving")) if self.receiver is None else self._introductions.introduce(address)

    def round_trip_s(self, peer: NodeId) -> float | None:
        """
        See L{post.interfaces.ITransport.round_trip_s}.
        """
        if peer in self.linked:
            return self.linked[peer].pulse.round_trip_s
        return self._peers[peer].round_trip_s if peer in self._peers else None

    # The end.

    def tend(self) -> None:
        """
        Look after every link.
        """
        now = self.clock.seconds()
        for link in list(self.linked.values()):
            link.tend(now)

    def stop(self) -> Deferred[None]:
        """
        End every link in order; fires when every connection is gone.  The receiver hears nothing more.
        """
        self.receiver = None
        self._introductions.stop()
        for peer in self._peers.values():
            if peer.dialling is not None:
                peer.dialling.cancel()
        for link in list(self.connections):
            link.flush()
            link.leave(Reason.STOPPING)
        for peer in self._peers.values():
            peer.drop_queue()
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if not self.connections:
            return succeed(None)
        self.emptied = Deferred()
        return self.emptied


def _remember(certificates: dict[NodeId, NodeCertificate], node_id: NodeId, certificate: NodeCertificate) -> None:
    certificates.pop(node_id, None)
    if len(certificates) >= PEERS_LIMIT:
        del certificates[next(iter(certificates))]
    certificates[node_id] = certificate
