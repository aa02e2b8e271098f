"""
Tests for L{post.net.peers}.
"""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ids import Contact, Id, NodeId
from post.net.config import LinkConfig
from post.net.peers import Backoff, Claim, Peer, Verdict, judge
from post.net.queue import Budget
from post.wire import Priority

LOW, HIGH = NodeId(Id(1)), NodeId(Id(2))
CONFIG = LinkConfig()
claims = st.builds(Claim, st.integers(0, 2), st.integers(0, 2), st.sampled_from((LOW, HIGH)))
OPPOSITE = {Verdict.SWITCH: Verdict.KEEP, Verdict.KEEP: Verdict.SWITCH}


class JudgeTests(SynchronousTestCase):
    """
    Tests for L{judge}.
    """

    def test_simultaneous(self) -> None:
        """
        Of two links dialled at once, that of the lower id stays, whichever came up first.
        """
        self.assertEqual(Verdict.SWITCH, judge(Claim(5, 0, HIGH), Claim(5, 0, LOW)))
        self.assertEqual(Verdict.KEEP, judge(Claim(5, 0, LOW), Claim(5, 0, HIGH)))

    def test_newer_boot(self) -> None:
        """
        The link from a newer boot stays, whoever dialled; a straggler from an older boot is refused.
        """
        for dialler in (LOW, HIGH):
            self.assertEqual(Verdict.REPLACE, judge(Claim(5, 3, LOW), Claim(6, 0, dialler)))
            self.assertEqual(Verdict.REFUSE, judge(Claim(6, 0, LOW), Claim(5, 3, dialler)))

    def test_lost_by_the_peer(self) -> None:
        """
        If the peer has lost a link since, the old one is what it lost, although the rule of ids would keep it.
        """
        self.assertEqual(Verdict.REPLACE, judge(Claim(5, 0, LOW), Claim(5, 1, HIGH)))

    def test_same_dialler(self) -> None:
        """
        A duplicate by the same dialler replaces the link.
        """
        self.assertEqual(Verdict.REPLACE, judge(Claim(5, 1, HIGH), Claim(5, 1, HIGH)))

    @given(claims, claims)
    def test_order_of_arrival(self, one: Claim, other: Claim) -> None:
        """
        Unless one dialler made both, the same link stays in whichever order they came up.
        """
        if one.dialler == other.dialler:
            return
        forward, backward = judge(one, other), judge(other, one)
        stays = {Verdict.REPLACE: "new", Verdict.SWITCH: "new", Verdict.REFUSE: "old", Verdict.KEEP: "old"}
        self.assertNotEqual(stays[forward], stays[backward])
        self.assertEqual(OPPOSITE.get(forward), backward if forward in OPPOSITE else None)


class BackoffTests(SynchronousTestCase):
    """
    Tests for L{Backoff}.
    """

    contact = Contact(LOW, ("10.0.0.1:1",), 7)

    def test_doubles(self) -> None:
        """
        Each failure about doubles the wait, up to the longest; never more, and at least half of that.
        """
        backoff, random = Backoff(), Random(1)
        for failures in range(40):
            self.assertTrue(backoff.may_try(self.contact, 1000.0))
            backoff.failed(self.contact, 1000.0, random, CONFIG)
            longest = min(CONFIG.backoff_first_s * 2**failures, CONFIG.backoff_most_s)
            self.assertTrue(longest / 2 <= backoff.until - 1000 <= longest)
            self.assertFalse(backoff.may_try(self.contact, backoff.until - 0.001))
            backoff.until = 0

    def test_news(self) -> None:
        """
        A newer boot or another address is tried at once, and counts failures from the start; an older contact is not.
        """
        backoff = Backoff()
        for _ in range(5):
            backoff.failed(self.contact, 0.0, Random(1), CONFIG)
        self.assertFalse(backoff.may_try(Contact(LOW, (), 6), 1.0))
        for news in (Contact(LOW, ("10.0.0.1:1",), 8), Contact(LOW, ("10.0.0.1:1", "10.0.0.2:1"), 7)):
            self.assertTrue(backoff.may_try(news, 1.0))
        backoff.failed(Contact(LOW, ("10.0.0.1:1",), 8), 0.0, Random(1), CONFIG)
        self.assertLessEqual(backoff.until, CONFIG.backoff_first_s)


class PeerTests(SynchronousTestCase):
    """
    Tests for L{Peer}: who waits for room in the queue.
    """

    def setUp(self) -> None:
        self.peer = Peer(LOW)
        self.queue = self.peer.queue_for(CONFIG, Budget(10**9))

    def fill(self, frames: int) -> None:
        """
        Put bulk into the queue.
        """
        for _ in range(frames):
            self.queue.put(b"x" * 100, Priority.BULK)

    def test_at_once(self) -> None:
        """
        With little bulk waiting, and for a peer without a queue, there is room at once.
        """
        self.fill(2)
        self.successResultOf(self.peer.writable(201))
        self.successResultOf(Peer(HIGH).writable(1))

    def test_in_turn(self) -> None:
        """
        Those who wait go on one by one, as room is made, and those who come later wait behind them.
        """
        self.fill(3)
        waiting = [self.peer.writable(250) for _ in range(3)]
        for each in waiting:
            each.addCallback(lambda _: self.fill(1))
        self.queue.take(104)
        self.peer.refill(250)
        self.assertEqual([True, False, False], [each.called for each in waiting])

    def test_gone(self) -> None:
        """
        When the queue is dropped everybody goes on; who has given up waiting is not called.
        """
        self.fill(3)
        waiting = [self.peer.writable(1) for _ in range(3)]
        waiting[1].cancel()
        self.failureResultOf(waiting[1])
        self.peer.drop_queue()
        self.successResultOf(waiting[0])
        self.successResultOf(waiting[2])
        self.assertTrue(self.peer.idle)
