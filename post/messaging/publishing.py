"""
Keeping an account's identity block as it should be, and noticing when somebody else keeps it too: the machine that took
this one's place, or another copy of this account's files.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import PostError
from post.ids import Contact
from post.messaging.account import RENEW_S, Account, Superseded
from post.tasks import Rest

LOOK_S = 300.0
"""Between two looks at whether the block is still ours: two copies of one account get in each other's way for no
longer. Each is a small question to k nodes."""
RETRY_FIRST_S, RETRY_MOST_S = 0.25, 5.0
"""When it could not be published: soon, since nobody finds the account until then."""


class Publishing:
    """
    Of one account.
    """

    log = Logger()

    def __init__(
        self,
        account: Account,
        clock: IReactorTime,
        random: Random,
        contact: Callable[[], Contact],
        lease_s: int,
        note: Callable[[bool], None],
    ) -> None:
        """
        @param contact: where we are.
        @param note: told whether others can find the account.
        """
        self._account = account
        self._clock = clock
        self._random = random
        self._contact = contact
        self.lease_s = lease_s
        self._note = note
        self._rest = Rest(clock)
        self._renew_at = 0.0
        self._waiting: list[Deferred[None]] = []

    def look(self) -> None:
        """
        Look now: somebody else seems to write in this account's name.
        """
        self._rest.wake()

    def again(self) -> Deferred[None]:
        """
        Publish now what has changed.  Fires when the ring has it; fails as L{Account.publish} does, and then it is
        tried again by itself.
        """
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        self._rest.wake()
        return done

    async def run(self) -> None:
        """
        Until it is cancelled.

        @raise Superseded: as soon as somebody else is in our place.
        """
        retry_s = RETRY_FIRST_S
        while True:
            pause_s = LOOK_S * self._random.uniform(0.8, 1.0)
            waiting, self._waiting = self._waiting, []
            if waiting:
                self._renew_at = 0.0
            try:
                if self._clock.seconds() >= self._renew_at:
                    await self._account.publish(self._contact(), self.lease_s)
                    self._renew_at = self._clock.seconds() + RENEW_S * self._random.uniform(0.8, 1.0)
                    self._note(True)
                else:
                    await self._account.look(self._contact())
                retry_s = RETRY_FIRST_S
                for each in waiting:
                    each.callback(None)
            except Superseded as error:
                for each in waiting:
                    each.errback(error)
                raise
            except PostError as error:
                for each in waiting:
                    each.errback(error)
                self.log.info("{address} not published: {error}", address=self._account.address, error=error)
                pause_s = retry_s
                retry_s = min(2 * retry_s, RETRY_MOST_S)
            if not self._waiting:  # Something may have changed while this was being published.
                await self._rest.pause(pause_s)
