"""
Tests for L{post.messaging.dispatch}, L{post.messaging.reception} and L{post.messaging.delegates}: the sender's, the
recipient's and the delegates' side of one notification.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, cast

import msgspec
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.complaints import Complaints
from post.crypto.certificates import IdentityCertificate
from post.errors import Conflict, NotFound, PeerError, PostError, Refused, TooFewReplicas, Unconfirmed, Unreachable
from post.ids import AccountId, Contact, Handle, Id, NodeId
from post.messaging import delegates as delegates_module
from post.messaging.account import Account
from post.messaging.delegates import Delegates
from post.messaging.dispatch import HEDGE_S, Dispatch, Outcome, Signer
from post.messaging.identities import Identities
from post.messaging.messages import Arrived, Filed, Push
from post.messaging.notification import CLOCK_SKEW_S, ENVELOPE_LIMIT, acknowledge, envelope_hash, letter_in
from post.messaging.pending import DELIVERED, PENDING, PendingKind, envelope_in
from post.messaging.presence import Followed, Heard
from post.messaging.reception import Arrival, Reception
from post.past.node import Past
from post.pastry.node import Pastry
from post.rpc import Rpc
from post.sim.authority import Authority
from post.tasks import Tasks
from post.wire import Message, RefusalCode

from .doubles import FakePast

NOW = 1_800_000_000
BOB_NODE = Contact(NodeId(Id(77)), ("127.0.0.1:9",), 1)


class FakeRpc:
    """
    Answers pushes by one function.
    """

    def __init__(self) -> None:
        self.handlers: dict[type[Message], Callable[..., Any]] = {}
        self.answer: Callable[[Push], Deferred[Message]] = lambda push: fail(Unreachable("off"))
        self.asked: list[Push] = []
        self.peers: list[Contact] = []
        self.told: list[tuple[Contact, Message]] = []

    def tell(self, peer: Contact, message: Message) -> None:
        self.told.append((peer, message))

    def serve(self, kind: type[Message], handler: Callable[..., Any]) -> None:
        self.handlers[kind] = handler

    def ask(self, peer: Contact, message: Push, deadline_s: float = 0) -> Deferred[Message]:
        self.asked.append(message)
        self.peers.append(peer)
        return self.answer(message)


class FakePastry:
    """
    Knows who is alive.
    """

    def __init__(self) -> None:
        self.alive = True
        self.suspected: list[Contact] = []
        self.nearest: list[Contact] = []

    def is_alive(self, node: NodeId) -> bool:
        return self.alive

    def suspect(self, contact: Contact) -> None:
        self.suspected.append(contact)

    async def replica_set(self, key: Id, count: int) -> list[Contact]:
        return self.nearest[:count]


class FakeFollowed:
    """
    Remembers whom somebody follows.
    """

    def __init__(self) -> None:
        self.heard: dict[AccountId, Heard] = {}

    def follow(self, account: AccountId, heard: Heard) -> None:
        self.heard[account] = heard

    def forget(self, account: AccountId, heard: Heard) -> None:
        if self.heard.get(account) == heard:
            del self.heard[account]


class FakeInbox:
    """
    Takes everything, once its disk and its ring are well.
    """

    def __init__(self, account: Account) -> None:
        self.key = account.key
        self.chain = account.chain
        self.sealing_keys = account.sealing_keys
        self.arrived: list[Arrival] = []
        self.broken = False

    async def deliver(self, arrival: Arrival) -> None:
        if self.broken:
            raise TooFewReplicas(1, 2)
        self.arrived.append(arrival)


class NotificationTests(SynchronousTestCase):
    """
    Alice's node sends, Bob's receives, and a third keeps what waits.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.authority = Authority(b"seed", NOW)
        self.root = self.authority.root
        self.past = FakePast(self.clock, self.root)
        self.rpc, self.pastry, self.followed = FakeRpc(), FakePastry(), FakeFollowed()
        self.tasks = Tasks()
        complaints = Complaints(self.clock)
        past = cast(Past, self.past)
        self.identities = Identities(past, self.clock, self.root, complaints, self.tasks)
        self.alice, self.bob = self.account("alice"), self.account("bob")
        self.reception = Reception(cast(Rpc, FakeRpc()), self.clock, self.root)
        self.bobs = Reception(cast(Rpc, FakeRpc()), self.clock, self.root)
        self.inbox = FakeInbox(self.bob)
        self.bobs.open(self.bob.id, self.inbox)
        key, chain, _ = self.authority.node("alice")
        self.dispatch = Dispatch(
            cast(Rpc, self.rpc),
            cast(Pastry, self.pastry),
            past,
            self.identities,
            self.reception,
            self.clock,
            self.root,
            Signer(key, chain),
            1000,
            self.tasks,
        )
        self.delegates = Delegates(
            past,
            self.dispatch,
            self.identities,
            self.reception,
            cast(Followed, self.followed),
            self.clock,
            Random(1),
            complaints,
            self.tasks,
        )
        self.past.register(PendingKind(self.root, self.delegates.told))
        self.run_coroutine(self.bob.publish(BOB_NODE, 1000))

    def account(self, name: str) -> Account:
        credentials = self.authority.account(name)
        return Account(credentials, cast(Past, self.past), self.identities, self.clock)

    def run_coroutine(self, coroutine: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def notify(self, content: bytes = b"content") -> Deferred[Outcome]:
        notification = self.alice.notification("mail", content, self.bob.id, b"payload")
        return Deferred.fromCoroutine(self.dispatch.notify(self.alice.signer, notification))

    def bob_answers(self, push: Push) -> Deferred[Message]:
        async def answer() -> Message:
            return Filed(await self.bobs.receive(push.envelope))

        return Deferred.fromCoroutine(answer())

    def pending(self) -> list[int]:
        return [item.order for item in self.past.objects.values() if item.kind == PENDING]

    def test_online(self) -> None:
        """
        A recipient who is there gets it at once, and nothing is made pending.
        """
        self.rpc.answer = self.bob_answers
        outcome = self.successResultOf(self.notify())
        self.assertTrue(outcome.delivered)
        self.assertEqual([], self.pending())
        [arrival] = self.inbox.arrived
        assert isinstance(arrival.sender, IdentityCertificate)
        self.assertEqual((b"payload", "alice@example.org"), (arrival.notification.payload, arrival.sender.address))

    def test_offline(self) -> None:
        """
        For one who is not, it is pending on k nodes before the sender is told so.
        """
        self.pastry.alive = False
        outcome = self.successResultOf(self.notify())
        self.assertEqual((False, 3), (outcome.delivered, outcome.copies))
        self.assertEqual([0], self.pending())
        self.assertEqual([], self.rpc.asked)

    def test_frozen(self) -> None:
        """
        One who is linked but does not answer costs the sender a moment only; a receipt that comes late ends the wait,
        and whoever wants to know is told of it.
        """
        late: Deferred[Message] = Deferred()
        heard: list[tuple[Handle, int]] = []
        self.dispatch.receipts.append(lambda handle, at: heard.append((handle, at)))
        self.rpc.answer = lambda push: late
        told = self.notify()
        self.assertNoResult(told)
        self.clock.advance(HEDGE_S)
        outcome = self.successResultOf(told)
        self.assertEqual((False, []), (outcome.delivered, heard))
        self.clock.advance(5)
        self.bob_answers(self.rpc.asked[0]).chainDeferred(late)
        self.assertEqual([DELIVERED], self.pending())
        self.assertEqual([(outcome.handle, int(self.clock.seconds()))], heard)
        self.assertEqual(0, self.delegates.waiting)

    def test_gone_at_once(self) -> None:
        """
        One who turns out to be unreachable is suspected, and the notification made pending without further waiting.
        """
        self.assertFalse(self.successResultOf(self.notify()).delivered)
        self.assertEqual([BOB_NODE], self.pastry.suspected)

    def test_neither(self) -> None:
        """
        With neither a receipt nor enough copies the sender is told that it failed.
        """
        self.past.copies = 1
        self.failureResultOf(self.notify(), TooFewReplicas)

    def test_receipt_saves_it(self) -> None:
        """
        If too few copies can be made, a receipt is as good.
        """
        late: Deferred[Message] = Deferred()
        self.rpc.answer = lambda push: late
        self.past.copies = 1
        told = self.notify()
        self.clock.advance(HEDGE_S)
        self.assertNoResult(told)
        self.bob_answers(self.rpc.asked[0]).chainDeferred(late)
        self.assertTrue(self.successResultOf(told).delivered)

    def test_unknown_recipient(self) -> None:
        """
        Somebody who has never been on-line has no keys to seal to.
        """
        self.past.objects.clear()
        self.clock.advance(3600)
        self.failureResultOf(self.notify(), NotFound)

    def test_same_notification(self) -> None:
        """
        Sending the same again, after a crash or a lost reply, is the same notification to the recipient.
        """
        self.rpc.answer = self.bob_answers
        self.successResultOf(self.notify())
        self.successResultOf(self.notify())
        self.successResultOf(self.notify(b"other content"))
        first, second, third = [arrival.notification.id for arrival in self.inbox.arrived]
        self.assertEqual(first, second)
        self.assertNotEqual(first, third)

    def test_delegate_delivers(self) -> None:
        """
        A delegate offers what waits until there is a receipt, which replaces the notification; then it stops.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        self.clock.pump([1.0] * 20)
        self.assertEqual([], self.inbox.arrived)
        self.rpc.answer = self.bob_answers
        self.clock.pump([1.0] * 100)
        self.assertEqual(1, len(self.inbox.arrived))
        self.assertEqual([DELIVERED], self.pending())
        asked = len(self.rpc.asked)
        self.clock.pump([1.0] * 200)
        self.assertEqual(asked, len(self.rpc.asked))

    def test_sent_again_after_delivery(self) -> None:
        """
        What is sent again in the same second, and is delivered by a delegate already, is as good as kept.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        [item] = [i for i in self.past.objects.values() if i.kind == PENDING]
        envelope = envelope_in(item.data)
        assert envelope is not None
        receipt = self.run_coroutine(self.bobs.receive(envelope))
        self.run_coroutine(self.dispatch.end(envelope, receipt, item.expires))
        self.assertEqual([DELIVERED], self.pending())
        outcome = self.successResultOf(self.notify())
        self.assertTrue(outcome.delivered)
        self.assertEqual([DELIVERED], self.pending())

    def test_sender_is_told(self) -> None:
        """
        A delegate that delivers tells the sending node, if that is there, which believes what the recipient signed and
        nothing else.
        """
        self.pastry.alive = False
        outcome = self.successResultOf(self.notify())
        [envelope] = self.envelopes()
        receipt = self.run_coroutine(self.bobs.receive(envelope))
        heard: list[Handle] = []
        self.dispatch.receipts.append(lambda handle, at: heard.append(handle))
        rpc, sender = FakeRpc(), Contact(letter_in(envelope).node, ("127.0.0.1:8",), 1)
        key, chain, _ = self.authority.node("delegate")
        delegate = Dispatch(
            cast(Rpc, rpc),
            cast(Pastry, self.pastry),
            cast(Past, self.past),
            self.identities,
            self.reception,
            self.clock,
            self.root,
            Signer(key, chain),
            1000,
            self.tasks,
        )
        for nearest, told in (([BOB_NODE], 0), ([sender], 1)):
            self.pastry.nearest = nearest
            self.run_coroutine(delegate.end(envelope, receipt, NOW + 1000))
            self.assertEqual(told, len(rpc.told))
        [(peer, message)] = rpc.told
        self.assertEqual((sender, Arrived(receipt)), (peer, message))
        self.rpc.handlers[Arrived](BOB_NODE, message)
        self.assertEqual([outcome.handle], heard)
        with self.assertRaises(PeerError):
            self.rpc.handlers[Arrived](BOB_NODE, Arrived(receipt[:-1] + bytes([receipt[-1] ^ 1])))
        self.assertEqual([outcome.handle], heard)

    def test_receipt_in_a_wrong_place(self) -> None:
        """
        A receipt shown there for something else, by somebody else, or from before there was a notification, is none.
        """
        self.pastry.alive = False
        self.clock.advance(CLOCK_SKEW_S + 1)
        self.successResultOf(self.notify())
        [envelope] = self.envelopes()
        letter, mallory = letter_in(envelope), self.account("mallory")
        for wrong, signer, at in (
            (msgspec.structs.replace(letter, slot=b"s" * 16), self.bob, letter.stamp),
            (msgspec.structs.replace(letter, node=BOB_NODE.id), self.bob, letter.stamp),
            (msgspec.structs.replace(letter, recipient=mallory.id), mallory, letter.stamp),
            (letter, self.bob, NOW),
        ):
            receipt = acknowledge(envelope_hash(envelope), wrong, at, signer.key, signer.chain)

            async def shown(*_: object, receipt: bytes = receipt) -> None:
                raise Conflict(b"R" + receipt)

            self.past.insert = shown  # type: ignore[method-assign, assignment]
            again = Deferred.fromCoroutine(self.dispatch.make_pending(self.bob.id, envelope, NOW + 9))
            self.failureResultOf(again, PeerError)

    def test_delegate_sees_return(self) -> None:
        """
        All that waits is offered at once when the recipient's node is seen, whatever the pause was by then.
        """
        self.pastry.alive = False
        for number in range(5):
            self.successResultOf(self.notify(b"%d" % number))
        self.clock.pump([10.0] * 60)
        self.rpc.answer = self.bob_answers
        self.delegates.seen(BOB_NODE)
        self.clock.pump([0.1] * 10)
        self.assertEqual(5, len(self.inbox.arrived))

    def test_delegate_asks_once(self) -> None:
        """
        However much waits for somebody who does not answer, one notification is offered at a time; when they answer,
        all are.
        """
        self.pastry.alive = False
        for number in range(50):
            self.successResultOf(self.notify(b"%d" % number))
        self.clock.pump([1.0] * 120)
        self.assertLess(len(self.rpc.asked), 10)
        self.rpc.answer = self.bob_answers
        self.clock.pump([1.0] * 62)
        self.assertEqual(50, len(self.inbox.arrived))

    def test_delegate_goes_round_what_fails(self) -> None:
        """
        A notification which the recipient refuses, or on which it is silent, does not keep others from being delivered.
        """
        self.pastry.alive = False
        for number in range(10):
            self.successResultOf(self.notify(b"%d" % number))
        bad: list[bytes] = []
        for error in (Unreachable("no answer"), Refused(RefusalCode.FAILED, "no")):

            def answer(push: Push, error: PostError = error) -> Deferred[Message]:
                bad.append(push.envelope)
                return fail(error) if push.envelope == bad[0] else self.bob_answers(push)

            self.rpc.answer = answer
            self.clock.pump([1.0] * 120)
            self.assertEqual(9, len(self.inbox.arrived))
        self.assertEqual(1, self.delegates.waiting)

    def test_delegate_restarts(self) -> None:
        """
        What waited in the store before a restart is offered after it.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        self.delegates.stop()
        fresh = Delegates(
            cast(Past, self.past),
            self.dispatch,
            self.identities,
            self.reception,
            cast(Followed, self.followed),
            self.clock,
            Random(1),
            Complaints(self.clock),
            self.tasks,
        )
        self.rpc.answer = self.bob_answers
        fresh.resume()
        self.clock.pump([1.0] * 10)
        self.assertEqual(1, len(self.inbox.arrived))

    def test_expires(self) -> None:
        """
        After its expiry a notification is offered no longer.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        self.clock.pump([60.0] * 20)
        asked = len(self.rpc.asked)
        self.assertEqual(0, self.delegates.waiting)
        self.clock.pump([60.0] * 20)
        self.assertEqual(asked, len(self.rpc.asked))

    def test_no_receipt_without_ring(self) -> None:
        """
        A recipient whose ring cannot keep the insertion gives no receipt, and takes it when it can.
        """
        self.inbox.broken = True
        self.rpc.answer = self.bob_answers
        self.assertFalse(self.successResultOf(self.notify()).delivered)
        self.inbox.broken = False
        self.clock.pump([1.0] * 10)
        self.assertEqual(1, len(self.inbox.arrived))

    def test_foreign_receipt(self) -> None:
        """
        A receipt by somebody else, or for something else, ends nothing.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        self.successResultOf(self.notify(b"another"))
        first, second = [envelope_in(i.data) for i in self.past.objects.values() if i.kind == PENDING]
        assert first is not None and second is not None
        other = self.run_coroutine(self.bobs.receive(second))
        failed = Deferred.fromCoroutine(self.dispatch.push(BOB_NODE, self.bob.id, first))
        self.failureResultOf(failed, Unreachable)
        self.rpc.answer = lambda push: succeed(Filed(other))
        self.failureResultOf(Deferred.fromCoroutine(self.dispatch.push(BOB_NODE, self.bob.id, first)), PeerError)

    def test_altered(self) -> None:
        """
        An envelope with any byte changed is refused, by holders and by the recipient.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        [item] = [i for i in self.past.objects.values() if i.kind == PENDING]
        envelope = envelope_in(item.data)
        assert envelope is not None
        kind = PendingKind(self.root, lambda item: None)
        for position in range(0, len(envelope), 41):
            altered = envelope[:position] + bytes([envelope[position] ^ 1]) + envelope[position + 1 :]
            self.assertRaises(PeerError, kind.check, item.handle, b"E" + altered, NOW)
            self.failureResultOf(Deferred.fromCoroutine(self.bobs.receive(altered)), PeerError)
        self.assertEqual([], self.inbox.arrived)

    def test_sealed(self) -> None:
        """
        Neither the sender's name nor the payload can be read in what delegates keep.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        [item] = [i for i in self.past.objects.values() if i.kind == PENDING]
        self.assertNotIn(b"payload", item.data)
        self.assertNotIn(b"alice@example.org", item.data)
        self.assertLess(len(item.data), ENVELOPE_LIMIT)

    def test_expired_is_refused(self) -> None:
        """
        The recipient refuses an envelope after its expiry: its id may have been forgotten by then.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        [item] = [i for i in self.past.objects.values() if i.kind == PENDING]
        envelope = envelope_in(item.data)
        assert envelope is not None
        self.clock.advance(2000)
        self.failureResultOf(Deferred.fromCoroutine(self.bobs.receive(envelope)), PeerError)

    def test_two_at_once(self) -> None:
        """
        Two delegates that push the same envelope at the same moment cause one delivery.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        [item] = [i for i in self.past.objects.values() if i.kind == PENDING]
        envelope = envelope_in(item.data)
        assert envelope is not None
        gate: Deferred[None] = Deferred()
        deliver = self.inbox.deliver

        async def slow(arrival: Arrival) -> None:
            await gate
            await deliver(arrival)

        self.inbox.deliver = slow  # type: ignore[method-assign]
        both = [Deferred.fromCoroutine(self.bobs.receive(envelope)) for _ in range(2)]
        gate.callback(None)
        first, second = [self.successResultOf(each) for each in both]
        self.assertEqual(first, second)
        self.assertEqual(1, len(self.inbox.arrived))

    def envelopes(self) -> list[bytes]:
        found = [envelope_in(item.data) for item in self.past.objects.values() if item.kind == PENDING]
        return [envelope for envelope in found if envelope is not None]

    def test_receipt_of_the_nodes_owner(self) -> None:
        """
        A node that Bob has left cannot take his mail by answering with a receipt of its owner's.
        """
        mallory = self.account("mallory")

        def answers(push: Push) -> Deferred[Message]:
            letter = msgspec.structs.replace(letter_in(push.envelope), recipient=mallory.id)
            receipt = acknowledge(envelope_hash(push.envelope), letter, NOW, mallory.key, mallory.chain)
            return succeed(Filed(receipt))

        self.rpc.answer = answers
        self.assertFalse(self.successResultOf(self.notify()).delivered)
        self.assertEqual([0], self.pending())

    def test_receipt_dated_back(self) -> None:
        """
        Nor can one who has Bob's key of before, which was revoked, by a receipt from the time when it was good.
        """

        def answers(push: Push) -> Deferred[Message]:
            letter = letter_in(push.envelope)
            receipt = acknowledge(envelope_hash(push.envelope), letter, NOW, self.bob.key, self.bob.chain)
            return succeed(Filed(receipt))

        self.rpc.answer = answers
        self.clock.advance(CLOCK_SKEW_S + 1)
        self.assertFalse(self.successResultOf(self.notify()).delivered)
        self.assertEqual([0], self.pending())

    def test_one_pusher_gives_up(self) -> None:
        """
        The deadline of the delegate that pushed first does not end what a second one waits for, nor the filing.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        [envelope] = self.envelopes()
        gate: Deferred[None] = Deferred()
        deliver = self.inbox.deliver

        async def slow(arrival: Arrival) -> None:
            await gate
            await deliver(arrival)

        self.inbox.deliver = slow  # type: ignore[method-assign]
        first, second = (Deferred.fromCoroutine(self.bobs.receive(envelope)) for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        gate.callback(None)
        self.assertTrue(self.successResultOf(second))
        self.assertEqual(1, len(self.inbox.arrived))

    def test_bug_while_filing(self) -> None:
        """
        When filing or inserting fails by a bug of ours, the sender is told that it failed, and does not wait for ever.
        """

        async def broken(*_: object) -> None:
            raise RuntimeError("a bug")

        self.inbox.deliver = broken  # type: ignore[method-assign, assignment]
        self.rpc.answer = self.bob_answers
        self.past.insert = broken  # type: ignore[method-assign, assignment]
        self.failureResultOf(self.notify(), Unreachable)
        self.flushLoggedErrors(RuntimeError)

    def test_stopping(self) -> None:
        """
        Nor when the node stops.
        """
        never: Deferred[Message] = Deferred()
        self.rpc.answer = lambda push: never

        async def forever(*_: object) -> None:
            await Deferred()

        self.past.insert = forever  # type: ignore[method-assign, assignment]
        told = self.notify()
        self.clock.advance(HEDGE_S)
        self.tasks.stop()
        self.failureResultOf(told, Unreachable)

    def test_nobody_is_remembered_in_vain(self) -> None:
        """
        When nothing waits any more, delegates know nothing of anybody; a node seen after the stop changes nothing.
        """
        self.pastry.alive = False
        for number in range(5):
            self.successResultOf(self.notify(b"%d" % number))
        self.clock.pump([1.0] * 10)
        self.assertEqual({BOB_NODE.id: {self.bob.id}}, self.delegates._by_node)
        self.rpc.answer = self.bob_answers
        self.delegates.seen(BOB_NODE)
        self.clock.pump([0.5] * 10)
        self.assertEqual((5, 0), (len(self.inbox.arrived), self.delegates.waiting))
        for remembered in (self.delegates._by_node, self.delegates._by_recipient, self.delegates._at):
            self.assertEqual({}, remembered)
        self.rpc.answer = lambda push: fail(Unreachable("off"))
        self.successResultOf(self.notify(b"another"))
        self.clock.pump([1.0] * 5)
        self.delegates.stop()
        self.delegates.seen(BOB_NODE)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_all_at_once_when_seen(self) -> None:
        """
        However long somebody was away, all that waits is offered within a second when their node is seen.
        """
        self.pastry.alive = False
        for number in range(20):
            self.successResultOf(self.notify(b"%d" % number))
        self.clock.pump([10.0] * 30)
        self.rpc.answer = self.bob_answers
        self.delegates.seen(BOB_NODE)
        self.clock.pump([0.1] * 10)
        self.assertEqual(20, len(self.inbox.arrived))

    def test_presence(self) -> None:
        """
        Whoever did not answer is followed; on presence all that waits goes where they say they are, and then nobody is
        followed any more.
        """
        self.pastry.alive = False
        for number in range(20):
            self.successResultOf(self.notify(b"%d" % number))
        self.assertEqual({}, self.followed.heard)
        self.clock.pump([10.0] * 30)
        self.assertEqual([self.bob.id], list(self.followed.heard))
        desk = Contact(NodeId(Id(78)), ("127.0.0.1:10",), 2)
        self.rpc.answer = self.bob_answers
        self.followed.heard[self.bob.id](self.bob.id, desk, b"")
        self.rpc.peers.clear()
        self.clock.pump([0.1] * 10)
        self.assertEqual((20, {desk}), (len(self.inbox.arrived), set(self.rpc.peers)))
        self.assertEqual(({}, {}), (self.followed.heard, self.delegates._said_at))
        self.delegates.present(self.bob.id, desk)
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_presence_that_is_not(self) -> None:
        """
        When nobody is where they said, the identity block is believed again.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        self.clock.pump([10.0] * 3)
        desk = Contact(NodeId(Id(78)), ("127.0.0.1:10",), 2)
        self.delegates.present(self.bob.id, desk)
        self.rpc.peers.clear()
        self.clock.pump([1.0] * 60)
        self.assertEqual([desk, BOB_NODE], self.rpc.peers[:2])
        self.assertEqual(1, self.rpc.peers.count(desk))

    def test_presence_of_a_neighbor(self) -> None:
        """
        Somebody who lives here is not followed, however long their mailbox does not take anything.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        self.reception.open(self.bob.id, self.inbox)
        self.inbox.broken = True
        self.clock.pump([10.0] * 6)
        self.assertEqual({}, self.followed.heard)
        self.inbox.broken = False
        self.clock.pump([10.0] * 12)
        self.assertEqual(1, len(self.inbox.arrived))

    def test_more_than_at_once(self) -> None:
        """
        What is more than the limit is taken up when the rest is done.
        """
        self.patch(delegates_module, "ERRANDS_LIMIT", 4)
        self.pastry.alive = False
        for number in range(9):
            self.successResultOf(self.notify(b"%d" % number))
        self.assertEqual(4, self.delegates.waiting)
        self.rpc.answer = self.bob_answers
        self.clock.pump([1.0] * 60)
        self.assertEqual((9, 0), (len(self.inbox.arrived), self.delegates.waiting))

    def test_pauses_grow(self) -> None:
        """
        Somebody who stays away costs ever fewer offers.
        """
        self.pastry.alive = False
        self.successResultOf(self.notify())
        self.clock.pump([1.0] * 120)
        early = len(self.rpc.asked)
        self.clock.pump([1.0] * 120)
        self.assertLess(len(self.rpc.asked) - early, early)

    def test_identity_that_cannot_be_read(self) -> None:
        """
        Somebody whose identity nobody shows is unknown only if enough holders answered.
        """
        stranger = self.account("stranger")
        self.failureResultOf(Deferred.fromCoroutine(self.identities.find(stranger.id)), NotFound)
        self.past.confirmed = False
        self.failureResultOf(Deferred.fromCoroutine(self.identities.find(stranger.id)), Unconfirmed)

    def test_identity_does_not_go_back(self) -> None:
        """
        An older identity block, shown by a holder that lags, does not replace the one that is known.
        """
        old = dict(self.past.objects)
        moved = Contact(NodeId(Id(78)), ("127.0.0.1:10",), 2)
        self.run_coroutine(self.bob.publish(moved, 1000))
        self.past.objects.update(old)
        found = self.run_coroutine(self.identities.find(self.bob.id, older_than_s=-1))
        self.assertEqual(moved, found.card.contact)
