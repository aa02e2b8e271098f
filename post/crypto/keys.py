"""
Keys that sign: ECDSA P-256 for accounts and nodes (X.509 verification refuses Ed25519), Ed25519 for logs.

A public key or signature is bytes that begin with the number of its algorithm.  What is signed is always a tagged hash,
so a signature made for one purpose never serves another.  ECDSA is deterministic (RFC 6979), and its two numbers take
32 bytes each whatever they are: a run of the simulator replays to the bit, and where what is signed was drawn by chance
(L{post.crypto.sealing}) at least to the size.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from post.errors import BadSignature
from post.hashes import Purpose, keyed, tagged
from post.interfaces import Entropy

P256 = 1
ED25519 = 2

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_HALF = 32
_ECDSA = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
_VERIFY = ec.ECDSA(hashes.SHA256())


class SigningKey:
    """
    A P-256 key.
    """

    def __init__(self, private_key: ec.EllipticCurvePrivateKey) -> None:
        if private_key.curve.name != "secp256r1":
            raise ValueError("not a P-256 key")
        self.private_key = private_key
        self.public = public_bytes(private_key.public_key())

    @classmethod
    def generate(cls, entropy: Entropy) -> SigningKey:
        """
        A new key.
        """
        # 64 bits more than the order, so that the remainder is as good as uniform (FIPS 186-5, A.2.1).
        secret = int.from_bytes(entropy(40), "big") % (_ORDER - 1) + 1
        return cls(ec.derive_private_key(secret, ec.SECP256R1()))

    @classmethod
    def from_pem(cls, data: bytes) -> SigningKey:
        """
        @raise ValueError: if C{data} is no unencrypted P-256 key in PKCS#8.
        """
        try:
            key = serialization.load_pem_private_key(data, None)
        except (TypeError, UnsupportedAlgorithm) as error:  # The first is an encrypted key.
            raise ValueError(str(error)) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("not a P-256 key")
        return cls(key)

    def to_pem(self) -> bytes:
        """
        PKCS#8, unencrypted.
        """
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def sign(self, purpose: Purpose, message: bytes) -> bytes:
        """
        The signature of C{message} for C{purpose}.
        """
        r, s = decode_dss_signature(self.private_key.sign(tagged(purpose, message), _ECDSA))
        return bytes([P256]) + r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")


class LogKey:
    """
    The key of one writer's log in one epoch; follows from the account's master, so it need not be kept.
    """

    def __init__(self, private_key: ed25519.Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self.public = public_bytes(private_key.public_key())

    @classmethod
    def derive(cls, master: bytes, writer: bytes, epoch: int) -> LogKey:
        """
        The key of C{writer} in C{epoch}.
        """
        return cls.from_secret(keyed(master, Purpose.LOG_SIGNING, writer, epoch.to_bytes(8, "big")))

    @classmethod
    def from_secret(cls, secret: bytes) -> LogKey:
        """
        The key that 32 bytes, which nobody can guess, stand for.
        """
        return cls(ed25519.Ed25519PrivateKey.from_private_bytes(secret))

    def sign(self, purpose: Purpose, message: bytes) -> bytes:
        """
        The signature of C{message} for C{purpose}.
        """
        return bytes([ED25519]) + self._private_key.sign(tagged(purpose, message))


def public_bytes(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    """
    Our form of a public key: 34 bytes for P-256 (a compressed point), 33 for Ed25519.
    """
    if isinstance(key, ed25519.Ed25519PublicKey):
        return bytes([ED25519]) + key.public_bytes_raw()
    point = key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    return bytes([P256]) + point


@lru_cache(maxsize=4096)
def _load(public: bytes) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    try:
        # The compressed form only: one key has one name.
        if public[:1] == bytes([P256]) and len(public) == 34:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), public[1:])
        if public[:1] == bytes([ED25519]):
            return ed25519.Ed25519PublicKey.from_public_bytes(public[1:])
    except ValueError:
        pass
    raise BadSignature("not a public key")


def _to_der(signature: bytes) -> bytes:
    if len(signature) != 2 * _HALF:
        raise BadSignature("a signature of another length")
    return encode_dss_signature(int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big"))


def verify(public: bytes, purpose: Purpose, message: bytes, signature: bytes) -> None:
    """
    @raise BadSignature: unless the holder of C{public} signed C{message} for C{purpose}.
    """
    key = _load(public)
    if signature[:1] != public[:1]:
        raise BadSignature("a signature of another algorithm")
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature[1:], tagged(purpose, message))
        else:
            key.verify(_to_der(signature[1:]), tagged(purpose, message), _VERIFY)
    except InvalidSignature:
        raise BadSignature(f"not signed for {purpose.name}") from None
