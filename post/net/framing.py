"""
Pure: the bytes of a link to frames and back.

A frame is::

    own (1 bit) | length (31 bits, big-endian) | that many bytes

C{own} marks what the ends of the link say to one another (L{post.net.messages}); all else is carried for others.

Received pieces are kept in a list until a frame is whole and joined once.  Appending to one buffer instead, as
Twisted's C{Int32StringReceiver} does, copies a large frame again for every piece of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from post.errors import PeerError

_HEAD = struct.Struct("!I")
OWN = 1 << 31
HEAD_BYTES = _HEAD.size

head = _HEAD.pack
"""The head of a carried frame of so many bytes."""


def own_frame(body: bytes) -> bytes:
    """
    C{body} as a frame of the link's own.
    """
    return _HEAD.pack(OWN | len(body)) + body


class FrameReader:
    """
    Cuts what arrives into frames of at most C{limit} bytes, which may be changed between two frames.
    """

    __slots__ = ("_needed", "_pieces", "_size", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._pieces: list[bytes] = []
        self._size = 0
        self._needed = HEAD_BYTES

    def feed(self, data: bytes) -> Iterator[tuple[bool, bytes]]:
        """
        The frames that C{data} completes, and whether each is the link's own.

        They are found while iterating: leave off in the middle only to give up the link.

        @raise PeerError: for a length over the limit, before any of that frame is kept.
        """
        if self._size:
            self._pieces.append(data)
            self._size += len(data)
            if self._size < self._needed:
                return
            data = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
        start = 0
        available = len(data)
        while available - start >= HEAD_BYTES:
            length = _HEAD.unpack_from(data, start)[0]
            own = length >= OWN
            if own:
                length -= OWN
            if length > self.limit:
                raise PeerError(f"a frame of {length} bytes, of at most {self.limit}")
            end = start + HEAD_BYTES + length
            if end > available:
                self._keep(data, start, HEAD_BYTES + length)
                return
            yield own, data[start + HEAD_BYTES : end]
            start = end
        if start < available:
            self._keep(data, start, HEAD_BYTES)

    def _keep(self, data: bytes, start: int, needed: int) -> None:
        rest = data[start:] if start else data
        self._pieces.append(rest)
        self._size = len(rest)
        self._needed = needed
