"""
The whole story, once: whole nodes on an imaginary network, from one seed.

Alice writes to Bob, whose computer is off.  Her C{250} means that the message is on other machines; then hers is lost,
and one of those that keep the notification crashes and forgets what it had not flushed.  Bob comes back, and finds the
message in his Inbox, once.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.messaging.pending import PENDING
from post.sim.network import Trace
from post.sim.world import World

MESSAGE = (
    b"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: while you were away\r\n"
    b"Message-ID: <1@example.org>\r\n\r\nSee you on Monday.\r\n"
)
SEEDS = range(8)


def holders(world: World) -> list[str]:
    """
    The machines that keep the pending notification.
    """
    return [name for name, machine in world.machines.items() if list(machine.store.of_kind(PENDING))]


def story(seed: int, nodes: int = 6) -> tuple[World, list[bytes], str]:
    """
    Tell it; the world afterwards, Bob's Inbox, and the fingerprint of everything that was sent.
    """
    world = World(seed, machines=nodes)
    trace = Trace(world.network, contents=False)
    world.start()
    world.finish(world.machines["node2"].stop())
    world.clock.advance(world.random.uniform(0, 20))
    world.finish(world.send("alice", ["bob"], MESSAGE))
    world.machines["node1"].crash(wipe=True)
    delegate = world.machines[world.random.choice([name for name in holders(world) if name != "node1"])]
    world.clock.advance(world.random.uniform(0, 0.01))
    delegate.crash()
    world.clock.advance(world.random.uniform(0, 30))
    world.finish(delegate.boot(world.seeds))
    world.start("node2")
    world.wait(lambda: bool(world.folder("bob")), "the message")
    world.clock.advance(300)
    return world, world.folder("bob"), trace.hexdigest()


class OfflineMailTests(SynchronousTestCase):
    """
    Tests of mail to somebody who is off-line.
    """

    def test_once(self) -> None:
        """
        The message arrives exactly once, to the octet, although its sender's machine is lost and a delegate crashes.
        """
        for seed in SEEDS:
            world, inbox, _ = story(seed)
            self.assertEqual(1, len(inbox), f"seed {seed}")
            self.assertTrue(inbox[0].endswith(MESSAGE), f"seed {seed}")
            # Nobody goes on offering what has arrived.
            waiting = [machine.node.delegates.waiting for machine in world.machines.values() if machine.node]
            self.assertEqual([0] * len(waiting), waiting, f"seed {seed}")

    def test_replay(self) -> None:
        """
        The same seed tells the same story, frame by frame, also in another process, where sets of bytes have another
        order.
        """
        told = {story(4)[2], story(4)[2], self.elsewhere(4, "1"), self.elsewhere(4, "2")}
        self.assertEqual(1, len(told))
        self.assertNotEqual(told, {story(5)[2]})

    def elsewhere(self, seed: int, hash_seed: str) -> str:
        """
        The fingerprint that another process finds.
        """
        code = f"from tests.sim.test_offline_mail import story; print(story({seed})[2])"
        root = Path(__file__).parent.parent.parent
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
        return subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).strip()

    def test_others_stay_away(self) -> None:
        """
        Who comes back gets what waits within seconds, however much waits for others whose computers swallow all that is
        sent to them.
        """
        world = World(4, machines=6, users=("alice", "bob", "carol"))
        world.start()
        world.machines["node2"].crash()
        world.network.freeze(world.machines["node3"].node_id)
        world.clock.advance(60)
        for user, count in (("carol", 300), ("bob", 20)):
            for number in range(count):
                world.finish(world.send("alice", [user], MESSAGE.replace(b"<1@", f"<{number}@".encode())))
        world.clock.advance(600)
        world.start("node2")
        came = world.clock.seconds()
        world.wait(lambda: len(world.folder("bob")) == 20, "the messages")
        self.assertLess(world.clock.seconds() - came, 5)

    def test_copies(self) -> None:
        """
        At C{250} k machines other than Bob's keep the notification.
        """
        world = World(11)
        world.start()
        world.finish(world.machines["node2"].stop())
        world.clock.advance(30)
        world.finish(world.send("alice", ["bob"], MESSAGE))
        self.assertGreaterEqual(len(holders(world)), world.authority.policy.k)
