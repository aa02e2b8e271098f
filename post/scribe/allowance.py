"""
How much a peer may ask of us in a time (pure): a bucket that fills at a rate, and from which each request takes one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from post.ids import NodeId

PEERS_LIMIT = 4096
"""Peers remembered; the one that was forgotten longest ago begins with a full bucket again, after so many others."""


@dataclass(slots=True)
class Bucket:
    """
    What is left, as of a time.
    """

    rate: float
    burst: float
    left: float
    at: float

    def take(self, now: float) -> bool:
        """
        Whether there is one more.
        """
        # A clock that was set back gives nothing, and takes nothing.
        self.left = min(self.burst, self.left + max(0.0, now - self.at) * self.rate)
        self.at = now
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


class Allowances:
    """
    One bucket per peer.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[NodeId, Bucket] = OrderedDict()

    def take(self, peer: NodeId, now: float) -> bool:
        """
        Whether C{peer} may have one more.
        """
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = self._buckets[peer] = Bucket(self._rate, self._burst, self._burst, now)
            if len(self._buckets) > PEERS_LIMIT:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(peer)
        return bucket.take(now)
