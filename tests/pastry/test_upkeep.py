"""
Tests for L{post.pastry.upkeep}.
"""

from __future__ import annotations

from random import Random
from typing import cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PostError, Refused, Unreachable
from post.ids import BITS, Contact, Id, NodeId
from post.pastry.config import PastryConfig
from post.pastry.failures import FailureRate
from post.pastry.liveness import Liveness
from post.pastry.messages import Row, ShareRow
from post.pastry.ring import Ring
from post.pastry.upkeep import NEW_LIMIT, SILENT_LIMIT, Upkeep
from post.rpc import Rpc
from post.tasks import Tasks
from post.wire import Message

SIZE = 5000


def contact(digit: int, number: int = 0) -> Contact:
    """
    Somebody whose place is in the first row, at C{digit}.
    """
    return Contact(NodeId(Id((digit << (BITS - 4)) + number)))


class FakeRpc:
    """
    The transport too: answers with rows, and knows who has been silent for how long.
    """

    def __init__(self) -> None:
        self.transport = self
        self.silences: dict[NodeId, float] = {}
        self.asked: list[tuple[NodeId, ShareRow]] = []
        self.answer: Message = Row(())
        self.failure: PostError | None = None
        self.held: list[Deferred[Message]] | None = None

    def serve(self, kind: object, handler: object) -> None:
        pass

    def silent_s(self, node: NodeId) -> float | None:
        return self.silences.get(node)

    def ask(self, peer: Contact, message: ShareRow, deadline_s: float) -> Deferred[Message]:
        self.asked.append((peer.id, message))
        if self.failure is not None:
            return fail(self.failure)
        if self.held is not None:
            self.held.append(Deferred())
            return self.held[-1]
        return succeed(self.answer)


class FakeLiveness:
    """
    Remembers who is suspected.
    """

    def __init__(self, clock: Clock) -> None:
        self.failures = FailureRate(clock)
        self.suspects: list[Contact] = []

    def suspect(self, contact: Contact) -> None:
        self.suspects.append(contact)


class UpkeepTests(SynchronousTestCase):
    """
    Tests of L{Upkeep}, in a ring that is larger than a leaf set.
    """

    def setUp(self) -> None:
        self.clock, self.rpc = Clock(), FakeRpc()
        self.liveness = FakeLiveness(self.clock)
        self.ring = Ring(NodeId(Id(0)), PastryConfig(), lambda contact, joined: None)
        self.ring.leaves.open()
        self.upkeep = Upkeep(
            cast(Rpc, self.rpc),
            self.clock,
            Random(1),
            self.ring,
            PastryConfig(),
            cast(Liveness, self.liveness),
            Tasks(),
        )

    def tabulate(self, *silences: float | None) -> None:
        """
        Give so many places of the first row to somebody, who has been silent for so long, or is not linked with us.
        """
        for digit, silent_s in enumerate(silences, 1):
            self.ring.tabulate(contact(digit))
            if silent_s is not None:
                self.rpc.silences[contact(digit).id] = silent_s

    def test_silent(self) -> None:
        """
        Only who was silent for long enough is asked; once an hour at the least, and nobody sooner than after the least.
        """
        least_s, most_s = PastryConfig().row_least_s, PastryConfig().row_most_s
        self.tabulate(0.0, 0.8 * least_s, most_s + 1)
        self.upkeep.tick(SIZE)
        self.assertEqual([contact(3).id], [node for node, _ in self.rpc.asked])

    def test_self_tuning(self) -> None:
        """
        The more nodes die the sooner the others are asked, and never sooner than after the least.
        """
        self.tabulate(*[1.0] * 9)
        calm_s = self.upkeep.after_s(SIZE)
        self.clock.advance(600)
        for _ in range(8):
            self.liveness.failures.note()
        stormy_s = self.upkeep.after_s(SIZE)
        for _ in range(16):
            self.liveness.failures.note()
        self.assertTrue(calm_s > 3 * stormy_s, (calm_s, stormy_s))
        self.assertTrue(0.8 * PastryConfig().row_least_s <= self.upkeep.after_s(SIZE) <= PastryConfig().row_least_s)

    def test_links(self) -> None:
        """
        Who is not linked with us yet is asked at once, a few in one go, and no others while these have not answered.
        """
        self.tabulate(*[None] * 9)
        self.rpc.held = []
        self.upkeep.tick(SIZE)
        self.upkeep.tick(SIZE)
        self.assertEqual(NEW_LIMIT, len(self.rpc.asked))
        for each in self.rpc.held:
            each.callback(Row(()))
        self.upkeep.tick(SIZE)
        self.assertEqual(2 * NEW_LIMIT, len(self.rpc.asked))

    def test_limit(self) -> None:
        """
        Of many for whom it is time only some are asked in one go.
        """
        for row in range(4):
            for digit in range(1, 16):
                other = Contact(NodeId(Id(digit << (BITS - 4 - 4 * row))))
                self.ring.tabulate(other)
                self.rpc.silences[other.id] = 1e6
        self.upkeep.tick(SIZE)
        self.assertEqual(SILENT_LIMIT, len(self.rpc.asked))

    def test_holes(self) -> None:
        """
        It is said which places need nobody, and who is named for another gets it.
        """
        self.tabulate(1e6, 1e6)
        self.rpc.answer = Row((contact(9), contact(1, 7)))
        self.upkeep.tick(SIZE)
        self.assertEqual({ShareRow(0, 0b111), ShareRow(0, 0b1000000111)}, {message for _, message in self.rpc.asked})
        self.assertEqual({contact(digit).id for digit in (1, 2, 9)}, set(self.ring.table))

    def test_no_answer(self) -> None:
        """
        Who does not answer is suspected; who refuses is alive.
        """
        self.tabulate(1e6)
        self.rpc.failure = Unreachable("gone")
        self.upkeep.tick(SIZE)
        self.rpc.failure = Refused(1, "no")
        self.upkeep.tick(SIZE)
        self.assertEqual([contact(1)], self.liveness.suspects)

    def test_small_ring(self) -> None:
        """
        Where everybody is a neighbor nobody is asked.
        """
        self.tabulate(1e6)
        self.ring.leaves.close()
        self.upkeep.tick(SIZE)
        self.assertEqual([], self.rpc.asked)

    def test_asked(self) -> None:
        """
        Others are told whom we have at the places that they name as empty, and not of themselves.
        """
        self.tabulate(*[1.0] * 4)
        answer = self.upkeep._asked(contact(4), ShareRow(0, 0b10))
        self.assertEqual({contact(2), contact(3)}, set(answer.contacts))
        self.assertEqual(Row(()), self.upkeep._asked(contact(4), ShareRow(39)))
