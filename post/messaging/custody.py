"""
Seeing that the ring keeps the sealed copy of an account (L{post.messaging.sealed_copy}).
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import PostError
from post.messaging.sealed_copy import Deposit
from post.past.blocks import PUBLIC_KEY
from post.past.node import Past
from post.tasks import Rest
from post.wire import StorageClass

LEASE_S = 3 * 365 * 86400
"""As long as any holder promises: somebody may be away for years."""
AGAIN_S = 86400.0
"""Between two looks at whether the copy is there."""
RETRY_FIRST_S, RETRY_MOST_S = 0.5, 15.0
"""When it could not be put there; doubled each time.  Where too few are on-line that is known without asking
anybody."""


class Custody:
    """
    Of one account.

    @ivar kept: whether the ring keeps the present copy.
    """

    log = Logger()

    def __init__(self, past: Past, clock: IReactorTime, told: Callable[[], None]) -> None:
        """
        @param told: called whenever a copy that the authority does not know of yet has come to be kept.
        """
        self.kept = False
        self._past = past
        self._clock = clock
        self._told = told
        self._deposit: Deposit | None = None
        self._rest = Rest(clock)

    @property
    def state(self) -> str:
        """
        C{in force} if the code by which the copy is found can be used, C{waiting} if not yet; empty if there is none.
        """
        if self._deposit is None:
            return ""
        return "in force" if self.kept and self._deposit.entrusted else "waiting"

    def use(self, deposit: Deposit | None) -> None:
        """
        Look after C{deposit} from now on.
        """
        before, self._deposit = self._deposit, deposit
        if deposit is not None and (before is None or before.block != deposit.block):
            self.kept = False
            self._rest.wake()

    async def run(self) -> None:
        """
        Until it is cancelled.
        """
        retry_s = RETRY_FIRST_S
        while True:
            pause_s, deposit = AGAIN_S, self._deposit
            if deposit is not None:
                try:
                    await self._keep(deposit)
                    retry_s = RETRY_FIRST_S
                except PostError as error:
                    self.log.info("a sealed copy is not kept yet: {error}", error=error)
                    pause_s, retry_s = retry_s, min(2 * retry_s, RETRY_MOST_S)
            if deposit is self._deposit:
                await self._rest.pause(pause_s)

    async def _keep(self, deposit: Deposit) -> None:
        expires = int(self._clock.seconds()) + LEASE_S
        await self._past.insert(PUBLIC_KEY, deposit.handle, deposit.block, StorageClass.FOREVER, expires)
        if deposit is self._deposit:
            self.kept = True
            if not deposit.entrusted:
                self._told()
