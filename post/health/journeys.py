"""
What a person sent lately, as it is shown: where each message stands (L{post.mail.journeys}), and its subject.

The record of a journey has no subject; it is in the message's header, which is read from the ring once, in the
background, and remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from email.errors import MessageError
from email.header import decode_header, make_header

import msgspec

from post.errors import PostError
from post.mail.headers import field
from post.mail.journeys import Journey, ShownJourney, shown
from post.mail.letter import LetterBox
from post.mail.mime import HEADER_LIMIT, header_end
from post.tasks import Tasks

SHOWN_LIMIT = 15
"""Messages shown: those of the last days, for most people."""
RECIPIENTS_LIMIT = 8
"""Of one message, those first whom it has not reached; of more it is counted how many stand how."""
SUBJECT_LIMIT = 120
"""Characters of a subject."""
KNOWN_LIMIT = 500
"""Subjects remembered."""


class Sent(msgspec.Struct, frozen=True):
    """
    One message.  C{subject} is for nobody but its sender, and C{None} while it is not known; C{gone} says that it
    cannot be, since the copy in Sent has been deleted.
    """

    journey: ShownJourney
    subject: str | None
    gone: bool = False


class Subjects:
    """
    Those of one account's messages.
    """

    def __init__(self, letters: LetterBox, tasks: Tasks) -> None:
        self._letters = letters
        self._tasks = tasks
        self._known: OrderedDict[bytes, str | None] = OrderedDict()
        self._reading = False

    def of(self, journeys: Sequence[Journey]) -> tuple[Sent, ...]:
        """
        The newest of C{journeys}, which are in that order.  What is not known yet is read, to be known next time.
        """
        newest = journeys[:SHOWN_LIMIT]
        unknown = [journey for journey in newest if journey.message and journey.message not in self._known]
        if unknown and not self._reading:
            self._reading = True
            self._tasks.spawn(self._read(unknown))
        return tuple(Sent(shown(journey), self._known.get(journey.message), not journey.message) for journey in newest)

    async def _read(self, journeys: Sequence[Journey]) -> None:
        try:
            for journey in journeys:
                try:
                    start = await self._letters.read(journey.message, 0, min(journey.size, HEADER_LIMIT))
                except PostError:
                    continue  # Asked again when the page is.
                # What the text quotes is not this message's.
                self._known[journey.message] = subject(start[: header_end(start)])
                if len(self._known) > KNOWN_LIMIT:
                    self._known.popitem(last=False)
        finally:
            self._reading = False


def subject(header: bytes) -> str:
    """
    What stands in the Subject field of a header (RFC 2047), on one line; empty if there is none.
    """
    value = (field(header, b"subject") or b"").decode("utf-8", "replace")
    try:
        text = str(make_header(decode_header(value)))
    except (MessageError, LookupError, ValueError):
        text = value  # Of an unknown charset, or broken: as it was written.
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= SUBJECT_LIMIT else f"{line[: SUBJECT_LIMIT - 1]}…"
