"""
The mbox format (RFC 4155, and what is really about): messages in one file, each behind a line C{From SENDER DATE}.

A line of a message that could be taken for such a line has C{>} before it.  In mboxrd so has every line that begins
with some C{>} and "From ", and one is taken away again; in mboxo only "From " itself.  Not every program does either.
So a line separates messages only if it stands behind an empty line, ends with a date, and a header field or an empty
line follows; others stay text.  A Content-Length is believed where it leads to such a line, or to the end.

What L{record} writes begins with a field of our own, which says what a file cannot keep otherwise, and is taken away
when it is read.
"""

from __future__ import annotations

import re
from calendar import timegm
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from time import gmtime
from typing import IO

from post.moving.flags import from_status, to_status
from post.moving.lines import to_file

QUOTINGS = ("mboxrd", "mboxo", "none")
LINE_BYTES = 64 * 1024
"""Read at once; the rest of a longer line cannot begin anything."""
HEADER_BYTES = 256 * 1024
"""Of a header in which fields of the format are looked for: far more than any mail program writes."""
OWN = b"X-POST-Export: 1; lines="
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_DATE = re.compile(
    rb"(?:%b),? +(%b) +([0-9]{1,2}) +([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?"
    rb"((?: +[A-Za-z]{1,5}| +[+-][0-9]{4})*?) +([0-9]{4})( +[+-][0-9]{4})?[ \t]*\r?\n?\Z"
    % ("|".join(DAYS).encode(), "|".join(MONTHS).encode())
)
_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:|>From |\r?\n")
_LENGTH = re.compile(rb"content-length:[ \t]*([0-9]{1,15})[ \t]*\r?\n\Z", re.IGNORECASE)
_OWN = re.compile(
    rb"X-POST-Export: 1; lines=(lf|raw); end=(yes|no)\r?\n((?:(?:Status|X-Status|X-Keywords): [^\n]*\n){0,3})"
)
_THEIRS = re.compile(
    rb"(?im)^(?:status:[ \t]*[RONUD]{0,5}|x-status:[ \t]*[A-Z]{0,9}|x-keywords:[^\n]*|x-uid:[ \t]*[0-9]+)[ \t]*\r?\n"
)
_ANY_FROM = re.compile(rb"(?m)^(>*From )")
_INTERNAL = re.compile(rb"(?im)^x-imap(?:base)?:[^\n]*\n")


@dataclass(frozen=True)
class Span:
    """
    Where a message is: its From line, and from where to where it is, without the empty line at its end.
    """

    line: int
    envelope: bytes
    start: int
    stop: int


def is_separator(line: bytes) -> bool:
    """
    Whether C{line} begins with C{From} and ends with a date.
    """
    return line.startswith(b"From ") and _DATE.search(line) is not None


def spans(file: IO[bytes]) -> Iterator[Span]:
    """
    The messages in a file, which can be sought in.  What stands before the first one is passed over: it is for the
    caller to see whether the file begins with one.
    """
    number = offset = 0
    found: Span | None = None
    candidate: tuple[int, bytes, int, int] | None = None
    blank, gap, header, whole, length = True, 0, False, True, -1
    while line := file.readline(LINE_BYTES):
        number += whole
        if candidate is not None:
            if _FIELD.match(line):
                before, envelope, stop, start = candidate
                if found is not None:
                    yield Span(found.line, found.envelope, found.start, stop)
                found, header, length = Span(before, envelope, start, start), True, -1
            candidate = None
        end = offset + len(line)
        empty = whole and line in (b"\n", b"\r\n")
        ends_header = header and empty
        if ends_header:
            header = False
            if length >= 0 and found is not None and _leads(file, end + length):
                # Its own From lines are no concern of ours.
                number += _skip(file, length)
                offset, blank, gap, whole = end + length, False, 0, True
                continue
        elif header and (match := _LENGTH.match(line)):
            length = int(match[1])
        elif header and line.startswith(OWN):
            # What we have written tells messages apart in any case, whatever a header says.
            header = False
        if whole and blank and is_separator(line):
            stop = offset - gap
            candidate = number, line, max(stop, found.start if found else 0), end
        # The empty line that ends a header is the message's own.
        blank, gap = empty, len(line) if empty and not ends_header else 0
        whole, offset = line.endswith(b"\n"), end
    if candidate is not None and found is None:
        found = Span(candidate[0], candidate[1], candidate[3], candidate[3])
    if found is not None:
        yield Span(found.line, found.envelope, found.start, max(offset - gap, found.start))


def _skip(file: IO[bytes], length: int) -> int:
    """
    Go C{length} octets on; returns how many lines that were.
    """
    lines = 0
    while length > 0 and (piece := file.read(min(length, LINE_BYTES))):
        lines += piece.count(b"\n")
        length -= len(piece)
    return lines


def _leads(file: IO[bytes], place: int) -> bool:
    """
    Whether a message may end at C{place}: an empty line and a From line, or nothing, follow.
    """
    here = file.tell()
    file.seek(place)
    ahead = file.read(LINE_BYTES)
    at_end = not ahead and file.seek(0, 2) == place
    file.seek(here)
    gap = re.match(rb"\r?\n", ahead)
    rest = ahead[gap.end() :] if gap else b""
    return at_end or (gap is not None and (not rest or is_separator(rest.partition(b"\n")[0])))


def envelope_date(line: bytes) -> int | None:
    """
    The date in a From line, in milliseconds since 1970; in UTC where it does not say otherwise.
    """
    match = _DATE.search(line)
    if match is None:
        return None
    month, day, hour, minute, second, zones, year, after = match.groups()
    offset = re.search(rb"([+-])([0-9]{2})([0-9]{2})", (zones or b"") + (after or b""))
    try:
        seconds = timegm(
            (int(year), MONTHS.index(month.decode()) + 1, int(day), int(hour), int(minute), int(second or 0))
        )
    except (ValueError, OverflowError):
        return None
    if offset:
        shift = 3600 * int(offset[2]) + 60 * int(offset[3])
        seconds -= shift if offset[1] == b"+" else -shift
    return max(0, seconds) * 1000


def field_date(header: bytes) -> int | None:
    """
    The date in a header's field Date, in milliseconds since 1970.
    """
    match = re.search(rb"(?im)^date:[ \t]*([^\r\n]{1,100})", header)
    try:
        parsed = parsedate_tz(match[1].decode("ascii", "replace")) if match else None
        return max(0, int(mktime_tz(parsed))) * 1000 if parsed else None
    except (ValueError, OverflowError, TypeError):
        return None


def parse(octets: bytes, quoting: str) -> tuple[bytes, frozenset[str], bytes]:
    """
    A message as it stands in a file: its octets, flags and header.
    """
    own = _OWN.match(octets)
    if own is not None:
        body = _ANY_FROM.sub(lambda match: match[1][1:] if match[1].startswith(b">") else match[1], octets[own.end() :])
        if own[2] == b"no":
            body = body.removesuffix(b"\n")
        return body, _flags(own[3]), body[:HEADER_BYTES]
    head, rest = _divide(octets)
    flags = _flags(head)
    octets = _THEIRS.sub(b"", head) + rest
    if quoting != "none":
        quoted = rb"(?m)^>(>*From )" if quoting == "mboxrd" else rb"(?m)^>(From )"
        octets = re.sub(quoted, rb"\1", octets)
    return octets, flags, head


def _divide(octets: bytes) -> tuple[bytes, bytes]:
    match = re.search(rb"(?:\A|\n)\r?\n", octets[:HEADER_BYTES])
    end = match.start() + 1 if match and match.start() else 0 if match else min(len(octets), HEADER_BYTES)
    return octets[:end], octets[end:]


def _flags(head: bytes) -> frozenset[str]:
    found = {b"status": "", b"x-status": "", b"x-keywords": ""}
    for match in re.finditer(rb"(?im)^(status|x-status|x-keywords):[ \t]*([^\r\n]*)", head):
        found[match[1].lower()] += f" {match[2].decode('ascii', 'replace')}"
    return from_status(*found.values())


def unescaped(octets: bytes) -> int:
    """
    How many lines of a message could have been taken for a From line, and were not.
    """
    return len(re.findall(rb"\n\r?\nFrom ", octets))


def is_internal(head: bytes) -> bool:
    """
    Whether it is no message, but what an IMAP server keeps about the file.
    """
    return _INTERNAL.search(head) is not None and b"FOLDER INTERNAL DATA" in head


def record(octets: bytes, flags: tuple[str, ...], date: int) -> bytes:
    """
    A message as it is written, in mboxrd, with what precedes and follows it.
    """
    text = to_file(octets)
    lines = b"lf" if text != octets or b"\n" not in text else b"raw"
    ended = text.endswith(b"\n")
    status, x_status, keywords = (word.encode() for word in to_status(flags))
    fields = b"Status: %b\nX-Status: %b\nX-Keywords: %b\n" % (status, x_status, keywords)
    own = OWN + lines + b"; end=" + (b"yes" if ended else b"no") + b"\n" + fields
    body = _ANY_FROM.sub(rb">\1", text) + (b"" if ended else b"\n")
    return b"From post-export@localhost %b\n%b%b\n" % (_asctime(date), own, body)


def _asctime(date: int) -> bytes:
    at = gmtime(date // 1000)
    clock = f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02}"
    return f"{DAYS[at.tm_wday]} {MONTHS[at.tm_mon - 1]} {at.tm_mday:2} {clock} {at.tm_year}".encode()
