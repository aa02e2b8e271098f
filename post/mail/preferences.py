"""
What a person wishes of their mailbox, beside folders and flags: a fold of the same log's records.  Pure.

Rules and the block list, the block lists of others that count too, who is no stranger and what strangers have to do,
and the mailing lists that the person maintains.
Because they are in the log, they survive the machine as the folders do.  Operations are idempotent as all of the log
are; of what can only be said as a whole (the rules), the last word counts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from post.ids import AccountId
from post.mail.records import (
    TEXTS_LIMIT,
    Acquainted,
    Blocked,
    BlockListFollowed,
    BlockListShared,
    Ignored,
    MailingListDeleted,
    MailingListSet,
    Preference,
    PuzzleSet,
    RulesSet,
)
from post.mail.rules import BadRule, Rule, parse
from post.messaging.identity import Public
from post.wire import pack, unpack

IGNORED_SHOWN = 200
"""Ignored messages that are remembered with their sender and reason, so that somebody who misses one can look."""
ACQUAINTED_LIMIT = 50_000
"""People who are no strangers: more than an organisation has.  About 5 MB of memory."""
KNOWN_S = 900
"""For so long others may go by what the identity block said before (L{post.messaging.identities.FRESH_S}), and work."""
CHUNK_OPERATIONS = 1000
CHUNK_BYTES = 64 * 1024
"""A chunk of a snapshot has no more operations than this, and ends with the one that makes it as long as this."""

_Chunk = Annotated[tuple[Preference, ...], Meta(max_length=CHUNK_OPERATIONS)]


class Preferences:
    """
    What the records applied so far say.
    """

    def __init__(self) -> None:
        self.lines: tuple[str, ...] = ()
        self.rules: tuple[Rule, ...] = ()
        self.blocked: set[str] = set()
        self.followed: dict[str, None] = {}
        """Whose block lists count here too, in the order in which they were added."""
        self.shared = b""
        """The packed reference of our own, if others may use it."""
        self.ignored: deque[Ignored] = deque(maxlen=IGNORED_SHOWN)
        self.written_to: set[AccountId] = set()
        self.heard_of: set[AccountId] = set()
        self.puzzle = PuzzleSet(0, 0, 0)
        self.lists: dict[str, MailingListSet] = {}
        """The mailing lists that this person maintains, by address."""

    def apply(self, operation: Preference) -> None:
        """
        Let C{operation} take effect.
        """
        match operation:
            case RulesSet():
                self.lines = operation.rules
                self.rules = tuple(_readable(operation.rules))
            case Blocked():
                self.blocked.difference_update(operation.removed)
                self.blocked.update(operation.added)
            case BlockListFollowed():
                self.followed.pop(operation.address, None)
                if operation.followed:
                    self.followed[operation.address] = None
            case BlockListShared():
                self.shared = operation.reference
            case Ignored():
                if all(each.key != operation.key for each in self.ignored):
                    self.ignored.append(operation)
            case Acquainted():
                known = self.written_to if operation.wrote else self.heard_of
                if len(known) < ACQUAINTED_LIMIT:
                    known.add(operation.account)
            case PuzzleSet():
                self.puzzle = operation
            case MailingListSet():
                self.lists[operation.address] = operation
            case MailingListDeleted():
                self.lists.pop(operation.address, None)

    def public(self) -> Public:
        """
        What of this the identity block shows to everybody.
        """
        lists = tuple((address, each.reference) for address, each in sorted(self.lists.items()))
        return Public(self.shared, lists, self.puzzle.bits)

    def references(self) -> Iterator[bytes]:
        """
        The packed references of what was stored for others to see, each one block.
        """
        if self.shared:
            yield self.shared
        yield from (each.reference for each in self.lists.values())

    def is_stranger(self, account: AccountId) -> bool:
        """
        Nobody whom we have written to, and of whom we have accepted nothing.
        """
        return account not in self.written_to and account not in self.heard_of

    def demands(self, sender: AccountId, sent: float) -> int:
        """
        How many bits a puzzle has that C{sender} had to solve for what they sent at C{sent}.  Who has just read a
        difficulty that was lower then need not begin anew.
        """
        if not self.is_stranger(sender):
            return 0
        puzzle = self.puzzle
        return min(puzzle.bits, puzzle.before) if sent < puzzle.at + KNOWN_S else puzzle.bits

    # Snapshots.

    def operations(self) -> Iterator[Preference]:
        """
        Those that say the same.
        """
        if self.lines:
            yield RulesSet(self.lines)
        blocked = sorted(self.blocked)
        for start in range(0, len(blocked), TEXTS_LIMIT):
            yield Blocked(tuple(blocked[start : start + TEXTS_LIMIT]), ())
        for address in self.followed:
            yield BlockListFollowed(address, True)
        if self.shared:
            yield BlockListShared(self.shared)
        yield from self.ignored
        for accounts, wrote in ((self.written_to, True), (self.heard_of, False)):
            for account in sorted(accounts):
                yield Acquainted(account, wrote)
        if self.puzzle.at:
            yield self.puzzle
        yield from self.lists.values()

    def chunks(self) -> list[bytes]:
        """
        The pieces of a snapshot.
        """
        chunks: list[bytes] = []
        batch: list[Preference] = []
        size = 0
        for operation in self.operations():
            batch.append(operation)
            size += len(pack(operation))
            if size >= CHUNK_BYTES or len(batch) == CHUNK_OPERATIONS:
                chunks.append(pack(tuple(batch)))
                batch, size = [], 0
        return [*chunks, pack(tuple(batch))] if batch else chunks

    def missing(self, other: Preferences) -> Iterator[Preference]:
        """
        What another writer of the same log had and we have not: everything that adds up; where only one can be right,
        ours stays unless we have said nothing.
        """
        said = set(self.operations())
        for operation in other.operations():
            match operation:
                case RulesSet():
                    news = not self.lines
                case BlockListShared():
                    news = not self.shared
                case PuzzleSet():
                    news = not self.puzzle.at
                case MailingListSet():
                    news = operation.address not in self.lists
                case _:
                    news = operation not in said
            if news:
                yield operation

    def restore(self, chunk: bytes) -> None:
        """
        Take back one of L{chunks}.

        @raise PeerError: if it is none.
        """
        for operation in unpack(_Chunk, chunk):
            self.apply(operation)


def _readable(lines: tuple[str, ...]) -> Iterator[Rule]:
    """
    The rules that this version understands: one of a later version, or of another device, must not hide the others.
    """
    for line in lines:
        try:
            yield parse(line)
        except BadRule:
            continue
