"""
Reading from the ring: the first authentic copy of what never changes, the newest of what does (POST, section 2).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from post.errors import NotFound, PeerError, PostError, Refused, Unreachable
from post.ids import Contact, Handle
from post.past.messages import Found
from post.wire import RefusalCode

HEDGE_S = 0.15
"""A holder that has not answered by then is not waited for alone: the next one is asked too."""
CACHE_BYTES = 24 * 1024 * 1024
"""Content blocks fetched lately, in memory."""


@dataclass(frozen=True)
class Newest:
    """
    The newest version that any holder showed.  C{confirmed}: enough of them answered to know that there is no newer.
    """

    data: bytes | None
    number: int
    confirmed: bool


class Cache:
    """
    Blocks fetched lately, bounded in bytes.
    """

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit = limit_bytes
        self._size = 0
        self._blocks: OrderedDict[Handle, bytes] = OrderedDict()

    def get(self, handle: Handle) -> bytes | None:
        """
        The block, if it is here.
        """
        data = self._blocks.get(handle)
        if data is not None:
            self._blocks.move_to_end(handle)
        return data

    def put(self, handle: Handle, data: bytes) -> None:
        """
        Remember a block that has been verified.
        """
        if handle in self._blocks:
            return
        self._blocks[handle] = data
        self._size += len(data)
        while self._size > self._limit:
            self._size -= len(self._blocks.popitem(last=False)[1])


class Race:
    """
    Asks holders one after the other, not waiting for a slow one alone; the first authentic copy wins.
    """

    def __init__(
        self,
        handle: Handle,
        contacts: Sequence[Contact],
        clock: IReactorTime,
        ask: Callable[[Contact], Deferred[Found]],
        check: Callable[[Contact, bytes], None],
        suspect: Callable[[Contact], None],
    ) -> None:
        self._handle = handle
        self._contacts = list(contacts)
        self._clock = clock
        self._ask = ask
        self._check = check
        self._suspect = suspect
        self._open = 0
        self._next: IDelayedCall | None = None
        self._unknown = False
        self.lacking: list[Contact] = []
        """Who said that they have not got it, or showed something else."""
        self._done: Deferred[Found] = Deferred()

    def run(self) -> Deferred[Found]:
        """
        Fires with the winner; fails with L{NotFound} if all answered that they have not got it, else L{Unreachable}.
        """
        self._go_on()
        return self._done

    def _go_on(self) -> None:
        if self._done.called:
            return
        self._stop_waiting()
        if self._contacts:
            contact = self._contacts.pop(0)
            self._open += 1
            self._next = self._clock.callLater(HEDGE_S, self._go_on)
            self._ask(contact).addCallbacks(
                self._found, self._failed, callbackArgs=(contact,), errbackArgs=(contact,)
            ).addErrback(self._broken)
        elif not self._open:
            error = Unreachable if self._unknown else NotFound
            self._done.errback(error(f"{self._handle}"))

    def _found(self, found: Found, contact: Contact) -> None:
        self._open -= 1
        if self._done.called:
            return
        try:
            self._check(contact, found.data)
        except PeerError:
            self.lacking.append(contact)
            self._go_on()
            return
        self._stop_waiting()
        self._done.callback(found)

    def _failed(self, failure: Failure, contact: Contact) -> None:
        self._open -= 1
        if not failure.check(PostError):
            self._broken(failure)
            return
        if isinstance(failure.value, Refused) and failure.value.code == RefusalCode.NOT_FOUND:
            self.lacking.append(contact)
        else:
            self._unknown = True
            if failure.check(Unreachable):
                self._suspect(contact)
        self._go_on()

    def _stop_waiting(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _broken(self, failure: Failure) -> None:
        self._stop_waiting()
        if not self._done.called:
            self._done.errback(failure)
