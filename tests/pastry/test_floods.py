"""
A node that one peer floods, and one to which what was said long ago is said again.
"""

from __future__ import annotations

from random import Random

from post.ids import BITS, RING, Contact, Id, Key, NodeId
from post.pastry.messages import Heartbeat, Probe, Probed, Reach
from post.pastry.quotas import ROUTED, ROUTED_LIMIT, SAID_LIMIT, Quota
from post.rpc import ASK, MORE, TELL
from post.wire import FRAME_LIMIT, Message, encode
from tests.pastry import spoken
from tests.pastry.kept import too_large
from tests.pastry.rings import Member, Rings
from tests.pastry.test_hostile import COUNT, HostileRing, Mouth

FLOOD = 10_000
"""Messages of each kind."""
DISTINCT = 100
"""Of those that are not routed: making ten thousand different ones takes longer than all that becomes of them."""
UNBOUND = 400
"""Messages where there is no quota."""


class FloodTests(HostileRing):
    """
    One peer says a lot.
    """

    def bodies(self, kind: type[Message], count: int, near: NodeId) -> list[bytes]:
        """
        C{count} different messages of C{kind}, in which there are nodes anywhere and beside C{near}.
        """
        random = Random(f"flood of {kind.__name__}")

        def anybody() -> NodeId:
            beside = (near + random.randint(-(1 << 80), 1 << 80)) % RING
            return NodeId(Id(random.choice([beside, random.getrandbits(BITS)])))

        return [encode(spoken.made(kind, random, anybody)) for _ in range(count)]

    def test_ten_thousand(self) -> None:
        """
        Of ten thousand messages of any kind most are refused and counted; what is kept is within its limits, what
        others send arrives meanwhile, and the ring is as it was.
        """
        rings, victim, flooder, stranger = self.ring()
        sender = rings.members[2]
        mouth = Mouth(flooder, victim)
        for kind in spoken.PASTRY:
            victim.complaints.counts.clear()
            rings.advance(10)  # Another window.
            bodies = self.bodies(kind, DISTINCT, victim.id)
            for number in range(FLOOD):
                mouth.say(TELL if number % 2 else ASK, bodies[number % DISTINCT])
                if number % 1000 == 0:
                    rings.advance(0.01)
            limit = ROUTED_LIMIT if kind in ROUTED else SAID_LIMIT
            counted = victim.complaints.counts["more messages than its share"]
            self.assertGreaterEqual(counted, FLOOD - limit, kind)
            self.assertEqual([], too_large(victim.pastry, victim.rpc), kind)
            key, parcel = rings.send(sender, Key(Id(victim.id)))
            rings.advance(0.2)
            self.assertIn((key, parcel), victim.recorder.delivered, kind)
        self.end(rings, stranger)

    def test_unbound(self) -> None:
        """
        Also if there were no quotas, what is kept is within its limits.
        """
        self.patch(Quota, "take", lambda quota, node, cost=1: True)
        rings, victim, flooder, stranger = self.ring()
        mouth = Mouth(flooder, victim)
        for kind in spoken.PASTRY:
            for number, body in enumerate(self.bodies(kind, UNBOUND, victim.id)):
                mouth.say(TELL if number % 2 else ASK, body)
                if number % 100 == 0:
                    rings.advance(0.01)
                    self.assertEqual([], too_large(victim.pastry, victim.rpc), kind)
        self.end(rings, stranger)

    def test_unfinished(self) -> None:
        """
        Messages of which the end never comes are counted, and not kept.
        """
        rings, victim, flooder, stranger = self.ring()
        mouth = Mouth(flooder, victim)
        for number in range(FLOOD):
            mouth.say(ASK | MORE, bytes(FRAME_LIMIT // 2) if number % 100 == 0 else b"")
            mouth.say(TELL | MORE, b"")
        self.assertGreater(victim.complaints.counts["broken message"], 0)
        self.assertEqual([], too_large(victim.pastry, victim.rpc))
        self.end(rings, stranger)

    def test_phantoms(self) -> None:
        """
        A neighbor that names nobody but nodes beside us which do not exist, each time others, and makes us ask it again
        and again, holds back what we deliver for some seconds and no longer.
        """
        rings, victim, _, stranger = self.ring()
        liar = rings.by_id[victim.pastry.ring.leaves.successors()[0]]
        random = Random(1)

        def beside() -> Contact:
            return Contact(NodeId(Id((victim.id + random.randint(1, 1 << 60)) % RING)), ("x:1",))

        honest = liar.rpc.handler(Probe)
        liar.rpc.serve(Probe, lambda peer, probe: Probed(True, liar.pastry.ring.reach(), (beside(), beside())))
        mouth = Mouth(liar, victim)
        late = []
        for number in range(40):
            mouth.say(TELL, encode(Heartbeat(b"another!")))
            key, parcel = rings.send(rings.members[2], Key(Id((victim.id + (1 << 62)) % RING)))
            rings.advance(1)
            if (key, parcel) not in victim.recorder.delivered:
                late.append(number)
        self.assertTrue(late)
        self.assertLess(len(late), 25)
        self.assertEqual([], [number for number in late if number > 30])
        self.assertEqual([], too_large(victim.pastry, victim.rpc))
        liar.rpc.serve(Probe, honest)
        self.end(rings, stranger)


class LargerTests(HostileRing):
    """
    A member of a small ring says that the ring is larger.
    """

    def undelivered(self, phantoms: int, seconds: int) -> list[int]:
        """
        How many of ten parcels do not arrive, every ten seconds, while a member of a ring of five tells all others that
        it has a full leaf set and names C{phantoms} that do not exist.
        """
        rings = Rings(3, 5)
        members = rings.formed()
        self.assertEqual([], rings.settle(15))
        liar, others = members[1], [member for member in members if member is not members[1]]
        here = liar.id
        reach = Reach(False, True, NodeId(Id((here + (1 << 100)) % RING)), NodeId(Id((here - (1 << 100)) % RING)), 24)

        def lie(peer: Contact, probe: Probe) -> Probed:
            return Probed(True, reach, tuple(Contact(rings.point(), ("nobody:1",)) for _ in range(phantoms)))

        honest = liar.rpc.handler(Probe)
        liar.rpc.serve(Probe, lie)
        lost = []
        for _ in range(seconds // 10):
            for other in others:
                liar.rpc.tell(other.contact, Heartbeat(b"another!"))
            rings.advance(6)
            lost.append(len(rings.misrouted(10, 4.0)))
        self.contradictions = others[0].complaints.counts["leaf set that contradicts itself"]
        for other in others:
            self.assertEqual([], too_large(other.pastry, other.rpc))
        liar.rpc.serve(Probe, honest)
        self.assert_well(rings, members)
        return lost

    def test_nobody(self) -> None:
        """
        If it names nobody, that is no leaf set, and nothing comes of it.
        """
        self.assertEqual([0] * 6, self.undelivered(0, 60))
        self.assertGreater(self.contradictions, 0)

    def test_phantoms(self) -> None:
        """
        If it names new ones again and again, these are looked for, and it is not believed any more after a while.
        """
        lost = self.undelivered(24, 200)
        self.assertGreater(sum(lost[:4]), 0)
        self.assertEqual([0] * 5, lost[-5:])


class ReplayTests(HostileRing):
    """
    What was said long ago.
    """

    def test_replayed(self) -> None:
        """
        All frames of a ring that lost a node and got it back, said again by those who said them, in order and in
        disorder: nothing is delivered twice, and the ring is as it was.
        """
        rings, _, other, stranger = self.ring()
        stranger.crash()
        said: list[tuple[Member, Contact, bytes]] = []

        def note(source: NodeId, target: NodeId, frame: bytes) -> None:
            said.append((rings.by_id[target], rings.by_id[source].contact, frame))

        rings.network.observer = note
        other.crash(silent=True)
        self.assertEqual([], rings.settle(60))
        rings.misrouted(20)
        rings.enter(other)
        self.assertEqual([], rings.settle(60))
        self.assertEqual([], rings.misrouted(100))
        rings.network.observer = None
        rings.advance(120)
        delivered = [list(member.recorder.delivered) for member in rings.members[:COUNT]]
        self.assertGreater(len(said), 300)
        for _ in range(2):
            for number, (target, source, frame) in enumerate(said):
                target.relay.frame_received(source, frame)
                if number % 50 == 0:
                    rings.advance(0.1)
            Random(1).shuffle(said)
        self.assertEqual(delivered, [member.recorder.delivered for member in rings.members[:COUNT]])
        for member in rings.members[:COUNT]:
            self.assertEqual([], too_large(member.pastry, member.rpc))
        self.assert_well(rings, rings.members[:COUNT])
