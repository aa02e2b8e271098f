"""
L{post.interfaces.ITransport} that also reaches nodes by way of others: between L{post.rpc} and the links below.

As long as everybody is reached directly it only passes on what it is given, and sends nothing of its own.  When it is
told of relays that reach a node which we do not (L{RelayTransport.open}; L{post.pastry.indirect} finds them), it hails
that node through one of them, and from then on frames for it go that way, sealed from end to end.  Whoever is hailed
answers the same way, and dials in its turn: often only one of the two directions fails (a firewall, a router that
translates addresses), and then the link is there a moment later.  The direct way is tried again now and then; as soon
as it works it is used.

To the receiver a way around is a link like others: found when it is there, lost when it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate
from post.errors import PeerError
from post.ids import Contact, NodeId
from post.interfaces import Entropy, IReceiver, ITransport
from post.relay.carrier import Carrier, relay_frame
from post.relay.detour import KNOCK_MOST_S, Detour, named
from post.relay.messages import RELAY_FRAME, Carried, Carry, Hail, Knock, NoWay, Sealed, Stale
from post.relay.proof import Proof
from post.relay.session import Hailing, Heard
from post.relay.sources import Source, Sources
from post.tasks import Tasks, sleep
from post.wire import FRAME_LIMIT, Message, Priority, decode, encode

HAIL_S = 1.5
"""For a greeting to be answered; a link that the relay has to make first takes most of it."""
TEND_S = 5.0
"""Between two looks at all ways around, while there are any."""
IDLE_S = 600.0
"""A way around that carried nothing for so long is forgotten, as an idle link is closed."""
RENEW_S = 3600.0
"""Keys are agreed anew, and certificates looked at again, after so long."""
DETOURS_LIMIT = 1024
"""Ways around known at once (as links are); for one more, the least recently used is forgotten."""


@implementer(ITransport, IReceiver)
class RelayTransport:
    """
    Wraps another transport.

    @ivar resolve: the contact of a node, if it is known and may be reached; for what others want carried.
    """

    log = Logger()

    __slots__ = (
        "_carrier",
        "_clock",
        "_complaints",
        "_detours",
        "_entropy",
        "_inner",
        "_proof",
        "_random",
        "_receiver",
        "_sources",
        "_tasks",
        "_tending",
        "resolve",
    )

    _receiver: IReceiver

    def __init__(
        self,
        inner: ITransport,
        clock: IReactorTime,
        random: Random,
        entropy: Entropy,
        complaints: Complaints,
        proof: Proof,
    ) -> None:
        self.resolve: Callable[[NodeId], Contact | None] = lambda node: None
        self._inner = inner
        self._clock = clock
        self._random = random
        self._entropy = entropy
        self._complaints = complaints
        self._proof = proof
        self._detours: dict[NodeId, Detour] = {}
        self._sources = Sources(clock)
        # Most nodes never need any of this, and there are a hundred thousand of them in one process.
        self._carrier: Carrier | None = None
        self._tasks: Tasks | None = None
        self._tending: IDelayedCall | None = None

    @property
    def carrier(self) -> Carrier:
        """
        What we carry for others.
        """
        if self._carrier is None:
            self._carrier = Carrier(self._inner, self._clock, self._complaints, self._way)
        return self._carrier

    # ITransport.

    @property
    def local(self) -> Contact:
        """
        Our own contact.
        """
        return self._inner.local

    def start(self, receiver: IReceiver) -> None:
        self._receiver = receiver
        self._inner.start(self)

    def stop(self) -> Deferred[None]:
        if self._tasks is not None:
            self._tasks.stop()
        if self._tending is not None:
            self._tending.cancel()
            self._tending = None
        self._detours.clear()
        return self._inner.stop()

    def introduce(self, address: str) -> Deferred[Contact]:
        return self._inner.introduce(address)

    def send(self, peer: Contact, frame: bytes, priority: Priority) -> bool:
        if self._detours and (detour := self._active(peer.id)) is not None:
            return self._send_around(detour, frame, priority)
        return self._inner.send(peer, frame, priority)

    def writable(self, peer: NodeId) -> Deferred[None]:
        detour = self._active(peer)
        if detour is None or not detour.relays:
            return self._inner.writable(peer)
        relay = detour.relays[0].id
        wait_s = self._sources.of(relay).pace.wait_s(FRAME_LIMIT, self._clock.seconds())
        if not wait_s:
            return self._inner.writable(relay)
        return Deferred.fromCoroutine(self._wait_for(relay, wait_s))

    def round_trip_s(self, peer: NodeId) -> float | None:
        detour = self._active(peer)
        return self._inner.round_trip_s(peer) if detour is None else detour.round_trip_s

    def silent_s(self, peer: NodeId) -> float | None:
        detour = self._active(peer)
        return self._inner.silent_s(peer) if detour is None else self._clock.seconds() - detour.heard_at

    def certificate(self, peer: NodeId) -> NodeCertificate | None:
        found = self._inner.certificate(peer)
        if found is None and peer in self._detours:
            found = self._detours[peer].certificate
        return found

    def linked(self, peer: NodeId) -> Contact | None:
        detour = self._active(peer)
        return self._inner.linked(peer) if detour is None else detour.contact

    def links(self) -> Sequence[Contact]:
        return self._inner.links()

    def recheck(self) -> None:
        self._inner.recheck()
        for detour in list(self._detours.values()):
            self._recheck(detour)

    async def _wait_for(self, relay: NodeId, wait_s: float) -> None:
        await sleep(self._clock, wait_s)
        await self._inner.writable(relay)

    # Ways around.

    def indirect(self) -> list[Contact]:
        """
        Who is reached by way of others now.
        """
        return [detour.contact for detour in self._detours.values() if detour.active]

    def is_indirect(self, node: NodeId) -> bool:
        """
        Whether C{node} is.
        """
        return self._active(node) is not None

    async def open(self, contact: Contact, relays: Sequence[Contact]) -> bool:
        """
        Find out which of C{relays} really reaches C{contact}, one after the other; from then on frames for it go that
        way.

        @return: whether one does.
        """
        for relay in relays:
            if await self._hail(self._detour(contact), relay):
                return True
        return False

    def doubt(self, node: NodeId) -> None:
        """
        Something that we sent to C{node} was not answered.
        """
        if (detour := self._active(node)) is not None:
            detour.rotate()

    def forgo(self, node: NodeId, relay: NodeId | None = None) -> None:
        """
        By C{relay} nothing gets to C{node}, whatever it says; by none of all, if none is named.  That is no loss: it is
        the receiver who says so.
        """
        detour = self._detours.get(node)
        if detour is not None:
            detour.relays = [each for each in detour.relays if relay is not None and each.id != relay]
            detour.active = detour.active and bool(detour.relays)

    def _active(self, node: NodeId) -> Detour | None:
        detour = self._detours.get(node)
        return detour if detour is not None and detour.active else None

    def _detour(self, contact: Contact) -> Detour:
        detour = self._detours.get(contact.id)
        if detour is None:
            if len(self._detours) >= DETOURS_LIMIT:
                self._forget(min(self._detours.values(), key=lambda each: each.used_at))
            detour = self._detours[contact.id] = Detour(contact, self._clock.seconds())
            if self._tending is None:
                self._tending = self._clock.callLater(TEND_S, self._tend)
        return detour

    def _forget(self, detour: Detour) -> None:
        del self._detours[detour.contact.id]
        detour.settle(False)
        if detour.active:
            detour.active = False
            self._receiver.peer_lost(detour.contact.id)

    def _activate(self, detour: Detour, relay: Contact) -> None:
        now = self._clock.seconds()
        detour.prefer(relay)
        detour.used_at = detour.heard_at = now
        if not detour.active:
            detour.active = True
            self.log.info("{peer} is reached by way of {relays}", peer=detour.contact, relays=named(detour.relays))
            self._receiver.peer_found(detour.contact)

    def _straight(self, node: NodeId) -> None:
        """
        The direct way works.
        """
        detour = self._detours.get(node)
        if detour is not None and detour.active:
            detour.active = False  # What is still on its way around is to arrive.
            detour.relays = []
            self.log.info("{peer} is reached directly", peer=detour.contact)

    def _without(self, detour: Detour, relay: NodeId) -> None:
        detour.forgo(relay)
        if detour.active and not detour.relays:
            detour.active = False
            self._receiver.peer_lost(detour.contact.id)

    # Sending.

    def _send_around(self, detour: Detour, frame: bytes, priority: Priority) -> bool:
        if not detour.relays or detour.current is None:
            return False
        detour.used_at = self._clock.seconds()
        return self._say(detour.relays[0], detour.contact.id, detour.current.seal(frame), priority)

    def _say(self, relay: Contact, target: NodeId, message: Message, priority: Priority = Priority.URGENT) -> bool:
        payload = encode(message)
        self._sources.of(relay.id).pace.use(len(payload), self._clock.seconds())
        return self._inner.send(relay, relay_frame(Carry(target, payload, priority)), priority)

    async def _hail(self, detour: Detour, relay: Contact) -> bool:
        if detour.hailing is not None:
            return False
        now = detour.hailed_at = self._clock.seconds()
        detour.hailed_by = relay.id
        hailing = detour.hailing = Hailing(self._proof, self._entropy, self.local, detour.contact.id)
        answered: Deferred[bool] = Deferred()
        detour.answered = answered
        try:
            if not self._say(relay, detour.contact.id, hailing.message):
                return False
            if await answered.addTimeout(HAIL_S, self._clock):
                detour.round_trip_s = self._clock.seconds() - now
                return True
            return False
        except TimeoutError:
            return False
        finally:
            if detour.hailing is hailing:
                detour.hailing = detour.answered = None

    def _hail_again(self, detour: Detour) -> None:
        if self._tasks is None:
            self._tasks = Tasks()
        self._tasks.spawn(self.open(detour.contact, list(detour.relays)))

    def _knock(self, detour: Detour) -> None:
        now = detour.knocked_at = self._clock.seconds()
        detour.knock_wait_s = min(2 * detour.knock_wait_s, KNOCK_MOST_S)
        detour.knock_at = now + detour.knock_wait_s * self._random.uniform(0.8, 1.2)
        self._inner.send(detour.contact, relay_frame(Knock()), Priority.URGENT)

    def _tend(self) -> None:
        self._tending = None
        now = self._clock.seconds()
        for detour in list(self._detours.values()):
            if now - detour.used_at > IDLE_S:
                detour.active = False  # No loss: nothing was under way.
                self._forget(detour)
            elif detour.active and now >= detour.knock_at:
                self._knock(detour)
            elif detour.active and detour.current is not None and now - detour.current.began_at > RENEW_S:
                self._recheck(detour)
                if now - detour.hailed_at > RENEW_S / 10:
                    self._hail_again(detour)
        if self._detours:
            self._tending = self._clock.callLater(TEND_S, self._tend)

    def _recheck(self, detour: Detour) -> None:
        if detour.certificate is None:
            return
        try:
            self._proof.believe(detour.chain)
        except PeerError as error:
            self._complaints.note(detour.contact, "certificate no longer valid", error)
            self._forget(detour)

    # IReceiver.

    def peer_found(self, peer: Contact) -> None:
        if self._detours:
            self._straight(peer.id)
        self._receiver.peer_found(peer)

    def peer_lost(self, node: NodeId) -> None:
        if self._carrier is not None:
            self._carrier.lost(node)
        for detour in list(self._detours.values()) if self._detours else ():
            if any(relay.id == node for relay in detour.relays):
                self._without(detour, node)
        if self._active(node) is None:
            self._receiver.peer_lost(node)

    def frame_received(self, peer: Contact, frame: bytes) -> None:
        if not frame or frame[0] != RELAY_FRAME:
            self._receiver.frame_received(peer, frame)
            return
        try:
            self._heard(peer, decode(frame[1:]))
        except PeerError as error:
            self._complaints.note(peer, "broken relaying", error)

    def _heard(self, peer: Contact, message: Message) -> None:
        match message:
            case Carry():
                self.carrier.carry(peer, message)
            case Carried():
                self._brought(peer, message)
            case NoWay():
                self._no_way(peer, message)
            case Knock():
                self._knocked(peer, message)
            case _:
                raise PeerError(f"{type(message).__name__} out of turn")

    def _way(self, node: NodeId) -> Contact | None:
        return None if node == self.local.id or self._active(node) is not None else self.resolve(node)

    def _no_way(self, relay: Contact, message: NoWay) -> None:
        detour = self._detours.get(message.target)
        if detour is None or message.busy:
            return  # What is too much is lost, as it would be in a full queue.
        if detour.hailed_by == relay.id:
            detour.settle(False)
        self._without(detour, relay.id)

    def _knocked(self, peer: Contact, knock: Knock) -> None:
        if not knock.answer:
            self._inner.send(peer, relay_frame(Knock(answer=True)), Priority.URGENT)
        detour = self._active(peer.id)
        if detour is None:
            return
        now = self._clock.seconds()
        if knock.answer and detour.knocked_at is not None:
            self._straight(peer.id)
        elif not knock.answer and (detour.knocked_at is None or now - detour.knocked_at > 1):
            self._knock(detour)

    # What relays bring.

    def _brought(self, relay: Contact, carried: Carried) -> None:
        source, now = self._sources.of(relay.id), self._clock.seconds()
        if source.bad.wait_s(1, now):
            return  # It has brought too much that was altered.
        try:
            message = decode(carried.payload)
            match message:
                case Hail():
                    if source.hails.take(1, now):
                        self._hailed(relay, carried.origin, message)
                case Sealed():
                    self._open(relay, carried.origin, message, source)
                case Stale():
                    self._stale(carried.origin, message)
                case _:
                    raise PeerError(f"{type(message).__name__} is nothing to be carried")
        except PeerError:
            source.bad.use(1, now)
            raise

    def _hailed(self, relay: Contact, origin: NodeId, hail: Hail) -> None:
        heard = Heard(self._proof, hail, origin, self.local.id)
        now = self._clock.seconds()
        if heard.greeting.answers:
            detour = self._detours.get(origin)
            if detour is None or detour.hailing is None or heard.greeting.answers != detour.hailing.digest:
                return  # To a greeting that we have given up.
            detour.establish(detour.hailing.agree(heard, True, now), heard)
            self._activate(detour, relay)
            detour.settle(True)
            return
        known = self.resolve(origin)
        if known is not None and heard.greeting.origin.epoch < known.epoch:
            return  # Of an earlier life.
        answer = Hailing(self._proof, self._entropy, self.local, origin, heard.digest)
        session = answer.agree(heard, False, now)
        self._detour(heard.greeting.origin).offer(session, heard)
        self._say(relay, origin, answer.message)

    def _open(self, relay: Contact, origin: NodeId, sealed: Sealed, source: Source) -> None:
        now = self._clock.seconds()
        detour = self._detours.get(origin)
        session = detour.session(sealed.session) if detour is not None else None
        if detour is None or session is None:
            if source.hails.take(1, now):
                self._say(relay, origin, Stale(sealed.session))
            return
        frame = session.open(sealed)
        if frame is None:
            self._complaints.note(relay, "relayed frame repeated")
            return
        detour.used_at = detour.heard_at = now
        heard = detour.offered(sealed.session)
        if heard is not None:
            # Whoever hails us could not reach us; perhaps we reach it.
            detour.establish(session, heard)
            self._activate(detour, relay)
            self._knock(detour)
        elif detour.active:
            detour.prefer(relay)
        self._receiver.frame_received(detour.contact, frame)

    def _stale(self, origin: NodeId, stale: Stale) -> None:
        detour = self._active(origin)
        if detour is None or detour.current is None or detour.current.id != stale.session:
            return
        # A relay could say so of itself: hail again, but not on each word.
        if self._clock.seconds() - detour.hailed_at > HAIL_S:
            self._hail_again(detour)
