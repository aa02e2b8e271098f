"""
Mail while much goes wrong: machines crash, freeze and come back, without what they had not flushed or anything, and a
few lose sight of the others for a while.

Whatever was accepted arrives once; whatever was not arrives once or never; and after some quiet all is on k nodes.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PostError
from post.ids import RING, Handle
from post.sim.world import Machine, World

USERS = ("alice", "bob", "carol")
SEEDS = range(6)
SENDS = 40
QUIET_S = 2400.0
RECOVERY_S = 60.0
"""For a machine that was wiped to have again what it should have."""
REFUSED_SHARE = 0.05
"""Of all that is sent, how much may be refused to senders who are not cut off."""


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
        self.refused: list[bool] = []
        """Of each message refused, whether its sender was among the few who were cut off."""
        self.sent = 0
        self.wiped_at = float("-inf")
        self.wiped: set[str] = set()
        """Who is down, and has lost everything."""
        self.wiped_until = 0.0
        self.parted: set[str] = set()
        self.parted_until = 0.0
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
        Perhaps somebody crashes, freezes or comes back, or some no longer see the others; never so many that the ring
        cannot be what it promises.
        """
        now = self.world.clock.seconds()
        self.part(now)
        for name, until in list(self.down.items()):
            if until <= now and not (name in self.wiped and self.parted):
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
                self.wiped |= {machine.name} if wipe else set()
                machine.crash(wipe)
                self.down[machine.name] = now + self.random.uniform(1, 40)
            else:
                self.world.network.freeze(machine.node_id)
                self.frozen[machine.name] = now + self.random.uniform(1, 40)

    def part(self, now: float) -> None:
        """
        Perhaps up to three machines lose sight of the others, or find them again.

        Not while one that was wiped is not well again: with its disk gone and two more machines out of sight, all that
        have the newest head of its mailbox may be gone or out of sight, and then nobody can know which is the newest.
        """
        if self.parted and self.parted_until <= now:
            self.parted = set()
            self.world.network.heal()
        if not self.parted and not self.wiped and now > self.wiped_until and self.random.random() < 0.1:
            self.parted = set(self.random.sample(list(self.world.machines), self.random.randint(1, 3)))
            self.world.network.partition([[self.world.machines[name].node_id for name in sorted(self.parted)]])
            self.parted_until = now + self.random.choice([self.random.uniform(1, 5), self.random.uniform(5, 40)])

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
        if name in self.wiped:
            self.wiped.discard(name)
            self.wiped_until = self.world.clock.seconds() + RECOVERY_S
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
        self.sent += 1
        message = body(sender, recipient, number)
        self.world.send(sender, [recipient], message).addCallbacks(
            lambda _: self.accepted.append((recipient, number)), self.failed, errbackArgs=(machine.name in self.parted,)
        )

    def failed(self, failure: Any, cut_off: bool) -> None:
        """
        The mail program was told that it cannot be now, or nothing until the end of the world.
        """
        failure.trap(PostError, CancelledError)
        self.refused.append(cut_off)


class ChaosTests(SynchronousTestCase):
    """
    Tests of what must hold in spite of all that.
    """

    def test_exactly_once(self) -> None:
        """
        Every accepted message is in its recipient's Inbox once, to the octet, and nothing is doubled.
        """
        accepted = sent = refused = 0
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
            refused += chaos.refused.count(False)
            sent += chaos.sent
            self.check_copies(chaos.world, seed)
        # Otherwise nothing was tested.
        self.assertGreater(accepted, len(SEEDS) * SENDS // 3)
        # Who is cut off with too few others cannot be promised anything; who is not, mostly can.
        self.assertLess(refused, REFUSED_SHARE * sent)

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


class MinorityTests(SynchronousTestCase):
    """
    Tests of a machine that has lost everything, among a few that are cut off.
    """

    def test_nothing_is_begun(self) -> None:
        """
        Its mailbox does not open empty where nobody has it; it opens as it was when the others are in sight again.
        """
        world = World(2, machines=7)
        # First those that may keep the log: where it is begun while they come in, more than three keep it for good.
        world.start(*list(world.machines)[2:])
        world.start(*list(world.machines)[:2])
        for number in range(3):
            world.finish(world.send("alice", ["bob"], body("alice", "bob", number)))
        world.clock.advance(60)
        bob, alice = world.home("bob"), world.home("alice")
        holders = {name for name, machine in world.machines.items() if machine.store.holding(self.log_of(bob))}
        other = next(m for m in world.machines.values() if m not in (bob, alice) and m.name not in holders)
        self.assertNotIn(alice.name, holders)
        cut_off = [bob, alice, other]
        world.network.partition([[machine.node_id for machine in cut_off]])
        world.clock.advance(30)
        bob.crash(wipe=True)
        world.clock.advance(5)
        world.finish(bob.boot([machine.address for machine in cut_off]))
        world.clock.advance(120)
        self.assertFalse(bob.serves)
        world.network.heal()
        world.wait(lambda: bob.serves, "the mailbox")
        self.assertEqual(3, len(world.folder("bob")))

    def log_of(self, machine: Machine) -> Handle:
        """
        Where the log of the one account there is kept.
        """
        assert machine.node is not None
        [opened] = machine.node.accounts.opened.values()
        return opened.log.handle
