"""
Strangers write to somebody who demands work of them: whole nodes, from the card in the ring to the Inbox.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.mail.person import Person
from post.mail.preferences import KNOWN_S
from post.sim.world import World

BITS = 8


def message(author: str, number: int) -> bytes:
    """
    One of many.
    """
    head = f"From: {author}@example.org\r\nTo: bob@example.org\r\nSubject: number {number}\r\n"
    return f"{head}Message-ID: <{number}.{author}@example.org>\r\n\r\nHello.\r\n".encode()


async def idle(named: bytes, recipient: object, bits: int) -> int:
    """
    Solve nothing.
    """
    return 1


class StrangerTests(SynchronousTestCase):
    """
    Alice, whose node solves puzzles, and Carol, whose node does not, write to Bob.
    """

    def person(self, world: World, name: str) -> Person:
        """
        As their terminal sees them.
        """
        return world.node(world.home(name).name).accounts.people()[f"{name}@example.org"]

    def test_strangers(self) -> None:
        """
        What waits while he is away and he raises the difficulty behind it is judged by what could be known when it was
        sent; Alice's next one is in the Inbox, and Carol's in Junk; and a new machine of his demands the same.
        """
        world = World(6, machines=6, users=("alice", "bob", "carol"))
        world.start()
        bob = world.machines["node2"]
        world.do(self.person(world, "bob").wishes.set_puzzle(BITS))
        world.clock.advance(KNOWN_S + 60)
        world.node("node3").solver.solve = idle  # type: ignore[method-assign]
        world.finish(bob.stop())
        world.clock.advance(30)
        for author in ("alice", "carol"):
            world.finish(world.send(author, ["bob"], message(author, 1)))
        world.start("node2")
        world.wait(lambda: len(world.folder("bob")) == 1, "Alice's")
        world.wait(lambda: len(world.folder("bob", "Junk")) == 1, "Carol's")
        self.assertIn(b"From: alice", world.folder("bob")[0])
        bob.crash(wipe=True)
        world.clock.advance(120)
        world.start("node2")
        self.assertEqual(BITS, self.person(world, "bob").wishes.preferences.puzzle.bits)
        for author in ("alice", "carol"):
            world.finish(world.send(author, ["bob"], message(author, 2)))
        world.wait(lambda: len(world.folder("bob")) == 2, "Alice's other one")
        world.wait(lambda: len(world.folder("bob", "Junk")) == 2, "Carol's other one")
