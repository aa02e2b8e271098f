"""
Tests for L{post.net.transport} on real sockets.
"""

from __future__ import annotations

import socket
import warnings

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from post.errors import ConfigError, Unreachable
from post.ids import Contact
from post.net.config import LinkConfig
from post.rpc import Rpc
from post.tasks import gather
from post.wire import FRAME_LIMIT, Message, Priority, message
from tests.net.members import Member


@message(0x0FE1)
class Echo(Message, frozen=True):
    """
    Any question.
    """

    text: bytes


class LoopbackTests(TestCase):
    """
    Two nodes on the real reactor.
    """

    timeout = 20

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.one, self.two = Member(1, reactor), Member(2, reactor)
        self.asker = Rpc(self.one.transport, reactor, self.one.complaints)
        self.answerer = Rpc(self.two.transport, reactor, self.two.complaints)
        for rpc in (self.asker, self.answerer):
            rpc.serve(Echo, lambda peer, question: question)
            rpc.start()

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]  # Trial waits for it.
        return Deferred.fromCoroutine(self.stop())

    async def stop(self) -> None:
        """
        Stop both, wait for both.
        """
        stopping = [self.asker.stop(), self.answerer.stop()]
        for each in stopping:
            await each

    async def ask(self, asker: Rpc, peer: Contact, text: bytes) -> None:
        """
        One question and its answer.
        """
        self.assertEqual(Echo(text), await asker.ask(peer, Echo(text)))

    async def test_questions(self) -> None:
        """
        Small and large questions in both directions, begun at the same moment, share one link.
        """
        one, two = self.one.contact, self.two.contact
        texts = [b"x" * size for size in (0, 200, FRAME_LIMIT, 300_000)] * 5
        await gather(
            [self.ask(self.asker, two, text) for text in texts] + [self.ask(self.answerer, one, text) for text in texts]
        )
        self.assertEqual(([two], [one]), (list(self.one.transport.links()), list(self.two.transport.links())))
        self.assertEqual({}, dict(self.one.complaints.counts + self.two.complaints.counts))
        self.assertIsNotNone(self.one.transport.round_trip_s(two.id))

    async def test_by_name(self) -> None:
        """
        An address may be the name of a host.
        """
        found = await self.one.transport.introduce(f"localhost:{self.two.transport.port}")
        self.assertEqual(self.two.contact, found)

    async def test_nobody(self) -> None:
        """
        Nobody at an address is an answer.
        """
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            with self.assertRaises(Unreachable):
                await self.one.transport.introduce(f"127.0.0.1:{taken.getsockname()[1]}")

    def test_port_in_use(self) -> None:
        """
        A port that is taken is one clear line.
        """
        from twisted.internet import reactor

        with self.assertRaises(ConfigError) as raised:
            Member(3, reactor, port=self.one.transport.port)
        self.assertNotIn("\n", str(raised.exception))

    async def test_socket(self) -> None:
        """
        Small frames go at once, and the kernel keeps little of what the peer does not take.
        """
        await self.one.transport.introduce(self.two.contact.addresses[0])
        for member in (self.one, self.two):
            [link] = member.transport._switchboard.connections
            handle = link._tls.transport.getHandle()
            self.assertNotEqual(0, handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            self.assertNotEqual(0, handle.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            low = getattr(socket, "TCP_NOTSENT_LOWAT", None)
            if low is not None:
                self.assertEqual(LinkConfig.unsent_bytes, handle.getsockopt(socket.IPPROTO_TCP, low))

    async def test_urgent_among_bulk(self) -> None:
        """
        While bulk fills the line, an urgent question is answered long before it is through.
        """
        two = self.two.contact
        await self.ask(self.asker, two, b"")
        sent = 0
        while self.one.transport.send(two, bytes(FRAME_LIMIT), Priority.BULK):
            sent += 1
        await self.asker.ask(two, Echo(b"urgent"), priority=Priority.URGENT)
        queue = self.one.transport._switchboard.linked[two.id].queue
        assert queue is not None
        self.assertGreater(queue.frames, sent // 2)

    async def test_no_warnings(self) -> None:
        """
        Nothing that we use is deprecated.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DeprecationWarning)
            await self.one.transport.introduce(self.two.contact.addresses[0])
        self.assertEqual([], [each for each in caught if "OpenSSL" in str(each.filename) or "SSL" in str(each.message)])
