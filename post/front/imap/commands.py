"""
The commands of IMAP but for logging in and IDLE, which belong to the connection.

Each takes the session, the tag and the parser behind the command's name; it parses at once (a syntax error is answered
before anything is done) and returns a coroutine if it has to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from post import __version__
from post.errors import PostError, Unreachable
from post.front.imap import fetch
from post.front.imap.grammar import SYSTEM_FLAGS, Parser, SequenceSet, Syntax, decode_name, encode_name, matches
from post.front.imap.responses import string
from post.front.imap.search import SearchParser, Subject, holds
from post.front.imap.session import View, flag_list
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
USES = ("\\Archive", "\\Drafts", "\\Junk", "\\Sent", "\\Trash")
BATCH = 16
"""Messages whose octets are fetched from the ring at once."""
BATCH_BYTES = 256 * 1024
"""Octets of answers made at once; a longer answer is made and sent in pieces."""
WRITE_BYTES = 64 * 1024
PATTERNS_LENGTH = 1000
"""Characters of all patterns of a LIST: each costs a little for each of thousands of folders."""
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


def _mailbox(session: ImapProtocol) -> IMailbox:
    assert session.mailbox is not None
    return session.mailbox


def _folder(session: ImapProtocol) -> IFolder:
    assert session.folder is not None
    return session.folder


def _view(session: ImapProtocol) -> View:
    assert session.view is not None
    return session.view


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
        folder = _folder(session)
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
        taken = {folder.special_use for folder in _mailbox(session).folders()}
        if use and (use not in USES or use in taken):
            session.write(tag + b" NO [USEATTR] No folder can be given that use now.\r\n")
            return
        await _mailbox(session).create(name, use)
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
        own = selected is not None and selected.name == _mailbox(session).folder(name).name
        if selected is not None and own:
            selected.unlisten(session)  # Whoever deletes it need not be told that it is gone.
        try:
            await _mailbox(session).delete(name)
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
    session.touch()  # Renaming INBOX, for one, empties it.
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
    if "RECURSIVEMATCH" in chosen and not {"SUBSCRIBED", "SPECIAL-USE"} & set(chosen):
        raise Syntax("RECURSIVEMATCH of what?")
    folders = _mailbox(session).folders()
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
    folders = [folder for folder in _mailbox(session).folders() if folder.subscribed]
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
    named = _mailbox(session).folder(name).name
    for folder in _mailbox(session).folders():
        if folder.name == named:
            session.write(_status(folder, items))
    session.done(tag, b"That is all.")


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
        session.touch()
        session.done(tag, b"[APPENDUID %d %d] Kept by the ring." % (validity, uid))

    return work()


# Messages.


def _chosen(session: ImapProtocol, wanted: SequenceSet, by_uid: bool) -> list[int]:
    """
    The UIDs that a sequence set names.

    @raise Syntax: for a sequence number beyond the last (RFC 3501, section 9, "seq-number").
    """
    uids = _view(session).uids
    if by_uid:
        return wanted.among(uids)
    if wanted.exceeds(len(uids)):
        raise Syntax("there is no message of that number")
    return [uids[number - 1] for number in wanted.among(range(1, len(uids) + 1))]


def _fetch(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool) -> Work:
    parser.space()
    wanted = parser.sequence_set()
    parser.space()
    items = fetch.parse_items(parser)
    parser.end()
    if by_uid and "UID" not in items:
        items = ["UID", *items]
    marks = fetch.sets_seen(items) and not session.read_only
    uids = _chosen(session, wanted, by_uid)
    return _fetching(_Fetching(session, _folder(session), _view(session), items, marks), tag, uids, by_uid)


@dataclass(frozen=True)
class _Fetching:
    """
    One FETCH.  C{marks} if it makes messages \\Seen.
    """

    session: ImapProtocol
    folder: IFolder
    view: View
    items: list[fetch.Item]
    marks: bool

    def fresh(self, entry: Entry) -> bool:
        """
        Whether C{entry} becomes \\Seen by this.
        """
        return self.marks and "\\Seen" not in entry.flags

    def shown(self, entry: Entry) -> tuple[Entry, list[fetch.Item]]:
        """
        The entry as the answer shows it, and the items shown: flags too, if this changes them.
        """
        if not self.fresh(entry):
            return entry, self.items
        items = self.items if "FLAGS" in self.items else [*self.items, "FLAGS"]
        return replace(entry, flags=entry.flags | {"\\Seen"}), items

    def number(self, entry: Entry) -> int:
        """
        The sequence number of C{entry}, about to be shown.
        """
        shown, items = self.shown(entry)
        if "FLAGS" in items:
            self.view.tell(entry.uid, shown.flags)
        return self.view.number(entry.uid)

    async def mark(self, entries: Iterable[Entry]) -> None:
        """
        Make \\Seen what can be shown now; what cannot be shown stays unread.
        """
        fresh = [entry.uid for entry in entries if self.fresh(entry)]
        if fresh:
            await self.folder.store(fresh, frozenset({"\\Seen"}), frozenset())
            self.session.touch()


async def _fetching(job: _Fetching, tag: bytes, uids: list[int], by_uid: bool) -> None:
    session = job.session
    gone, failed = await (_send_contents if fetch.needs_content(job.items) else _send_known)(job, uids)
    if failed:
        session.tell(by_uid)
        session.write(tag + b" NO [UNAVAILABLE] %d messages cannot be had from the ring now.\r\n" % failed)
    elif gone and not by_uid:
        session.done(tag, b"[EXPUNGEISSUED] Some are gone.", may_expunge=False)
    else:
        session.done(tag, b"Fetched.", may_expunge=by_uid)


async def _send_known(job: _Fetching, uids: list[int]) -> tuple[int, int]:
    """
    Send what the entries say.  Returns how many messages are gone, and how many could not be had.
    """
    out: list[bytes] = []
    size = gone = 0
    for uid in uids:
        entry = job.folder.entry(uid)
        if entry is None:
            gone += 1
            continue
        answer = b" ".join([fetch.known(str(item), entry) for item in job.items])
        out.append(b"* %d FETCH (%b)\r\n" % (job.number(entry), answer))
        size += len(out[-1])
        if size > WRITE_BYTES:
            job.session.write(b"".join(out))
            out, size = [], 0
            await job.session.breathe()
    job.session.write(b"".join(out))
    return gone, 0


async def _send_contents(job: _Fetching, uids: list[int]) -> tuple[int, int]:
    """
    Send small messages several at a time, large ones one by one and in pieces.  Returns as L{_send_known}.
    """
    gone = failed = 0
    batch: list[Entry] = []
    size = 0
    bodies = fetch.bodies(job.items)
    for uid in uids:
        entry = job.folder.entry(uid)
        if entry is None:
            gone += 1
        elif entry.size * bodies > BATCH_BYTES // 2:
            failed += await _send_batch(job, batch)
            batch, size = [], 0
            failed += not await _send_large(job, entry)
        else:
            batch.append(entry)
            size += entry.size * bodies
            if len(batch) == BATCH or size > BATCH_BYTES:
                failed += await _send_batch(job, batch)
                batch, size = [], 0
    return gone, failed + await _send_batch(job, batch)


async def _send_batch(job: _Fetching, batch: list[Entry]) -> int:
    answers = await gather(_small(job, entry) for entry in batch)
    await job.mark(entry for entry, answer in zip(batch, answers, strict=True) if answer)
    for entry, answer in zip(batch, answers, strict=True):
        if answer:
            job.session.write(b"* %d FETCH (%b)\r\n" % (job.number(entry), answer))
    await job.session.breathe()
    return answers.count(b"")


async def _small(job: _Fetching, entry: Entry) -> bytes:
    shown, items = job.shown(entry)
    try:
        return b"".join([piece async for piece in fetch.answer(items, shown, job.folder.content(entry.uid))])
    except MessageUnavailable:
        return b""


async def _send_large(job: _Fetching, entry: Entry) -> bool:
    shown, items = job.shown(entry)
    begun = False
    try:
        async for piece in fetch.answer(items, shown, job.folder.content(entry.uid)):
            if not begun:
                await job.mark([entry])
                piece = b"* %d FETCH (%b" % (job.number(entry), piece)
                begun = True
            job.session.write(piece)
            await job.session.breathe()
    except MessageUnavailable:
        if begun:
            # A literal has been announced that cannot be completed: better no connection than a lie.
            job.session.drop()
            raise Unreachable("octets of a message") from None
        return False
    job.session.write(b")\r\n")
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
        folder, view = _folder(session), _view(session)
        kept = view.spelled(flags - {"\\Recent"})
        if sign == "+":
            await folder.store(uids, kept, frozenset())
        elif sign == "-":
            await folder.store(uids, frozenset(), kept)
        else:
            await folder.replace(uids, kept)
        session.touch()
        if silent:
            # The client reckons with this; where it is not so in the end, it is told.
            for uid in uids:
                told = view.told(uid)
                view.tell(uid, told | kept if sign == "+" else told - kept if sign == "-" else kept)
        else:
            await _send_known(_Fetching(session, folder, view, ["UID", "FLAGS"] if by_uid else ["FLAGS"], False), uids)
        session.done(tag, b"Stored.", may_expunge=by_uid)

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
    return _expunging(session, tag, list(_view(session).uids))


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
    folder, view = _folder(session), _view(session)
    test = SearchParser(parser, view.uids).parse()

    async def work() -> None:
        found: list[int] = []
        failed = 0
        for number, uid in enumerate(view.uids, 1):
            await session.breathe()
            entry = folder.entry(uid)
            if entry is None:
                continue
            try:
                if await holds(test, Subject(number, entry, folder.content(uid))):
                    found.append(uid if by_uid else number)
            except MessageUnavailable:
                failed += 1
        session.write(b"* SEARCH" + b"".join([b" %d" % number for number in found]) + b"\r\n")
        if failed:
            session.tell(by_uid)
            session.write(tag + b" NO [UNAVAILABLE] %d messages cannot be looked into now.\r\n" % failed)
        else:
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
