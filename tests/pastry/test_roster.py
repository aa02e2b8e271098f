"""
Tests for L{post.pastry.roster}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ids import Contact, Id, NodeId
from post.pastry.roster import DEATH_S, DEATHS_LIMIT, DISPUTE_S, ROSTER_LIMIT, Entry, Roster, mark
from tests.pastry.strategies import node, nodes, points


def contact(point: int, epoch: int = 1) -> Contact:
    """
    Somebody at C{point}.
    """
    return Contact(node(point), (f"host{point}:1",), epoch)


def here(point: int, version: int = 1) -> Entry:
    """
    Somebody is at C{point}.
    """
    return Entry(contact(point), version)


def gone(point: int, version: int = 1) -> Entry:
    """
    Nobody is there any more.
    """
    return Entry(Contact(node(point), (), 1), version, True)


def roster(everybody: list[NodeId]) -> Roster:
    """
    Of the first, who knows all.
    """
    made = Roster(Contact(everybody[0], (), 1))
    for each in everybody[1:]:
        made.take(Entry(Contact(each, ("host:1",), 1), 1), 0.0)
    return made


class TowardTests(SynchronousTestCase):
    """
    Tests for L{Roster.toward}.
    """

    @given(st.lists(nodes, min_size=1, max_size=40, unique=True), points, st.booleans(), st.data())
    def test_nearest(self, everybody: list[NodeId], key: int, anywhere: bool, data: st.DataObject) -> None:
        """
        Of all that are nearer than the owner, share as many digits with the key (unless it may be C{anywhere}), and are
        not to be avoided, the nearest is found; nobody if there is none.
        """
        owner = everybody[0]
        avoid = data.draw(st.sets(st.sampled_from(everybody)))
        fit = [
            each
            for each in everybody[1:]
            if each not in avoid
            and each.distance(key) < owner.distance(key)
            and (anywhere or each.shared_digits(key) >= owner.shared_digits(key))
        ]
        expected = min(fit, key=lambda each: (each.distance(key), each), default=None)
        self.assertEqual(expected, roster(everybody).toward(key, avoid, anywhere))


class HeadsTests(SynchronousTestCase):
    """
    Tests for L{Roster.heads}.
    """

    @given(st.lists(nodes, min_size=1, max_size=40, unique=True), st.data())
    def test_everybody_once(self, everybody: list[NodeId], data: st.DataObject) -> None:
        """
        What one node tells the heads from row 0 on, and each head those from the row after its own on, comes to
        everybody else once.
        """
        known = {each: roster([each, *(other for other in everybody if other != each)]) for each in everybody}
        tables = {each: data.draw(st.lists(st.sampled_from(everybody), max_size=5)) for each in everybody[:2]}
        told: list[NodeId] = []
        waiting = [(everybody[0], 0)]
        while waiting:
            teller, first = waiting.pop()
            preferred = [each for each in tables.get(teller, []) if each != teller]
            for row, head in known[teller].heads(first, preferred, ()):
                told.append(head)
                waiting.append((head, row + 1))
        self.assertEqual(sorted(everybody[1:]), sorted(told))

    def test_preferred(self) -> None:
        """
        Who stands in the table is told, unless it is suspected or called dead.
        """
        low, middle, high = node(1 << 156), node((1 << 156) + 1), node((1 << 156) + 2)
        one = roster([node(0), low, middle, high])
        self.assertEqual([(0, high)], list(one.heads(0, [high], ())))
        self.assertEqual([(0, low)], list(one.heads(0, [high], {high})))
        one.take(Entry(Contact(high), 1, True), 0.0)
        self.assertEqual([(0, middle)], list(one.heads(0, [high], {low})))
        self.assertEqual([], list(one.heads(0, [], {low, middle})))


class EntryTests(SynchronousTestCase):
    """
    What a roster makes of what is said.
    """

    def setUp(self) -> None:
        """
        The roster of node 5.
        """
        self.roster = Roster(contact(5))

    @given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3), st.booleans()), max_size=12))
    def test_any_order(self, said: list[tuple[int, int, bool]]) -> None:
        """
        In whatever order two nodes hear the same, they have the same rosters in the end, and the same fingerprint.
        (Both have heard of all nodes before: of others no death is noted.)
        """
        entries = [Entry(contact(point), version, dead) for point, version, dead in said]
        first, second = Roster(contact(5)), Roster(contact(5))
        for one in (first, second):
            for point in range(1, 5):
                one.take(here(point, 0), 0.0)
        for one, heard in ((first, entries), (second, entries[::-1])):
            for entry in heard * 2:
                one.take(entry, 0.0)
        ours = first.own().version
        self.assertEqual({*first.entries()} - {mark(first.own())}, {*second.entries()} - {mark(second.own())})
        self.assertEqual(list(first), list(second))
        if second.own().version == ours:
            self.assertEqual(first.fingerprint, second.fingerprint)

    def test_fingerprint(self) -> None:
        """
        The fingerprint is over who is here, whatever has been before.
        """
        for point in (1, 2, 3):
            self.roster.take(here(point), 0.0)
        self.roster.take(gone(2), 0.0)
        self.roster.take(here(3, 7), 0.0)
        other = Roster(contact(5))
        other.take(here(3, 7), 0.0)
        self.assertNotEqual(other.fingerprint, self.roster.fingerprint)
        other.take(here(1), 0.0)
        self.assertEqual(other.fingerprint, self.roster.fingerprint)

    def test_death(self) -> None:
        """
        A death counts under the version of which it was told; a restart, and a contradiction, end it.
        """
        self.assertTrue(self.roster.take(here(1), 0.0))
        self.assertTrue(self.roster.take(gone(1), 0.0))
        self.assertFalse(self.roster.take(here(1), 0.0))
        self.assertTrue(self.roster.is_gone(node(1)))
        self.assertNotIn(node(1), self.roster)
        self.assertTrue(self.roster.take(here(1, 2), 0.0))
        self.assertIn(node(1), self.roster)
        self.assertFalse(self.roster.take(gone(1), 0.0))
        self.assertEqual(2, len(self.roster))

    def test_stranger(self) -> None:
        """
        The death of somebody who was not known is not noted.
        """
        self.assertFalse(self.roster.take(gone(1), 0.0))
        self.assertFalse(self.roster.is_gone(node(1)))

    def test_own_death(self) -> None:
        """
        Whoever is called dead, or something that it has not said, contradicts.
        """
        for said, expected in ((gone(5, 0), 1), (here(5, 1), 1), (gone(5, 1), 2), (here(5, 9), 10), (gone(5, 2), 10)):
            self.roster.take(said, 0.0)
            self.assertEqual((expected, False), self.roster.own().rank)
        self.assertEqual(("host5:1",), self.roster.own().contact.addresses)

    def test_unreachable(self) -> None:
        """
        The death of somebody who does not answer us is told once.  If it contradicts, it is only passed over when it
        does not answer again, until it makes itself heard, or for a while.
        """
        self.roster.take(here(1), 0.0)
        self.assertTrue(self.roster.bury(node(1), 0.0))
        self.assertTrue(self.roster.take(here(1, 2), 1.0))
        fingerprint = self.roster.fingerprint
        self.assertFalse(self.roster.bury(node(1), 2.0))
        self.assertEqual((fingerprint, False, False), self.passed_over())
        self.assertEqual([], self.roster.expire(3.0))
        self.assertEqual([node(1)], self.roster.expire(2.0 + DISPUTE_S))
        self.assertEqual((fingerprint, True, False), self.passed_over())

    def test_heard(self) -> None:
        """
        Who was passed over and speaks to us can be routed to again; who was dead to all has to say so to all.
        """
        self.roster.take(here(1), 0.0)
        self.roster.bury(node(1), 0.0)
        self.assertFalse(self.roster.heard(contact(1), 0.0))
        self.assertTrue(self.roster.is_gone(node(1)))
        self.roster.take(here(1, 2), 0.0)
        self.roster.bury(node(1), 0.0)
        self.assertFalse(self.roster.heard(contact(1), 0.0))
        self.assertIn(node(1), self.roster)
        self.assertTrue(self.roster.heard(contact(2), 0.0))
        self.assertTrue(self.roster.heard(contact(1, 9), 0.0))
        self.assertEqual(9, self.roster.contact(node(1)).epoch)

    def passed_over(self) -> tuple[int, bool, bool]:
        """
        The fingerprint, and whether node 1 is routed to, and dead.
        """
        return self.roster.fingerprint, node(1) in self.roster, self.roster.is_gone(node(1))

    def test_bounded(self) -> None:
        """
        There are no more than C{ROSTER_LIMIT} nodes, nor C{DEATHS_LIMIT} deaths, and those are forgotten.
        """
        for point in range(10, 10 + 2 * ROSTER_LIMIT):
            self.roster.take(here(point), 0.0)
        self.assertEqual((ROSTER_LIMIT, True), (len(self.roster), self.roster.overflowed))
        for point in range(10, 10 + 3 * ROSTER_LIMIT):
            self.roster.take(here(point), 0.0)
            self.roster.take(gone(point), float(point))
        self.assertEqual((1, DEATHS_LIMIT), (len(self.roster), len(self.roster.deaths())))
        self.roster.expire(10 + 3 * ROSTER_LIMIT + DEATH_S)
        self.assertEqual(({}, None), (self.roster.deaths(), self.roster.about(node(10))))
        self.assertEqual([], list(self.roster))

    def test_mark(self) -> None:
        """
        A mark tells entries apart by node and version, and not by addresses.
        """
        one = Contact(NodeId(Id(1)), ("a:1",), 3)
        marks = {mark(Entry(one, 3)), mark(Entry(one, 4)), mark(here(2, 3))}
        self.assertEqual(3, len(marks))
        self.assertIn(mark(Entry(Contact(NodeId(Id(1)), ("b:1",), 2), 3)), marks)
