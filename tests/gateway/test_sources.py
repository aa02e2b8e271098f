"""
Tests for L{post.gateway.sources}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.gateway import sources
from post.gateway.sources import MISSES_LIMIT, Sources, net_of


class SourcesTests(SynchronousTestCase):
    """
    Tests of L{Sources}: two connections and three messages a minute each.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.sources = Sources(self.clock, 2, 3)

    def test_connections(self) -> None:
        """
        One too many is refused, and what ends makes room.
        """
        self.assertEqual([True, True, False], [self.sources.connect("a") for _ in range(3)])
        self.assertTrue(self.sources.connect("b"))
        self.sources.disconnect("a")
        self.assertTrue(self.sources.connect("a"))

    def test_messages(self) -> None:
        """
        What is used up comes back with time, and never more than a minute's; a clock set back gives nothing.
        """
        take = self.sources.messages.take
        self.assertEqual([True] * 3 + [False], [take("a") for _ in range(4)])
        self.assertTrue(take("b"))
        self.clock.advance(20)
        self.assertEqual([True, False], [take("a") for _ in range(2)])
        self.clock.advance(10_000)
        self.assertEqual([True] * 3 + [False], [take("a") for _ in range(4)])
        self.clock.rightNow -= 5000
        self.assertFalse(take("a"))

    def test_misses(self) -> None:
        """
        Looking whether something is left uses nothing up; who has asked for too many that are nobody waits.
        """
        misses = self.sources.misses
        self.assertEqual([True] * 100, [misses.has("a") for _ in range(100)])
        for _ in range(MISSES_LIMIT):
            self.assertTrue(misses.take("a"))
        self.assertFalse(misses.has("a"))
        self.assertTrue(misses.has("b"))
        self.clock.advance(30)
        self.assertTrue(misses.has("a"))
        misses.take("a")
        self.assertFalse(misses.has("a"))

    def test_bounded(self) -> None:
        """
        Sources beyond the limit are forgotten, those heard of longest ago first.
        """
        self.patch(sources, "SOURCES_LIMIT", 2)
        for _ in range(3):
            self.sources.messages.take("a")
        for name in "bc":
            self.sources.messages.take(name)
        self.assertTrue(self.sources.messages.take("a"))

    def test_nets(self) -> None:
        """
        An IPv4 address is one party, however written, and so is a /64.
        """
        self.assertEqual("192.0.2.1", net_of("192.0.2.1"))
        self.assertEqual("192.0.2.1", net_of("::ffff:192.0.2.1"))
        self.assertEqual("2001:db8::", net_of("2001:db8::1:2:3:4"))
        self.assertEqual(net_of("fe80::1%eth0"), net_of("fe80::2"))
        self.assertEqual("unknown", net_of("unknown"))
