"""
The commands of somebody who has logged in (RFC 1939, section 5), and what is done at the end (section 6).

Each command is a function that gives one line, or the pieces of a long answer.  A long answer is made while it is sent,
so memory does not grow with the message, nor with the Inbox.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Iterable

from twisted.logger import Logger

from post.errors import PostError
from post.front.pop3.maildrop import Maildrop
from post.front.pop3.text import Stuffing, Top
from post.mail.interfaces import Entry, IContent, IFolder

PIECE = 192 * 1024
"""Octets of a message that are fetched and sent at once."""
GLANCE = 16 * 1024
"""The first piece for TOP: a header and some lines, and no attachment is fetched for it."""
WRITE_BYTES = 64 * 1024
"""Octets of a list that are sent at once."""

Answer = bytes | AsyncGenerator[bytes, None]
_NUMBER = re.compile(rb"[0-9]{1,10}")
_SEEN = frozenset({"\\Seen"})


class BadCommand(Exception):
    """
    What no mail program says.  The text is for the client.
    """


class Gone(PostError):
    """
    The message has been removed or moved meanwhile, by another mail program.
    """


class Transaction:
    """
    One session's view of the Inbox.
    """

    log = Logger()

    def __init__(self, folder: IFolder) -> None:
        self._folder = folder
        self.maildrop = Maildrop(folder.entries())

    def answer(self, verb: bytes, argument: bytes) -> Answer:
        """
        What C{verb}, one of L{COMMANDS}, gives, from its C{+OK} on.

        @raise BadCommand: if the argument is not what it takes.
        @raise NoSuchMessage: for a number that there is not.
        """
        return COMMANDS[verb](self, argument.split())

    async def update(self) -> None:
        """
        Remove what is marked; returns when that is durable.
        """
        # By their keys: one that was moved away and back has another UID, and nothing else is ever removed.
        keys = {entry.key for entry in self.maildrop.deleted()}
        there = [entry.uid for entry in self._folder.entries() if entry.key in keys] if keys else []
        if there:
            await self._folder.expunge(there)

    def _is_there(self, entry: Entry) -> bool:
        # By its key too: nothing is ever removed for another message that has its UID.
        now = self._folder.entry(entry.uid)
        return now is not None and now.key == entry.key

    def _content(self, entry: Entry) -> IContent:
        if not self._is_there(entry):
            raise Gone
        return self._folder.content(entry.uid)

    # Commands.

    def _stat(self, arguments: list[bytes]) -> Answer:
        _numbers(arguments, 0)
        return b"+OK %d %d\r\n" % (self.maildrop.count, self.maildrop.size)

    def _list(self, arguments: list[bytes]) -> Answer:
        return self._listing(arguments, lambda entry: b"%d" % entry.size)

    def _uidl(self, arguments: list[bytes]) -> Answer:
        # The name of the entry in the log: no other message ever has it, and it outlives the machine.
        return self._listing(arguments, lambda entry: entry.key.hex().encode())

    def _listing(self, arguments: list[bytes], show: Callable[[Entry], bytes]) -> Answer:
        if arguments:
            (number,) = _numbers(arguments, 1)
            return b"+OK %d %b\r\n" % (number, show(self.maildrop.message(number)))
        first = b"+OK %d messages, %d octets\r\n" % (self.maildrop.count, self.maildrop.size)
        return _lines(first, (b"%d %b\r\n" % (number, show(entry)) for number, entry in self.maildrop.messages()))

    def _dele(self, arguments: list[bytes]) -> Answer:
        (number,) = _numbers(arguments, 1)
        self.maildrop.delete(number)
        return b"+OK Marked.\r\n"

    def _rset(self, arguments: list[bytes]) -> Answer:
        _numbers(arguments, 0)
        self.maildrop.reset()
        return b"+OK %d messages, %d octets\r\n" % (self.maildrop.count, self.maildrop.size)

    def _noop(self, arguments: list[bytes]) -> Answer:
        _numbers(arguments, 0)
        return b"+OK\r\n"

    def _retr(self, arguments: list[bytes]) -> Answer:
        (number,) = _numbers(arguments, 1)
        return self._retrieving(self.maildrop.message(number))

    async def _retrieving(self, entry: Entry) -> AsyncGenerator[bytes, None]:
        content = self._content(entry)
        stuffing = Stuffing()
        # Before anything is said: what cannot be had is refused.
        piece: bytes = await content.read(0, min(PIECE, content.size))
        out = b"+OK %d octets\r\n" % content.size + stuffing.feed(piece)
        for at in range(PIECE, content.size, PIECE):
            yield out
            out = stuffing.feed(await content.read(at, min(at + PIECE, content.size)))
        yield out + stuffing.end()
        # Not before: what the client did not get is unread.
        await self._mark(entry)

    async def _mark(self, entry: Entry) -> None:
        now = self._folder.entry(entry.uid)
        if now is None or now.key != entry.key or now.flags >= _SEEN:
            return
        try:
            await self._folder.store([entry.uid], _SEEN, frozenset())
        except PostError as error:
            # The message has been given; that it still counts as unread is no reason to say that it has not.
            self.log.warn("a message cannot be marked as read: {error}", error=error)

    def _top(self, arguments: list[bytes]) -> Answer:
        number, lines = _numbers(arguments, 2)
        return self._glancing(self.maildrop.message(number), Top(lines))

    async def _glancing(self, entry: Entry, top: Top) -> AsyncGenerator[bytes, None]:
        content = self._content(entry)
        stuffing = Stuffing()
        piece: bytes = await content.read(0, min(GLANCE, content.size))
        out = b"+OK\r\n" + stuffing.feed(top.feed(piece))
        at = len(piece)
        while at < content.size and not top.done:
            yield out
            piece = await content.read(at, min(at + PIECE, content.size))
            out = stuffing.feed(top.feed(piece))
            at += len(piece)
        yield out + stuffing.end()


COMMANDS: dict[bytes, Callable[[Transaction, list[bytes]], Answer]] = {
    b"STAT": Transaction._stat,
    b"LIST": Transaction._list,
    b"UIDL": Transaction._uidl,
    b"RETR": Transaction._retr,
    b"TOP": Transaction._top,
    b"DELE": Transaction._dele,
    b"RSET": Transaction._rset,
    b"NOOP": Transaction._noop,
}


def _numbers(arguments: list[bytes], count: int) -> list[int]:
    """
    @raise BadCommand: if these are not so many numbers.
    """
    if len(arguments) != count or not all(_NUMBER.fullmatch(each) for each in arguments):
        raise BadCommand("That takes nothing." if not count else f"That takes {count} number{'s' * (count > 1)}.")
    return [int(each) for each in arguments]


async def _lines(first: bytes, lines: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """
    A list, in pieces.
    """
    out, size = [first], 0
    for line in lines:
        out.append(line)
        size += len(line)
        if size > WRITE_BYTES:
            yield b"".join(out)
            out, size = [], 0
    yield b"".join(out) + b".\r\n"
