"""
Whole nodes in a large ring: who comes back gets at once what waits far away, because they say that they are there.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.ids import AccountId, Contact
from post.messaging.presence import AGAIN_S
from post.pastry.config import PastryConfig
from post.scribe.publication import group_of
from post.sim.world import Machine, World

MAILS = 20
SMALL = PastryConfig(half=3, measure_first=0)
"""Leaf sets of six, and nobody asks others how far they are: a hundred nodes are a ring in which most have no link to
each other."""


def message(number: int) -> bytes:
    """
    One of many.
    """
    head = f"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: number {number}\r\n"
    return f"{head}Message-ID: <{number}@example.org>\r\n\r\nSee you.\r\n".encode()


def ignore(account: AccountId, contact: Contact, data: bytes = b"") -> None:
    """
    Hear nothing.
    """


class Story:
    """
    Bob is off, long enough for everybody to know it, and gets mail.
    """

    def __init__(self, seed: int, machines: int, mails: int, hearing: bool = True) -> None:
        """
        @param hearing: whether delegates take notice of presence.
        """
        self.world = World(seed, machines=machines, pastry=SMALL)
        self.bob = self.world.machines["node2"]
        self.account = self.bob.accounts[0].account
        self.world.start()
        for machine in self.world.machines.values():
            if not hearing:
                self.world.node(machine.name).delegates.present = ignore  # type: ignore[method-assign]
        self.world.finish(self.bob.stop())
        self.world.clock.advance(60)
        for number in range(1, mails + 1):
            self.world.finish(self.world.send("alice", ["bob"], message(number)))
        self.world.clock.advance(300)

    def come_back(self) -> None:
        """
        His node is in the ring again and his mailbox open.
        """
        booted = self.bob.boot(self.world.seeds)
        self.world.wait(lambda: booted.called, "the ring")
        self.world.wait(lambda: self.world.node("node2").reception.is_here(self.account), "the mailbox")

    @property
    def delegates(self) -> list[Machine]:
        """
        The machines that keep something for somebody.
        """
        return [each for each in self.world.machines.values() if each.node and each.node.delegates.waiting]

    @property
    def arrived(self) -> int:
        """
        How many messages are in his Inbox.
        """
        mailbox = self.world.node("node2").accounts.mailbox("bob@example.org")
        return len(list(mailbox.folder("INBOX").entries()))

    @property
    def followers(self) -> int:
        """
        How many nodes stand in the tree of his group.
        """
        running = [machine.node for machine in self.world.machines.values() if machine.node is not None]
        return sum(node.scribe.forest.get(group_of(self.account)) is not None for node in running)

    def waited_s(self) -> float:
        """
        How long after his mailbox opened something is in it.
        """
        opened_at = self.world.clock.seconds()
        self.world.wait(lambda: self.arrived > 0, "the mail")
        return self.world.clock.seconds() - opened_at


class PresenceTests(SynchronousTestCase):
    """
    Tests of coming back.
    """

    def test_all_at_once(self) -> None:
        """
        Twenty mails that wait on delegates all over a ring of sixty are in Bob's Inbox within a second of its opening,
        once each; then nobody waits for him or listens to him any more.
        """
        story = Story(21, 60, MAILS)
        self.assertGreater(story.followers, 10)
        story.come_back()
        leaves = [story.world.node(each.name).pastry.ring.leaves for each in story.delegates]
        self.assertGreater(len([each for each in leaves if story.bob.node_id not in each]), 10)
        story.world.clock.advance(1.0)
        self.assertEqual(MAILS, story.arrived)
        story.world.clock.advance(400)
        self.assertEqual((MAILS, []), (story.arrived, story.delegates))
        self.assertEqual(0, story.followers)

    def test_without(self) -> None:
        """
        What waits on nodes with which Bob's has nothing else to do arrives in half a second; if nobody listened it
        would take polling, and so much longer, but arrive.
        """
        waited_s = []
        for hearing in (True, False):
            story = Story(33, 150, 1, hearing)
            story.come_back()
            linked = {contact.id for contact in story.world.node("node2").rpc.transport.links()}
            self.assertEqual([], [machine.name for machine in story.delegates if machine.node_id in linked])
            waited_s.append(story.waited_s())
            story.world.end()
        self.assertLess(waited_s[0], 0.5)
        self.assertGreater(waited_s[1], 10)

    def test_asleep(self) -> None:
        """
        A computer that slept, for a moment or for minutes, says that it is awake, and has what came meanwhile.
        """
        for nap_s in (6.0, 240.0):
            self.nap(nap_s)

    def nap(self, nap_s: float) -> None:
        """
        Bob's computer sleeps for so long.
        """
        world = World(5, machines=14)
        world.start()
        world.clock.advance(60)
        bob = world.machines["node2"]
        asleep_at = world.clock.seconds()
        world.network.freeze(bob.node_id)
        bob.clock.pause()
        for number in range(3):
            world.finish(world.send("alice", ["bob"], message(number)))
        heard: list[float] = []
        # One that does not listen by itself.
        running = [world.node(name) for name in world.machines if name not in ("node1", "node2")]
        node = next(each for each in running if not each.delegates.waiting)
        node.scribe.subscribe(group_of(bob.accounts[0].account), lambda _: heard.append(world.clock.seconds()))
        world.clock.advance(nap_s - (world.clock.seconds() - asleep_at))
        woken_at = world.clock.seconds()
        bob.clock.resume()
        world.network.thaw(bob.node_id)
        world.wait(lambda: bool(heard), "presence")
        self.assertLess(heard[0] - woken_at, 15)
        world.clock.advance(10)
        self.assertEqual(3, len(world.folder("bob")))

    def test_again(self) -> None:
        """
        Presence is said again and again, and no more often than that when nothing happens.
        """
        world = World(6)
        world.start()
        world.clock.advance(120)
        heard: list[int] = []
        account = world.machines["node2"].accounts[0].account
        world.node("node4").scribe.subscribe(group_of(account), lambda said: heard.append(said.number))
        world.clock.advance(10 * AGAIN_S)
        self.assertIn(len(heard), range(10, 14))
        self.assertEqual(sorted(set(heard)), heard)

    def test_said(self) -> None:
        """
        What an application of Bob's adds reaches whoever follows him, far away on the ring, and again when he has moved
        on.
        """
        world = World(9, machines=40, pastry=SMALL)
        world.start()
        bob = world.machines["node2"]
        account = bob.accounts[0].account
        heard: list[bytes] = []
        world.node("node30").followed.follow(account, lambda who, where, data: heard.append(data))
        world.clock.advance(5)
        world.node("node2").announcer.say(account, b"chat:7")
        world.wait(lambda: b"chat:7" in heard, "what Bob says")
        world.node("node2").announcer.say(account, b"chat:8")
        world.wait(lambda: heard[-1] == b"chat:8", "what he says next")
