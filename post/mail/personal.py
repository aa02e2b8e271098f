"""
What a person changes of their preferences (POST, sections 4.3 and 4.5): each change is checked, put into the mailbox's
log, and promised when the ring keeps it, so that it survives the machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from twisted.internet.interfaces import IReactorTime

from post.crypto.puzzles import BITS_LIMIT
from post.errors import PostError
from post.mail.interfaces import FolderRefused
from post.mail.judging import decide
from post.mail.mailbox import Mailbox, check_folder_name
from post.mail.patterns import pattern
from post.mail.preferences import Preferences
from post.mail.records import TEXTS_LIMIT, Blocked, PuzzleSet, RulesSet
from post.mail.rules import RULES_LIMIT, Action, BadRule, Described, Verdict, parse, render

RULES_BYTES = 32 * 1024
"""Octets of all rules of one person: they are one operation, and a record of the log has at most 60 KiB."""
BLOCKED_LIMIT = 4000
"""Patterns on one block list."""
BLOCKED_BYTES = 128 * 1024
"""Octets of them: a published list is one block (256 KiB), and a snapshot of the mailbox has all of it."""


class Unacceptable(PostError):
    """
    What a person asks for cannot be: says why, and what can.
    """


class Unfinished(PostError):
    """
    What a person asked for is done on this machine, and not yet elsewhere; that is tried again without asking.
    """


async def kept(work: Awaitable[None]) -> None:
    """
    Wait until the ring keeps a change of the log.

    @raise Unfinished: if it does not now.
    """
    try:
        await work
    except PostError as error:
        raise Unfinished(
            f"done on this machine, but other machines do not keep it yet ({error}); that is tried again"
        ) from error


class Personal:
    """
    One person's preferences, for commands and pages.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        others: Callable[[], Mapping[str, frozenset[str]]],
        clock: IReactorTime,
        show: Callable[[], Awaitable[None]],
    ) -> None:
        """
        @param others: the block lists that this person follows, by the address of whoever publishes them.
        @param show: lets the identity block say what the log says now.
        """
        self._mailbox = mailbox
        self._others = others
        self._clock = clock
        self._show = show

    @property
    def preferences(self) -> Preferences:
        """
        As they are now.
        """
        return self._mailbox.state.preferences

    # Rules.

    async def add_rule(self, line: str, place: int | None = None) -> None:
        """
        Put a rule before the one that is number C{place} (from 1) now, or after all.

        @raise Unacceptable: if it is none, or one too many.
        @raise Unfinished: if the ring does not keep it now.
        """
        try:
            rule = parse(line)
            if rule.action == Action.FOLDER:
                check_folder_name(rule.folder)
        except BadRule as error:
            raise Unacceptable(str(error)) from None
        except FolderRefused:
            raise Unacceptable(f"{rule.folder!r} cannot be the name of a folder") from None
        lines = list(self.preferences.lines)
        if place is not None and not 1 <= place <= len(lines) + 1:
            raise Unacceptable(f"there are {len(lines)} rules: a place for another is 1 to {len(lines) + 1}")
        lines.insert(len(lines) if place is None else place - 1, render(rule))
        if len(lines) > RULES_LIMIT or sum(len(each.encode()) for each in lines) > RULES_BYTES:
            raise Unacceptable(f"at most {RULES_LIMIT} rules, of {RULES_BYTES:,} octets in all: remove some first")
        await kept(self._mailbox.keep([RulesSet(tuple(lines))]))

    async def remove_rule(self, number: int) -> str:
        """
        Take away rule C{number} (from 1), and return it.

        @raise Unacceptable: if there is none of that number.
        @raise Unfinished: as L{add_rule}.
        """
        lines = list(self.preferences.lines)
        if not 1 <= number <= len(lines):
            raise Unacceptable(f"there is no rule {number}: there are {len(lines)}")
        removed = lines.pop(number - 1)
        await kept(self._mailbox.keep([RulesSet(tuple(lines))]))
        return removed

    def test(self, message: Described) -> Verdict:
        """
        What would become of C{message}.
        """
        return decide(self.preferences, self._others(), message)

    async def set_puzzle(self, bits: int) -> None:
        """
        Demand of strangers a puzzle of C{bits} from now on; 0: none.

        @raise Unacceptable: if that is no difficulty.
        @raise Unfinished: as L{add_rule}, or if others cannot see it yet.
        """
        if not 0 <= bits <= BITS_LIMIT:
            raise Unacceptable(f"a puzzle has 0 bits (none) to {BITS_LIMIT} (some ten seconds of work)")
        before = self.preferences.puzzle.bits
        if bits != before:
            await kept(self._mailbox.keep([PuzzleSet(bits, before, int(self._clock.seconds()))]))
            await self._show()

    # The block list.

    async def block(self, texts: Sequence[str]) -> list[str]:
        """
        Ignore from now on whatever comes from senders who fit one of these patterns; returns their one spelling.

        @raise Unacceptable: if one is none, or there are too many.
        @raise Unfinished: as L{add_rule}.
        """
        added = _patterns(texts)
        if any(each == "*" for each in added):
            raise Unacceptable("blocking * would ignore all mail: block addresses or domains")
        blocked = self.preferences.blocked | set(added)
        if len(blocked) > BLOCKED_LIMIT or sum(len(each.encode()) for each in blocked) > BLOCKED_BYTES:
            raise Unacceptable(
                f"a block list has at most {BLOCKED_LIMIT:,} entries, of {BLOCKED_BYTES:,} octets in all"
            )
        await kept(self._mailbox.keep(Blocked(batch, ()) for batch in _batches(added)))
        return added

    async def unblock(self, texts: Sequence[str]) -> list[str]:
        """
        The opposite.

        @raise Unacceptable: if one of them is not on the list.
        @raise Unfinished: as L{add_rule}.
        """
        removed = _patterns(texts)
        for each in removed:
            if each not in self.preferences.blocked:
                raise Unacceptable(f"{each} is not blocked")
        await kept(self._mailbox.keep(Blocked((), batch) for batch in _batches(removed)))
        return removed


def _patterns(texts: Sequence[str]) -> list[str]:
    try:
        return list(dict.fromkeys(pattern(text) for text in texts))
    except ValueError as error:
        raise Unacceptable(str(error)) from None


def _batches(texts: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(texts[start : start + TEXTS_LIMIT]) for start in range(0, len(texts), TEXTS_LIMIT)]
