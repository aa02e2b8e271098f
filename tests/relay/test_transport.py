"""
Tests for L{post.relay.transport}.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.crypto.trust import Taken
from post.interfaces import IReceiver, ITransport
from post.relay.carrier import relay_frame
from post.relay.detour import KNOCK_FIRST_S, KNOCK_MOST_S
from post.relay.messages import Carried, Hail, Knock, NoWay, Sealed, Stale
from post.relay.sources import BAD_BURST, HAILS_BURST, PACE_BURST_BYTES, SOURCES_LIMIT
from post.relay.transport import IDLE_S, RENEW_S
from post.rpc import PIECE_LIMIT
from post.wire import FRAME_LIMIT, RELAY_ROOM, Message, Priority, decode, encode
from tests.net.members import NOW
from tests.relay.nodes import Crook, Nodes

APART = [(1, 2)]


def honest(carried: Carried) -> Iterable[Message]:
    """
    Bring it.
    """
    return [carried]


class AroundTests(SynchronousTestCase):
    """
    Nodes 1 and 2 do not reach each other, node 3 reaches both.
    """

    def setUp(self) -> None:
        self.nodes = Nodes(APART)
        self.one, self.two, self.three = (self.nodes.node(number) for number in (1, 2, 3))

    def opened(self) -> None:
        """
        There is a way around, which both know.
        """
        self.assertTrue(self.one.open(2, 3))
        self.one.send(2, b"first")
        self.nodes.clock.advance(1)
        self.assertEqual(([2], [1]), (self.one.indirect(), self.two.indirect()))
        self.two.heard.heard.clear()

    def test_interface(self) -> None:
        """
        It is a transport to what is above, and a receiver to what is below.
        """
        verifyObject(ITransport, self.one.transport)
        verifyObject(IReceiver, self.one.transport)
        verifyObject(IReceiver, Crook(lambda target, frame: None, honest))

    def test_both_ways(self) -> None:
        """
        Frames get there and back, as over a link: found, whose it is proven, and by whom nobody in between can say.
        """
        self.opened()
        self.assertTrue(self.two.send(1, b"back"))
        self.assertTrue(self.one.send(2, b"there"))
        self.nodes.clock.advance(1)
        self.assertEqual([(1, b"there")], self.two.heard.heard)
        self.assertEqual([("found", 2), (2, b"back")], [each for each in self.one.heard.heard if each[1] != 3])
        found = self.two.transport.certificate(self.one.contact.id)
        self.assertEqual(self.one.certificate, found)
        self.assertNotIn(b"there", b"".join(encode(message) for _, _, message in self.nodes.frames))

    def test_no_message_without_need(self) -> None:
        """
        Who is reached directly is sent what it is sent, and nothing else.
        """
        self.one.send(3, b"straight")
        self.nodes.clock.advance(100)
        self.assertEqual([], self.nodes.frames)
        self.assertIn((1, b"straight"), self.three.heard.heard)

    def test_size(self) -> None:
        """
        The longest frame of L{post.rpc} still fits when it is carried.
        """
        self.assertEqual(FRAME_LIMIT, PIECE_LIMIT + 5 + RELAY_ROOM)
        self.opened()
        frame = bytes(FRAME_LIMIT - RELAY_ROOM)
        self.assertTrue(self.one.send(2, frame, Priority.BULK))
        self.nodes.clock.advance(1)
        self.assertEqual([(1, frame)], self.two.heard.heard)

    def test_no_way(self) -> None:
        """
        Where the relay does not reach the other either, or is not there, there is no way, and nothing is left of it.
        """
        nodes = Nodes([(1, 2), (2, 3)])
        one = nodes.node(1)
        nodes.node(3)
        nodes.node(2)
        self.assertFalse(one.open(2, 3))
        self.assertFalse(one.open(2, 4))
        self.assertEqual([], one.indirect())

    def test_next_relay(self) -> None:
        """
        Of several relays one that reaches both is used.
        """
        self.nodes.apart |= {(2, 4), (4, 2)}
        self.nodes.node(4)
        self.assertTrue(self.one.open(2, 4, 3))
        self.one.send(2, b"there")
        self.nodes.clock.advance(1)
        self.assertIn((1, b"there"), self.two.heard.heard)

    def test_never_two_relays(self) -> None:
        """
        Nothing is carried to a node that the relay itself reaches only by way of another one.
        """
        self.opened()
        four = self.nodes.node(4)
        self.nodes.apart |= {(2, 4), (4, 2)}
        self.assertFalse(four.open(2, 1))
        self.assertEqual([], four.indirect())

    def test_relay_lost(self) -> None:
        """
        When the only relay is gone the other one is lost, and told to be; with a second relay it is not.
        """
        self.opened()
        self.nodes.network.crash(self.three.contact.id)
        self.nodes.clock.advance(1)
        self.assertIn(("lost", 2), self.one.heard.heard)
        self.assertEqual([], self.one.indirect())
        self.nodes.node(3, 2)
        self.nodes.node(4)
        self.assertTrue(self.one.open(2, 4))
        self.assertTrue(self.one.open(2, 3))
        self.one.heard.heard.clear()
        self.nodes.network.crash(self.nodes.contact(3).id)
        self.nodes.clock.advance(1)
        self.assertEqual([("lost", 3)], self.one.heard.heard)
        self.one.send(2, b"again")
        self.nodes.clock.advance(1)
        self.assertIn((1, b"again"), self.two.heard.heard)

    def test_target_lost(self) -> None:
        """
        When the other one ends, the relay says so at once.
        """
        self.opened()
        self.nodes.network.crash(self.two.contact.id)
        self.nodes.clock.advance(0.5)
        self.assertIn(("lost", 2), self.one.heard.heard)

    def test_restart(self) -> None:
        """
        A node that has started anew is reached anew, with keys of its new life.
        """
        self.opened()
        self.nodes.network.crash(self.two.contact.id)
        self.nodes.clock.advance(1)
        two = self.nodes.node(2, 2)
        self.assertTrue(self.one.open(2, 3))
        self.one.send(2, b"there")
        self.nodes.clock.advance(1)
        self.assertEqual([b"there"], two.heard.frames())
        self.assertEqual(two.contact, self.one.transport.indirect()[0])

    def test_stale(self) -> None:
        """
        Whoever has lost the keys says so, and gets new ones.
        """
        self.opened()
        self.two.transport._detours.clear()
        self.nodes.clock.advance(5)
        self.one.send(2, b"lost")
        self.nodes.clock.advance(1)
        self.one.send(2, b"there")
        self.nodes.clock.advance(1)
        self.assertEqual([b"there"], self.two.heard.frames())

    def test_stale_by_the_relay(self) -> None:
        """
        A relay that says it again and again makes nobody hail as often.
        """
        self.opened()
        detour = self.one.transport._detours[self.two.contact.id]
        assert detour.current is not None
        self.nodes.clock.advance(5)
        self.nodes.frames.clear()
        for _ in range(100):
            stale = Carried(self.two.contact.id, encode(Stale(detour.current.id)))
            self.one.transport.frame_received(self.three.contact, relay_frame(stale))
        self.nodes.clock.advance(1)
        hails = [m for _, _, m in self.nodes.frames if isinstance(m, Carried) and isinstance(decode(m.payload), Hail)]
        self.assertEqual(2, len(hails))  # One, and its answer.

    def test_direct_again(self) -> None:
        """
        The direct way is tried ever more rarely, and used as soon as it works.
        """
        self.opened()
        self.nodes.clock.advance(2 * KNOCK_FIRST_S)
        self.assertEqual([2], self.one.indirect())
        self.nodes.apart.clear()
        self.nodes.clock.advance(4 * KNOCK_FIRST_S)
        self.assertEqual(([], []), (self.one.indirect(), self.two.indirect()))
        self.nodes.frames.clear()
        self.one.send(2, b"straight")
        self.nodes.clock.advance(1)
        self.assertIn((1, b"straight"), self.two.heard.heard)
        self.assertEqual([], self.nodes.frames)

    def test_more_rarely(self) -> None:
        """
        Where it never works, it is tried once in five minutes.
        """
        self.opened()
        for _ in range(10):
            self.nodes.clock.advance(KNOCK_MOST_S)
            self.one.send(2, b"still there")
        detour = self.one.transport._detours[self.two.contact.id]
        self.assertEqual(KNOCK_MOST_S, detour.knock_wait_s)

    def test_one_way(self) -> None:
        """
        Who is hailed dials in its turn: if that way a link can be made, it is.
        """
        nodes = Nodes(APART, one_way=True)
        one, two, _ = (nodes.node(number) for number in (1, 2, 3))
        self.assertTrue(one.open(2, 3))
        one.send(2, b"call me")
        nodes.clock.advance(1)
        self.assertEqual(([], []), (one.indirect(), two.indirect()))
        self.assertIn(two.contact, one.transport.links())

    def test_stalled_link(self) -> None:
        """
        A link that is up and brings nothing is gone around, and used again when it does.
        """
        nodes = Nodes()
        one, two, _ = (nodes.node(number) for number in (1, 2, 3))
        one.send(2, b"linked")
        nodes.clock.advance(1)
        nodes.network.block(one.contact.id, two.contact.id)
        self.assertTrue(one.open(2, 3))
        one.send(2, b"around")
        nodes.clock.advance(1)
        self.assertIn((1, b"around"), two.heard.heard)
        self.assertEqual(([2], [1]), (one.indirect(), two.indirect()))
        nodes.network.unblock(one.contact.id, two.contact.id)
        nodes.clock.advance(60)
        self.assertEqual(([], []), (one.indirect(), two.indirect()))

    def test_idle(self) -> None:
        """
        A way that nobody uses is forgotten, without a word; so are timers.
        """
        self.opened()
        self.one.heard.heard.clear()
        self.nodes.clock.advance(IDLE_S + 20)
        self.assertEqual(([], []), (self.one.indirect(), self.two.indirect()))
        self.assertNotIn(("lost", 2), self.one.heard.heard)
        self.assertIsNone(self.one.transport._tending)

    def test_new_keys(self) -> None:
        """
        After an hour keys are agreed anew, while frames go on.
        """
        self.opened()
        detour = self.one.transport._detours[self.two.contact.id]
        before = detour.current
        for number in range(int(RENEW_S / 60) + 2):
            self.nodes.clock.advance(60)
            self.one.send(2, str(number).encode())
        self.nodes.clock.advance(1)
        self.assertIsNot(before, detour.current)
        self.assertEqual([str(number).encode() for number in range(int(RENEW_S / 60) + 2)], self.two.heard.frames())

    def test_revoked(self) -> None:
        """
        Whoever is revoked is not heard any more by way of others either.
        """
        self.opened()
        key = self.one.certificate.public_key
        self.two.trust.revoke({key: Taken(NOW)}, NOW)
        self.two.transport.recheck()
        self.assertEqual([], self.two.indirect())
        self.assertIn(("lost", 1), self.two.heard.heard)
        self.two.heard.heard.clear()
        self.one.send(2, b"still me")
        self.nodes.clock.advance(30)
        self.one.send(2, b"still me")
        self.nodes.clock.advance(30)
        self.assertEqual([], self.two.heard.frames())

    def test_earlier_life(self) -> None:
        """
        A greeting from before a restart is not answered.
        """
        self.one.open(2, 3)
        hail = next(m for _, target, m in self.nodes.frames if target == 2 and isinstance(m, Carried))
        self.nodes.contact(1)
        self.nodes.network.crash(self.one.contact.id)
        self.nodes.node(1, 2)
        self.nodes.frames.clear()
        self.two.transport.frame_received(self.three.contact, relay_frame(hail))
        self.nodes.clock.advance(1)
        self.assertEqual([], [message for source, _, message in self.nodes.frames if source == 2])

    def test_bulk_is_paced(self) -> None:
        """
        Who waits for room before it sends more bulk is never told that it was too much, and everything arrives.
        """
        self.opened()
        sent = 0
        while sent < 3 * PACE_BURST_BYTES:
            self.nodes.run(self.one.transport.writable(self.two.contact.id), 60)
            self.assertTrue(self.one.send(2, bytes(60_000), Priority.BULK))
            sent += 60_000
        self.nodes.clock.advance(5)
        self.assertEqual(sent, sum(map(len, self.two.heard.frames())))
        self.assertEqual({}, self.three.complaints.counts)

    def test_stop(self) -> None:
        """
        After the end there are no timers.
        """
        self.opened()
        for node in (self.one, self.two, self.three):
            node.transport.stop()
        self.nodes.clock.advance(IDLE_S)
        self.assertEqual([], self.one.indirect())


class CrookTests(SynchronousTestCase):
    """
    The relay between nodes 1 and 2 does not do what it should.
    """

    def test_altered(self) -> None:
        """
        What it has altered is refused, and counted; after a while nothing more is looked at that it brings.
        """

        def alter(carried: Carried) -> Iterable[Message]:
            message = decode(carried.payload)
            if isinstance(message, Sealed):
                data = bytes([message.data[0] ^ 1]) + message.data[1:]
                return [Carried(carried.origin, encode(Sealed(message.session, message.number, data)))]
            return [carried]

        nodes = Nodes(APART)
        one, two = nodes.node(1), nodes.node(2)
        nodes.crook(3, alter)
        self.assertTrue(one.open(2, 3))
        for _ in range(2 * BAD_BURST):
            one.send(2, b"pay 10")
        nodes.clock.advance(1)
        self.assertEqual([], two.heard.frames())
        self.assertEqual(BAD_BURST, two.complaints.counts["broken relaying"])

    def test_repeated(self) -> None:
        """
        What comes twice, at once or much later, is given on once.
        """
        kept: list[Carried] = []

        def repeat(carried: Carried) -> Iterable[Message]:
            kept.append(carried)
            return [carried, carried, *(each for each in kept if each.origin == carried.origin)]

        nodes = Nodes(APART)
        one, two = nodes.node(1), nodes.node(2)
        nodes.crook(3, repeat)
        self.assertTrue(one.open(2, 3))
        for number in range(20):
            one.send(2, str(number).encode())
            nodes.clock.advance(1)
        self.assertEqual(sorted(str(number).encode() for number in range(20)), sorted(two.heard.frames()))

    def test_dropped(self) -> None:
        """
        Whoever finds that nothing arrives goes by the next relay.
        """

        def drop(carried: Carried) -> Iterable[Message]:
            return [carried] if isinstance(decode(carried.payload), Hail) else []

        nodes = Nodes(APART)
        one, two = nodes.node(1), nodes.node(2)
        nodes.node(4)
        nodes.crook(3, drop)
        self.assertTrue(one.open(2, 4))
        self.assertTrue(one.open(2, 3))
        one.send(2, b"dropped")
        nodes.clock.advance(2)
        one.transport.doubt(two.contact.id)
        one.send(2, b"there")
        nodes.clock.advance(1)
        self.assertEqual([b"there"], two.heard.frames())

    def test_as_somebody_else(self) -> None:
        """
        A relay that greets as somebody for whom it has no key is not answered, and gets no frame to the receiver.
        """
        nodes = Nodes(APART)
        one, two = nodes.node(1), nodes.node(2)

        def swap(carried: Carried) -> Iterable[Message]:
            return [Carried(nodes.contact(4).id, carried.payload)]

        nodes.crook(3, swap)
        self.assertFalse(one.open(2, 3))
        self.assertEqual([], two.heard.frames())
        self.assertEqual([], two.indirect())

    def test_flood_of_greetings(self) -> None:
        """
        However many greetings it brings, so many are answered.
        """
        nodes = Nodes(APART)
        one, two = nodes.node(1), nodes.node(2)
        nodes.crook(3, honest)
        one.open(2, 3)
        hail = next(m for _, target, m in nodes.frames if target == 2 and isinstance(m, Carried))
        nodes.frames.clear()
        for _ in range(5 * HAILS_BURST):
            two.transport.frame_received(nodes.contact(3), relay_frame(hail))
        nodes.clock.advance(1)
        answers = sum(source == 2 for source, _, _ in nodes.frames)
        self.assertTrue(0 < answers <= HAILS_BURST)
        self.assertEqual([], two.indirect())

    def test_no_way_of_strangers(self) -> None:
        """
        Only the relay itself can say that it does not reach somebody.
        """
        nodes = Nodes(APART)
        one, _, _ = (nodes.node(number) for number in (1, 2, 3))
        one.open(2, 3)
        one.transport.frame_received(nodes.contact(4), relay_frame(NoWay(nodes.contact(2).id)))
        self.assertEqual([2], one.indirect())

    def test_knock_of_strangers(self) -> None:
        """
        Whoever says that a knock has arrived which there was none is not believed.
        """
        nodes = Nodes(APART)
        one, _, _ = (nodes.node(number) for number in (1, 2, 3))
        one.open(2, 3)
        one.transport.frame_received(nodes.contact(2), relay_frame(Knock(answer=True)))
        self.assertEqual([2], one.indirect())

    def test_many_relays(self) -> None:
        """
        What is remembered of relays is bounded.
        """
        nodes = Nodes()
        one = nodes.node(1)
        for number in range(10, 10 + 2 * SOURCES_LIMIT):
            carried = Carried(nodes.contact(2).id, b"\0\0\0")
            one.transport.frame_received(nodes.contact(number), relay_frame(carried))
        self.assertEqual(SOURCES_LIMIT, len(one.transport._sources))

    @settings(max_examples=50, deadline=None)
    @given(st.integers(0, 2**32), st.floats(0, 0.5), st.floats(0, 0.5))
    def test_at_random(self, seed: int, altering: float, repeating: float) -> None:
        """
        Whatever a relay turns, cuts, repeats or makes up: what arrives is what was sent, each once.
        """
        random = Random(seed)
        kept = [Carried(Nodes().contact(1).id, b"")]

        def spoil(carried: Carried) -> Iterable[Message]:
            kept.append(carried)
            if random.random() < altering:
                payload = bytearray(carried.payload)
                payload[random.randrange(len(payload))] = random.randrange(256)
                carried = Carried(carried.origin, bytes(payload[: random.randrange(1, len(payload) + 1)]))
            again = [random.choice(kept)] if random.random() < repeating else []
            return [carried, *again]

        nodes = Nodes(APART)
        one, two = nodes.node(1), nodes.node(2)
        nodes.crook(3, spoil)
        one.open(2, 3, 3, 3)
        sent = [str(number).encode() for number in range(30)]
        for frame in sent:
            one.send(2, frame)
            nodes.clock.advance(0.5)
        arrived = two.heard.frames()
        self.assertEqual(len(set(arrived)), len(arrived))
        self.assertTrue(set(arrived) <= set(sent))

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """
        Bytes that mean nothing are a complaint, and nothing else.
        """
        nodes = Nodes()
        one = nodes.node(1)
        one.transport.frame_received(nodes.contact(2), b"\x40" + data)
        one.transport.frame_received(nodes.contact(2), relay_frame(Carried(nodes.contact(3).id, data)))
        self.assertEqual([], one.heard.heard)
