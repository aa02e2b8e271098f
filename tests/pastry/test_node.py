"""
Tests for L{post.pastry.node}: routing, and what applications see.
"""

from __future__ import annotations

from collections.abc import Collection

from twisted.trial.unittest import SynchronousTestCase

from post.errors import Overloaded
from post.ids import RING, Contact, Id, Key, NodeId
from post.pastry.config import PastryConfig
from post.pastry.leafset import LeafSet
from post.pastry.messages import PAYLOAD_LIMIT, Route, Taken
from post.pastry.node import Pastry
from post.rpc import expect
from post.tasks import sleep
from post.wire import Message, encode, message
from tests.pastry.rings import Member, Parcel, Rings

SMALL = PastryConfig(half=3, held_limit=5)


@message(0xF011)
class Long(Message, frozen=True):
    """
    Data.
    """

    data: bytes


class PastryTests(SynchronousTestCase):
    """
    Tests for L{Pastry}.
    """

    def setUp(self) -> None:
        self.rings = Rings(2, 16, SMALL)
        self.rings.formed()
        self.assertEqual([], self.rings.settle(15))

    def key_of(self, member: Member) -> Key:
        return Key(Id(member.id))

    def hand(self, source: Member, target: Member, route: Route) -> Taken:
        return expect(Taken, self.rings.finish(source.rpc.ask(target.contact, route)))

    def test_delivered_once(self) -> None:
        """
        A message that comes twice, over two ways, is delivered once.
        """
        source, root, other = self.rings.members[:3]
        route = Route(self.key_of(root), 7, 0, source.contact, encode(Parcel(1)))
        self.hand(source, root, route)
        self.hand(other, root, route)
        self.rings.advance(1)
        self.assertEqual([(self.key_of(root), 1)], root.recorder.delivered)

    def test_local(self) -> None:
        """
        A message to oneself is delivered at once, and passes nobody.
        """
        root = self.rings.members[3]
        root.pastry.route(self.key_of(root), Parcel(2))
        self.assertEqual([(self.key_of(root), 2)], root.recorder.delivered)
        self.assertEqual([], root.recorder.passed)

    def test_forward_stops(self) -> None:
        """
        An application may stop what passes.
        """
        source, root = self.rings.members[:2]
        source.recorder.forward = lambda key, message, next_hop: False  # type: ignore[method-assign]
        source.pastry.route(self.key_of(root), Parcel(3))
        self.rings.advance(5)
        self.assertEqual([], root.recorder.delivered)

    def test_unknown_payload(self) -> None:
        """
        What we cannot read we still pass on, since it may be of a later version; its root notes it, and nothing breaks.
        """
        source = self.rings.members[0]
        key = Key(Id((source.id + RING // 2) % RING))
        root = self.rings.root(key)
        source.pastry._accept(Route(key, 9, 0, source.contact, b"\xfe\xfe?"))
        self.rings.advance(2)
        self.assertEqual(1, root.complaints.counts["routed what is no message"])
        self.assertEqual([], self.flushLoggedErrors())

    def test_circles(self) -> None:
        """
        A message with too many hops behind it is dropped.
        """
        source, root = self.rings.members[:2]
        self.hand(source, root, Route(self.key_of(root), 7, 64, source.contact, encode(Parcel(4))))
        self.rings.advance(1)
        self.assertEqual([], root.recorder.delivered)
        self.assertEqual(1, root.complaints.counts["message going in circles"])

    def test_too_long(self) -> None:
        """
        Routing is not for data.
        """
        with self.assertRaises(ValueError):
            self.rings.members[0].pastry.route(self.key_of(self.rings.members[1]), Long(bytes(PAYLOAD_LIMIT)))

    def test_held(self) -> None:
        """
        While its root is suspected by all a message waits, a few of them; it arrives when the suspicion was wrong.
        """
        source = self.rings.members[0]
        root = self.rings.by_id[source.pastry.ring.leaves.successors()[0]]
        others = [member for member in self.rings.members if member is not root]
        for member in others:
            member.pastry.ring.suspects.add(root.id)
        for number in range(5):
            source.pastry.route(self.key_of(root), Parcel(number))
        self.assertRaises(Overloaded, source.pastry.route, self.key_of(root), Parcel(5))
        self.rings.advance(0.5)
        self.assertEqual([], root.recorder.delivered)
        for member in others:
            member.pastry.suspect(root.contact)
        self.rings.advance(1.5)
        self.assertEqual(5, len(root.recorder.delivered))
        self.assertEqual(0, len(source.pastry._held))

    def test_all_busy(self) -> None:
        """
        A message that all others refuse for a while, having too much to do, is offered to them now and then, and
        arrives when they have time; nobody is suspected for that.
        """
        source, others = self.rings.members[0], self.rings.members[1:]
        root = max(others, key=lambda member: member.id.distance(source.id))
        handlers = [other.rpc.handler(Route) for other in others]
        refused: list[Route] = []

        def refuse(peer: Contact, route: Route) -> Taken:
            refused.append(route)
            raise Overloaded("busy")

        for other in others:
            other.rpc.serve(Route, refuse)
        source.pastry.route(self.key_of(root), Parcel(1))
        self.rings.advance(1)
        self.assertTrue(refused)
        self.assertEqual(set(), source.pastry.ring.suspects)
        self.rings.advance(49)
        self.assertLess(len(refused), 16 * 60)
        for other, handler in zip(others, handlers, strict=True):
            other.rpc.serve(Route, handler)
        self.rings.advance(2)
        self.assertEqual([(self.key_of(root), 1)], root.recorder.delivered)

    def test_given_up(self) -> None:
        """
        After a minute it is given up.
        """
        source, others = self.rings.members[0], self.rings.members[1:]
        for other in others:
            source.pastry.ring.suspects.add(other.id)
        source.pastry.route(self.key_of(others[-1]), Parcel(1))
        self.rings.advance(50)
        self.assertEqual(1, len(source.pastry._held))
        self.rings.advance(12)
        self.assertEqual(0, len(source.pastry._held))

    def test_held_asleep(self) -> None:
        """
        That minute is one of running: a message that a node holds when it falls asleep goes on when it wakes up.
        """
        source, others = self.rings.members[0], self.rings.members[1:]
        for other in others:
            source.pastry.ring.suspects.add(other.id)
        source.pastry.route(self.key_of(others[-1]), Parcel(1))
        self.rings.advance(1)
        source.clock.pause()
        self.rings.network.freeze(source.id)
        self.rings.advance(120)
        source.pastry.ring.suspects.clear()
        source.clock.resume()
        self.rings.network.thaw(source.id)
        self.rings.advance(20)
        self.assertEqual([(self.key_of(others[-1]), 1)], others[-1].recorder.delivered)

    def test_slow(self) -> None:
        """
        One who acknowledges late, but always, is waited for in the end, and not suspected any more.
        """
        source = self.rings.members[0]
        root = self.rings.by_id[source.pastry.ring.leaves.successors()[0]]
        handler = root.rpc.handler(Route)

        async def late(peer: Contact, route: Route) -> Message | None:
            await sleep(root.clock, 0.15)
            answer = handler(peer, route)
            assert isinstance(answer, Message)
            return answer

        root.rpc.serve(Route, late)
        probes = []
        for number in range(40):
            before = source.pastry.liveness.probes
            source.pastry.route(self.key_of(root), Parcel(number))
            self.rings.advance(3)
            probes.append(source.pastry.liveness.probes - before)
        self.assertGreater(sum(probes[:5]), 0)
        self.assertEqual([0] * 30, probes[10:])
        self.assertEqual(40, len(root.recorder.delivered))

    def test_same_name(self) -> None:
        """
        Who has seen a message cannot have another one taken for it, whatever key it chooses.
        """
        root, liar, origin = self.rings.members[:3]
        key, other = self.key_of(root), Key(Id((root.id + 2**61 - 1) % RING))
        true = Route(key, 7, 0, origin.contact, encode(Parcel(1)))
        self.hand(liar, root, Route(other, 7, 0, origin.contact, true.payload))
        self.hand(origin, root, true)
        self.rings.advance(1)
        self.assertIn((key, 1), root.recorder.delivered)

    def test_around(self) -> None:
        """
        A root that only the one before it suspects gets the message from whoever is next to it.
        """
        source = self.rings.members[0]
        root = self.rings.by_id[source.pastry.ring.leaves.successors()[0]]
        source.pastry.ring.suspects.add(root.id)
        key = Key(Id((root.id + 1) % RING))
        source.pastry.route(key, Parcel(3))
        self.rings.advance(0.5)
        self.assertEqual([(key, 3)], root.recorder.delivered)

    def test_holder_dies(self) -> None:
        """
        A message that is held by somebody who dies, before it is known where it goes, arrives all the same.
        """
        source = self.rings.members[0]
        root = self.rings.by_id[source.pastry.ring.leaves.successors()[0]]
        between = self.rings.by_id[root.pastry.ring.leaves.successors()[0]]
        between.pastry.ring.suspects.add(root.id)
        self.hand(source, between, Route(self.key_of(root), 7, 1, source.contact, encode(Parcel(8))))
        self.rings.advance(0.3)
        self.assertEqual([(source.id, 7)], [name[:2] for name in between.pastry._holding])
        decide = Pastry._decide

        def by_way_of_it(pastry: Pastry, route: Route, tried: Collection[NodeId]) -> NodeId | None:
            on_the_way = pastry is source.pastry and between in self.rings.living()
            return between.id if on_the_way else decide(pastry, route, tried)

        self.patch(Pastry, "_decide", by_way_of_it)
        source.pastry._accept(Route(self.key_of(root), 7, 0, source.contact, encode(Parcel(8))))
        self.rings.advance(0.5)
        self.assertEqual(1, len(source.pastry._held))
        between.crash(silent=True)
        self.rings.advance(5)
        self.assertEqual([(self.key_of(root), 8)], root.recorder.delivered)
        self.assertEqual(0, len(source.pastry._held))

    def test_heard_of(self) -> None:
        """
        What belongs to somebody of whom a node has only heard is not delivered by it before that one has answered.
        """
        root = self.rings.members[0]
        ring = root.pastry.ring
        lost = self.rings.by_id[ring.leaves.successors()[0]]
        ring.bury(lost.contact, 0.0)
        ring.absent.clear()
        seen = self.rings.by_id[ring.leaves.predecessors()[0]].pastry.ring.reach()
        root.pastry._repair.consider([lost.contact], seen)
        key = Key(Id((root.id + root.id.clockwise(lost.id) // 2 + 2) % RING))
        root.pastry.route(key, Parcel(7))
        self.assertEqual([], root.recorder.delivered)
        self.assertTrue(self.rings.until(lambda: (key, 7) in lost.recorder.delivered, 3))
        self.assertEqual([], root.recorder.delivered)

    def test_alive(self) -> None:
        """
        Ourselves and members are alive; suspects, and who is dead, are not.
        """
        one = self.rings.members[0]
        neighbor = self.rings.by_id[one.pastry.ring.leaves.successors()[0]]
        self.assertTrue(one.pastry.is_alive(one.id))
        self.assertTrue(one.pastry.is_alive(neighbor.id))
        neighbor.crash()
        self.rings.advance(5)
        self.assertFalse(one.pastry.is_alive(neighbor.id))

    def test_acquitted(self) -> None:
        """
        When a member that was suspected turns out to be well, the applications hear of it: it may lack something.
        """
        one = self.rings.members[0]
        neighbor = self.rings.by_id[one.pastry.ring.leaves.successors()[0]]
        stranger = next(m for m in self.rings.members[1:] if m.id not in one.pastry.ring.leaves)
        one.recorder.members.clear()
        one.pastry.suspect(neighbor.contact)
        one.pastry.suspect(stranger.contact)
        self.assertEqual(set(), one.recorder.members)
        self.rings.advance(3)
        self.assertEqual({neighbor.id}, one.recorder.members)
        self.assertTrue(one.pastry.is_alive(neighbor.id))

    def test_slept(self) -> None:
        """
        A node that was not running for a while delivers nothing before its neighbors have told it what happened.
        """
        sleeper = self.rings.members[4]
        sleeper.freeze()
        self.rings.advance(20)
        sleeper.thaw()
        # In the very moment, before any timer has rung.
        self.assertFalse(sleeper.pastry.active)
        self.assertIs(None, sleeper.pastry.nearest(self.key_of(sleeper), 3))
        sleeper.pastry.route(self.key_of(sleeper), Parcel(6))
        self.assertEqual([], sleeper.recorder.delivered)
        self.assertTrue(self.rings.until(lambda: len(sleeper.recorder.delivered) == 1, 3))
        self.assertEqual([], self.rings.wrong())

    def test_stopped(self) -> None:
        """
        A stopped node is in no ring, and answers for nothing.
        """
        member = self.rings.members[5]
        member.stop()
        self.assertFalse(member.pastry.active)
        self.assertIs(None, member.pastry.nearest(self.key_of(member), 3))

    def test_members(self) -> None:
        """
        A node names itself first, and nobody twice.
        """
        named = [contact.id for contact in self.rings.members[0].pastry.members()]
        self.assertEqual(self.rings.members[0].id, named[0])
        self.assertEqual(len(set(named)), len(named))


class SizeTests(SynchronousTestCase):
    """
    Tests for L{Pastry.size}.
    """

    def setUp(self) -> None:
        self.rings = Rings(3, 5)

    def test_small(self) -> None:
        """
        A small ring is counted; who seems dead is not in it.
        """
        self.rings.formed(1)
        self.assertEqual(1, self.rings.members[0].pastry.size())
        for member in self.rings.members[1:]:
            self.rings.enter(member)
        self.assertEqual([], self.rings.settle(15))
        self.assertEqual([5] * 5, [member.pastry.size() for member in self.rings.members])
        one, other = self.rings.members[:2]
        one.pastry.suspect(other.contact)
        self.assertEqual(4, one.pastry.size())
        other.crash()
        self.rings.advance(20)
        self.assertEqual([4] * 4, [member.pastry.size() for member in self.rings.living()])

    def test_large(self) -> None:
        """
        A large one is judged by how close together the nodes stand, and rightly so in the mean.
        """
        self.rings.formed(1)
        pastry = self.rings.members[0].pastry
        owner = pastry.local.id
        for count in (30, 200, 5000):
            pastry.ring.leaves = LeafSet(owner)
            for number in range(1, count):
                pastry.ring.leaves.add(NodeId(Id((owner + RING * number // count) % RING)))
            self.assertApproximates(count, pastry.size(), 2)
            guesses = []
            for _ in range(60):
                pastry.ring.leaves = LeafSet(owner)
                for _ in range(count - 1):
                    pastry.ring.leaves.add(self.rings.point())
                guesses.append(pastry.size())
            self.assertApproximates(count, sum(guesses) / 60, 0.1 * count)
            self.assertLess(count / 2, sorted(guesses)[2])


def _place(member: Member, node: Id) -> tuple[int, int]:
    row = member.id.shared_digits(node)
    return row, node.digit(row)
