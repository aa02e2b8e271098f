"""
Whole nodes that do not all reach one another: mail goes by way of others, and nobody notices.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.errors import PostError
from post.sim.reach import unreachable
from post.sim.world import World


def message(number: int, size: int = 100, sender: str = "alice") -> bytes:
    """
    One of many.
    """
    head = f"From: {sender}@example.org\r\nTo: bob@example.org\r\nSubject: number {number}\r\n\r\n"
    return head.encode() + b"word\r\n" * (size // 6)


class IndirectTests(SynchronousTestCase):
    """
    Alice's and Bob's nodes do not reach each other.
    """

    def apart(self, world: World, one: str, other: str) -> None:
        """
        Neither of two machines can dial the other.
        """
        cut = {world.machines[one].node_id, world.machines[other].node_id}
        world.network.reaches = lambda source, target: {source, target} != cut

    def test_mail(self) -> None:
        """
        Mail between them is delivered, long and short, and both know the whole ring.
        """
        world = World(3, machines=5)
        self.apart(world, "node1", "node2")
        world.start()
        sent = [message(number, size) for number, size in enumerate((100, 600_000, 3_000_000))]
        for each in sent:
            world.finish(world.send("alice", ["bob"], each))
        world.wait(lambda: len(world.folder("bob")) == len(sent), "the mail")
        self.assertEqual(sent, [each[each.index(b"From: alice") :] for each in world.folder("bob")])
        self.assertEqual([5, 5], [world.node(name).status().members for name in ("node1", "node2")])
        self.assertEqual([1, 1], [world.node(name).status().indirect for name in ("node1", "node2")])

    def test_only_one_between(self) -> None:
        """
        So it is if there is one single machine that reaches both.  While that one is away mail is refused for now, and
        arrives once when it is back and the mail is sent again.
        """
        world = World(4, machines=3, minimum=1, k=2)
        self.apart(world, "node1", "node2")
        world.start()
        world.finish(world.send("alice", ["bob"], message(1)))
        world.wait(lambda: len(world.folder("bob")) == 1, "the mail")
        world.machines["node3"].crash()
        world.clock.advance(60)
        with self.assertRaises(PostError):
            world.finish(world.send("alice", ["bob"], message(2)))
        world.start("node3")
        world.clock.advance(60)
        world.finish(world.send("alice", ["bob"], message(2)))
        world.wait(lambda: len(world.folder("bob")) == 2, "the mail")

    def test_many_apart(self) -> None:
        """
        In a ring in which a fifth of all pairs are apart everybody writes to everybody.
        """
        users = ("alice", "bob", "carol", "dave", "erin", "frank")
        world = World(7, machines=8, users=users)
        world.network.reaches = unreachable(3, 20)
        world.start()
        for sender in users:
            world.finish(world.send(sender, [user for user in users if user != sender], message(1, 100, sender)))
        world.wait(lambda: all(len(world.folder(user)) == len(users) - 1 for user in users), "the mail")
        self.assertTrue(any(world.node(name).status().indirect for name in world.machines))
