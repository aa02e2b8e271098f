"""
Tests for L{post.front.web.site} and L{post.front.web.resources}: the real site, asked over connections in memory.
"""

from __future__ import annotations

import msgspec
from twisted.logger import LimitedHistoryLogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from post.errors import Unconfirmed
from post.front.auth import DELAY_S, PLACES
from post.front.web.guard import HEADERS
from post.front.web.resources import WRONG
from post.front.web.sessions import LIFE_S
from post.front.web.site import BODY_LIMIT, CONNECTION_S, CONNECTIONS_LIMIT, IDLE_S, PER_SOURCE_LIMIT, Plain
from tests.front.accounts import ALICE
from tests.front.web.browser import SiteTestCase
from tests.health.samples import MAILBOX, facts

SESSION = "post-session-1180"


class LoginTests(SiteTestCase):
    """
    Tests of logging in and out.
    """

    def test_stranger(self) -> None:
        """
        Without a log-in there is a form, and nothing else of this node.
        """
        for path in ("/", "/?x=1"):
            page = self.get(path)
            self.assertEqual(200, page.code)
            self.assertIn('name="password"', page.text)
            for name in ("node1", "alice", "bob", "owner3", "example.org", "Minutes"):
                self.assertNotIn(name, page.text)

    def test_in_and_out(self) -> None:
        """
        The right password opens the page; logging out closes it, for a copied cookie too.
        """
        answer = self.log_in()
        self.assertEqual((303, "/"), (answer.code, answer.headers["location"]))
        page = self.get()
        self.assertIn("Any two computers could vanish now", page.text)
        copied = dict(self.jar)
        self.assertEqual(303, self.post("/logout", {"token": self.token(page)}).code)
        self.assertIn('name="password"', self.get().text)
        self.jar = copied
        self.assertIn('name="password"', self.get().text)

    def test_cookie(self) -> None:
        """
        The session's cookie is not for scripts nor for other sites' requests, ends some time, and is new at each
        log-in; it has the port in its name, since all ports of a machine share cookies.
        """
        cookie = self.log_in().cookies[SESSION]
        self.assertEqual(
            {"Path=/", f"Max-Age={int(LIFE_S)}", "HttpOnly", "SameSite=strict"}, set(cookie.split("; ")[1:])
        )
        first = self.jar[SESSION]
        self.clock.advance(1)
        token = self.sessions.token(self.jar["post-visit-1180"])
        self.post("/login", {"token": token, "name": ALICE, "password": "secret"})
        self.assertNotEqual(first, self.jar[SESSION])
        self.assertIsNone(self.sessions.find(first))

    def test_wrong(self) -> None:
        """
        A wrong password is slowed down, and refused without saying what was wrong.
        """
        token = self.token(self.get())
        for name in (ALICE, "nobody@example.org"):
            wire = self.ask("/login", {"token": token, "name": name, "password": "wrong"})
            self.assertEqual(b"", wire.value())
            self.clock.advance(4 * DELAY_S)
            answer = self.read(wire)
            self.assertEqual((403, True), (answer.code, WRONG in answer.text))
            self.assertNotIn(SESSION, answer.cookies)

    def test_guessing(self) -> None:
        """
        Who guesses on many connections at once has to wait, and who hangs up is no reason to go on.
        """
        token = self.token(self.get())
        for _ in range(PLACES):
            self.ask("/login", {"token": token, "name": ALICE, "password": "wrong"})
        right = self.ask("/login", {"token": token, "name": ALICE, "password": "secret"})
        self.assertEqual(b"", right.value())
        for _ in range(60):
            self.clock.advance(1)
        self.assertEqual(303, self.read(right).code)

    def test_hangs_up(self) -> None:
        """
        Who hangs up while the answer is kept back is not answered, and nothing of it is left.
        """
        token = self.token(self.get())
        before = self.site.connections.total()
        wire, channel = self.connect()
        body = f"token={token}&name=alice&password=wrong"
        cookies = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        head = f"POST /login HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\nContent-Length: {len(body)}\r\n"
        kind = "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        channel.dataReceived((head + kind + body).encode())  # type: ignore[attr-defined]
        channel.connectionLost(Failure(ConnectionError()))  # type: ignore[attr-defined]
        self.clock.advance(60)
        self.assertEqual((b"", before), (wire.value(), self.site.connections.total()))

    def test_cannot_say(self) -> None:
        """
        That a password cannot be judged now is no wrong password.
        """
        self.accounts.error = Unconfirmed("now")
        answer = self.log_in()
        self.assertEqual((503, False), (answer.code, WRONG in answer.text))

    def test_tokens(self) -> None:
        """
        A form that is not from this visitor's own page does nothing, though the password is right; nor does one that
        another site makes a browser send.
        """
        stolen = self.token(self.get())
        self.jar.clear()
        form = {"token": stolen, "name": ALICE, "password": "secret"}
        for changed in (form, {**form, "token": ""}, {"name": ALICE, "password": "secret"}):
            answer = self.post("/login", changed)
            self.assertEqual((403, None), (answer.code, answer.cookies.get(SESSION)))
        self.log_in()
        self.assertEqual(403, self.post("/logout", {"token": stolen}).code)
        self.assertIn("Any two computers", self.get().text)
        token = self.sessions.token(self.jar[SESSION])
        self.assertEqual(403, self.post("/logout", {"token": token}, Origin="http://evil.example").code)
        self.assertEqual(405, self.get("/logout").code)

    def test_fields(self) -> None:
        """
        What no form of ours would send is wrong, and no more.
        """
        token = self.token(self.get())
        visit = self.jar["post-visit-1180"]
        for fields in (
            b"name=alice",
            b"name=alice&name=bob&password=secret",
            b"name=%ff&password=secret",
            b"name=" + b"a" * 2000 + b"&password=secret",
            b"name=alice&password=" + b"a" * 5000,
            b"%%%&&&===",
        ):
            body = b"token=" + token.encode() + b"&" + fields
            head = f"POST /login HTTP/1.1\r\nHost: localhost\r\nCookie: post-visit-1180={visit}\r\n"
            kind = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
            self.assertEqual(403, self.read(self.say((head + kind).encode() + body)).code, fields)

    def test_own(self) -> None:
        """
        One sees one's own mail, and nothing of what concerns others who live here.
        """
        theirs = msgspec.structs.replace(MAILBOX, address="bob@example.org", trouble="a secret of bob's")
        ours = msgspec.structs.replace(MAILBOX, sent=())
        self.facts = facts(mailboxes=(ours, theirs))
        self.log_in()
        page = self.get().text
        self.assertNotIn("Minutes", page)
        self.assertNotIn("a secret of bob", page)
        self.assertEqual(1, page.count("bob@example.org"), "as the owner of a node in the picture")

    def test_moved(self) -> None:
        """
        Who is logged in and whose account has gone from this node sees the form.
        """
        self.log_in()
        self.facts = facts(mailboxes=())
        self.assertIn('name="password"', self.get().text)


class SecureLoginTests(SiteTestCase):
    """
    Tests of the page over TLS.
    """

    secure = True

    def test_cookie(self) -> None:
        """
        The cookie never goes over a connection without TLS.
        """
        self.assertIn("Secure", self.log_in().cookies[SESSION].split("; "))


class SiteTests(SiteTestCase):
    """
    Tests of what holds for every request.
    """

    def test_headers(self) -> None:
        """
        Every answer forbids what a hostile page could do with it, and names neither program nor version.
        """
        for path in ("/", "/style.css", "/nothing", "/metrics"):
            headers = self.get(path).headers
            for name, value in HEADERS.items():
                if name != b"cache-control" or path == "/":
                    self.assertEqual(value.decode(), headers[name.decode()], path)
            self.assertEqual("POST", headers["server"])
        self.assertNotIn("unsafe", HEADERS[b"content-security-policy"].decode())

    def test_host(self) -> None:
        """
        Under a name of somebody else's nothing is answered but why.
        """
        self.log_in()
        for path in ("/", "/metrics", "/style.css"):
            answer = self.get(path, host="evil.example:1180")
            self.assertEqual(421, answer.code)
            self.assertNotIn("node1", answer.text)
        self.assertEqual(200, self.get(host="post.example.org").code)
        self.assertEqual(421, self.read(self.say(b"GET / HTTP/1.1\r\n\r\n")).code)

    def test_embedded(self) -> None:
        """
        Another site's page gets nothing of ours into itself.
        """
        self.log_in()
        self.assertEqual(403, self.get(Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").code)
        self.assertEqual(200, self.get(Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate").code)

    def test_nothing(self) -> None:
        """
        What is not there is not there, whatever it is called, and is not repeated in the answer.
        """
        for path in (
            "/nothing",
            "/login/x",
            "/style.css/x",
            "/../style.css",
            "/%2e%2e/style.css",
            "/<script>",
            "//",
            "/" + "a" * 5000,
        ):
            answer = self.get(path)
            self.assertIn(answer.code, (404, 400), path)
            self.assertNotIn("<script>", answer.text)
        self.assertEqual(405, self.get(method="DELETE").code)

    def test_sizes(self) -> None:
        """
        What is longer than a form, or does not say how long it is, is cut off.
        """
        head = b"POST /login HTTP/1.1\r\nHost: localhost\r\n"
        for more in (
            b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT + 1),
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"".join(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(100)) + b"\r\n",
        ):
            wire = self.say(head + more)
            self.assertTrue(wire.disconnecting or wire.aborted, more[:40])

    def test_connections(self) -> None:
        """
        So many are served at once; who has gone makes room, and who says nothing is hung up on.
        """
        open_ = [self.connect() for _ in range(CONNECTIONS_LIMIT)]
        self.assertTrue(self.connect()[0].aborted)
        _, channel = open_.pop()
        channel.connectionLost(Failure(ConnectionError()))  # type: ignore[attr-defined]
        for _ in range(int(CONNECTION_S / IDLE_S) + 1):
            self.clock.advance(IDLE_S)
        self.assertTrue(all(wire.aborted or wire.disconnecting for wire, _ in open_))

    def test_sources(self) -> None:
        """
        Where the page is not on loopback only, one address has a part of the connections.
        """
        self.site.limits_sources = True
        for _ in range(PER_SOURCE_LIMIT):
            self.assertFalse(self.connect("10.0.0.9")[0].aborted)
        self.assertTrue(self.connect("10.0.0.9")[0].aborted)
        self.assertFalse(self.connect("10.0.0.8")[0].aborted)

    def test_fails(self) -> None:
        """
        A bug of ours is one line for who asked, without what went wrong in it, and more in the log.
        """
        self.log_in()

        def broken() -> None:
            raise ZeroDivisionError("a secret")

        self.desk.facts = broken  # type: ignore[assignment]
        answer = self.get()
        self.assertEqual(500, answer.code)
        self.assertNotIn("secret", answer.text)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_public(self) -> None:
        """
        Others may hang what is for everybody at any path, guarded like the rest.
        """
        path = ".well-known/autoconfig/mail/config-v1.1.xml"
        self.site.hang(path, Plain(200, "<clientConfig/>"))
        self.site.hang(".well-known/else", Resource())
        self.assertIn("clientConfig", self.get(f"/{path}").text)
        self.assertEqual(404, self.get("/.well-known/autoconfig").code)
        self.assertEqual(421, self.get(f"/{path}", host="evil.example").code)

    def test_files(self) -> None:
        """
        The page brings its own style and script, and refers to nothing elsewhere.
        """
        self.log_in()
        page = self.get().text
        for path, kind in (("/style.css", "text/css"), ("/live.js", "text/javascript"), ("/icon.svg", "image/svg+xml")):
            answer = self.get(path)
            self.assertEqual((200, kind), (answer.code, answer.headers["content-type"].partition(";")[0]))
            self.assertIn(f'"{path}"', page)
            self.assertNotIn("http:", answer.text.replace("http://www.w3.org/", ""))
        for inline in ("style=", "onclick", "<style", "http:", "https:"):
            self.assertNotIn(inline, page)


class FiguresTests(SiteTestCase):
    """
    Tests of C{/metrics}.
    """

    def test_here(self) -> None:
        """
        Who asks from this machine gets the figures without a log-in.
        """
        answer = self.get("/metrics")
        self.assertEqual("text/plain; version=0.0.4; charset=utf-8", answer.headers["content-type"])
        self.assertIn("post_links 4.0", answer.text)

    def test_elsewhere(self) -> None:
        """
        Who asks from another does not.
        """
        answer = self.get("/metrics", source="10.0.0.9")
        self.assertEqual((403, False), (answer.code, "post_links" in answer.text))


class QuietTests(SiteTestCase):
    """
    Tests of what the site says to logs.
    """

    def test_quiet(self) -> None:
        """
        Who asked for what is not logged, nor what was typed into the form.
        """
        seen = LimitedHistoryLogObserver()
        globalLogPublisher.addObserver(seen)
        self.addCleanup(globalLogPublisher.removeObserver, seen)
        self.get("/?secret")
        wire = self.ask("/login", {"token": self.token(self.get()), "name": "secret", "password": "secret"})
        self.clock.advance(5)
        self.assertEqual(403, self.read(wire).code)
        events: list[LogEvent] = []
        seen.replayTo(events.append)  # type: ignore[arg-type]  # Anything that can be called will do.
        self.assertEqual((1, False), (len(events), "secret" in repr(events)))
