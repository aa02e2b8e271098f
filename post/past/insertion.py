"""
One object on its way to k holders: in parallel, and around whoever does not answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from post.errors import Conflict, PostError, TooFewReplicas
from post.ids import Contact, NodeId
from post.past.messages import Kept
from post.tasks import sleep

PATIENCE_S = 1.0
"""A holder that has not answered by then is replaced by the next; if it answers after all, its copy counts too."""
CHOOSE_AGAIN_S = 0.5
"""When it cannot be known who is next it is tried once more, after a moment in which the leaf set may be mended."""
BYTES_PER_S = 250_000
"""And so many bytes are given another second."""


@dataclass(frozen=True)
class Inserted:
    """
    Who keeps it: receipts by holder.  C{elsewhere} counts copies that are not on this node.
    """

    receipts: dict[NodeId, Kept]
    elsewhere: int

    @property
    def copies(self) -> int:
        """
        On how many nodes it is.
        """
        return len(self.receipts)


class Insertion:
    """
    Finds holders until there are C{k}, or no candidates are left.
    """

    def __init__(
        self,
        local: NodeId,
        k: int,
        minimum: int,
        clock: IReactorTime,
        patience_s: float,
        choose: Callable[[int, set[NodeId]], Awaitable[list[Contact]]],
        store: Callable[[Contact], Deferred[Kept]],
        suspect: Callable[[Contact], None],
    ) -> None:
        self._local = local
        self._k = k
        self._minimum = minimum
        self._clock = clock
        self._patience_s = patience_s
        self._choose = choose
        self._store = store
        self._suspect = suspect
        self._receipts: dict[NodeId, Kept] = {}
        self._asked: set[NodeId] = set()
        self._failed: set[NodeId] = set()
        self._slow: set[NodeId] = set()
        self._under_way: set[NodeId] = set()
        self._choosing = False
        self._exhausted = False
        self._has_waited = False
        self._unknown: PostError | None = None
        self._done: Deferred[Inserted] = Deferred()

    async def run(self) -> Inserted:
        """
        @raise TooFewReplicas: if fewer than the minimum are kept elsewhere.
        @raise Conflict: if a holder has something that must not give way.
        @raise Unreachable: if there are too few because it cannot be known who the others are.
        """
        await self._fill()
        return await self._done

    async def _fill(self) -> None:
        """
        Ask as many more as are wanting.
        """
        if self._choosing or self._done.called:
            return
        self._choosing = True
        try:
            while self._wanting() > 0 and not self._exhausted and not self._done.called:
                chosen = await self._choose_again()
                fresh = [contact for contact in chosen if contact.id not in self._asked]
                if not fresh:
                    self._exhausted = True
                for contact in fresh[: max(0, self._wanting())]:
                    self._ask(contact)
        except PostError as error:
            # Those who were asked before may be enough.
            self._exhausted, self._unknown = True, error
        finally:
            self._choosing = False
        self._settle()

    async def _choose_again(self) -> list[Contact]:
        """
        The nearest who may still do.

        @raise PostError: if that cannot be known, and could not be a moment ago.
        """
        count = max(self._k, self._minimum + 1)
        if not self._has_waited:
            try:
                return await self._choose(count, self._failed | self._slow)
            except PostError:
                self._has_waited = True
                await sleep(self._clock, CHOOSE_AGAIN_S)
        return await self._choose(count, self._failed | self._slow)

    def _wanting(self) -> int:
        promising = self._under_way - self._slow
        elsewhere = len((self._receipts.keys() | promising) - {self._local})
        return max(self._k - len(self._receipts) - len(promising), self._minimum - elsewhere)

    def _ask(self, contact: Contact) -> None:
        self._asked.add(contact.id)
        self._under_way.add(contact.id)
        timer = self._clock.callLater(self._patience_s, self._too_slow, contact)
        self._store(contact).addCallbacks(
            self._kept, self._refused, callbackArgs=(contact, timer), errbackArgs=(contact, timer)
        ).addErrback(self._broken)

    def _too_slow(self, contact: Contact) -> None:
        self._slow.add(contact.id)
        if contact.id != self._local:
            self._suspect(contact)
        self._go_on()

    def _kept(self, kept: Kept, contact: Contact, timer: IDelayedCall) -> None:
        self._stop(contact, timer)
        self._receipts[contact.id] = kept
        self._settle()

    def _refused(self, failure: Failure, contact: Contact, timer: IDelayedCall) -> None:
        self._stop(contact, timer)
        self._failed.add(contact.id)
        if failure.check(Conflict) or not failure.check(PostError, CancelledError):
            self._finish(failure.value)
        else:
            self._go_on()

    def _broken(self, failure: Failure) -> None:
        self._finish(failure.value)

    def _stop(self, contact: Contact, timer: IDelayedCall) -> None:
        self._under_way.discard(contact.id)
        if timer.active():
            timer.cancel()

    def _go_on(self) -> None:
        if not self._done.called:
            Deferred.fromCoroutine(self._fill()).addErrback(self._broken)

    def _settle(self) -> None:
        """
        Finish, if there is nothing to wait for.
        """
        if self._done.called:
            return
        elsewhere = len(self._receipts) - (self._local in self._receipts)
        if len(self._receipts) >= self._k and elsewhere >= self._minimum:
            self._finish(None)
        elif self._exhausted and not self._choosing:
            if elsewhere >= self._minimum and not self._under_way - self._slow:
                self._finish(None)
            elif elsewhere < self._minimum and not self._under_way - {self._local}:
                # Our own copy would not help, and our own disk knows no deadline.
                self._finish(self._unknown or TooFewReplicas(elsewhere, self._minimum))

    def _finish(self, error: BaseException | None) -> None:
        if self._done.called:
            return
        if error is not None:
            self._done.errback(error)
        else:
            elsewhere = len(self._receipts) - (self._local in self._receipts)
            self._done.callback(Inserted(dict(self._receipts), elsewhere))
