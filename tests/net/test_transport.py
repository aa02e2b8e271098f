"""
Tests for L{post.net.transport} and L{post.net.switchboard}: many links, in memory.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.crypto.keys import SigningKey
from post.errors import ConfigError, Unreachable
from post.ids import Contact, Id, NodeId
from post.interfaces import ITransport
from post.net.config import LinkConfig
from post.net.framing import head
from post.net.link import Link
from post.net.messages import Reason
from post.rpc import Rpc
from post.wire import FRAME_LIMIT, Message, Priority, message
from tests.net.members import AUTHORITY, DAY, NOW, Authority, Member
from tests.net.memory import End, MemoryNetwork

BULK = b"b" * FRAME_LIMIT


@message(0x0FE0)
class Question(Message, frozen=True):
    """
    Any question.
    """

    text: bytes


class TransportTests(SynchronousTestCase):
    """
    Nodes 1 (the lower id) and 2.
    """

    def setUp(self) -> None:
        self.network = MemoryNetwork(NOW)
        self.members: list[Member] = []
        self.one, self.two = self.member(1), self.member(2)

    def tearDown(self) -> None:
        stopped = [each.transport.stop() for each in self.members]
        self.network.settle()
        self.network.advance(4)
        self.network.settle()
        for each in stopped:
            self.successResultOf(each)
        self.assertEqual([], self.network.getDelayedCalls())
        self.assertEqual([], self.network.ends())
        self.assertEqual({}, self.network.listening)

    def member(self, number: int, **how: Any) -> Member:
        """
        A node that serves.
        """
        return self.silent_member(number, **how).start()

    def silent_member(self, number: int, **how: Any) -> Member:
        """
        A node that does not serve yet.
        """
        member = Member(number, self.network, self.network, **how)
        self.members.append(member)
        return member

    def again(self, old: Member, number: int, epoch: int) -> Member:
        """
        The same node after a restart, on the same port.
        """
        return self.member(number, port=old.transport.port, epoch=epoch)

    def kill(self, member: Member, silently: bool = False) -> None:
        """
        The process of C{member} ends at once; C{silently}: its peers are not told.
        """
        self.members.remove(member)
        ends = self.own(member)
        member.transport.stop()
        for end in ends:
            end.other.reading = not silently
            self.sever(end)

    def own(self, member: Member) -> list[End]:
        """
        The ends of connections that are at C{member}.
        """
        ours = [link._tls.transport for link in self.connections(member)]
        return [end for end in self.network.ends() if end in ours]

    def sever(self, end: End) -> None:
        """
        Tell this end that the connection is lost; the other will see.
        """
        end.waiting.clear()
        end.closed = True
        end.protocol.connectionLost(Failure(ConnectionLost()))

    def linked(self) -> None:
        """
        Link the two, with nothing left in what they heard.
        """
        self.one.send(self.two, b"hello")
        self.network.settle()
        self.assertEqual([b"hello"], self.two.heard.frames())
        for each in (self.one, self.two):
            each.heard.heard.clear()

    def ends(self) -> tuple[End, End]:
        """
        Both ends of the only connection, the dialling end first.
        """
        [pair] = [pair for pair in self.network.connected if not pair[0].closed]
        return pair

    # The interface.

    def test_interface(self) -> None:
        """
        It is a transport.
        """
        self.assertTrue(verifyObject(ITransport, self.one.transport))

    def test_renew(self) -> None:
        """
        Newer certificates are shown on every link from then on, whoever dials; what is not ours is refused.
        """
        key, chain = AUTHORITY.member(3)
        three = self.member(3, identity=(key, chain))
        leaf, *_ = AUTHORITY.member(3, not_after=NOW + 200 * DAY, key=key)[1]
        for number, other in ((3, None), (4, key)):
            wrong = AUTHORITY.member(number, key=other)[1]
            self.assertRaises(ConfigError, three.transport.renew, key, wrong)
        three.transport.renew(key, [leaf, AUTHORITY.issuing])
        three.send(self.one, b"dialled")
        self.two.send(three, b"accepted")
        self.network.settle()
        for each in (self.one, self.two, three):
            certificate = each.transport.certificate(NodeId(Id(3)))
            assert certificate is not None
            self.assertEqual(NOW + 200 * DAY, certificate.not_after)

    def test_local(self) -> None:
        """
        The contact has the id of the certificate, the address that is listened on, and the epoch.
        """
        address = f"127.0.0.1:{self.one.transport.port}"
        self.assertEqual(Contact(NodeId(Id(1)), (address,), 1), self.one.contact)
        certificate = self.one.transport.certificate(NodeId(Id(1)))
        assert certificate is not None
        self.assertEqual("owner1@example.org", certificate.owner)

    def test_send(self) -> None:
        """
        What is sent to a node without a link makes one; both ends learn of the other before anything else, with its
        certificate, and answers go back over the same link.
        """
        self.assertTrue(self.one.send(self.two, b"first"))
        self.assertTrue(self.one.send(self.two, b"second"))
        self.network.settle()
        self.assertEqual([("found", 1), (1, b"first"), (1, b"second")], self.two.heard.heard)
        self.assertTrue(self.two.send(self.one, b"answer"))
        self.network.settle()
        self.assertEqual([("found", 2), (2, b"answer")], self.one.heard.heard)
        self.assertEqual(1, len(self.network.connected))
        self.assertEqual([self.two.contact], list(self.one.transport.links()))
        certificate = self.two.transport.certificate(NodeId(Id(1)))
        assert certificate is not None
        self.assertEqual("owner1@example.org", certificate.owner)
        self.assertIsNone(self.two.transport.certificate(NodeId(Id(3))))

    def test_introduce(self) -> None:
        """
        Whoever is at an address is introduced; a second introduction, also one at the same time, uses the same link
        and disturbs nothing.
        """
        address = self.two.contact.addresses[0]
        introduced = [self.one.transport.introduce(address) for _ in range(3)]
        self.network.settle()
        introduced.append(self.one.transport.introduce(address))
        self.network.settle()
        for each in introduced:
            self.assertEqual(self.two.contact, self.successResultOf(each))
        self.assertEqual(([("found", 2)], [("found", 1)]), (self.one.heard.heard, self.two.heard.heard))
        self.ends()

    def test_introduced_in_any_order(self) -> None:
        """
        Also when the connections come about in any order.
        """
        for seed in range(20):
            self.network = MemoryNetwork(NOW)
            self.members = []
            one, two = self.member(1), self.member(2)
            introduced = [one.transport.introduce(two.contact.addresses[0]) for _ in range(3)]
            self.network.shuffle(Random(seed), (20, 40))
            for each in introduced:
                self.assertEqual(two.contact, self.successResultOf(each))
            self.assertEqual(([("found", 2)], [("found", 1)]), (one.heard.heard, two.heard.heard), f"seed {seed}")
            if seed < 19:
                self.tearDown()

    def test_introduced_while_sending(self) -> None:
        """
        An introduction to a node that is being dialled at the same time makes no second link.
        """
        introduced = self.one.transport.introduce(self.two.contact.addresses[0])
        self.one.send(self.two, b"hello")
        self.network.settle()
        self.assertEqual(self.two.contact, self.successResultOf(introduced))
        self.assertEqual([("found", 1), (1, b"hello")], self.two.heard.heard)
        self.ends()

    def test_rpc(self) -> None:
        """
        Questions and answers of many frames go over a link.
        """
        three, four = self.silent_member(3), self.silent_member(4)
        asker = Rpc(three.transport, self.network, three.complaints)
        answerer = Rpc(four.transport, self.network, four.complaints)
        asker.start()
        answerer.start()
        answerer.serve(Question, lambda peer, question: Question(question.text[::-1]))
        text = bytes(range(256)) * 1500
        answer = asker.ask(four.contact, Question(text))
        self.network.settle()
        self.assertEqual(Question(text[::-1]), self.successResultOf(answer))

    def test_too_large(self) -> None:
        """
        A frame over the limit is our own mistake.
        """
        with self.assertRaises(ValueError):
            self.one.send(self.two, b"x" * (FRAME_LIMIT + 1))

    def test_to_ourselves(self) -> None:
        """
        There is no link to ourselves.
        """
        self.assertFalse(self.one.send(self.one, b"hello"))

    def test_round_trip(self) -> None:
        """
        The round-trip time is measured when a link is up, smoothed later, and remembered when the link is gone.
        """
        self.one.send(self.two, b"")
        self.network.settle()
        two = self.two.contact.id
        self.assertEqual(0.0, self.one.transport.round_trip_s(two))
        self.one.send(self.two, b"")
        self.network.settle()
        self.network.advance(65)
        near, _ = self.ends()
        while not near.waiting:
            self.network.advance(0)
        self.network.advance(0.8)
        self.network.settle()
        self.assertEqual(0.1, round(self.one.transport.round_trip_s(two) or 0, 3))
        self.network.cut()
        self.network.settle()
        self.assertEqual(0.1, round(self.one.transport.round_trip_s(two) or 0, 3))
        self.assertIsNone(self.one.transport.round_trip_s(NodeId(Id(9))))

    def test_quiet(self) -> None:
        """
        A link on which nothing is said costs nothing, however long.
        """
        self.linked()
        self.network.pass_time(130, 5)
        pulses = [link.pulse for link in self.connections(self.one) | self.connections(self.two)]
        pings = [pulse._number for pulse in pulses]
        self.network.pass_time(1000, 5)
        self.assertEqual(pings, [pulse._number for pulse in pulses])

    def test_receiver_fails(self) -> None:
        """
        A bug of the receiver does not end the link.
        """
        self.linked()

        def fail(peer: Contact, frame: bytes) -> None:
            raise RuntimeError("a bug")

        self.two.heard.frame_received = fail  # type: ignore[method-assign]
        self.one.send(self.two, b"x")
        self.network.settle()
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.assertEqual(1, len(self.one.transport.links()))

    def test_receiver_fails_on_events(self) -> None:
        """
        Nor does a bug in what is done about peers that come and go.
        """

        def fail(peer: object) -> None:
            raise RuntimeError("a bug")

        self.two.heard.peer_found = self.two.heard.peer_lost = fail  # type: ignore[method-assign]
        self.linked()
        self.network.cut()
        self.network.settle()
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))

    # Configuration.

    def test_port_in_use(self) -> None:
        """
        A port that is taken is one clear line.
        """
        error = self.assertRaises(ConfigError, Member, 3, self.network, self.network, port=self.one.transport.port)
        self.assertIn(f"127.0.0.1:{self.one.transport.port}: Address already in use", str(error).replace("cannot ", ""))

    def test_own_certificate(self) -> None:
        """
        A certificate that has expired, is of another authority, or is of another key is refused at the start.
        """
        key, chain = AUTHORITY.member(3)
        stranger = SigningKey.generate(AUTHORITY.entropy)
        for identity in (
            AUTHORITY.member(3, NOW - 2 * DAY, NOW - DAY),
            Authority(b"other").member(3),
            (stranger, chain),
            (key, chain[:1]),
        ):
            with self.assertRaises(ConfigError):
                Member(3, self.network, self.network, identity=identity)

    # Unreachable peers.

    def test_nobody_there(self) -> None:
        """
        Who cannot be reached is lost, once per attempt; what waited is dropped, and until the backoff is over nothing
        is taken.
        """
        nobody = Contact(NodeId(Id(9)), ("127.0.0.1:9", "127.0.0.1:8"), 1)
        self.assertTrue(self.one.transport.send(nobody, b"x", Priority.NORMAL))
        self.assertTrue(self.one.transport.send(nobody, b"y", Priority.NORMAL))
        self.assertEqual([], self.one.heard.heard)
        self.network.settle()
        self.assertEqual([("lost", 9)], self.one.heard.heard)
        self.assertEqual([9, 8], self.network.dialled)
        self.assertFalse(self.one.transport.send(nobody, b"z", Priority.NORMAL))
        self.network.advance(1)
        self.assertTrue(self.one.transport.send(nobody, b"z", Priority.NORMAL))
        self.network.settle()
        self.assertEqual([("lost", 9)] * 2, self.one.heard.heard)

    def test_no_address(self) -> None:
        """
        Without an address nothing is taken, unless there is a link.
        """
        self.assertFalse(self.one.transport.send(Contact(NodeId(Id(2))), b"x", Priority.NORMAL))
        self.linked()
        self.assertTrue(self.one.transport.send(Contact(NodeId(Id(2))), b"x", Priority.NORMAL))

    def test_second_address(self) -> None:
        """
        If one address is silent, the next is tried.
        """
        self.network.silent.add(7)
        contact = Contact(self.two.contact.id, ("127.0.0.1:7", *self.two.contact.addresses), 1)
        self.one.transport.send(contact, b"x", Priority.NORMAL)
        self.network.pass_time(6)
        self.assertEqual([b"x"], self.two.heard.frames())

    def test_news_end_the_backoff(self) -> None:
        """
        A newer boot of the peer is dialled at once.
        """
        self.one.transport.send(Contact(NodeId(Id(2)), ("127.0.0.1:9",), 1), b"x", Priority.NORMAL)
        self.network.settle()
        self.assertFalse(self.one.transport.send(Contact(NodeId(Id(2)), ("127.0.0.1:9",), 1), b"x", Priority.NORMAL))
        self.assertTrue(self.one.send(self.two, b"y"))
        self.network.settle()
        self.assertEqual([b"y"], self.two.heard.frames())

    def test_sent_on_losing(self) -> None:
        """
        A receiver may send to the peer at once when it is told of the loss; that goes over the next link.
        """
        self.linked()
        self.network.pass_time(10)
        self.one.heard.peer_lost = lambda peer: None if self.one.send(self.two, b"are you there?") else self.fail()  # type: ignore[method-assign]
        self.network.cut()
        self.network.settle()
        self.assertEqual([b"are you there?"], self.two.heard.frames())

    def test_stopped_while_dialling(self) -> None:
        """
        A node that stops gives up what it is dialling.
        """
        self.network.silent.add(7)
        introduced = [
            self.one.transport.introduce(address) for address in ("127.0.0.1:7", self.two.contact.addresses[0])
        ]
        self.one.transport.send(Contact(NodeId(Id(9)), ("127.0.0.1:7",)), b"", Priority.NORMAL)
        self.network.advance(0)
        stopped = self.one.transport.stop()
        for each in introduced:
            self.failureResultOf(each, Unreachable)
        self.failureResultOf(self.one.transport.introduce(self.two.contact.addresses[0]), Unreachable)
        self.network.settle()
        self.successResultOf(stopped)
        self.members.remove(self.one)
        self.two.transport.stop()
        self.assertEqual([], self.network.getDelayedCalls())
        self.assertEqual([], self.one.heard.heard + self.two.heard.heard)

    def test_dialled_meanwhile(self) -> None:
        """
        If the peer links with us while we try an address of it that is silent, that attempt is given up, and what
        waited goes over the link.
        """
        self.network.silent.add(7)
        contact = Contact(self.two.contact.id, ("127.0.0.1:7",), 1)
        self.one.transport.send(contact, b"for two", Priority.NORMAL)
        self.network.settle()
        self.two.send(self.one, b"for one")
        self.network.settle()
        self.assertEqual([b"for two"], self.two.heard.frames())
        self.assertEqual(2, len([call for call in self.network.getDelayedCalls() if call.getTime() > NOW]))
        self.network.pass_time(8)
        self.assertEqual(["found"], self.one.heard.events())

    def test_acknowledged_and_cut(self) -> None:
        """
        If a link breaks after our ACK, before we know whether it is up, what waits for it is lost, and so says an
        introduction that relied on it.
        """
        address = self.two.contact.addresses[0]
        first = self.one.transport.introduce(address)
        peers = self.one.transport._switchboard._peers
        for _ in range(1000):
            self.network.advance(0)
            for end in self.network.ends():
                end.deliver(20)
            if any(peer.pending for peer in peers.values()):
                break
        second = peers[self.two.contact.id].introduction()
        self.assertTrue(self.one.send(self.two, b"waits"))
        self.network.cut()
        self.network.settle()
        for each in (first, second):
            self.failureResultOf(each, Unreachable)
        self.assertEqual([("lost", 2)], self.one.heard.heard)
        self.assertEqual(0, self.one.transport._switchboard._budget.used)

    def test_too_many_dials(self) -> None:
        """
        So many peers are dialled at once and no more.
        """
        member = self.member(3, config=LinkConfig(dial_limit=2))
        self.network.silent.add(7)
        sent = [
            member.transport.send(Contact(NodeId(Id(number)), ("127.0.0.1:7",)), b"", Priority.NORMAL)
            for number in (11, 12, 13)
        ]
        self.assertEqual([True, True, False], sent)
        self.network.pass_time(6)
        self.assertTrue(member.send(self.one, b""))

    def test_flapping(self) -> None:
        """
        A peer whose link is lost as soon as it is up is not dialled in a circle.
        """
        self.linked()
        self.network.cut()
        self.network.settle()
        self.assertFalse(self.one.send(self.two, b"x"))
        self.network.advance(1)
        self.assertTrue(self.one.send(self.two, b"x"))

    # Queues.

    def test_urgent_overtakes_bulk(self) -> None:
        """
        An urgent frame waits for what has been handed to TLS, at most two batches, and not for the bulk behind it.
        """
        self.linked()
        for _ in range(40):
            self.assertTrue(self.one.send(self.two, BULK, Priority.BULK))
        self.network.advance(0)
        self.one.send(self.two, b"normal")
        self.one.send(self.two, b"urgent", Priority.URGENT)
        self.network.settle()
        frames = self.two.heard.frames()
        self.assertEqual(42, len(frames))
        self.assertLessEqual(frames.index(b"urgent"), 2)
        self.assertEqual(frames.index(b"urgent") + 1, frames.index(b"normal"))

    def test_stuck_receiver(self) -> None:
        """
        A peer that does not read makes send() answer C{False}; what is kept for it stays within the limit, and when it
        reads again all that was taken arrives.
        """
        self.linked()
        self.two.transport.pause(self.one.contact.id)
        taken = 0
        for _ in range(400):
            taken += self.one.send(self.two, BULK, Priority.BULK)
            self.network.settle()
        near, _ = self.ends()
        limit = 6 * 1024 * 1024 + 2 * (FRAME_LIMIT + 1000)
        self.assertLessEqual(near.most_waiting, 2 * (FRAME_LIMIT + 1000))
        self.assertTrue(6 * 1024 * 1024 - FRAME_LIMIT <= taken * FRAME_LIMIT <= limit)
        self.assertTrue(self.one.send(self.two, b"urgent", Priority.URGENT))
        self.two.transport.resume(self.one.contact.id)
        self.network.settle()
        self.assertEqual(taken + 1, len(self.two.heard.frames()))

    def test_never_reads_again(self) -> None:
        """
        A peer that reads and says nothing any more is cut off, and the memory is free again.
        """
        self.linked()
        self.two.transport.pause(self.one.contact.id)
        self.one.transport.pause(self.two.contact.id)
        while self.one.send(self.two, BULK, Priority.BULK):
            pass
        waiting = self.one.transport.writable(self.two.contact.id)
        self.assertNoResult(waiting)
        self.network.pass_time(130, 5)
        self.successResultOf(waiting)
        self.assertEqual([("lost", 2)], self.one.heard.heard)
        self.assertEqual(0, self.one.transport._switchboard._budget.used)

    def test_writable(self) -> None:
        """
        Room for bulk is told when the queue has become short, and at once if it is.
        """
        self.linked()
        two = self.two.contact.id
        self.successResultOf(self.one.transport.writable(two))
        self.successResultOf(self.one.transport.writable(NodeId(Id(9))))
        for _ in range(10):
            self.one.send(self.two, BULK, Priority.BULK)
        waiting = self.one.transport.writable(two)
        self.assertNoResult(waiting)
        self.network.settle()
        self.successResultOf(waiting)

    def test_writable_streams(self) -> None:
        """
        Many who wait for room at once keep the queue short, and all get through.
        """
        self.linked()
        two = self.two.contact.id
        longest = 0

        async def stream(number: int) -> None:
            nonlocal longest
            for _ in range(20):
                await self.one.transport.writable(two)
                self.assertTrue(self.one.send(self.two, BULK, Priority.BULK))
                longest = max(longest, self.one.transport._switchboard._budget.used)

        streams = [Deferred.fromCoroutine(stream(number)) for number in range(10)]
        self.network.settle()
        for each in streams:
            self.successResultOf(each)
        self.assertEqual(200, len(self.two.heard.frames()))
        self.assertLessEqual(longest, LinkConfig.bulk_low_bytes + FRAME_LIMIT)

    def test_writable_when_lost(self) -> None:
        """
        Who waits for room goes on when the link is lost, or could not be made.
        """
        for _ in range(10):
            self.one.send(self.two, BULK, Priority.BULK)
        waiting = self.one.transport.writable(self.two.contact.id)
        self.kill(self.two)
        self.network.settle()
        self.successResultOf(waiting)

    # One link per pair.

    def test_simultaneous(self) -> None:
        """
        When both dial at once, in whatever order the bytes arrive, there is one link in the end, that of the lower id
        unless only the other came up; every frame arrives, once and in order; nobody is told of a loss.
        """
        for seed in range(40):
            random = Random(seed)
            network = self.network = MemoryNetwork(NOW)
            self.members = []
            one, two = self.member(1), self.member(2)
            sent = [b"%d" % number for number in range(30)]
            for sender, receiver in ((one, two), (two, one)):
                for frame in sent[:3]:
                    sender.send(receiver, frame)
            for number in range(3, 30):
                if network.ends():
                    for _ in range(random.randrange(12)):
                        random.choice(network.ends()).deliver(random.choice((50, 500, 5000)))
                network.advance(0)
                self.assertTrue(one.send(two, sent[number]))
                self.assertTrue(two.send(one, sent[number]))
            network.shuffle(random)
            self.assertEqual((sent, sent), (one.heard.frames(), two.heard.frames()), f"seed {seed}")
            self.assertEqual((1, 1), (len(one.transport.links()), len(two.transport.links())))
            self.assertEqual(2, len(network.ends()), f"seed {seed}")
            self.assertNotIn("lost", one.heard.events() + two.heard.events(), f"seed {seed}")
            if seed < 39:
                self.tearDown()

    def test_chaos(self) -> None:
        """
        However links are cut, end, and are dialled at once: nothing arrives twice or out of order, nothing is missing
        without somebody being told of a loss, both ends agree which link there is, and sending goes on afterwards.
        """
        for seed in range(30):
            random = Random(seed)
            network = self.network = MemoryNetwork(NOW)
            self.members = []
            one, two = self.member(1), self.member(2)
            sent: dict[int, list[bytes]] = {1: [], 2: []}
            for number in range(random.randrange(20, 100)):
                for sender, receiver in ((one, two), (two, one)):
                    frame = b"%d" % number
                    if random.random() < 0.4 and sender.send(receiver, frame):
                        sent[int(sender.contact.id)].append(frame)
                self.disturb(random, one, two)
            for _ in range(12):
                network.shuffle(random)
                network.advance(1)
            for sender, receiver in ((one, two), (two, one)):
                received, all_sent = receiver.heard.frames(), sent[int(sender.contact.id)]
                rest = iter(all_sent)
                self.assertTrue(all(frame in rest for frame in received), f"seed {seed}: order")
                if received != all_sent:
                    self.assertIn("lost", one.heard.events() + two.heard.events(), f"seed {seed}: silent loss")
            self.assertEqual(len(one.transport.links()), len(two.transport.links()), f"seed {seed}")
            self.assertIn(len(network.ends()), (0, 2), f"seed {seed}")
            network.advance(40)
            self.assertTrue(one.send(two, b"final"))
            network.settle()
            self.assertEqual(b"final", two.heard.frames()[-1], f"seed {seed}")
            if seed < 29:
                self.tearDown()

    def disturb(self, random: Random, *members: Member) -> None:
        """
        Let something happen: a cut, an idle end, some time, some bytes.
        """
        network = self.network
        if random.random() < 0.05:
            if random.random() < 0.5 and network.ends():
                random.choice(network.ends()).abortConnection()
            else:
                for member in members:
                    for link in list(member.transport._switchboard.linked.values()):
                        link.leave(Reason.IDLE)
        network.advance(random.choice((0, 0, 0, 0, 0, 0.3, 1, 6)))
        for _ in range(random.randrange(8)):
            if network.ends():
                random.choice(network.ends()).deliver(random.choice((1, 50, 500, 5000)))

    def test_simultaneous_crossing(self) -> None:
        """
        When both links come up, that of the higher id ends in order.
        """
        self.one.send(self.two, b"from one")
        self.two.send(self.one, b"from two")
        self.network.settle()
        self.assertEqual(2, len(self.network.connected))
        near, _ = self.ends()
        self.assertEqual(self.two.transport.port, near.getPeer().port)
        self.assertEqual([("found", 2), (2, b"from two")], self.one.heard.heard)
        self.assertEqual([("found", 1), (1, b"from one")], self.two.heard.heard)

    def test_simultaneous_and_cut(self) -> None:
        """
        If the link that is to end breaks before it has ended, frames may be lost on it: both ends are told so.
        """
        seen = 0
        for seed in range(30):
            random = Random(seed)
            network = self.network = MemoryNetwork(NOW)
            self.members = []
            one, two = self.member(1), self.member(2)
            one.send(two, b"from one")
            two.send(one, b"from two")
            network.advance(0)
            network.advance(0)
            ending: list[Link] = []
            while network.ends() and any(end.waiting for end in network.ends()) and len(ending) < 2:
                random.choice(network.ends()).deliver(random.choice((50, 500, 5000)))
                both = self.connections(one) | self.connections(two)
                ending = [link for link in both if link.leaving and not link.gone]
            if len(ending) == 2 and one.transport.links() and two.transport.links():
                seen += 1
                for link in ending:
                    link._tls.transport.waiting.clear()
                    link._tls.transport.abortConnection()
                network.settle()
                for member in (one, two):
                    self.assertEqual(["found", "lost", "found"], member.heard.events(), f"seed {seed}")
                    self.assertEqual(1, len(member.transport.links()))
                one.send(two, b"again")
                network.settle()
                self.assertEqual(b"again", two.heard.frames()[-1])
            if seed < 29:
                self.tearDown()
        self.assertGreater(seen, 3)

    def connections(self, member: Member) -> set[Link]:
        """
        All connections of C{member}.
        """
        return member.transport._switchboard.connections

    def test_restart(self) -> None:
        """
        A peer that restarts is lost, found again when it is dialled, and known by its newer epoch.
        """
        self.linked()
        self.network.pass_time(10)
        self.kill(self.two)
        self.network.settle()
        self.assertEqual([("lost", 2)], self.one.heard.heard)
        two = self.again(self.two, 2, epoch=2)
        self.assertTrue(self.one.send(two, b"welcome back"))
        self.network.settle()
        self.assertEqual([b"welcome back"], two.heard.frames())
        self.assertEqual([two.contact], list(self.one.transport.links()))

    def test_restart_unnoticed(self) -> None:
        """
        If nobody noticed that a peer was gone, the link from its newer boot replaces the old one at once.
        """
        self.linked()
        self.kill(self.two, silently=True)
        two = self.again(self.two, 2, epoch=2)
        two.send(self.one, b"I am back")
        self.network.settle()
        self.assertEqual([("lost", 2), ("found", 2), (2, b"I am back")], self.one.heard.heard)
        self.assertEqual([two.contact], list(self.one.transport.links()))
        self.one.send(two, b"so I see")
        self.network.settle()
        self.assertEqual([b"so I see"], two.heard.frames())

    def test_only_one_end_noticed(self) -> None:
        """
        If a link breaks and only one end notices, its new link is taken, although the rule for simultaneous dials
        would keep the old one; whichever end it is.
        """
        for noticing, other in ((self.two, self.one), (self.one, self.two)):
            noticing.send(other, b"old")
            self.network.settle()
            self.network.pass_time(10)
            for end in self.network.ends():
                end.reading = False
            for end in self.own(noticing):
                self.sever(end)
            for each in (self.one, self.two):
                each.heard.heard.clear()
            noticing.send(other, b"new")
            self.network.settle()
            number = int(noticing.contact.id)
            self.assertEqual([("lost", number), ("found", number), (number, b"new")], other.heard.heard)
            other.send(noticing, b"yes")
            self.network.settle()
            self.assertEqual([b"yes"], noticing.heard.frames())

    def test_idle(self) -> None:
        """
        A link that nobody uses is closed after a while, without anybody being told of a loss; the next frame makes a
        new one.
        """
        self.linked()
        self.network.pass_time(5300, 50)
        self.ends()
        self.network.pass_time(200, 50)
        self.assertEqual([], self.network.ends())
        self.assertEqual([], self.one.heard.heard + self.two.heard.heard)
        self.one.send(self.two, b"again")
        self.network.settle()
        self.assertEqual([("found", 1), (1, b"again")], self.two.heard.heard)

    def test_not_idle(self) -> None:
        """
        A link that carries a frame now and then, in one direction, stays.
        """
        self.linked()
        for _ in range(5):
            self.network.pass_time(5000, 50)
            self.one.send(self.two, b"beat", Priority.URGENT)
        self.assertEqual(1, len(self.network.connected))

    def test_idle_crossing(self) -> None:
        """
        A frame sent while the other end closes an idle link is not lost.
        """
        self.linked()
        self.network.pass_time(5395, 5)
        self.one.transport._switchboard.linked[self.two.contact.id].leave(Reason.IDLE)
        self.two.send(self.one, b"just in time")
        self.one.send(self.two, b"me too")
        self.network.settle()
        self.assertEqual([b"just in time"], self.one.heard.frames())
        self.assertEqual([b"me too"], self.two.heard.frames())
        self.assertNotIn("lost", self.one.heard.events() + self.two.heard.events())

    def test_link_limit(self) -> None:
        """
        For one link more than the limit the least recently used is closed.
        """
        hub = self.member(3, config=LinkConfig(link_limit=2))
        others = [self.one, self.two, self.member(4)]
        for each in others:
            hub.send(each, b"x")
            self.network.pass_time(1)
        self.assertEqual([self.two.contact, others[2].contact], list(hub.transport.links()))
        self.assertNotIn("lost", hub.heard.events())

    def test_stop(self) -> None:
        """
        When a node stops, its peers know at once; what it sent before arrives.
        """
        self.linked()
        self.one.send(self.two, b"goodbye")
        stopped = self.one.transport.stop()
        self.network.settle()
        self.successResultOf(stopped)
        self.assertEqual([(1, b"goodbye"), ("lost", 1)], self.two.heard.heard)
        self.assertEqual([], self.one.heard.heard)
        self.assertFalse(self.one.send(self.two, b"more"))

    def test_stop_with_a_dead_peer(self) -> None:
        """
        A peer that does not answer delays the end for a few seconds only.
        """
        self.linked()
        for end in self.network.ends():
            end.reading = False
        stopped = self.one.transport.stop()
        self.network.settle()
        self.assertNoResult(stopped)
        self.network.pass_time(4)
        self.successResultOf(stopped)

    def test_liar_of_lengths(self) -> None:
        """
        A member that breaks the protocol is lost, and may come back.
        """
        self.linked()
        link = self.one.transport._switchboard.linked[self.two.contact.id]
        link._tls.write(head(FRAME_LIMIT + 1))
        self.network.settle()
        self.assertEqual([("lost", 1)], self.two.heard.heard)
        self.assertEqual({"broken link protocol": 1}, dict(self.two.complaints.counts))
        self.network.pass_time(2)
        self.assertTrue(self.one.send(self.two, b"sorry"))
        self.network.settle()
        self.assertEqual([b"sorry"], self.two.heard.frames())
