"""
From octets to whole commands: a line, with its literals.  Pure; the same commands come out however the octets come in.

A command's text holds a NUL wherever a literal stood, and its literals follow in order: NUL cannot occur in a line
(RFC 3501), so nothing else can look like that.  What is over a limit is thrown away to its end and named as such, so
that no part of it is ever taken for a command.
"""

from __future__ import annotations

import mmap
import re
import tempfile
from dataclasses import dataclass, field
from typing import IO

LINE_LIMIT = 64 * 1024
"""Octets of a command without its literals: a thousand UIDs fit several times."""
LINE_LIMIT_STRANGER = 8 * 1024
LITERALS_LIMIT = 256
MEMORY_BYTES = 1024 * 1024
"""A longer literal is spooled to a temporary file."""
SWALLOW_LIMIT = 1 << 31

_LITERAL = re.compile(rb"\{([0-9]{1,12})(\+?)\}\Z")

Octets = bytes | mmap.mmap


@dataclass
class Command:
    """
    A whole command.  C{problem} says what is wrong with it before it is even parsed: "line", "literal" or "octets".
    """

    text: bytes = b""
    literals: list[Octets] = field(default_factory=list)
    problem: str = ""


class Continue:
    """
    The client waits to be told that it may send its literal.
    """


class Assembler:
    """
    Takes octets, gives commands.  C{stranger} until somebody has logged in: limits are lower.
    """

    def __init__(self, size_limit: int, spool_dir: str | None) -> None:
        self.stranger = True
        self._size_limit = size_limit
        self._spool_dir = spool_dir
        self._buffer = bytearray()
        self._command = Command()
        self._wanted = 0
        self._literal: list[bytes] | None = None
        self._file: IO[bytes] | None = None
        self._swallow = 0
        self._skipping = False

    @property
    def waiting(self) -> int:
        """
        Octets not yet taken.
        """
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """
        Take octets.
        """
        self._buffer += data

    def next(self) -> Command | Continue | None:
        """
        The next command, if it is complete.
        """
        while self._buffer:
            if self._swallow:
                gone = min(self._swallow, len(self._buffer))
                del self._buffer[:gone]
                self._swallow -= gone
            elif self._literal is not None:
                if not self._take_literal():
                    return None
            else:
                found = self._take_line()
                if found is not None:
                    return found
                if not self._swallow and self._literal is None and self._buffer.find(b"\n") < 0:
                    return None
        return None

    def _take_literal(self) -> bool:
        assert self._literal is not None
        piece = bytes(self._buffer[: self._wanted])
        del self._buffer[: len(piece)]
        self._wanted -= len(piece)
        if self._file is not None:
            self._file.write(piece)
        else:
            self._literal.append(piece)
        if not self._wanted:
            self._end_literal()
        return not self._wanted

    def _end_literal(self) -> None:
        assert self._literal is not None
        if self._file is not None:
            with self._file as file:
                file.flush()
                self._command.literals.append(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            self._file = None
        else:
            self._command.literals.append(b"".join(self._literal))
        self._literal = None

    def _take_line(self) -> Command | Continue | None:
        limit = LINE_LIMIT_STRANGER if self.stranger else LINE_LIMIT
        end = self._buffer.find(b"\n")
        if end < 0:
            if self._skipping or len(self._buffer) + len(self._command.text) > limit:
                self._skipping = True
                self._command.problem = self._command.problem or "line"
                self._buffer.clear()
            return None
        line = bytes(self._buffer[:end]).removesuffix(b"\r")
        del self._buffer[: end + 1]
        if self._skipping:
            return self._finish()
        if b"\0" in line or b"\r" in line:
            self._command.problem = self._command.problem or "octets"
            line = line.replace(b"\0", b"?")
        match = _LITERAL.search(line)
        if len(line) + len(self._command.text) > limit:
            self._command.problem = self._command.problem or "line"
            line = line[:100]
        if match is None:
            self._command.text += line
            return self._finish()
        self._command.text += line[: match.start()] + b"\0"
        return self._begin_literal(int(match.group(1)), bool(match.group(2)))

    def _begin_literal(self, size: int, at_once: bool) -> Command | Continue | None:
        if size > self._literal_limit() or len(self._command.literals) >= LITERALS_LIMIT or self._command.problem:
            self._command.problem = self._command.problem or "literal"
            if not at_once or size > SWALLOW_LIMIT:
                # The client waits to be asked for it, and is refused instead.
                return self._finish()
            self._swallow = size
            self._command.literals.append(b"")
            return None
        self._wanted, self._literal = size, []
        if size > MEMORY_BYTES:
            self._file = tempfile.TemporaryFile(dir=self._spool_dir)  # noqa: SIM115  # Closed when it is mapped.
        if not size:
            self._end_literal()
        return None if at_once else Continue()

    def _literal_limit(self) -> int:
        if self.stranger:
            return LINE_LIMIT_STRANGER
        words = self._command.text.split(b" ", 2)
        if len(words) > 1 and words[1].upper() == b"APPEND":
            return self._size_limit
        return LINE_LIMIT

    def _finish(self) -> Command:
        command, self._command = self._command, Command()
        self._skipping = False
        return command

    def discard(self) -> None:
        """
        Let go of a literal that will not be completed.
        """
        if self._file is not None:
            self._file.close()
            self._file = None
