"""
What a person's mail to the Internet waits for, as the page shows it (C{post queue} in a terminal).

How far each is, is in the ring, with the gateways' answers; it is asked in the background when somebody looks, and
remembered, so that a page never waits for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import PostError
from post.health.journeys import Subjects
from post.ids import Handle
from post.mail.journeys import Journey
from post.mail.outbox import Shown
from post.tasks import Tasks

SHOWN_LIMIT = 10
"""Messages of which it is asked how far they are; of more it is said how many there are."""
FRESH_S = 8.0
"""Between two questions: a page that is open asks for facts every four seconds, and gateways try for minutes."""
WORDS_LIMIT = 200
"""Characters of what another server said."""


class Leaving(msgspec.Struct, frozen=True):
    """
    One message, or a part of its recipients; C{name} is what C{post queue} calls it, the rest as in L{Shown}.

    @ivar subject: as in L{post.health.journeys.Sent}.
    @ivar known: whether the ring has been asked.
    """

    name: str
    subject: str | None
    accepted: int
    left: tuple[str, ...]
    tries: int = 0
    trying: bool = False
    due: int = 0
    words: str = ""
    known: bool = False


class Departures:
    """
    Those of one account.
    """

    log = Logger()

    def __init__(
        self,
        ask: Callable[[Sequence[Journey]], Awaitable[list[Shown]]],
        is_outside: Callable[[str], bool],
        subjects: Subjects,
        clock: IReactorTime,
        tasks: Tasks,
    ) -> None:
        """
        @param ask: how far the messages are that wait for somebody outside; may raise L{PostError}.
        """
        self._ask = ask
        self._is_outside = is_outside
        self._subjects = subjects
        self._clock = clock
        self._tasks = tasks
        self._known: dict[Handle, Shown] = {}
        self._over: frozenset[Handle] = frozenset()
        self._asking = False
        self._asked_at = float("-inf")

    def of(self, journeys: Sequence[Journey]) -> tuple[tuple[Leaving, ...], int]:
        """
        The newest of C{journeys} that wait to leave, and how many more there are.
        """
        waiting = [journey for journey in journeys if self._handles(journey)]
        newest = waiting[:SHOWN_LIMIT]
        if newest and not self._asking and self._clock.seconds() - self._asked_at >= FRESH_S:
            self._asking = True
            self._tasks.spawn(self._learn(newest))
        subjects = {sent.journey.key: sent.subject for sent in self._subjects.of(newest)}
        found = [
            self._leaving(handle, left, journey, subjects.get(journey.key.hex()))
            for journey in newest
            for handle, left in self._handles(journey).items()
            if handle not in self._over
        ]
        return tuple(found), len(waiting) - len(newest)

    def _handles(self, journey: Journey) -> dict[Handle, list[str]]:
        """
        For whom outside C{journey} waits, by the entry in the queue.
        """
        found: dict[Handle, list[str]] = {}
        for passage in journey.waiting():
            if passage.handle is not None and self._is_outside(passage.address):
                found.setdefault(passage.handle, []).append(passage.address)
        return found

    def _leaving(self, handle: Handle, left: list[str], journey: Journey, subject: str | None) -> Leaving:
        known = self._known.get(handle)
        if known is None:
            return Leaving(handle.hex(), subject, journey.at, tuple(left))
        words = " ".join(known.words.split())
        words = words if len(words) <= WORDS_LIMIT else f"{words[: WORDS_LIMIT - 1]}…"
        return Leaving(
            handle.hex(), subject, known.accepted, known.left, known.tries, known.trying, known.due, words, True
        )

    async def _learn(self, journeys: Sequence[Journey]) -> None:
        try:
            shown = await self._ask(journeys)
        except PostError as error:
            self.log.debug("it is not known how far mail to the Internet is: {error}", error=error)
            return
        finally:
            self._asking, self._asked_at = False, self._clock.seconds()
        self._known = {each.handle: each for each in shown}
        # What is over was left out; that it is so, the account's own record says a little later.
        self._over = frozenset(handle for journey in journeys for handle in self._handles(journey)) - self._known.keys()
