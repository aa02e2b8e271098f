"""
What a node counts about mail, for metrics: no names, no messages.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from zope.interface import implementer

from post.mail.interfaces import ISubmission, MessageTooLarge, Octets, SenderRefused
from post.mail.journeys import Journey

BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0, 86400.0, 604800.0)
"""Upper ends of the steps by which times of delivery are counted: from people at work, who have it in a tenth of a
second, to those who come back from holidays."""
ACCEPTED, DEFERRED, REFUSED = "accepted", "deferred", "refused"


class Tally:
    """
    Counters that only rise.

    @ivar submissions: by what became of them.
    @ivar deliveries: how many took at most as long as each of L{BOUNDS_S}, and no less than the one before; the last
        count is for those that took longer than all.
    @ivar delivery_s: the sum of their times.
    """

    def __init__(self) -> None:
        self.submissions: Counter[str] = Counter({ACCEPTED: 0, DEFERRED: 0, REFUSED: 0})
        self.deliveries = [0] * (len(BOUNDS_S) + 1)
        self.delivery_s = 0.0

    def delivered(self, seconds: float) -> None:
        """
        A message has been filed here, so long after it was submitted; by two clocks, so that it may seem less than no
        time.
        """
        seconds = max(0.0, seconds)
        self.deliveries[bisect_left(BOUNDS_S, seconds)] += 1
        self.delivery_s += seconds


@implementer(ISubmission)
class Counted:
    """
    A submission, and what becomes of it counted.
    """

    def __init__(self, submission: ISubmission, tally: Tally) -> None:
        self._submission = submission
        self._tally = tally

    @property
    def size_limit(self) -> int:
        """
        See L{post.mail.interfaces.ISubmission.size_limit}.
        """
        limit: int = self._submission.size_limit
        return limit

    def check_sender(self, address: str) -> None:
        self._submission.check_sender(address)

    async def check_recipient(self, address: str) -> None:
        await self._submission.check_recipient(address)

    async def submit(self, sender: str, recipients: Sequence[str], message: Octets, trace: bytes) -> str:
        outcome = DEFERRED
        try:
            named: str = await self._submission.submit(sender, recipients, message, trace)
            outcome = ACCEPTED
        except (MessageTooLarge, SenderRefused):
            outcome = REFUSED
            raise
        finally:
            self._tally.submissions[outcome] += 1
        return named

    def sent(self) -> Sequence[Journey]:
        return list(self._submission.sent())
