"""
What follows DATA (RFC 5321, 4.5.2): found end, removed stuffing, checked octets; whatever the chunks it comes in.

The message is taken to the octet.  The only end is CRLF, dot, CRLF.  Bare CR, bare LF and NUL make the whole message
refused after its real end, so that no server behind us can see an end where we saw none (SMTP smuggling).
"""

from __future__ import annotations

import mmap
import tempfile
from typing import IO

MEMORY_BYTES = 1024 * 1024
"""A longer message is spooled to a temporary file."""

_END = b"\r\n.\r\n"


class DataReader:
    """
    One message on its way in.
    """

    def __init__(self, size_limit: int, spool_dir: str | None) -> None:
        self._limit = size_limit
        self._spool_dir = spool_dir
        self._held = b"\r\n"  # As if a line had ended: a dot may come first.
        self._virtual = 2
        self._chunks: list[bytes] = []
        self._file: IO[bytes] | None = None
        self.size = 0
        self.too_large = False
        self.bad_octets = False

    def feed(self, chunk: bytes) -> bytes | None:
        """
        Take C{chunk}; returns what came behind the end, or C{None} if the end has not come.
        """
        data = self._held + chunk
        end = data.find(_END)
        if end >= 0:
            self._take(data[: end + 2])
            return data[end + len(_END) :]
        # What may be the beginning of an end, or of a stuffed dot, waits for the next chunk.
        cut = data.find(b"\r", max(0, len(data) - 4))
        cut = len(data) if cut < 0 else cut
        self._held = data[cut:]
        self._take(data[:cut])
        return None

    def _take(self, stuffed: bytes) -> None:
        octets = stuffed.replace(b"\r\n.", b"\r\n")
        breaks = octets.count(b"\r\n")
        if b"\0" in octets or octets.count(b"\r") != breaks or octets.count(b"\n") != breaks:
            self.bad_octets = True
        if self._virtual and octets:
            octets, self._virtual = octets[self._virtual :], 0
        self.size += len(octets)
        if self.size > self._limit or self.too_large or self.bad_octets:
            self.too_large = self.too_large or self.size > self._limit
            self.discard()
            return
        if self._file is None and self.size > MEMORY_BYTES:
            self._file = tempfile.TemporaryFile(dir=self._spool_dir)  # noqa: SIM115  # Closed with the message.
            self._file.writelines(self._chunks)
            self._chunks = []
        if self._file is not None:
            self._file.write(octets)
        else:
            self._chunks.append(octets)

    def discard(self) -> None:
        """
        Let go of what has been read.
        """
        self._chunks = []
        if self._file is not None:
            self._file.close()
            self._file = None

    def message(self) -> bytes | mmap.mmap:
        """
        The whole message.
        """
        if self._file is None:
            return b"".join(self._chunks)
        with self._file as file:
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
