"""
Header fields from raw octets: found by name, unfolded, and their addresses.  Pure, linear, and never surprised.

(RFC 5322.)  Nothing is decoded that need not be: an encoded word stays as it is, and an octet beyond ASCII too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

ADDRESSES_LIMIT = 1000
"""Addresses read from one field; more are passed over."""

_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")
_ENDS = re.compile(rb"\r?\n(?![ \t])")
_FOLD = re.compile(rb"\r?\n(?=[ \t])")


@dataclass(frozen=True, slots=True)
class Address:
    """
    One address of a field: display name, local part and domain.  The start of a group has C{domain} None and its name
    in C{local}; the end of a group has both None.
    """

    name: bytes | None
    local: bytes | None
    domain: bytes | None


def raw_fields(header: bytes) -> Iterator[tuple[bytes, bytes]]:
    """
    Each field as (lower-case name, whole octets with line ends).  A line that is no field has the name C{b""}.
    """
    for name, start, end in spans(header):
        yield name, header[start:end]


def spans(header: bytes) -> Iterator[tuple[bytes, int, int]]:
    """
    The same as (lower-case name, start, end).
    """
    start = 0
    while start < len(header):
        found = _ENDS.search(header, start)
        end = found.end() if found else len(header)
        line = header[start:end]
        if line.strip(b"\r\n"):
            match = _FIELD.match(line)
            yield (match.group(1).lower() if match else b""), start, end
        start = end


def field(header: bytes, name: bytes, only: bool = False) -> bytes | None:
    """
    The value of the first field C{name} (lower case), unfolded; C{None} if there is none, or, with C{only}, several.
    """
    values = all_fields(header, name)
    first = next(values, None)
    if only and next(values, None) is not None:
        return None
    return first


def all_fields(header: bytes, name: bytes) -> Iterator[bytes]:
    """
    The values of all fields C{name} (lower case), unfolded.
    """
    for found, line in raw_fields(header):
        if found == name:
            yield _FOLD.sub(b"", line.partition(b":")[2]).strip()


_TOKEN = re.compile(
    rb"[ \t\r\n]+"
    rb'|(?P<quoted>"(?:[^"\\]|\\.)*"?)'
    rb"|(?P<literal>\[[^\]]*\]?)"
    rb"|(?P<special>[<>,;:@.])"
    rb"|(?P<comment>\()"
    rb'|(?P<atom>[^ \t\r\n"\[<>,;:@.(]+)',
    re.DOTALL,
)


def _tokens(value: bytes) -> Iterator[tuple[str, bytes]]:
    position = 0
    while position < len(value):
        match = _TOKEN.match(value, position)
        if match is None:  # A bare ")" cannot happen (it is an atom); nothing else is left out.
            position += 1
            continue
        position = match.end()
        kind = match.lastgroup
        if kind == "comment":
            end = _comment_end(value, position)
            yield "comment", value[position : end - 1]
            position = end
        elif kind == "quoted":
            yield "quoted", re.sub(rb"\\(.)", rb"\1", match.group()[1:].removesuffix(b'"'), flags=re.DOTALL)
        elif kind is not None:
            yield kind, match.group()


def _comment_end(value: bytes, position: int) -> int:
    depth = 1
    while position < len(value) and depth:
        character = value[position : position + 1]
        if character == b"\\":
            position += 1
        elif character == b"(":
            depth += 1
        elif character == b")":
            depth -= 1
        position += 1
    return position


class _Reader:
    """
    Reads one address list, token by token.
    """

    def __init__(self) -> None:
        self.found: list[Address] = []
        self._words: list[bytes] = []
        self._comment: bytes | None = None
        self._angle: list[tuple[str, bytes]] | None = None
        self._plain: list[tuple[str, bytes]] = []
        self._closed: list[tuple[str, bytes]] | None = None
        self._in_group = False

    def feed(self, kind: str, text: bytes) -> None:
        if kind == "comment":
            self._comment = text
        elif self._angle is not None:
            if text == b">" and kind == "special":
                self._closed, self._angle = self._angle, None
            else:
                self._angle.append((kind, text))
        elif kind == "special" and text == b"<":
            self._angle = []
        elif kind == "special" and text == b",":
            self.end()
        elif kind == "special" and text == b":" and not self._in_group:
            self.found.append(Address(None, _joined(self._plain, b" "), None))
            self._in_group = True
            self._reset()
        elif kind == "special" and text == b";" and self._in_group:
            self.end()
            self.found.append(Address(None, None, None))
            self._in_group = False
        else:
            self._plain.append((kind, text))

    def end(self) -> None:
        """
        One address is complete.
        """
        if self._angle is not None:
            self._closed = self._angle
        if self._closed is not None:
            name = _phrase(self._plain)
            self._add(self._closed, name if name is not None else self._comment)
        elif self._plain:
            self._add(self._plain, self._comment)
        self._reset()

    def _add(self, tokens: list[tuple[str, bytes]], name: bytes | None) -> None:
        ats = [index for index, token in enumerate(tokens) if token == ("special", b"@")]
        colons = [index for index, token in enumerate(tokens) if token == ("special", b":")]
        if colons and ats and ats[0] < colons[-1]:
            tokens = tokens[colons[-1] + 1 :]  # An obsolete route before the address.
            ats = [index for index, token in enumerate(tokens) if token == ("special", b"@")]
        if ats:
            local, domain = _joined(tokens[: ats[-1]]), _joined(tokens[ats[-1] + 1 :])
        else:
            local, domain = _joined(tokens), b""
        if local or domain:
            self.found.append(Address(name, local, domain))

    def _reset(self) -> None:
        self._plain, self._angle, self._closed, self._comment = [], None, None, None

    def finish(self) -> list[Address]:
        self.end()
        if self._in_group:
            self.found.append(Address(None, None, None))
        return self.found


def _joined(tokens: list[tuple[str, bytes]], separator: bytes = b"") -> bytes:
    return separator.join(text for _, text in tokens)


def _phrase(tokens: list[tuple[str, bytes]]) -> bytes | None:
    """
    A display name: words with single spaces, but none before a dot (obsolete phrases have them).
    """
    out = b""
    for kind, text in tokens:
        out += (b"" if not out or (kind == "special") else b" ") + text
    return out or None


def address_list(value: bytes) -> list[Address]:
    """
    The addresses of a field's value, in order, group marks included.
    """
    reader = _Reader()
    for kind, text in _tokens(value):
        reader.feed(kind, text)
        if len(reader.found) >= ADDRESSES_LIMIT:
            break
    return reader.finish()


def results_host(value: bytes) -> str:
    """
    Which host an Authentication-Results field says it is from (RFC 8601, 2.2), in lower case.
    """
    named = b""
    for kind, text in _tokens(value):
        if (kind, text) == ("special", b";"):
            break
        if kind != "comment":
            named += text
    # Followed by a version, perhaps.
    return named.decode("latin-1").lower().rstrip("0123456789.")


def claims_results_of(value: bytes, domain: str) -> bool:
    """
    Whether an Authentication-Results field says that a host of C{domain} has found what it says (RFC 8601, 2.2).
    """
    host, own = results_host(value), domain.lower().rstrip("0123456789.")
    return host == own or host.endswith("." + own)


def addresses(value: bytes) -> list[str]:
    """
    The plain C{local@domain} of each address.
    """
    return [
        (each.local + b"@" + each.domain).decode("utf-8", "replace")
        for each in address_list(value)
        if each.local is not None and each.domain is not None
    ]


_MEDIA = re.compile(rb"[ \t]*([!#-'*+.0-9A-Z^-~-]+)[ \t]*/[ \t]*([!#-'*+.0-9A-Z^-~-]+)[ \t]*(?:;|$|\()", re.I)
_PARAMETER = re.compile(
    rb'([!#-$&-\'*+.0-9A-Z^-~-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"?|([^ \t\r\n;"()]*))', re.I | re.DOTALL
)
_SEPARATORS = re.compile(rb"[ \t\r\n;]+")
PARAMETERS_LIMIT = 64


def media_type(value: bytes) -> tuple[str, tuple[tuple[str, str], ...]] | None:
    """
    The type and parameters of a Content-Type (RFC 2045, 5.1), the type in lower case; C{None} if it is none.
    """
    match = _MEDIA.match(value)
    if match is None:
        return None
    kind = f"{match.group(1).decode().lower()}/{match.group(2).decode().lower()}"
    return kind, parameters(value[match.end() - 1 :])


def parameters(value: bytes) -> tuple[tuple[str, str], ...]:
    """
    The C{; name=value} pairs of C{value}, names in lower case, values with octets beyond ASCII kept (latin-1).
    """
    found: list[tuple[str, str]] = []
    position = value.find(b";")
    while 0 <= position < len(value) and len(found) < PARAMETERS_LIMIT:
        # By itself, so that a value of nothing but separators is passed over once and not from each of them anew.
        separators = _SEPARATORS.match(value, position)
        position = separators.end() if separators else position
        match = _PARAMETER.match(value, position)
        if match is None:
            position = value.find(b";", position)
            continue
        quoted, plain = match.group(2), match.group(3)
        text = re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL) if quoted is not None else plain
        found.append((match.group(1).decode("latin-1").lower(), text.decode("latin-1")))
        position = value.find(b";", match.end())
    return tuple(found)
