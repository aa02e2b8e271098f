"""
Mail for outside: whole nodes, two of them gateways, on an imaginary network with an imaginary Internet behind it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.crypto.trust import Taken, Trust
from post.errors import PostError, Unreachable
from post.mail.interfaces import RecipientOutside, SenderRefused
from post.mail.mime import HEADER_LIMIT
from post.mail.outbound import DONE, OUTBOUND
from post.mail.records import Standing
from post.mail.relay import IRelay, Outcome, Tell, Told, Verdict
from post.mail.relaying import AT_ONCE
from post.node import Node
from post.sim.world import Machine, World
from tests.sim.outside import SCHEDULE, Internet, Relay
from tests.sim.test_recovery import recovered

MESSAGE = (
    b"From: alice@example.org\r\nTo: xavier@example.net\r\nSubject: hello\r\n"
    b"Message-ID: <1@example.org>\r\n\r\nSee you on Monday.\r\n"
)
XAVIER = "xavier@example.net"
GATEWAYS = ("node5", "node6")


def taken(recipient: str) -> Verdict:
    """
    What a server says that takes it.
    """
    return Verdict(recipient, Outcome.DELIVERED, "2.0.0", "ok", "mx.example.net")


def later(recipient: str) -> Verdict:
    """
    What a server says that knows us not yet.
    """
    return Verdict(recipient, Outcome.LATER, "4.7.1", "Come again.", "mx.example.net")


def refused(recipient: str) -> Verdict:
    """
    What a server says that does not know the recipient.
    """
    return Verdict(recipient, Outcome.REFUSED, "5.1.1", "No such user.", "mx.example.net")


class Story:
    """
    A world of six machines, of which the last two are gateways.
    """

    def __init__(self, seed: int, machines: int = 6) -> None:
        self.world = World(seed, machines=machines, gateways=2)
        self.internet = Internet(self.world)
        self.world.start()
        self.internet.connect(*GATEWAYS)
        self.world.clock.advance(10)

    def submit(self, *recipients: str, message: bytes = MESSAGE) -> Deferred[str]:
        """
        Alice sends; fires at her C{250}.
        """
        submission = self.world.node("node1").accounts.submission("alice@example.org")
        return Deferred.fromCoroutine(submission.submit("alice@example.org", recipients, message, b""))

    def send(self, *recipients: str, message: bytes = MESSAGE) -> None:
        """
        Alice sends, and sees her C{250}.
        """
        self.world.finish(self.submit(*recipients, message=message))

    def first(self) -> str:
        """
        The gateway that has tried first.
        """
        return self.internet.tried[0][0]

    def stages(self) -> list[int]:
        """
        How far the entry is on each machine that has it.
        """
        return [item.order for machine in self.world.machines.values() for item in machine.store.of_kind(OUTBOUND)]

    def settle(self) -> None:
        """
        Let everything happen that may still happen.
        """
        self.world.clock.advance(1.5 * SCHEDULE.give_up_s)


class OutboundTests(SynchronousTestCase):
    """
    Tests of the queue in the ring.
    """

    def test_delivered(self) -> None:
        """
        Mail for outside leaves once, to the octet and without blind copies; sending it again changes nothing, and
        nobody goes on seeing to it.
        """
        story = Story(1)
        blind = MESSAGE.replace(b"Subject", b"Bcc: y@example.com\r\nSubject")
        story.send(XAVIER, "y@example.com", message=blind)
        story.send(XAVIER, "y@example.com", message=blind)
        story.settle()
        story.send(XAVIER, "y@example.com", message=blind)
        story.settle()
        self.assertEqual({XAVIER: 1, "y@example.com": 1}, dict(story.internet.taken))
        self.assertEqual([MESSAGE, MESSAGE], story.internet.messages)
        self.assertEqual({DONE}, set(story.stages()))
        waiting = [machine.node.outside.forwarding.waiting for machine in story.world.machines.values() if machine.node]
        self.assertEqual([0] * 6, waiting)
        self.assertEqual(
            [MESSAGE.replace(b"Subject", b"Bcc: y@example.com\r\nSubject")], story.world.folder("alice", "Sent")
        )

    def test_verified(self) -> None:
        """
        The imaginary Internet is one.
        """
        story = Story(1)
        self.assertTrue(verifyObject(IRelay, Relay(story.internet, "node5")))

    def test_refused_here(self) -> None:
        """
        Without a gateway there is no way out; with one there is none for mail under another From.
        """
        world = World(2, machines=4)
        world.start()
        submission = world.node("node1").accounts.submission("alice@example.org")
        with self.assertRaises(RecipientOutside):
            world.do(submission.submit("alice@example.org", [XAVIER], MESSAGE, b""))
        story = Story(2)
        for sender in (b"bob@example.org", b"alice@example.com", b"alice@example.org, bob@example.org", b"nobody"):
            forged = MESSAGE.replace(b"alice@example.org", sender, 1)
            with self.assertRaises(SenderRefused):
                story.send(XAVIER, message=forged)
        story.settle()
        self.assertEqual({}, dict(story.internet.taken))

    def test_hidden_author(self) -> None:
        """
        A member whose own node does not look cannot hide another From behind more header than the gateway looks at, nor
        beside their own: what leaves is signed in the name of the domain.
        """
        story = Story(2)
        opened = story.world.node("node1").accounts.opened["alice@example.org"]
        hidden = b"X: " + b"x" * HEADER_LIMIT + b"\r\nFrom: bob@example.org\r\n"
        for number, header in enumerate((hidden, b"From: bob@example.org <>\r\n")):
            message = MESSAGE.replace(b"Subject: ", header + b"Subject: ")
            letter = story.world.do(opened.submission._letters.store(message))
            story.world.do(opened.outbox.send("alice@example.org", [XAVIER], letter, bytes([number])))
        story.settle()
        self.assertEqual({}, dict(story.internet.taken))
        self.assertEqual(2, sum(b"Status: 5.7.1" in report for report in story.world.folder("alice")))

    def test_greylisted(self) -> None:
        """
        What is refused for the moment is tried again by the schedule, and delivered once.
        """
        story = Story(3)
        until = story.world.clock.seconds() + 200
        story.internet.says = lambda recipient: later(recipient) if story.world.clock.seconds() < until else None
        story.send(XAVIER)
        story.settle()
        times = [time for _, time in story.internet.tried]
        pauses = [after - before for before, after in pairwise(times)]
        self.assertEqual(3, len(pauses))
        for pause, least in zip(pauses, (60, 120, 240), strict=True):
            self.assertTrue(least <= pause <= 1.1 * least + 10, pauses)
        self.assertEqual({XAVIER: 1}, dict(story.internet.taken))
        self.assertEqual([], story.world.folder("alice"))

    def test_report(self) -> None:
        """
        Who is refused for good is reported to the sender, once; the others get it.
        """
        story = Story(4)
        story.internet.says = lambda recipient: refused(recipient) if recipient == XAVIER else None
        story.send(XAVIER, "yvonne@example.net")
        story.settle()
        [report] = story.world.folder("alice")
        for line in (b"Return-Path: <>", b"Action: failed", b"Status: 5.1.1", b"No such user.", b"rfc822; xavier@"):
            self.assertIn(line, report)
        self.assertNotIn(b"X-POST-Origin", report)
        self.assertNotIn(b"yvonne", report.partition(b"text/rfc822-headers")[0])
        self.assertEqual({"yvonne@example.net": 1}, dict(story.internet.taken))

    def test_sent_once_more(self) -> None:
        """
        What was given up for somebody, and is sent once more as the notice suggests, is tried once more for them: the
        same octets are accepted again, and that means something.  Whoever has got it gets it no second time.
        """
        story = Story(4)
        story.internet.says = lambda recipient: refused(recipient) if recipient == XAVIER else None
        for expected in (1, 2):
            story.send(XAVIER, "yvonne@example.net")
            story.settle()
            self.assertEqual(expected, len(story.world.folder("alice")))
        story.internet.says = lambda recipient: None
        for _ in range(2):
            story.send(XAVIER, "yvonne@example.net")
            story.settle()
        self.assertEqual({XAVIER: 1, "yvonne@example.net": 1}, dict(story.internet.taken))
        [journey] = story.world.node("node1").accounts.submission("alice@example.org").sent()
        self.assertEqual({Standing.HANDED_ON}, {passage.standing for passage in journey.passages})

    def test_told_once(self) -> None:
        """
        A gateway that is lost when it has told the sender, and before it has written that: the next one finds the same,
        and tells the same, which is one report.
        """
        story = Story(8)
        story.internet.says = refused
        story.send(XAVIER)
        mailbox = story.world.node("node1").accounts.opened["alice@example.org"].mailbox
        filed = len(mailbox.state.by_key)
        story.world.wait(lambda: len(mailbox.state.by_key) > filed, "the report")
        self.assertNotIn(DONE, story.stages())
        story.world.machines[story.first()].crash(wipe=True)
        story.settle()
        self.assertEqual(2, len({name for name, _ in story.internet.tried}))
        self.assertEqual(1, len(story.world.folder("alice")))

    def test_told_late(self) -> None:
        """
        A gateway that cannot tell the sender for a while still says that it is at it: no other one takes it up, and
        whoever has got it gets it no second time.
        """
        story = Story(8)
        story.internet.says = lambda recipient: refused(recipient) if recipient == XAVIER else None
        until = story.world.clock.seconds() + 1000
        for name in GATEWAYS:
            relaying = story.world.node(name).outside.relaying
            assert relaying is not None
            relaying._tell = self.telling(story, relaying._tell, until)
        story.send(XAVIER, "yvonne@example.net")
        [handle] = {item.handle for m in story.world.machines.values() for item in m.store.of_kind(OUTBOUND)}
        for name in GATEWAYS:  # Both know of it, as when one was not heard for a moment.
            outside = story.world.node(name).outside
            assert outside.relaying is not None
            story.world.do(outside.relaying.offered(handle))
        story.settle()
        self.assertEqual(({"yvonne@example.net": 1}, 1), (dict(story.internet.taken), len(story.internet.tried)))
        self.assertEqual(1, len(story.world.folder("alice")))

    def telling(self, story: Story, tell: Tell, until: float) -> Tell:
        """
        C{tell}, which does not succeed before C{until}.
        """

        async def late(told: Told) -> None:
            if story.world.clock.seconds() < until:
                raise Unreachable("nobody")
            await tell(told)

        return late

    def test_followed(self) -> None:
        """
        Alice's node knows of each recipient how it stands, from the ring.
        """
        story = Story(6)
        story.internet.says = lambda recipient: {XAVIER: refused, "z@example.net": later}.get(recipient, taken)(
            recipient
        )
        story.send(XAVIER, "yvonne@example.net", "z@example.net", "bob@example.org")
        story.world.clock.advance(600)
        [journey] = story.world.node("node1").accounts.submission("alice@example.org").sent()
        standings = {passage.address: passage.standing for passage in journey.passages}
        self.assertEqual(
            {
                XAVIER: Standing.REFUSED,
                "yvonne@example.net": Standing.HANDED_ON,
                "z@example.net": Standing.WAITING,
                "bob@example.org": Standing.DELIVERED,
            },
            standings,
        )

    def test_inside(self) -> None:
        """
        Whoever is in the organisation is so however their address is written: that nobody but their own node has to
        fetch it is known while it waits.
        """
        story = Story(6)
        story.world.machines["node2"].crash()
        story.world.clock.advance(60)
        story.send("bob@EXAMPLE.org.", XAVIER)
        submission = story.world.node("node1").accounts.submission("alice@example.org")
        [journey] = submission.sent()
        tracking = story.world.node("node1").accounts.opened["alice@example.org"].tracking
        self.assertEqual(["bob@EXAMPLE.org."], [each.address for each in tracking._whereabouts.inside(journey)])

    def test_from_nobody(self) -> None:
        """
        What became of a message from nobody, such as a receipt of reading, is told to nobody.
        """
        story = Story(7)
        story.internet.says = refused
        submission = story.world.node("node1").accounts.submission("alice@example.org")
        story.world.do(submission.submit("", [XAVIER], MESSAGE, b""))
        story.settle()
        self.assertEqual([], story.world.folder("alice"))
        self.assertEqual({DONE}, set(story.stages()))

    def test_expired(self) -> None:
        """
        What nobody takes is reported as late, once, and as failed at the end, once.
        """
        story = Story(5)
        story.internet.says = later
        story.send(XAVIER)
        story.world.clock.advance(1500)
        [late] = story.world.folder("alice")
        self.assertIn(b"Action: delayed", late)
        story.settle()
        [_, failed] = story.world.folder("alice")
        self.assertIn(b"Action: failed", failed)
        self.assertIn(b"Come again.", failed)
        self.assertEqual({DONE}, set(story.stages()))

    def test_quota(self) -> None:
        """
        What a member sends beyond their quota waits for the next day, and is not lost.
        """
        story = Story(9)
        for name in GATEWAYS:
            story.internet.connect(name, schedule=replace(SCHEDULE, recipients_per_day=24))
        names = [f"x{number}@example.net" for number in range(30)]
        for number in range(3):
            message = MESSAGE.replace(b"<1@", f"<{number}@".encode())
            story.send(*names[10 * number : 10 * number + 10], message=message)
        story.world.clock.advance(60)
        before = sum(story.internet.taken.values())
        story.world.clock.advance(12 * 3600)
        # Each gateway counts for itself.
        self.assertIn(before, (20, 30))
        self.assertEqual(dict.fromkeys(names, 1), dict(story.internet.taken))

    def test_sender_lost(self) -> None:
        """
        At C{250} it survives the machine that said so: destroyed in that second, while no gateway runs, the message
        leaves when one is back.
        """
        for seed in range(2):
            story = Story(70 + seed)
            for name in GATEWAYS:
                story.world.machines[name].crash()
            story.world.clock.advance(60)
            story.send(XAVIER)
            story.world.machines["node1"].crash(wipe=True)
            story.world.clock.advance(60)
            story.world.start(*GATEWAYS)
            story.internet.connect(*GATEWAYS)
            story.settle()
            self.assertEqual({XAVIER: 1}, dict(story.internet.taken), seed)

    def test_next_gateway(self) -> None:
        """
        A gateway that is lost with its disk while the other side takes nothing is followed by the next one, which goes
        on with the schedule.
        """
        for seed in range(2):
            story = Story(10 + seed)
            story.internet.says = later
            story.send(XAVIER)
            story.world.clock.advance(10)
            story.world.clock.advance(30)
            story.world.machines[story.first()].crash(wipe=True)
            story.internet.says = lambda recipient: None
            story.settle()
            self.assertEqual({XAVIER: 1}, dict(story.internet.taken), seed)
            self.assertNotEqual(story.first(), story.internet.tried[-1][0])

    def test_lost_before(self) -> None:
        """
        A gateway that is lost while it talks to the server, before that has taken the message: it leaves once.
        """
        story = Story(20)
        story.internet.before = lambda name: self.lose(story, name)
        story.send(XAVIER)
        story.settle()
        self.assertEqual({XAVIER: 1}, dict(story.internet.taken))

    def test_lost_after(self) -> None:
        """
        The case in which it leaves twice: a gateway is lost after the server has taken the message, and before that is
        written into the ring.  It is not lost then, and the other gateway waits until the first cannot be trying.
        """
        story = Story(21)
        story.internet.after = lambda name: self.lose(story, name)
        story.send(XAVIER)
        story.settle()
        self.assertEqual({XAVIER: 2}, dict(story.internet.taken))
        [first, second] = [time for _, time in story.internet.tried]
        self.assertGreaterEqual(second - first, 100)

    def test_alone_after(self) -> None:
        """
        A gateway that loses sight of the ring when a server has just taken the message, and sees nobody who has it any
        longer, writes what came of it when it is back: it leaves once.
        """
        for seed in (83, 89):
            story = Story(seed)
            network = story.world.network

            def part(name: str, story: Story = story) -> None:
                story.internet.after = lambda name: None
                story.world.network.partition([[story.world.machines[name].node_id]])

            story.internet.after = part
            story.send(XAVIER)
            story.world.clock.advance(60)
            network.heal()
            story.settle()
            self.assertEqual({XAVIER: 1}, dict(story.internet.taken), seed)

    def test_stopped(self) -> None:
        """
        A gateway that is shut down while it tries says nothing of bugs, and goes on when it is back.
        """
        story = Story(26)
        story.internet.pause_s = 100
        story.send(XAVIER)
        story.world.clock.advance(20)
        first = story.first()
        story.world.finish(story.world.machines[first].stop())
        story.internet.pause_s = 1
        story.world.start(first)
        story.internet.connect(first)
        story.settle()
        self.assertEqual(({XAVIER: 1}, []), (dict(story.internet.taken), self.flushLoggedErrors()))

    def test_broken(self) -> None:
        """
        A bug in the relay is an attempt like another: it is not repeated without end, and the sender hears of it.
        """
        story = Story(24)

        def fail(recipient: str) -> Verdict:
            raise ZeroDivisionError

        story.internet.says = fail
        story.send(XAVIER)
        story.settle()
        self.assertLess(len(story.internet.tried), 10)
        self.assertEqual(len(story.internet.tried), len(self.flushLoggedErrors(ZeroDivisionError)))
        self.assertIn(b"Action: failed", story.world.folder("alice")[-1])

    def test_revoked(self) -> None:
        """
        What waits does not leave any more once the key that signed it is revoked, whatever time it says.
        """
        story = Story(25)
        story.internet.says = later
        story.send(XAVIER)
        story.world.clock.advance(10)
        key = story.world.home("alice").accounts[0].key.public
        for name in GATEWAYS:
            root = story.world.node(name).outside.relaying._root  # type: ignore[union-attr]
            assert isinstance(root, Trust)
            root.revoke({key: Taken(int(story.world.clock.seconds()))}, int(story.world.clock.seconds()) + 1)
        story.internet.says = lambda recipient: None
        story.settle()
        self.assertEqual({}, dict(story.internet.taken))

    def test_recovered(self) -> None:
        """
        What the other side would not take yet when alice's machine was lost leaves all the same, once, although the key
        that signed it is revoked by her recovery: her new machine signs it anew.  What had left leaves no second time.
        """
        story = Story(27)
        world = story.world
        story.internet.says = lambda recipient: later(recipient) if recipient == XAVIER else None
        story.send(XAVIER, "yvonne@example.net", "z@example.com")
        world.clock.advance(30)
        lost = world.machines["node1"]
        lost.crash(wipe=True)
        old, lost.accounts = lost.accounts[0], []
        world.machines["node7"] = Machine(world, "node7", [recovered(world, old)], 0.0)
        world.start("node7")
        for machine in world.machines.values():
            if machine.node is not None:
                self.revoke(machine.node, old.key.public)
        world.clock.advance(200)
        story.internet.says = lambda recipient: None
        world.clock.advance(3000)
        self.assertEqual({XAVIER: 1, "yvonne@example.net": 1, "z@example.com": 1}, dict(story.internet.taken))
        [journey] = world.node("node7").accounts.submission("alice@example.org").sent()
        self.assertEqual({Standing.HANDED_ON}, {passage.standing for passage in journey.passages})

    def test_gateway_recovered(self) -> None:
        """
        The only gateway is lost for good, with the key to all that waits; mail is accepted on.  When another one is in
        its place, which can read nothing of it, everything leaves all the same: its senders' nodes seal it anew.
        """
        world = World(28, machines=6, gateways=1)
        internet = Internet(world)
        world.start()
        internet.connect("node6")
        world.clock.advance(10)
        internet.says = lambda recipient: later(recipient) if recipient == XAVIER else None
        submission = world.node("node1").accounts.submission("alice@example.org")
        world.do(submission.submit("alice@example.org", [XAVIER, "yvonne@example.net"], MESSAGE, b""))
        world.clock.advance(100)
        world.machines["node6"].crash(wipe=True)
        world.clock.advance(100)
        second = MESSAGE.replace(b"<1@", b"<2@")
        world.do(submission.submit("alice@example.org", [XAVIER, "z@example.com"], second, b""))
        world.machines["node6"] = Machine(world, "node6", [], 0.0, gateway=True)
        internet.says = lambda recipient: None
        world.start("node6")
        internet.connect("node6")
        world.clock.advance(3 * 3600)
        self.assertEqual({XAVIER: 2, "yvonne@example.net": 1, "z@example.com": 1}, dict(internet.taken))

    def revoke(self, node: Node, key: bytes) -> None:
        """
        Let C{node} know that C{key} is revoked.
        """
        root, now = node.outside._root, int(node.outside._clock.seconds())
        assert isinstance(root, Trust)
        root.revoke({key: Taken(now)}, now)

    def test_slow(self) -> None:
        """
        A server may take its time: no other gateway tries meanwhile, although all holders keep telling.
        """
        story = Story(22)
        story.internet.pause_s = 400
        story.send(XAVIER)
        story.settle()
        self.assertEqual(({XAVIER: 1}, 1), (dict(story.internet.taken), len(story.internet.tried)))

    def test_patient(self) -> None:
        """
        Somebody who writes to many domains whose servers take minutes to answer, or are not there, does not keep others
        waiting.
        """
        world = World(29, machines=6, gateways=1)
        internet = Internet(world)
        world.start()
        internet.connect("node6")
        world.clock.advance(10)
        alice, bob = (
            world.node(node).accounts.submission(f"{user}@example.org")
            for node, user in (("node1", "alice"), ("node2", "bob"))
        )
        internet.pause_s = 250
        names = [f"x@example{number}.net" for number in range(AT_ONCE + 10)]
        world.do(alice.submit("alice@example.org", names, MESSAGE, b""))
        world.clock.advance(10)
        internet.pause_s = 1
        world.do(bob.submit("bob@example.org", [XAVIER], MESSAGE.replace(b"alice", b"bob"), b""))
        world.clock.advance(30)
        self.assertEqual({XAVIER: 1}, dict(internet.taken))
        world.clock.advance(3600)
        self.assertEqual(dict.fromkeys([XAVIER, *names], 1), dict(internet.taken))

    def test_endless(self) -> None:
        """
        But not for ever.
        """
        story = Story(23)
        story.internet.pause_s = 10_000
        story.send(XAVIER)
        story.world.clock.advance(1200)
        [shown] = story.world.do(story.world.node("node1").leaving())
        self.assertEqual((1, "It took too long."), (shown.tries, shown.words))

    def lose(self, story: Story, name: str) -> None:
        """
        The first gateway that comes here is destroyed.
        """
        story.internet.before = story.internet.after = lambda name: None
        story.world.clock.callLater(0, story.world.machines[name].crash, True)

    def test_holders_lost(self) -> None:
        """
        No k - 1 machines that are wiped at once take an entry with them.
        """
        for seed in range(2):
            story = Story(30 + seed)
            story.internet.says = later
            story.send(XAVIER)
            story.world.clock.advance(5)
            keepers = [
                name
                for name, machine in story.world.machines.items()
                if list(machine.store.of_kind(OUTBOUND)) and name not in GATEWAYS
            ]
            for name in [*keepers, "node1"][: story.world.authority.policy.k - 1]:
                if story.world.machines[name].node is not None:
                    story.world.machines[name].crash(wipe=True)
            story.internet.says = lambda recipient: None
            story.settle()
            self.assertEqual({XAVIER: 1}, dict(story.internet.taken), seed)

    def test_no_gateway_runs(self) -> None:
        """
        Mail is taken while all gateways are off, and leaves when one is back.
        """
        story = Story(40)
        for name in GATEWAYS:
            story.world.machines[name].crash()
        story.world.clock.advance(60)
        story.send(XAVIER)
        story.world.clock.advance(300)
        self.assertEqual({}, dict(story.internet.taken))
        story.world.start("node6")
        story.internet.connect("node6")
        story.settle()
        self.assertEqual({XAVIER: 1}, dict(story.internet.taken))

    def test_in_parts(self) -> None:
        """
        The ring is in parts, each with a gateway: mail is not lost, and at most leaves once by each.
        """
        story = Story(50)
        story.internet.says = later
        story.send(XAVIER)
        story.world.clock.advance(20)
        ids = {name: machine.node_id for name, machine in story.world.machines.items()}
        story.world.network.partition(
            [{ids[n] for n in ("node1", "node2", "node5")}, {ids[n] for n in ("node3", "node4", "node6")}]
        )
        story.internet.says = lambda recipient: None
        story.world.clock.advance(2000)
        story.world.network.heal()
        story.settle()
        self.assertIn(story.internet.taken[XAVIER], (1, 2))
        self.assertEqual({DONE}, set(story.stages()))

    def test_dropped(self) -> None:
        """
        The sender's node, and no other, can have it given up or tried at once; and sees how it goes on.
        """
        story = Story(60)
        story.internet.says = later
        story.send(XAVIER)
        story.world.clock.advance(30)
        [shown] = story.world.do(story.world.node("node1").leaving())
        self.assertEqual(((XAVIER,), 1, "Come again."), (shown.left, shown.tries, shown.words))
        tries = len(story.internet.tried)
        story.world.do(story.world.node("node1").outside.prompt(shown.handle, 1))
        story.world.clock.advance(10)
        self.assertEqual(tries + 1, len(story.internet.tried))
        with self.assertRaises(PostError):
            story.world.do(story.world.node("node2").outside.prompt(shown.handle, 2))
        story.world.do(story.world.node("node1").outside.prompt(shown.handle, 2))
        story.world.clock.advance(10)
        self.assertEqual([], story.world.do(story.world.node("node1").leaving()))
        story.settle()
        self.assertEqual(({}, []), (dict(story.internet.taken), story.world.folder("alice")))
