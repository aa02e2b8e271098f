"""
What nodes say to one another about blocks.  Every request that stores names class and expiry.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from post.crypto.convergent import BLOCK_LIMIT
from post.ids import Handle
from post.wire import Message, StorageClass, message

DATA_LIMIT = BLOCK_LIMIT + 4096
OFFER_LIMIT = 1000
"""Objects named in one offer or renewal: 60 KiB of them."""

ABSENT = -1
"""Instead of an order: nothing is held."""

Data = Annotated[bytes, Meta(max_length=DATA_LIMIT)]
Expires = Annotated[int, Meta(ge=0, lt=1 << 40)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]


@message(0x20)
class Store(Message, frozen=True):
    """
    Keep this.  Answered by L{Kept}, or by L{Rival} if what is held must not give way to it.
    """

    kind: int
    handle: Handle
    storage_class: StorageClass
    expires: Expires
    data: Data


@message(0x21)
class Kept(Message, frozen=True):
    """
    It is durable here: the holder's signed receipt (L{post.past.receipts}).
    """

    at: int
    index: Annotated[int, Meta(ge=0, lt=1 << 20)]
    path: Annotated[tuple[Hash, ...], Meta(max_length=20)]
    signature: Annotated[bytes, Meta(max_length=256)]


@message(0x22)
class Rival(Message, frozen=True):
    """
    What is held instead.
    """

    data: Data


@message(0x23)
class Fetch(Message, frozen=True):
    """
    Give me this.  Answered by L{Found}, or refused as not found.
    """

    kind: int
    handle: Handle


@message(0x24)
class Found(Message, frozen=True):
    """
    What is held: a claim until the reader has verified it.
    """

    storage_class: StorageClass
    expires: Expires
    data: Data


class Offered(Message, frozen=True):
    """
    One object of an L{Offer}.
    """

    kind: int
    handle: Handle
    order: Annotated[int, Meta(ge=0, lt=1 << 62)]
    expires: Expires
    digest: Hash


@message(0x25)
class Offer(Message, frozen=True):
    """
    These should be with you as well.  Answered by L{Want}.
    """

    items: Annotated[tuple[Offered, ...], Meta(max_length=OFFER_LIMIT)]


@message(0x26)
class Want(Message, frozen=True):
    """
    The places, in the offer's list, of what is missing here.
    """

    missing: Annotated[tuple[Annotated[int, Meta(ge=0, lt=OFFER_LIMIT)], ...], Meta(max_length=OFFER_LIMIT)]


@message(0x27)
class Renew(Message, frozen=True):
    """
    Keep these until C{expires} at least.  Answered by L{Want} with what is not here.
    """

    handles: Annotated[tuple[Handle, ...], Meta(max_length=OFFER_LIMIT)]
    expires: Expires


@message(0x28)
class Have(Message, frozen=True):
    """
    Which of these are with you?  Answered by L{Having}.
    """

    handles: Annotated[tuple[Handle, ...], Meta(max_length=OFFER_LIMIT)]


@message(0x29)
class Having(Message, frozen=True):
    """
    Of each handle that was asked for, in its place: the order of the version that is held, or L{ABSENT}.
    """

    orders: Annotated[tuple[Annotated[int, Meta(ge=-1, lt=1 << 62)], ...], Meta(max_length=OFFER_LIMIT)]
