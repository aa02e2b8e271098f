"""
Tests for L{post.front.imap.session}.
"""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.front.imap.session import View
from post.mail.interfaces import Entry
from tests.front.imap.doubles import NOON


def entry(uid: int, *flags: str) -> Entry:
    """
    An entry with these flags.
    """
    return Entry(uid, frozenset(flags), NOON, 1, 1, b"")


folders = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from([(), ("\\Seen",), ("a", "b")])), unique_by=lambda pair: pair[0]
).map(lambda pairs: [entry(uid, *flags) for uid, flags in sorted(pairs)])


class ViewTests(SynchronousTestCase):
    """
    Tests for L{View}.
    """

    def test_from_the_last(self) -> None:
        """
        Numbers of what is gone are told from the last on, so that each is true when it is said.
        """
        view = View([entry(uid) for uid in (3, 5, 7, 9)])
        self.assertEqual([b"* 4 EXPUNGE\r\n", b"* 2 EXPUNGE\r\n"], view.catch_up([entry(3), entry(7)], True))
        self.assertEqual([1, 2], [view.number(3), view.number(7)])

    def test_flags_once(self) -> None:
        """
        A change of flags is told once, and not if the session knows.
        """
        view = View([entry(3), entry(5)])
        view.tell(5, frozenset({"a"}))
        self.assertEqual(
            [b"* 1 FETCH (UID 3 FLAGS (\\Seen))\r\n"], view.catch_up([entry(3, "\\Seen"), entry(5, "a")], False)
        )
        self.assertEqual([], view.catch_up([entry(3, "\\Seen"), entry(5, "a")], True))

    def test_spelled(self) -> None:
        """
        A keyword in use keeps its spelling.
        """
        view = View([entry(3, "$Junk")])
        self.assertEqual({"$Junk", "New", "\\Seen"}, view.spelled(frozenset({"$JUNK", "New", "\\Seen"})))

    @given(st.lists(st.tuples(folders, st.booleans()), max_size=6))
    def test_client_that_believes(self, history: list[tuple[list[Entry], bool]]) -> None:
        """
        A client that keeps count of what it is told has, in the end, what the folder has; and is told of nothing gone
        while that may not be said.
        """
        seen: set[int] = set()
        last = 0
        view = View([])
        client: list[frozenset[bytes] | None] = []
        for entries, may_expunge in history:
            # UIDs rise for ever: what was gone does not come back, and what comes is higher than all before.
            entries = [each for each in entries if each.uid in seen or each.uid > last]
            seen = {each.uid for each in entries}
            last = max([last, *seen])
            for line in view.catch_up(entries, may_expunge):
                self.assertTrue(may_expunge or b"EXPUNGE" not in line)
                _believe(client, line)
            self.assertEqual(len(client), len(view.uids))
        entries = history[-1][0] if history else []
        entries = [each for each in entries if each.uid in seen]
        for line in view.catch_up(entries, True):
            _believe(client, line)
        expected = [frozenset(flag.encode() for flag in each.flags) for each in entries]
        self.assertEqual([each.uid for each in entries], view.uids)
        self.assertEqual(expected, [known if known is not None else expected[n] for n, known in enumerate(client)])


def _believe(client: list[frozenset[bytes] | None], line: bytes) -> None:
    for response in line.split(b"\r\n")[:-1]:
        number, word = re.findall(rb"\* (\d+) (\w+)", response)[0]
        if word == b"EXPUNGE":
            del client[int(number) - 1]
        elif word == b"EXISTS":
            client += [None] * (int(number) - len(client))
        elif word == b"FETCH":
            client[int(number) - 1] = frozenset(re.findall(rb"FLAGS \((.*)\)\)", response)[0].split())
