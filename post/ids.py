"""
Points on the ring of 2^160: node ids, keys and handles, and the contact by which a node is reached.

An id is an C{int} in memory, because routing is arithmetic, and 20 bytes on the wire.  Pastry reads it as 40
hexadecimal digits (b = 4), most significant first.
"""

from __future__ import annotations

from typing import Annotated, NewType

import msgspec
from msgspec import Meta

BITS = 160
SIZE_BYTES = BITS // 8
DIGITS = BITS // 4
RING = 1 << BITS
_MASK = RING - 1
_HALF = RING >> 1


class Id(int):
    """
    A point on the ring.
    """

    __slots__ = ()

    @classmethod
    def from_bytes(cls, data: bytes) -> Id:  # type: ignore[override]  # Ids have one size and one order of bytes.
        """
        @raise ValueError: if C{data} is not 20 bytes long.
        """
        if len(data) != SIZE_BYTES:
            raise ValueError("an id is 20 bytes")
        return cls(int.from_bytes(data, "big"))

    @classmethod
    def from_hex(cls, text: str) -> Id:
        """
        @raise ValueError: if C{text} is not 40 hexadecimal digits.
        """
        if len(text) != DIGITS:
            raise ValueError("an id is 40 hexadecimal digits")
        return cls.from_bytes(bytes.fromhex(text))

    def packed(self) -> bytes:
        """
        The 20 bytes of the wire.
        """
        return self.to_bytes(SIZE_BYTES, "big")

    def hex(self) -> str:
        """
        All 40 digits.
        """
        return f"{int(self):040x}"

    def distance(self, other: int) -> int:
        """
        The way to C{other} around the ring, in the shorter direction.
        """
        way = (other - self) & _MASK
        return way if way <= _HALF else RING - way

    def clockwise(self, other: int) -> int:
        """
        The way to C{other} in the direction of rising ids.
        """
        return (other - self) & _MASK

    def digit(self, row: int) -> int:
        """
        The hexadecimal digit number C{row}, 0 being the most significant.
        """
        return (self >> (BITS - 4 - 4 * row)) & 0xF

    def shared_digits(self, other: int) -> int:
        """
        How many leading digits C{other} has in common with this id (40 if it is the same).
        """
        return (BITS - (self ^ other).bit_length()) // 4

    def __str__(self) -> str:
        return f"{int(self) >> (BITS - 32):08x}"

    def __repr__(self) -> str:
        return f"Id({self})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec) if not spec or spec[-1] == "s" else format(int(self), spec)


NodeId = NewType("NodeId", Id)
"""Of a node: what its certificate says."""

Key = NewType("Key", Id)
"""A target of routing."""

Handle = NewType("Handle", Id)
"""Under which PAST keeps a block (the paper's word)."""

GroupId = NewType("GroupId", Key)
"""Of a group of Scribe, whose root is the root of this key."""

AccountId = NewType("AccountId", Id)
"""Of an account: random, certified; stays when keys change."""

Address = Annotated[str, Meta(max_length=80)]
"""Where a node listens for links: C{host:port}."""


class Contact(msgspec.Struct, frozen=True, array_like=True):
    """
    How to reach a node: its id, the addresses it listens at, and its boot epoch.

    The epoch (milliseconds since 1970 at start-up, rising with every start) tells a restarted node from the one that
    was there before; of two contacts of one node the one with the higher epoch is right.
    """

    id: NodeId
    addresses: Annotated[tuple[Address, ...], Meta(max_length=4)] = ()
    epoch: Annotated[int, Meta(ge=0, lt=1 << 62)] = 0

    def __str__(self) -> str:
        return str(self.id)
