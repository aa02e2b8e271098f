"""
Tests for L{post.relay.carrier} and L{post.relay.allowance}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.relay.allowance import Allowance
from post.relay.carrier import (
    ASKERS_LIMIT,
    BURST_BYTES,
    BURST_FRAMES,
    PEERS_LIMIT,
    RATE_FRAMES,
    TOTAL_BURST_BYTES,
    relay_frame,
)
from post.relay.messages import Carried, Carry, NoWay
from post.wire import Priority
from tests.relay.nodes import Nodes


class CarrierTests(SynchronousTestCase):
    """
    Tests for L{Carrier}: node 3 carries to node 2.
    """

    def setUp(self) -> None:
        self.nodes = Nodes()
        self.two, self.three = self.nodes.node(2), self.nodes.node(3)

    def ask(self, number: int, payload: bytes = b"x", target: int = 2) -> None:
        """
        Have something carried.
        """
        carry = Carry(self.nodes.contact(target).id, payload, Priority.URGENT)
        self.three.transport.frame_received(self.nodes.contact(number), relay_frame(carry))

    def carried(self) -> int:
        """
        How much has arrived.
        """
        self.nodes.clock.advance(1)
        return sum(isinstance(message, Carried) for _, target, message in self.nodes.frames if target == 2)

    def test_whose(self) -> None:
        """
        The relay says from whom it is, and counts what it carries.
        """
        self.ask(1, b"payload")
        self.assertEqual(1, self.carried())
        self.assertEqual((3, 2, Carried(self.nodes.contact(1).id, b"payload")), self.nodes.frames[0])
        self.assertEqual((1, 7), (self.three.transport.carrier.frames, self.three.transport.carrier.size_bytes))

    def test_frames(self) -> None:
        """
        One peer may have so many frames carried, and a second later some more; others are not affected.
        """
        for _ in range(2 * BURST_FRAMES):
            self.ask(1)
        self.assertEqual(BURST_FRAMES, self.carried())
        self.assertEqual(BURST_FRAMES, self.three.complaints.counts["too much to carry for it"])
        for _ in range(2 * BURST_FRAMES):
            self.ask(1)
        self.ask(4)
        self.assertEqual(BURST_FRAMES + RATE_FRAMES + 1, self.carried())

    def test_bytes(self) -> None:
        """
        And so many bytes; all peers together have a bound too.
        """
        for _ in range(2 * BURST_BYTES // 50_000):
            self.ask(1, bytes(50_000))
        self.assertEqual(BURST_BYTES // 50_000, self.carried())
        self.nodes.clock.advance(100)
        self.nodes.frames.clear()
        for number in range(10, 20):
            for _ in range(BURST_BYTES // 50_000):
                self.ask(number, bytes(50_000))
        self.assertEqual(TOTAL_BURST_BYTES // 50_000, self.carried())

    def test_nowhere(self) -> None:
        """
        Nothing is carried back to who sent it, to the relay itself, or to nobody.
        """
        one = self.nodes.node(1)
        one.send(3, b"linked")
        self.nodes.clock.advance(1)
        for target in (1, 3):
            self.ask(1, target=target)
        self.three.transport.resolve = lambda node: None
        self.ask(1)
        self.nodes.clock.advance(1)
        self.assertEqual(
            [NoWay(self.nodes.contact(target).id) for target in (1, 3, 2)], [m for *_, m in self.nodes.frames]
        )

    def test_bounded(self) -> None:
        """
        Of peers and targets the last ones are remembered.
        """
        for number in range(10, 10 + 2 * PEERS_LIMIT):
            self.ask(number)
        carrier = self.three.transport.carrier
        self.assertEqual(PEERS_LIMIT, len(carrier._customers))
        self.assertEqual([ASKERS_LIMIT], [len(askers) for askers in carrier._askers.values()])


class AllowanceTests(SynchronousTestCase):
    """
    Tests for L{Allowance}.
    """

    @given(st.lists(st.tuples(st.floats(-10, 10), st.integers(1, 50)), max_size=50))
    def test_bounded(self, uses: list[tuple[float, int]]) -> None:
        """
        In no time is more allowed than the burst and what the rate gives, not even by a clock that is set back.
        """
        allowance, now, forward, taken = Allowance(2, 100, 0.0), 0.0, 0.0, 0
        for passed, units in uses:
            now += passed
            forward += max(0.0, passed)
            taken += units if allowance.take(units, now) else 0
            self.assertLessEqual(taken, 100 + 2 * forward + 1e-6)

    def test_wait(self) -> None:
        """
        After as long as it says there is enough.
        """
        allowance = Allowance(10, 100, 0.0)
        allowance.use(150, 0.0)
        wait_s = allowance.wait_s(20, 0.0)
        self.assertEqual(7.0, wait_s)
        self.assertFalse(allowance.take(20, wait_s - 0.01))
        self.assertTrue(allowance.take(20, wait_s))
