"""
How much one may send by way of a relay, and how much of what a relay brings is looked at.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from post.ids import NodeId
from post.relay.allowance import Allowance

PACE_BYTES = 400 * 1024
"""Bulk sent by way of one relay in a second: less than it lets pass (L{post.relay.carrier.RATE_BYTES})."""
PACE_BURST_BYTES = 1024 * 1024
HAILS_PER_S = 20
"""Greetings, and complaints about old sessions, answered per relay and second: each costs about a quarter of a
millisecond."""
HAILS_BURST = 100
"""At once: after a restart, everybody whom we do not reach greets."""
BAD_PER_S = 0.5
"""Frames that were altered, or say nothing, per relay and second, above which what it brings is not looked at."""
BAD_BURST = 32

SOURCES_LIMIT = 256
"""Relays whose use is remembered."""


class Source:
    """
    What one relay has brought us.
    """

    __slots__ = ("bad", "hails", "pace")

    def __init__(self, now: float) -> None:
        self.hails = Allowance(HAILS_PER_S, HAILS_BURST, now)
        self.bad = Allowance(BAD_PER_S, BAD_BURST, now)
        self.pace = Allowance(PACE_BYTES, PACE_BURST_BYTES, now)


class Sources:
    """
    Of all relays, the last ones that were used.
    """

    __slots__ = ("_clock", "_known")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._known: dict[NodeId, Source] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, relay: NodeId) -> Source:
        """
        What one relay has brought.
        """
        source = self._known.get(relay)
        if source is None:
            if len(self._known) >= SOURCES_LIMIT:
                del self._known[next(iter(self._known))]
            source = self._known[relay] = Source(self._clock.seconds())
        return source
