"""
How far each entry of mail for outside is, as gateways write it into the ring and read it there.

Whoever writes a stage reads it again: two that write one of the same number are both told that theirs is kept, and both
see which of the two counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from post.errors import Conflict, NotFound, PostError
from post.ids import Handle, NodeId
from post.interfaces import Entropy
from post.mail.outbound import (
    ENDED,
    LIFE_S,
    OUTBOUND,
    TRYING,
    WAITING,
    WORDS_LIMIT,
    Outgoing,
    Progress,
    Queued,
    Said,
    Waybill,
    box_said,
    make_progress,
    open_said,
    progress_in,
    waybill_in,
)
from post.mail.relay import Outcome, Verdict
from post.messaging.dispatch import Signer
from post.past.node import Past
from post.tasks import sleep
from post.wire import StorageClass, pack, unpack

CLAIM_S = 120
"""For so long after it has last said that it is trying no other gateway tries: a successor waits for that."""
RENEW_S = 40.0
"""How often it says so."""
AGAIN_S = 10.0
"""Before what the ring did not take is written again, at most."""


@dataclass
class Work:
    """
    One entry that this gateway sees to.
    """

    handle: Handle
    entry: bytes
    author_key: bytes
    waybill: Waybill
    secret: bytes
    outgoing: Outgoing
    due: float
    tries: int = 0
    said: Said | None = None
    trying: bool = False
    prompted: bool = False
    dropped: bool = False
    timer: IDelayedCall | None = None
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    """The latest of each recipient, if it was this gateway that tried."""


class Stages:
    """
    What one gateway writes.
    """

    log = Logger()

    def __init__(
        self,
        past: Past,
        node_id: NodeId,
        signer: Callable[[], Signer],
        clock: IReactorTime,
        random: Random,
        entropy: Entropy,
    ) -> None:
        self._past = past
        self._node_id = node_id
        self._signer = signer
        self._clock = clock
        self._random = random
        self._entropy = entropy
        self._stopped = False

    def stop(self) -> None:
        """
        Write nothing any more.
        """
        self._stopped = True

    async def store(self, handle: Handle, data: bytes) -> None:
        """
        Have the ring keep what was made by us, or read from it.

        @raise Conflict: if it has something further.
        @raise PostError: if it does not keep it now.
        """
        queued = unpack(Queued, data)
        progress = progress_in(data)
        expires = waybill_in(queued.entry).expires if queued.entry else (progress.at if progress else 0) + LIFE_S
        await self._past.insert(OUTBOUND, handle, data, StorageClass.PENDING, expires)

    async def claim(self, work: Work, progress: Progress | None, said: Said) -> bool:
        """
        Write that we are trying; whether nobody else was quicker.
        """
        now = int(self._clock.seconds())
        number = progress.number if progress is not None else 0
        data = self._progress(work, number + 1, TRYING, now + CLAIM_S, said)
        try:
            await self.store(work.handle, data)
        except Conflict:
            return False
        return await self._past.furthest(OUTBOUND, work.handle) == data

    async def hold(self, work: Work, said: Said) -> None:
        """
        Say again and again that we are trying.  If that fails, so be it: what a server is taking cannot be called back.
        """
        tries = work.tries
        while True:
            await sleep(self._clock, RENEW_S)
            if not work.trying or work.tries != tries or self._stopped:
                return
            try:
                progress = progress_in(await self._past.furthest(OUTBOUND, work.handle))
                if progress is None or (progress.gateway, progress.state) != (self._node_id, TRYING):
                    return
                due = int(self._clock.seconds()) + CLAIM_S
                await self.store(work.handle, self._progress(work, progress.number + 1, TRYING, due, said))
            except PostError as error:
                self.log.info("{handle} cannot be kept: {error}", handle=work.handle, error=error)

    async def write(self, work: Work, said: Said, due: int) -> Said:
        """
        Write what came of an attempt, however long that takes: until it is written, somebody may try once more.

        @return: what became of each recipient by this and by what others have done meanwhile.
        """
        while not self._stopped and self._clock.seconds() < work.waybill.expires:
            try:
                progress = await self._progress_of(work.handle)
                if progress is not None and progress.state == ENDED:
                    return open_said(progress, work.secret, ())
                if progress is not None and progress.gateway != self._node_id:
                    # Our claim ran out while we waited for the ring, and another one has gone on.
                    said = merged(said, open_said(progress, work.secret, ()))
                number = progress.number if progress is not None else 0
                state = WAITING if said.left else ENDED
                data = self._progress(work, number + 1, state, due, said)
                await self.store(work.handle, data)
                if await self._past.furthest(OUTBOUND, work.handle) == data:
                    return said
            except PostError as error:
                self.log.info("{handle} cannot be written: {error}", handle=work.handle, error=error)
                await sleep(self._clock, self._random.uniform(1.0, AGAIN_S))
        return said

    async def _progress_of(self, handle: Handle) -> Progress | None:
        """
        C{None} also if nobody in sight has anything: we may be alone for a moment, and cannot store either.
        """
        try:
            return progress_in(await self._past.furthest(OUTBOUND, handle))
        except NotFound:
            return None

    def _progress(self, work: Work, number: int, state: int, due: int, said: Said) -> bytes:
        now = int(self._clock.seconds())
        waybill = work.waybill
        boxed = box_said(said, work.secret, self._entropy)
        progress = Progress(
            1, waybill.node, waybill.slot, self._node_id, number, state, work.tries, now, max(due, now), boxed
        )
        return pack(Queued(1, b"" if state == ENDED else work.entry, make_progress(progress, self._signer())))


def noted(said: Said, verdicts: Sequence[Verdict], now: int) -> Said:
    """
    C{said}, and what came of an attempt at C{now}.
    """
    by_outcome = {outcome: tuple(each.recipient for each in verdicts if each.outcome is outcome) for outcome in Outcome}
    gone = {*by_outcome[Outcome.DELIVERED], *by_outcome[Outcome.REFUSED]}
    # Of those who are still tried, if there are any: that is what people look for.
    told = sorted(verdicts, key=lambda each: each.outcome is not Outcome.LATER)
    last = next((each for each in told if each.outcome is not Outcome.DELIVERED), None)
    return Said(
        1,
        tuple(each for each in said.left if each not in gone),
        (*said.delivered, *by_outcome[Outcome.DELIVERED]),
        (*said.failed, *by_outcome[Outcome.REFUSED]),
        last.words[:WORDS_LIMIT] if last is not None else said.words,
        last.remote[:253] if last is not None else said.remote,
        now,
        said.warned,
    )


def latest(work: Work, said: Said, recipient: str) -> Verdict:
    """
    Why C{recipient} has not got it yet; as the gateway before us wrote it, if we have not tried.
    """
    known = work.verdicts.get(recipient)
    return known or Verdict(recipient, Outcome.LATER, "4.4.7", said.words or "It was not tried.", said.remote)


def merged(ours: Said, theirs: Said) -> Said:
    """
    What became of each recipient, where two gateways have tried.
    """
    delivered = tuple(dict.fromkeys((*theirs.delivered, *ours.delivered)))
    failed = tuple(each for each in dict.fromkeys((*theirs.failed, *ours.failed)) if each not in delivered)
    left = tuple(each for each in theirs.left if each in ours.left)
    return Said(1, left, delivered, failed, ours.words, ours.remote, ours.tried, ours.warned or theirs.warned)
