"""
The structure of a message by byte offsets: what IMAP's FETCH needs, without building a tree of strings.

Pure; never raises on any octets; one pass.  (RFC 5322, RFC 2045, RFC 2046; RFC 3501 section 7.4.2 for what ENVELOPE and
BODYSTRUCTURE show.)

A message that is kept as a skeleton, its literal octets with holes where attachments were cut out
(L{post.mail.parts}), is scanned without its attachments: a hole cannot contain a boundary, so the tree of the literals,
with offsets moved behind the holes, is the tree of the message.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from post.errors import PeerError
from post.mail import headers

HEADER_LIMIT = 64 * 1024
"""Octets of one part's header that are looked at; a longer one is cut there for the purposes of structure."""
DEPTH_LIMIT = 50
PARTS_LIMIT = 1000
"""Beyond either, a part is a leaf whatever it says."""
_STEP = 1 << 20

_BLANK = re.compile(rb"(?:\A|\n)\r?\n")


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
    """Lines of the body (RFC 3501: "size of the body in text lines"); counted for text and messages only."""
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


@dataclass
class _Open:
    """
    A part whose end has not been seen.
    """

    header_start: int
    body_start: int
    header: bytes
    kind: str
    parameters: tuple[tuple[str, str], ...]
    encoding: str
    boundary: bytes | None
    children: list[MimePart] = field(default_factory=list)
    epilogue: bool = False


class _Scanner:
    """
    One pass over the lines that begin with two hyphens.
    """

    def __init__(self, message: bytes | mmap.mmap) -> None:
        self._message = message
        self._size = len(message)
        self._stack: list[_Open] = []
        self._parts = 0

    def scan(self) -> MimePart:
        self._begin(0, "text/plain")
        position = -1
        while True:
            position = self._next_line(position)
            if position < 0:
                break
            level, closes, line_end = self._delimiter(position)
            if level is None or (not closes and self._parts >= PARTS_LIMIT):
                continue
            self._end_parts(level + 1, self._before(position))
            part = self._stack[level]
            if closes:
                part.epilogue = True
            elif not part.epilogue:
                digest = part.kind == "multipart/digest"
                self._begin(line_end, "message/rfc822" if digest else "text/plain")
            position = line_end - 1
        return self._end_parts(0, self._size)

    def _next_line(self, position: int) -> int:
        """
        Where the next line that begins with C{--} begins, after C{position}.
        """
        if not any(part.boundary is not None for part in self._stack):
            return -1
        if position < 0 and self._message[:2] == b"--":
            return 0
        found = self._message.find(b"\n--", max(position, 0))
        return found + 1 if found >= 0 else -1

    def _delimiter(self, position: int) -> tuple[int | None, bool, int]:
        """
        Which open multipart the line at C{position} is a delimiter of, whether it is the last, and where the line ends.
        """
        line_end = self._message.find(b"\n", position, position + 1000)
        line_end = line_end + 1 if line_end >= 0 else self._size
        line = self._message[position + 2 : min(line_end, position + 1000)].rstrip(b" \t\r\n")
        for level in range(len(self._stack) - 1, -1, -1):
            boundary = self._stack[level].boundary
            if boundary is None or self._stack[level].body_start > position:
                continue
            if line == boundary:
                return level, False, line_end
            if line == boundary + b"--":
                return level, True, line_end
        return None, False, line_end

    def _before(self, position: int) -> int:
        """
        The end of what stands before a delimiter: its line break belongs to the delimiter (RFC 2046, 5.1.1).
        """
        if position >= 2 and self._message[position - 2 : position] == b"\r\n":
            return position - 2
        return max(0, position - 1)

    def _begin(self, start: int, default: str) -> None:
        self._parts += 1
        body_start = self._header_end(start)
        header = bytes(self._message[start : min(body_start, start + HEADER_LIMIT)])
        kind, parameters, encoding = _declared(header, default)
        boundary = None
        nests = self._parts < PARTS_LIMIT and len(self._stack) < DEPTH_LIMIT
        if nests and kind.startswith("multipart/") and encoding in _IDENTITY:
            boundary = dict(parameters).get("boundary", "").encode("latin-1").rstrip(b" \t") or None
        self._stack.append(_Open(start, body_start, header, kind, parameters, encoding, boundary))
        if nests and kind in ("message/rfc822", "message/global") and encoding in _IDENTITY:
            self._begin(body_start, "text/plain")

    def _header_end(self, start: int) -> int:
        """
        Behind the blank line; at a delimiter of an enclosing multipart if that comes first.
        """
        window = bytes(self._message[start : start + 2 * HEADER_LIMIT])
        found = _BLANK.search(window)
        end = start + found.end() if found else min(self._size, start + len(window))
        position = start - 1
        while True:
            position = start if position < start and window[:2] == b"--" else self._find(position, end)
            if position < 0 or position >= end:
                return end
            if self._delimiter(position)[0] is not None:
                return max(start, self._before(position))
            position += 1

    def _find(self, position: int, end: int) -> int:
        found = self._message.find(b"\n--", max(position, 0), end)
        return found + 1 if found >= 0 else -1

    def _end_parts(self, level: int, end: int) -> MimePart:
        """
        Close all parts from C{level} of the stack on; returns the outermost.
        """
        closed: MimePart | None = None
        while len(self._stack) > level:
            part = self._stack.pop()
            body_end = max(part.body_start, end)
            lines = _lines(self._message, part.body_start, body_end) if _has_lines(part.kind) else 0
            closed = MimePart(
                part.header_start,
                part.body_start,
                body_end,
                lines,
                part.header,
                part.kind,
                part.parameters,
                part.encoding,
                tuple(part.children),
            )
            if self._stack:
                self._stack[-1].children.append(closed)
        assert closed is not None or level
        return closed or _EMPTY


_IDENTITY = ("7bit", "8bit", "binary")
_EMPTY = MimePart(0, 0, 0, 0, b"", "text/plain")


def _has_lines(kind: str) -> bool:
    return kind.startswith(("text/", "message/"))


def _lines(message: bytes | mmap.mmap, start: int, end: int) -> int:
    count = 0
    for position in range(start, end, _STEP):
        count += message[position : min(end, position + _STEP)].count(b"\n")
    return count + (end > start and message[end - 1 : end] != b"\n")


def _declared(header: bytes, default: str) -> tuple[str, tuple[tuple[str, str], ...], str]:
    """
    Type, parameters and encoding.  What cannot be read is plain text (RFC 2045, 5.2).
    """
    value = headers.field(header, b"content-type")
    declared = headers.media_type(value) if value is not None else (default, ())
    kind, parameters = declared or ("text/plain", ())
    raw = headers.field(header, b"content-transfer-encoding") or b"7bit"
    encoding = raw.partition(b"(")[0].strip().decode("latin-1").lower() or "7bit"
    return kind, parameters, encoding[:40]


def scan(message: bytes | mmap.mmap) -> MimePart:
    """
    The tree of a whole message.
    """
    return _Scanner(message).scan()


class Hole(msgspec.Struct, frozen=True, array_like=True):
    """
    Where something was cut out: at C{position} of the literals, C{length} octets in C{lines} lines.
    """

    position: int
    length: int
    lines: int


def scan_skeleton(literals: bytes, holes: Sequence[Hole]) -> MimePart:
    """
    The tree of the whole message, from its literals and holes alone.

    @raise PeerError: if the holes are not in order, or not inside bodies of parts that can have been cut out.
    """
    positions = [hole.position for hole in holes]
    if positions != sorted(set(positions)) or any(not 0 <= p <= len(literals) for p in positions):
        raise PeerError("a skeleton with disordered holes")
    if any(hole.length < 1 or hole.lines < 0 for hole in holes):
        raise PeerError("a skeleton with a hole of nothing")
    root = scan(literals)
    for hole in holes:
        if not _has_leaf(root, hole.position):
            raise PeerError("a hole outside the parts")
    return _shift(root, holes)


def prepend(root: MimePart, prefix: bytes) -> MimePart:
    """
    The tree of the same message behind some more header lines.
    """
    if not prefix:
        return root
    moved = _shift(root, [Hole(-1, len(prefix), 0)])
    return msgspec.structs.replace(moved, header_start=0, header=(prefix + root.header)[:HEADER_LIMIT])


def _has_leaf(part: MimePart, position: int) -> bool:
    if not part.body_start <= position <= part.body_end:
        return False
    return not part.children or any(_has_leaf(child, position) for child in part.children)


def _shift(part: MimePart, holes: Sequence[Hole]) -> MimePart:
    """
    C{part} with its offsets moved by the holes before them; a hole at the very end of a body is in it.
    """
    before_header = sum(hole.length for hole in holes if hole.position < part.header_start)
    before_body = sum(hole.length for hole in holes if hole.position < part.body_start)
    inside = [hole for hole in holes if part.body_start <= hole.position <= part.body_end]
    lines = part.lines
    if _has_lines(part.kind):
        lines += sum(hole.lines for hole in inside)
    return msgspec.structs.replace(
        part,
        header_start=part.header_start + before_header,
        body_start=part.body_start + before_body,
        body_end=part.body_end + before_body + sum(hole.length for hole in inside),
        lines=lines,
        children=tuple(_shift(child, holes) for child in part.children),
    )


def section(root: MimePart, path: Sequence[int]) -> MimePart | None:
    """
    The part that C{BODY[path]} names (RFC 3501, 6.4.5): 1 of a message that is no multipart is its only part.
    """
    part = root
    for depth, number in enumerate(path):
        if depth:
            part = embedded(part) or part
        if part.kind.startswith("multipart/"):
            if not 1 <= number <= len(part.children):
                return None
            part = part.children[number - 1]
        elif number != 1:
            return None
    return part


def embedded(part: MimePart) -> MimePart | None:
    """
    The message inside a message/rfc822 part.
    """
    return part.children[0] if part.kind in ("message/rfc822", "message/global") and part.children else None
