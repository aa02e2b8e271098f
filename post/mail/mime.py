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
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate

import msgspec

from post.errors import PeerError
from post.mail import headers

HEADER_LIMIT = 64 * 1024
"""Octets of one part's header that are looked at; a longer one is cut there for the purposes of structure."""
DEPTH_LIMIT = 50
PARTS_LIMIT = 1000
"""Beyond either, a part is a leaf whatever it says."""
_STEP = 1 << 20

BOUNDARY_LIMIT = 200
"""Octets of a boundary that are compared; RFC 2046 allows 70."""
_LINE_LIMIT = 1000


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


@dataclass(frozen=True, slots=True)
class _Delimiter:
    """
    A delimiter line C{start:end} of the open multipart at C{level}.
    """

    start: int
    end: int
    level: int
    closes: bool


@lru_cache(maxsize=256)
def _pattern(boundaries: tuple[bytes, ...], closing: bool) -> re.Pattern[bytes]:
    """
    A delimiter line of any of C{boundaries}, or only a closing one, with the line break before it.  One pattern for all
    open multiparts, so that lines that begin with hyphens and are no delimiters cost next to nothing.
    """
    any_of = b"|".join(re.escape(each) for each in boundaries)
    return re.compile(rb"\n--(" + any_of + rb")" + (rb"(--)" if closing else rb"(--)?") + rb"[ \t\r]{0,500}(?:\n|\Z)")


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
        position = self._stack[-1].body_start
        while found := self._delimiter(position, self._size):
            position = found.end
            self._end_parts(found.level + 1, self._before(found.start))
            part = self._stack[found.level]
            if found.closes:
                part.epilogue = True
            else:
                digest = part.kind == "multipart/digest"
                self._begin(found.end, "message/rfc822" if digest else "text/plain")
                # Its header has been looked through for delimiters of what is around it, and has none of its own.
                position = self._stack[-1].body_start
        return self._end_parts(0, self._size)

    def _delimiter(self, start: int, stop: int) -> _Delimiter | None:
        """
        The first delimiter line that begins within C{start:stop}, which are beginnings of lines.
        """
        # What has been closed is not closed again, and nothing is opened in it; when there are too many parts, nothing
        # is opened at all.  So lines that change nothing are not even found, however many there are.
        boundaries = tuple(None if part.epilogue else part.boundary for part in self._stack)
        if not any(boundaries):
            return None
        living = tuple(sorted({each for each in boundaries if each is not None}))
        pattern = _pattern(living, self._parts >= PARTS_LIMIT)
        # As far as the last line can reach, and no further: each part looks through its header only.
        reach = min(self._size, stop + _LINE_LIMIT)
        match = pattern.match(b"\n" + self._message[:_LINE_LIMIT]) if start == 0 else None
        moved = -1 if match is not None else 0
        if match is None:
            match = pattern.search(self._message, max(0, start - 1), reach)
        if match is None or match.start() + 1 + moved > stop:
            return None
        begin, end = match.start() + 1 + moved, match.end() + moved
        level = max(index for index, boundary in enumerate(boundaries) if boundary == match.group(1))
        return _Delimiter(begin, end, level, match.group(2) is not None)

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
            boundary = dict(parameters).get("boundary", "").encode("latin-1")[:BOUNDARY_LIMIT].rstrip(b" \t") or None
        self._stack.append(_Open(start, body_start, header, kind, parameters, encoding, boundary))
        if nests and kind in ("message/rfc822", "message/global") and encoding in _IDENTITY:
            self._begin(body_start, "text/plain")

    def _header_end(self, start: int) -> int:
        """
        Behind the blank line; at a delimiter of an enclosing multipart if that comes first.
        """
        end = min(self._size, start + 2 * HEADER_LIMIT)
        delimiter = self._delimiter(start, end)
        if delimiter is not None:
            # The blank line may be the line break that belongs to the delimiter.
            end = max(start, self._before(delimiter.start))
        return start + _blank_line(bytes(self._message[start:end]))

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


def header_end(message: bytes | mmap.mmap) -> int:
    """
    Where the header of a whole message ends, its blank line included; at a limit if there is none.
    """
    return _blank_line(bytes(message[: 2 * HEADER_LIMIT]))


def _blank_line(window: bytes) -> int:
    """
    Where the first blank line of C{window} ends, or where C{window} does.
    """
    if window.startswith((b"\n", b"\r\n")):
        return 1 + window.startswith(b"\r")
    first = window.find(b"\n\n")
    second = window.find(b"\n\r\n", 0, first + 2 if first >= 0 else len(window))
    return second + 3 if second >= 0 else first + 2 if first >= 0 else len(window)


def scan(message: bytes | mmap.mmap) -> MimePart:
    """
    The tree of a whole message.
    """
    return _Scanner(message).scan()


class Hole(msgspec.Struct, frozen=True, array_like=True):
    """
    Where something was cut out: at C{position} of the literals, C{length} octets with C{lines} line ends, none of them
    at the end.
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
    leaves = list(_leaf_bodies(root))
    starts = [start for start, _ in leaves]
    for hole in holes:
        # A body that is empty may begin where the one before it ends; the hole is in either of them.
        after = bisect_right(starts, hole.position)
        if not any(start <= hole.position <= stop for start, stop in leaves[max(0, after - 2) : after]):
            raise PeerError("a hole outside the parts")
    return _Shift(holes, literals).move(root)


def prepend(root: MimePart, prefix: bytes) -> MimePart:
    """
    The tree of the same message behind some more header lines.
    """
    if not prefix:
        return root
    moved = _Shift([Hole(-1, len(prefix), 0)], b"").move(root)
    return msgspec.structs.replace(moved, header_start=0, header=(prefix + root.header)[:HEADER_LIMIT])


def _leaf_bodies(part: MimePart) -> Iterator[tuple[int, int]]:
    if not part.children:
        yield part.body_start, part.body_end
    for child in part.children:
        yield from _leaf_bodies(child)


class _Shift:
    """
    Moves offsets into literals behind the holes before them; a hole at the very end of a body is in it.
    """

    def __init__(self, holes: Sequence[Hole], literals: bytes) -> None:
        self._literals = literals
        self._positions = [hole.position for hole in holes]
        self._lengths = [0, *accumulate(hole.length for hole in holes)]
        self._lines = [0, *accumulate(hole.lines for hole in holes)]

    def move(self, part: MimePart) -> MimePart:
        """
        C{part} in the whole message.
        """
        first = bisect_left(self._positions, part.body_start)
        last = bisect_right(self._positions, part.body_end)
        return msgspec.structs.replace(
            part,
            header_start=part.header_start + self._lengths[bisect_left(self._positions, part.header_start)],
            body_start=part.body_start + self._lengths[first],
            body_end=part.body_end + self._lengths[max(first, last)],
            lines=self._lines_of(part, first, last) if _has_lines(part.kind) and first < last else part.lines,
            children=tuple(self.move(child) for child in part.children),
        )

    def _lines_of(self, part: MimePart, first: int, last: int) -> int:
        """
        A hole does not end with a line end, so a body that ends with one has a last line which is not ended; what is
        before the hole has been counted so, though the line goes on in the hole.
        """
        lines = part.lines + self._lines[last] - self._lines[first]
        if self._positions[last - 1] == part.body_end:
            ended = self._literals[part.body_end - 1 : part.body_end] == b"\n" or part.body_end == part.body_start
            lines += ended
        return lines


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
