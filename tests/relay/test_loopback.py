"""
L{post.relay.transport} on real links: two nodes that nobody can dial, behind routers that translate addresses, say.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from post.complaints import Complaints
from post.crypto.entropy import SeededEntropy
from post.errors import Unreachable
from post.ids import Address
from post.net.transport import TlsTransport
from post.relay.proof import CertifiedProof
from post.relay.transport import RelayTransport
from post.rpc import Rpc
from post.wire import Message, message
from tests.net.members import AUTHORITY


@message(0x0FE2)
class Say(Message, frozen=True):
    """
    Any question.
    """

    text: bytes


class Side:
    """
    A node that answers with what it is asked; it has no address if C{addresses} is empty.
    """

    def __init__(self, number: int, reactor: Any, addresses: tuple[Address, ...] | None) -> None:
        key, chain = AUTHORITY.member(number)
        complaints = Complaints(reactor)
        self.links = TlsTransport(
            reactor, key, chain, AUTHORITY.root, ("127.0.0.1", 0), addresses, 1, Random(number), complaints
        )
        self.links.listen()
        self.relay = RelayTransport(
            self.links,
            reactor,
            Random(number),
            SeededEntropy(b"%d" % number),
            complaints,
            CertifiedProof(key, chain, AUTHORITY.root, reactor),
        )
        self.relay.resolve = self.links.linked
        self.rpc = Rpc(self.relay, reactor, complaints)
        self.asked_by: list[int] = []
        self.rpc.serve(Say, self._answer)
        self.rpc.start()

    def _answer(self, peer: Any, question: Say) -> Say:
        self.asked_by.append(int(peer.id))
        return question


class LoopbackTests(TestCase):
    """
    Nodes 1 and 2 have no addresses; both dial node 3.
    """

    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.one, self.two = Side(1, reactor, ()), Side(2, reactor, ())
        self.three = Side(3, reactor, None)

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]  # Trial waits for it.
        return Deferred.fromCoroutine(self.stop())

    async def stop(self) -> None:
        """
        End all.
        """
        for side in (self.one, self.two, self.three):
            await side.rpc.stop()

    def test_without_addresses(self) -> Deferred[None]:
        """
        They ask each other, in messages of several frames too, each sure of who the other is.
        """
        return Deferred.fromCoroutine(self.talk())

    async def talk(self) -> None:
        """
        What the test does.
        """
        middle, two = self.three.links.local, self.two.links.local
        for side in (self.one, self.two):
            await side.rpc.ask(middle, Say(b"hello"))
        with self.assertRaises(Unreachable):
            await self.one.rpc.ask(two, Say(b"straight"))
        self.assertTrue(await self.one.relay.open(two, [middle]))
        for text in (b"around", bytes(200_000)):
            self.assertEqual(Say(text), await self.one.rpc.ask(two, Say(text)))
        self.assertEqual(Say(b"back"), await self.two.rpc.ask(self.one.links.local, Say(b"back")))
        self.assertEqual(([1, 1], [2]), (self.two.asked_by, self.one.asked_by))
        self.assertEqual(
            "owner1@example.org", getattr(self.two.relay.certificate(self.one.links.local.id), "owner", "")
        )
