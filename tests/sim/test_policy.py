"""
Whole nodes go by a newer policy without being started again.
"""

from __future__ import annotations

from email.message import EmailMessage

from twisted.trial.unittest import SynchronousTestCase

from post.mail.interfaces import MessageTooLarge
from post.past.blocks import CONTENT
from post.sim.world import World

DAY_S = 86400


def message(number: int, octets: int = 0) -> bytes:
    """
    From alice to bob.
    """
    made = EmailMessage()
    made["From"], made["To"], made["Message-ID"] = "alice@example.org", "bob@example.org", f"<{number}@example.org>"
    made["Subject"] = f"number {number}"
    made.set_content("Hi.\n" + "all work and no play\n" * (octets // 21))
    return made.as_bytes().replace(b"\n", b"\r\n")


class PolicyTests(SynchronousTestCase):
    """
    The authority changes its mind.
    """

    def change(self, world: World, **changes: int) -> None:
        """
        All nodes hear of another policy.
        """
        policy = world.authority.change_policy(**changes)
        for name in world.machines:
            world.node(name).set_policy(policy)

    def copies(self, world: World) -> set[int]:
        """
        How many nodes keep each content block.
        """
        count: dict[object, int] = {}
        for name in world.machines:
            for holding in world.node(name).past.holdings(CONTENT):
                count[holding.handle] = count.get(holding.handle, 0) + 1
        return set(count.values())

    def test_copies(self) -> None:
        """
        What is stored from then on, and what was there before, is on five nodes.
        """
        world = World(1, machines=8)
        world.start()
        world.finish(world.send("alice", ["bob"], message(1)))
        world.clock.advance(10)
        self.assertEqual({3}, self.copies(world))
        self.change(world, k=5, minimum=3)
        world.finish(world.send("alice", ["bob"], message(2)))
        world.clock.advance(120)
        self.assertEqual({5}, self.copies(world))
        status = world.node("node1").status()
        self.assertEqual((5, 3, 2, 0), (status.copies, status.minimum, status.policy, status.policy_waiting))

    def test_lives(self) -> None:
        """
        Everything that is kept from then on is kept as long as the newer policy says, on every way there is.
        """
        world = World(2, machines=3)
        world.start()
        world.finish(world.send("alice", ["bob"], message(1)))
        world.clock.advance(5)
        self.change(world, pending_s=20 * DAY_S, mail_s=901 * DAY_S, head_s=902 * DAY_S)
        before = {h.handle for name in world.machines for h in world.node(name).past.holdings(CONTENT)}
        now = world.clock.seconds()
        world.finish(world.send("alice", ["bob"], message(2)))
        world.clock.advance(5)
        lives = {
            round((h.expires - now) / DAY_S)
            for name in world.machines
            for h in world.node(name).past.holdings(CONTENT)
            if h.handle not in before
        }
        self.assertLessEqual(lives, {901, 902})
        self.assertIn(901, lives)
        for name in world.machines:
            node = world.node(name)
            self.assertEqual(20 * DAY_S, node.dispatch.pending_s)
            for opened in node.accounts.opened.values():
                assert opened.publishing is not None and opened.renewal is not None
                leases = (opened.log.lease_s, opened.publishing.lease_s, opened.renewal.lease_s)
                self.assertEqual((902 * DAY_S, 902 * DAY_S, 901 * DAY_S), leases)

    def test_size(self) -> None:
        """
        What is larger than the newer limit is refused from then on; what another node has accepted under the older one
        arrives, and can be read.
        """
        world = World(3, machines=3)
        world.start()
        world.node(world.home("bob").name).set_policy(world.authority.change_policy(size_limit=4000))
        world.finish(world.send("alice", ["bob"], message(1, 60_000)))
        self.change(world, size_limit=5000)
        submission = world.node("node1").accounts.submission("alice@example.org")
        self.assertEqual(5000, submission.size_limit)
        self.assertRaises(MessageTooLarge, world.finish, world.send("alice", ["bob"], message(2, 60_000)))
        world.clock.advance(30)
        [arrived] = world.folder("bob")
        self.assertTrue(arrived.endswith(message(1, 60_000).partition(b"\r\n\r\n")[2]))

    def test_older(self) -> None:
        """
        An older policy changes nothing.
        """
        world = World(4, machines=3)
        world.start()
        first, second = world.authority.change_policy(k=5), world.authority.change_policy(k=4)
        node = world.node("node1")
        for policy in (second, first):
            node.set_policy(policy)
        self.assertEqual((4, 4), (node.past.k, node.policy.k))

    def test_waits(self) -> None:
        """
        One that names another convergence secret is not in force in any part before the next start, and status says so.
        """
        world = World(5, machines=3)
        world.start()
        self.change(world, k=2, convergence_generation=2)
        status = world.node("node1").status()
        self.assertEqual((3, 1, 2), (status.copies, status.policy, status.policy_waiting))
        self.assertEqual(3, world.node("node1").past.k)
