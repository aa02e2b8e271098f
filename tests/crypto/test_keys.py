"""
Tests for L{post.crypto.keys} and L{post.crypto.entropy}.
"""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.entropy import SeededEntropy
from post.crypto.keys import LogKey, SigningKey, verify
from post.errors import BadSignature
from post.hashes import Purpose

KEY, OTHER = (SigningKey.generate(SeededEntropy(seed)) for seed in (b"one", b"two"))
LOG = LogKey.derive(b"m" * 32, b"device-0", 1)
PURPOSE = Purpose.SIGN_BLOCK


class SigningTests(SynchronousTestCase):
    """
    Tests of both kinds of key.
    """

    @given(st.binary(max_size=100))
    def test_round_trip(self, message: bytes) -> None:
        """
        A signature verifies, and is the same each time, so that a run of the simulator can be repeated.
        """
        for key in (KEY, LOG):
            signature = key.sign(PURPOSE, message)
            verify(key.public, PURPOSE, message, signature)
            self.assertEqual(signature, key.sign(PURPOSE, message))

    def test_other(self) -> None:
        """
        It is for one key, one purpose, one message.
        """
        for key in (KEY, LOG):
            signature = key.sign(PURPOSE, b"x")
            self.assertRaises(BadSignature, verify, key.public, PURPOSE, b"y", signature)
            self.assertRaises(BadSignature, verify, key.public, Purpose.SIGN_RECEIPTS, b"x", signature)
            self.assertRaises(BadSignature, verify, OTHER.public, PURPOSE, b"x", signature)

    @given(st.sampled_from([KEY, LOG]), st.data())
    def test_altered(self, key: SigningKey | LogKey, data: st.DataObject) -> None:
        """
        A signature or key of which a byte is another, or that is cut, raises L{BadSignature} and nothing else.
        """
        signature = key.sign(PURPOSE, b"x")
        place = data.draw(st.integers(0, len(signature) - 1))
        altered = bytearray(signature)
        altered[place] ^= data.draw(st.integers(1, 255))
        self.assertRaises(BadSignature, verify, key.public, PURPOSE, b"x", bytes(altered))
        self.assertRaises(BadSignature, verify, key.public, PURPOSE, b"x", signature[:place])
        public = bytearray(key.public)
        public[place % len(public)] ^= data.draw(st.integers(1, 255))
        self.assertRaises(BadSignature, verify, bytes(public), PURPOSE, b"x", signature)

    @given(st.binary(max_size=100), st.binary(max_size=100))
    def test_garbage(self, public: bytes, signature: bytes) -> None:
        """
        Anything at all.
        """
        self.assertRaises(BadSignature, verify, public, PURPOSE, b"x", signature)

    def test_one_form(self) -> None:
        """
        A key has one form only: handles are made of it.
        """
        point = KEY.private_key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        signature = KEY.sign(PURPOSE, b"x")
        self.assertRaises(BadSignature, verify, b"\x01" + point, PURPOSE, b"x", signature)

    def test_log_keys(self) -> None:
        """
        Each writer and epoch has its own key, which follows from the account's master.
        """
        publics = {
            LogKey.derive(master, writer, epoch).public
            for master in (b"m" * 32, b"n" * 32)
            for writer in (b"device-0", b"device-1")
            for epoch in (1, 2)
        }
        self.assertEqual(8, len(publics))
        self.assertIn(LOG.public, publics)


class PemTests(SynchronousTestCase):
    """
    Tests of L{SigningKey.from_pem}.
    """

    def test_round_trip(self) -> None:
        """
        A key survives its file.
        """
        self.assertEqual(KEY.public, SigningKey.from_pem(KEY.to_pem()).public)

    def test_refused(self) -> None:
        """
        What is no key, an encrypted one, or one of another kind, is a C{ValueError} and nothing else.
        """
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        locked = KEY.private_key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"secret"))
        plain = serialization.NoEncryption()
        curve = ec.generate_private_key(ec.SECP384R1()).private_bytes(pem, pkcs8, plain)
        factors = rsa.generate_private_key(65537, 2048).private_bytes(pem, pkcs8, plain)
        for data in (b"", b"nonsense", locked, curve, factors, KEY.to_pem()[:100]):
            self.assertRaises(ValueError, SigningKey.from_pem, data)


class EntropyTests(SynchronousTestCase):
    """
    Tests of L{SeededEntropy}.
    """

    @given(st.binary(max_size=8), st.lists(st.integers(0, 100), max_size=5))
    def test_seeded(self, seed: bytes, sizes: list[int]) -> None:
        """
        A seed decides all that follows; no bytes come twice.
        """
        one, other = SeededEntropy(seed), SeededEntropy(seed)
        drawn = [one(size) for size in sizes]
        self.assertEqual(drawn, [other(size) for size in sizes])
        self.assertEqual(sizes, [len(each) for each in drawn])
        self.assertNotEqual(one(32), one(32))
        self.assertNotEqual(SeededEntropy(seed + b"x")(32), SeededEntropy(seed)(32))
