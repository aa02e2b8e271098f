"""
The list of what an authority has revoked: signed, and its own proof wherever it comes from.

It names keys (L{post.crypto.trust} says why), each with the kind of its certificates and the name in them, for people
to read.  An entry leaves the list when no certificate of that key could be valid, or be renewed, any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from post.crypto.documents import DAY_S, Number, Text, open_document, sign_document
from post.crypto.keys import SigningKey
from post.crypto.trust import Taken
from post.errors import PeerError
from post.hashes import Purpose
from post.wire import Document

REVOKED_LIMIT = 2000
"""Entries: with names and reasons of usual length some 250 kB, which still fits into one message between nodes.  Each
goes a year after the end of its certificate."""
REASON_LIMIT = 100
"""Characters of a reason: a few words."""
SIZE_LIMIT = 400 * 1024
"""Octets of a list, so that it fits into a message of L{post.rpc}."""
NEXT_S = 7 * DAY_S
"""Until when the authority will have signed the list anew, changed or not.  A node that has nothing newer by then has
been cut off from the authority, or is kept from its news."""

NODE, IDENTITY = "node", "identity"


class Revocation(Document, frozen=True):
    """
    A key that certificates of C{kind} (L{NODE}, L{IDENTITY}) for C{name} (a node id in hexadecimal, an address) were
    issued for, revoked C{since}.
    """

    kind: Annotated[str, Meta(max_length=16)]
    name: Text
    key: Annotated[bytes, Meta(min_length=1, max_length=64)]
    since: Number
    until: Number
    reason: Annotated[str, Meta(max_length=REASON_LIMIT)] = ""


class Revocations(Document, frozen=True):
    """
    The whole list.  C{serial} rises with each; C{next_update} is when there will be a newer one at the latest.
    """

    version: int
    domain: Text
    serial: Number
    issued: Number
    next_update: Number
    entries: Annotated[tuple[Revocation, ...], Meta(max_length=REVOKED_LIMIT)] = ()

    def keys(self) -> dict[bytes, Taken]:
        """
        The keys, as L{post.crypto.trust.Trust.revoke} takes them.
        """
        return {entry.key: Taken(entry.since, entry.reason) for entry in self.entries}

    def of(self, kind: str, name: str) -> Sequence[Revocation]:
        """
        The entries for one name.
        """
        return [entry for entry in self.entries if (entry.kind, entry.name) == (kind, name)]


def sign_revocations(revocations: Revocations, issuing: bytes, key: SigningKey) -> bytes:
    """
    The list, signed by the authority whose certificate is C{issuing}.
    """
    return sign_document(revocations, Purpose.SIGN_REVOCATIONS, issuing, key)


def open_revocations(data: bytes, root: bytes, at: int) -> Revocations:
    """
    @raise PeerError: if C{data} is no such list, or not signed by an authority under C{root}.
    """
    if len(data) > SIZE_LIMIT:
        raise PeerError(f"a list of what is revoked of {len(data)} bytes")
    return open_document(data, Revocations, Purpose.SIGN_REVOCATIONS, root, at)
