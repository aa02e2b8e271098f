"""
Tests for L{post.pastry.proximity}.
"""

from __future__ import annotations

from random import Random
from typing import cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PostError, Unreachable
from post.ids import BITS, Contact, Id, NodeId
from post.pastry import proximity
from post.pastry.config import PastryConfig
from post.pastry.gossip import Gossip
from post.pastry.liveness import Liveness
from post.pastry.messages import Row, ShareRow
from post.pastry.proximity import PARALLEL, Proximity
from post.pastry.ring import Ring
from post.rpc import Rpc
from post.sim import routing
from post.tasks import Tasks
from post.wire import Message

CONFIG = PastryConfig(measure_first=10, measure_s=60.0)


def contact(number: int) -> Contact:
    """
    Somebody whose place is in the first row, the sixteen columns in turn but for ours.
    """
    return Contact(NodeId(Id(((number % 15 + 1) << (BITS - 4)) + number)))


class FakeTransport:
    """
    Knows how far those are who were asked.
    """

    def __init__(self) -> None:
        self.far: dict[NodeId, float] = {}

    def round_trip_s(self, node: NodeId) -> float | None:
        return self.far.get(node)


class FakeRpc:
    """
    Answers with rows, and notes who was asked.
    """

    def __init__(self) -> None:
        self.transport = FakeTransport()
        self.asked: list[Contact] = []
        self.rows: dict[NodeId, tuple[Contact, ...]] = {}
        self.distances: dict[NodeId, float] = {}
        self.failure: PostError | None = None
        self.round_trips: tuple[int, ...] = ()
        self.held: list[Deferred[Message]] | None = None

    def ask(self, peer: Contact, message: ShareRow, deadline_s: float) -> Deferred[Message]:
        self.asked.append(peer)
        if self.failure is not None:
            return fail(self.failure)
        self.transport.far[peer.id] = self.distances.get(peer.id, 0.1)
        if self.held is not None:
            self.held.append(Deferred())
            return self.held[-1]
        return succeed(Row(self.rows.get(peer.id, ()), self.round_trips))


class FakeLiveness:
    """
    Remembers who is suspected.
    """

    def __init__(self) -> None:
        self.suspects: list[Contact] = []

    def suspect(self, contact: Contact) -> None:
        self.suspects.append(contact)


class ProximityTests(SynchronousTestCase):
    """
    Tests of L{Proximity}, in a ring that is larger than a leaf set.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.rpc, self.liveness = FakeRpc(), FakeLiveness()
        self.ring = Ring(NodeId(Id(0)), CONFIG, lambda contact, joined: None)
        self.ring.leaves.open()
        self.ring.round_trip_s = self.rpc.transport.round_trip_s
        self.tasks = Tasks()
        self.proximity = Proximity(
            cast(Rpc, self.rpc), self.clock, Random(1), self.ring, CONFIG, cast(Liveness, self.liveness), self.tasks
        )
        self.proximity.begin()

    def test_nearer(self) -> None:
        """
        Whoever turns out to be nearer has the place in the end, in whatever order they are heard of, and nobody is
        asked twice.
        """
        rivals = [contact(1 + 15 * number) for number in range(8)]
        nearest = rivals[5]
        self.rpc.distances = {each.id: 0.01 + 0.1 * abs(number - 5) for number, each in enumerate(rivals)}
        Random(1).shuffle(rivals)
        for each in rivals + rivals:
            self.ring.tabulate(each)
        self.assertEqual([nearest.id], list(self.ring.table))
        self.assertEqual(len(rivals), len(self.rpc.asked))

    def test_whole(self) -> None:
        """
        Where everybody is a neighbor nobody is asked.
        """
        self.ring.leaves.close()
        for number in range(20):
            self.ring.tabulate(contact(number))
        self.assertEqual([], self.rpc.asked)

    def test_allowance(self) -> None:
        """
        However many are named, few are asked: so many in one go, then one in a while, and never more saved up.
        """
        for number in range(60):
            self.ring.tabulate(contact(number))
        self.assertEqual(CONFIG.measure_first, len(self.rpc.asked))
        self.clock.advance(3 * CONFIG.measure_s)
        self.ring.tabulate(contact(60))
        self.assertEqual(CONFIG.measure_first + 3, len(self.rpc.asked))
        self.clock.advance(1000 * CONFIG.measure_s)
        for number in range(100, 200):
            self.ring.tabulate(contact(number))
        self.assertEqual(2 * CONFIG.measure_first + 3, len(self.rpc.asked))

    def test_friends_of_the_near(self) -> None:
        """
        Of all who are waiting, those come first who were named by somebody near.
        """
        self.rpc.held = []
        self.rpc.distances[contact(4).id] = 0.001
        for number in range(1, PARALLEL + 1):
            self.ring.tabulate(contact(number))
        near, far = (contact(15 + 1), contact(15 + 2)), (contact(30 + 1), contact(30 + 2))
        first, *_, last = self.rpc.held
        first.callback(Row(far, (900, 900)))
        last.callback(Row(near, (500, 500)))
        for held in self.rpc.held[1:3]:
            held.callback(Row(()))
        order = [each.id for each in self.rpc.asked]
        self.assertTrue(order.index(near[1].id) < order.index(far[1].id), order)

    def test_cannot_be_nearer(self) -> None:
        """
        Who is near to somebody far, or far from somebody near, is not asked: it cannot be nearer than who has its
        place.
        """
        near, informant = contact(1), contact(2)
        self.rpc.distances = {near.id: 0.01, informant.id: 0.1}
        self.ring.tabulate(near)
        beside, between = contact(15 + 1), contact(30 + 1)
        self.rpc.rows[informant.id] = (beside, between)
        for units, asked in (((50, 3000), [near, informant]), ((950, 950), [near, informant, beside, between])):
            self.patch(self.rpc, "round_trips", units)
            self.rpc.asked.clear()
            self.have_asked(near)
            self.ring.tabulate(informant)
            self.assertEqual([each.id for each in asked], [near.id, *(each.id for each in self.rpc.asked)])
            self.proximity._asked.clear()
            self.ring.table.remove(informant.id)

    def have_asked(self, *contacts: Contact) -> None:
        """
        These have been asked.
        """
        for each in contacts:
            self.proximity._asked[each.id] = None

    def test_not_before(self) -> None:
        """
        Nobody is asked before this node is in the ring; then those of whom it has heard are.
        """
        self.proximity._begun = False
        self.ring.tabulate(contact(1))
        self.assertEqual([], self.rpc.asked)
        self.proximity.begin()
        self.assertEqual([contact(1)], self.rpc.asked)

    def test_improve(self) -> None:
        """
        Now and then one of the nearest is asked again, and whom it knows by now is asked too.
        """
        self.ring.tabulate(contact(1))
        self.rpc.rows[contact(1).id] = (contact(2),)
        self.rpc.asked.clear()
        Deferred.fromCoroutine(self.proximity.improve())
        self.assertEqual([contact(1), contact(2)], self.rpc.asked)

    def test_unreachable(self) -> None:
        """
        Who does not answer is suspected; who refuses is left alone.
        """
        self.rpc.failure = Unreachable("gone")
        self.ring.tabulate(contact(1))
        self.assertEqual([contact(1)], self.liveness.suspects)
        self.rpc.failure = PostError("no")
        self.ring.tabulate(contact(2))
        self.assertEqual([contact(1)], self.liveness.suspects)

    def test_suspects(self) -> None:
        """
        Nobody is asked who may be dead.
        """
        self.ring.suspects.add(contact(1).id)
        self.ring.tabulate(contact(1))
        self.assertEqual([], self.rpc.asked)

    def test_bounded(self) -> None:
        """
        Candidates and those who were asked are remembered up to a limit.
        """
        self.patch(proximity, "CANDIDATES_LIMIT", 5)
        self.patch(proximity, "ASKED_LIMIT", 7)
        for number in range(100):
            self.ring.tabulate(contact(number))
        self.assertEqual((5, 7), (len(self.proximity._candidates), len(self.proximity._asked)))


class RingsTests(SynchronousTestCase):
    """
    Whole rings, on a sphere.
    """

    def test_straight(self) -> None:
        """
        Where nobody has a roster, the ways through a ring are hardly longer than the direct ones; without measuring
        they are by far.
        """
        self.patch(Gossip, "tick", lambda self: None)
        report = routing.run(150, 5, 400)
        self.assertEqual((400, 0, 0), (report.delivered, report.wrong, report.wrong_leaf_sets))
        self.patch(Proximity, "consider", lambda self, contact: None)
        blind = routing.run(150, 5, 400)
        self.assertEqual((400, 0, 0), (blind.delivered, blind.wrong, blind.wrong_leaf_sets))
        self.assertTrue(report.stretch_mean < 1.45, report.stretch_mean)
        self.assertTrue(blind.stretch_mean > 1.1 * report.stretch_mean, (blind.stretch_mean, report.stretch_mean))
