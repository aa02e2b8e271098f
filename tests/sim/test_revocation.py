"""
Whole nodes, one of which is revoked: everybody knows it soon, and nobody has to do with it any more.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.crypto.revocations import IDENTITY
from post.mail.interfaces import SenderRevoked
from post.pastry.config import PastryConfig
from post.sim.world import World

SMALL = PastryConfig(half=3)
MESSAGE = b"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: x\r\nMessage-ID: <%d@example.org>\r\n\r\nHi.\r\n"


class NodeTests(SynchronousTestCase):
    """
    A machine is stolen.
    """

    def revoke(self, world: World, name: str, at: str) -> None:
        """
        The authority revokes a machine; the node C{at} hears of it first.
        """
        now = int(world.clock.seconds())
        key = world.machines[name].credentials.key.public
        world.node(at).revoked.use(world.authority.revoke(key, now, "stolen"))

    def test_flood(self) -> None:
        """
        In a ring of sixty, whose nodes know few others, all know it within a second or two, the revoked node included;
        it is linked with nobody after that, and comes into no leaf set again.
        """
        world = World(1, machines=60, users=(), pastry=SMALL)
        world.start()
        thief = world.machines["node30"]
        key = thief.credentials.key.public
        self.revoke(world, "node30", "node3")
        world.clock.advance(3)
        self.assertEqual({True}, {world.node(each).revoked.taken(key) is not None for each in world.machines})
        self.assertEqual([], world.node("node30").rpc.transport.links())
        world.clock.advance(300)
        self.assertEqual([], world.node("node30").rpc.transport.links())
        for each in world.machines.values():
            if each is not thief:
                self.assertNotIn(thief.node_id, [c.id for c in world.node(each.name).pastry.members()])

    def test_later(self) -> None:
        """
        Who was off hears of it from the first node it is linked with; the thief who was off is let in by nobody.
        """
        world = World(2, machines=6, users=())
        world.start()
        for name in ("node5", "node6"):
            world.finish(world.machines[name].stop())
        self.revoke(world, "node6", "node1")
        world.clock.advance(5)
        world.start("node5")
        key = world.machines["node6"].credentials.key.public
        self.assertIsNotNone(world.node("node5").revoked.taken(key))
        world.machines["node6"].boot(world.seeds)
        world.clock.advance(60)
        self.assertEqual([], world.node("node6").rpc.transport.links())

    def test_old_news(self) -> None:
        """
        An older list, handed on by whomever, takes nothing back.
        """
        world = World(3, machines=3, users=())
        world.start()
        now = int(world.clock.seconds())
        first = world.authority.revoke(b"one", now)
        second = world.authority.revoke(b"two", now)
        node = world.node("node1")
        node.revoked.use(second)
        node.revoked.use(first)
        self.assertIsNotNone(node.revoked.taken(b"two"))


class PersonTests(SynchronousTestCase):
    """
    A person is revoked, whose machine is not.
    """

    def setUp(self) -> None:
        self.world = World(4, machines=6)
        self.world.start()
        self.alice = self.world.home("alice").accounts[0]

    def revoke(self, *without: str) -> None:
        """
        Alice is revoked, and all nodes but some hear of it.
        """
        now = int(self.world.clock.seconds())
        signed = self.world.authority.revoke(self.alice.key.public, now, "left", IDENTITY, self.alice.address)
        for name in self.world.machines:
            if name not in without:
                self.world.node(name).revoked.take(signed)

    def test_refused(self) -> None:
        """
        Her own node tells her, and takes nothing more from her, nor for her.
        """
        self.revoke()
        node = self.world.node("node1")
        submission = node.accounts.submission("alice@example.org")
        self.assertRaises(SenderRevoked, submission.check_sender, "alice@example.org")
        self.assertFalse(node.reception.is_here(self.alice.account))
        [account] = node.status().accounts
        self.assertIn("alice@example.org was revoked on", account.trouble)

    def test_new_mail(self) -> None:
        """
        What she sends from a node that does not tell her reaches nobody.
        """
        self.revoke("node1")
        self.world.finish(self.world.send("alice", ["bob"], MESSAGE % 1))
        self.world.clock.advance(60)
        self.assertEqual([], self.world.folder("bob"))

    def test_before(self) -> None:
        """
        Mail that the delegates had before she was revoked is delivered to somebody who comes back after it.
        """
        self.world.finish(self.world.machines["node2"].stop())
        self.world.clock.advance(30)
        self.world.finish(self.world.send("alice", ["bob"], MESSAGE % 2))
        self.world.clock.advance(30)
        now = int(self.world.clock.seconds())
        signed = self.world.authority.revoke(self.alice.key.public, now, "left", IDENTITY, self.alice.address)
        self.world.node("node3").revoked.use(signed)
        self.world.clock.advance(5)
        self.world.start("node2")
        self.assertIsNotNone(self.world.node("node2").revoked.taken(self.alice.key.public))
        self.world.wait(lambda: bool(self.world.folder("bob")), "the mail")
        [message] = self.world.folder("bob")
        self.assertTrue(message.endswith(MESSAGE % 2))
