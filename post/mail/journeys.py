"""
Where the messages that an account has sent stand: a fold of its log's records, as the folders are.  Pure.

A message that waits for somebody has to be known of until it has arrived or its sender has been told that it has not,
also when the sender's computer is lost in between.  What has ended is shown for a while, and then forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from post.mail.records import PASSAGES_LIMIT, Dispatched, Passage, SenderWarned, Settled, Standing
from post.wire import Document, pack, unpack

ENDED_KEPT_S = 30 * 86400
"""What has ended is shown for so long after the message was sent: who asks where a message is does so within days."""
ENDED_LIMIT = 2000
"""And no more of them than this, the newest: some 300 KB of a snapshot."""
DAY_S = 86400
CHUNK_JOURNEYS = 500
"""Journeys in one chunk of a snapshot, of those that began on one day: old days seldom change."""
CHUNK_LIMIT = 150 * 1024


class Journey(msgspec.Struct):
    """
    One message that was sent: C{key} is its entry's in Sent, C{at} when it was accepted (unix seconds), C{sender} the
    return path, C{message} the packed reference of its skeleton, C{size} its octets, C{copies} on how many nodes each
    of its blocks was then.  C{warned}: the sender has been told that it takes long.
    """

    key: bytes
    at: int
    sender: str
    message: bytes
    size: int
    copies: int
    passages: tuple[Passage, ...]
    warned: bool = False

    def waiting(self) -> tuple[Passage, ...]:
        """
        To whom it has not come yet.
        """
        return tuple(passage for passage in self.passages if passage.standing == Standing.WAITING)

    def operations(self) -> Iterator[Dispatched | SenderWarned]:
        """
        Those, each short enough for a record, which say the same.
        """
        for start in range(0, len(self.passages), PASSAGES_LIMIT):
            batch = self.passages[start : start + PASSAGES_LIMIT]
            yield Dispatched(self.key, self.at, self.sender, self.message, self.size, self.copies, batch)
        if self.warned:
            yield SenderWarned(self.key)


class ShownPassage(msgspec.Struct, frozen=True):
    """
    A L{Passage} as C{post sent --json} and the page show it; C{standing} is a L{Standing}'s name in lower case.
    """

    address: str
    standing: str
    since: int
    expires: int
    copies: int


class ShownJourney(msgspec.Struct, frozen=True):
    """
    A L{Journey}, likewise; C{key} in hexadecimal.
    """

    key: str
    at: int
    size: int
    copies: int
    recipients: tuple[ShownPassage, ...]


class _JourneyState(Document, frozen=True):
    key: bytes
    at: int
    sender: str
    message: bytes
    size: int
    copies: int
    passages: tuple[Passage, ...]
    warned: bool


_Journeys = Annotated[tuple[_JourneyState, ...], Meta(max_length=CHUNK_JOURNEYS)]


class Journeys:
    """
    Those that are known of, by key, in the order in which they were first heard of.
    """

    def __init__(self) -> None:
        self.by_key: dict[bytes, Journey] = {}
        self.outstanding = 0
        """For how many recipients something waits, counting each message."""

    def apply(self, operation: Dispatched | Settled | SenderWarned) -> None:
        """
        Let C{operation} take effect; what it says of an unknown message has no effect.
        """
        match operation:
            case Dispatched():
                self._add(operation)
            case Settled():
                self._settle(operation)
            case SenderWarned():
                if operation.key in self.by_key:
                    self.by_key[operation.key].warned = True

    def _add(self, operation: Dispatched) -> None:
        journey = self.by_key.get(operation.key)
        if journey is None:
            journey = Journey(*fields(operation), ())
        elif not journey.message:
            # It was delivered when it was sent the first time, and there is somebody to wait for now.
            journey.message, journey.sender = operation.message, operation.sender
        passages = {passage.address: passage for passage in journey.passages}
        for passage in operation.passages:
            known = passages.get(passage.address)
            if known is None or _goes_on(known, passage):
                passages[passage.address] = passage
        self._replace(journey, tuple(passages.values()))

    def _settle(self, operation: Settled) -> None:
        journey = self.by_key.get(operation.key)
        if journey is None:
            return
        addresses = frozenset(operation.addresses)
        settled = tuple(
            msgspec.structs.replace(passage, standing=operation.standing, at=operation.at)
            if passage.address in addresses and passage.standing == Standing.WAITING
            else passage
            for passage in journey.passages
        )
        self._replace(journey, settled)

    def _replace(self, journey: Journey, passages: tuple[Passage, ...]) -> None:
        self.outstanding -= len(journey.waiting())
        journey.passages = passages
        self.outstanding += len(journey.waiting())
        self.by_key[journey.key] = journey

    def forget(self, now: float) -> None:
        """
        Let go of what has ended and is old, or too much.
        """
        ended = [journey for journey in self.by_key.values() if not journey.waiting()]
        surplus = len(ended) - ENDED_LIMIT
        for index, journey in enumerate(sorted(ended, key=lambda each: each.at)):
            if index < surplus or journey.at < now - ENDED_KEPT_S:
                del self.by_key[journey.key]

    # Snapshots.

    def chunks(self) -> list[bytes]:
        """
        What is known, in pieces by the day on which the messages were sent.
        """
        days: dict[int, list[_JourneyState]] = {}
        for j in self.by_key.values():
            state = _JourneyState(*fields(j), j.passages, j.warned)
            days.setdefault(j.at // DAY_S, []).append(state)
        return [
            chunk
            for day in sorted(days)
            for start in range(0, len(days[day]), CHUNK_JOURNEYS)
            for chunk in _pack(days[day][start : start + CHUNK_JOURNEYS])
        ]

    def restore(self, chunk: bytes) -> None:
        """
        Add what is in one piece.

        @raise PeerError: if it is none.
        """
        for state in unpack(_Journeys, chunk):
            # One to very many people is in several pieces.
            journey = self.by_key.get(state.key) or Journey(*fields(state), (), state.warned)
            self._replace(journey, (*journey.passages, *state.passages))

    def missing(self, other: Journeys) -> Iterator[Dispatched | SenderWarned]:
        """
        What C{other} knows and this does not.
        """
        for key, journey in other.by_key.items():
            if key not in self.by_key:
                yield from journey.operations()


def fields(of: Journey | _JourneyState | Dispatched) -> tuple[bytes, int, str, bytes, int, int]:
    """
    What the three have in common, in order.
    """
    return of.key, of.at, of.sender, of.message, of.size, of.copies


def shown(journey: Journey) -> ShownJourney:
    """
    C{journey} as it is shown.
    """
    return ShownJourney(
        journey.key.hex(),
        journey.at,
        journey.size,
        journey.copies,
        tuple(
            ShownPassage(each.address, each.standing.name.lower(), each.at, each.expires, each.copies)
            for each in journey.passages
        ),
    )


def _goes_on(known: Passage, passage: Passage) -> bool:
    """
    Whether C{passage}, of the same message sent again, says more than what is known.  What has arrived has arrived; and
    what was said before the message was given up, and is heard again, does not undo that.
    """
    if known.standing == Standing.DELIVERED:
        return False
    return passage.standing == Standing.DELIVERED or passage.at > known.at


def _pack(states: Sequence[_JourneyState]) -> Iterable[bytes]:
    packed = pack(tuple(states))
    if len(packed) <= CHUNK_LIMIT:
        yield packed
        return
    if len(states) == 1:
        # The same message may be sent again and again, to others each time.  What is longer than a block could not be
        # read back, and with it the whole mailbox.
        [state] = states
        middle = len(state.passages) // 2
        for passages in (state.passages[:middle], state.passages[middle:]):
            yield from _pack([msgspec.structs.replace(state, passages=passages)])
        return
    half = len(states) // 2
    yield from _pack(states[:half])
    yield from _pack(states[half:])
