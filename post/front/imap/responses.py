"""
How things are written in responses: strings, ENVELOPE, BODYSTRUCTURE (RFC 3501, 7.4.2 and section 9).  Pure.
"""

from __future__ import annotations

import re
from datetime import datetime

from post.front.imap.grammar import MONTHS
from post.mail import headers
from post.mail.headers import Address
from post.mail.mime import MimePart, embedded

_QUOTABLE = re.compile(rb"[\x20-\x7e]*")
_NOBODY = b'((NIL NIL "MISSING_MAILBOX" "MISSING_DOMAIN"))'
"""RFC 3501, 7.4.2: sender members cannot be NIL, so programs rely on it; these words are what other servers say."""


def string(octets: bytes) -> bytes:
    """
    A quoted string where it can be one, else a literal.
    """
    if len(octets) <= 1000 and _QUOTABLE.fullmatch(octets):
        return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    octets = octets.replace(b"\0", b"?")
    return b"{%d}\r\n%b" % (len(octets), octets)


def nstring(octets: bytes | None) -> bytes:
    """
    The same, or NIL.
    """
    return b"NIL" if octets is None else string(octets)


def moment(when: datetime) -> bytes:
    """
    An INTERNALDATE.
    """
    return when.strftime(f'"%d-{MONTHS[when.month - 1]}-{when.year:04} %H:%M:%S %z"').encode()


def envelope(part: MimePart) -> bytes:
    """
    The ENVELOPE of a message.
    """
    found: dict[bytes, bytes] = {}
    for name, line in headers.raw_fields(part.header):
        if name not in found:
            found[name] = re.sub(rb"\r?\n(?=[ \t])", b"", line.partition(b":")[2]).strip()
    sender = _addresses(found.get(b"from")) or _NOBODY
    lists = [
        sender,
        _addresses(found.get(b"sender")) or sender,
        _addresses(found.get(b"reply-to")) or sender,
        *(_addresses(found.get(name)) or b"NIL" for name in (b"to", b"cc", b"bcc")),
    ]
    parts = [nstring(found.get(b"date")), nstring(found.get(b"subject")), *lists]
    parts += [nstring(found.get(b"in-reply-to")), nstring(found.get(b"message-id"))]
    return b"(" + b" ".join(parts) + b")"


def _addresses(value: bytes | None) -> bytes:
    """
    The addresses of a field in parentheses, or nothing if there are none.
    """
    listed = headers.address_list(value) if value else []
    return b"(" + b"".join([_address(each) for each in listed]) + b")" if listed else b""


def _address(address: Address) -> bytes:
    return b"(%b NIL %b %b)" % (nstring(address.name), nstring(address.local), nstring(address.domain))


def body_structure(part: MimePart, extended: bool) -> bytes:
    """
    BODY, or with C{extended} BODYSTRUCTURE.
    """
    if part.kind.startswith("multipart/") and part.children:
        return _multipart(part, extended)
    main, _, sub = part.kind.partition("/")
    inner = embedded(part) if part.kind == "message/rfc822" else None
    if main == "multipart" or (part.kind == "message/rfc822" and inner is None):
        # The grammar wants the parts of the one and the ENVELOPE of the other, and here nothing could be looked into.
        main, sub = "application", "octet-stream"
    fields = [
        string(main.upper().encode()),
        string(sub.upper().encode()),
        _parameters(_shown_parameters(part)),
        nstring(headers.field(part.header, b"content-id")),
        nstring(headers.field(part.header, b"content-description")),
        string(part.encoding.upper().encode("latin-1")),
        b"%d" % (part.body_end - part.body_start),
    ]
    if inner is not None:
        fields += [envelope(inner), body_structure(inner, extended), b"%d" % part.lines]
    elif main == "text":
        fields.append(b"%d" % part.lines)
    if extended:
        fields += [nstring(headers.field(part.header, b"content-md5")), *_extension(part)]
    return b"(" + b" ".join(fields) + b")"


def _multipart(part: MimePart, extended: bool) -> bytes:
    out = b"(" + b"".join(body_structure(child, extended) for child in part.children)
    out += b" " + string(part.kind.partition("/")[2].upper().encode())
    if extended:
        out += b" " + b" ".join([_parameters(part.parameters), *_extension(part)])
    return out + b")"


def _shown_parameters(part: MimePart) -> tuple[tuple[str, str], ...]:
    if part.kind == "text/plain" and "charset" not in dict(part.parameters):
        return (("charset", "us-ascii"), *part.parameters)
    return part.parameters


def _parameters(parameters: tuple[tuple[str, str], ...]) -> bytes:
    if not parameters:
        return b"NIL"
    words = [string(text.encode("latin-1", "replace")) for pair in parameters for text in (pair[0].upper(), pair[1])]
    return b"(" + b" ".join(words) + b")"


def _extension(part: MimePart) -> list[bytes]:
    """
    Disposition, language, location.
    """
    disposition = headers.field(part.header, b"content-disposition")
    shown = b"NIL"
    if disposition is not None:
        kind = disposition.partition(b";")[0].strip().upper()
        shown = b"(%b %b)" % (string(kind), _parameters(headers.parameters(disposition)))
    return [
        shown,
        _languages(headers.field(part.header, b"content-language")),
        nstring(headers.field(part.header, b"content-location")),
    ]


def _languages(value: bytes | None) -> bytes:
    if value is None or b"," not in value:
        return nstring(value)
    return b"(" + b" ".join(string(each.strip()) for each in value.split(b",")[:100]) + b")"
