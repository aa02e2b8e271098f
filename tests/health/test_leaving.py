"""
Tests for L{post.health.leaving}: whole nodes, one of them a gateway, with an imaginary Internet.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from post.health.facts import Facts, Mailbox
from post.health.leaving import FRESH_S, WORDS_LIMIT
from post.health.watch import Watch
from post.mail.relay import Outcome, Verdict
from post.sim.world import World
from tests.health.samples import ALICE
from tests.sim.outside import Internet

XAVIER = "xavier@example.net"
MESSAGE = b"From: alice@example.org\r\nTo: xavier@example.net\r\nSubject: Invoice\r\n\r\nHello.\r\n"


class LeavingTests(SynchronousTestCase):
    """
    Tests of L{post.health.leaving.Departures}, as the page sees it.
    """

    def setUp(self) -> None:
        self.world = World(11, machines=5, gateways=1)
        self.addCleanup(self.world.end)
        self.internet = Internet(self.world)
        self.world.start()
        self.watches = {name: self.look_after(name) for name in ("node1", "node5")}

    def look_after(self, name: str) -> Watch:
        """
        Have a node watched.
        """
        watch = Watch(self.world.node(name), self.world.machines[name].clock, Random(1), lambda: (100 << 30, 50 << 30))
        watch.start()
        self.addCleanup(watch.stop)
        return watch

    def facts(self, name: str = "node1") -> Facts:
        """
        What one node says.
        """
        return self.watches[name].facts()

    def alice(self) -> Mailbox:
        """
        What Alice sees.
        """
        mailbox = self.facts().mailbox(ALICE)
        assert mailbox is not None
        return mailbox

    def send(self) -> None:
        """
        A message from Alice to somebody outside.
        """
        submission = self.world.node("node1").accounts.submission(ALICE)
        self.world.do(submission.submit(ALICE, [XAVIER], MESSAGE, b""))

    def test_story(self) -> None:
        """
        A message that waits is shown at once; a little later how far it is, with the other side's words cut to a
        length; when it has left, no more.  The gateway counts it, and names nobody.
        """
        words = "Come\r\n again. " * 100
        self.internet.says = lambda recipient: Verdict(recipient, Outcome.LATER, "4.7.1", words, "mx.example.net")
        self.world.wait(lambda: bool(self.watches["node1"]._departures), "the mailbox")
        self.assertEqual(((), 0, None), (self.alice().leaving, self.alice().leaving_more, self.facts().relaying))
        self.send()
        (entry,) = self.alice().leaving
        self.assertEqual(((XAVIER,), False), (entry.left, entry.known))
        self.world.wait(lambda: all(each.known for each in self.alice().leaving), "that the ring has said")
        self.internet.connect("node5")
        self.assertEqual(0, self.facts("node5").relaying)
        self.world.wait(lambda: any(each.tries for each in self.alice().leaving), "that it has been tried")
        self.assertEqual(1, self.facts("node5").relaying)
        (entry,) = self.alice().leaving
        self.assertEqual(("Invoice", (XAVIER,), False), (entry.subject, entry.left, entry.trying))
        self.assertLessEqual(len(entry.words), WORDS_LIMIT)
        self.assertIn("Come again. Come", entry.words)
        self.assertGreater(entry.due, self.world.clock.seconds())
        self.internet.says = lambda recipient: None
        self.world.wait(lambda: self.internet.taken[XAVIER] == 1, "that it leaves")
        self.world.clock.advance(2 * FRESH_S)
        self.world.wait(lambda: not self.alice().leaving, "that it is seen")
        self.world.wait(lambda: self.facts("node5").relaying == 0, "that the gateway has done")

    def test_silent(self) -> None:
        """
        While the ring cannot say how far a message is, it is shown that it waits.
        """
        self.world.wait(lambda: bool(self.watches["node1"]._departures), "the mailbox")
        self.send()
        for name in ("node2", "node3", "node4", "node5"):
            self.world.machines[name].crash()
        for _ in range(5):
            (entry,) = self.alice().leaving
            self.assertEqual((XAVIER,), entry.left)
            self.world.clock.advance(2 * FRESH_S)
        self.assertIn("no copy of it can be found", entry.words)
