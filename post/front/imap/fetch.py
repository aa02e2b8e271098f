"""
FETCH (RFC 3501, 6.4.5): what is asked for, and the answer, octet for octet what was sent.

Header octets are those of the message, order and case kept; ranges are true; bodies go out in pieces, so memory does
not grow with the message.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from post.front.imap.grammar import Parser, Syntax
from post.front.imap.responses import body_structure, envelope, moment, string
from post.front.imap.session import flag_list
from post.mail import headers
from post.mail.interfaces import Entry, IContent
from post.mail.mime import MimePart, embedded

PIECE = 192 * 1024
_WORD = re.compile(rb"[A-Za-z0-9.]+")
_PART = re.compile(rb"[1-9][0-9]{0,4}(?:\.[1-9][0-9]{0,4}){0,50}")
_MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
_SIMPLE = {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "UID", "BODY"}
FIELDS_LIMIT = 200
ITEMS_LIMIT = 100


@dataclass(frozen=True)
class Section:
    """
    C{BODY[path.text (fields)]<start.length>}.  C{label} is how the answer names it.
    """

    label: bytes
    path: tuple[int, ...]
    text: str
    fields: tuple[bytes, ...]
    start: int | None
    length: int
    peek: bool


Item = str | Section


def parse_items(parser: Parser) -> list[Item]:
    """
    What to fetch.

    @raise Syntax: if it is nothing that can be.
    """
    if not parser.accept(b"("):
        return _item(parser, True)
    items: list[Item] = []
    while not parser.accept(b")"):
        if items:
            parser.space()
        items += _item(parser, False)
        if len(items) > ITEMS_LIMIT:
            raise Syntax("too many items")
    if not items:
        raise Syntax("nothing to fetch")
    return items


def _item(parser: Parser, alone: bool) -> list[Item]:
    word = parser.take(_WORD, "an item").group().decode().upper()
    if alone and word in _MACROS:
        return list(_MACROS[word])
    if word in ("BODY", "BODY.PEEK") and parser.peek() == b"[":
        return [_section(parser, word == "BODY.PEEK")]
    if word in _SIMPLE:
        return [word]
    old = {"RFC822": "", "RFC822.HEADER": "HEADER", "RFC822.TEXT": "TEXT"}.get(word)
    if old is None:
        raise Syntax(f"{word} cannot be fetched")
    return [Section(word.encode(), (), old, (), None, 0, word == "RFC822.HEADER")]


def _section(parser: Parser, peek: bool) -> Section:
    parser.literally(b"[")
    path: tuple[int, ...] = ()
    label = b""
    if parser.peek().isdigit():
        label = parser.take(_PART, "a part").group()
        path = tuple(map(int, label.split(b".")))
    text = ""
    fields: tuple[bytes, ...] = ()
    if path and parser.accept(b"."):
        label += b"."
    if label.endswith(b".") or (not path and parser.peek() != b"]"):
        text = parser.take(_WORD_OF_SECTION, "a section").group().decode().upper()
        label += text.encode()
        if text.startswith("HEADER.FIELDS"):
            fields, shown = _fields(parser)
            label += b" " + shown
        if text == "MIME" and not path:
            raise Syntax("MIME is of a part")
    parser.literally(b"]")
    start, length = None, 0
    label = b"BODY[" + label + b"]"
    if parser.accept(b"<"):
        start = parser.number()
        parser.literally(b".")
        length = parser.number()
        if not length:
            raise Syntax("a range of nothing")
        parser.literally(b">")
        label += b"<%d>" % start
    return Section(label, path, text, fields, start, length, peek)


_WORD_OF_SECTION = re.compile(rb"HEADER\.FIELDS\.NOT|HEADER\.FIELDS|HEADER|TEXT|MIME", re.I)


def _fields(parser: Parser) -> tuple[tuple[bytes, ...], bytes]:
    parser.space()
    parser.literally(b"(")
    names: list[bytes] = []
    while not parser.accept(b")"):
        if names:
            parser.space()
        names.append(parser.astring())
        if not _NAME.fullmatch(names[-1]):
            raise Syntax("no name of a field")
        if len(names) > FIELDS_LIMIT:
            raise Syntax("too many fields")
    if not names:
        raise Syntax("fields have names")
    return tuple(name.lower() for name in names), b"(" + b" ".join(
        name if _ATOM.fullmatch(name) else string(name) for name in names
    ) + b")"


_NAME = re.compile(rb"[\x20-\x7e]{1,200}")
_ATOM = re.compile(rb"[A-Za-z0-9_-]+")


def bodies(items: list[Item]) -> int:
    """
    How many of C{items} may be as long as the message.
    """
    return sum(isinstance(item, Section) for item in items)


def sets_seen(items: list[Item]) -> bool:
    """
    Whether fetching C{items} marks a message as read.
    """
    return any(isinstance(item, Section) and not item.peek for item in items)


def needs_content(items: list[Item]) -> bool:
    """
    Whether C{items} cannot be answered from the entry alone.
    """
    return any(not isinstance(item, str) or item in ("ENVELOPE", "BODY", "BODYSTRUCTURE") for item in items)


def known(item: str, entry: Entry) -> bytes:
    """
    The answer for what the entry itself says.
    """
    match item:
        case "FLAGS":
            return b"FLAGS " + flag_list(entry.flags)
        case "UID":
            return b"UID %d" % entry.uid
        case "RFC822.SIZE":
            return b"RFC822.SIZE %d" % entry.size
        case "INTERNALDATE":
            return b"INTERNALDATE " + moment(entry.internal_date)
        case _:
            raise ValueError(item)


async def answer(items: list[Item], entry: Entry, content: IContent) -> AsyncIterator[bytes]:
    """
    The answer for one message, in pieces; a body of up to L{PIECE} octets is in one piece with all before it.

    @raise MessageUnavailable: if octets cannot be had.  After the first piece this leaves a broken answer.
    """
    tree: MimePart | None = None
    out = b""
    for index, item in enumerate(items):
        if len(out) > PIECE:
            yield out
            out = b""
        out += b" " if index else b""
        if isinstance(item, Section):
            if tree is None and (item.path or item.text):
                tree = await content.structure()
            start, stop, whole = await _range(item, tree, content)
            if whole is not None:
                out += item.label + b" " + string(whole)
                continue
            if start < 0:
                out += item.label + b" NIL"
                continue
            first = await _read(content, start, min(stop, start + PIECE))
            out += item.label + b" {%d}\r\n" % (stop - start) + first
            for at in range(start + PIECE, stop, PIECE):
                yield out
                out = await _read(content, at, min(stop, at + PIECE))
        elif item in ("ENVELOPE", "BODY", "BODYSTRUCTURE"):
            tree = tree or await content.structure()
            out += item.encode() + b" "
            out += envelope(tree) if item == "ENVELOPE" else body_structure(tree, item == "BODYSTRUCTURE")
        else:
            out += known(item, entry)
    yield out


async def _read(content: IContent, start: int, stop: int) -> bytes:
    """
    Octets for a literal.  No literal can hold NUL (RFC 3501, section 9, "CHAR8"); none of our own nodes takes a message
    with one, but whoever runs another node may send it.
    """
    octets: bytes = await content.read(start, stop)
    return octets.replace(b"\0", b"\x80")


async def _range(item: Section, tree: MimePart | None, content: IContent) -> tuple[int, int, bytes | None]:
    """
    Which octets of the message C{item} names (start below 0: none), or the octets themselves.
    """
    if tree is None:
        return *_partial(item, 0, content.size), None
    part = section(tree, item.path)
    if part is None:
        return -1, -1, None
    if item.text in ("", "MIME"):
        start, stop = (part.header_start, part.body_start) if item.text else (part.body_start, part.body_end)
        return *_partial(item, start, stop), None
    if item.path:
        # HEADER and TEXT of a part are those of the message inside it.
        inner = embedded(part)
        if inner is None:
            return -1, -1, None
        part = inner
    if item.text == "TEXT":
        return *_partial(item, part.body_start, part.body_end), None
    if item.text == "HEADER":
        return *_partial(item, part.header_start, part.body_start), None
    keep = item.text == "HEADER.FIELDS"
    chosen = [line for name, line in headers.raw_fields(part.header) if name and (name in item.fields) is keep]
    if chosen and not chosen[-1].endswith(b"\n"):
        chosen.append(b"\r\n")  # The header ends with the message, or was too long to be looked at whole.
    whole = b"".join(chosen) + b"\r\n"
    start, stop = _partial(item, 0, len(whole))
    return 0, 0, whole[start:stop]


def section(root: MimePart, path: tuple[int, ...]) -> MimePart | None:
    """
    The part that C{BODY[path]} names (RFC 3501, 6.4.5), numbered as BODYSTRUCTURE shows them: a message that is no
    multipart has part 1, itself; a part of it has parts in turn only if it is a multipart or a message.
    """
    part = root
    counted: MimePart | None = root
    whole = True
    for number in path:
        if counted is None:
            return None
        if counted.kind.startswith("multipart/") and counted.children:
            if number > len(counted.children):
                return None
            part = counted.children[number - 1]
        elif whole and number == 1:
            part = counted
        else:
            return None
        inner = embedded(part)
        counted, whole = (inner, True) if inner is not None else (part if part is not counted else None, False)
    return part


def _partial(item: Section, start: int, stop: int) -> tuple[int, int]:
    if item.start is None:
        return start, stop
    first = min(stop, start + item.start)
    return first, min(stop, first + item.length)
