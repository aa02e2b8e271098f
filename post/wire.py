"""
What a message is, and the only place where messages become bytes and bytes become messages.

On the wire a message is its tag (two bytes, big-endian) and a MessagePack array of its fields.  Three rules let nodes
of different age share a ring:

  - a struct may gain fields at its end, with defaults; an older node ignores them, a newer one fills them in;
  - a tag is never reused; an unknown one raises L{UnknownMessage}, which L{post.rpc} answers "unsupported";
  - only a L{Document}, which somebody signs, forbids unknown fields.  It travels as the opaque bytes that were signed,
    so that a signature always covers the bytes received and never a re-encoding.

HELLO carries the lowest and highest protocol version and feature bits (L{post.net}).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar, cast

import msgspec

from post.errors import PeerError
from post.ids import Id

PROTOCOL_LOWEST = 1
PROTOCOL_HIGHEST = 1

FRAME_LIMIT = 64 * 1024
"""Bytes of one frame on a link; anything longer travels as several, so that urgent frames never wait for more than
one of these."""

RELAY_ROOM = 128
"""Bytes that L{post.rpc} leaves free in each frame, so that it still fits into one when a relay carries it."""

MESSAGE_LIMIT = 512 * 1024
"""Bytes of one message after reassembly: a block of 256 KiB, or a log head, with room for receipts and names."""


class Message(msgspec.Struct, frozen=True, array_like=True):
    """
    What nodes say to one another.  Subclasses are frozen, C{array_like}, and declared with L{message}.
    """


class Document(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """
    Something signed or stored for long: its first field is C{version}, and unknown fields are refused.
    """


class UnknownMessage(PeerError):
    """
    A tag that this version does not know.
    """


class Priority(IntEnum):
    """
    What goes first over a link.
    """

    URGENT = 0
    """Routing and liveness."""
    NORMAL = 1
    """Requests and their answers."""
    BULK = 2
    """Pieces of blocks."""


class RefusalCode(IntEnum):
    """
    Why a request was refused.
    """

    UNSUPPORTED = 1
    INVALID = 2
    NOT_FOUND = 3
    CONFLICT = 4
    OVERLOADED = 5
    FORBIDDEN = 6
    FAILED = 7
    NOT_READY = 8


class StorageClass(IntEnum):
    """
    How long a stored object matters, and what happens to it when nobody renews it.
    """

    PENDING = 1
    """Notifications on their way, and the receipts that end them."""
    MAIL = 2
    """Messages and their parts."""
    HEAD = 3
    """Public-key blocks: log heads, identity blocks."""
    FOREVER = 4
    """What must outlive every lease: certificates, sealed copies of accounts.  Holders take nothing else for it."""


def _to_wire(value: object) -> bytes:
    if isinstance(value, Id):
        return value.packed()
    raise TypeError(f"{type(value).__name__} has no form on the wire")


def _from_wire(kind: type, value: Any) -> Any:  # msgspec's hook: whatever MessagePack held.
    if issubclass(kind, Id) and isinstance(value, bytes):
        return kind.from_bytes(value)
    raise ValueError(f"no {kind.__name__}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_wire)
_types: dict[int, msgspec.msgpack.Decoder[Message]] = {}
_tags: dict[type[Message], bytes] = {}
_documents: dict[Any, msgspec.msgpack.Decoder[Any]] = {}

_M = TypeVar("_M", bound=Message)
_T = TypeVar("_T")


def message(tag: int) -> Callable[[type[_M]], type[_M]]:
    """
    Declare a class as the message with this C{tag}.  The blocks of tags: 0x00 rpc and links, 0x10 Pastry, 0x20 PAST,
    0x30 Scribe, 0x40 messaging, 0x50 mail, 0x60 notices, 0x70 relaying, 0x80 Pastry in small rings and secure routing.

    @raise ValueError: if the tag is taken.
    """

    def declare(cls: type[_M]) -> type[_M]:
        if tag in _types:
            raise ValueError(f"tag {tag:#x} is taken")
        _types[tag] = cast("msgspec.msgpack.Decoder[Message]", msgspec.msgpack.Decoder(cls, dec_hook=_from_wire))
        _tags[cls] = tag.to_bytes(2, "big")
        return cls

    return declare


def encode(message: Message) -> bytes:
    """
    The bytes of a declared message.
    """
    return _tags[type(message)] + _encoder.encode(message)


def decode(data: bytes) -> Message:
    """
    The message in C{data}; types, lengths and ranges are checked on the way.

    @raise UnknownMessage: for a tag that is not declared.
    @raise PeerError: for anything else that is not a message.
    """
    decoder = _types.get(int.from_bytes(data[:2], "big")) if len(data) > 2 else None
    if decoder is None:
        raise UnknownMessage(f"tag {data[:2].hex()}")
    try:
        return decoder.decode(memoryview(data)[2:])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PeerError(f"no message: {error}") from None


def kind_of(data: bytes) -> type[Message] | None:
    """
    Which message C{data} begins as, by its tag alone; C{None} for one that is not declared.
    """
    decoder = _types.get(int.from_bytes(data[:2], "big"))
    return None if decoder is None else decoder.type


def pack(value: object) -> bytes:
    """
    The bytes of a document, or of any value made of structs, ids and plain types.
    """
    return _encoder.encode(value)


def unpack(kind: type[_T], data: bytes) -> _T:
    """
    The C{kind} in C{data}.

    @raise PeerError: if it is none.
    """
    decoder = _documents.get(kind)
    if decoder is None:
        decoder = _documents[kind] = msgspec.msgpack.Decoder(kind, dec_hook=_from_wire)
    try:
        return cast("_T", decoder.decode(data))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PeerError(f"no {getattr(kind, '__name__', kind)}: {error}") from None
