"""
Looking, now and then, at how many copies there are of everything that a person has in the ring.

The handles come from the mailbox log and from the messages' skeletons (remembered, since a message never changes); who
has them is asked a few hundred at a time (L{post.past.lookout}).  Of a large mailbox the newest messages are looked at
and a random choice of the others, a different one each time.  Mail and nodes that come or go cause another look within
seconds; in between, the copies on nodes that are away do not count (L{Survey.now}).  Nothing is kept on disk: after a
start the first thing done is to look, and until then it is said that nothing has been counted.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from random import Random

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from post.errors import NotFound, PostError
from post.health.durability import Count, Durability, Objects, judge
from post.ids import Handle, NodeId
from post.mail.mailbox import Mailbox
from post.messaging.account import Account
from post.messaging.identities import identity_handle
from post.messaging.log import Log
from post.past.blocks import certificate_handle
from post.past.lookout import Lookout, Sighting
from post.tasks import Tasks, sleep

PERIOD_S = 600.0
"""Between two looks when nothing happens."""
FIRST_S = 2.0
"""After the mailbox has opened."""
SETTLE_S = 4.0
"""After mail or nodes came or went: they do so in groups, and copies are being made for some seconds."""
REST_S = 10.0
"""At least, between the end of one look and the next."""
SHARE = 5
"""And so many times as long as the last one took: where mail comes all the time, a sixth of it is spent looking."""
RETRY_S = 30.0
"""After a look for which the log could not be read."""
NEWEST, OTHERS = 200, 300
"""Messages looked at in one go: what people worry about, and a sample that shows a fault of one in a hundred."""
PENDING_LIMIT = 500
"""Notifications that wait for somebody, the newest."""
BATCH = 500
"""Handles asked about at a time: 10 KB to each of those who may have them."""
PAUSE_S = 0.5
"""Between two batches, so that a look disturbs nobody."""
STEP_S = 0.02
"""Between two messages whose blocks have to be learnt from the ring."""
KNOWN_LIMIT = 20_000
"""Messages whose handles are remembered: 4 MB."""

HEAD, HISTORY, MESSAGES, IDENTITY, PENDING = "log head", "log history", "messages", "identity", "pending mail"


class Survey:
    """
    Of one account.

    @ivar found: what the last look found, if there was one.
    @ivar looking: whether one is under way.
    @ivar behind: whether something has changed since the last one began.
    """

    log = Logger()

    def __init__(
        self,
        lookout: Lookout,
        account: Account,
        mailbox: Mailbox,
        mailbox_log: Log,
        pending: Callable[[], Sequence[Handle]],
        copies: Callable[[], int],
        clock: IReactorTime,
        random: Random,
        tasks: Tasks,
    ) -> None:
        """
        @param copies: how many there are to be.
        @param pending: the notifications of this account that wait for somebody.
        """
        self.found: Count | None = None
        self.looking = False
        self.behind = False
        self._lookout = lookout
        self._account = account
        self._mailbox = mailbox
        self._log = mailbox_log
        self._pending = pending
        self._copies = copies
        self._clock = clock
        self._random = random
        self._tasks = tasks
        self._known: OrderedDict[bytes, tuple[Handle, ...]] = OrderedDict()
        self._timer: IDelayedCall | None = None
        self._rested_at = float("-inf")
        self._judged: tuple[Count, frozenset[NodeId], Durability] | None = None

    def start(self) -> None:
        """
        Look soon, and again and again.
        """
        self._wait(FIRST_S)

    def stop(self) -> None:
        """
        Look no more.
        """
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def changed(self) -> None:
        """
        Mail or nodes came or went: look before long.  What comes all the time does not put it off.
        """
        self.behind = True
        due = max(self._clock.seconds() + SETTLE_S, self._rested_at)
        if not self.looking and (self._timer is None or not self._timer.active() or self._timer.getTime() > due):
            self._wait(due - self._clock.seconds())

    def now(self, is_away: Callable[[NodeId], bool]) -> Durability | None:
        """
        How what was found last stands without the copies on nodes that are away; C{None} before the first look.
        """
        if self.found is None:
            return None
        holders = frozenset[NodeId]().union(*(objects.holders for objects in self.found.objects))
        absent = frozenset(filter(is_away, holders))
        if self._judged is None or self._judged[:2] != (self.found, absent):
            self._judged = self.found, absent, judge(self.found, absent)
        return self._judged[2]

    def _wait(self, seconds: float) -> None:
        self.stop()
        self._timer = self._clock.callLater(seconds, self._due)

    def _due(self) -> None:
        self.looking, self.behind = True, False
        self._tasks.spawn(self._look())

    async def _look(self) -> None:
        began, rest_s = self._clock.seconds(), PERIOD_S * self._random.uniform(0.9, 1.1)
        try:
            self.found = await self.look()
        except PostError as error:
            self.log.info("copies could not be looked at: {error}", error=error)
            self.behind, rest_s = True, RETRY_S
        finally:
            self.looking = False
        now = self._clock.seconds()
        self._rested_at = now + max(REST_S, SHARE * (now - began))
        self._wait(rest_s)
        if self.behind:
            self.changed()

    async def look(self) -> Count:
        """
        Once.

        @raise PostError: if the log cannot be read now.
        """
        handles: dict[Handle, str] = {}
        first, *rest = await self._log.handles()
        handles[first] = HEAD
        handles.update(dict.fromkeys(rest, HISTORY))
        handles[identity_handle(self._account.id)] = IDENTITY
        handles[certificate_handle(self._account.address)] = IDENTITY
        handles.update(dict.fromkeys(self._pending(), PENDING))
        messages = list(dict.fromkeys(entry.message for entry in self._mailbox.state.by_key.values()))
        chosen = self._choose(messages)
        counted: Counter[Objects] = Counter()
        for reference in chosen:
            try:
                found = await self._blocks(reference)
            except PostError as error:
                # Its first block cannot be read, so nobody knows which others there should be.
                counted[Objects(MESSAGES, frozenset(), not isinstance(error, NotFound))] += 1
                continue
            for handle in found:
                handles.setdefault(handle, MESSAGES)
        sightings: list[Sighting] = []
        wanted = list(handles)
        for start in range(0, len(wanted), BATCH):
            sightings += await self._lookout.look(wanted[start : start + BATCH])
            await sleep(self._clock, PAUSE_S)
        for sighting in sightings:
            doubtful = not sighting.holders and bool(sighting.unasked or sighting.silent)
            counted[Objects(handles[sighting.handle], sighting.holders, doubtful)] += 1
        return Count(self._clock.seconds(), self._copies(), dict(counted), len(messages), len(chosen))

    def _choose(self, messages: list[bytes]) -> list[bytes]:
        older = messages[:-NEWEST]
        return messages[-NEWEST:] + self._random.sample(older, min(OTHERS, len(older)))

    async def _blocks(self, reference: bytes) -> tuple[Handle, ...]:
        known = self._known.get(reference)
        if known is None:
            known = tuple(await self._mailbox.letters.handles(reference))
            self._known[reference] = known
            if len(self._known) > KNOWN_LIMIT:
                self._known.popitem(last=False)
            await sleep(self._clock, STEP_S)
        return known
