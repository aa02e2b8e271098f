"""
Tests for L{post.sim.network}.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from post.errors import Unreachable
from post.ids import Contact, Id, NodeId
from post.interfaces import IReceiver, ITransport
from post.sim.clock import SimClock
from post.sim.network import DIAL_S, STALL_S, SimNetwork, Trace, even_delay
from post.sim.transport import SimTransport
from post.wire import FRAME_LIMIT, Priority

ONE, TWO, THREE = (Contact(NodeId(Id(number)), (f"host{number}:1",), 1) for number in (1, 2, 3))


@implementer(IReceiver)
class Ear:
    """
    Remembers what it is told.
    """

    def __init__(self) -> None:
        self.heard: list[object] = []

    def frame_received(self, peer: Contact, frame: bytes) -> None:
        self.heard.append(frame)

    def peer_found(self, peer: Contact) -> None:
        self.heard.append(peer)

    def peer_lost(self, peer: NodeId) -> None:
        self.heard.append(("lost", peer))


class SimNetworkTests(SynchronousTestCase):
    """
    Tests for L{SimNetwork} and L{SimTransport}.
    """

    def setUp(self) -> None:
        self.clock = SimClock()
        self.network = SimNetwork(self.clock, Random(1), even_delay(0.01))
        self.ears: dict[NodeId, Ear] = {}
        self.one, self.two, self.three = (self.start(contact) for contact in (ONE, TWO, THREE))

    def start(self, contact: Contact) -> SimTransport:
        transport = self.network.transport(contact)
        self.ears[contact.id] = Ear()
        transport.start(self.ears[contact.id])
        return transport

    def heard(self, contact: Contact) -> list[object]:
        """
        What C{contact} heard since it was last asked.
        """
        heard, self.ears[contact.id].heard = self.ears[contact.id].heard, []
        return heard

    def link(self) -> None:
        """
        Let ONE and TWO be linked.
        """
        self.one.send(TWO, b"", Priority.NORMAL)
        self.clock.advance(1)
        self.heard(ONE)
        self.heard(TWO)

    def test_interfaces(self) -> None:
        """
        A simulated transport is a transport.
        """
        verifyObject(ITransport, self.one)
        verifyObject(IReceiver, Ear())

    def test_first_frame(self) -> None:
        """
        The first frame makes the link, of which both ends are told before it arrives.
        """
        self.assertTrue(self.one.send(TWO, b"hello", Priority.NORMAL))
        self.assertEqual([], self.heard(TWO))
        self.clock.advance(1)
        self.assertEqual([TWO], self.heard(ONE))
        self.assertEqual([ONE, b"hello"], self.heard(TWO))
        self.assertEqual([TWO], self.one.links())
        self.assertEqual(0.02, self.one.round_trip_s(TWO.id))
        self.assertIs(None, self.one.round_trip_s(THREE.id))

    def test_simultaneous(self) -> None:
        """
        Two nodes that dial each other at once get one link, and all frames.
        """
        self.one.send(TWO, b"from one", Priority.NORMAL)
        self.two.send(ONE, b"from two", Priority.NORMAL)
        self.clock.advance(1)
        self.assertEqual([TWO, b"from two"], self.heard(ONE))
        self.assertEqual([ONE, b"from one"], self.heard(TWO))

    def test_ordered(self) -> None:
        """
        Frames of one link never overtake one another, whatever the jitter.
        """
        self.network.jitter = 10.0
        frames = [bytes([number]) for number in range(100)]
        for frame in frames:
            self.one.send(TWO, frame, Priority.NORMAL)
            self.clock.advance(0.003)
        self.clock.advance(1)
        self.assertEqual(frames, self.heard(TWO)[1:])

    def test_oversized(self) -> None:
        """
        A frame over the limit is a bug of the sender.
        """
        self.assertRaises(ValueError, self.one.send, TWO, bytes(FRAME_LIMIT + 1), Priority.BULK)

    def test_self(self) -> None:
        """
        Nothing is sent to ourselves.
        """
        self.assertFalse(self.one.send(ONE, b"", Priority.NORMAL))

    def test_introduce(self) -> None:
        """
        A node known by its address alone is linked with; where nobody listens, that fails.
        """
        met = self.one.introduce("host2:1")
        nobody = self.one.introduce("host9:1")
        self.clock.advance(1)
        self.assertEqual(TWO, self.successResultOf(met))
        self.failureResultOf(nobody, Unreachable)
        self.assertEqual(TWO, self.successResultOf(self.one.introduce("host2:1")))
        self.assertEqual(ONE, self.successResultOf(self.one.introduce("host1:1")))

    def test_crash(self) -> None:
        """
        The peers of a process that was killed are told at once; to dial it fails after a round trip, and is not tried
        again before a while.
        """
        self.link()
        self.network.crash(TWO.id)
        self.clock.advance(0.1)
        self.assertEqual([("lost", TWO.id)], self.heard(ONE))
        self.assertTrue(self.one.send(TWO, b"", Priority.NORMAL))
        self.clock.advance(0.1)
        self.assertEqual([("lost", TWO.id)], self.heard(ONE))
        self.assertFalse(self.one.send(TWO, b"", Priority.NORMAL))
        self.clock.advance(1)
        self.assertTrue(self.one.send(TWO, b"", Priority.NORMAL))

    def test_crashed_sends_nothing(self) -> None:
        """
        A dead node neither sends nor hears.
        """
        self.link()
        self.one.send(TWO, b"in flight", Priority.NORMAL)
        self.network.crash(TWO.id)
        self.assertFalse(self.two.send(ONE, b"ghost", Priority.NORMAL))
        self.clock.advance(1)
        self.assertEqual([], self.heard(TWO))

    def test_silent_crash(self) -> None:
        """
        A computer without power is noticed only when something was sent to it, and late.
        """
        self.link()
        self.network.crash(TWO.id, silent=True)
        self.clock.advance(100)
        self.assertEqual([], self.heard(ONE))
        self.one.send(TWO, b"", Priority.NORMAL)
        self.clock.advance(STALL_S / 2)
        self.assertEqual([], self.heard(ONE))
        self.clock.advance(STALL_S)
        self.assertEqual([("lost", TWO.id)], self.heard(ONE))
        self.one.send(TWO, b"", Priority.NORMAL)
        self.clock.advance(DIAL_S + 1)
        self.assertEqual([("lost", TWO.id)], self.heard(ONE))

    def test_restart(self) -> None:
        """
        A node that starts again is linked with anew, under its new epoch, in spite of earlier failures.
        """
        self.link()
        self.network.crash(TWO.id, silent=True)
        again = Contact(TWO.id, TWO.addresses, 2)
        self.start(again)
        self.one.send(TWO, b"to the dead", Priority.NORMAL)
        self.clock.advance(1)
        self.assertEqual([("lost", TWO.id)], self.heard(ONE))
        self.one.send(again, b"to the living", Priority.NORMAL)
        self.clock.advance(1)
        self.assertEqual([again], self.heard(ONE))
        self.assertEqual([ONE, b"to the living"], self.heard(again))

    def test_stop(self) -> None:
        """
        A node that stops is lost to its peers, and its address is free again.
        """
        self.link()
        self.successResultOf(self.two.stop())
        self.clock.advance(1)
        self.assertEqual([("lost", TWO.id)], self.heard(ONE))
        self.start(TWO)

    def test_partition_healed_in_time(self) -> None:
        """
        Across a partition nothing arrives; if it heals soon, frames arrive late and in order.
        """
        self.link()
        self.network.partition([[ONE.id], [TWO.id]])
        self.one.send(TWO, b"first", Priority.NORMAL)
        self.clock.advance(STALL_S / 2)
        self.assertEqual([], self.heard(TWO))
        self.one.send(TWO, b"second", Priority.NORMAL)
        self.network.heal()
        self.clock.advance(STALL_S)
        self.assertEqual([b"first", b"second"], self.heard(TWO))
        self.assertEqual([], self.heard(ONE))

    def test_partition_breaks_links(self) -> None:
        """
        A partition that lasts breaks the links on which something was sent, and no new ones can be made.
        """
        self.link()
        self.network.partition([[ONE.id]])
        self.one.send(TWO, b"", Priority.NORMAL)
        self.clock.advance(STALL_S + 1)
        self.assertEqual([("lost", TWO.id)], self.heard(ONE))
        self.assertEqual([("lost", ONE.id)], self.heard(TWO))
        self.one.send(TWO, b"", Priority.NORMAL)
        self.clock.advance(DIAL_S + 1)
        self.assertEqual([("lost", TWO.id)], self.heard(ONE))
        self.two.send(THREE, b"same side", Priority.NORMAL)
        self.clock.advance(1)
        self.assertEqual([TWO, b"same side"], self.heard(THREE))

    def test_block(self) -> None:
        """
        A path may be cut in one direction only.
        """
        self.link()
        self.network.block(ONE.id, TWO.id)
        self.one.send(TWO, b"there", Priority.NORMAL)
        self.two.send(ONE, b"back", Priority.NORMAL)
        self.clock.advance(1)
        self.assertEqual([], self.heard(TWO))
        self.assertEqual([b"back"], self.heard(ONE))
        self.network.unblock(ONE.id, TWO.id)
        self.clock.advance(1)
        self.assertEqual([b"there"], self.heard(TWO))

    def test_freeze(self) -> None:
        """
        A frozen node keeps its links, and neither hears nor is heard until it thaws.
        """
        self.link()
        self.network.freeze(TWO.id)
        self.one.send(TWO, b"question", Priority.NORMAL)
        self.two.send(ONE, b"heartbeat", Priority.NORMAL)
        self.clock.advance(100)
        self.assertEqual([], self.heard(ONE) + self.heard(TWO))
        self.network.thaw(TWO.id)
        self.clock.advance(1)
        self.assertEqual([b"question"], self.heard(TWO))
        self.assertEqual([b"heartbeat"], self.heard(ONE))

    def test_loss_and_duplication(self) -> None:
        """
        Frames can be made to vanish and to come twice.
        """
        self.link()
        self.network.loss = 0.5
        for _ in range(1000):
            self.one.send(TWO, b"", Priority.NORMAL)
        self.clock.advance(1)
        self.assertTrue(400 < len(self.heard(TWO)) < 600)
        self.network.loss, self.network.duplication = 0.0, 1.0
        self.one.send(TWO, b"twice", Priority.NORMAL)
        self.clock.advance(1)
        self.assertEqual([b"twice", b"twice"], self.heard(TWO))

    def test_trace(self) -> None:
        """
        The same seed gives the same fingerprint, another seed another.
        """

        def run(seed: int) -> str:
            clock = SimClock()
            network = SimNetwork(clock, Random(seed), loss=0.1)
            trace = Trace(network)
            first, second = network.transport(ONE), network.transport(TWO)
            first.start(Ear())
            second.start(Ear())
            for number in range(50):
                first.send(TWO, bytes([number]), Priority.NORMAL)
                clock.advance(0.01)
            return trace.hexdigest()

        self.assertEqual(run(1), run(1))
        self.assertNotEqual(run(1), run(2))
