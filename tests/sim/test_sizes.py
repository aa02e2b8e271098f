"""
Rings of whole nodes from few to many: beyond 25 no leaf set holds all, and replica sets are asked for by routing.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.sim.world import World
from tests.sim.test_offline_mail import MESSAGE


class SizeTests(SynchronousTestCase):
    """
    Tests of rings that are switched on all at once.
    """

    def test_sizes(self) -> None:
        """
        Mail arrives in a ring of any size, also for somebody who comes later.
        """
        for size in (4, 24, 25, 26, 27, 60, 200):
            world = World(size, machines=size)
            world.start()
            world.finish(world.send("alice", ["bob"], MESSAGE))
            world.wait(lambda: len(world.folder("bob")) == 1, f"the first of {size}")  # noqa: B023
            world.finish(world.machines["node2"].stop())
            world.clock.advance(30)
            world.finish(world.send("alice", ["bob"], MESSAGE.replace(b"while", b"While")))
            world.start("node2")
            world.wait(lambda: len(world.folder("bob")) == 2, f"the second of {size}")  # noqa: B023
            self.assertEqual(size, sum(machine.serves for machine in world.machines.values()))
            sets = {len(machine.node.pastry.ring.leaves) for machine in world.machines.values() if machine.node}
            self.assertEqual({min(size - 1, 24)}, sets)
