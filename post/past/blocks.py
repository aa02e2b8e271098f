"""
What PAST keeps (POST, section 2): content-hash blocks, public-key blocks, certificate blocks.

A holder verifies what it is given before it stores it, and a reader what it gets, both by L{BlockKind.check}:

  - a *content-hash block* is any bytes under the hash of themselves;
  - a *public-key block* is a L{SignedBlock}; its handle follows from the log key that signs it, or, for an account's
    identity block, from the account id in the certificate that it carries, so that the key may change;
  - a *certificate block* is an identity certificate under the hash of its mail address.

Versions of a public-key block are numbers that strictly rise; no clock is involved.  Each names the hash of its parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from msgspec import Meta

from post.crypto.certificates import read_identity, verify_identity
from post.crypto.convergent import BLOCK_LIMIT
from post.crypto.keys import LogKey, SigningKey, verify
from post.crypto.names import canonical
from post.errors import BadSignature, PeerError
from post.hashes import Purpose, handle_of, tagged
from post.ids import Handle
from post.interfaces import Stored
from post.wire import Document, pack, unpack

CONTENT, PUBLIC_KEY, CERTIFICATE = 1, 2, 3

PAYLOAD_LIMIT = 64 * 1024 + 32 * 1024
"""Octets in a public-key block: a log head with a tail of 16 KiB, or one record of 60 KiB, and its references."""
CONTENT_LIMIT = BLOCK_LIMIT + 16
NUMBER_LIMIT = 1 << 62
JUMP_LIMIT = 1 << 32
"""A version further than this above the one held is refused: no writer gets there, and an attacker with a stolen key
could otherwise make every honest write too low for ever."""


FINAL_NUMBER = NUMBER_LIMIT - 1
"""The version of a log's head after which there is none: its owner goes on under another key, and has closed this one,
which a thief may have.  Its C{epoch} is the number of the head that it continues: where a later one is held, its writer
has not seen that, and is told of it."""
SERIAL_SHIFT = 24
"""The number of an account's block begins with the serial of the certificate in it, above so many bits.  So nothing
that is signed with an older certificate can come after it, and a thief cannot write over what the owner wrote since."""
LASTING_BYTES = 8 * 1024
"""Octets of a public-key block that may be kept for ever, as the sealed copy of an account is: no more than of a
certificate block, so a member gets no other disks for ever by it."""


class BlockKind(Protocol):
    """
    What PAST needs to know of a kind of object.
    """

    kind: int

    def check(self, handle: Handle, data: bytes, now: float) -> int:
        """
        Returns the order of C{data} among all that may be under C{handle}.

        @raise PeerError: if it must not be there.
        """

    def supersedes(self, new: Stored, old: Stored) -> bool:
        """
        Whether C{new} is to replace C{old}.
        """

    def latest(self, data: bytes) -> int | None:
        """
        Until when C{data}, which L{check} has accepted, may be kept at the latest, whoever asks; C{None} if its owner
        may have it kept for as long as he likes.
        """

    def stored(self, item: Stored) -> None:
        """
        C{item} has become durable on this node.
        """


_Chain = Annotated[tuple[Annotated[bytes, Meta(max_length=4096)], ...], Meta(max_length=4)]
"""A leaf, its issuer, and room for two in between one day."""


class SignedBlock(Document, frozen=True):
    """
    A version of a public-key block.

    C{number} rises strictly; C{epoch} is the writer's key epoch; C{parent} the L{block_hash} of the version before (32
    zero bytes for the first).  C{owner} is the public key, and C{chain} empty; or C{owner} is empty, and C{chain} the
    identity certificates of the account whose block it is.
    """

    version: int
    number: Annotated[int, Meta(ge=1, lt=NUMBER_LIMIT)]
    epoch: Annotated[int, Meta(ge=0, lt=NUMBER_LIMIT)]
    parent: Annotated[bytes, Meta(min_length=32, max_length=32)]
    payload: Annotated[bytes, Meta(max_length=PAYLOAD_LIMIT)]
    owner: Annotated[bytes, Meta(max_length=128)]
    chain: _Chain


class _Signature(Document, frozen=True):
    """
    On the wire: the signed bytes and their signature.
    """

    body: Annotated[bytes, Meta(max_length=PAYLOAD_LIMIT + 20 * 1024)]
    signature: Annotated[bytes, Meta(max_length=256)]


def sign_block(
    key: SigningKey | LogKey, number: int, epoch: int, parent: bytes, payload: bytes, chain: Sequence[bytes] = ()
) -> bytes:
    """
    The bytes of a public-key block; with C{chain}, of the account that it certifies.
    """
    owner = b"" if chain else key.public
    body = pack(SignedBlock(1, number, epoch, parent, payload, owner, tuple(chain)))
    return pack(_Signature(body, key.sign(Purpose.SIGN_BLOCK, body)))


def lasting(kind: int, data: bytes) -> bool:
    """
    Whether an object may outlive every lease.
    """
    return kind == CERTIFICATE or (kind == PUBLIC_KEY and len(data) <= LASTING_BYTES)


def account_number(previous: int, serial: int) -> int:
    """
    The number of an account's next block, after that with number C{previous}, under a certificate with C{serial}.
    """
    return max(previous + 1, serial << SERIAL_SHIFT)


def read_signed_block(data: bytes) -> SignedBlock:
    """
    The block in C{data}, not verified.

    @raise PeerError: if it is none.
    """
    return unpack(SignedBlock, unpack(_Signature, data).body)


def reach(data: bytes) -> int:
    """
    Up to which number all that was under its handle is in a public-key block: its own, but for the last one.

    @raise PeerError: if it is none.
    """
    block = read_signed_block(data)
    return block.epoch if block.number == FINAL_NUMBER else block.number


def contradict(kind: int, data: bytes, other: bytes) -> bool:
    """
    Whether two authentic objects of equal order under one handle cannot both be right.

    Of public-key blocks what is signed counts: a signature has more than one form, and who makes another one of it has
    not written another version.
    """
    if kind == PUBLIC_KEY:
        return unpack(_Signature, data).body != unpack(_Signature, other).body
    return kind == CONTENT and data != other


def block_hash(data: bytes) -> bytes:
    """
    By which the next version names this one: 32 bytes.
    """
    return tagged(Purpose.BLOCK_VERSION, data)


def certificate_block(chain: Sequence[bytes]) -> bytes:
    """
    The bytes of a certificate block.
    """
    return pack(tuple(chain))


def certificate_handle(address: str) -> Handle:
    """
    Where the certificate of a mail address is kept.

    @raise ValueError: if C{address} is none.
    """
    return handle_of(Purpose.CERTIFICATE_BLOCK, canonical(address).encode())


class _Simple:
    """
    Nobody needs to be told, and only who renews it says how long it is kept.
    """

    def latest(self, data: bytes) -> int | None:
        """
        Not limited.
        """
        return None

    def stored(self, item: Stored) -> None:
        """
        Nothing to do.
        """


class ContentKind(_Simple):
    """
    Content-hash blocks.
    """

    kind = CONTENT

    def check(self, handle: Handle, data: bytes, now: float) -> int:
        """
        @raise PeerError: unless C{handle} is the hash of C{data}.
        """
        if len(data) > CONTENT_LIMIT or handle_of(Purpose.CONTENT_BLOCK, data) != handle:
            raise PeerError("a content block under another hash")
        return 0

    def supersedes(self, new: Stored, old: Stored) -> bool:
        """
        Never: they are the same.
        """
        return False


class PublicKeyKind(_Simple):
    """
    Public-key blocks.
    """

    kind = PUBLIC_KEY

    def __init__(self, root: bytes) -> None:
        self._root = root

    def check(self, handle: Handle, data: bytes, now: float) -> int:
        """
        Returns the block's number.

        @raise PeerError: unless the owner of C{handle} signed it.
        """
        signature = unpack(_Signature, data)
        if pack(signature) != data:
            raise PeerError("a public-key block in another than its only form")
        block = unpack(SignedBlock, signature.body)
        if block.version != 1:
            raise PeerError(f"a public-key block of version {block.version}")
        if block.chain:
            identity = verify_identity(block.chain, self._root, int(now))
            owner, expected = identity.public_key, handle_of(Purpose.ACCOUNT_BLOCK, identity.account.packed())
            # Lower ones were written before there was this rule.
            if block.number >> SERIAL_SHIFT > identity.serial:
                raise BadSignature("a number that belongs to a newer certificate")
        else:
            owner, expected = block.owner, handle_of(Purpose.PUBLIC_KEY_BLOCK, block.owner)
        if expected != handle:
            raise BadSignature("a public-key block under another key")
        verify(owner, Purpose.SIGN_BLOCK, signature.body, signature.signature)
        return block.number

    def place(self, handle: Handle, data: bytes, now: float) -> tuple[int, int, bytes]:
        """
        Where a version stands among all there ever were: number, epoch, hash.

        Unlike for L{check}, a certificate may have run out since, or been revoked: its owner, back after a long time or
        with another key, has to know which number comes next.  Nothing is stored or believed on this alone.

        @raise PeerError: unless it was the owner of C{handle} who signed it.
        """
        block = read_signed_block(data)
        if block.chain:
            now = min(now, read_identity(block.chain[0]).not_before)
        return self.check(handle, data, now), block.epoch, block_hash(data)

    def supersedes(self, new: Stored, old: Stored) -> bool:
        """
        A higher number does, unless it jumps absurdly far: only the last one may, and what a certificate allows.
        """
        if new.order == FINAL_NUMBER:
            return reach(old.data) < reach(new.data) if old.order == new.order else old.order <= reach(new.data)
        return old.order < new.order and (new.order <= old.order + JUMP_LIMIT or _is_certified(new.data))


def _is_certified(data: bytes) -> bool:
    try:
        return bool(read_signed_block(data).chain)
    except PeerError:
        return False


class CertificateKind(_Simple):
    """
    Certificate blocks.
    """

    kind = CERTIFICATE

    def __init__(self, root: bytes) -> None:
        self._root = root

    def check(self, handle: Handle, data: bytes, now: float) -> int:
        """
        Returns the certificate's serial.

        @raise PeerError: unless it is a valid identity certificate for the name under C{handle}.
        """
        identity = verify_identity(unpack(_Chain, data), self._root, int(now))
        try:
            expected = certificate_handle(identity.address)
        except ValueError:
            raise PeerError("a certificate without an address") from None
        if expected != handle:
            raise PeerError("a certificate under another name")
        return identity.serial

    def supersedes(self, new: Stored, old: Stored) -> bool:
        """
        The serial only rises.
        """
        return new.order > old.order
