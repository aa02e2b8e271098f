"""
Cutting a message at its MIME parts, byte-exactly, and putting it together again (POST, section 4.2).  Pure.

What is large is cut out and stored by itself; the rest (headers, boundaries, small parts) stays together as the
skeleton's literals.  A base64 part is stored decoded if encoding it again gives the very same octets, so that the
same attachment sent by two mail programs with different line widths is one stored copy.  Any range of the message can
be made from the matching ranges of what is stored.
"""

from __future__ import annotations

import binascii
import mmap
from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from post.crypto.convergent import Reference
from post.errors import PeerError
from post.hashes import Purpose, tagged
from post.mail import headers
from post.mail.mime import Hole, MimePart, header_end, scan
from post.wire import Document, unpack

CUT_BYTES = 64 * 1024
"""Parts of fewer octets stay in the skeleton."""
PIECE_BYTES = 192 * 1024
"""Octets of a part handled at a time."""
HOLES_LIMIT = 1000

IDENTITY, BASE64 = 0, 1

Octets = bytes | mmap.mmap


class Recipe(Document, frozen=True):
    """
    How to make a part's octets from what is stored: as they are, or base64 in lines of C{width} ended by CRLF.
    """

    kind: Annotated[int, Meta(ge=0, le=1)]
    width: Annotated[int, Meta(ge=0, le=998)] = 0


class Cutting(Document, frozen=True):
    """
    Octets C{start:stop} of the message, which hold C{length} octets to be stored; C{shared} if others may have the
    same.
    """

    start: int
    stop: int
    length: int
    lines: int
    recipe: Recipe
    shared: bool


class StoredPart(Document, frozen=True):
    """
    A hole of the skeleton: where it is among the literals, how many octets and lines are missing, and what fills it.
    """

    position: Annotated[int, Meta(ge=0)]
    length: Annotated[int, Meta(ge=1, lt=1 << 40)]
    lines: Annotated[int, Meta(ge=0, lt=1 << 40)]
    recipe: Recipe
    stored: Annotated[int, Meta(ge=1, lt=1 << 40)]
    reference: Reference


class Skeleton(Document, frozen=True):
    """
    A message without its large parts.
    """

    version: int
    literals: bytes
    parts: Annotated[tuple[StoredPart, ...], Meta(max_length=HOLES_LIMIT)]

    @property
    def size(self) -> int:
        """
        Octets of the whole message.
        """
        return len(self.literals) + sum(part.length for part in self.parts)

    @property
    def holes(self) -> list[Hole]:
        """
        For L{post.mail.mime.scan_skeleton}.
        """
        return [Hole(part.position, part.length, part.lines) for part in self.parts]

    def without(self, omitted: Sequence[tuple[int, int]]) -> Skeleton:
        """
        The message without some octets C{start, stop} of its header, in order.

        @raise PeerError: if they are not in front of all that was cut out.
        """
        if not omitted:
            return self
        end = self.parts[0].position if self.parts else len(self.literals)
        kept, position = [], 0
        for start, stop in omitted:
            if not position <= start <= stop <= end:
                raise PeerError("something omitted that is not in the header")
            kept.append(self.literals[position:start])
            position = stop
        literals = b"".join([*kept, self.literals[position:]])
        gone = len(self.literals) - len(literals)
        parts = (msgspec.structs.replace(part, position=part.position - gone) for part in self.parts)
        return Skeleton(self.version, literals, tuple(parts))


def read_skeleton(data: bytes) -> Skeleton:
    """
    The skeleton in C{data}.

    @raise PeerError: if it is none, or contradicts itself.
    """
    skeleton = unpack(Skeleton, data)
    if skeleton.version != 1:
        raise PeerError(f"a skeleton of version {skeleton.version}")
    last = -1
    for part in skeleton.parts:
        if not last < part.position <= len(skeleton.literals):
            raise PeerError("a skeleton with disordered holes")
        if encoded_length(part.recipe, part.stored) != part.length:
            raise PeerError("a skeleton with a hole of another size than what fills it")
        last = part.position
    return skeleton


def encoded_length(recipe: Recipe, stored: int) -> int:
    """
    Octets that C{stored} octets make in the message.
    """
    if recipe.kind == IDENTITY:
        return stored
    if recipe.width < 4 or recipe.width % 4:
        raise PeerError("base64 in lines of no width")
    characters = -(-stored // 3) * 4
    return characters + 2 * max(0, -(-characters // recipe.width) - 1)


def stored_range(recipe: Recipe, stored: int, start: int, stop: int) -> tuple[int, int]:
    """
    Which octets of what is stored are needed for the octets C{start:stop} of the part.
    """
    if recipe.kind == IDENTITY:
        return start, stop
    line, octets = recipe.width + 2, recipe.width // 4 * 3
    return start // line * octets, min(stored, -(-stop // line) * octets)


def encode(recipe: Recipe, stored: int, start: int, stop: int, octets: bytes) -> bytes:
    """
    The octets C{start:stop} of the part, from the octets that L{stored_range} asked for.
    """
    if recipe.kind == IDENTITY:
        return octets
    width, line = recipe.width, recipe.width + 2
    text = b64encode(octets)
    lines = b"\r\n".join([text[at : at + width] for at in range(0, len(text), width)])
    first = start // line * line
    if stored_range(recipe, stored, start, stop)[1] < stored:
        lines += b"\r\n"
    return lines[start - first : stop - first]


def cuttings(message: Octets) -> Iterator[Cutting | None]:
    """
    What to cut out of C{message}, in order.  Yields C{None} now and then while it looks at a long part, so that the
    caller can let others have a turn.
    """
    found = 0
    for leaf in _leaves(scan(message)):
        if leaf.body_end - leaf.body_start < CUT_BYTES or found == HOLES_LIMIT:
            continue
        if leaf.kind.startswith("multipart/"):
            continue  # Without parts; but a line that closes it may be in it, and has to be seen in the skeleton.
        found += 1
        # Text is private, and an embedded message is text, which base64 hides from the scan.
        shared = not leaf.kind.startswith(("text/", "message/"))
        if leaf.encoding == "base64":
            for cutting in _try_base64(message, leaf, shared):
                yield cutting
            if cutting is not None:
                continue
        start, stop = leaf.body_start, _without_line_ends(message, leaf.body_start, leaf.body_end)
        if stop == start:
            continue
        yield Cutting(start, stop, stop - start, _count_lines(message, start, stop), Recipe(IDENTITY), shared)


def _leaves(part: MimePart) -> Iterator[MimePart]:
    if not part.children:
        yield part
    for child in part.children:
        yield from _leaves(child)


def _without_line_ends(message: Octets, start: int, stop: int) -> int:
    """
    Where C{start:stop} ends without the line ends behind its last character, which stay in the skeleton: they differ
    between mail programs, and whether a body ends with one can be seen there.
    """
    while stop > start:
        step = max(start, stop - (1 << 16))
        kept = message[step:stop].rstrip(b"\r\n")
        if kept:
            return step + len(kept)
        stop = step
    return stop


def _count_lines(message: Octets, start: int, stop: int) -> int:
    return sum(message[at : min(stop, at + (1 << 20))].count(b"\n") for at in range(start, stop, 1 << 20))


def _try_base64(message: Octets, leaf: MimePart, shared: bool) -> Iterator[Cutting | None]:
    """
    Ends with the cutting of a base64 part, or with C{None} if encoding it again would not give its octets.
    """
    start, stop = leaf.body_start, _without_line_ends(message, leaf.body_start, leaf.body_end)
    width = message.find(b"\r\n", start, start + 1000) - start
    if width < 0:
        width = 76 if stop - start <= 76 else -1
    if width < 4 or width % 4 or stop <= start:
        yield None
        return
    recipe, length = Recipe(BASE64, width), 0
    for piece in decoded(message, start, stop, recipe):
        if piece is None:
            yield None
            return
        length += len(piece)
        yield None
    if encoded_length(recipe, length) != stop - start:
        yield None
        return
    lines = (stop - start) // (width + 2)
    yield Cutting(start, stop, length, lines, recipe, shared)


def decoded(message: Octets, start: int, stop: int, recipe: Recipe) -> Iterator[bytes | None]:
    """
    What is to be stored of the octets C{start:stop}, piece by piece; C{None}, and no more, where L{encode} would not
    give the very same octets.
    """
    if recipe.kind == IDENTITY:
        for at in range(start, stop, PIECE_BYTES):
            yield bytes(message[at : min(stop, at + PIECE_BYTES)])
        return
    line = recipe.width + 2
    step = max(1, PIECE_BYTES // line) * line
    for at in range(start, stop, step):
        end = min(stop, at + step)
        text = bytes(message[at:end])
        try:
            octets = binascii.a2b_base64(text)
        except binascii.Error:
            yield None
            return
        length = len(octets)
        if end < stop and length != step // line * (recipe.width // 4 * 3):
            yield None
            return
        again = encode(recipe, length + (1 if end < stop else 0), 0, end - at, octets)
        if again != text:
            yield None
            return
        yield octets


def fingerprint(message: Octets) -> bytes:
    """
    By which a mail program's own copy of what it submitted is recognised: Message-ID and body.  (It may add Bcc to its
    copy, or order fields otherwise.)  Empty if there is no Message-ID.
    """
    end = header_end(message)
    named = headers.field(bytes(message[:end]), b"message-id")
    if not named:
        return b""
    with memoryview(message) as view:
        return tagged(Purpose.MESSAGE_BODY, named, view[end:])


_BLIND = frozenset({b"bcc", b"resent-bcc"})


def blind_fields(header: bytes) -> list[tuple[int, int]]:
    """
    Where in a header stands who else gets the message without the others knowing (RFC 5322, 3.6.3).
    """
    return [(start, stop) for name, start, stop in headers.spans(header) if name in _BLIND]


def whole_hash(message: Octets) -> bytes:
    """
    By which the same message, submitted again, is recognised.
    """
    with memoryview(message) as view:
        return tagged(Purpose.MESSAGE_BODY, b"whole", view)
