"""
Following what an account has sent until it has arrived, and telling its sender if it does not (POST, section 3.3).

A notification that waits is remembered in the sender's own log, so whatever machine the account lives on goes on with
it.  That it has arrived is heard at once where this node sees the receipt by itself; otherwise the ring is asked for
the receipt, which takes the notification's place there, at growing pauses.  A message that has waited for long, and one
whose time is over, gets a notice in the sender's own Inbox.  Its key follows from the message, and it is filed in the
same record that ends the wait: there is never a second one.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from random import Random

import msgspec
from twisted.internet.defer import CancelledError, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import Overloaded, PostError
from post.ids import Handle
from post.mail.agenda import Agenda, Due
from post.mail.journeys import Journey, fields
from post.mail.letter import Letter, LetterBox
from post.mail.mailbox import Mailbox
from post.mail.notices import Notices, delayed, ended, unheard
from post.mail.outbox import Outbox
from post.mail.records import (
    PASSAGES_LIMIT,
    AnyOperation,
    Dispatched,
    Passage,
    SenderWarned,
    Settled,
    Standing,
)
from post.mail.whereabouts import News, Whereabouts
from post.messaging.account import Account
from post.messaging.dispatch import Dispatch
from post.messaging.notification import CLOCK_SKEW_S
from post.past.node import Past
from post.tasks import Tasks, gather, sleep

OUTSTANDING_LIMIT = 100_000
"""Recipients for whom messages of one account wait: 110 MB of memory.  Beyond it nothing more is taken."""
FIRST_S = 60.0
"""After a message was accepted, before the ring is asked whether it has arrived."""
PAUSE_LIMIT_S = 86400.0
"""The pause doubles up to here.  Each question is 20 octets to those who keep the notification."""
WARN_S = 5 * 86400
"""A message that has waited for so long gets the one notice that it is delayed.  People who are off at night, or for a
weekend and a day, are no reason for a notice."""
MARGIN_S = CLOCK_SKEW_S
"""After its end a message may still be taken by a recipient whose clock is late; a notice waits for that."""
AGAIN_S = 3600.0
"""Before what became of a message is asked again, where too few answered to know."""
DECIDE_S = 7 * 86400
"""For so long after its end the ring is asked; then what is known by then has to do."""
CHECKS_LIMIT = 200
"""Messages asked for at once: 4 KB to each of their holders."""
ENDS_LIMIT = 8
"""Of these, those whose end is found out, or whose notice is written, at once."""
RATE = 20.0
"""Messages a second that become due after a start, at most."""
GATHER_S = 1.0
"""What has arrived within so long is noted together: who comes back fetches hundreds at once."""
FLUSH_S = 10.0
"""For so long what was delivered at once is only in memory: the next message's record takes it along, which costs the
ring nothing.  What a crash loses of it is shown to nobody and waited for by nobody."""


class Tracking:
    """
    Follows the messages of one account.
    """

    log = Logger()

    def __init__(
        self,
        account: Account,
        mailbox: Mailbox,
        letters: LetterBox,
        past: Past,
        dispatch: Dispatch,
        clock: IReactorTime,
        random: Random,
        tasks: Tasks,
        outbox: Outbox | None = None,
    ) -> None:
        self._mailbox = mailbox
        self._notices = Notices(account, mailbox, letters, clock)
        self._whereabouts = Whereabouts(past, outbox)
        self._dispatch = dispatch
        self._clock = clock
        self._random = random
        self._tasks = tasks
        self._agenda = Agenda(clock)
        self._by_handle: dict[Handle, tuple[bytes, str]] = {}
        self._fresh: dict[bytes, Dispatched] = {}
        """What was delivered at once, and is in no record yet."""
        self._arrived: list[News] = []
        """What has arrived and is in no record yet."""
        self._restored = -1
        dispatch.receipts.append(self._heard)

    def stop(self) -> None:
        """
        Hear no more.
        """
        if self._heard in self._dispatch.receipts:
            self._dispatch.receipts.remove(self._heard)

    # What was sent.

    def check_room(self) -> None:
        """
        @raise Overloaded: if so much waits already that nothing more can be sent.
        """
        if self._mailbox.state.journeys.outstanding >= OUTSTANDING_LIMIT:
            raise Overloaded("too many messages of yours wait for people who are off-line")

    def take_fresh(self) -> tuple[AnyOperation, ...]:
        """
        What the next record is to take along: at most one message's worth of recipients.
        """
        key = next(iter(self._fresh), None)
        return (self._fresh.pop(key),) if key is not None else ()

    async def note(self, key: bytes, sender: str, letter: Letter, passages: Sequence[Passage]) -> None:
        """
        A message was accepted: C{key} is that of its entry in Sent.  Where somebody has to be waited for, this returns
        when the ring knows that.

        @raise PostError: if it does not now.
        """
        now = self._now()
        journey = Journey(key, now, sender[:320], letter.reference, letter.size, letter.copies, tuple(passages))
        if journey.waiting():
            await self._mailbox.keep(journey.operations())
            self._watch(key)
            return
        journey.sender, journey.message = "", b""
        operations = list(journey.operations())
        for operation in operations:
            if len(operations) == 1 and isinstance(operation, Dispatched):
                if not self._fresh:
                    self._tasks.spawn(self._flush())
                self._fresh[key] = operation
            else:
                await self._mailbox.commit([operation])

    async def refuse(self, key: bytes, addresses: Sequence[str]) -> None:
        """
        Of these recipients of a message that was accepted it is known that they cannot get it: tell its sender.

        @raise PostError: if the ring does not keep that now.
        """
        journey = self._mailbox.state.journeys.by_key.get(key)
        if addresses and journey is not None:
            await self._give_up(journey, dict.fromkeys(addresses, Standing.REFUSED))

    async def _flush(self) -> None:
        await sleep(self._clock, FLUSH_S)
        fresh, self._fresh = list(self._fresh.values()), {}
        try:
            await self._mailbox.commit(fresh)
        except PostError as error:
            self.log.info("what was delivered is not noted: {error}", error=error)

    def sent(self) -> Sequence[Journey]:
        """
        See L{post.mail.interfaces.ISubmission.sent}.
        """
        known = dict(self._mailbox.state.journeys.by_key)
        for key, operation in self._fresh.items():
            if key not in known:
                known[key] = Journey(*fields(operation), operation.passages)
        return [self._with_message(each) for each in sorted(known.values(), key=lambda each: each.at, reverse=True)]

    def _with_message(self, journey: Journey) -> Journey:
        """
        C{journey} with the reference of its message, where that is in Sent only.
        """
        entry = self._mailbox.state.by_key.get(journey.key) if not journey.message else None
        return msgspec.structs.replace(journey, message=entry.message) if entry is not None else journey

    def _heard(self, handle: Handle, at: int) -> None:
        found = self._by_handle.pop(handle, None)
        if found is not None:
            if not self._arrived:
                self._tasks.spawn(self._settle_soon())
            key, address = found
            self._arrived.append(News(key, address, Standing.DELIVERED, at))

    async def _settle_soon(self) -> None:
        await sleep(self._clock, GATHER_S)
        arrived, self._arrived = self._arrived, []
        try:
            await self._settle(arrived)
        except PostError as error:
            # The ring is asked for the receipts, as after a crash.
            self.log.info("what has arrived is not noted: {error}", error=error)

    async def _settle(self, news: Sequence[News]) -> None:
        """
        Note for whom which messages wait no longer.  If a crash loses it, the ring is asked again.
        """
        operations: list[Settled] = []
        for key, address, standing, at in news:
            journey = self._mailbox.state.journeys.by_key.get(key)
            waiting = journey.waiting() if journey is not None else ()
            for passage in waiting:
                if passage.address == address:
                    operations.append(Settled(key, (address,), standing, at))
                    self._forget([passage])
        await self._mailbox.commit_together(operations)

    def _forget(self, passages: Sequence[Passage]) -> None:
        for passage in passages:
            if passage.handle is not None:
                self._by_handle.pop(passage.handle, None)

    # When to look.

    async def run(self) -> None:
        """
        For as long as the mailbox is open.
        """
        while True:
            if self._restored != self._mailbox.restored:
                self._begin()
            # Not waiting for much longer, since the mailbox may catch up with the ring meanwhile.
            due = await self._agenda.take(CHECKS_LIMIT, AGAIN_S)
            if due:
                await self._look(due)

    def _begin(self) -> None:
        """
        Take up what the mailbox knows.
        """
        self._restored = self._mailbox.restored
        self._by_handle = {}
        waiting = [journey for journey in self._mailbox.state.journeys.by_key.values() if journey.waiting()]
        spread_s = min(AGAIN_S, len(waiting) / RATE)
        now = self._clock.seconds()
        for journey in waiting:
            self._by_handle.update(_handles(journey))
        # Soon: nobody knows how long this machine was off.
        self._agenda.replace(Due(now + self._random.uniform(0, spread_s), FIRST_S, journey.key) for journey in waiting)

    def _watch(self, key: bytes) -> None:
        journey = self._mailbox.state.journeys.by_key.get(key)
        # Nobody may be waited for: what has arrived before has arrived, although this time they do not answer.
        if journey is not None and journey.waiting():
            self._by_handle.update(_handles(journey))
            self._later(journey, FIRST_S)

    def _later(self, journey: Journey, pause_s: float) -> None:
        """
        Look at it after C{pause_s}, or when a notice is due.
        """
        now = self._clock.seconds()
        times = [now + pause_s * self._random.uniform(0.9, 1.1)]
        times += [at for at in (self._warn_at(journey), self._ends_at(journey)) if at > now]
        self._agenda.add(Due(min(times), min(PAUSE_LIMIT_S, 2 * pause_s), journey.key))

    # Looking.

    async def _look(self, due: Sequence[Due]) -> None:
        """
        See how these messages stand; each is looked at again after its pause, if it waits on.
        """
        now = self._clock.seconds()
        turns = DeferredSemaphore(ENDS_LIMIT)
        try:
            await self._settle(await self._whereabouts.arrived(self._waiting(due)))
            await gather(self._look_closely(turns, journey) for journey in self._waiting(due))
        except PostError as error:
            self.log.info("where {count} messages stand is not known now: {error}", count=len(due), error=error)
        except CancelledError:
            raise
        except Exception:
            self.log.failure("messages cannot be followed now")
        pauses = {each.key: each.pause_s for each in due}
        for journey in self._waiting(due):
            self._later(journey, pauses[journey.key] if now < self._ends_at(journey) else AGAIN_S)

    def _waiting(self, due: Sequence[Due]) -> list[Journey]:
        """
        Those of C{due} that still wait, as they are now.
        """
        known = self._mailbox.state.journeys.by_key
        return [known[key] for key in dict.fromkeys(each.key for each in due) if key in known and known[key].waiting()]

    async def _look_closely(self, turns: DeferredSemaphore, journey: Journey) -> None:
        """
        Note what gateways have done; give the sender the notice that is due, if one is.
        """
        await turns.acquire()
        try:
            await self._settle(await self._whereabouts.handed_on(journey))
            renewed = await self._whereabouts.renewed(journey)
            if renewed:
                again = msgspec.structs.replace(journey, passages=tuple(renewed))
                await self._mailbox.keep(again.operations())
            now = self._clock.seconds()
            for group in self._whereabouts.groups(journey):
                if now >= _end_of(group):
                    await self._end(journey, group, now >= _end_of(group) + DECIDE_S)
            if now >= self._warn_at(journey):
                await self._warn(journey)
        except PostError as error:
            key = journey.key[:4].hex()
            self.log.info("where message {key} stands is not known now: {error}", key=key, error=error)
        finally:
            turns.release()

    async def _end(self, journey: Journey, group: Sequence[Passage], late: bool) -> None:
        """
        Their time is over: note what became of it, and tell the sender unless it arrived everywhere.
        """
        fates: dict[str, Standing] = {}
        arrived: list[News] = []
        for passage in group:
            standing, at = await self._whereabouts.became(passage, late)
            if standing is Standing.WAITING:
                return  # Too few answered to know: all recipients get one notice together.
            if standing is Standing.DELIVERED:
                arrived.append(News(journey.key, passage.address, standing, at))
            else:
                fates[passage.address] = standing
        await self._settle(arrived)
        if fates:
            await self._give_up(journey, fates)

    # Telling the sender.

    async def _give_up(self, journey: Journey, fates: dict[str, Standing]) -> None:
        """
        One notice; for very many recipients several, as each has to fit a record with what it says of them.
        """
        lost = [passage for passage in journey.passages if passage.address in fates]
        for start in range(0, len(lost), PASSAGES_LIMIT):
            batch, now = lost[start : start + PASSAGES_LIMIT], self._now()
            operations: list[AnyOperation] = []
            for standing in (Standing.EXPIRED, Standing.UNKNOWN, Standing.REFUSED):
                addresses = tuple(passage.address for passage in batch if fates[passage.address] == standing)
                if addresses:
                    operations.append(Settled(journey.key, addresses, standing, now))
            told = [
                unheard(passage) if self._whereabouts.is_outside(passage) else ended(passage, fates[passage.address])
                for passage in batch
            ]
            await self._notices.tell(journey, "ended", told, operations)
            self._forget(batch)

    async def _warn(self, journey: Journey) -> None:
        # Of mail for outside the gateways tell.
        told = [delayed(passage, self._now()) for passage in self._whereabouts.inside(journey)]
        await self._notices.tell(journey, "delayed", told, [SenderWarned(journey.key)])

    def _ends_at(self, journey: Journey) -> float:
        """
        When the time is over for the first of its L{groups<Whereabouts.groups>}.
        """
        return min(_end_of(group) for group in self._whereabouts.groups(journey))

    def _warn_at(self, journey: Journey) -> float:
        """
        Never, if that is hardly before its end.
        """
        inside = self._whereabouts.inside(journey)
        if journey.warned or not journey.sender or not inside or journey.at + 2 * WARN_S > _end_of(inside):
            return inf
        return journey.at + WARN_S

    def _now(self) -> int:
        return int(self._clock.seconds())


def _handles(journey: Journey) -> list[tuple[Handle, tuple[bytes, str]]]:
    return [
        (passage.handle, (journey.key, passage.address)) for passage in journey.waiting() if passage.handle is not None
    ]


def _end_of(group: Sequence[Passage]) -> float:
    return max(passage.expires for passage in group) + MARGIN_S
