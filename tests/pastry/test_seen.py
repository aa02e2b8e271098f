"""
Tests for L{post.pastry.seen}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ids import Contact, NodeId
from post.pastry.seen import AWAY_MOST_S, FIRST_S, SEEN_BYTES, TOGETHER_S, Seen
from tests.pastry.strategies import node

OWNER = node(0)
FOREVER = 10 * 24 * 3600.0


def contact(number: int, *addresses: str) -> Contact:
    """
    A node, by default at an address of its own.
    """
    return Contact(node(number), addresses or (f"host{number}:{number}",))


class SeenTests(SynchronousTestCase):
    """
    Tests for L{Seen}.
    """

    def setUp(self) -> None:
        self.seen = Seen(OWNER, 4)

    def again(self, data: bytes, now: float = 0.0) -> Seen:
        """
        What the next life reads of C{data}.
        """
        seen = Seen(OWNER, 4)
        seen.read(data, now)
        return seen

    def test_kept(self) -> None:
        """
        The next life knows the same nodes at the same addresses, in the same order.
        """
        for number in (3, 1, 2):
            self.seen.note(contact(number, f"10.0.0.{number}:7654", f"[fe80::{number}%eth0]:1"), 5.0)
        found = self.again(self.seen.pack())
        self.assertEqual([node(3), node(1), node(2)], list(found))
        self.assertEqual(self.seen.addresses(9), found.addresses(9))
        self.assertEqual(self.seen.pack(), found.pack())

    def test_limit(self) -> None:
        """
        Those linked last are remembered, and asked first.
        """
        for number in (1, 2, 3, 4, 1, 5):
            self.seen.note(contact(number), 0.0)
        self.assertEqual([node(3), node(4), node(1), node(5)], list(self.seen))
        self.assertEqual(("host5:5", "host1:1"), self.seen.addresses(2))

    def test_not_kept(self) -> None:
        """
        Ourselves, and who cannot be dialled, are not remembered; nor is an address that would draw in a file or span
        lines.
        """
        self.seen.note(contact(0), 0.0)
        self.seen.note(Contact(node(1)), 0.0)
        for bad in ("a b:1", "a:1\nffff b:2", "a:\u0661", "\x1b[2J:1", "host", "host:", f"{'h' * 75}:1"):
            self.seen.note(contact(2, bad), 0.0)
        self.assertEqual(0, len(self.seen))
        self.seen.note(contact(2, "a b:1", "good:1"), 0.0)
        self.assertEqual(("good:1",), self.seen.addresses(9))

    def test_changed(self) -> None:
        """
        There is something to write when somebody is new or has moved, and not when somebody is merely linked again.
        """
        self.seen.note(contact(1), 0.0)
        self.assertTrue(self.seen.changed)
        self.seen.pack()
        self.seen.note(contact(1), 1.0)
        self.assertFalse(self.seen.changed)
        self.seen.note(contact(1, "elsewhere:1"), 1.0)
        self.assertTrue(self.seen.changed)
        self.assertFalse(self.again(self.seen.pack()).changed)

    def test_damaged(self) -> None:
        """
        Of a file that is damaged in the middle the rest is read.
        """
        self.seen.note(contact(1), 0.0)
        self.seen.note(contact(2), 0.0)
        first, second = self.seen.pack().splitlines(keepends=True)
        for between in (b"\xff\xfe\n", b"\n", b"zz host:1\n", node(9).hex().encode() + b"\n", b"7" * 500 + b"\n"):
            self.assertEqual([node(1), node(2)], list(self.again(first + between + second)))

    @given(st.binary(max_size=2000))
    def test_anything(self, data: bytes) -> None:
        """
        Whatever is in the file, it is read without a word, and is no more than may be.
        """
        found = Seen(OWNER)
        found.read(data, 0.0)
        self.assertEqual(list(found), list(self.again(found.pack())) if len(found) <= 4 else list(found))

    def test_long(self) -> None:
        """
        Of a file without end only as much is read as can have been written.
        """
        lines = b"".join(b"%040x h:1\n" % number for number in range(1, SEEN_BYTES // 40))
        found = Seen(OWNER)
        found.read(lines, 0.0)
        self.assertEqual(256, len(found))

    def due(self, now: float, *here: int) -> NodeId | None:
        """
        Who is to be looked for.
        """
        found = self.seen.due(now, {node(each) for each in here})
        return found[0] if found is not None else None

    def test_backoff(self) -> None:
        """
        Who does not answer is looked for more and more rarely, but for ever.
        """
        self.seen.note(contact(1), 0.0)
        now = 0.0
        waits: list[float] = []
        while len(waits) < 12:
            since = now
            while self.due(now) is None:
                now += 1.0
            waits.append(now - since)
            self.seen.looked(node(1), None, now)
        self.assertEqual([FIRST_S, FIRST_S, 2 * FIRST_S, 4 * FIRST_S], waits[:4])
        self.assertEqual([AWAY_MOST_S] * 2, waits[-2:])

    def test_here(self) -> None:
        """
        Nobody looks for who is here; who was found to be with us is left alone for hours.
        """
        for number in (1, 2):
            self.seen.note(contact(number), 0.0)
        self.assertEqual(node(2), self.due(FIRST_S, 1))
        self.assertEqual(None, self.due(FIRST_S, 1, 2))
        self.seen.looked(node(1), node(1), FIRST_S)
        self.seen.note(contact(1), FIRST_S + 1)
        self.assertEqual(None, self.due(FIRST_S + TOGETHER_S - 1, 2))
        self.assertEqual(node(1), self.due(FIRST_S + TOGETHER_S, 2))

    def test_moved_in(self) -> None:
        """
        At an address where somebody else answers nobody is looked for any more.
        """
        self.seen.note(contact(1), 0.0)
        self.seen.looked(node(1), node(3), FIRST_S)
        self.assertEqual(None, self.due(FOREVER))
        self.seen.looked(node(1), None, FIRST_S)  # Forgotten meanwhile.
        self.assertEqual(0, len(self.seen))

    def test_set_back(self) -> None:
        """
        A clock that was a year ahead and is set right does not keep us from looking.
        """
        self.seen.note(contact(1), 400 * 24 * 3600.0)
        self.assertEqual(node(1), self.due(0.0))
