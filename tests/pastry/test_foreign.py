"""
Joining a ring with the certificate of another authority, over TLS as it is.
"""

from __future__ import annotations

from random import Random

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from post.complaints import Complaints
from post.net.transport import TlsTransport
from post.pastry.node import Pastry
from post.rpc import Rpc
from tests.net.members import AUTHORITY, NOW, Authority
from tests.net.memory import MemoryNetwork

OTHERS = Authority(b"another authority")


class Peer:
    """
    A node of Pastry on links of TLS.
    """

    def __init__(self, number: int, network: MemoryNetwork, authority: Authority) -> None:
        key, chain = authority.member(number)
        self.complaints = Complaints(network)
        self.links = TlsTransport(
            network,
            key,
            chain,
            authority.root,
            ("127.0.0.1", 0),
            None,
            number,
            Random(number),
            self.complaints,
            network,
            None,
        )
        self.links.listen()
        self.rpc = Rpc(self.links, network, self.complaints)
        self.pastry = Pastry(self.rpc, network, Random(number), self.complaints)
        self.rpc.start()
        self.failed: list[object] = []

    def join(self, *seeds: Peer) -> None:
        """
        Come in through C{seeds}.
        """
        addresses = [seed.links.local.addresses[0] for seed in seeds]
        work = Deferred.fromCoroutine(self.pastry.join(addresses))
        work.addErrback(self.failed.append)


class ForeignTests(SynchronousTestCase):
    """
    A ring of two, and a node of another authority.
    """

    def setUp(self) -> None:
        self.network = MemoryNetwork(NOW)
        self.one, self.two = (Peer(number, self.network, AUTHORITY) for number in (1, 2))
        self.foreign = Peer(7, self.network, OTHERS)
        self.one.join(self.one)
        self.two.join(self.one)
        self.pass_time(5)
        self.assertEqual([True, True], [each.pastry.active for each in (self.one, self.two)])
        self.assertEqual(2, self.one.pastry.size())

    def tearDown(self) -> None:
        stopped = []
        for each in (self.one, self.two, self.foreign):
            each.pastry.stop()
            stopped.append(each.rpc.stop())
        self.pass_time(5)
        for work in stopped:
            self.successResultOf(work)

    def pass_time(self, seconds: float) -> None:
        """
        Deliver all, again and again, while time passes.
        """
        for _ in range(int(10 * seconds)):
            self.network.advance(0.1)
            self.network.settle()

    def test_joining(self) -> None:
        """
        However often it asks to come in, it does not; that is counted, and nothing of it is known in the ring.
        """
        self.foreign.join(self.one, self.two)
        self.pass_time(30)
        self.assertFalse(self.foreign.pastry.active)
        for each in (self.one, self.two):
            self.assertGreater(each.complaints.counts["TLS handshake failed"], 0)
            ring = each.pastry.ring
            self.assertNotIn(self.foreign.links.local.id, {*ring.contacts, *ring.absent, *ring.suspects})
            self.assertEqual(2, each.pastry.size())

    def test_named(self) -> None:
        """
        Nor does it come in because a member names it: whoever is named is called, and has to show who it is.
        """
        other = self.foreign.links.local
        self.foreign.join(self.foreign)
        self.pass_time(1)
        self.one.pastry._repair.consider([other], self.two.pastry.ring.reach(), self.two.links.local.id)
        self.assertIn(other.id, self.one.pastry._repair._probing)
        self.pass_time(15)
        self.assertEqual({}, self.one.pastry._repair._probing)
        self.assertNotIn(other.id, self.one.pastry.ring.leaves)
        self.assertGreater(self.one.complaints.counts["TLS handshake failed"], 0)
