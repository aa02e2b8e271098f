"""
Tests for L{post.front.pop3.maildrop}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.front.pop3.maildrop import Locks, Maildrop, NoSuchMessage
from post.mail.interfaces import Entry
from tests.front.imap.doubles import NOON


def entries(sizes: list[int]) -> list[Entry]:
    """
    Messages of these sizes.
    """
    return [Entry(10 * n, frozenset(), NOON, size, 1, n.to_bytes(16, "big")) for n, size in enumerate(sizes, 1)]


class MaildropTests(SynchronousTestCase):
    """
    Tests for L{Maildrop}.
    """

    @given(st.lists(st.integers(0, 1000), max_size=8), st.lists(st.integers(-1, 10), max_size=12))
    def test_counted(self, sizes: list[int], numbers: list[int]) -> None:
        """
        Count and size are those of the messages that are left, whose numbers do not change; what is marked is no longer
        there, until all marks are taken back.
        """
        drop = Maildrop(entries(sizes))
        marked = set()
        for number in numbers:
            if 1 <= number <= len(sizes) and number not in marked:
                self.assertEqual(10 * number, drop.message(number).uid)
                drop.delete(number)
                marked.add(number)
            self.assertRaises(NoSuchMessage, drop.message, number)
            self.assertRaises(NoSuchMessage, drop.delete, number)
        left = {number: size for number, size in enumerate(sizes, 1) if number not in marked}
        self.assertEqual(left, {number: entry.size for number, entry in drop.messages()})
        self.assertEqual((len(left), sum(left.values())), (drop.count, drop.size))
        self.assertEqual([10 * number for number in sorted(marked)], [entry.uid for entry in drop.deleted()])
        drop.reset()
        self.assertEqual((len(sizes), sum(sizes), []), (drop.count, drop.size, drop.deleted()))


class LocksTests(SynchronousTestCase):
    """
    Tests for L{Locks}.
    """

    def test_one_each(self) -> None:
        """
        A maildrop is had by one at a time, and others are not concerned.
        """
        locks = Locks()
        self.assertEqual([True, False, True], [locks.take("a"), locks.take("a"), locks.take("b")])
        locks.release("a")
        locks.release("a")
        self.assertEqual([True, False], [locks.take("a"), locks.take("b")])
