"""
What is published: a document signed by the only account that may publish in its group.

The id of the group follows from that account, so every node that a publication passes can see for itself whether it
belongs there; no list of publishers is kept anywhere.  Its number is the time in milliseconds and rises with each
publication: an old one that somebody sends again is not news.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from post.crypto.certificates import verify_identity
from post.crypto.keys import SigningKey, verify
from post.errors import PeerError
from post.hashes import Purpose, handle_of
from post.ids import AccountId, GroupId, Key
from post.wire import Document, pack, unpack

PAYLOAD_LIMIT = 1024
"""Octets that a publication says.  Every forwarder keeps the newest of each of its groups: presence takes a tenth."""
PUBLICATION_LIMIT = 8 * 1024
"""Octets of a whole one; the two certificates in it take about 1,500."""
SKEW_S = 3600
"""How far from ours the clock of a publisher may be, and so how old a publication can be that counts at a node which
has seen no newer one."""

Chain = Annotated[tuple[Annotated[bytes, Meta(max_length=3072)], ...], Meta(max_length=2)]


class Publication(Document, frozen=True):
    """
    What C{account} says to those who listen.
    """

    version: int
    account: AccountId
    number: Annotated[int, Meta(ge=0, lt=1 << 62)]
    payload: Annotated[bytes, Meta(max_length=PAYLOAD_LIMIT)]

    @property
    def group(self) -> GroupId:
        """
        Where it belongs.
        """
        return group_of(self.account)


class Signed(Document, frozen=True):
    """
    A publication as the bytes that its account signed.
    """

    version: int
    body: Annotated[bytes, Meta(max_length=PAYLOAD_LIMIT + 64)]
    chain: Chain
    signature: Annotated[bytes, Meta(max_length=256)]


def group_of(account: AccountId) -> GroupId:
    """
    The group in which C{account}, and nobody else, publishes.
    """
    return GroupId(Key(handle_of(Purpose.GROUP, account.packed())))


def sign(publication: Publication, key: SigningKey, chain: Sequence[bytes]) -> bytes:
    """
    The bytes to publish.
    """
    body = pack(publication)
    return pack(Signed(1, body, tuple(chain), key.sign(Purpose.SIGN_PUBLICATION, body)))


def claimed(data: bytes) -> Publication:
    """
    What C{data} claims to be, not verified: enough to see that it is not wanted.

    @raise PeerError: if it is no publication.
    """
    if len(data) > PUBLICATION_LIMIT:
        raise PeerError(f"a publication of {len(data)} bytes")
    publication = unpack(Publication, unpack(Signed, data).body)
    if publication.version != 1:
        raise PeerError("a publication of another version")
    return publication


def check(data: bytes, root: bytes, now: float) -> Publication:
    """
    The publication in C{data}.

    @raise PeerError: unless the account that it names signed it, at about this time.
    """
    publication = claimed(data)
    signed = unpack(Signed, data)
    if signed.version != 1:
        raise PeerError("a publication of another version")
    if abs(publication.number / 1000 - now) > SKEW_S:
        raise PeerError("a publication of another time")
    signer = verify_identity(signed.chain, root, publication.number // 1000)
    if signer.account != publication.account:
        raise PeerError("a publication in somebody else's name")
    verify(signer.public_key, Purpose.SIGN_PUBLICATION, signed.body, signed.signature)
    return publication
