"""
A message as a multi-line response (RFC 1939, section 3), in pieces.  Pure; the same octets come out however the message
is cut.
"""

from __future__ import annotations

import re

_DOT = re.compile(rb"(?<=[\r\n])\.")


class Stuffing:
    """
    Puts a dot before each dot that begins a line, and ends the response.

    A line begins behind CRLF, but also behind a bare CR or LF: many mail programs read lines by LF alone, and the
    author of a message could end the response for them, and go on in the server's name.  No message that was taken by
    SMTP has such line ends, and those come out to the octet.
    """

    def __init__(self) -> None:
        self._last = b"\r\n"  # As if a line had ended: the status line has.

    def feed(self, octets: bytes) -> bytes:
        """
        The next octets of the message, as they are to be sent.
        """
        before = self._last[-1:]
        self._last = (self._last + octets[-2:])[-2:]
        return _DOT.sub(b"..", before + octets)[1:]

    def end(self) -> bytes:
        """
        What ends the response.  A message that does not end its last line gets CRLF: it can be said in no other way.
        """
        return b".\r\n" if self._last == b"\r\n" else b"\r\n.\r\n"


class Top:
    """
    Takes of a message its header, the empty line behind it, and so many lines of its body.
    """

    def __init__(self, lines: int) -> None:
        self._left = lines
        self._in_header = True
        self._begun = (
            b""  # The first two octets of a line of the header that has not ended: enough to see if it is empty.
        )

    @property
    def done(self) -> bool:
        """
        Whether nothing more is wanted.
        """
        return not self._in_header and not self._left

    def feed(self, octets: bytes) -> bytes:
        """
        As much of the next octets as is wanted.
        """
        at = 0
        while self._in_header:
            end = octets.find(b"\n", at)
            if end < 0:
                self._begun = (self._begun + octets[at : at + 2])[:2]
                return octets
            self._in_header = (self._begun + octets[at : min(end, at + 2)])[:2] not in (b"", b"\r")
            self._begun = b""
            at = end + 1
        there = octets.count(b"\n", at)
        if there < self._left:
            self._left -= there
            return octets
        for _ in range(self._left):
            at = octets.find(b"\n", at) + 1
        self._left = 0
        return octets[:at]
