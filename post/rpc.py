"""
Questions and answers over any transport, with deadlines and limits.

A message longer than one frame travels as several.  A frame is::

    kind (1 byte; high bit: more frames of this message follow) | number (4 bytes) | piece

and the first piece of an ASK begins with its deadline in milliseconds (4 bytes).  Numbers are chosen by the
asker; an ANSWER or FAILURE repeats the number of its question.  A handler that runs past the deadline is cancelled:
nobody waits for its answer any more.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar

from msgspec import Meta
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from post.complaints import Complaints
from post.errors import NotFound, Overloaded, PeerError, PostError, Refused, Unreachable
from post.ids import Contact, NodeId
from post.interfaces import IReceiver, ITransport
from post.tasks import Tasks
from post.wire import (
    FRAME_LIMIT,
    MESSAGE_LIMIT,
    RELAY_ROOM,
    Message,
    Priority,
    RefusalCode,
    UnknownMessage,
    decode,
    encode,
    message,
)

_HEAD = struct.Struct("!BI")
_DEADLINE = struct.Struct("!I")
PIECE_LIMIT = FRAME_LIMIT - _HEAD.size - RELAY_ROOM
TELL, ASK, ANSWER, FAILURE = 0, 1, 2, 3
MORE = 0x80

DEADLINE_S = 10.0
"""For a question whose asker names no deadline."""
DEADLINE_LIMIT_MS = 300_000
"""Nobody may keep a handler running for longer."""
RUNNING_LIMIT = 512
"""Messages of one peer being worked on at once; more questions are refused as overload, more of the others dropped."""
PARTIAL_LIMIT_BYTES = 8 * MESSAGE_LIMIT
"""Bytes of unfinished messages kept per peer."""
PIECE_BYTES = 512
"""What it costs to keep a piece, besides what it holds: who sends a million empty ones takes no memory either."""
ASKED_LIMIT = 4096
"""Our own questions open per peer."""


@message(0x01)
class Failed(Message, frozen=True):
    """
    The answer to a question that got none: see L{RefusalCode}.
    """

    code: int
    text: Annotated[str, Meta(max_length=500)] = ""


class _Question(Deferred[Message]):
    """
    Something asked, until it is answered, given up or overdue.
    """

    timer: IDelayedCall

    def __init__(self, state: _Peer, number: int, peer: Contact) -> None:
        super().__init__(_give_up)
        self.state = state
        self.number = number
        self.peer = peer


class _Peer:
    """
    What is under way with one peer; forgotten when nothing is, since most peers are rarely spoken to.

    @ivar asked: our questions that are open.
    @ivar partial: the pieces of unfinished messages; made when it is needed.
    @ivar running: their messages that are being worked on.
    @ivar sending: messages that we send in pieces.
    """

    __slots__ = ("asked", "partial", "partial_bytes", "running", "sending")

    def __init__(self) -> None:
        self.asked: dict[int, _Question] = {}
        self.partial: dict[tuple[int, int], list[bytes]] | None = None
        self.partial_bytes = 0
        self.running = 0
        self.sending = 0

    @property
    def idle(self) -> bool:
        """
        Whether nothing is under way.
        """
        return not (self.asked or self.running or self.sending or self.partial)

    def answered(self, number: int) -> _Question | None:
        """
        Take out the question with this number, if it is still open.
        """
        waiting = self.asked.pop(number, None)
        if waiting is not None and waiting.timer.active():
            waiting.timer.cancel()
        return waiting


def _give_up(question: Deferred[Message]) -> None:
    assert isinstance(question, _Question)
    question.state.answered(question.number)


def _overdue(question: _Question) -> None:
    if question.state.asked.pop(question.number, None) is not None:
        question.errback(Unreachable(f"no answer from {question.peer}"))


Handler = Callable[[Contact, Any], "Message | Coroutine[Any, Any, Message | None] | None"]
Gate = Callable[[Contact, type[Message]], bool]
"""Whether what a peer tells or asks is worked on, by its kind; otherwise it is refused as overload."""
_M = TypeVar("_M", bound=Message)


@implementer(IReceiver)
class Rpc:
    """
    One per node: sends questions, and finds the handler for each message that arrives.

    @ivar gate: asked about each message before anybody sees it.
    """

    __slots__ = (
        "_found",
        "_handlers",
        "_lost",
        "_number",
        "_peers",
        "_tasks",
        "clock",
        "complaints",
        "gate",
        "transport",
    )

    log = Logger()

    def __init__(self, transport: ITransport, clock: IReactorTime, complaints: Complaints) -> None:
        self.transport = transport
        self.clock = clock
        self.complaints = complaints
        self.gate: Gate = _open
        self._handlers: dict[type[Message], Handler] = {}
        self._peers: dict[NodeId, _Peer] = {}
        # Numbers go on when a link is made anew, and begin at the time of day: the late answer to a question of an
        # earlier link, or of an earlier life of this node, must not be taken for that to another question.
        self._number = int(clock.seconds() * 1000) & 0xFFFFFFFF
        self._tasks = Tasks()
        self._found: list[Callable[[Contact], None]] = []
        self._lost: list[Callable[[NodeId], None]] = []

    def start(self) -> None:
        """
        Begin to listen.
        """
        self.transport.start(self)

    def stop(self) -> Deferred[None]:
        """
        Let go of all that is under way; open questions fail with L{Unreachable}.
        """
        self._tasks.stop()
        for peer in list(self._peers):
            self._forget(peer)
        return self.transport.stop()

    def serve(
        self, kind: type[_M], handler: Callable[[Contact, _M], Message | Coroutine[Any, Any, Message | None] | None]
    ) -> None:
        """
        Let C{handler(peer, message)} take every message of C{kind}.  What it returns, or its coroutine does, is the
        answer; L{PostError} becomes a refusal, anything else is logged as our bug.
        """
        self._handlers[kind] = handler

    def handler(self, kind: type[Message]) -> Handler:
        """
        Who takes messages of C{kind} now.
        """
        return self._handlers[kind]

    def watch(
        self,
        found: Callable[[Contact], None] | None = None,
        lost: Callable[[NodeId], None] | None = None,
    ) -> None:
        """
        Also tell these about links that come and go.
        """
        if found is not None:
            self._found.append(found)
        if lost is not None:
            self._lost.append(lost)

    # What we send.

    def tell(self, peer: Contact, message: Message, priority: Priority = Priority.NORMAL) -> None:
        """
        Send C{message} and expect nothing.
        """
        self._send(peer, TELL, self._next(), encode(message), priority)

    def ask(
        self,
        peer: Contact,
        message: Message,
        deadline_s: float = DEADLINE_S,
        priority: Priority = Priority.NORMAL,
    ) -> Deferred[Message]:
        """
        Send C{message}; fires with the answer.

        Fails with L{Unreachable} if none came in time or the link went away, L{Refused} if the peer said so,
        L{Overloaded} if too many questions are open.
        """
        state = self._peer(peer.id)
        if len(state.asked) >= ASKED_LIMIT:
            failed: Deferred[Message] = Deferred()
            failed.errback(Overloaded(f"{ASKED_LIMIT} questions open to {peer}"))
            return failed
        number = self._next()
        milliseconds = max(1, min(int(deadline_s * 1000), DEADLINE_LIMIT_MS))
        body = _DEADLINE.pack(milliseconds) + encode(message)
        question = state.asked[number] = _Question(state, number, peer)
        question.timer = self.clock.callLater(deadline_s, _overdue, question)
        if not self._send(peer, ASK, number, body, priority):
            waiting = state.answered(number)
            if waiting is not None:
                waiting.errback(Unreachable(f"no way to {peer}"))
        return question

    def _send(self, peer: Contact, kind: int, number: int, body: bytes, priority: Priority) -> bool:
        if len(body) > MESSAGE_LIMIT:
            raise ValueError(f"a message of {len(body)} bytes")
        if len(body) <= PIECE_LIMIT:
            return self.transport.send(peer, _HEAD.pack(kind, number) + body, priority)
        self._tasks.spawn(self._send_pieces(peer, kind, number, body))
        return True

    async def _send_pieces(self, peer: Contact, kind: int, number: int, body: bytes) -> None:
        state = self._peer(peer.id)
        state.sending += 1
        try:
            for start in range(0, len(body), PIECE_LIMIT):
                await self.transport.writable(peer.id)
                if self._peers.get(peer.id) is not state:
                    return  # The link went, and the question with it: the rest would mean nothing to a new one.
                more = MORE if start + PIECE_LIMIT < len(body) else 0
                piece = body[start : start + PIECE_LIMIT]
                if not self.transport.send(peer, _HEAD.pack(kind | more, number) + piece, Priority.BULK):
                    waiting = state.answered(number) if kind == ASK else None
                    if waiting is not None:
                        waiting.errback(Unreachable(f"no way to {peer}"))
                    return
        finally:
            state.sending -= 1

    # What we hear.

    def peer_found(self, peer: Contact) -> None:
        for watcher in self._found:
            watcher(peer)

    def peer_lost(self, peer: NodeId) -> None:
        self._forget(peer)
        for watcher in self._lost:
            watcher(peer)

    def _forget(self, peer: NodeId) -> None:
        state = self._peers.pop(peer, None)
        # One by one: whoever hears of a failure may give up another question in the same breath.
        while state is not None and state.asked:
            waiting = state.answered(next(iter(state.asked)))
            if waiting is not None:
                waiting.errback(Unreachable(f"lost {peer}"))

    def frame_received(self, peer: Contact, frame: bytes) -> None:
        state = self._peers.get(peer.id) or self._peer(peer.id)
        try:
            if len(frame) < _HEAD.size:
                raise PeerError("a frame without a head")
            kind, number = _HEAD.unpack_from(frame)
            body = frame[_HEAD.size :]
            if kind & MORE or state.partial:
                whole = self._assembled(state, kind, number, body)
                if whole is None:
                    return
                body = whole
            self._dispatch(peer, state, kind & ~MORE, number, body)
        except PeerError as error:
            self.complaints.note(peer, "broken message", error)
        if state.idle and self._peers.get(peer.id) is state:
            del self._peers[peer.id]

    def _assembled(self, state: _Peer, kind: int, number: int, piece: bytes) -> bytes | None:
        """
        The whole message whose last piece this is, or C{None} if more are to come.
        """
        if state.partial is None:
            state.partial = {}
        key = (kind & ~MORE, number)
        if kind & MORE:
            size = PIECE_BYTES + len(piece)
            if state.partial_bytes + size > PARTIAL_LIMIT_BYTES:
                for abandoned in state.partial.values():
                    abandoned.clear()
                state.partial = None
                state.partial_bytes = 0
                raise PeerError("too many unfinished messages")
            state.partial.setdefault(key, []).append(piece)
            state.partial_bytes += size
            return None
        pieces = state.partial.pop(key, None)
        if pieces is None:
            return piece
        state.partial_bytes -= sum(len(each) + PIECE_BYTES for each in pieces)
        body = b"".join([*pieces, piece])
        if len(body) > MESSAGE_LIMIT + _DEADLINE.size:
            raise PeerError("a message over the limit")
        return body

    def _dispatch(self, peer: Contact, state: _Peer, kind: int, number: int, body: bytes) -> None:
        if kind == ASK:
            self._asked(peer, state, number, body)
        elif kind == TELL:
            message = decode(body)
            handler = self._handlers.get(type(message))
            if self.gate(peer, type(message)) and handler is not None:
                self._run(peer, state, handler, message)
        elif kind in (ANSWER, FAILURE):
            waiting = state.answered(number)
            if waiting is None:
                return  # Its deadline has passed.
            try:
                answer = decode(body)
            except PeerError as error:
                waiting.errback(error)
                raise
            if kind == ANSWER:
                waiting.callback(answer)
            elif isinstance(answer, Failed):
                waiting.errback(Refused(answer.code, answer.text))
            else:
                waiting.errback(PeerError("a failure that is none"))
        else:
            raise PeerError(f"a frame of kind {kind}")

    def _run(self, peer: Contact, state: _Peer, handler: Handler, message: Message) -> None:
        if state.running >= RUNNING_LIMIT:
            raise PeerError("more messages than can be worked on")
        try:
            result = handler(peer, message)
        except PeerError as error:
            self.complaints.note(peer, "refused message", error)
            return
        except PostError:
            return
        except Exception:
            # Our bug; the link that the message came over goes on.
            self.log.failure("a handler failed")
            return
        if isinstance(result, Coroutine):
            self._tasks.spawn(self._attend(peer, state, result))

    async def _attend(self, peer: Contact, state: _Peer, work: Coroutine[Any, Any, Message | None]) -> None:
        state.running += 1
        try:
            await work
        except PeerError as error:
            self.complaints.note(peer, "refused message", error)
        except PostError as error:
            self.log.debug("told by {peer}, could not: {error}", peer=peer, error=error)
        finally:
            state.running -= 1

    def _asked(self, peer: Contact, state: _Peer, number: int, body: bytes) -> None:
        if len(body) < _DEADLINE.size:
            raise PeerError("a question without a deadline")
        if state.running >= RUNNING_LIMIT:
            self._answer(peer, number, Failed(RefusalCode.OVERLOADED))
            return
        try:
            message = decode(body[_DEADLINE.size :])
        except UnknownMessage as error:
            self._answer(peer, number, Failed(RefusalCode.UNSUPPORTED, str(error)))
            return
        except PeerError as error:
            self._answer(peer, number, Failed(RefusalCode.INVALID, str(error)[:500]))
            raise
        if not self.gate(peer, type(message)):
            self._answer(peer, number, Failed(RefusalCode.OVERLOADED))
            return
        handler = self._handlers.get(type(message))
        if handler is None:
            self._answer(peer, number, Failed(RefusalCode.UNSUPPORTED))
            return
        try:
            result = handler(peer, message)
        except Exception:
            self._answer(peer, number, self._excuse(peer, Failure()))
            return
        if not isinstance(result, Coroutine):
            if result is not None:
                self._answer(peer, number, result)
            return
        deadline_s = min(_DEADLINE.unpack_from(body)[0], DEADLINE_LIMIT_MS) / 1000
        state.running += 1
        work = Deferred.fromCoroutine(result)
        if work.called:
            self._finished(work, None, peer, state, number)
            return
        timer = self.clock.callLater(deadline_s, work.cancel)
        self._finished(work, timer, peer, state, number)

    def _finished(
        self, work: Deferred[Message | None], timer: IDelayedCall | None, peer: Contact, state: _Peer, number: int
    ) -> None:
        def done(result: Message | Failure | None) -> None:
            state.running -= 1
            if timer is not None and timer.active():
                timer.cancel()
            if isinstance(result, Failure):
                if not result.check(CancelledError):
                    self._answer(peer, number, self._excuse(peer, result))
            elif result is not None:
                self._answer(peer, number, result)

        work.addBoth(done)

    def _excuse(self, peer: Contact, failure: Failure) -> Failed:
        """
        What to answer instead of an answer.
        """
        error = failure.value
        if isinstance(error, Refused):
            return Failed(error.code, error.text[:500])
        if isinstance(error, NotFound):
            return Failed(RefusalCode.NOT_FOUND)
        if isinstance(error, Overloaded):
            return Failed(RefusalCode.OVERLOADED)
        if isinstance(error, PeerError):
            self.complaints.note(peer, "refused question", error)
            return Failed(RefusalCode.INVALID, str(error)[:500])
        if isinstance(error, PostError):
            return Failed(RefusalCode.FAILED, type(error).__name__)
        self.log.failure("a handler failed", failure=failure)
        return Failed(RefusalCode.FAILED)

    def _answer(self, peer: Contact, number: int, answer: Message) -> None:
        kind = FAILURE if isinstance(answer, Failed) else ANSWER
        body = encode(answer)
        if len(body) > MESSAGE_LIMIT:
            self.log.error("an answer of {size} bytes is not sent: {kind}", size=len(body), kind=type(answer).__name__)
            kind, body = FAILURE, encode(Failed(RefusalCode.FAILED))
        self._send(peer, kind, number, body, Priority.NORMAL)

    def _peer(self, peer: NodeId) -> _Peer:
        state = self._peers.get(peer)
        if state is None:
            state = self._peers[peer] = _Peer()
        return state

    def _next(self) -> int:
        self._number = (self._number + 1) & 0xFFFFFFFF
        return self._number


def _open(peer: Contact, kind: type[Message]) -> bool:
    return True


def body_of(frame: bytes) -> bytes:
    """
    What of its message a frame holds, if it is the first one of it.
    """
    kind = frame[0] & ~MORE if frame else TELL
    return frame[_HEAD.size + (_DEADLINE.size if kind == ASK else 0) :]


def expect(kind: type[_M], answer: Message) -> _M:
    """
    C{answer} as the kind of message that it has to be.

    @raise PeerError: if it is another.
    """
    if type(answer) is not kind:
        raise PeerError(f"{type(answer).__name__} instead of {kind.__name__}")
    return answer
