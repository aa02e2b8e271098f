"""
SEARCH (RFC 3501, 6.4.4): keys into a test, and the test of one message.

What the entry says is compared first; a message's octets are fetched only if the answer still depends on them.
"""

from __future__ import annotations

import codecs
import quopri
import re
from base64 import b64decode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime
from email.errors import MessageError
from email.header import decode_header, make_header
from email.utils import parsedate_to_datetime
from inspect import iscoroutinefunction

from post.front.imap.grammar import Parser, Syntax
from post.mail import headers
from post.mail.interfaces import Entry, IContent
from post.mail.mime import MimePart

KEYS_LIMIT = 500
DEPTH_LIMIT = 50
TEXT_LIMIT = 4 * 1024 * 1024
"""Octets of one message that BODY and TEXT look at."""
FIELD_LIMIT = 16 * 1024
"""Octets of one field that are decoded: encoded words by the thousand take the library seconds."""
DATE_LIMIT = 100
"""Octets of a Date field that are looked at."""
_STEP = 192 * 1024
_SLOW_CODEC = "punycode"
"""Not for texts, and quadratic: one mail in it would stop the node for minutes."""
_NO_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")


class BadCharset(Exception):
    """
    A charset that SEARCH does not know (C{NO [BADCHARSET]}).
    """


@dataclass(frozen=True)
class Subject:
    """
    The message being tested, under its sequence number.
    """

    number: int
    entry: Entry
    content: IContent


Test = Callable[[Subject], "bool | Awaitable[bool]"]

_FLAGS = {
    "ANSWERED": ("\\Answered", True),
    "DELETED": ("\\Deleted", True),
    "DRAFT": ("\\Draft", True),
    "FLAGGED": ("\\Flagged", True),
    "SEEN": ("\\Seen", True),
    "UNANSWERED": ("\\Answered", False),
    "UNDELETED": ("\\Deleted", False),
    "UNDRAFT": ("\\Draft", False),
    "UNFLAGGED": ("\\Flagged", False),
    "UNSEEN": ("\\Seen", False),
}


class SearchParser:
    """
    Reads the keys of one SEARCH.
    """

    def __init__(self, parser: Parser, uids: list[int]) -> None:
        self._parser = parser
        self._uids = uids
        self._keys = 0

    def parse(self) -> Test:
        """
        The test that all keys together make.

        @raise Syntax: if they are none.
        @raise BadCharset: for another charset than US-ASCII and UTF-8.
        """
        if self._parser.accept(b"CHARSET "):
            charset = self._parser.astring().upper()
            if charset not in (b"UTF-8", b"US-ASCII"):
                raise BadCharset()
            self._parser.space()
        tests = [self._key(0)]
        while not self._parser.done:
            self._parser.space()
            tests.append(self._key(0))
        return _all(tests)

    def _key(self, depth: int) -> Test:
        self._keys += 1
        if self._keys > KEYS_LIMIT or depth > DEPTH_LIMIT:
            raise Syntax("too many keys")
        parser = self._parser
        if parser.accept(b"("):
            tests = [self._key(depth + 1)]
            while not parser.accept(b")"):
                parser.space()
                tests.append(self._key(depth + 1))
            return _all(tests)
        if parser.peek().isdigit() or parser.peek() == b"*":
            numbers = parser.sequence_set().ranges(len(self._uids))
            return lambda subject: subject.number in numbers
        return self._word(parser.atom().upper(), depth)

    def _word(self, word: str, depth: int) -> Test:
        parser = self._parser
        if word in _FLAGS:
            flag, wanted = _FLAGS[word]
            return lambda subject: (flag in subject.entry.flags) is wanted
        if word in ("ALL", "OLD"):
            return lambda subject: True
        if word in ("NEW", "RECENT"):
            return lambda subject: False  # Nothing is \Recent here.
        parser.space()
        match word:
            case "NOT":
                inner = self._key(depth + 1)
                return lambda subject: _not(inner, subject)
            case "OR":
                first = self._key(depth + 1)
                parser.space()
                second = self._key(depth + 1)
                return lambda subject: _or(first, second, subject)
            case "UID":
                uids = parser.sequence_set().ranges(self._uids[-1] if self._uids else 0)
                return lambda subject: subject.entry.uid in uids
            case "KEYWORD" | "UNKEYWORD":
                flag, wanted = parser.flag().lower(), word == "KEYWORD"
                return lambda subject: (flag in (each.lower() for each in subject.entry.flags)) is wanted
            case "LARGER" | "SMALLER":
                size, sign = parser.number(), 1 if word == "LARGER" else -1
                return lambda subject: sign * (subject.entry.size - size) > 0
            case "BEFORE" | "ON" | "SINCE":
                return self._date(word, _internal)
            case "SENTBEFORE" | "SENTON" | "SENTSINCE":
                return self._date(word.removeprefix("SENT"), _sent)
            case "SUBJECT" | "FROM" | "TO" | "CC" | "BCC":
                return self._header(word.lower().encode(), self._text())
            case "HEADER":
                name = parser.astring().lower()
                parser.space()
                return self._header(name, self._text())
            case "BODY" | "TEXT":
                text, whole = self._text(), word == "TEXT"
                return lambda subject: _contains(subject, text, whole)
        raise Syntax(f"{word} cannot be searched for")

    def _text(self) -> str:
        try:
            return self._parser.astring().decode().casefold()
        except UnicodeDecodeError:
            raise Syntax("text that is not UTF-8") from None

    def _header(self, name: bytes, text: str) -> Test:
        async def test(subject: Subject) -> bool:
            header = (await subject.content.structure()).header
            return any(text in _decoded(value).casefold() for value in headers.all_fields(header, name))

        return test

    def _date(self, word: str, of: Callable[[Subject], Awaitable[date | None]]) -> Test:
        day = self._parser.date()

        async def test(subject: Subject) -> bool:
            found = await of(subject)
            if found is None:
                return False
            return found < day if word == "BEFORE" else found == day if word == "ON" else found >= day

        return test


async def holds(test: Test, subject: Subject) -> bool:
    """
    Whether C{test} holds for C{subject}.
    """
    result = test(subject)
    return result if isinstance(result, bool) else await result


def _all(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]

    ordered = sorted(tests, key=iscoroutinefunction)  # What needs the message comes last.

    async def test(subject: Subject) -> bool:
        for each in ordered:
            if not await holds(each, subject):
                return False
        return True

    return test


async def _not(inner: Test, subject: Subject) -> bool:
    return not await holds(inner, subject)


async def _or(first: Test, second: Test, subject: Subject) -> bool:
    return await holds(first, subject) or await holds(second, subject)


async def _internal(subject: Subject) -> date | None:
    return subject.entry.internal_date.date()


async def _sent(subject: Subject) -> date | None:
    value = headers.field((await subject.content.structure()).header, b"date")
    try:
        found = parsedate_to_datetime((value or b"")[:DATE_LIMIT].decode("ascii", "replace"))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return found.date() if isinstance(found, datetime) else None


def _decoded(value: bytes) -> str:
    text = value[:FIELD_LIMIT].decode("utf-8", "replace")
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (ValueError, LookupError, MessageError):
        return text


async def _contains(subject: Subject, text: str, whole: bool) -> bool:
    tree = await subject.content.structure()
    if whole and text in _decoded_header(tree.header):
        return True
    left = TEXT_LIMIT
    for part in _texts(tree):
        if part.kind.startswith("message/") and part.children:
            if text in _decoded_header(part.children[0].header):
                return True
            continue
        size = min(left, part.body_end - part.body_start)
        left -= size
        if text in _text_of(part, await _octets(subject.content, part.body_start, part.body_start + size)):
            return True
    return False


def _decoded_header(header: bytes) -> str:
    return "\n".join(_decoded(line) for _, line in headers.raw_fields(header)).casefold()


def _texts(part: MimePart) -> list[MimePart]:
    own = [part] if part.kind.startswith(("text/", "message/")) else []
    return own + [found for child in part.children for found in _texts(child)]


async def _octets(content: IContent, start: int, stop: int) -> bytes:
    return b"".join([await content.read(at, min(stop, at + _STEP)) for at in range(start, stop, _STEP)])


def _text_of(part: MimePart, octets: bytes) -> str:
    if part.encoding == "quoted-printable":
        octets = quopri.decodestring(octets)
    elif part.encoding == "base64":
        octets = _NO_BASE64.sub(b"", octets)
        octets = octets[: len(octets) - (len(octets) % 4 == 1)]  # The end may have been cut off.
        octets = b64decode(octets + b"=" * (-len(octets) % 4))
    charset = dict(part.parameters).get("charset", "utf-8")
    try:
        if codecs.lookup(charset).name != _SLOW_CODEC:
            return octets.decode(charset, "replace").casefold()
    except (LookupError, ValueError):
        pass  # No charset, or not one for texts.
    return octets.decode("utf-8", "replace").casefold()
