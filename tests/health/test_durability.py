"""
Tests for L{post.health.durability}.
"""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.health.durability import DEPTH, SETS, Count, Objects, judge, kinds, losses
from post.ids import Id, NodeId

NODES = [NodeId(Id(number)) for number in range(1, 9)]


def on(*numbers: int) -> frozenset[NodeId]:
    """
    The nodes of these numbers, of whom there may be more than L{NODES}.
    """
    return frozenset(NodeId(Id(number)) for number in numbers)


class LossesTests(SynchronousTestCase):
    """
    Tests of L{losses}.
    """

    @given(st.lists(st.frozensets(st.sampled_from(NODES), max_size=5), max_size=12))
    def test_by_trying(self, objects: list[frozenset[NodeId]]) -> None:
        """
        What is said is what becomes of the objects when each set of nodes is taken away in turn.
        """
        for loss in losses(objects):
            held = [holders for holders in objects if holders]
            taken = [
                [index for index, holders in enumerate(held) if holders <= set(choice)]
                for choice in combinations(NODES, loss.nodes)
            ]
            self.assertEqual(len({index for each in taken for index in each}), loss.exposed)
            self.assertEqual(max(map(len, taken)), loss.worst)
            self.assertTrue(loss.exact)
            whose = on(*(int(node, 16) for node in loss.whose))
            self.assertEqual(loss.worst, sum(holders <= whose for holders in held))
            self.assertLessEqual(len(loss.whose), loss.nodes)

    def test_three_copies(self) -> None:
        """
        With three copies of everything on different nodes, two may vanish; the third may take all that was on the same.
        """
        one, two, three = losses([on(1, 2, 3)] * 5 + [on(2, 3, 4)] * 2)
        self.assertEqual([0, 0, 7], [one.exposed, two.exposed, three.exposed])
        self.assertEqual((5, [f"{number:040x}" for number in (1, 2, 3)]), (three.worst, list(three.whose)))

    def test_many(self) -> None:
        """
        Where there are too many sets to try, what is exposed is exact all the same, and the worst is at least what is
        said.
        """
        objects = [on(number, number + 1, number + 2) for number in range(1, 3 * SETS)] + [on(7, 8, 9)] * 3
        *_, three = losses(objects)
        self.assertEqual((len(objects), 4, False), (three.exposed, three.worst, three.exact))
        self.assertEqual(DEPTH, three.nodes)

    def test_small(self) -> None:
        """
        On one node its loss takes everything; on three with three copies two may vanish, and no more than all three.
        """
        self.assertEqual([4, 4, 4], [loss.exposed for loss in losses([on(1)] * 4)])
        self.assertEqual([4, 4, 4], [loss.worst for loss in losses([on(1)] * 4)])
        three = losses([on(1, 2, 3)] * 4)
        self.assertEqual([0, 0, 4], [loss.exposed for loss in three])
        self.assertEqual([0, 0, 4], [loss.worst for loss in three])


class JudgeTests(SynchronousTestCase):
    """
    Tests of L{judge}.
    """

    @given(
        st.lists(st.tuples(st.frozensets(st.sampled_from(NODES), max_size=4), st.booleans()), max_size=12),
        st.frozensets(st.sampled_from(NODES), max_size=5),
    )
    def test_by_counting(self, objects: list[tuple[frozenset[NodeId], bool]], absent: frozenset[NodeId]) -> None:
        """
        What is away holds nothing: copies, what could be lost, what is missing and what is not known follow from the
        holders that are left.
        """
        counted = Counter(Objects("messages", holders, doubtful) for holders, doubtful in objects)
        found = judge(Count(1.0, 3, dict(counted), 7, 5), absent)
        left = [(holders - absent, doubtful) for holders, doubtful in objects]
        self.assertEqual(losses(holders for holders, _ in left), found.losses)
        self.assertEqual(sum(not holders and not doubtful for holders, doubtful in left), found.missing)
        self.assertEqual(sum(not holders and doubtful for holders, doubtful in left), found.unknown)
        self.assertEqual(sum(len(holders) < 3 for holders, _ in left), found.short)
        self.assertEqual(len({node for holders, _ in objects for node in holders} & absent), found.away)
        survivors = [holders for holders, _ in left if holders]
        for choice in combinations(NODES, found.spared):
            self.assertFalse(any(holders <= set(choice) for holders in survivors))
        self.assertEqual((1.0, 3, 7, 5), (found.at, found.wanted, found.messages, found.sampled))


class KindsTests(SynchronousTestCase):
    """
    Tests of L{kinds}.
    """

    def test_counts(self) -> None:
        """
        Objects are counted by class and copies; one without a copy counts.
        """
        log, messages = kinds([("log", on(1, 2)), ("messages", on()), ("messages", on(1, 2)), ("messages", on(3, 4))])
        self.assertEqual(("log", 1, {2: 1}, 2), (log.name, log.total, log.copies, log.fewest))
        self.assertEqual(
            ("messages", 3, {0: 1, 2: 2}, 0), (messages.name, messages.total, messages.copies, messages.fewest)
        )
