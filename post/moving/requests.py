"""
What C{post import} and C{post export} say to a running node over the socket C{moving} in its directory (mode 0600).

Either side sends frames: length of the head (4 bytes, big-endian), length of the octets (4), head, octets.  The head is
a packed L{Request} or L{Answer}; the octets are a message, or a part of one.  Requests are worked on at the same time,
and answered in any order, by number.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from msgspec import Meta

from post.errors import PeerError
from post.wire import Document, pack, unpack

HEAD_LIMIT = 256 * 1024
"""Bytes of a head: a page of entries, each with as many flags as a message may have."""
PIECE_LIMIT = 256 * 1024
"""Octets that are read at once."""
PAGE_LIMIT = 500
"""Entries listed at once."""
LOOK_LIMIT = 20_000
"""UIDs looked at for that: where many are gone, a page may be short, and nobody else is kept waiting."""

DONE, MESSAGE, LATER, WRONG = 0, 1, 2, 3
"""How a request ended: well; this message cannot be taken; the same may succeed later; the request makes no sense."""

_T = TypeVar("_T", bound=Document)
Text = Annotated[str, Meta(max_length=1000)]
Flag = Annotated[str, Meta(min_length=1, max_length=255)]


class Request(Document, frozen=True):
    """
    What is asked of the mailbox of C{account}; C{body} is one of the documents below, by its name.
    """

    version: int
    number: Annotated[int, Meta(ge=0, lt=1 << 32)]
    account: Text
    name: Annotated[str, Meta(max_length=20)]
    body: bytes


class Answer(Document, frozen=True):
    """
    How it ended; C{body} is the document that answers, or C{text} says what is wrong, in one line.
    """

    version: int
    number: int
    outcome: int
    body: bytes = b""
    text: str = ""


class Survey(Document, frozen=True):
    """
    Which folders are there?  Answered by L{Folders}.
    """

    version: int


class Provide(Document, frozen=True):
    """
    See that there is a folder: the one with C{special_use}, if that is not empty, or the one of that name.  Answered by
    L{Folders} with this one.
    """

    version: int
    name: Text
    special_use: Text = ""


class Folder(Document, frozen=True):
    """
    One folder.
    """

    name: str
    special_use: str
    uid_validity: int
    messages: int
    size: int


class Folders(Document, frozen=True):
    """
    Some, or all; and of how many octets a message may be.
    """

    version: int
    folders: tuple[Folder, ...]
    size_limit: int


class File(Document, frozen=True):
    """
    File the message that follows, whose SHA-256 is C{digest}, as copy number C{copy} of equal ones in C{folder}.
    C{date} is in milliseconds since 1970.  Answered by L{Filed}.
    """

    version: int
    folder: Text
    digest: Annotated[bytes, Meta(min_length=32, max_length=32)]
    copy: Annotated[int, Meta(ge=0, lt=1 << 32)]
    flags: Annotated[tuple[Flag, ...], Meta(max_length=1000)]
    date: Annotated[int, Meta(ge=0, lt=1 << 47)]


class Filed(Document, frozen=True):
    """
    It is in the ring; C{fresh} if it was not before.
    """

    version: int
    fresh: bool


class ListEntries(Document, frozen=True):
    """
    Which messages of C{folder} come after the UID C{after}?  Answered by L{Entries}, at most L{PAGE_LIMIT}.
    """

    version: int
    folder: Text
    uid_validity: int
    after: int


class Listed(Document, frozen=True):
    """
    One message.  C{date} is in milliseconds since 1970.
    """

    uid: int
    flags: tuple[str, ...]
    date: int
    size: int
    key: bytes


class Entries(Document, frozen=True):
    """
    By rising UID: all up to C{last}, which is 0 if these are all that there are.
    """

    version: int
    entries: tuple[Listed, ...]
    last: int


class ReadOctets(Document, frozen=True):
    """
    The octets C{start:stop} of a message, which follow the answer.
    """

    version: int
    folder: Text
    uid_validity: int
    uid: int
    start: Annotated[int, Meta(ge=0)]
    stop: int


def frame(head: Document, octets: bytes = b"") -> bytes:
    """
    What is sent.
    """
    packed = pack(head)
    return len(packed).to_bytes(4, "big") + len(octets).to_bytes(4, "big") + packed + octets


def lengths(data: bytes | bytearray, octets_limit: int) -> tuple[int, int]:
    """
    Of the head and of the octets of a frame that begins with the 8 bytes C{data}.

    @raise PeerError: if either is over its limit.
    """
    head, octets = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    if head > HEAD_LIMIT or octets > octets_limit:
        raise PeerError(f"a frame of {head} and {octets} bytes")
    return head, octets


def opened(kind: type[_T], data: bytes) -> _T:
    """
    The document in C{data}.

    @raise PeerError: if it is none, or of another version.
    """
    found = unpack(kind, data)
    if getattr(found, "version", 1) != 1:
        raise PeerError("another version")
    return found
