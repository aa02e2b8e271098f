"""
What follows DATA (RFC 5321, 4.5.2): found end, removed stuffing, checked octets; whatever the chunks it comes in.

The message is taken to the octet.  The only end is CRLF, dot, CRLF.  Bare CR, bare LF and NUL make the whole message
refused after its real end, so that no server behind us can see an end where we saw none (SMTP smuggling).
"""

from __future__ import annotations

import mmap
import tempfile
from contextlib import suppress
from typing import IO

MEMORY_BYTES = 1024 * 1024
"""A longer message is spooled to a temporary file."""

_END = b"\r\n.\r\n"


class DataReader:
    """
    One message on its way in.

    Whatever is wrong with it, it is read to its end, so that no part of it is ever taken for a command.  But once
    something is wrong, nothing of it is kept.
    """

    def __init__(self, size_limit: int, spool_dir: str | None) -> None:
        self._limit = size_limit
        self._spool_dir = spool_dir
        self._held = b"\r\n"  # As if a line had ended: a dot may come first.
        self._virtual = 2
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self.size = 0
        self.too_large = False
        self.bad_octets = False
        self.no_room = False

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
        cut = data.find(b"\r", max(0, len(data) - len(_END) + 1))
        cut = len(data) if cut < 0 else cut
        self._held = data[cut:]
        self._take(data[:cut])
        return None

    def _take(self, stuffed: bytes) -> None:
        # No CRLF is divided between two calls: the cut is before the first CR that may begin something.
        octets = stuffed.replace(b"\r\n.", b"\r\n")
        breaks = octets.count(b"\r\n")
        if b"\0" in octets or octets.count(b"\r") != breaks or octets.count(b"\n") != breaks:
            self.bad_octets = True
        if self._virtual and octets:
            octets, self._virtual = octets[self._virtual :], 0
        self.size += len(octets)
        self.too_large = self.too_large or self.size > self._limit
        if not (self.too_large or self.bad_octets or self.no_room):
            try:
                self._keep(octets)
            except OSError:
                self.no_room = True
        if self.too_large or self.bad_octets or self.no_room:
            self.discard()

    def _keep(self, octets: bytes) -> None:
        if self._file is None and self.size > MEMORY_BYTES:
            self._file = tempfile.TemporaryFile(dir=self._spool_dir)  # noqa: SIM115  # Closed with the message.
            self._file.write(self._memory)
            self._memory = bytearray()
        if self._file is not None:
            self._file.write(octets)
        else:
            self._memory += octets

    def discard(self) -> None:
        """
        Let go of what has been read.
        """
        self._memory = bytearray()
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # What could not be written is tried again when it is closed.
                file.close()

    def message(self) -> bytes | mmap.mmap:
        """
        The whole message.

        @raise OSError: if there is no room for it.
        """
        if self._file is None:
            return bytes(self._memory)
        file, self._file = self._file, None
        with file:
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
