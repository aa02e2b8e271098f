"""
Who connects: how many connections and messages one source may have.  Bounded whatever the number of sources.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from ipaddress import IPv6Address, ip_address

from twisted.internet.interfaces import IReactorTime

SOURCES_LIMIT = 50_000
"""Sources whose rate is remembered, about 200 bytes each; the one heard of longest ago is forgotten first."""
MINUTE_S = 60.0


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


class Sources:
    """
    Counts by L{net_of}.
    """

    def __init__(self, clock: IReactorTime, connections: int, messages_per_minute: int) -> None:
        self._clock = clock
        self._connections_limit = connections
        self._rate = messages_per_minute
        self._connections: Counter[str] = Counter()
        self._allowance: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """How many messages each may still send, and as of when."""

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

    def message(self, net: str) -> bool:
        """
        Count a message; false if that is one too many for now.
        """
        now = self._clock.seconds()
        left, then = self._allowance.pop(net, (float(self._rate), now))
        # A clock that was set back gives nothing.
        left = min(float(self._rate), left + max(0.0, now - then) * self._rate / MINUTE_S)
        allowed = left >= 1
        self._allowance[net] = (left - 1 if allowed else left, now)
        if len(self._allowance) > SOURCES_LIMIT:
            self._allowance.popitem(last=False)
        return allowed
