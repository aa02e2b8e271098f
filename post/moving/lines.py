"""
Line ends of messages in files (pure): files have LF, mail has CRLF.
"""

from __future__ import annotations

import re

_BARE = re.compile(rb"(?<!\r)\n")


def to_mail(octets: bytes) -> bytes:
    """
    C{octets} with each bare LF as CRLF; what has CRLF, or a bare CR, stays as it is.
    """
    return _BARE.sub(b"\r\n", octets)


def to_file(octets: bytes) -> bytes:
    """
    A form of C{octets} for files, from which L{to_mail} makes the very same again where there is one: with LF as line
    ends, or as they are.
    """
    if b"\r\r\n" in octets or has_bare(octets):
        return octets
    return octets.replace(b"\r\n", b"\n")


def has_bare(octets: bytes) -> bool:
    """
    Whether there is an LF without CR: such a message does not come back from a file as it was.
    """
    return octets.count(b"\n") != octets.count(b"\r\n")
