"""
What the ring says of messages that wait: whether there is a receipt where a notification waited, and what a gateway has
made of what was for outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from twisted.logger import Logger

from post.errors import PostError
from post.ids import Handle
from post.mail.journeys import Journey
from post.mail.outbox import Outbox
from post.mail.records import Passage, Standing
from post.messaging.notification import receipt_time
from post.messaging.pending import DELIVERED, PENDING, receipt_in
from post.past.node import Past


class News(NamedTuple):
    """
    For C{address}, the message filed in Sent as C{key} stands so since C{at} (unix seconds).
    """

    key: bytes
    address: str
    standing: Standing
    at: int


class Whereabouts:
    """
    Asks the ring.
    """

    log = Logger()

    def __init__(self, past: Past, outbox: Outbox | None) -> None:
        self._past = past
        self._outbox = outbox

    def is_outside(self, passage: Passage) -> bool:
        """
        Whether that is a gateway's business.
        """
        return self._outbox is not None and self._outbox.is_outside(passage.address)

    def inside(self, journey: Journey) -> list[Passage]:
        """
        For whom in the organisation it waits.
        """
        return [passage for passage in journey.waiting() if not self.is_outside(passage)]

    def outside(self, journey: Journey) -> list[Passage]:
        """
        And for whom elsewhere.
        """
        return [passage for passage in journey.waiting() if self.is_outside(passage)]

    def groups(self, journey: Journey) -> list[list[Passage]]:
        """
        The two apart, as far as there are any: their times end apart.
        """
        return [group for group in (self.inside(journey), self.outside(journey)) if group]

    async def arrived(self, journeys: Sequence[Journey]) -> list[News]:
        """
        For whom in the organisation there is a receipt: asked for all at once, without fetching what waits on.
        """
        passages = [
            (journey.key, passage.address, passage.handle)
            for journey in journeys
            for passage in self.inside(journey)
            if passage.handle is not None
        ]
        found: list[News] = []
        sightings = await self._past.lookout.look([handle for _, _, handle in passages])
        for (key, address, handle), sighting in zip(passages, sightings, strict=True):
            if DELIVERED in sighting.orders.values():
                # So somebody says; the recipient's signature tells.
                receipt = await self._receipt(handle)
                if receipt is not None:
                    found.append(News(key, address, Standing.DELIVERED, receipt_time(receipt)))
        return found

    async def _receipt(self, handle: Handle) -> bytes | None:
        try:
            return _receipt_in(await self._past.shown(PENDING, handle))
        except PostError:
            return None

    async def handed_on(self, journey: Journey) -> list[News]:
        """
        For whom outside a gateway has seen to it, as far as that can be known now.
        """
        outside = self.outside(journey)
        if not outside or self._outbox is None:
            return []
        try:
            return [News(journey.key, *gone) for gone in await self._outbox.became(outside)]
        except PostError as error:
            self.log.debug("where {key} stands is not known now: {error}", key=journey.key[:4].hex(), error=error)
            return []

    async def renewed(self, journey: Journey) -> list[Passage]:
        """
        Where it waits for people outside from now on, as far as it had to be handed over anew and that could be done.
        """
        outside = self.outside(journey)
        if not outside or self._outbox is None:
            return []
        try:
            return await self._outbox.renew(outside)
        except PostError as error:
            self.log.info("{key} is not handed over anew: {error}", key=journey.key[:4].hex(), error=error)
            return []

    async def became(self, passage: Passage, late: bool) -> tuple[Standing, int]:
        """
        How it stands for one recipient whose time is over, and since when; still waiting if that cannot be known yet,
        and it is not too C{late} to ask on.

        @raise PostError: if nobody can be asked now.
        """
        if passage.handle is None:
            return Standing.UNKNOWN, 0
        if self.is_outside(passage):
            return (Standing.UNKNOWN if late else Standing.WAITING), 0
        shown = await self._past.shown(PENDING, passage.handle)
        receipt = _receipt_in(shown)
        if receipt is not None:
            return Standing.DELIVERED, receipt_time(receipt)
        if not late and (None in shown or len(shown) <= self._past.minimum):
            return Standing.WAITING, 0
        return (Standing.EXPIRED if any(shown) else Standing.UNKNOWN), 0


def _receipt_in(shown: Sequence[bytes | None]) -> bytes | None:
    return next((receipt for data in shown if data and (receipt := receipt_in(data)) is not None), None)
