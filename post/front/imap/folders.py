"""
Commands that open, make and change folders, and APPEND, which fills them (RFC 3501, 6.3 and 6.4.2).
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from post.errors import PostError
from post.front.imap.grammar import SYSTEM_FLAGS, Parser, Syntax
from post.front.imap.session import flag_list, folder_of, mailbox_of
from post.mail.interfaces import MessageTooLarge, NoSuchFolder

if TYPE_CHECKING:
    from post.front.imap.server import ImapProtocol

Work = Coroutine[Any, Any, None]
USES = ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash")


def select(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    SELECT.
    """
    _select(session, tag, parser, False)


def examine(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    EXAMINE.
    """
    _select(session, tag, parser, True)


def _select(session: ImapProtocol, tag: bytes, parser: Parser, read_only: bool) -> None:
    parser.space()
    name = parser.folder()
    parser.end()
    session.close_folder()
    try:
        folder = mailbox_of(session).folder(name)
    except NoSuchFolder:
        session.write(tag + b" NO [NONEXISTENT] There is no such folder.\r\n")
        return
    entries = folder.entries()
    session.open_folder(folder, entries, read_only)
    keywords = frozenset(flag for entry in entries for flag in entry.flags)
    lasting = b"()" if read_only else flag_list(SYSTEM_FLAGS | keywords)[:-1] + b" \\*)"
    unseen = next((number for number, entry in enumerate(entries, 1) if "\\Seen" not in entry.flags), None)
    lines = [
        b"* FLAGS " + flag_list(SYSTEM_FLAGS | keywords),
        b"* OK [PERMANENTFLAGS %b] These last." % lasting,
        b"* %d EXISTS" % len(entries),
        b"* 0 RECENT",
        *([b"* OK [UNSEEN %d] The first unseen." % unseen] if unseen else []),
        b"* OK [UIDVALIDITY %d] UIDs are valid." % folder.uid_validity,
        b"* OK [UIDNEXT %d] The next UID." % folder.uid_next,
        tag + (b" OK [READ-ONLY] Selected." if read_only else b" OK [READ-WRITE] Selected."),
    ]
    session.write(b"\r\n".join(lines) + b"\r\n")


def close(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    CLOSE.
    """
    parser.end()

    async def work() -> None:
        folder = folder_of(session)
        if not session.read_only:
            await folder.expunge([entry.uid for entry in folder.entries() if "\\Deleted" in entry.flags])
        session.close_folder()
        session.done(tag, b"Closed.")

    return work()


def unselect(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    UNSELECT (RFC 3691).
    """
    parser.end()
    session.close_folder()
    session.done(tag, b"Closed.")


def create(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    CREATE, with USE (RFC 6154).
    """
    parser.space()
    name, use = parser.folder(), ""
    if parser.accept(b" (USE ("):
        use = parser.use()
        parser.literally(b"))")
    parser.end()

    async def work() -> None:
        taken = {folder.special_use for folder in mailbox_of(session).folders()}
        if use and (use not in USES or use in taken):
            session.write(tag + b" NO [USEATTR] No folder can be given that use now.\r\n")
            return
        await mailbox_of(session).create(name, use)
        session.done(tag, b"Created.")

    return work()


def delete(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    DELETE.  Deleting the selected folder closes it.
    """
    parser.space()
    name = parser.folder()
    parser.end()

    async def work() -> None:
        selected = session.folder
        own = selected is not None and selected.name == mailbox_of(session).folder(name).name
        if selected is not None and own:
            selected.unlisten(session)  # Whoever deletes it need not be told that it is gone.
        try:
            await mailbox_of(session).delete(name)
        except PostError:
            if selected is not None and own and session.folder is selected:
                selected.listen(session)
                session.touch()
            raise
        if own:
            session.close_folder()
        session.done(tag, b"Deleted.")

    return work()


def rename(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    RENAME.
    """
    parser.space()
    old = parser.folder()
    parser.space()
    new = parser.folder()
    parser.end()
    return _then(session, tag, mailbox_of(session).rename(old, new), b"Renamed.")


def subscribe(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    SUBSCRIBE.
    """
    parser.space()
    name = parser.folder()
    parser.end()
    return _then(session, tag, mailbox_of(session).subscribe(name, True), b"Subscribed.")


def unsubscribe(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    UNSUBSCRIBE.
    """
    parser.space()
    name = parser.folder()
    parser.end()
    return _then(session, tag, mailbox_of(session).subscribe(name, False), b"No longer subscribed.")


async def _then(session: ImapProtocol, tag: bytes, work: Work, words: bytes) -> None:
    await work
    session.touch()  # Renaming INBOX, for one, empties it.
    session.done(tag, words)


def append(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    APPEND.
    """
    parser.space()
    name = parser.folder()
    parser.space()
    flags: frozenset[str] = frozenset()
    date = None
    if parser.peek() == b"(":
        flags = parser.flags()
        parser.space()
    if parser.peek() == b'"':
        date = parser.date_time()
        parser.space()
    message = parser.octets()
    parser.end()
    if message.find(b"\0") >= 0:
        raise Syntax("a literal cannot hold NUL")

    async def work() -> None:
        if len(message) > session.factory.size_limit:
            raise MessageTooLarge("over the limit")
        try:
            validity, uid = await mailbox_of(session).append(name, message, flags - {"\\Recent"}, date)
        except NoSuchFolder:
            session.write(tag + b" NO [TRYCREATE] There is no such folder.\r\n")
            return
        session.touch()
        session.done(tag, b"[APPENDUID %d %d] Kept by the ring." % (validity, uid))

    return work()
