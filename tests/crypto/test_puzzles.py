"""
Tests for L{post.crypto.puzzles}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.puzzles import challenge, is_solved, search
from post.ids import AccountId, Id

ALICE, BOB = AccountId(Id(1)), AccountId(Id(2))
NAMED, OTHER = b"n" * 32, b"o" * 32


class PuzzleTests(SynchronousTestCase):
    """
    A puzzle is solved by searching, and no other way.
    """

    def test_solved(self) -> None:
        """
        What is found is a solution, also of every puzzle that is easier, and nothing before it is.
        """
        sought = challenge(NAMED, BOB)
        found = search(sought, 12, 0, 1 << 20)
        assert found is not None
        for bits in range(13):
            self.assertTrue(is_solved(sought, bits, found))
        self.assertIsNone(search(sought, 12, 0, found))
        self.assertEqual(found, search(sought, 12, found, 1))

    def test_bound(self) -> None:
        """
        It is of no use for another message, nor for another recipient.
        """
        bits = 16
        found = search(challenge(NAMED, BOB), bits, 0, 1 << 24)
        assert found is not None
        self.assertFalse(is_solved(challenge(OTHER, BOB), bits, found))
        self.assertFalse(is_solved(challenge(NAMED, ALICE), bits, found))

    def test_difficulty(self) -> None:
        """
        One number in 2 ** bits is a solution, near enough.
        """
        sought = challenge(NAMED, BOB)
        solutions = sum(is_solved(sought, 6, number) for number in range(6400))
        self.assertTrue(60 <= solutions <= 145, solutions)
        self.assertTrue(all(is_solved(sought, 0, number) for number in range(100)))

    @given(st.integers(0, 64), st.integers(0, (1 << 63) - 1))
    def test_anything(self, bits: int, solution: int) -> None:
        """
        Every number can be looked at, whatever the difficulty.
        """
        if not is_solved(challenge(NAMED, BOB), bits, solution):
            self.assertTrue(bits > 0)
