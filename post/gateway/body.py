"""
The body of a message as DKIM signs it (RFC 6376, 3.4), a piece at a time (pure).

The library would hold a body of 50 MB several times over, and the interpreter for seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import sha256

from post.mail.interfaces import Octets

PIECE = 64 * 1024
"""Octets worked on at once: a fraction of a millisecond."""

_SPACES = re.compile(rb"[ \t]+")
# What may be part of a line end, or of the white space before one, that the next piece completes.
_TAIL = re.compile(rb" ?\r?\Z")
_TAIL_SIMPLE = re.compile(rb"\r?\Z")


def canonical_body(message: Octets, start: int, relaxed: bool) -> Iterator[bytes]:
    """
    The octets from C{start} on in one of the two canonical forms; every line of them ends in CRLF.
    """
    ends = 0  # Line ends of which it is not known yet whether anything follows.
    held = b""
    empty = True
    for position in range(start, len(message), PIECE):
        data = held + message[position : position + PIECE]
        if relaxed:
            data = _SPACES.sub(b" ", data)
        held = b""
        if position + PIECE < len(message):
            tail = (_TAIL if relaxed else _TAIL_SIMPLE).search(data)
            assert tail is not None
            data, held = data[: tail.start()], tail[0]
        if relaxed:
            data = data.replace(b" \r\n", b"\r\n")
            if position + PIECE >= len(message):
                data = data.removesuffix(b" ")
        content = data.rstrip(b"\r\n")
        if content:
            yield from _line_ends(ends)
            # A piece may begin with line ends that belong to what stands before it.
            yield content
            ends, empty = 0, False
        ends += (len(data) - len(content)) // 2
    if not (empty and relaxed):
        yield b"\r\n"


def _line_ends(count: int) -> Iterator[bytes]:
    while count > 0:
        yield b"\r\n" * min(count, PIECE // 2)
        count -= PIECE // 2


def body_hash(message: Octets, start: int, relaxed: bool) -> bytes:
    """
    The SHA-256 of that: 32 bytes.
    """
    digest = sha256()
    for piece in canonical_body(message, start, relaxed):
        digest.update(piece)
    return digest.digest()
