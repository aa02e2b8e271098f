"""
A message that nobody fetches, for the two hundred days that it may wait: whole nodes on an imaginary network.

Bob never comes back.  Alice is told once that it takes long, and once that her message was not delivered, though her
machine burns in between, and again in the very moment of the notice.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.mail.records import Standing
from post.messaging.pending import PENDING
from post.sim.world import World
from tests.sim.test_recovery import Story as Lost

DAY_S = 86400.0
HOUR_S = 3600.0
MESSAGE = (
    b"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: lunch\r\n"
    b"Message-ID: <1@example.org>\r\n\r\nAre you still there?\r\n"
)


class Story:
    """
    A world in which a message waits for Bob from day 0 on.
    """

    def __init__(self, seed: int) -> None:
        self.world = World(seed, machines=6)
        self.day = 0.0
        self.world.start()
        self.world.finish(self.world.machines["node2"].stop())
        self.world.clock.advance(30)
        self.began = self.now()
        self.world.finish(self.world.send("alice", ["bob"], MESSAGE))

    def now(self) -> float:
        """
        By Alice's clock.
        """
        return self.world.machines["node1"].clock.seconds()

    def jump(self, day: float) -> None:
        """
        All clocks are set ahead to C{day} of the story: only the time is missing, in which the ring would do nothing.
        """
        seconds = self.began + day * DAY_S - self.now()
        for machine in self.world.machines.values():
            machine.set_ahead(seconds)

    def burn(self) -> None:
        """
        Alice's machine is lost, with its disk; she goes on with her keys on an empty one.
        """
        self.world.machines["node1"].crash(wipe=True)
        self.world.clock.advance(60)
        self.world.start("node1")

    def subjects(self) -> list[str]:
        """
        What Alice's Inbox shows.
        """
        lines = [line for text in self.world.folder("alice") for line in text.split(b"\r\n")]
        return [line.decode().partition(": ")[2] for line in lines if line.startswith(b"Subject: Your")]

    def standings(self) -> list[Standing]:
        """
        Where what Alice has sent stands.
        """
        sent = self.world.node("node1").accounts.submission("alice@example.org").sent()
        return [passage.standing for journey in sent for passage in journey.passages]


DELAYED, FAILED = "Your message is delayed", "Your message could not be delivered"


class ExpiryTests(SynchronousTestCase):
    """
    Tests of notices to senders.
    """

    def test_two_hundred_days(self) -> None:
        """
        One notice that it takes long, after five days, and one that it failed, after two hundred; whatever happens to
        the sender's machine, and with the copies on the others.
        """
        story = Story(1)
        world = story.world
        for day in (1, 3, 4.9):
            story.jump(day)
            world.clock.advance(HOUR_S)
            self.assertEqual([], story.subjects(), day)
        story.jump(5.1)
        world.clock.advance(2 * HOUR_S)
        self.assertEqual([DELAYED], story.subjects())
        story.burn()
        world.clock.advance(2 * HOUR_S)
        self.assertEqual(([DELAYED], [Standing.WAITING]), (story.subjects(), story.standings()))
        story.jump(100)
        world.machines[self.delegate(world)].crash(wipe=True)
        world.clock.advance(HOUR_S)
        story.jump(199.9)
        world.clock.advance(2 * HOUR_S)
        self.assertEqual([DELAYED], story.subjects())
        story.jump(200)
        world.clock.advance(4 * HOUR_S)
        self.assertEqual(([DELAYED, FAILED], [Standing.EXPIRED]), (story.subjects(), story.standings()))
        story.burn()
        world.start("node2")
        world.clock.advance(4 * HOUR_S)
        self.assertEqual([DELAYED, FAILED], story.subjects())
        self.assertEqual([], world.folder("bob"))

    def delegate(self, world: World) -> str:
        """
        One who keeps the notification, and is neither Alice's machine nor Bob's.
        """
        keeps = [name for name, machine in world.machines.items() if list(machine.store.of_kind(PENDING))]
        return next(name for name in keeps if name not in ("node1", "node2"))

    def test_off_at_the_end(self) -> None:
        """
        Who was off for months hears of the end when back, and only of that.
        """
        story = Story(2)
        story.world.finish(story.world.machines["node1"].stop())
        story.jump(230)
        story.world.clock.advance(60)
        story.world.start("node1")
        story.world.clock.advance(2 * HOUR_S)
        self.assertEqual([FAILED], story.subjects())

    def test_recovered(self) -> None:
        """
        Who goes on with new keys on a new machine, after the old one was lost, is told too.
        """
        lost = Lost(5)
        world = lost.world
        world.finish(world.machines["node2"].stop())
        world.clock.advance(30)
        world.finish(world.send("alice", ["bob"], MESSAGE))
        lost.old.crash(wipe=True)
        del world.machines["node1"]
        lost.take_over("node7")
        world.start("node7")
        submission = world.node("node7").accounts.submission("alice@example.org")
        self.assertEqual([Standing.WAITING], [each.standing for sent in submission.sent() for each in sent.passages])
        for machine in world.machines.values():
            machine.set_ahead(201 * DAY_S)
        world.clock.advance(4 * HOUR_S)
        [notice] = world.folder("alice")
        self.assertIn(f"Subject: {FAILED}\r\n".encode(), notice)

    def test_lost_in_the_notice(self) -> None:
        """
        Wherever in the making of the notice the machine is lost, with its disk, there is one notice afterwards.
        """
        at = self.when(3)
        for before_s in (0.3, 0.05, 0.03, 0.02, 0.01, 0.0, -0.02):
            story = self.nearly(3)
            story.world.clock.advance(at - before_s - story.world.clock.seconds())
            story.burn()
            story.world.clock.advance(2 * HOUR_S)
            self.assertEqual([FAILED], story.subjects(), before_s)

    def nearly(self, seed: int) -> Story:
        """
        A story that is about to end.
        """
        story = Story(seed)
        story.world.finish(story.world.machines["node1"].stop())
        story.jump(201)
        story.world.clock.advance(60)
        story.world.start("node1")
        return story

    def when(self, seed: int) -> float:
        """
        At what time of the world the notice is in the Inbox.
        """
        story = self.nearly(seed)
        mailbox = story.world.node("node1").accounts.mailbox("alice@example.org")
        story.world.wait(lambda: bool(mailbox.folder("INBOX").entries()), "the notice")
        return story.world.clock.seconds()
