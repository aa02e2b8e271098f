"""
Commands that show folders: LIST, LSUB and STATUS (RFC 3501, 6.3.8 to 6.3.10; RFC 5258, 5819, 6154, 8438).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from post.front.imap.grammar import Parser, Syntax, decode_name, encode_name, matches
from post.front.imap.responses import string
from post.front.imap.session import mailbox_of
from post.mail.interfaces import SEPARATOR, FolderStatus

if TYPE_CHECKING:
    from post.front.imap.server import ImapProtocol

PATTERNS_LENGTH = 1000
"""Characters of all patterns of a LIST: each costs a little for each of thousands of folders."""
_RETURNS = ("SUBSCRIBED", "CHILDREN", "SPECIAL-USE", "STATUS")
_CHOICES = ("SUBSCRIBED", "SPECIAL-USE", "REMOTE", "RECURSIVEMATCH")


def list_folders(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    LIST, extended (RFC 5258, RFC 5819, RFC 6154).
    """
    parser.space()
    chosen: list[str] = []
    if parser.peek() == b"(":
        chosen = _words(parser, _CHOICES)
        parser.space()
    reference = parser.folder()
    parser.space()
    patterns = _patterns(parser)
    returned, items = _returned(parser)
    parser.end()
    if patterns == [""] and not chosen:
        session.write(b'* LIST (\\Noselect) "/" ""\r\n')
        session.done(tag, b"That is all.")
        return
    if "RECURSIVEMATCH" in chosen and not {"SUBSCRIBED", "SPECIAL-USE"} & set(chosen):
        raise Syntax("RECURSIVEMATCH of what?")
    folders = mailbox_of(session).folders()
    inner = _parents(folder.name for folder in folders)
    shown = [folder for folder in folders if any(_matches(folder.name, reference + pattern) for pattern in patterns)]
    selected = {folder.name for folder in folders if _is_selected(folder, chosen)}
    # Parents are shown for the sake of selected folders in them that are not shown themselves (RFC 5258, 3.5).
    hidden = selected - {folder.name for folder in shown} if "RECURSIVEMATCH" in chosen else set()
    above = _parents(hidden)
    criteria = b" ".join(string(word.encode()) for word in ("SUBSCRIBED", "SPECIAL-USE") if word in chosen)
    subscribed = "SUBSCRIBED" in chosen or "SUBSCRIBED" in returned
    lines = []
    for folder in shown:
        if folder.name in selected or folder.name in above:
            child_info = b' ("CHILDINFO" (%b))' % criteria if folder.name in above else b""
            lines.append(_listed(b"LIST", folder, folder.name in inner, subscribed, child_info))
            if items:
                lines.append(_status(folder, items))
    session.write(b"".join(lines))
    session.done(tag, b"That is all.")


def _is_selected(folder: FolderStatus, chosen: Sequence[str]) -> bool:
    return ("SUBSCRIBED" not in chosen or folder.subscribed) and (
        "SPECIAL-USE" not in chosen or folder.special_use != ""
    )


def _parents(names: Iterable[str]) -> set[str]:
    """
    Of each name, the names of all folders that it is in.
    """
    found: set[str] = set()
    for name in names:
        while SEPARATOR in name:
            name = name.rpartition(SEPARATOR)[0]
            found.add(name)
    return found


def _matches(name: str, pattern: str) -> bool:
    """
    Whether C{pattern} matches; INBOX, and as a parent too, is matched in any case of letters.
    """
    first, separator, rest = pattern.partition(SEPARATOR)
    if name.partition(SEPARATOR)[0] == "INBOX" and matches(name, first.upper() + separator + rest):
        return True
    return matches(name, pattern)


def _patterns(parser: Parser) -> list[str]:
    if not parser.accept(b"("):
        return [_pattern(parser)]
    found = [_pattern(parser)]
    while not parser.accept(b")"):
        parser.space()
        found.append(_pattern(parser))
        if sum(len(each) + 1 for each in found) > PATTERNS_LENGTH:
            raise Syntax("patterns of that length")
    return found


def _pattern(parser: Parser) -> str:
    pattern = decode_name(parser.pattern())
    if len(pattern) > PATTERNS_LENGTH:
        raise Syntax("a pattern of that length")
    return pattern


def _words(parser: Parser, known: Sequence[str]) -> list[str]:
    parser.literally(b"(")
    found: list[str] = []
    while not parser.accept(b")"):
        if found:
            parser.space()
        found.append(parser.atom().upper())
        if found[-1] not in known:
            raise Syntax(f"{found[-1]} is not known")
    return found


def _returned(parser: Parser) -> tuple[list[str], list[str]]:
    if not parser.accept(b" RETURN ("):
        return [], []
    found: list[str] = []
    items: list[str] = []
    while not parser.accept(b")"):
        if found:
            parser.space()
        found.append(parser.atom().upper())
        if found[-1] not in _RETURNS:
            raise Syntax(f"{found[-1]} is not known")
        if found[-1] == "STATUS":
            parser.space()
            items = _words(parser, tuple(_STATUS))
    return found, items


def list_subscribed(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    LSUB.
    """
    parser.space()
    reference = parser.folder()
    parser.space()
    pattern = reference + _pattern(parser)
    parser.end()
    folders = [folder for folder in mailbox_of(session).folders() if folder.subscribed]
    inner = _parents(folder.name for folder in folders)
    lines = {
        folder.name: _listed(b"LSUB", folder, folder.name in inner, False)
        for folder in folders
        if _matches(folder.name, pattern)
    }
    if "%" in pattern:
        # A folder that is not subscribed, but has subscribed ones in it that the pattern misses (RFC 3501, 6.3.9).
        for name in _parents(folder.name for folder in folders if folder.name not in lines) - lines.keys():
            if _matches(name, pattern):
                lines[name] = b'* LSUB (\\Noselect) "/" %b\r\n' % string(encode_name(name))
    session.write(b"".join(lines[name] for name in sorted(lines)))
    session.done(tag, b"That is all.")


def _listed(word: bytes, folder: FolderStatus, inferiors: bool, subscribed: bool, more: bytes = b"") -> bytes:
    attributes = ["\\HasChildren" if inferiors else "\\HasNoChildren"]
    if folder.special_use:
        attributes.append(folder.special_use)
    if subscribed and folder.subscribed:
        attributes.append("\\Subscribed")
    name = string(encode_name(folder.name))
    return b'* %b (%b) "/" %b%b\r\n' % (word, " ".join(attributes).encode(), name, more)


_STATUS: dict[str, Callable[[FolderStatus], int]] = {
    "MESSAGES": lambda folder: folder.messages,
    "RECENT": lambda folder: 0,
    "UIDNEXT": lambda folder: folder.uid_next,
    "UIDVALIDITY": lambda folder: folder.uid_validity,
    "UNSEEN": lambda folder: folder.unseen,
    "SIZE": lambda folder: folder.size,
}


def status(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    STATUS.
    """
    parser.space()
    name = parser.folder()
    parser.space()
    items = _words(parser, tuple(_STATUS))
    parser.end()
    if not items:
        raise Syntax("status of what?")
    named = mailbox_of(session).folder(name).name
    for folder in mailbox_of(session).folders():
        if folder.name == named:
            session.write(_status(folder, items))
    session.done(tag, b"That is all.")


def _status(folder: FolderStatus, items: Sequence[str]) -> bytes:
    shown = " ".join(f"{item} {_STATUS[item](folder)}" for item in items)
    return b"* STATUS %b (%b)\r\n" % (string(encode_name(folder.name)), shown.encode())
