"""
The first promise, on real processes: C{250} means that the message survives the machine that said so.

L{tests.system.soak_promise} repeats it many times, killing at random instants.
"""

from __future__ import annotations

import random
import smtplib
import time

from twisted.trial.unittest import SynchronousTestCase

from post.messaging.pending import PENDING
from post.past.blocks import CONTENT
from tests.system.rings import Ring, mail, wait_for

K = 3
STATES = ("on-line", "frozen", "off")
OTHERS = ("node3", "node4", "node5")


class PromiseTests(SynchronousTestCase):
    """
    A message is accepted; then the machine that accepted it burns, and another one with it.
    """

    def test_online(self) -> None:
        """
        The recipient is on-line.
        """
        self.tell("on-line", random.SystemRandom().getrandbits(32))

    def test_frozen(self) -> None:
        """
        The recipient's computer does not react.
        """
        self.tell("frozen", random.SystemRandom().getrandbits(32))

    def test_off(self) -> None:
        """
        The recipient's computer is off.
        """
        self.tell("off", random.SystemRandom().getrandbits(32))

    def test_too_few(self) -> None:
        """
        While too little of the ring answers, nothing is accepted; the client tries again later, and nothing is doubled.
        """
        with Ring() as ring:
            for name in OTHERS:
                ring.stop_node(name)
            message = mail("too few")
            for _ in range(2):
                with ring.smtp("alice") as client, self.assertRaises(smtplib.SMTPDataError) as refused:
                    client.sendmail("alice@example.org", ["bob@example.org"], message)
                self.assertEqual(451, refused.exception.smtp_code)
            for name in OTHERS:
                ring.start_node(name)
            ring.send("alice", "bob", message)
            ring.send("alice", "bob", message)  # And once more: the client did not see the reply.
            wait_for("the message", lambda: ring.count("bob", "too few"))
            time.sleep(5)
            self.assertEqual(1, ring.count("bob", "too few"))
            self.assertEqual(1, ring.count("alice", "too few", "Sent"))

    def tell(self, state: str, seed: int) -> None:
        """
        The story.
        """
        print(f"state {state}, seed {seed}")
        chance = random.Random(seed)
        with Ring() as ring:
            set_state(ring, state)
            subject = f"promised {seed}"
            before, heads_before = ring.holdings(), ring.heads()
            ring.send("alice", "bob", mail(subject, b"What was promised.\r\n" * 5000))
            self.check_copies(ring, state, before, heads_before)
            ring.kill("node1", wipe=True)
            ring.kill(chance.choice(OTHERS), wipe=True)
            end_state(ring, state)
            wait_for("the message", lambda: ring.count("bob", subject))
            self.assertEqual(1, ring.count("bob", subject))
            time.sleep(30)
            self.assertEqual(1, ring.count("bob", subject))
            for name in OTHERS:
                if ring.home(name).exists():
                    ring.stop_node(name)
                    ring.start_node(name)
            time.sleep(5)
            self.assertEqual(1, ring.count("bob", subject))

    def check_copies(
        self,
        ring: Ring,
        state: str,
        before: dict[tuple[int, bytes, bytes], set[str]],
        heads_before: dict[bytes, dict[str, int]],
    ) -> None:
        """
        At C{250} every block of the message, and the notification or the recipient's record, is on k disks.
        """
        fresh = {what: holders for what, holders in ring.holdings().items() if what not in before}
        blocks = {handle: holders for (kind, handle, _), holders in fresh.items() if kind == CONTENT}
        self.assertTrue(blocks)
        for handle, holders in blocks.items():
            self.assertGreaterEqual(len(holders), K, handle.hex())
        pending = [holders for (kind, _, _), holders in fresh.items() if kind == PENDING]
        heads = ring.heads()
        newer = {}
        for user in ("alice", "bob"):
            handle = ring.log_handle(user)
            before_it = max(heads_before.get(handle, {"": 0}).values())
            newer[user] = sum(version > before_it for version in heads.get(handle, {}).values())
        # The sender's Sent folder always; the recipient's Inbox, or else a pending notification.
        self.assertGreaterEqual(newer["alice"], K)
        waits = any(len(holders) >= K for holders in pending)
        self.assertTrue(waits or (state == "on-line" and newer["bob"] >= K), (newer, pending))


def set_state(ring: Ring, state: str) -> None:
    """
    What becomes of the recipient's node before.
    """
    if state == "frozen":
        ring.freeze("node2")
    elif state == "off":
        ring.stop_node("node2")


def end_state(ring: Ring, state: str) -> None:
    """
    And after.
    """
    if state == "frozen":
        ring.thaw("node2")
    elif state == "off":
        ring.start_node("node2")
