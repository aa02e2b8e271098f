"""
Names of folders, here and in files (pure).

Here a name is text, with C{"/"} between its levels.  Maildir++ has one directory for each folder, C{".Work.2026"}, in
the modified UTF-7 of IMAP (RFC 3501, 5.1.3).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode

SEPARATOR = "/"

_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_AWAY = re.compile(r"[^\x20-\x7e]+")


def from_utf7(name: str) -> str:
    """
    A name in modified UTF-7 as text.  What is not of that form is taken for text already: not every program codes it.
    """
    try:
        decoded = _SHIFTED.sub(lambda match: _unshift(match[1]), name)
    except (ValueError, binascii.Error):
        return name
    return name if "&" in _SHIFTED.sub("", name) else decoded


def _unshift(coded: str) -> str:
    if not coded:
        return "&"
    return b64decode(coded.replace(",", "/") + "=" * (-len(coded) % 4), validate=True).decode("utf-16-be")


def to_utf7(name: str, also: str = "") -> str:
    """
    Text in modified UTF-7; the characters in C{also} are coded too.
    """
    coded = re.compile(f"(?:[^\\x20-\\x7e]|[{re.escape(also)}])+") if also else _AWAY
    parts = _split(coded, name)
    return "".join(
        part.replace("&", "&-") if index % 2 == 0 else f"&{_shift(part)}-" for index, part in enumerate(parts)
    )


def _split(pattern: re.Pattern[str], text: str) -> list[str]:
    """
    What does not match, what does, what does not, and so on.
    """
    parts, end = [], 0
    for match in pattern.finditer(text):
        parts += [text[end : match.start()], match[0]]
        end = match.end()
    return [*parts, text[end:]]


def _shift(text: str) -> str:
    return b64encode(text.encode("utf-16-be")).decode().rstrip("=").replace("/", ",")


def from_levels(levels: list[str]) -> str:
    """
    The name with these levels; a C{"/"} in one of them becomes C{"_"}, since none can have it here.
    """
    return SEPARATOR.join(level.replace(SEPARATOR, "_") for level in levels)


def from_maildir(directory: str) -> str:
    """
    The folder that Maildir++ has in C{directory}, such as C{".Work.2026"}; the Inbox is at the top.
    """
    return from_levels([from_utf7(level) for level in directory.lstrip(".").split(".")]) or "INBOX"


def to_maildir(name: str) -> str:
    """
    Where Maildir++ has the folder C{name}; C{""} for the Inbox.  A dot is coded, because it stands between levels.
    """
    if name == "INBOX":
        return ""
    return "".join(f".{to_utf7(level, also='.')}" for level in name.split(SEPARATOR))


def to_file(name: str) -> str:
    """
    A path for the folder C{name}, whose levels are safe as names of files: none is hidden, leads elsewhere, or looks
    like an mbox.
    """
    levels = []
    for level in name.split(SEPARATOR):
        coded = to_utf7(level, also="\\:")
        for end in (".mbox", ".sbd"):
            coded = f"{coded[: -len(end)]}&AC4-{end[1:]}" if coded.endswith(end) else coded
        levels.append(f"&AC4-{coded[1:]}" if coded.startswith(".") else coded)
    return SEPARATOR.join(levels)
