"""
The site: connections and requests within limits, guarded, and not logged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from post.front.web.guard import HEADERS, Forbidden, Guard

IDLE_S = 60
"""A connection on which nothing happens for so long is closed."""
CONNECTION_S = 600.0
"""A connection ends after so long, whatever happens on it."""
CONNECTIONS_LIMIT = 100
"""At once: a browser has six."""
PER_SOURCE_LIMIT = 40
"""Of these from one address, where the page is not on loopback only."""
BODY_LIMIT = 8 * 1024
"""Octets of a form: a name, a password, a token."""


class _Request(Request):
    """
    A request that is no longer than a form.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:  # Any: as Twisted has it.
        super().__init__(*arguments, **named)
        for name, value in HEADERS.items():
            self.setHeader(name, value)

    def gotLength(self, length: int | None) -> None:
        if length is None or length > BODY_LIMIT:
            super().gotLength(0)
            self.channel.forceAbortClient()
        else:
            super().gotLength(length)


class _Channel(HTTPChannel):
    """
    A connection; too many are closed at once.
    """

    source = ""

    def __init__(self, site: PageSite) -> None:
        super().__init__()
        self.site = self.factory = site
        self.requestFactory = _Request
        self.timeOut = IDLE_S
        self.callLater = site.clock.callLater  # type: ignore[assignment,method-assign]  # As Twisted's own factory does.

    def connectionMade(self) -> None:
        assert self.transport is not None
        site = self.site
        self.source = getattr(self.transport.getPeer(), "host", "?")
        site.connections[self.source] += 1
        site.channels.add(self)
        super().connectionMade()
        self._ending = site.clock.callLater(CONNECTION_S, self.forceAbortClient)
        theirs = site.connections[self.source] if site.limits_sources else 0
        if site.connections.total() > CONNECTIONS_LIMIT or theirs > PER_SOURCE_LIMIT:
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


class Plain(Resource):
    """
    One line, whatever is asked.
    """

    isLeaf = True

    def __init__(self, code: int, line: str) -> None:
        super().__init__()
        self._code = code
        self._line = line

    def render(self, request: Request) -> bytes:
        request.setResponseCode(self._code)
        request.setHeader(b"content-type", b"text/plain; charset=utf-8")
        return f"{self._line}\n".encode()


class Branch(Resource):
    """
    A place where resources hang, and nothing else is.
    """

    def getChild(self, path: bytes, request: Request) -> Resource:
        return Plain(404, "There is no such page.")

    def render(self, request: Request) -> bytes:
        return Plain(404, "There is no such page.").render(request)


class Leaf(Branch):
    """
    Something to be asked for, by the methods that it has (C{render_GET} and the like) and no others.
    """

    def render(self, request: Request) -> bytes | int:  # type: ignore[override]  # Twisted allows both.
        method = "GET" if request.method == b"HEAD" else request.method.decode("latin-1")
        answered: Callable[[Request], bytes | int] | None = getattr(self, f"render_{method}", None)
        return Plain(405, "That cannot be done here.").render(request) if answered is None else answered(request)


class PageSite(Site):
    """
    What is served, without a log of who asked for what.

    @ivar connections: how many there are, by source.
    """

    noisy = False
    displayTracebacks = False

    def __init__(self, root: Branch, guard: Guard, clock: IReactorTime, limits_sources: bool = False) -> None:
        super().__init__(root, requestFactory=_Request, timeout=IDLE_S, reactor=clock)
        self.clock = clock
        self.limits_sources = limits_sources
        self.connections: Counter[str] = Counter()
        self.channels: set[_Channel] = set()
        self._root = root
        self._guard = guard

    def buildProtocol(self, addr: Any) -> Any:  # Twisted's wrapper chooses between HTTP/1.1 and 2; we speak one.
        return _Channel(self)

    def getResourceFor(self, request: Request) -> IResource:
        headers = request.requestHeaders
        request.setHeader(b"server", b"POST")  # Twisted has just named itself, with its version.

        def last(name: bytes) -> bytes | None:
            values = headers.getRawHeaders(name)
            return values[-1] if values else None

        try:
            self._guard.check(
                request.method,
                headers.getRawHeaders(b"host") or [],
                last(b"origin"),
                last(b"sec-fetch-site"),
                last(b"sec-fetch-mode"),
            )
        except Forbidden as refused:
            return Plain(refused.code, refused.reason)
        found: IResource = super().getResourceFor(request)
        return found

    def hang(self, path: str, resource: Resource) -> None:
        """
        Serve C{resource} at C{path} (such as C{.well-known/autoconfig/mail/config-v1.1.xml}), for everybody who may ask
        this site at all: what is for one person asks L{Sessions} itself.
        """
        *above, name = path.encode().split(b"/")
        branch: Resource = self._root
        for each in above:
            if each not in branch.children:
                branch.putChild(each, Branch())
            branch = branch.children[each]
        branch.putChild(name, resource)

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
