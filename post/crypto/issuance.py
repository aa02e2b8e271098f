"""
The public issuance log: all that an authority ever certified or took back, each entry bound to all before it, under a
head that the authority signs.

An authority that certifies a second key for somebody can read what is sent to them from then on, and nobody else could
tell.  So it may certify nothing without an entry here, every member keeps a copy, and each node looks for its own
names in it (as in Certificate Transparency, RFC 9162; that has trees, because its logs are too large for copies: an
organisation's has some megabytes).

The I{link} of a log of no entries is 32 zeros; that of one with another entry is the C{issuance-link} hash of the link
before and of the packed entry.  Two signed heads of the same length with different links prove that the authority has
shown two logs.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from post.crypto.documents import Signed, Text, open_document, sign_document
from post.crypto.keys import SigningKey
from post.errors import PeerError
from post.hashes import Purpose, tagged
from post.wire import Document, pack, unpack

VERSION = 1
ENTRY_LIMIT = 1024
"""Octets of an entry: two names of 320 characters, and hashes."""
HEAD_LIMIT = 2048
"""Octets of a signed head: the issuing certificate is most of it."""
LENGTH_LIMIT = 1 << 24
"""Entries of a log: a hundred thousand certificates every two months for 27 years."""
START = bytes(32)
"""The link of an empty log."""

NODE, IDENTITY, RECOVERY, REVOCATION = "node", "identity", "recovery", "revocation"

Time = Annotated[int, Meta(ge=0, lt=1 << 38)]
"""Unix seconds: what a calendar can show."""
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]


class Entry(Document, frozen=True):
    """
    One thing that the authority did C{at} (unix seconds).

    @ivar number: how many entries there are before it.
    @ivar kind: L{NODE} or L{IDENTITY} (a certificate), L{RECOVERY} (a recovery code was made known), L{REVOCATION} (of
        a key).
    @ivar name: a node id in hexadecimal, or an address.
    @ivar of: the owner of a node; of a revocation, what kind of certificates it takes back.
    @ivar key: the C{issuance-key} hash of the public key.
    @ivar certificate: the C{issuance-certificate} hash of the certificate; zeros where there is none.
    @ivar until: when the certificate ends; 0 where there is none.
    @ivar late: whether it was entered afterwards, from the authority's records: it is older than the log.
    """

    version: int
    number: Annotated[int, Meta(ge=0, lt=LENGTH_LIMIT)]
    at: Time
    kind: Annotated[str, Meta(max_length=16)]
    name: Text
    of: Text
    key: Hash
    certificate: Hash
    until: Time
    late: bool = False


class Head(Document, frozen=True):
    """
    The log up to C{length}.
    """

    version: int
    domain: Text
    length: Annotated[int, Meta(ge=0, le=LENGTH_LIMIT)]
    link: Hash
    at: Time

    @property
    def serial(self) -> int:
        """
        By which nodes compare heads: it rises with the length, and of two logs of the same length that differ one has
        the higher, so that whoever has the other asks for it, and sees both.
        """
        return self.length << 24 | int.from_bytes(self.link[:3], "big")


def key_hash(public_key: bytes) -> bytes:
    """
    By which a key is named.
    """
    return tagged(Purpose.ISSUANCE_KEY, public_key)


def certificate_hash(certificate: bytes) -> bytes:
    """
    By which a certificate (DER) is named.
    """
    return tagged(Purpose.ISSUANCE_CERTIFICATE, certificate)


def link(before: bytes, packed: bytes) -> bytes:
    """
    The link of the log with one entry more.
    """
    return tagged(Purpose.ISSUANCE_LINK, before, packed)


def read_entry(packed: bytes, number: int) -> Entry:
    """
    The entry number C{number}.

    @raise PeerError: if C{packed} is none, or another.
    """
    if len(packed) > ENTRY_LIMIT:
        raise PeerError(f"an entry of {len(packed)} bytes")
    found = unpack(Entry, packed)
    if found.version != VERSION:
        raise PeerError(f"an entry of version {found.version}")
    if found.number != number:
        raise PeerError(f"entry {found.number} in the place of {number}")
    if not (found.name + found.of + found.kind).isprintable():
        raise PeerError("an entry with names that nobody has")  # People are shown them.
    if pack(found) != packed:
        raise PeerError("an entry in another than the one encoding")
    return found


def sign_head(head: Head, issuing: bytes, key: SigningKey) -> bytes:
    """
    The head, signed by the authority whose certificate is C{issuing}.
    """
    return sign_document(head, Purpose.SIGN_ISSUANCE, issuing, key)


def open_head(data: bytes, root: bytes, at: int) -> Head:
    """
    @raise PeerError: if C{data} is no head, or not signed by an authority under C{root}.
    """
    if len(data) > HEAD_LIMIT:
        raise PeerError(f"a head of {len(data)} bytes")
    return open_document(data, Head, Purpose.SIGN_ISSUANCE, root, at)


def read_head(data: bytes) -> Head:
    """
    What a head says that was verified before.

    @raise PeerError: if C{data} is none.
    """
    return unpack(Head, unpack(Signed, data).body)
