"""
The site: guarded, and within limits (L{post.front.http}).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from post.front.http import LimitedRequest, LimitedSite, Limits
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


class _Request(LimitedRequest):
    """
    A request whose answer forbids what a hostile page could do with it.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:  # Any: as Twisted has it.
        super().__init__(*arguments, **named)
        for name, value in HEADERS.items():
            self.setHeader(name, value)


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


class PageSite(LimitedSite):
    """
    What is served to those whom the guard lets ask.
    """

    def __init__(self, root: Branch, guard: Guard, clock: IReactorTime, limits_sources: bool = False) -> None:
        limits = Limits(IDLE_S, CONNECTION_S, CONNECTIONS_LIMIT, PER_SOURCE_LIMIT, BODY_LIMIT)
        super().__init__(root, limits, clock, limits_sources, _Request)
        self._root = root
        self._guard = guard

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
