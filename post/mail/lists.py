"""
Mailing lists (POST, section 4.5): what a maintainer publishes.  Pure.

A list is kept in the log of whoever maintains it, and published as a block to which their identity block refers, so
that everybody can verify whose it is.  Its address leads to the maintainer's account: it is a sub-address of theirs
(C{alice+team@example.org}), or a name for which the directory, signed by the authority, names their account.  The
sender's node expands it (L{post.mail.expansion}): its members are visible to those who may write to it, and to every
other member of the organisation who looks.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

from msgspec import Meta

from post.crypto.names import split
from post.errors import PeerError
from post.ids import AccountId
from post.mail.patterns import full_name
from post.mail.records import Address
from post.wire import Document, pack, unpack

MEMBERS_LIMIT = 500
"""Of one list; more people take lists within a list."""
DOCUMENT_LIMIT = 200 * 1024
"""Octets of a published list: one block has 256 KiB."""
_ATOM = re.compile(r"[A-Za-z0-9!#$&'*+/=?^_`{|}~.-]+")
"""What stands in an address and in a List-Id without any quoting."""


class Posting(StrEnum):
    """
    Who may write to a list.
    """

    MEMBERS = "members"
    """Those to whom its mail goes, and its maintainer."""
    ORGANISATION = "organisation"
    """Everybody who has an account in the organisation."""
    ANYONE = "anyone"
    """Everybody, also from outside."""


class MailingList(Document, frozen=True):
    """
    C{members} are addresses of people and of lists, in their one spelling (L{post.mail.patterns.full_name}).
    """

    version: int
    address: Address
    maintainer: AccountId
    posting: Posting
    members: Annotated[tuple[Address, ...], Meta(max_length=MEMBERS_LIMIT)]


def list_name(address: str) -> str:
    """
    The one spelling of a list's address.

    @raise ValueError: if no list can have it.
    """
    name = full_name(address)
    if not _ATOM.fullmatch(split(name)[0]):
        raise ValueError("not an address for a list")
    return name


def write_list(mailing_list: MailingList) -> bytes:
    """
    The block's cleartext.
    """
    return pack(mailing_list)


def read_list(data: bytes, address: str, maintainer: AccountId) -> MailingList:
    """
    The list in C{data}, which has to be the one with C{address}, of C{maintainer}.

    @raise PeerError: if it is not.
    """
    found = unpack(MailingList, data)
    if found.version != 1:
        raise PeerError(f"a mailing list of version {found.version}")
    if (found.address, found.maintainer) != (address, maintainer):
        raise PeerError("another mailing list than was asked for")
    return found


def header_lines(address: str) -> bytes:
    """
    What a message to the list C{address} is marked with (RFC 2919, RFC 2369).
    """
    local, domain = split(address)
    return f"List-Id: <{local}.{domain}>\r\nList-Post: <mailto:{quote(local, safe='')}@{domain}>\r\n".encode("ascii")
