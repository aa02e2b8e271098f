"""
The structure of a message by byte offsets: what IMAP's FETCH needs, without building a tree of strings.

Pure.  (RFC 5322, RFC 2045, RFC 2046; RFC 3501 section 7.4.2 for what ENVELOPE and BODYSTRUCTURE show.)
"""

from __future__ import annotations

import msgspec


class MimePart(msgspec.Struct, frozen=True, array_like=True):
    """
    One part (the root is the whole message).  All offsets count octets from the start of the whole message.

    C{header_start:header_end} is the header with its final blank line; C{body_start:body_end} the body as transferred.
    C{header_end == body_start}.  C{children} are the parts of a multipart, or, for message/rfc822, the one embedded
    message, whose root header begins at our C{body_start}.
    """

    header_start: int
    body_start: int
    body_end: int
    lines: int
    """Lines of the body (RFC 3501: "size of the body in text lines")."""
    header: bytes
    """The header's octets, at most 64 KiB of them."""
    kind: str
    """The media type, lower case: "text/plain"."""
    parameters: tuple[tuple[str, str], ...] = ()
    encoding: str = "7bit"
    children: tuple[MimePart, ...] = ()

    @property
    def header_end(self) -> int:
        """
        Where the body begins.
        """
        return self.body_start
