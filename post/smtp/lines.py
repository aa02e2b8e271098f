"""
From octets to command lines.  Pure; the same lines come out however the octets come in.

A line over the limit is thrown away to its end and named as such, so that no part of it is ever taken for a command.
"""

from __future__ import annotations

from post.smtp.grammar import Syntax


class LineReader:
    """
    Holds what has been received and not yet used.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Taking from the front of a bytearray does not move the rest: thousands of short lines cost no more than one.
        self._buffer = bytearray()
        self._skipping = False

    @property
    def waiting(self) -> int:
        """
        Octets not yet used.
        """
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """
        Take octets.
        """
        self._buffer += data

    def take(self) -> bytes:
        """
        All that is waiting, whatever it is.
        """
        taken = bytes(self._buffer)
        self._buffer.clear()
        return taken

    def next(self) -> bytes | None:
        """
        The next line without its end; C{None} if it is not complete.

        @raise Syntax: once for each line that was too long, when its end has come.
        """
        end = self._buffer.find(b"\n", 0, None if self._skipping else self._limit)
        if end < 0:
            if self._skipping or len(self._buffer) < self._limit:
                if self._skipping:
                    self._buffer.clear()
                return None
            self._skipping = True
            return self.next()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if self._skipping:
            self._skipping = False
            raise Syntax("that line is too long", 500, "5.5.6")
        return line.removesuffix(b"\r")
