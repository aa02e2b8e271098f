"""
Keeping a mailbox's leases alive (POST, section 2: what nobody refers to any more may be given up in time).

Everything stored has an expiry.  The owner of a mailbox looks after what it refers to: several times within a lease,
the node walks through all messages, and through the log's own clusters and snapshot, and has each block kept for a
whole lease more.  A walk that does not come to its end (too little of the ring answers, the computer is switched off)
is begun again the next day; doing it twice costs traffic and changes nothing.
"""

from __future__ import annotations

from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.crypto.convergent import Reference
from post.errors import NotFound, PeerError, PostError
from post.interfaces import IJournal
from post.mail.letter import LetterBox
from post.mail.mailbox import Mailbox
from post.messaging.log import Log
from post.past.node import Past
from post.tasks import sleep
from post.wire import unpack

WALKS_PER_LEASE = 4
"""A walk may fail, and a person may be away for half a year; with leases of 800 days, three walks may be missed."""
RETRY_S = 86400.0
"""Before a walk that did not come to its end is begun again."""
LOOK_S = 86400.0
"""Between two looks at whether a walk is due, at most: a newer policy may have made leases shorter."""
BATCH = 500
"""Handles renewed at a time: 10 KB to each of their holders."""
PAUSE_S = 1.0
"""Between two batches: a walk through a million blocks may take half an hour, but disturbs nobody."""


class Renewal:
    """
    Renews what one mailbox refers to.
    """

    log = Logger()

    def __init__(
        self,
        past: Past,
        mailbox: Mailbox,
        letters: LetterBox,
        mailbox_log: Log,
        journal: IJournal,
        clock: IReactorTime,
        random: Random,
        lease_s: int,
    ) -> None:
        self._past = past
        self._mailbox = mailbox
        self._letters = letters
        self._log = mailbox_log
        self._journal = journal
        self._clock = clock
        self._random = random
        self.lease_s = lease_s

    async def run(self) -> None:
        """
        For as long as the mailbox is open.
        """
        while True:
            try:
                pause_s = await self._walk_when_due()
            except PostError as error:
                # Our disk, say.  It may recover, and a walk too many does no harm.
                self.log.warn("that leases were renewed could not be noted: {error}", error=error)
                pause_s = self._retry_s()
            await sleep(self._clock, pause_s)

    async def _walk_when_due(self) -> float:
        """
        Returns for how long there is nothing to do, or to look at.
        """
        now = self._clock.seconds()
        # A mailbox that has just come from the ring is walked at once: nobody knows when it was last.
        due_s = self._last() + self.lease_s / WALKS_PER_LEASE * self._random.uniform(0.9, 1.0) - now
        if due_s > 0:
            return min(due_s, LOOK_S)
        if not await self.walk():
            return self._retry_s()
        await self._journal.write([], [("renewed", int(now).to_bytes(8, "big"))])
        return 0.0

    def _retry_s(self) -> float:
        """
        Much less than what is left of a lease when a walk is due, however short leases are.
        """
        return min(RETRY_S, self.lease_s / WALKS_PER_LEASE / 4) * self._random.uniform(0.8, 1.2)

    def _last(self) -> int:
        return int.from_bytes(self._journal.value("renewed") or b"", "big")

    async def walk(self) -> bool:
        """
        Once through everything; returns whether all of it was asked for.
        """
        expires = int(self._clock.seconds()) + self.lease_s
        complete, wanting, count = True, 0, 0
        try:
            waiting = await self._log.handles()
            shown = self._mailbox.state.preferences.references()
            waiting += [unpack(Reference, reference).handle for reference in shown]
            for reference in dict.fromkeys(entry.message for entry in self._mailbox.state.by_key.values()):
                try:
                    waiting += await self._letters.handles(reference)
                except (NotFound, PeerError) as error:
                    # Lost, or never what it should be: no later walk could do better.
                    self.log.warn("a message cannot be renewed: {error}", error=error)
                except PostError as error:
                    self.log.info("a message is not renewed yet: {error}", error=error)
                    complete = False
                while len(waiting) >= BATCH:
                    wanting += await self._past.renew(waiting[:BATCH], expires)
                    count += BATCH
                    del waiting[:BATCH]
                    await sleep(self._clock, PAUSE_S)
            wanting += await self._past.renew(waiting, expires)
            count += len(waiting)
        except PostError as error:
            self.log.info("leases are not renewed yet: {error}", error=error)
            return False
        self.log.info(
            "renewed {count} blocks; {wanting} copies were not where they should be", count=count, wanting=wanting
        )
        # Where most copies were not found, the ring was not as it should be; somebody mends it, and we ask again.
        return complete and wanting <= count
