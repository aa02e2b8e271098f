"""
Mail while much goes wrong: machines crash, freeze and come back, without what they had not flushed or anything.

Whatever was accepted arrives once; whatever was not arrives once or never; and after some quiet all is on k nodes.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from post.errors import PostError
from post.ids import RING
from post.sim.world import World

USERS = ("alice", "bob", "carol")
SEEDS = range(6)
SENDS = 40
QUIET_S = 2400.0


def body(sender: str, recipient: str, number: int) -> bytes:
    """
    A message that is told from all others.
    """
    head = f"From: {sender}@example.org\r\nTo: {recipient}@example.org\r\nSubject: number {number}\r\n\r\n"
    return head.encode() + b"words\r\n" * (1 + number * 37 % 400)


class Chaos:
    """
    One run.
    """

    def __init__(self, seed: int) -> None:
        self.world = World(seed, machines=7, users=USERS)
        self.random = Random(f"chaos {seed}")
        self.accepted: list[tuple[str, int]] = []
        self.refused: set[tuple[str, int]] = set()
        self.wiped_at = float("-inf")
        self.down: dict[str, float] = {}
        self.frozen: dict[str, float] = {}

    def run(self) -> None:
        """
        Until all is quiet again.
        """
        world = self.world
        world.start()
        for number in range(SENDS):
            world.clock.advance(self.random.expovariate(1 / 3.0))
            self.misfortune()
            self.send(number)
        world.network.heal()
        for name in list(self.frozen):
            self.thaw(name)
        for name in list(self.down):
            self.come_back(name)
        world.wait(lambda: all(machine.serves for machine in world.machines.values()), "all")
        world.clock.advance(QUIET_S)

    def misfortune(self) -> None:
        """
        Perhaps somebody crashes, freezes or comes back; never so many that the ring cannot be what it promises.
        """
        now = self.world.clock.seconds()
        for name, until in list(self.down.items()):
            if until <= now:
                self.come_back(name)
        for name, until in list(self.frozen.items()):
            if until <= now:
                self.thaw(name)
        if self.random.random() < 0.4 and len(self.down) + len(self.frozen) < 2:
            machine = self.random.choice([m for m in self.world.machines.values() if m.name not in self.away])
            if self.random.random() < 0.6:
                # Repair takes seconds; nobody promises anything if more disks than k - 1 are lost at once.
                wipe = self.random.random() < 0.3 and now > self.wiped_at + 120
                self.wiped_at = now if wipe else self.wiped_at
                machine.crash(wipe)
                self.down[machine.name] = now + self.random.uniform(1, 40)
            else:
                self.world.network.freeze(machine.node_id)
                self.frozen[machine.name] = now + self.random.uniform(1, 40)

    @property
    def away(self) -> set[str]:
        """
        Who takes no part just now.
        """
        return self.down.keys() | self.frozen.keys()

    def come_back(self, name: str) -> None:
        """
        Its process is started again.
        """
        del self.down[name]
        self.world.machines[name].boot(self.world.seeds)

    def thaw(self, name: str) -> None:
        """
        It goes on where it was.
        """
        del self.frozen[name]
        self.world.network.thaw(self.world.machines[name].node_id)

    def send(self, number: int) -> None:
        """
        Somebody who is there writes to somebody, there or not.
        """
        sender, recipient = self.random.sample(USERS, 2)
        machine = self.world.home(sender)
        if machine.name in self.away or not machine.serves:
            return
        message = body(sender, recipient, number)
        self.world.send(sender, [recipient], message).addCallbacks(
            lambda _: self.accepted.append((recipient, number)), self.failed, errbackArgs=((recipient, number),)
        )

    def failed(self, failure: Any, what: tuple[str, int]) -> None:
        """
        The mail program was told that it cannot be now.
        """
        failure.trap(PostError)
        self.refused.add(what)


class ChaosTests(SynchronousTestCase):
    """
    Tests of what must hold in spite of all that.
    """

    def test_exactly_once(self) -> None:
        """
        Every accepted message is in its recipient's Inbox once, to the octet, and nothing is doubled.
        """
        accepted = 0
        for seed in SEEDS:
            chaos = Chaos(seed)
            chaos.run()
            arrived: Counter[tuple[str, int]] = Counter()
            for user in USERS:
                for message in chaos.world.folder(user):
                    number = int(message.partition(b"Subject: number ")[2].split(b"\r\n")[0])
                    arrived[user, number] += 1
            self.assertEqual([], [what for what in chaos.accepted if arrived[what] != 1], f"seed {seed}")
            self.assertEqual([], [what for what, count in arrived.items() if count > 1], f"seed {seed}")
            accepted += len(chaos.accepted)
            self.check_copies(chaos.world, seed)
        # Otherwise nothing was tested.
        self.assertGreater(accepted, len(SEEDS) * SENDS // 3)

    def check_copies(self, world: World, seed: int) -> None:
        """
        The k machines nearest to each object have it.
        """
        held: dict[int, set[str]] = {}
        for name, machine in world.machines.items():
            for holding in machine.store.scan(0, RING):
                held.setdefault(holding.handle, set()).add(name)
        nodes = sorted(world.machines.values(), key=lambda machine: machine.node_id)
        wanting = []
        for handle, holders in held.items():
            nearest = sorted(nodes, key=lambda machine: (machine.node_id.distance(handle), machine.node_id))[:3]
            if not {machine.name for machine in nearest} <= holders:
                wanting.append((handle, holders))
        self.assertEqual([], wanting, f"seed {seed}")
