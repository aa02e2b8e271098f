"""
What became of a message, told to its sender: a delivery status notification (RFC 3464) in a multipart/report (RFC
6522).

Three parts: words for a person, fields for a program, and the message's header or the message itself.  A report comes
from nobody (its return path is C{<>}), so that nothing is ever reported about a report, and calls itself automatic
(RFC 3834).  Addresses beyond ASCII make it one of RFC 6533.  Pure: the same report is always the same octets.
"""

from __future__ import annotations

import quopri
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import Enum
from itertools import count
from textwrap import fill

from post.mail.headers import field
from post.mail.mime import header_end

RETURNED_LIMIT = 64 * 1024
"""Octets of the message that are given back whole; of a longer one only the header is, and of that so many.  The sender
has the message; what is returned is for recognising it."""
DIAGNOSTIC_LIMIT = 800
"""Characters of what another server said: RFC 5321 allows 512 octets a line, and nobody reads more than two."""
ADDRESS_LIMIT = 320
RECIPIENTS_LIMIT = 1000
"""Recipients in one report: as many as one submission may have."""
LINE_LIMIT = 998
"""Octets in a line (RFC 5322, section 2.1.1)."""

_ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_ATOM = re.compile(r"[A-Za-z0-9._+-]+")
_STATUS = re.compile(r"[245]\.\d{1,3}\.\d{1,3}")
_MESSAGE_ID = re.compile(rb"<[!-;=?-~]{1,250}>")


class Action(Enum):
    """
    What became of the message for one recipient (RFC 3464, section 2.3.3).
    """

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"
    DELIVERED = "delivered"


@dataclass(frozen=True)
class Fate:
    """
    What became of it for C{recipient}.

    C{status} is an enhanced status code (RFC 3463), C{words} one plain sentence for the sender.  C{diagnostic} is what
    somebody said, as C{kind} means it ("smtp" for a server's reply); C{remote} is who that was.  Times are in unix
    seconds: C{tried} of the last attempt, C{until} when no more is tried.  C{addressed} is the recipient as the program
    of the sender wrote it (ORCPT of RFC 3461), if that is known.
    """

    recipient: str
    action: Action
    status: str
    words: str
    diagnostic: str = ""
    kind: str = "smtp"
    remote: str = ""
    tried: int | None = None
    until: int | None = None
    addressed: str = ""


@dataclass(frozen=True)
class Report:
    """
    All that a report says.

    C{name} makes its Message-ID and its boundary: the same report has the same one.  C{domain} is who reports, C{to}
    the sender of the message, C{date} when it is reported, C{accepted} when the message was taken, in unix seconds.
    C{message} is the message or the beginning of it, of which C{size} octets there are.  C{envelope_id} is the sender's
    own name for the transaction (ENVID of RFC 3461).
    """

    name: str
    domain: str
    to: str
    date: int
    accepted: int
    fates: tuple[Fate, ...]
    message: bytes = b""
    size: int = 0
    envelope_id: str = ""
    whole: bool = False
    """Whether the message itself is given back, where it is short enough to be."""


def write_report(report: Report) -> bytes:
    """
    The octets of a report, with CRLF, to be sent with an empty return path.

    @raise ValueError: if it is about nobody, or about more than L{RECIPIENTS_LIMIT}; if a name or status is none.
    """
    if not 0 < len(report.fates) <= RECIPIENTS_LIMIT:
        raise ValueError("a report is about one recipient at least, and not too many")
    if not _ATOM.fullmatch(report.name) or len(report.name) > 60:
        raise ValueError("not a name for a report")
    parts = [_text(_words(report)), _fields(report), *_returned(report)]
    # What others wrote is in the parts.  They cannot contain every number.
    numbered = (f"=_{number}_{report.name}" for number in count())
    boundary = next(each for each in numbered if not any(each.encode() in part for part in parts))
    out = [_head(report, boundary)]
    for part in parts:
        out += [f"--{boundary}\r\n".encode(), part, b"\r\n"]
    return b"".join([*out, f"--{boundary}--\r\n".encode()])


def _head(report: Report, boundary: str) -> bytes:
    subjects = {
        Action.FAILED: "Your message could not be delivered",
        Action.DELAYED: "Your message is delayed",
        Action.RELAYED: "It is not known whether your message was delivered",
        Action.DELIVERED: "Your message was delivered",
    }
    worst = next(action for action in _GRAVEST_FIRST if any(fate.action is action for fate in report.fates))
    lines = [
        f"From: Mail delivery <postmaster@{_clean(report.domain)}>",
        f"To: <{_clean(report.to, ADDRESS_LIMIT)}>",
        f"Subject: {subjects[worst]}",
        f"Date: {_date(report.date)}",
        f"Message-ID: <{report.name}@{_clean(report.domain)}>",
    ]
    original = field(report.message, b"message-id")
    if original is not None and _MESSAGE_ID.fullmatch(original):
        # So that a mail program shows it with the message.
        lines += [f"{name}: {original.decode('ascii')}" for name in ("In-Reply-To", "References")]
    lines += [
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        "Content-Type: multipart/report; report-type=delivery-status;",
        f'\tboundary="{boundary}"',
        "",
        "",
    ]
    return "\r\n".join(lines).encode("utf-8")


_GRAVEST_FIRST = (Action.FAILED, Action.RELAYED, Action.DELAYED, Action.DELIVERED)


def _words(report: Report) -> Iterator[str]:
    """
    The part for people, a paragraph at a time.
    """
    yield f"This is about your message of {_date(report.accepted)}."
    for action, heading in (
        (Action.FAILED, "It was NOT delivered to:"),
        (Action.RELAYED, "It is not known whether it was delivered to:"),
        (Action.DELAYED, "It has not been delivered yet to:"),
        (Action.DELIVERED, "It was delivered to:"),
    ):
        fates = [fate for fate in report.fates if fate.action is action]
        if fates:
            yield heading
        for fate in fates:
            yield f"<{_clean(fate.recipient, ADDRESS_LIMIT)}>: {_clean(fate.words)}"
            if fate.diagnostic:
                said_by = f"{_clean(fate.remote)} said" if fate.remote else "The answer was"
                yield f"{said_by}: {_clean(fate.diagnostic)}"
            if fate.until is not None:
                ended = action in (Action.FAILED, Action.RELAYED)
                yield f"{'It was tried until' if ended else 'It will be tried until'} {_date(fate.until)}."
    actions = {fate.action for fate in report.fates}
    if Action.FAILED in actions:
        yield "Nobody tries any longer. To try again, send the message once more."
    if Action.RELAYED in actions:
        yield "Please ask whether it was received before you send it once more."
    if Action.DELAYED in actions:
        yield "You need not do anything: it is being tried on, and you hear of it if that does not succeed."


def _text(paragraphs: Iterator[str]) -> bytes:
    text = "\n\n".join(fill(each, 76, break_long_words=False, break_on_hyphens=False) for each in paragraphs) + "\n"
    if text.isascii() and all(len(line) <= LINE_LIMIT for line in text.splitlines()):
        encoding, body = "7bit", text.encode("ascii")
    else:
        encoding, body = "quoted-printable", quopri.encodestring(text.encode("utf-8"))
    return (
        f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode() + body.replace(b"\n", b"\r\n")


def _is_global(report: Report) -> bool:
    return not all(_clean(fate.recipient + fate.addressed).isascii() for fate in report.fates)


def _fields(report: Report) -> bytes:
    """
    The part for programs (RFC 3464, section 2): fields of the message, then of each recipient.
    """
    is_global = _is_global(report)
    lines = [
        f"Content-Type: message/{'global-' * is_global}delivery-status",
        f"Content-Transfer-Encoding: {'8bit' if is_global else '7bit'}",
        "",
        *(_folded("Original-Envelope-Id", report.envelope_id) if report.envelope_id else ()),
        *_folded("Reporting-MTA", f"dns; {report.domain}"),
        f"Arrival-Date: {_date(report.accepted)}",
    ]
    for fate in report.fates:
        lines += ["", *_fate(fate)]
    return ("\r\n".join(lines) + "\r\n").encode("utf-8")


def _fate(fate: Fate) -> Iterator[str]:
    if not _STATUS.fullmatch(fate.status):
        raise ValueError(f"no status code: {fate.status}")
    if not _ATOM.fullmatch(fate.kind):
        raise ValueError(f"no type of a diagnostic: {fate.kind}")
    if fate.addressed:
        yield from _folded("Original-Recipient", _typed(fate.addressed))
    yield from _folded("Final-Recipient", _typed(fate.recipient))
    yield f"Action: {fate.action.value}"
    yield f"Status: {fate.status}"
    if fate.remote:
        yield from _folded("Remote-MTA", f"dns; {_ascii(fate.remote)}")
    if fate.diagnostic:
        yield from _folded("Diagnostic-Code", f"{fate.kind}; {_ascii(fate.diagnostic)}")
    if fate.tried is not None:
        yield f"Last-Attempt-Date: {_date(fate.tried)}"
    if fate.until is not None and fate.action is Action.DELAYED:
        yield f"Will-Retry-Until: {_date(fate.until)}"


def _typed(address: str) -> str:
    address = _clean(address, ADDRESS_LIMIT)
    return f"rfc822; {address}" if address.isascii() else f"utf-8; {address}"


def _returned(report: Report) -> Sequence[bytes]:
    """
    The message, or what is there of its header: as it is where that is allowed, since parts of these types must not be
    encoded (RFC 2046, section 5.2.1).
    """
    message = report.message
    if not message:
        return ()
    if report.whole and len(message) == max(report.size, len(message)) <= RETURNED_LIMIT and _is_plain(message):
        kind, content = "message/rfc822", message
    else:
        content = _header(message)
        kind = "text/rfc822-headers" if content.isascii() else "message/global-headers"
    encoding = "7bit" if content.isascii() else "8bit"
    return (f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + content,)


def _header(message: bytes) -> bytes:
    """
    The header, in lines that everybody takes; in UTF-8, or else with question marks.
    """
    octets = message[: min(header_end(message), RETURNED_LIMIT)]
    try:
        header = octets.decode("utf-8")
    except UnicodeDecodeError:
        header = octets.decode("ascii", "replace").replace("\ufffd", "?")
    lines = header.replace("\0", "").replace("\r", "").rstrip("\n").split("\n")
    return b"".join(
        line.encode("utf-8")[:LINE_LIMIT].decode("utf-8", "ignore").encode("utf-8") + b"\r\n" for line in lines
    )


def _is_plain(message: bytes) -> bool:
    if not message[: header_end(message)].isascii():
        return False  # That would be message/global, which few programs show.
    lines = message.split(b"\r\n")
    return all(len(line) <= LINE_LIMIT and not set(b"\r\n\0") & set(line) for line in lines)


def _clean(text: str, limit: int = DIAGNOSTIC_LIMIT) -> str:
    """
    On one line, whatever others wrote.
    """
    return _ODD.sub(" ", text).strip()[:limit]


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")


def _folded(name: str, value: str) -> Sequence[str]:
    text = fill(f"{name}: {_clean(value)}", 76, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return text.split("\n")


def _date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC))
