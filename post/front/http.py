"""
HTTP within limits: so many connections, each for so long, requests so long; and no log of who asked for what.

What the page and the authority's door have in common; each says what its limits are, and why.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Request, Site


class Limits(NamedTuple):
    """
    Of one site: seconds without anything happening, and of a connection at all; connections at once, and of these from
    one address; octets of what comes with a request.
    """

    idle_s: float
    connection_s: float
    connections: int
    per_source: int
    body: int


class LimitedRequest(Request):
    """
    A request that says how long it is, and is no longer than it may be.
    """

    def gotLength(self, length: int | None) -> None:
        site = self.channel.site  # type: ignore[attr-defined]  # It is a L{_Channel}.
        if length is None or length > site.limits.body:
            super().gotLength(0)
            self.channel.forceAbortClient()
        else:
            super().gotLength(length)


class _Channel(HTTPChannel):
    """
    A connection; too many are closed at once.
    """

    source = ""

    def __init__(self, site: LimitedSite) -> None:
        super().__init__()
        self.site = self.factory = site
        self.requestFactory = site.request
        self.timeOut = site.limits.idle_s  # type: ignore[assignment]  # Twisted's None says that there is none.
        self.callLater = site.clock.callLater  # type: ignore[assignment,method-assign]  # As Twisted's own factory does.

    def connectionMade(self) -> None:
        assert self.transport is not None
        site, limits = self.site, self.site.limits
        self.source = getattr(self.transport.getPeer(), "host", "?")
        site.connections[self.source] += 1
        site.channels.add(self)
        super().connectionMade()
        self._ending = site.clock.callLater(limits.connection_s, self.forceAbortClient)
        theirs = site.connections[self.source] if site.limits_sources else 0
        if site.connections.total() > limits.connections or theirs > limits.per_source:
            self.forceAbortClient()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        site = self.site
        site.channels.discard(self)
        site.connections[self.source] -= 1
        if not site.connections[self.source]:
            del site.connections[self.source]
        if self._ending.active():
            self._ending.cancel()
        super().connectionLost(reason)


class LimitedSite(Site):
    """
    What is served.

    @ivar connections: how many there are, by source.
    @ivar limits_sources: whether one address may have a part of them only.
    """

    noisy = False
    displayTracebacks = False

    def __init__(
        self,
        root: Resource,
        limits: Limits,
        clock: IReactorTime,
        limits_sources: bool = True,
        request: type[LimitedRequest] = LimitedRequest,
    ) -> None:
        super().__init__(root, requestFactory=request, timeout=limits.idle_s, reactor=clock)
        self.limits = limits
        self.clock = clock
        self.limits_sources = limits_sources
        self.request = request
        self.connections: Counter[str] = Counter()
        self.channels: set[_Channel] = set()

    def buildProtocol(self, addr: Any) -> Any:  # Twisted's wrapper chooses between HTTP/1.1 and 2; we speak one.
        return _Channel(self)

    def stop_all(self) -> None:
        """
        Hang up on everybody.
        """
        for channel in list(self.channels):
            channel.forceAbortClient()

    def log(self, request: Any) -> None:
        """
        Nothing.
        """
