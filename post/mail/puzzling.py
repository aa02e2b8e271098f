"""
Solving the puzzles of those who demand them of strangers, one after the other, while everything else goes on.
"""

from __future__ import annotations

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime

from post.crypto.puzzles import BITS_LIMIT, challenge, search
from post.errors import PostError
from post.ids import AccountId
from post.mail.interfaces import PuzzleTooHard
from post.messaging.identities import Identities
from post.tasks import sleep

TRIES = 2000
"""Between two looks at what else is to be done: about two milliseconds."""
PAUSE_S = 0.0005
"""For all else."""
WORK_LIMIT = 2 * (1 << BITS_LIMIT)
"""Tries, in the mean, that one message is worth.  A mail program waits five minutes for its C{250}."""


class Allowance:
    """
    What may be done for one message.

    @ivar granted: how many bits the puzzles have that are solved for it, by whose they are.
    """

    def __init__(self) -> None:
        self.granted: dict[AccountId, int] = {}
        self._left = WORK_LIMIT

    def take(self, account: AccountId, bits: int) -> int:
        """
        Grant C{account} the work that C{bits} are, and return them.

        @raise PuzzleTooHard: if so much is not left.
        """
        work = 1 << bits if bits else 0
        if work > self._left:
            raise PuzzleTooHard(f"puzzles of more than {WORK_LIMIT} tries")
        self._left -= work
        self.granted[account] = bits
        return bits


class Solver:
    """
    Of one node.
    """

    def __init__(self, identities: Identities, clock: IReactorTime) -> None:
        self._identities = identities
        self._clock = clock
        self._lock = DeferredLock()

    async def demanded(self, account: AccountId) -> int:
        """
        How many bits C{account} demands of strangers; 0 if that cannot be known now, as it is when nothing can be sent
        to them either.

        @raise PuzzleTooHard: if they are too many.
        """
        try:
            bits = (await self._identities.find(account)).card.puzzle_bits
        except PostError:
            return 0
        if bits > BITS_LIMIT:
            raise PuzzleTooHard(f"account {account} demands {bits} bits")
        return bits

    async def solve(self, named: bytes, recipient: AccountId, bits: int) -> int:
        """
        A solution for the notification with the id C{named} to C{recipient}.  Cancelling it ends the work.
        """
        if not bits:
            return 0
        sought = challenge(named, recipient)
        await self._lock.acquire()
        try:
            first = 0
            while (found := search(sought, bits, first, TRIES)) is None:
                first += TRIES
                await sleep(self._clock, PAUSE_S)
            return found
        finally:
            self._lock.release()
