"""
One connection to another node: from TCP through TLS and HELLO/ACK to frames, and to its end.

The stages only ever rise::

    SECURING -> GREETING -> ACKNOWLEDGING -> UP -> LEAVING -> GONE

with any of them able to fall to GONE.  C{connectionMade} comes before TLS, so nothing is said or believed there.  What
the two ends say to one another is told in L{post.net.messages}; what happens when two links join the same two nodes,
in L{post.net.peers}.

Frames to be sent wait in the queue of the peer, not here: what has been handed to TLS is past recall, so as little as
the line can take is handed over, and an urgent frame overtakes all the rest.  The transport below says when
(C{IPushProducer}).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from post.crypto.certificates import NodeCertificate
from post.errors import PeerError, PostError, Unreachable
from post.ids import Contact, NodeId
from post.net.framing import FrameReader, own_frame
from post.net.messages import Ack, Agreed, Bye, Hello, Ping, Pong, Reason, agree
from post.net.owner import AlreadyLinked, ILinkOwner
from post.net.pulse import Pulse
from post.net.queue import SendQueue
from post.net.tls import negotiated, proven_chain, push, tune
from post.wire import FRAME_LIMIT, UnknownMessage, decode, encode


class Stage(IntEnum):
    """
    How far a link has come.
    """

    SECURING = 0
    """TCP and TLS; nothing is known of the peer."""
    GREETING = 1
    """The certificate is verified, our HELLO is sent."""
    ACKNOWLEDGING = 2
    """The peer's HELLO is accepted and our ACK sent: from here on it may take the link as up."""
    UP = 3
    LEAVING = 4
    """Our BYE is sent.  Frames are still received."""
    GONE = 5


@implementer(IHandshakeListener, IPushProducer)
class Link(Protocol):
    """
    One end of a connection between two nodes.

    @ivar dialled: whether this end made the connection.
    @ivar expects: the node dialled, if it is known which it must be.
    @ivar peer: who is at the other end; set, with C{certificate} and C{agreed}, when its HELLO is accepted.
    @ivar peer_lost: what the peer's L{Ack} said.
    @ivar queue: what waits to be sent; given by the owner when this becomes the link to use.
    @ivar held: the owner's word that frames must wait until an older link has ended.
    @ivar leaving: whether its orderly end has begun.
    @ivar heard_bye: why the peer ends the link, once it does.
    @ivar clean: whether the link has ended in order: nothing that was sent on it is lost.
    @ivar pulse: the pings, and the round-trip time.
    @ivar outcome: for a dialled link, fires when it is up or fails when it will not be.
    """

    log = Logger()

    peer: Contact
    certificate: NodeCertificate
    agreed: Agreed

    def __init__(self, owner: ILinkOwner, expects: NodeId | None = None, dialled: bool = False) -> None:
        self.owner = owner
        self.config = owner.config
        self.expects = expects
        self.dialled = dialled
        self.stage = Stage.SECURING
        self.known = False
        self.peer_lost = 0
        self.queue: SendQueue | None = None
        self.held = False
        self.scheduled = False
        self.outcome: Deferred[None] | None = Deferred(self._abandon) if dialled else None
        self.pulse = Pulse(self.config.ping_s)
        self.source = "?"
        self.leaving = False
        self.heard_bye: int | None = None
        self.clean = False
        self.up_at = self.heard_at = self.used_at = self._sent_at = self._recheck_at = 0.0
        self._owed: dict[type[Ping | Pong], int] = {}
        self._chain: list[bytes] = []
        self._paused = False
        self._reader = FrameReader(self.config.hello_limit_bytes)
        self._timer: IDelayedCall | None = None
        self._tls: Any = None  # Twisted's TLS wrapper, which has no types.

    @property
    def gone(self) -> bool:
        """
        Whether it is over.
        """
        return self.stage is Stage.GONE

    def __str__(self) -> str:
        return str(self.peer) if self.known else self.source

    # From TCP to HELLO.

    def connectionMade(self) -> None:
        self._tls = self.transport
        self.source = str(getattr(self._tls.getPeer(), "host", "?"))
        tune(self._tls, self.config)
        self._timer = self.owner.clock.callLater(self.config.handshake_s, self._overdue)
        self.owner.opened(self)

    def handshakeCompleted(self) -> None:
        if self.stage is not Stage.SECURING:
            return
        try:
            negotiated(self._tls)
            self._chain = proven_chain(self._tls)
            self.certificate = self.owner.identify(self._chain)
            if self.expects is not None and self.certificate.node_id != self.expects:
                raise PeerError(f"node {self.certificate.node_id} answers for {self.expects}")
        except PeerError as error:
            self.refuse("certificate refused", error)
            return
        self.stage = Stage.GREETING
        self._say(self.owner.hello(self))

    def _greeted(self, hello: Hello) -> None:
        local = self.owner.local
        if hello.contact.id != self.certificate.node_id:
            raise PeerError(f"node {self.certificate.node_id} calls itself {hello.contact.id}")
        if hello.contact.id == local.id:
            raise PeerError("this is ourselves")
        if hello.expects is not None and hello.expects != local.id:
            raise PeerError(f"it looks for node {hello.expects}")
        self.agreed = agree(self.owner.hello(self), hello)
        self.peer = hello.contact
        self.known = True
        lost = self.owner.admit(self)
        self.stage = Stage.ACKNOWLEDGING
        self._reader.limit = FRAME_LIMIT
        self._say(Ack(lost))

    def _acknowledged(self, ack: Ack) -> None:
        self._cancel_timer()
        self.peer_lost = ack.lost
        self.stage = Stage.UP
        now = self.owner.clock.seconds()
        self.up_at = self.used_at = now
        self._tls.registerProducer(self, True)
        self.owner.up(self)
        if self.stage is Stage.UP:
            self.tend(now)
        self._settle(None)

    # What arrives.

    def dataReceived(self, data: bytes) -> None:
        if self.gone:
            return
        self.heard_at = self.owner.clock.seconds()
        try:
            for own, frame in self._reader.feed(data):
                if own:
                    self._own_frame(frame)
                elif self.stage in (Stage.UP, Stage.LEAVING) and self.heard_bye is None:
                    self.used_at = self.heard_at
                    self._deliver(frame)
                else:
                    raise PeerError("a frame out of turn")
                if self.gone:
                    return
        except AlreadyLinked as error:
            self._settle(error)
            self.abort()
        except PeerError as error:
            self.refuse("broken link protocol", error)

    def _deliver(self, frame: bytes) -> None:
        try:
            self.owner.received(self, frame)
        except Exception:
            self.log.failure("a receiver failed on a frame from {peer}", peer=self)

    def _own_frame(self, frame: bytes) -> None:
        try:
            message = decode(frame)
        except UnknownMessage:
            if self.stage in (Stage.UP, Stage.LEAVING):
                return  # Of a newer version; nothing hangs on our knowing it.
            raise
        match self.stage, message:
            case Stage.GREETING, Hello():
                self._greeted(message)
            case Stage.ACKNOWLEDGING, Ack():
                self._acknowledged(message)
            case ((Stage.UP | Stage.LEAVING), Ping()):
                self._owe(Pong, message.number)
            case ((Stage.UP | Stage.LEAVING), Pong()):
                self.pulse.pong(message.number, self.heard_at)
            case ((Stage.UP | Stage.LEAVING), Bye()):
                self._dismissed(message)
            case _:
                raise PeerError(f"{type(message).__name__} out of turn")

    # What is sent.

    def _say(self, message: Hello | Ack | Bye) -> None:
        self._tls.write(own_frame(encode(message)))

    def _owe(self, kind: type[Ping | Pong], number: int) -> None:
        """
        Send C{kind} when the line is free.  Only the newest is owed, so a peer cannot make us pile up answers that it
        does not read.
        """
        self._owed[kind] = number
        if not self.scheduled:
            self.owner.wake(self)

    @property
    def ready(self) -> bool:
        """
        Whether frames may be handed over now.
        """
        return self.stage is Stage.UP and not self._paused

    def flush(self) -> None:
        """
        Hand over what waits, until the line is full, and send it.
        """
        if self.ready:
            self._hand_over()
            push(self._tls)

    def _hand_over(self) -> None:
        if self._owed:
            owed, self._owed = self._owed, {}
            self._tls.write(b"".join([own_frame(encode(kind(number))) for kind, number in owed.items()]))
        queue = self.queue
        if queue and not self.held:
            self.used_at = self._sent_at = self.owner.clock.seconds()
            while queue and not self._paused:
                self._tls.write(queue.take(self.config.batch_bytes))

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self.ready:
            self._hand_over()
        self.owner.drained(self)

    def stopProducing(self) -> None:
        self._paused = True

    def read(self, wanted: bool) -> None:
        """
        Take nothing more from the peer, for a receiver that is overloaded; or go on.
        """
        if wanted:
            self._tls.resumeProducing()
        else:
            self._tls.pauseProducing()

    # Keeping it.

    def tend(self, now: float) -> None:
        """
        Look after a link that is up: ping, notice that it is dead or idle, check the certificate again.
        """
        if self.stage is not Stage.UP:
            return
        if now >= self._recheck_at and not self._still_valid(now):
            return
        if now - self.used_at >= self.config.idle_s and not self.queue:
            self.leave(Reason.IDLE)
        elif self.pulse.due(now, self._sent_at >= self.heard_at):
            if self.pulse.silent(self.heard_at):
                self.log.debug("{peer} is silent", peer=self)
                self.abort()
            else:
                self._owe(Ping, self.pulse.ping(now))

    def recheck(self) -> None:
        """
        Look again whether the certificate is to be believed, and cut the link if not.
        """
        if Stage.SECURING < self.stage < Stage.GONE:
            self._still_valid(self.owner.clock.seconds())

    def _still_valid(self, now: float) -> bool:
        try:
            self.certificate = self.owner.identify(self._chain)
        except PeerError as error:
            self.refuse("certificate no longer valid", error)
            return False
        self._recheck_at = min(now + self.config.recheck_s, max(self.certificate.not_after + 1, now + 1))
        return True

    # Ending it.

    def leave(self, reason: int) -> None:
        """
        End in order: say L{Bye}, and go on reading until the peer has confirmed it.  A link that is not up yet is cut.
        """
        if self.stage < Stage.UP:
            self.abort()
        elif self.stage is Stage.UP:
            self._begin_leaving()
            self._say(Bye(reason))

    def _begin_leaving(self) -> None:
        self.stage = Stage.LEAVING
        self.leaving = True
        self._timer = self.owner.clock.callLater(self.config.leave_s, self._overdue)

    def _dismissed(self, bye: Bye) -> None:
        if self.stage is Stage.UP:
            if bye.heard:
                raise PeerError("it confirms what we did not say")
            self._begin_leaving()
        if self.heard_bye is None:
            self.heard_bye = bye.reason
            self._say(Bye(bye.reason, heard=True))
        if bye.heard:
            self.clean = True
            self.stage = Stage.GONE
            self._tls.unregisterProducer()
            self._tls.loseConnection()
            self.owner.ended(self)

    def refuse(self, kind: str, error: PeerError) -> None:
        """
        End the link because of what the peer did.
        """
        self.owner.complaints.note(self, kind, error)
        self._settle(Unreachable(str(error)))
        if self.stage is Stage.GREETING:
            # Let our HELLO arrive: an end that is too old or too new should see why it is refused.  Should it not
            # close in its turn, the deadline of the handshake does.
            self.stage = Stage.GONE
            self._tls.loseConnection()
        else:
            self.abort()

    def abort(self) -> None:
        """
        Cut the link.  Whatever is under way is lost.
        """
        self.stage = Stage.GONE
        if self._tls is not None:
            self._tls.abortConnection()

    def _abandon(self, _: Deferred[None]) -> None:
        """
        Nobody waits for this link any more.  Past our ACK the peer may have taken it as up and sent frames, so then it
        goes on.
        """
        if self.stage < Stage.ACKNOWLEDGING:
            self.abort()

    def _overdue(self) -> None:
        self._timer = None
        if self.stage < Stage.UP and not self.dialled:
            self.owner.complaints.note(self, "handshake not finished in time")
        self._settle(Unreachable(f"{self.source} did not finish the handshake in time"))
        self.abort()

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _settle(self, error: PostError | None) -> None:
        outcome, self.outcome = self.outcome, None
        if outcome is not None and not outcome.called:
            if error is None:
                outcome.callback(None)
            else:
                outcome.errback(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._cancel_timer()
        secured = self.stage is not Stage.SECURING
        self.stage = Stage.GONE
        if not secured and not reason.check(ConnectionDone, ConnectionLost):
            self.owner.complaints.note(self, "TLS handshake failed", reason.value)
        self._settle(Unreachable(f"{self.source}: {reason.getErrorMessage()}"))
        if not self.clean:
            self.owner.ended(self)
        self.owner.closed(self)
        self._tls = None
