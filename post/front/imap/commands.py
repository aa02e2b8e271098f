"""
The commands of IMAP but for logging in and IDLE, which belong to the connection.

Each takes the session, the tag and the parser behind the command's name; it parses at once (a syntax error is answered
before anything is done) and returns a coroutine if it has to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from post import __version__
from post.errors import Unreachable
from post.front.imap import fetch
from post.front.imap.grammar import Parser, SequenceSet, Syntax, encode_name, matches
from post.front.imap.responses import string
from post.front.imap.search import SearchParser, Subject, holds
from post.front.imap.session import flag_list
from post.mail.interfaces import (
    SEPARATOR,
    Copied,
    Entry,
    FolderStatus,
    IFolder,
    IMailbox,
    MessageTooLarge,
    MessageUnavailable,
    NoSuchFolder,
)
from post.tasks import gather

if TYPE_CHECKING:
    from post.front.imap.server import ImapProtocol

Work = Coroutine[Any, Any, None]
SYSTEM_FLAGS = frozenset({"\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft"})
BATCH = 16
"""Messages whose octets are fetched from the ring at once."""
BATCH_BYTES = 256 * 1024
WRITE_BYTES = 64 * 1024


@dataclass(frozen=True)
class CommandEntry:
    """
    A command, and what has to be the case for it.
    """

    run: Callable[[ImapProtocol, bytes, Parser], Work | None]
    needs_login: bool = True
    needs_folder: bool = False


def _mailbox(session: ImapProtocol) -> IMailbox:
    assert session.mailbox is not None
    return session.mailbox


def _folder(session: ImapProtocol) -> IFolder:
    assert session.folder is not None
    return session.folder


# In any state.


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
    session.write(b'* ID ("name" "POST" "version" %b)\r\n' % string(__version__.encode()))
    session.done(tag, b"Pleased to meet you.")


def enable(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    ENABLE (RFC 5161): there is nothing to be enabled yet.
    """
    session.write(b"* ENABLED\r\n")
    session.done(tag, b"Nothing of that needs to be.")


def namespace(session: ImapProtocol, tag: bytes, parser: Parser) -> None:
    """
    NAMESPACE (RFC 2342): one's own folders and nobody else's.
    """
    parser.end()
    session.write(b'* NAMESPACE (("" "/")) NIL NIL\r\n')
    session.done(tag, b"That is all.")


# Folders.


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
        folder = _mailbox(session).folder(name)
    except NoSuchFolder:
        session.write(tag + b" NO [NONEXISTENT] There is no such folder.\r\n")
        return
    session.open_folder(folder, read_only)
    entries = folder.entries()
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
        folder, read_only = _folder(session), session.read_only
        session.close_folder()
        if not read_only:
            await folder.expunge([entry.uid for entry in folder.entries() if "\\Deleted" in entry.flags])
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
        use = parser.flag()
        parser.literally(b"))")
        if use not in ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash"):
            raise Syntax("that use is not known")
    parser.end()
    return _then(session, tag, _mailbox(session).create(name, use), b"Created.")


def delete(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    DELETE.
    """
    parser.space()
    name = parser.folder()
    parser.end()

    async def work() -> None:
        if session.folder is not None and session.folder.name == name:
            session.close_folder()
        await _mailbox(session).delete(name)
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
    return _then(session, tag, _mailbox(session).rename(old, new), b"Renamed.")


def subscribe(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    SUBSCRIBE.
    """
    parser.space()
    name = parser.folder()
    parser.end()
    return _then(session, tag, _mailbox(session).subscribe(name, True), b"Subscribed.")


def unsubscribe(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    UNSUBSCRIBE.
    """
    parser.space()
    name = parser.folder()
    parser.end()
    return _then(session, tag, _mailbox(session).subscribe(name, False), b"No longer subscribed.")


async def _then(session: ImapProtocol, tag: bytes, work: Work, words: bytes) -> None:
    await work
    session.done(tag, words)


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
    folders = _mailbox(session).folders()
    lines = []
    for folder in folders:
        wanted = any(_matches(folder.name, reference + pattern) for pattern in patterns)
        wanted = wanted and ("SUBSCRIBED" not in chosen or folder.subscribed)
        if wanted and ("SPECIAL-USE" not in chosen or folder.special_use):
            shown = "SUBSCRIBED" in chosen or "SUBSCRIBED" in returned
            lines.append(_listed(b"LIST", folder, folders, shown and folder.subscribed))
            if items:
                lines.append(_status(folder, items))
    session.write(b"".join(lines))
    session.done(tag, b"That is all.")


def _matches(name: str, pattern: str) -> bool:
    if pattern[:5].upper() == "INBOX" and (len(pattern) == 5 or pattern[5] in "/*%"):
        pattern = "INBOX" + pattern[5:]
    return matches(name, pattern)


def _patterns(parser: Parser) -> list[str]:
    if not parser.accept(b"("):
        return [_pattern(parser)]
    found = [_pattern(parser)]
    while not parser.accept(b")"):
        parser.space()
        found.append(_pattern(parser))
        if len(found) > 100:
            raise Syntax("too many patterns")
    return found


def _pattern(parser: Parser) -> str:
    from post.front.imap.grammar import decode_name

    pattern = decode_name(parser.pattern())
    if len(pattern) > 1000:
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
    folders = _mailbox(session).folders()
    found = [folder for folder in folders if folder.subscribed and _matches(folder.name, pattern)]
    session.write(b"".join(_listed(b"LSUB", folder, folders, False) for folder in found))
    session.done(tag, b"That is all.")


def _listed(word: bytes, folder: FolderStatus, folders: Sequence[FolderStatus], subscribed: bool) -> bytes:
    inferior = any(other.name.startswith(folder.name + SEPARATOR) for other in folders)
    attributes = ["\\HasChildren" if inferior else "\\HasNoChildren"]
    if folder.special_use:
        attributes.append(folder.special_use)
    if subscribed:
        attributes.append("\\Subscribed")
    return b'* %b (%b) "/" %b\r\n' % (word, " ".join(attributes).encode(), string(encode_name(folder.name)))


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
    named = "INBOX" if name.upper() == "INBOX" else name
    for folder in _mailbox(session).folders():
        if folder.name == named:
            session.write(_status(folder, items))
            session.done(tag, b"That is all.")
            return
    session.write(tag + b" NO [NONEXISTENT] There is no such folder.\r\n")


def _status(folder: FolderStatus, items: Sequence[str]) -> bytes:
    shown = " ".join(f"{item} {_STATUS[item](folder)}" for item in items)
    return b"* STATUS %b (%b)\r\n" % (string(encode_name(folder.name)), shown.encode())


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

    async def work() -> None:
        if len(message) > session.factory.size_limit:
            raise MessageTooLarge("over the limit")
        try:
            validity, uid = await _mailbox(session).append(name, message, flags - {"\\Recent"}, date)
        except NoSuchFolder:
            session.write(tag + b" NO [TRYCREATE] There is no such folder.\r\n")
            return
        session.done(tag, b"[APPENDUID %d %d] Kept by the ring." % (validity, uid))

    return work()


# Messages.


def _chosen(session: ImapProtocol, wanted: SequenceSet, by_uid: bool) -> list[int]:
    """
    The UIDs that a sequence set names.

    @raise Syntax: for a sequence number beyond the last.
    """
    assert session.view is not None
    uids = session.view.uids
    if by_uid:
        return wanted.among(uids)
    return [uids[number - 1] for number in wanted.among(range(1, len(uids) + 1))]


def _fetch(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool) -> Work:
    parser.space()
    wanted = parser.sequence_set()
    parser.space()
    items = fetch.parse_items(parser)
    parser.end()
    if by_uid and "UID" not in items:
        items = ["UID", *items]
    return _fetching(session, tag, _chosen(session, wanted, by_uid), items, by_uid)


async def _fetching(session: ImapProtocol, tag: bytes, uids: list[int], items: list[fetch.Item], by_uid: bool) -> None:
    folder = _folder(session)
    if fetch.sets_seen(items) and not session.read_only:
        unseen = [uid for uid in uids if (entry := folder.entry(uid)) is not None and "\\Seen" not in entry.flags]
        if unseen:
            await folder.store(unseen, frozenset({"\\Seen"}), frozenset())
            session.touch()
            items = items if "FLAGS" in items else [*items, "FLAGS"]
    failed = await (_send_contents if fetch.needs_content(items) else _send_known)(session, folder, uids, items)
    if failed:
        session.tell(by_uid)
        session.write(tag + b" NO [UNAVAILABLE] %d messages cannot be had from the ring now.\r\n" % failed)
    else:
        session.done(tag, b"Fetched.", may_expunge=by_uid)


async def _send_known(session: ImapProtocol, folder: IFolder, uids: list[int], items: list[fetch.Item]) -> int:
    assert session.view is not None
    out: list[bytes] = []
    size = 0
    for uid in uids:
        entry = folder.entry(uid)
        if entry is None:
            continue
        answer = b" ".join(fetch.known(str(item), entry) for item in items)
        out.append(b"* %d FETCH (%b)\r\n" % (_number(session, entry, items), answer))
        size += len(out[-1])
        if size > WRITE_BYTES:
            session.write(b"".join(out))
            out, size = [], 0
            await session.drained()
    session.write(b"".join(out))
    return 0


def _number(session: ImapProtocol, entry: Entry, items: list[fetch.Item]) -> int:
    assert session.view is not None
    if "FLAGS" in items:
        session.view.tell(entry.uid, entry.flags)
    return session.view.number(entry.uid)


async def _send_contents(session: ImapProtocol, folder: IFolder, uids: list[int], items: list[fetch.Item]) -> int:
    """
    Small messages several at a time, large ones one by one and in pieces.  Returns how many could not be had.
    """
    failed = 0
    batch: list[Entry] = []
    size = 0
    whole = any(isinstance(item, fetch.Section) for item in items)
    for uid in [*uids, 0]:
        entry = folder.entry(uid) if uid else None
        large = entry is not None and whole and entry.size > BATCH_BYTES // 2
        if batch and (not uid or large or len(batch) >= BATCH or size > BATCH_BYTES):
            answers = await gather(_small(folder, each, items) for each in batch)
            failed += answers.count(b"")
            for each, answer in zip(batch, answers, strict=True):
                if answer:
                    session.write(b"* %d FETCH (%b)\r\n" % (_number(session, each, items), answer))
            await session.drained()
            batch, size = [], 0
        if large and entry is not None:
            failed += not await _large(session, folder, entry, items)
        elif entry is not None:
            batch.append(entry)
            size += entry.size if whole else 0
    return failed


async def _small(folder: IFolder, entry: Entry, items: list[fetch.Item]) -> bytes:
    try:
        return b"".join([piece async for piece in fetch.answer(items, entry, folder.content(entry.uid))])
    except MessageUnavailable:
        return b""


async def _large(session: ImapProtocol, folder: IFolder, entry: Entry, items: list[fetch.Item]) -> bool:
    begun = False
    try:
        async for piece in fetch.answer(items, entry, folder.content(entry.uid)):
            head = b"" if begun else b"* %d FETCH (" % _number(session, entry, items)
            begun = True
            session.write(head + piece)
            await session.drained()
    except MessageUnavailable:
        if begun:
            # A literal has been announced that cannot be completed: better no connection than a lie.
            session.drop()
            raise Unreachable("octets of a message") from None
        return False
    session.write(b")\r\n")
    return True


def _store(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool) -> Work:
    parser.space()
    wanted = parser.sequence_set()
    parser.space()
    sign = "+" if parser.accept(b"+") else "-" if parser.accept(b"-") else ""
    parser.literally(b"FLAGS")
    silent = parser.accept(b".SILENT")
    parser.space()
    flags = parser.flags() if parser.peek() == b"(" else _bare_flags(parser)
    parser.end()
    uids = _chosen(session, wanted, by_uid)

    async def work() -> None:
        if session.read_only:
            session.write(tag + b" NO [CANNOT] The folder is open for reading only.\r\n")
            return
        folder = _folder(session)
        kept = flags - {"\\Recent"}
        if sign == "+":
            await folder.store(uids, kept, frozenset())
        elif sign == "-":
            await folder.store(uids, frozenset(), kept)
        else:
            await folder.replace(uids, kept)
        session.touch()
        if not silent:
            await _send_known(session, folder, uids, ["UID", "FLAGS"] if by_uid else ["FLAGS"])
        session.done(tag, b"Stored.", may_expunge=by_uid, quiet=frozenset(uids))

    return work()


def _bare_flags(parser: Parser) -> frozenset[str]:
    found = {parser.flag()}
    while not parser.done:
        parser.space()
        found.add(parser.flag())
    return frozenset(found)


def _copy(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool, move: bool) -> Work:
    parser.space()
    wanted = parser.sequence_set()
    parser.space()
    target = parser.folder()
    parser.end()
    uids = _chosen(session, wanted, by_uid)

    async def work() -> None:
        if move and session.read_only:
            session.write(tag + b" NO [CANNOT] The folder is open for reading only.\r\n")
            return
        folder = _folder(session)
        try:
            copied = await (folder.move if move else folder.copy)(uids, target)
        except NoSuchFolder:
            session.write(tag + b" NO [TRYCREATE] There is no such folder.\r\n")
            return
        session.touch()
        code = _copy_code(copied)
        if move and code:
            session.write(b"* OK %b Moved.\r\n" % code)
            code = b""
        session.done(tag, (code + b" " if code else b"") + b"Done.", may_expunge=True)

    return work()


def _copy_code(copied: Copied) -> bytes:
    if not copied.source:
        return b""
    return b"[COPYUID %d %b %b]" % (copied.uid_validity, _ranges(copied.source), _ranges(copied.target))


def _ranges(uids: Sequence[int]) -> bytes:
    """
    UIDs in the order given, runs as ranges.
    """
    out: list[str] = []
    index = 0
    while index < len(uids):
        end = index
        while end + 1 < len(uids) and uids[end + 1] == uids[end] + 1:
            end += 1
        out.append(f"{uids[index]}:{uids[end]}" if end > index else str(uids[index]))
        index = end + 1
    return ",".join(out).encode()


def expunge(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    EXPUNGE.
    """
    parser.end()
    assert session.view is not None
    return _expunging(session, tag, list(session.view.uids))


async def _expunging(session: ImapProtocol, tag: bytes, uids: list[int]) -> None:
    if session.read_only:
        session.write(tag + b" NO [CANNOT] The folder is open for reading only.\r\n")
        return
    folder = _folder(session)
    deleted = [uid for uid in uids if (entry := folder.entry(uid)) is not None and "\\Deleted" in entry.flags]
    await folder.expunge(deleted)
    session.touch()
    session.done(tag, b"Expunged.")


def _search(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool) -> Work:
    parser.space()
    assert session.view is not None
    test = SearchParser(parser, list(session.view.uids)).parse()

    async def work() -> None:
        folder, view = _folder(session), session.view
        assert view is not None
        found: list[int] = []
        for uid in list(view.uids):
            entry = folder.entry(uid)
            if entry is not None and await holds(test, Subject(entry, folder.content(uid))):
                found.append(uid if by_uid else view.number(uid))
        session.write(b"* SEARCH" + b"".join(b" %d" % number for number in found) + b"\r\n")
        session.done(tag, b"That is all.", may_expunge=by_uid)

    return work()


def _by_number(
    run: Callable[[ImapProtocol, bytes, Parser, bool], Work],
) -> Callable[[ImapProtocol, bytes, Parser], Work]:
    return lambda session, tag, parser: run(session, tag, parser, False)


def _copying(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool) -> Work:
    return _copy(session, tag, parser, by_uid, False)


def _moving(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool) -> Work:
    return _copy(session, tag, parser, by_uid, True)


_BY_UID: dict[str, Callable[[ImapProtocol, bytes, Parser, bool], Work]] = {
    "FETCH": _fetch,
    "STORE": _store,
    "COPY": _copying,
    "MOVE": _moving,
    "SEARCH": _search,
}


def uid(session: ImapProtocol, tag: bytes, parser: Parser) -> Work:
    """
    UID, before FETCH, STORE, COPY, MOVE, SEARCH or EXPUNGE.
    """
    parser.space()
    word = parser.atom().upper()
    if word == "EXPUNGE":
        parser.space()
        wanted = parser.sequence_set()
        parser.end()
        return _expunging(session, tag, _chosen(session, wanted, True))
    if word not in _BY_UID:
        raise Syntax(f"UID {word} is not a command")
    return _BY_UID[word](session, tag, parser, True)


ALL: dict[str, CommandEntry] = {
    "CAPABILITY": CommandEntry(capability, False),
    "NOOP": CommandEntry(noop, False),
    "LOGOUT": CommandEntry(logout, False),
    "ID": CommandEntry(identify, False),
    "ENABLE": CommandEntry(enable),
    "NAMESPACE": CommandEntry(namespace),
    "SELECT": CommandEntry(select),
    "EXAMINE": CommandEntry(examine),
    "CREATE": CommandEntry(create),
    "DELETE": CommandEntry(delete),
    "RENAME": CommandEntry(rename),
    "SUBSCRIBE": CommandEntry(subscribe),
    "UNSUBSCRIBE": CommandEntry(unsubscribe),
    "LIST": CommandEntry(list_folders),
    "LSUB": CommandEntry(list_subscribed),
    "STATUS": CommandEntry(status),
    "APPEND": CommandEntry(append),
    "CHECK": CommandEntry(noop, True, True),
    "CLOSE": CommandEntry(close, True, True),
    "UNSELECT": CommandEntry(unselect, True, True),
    "EXPUNGE": CommandEntry(expunge, True, True),
    "SEARCH": CommandEntry(_by_number(_search), True, True),
    "FETCH": CommandEntry(_by_number(_fetch), True, True),
    "STORE": CommandEntry(_by_number(_store), True, True),
    "COPY": CommandEntry(_by_number(_copying), True, True),
    "MOVE": CommandEntry(_by_number(_moving), True, True),
    "UID": CommandEntry(uid, True, True),
}
