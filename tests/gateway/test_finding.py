"""
Tests for L{post.gateway.finding}: where the ring is, by what the authority has told and by DNS.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.names.error import ResolverError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from post.errors import NotFound
from post.gateway.dns import Dns, DnsUnavailable, make_resolver
from post.gateway.finding import FIRST_S, FOUND_LIMIT, MOST_S, Finding, ring_addresses
from tests.gateway.names import Names, Zone, ZoneResolver

NAME = "_post._tcp.example.org"
ZONE: Zone = {
    NAME: {"SRV": [[20, 0, 7654, "Spare.example.org"], [10, 5, 7000, "office.example.org"]]},
    "_post._tcp.none.example": {"SRV": [[0, 0, 0, ""]]},
    "_post._tcp.broken.example": {"FAIL": True},
    "_post._tcp.many.example": {"SRV": [[n, 0, 7654, f"node{n}.many.example"] for n in range(90)]},
    "_post._tcp.odd.example": {"SRV": [[1, 0, 7654, "10.0.0.1"], [1, 0, 0, "a.example"], [2, 0, 9, "b.example"]]},
}


class RealDnsTests(TestCase):
    """
    Against a name server on loopback, over UDP and TCP.
    """

    timeout = 30

    async def test_asked(self) -> None:
        """
        The addresses come in the order of their priority; no record, a service that is decidedly not there, and a
        server that fails are told apart.
        """
        from twisted.internet import reactor

        names = Names(reactor, ZONE)
        dns = Dns(make_resolver(reactor, names.place), reactor)
        try:
            found = await ring_addresses(dns, "example.org", Random(1))
            self.assertEqual(("office.example.org:7000", "spare.example.org:7654"), found)
            self.assertEqual(FOUND_LIMIT, len(await ring_addresses(dns, "many.example", Random(1))))
            self.assertEqual(("b.example:9",), await ring_addresses(dns, "odd.example", Random(1)))
            for domain, error in (("none.example", NotFound), ("org", NotFound), ("broken.example", DnsUnavailable)):
                await self.assertFailure(Deferred.fromCoroutine(ring_addresses(dns, domain, Random(1))), error)
        finally:
            self.flushLoggedErrors(ResolverError)  # The name server's own.
            dns.stop()
            await names.stop()


class FindingTests(SynchronousTestCase):
    """
    A node that is not in the ring.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.resolver = ZoneResolver(dict(ZONE))
        self.told: list[str] = []
        self.tried: list[str] = []
        self.finding = self.make()
        self.addCleanup(self.finding.stop)

    def make(self, asks: bool = True, domain: str = "example.org") -> Finding:
        """
        What looks for it.
        """

        def ask() -> Dns:
            resolver: Any = self.resolver
            return Dns(resolver, self.clock)

        return Finding(self.clock, Random(1), lambda: self.told, ask if asks else None, domain, self.use)

    def use(self, addresses: Sequence[str]) -> bool:
        """
        As the overlay does.
        """
        fresh = [each for each in addresses if each not in self.tried]
        self.tried += fresh
        return bool(fresh)

    def test_dns(self) -> None:
        """
        DNS is asked when nothing else has led there for a while; less and less often, and no more once it is found.
        """
        self.finding.start()
        self.clock.advance(FIRST_S / 2)
        self.assertEqual([], self.resolver.asked)
        self.clock.advance(FIRST_S)
        self.assertEqual(["office.example.org:7000", "spare.example.org:7654"], self.tried)
        self.clock.pump([1.0] * 7200)
        asked = len(self.resolver.asked)
        self.assertTrue(10 < asked < 7200 / MOST_S + 10, asked)
        self.finding.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_told(self) -> None:
        """
        What the authority has told meanwhile is tried first.
        """
        self.told = ["desk.example.org:7654"]
        self.finding.start()
        self.clock.advance(1.2 * FIRST_S)
        self.assertEqual((self.told, []), (self.tried, self.resolver.asked))
        self.clock.advance(3 * FIRST_S)
        self.assertEqual(1, len(self.resolver.asked))

    def test_failing(self) -> None:
        """
        DNS that fails, or knows of no ring, hinders nothing: it is asked again.
        """
        for domain in ("broken.example", "none.example", "nowhere.example"):
            finding = self.make(domain=domain)
            finding.start()
            self.clock.pump([1.0] * 60)
            finding.stop()
            self.assertLess(1, len([name for name, _ in self.resolver.asked if name.endswith(domain)]))
        self.assertEqual([], self.tried)

    def test_off(self) -> None:
        """
        Whoever wants nobody to be asked is obeyed.
        """
        finding = self.make(asks=False)
        finding.start()
        self.clock.pump([1.0] * 100)
        finding.stop()
        self.assertEqual([], self.resolver.asked)
