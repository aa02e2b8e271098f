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
"""Octets of a command without its literals, and of any literal but a message: a thousand UIDs fit several times."""
LINE_LIMIT_STRANGER = 8 * 1024
"""The same, and for all literals together, before anybody has logged in: thousands may connect."""
LITERALS_LIMIT = 256
LITERALS_BYTES = 1024 * 1024
"""Octets of all literals of a command together, but for the message of an APPEND."""
MEMORY_BYTES = 1024 * 1024
"""A longer literal is spooled to a temporary file."""
HEAD = 100
"""Octets kept of a line that is too long: enough for the tag, by which the refusal is known."""
TAIL = 64
"""Octets kept of its end: enough to see whether a literal follows, which must not be taken for commands."""

_LITERAL = re.compile(rb"\{([0-9]{1,40})(\+?)\}\Z")

Octets = bytes | mmap.mmap


@dataclass
class Command:
    """
    A whole command.  C{problem} says what is wrong with it before it is even parsed: "line" (too long), "literal" (too
    long, or too many), "octets" (that no line may have), or "room" (none left to spool a literal).
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
        self._octets = 0
        self._wanted = 0
        self._literal: bytearray | None = None
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
                self._take_literal(self._literal)
            else:
                line = self._take_line()
                if line is None:
                    return None
                found = self._end_line(line)
                if found is not None:
                    return found
        return None

    def _take_literal(self, literal: bytearray) -> None:
        piece = self._buffer[: self._wanted]
        del self._buffer[: len(piece)]
        self._wanted -= len(piece)
        try:
            if self._file is None:
                literal += piece
            else:
                self._file.write(piece)
            if not self._wanted:
                self._end_literal(literal)
        except OSError:
            self._command.problem = "room"
            self._swallow, self._literal = self._wanted, None
            self.discard()

    def _end_literal(self, literal: bytearray) -> None:
        if self._file is None:
            self._command.literals.append(bytes(literal))
        else:
            self._file.flush()
            self._command.literals.append(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))
            self.discard()
        self._literal = None

    def _take_line(self) -> bytes | None:
        """
        The next line without its end; of one that is too long perhaps only the last octets.
        """
        room = (LINE_LIMIT_STRANGER if self.stranger else LINE_LIMIT) - len(self._command.text)
        end = self._buffer.find(b"\n")
        length = end if end >= 0 else len(self._buffer)
        if length and self._buffer[length - 1] == 13:
            length -= 1
        if length > room and not self._skipping:
            self._skipping = True
            self._command.problem = "line"
            if not self._command.text:
                self._command.text = bytes(self._buffer[:HEAD]).replace(b"\0", b"?")
        if end < 0:
            if self._skipping:
                del self._buffer[:-TAIL]
            return None
        line = bytes(self._buffer[:length])
        del self._buffer[: end + 1]
        return line

    def _end_line(self, line: bytes) -> Command | Continue | None:
        match = _LITERAL.search(line[-TAIL:])
        if self._skipping:
            self._skipping = False
        elif b"\0" in line or b"\r" in line:
            self._command.problem = self._command.problem or "octets"
            line = line.replace(b"\0", b"?")
        if self._command.problem != "line":
            self._command.text += line if match is None else line[: line.rindex(b"{")] + b"\0"
        if match is None:
            return self._finish()
        return self._begin_literal(int(match.group(1)), bool(match.group(2)))

    def _begin_literal(self, size: int, at_once: bool) -> Command | Continue | None:
        command = self._command
        limit, total = self._literal_limits()
        if size > limit or self._octets + size > total or len(command.literals) >= LITERALS_LIMIT:
            command.problem = command.problem or "literal"
        if not command.problem and size > MEMORY_BYTES:
            try:
                self._file = tempfile.TemporaryFile(dir=self._spool_dir)  # noqa: SIM115  # Closed when it is mapped.
            except OSError:
                command.problem = "room"
        if command.problem:
            if not at_once:
                # The client waits to be asked for it, and is refused instead.
                return self._finish()
            self._swallow = size
            return None
        self._octets += size
        self._wanted, self._literal = size, bytearray()
        if not size:
            self._end_literal(self._literal)
        return None if at_once else Continue()

    def _literal_limits(self) -> tuple[int, int]:
        """
        How long the next literal may be, and all of the command together.
        """
        if self.stranger:
            return LINE_LIMIT_STRANGER, LINE_LIMIT_STRANGER
        words = self._command.text.split(b" ", 2)
        if len(words) > 1 and words[1].upper() == b"APPEND":
            return self._size_limit, self._size_limit + LINE_LIMIT
        return LINE_LIMIT, LITERALS_BYTES

    def _finish(self) -> Command:
        command, self._command = self._command, Command()
        self._octets = 0
        return command

    def discard(self) -> None:
        """
        Let go of a literal that will not be completed.
        """
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except OSError:
                pass  # What was buffered did not fit; nobody wants it any more.
