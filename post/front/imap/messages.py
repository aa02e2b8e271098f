"""
Commands about messages of the selected folder: FETCH, STORE, COPY, MOVE, EXPUNGE, SEARCH, and the same by UID.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from post.errors import Unreachable
from post.front.imap import fetch
from post.front.imap.grammar import Parser, SequenceSet, Syntax
from post.front.imap.search import SearchParser, Subject, holds
from post.front.imap.session import View, folder_of, view_of
from post.mail.interfaces import Copied, Entry, IFolder, MessageUnavailable, NoSuchFolder
from post.tasks import gather

if TYPE_CHECKING:
    from post.front.imap.server import ImapProtocol

Work = Coroutine[Any, Any, None]
BATCH = 16
"""Messages whose octets are fetched from the ring at once."""
BATCH_BYTES = 256 * 1024
"""Octets of answers made at once; a longer answer is made and sent in pieces."""
WRITE_BYTES = 64 * 1024
"""Octets of flags and sizes written at once."""


def _chosen(session: ImapProtocol, wanted: SequenceSet, by_uid: bool) -> list[int]:
    """
    The UIDs that a sequence set names.

    @raise Syntax: for a sequence number beyond the last (RFC 3501, section 9, "seq-number").
    """
    uids = view_of(session).uids
    if by_uid:
        return wanted.among(uids)
    if wanted.exceeds(len(uids)):
        raise Syntax("there is no message of that number")
    return [uids[number - 1] for number in wanted.among(range(1, len(uids) + 1))]


def fetch_messages(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool) -> Work:
    """
    FETCH.
    """
    parser.space()
    wanted = parser.sequence_set()
    parser.space()
    items = fetch.parse_items(parser)
    parser.end()
    if by_uid and "UID" not in items:
        items = ["UID", *items]
    marks = fetch.sets_seen(items) and not session.read_only
    uids = _chosen(session, wanted, by_uid)
    return _fetching(_Fetching(session, folder_of(session), view_of(session), items, marks), tag, uids, by_uid)


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


def store(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool) -> Work:
    """
    STORE.
    """
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
        folder, view = folder_of(session), view_of(session)
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
        folder = folder_of(session)
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
    return _expunging(session, tag, list(view_of(session).uids))


async def _expunging(session: ImapProtocol, tag: bytes, uids: list[int]) -> None:
    if session.read_only:
        session.write(tag + b" NO [CANNOT] The folder is open for reading only.\r\n")
        return
    folder = folder_of(session)
    deleted = [uid for uid in uids if (entry := folder.entry(uid)) is not None and "\\Deleted" in entry.flags]
    await folder.expunge(deleted)
    session.touch()
    session.done(tag, b"Expunged.")


def search(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool) -> Work:
    """
    SEARCH.
    """
    parser.space()
    folder, view = folder_of(session), view_of(session)
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


def by_number(
    run: Callable[[ImapProtocol, bytes, Parser, bool], Work],
) -> Callable[[ImapProtocol, bytes, Parser], Work]:
    """
    C{run} as the command without UID before it.
    """
    return lambda session, tag, parser: run(session, tag, parser, False)


def copy(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool) -> Work:
    """
    COPY.
    """
    return _copy(session, tag, parser, by_uid, False)


def move(session: ImapProtocol, tag: bytes, parser: Parser, by_uid: bool) -> Work:
    """
    MOVE (RFC 6851).
    """
    return _copy(session, tag, parser, by_uid, True)


_BY_UID: dict[str, Callable[[ImapProtocol, bytes, Parser, bool], Work]] = {
    "FETCH": fetch_messages,
    "STORE": store,
    "COPY": copy,
    "MOVE": move,
    "SEARCH": search,
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
