"""
Tests for L{post.gateway.dns}: against a real server on loopback, and against one that never answers in time.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.names.error import ResolverError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from post.gateway.dns import (
    DEADLINE_S,
    UNDER_WAY_LIMIT,
    BlockingDns,
    Dns,
    DnsUnavailable,
    Exchange,
    NoRecords,
    NoSuchName,
    encode_name,
    make_resolver,
    reverse_name,
)
from tests.gateway.names import Names, Zone, ZoneResolver

KEY = "v=DKIM1; k=rsa; p=" + "A" * 1200
ZONE: Zone = {
    "example.net": {"MX": [[20, "second.example.net"], [10, "First.example.net"]], "TXT": ["v=spf1 -all", "other"]},
    "null.example": {"MX": [[0, ""]]},
    "first.example.net": {"A": ["127.0.0.2", "127.0.0.3"], "AAAA": ["::2"]},
    "four.example": {"A": ["127.0.0.4"]},
    "alias.example": {"CNAME": ["four.example"]},
    "loop.example": {"CNAME": ["loop2.example"]},
    "loop2.example": {"CNAME": ["nowhere.example"]},
    "key._domainkey.example.net": {"TXT": [KEY]},
    "broken.example": {"FAIL": True},
    "xn--bcher-kva.example": {"A": ["127.0.0.5"]},
    "2.0.0.127.in-addr.arpa": {"PTR": ["first.example.net"]},
}


class RealDnsTests(TestCase):
    """
    Tests for L{Dns} on real sockets.
    """

    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.names = Names(reactor, ZONE)
        self.dns = Dns(make_resolver(reactor, self.names.place), reactor)
        self.blocking = BlockingDns(reactor, self.dns)

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]  # Trial waits for it.
        self.dns.stop()
        return Deferred.fromCoroutine(self.names.stop())

    def run_all(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        """
        What trial waits for.
        """
        return Deferred.fromCoroutine(coroutine)

    async def fails(self, kind: type[Exception], question: Coroutine[Any, Any, Any]) -> None:
        """
        C{question} raises exactly C{kind}.
        """
        try:
            found = await question
        except Exception as error:
            self.assertIs(kind, type(error))
        else:
            self.fail(f"{found} instead of {kind}")

    def test_answers(self) -> Deferred[None]:
        """
        Records come in the form that mail uses: exchanges by preference, addresses of both kinds, texts joined, also
        those too long for UDP; an alias is followed, and a name beyond ASCII asked for as A-labels.
        """

        async def check() -> None:
            ask = self.dns
            self.assertEqual(
                [Exchange(10, "first.example.net"), Exchange(20, "second.example.net")], await ask.mx("Example.NET.")
            )
            self.assertEqual([Exchange(0, "")], await ask.mx("null.example"))
            self.assertEqual(["127.0.0.2", "127.0.0.3", "::2"], await ask.addresses("first.example.net"))
            self.assertEqual(["127.0.0.4"], await ask.addresses("four.example"))
            self.assertEqual(["127.0.0.4"], await ask.a("alias.example"))
            self.assertEqual(["127.0.0.5"], await ask.a("b\u00fccher.example"))
            self.assertEqual([b"v=spf1 -all", b"other"], await ask.txt("example.net"))
            self.assertEqual([KEY.encode()], await ask.txt("key._domainkey.example.net"))
            self.assertEqual(["first.example.net"], await ask.ptr("127.0.0.2"))

        return self.run_all(check())

    def test_no_answers(self) -> Deferred[None]:
        """
        A name that does not exist, one without such records, and a server that fails are three different things.
        """

        async def check() -> None:
            await self.fails(NoSuchName, self.dns.mx("nothing.example"))
            await self.fails(NoRecords, self.dns.txt("four.example"))
            await self.fails(NoRecords, self.dns.addresses("example.net"))
            await self.fails(NoRecords, self.dns.a("loop.example"))
            await self.fails(DnsUnavailable, self.dns.a("broken.example"))
            self.flushLoggedErrors(ResolverError)  # The server's.
            await self.fails(NoSuchName, self.dns.a("x" * 64 + ".example"))

        return self.run_all(check())

    def test_thread(self) -> Deferred[None]:
        """
        Code in a thread gets the same answers and errors.
        """

        def ask() -> list[object]:
            found: list[object] = [self.blocking.call(lambda dns: dns.a("four.example"))]
            try:
                self.blocking.call(lambda dns: dns.a("nothing.example"))
            except NoSuchName as error:
                found.append(type(error))
            return found

        return deferToThread(ask).addCallback(lambda found: self.assertEqual([["127.0.0.4"], NoSuchName], found))


class DnsTests(SynchronousTestCase):
    """
    Tests for L{Dns} without a network.
    """

    def test_silence(self) -> None:
        """
        What is not answered is unavailable after the deadline, and nothing is left behind.
        """
        clock = Clock()
        ask = Dns(ZoneResolver({"silent.example": {"SILENT": True}}), clock)
        question = Deferred.fromCoroutine(ask.a("silent.example"))
        clock.advance(DEADLINE_S - 1)
        self.assertNoResult(question)
        clock.advance(1)
        self.failureResultOf(question, DnsUnavailable)
        self.assertEqual([], clock.getDelayedCalls())

    def test_stop(self) -> None:
        """
        Stopping answers whoever still waits.
        """
        clock = Clock()
        ask = Dns(ZoneResolver({"silent.example": {"SILENT": True}}), clock)
        question = Deferred.fromCoroutine(ask.a("silent.example"))
        ask.stop()
        self.failureResultOf(question, DnsUnavailable)
        self.assertEqual([], clock.getDelayedCalls())

    def test_too_many(self) -> None:
        """
        Beyond the limit of questions at once one is refused for now, and taken again when others have ended.
        """
        ask = Dns(ZoneResolver({"silent.example": {"SILENT": True}, "x.example": {"A": ["127.0.0.1"]}}), Clock())
        waiting = [Deferred.fromCoroutine(ask.a("silent.example")) for _ in range(UNDER_WAY_LIMIT)]
        self.failureResultOf(Deferred.fromCoroutine(ask.a("x.example")), DnsUnavailable)
        ask.stop()
        for each in waiting:
            self.failureResultOf(each, DnsUnavailable)
        self.assertEqual(["127.0.0.1"], self.successResultOf(Deferred.fromCoroutine(ask.a("x.example"))))

    def test_foreign_records(self) -> None:
        """
        What a resolver adds about other names is not believed.
        """
        resolver = ZoneResolver({"a.example": {"A": ["127.0.0.1"]}})
        answers = self.successResultOf(resolver.lookupAddress(b"a.example"))

        class Liar:
            """
            Answers with what was not asked for.
            """

            def lookupAddress(self, name: bytes, timeout: object) -> Deferred[Any]:
                done: Deferred[Any] = Deferred()
                done.callback(answers)
                return done

        self.failureResultOf(Deferred.fromCoroutine(Dns(Liar(), Clock()).a("b.example")), NoRecords)

    def test_names(self) -> None:
        """
        Names are asked for as they are in the DNS; what cannot be a name cannot exist.
        """
        self.assertEqual("_dmarc.xn--bcher-kva.example", encode_name("_dmarc.b\u00fccher.Example."))
        for name in ("", "a..b", "x" * 64, ".".join(["abc"] * 80), "a\nb", "\u2603\u0301.\u200d"):
            self.assertRaises(NoSuchName, encode_name, name)
        self.assertEqual("4.3.2.1.in-addr.arpa", reverse_name("1.2.3.4"))
        self.assertTrue(reverse_name("::1").endswith(".ip6.arpa"))
        self.assertRaises(ValueError, reverse_name, "no address")
