"""
Sealing to somebody's public key (HPKE, RFC 9180, with X-Wing: X25519 and ML-KEM-768 together), and boxes under a secret
that both sides have (AES-256-GCM).

HPKE's ephemeral key is drawn by the library; it decides neither placement, nor order, nor size of anything.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from post.errors import BadSignature
from post.hashes import Purpose, tagged
from post.interfaces import Entropy

XWING = 16
"""The algorithm number that begins a sealing key."""

_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_MLKEM_PUBLIC = 1184
_SEED = 64
_NONCE = 12


class SealingKey:
    """
    What opens what others sealed for us.  Its private form is 96 bytes: the seed of the ML-KEM key, and the X25519 key.
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != _SEED + 32:
            raise ValueError("a sealing key is 96 bytes")
        self._secret = secret
        mlkem = MLKEM768PrivateKey.from_seed_bytes(secret[:_SEED])
        x25519 = X25519PrivateKey.from_private_bytes(secret[_SEED:])
        self._private_key = MLKEM768X25519PrivateKey(mlkem, x25519)
        public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        self.public = bytes([XWING]) + public
        self.key_id = key_id(self.public)

    @classmethod
    def generate(cls, entropy: Entropy) -> SealingKey:
        """
        A new key.
        """
        return cls(entropy(_SEED + 32))

    def to_bytes(self) -> bytes:
        """
        The 96 bytes of the private key.
        """
        return self._secret

    def open(self, info: bytes, sealed: bytes) -> bytes:
        """
        What was sealed to us for C{info}.

        @raise BadSignature: if nothing was.
        """
        try:
            return _SUITE.decrypt(sealed, self._private_key, info)
        except (InvalidTag, ValueError):
            raise BadSignature("not sealed to this key, or altered") from None


def key_id(public: bytes) -> bytes:
    """
    The 8 bytes by which a public sealing key is named.
    """
    return tagged(Purpose.SEALING_KEY_ID, public)[:8]


@lru_cache(maxsize=1024)
def _load(public: bytes) -> MLKEM768X25519PublicKey:
    if public[:1] != bytes([XWING]) or len(public) != 1 + _MLKEM_PUBLIC + 32:
        raise BadSignature("not a sealing key")
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public[1 : 1 + _MLKEM_PUBLIC])
        x25519 = X25519PublicKey.from_public_bytes(public[1 + _MLKEM_PUBLIC :])
    except ValueError:
        raise BadSignature("not a sealing key") from None
    return MLKEM768X25519PublicKey(mlkem, x25519)


def seal(public: bytes, info: bytes, cleartext: bytes) -> bytes:
    """
    C{cleartext}, for the holder of C{public} alone; 1,136 bytes longer.  C{info} has to be the same when opening.

    @raise BadSignature: if C{public} is no sealing key.
    """
    try:
        return _SUITE.encrypt(cleartext, _load(public), info)
    except ValueError:
        # It has the form of a key, but is a point with which no secret can be agreed.
        raise BadSignature("not a sealing key") from None


def box(key: bytes, purpose: Purpose, cleartext: bytes, entropy: Entropy) -> bytes:
    """
    C{cleartext} under a 32-byte secret: nonce (12 bytes), ciphertext, tag (16 bytes).
    """
    nonce = entropy(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, cleartext, purpose.value)


def unbox(key: bytes, purpose: Purpose, boxed: bytes) -> bytes:
    """
    What L{box} was given.

    @raise BadSignature: if it was not boxed under C{key} for C{purpose}, or altered since.
    """
    try:
        return AESGCM(key).decrypt(boxed[:_NONCE], boxed[_NONCE:], purpose.value)
    except (InvalidTag, ValueError):
        raise BadSignature("not boxed under this key, or altered") from None
