"""
Tests for L{post.rpc}.
"""

from __future__ import annotations

from typing import Annotated

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from post.complaints import Complaints
from post.errors import NotFound, Overloaded, PeerError, Refused, Unreachable
from post.ids import Contact, Id, NodeId
from post.interfaces import IReceiver, ITransport
from post.rpc import ASKED_LIMIT, PARTIAL_LIMIT_BYTES, PIECE_BYTES, PIECE_LIMIT, RUNNING_LIMIT, Rpc, body_of, expect
from post.wire import (
    FRAME_LIMIT,
    MESSAGE_LIMIT,
    Message,
    Priority,
    RefusalCode,
    message,
)


@message(0xF001)
class Question(Message, frozen=True):
    """
    Say this back.
    """

    text: Annotated[bytes, Meta(max_length=MESSAGE_LIMIT)]
    place: NodeId = NodeId(Id(0))


@message(0xF002)
class Answer(Message, frozen=True):
    """
    This.
    """

    text: bytes


ONE, TWO = (Contact(NodeId(Id(number)), (f"h:{number}",), 1) for number in (1, 2))


@implementer(ITransport)
class Wire:
    """
    One end of a wire; frames wait until they are carried.
    """

    def __init__(self, local: Contact) -> None:
        self.local = local
        self.other: Wire | None = None
        self.receiver: IReceiver | None = None
        self.frames: list[bytes] = []
        self.open = True

    def start(self, receiver: IReceiver) -> None:
        self.receiver = receiver

    def stop(self) -> Deferred[None]:
        return succeed(None)

    def introduce(self, address: str) -> Deferred[Contact]:
        return succeed(self.local)

    def send(self, peer: Contact, frame: bytes, priority: Priority) -> bool:
        assert len(frame) <= FRAME_LIMIT
        if self.open:
            self.frames.append(frame)
        return self.open

    def writable(self, peer: NodeId) -> Deferred[None]:
        return succeed(None)

    def round_trip_s(self, peer: NodeId) -> float | None:
        return None

    def silent_s(self, peer: NodeId) -> None:
        return None

    def certificate(self, peer: NodeId) -> None:
        return None

    def linked(self, peer: NodeId) -> None:
        return None

    def links(self) -> list[Contact]:
        return []

    def recheck(self) -> None:
        """
        Everybody is believed.
        """

    def carry(self) -> None:
        assert self.other is not None and self.other.receiver is not None
        frames, self.frames = self.frames, []
        for frame in frames:
            self.other.receiver.frame_received(self.local, frame)


class RpcTests(SynchronousTestCase):
    """
    Tests for L{Rpc}: two of them at the ends of a wire.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.here, self.there = Wire(ONE), Wire(TWO)
        self.here.other, self.there.other = self.there, self.here
        self.complaints = Complaints(self.clock)
        self.asker = Rpc(self.here, self.clock, self.complaints)
        self.answerer = Rpc(self.there, self.clock, self.complaints)
        self.asker.start()
        self.answerer.start()

    def carry(self) -> None:
        while self.here.frames or self.there.frames:
            self.here.carry()
            self.there.carry()

    def test_interfaces(self) -> None:
        """
        The double, and L{Rpc} itself, provide what they say.
        """
        verifyObject(ITransport, self.here)
        verifyObject(IReceiver, self.asker)

    def test_ask(self) -> None:
        """
        A question gets its answer, and leaves no timer behind.
        """
        self.answerer.serve(Question, lambda peer, question: Answer(question.text))
        answer = self.asker.ask(TWO, Question(b"hello"))
        self.carry()
        self.assertEqual(Answer(b"hello"), self.successResultOf(answer))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_long(self) -> None:
        """
        A message of many frames arrives whole, both ways, beside others.
        """
        self.answerer.serve(Question, lambda peer, question: Answer(question.text))
        texts = [bytes([number]) * (PIECE_LIMIT * 3 + number) for number in range(5)]
        answers = [self.asker.ask(TWO, Question(text)) for text in texts]
        self.carry()
        self.assertEqual([Answer(text) for text in texts], [self.successResultOf(answer) for answer in answers])

    def test_deadline(self) -> None:
        """
        A question whose deadline passes fails, the handler is cancelled, and a late answer disturbs nothing.
        """
        ended: list[str] = []

        async def never(peer: Contact, question: Question) -> Message:
            try:
                await Deferred()
            except CancelledError:
                ended.append("cancelled")
                raise
            return Answer(b"late")

        self.answerer.serve(Question, never)
        answer = self.asker.ask(TWO, Question(b"x"), 2.0)
        self.carry()
        self.clock.advance(2.0)
        self.failureResultOf(answer, Unreachable)
        self.assertEqual(["cancelled"], ended)
        self.carry()

    def test_lost(self) -> None:
        """
        When the link goes, open questions fail at once.
        """
        answer = self.asker.ask(TWO, Question(b"x"))
        self.asker.peer_lost(TWO.id)
        self.failureResultOf(answer, Unreachable)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_lost_between_pieces(self) -> None:
        """
        The rest of a long message is not sent over the link that comes after the one on which it began.
        """
        gate: Deferred[None] = Deferred()
        gates = [succeed(None), gate]
        self.here.writable = lambda peer: gates.pop(0) if gates else succeed(None)  # type: ignore[method-assign]
        answer = self.asker.ask(TWO, Question(b"x" * PIECE_LIMIT * 3))
        self.asker.peer_lost(TWO.id)
        self.failureResultOf(answer, Unreachable)
        sent = len(self.here.frames)
        gate.callback(None)
        self.assertEqual(sent, len(self.here.frames))

    def test_no_way(self) -> None:
        """
        A frame that is not even queued is a failure at once.
        """
        self.here.open = False
        for text in (b"x", b"x" * PIECE_LIMIT * 2):
            self.failureResultOf(self.asker.ask(TWO, Question(text)), Unreachable)

    def test_refusals(self) -> None:
        """
        What a handler raises reaches the asker as a refusal that tells whose fault it is; a bug of ours tells nothing.
        """
        for error, code in (
            (NotFound("x"), RefusalCode.NOT_FOUND),
            (PeerError("x"), RefusalCode.INVALID),
            (Overloaded("x"), RefusalCode.OVERLOADED),
            (Refused(RefusalCode.FORBIDDEN), RefusalCode.FORBIDDEN),
            (KeyError("secret"), RefusalCode.FAILED),
        ):

            def fail(peer: Contact, question: Question, error: Exception = error) -> Message:
                raise error

            self.answerer.serve(Question, fail)
            answer = self.asker.ask(TWO, Question(b"x"))
            self.carry()
            refused = self.failureResultOf(answer, Refused).value
            self.assertEqual(code, refused.code)
            self.assertNotIn("secret", refused.text)
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))

    def test_unsupported(self) -> None:
        """
        A tag that the other does not know, or does not serve, is answered "unsupported".
        """
        answer = self.asker.ask(TWO, Question(b"x"))
        self.carry()
        self.assertEqual(RefusalCode.UNSUPPORTED, self.failureResultOf(answer, Refused).value.code)

    def test_limits(self) -> None:
        """
        Unfinished messages and open questions are bounded.
        """
        piece = b"\x81" + b"\0\0\0\1" + b"x" * PIECE_LIMIT
        for _ in range(2 * PARTIAL_LIMIT_BYTES // len(piece)):
            self.answerer.frame_received(ONE, piece)
        self.assertGreater(self.complaints.counts["broken message"], 0)
        asked = [self.asker.ask(TWO, Question(b"x")) for _ in range(ASKED_LIMIT + 1)]
        self.failureResultOf(asked[-1], Overloaded)
        for each in asked[:-1]:
            each.addErrback(lambda _: None)

    def test_empty_pieces(self) -> None:
        """
        Pieces that hold nothing cost memory all the same: of messages that are never finished not many are kept.
        """
        for number in range(2 * PARTIAL_LIMIT_BYTES // PIECE_BYTES):
            self.answerer.frame_received(ONE, b"\x81" + number.to_bytes(4, "big"))
            state = self.answerer._peers.get(ONE.id)
            kept = 0 if state is None or state.partial is None else len(state.partial)
            self.assertLessEqual(kept, PARTIAL_LIMIT_BYTES // PIECE_BYTES)
        self.assertGreater(self.complaints.counts["broken message"], 0)

    @given(st.lists(st.binary(max_size=60), max_size=20))
    def test_garbage(self, frames: list[bytes]) -> None:
        """
        Whatever comes over a link, the node goes on.
        """
        self.answerer.serve(Question, lambda peer, question: Answer(question.text))
        for frame in frames:
            self.answerer.frame_received(ONE, frame)
        answer = self.asker.ask(TWO, Question(b"still there?"))
        self.carry()
        self.assertEqual(Answer(b"still there?"), self.successResultOf(answer))

    def test_body_of(self) -> None:
        """
        What a frame carries begins after its number, and in a question after the deadline.
        """
        self.assertEqual([b"x", b"x", b"", b""], [body_of(f) for f in (b"\0....x", b"\1........x", b"", b"\1...")])

    def test_expect(self) -> None:
        """
        An answer of another kind is the peer's fault.
        """
        self.assertRaises(PeerError, expect, Answer, Question(b""))

    def test_late_answer(self) -> None:
        """
        The answer to a question of a link that is gone is not taken for that to a question of the next link, nor after
        we were started anew.
        """
        work: list[Deferred[Message]] = []

        async def slow(peer: Contact, question: Question) -> Message:
            work.append(Deferred())
            return await work[-1]

        self.answerer.serve(Question, slow)
        lost = self.asker.ask(TWO, Question(b"first"))
        self.carry()
        self.asker.peer_lost(TWO.id)
        self.failureResultOf(lost, Unreachable)
        second = self.asker.ask(TWO, Question(b"second"))
        self.clock.advance(1)
        anew = Rpc(self.here, self.clock, self.complaints)
        later = [anew.ask(TWO, Question(text)) for text in (b"third", b"fourth")]
        self.carry()
        work[0].callback(Answer(b"first"))
        self.carry()
        self.assertNoResult(second)
        anew.start()
        work[1].callback(Answer(b"second"))
        self.carry()
        for each in (second, *later):
            self.assertNoResult(each)
            each.addErrback(lambda _: None).cancel()

    def test_given_up_while_lost(self) -> None:
        """
        Whoever hears that a question has failed may give up another to the same peer.
        """
        questions = [self.asker.ask(TWO, Question(text)) for text in (b"first", b"second")]
        failed: list[type[BaseException] | None] = []

        def heard(failure: Failure) -> None:
            failed.append(failure.type)
            for question in questions:
                question.cancel()

        for question in questions:
            question.addErrback(heard)
        self.asker.peer_lost(TWO.id)
        self.assertEqual({Unreachable, CancelledError}, set(failed))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_told(self) -> None:
        """
        What a handler of a message that wants no answer raises is logged or complained of, and the link goes on.
        """
        errors: list[Exception] = [PeerError("x"), NotFound("x"), KeyError("x")]

        def fail(peer: Contact, question: Question) -> None:
            raise errors.pop(0)

        self.answerer.serve(Question, fail)
        for _ in range(3):
            self.asker.tell(TWO, Question(b"x"))
        self.carry()
        self.assertEqual(([], 1), (errors, self.complaints.counts["refused message"]))
        self.assertEqual(1, len(self.flushLoggedErrors(KeyError)))

    def test_told_too_much(self) -> None:
        """
        The work that one peer can have done at once is bounded, whether it wants answers or not.
        """
        gate: Deferred[None] = Deferred()
        begun: list[Message] = []

        async def slow(peer: Contact, question: Question) -> None:
            begun.append(question)
            await gate

        self.answerer.serve(Question, slow)
        for _ in range(RUNNING_LIMIT + 3):
            self.asker.tell(TWO, Question(b"x"))
        self.carry()
        self.assertEqual((RUNNING_LIMIT, 3), (len(begun), self.complaints.counts["broken message"]))
        refused = self.asker.ask(TWO, Question(b"x"))
        self.carry()
        self.assertEqual(RefusalCode.OVERLOADED, self.failureResultOf(refused, Refused).value.code)
        gate.callback(None)
        self.asker.tell(TWO, Question(b"x"))
        self.carry()
        self.assertEqual(RUNNING_LIMIT + 1, len(begun))

    def test_large_answer(self) -> None:
        """
        An answer that is too large to send is a failure at once, not silence.
        """
        self.answerer.serve(Question, lambda peer, question: Answer(bytes(MESSAGE_LIMIT)))
        answer = self.asker.ask(TWO, Question(b"x"))
        self.carry()
        self.assertEqual(RefusalCode.FAILED, self.failureResultOf(answer, Refused).value.code)
