"""
Tests for L{post.crypto.sealing}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.entropy import SeededEntropy
from post.crypto.sealing import SealingKey, box, seal, unbox
from post.errors import BadSignature
from post.hashes import Purpose

KEY, OTHER = (SealingKey.generate(SeededEntropy(seed)) for seed in (b"one", b"two"))
SEALED = seal(KEY.public, b"info", b"hello")
BOX_KEY = b"k" * 32
BOXED = box(BOX_KEY, Purpose.LOG_SEALING, b"hello", SeededEntropy(b"x"))


class SealTests(SynchronousTestCase):
    """
    Tests of L{seal} and L{SealingKey.open}.
    """

    @given(st.binary(max_size=300), st.binary(max_size=40))
    def test_round_trip(self, cleartext: bytes, info: bytes) -> None:
        """
        The holder of the key reads what was sealed, which is 1,136 bytes longer, whatever it says.
        """
        sealed = seal(KEY.public, info, cleartext)
        self.assertEqual(cleartext, KEY.open(info, sealed))
        self.assertEqual(len(cleartext) + 1136, len(sealed))

    def test_kept(self) -> None:
        """
        A key survives its 96 bytes.
        """
        again = SealingKey(KEY.to_bytes())
        self.assertEqual((KEY.public, KEY.key_id), (again.public, again.key_id))
        self.assertEqual(b"hello", again.open(b"info", SEALED))
        self.assertRaises(ValueError, SealingKey, KEY.to_bytes()[:-1])

    def test_others(self) -> None:
        """
        Nobody else reads it, and nobody for something else.
        """
        self.assertRaises(BadSignature, OTHER.open, b"info", SEALED)
        self.assertRaises(BadSignature, KEY.open, b"other", SEALED)

    @given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
    def test_altered(self, place: int, change: int) -> None:
        """
        Altered anywhere, or cut, it does not open.
        """
        altered = bytearray(SEALED)
        altered[place] ^= change
        self.assertRaises(BadSignature, KEY.open, b"info", bytes(altered))
        self.assertRaises(BadSignature, KEY.open, b"info", SEALED[:place])

    @given(st.binary(max_size=2500))
    def test_garbage(self, data: bytes) -> None:
        """
        Anything at all is neither sealed to us nor a key to seal to.
        """
        self.assertRaises(BadSignature, KEY.open, b"info", data)
        self.assertRaises(BadSignature, seal, data, b"info", b"hello")

    def test_useless_key(self) -> None:
        """
        A key with which no secret can be agreed, which anybody can publish, is refused as any other that is none.
        """
        for point in (bytes(32), b"\x01" + bytes(31)):
            self.assertRaises(BadSignature, seal, KEY.public[:-32] + point, b"info", b"hello")
            self.assertRaises(BadSignature, KEY.open, b"info", SEALED[:1088] + point + SEALED[1120:])


class BoxTests(SynchronousTestCase):
    """
    Tests of L{box} and L{unbox}.
    """

    @given(st.binary(max_size=300))
    def test_round_trip(self, cleartext: bytes) -> None:
        """
        What was boxed comes out again.
        """
        boxed = box(BOX_KEY, Purpose.LOG_SEALING, cleartext, SeededEntropy(b"y"))
        self.assertEqual(cleartext, unbox(BOX_KEY, Purpose.LOG_SEALING, boxed))

    def test_others(self) -> None:
        """
        Not under another key, nor for another purpose.
        """
        self.assertRaises(BadSignature, unbox, b"l" * 32, Purpose.LOG_SEALING, BOXED)
        self.assertRaises(BadSignature, unbox, BOX_KEY, Purpose.KEY_FILE, BOXED)

    @given(st.integers(0, len(BOXED) - 1), st.integers(1, 255), st.binary(max_size=60))
    def test_altered(self, place: int, change: int, garbage: bytes) -> None:
        """
        Nor altered, cut, or made up.
        """
        altered = bytearray(BOXED)
        altered[place] ^= change
        for data in (bytes(altered), BOXED[:place], garbage):
            self.assertRaises(BadSignature, unbox, BOX_KEY, Purpose.LOG_SEALING, data)
