"""
Tests for L{post.gateway.service}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from post.config import Config, Gateway, Mail, Settings
from post.crypto.certificates import NodeCertificate, read_node
from post.errors import ConfigError
from post.front.service import DRAIN_S, GLANCE_S
from post.gateway.service import InboundService, check_role
from post.mail.inbound import Inbound
from tests.crypto.issued import Issuer
from tests.front.test_submission import Wire
from tests.gateway.test_mx import ENVELOPE, LETTER, FakeDns, FakeInbound, FakeVerifier
from tests.scratch import scratch


class RoleTests(SynchronousTestCase):
    """
    Tests for L{check_role}.
    """

    def setUp(self) -> None:
        self.member, self.gateway = (read_node(Issuer().node(roles)[0]) for roles in ((), ("gateway",)))

    def check(self, certificate: NodeCertificate, smtp: str, postmaster: str) -> None:
        """
        Of a node with these settings.
        """
        settings = Settings(mail=Mail(smtp=smtp), gateway=Gateway(postmaster=postmaster))
        check_role(Config(Path("node.toml"), settings), certificate, "example.org")

    def test_role(self) -> None:
        """
        A node without the role may not take mail from the Internet, and is told what to do; one with it may, and one
        that does not want to is not asked.
        """
        self.check(self.member, "", "")
        self.check(self.gateway, "127.0.0.1:25", "Alice+x@Example.ORG")
        error = self.assertRaises(ConfigError, self.check, self.member, "127.0.0.1:25", "alice@example.org")
        self.assertEqual("node.toml: mail.smtp", error.where)
        self.assertIn("role gateway", error.reason)

    def test_postmaster(self) -> None:
        """
        Who reads what is sent to postmaster is somebody of the domain.
        """
        for address in ("alice@elsewhere.example", "alice@", "@example.org"):
            error = self.assertRaises(ConfigError, self.check, self.gateway, "127.0.0.1:25", address)
            self.assertEqual("node.toml: gateway.postmaster", error.where)


class StopTests(SynchronousTestCase):
    """
    Tests of L{InboundService.stop}: the node is to end while somebody is talking.
    """

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.inbound = FakeInbound()
        gateway = Gateway(postmaster="alice@example.org", dns="127.0.0.1:5353", greylist_s=0)
        config = Config(scratch(self) / "node.toml", Settings(mail=Mail(smtp="127.0.0.1:25"), gateway=gateway))
        config.directory.mkdir(exist_ok=True)
        tls: Any = object()
        self.service = InboundService(self.reactor, config, cast(Inbound, self.inbound), tls)
        self.service.listen()
        factory: Any = self.reactor.tcpServers[0][1]
        factory.verifier, factory.dns = FakeVerifier(), FakeDns()
        self.protocol: Any = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4000))
        self.wire = Wire("192.0.2.1")
        self.protocol.makeConnection(self.wire)
        self.say(b"EHLO mx.b.example\r\n")

    def say(self, data: bytes) -> bytes:
        """
        What is answered to C{data}.
        """
        self.wire.clear()
        self.protocol.dataReceived(data)
        self.reactor.advance(0)
        heard: bytes = self.wire.value()
        return heard

    def stop(self) -> Deferred[None]:
        """
        Begin to.
        """
        return Deferred.fromCoroutine(self.service.stop())

    def test_idle(self) -> None:
        """
        Whoever is in the middle of nothing does not hold it up, and is told.
        """
        stopped = self.stop()
        self.successResultOf(stopped)
        self.assertIn(b"421 ", self.wire.value())

    def test_message(self) -> None:
        """
        A message that is coming in comes to its end, and is kept before it is said to be.
        """
        head, tail = LETTER[:20], LETTER[20:]
        self.say(ENVELOPE + head)
        stopped = self.stop()
        self.reactor.advance(GLANCE_S)
        self.assertNoResult(stopped)
        self.assertTrue(self.say(tail).startswith(b"250 2.0.0"))
        self.assertEqual(1, len(self.inbound.taken))
        self.reactor.advance(GLANCE_S)
        self.successResultOf(stopped)

    def test_endless(self) -> None:
        """
        One that does not is let go of in the end; it was never said to be kept, so its server sends it again.
        """
        self.say(ENVELOPE + LETTER[:20])
        self.wire.clear()
        stopped = self.stop()
        for _ in range(int(DRAIN_S / GLANCE_S) + 2):
            self.reactor.advance(GLANCE_S)
        self.successResultOf(stopped)
        self.assertNotIn(b"250", self.wire.value())
        self.assertTrue(self.wire.disconnected or self.wire.disconnecting)
        self.assertEqual([], self.inbound.taken)
