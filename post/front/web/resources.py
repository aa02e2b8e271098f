"""
What is served: the page, the log-in, the figures for Prometheus, and three files.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from importlib.resources import files
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.template import Tag, flattenString

from post.errors import PostError, Refused
from post.front.auth import Throttle, admit, on_loopback
from post.front.web.layout import DOCTYPE, login_page, page
from post.front.web.sessions import KEY_LIMIT, LIFE_S, Sessions
from post.front.web.site import Branch, Leaf, Plain
from post.health.facts import Facts
from post.health.metrics import CONTENT_TYPE, Metrics
from post.mail.interfaces import IMailAccounts
from post.tasks import Tasks, sleep

NAME_LIMIT, PASSWORD_LIMIT = 320, 1000
"""Characters of what somebody logs in with."""
WRONG = "Name or password is wrong."
_FILES = {
    b"style.css": "text/css; charset=utf-8",
    b"live.js": "text/javascript; charset=utf-8",
    b"icon.svg": "image/svg+xml",
}


class Desk:
    """
    What all resources share: who asks, and how they are answered.
    """

    log = Logger()

    def __init__(
        self,
        accounts: IMailAccounts,
        sessions: Sessions,
        throttle: Throttle,
        clock: IReactorTime,
        tasks: Tasks,
        facts: Callable[[], Facts],
        secure: bool,
    ) -> None:
        self.accounts = accounts
        self.sessions = sessions
        self.throttle = throttle
        self.clock = clock
        self.tasks = tasks
        self.facts = facts
        self._secure = secure

    # Cookies.  A browser sends those of 127.0.0.1 to every port of it, so that the port is in their names.

    def cookie(self, request: Request, kind: str) -> str:
        """
        The value of one of our cookies; empty if it is not there.
        """
        value = request.getCookie(self._cookie(request, kind).encode())
        return value.decode("latin-1")[:KEY_LIMIT] if value else ""

    def set_cookie(self, request: Request, kind: str, value: str, life_s: float) -> None:
        """
        For this site, not for scripts, and not with requests that others cause.
        """
        request.addCookie(
            self._cookie(request, kind),
            value,
            path="/",
            max_age=str(int(life_s)),
            httpOnly=True,
            sameSite="strict",
            secure=self._secure,
        )

    @staticmethod
    def _cookie(request: Request, kind: str) -> str:
        return f"post-{kind}-{getattr(request.getHost(), 'port', 0)}"

    def who(self, request: Request) -> str | None:
        """
        Who is logged in.
        """
        return self.sessions.find(self.cookie(request, "session"))

    # Answers.

    def answer(self, request: Request, work: Coroutine[Any, Any, None]) -> int:
        """
        Let C{work} answer; what goes wrong in it is one line for whoever asked, and more in the log.
        """

        async def attend() -> None:
            gone: list[object] = []
            working = Deferred.fromCoroutine(work)

            def hung_up(reason: object) -> None:
                gone.append(reason)
                working.cancel()

            request.notifyFinish().addErrback(hung_up)
            try:
                await working
            except CancelledError:
                if not gone:
                    raise
            except Exception:
                self.log.failure("a page could not be made")
                if not gone:
                    request.write(Plain(500, "The page could not be made; the node's log says more.").render(request))
                    request.finish()

        self.tasks.spawn(attend())
        return NOT_DONE_YET

    @staticmethod
    async def show(request: Request, content: Tag, code: int = 200) -> None:
        """
        Answer with a page.
        """
        body = DOCTYPE + await flattenString(request, content)
        request.setResponseCode(code)
        request.setHeader(b"content-type", b"text/html; charset=utf-8")
        request.setHeader(b"content-length", str(len(body)).encode())
        request.write(body)
        request.finish()

    async def show_login(self, request: Request, trouble: str = "", code: int = 200) -> None:
        """
        Answer with the form.
        """
        visit = self.cookie(request, "visit")
        if not visit:
            visit = self.sessions.key()
            self.set_cookie(request, "visit", visit, LIFE_S)
        await self.show(request, login_page(self.sessions.token(visit), trouble), code)

    @staticmethod
    def go_home(request: Request) -> None:
        """
        Answer with the way to the page.
        """
        request.setResponseCode(303)
        request.setHeader(b"location", b"/")
        request.setHeader(b"content-length", b"0")
        request.finish()


def _field(request: Request, name: bytes, limit: int) -> str:
    """
    A field of a form; empty if it is not there, there twice, too long, or not UTF-8.
    """
    values = (request.args or {}).get(name, [])
    if len(values) != 1 or len(values[0]) > 4 * limit:
        return ""
    try:
        text = values[0].decode()
    except UnicodeDecodeError:
        return ""
    return text if len(text) <= limit else ""


class _Home(Leaf):
    """
    The page, for who is logged in; the form for who is not.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def render_GET(self, request: Request) -> int:
        return self._desk.answer(request, self._show(request))

    async def _show(self, request: Request) -> None:
        desk = self._desk
        address = desk.who(request)
        facts = desk.facts() if address is not None else None
        mailbox = facts.mailbox(address) if facts is not None and address is not None else None
        if facts is None or mailbox is None:
            await desk.show_login(request)
            return
        token = desk.sessions.token(desk.cookie(request, "session"))
        await desk.show(request, page(facts, mailbox, token))


class _Login(Leaf):
    """
    Where the form goes.
    """

    log = Logger()

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def render_GET(self, request: Request) -> int:
        self._desk.go_home(request)
        return NOT_DONE_YET

    def render_POST(self, request: Request) -> int:
        return self._desk.answer(request, self._log_in(request))

    async def _log_in(self, request: Request) -> None:
        desk = self._desk
        if not desk.sessions.check(desk.cookie(request, "visit"), _field(request, b"token", KEY_LIMIT)):
            await desk.show_login(request, "That form was too old. Please try again.", 403)
            return
        name, password = _field(request, b"name", NAME_LIMIT), _field(request, b"password", PASSWORD_LIMIT)
        source = getattr(request.getClientAddress(), "host", "?")
        if not name or not password:
            await desk.show_login(request, WRONG, 403)
            return

        async def wait(seconds: float) -> None:
            await sleep(desk.clock, seconds)

        try:
            address = await admit(desk.accounts, desk.throttle, source, name.strip(), password.encode(), wait)
        except Refused:
            self.log.info("a wrong password at the page, from {source}", source=source)
            await desk.show_login(request, WRONG, 403)
            return
        except PostError:
            await desk.show_login(request, "That cannot be said now. Please try again.", 503)
            return
        key = desk.sessions.open(address)
        if key is not None:
            # What the cookie held before the log-in is nobody's session.
            desk.sessions.close(desk.cookie(request, "session"))
            desk.set_cookie(request, "session", key, LIFE_S)
        desk.go_home(request)


class _Logout(Leaf):
    """
    Ends a session.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self._desk = desk

    def render_POST(self, request: Request) -> bytes | int:
        key = self._desk.cookie(request, "session")
        if not self._desk.sessions.check(key, _field(request, b"token", KEY_LIMIT)):
            return Plain(403, "That form was too old. Please go back, and try again.").render(request)
        self._desk.sessions.close(key)
        self._desk.set_cookie(request, "session", "", 0)
        self._desk.go_home(request)
        return NOT_DONE_YET


class _Figures(Leaf):
    """
    For Prometheus on this machine.
    """

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def render_GET(self, request: Request) -> bytes:
        if not on_loopback(getattr(request.getClientAddress(), "host", "")):
            return Plain(403, "These figures are for this machine only.").render(request)
        request.setHeader(b"content-type", CONTENT_TYPE.encode())
        return self._metrics.text()


class _File(Leaf):
    """
    A file of ours, read once.
    """

    def __init__(self, name: str, kind: str) -> None:
        super().__init__()
        self._data = files(__package__).joinpath(name).read_bytes()
        self._kind = kind

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"content-type", self._kind.encode())
        # The same for everybody, and a newer program brings another one soon enough.
        request.setHeader(b"cache-control", b"max-age=300")
        return self._data


def site_root(desk: Desk, metrics: Metrics | None) -> Branch:
    """
    Everything, by its path.
    """
    root = Branch()
    root.putChild(b"", _Home(desk))
    root.putChild(b"login", _Login(desk))
    root.putChild(b"logout", _Logout(desk))
    for name, kind in _FILES.items():
        root.putChild(name, _File(name.decode(), kind))
    if metrics is not None:
        root.putChild(b"metrics", _Figures(metrics))
    return root
