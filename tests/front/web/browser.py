"""
What a browser does, without one: requests over a connection in memory to the real site, with cookies kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlencode

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from post.front.auth import Throttle
from post.front.web.guard import Guard
from post.front.web.resources import Desk, site_root
from post.front.web.sessions import Sessions
from post.front.web.site import PageSite
from post.health.facts import Facts
from post.health.metrics import Metrics
from post.mail.tally import Tally
from post.tasks import Tasks
from tests.front.accounts import ALICE, FakeAccounts
from tests.health.samples import FACTS, NOW

HOST = "127.0.0.1:1180"


class Wire(StringTransport):
    """
    One who has connected.
    """

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


@dataclass
class Answer:
    """
    What came back.
    """

    code: int
    headers: dict[str, str]
    text: str
    cookies: dict[str, str] = field(default_factory=dict)


class SiteTestCase(SynchronousTestCase):
    """
    A site, whose people are those of L{FakeAccounts} and whose node is that of L{tests.health.samples}.
    """

    secure = False

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.accounts = FakeAccounts()
        self.passwords = {ALICE: "hash"}
        self.facts = FACTS
        self.made = 0
        self.tasks = Tasks()
        self.addCleanup(self.tasks.stop)
        self.sessions = Sessions(self.clock, self.entropy, self.passwords.get)
        self.desk = Desk(
            self.accounts, self.sessions, Throttle(self.clock), self.clock, self.tasks, self.look, self.secure
        )
        metrics = Metrics(self.look, Tally())
        self.site = PageSite(site_root(self.desk, metrics), Guard(("post.example.org",)), self.clock)
        self.jar: dict[str, str] = {}

    def look(self) -> Facts:
        """
        How the node is.
        """
        return self.facts

    def entropy(self, size: int) -> bytes:
        """
        Never the same.
        """
        self.made += 1
        return self.made.to_bytes(size, "big")

    def connect(self, source: str = "127.0.0.1") -> tuple[Wire, object]:
        """
        Somebody connects.
        """
        wire = Wire(IPv4Address("TCP", "127.0.0.1", 1180), IPv4Address("TCP", source, 5555))
        channel = self.site.buildProtocol(wire.peerAddr)
        channel.makeConnection(wire)
        return wire, channel

    def say(self, octets: bytes, source: str = "127.0.0.1") -> Wire:
        """
        One request, as it goes over the wire.
        """
        wire, channel = self.connect(source)
        channel.dataReceived(octets)  # type: ignore[attr-defined]
        return wire

    def ask(
        self,
        path: str = "/",
        form: dict[str, str] | None = None,
        source: str = "127.0.0.1",
        host: str = HOST,
        method: str = "",
        **headers: str,
    ) -> Wire:
        """
        A request, with the cookies that there are.
        """
        body = urlencode(form).encode() if form is not None else b""
        lines = [f"{method or ('GET' if form is None else 'POST')} {path} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if self.jar:
            lines.append("Cookie: " + "; ".join(f"{name}={value}" for name, value in self.jar.items()))
        if form is not None:
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
        return self.say("\r\n".join([*lines, "", ""]).encode() + body, source)

    def read(self, wire: Wire) -> Answer:
        """
        The answer, whose cookies are kept.
        """
        head, _, body = wire.value().partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        answer = Answer(int(first.split()[1]), {}, body.decode())
        for line in rest:
            name, _, value = line.partition(": ")
            if name.casefold() == "set-cookie":
                named, _, content = value.partition(";")[0].partition("=")
                answer.cookies[named] = value
                self.jar[named] = content
            else:
                answer.headers[name.casefold()] = value
        return answer

    def get(self, path: str = "/", **more: str) -> Answer:
        """
        Ask for a page.
        """
        return self.read(self.ask(path, **more))  # type: ignore[arg-type]

    def post(self, path: str, form: dict[str, str], **more: str) -> Answer:
        """
        Send a form.
        """
        return self.read(self.ask(path, form, **more))

    def token(self, page: Answer) -> str:
        """
        That of the form on a page.
        """
        found = re.search(r'name="token" value="([^"]+)"', page.text)
        assert found is not None, page.text
        return found[1]

    def log_in(self, name: str = ALICE, password: str = "secret") -> Answer:
        """
        Fill in the form.
        """
        token = self.token(self.get())
        return self.post("/login", {"token": token, "name": name, "password": password})
