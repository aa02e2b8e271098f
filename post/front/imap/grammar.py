"""
The grammar of commands (RFC 3501, section 9), and names in modified UTF-7.  Pure.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone

from post.front.imap.assembler import Octets

_ATOM = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_ASTRING = re.compile(rb'[^\x00-\x20\x7f(){%*"\\]+')
_PATTERN = re.compile(rb'[^\x00-\x20\x7f(){"\\]+')
_QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
_NUMBER = re.compile(rb"[0-9]{1,10}")
_SET = re.compile(rb"[0-9*:,]+")
_FLAG = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_DATE = re.compile(rb'"?([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})"?')
_DATE_TIME = re.compile(
    rb'"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = {name.lower().encode(): number for number, name in enumerate(MONTHS, 1)}
UID_LIMIT = (1 << 32) - 1
STRING_LIMIT = 64 * 1024
"""Octets of a literal that stands for a string; only a message is longer."""
FLAGS_LIMIT = 200
"""Flags in one command, and characters of a flag: more than any mail program's tags."""
SYSTEM_FLAGS = frozenset({"\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"})


class Syntax(Exception):
    """
    The command is not what the grammar says.
    """


class Parser:
    """
    Reads one command from left to right.
    """

    def __init__(self, text: bytes, literals: Sequence[Octets] = ()) -> None:
        self._text = text
        self._literals = list(reversed(literals))
        self._at = 0

    @property
    def done(self) -> bool:
        """
        Whether everything has been read.
        """
        return self._at >= len(self._text)

    def peek(self) -> bytes:
        """
        The next octet, or none.
        """
        return self._text[self._at : self._at + 1]

    def take(self, pattern: re.Pattern[bytes], what: str) -> re.Match[bytes]:
        """
        What C{pattern} matches here.

        @raise Syntax: if it does not.
        """
        match = pattern.match(self._text, self._at)
        if match is None:
            raise Syntax(f"expected {what}")
        self._at = match.end()
        return match

    def literally(self, text: bytes) -> None:
        """
        @raise Syntax: unless C{text} comes next.
        """
        if not self.accept(text):
            raise Syntax(f"expected {text.decode()!r}")

    def accept(self, text: bytes) -> bool:
        """
        Whether C{text} comes next, in any case of letters; if so, it is read.
        """
        if self._text[self._at : self._at + len(text)].upper() != text.upper():
            return False
        self._at += len(text)
        return True

    def space(self) -> None:
        """
        One space.
        """
        self.literally(b" ")

    def end(self) -> None:
        """
        @raise Syntax: if anything is left.
        """
        if not self.done:
            raise Syntax("there is more than expected")

    def atom(self) -> str:
        """
        An atom.
        """
        return self.take(_ATOM, "an atom").group().decode()

    def octets(self) -> Octets:
        """
        A literal, whatever its size.
        """
        self.literally(b"\0")
        if not self._literals:
            raise Syntax("expected a literal")
        return self._literals.pop()

    def string(self) -> bytes:
        """
        A quoted string or a literal.
        """
        if self.peek() == b"\0":
            octets = self.octets()
            if len(octets) > STRING_LIMIT:
                raise Syntax("a string of that length")
            return bytes(octets)
        return re.sub(rb'\\(["\\])', rb"\1", self.take(_QUOTED, "a string").group(1))

    def astring(self) -> bytes:
        """
        An atom, a quoted string or a literal.
        """
        return self.string() if self.peek() in (b'"', b"\0") else self.take(_ASTRING, "a string").group()

    def pattern(self) -> bytes:
        """
        What LIST takes: as L{astring}, with wildcards.
        """
        return self.string() if self.peek() in (b'"', b"\0") else self.take(_PATTERN, "a pattern").group()

    def folder(self) -> str:
        """
        A folder's name.
        """
        return decode_name(self.astring())

    def number(self) -> int:
        """
        A number of at most 32 bits.
        """
        value = int(self.take(_NUMBER, "a number").group())
        if value > UID_LIMIT:
            raise Syntax("a number of more than 32 bits")
        return value

    def sequence_set(self) -> SequenceSet:
        """
        A sequence set.
        """
        return SequenceSet.parse(self.take(_SET, "a sequence set").group())

    def flags(self) -> frozenset[str]:
        """
        A list of flags, in parentheses.
        """
        self.literally(b"(")
        found: set[str] = set()
        while not self.accept(b")"):
            if found:
                self.space()
            found.add(self.flag())
            if len(found) > FLAGS_LIMIT:
                raise Syntax("too many flags")
        return frozenset(found)

    def flag(self) -> str:
        """
        One flag; system flags in their usual spelling.

        @raise Syntax: for a system flag that there is none of, too: what cannot be promised to last is refused.
        """
        raw = self.take(_FLAG, "a flag").group().decode()
        if len(raw) > FLAGS_LIMIT:
            raise Syntax("a flag of that length")
        if not raw.startswith("\\"):
            return raw
        spelled = "\\" + raw[1:].capitalize()
        if spelled not in SYSTEM_FLAGS and spelled != "\\Recent":
            raise Syntax("there is no such flag")
        return spelled

    def use(self) -> str:
        """
        A special use (RFC 6154), in its usual spelling.
        """
        self.literally(b"\\")
        return "\\" + self.atom().capitalize()

    def date(self) -> date:
        """
        A day, with or without quotes.
        """
        day, month, year = self.take(_DATE, "a date").groups()
        try:
            return date(int(year), _MONTH[month.lower()], int(day))
        except (KeyError, ValueError):
            raise Syntax("no such day") from None

    def date_time(self) -> datetime:
        """
        A moment, in quotes.
        """
        day, month, year, hour, minute, second, sign, zone_hour, zone_minute = self.take(_DATE_TIME, "a time").groups()
        offset = timedelta(hours=int(zone_hour), minutes=int(zone_minute)) * (-1 if sign == b"-" else 1)
        try:
            zone = timezone(offset)
            numbers = (int(year), _MONTH[month.lower()], int(day), int(hour), int(minute), min(59, int(second)))
            # At the ends of the calendar a moment may exist in its own zone only, and could not be shown again.
            return datetime(*numbers, tzinfo=zone).astimezone(UTC)
        except (KeyError, ValueError, OverflowError):
            raise Syntax("no such time") from None


class SequenceSet:
    """
    Numbers as sorted ranges that do not touch; C{*} is kept apart, because what it means changes.
    """

    def __init__(self, ranges: Sequence[tuple[int, int]], stars: Sequence[int]) -> None:
        self._ranges = ranges
        self._stars = stars
        """For each C{n:*} its n; UID_LIMIT + 1 for a plain C{*}."""

    @classmethod
    def parse(cls, text: bytes) -> SequenceSet:
        """
        @raise Syntax: if C{text} is none.
        """
        ranges: list[tuple[int, int]] = []
        stars: list[int] = []
        for item in text.split(b","):
            first, colon, last = item.partition(b":")
            ends = [_bound(each) for each in ((first, last) if colon else (first,))]
            if None in ends:
                numbers = [each for each in ends if each is not None]
                stars.append(numbers[0] if numbers else UID_LIMIT + 1)
            else:
                known = sorted(each for each in ends if each is not None)
                ranges.append((known[0], known[-1]))
        return cls(_merged(ranges), stars)

    def ranges(self, last: int) -> Ranges:
        """
        What the set means while C{*} is C{last}.
        """
        open_ended = [(min(star, last), last if star > UID_LIMIT else max(last, star)) for star in self._stars]
        return Ranges(_merged([*self._ranges, *open_ended]))

    def among(self, numbers: Sequence[int]) -> list[int]:
        """
        Those of the sorted C{numbers} that are in the set; C{*} is the last of them.
        """
        if not numbers:
            return []
        found: list[int] = []
        for low, high in self.ranges(numbers[-1]).pairs:
            found += numbers[bisect_left(numbers, low) : bisect_right(numbers, high)]
        return found

    def exceeds(self, last: int) -> bool:
        """
        Whether it names a number beyond C{last}; C{*} does only if there is nothing at all.
        """
        return any(high > last for _, high in self._ranges) or any(
            last < 1 or last < star <= UID_LIMIT for star in self._stars
        )


class Ranges:
    """
    Sorted ranges that do not touch: whether a number is in them takes no longer for a million numbers than for one.
    """

    def __init__(self, pairs: Sequence[tuple[int, int]]) -> None:
        self.pairs = pairs
        self._lows = [low for low, _ in pairs]

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._lows, number) - 1
        return index >= 0 and number <= self.pairs[index][1]


def _bound(text: bytes) -> int | None:
    if text == b"*":
        return None
    if not text.isdigit() or len(text) > 10 or not 1 <= int(text) <= UID_LIMIT:
        raise Syntax("not a sequence set")
    return int(text)


def _merged(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")
_PLAIN = re.compile(r"[\x20-\x7e]+")


def decode_name(name: bytes) -> str:
    """
    A folder's name from modified UTF-7 (RFC 3501, 5.1.3); plain UTF-8 is taken too, as some programs send it.

    @raise Syntax: if it is neither.
    """
    if not name.isascii():
        try:
            return name.decode()
        except UnicodeDecodeError:
            raise Syntax("a name that is not UTF-8") from None
    out, position = "", 0
    for match in _SHIFTED.finditer(name):
        plain = name[position : match.start()]
        if b"&" in plain:
            raise Syntax("a name that is not modified UTF-7")
        out += plain.decode() + (_unshift(match.group(1)) if match.group(1) else "&")
        position = match.end()
    if b"&" in name[position:]:
        raise Syntax("a name that is not modified UTF-7")
    return out + name[position:].decode()


def _unshift(text: bytes) -> str:
    padded = text.replace(b",", b"/") + b"=" * (-len(text) % 4)
    try:
        return b64decode(padded, validate=True).decode("utf-16-be")
    except ValueError:
        raise Syntax("a name that is not modified UTF-7") from None


def encode_name(name: str) -> bytes:
    """
    A folder's name in modified UTF-7.
    """
    out, position = b"", 0
    for match in _PLAIN.finditer(name):
        out += _shift(name[position : match.start()]) + match.group().encode().replace(b"&", b"&-")
        position = match.end()
    return out + _shift(name[position:])


def _shift(text: str) -> bytes:
    if not text:
        return b""
    return b"&" + b64encode(text.encode("utf-16-be")).rstrip(b"=").replace(b"/", b",") + b"-"


def matches(name: str, pattern: str, separator: str = "/") -> bool:
    """
    Whether LIST's C{pattern} matches C{name}: C{*} anything, C{%} anything within a level.

    Bit i of C{reached} says that what has been read of the pattern can match the first i characters, so that each
    character of the pattern costs a few operations on whole numbers, whatever the wildcards.
    """
    everywhere = (1 << len(name) + 1) - 1
    at: dict[str, int] = {}
    for index, character in enumerate(name):
        at[character] = at.get(character, 0) | 1 << index
    within = (everywhere >> 1) & ~at.get(separator, 0)
    reached = 1
    for character in pattern:
        if character == "*":
            reached = everywhere & -(reached & -reached)
        elif character == "%":
            # The carry of the sum runs through each level, from the first place reached in it to its end.
            reached |= (((reached & within) + within) ^ within) & everywhere
        else:
            reached = (reached & at.get(character, 0)) << 1
        if not reached:
            return False
    return bool(reached >> len(name) & 1)
