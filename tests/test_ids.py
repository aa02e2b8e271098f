"""
Tests for L{post.ids} and L{post.hashes}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.hashes import Purpose, keyed, tagged
from post.ids import DIGITS, RING, Id

ids = st.integers(0, RING - 1).map(Id)


class IdTests(SynchronousTestCase):
    """
    Tests for L{Id}.
    """

    @given(ids, ids)
    def test_distance(self, one: Id, other: Id) -> None:
        """
        Distance is the same both ways, at most half the ring, and zero only to oneself.
        """
        self.assertEqual(one.distance(other), other.distance(one))
        self.assertLessEqual(one.distance(other), RING // 2)
        self.assertEqual(one == other, one.distance(other) == 0)
        self.assertEqual((one.clockwise(other) + other.clockwise(one)) % RING, 0)

    @given(ids, ids)
    def test_digits(self, one: Id, other: Id) -> None:
        """
        Digits are those of the hexadecimal form; the shared ones are a common prefix and no longer.
        """
        self.assertEqual(one.hex(), "".join(f"{one.digit(row):x}" for row in range(DIGITS)))
        shared = one.shared_digits(other)
        self.assertEqual(one.hex()[:shared], other.hex()[:shared])
        self.assertTrue(shared == DIGITS or one.digit(shared) != other.digit(shared))

    @given(ids)
    def test_forms(self, one: Id) -> None:
        """
        Bytes and text bring the same id back; it prints as eight digits.
        """
        self.assertEqual(one, Id.from_bytes(one.packed()))
        self.assertEqual(one, Id.from_hex(one.hex()))
        self.assertEqual(one.hex()[:8], f"{one}")

    def test_wrong_size(self) -> None:
        """
        An id has exactly 20 bytes.
        """
        self.assertRaises(ValueError, Id.from_bytes, b"x" * 19)
        self.assertRaises(ValueError, Id.from_hex, "0" * 41)


class HashTests(SynchronousTestCase):
    """
    Tests for the tagged hashes.
    """

    def test_tags_differ(self) -> None:
        """
        No two purposes share a tag.
        """
        self.assertEqual(len(Purpose), len({purpose.value for purpose in Purpose.__members__.values()}))
        self.assertEqual(len(Purpose.__members__), len(Purpose))

    @given(
        st.lists(st.binary(max_size=5), min_size=1, max_size=4), st.lists(st.binary(max_size=5), min_size=1, max_size=4)
    )
    def test_framing(self, one: list[bytes], other: list[bytes]) -> None:
        """
        Different lists of parts never hash alike, however they are cut.
        """
        for hashed in (
            lambda parts: tagged(Purpose.PENDING, *parts),
            lambda parts: keyed(b"k", Purpose.PENDING, *parts),
        ):
            self.assertEqual(one == other, hashed(one) == hashed(other))
