"""
Encryption of what is stored (POST, sections 3.2 and 4.2), and the reference by which it is found and opened again.

Shared content gets a key that follows from the content and a secret of the organisation: the same attachment stored by
two people is one block, and nobody outside the organisation can test a guess.  Private content (text of any size, small
parts, logs) gets a key from a fresh random salt; this is what the paper's random padding is for, since short or
structured content can be guessed.  A cleartext is padded in steps (Padmé: at most 12 %), so that sizes tell little.

The nonce is fixed, because a key encrypts one cleartext only.  AES-GCM does not commit to its key, so the reference
holds a hash of the cleartext too, which is compared after decryption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Meta

from post.errors import BadSignature
from post.hashes import Purpose, keyed, tagged
from post.ids import SIZE_BYTES, Handle, Id
from post.interfaces import Entropy
from post.wire import Document

BLOCK_LIMIT = 256 * 1024
"""Octets of cleartext in one block."""

AES_256_GCM = 1
_NONCE = bytes(12)
_SALT = 16

Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Reference(Document, frozen=True):
    """
    All that is needed to find and open something stored.  Whoever has it can read it.

    C{salt} is the convergence generation (4 bytes) of shared content, the random salt (16 bytes) of private content.
    C{length} counts octets of cleartext.  C{kind} is 0 for a block, 1 for the manifest of a larger object.
    """

    version: int
    suite: int
    ciphertext_hash: Hash
    key: Hash
    salt: Annotated[bytes, Meta(max_length=32)]
    commitment: Hash
    length: Annotated[int, Meta(ge=0, le=BLOCK_LIMIT)]
    kind: Annotated[int, Meta(ge=0, le=1)]

    @property
    def handle(self) -> Handle:
        """
        Where PAST keeps the ciphertext.
        """
        return Handle(Id.from_bytes(self.ciphertext_hash[:SIZE_BYTES]))


@dataclass(frozen=True)
class Convergence:
    """
    The organisation's secret, and which of them it is: old ones stay good for reading, being part of no reference.
    """

    generation: int
    secret: bytes


def conceal_shared(cleartext: bytes, convergence: Convergence, kind: int = 0) -> tuple[Reference, bytes]:
    """
    The reference and ciphertext of content that other people may store too.
    """
    commitment = tagged(Purpose.COMMITMENT, cleartext)
    generation = convergence.generation.to_bytes(4, "big")
    key = keyed(convergence.secret, Purpose.CONVERGENT_KEY, generation, bytes([kind]), commitment)
    return _conceal(cleartext, key, generation, commitment, kind)


def conceal_private(cleartext: bytes, entropy: Entropy, kind: int = 0) -> tuple[Reference, bytes]:
    """
    The reference and ciphertext of content that is nobody else's.
    """
    key = entropy(32)
    return _conceal(cleartext, key, entropy(_SALT), tagged(Purpose.COMMITMENT, cleartext), kind)


def _conceal(cleartext: bytes, key: bytes, salt: bytes, commitment: bytes, kind: int) -> tuple[Reference, bytes]:
    if len(cleartext) > BLOCK_LIMIT:
        raise ValueError(f"a block of {len(cleartext)} octets")
    padded = cleartext.ljust(padded_length(len(cleartext)), b"\0")
    ciphertext = AESGCM(key).encrypt(_NONCE, padded, Purpose.CIPHERTEXT.value)
    named = tagged(Purpose.CONTENT_BLOCK, ciphertext)
    return Reference(1, AES_256_GCM, named, key, salt, commitment, len(cleartext), kind), ciphertext


def reveal(reference: Reference, ciphertext: bytes) -> bytes:
    """
    The cleartext.

    @raise BadSignature: if C{ciphertext} is not what C{reference} names, or does not hold what it promises.
    """
    if reference.version != 1 or reference.suite != AES_256_GCM:
        raise BadSignature("a reference of another version")
    if tagged(Purpose.CONTENT_BLOCK, ciphertext) != reference.ciphertext_hash:
        raise BadSignature("another block than the one referred to")
    try:
        padded = AESGCM(reference.key).decrypt(_NONCE, ciphertext, Purpose.CIPHERTEXT.value)
    except (InvalidTag, ValueError):
        raise BadSignature("a block under another key") from None
    cleartext = padded[: reference.length]
    if len(padded) != padded_length(reference.length) or padded.count(0, reference.length) != len(padded) - len(
        cleartext
    ):
        raise BadSignature("a block with something in its padding")
    if tagged(Purpose.COMMITMENT, cleartext) != reference.commitment:
        raise BadSignature("a cleartext other than the one committed to")
    return cleartext


def padded_length(length: int) -> int:
    """
    The length to which C{length} octets are padded: Padmé (Nikitin et al., PETS 2019), and at least 256.
    """
    if length <= 256:
        return 256
    exponent = length.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return (length + mask) & ~mask
