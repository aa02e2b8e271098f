"""
The commands of IMAP but for logging in and IDLE, which belong to the connection: what there is, and the few that need
neither folder nor message.

Each takes the session, the tag and the parser behind the command's name; it parses at once (a syntax error is answered
before anything is done) and returns a coroutine if it has to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from post import __version__
from post.front.imap import folders, listing, messages
from post.front.imap.grammar import Parser, Syntax
from post.front.imap.responses import string

if TYPE_CHECKING:
    from post.front.imap.server import ImapProtocol

Work = Coroutine[Any, Any, None]
IDENTITY_LIMIT = 30
"""Pairs that a client may say of itself (RFC 2971, 3.3)."""


@dataclass(frozen=True)
class CommandEntry:
    """
    A command, and what has to be the case for it.
    """

    run: Callable[[ImapProtocol, bytes, Parser], Work | None]
    needs_login: bool = True
    needs_folder: bool = False


def capability(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    CAPABILITY.
    """
    parser.end()
    session.write(b"* CAPABILITY " + session.capabilities() + b"\r\n")
    session.done(tag, b"That is all.")


def noop(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    NOOP and CHECK.
    """
    parser.end()
    session.done(tag, b"Nothing done.")


def logout(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    LOGOUT.
    """
    parser.end()
    session.write(b"* BYE Goodbye.\r\n" + tag + b" OK Goodbye.\r\n")
    session.leave()


def identify(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    ID (RFC 2971); what the client says of itself is not kept.
    """
    parser.space()
    if not parser.accept(b"NIL"):
        _pairs(parser)
    parser.end()
    session.write(b'* ID ("name" "POST" "version" %b)\r\n' % string(__version__.encode()))
    session.done(tag, b"Pleased to meet you.")


def _pairs(parser: Parser) -> None:
    parser.literally(b"(")
    count = 0
    while not parser.accept(b")"):
        if count:
            parser.space()
        parser.string()
        parser.space()
        if not parser.accept(b"NIL"):
            parser.string()
        count += 1
        if count > IDENTITY_LIMIT:
            raise Syntax("too much of that")


def enable(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    ENABLE (RFC 5161): there is nothing to be enabled yet.
    """
    while not parser.done:
        parser.space()
        parser.atom()
    session.write(b"* ENABLED\r\n")
    session.done(tag, b"Nothing of that needs to be.")


def namespace(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    NAMESPACE (RFC 2342): one's own folders and nobody else's.
    """
    parser.end()
    session.write(b'* NAMESPACE (("" "/")) NIL NIL\r\n')
    session.done(tag, b"That is all.")


ALL: dict[str, CommandEntry] = {
    "CAPABILITY": CommandEntry(capability, False),
    "NOOP": CommandEntry(noop, False),
    "LOGOUT": CommandEntry(logout, False),
    "ID": CommandEntry(identify, False),
    "ENABLE": CommandEntry(enable),
    "NAMESPACE": CommandEntry(namespace),
    "SELECT": CommandEntry(folders.select),
    "EXAMINE": CommandEntry(folders.examine),
    "CREATE": CommandEntry(folders.create),
    "DELETE": CommandEntry(folders.delete),
    "RENAME": CommandEntry(folders.rename),
    "SUBSCRIBE": CommandEntry(folders.subscribe),
    "UNSUBSCRIBE": CommandEntry(folders.unsubscribe),
    "LIST": CommandEntry(listing.list_folders),
    "LSUB": CommandEntry(listing.list_subscribed),
    "STATUS": CommandEntry(listing.status),
    "APPEND": CommandEntry(folders.append),
    "CHECK": CommandEntry(noop, True, True),
    "CLOSE": CommandEntry(folders.close, True, True),
    "UNSELECT": CommandEntry(folders.unselect, True, True),
    "EXPUNGE": CommandEntry(messages.expunge, True, True),
    "SEARCH": CommandEntry(messages.by_number(messages.search), True, True),
    "FETCH": CommandEntry(messages.by_number(messages.fetch_messages), True, True),
    "STORE": CommandEntry(messages.by_number(messages.store), True, True),
    "COPY": CommandEntry(messages.by_number(messages.copy), True, True),
    "MOVE": CommandEntry(messages.by_number(messages.move), True, True),
    "UID": CommandEntry(messages.uid, True, True),
}
