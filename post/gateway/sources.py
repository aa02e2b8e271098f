"""
Who connects: how many connections, messages and wrong guesses one source may have.  Bounded, however many there are.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from ipaddress import IPv6Address, ip_address

from twisted.internet.interfaces import IReactorTime

SOURCES_LIMIT = 50_000
"""Sources whose rate is remembered, about 200 bytes each; the one heard of longest ago is forgotten first."""
MINUTE_S = 60.0
MISSES_LIMIT = 60
"""Recipients that nobody is, of one source, over all its connections: a mail server has some, from old lists; a
dictionary has thousands, and each of its words costs the ring a search."""
MISSES_PER_MINUTE = 2.0
"""As many more in a minute."""


def net_of(address: str) -> str:
    """
    What one party has for itself: an IPv4 address, or the /64 of an IPv6 one.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)


class Allowance:
    """
    How much each source may still do: C{most} at once, and as much again with time, C{per_minute}.
    """

    def __init__(self, clock: IReactorTime, most: int, per_minute: float) -> None:
        self._clock = clock
        self._most = float(most)
        self._per_minute = per_minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # As of when.

    def has(self, net: str) -> bool:
        """
        Whether something is left.
        """
        return self._now(net) >= 1

    def take(self, net: str) -> bool:
        """
        Use one up; false if none is left.
        """
        left = self._now(net)
        taken = left >= 1
        self._left.pop(net, None)
        self._left[net] = (left - 1 if taken else left, self._clock.seconds())
        if len(self._left) > SOURCES_LIMIT:
            self._left.popitem(last=False)
        return taken

    def _now(self, net: str) -> float:
        now = self._clock.seconds()
        left, then = self._left.get(net, (self._most, now))
        # A clock that was set back gives nothing.
        return min(self._most, left + max(0.0, now - then) * self._per_minute / MINUTE_S)


class Sources:
    """
    Counts by L{net_of}.

    @ivar messages: that each may send.
    @ivar misses: names that each may ask for in vain.
    """

    def __init__(self, clock: IReactorTime, connections: int, messages_per_minute: int) -> None:
        self._connections_limit = connections
        self._connections: Counter[str] = Counter()
        self.messages = Allowance(clock, messages_per_minute, messages_per_minute)
        self.misses = Allowance(clock, MISSES_LIMIT, MISSES_PER_MINUTE)

    def connect(self, net: str) -> bool:
        """
        Count a connection; false if that is one too many, and it is not counted.
        """
        if self._connections[net] >= self._connections_limit:
            return False
        self._connections[net] += 1
        return True

    def disconnect(self, net: str) -> None:
        """
        One that was counted has ended.
        """
        self._connections[net] -= 1
        if self._connections[net] <= 0:
            del self._connections[net]
