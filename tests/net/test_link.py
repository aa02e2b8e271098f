"""
Tests for L{post.net.link}: who is let in, and what is believed when.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast

from OpenSSL.crypto import FILETYPE_ASN1
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.errors import Unreachable
from post.ids import Contact, Id, NodeId
from post.net.config import LinkConfig
from post.net.framing import FrameReader, head, own_frame
from post.net.messages import Ack, Bye, Hello, Ping
from post.net.owner import ILinkOwner
from post.net.tls import options
from post.wire import FRAME_LIMIT, Message, Priority, decode, encode
from tests.net.members import AUTHORITY, DAY, NOW, Authority, Member
from tests.net.memory import MemoryNetwork

OTHERS = Authority(b"another authority")
ME = Contact(NodeId(Id(7)))


class Stranger(Protocol):
    """
    Speaks the protocol of links by hand.
    """

    def __init__(self) -> None:
        self.lost: Failure | None = None
        self.heard: list[Message | bytes] = []
        self._reader = FrameReader(FRAME_LIMIT)

    def say(self, *messages: Message) -> None:
        """
        Send messages of the link's own.
        """
        self.write(b"".join(own_frame(encode(each)) for each in messages))

    def write(self, data: bytes) -> None:
        """
        Send any bytes.
        """
        assert self.transport is not None
        self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        self.heard += [decode(frame) if own else frame for own, frame in self._reader.feed(data)]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason


class LinkTests(SynchronousTestCase):
    """
    A node of ours, and whoever connects to it.
    """

    def setUp(self) -> None:
        # OpenSSL judges certificates by the time of day, and this module was read long ago.
        self.network = MemoryNetwork(int(time.time()))
        self.node = Member(1, self.network, self.network).start()
        self.stranger = Stranger()

    def tearDown(self) -> None:
        stopped = self.node.transport.stop()
        self.network.pass_time(4)
        self.successResultOf(stopped)
        self.assertEqual([], self.network.getDelayedCalls())

    def member(self, number: int = 7, **how: Any) -> Member:
        """
        Another node, which is stopped in the end.
        """
        member = Member(number, self.network, self.network, **how).start()
        self.addCleanup(member.transport.stop)
        return member

    def connect(self, made: CertificateOptions | None = None) -> None:
        """
        Let the stranger connect, by default with the certificate of node 7.
        """
        factory: Any = Factory.forProtocol(cast("Callable[[], Protocol]", lambda: self.stranger))
        if made is not None:
            factory = TLSMemoryBIOFactory(made, True, factory, self.network)
        TCP4ClientEndpoint(self.network, "127.0.0.1", self.node.transport.port).connect(factory)
        self.network.settle()

    def greet(self, hello: Hello) -> None:
        """
        Connect as node 7 and say C{hello}.
        """
        self.connect(options(*AUTHORITY.member(7), AUTHORITY.root))
        self.stranger.say(hello)
        self.network.settle()

    def assertRefused(self, kind: str) -> None:
        """
        The stranger is cut off, nothing of it was believed, and the misdeed is counted.
        """
        self.network.settle()
        self.assertIsNotNone(self.stranger.lost)
        self.assertEqual([], self.node.heard.heard)
        self.assertEqual([], list(self.node.transport.links()))
        self.assertEqual({kind: 1}, dict(self.node.complaints.counts))

    def assertNoLink(self, member: Member, kind: str, where: Member) -> None:
        """
        C{member} cannot send to our node; the one at C{where} complains.
        """
        self.assertTrue(member.send(self.node, b"secret"))
        self.network.settle()
        self.assertEqual([], self.node.heard.heard)
        self.assertEqual([("lost", 1)], member.heard.heard)
        self.assertEqual(1, where.complaints.counts[kind])

    def test_owner(self) -> None:
        """
        The switchboard is what a link needs.
        """
        self.assertTrue(verifyObject(ILinkOwner, self.node.transport._switchboard))

    # Certificates.

    def test_other_authority(self) -> None:
        """
        A node with a certificate of another authority is refused, although it accepts ours.
        """
        member = self.member(identity=OTHERS.member(7), root=OTHERS.root)
        self.assertNoLink(member, "TLS handshake failed", member)

    def test_other_authority_accepting(self) -> None:
        """
        Also when it accepts our certificate: then it is we who refuse its certificate, after it believed itself
        connected.
        """
        key, chain = OTHERS.member(7)
        made = CertificateOptions(
            privateKey=cast("Any", key.private_key),
            certificate=cast("Any", Certificate.load(chain[0], FILETYPE_ASN1).original.to_cryptography()),
            extraCertChain=[cast("Any", Certificate.load(chain[1], FILETYPE_ASN1).original.to_cryptography())],
            trustRoot=trustRootFromCertificates([Certificate.load(AUTHORITY.root, FILETYPE_ASN1)]),
            acceptableProtocols=[b"post/1"],
        )
        self.connect(made)
        self.assertRefused("TLS handshake failed")

    def test_no_certificate(self) -> None:
        """
        A client without a certificate is refused.
        """
        root = trustRootFromCertificates([Certificate.load(AUTHORITY.root, FILETYPE_ASN1)])
        self.connect(CertificateOptions(trustRoot=root, acceptableProtocols=[b"post/1"]))
        self.assertRefused("TLS handshake failed")

    def test_expired(self) -> None:
        """
        A certificate that has expired is refused, by OpenSSL on the real clock.
        """
        made = options(*AUTHORITY.member(7, NOW - 5 * DAY, NOW - 1), AUTHORITY.root)
        self.connect(made)
        self.assertRefused("TLS handshake failed")

    def test_expired_by_our_clock(self) -> None:
        """
        A certificate that has expired by the clock that we were given is refused as well.
        """
        identity = AUTHORITY.member(7, NOW - DAY, NOW + DAY)
        self.network.advance(2 * DAY)
        self.connect(options(*identity, AUTHORITY.root))
        self.assertRefused("certificate refused")

    def test_expires_later(self) -> None:
        """
        A link is cut when the certificate of the peer expires while it is up.
        """
        now = int(self.network.seconds())
        member = self.member(identity=AUTHORITY.member(7, NOW - DAY, now + 100))
        member.send(self.node, b"good day")
        self.network.settle()
        self.assertEqual([b"good day"], self.node.heard.frames())
        self.network.pass_time(110, 5)
        self.assertEqual(["found", "lost"], self.node.heard.events())
        self.assertEqual({"certificate no longer valid": 1}, dict(self.node.complaints.counts))

    def test_not_the_one_dialled(self) -> None:
        """
        When another node answers at the address of the one dialled, nothing is sent to it.
        """
        member = self.member()
        elsewhere = Contact(NodeId(Id(3)), self.node.contact.addresses, 1)
        self.assertTrue(member.transport.send(elsewhere, b"secret", Priority.NORMAL))
        self.network.settle()
        self.assertEqual([], self.node.heard.heard)
        self.assertEqual([("lost", 3)], member.heard.heard)
        self.assertEqual(1, member.complaints.counts["certificate refused"])

    # TLS.

    def test_no_tls(self) -> None:
        """
        Garbage instead of TLS is dropped.
        """
        self.connect()
        self.stranger.write(b"GET / HTTP/1.0\r\n\r\n")
        self.assertRefused("TLS handshake failed")

    def test_only_tls_1_3(self) -> None:
        """
        Nobody gets in with TLS 1.2, not even with a good certificate.
        """
        key, chain = AUTHORITY.member(7)
        made = CertificateOptions(
            privateKey=cast("Any", key.private_key),
            certificate=cast("Any", Certificate.load(chain[0], FILETYPE_ASN1).original.to_cryptography()),
            extraCertChain=[cast("Any", Certificate.load(chain[1], FILETYPE_ASN1).original.to_cryptography())],
            trustRoot=trustRootFromCertificates([Certificate.load(AUTHORITY.root, FILETYPE_ASN1)]),
            acceptableProtocols=[b"post/1"],
            lowerMaximumSecurityTo=TLSVersion.TLSv1_2,
        )
        self.connect(made)
        self.assertRefused("TLS handshake failed")

    def test_no_alpn(self) -> None:
        """
        A good certificate is not enough: the other end has to name our protocol.
        """
        made = options(*AUTHORITY.member(7), AUTHORITY.root)
        made._acceptableProtocols = []
        made._context = None
        self.connect(made)
        self.assertRefused("certificate refused")

    def test_says_nothing(self) -> None:
        """
        Who connects and is silent is cut off after the time for the handshake; before or after TLS.
        """
        for made in (None, options(*AUTHORITY.member(7), AUTHORITY.root)):
            self.stranger = Stranger()
            self.connect(made)
            self.network.pass_time(9)
            self.assertIsNone(self.stranger.lost)
            self.network.pass_time(2)
            self.assertIsNotNone(self.stranger.lost)
        self.assertEqual({"handshake not finished in time": 2}, dict(self.node.complaints.counts))

    # HELLO and ACK.

    def test_proper(self) -> None:
        """
        HELLO, ACK, and then the link is up and carries frames, but not before the ACK.
        """
        self.greet(Hello(1, 1, 0, ME))
        self.assertEqual([Hello, Ack], [type(each) for each in self.stranger.heard])
        self.assertEqual([], self.node.heard.heard)
        self.stranger.say(Ack(0))
        self.stranger.write(head(5) + b"hello")
        self.network.settle()
        self.assertEqual([("found", 7), (7, b"hello")], self.node.heard.heard)
        self.assertIsInstance(self.stranger.heard[-1], Ping)

    def test_other_id_in_hello(self) -> None:
        """
        Who calls itself by another id than its certificate does is refused.
        """
        self.greet(Hello(1, 1, 0, Contact(NodeId(Id(8)))))
        self.assertRefused("broken link protocol")

    def test_looks_for_another(self) -> None:
        """
        Who looks for another node than us is refused.
        """
        self.greet(Hello(1, 1, 0, ME, NodeId(Id(9))))
        self.assertRefused("broken link protocol")

    def test_no_common_version(self) -> None:
        """
        Without a common protocol version there is no link, and both ends say why.
        """
        newer = self.member(config=LinkConfig(lowest=2, highest=3))
        newer.send(self.node, b"?")
        self.network.settle()
        for member in (newer, self.node):
            self.assertEqual([], list(member.transport.links()))
            self.assertEqual(1, member.complaints.counts["broken link protocol"])
        self.assertEqual([("lost", 1)], newer.heard.heard)

    def test_features(self) -> None:
        """
        The features that both offer are in use, at the highest common version.
        """
        a = self.member(7, config=LinkConfig(highest=4, features=0b110))
        b = self.member(8, config=LinkConfig(highest=3, features=0b011))
        a.send(b, b"")
        self.network.settle()
        for agreed in (a.transport.agreed(NodeId(Id(8))), b.transport.agreed(NodeId(Id(7)))):
            assert agreed is not None
            self.assertEqual((3, 0b010), (agreed.version, agreed.features))
        self.assertIsNone(a.transport.agreed(NodeId(Id(99))))

    def test_frame_before_the_handshake(self) -> None:
        """
        A frame before HELLO, or between HELLO and ACK, is not delivered and ends the connection.
        """
        for first in ((), (Hello(1, 1, 0, ME),)):
            self.node.complaints.counts.clear()
            self.stranger = Stranger()
            self.connect(options(*AUTHORITY.member(7), AUTHORITY.root))
            self.stranger.say(*first)
            self.stranger.write(head(5) + b"hello")
            self.assertRefused("broken link protocol")

    def test_out_of_turn(self) -> None:
        """
        Each message has its turn: ACK before HELLO, HELLO twice, PING before the link is up.
        """
        hello = Hello(1, 1, 0, ME)
        for said in ((Ack(0),), (hello, hello), (Ping(1),), (hello, Ping(1))):
            self.node.complaints.counts.clear()
            self.stranger = Stranger()
            self.connect(options(*AUTHORITY.member(7), AUTHORITY.root))
            self.stranger.say(*said)
            self.assertRefused("broken link protocol")

    def test_garbage_within_tls(self) -> None:
        """
        A member that sends garbage is cut off before and after the handshake.
        """
        for said in (own_frame(b"\0\2garbage"), own_frame(b"\xff\xff?"), own_frame(b""), b"\x00\xff\xff\xff"):
            self.node.complaints.counts.clear()
            self.stranger = Stranger()
            self.connect(options(*AUTHORITY.member(7), AUTHORITY.root))
            self.stranger.write(said)
            self.assertRefused("broken link protocol")

    def test_oversize(self) -> None:
        """
        A frame over the limit ends the connection before its bytes have come: above 4 KiB before HELLO, above 64 KiB
        later.
        """
        self.connect(options(*AUTHORITY.member(7), AUTHORITY.root))
        self.stranger.write(own_frame(b"x" * 4097)[:4])
        self.assertRefused("broken link protocol")
        self.stranger = Stranger()
        self.greet(Hello(1, 1, 0, ME))
        self.stranger.say(Ack(0))
        self.stranger.write(head(FRAME_LIMIT) + b"x" * FRAME_LIMIT + head(FRAME_LIMIT + 1))
        self.network.settle()
        self.assertIsNotNone(self.stranger.lost)
        self.assertEqual([b"x" * FRAME_LIMIT], self.node.heard.frames())
        self.assertEqual(["found", "lost"], self.node.heard.events())

    def test_newer_message(self) -> None:
        """
        A message of the link that we do not know, from a newer node, is passed over.
        """
        self.greet(Hello(1, 9, 0, ME))
        self.stranger.say(Ack(0))
        self.stranger.write(own_frame(b"\0\x0f\x91\1") + head(1) + b"!")
        self.network.settle()
        self.assertEqual([b"!"], self.node.heard.frames())

    def test_confirmed_unsaid(self) -> None:
        """
        A BYE that confirms one that we never said breaks the protocol.
        """
        self.greet(Hello(1, 1, 0, ME))
        self.stranger.say(Ack(0), Bye(1, heard=True))
        self.network.settle()
        self.assertEqual({"broken link protocol": 1}, dict(self.node.complaints.counts))

    def test_flood_of_pings(self) -> None:
        """
        Many pings at once are one pong, so that nobody can make us pile up answers.
        """
        self.greet(Hello(1, 1, 0, ME))
        self.stranger.say(Ack(0))
        self.network.settle()
        before = len(self.stranger.heard)
        self.stranger.say(*[Ping(number) for number in range(1000)])
        self.network.settle()
        self.assertEqual(1, len(self.stranger.heard) - before)

    # Limits of strangers.

    def test_too_many_strangers(self) -> None:
        """
        Connections without a handshake are limited by source and in all; those of before are not touched, and with
        time there is room again.
        """
        member = self.member(8, config=LinkConfig(unproven_per_source=3))
        strangers = [Stranger() for _ in range(5)]
        for each in strangers:
            factory = Factory.forProtocol(cast("Callable[[], Protocol]", lambda each=each: each))
            TCP4ClientEndpoint(self.network, "127.0.0.1", member.transport.port).connect(factory).addErrback(
                lambda _: None
            )
        self.network.settle()
        self.assertEqual([True] * 3 + [False] * 2, [each.connected == 1 for each in strangers])
        self.assertEqual(2, member.complaints.counts["too many connections without a handshake"])
        self.network.pass_time(11)
        self.node.send(member, b"at last")
        self.network.settle()
        self.assertEqual([b"at last"], member.heard.frames())

    def test_introduced_to_nobody(self) -> None:
        """
        An introduction fails if nobody is there, if it is ourselves, or if the address is none.
        """
        for address in ("127.0.0.1:9", self.node.contact.addresses[0], "nonsense", "host:99999", "::1:5", ":7"):
            introduced = self.node.transport.introduce(address)
            self.network.settle()
            self.failureResultOf(introduced, Unreachable)
