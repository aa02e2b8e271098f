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
from heapq import heapify, heappop, heappush
from math import inf
from random import Random

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import NotFound, Overloaded, PostError
from post.ids import Handle
from post.mail.journeys import Journey, fields
from post.mail.letter import Letter, LetterBox
from post.mail.mailbox import Mailbox
from post.mail.notices import Notices, delayed, ended
from post.mail.records import (
    PASSAGES_LIMIT,
    AnyOperation,
    Dispatched,
    Passage,
    SenderWarned,
    Settled,
    Standing,
)
from post.messaging.account import Account
from post.messaging.dispatch import Dispatch
from post.messaging.notification import CLOCK_SKEW_S, receipt_time
from post.messaging.pending import PENDING, receipt_in
from post.past.node import Past
from post.tasks import Tasks, gather, sleep

OUTSTANDING_LIMIT = 100_000
"""Recipients for whom messages of one account wait: 110 MB of memory.  Beyond it nothing more is taken."""
FIRST_S = 60.0
"""After a message was accepted, before the ring is asked whether it has arrived."""
PAUSE_LIMIT_S = 86400.0
"""The pause doubles up to here.  Each question is one small object from one of its holders."""
WARN_S = 5 * 86400
"""A message that has waited for so long gets the one notice that it is delayed.  People who are off at night, or for a
weekend and a day, are no reason for a notice."""
MARGIN_S = CLOCK_SKEW_S
"""After its end a message may still be taken by a recipient whose clock is late; a notice waits for that."""
AGAIN_S = 3600.0
"""Before what became of a message is asked again, where too few answered to know."""
DECIDE_S = 7 * 86400
"""For so long after its end the ring is asked; then what is known by then has to do."""
CHECKS_LIMIT = 8
"""Messages asked for at once."""
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
    ) -> None:
        self._mailbox = mailbox
        self._notices = Notices(account, mailbox, letters, clock)
        self._past = past
        self._dispatch = dispatch
        self._clock = clock
        self._random = random
        self._tasks = tasks
        self._due: list[tuple[float, float, bytes]] = []
        """When a message is looked at, the pause after that, and its key: a heap."""
        self._by_handle: dict[Handle, tuple[bytes, str]] = {}
        self._fresh: dict[bytes, Dispatched] = {}
        """What was delivered at once, and is in no record yet."""
        self._arrived: list[tuple[bytes, str, int]] = []
        """Keys, recipients, and when, of what has arrived and is in no record yet."""
        self._restored = -1
        self._sleeping: Deferred[None] | None = None
        self._nudged = False
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
        return sorted(known.values(), key=lambda journey: journey.at, reverse=True)

    def _heard(self, handle: Handle, at: int) -> None:
        found = self._by_handle.pop(handle, None)
        if found is not None:
            if not self._arrived:
                self._tasks.spawn(self._settle_soon())
            key, address = found
            self._arrived.append((key, address, at))

    async def _settle_soon(self) -> None:
        await sleep(self._clock, GATHER_S)
        arrived, self._arrived = self._arrived, []
        try:
            await self._settle(arrived)
        except PostError as error:
            # The ring is asked for the receipts, as after a crash.
            self.log.info("what has arrived is not noted: {error}", error=error)

    async def _settle(self, arrived: Sequence[tuple[bytes, str, int]]) -> None:
        """
        Note for whom which messages wait no longer.  If a crash loses it, the ring is asked again.
        """
        known = self._mailbox.state.journeys.by_key
        await self._mailbox.commit_together(
            [
                Settled(key, (address,), Standing.DELIVERED, at)
                for key, address, at in arrived
                if key in known and any(passage.address == address for passage in known[key].waiting())
            ]
        )

    # When to look.

    async def run(self) -> None:
        """
        For as long as the mailbox is open.
        """
        while True:
            if self._restored != self._mailbox.restored:
                self._begin()
            now = self._clock.seconds()
            ready: list[tuple[float, bytes]] = []
            while self._due and self._due[0][0] <= now and len(ready) < CHECKS_LIMIT:
                _, pause_s, key = heappop(self._due)
                ready.append((pause_s, key))
            if not ready:
                # Not for much longer, since the mailbox may catch up with the ring meanwhile.
                await self._rest(min(AGAIN_S, self._due[0][0] - now if self._due else AGAIN_S))
                continue
            try:
                await gather(self._look(key, pause_s) for pause_s, key in ready)
            except CancelledError:
                raise
            except Exception:
                self.log.failure("a message cannot be followed until the next start")

    async def _rest(self, seconds: float) -> None:
        self._nudged = False
        self._sleeping = sleep(self._clock, max(0.0, seconds))
        try:
            await self._sleeping
        except CancelledError:
            if not self._nudged:
                raise  # Our service stops.
        finally:
            self._sleeping = None

    def _nudge(self) -> None:
        if self._sleeping is not None and not self._nudged:
            self._nudged = True
            self._sleeping.cancel()

    def _begin(self) -> None:
        """
        Take up what the mailbox knows.
        """
        self._restored = self._mailbox.restored
        self._due, self._by_handle = [], {}
        waiting = [journey for journey in self._mailbox.state.journeys.by_key.values() if journey.waiting()]
        spread_s = min(AGAIN_S, len(waiting) / RATE)
        now = self._clock.seconds()
        for journey in waiting:
            self._by_handle.update(_handles(journey))
            # Soon: nobody knows how long this machine was off.
            self._due.append((now + self._random.uniform(0, spread_s), FIRST_S, journey.key))
        heapify(self._due)

    def _watch(self, key: bytes) -> None:
        journey = self._mailbox.state.journeys.by_key.get(key)
        if journey is not None:
            self._by_handle.update(_handles(journey))
            self._later(journey, FIRST_S)
            self._nudge()

    def _later(self, journey: Journey, pause_s: float) -> None:
        """
        Look at it after C{pause_s}, or when a notice is due.
        """
        now = self._clock.seconds()
        times = [now + pause_s * self._random.uniform(0.9, 1.1)]
        times += [at for at in (_warn_at(journey), _ends_at(journey)) if at > now]
        heappush(self._due, (min(times), min(PAUSE_LIMIT_S, 2 * pause_s), journey.key))

    # Looking.

    async def _look(self, key: bytes, pause_s: float) -> None:
        journey = self._mailbox.state.journeys.by_key.get(key)
        if journey is None or not journey.waiting():
            return
        try:
            if self._clock.seconds() >= _ends_at(journey):
                await self._end(journey)
                pause_s = AGAIN_S
            else:
                await self._ask(journey)
                if journey.waiting() and self._clock.seconds() >= _warn_at(journey):
                    await self._warn(journey)
        except PostError as error:
            self.log.info("where message {key} stands is not known now: {error}", key=key[:4].hex(), error=error)
        journey = self._mailbox.state.journeys.by_key.get(key)
        if journey is not None and journey.waiting():
            self._later(journey, pause_s)
        else:
            self._forget(key)

    def _forget(self, key: bytes) -> None:
        journey = self._mailbox.state.journeys.by_key.get(key)
        for handle, _ in _handles(journey) if journey is not None else ():
            self._by_handle.pop(handle, None)

    async def _ask(self, journey: Journey) -> None:
        """
        Whether there is a receipt where a notification waited.
        """
        arrived: list[tuple[bytes, str, int]] = []
        for passage in journey.waiting():
            if passage.handle is None:
                continue
            try:
                receipt = receipt_in(await self._past.lookup(PENDING, passage.handle))
            except NotFound:
                continue
            if receipt is not None:
                arrived.append((journey.key, passage.address, receipt_time(receipt)))
        await self._settle(arrived)

    async def _end(self, journey: Journey) -> None:
        """
        Its time is over: note what became of it, and tell the sender unless it arrived everywhere.
        """
        late = self._clock.seconds() >= _ends_at(journey) + DECIDE_S
        fates: dict[str, Standing] = {}
        arrived: list[tuple[bytes, str, int]] = []
        for passage in journey.waiting():
            standing, at = await self._became(passage, late)
            if standing is Standing.WAITING:
                return  # Too few answered to know: all recipients get one notice together.
            if standing is Standing.DELIVERED:
                arrived.append((journey.key, passage.address, at))
            else:
                fates[passage.address] = standing
        await self._settle(arrived)
        if fates:
            await self._give_up(journey, fates)

    async def _became(self, passage: Passage, late: bool) -> tuple[Standing, int]:
        """
        How it stands now for one recipient, and since when; still waiting if that cannot be known yet.
        """
        if passage.handle is None:
            return Standing.UNKNOWN, 0
        shown = await self._past.shown(PENDING, passage.handle)
        receipts = [receipt for data in shown if data and (receipt := receipt_in(data)) is not None]
        if receipts:
            return Standing.DELIVERED, receipt_time(receipts[0])
        if not late and (None in shown or len(shown) <= self._past.minimum):
            return Standing.WAITING, 0
        return (Standing.EXPIRED if any(shown) else Standing.UNKNOWN), 0

    # Telling the sender.

    async def _give_up(self, journey: Journey, fates: dict[str, Standing]) -> None:
        """
        One notice; for very many recipients several, as each has to fit a record with what it says of them.
        """
        lost = [passage for passage in journey.passages if passage.address in fates]
        for start in range(0, len(lost), PASSAGES_LIMIT):
            batch, now = lost[start : start + PASSAGES_LIMIT], self._now()
            operations: list[AnyOperation] = []
            for standing in (Standing.EXPIRED, Standing.UNKNOWN):
                addresses = tuple(passage.address for passage in batch if fates[passage.address] == standing)
                if addresses:
                    operations.append(Settled(journey.key, addresses, standing, now))
            told = [ended(passage, fates[passage.address]) for passage in batch]
            await self._notices.tell(journey, "ended", told, operations)

    async def _warn(self, journey: Journey) -> None:
        told = [delayed(passage, self._now()) for passage in journey.waiting()]
        if told:
            await self._notices.tell(journey, "delayed", told, [SenderWarned(journey.key)])

    def _now(self) -> int:
        return int(self._clock.seconds())


def _handles(journey: Journey) -> list[tuple[Handle, tuple[bytes, str]]]:
    return [
        (passage.handle, (journey.key, passage.address)) for passage in journey.waiting() if passage.handle is not None
    ]


def _ends_at(journey: Journey) -> float:
    return max(passage.expires for passage in journey.waiting()) + MARGIN_S


def _warn_at(journey: Journey) -> float:
    """
    Never, if that is hardly before its end.
    """
    if journey.warned or not journey.sender or journey.at + 2 * WARN_S > _ends_at(journey):
        return inf
    return journey.at + WARN_S
