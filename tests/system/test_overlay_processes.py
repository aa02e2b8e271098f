"""
Sixteen real nodes that are killed, fall asleep, start again among the dead, and lose the network between them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import ClassVar
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from post.pastry.config import PastryConfig
from tests.system.fleet import SEEDS, Fleet, Member
from tests.system.namespaces import Net
from tests.system.rings import wait_for

CONFIG = PastryConfig()
NODES = 16
NAP_S = 16.0
"""Longer than what anybody takes for a delay."""
SLACK_S = 40.0
"""On top of what is promised, for a machine that does much else."""
HEALED_S = 120.0
"""For the parts of a ring to be one again."""


def noticed_s(silent: int) -> float:
    """
    Until so many nodes that are silent, in a row even, are noticed.
    """
    return CONFIG.notice_s + (silent - 1) * CONFIG.probe_tries * CONFIG.probe_s + SLACK_S


class OverlayProcessTests(SynchronousTestCase):
    """
    Tests of one ring, which each test leaves whole.
    """

    fleet: ClassVar[Fleet]
    net: ClassVar[Net | None] = None

    @classmethod
    def setUpClass(cls) -> None:
        """
        The ring; and one more node, which has never been in it.
        """
        try:
            cls.net = Net(NODES + 1)
            cls.addClassCleanup(cls.net.remove)
        except SkipTest:
            pass  # The nodes share the loopback interface, and instead of the network half of them stop.
        cls.fleet = Fleet(NODES + 1, cls.net)
        cls.addClassCleanup(cls.fleet.remove)
        cls.fleet.start(cls.fleet.members[:NODES])
        cls.fleet.wait(cls.fleet.members[:NODES], 150)

    def setUp(self) -> None:
        self.members = self.fleet.members[:NODES]

    def wait(self, members: Sequence[Member], patience_s: float, others: int = 0) -> None:
        """
        See L{Fleet.wait}.
        """
        self.fleet.wait(members, patience_s, others)

    def test_killed_and_asleep(self) -> None:
        """
        Of nodes that are killed and others that fall asleep at the same moment the rest is one ring, in the time that
        is stated.  Who wakes up is in no ring until the others have said what happened, and says so; then it is in.

        Among dead seeds a newcomer waits, and says so; it comes in when one of them is back, which finds the ring
        though its own seeds are dead, by those that it has seen.
        """
        seeds, killed = self.members[:SEEDS], self.members[: SEEDS + 1]
        asleep = self.members[9:12]
        rest = [member for member in self.members if member not in (*killed, *asleep)]
        newcomer = self.fleet.members[NODES]
        asleep_at = time.monotonic()
        for member in asleep:
            member.signal(SIGSTOP)
        for member in killed:
            member.signal(SIGKILL)
        earlier = {member: len(member.log) for member in killed}
        self.fleet.start([newcomer])
        self.wait(rest, noticed_s(len(asleep)))
        wait_for("a nap", lambda: time.monotonic() - asleep_at > NAP_S)
        self.assertEqual([False] * 3, [member.wake() for member in asleep])
        self.wait([*rest, *asleep], SLACK_S)
        for member in asleep:
            self.assertIn("this node was not running for a while", member.log)
            self.assertIn("this node is back in the ring", member.log)
        wait_for("progress", lambda: "still looking for the ring: 0 of 3 seeds answer" in newcomer.log)
        self.assertFalse(newcomer.status()["active"])
        self.fleet.start(seeds[:1])
        self.wait([*rest, *asleep, seeds[0], newcomer], SLACK_S)
        newcomer.signal(SIGKILL)
        self.fleet.start(killed[1:])
        self.wait(self.members, SLACK_S)
        for member in killed:
            self.assertNotIn("founding a ring", member.log[earlier[member] :])

    def test_divided(self) -> None:
        """
        A network that breaks in two makes two rings, and one again soon after it is mended.  That one node does not
        hear another any more, at the same time, takes neither from the others.
        """
        if self.net is None:
            self.half_stopped()
            return
        halves = self.members[::2], self.members[1::2]
        deaf, unheard = 4, 10
        self.net.block(unheard, deaf)
        self.net.divide()
        for half in halves:
            others = [member for member in half if member not in (self.members[deaf], self.members[unheard])]
            self.wait(others, noticed_s(8), len(half) - len(others))
        self.net.heal()
        self.net.unblock(unheard, deaf)
        self.wait(self.members, HEALED_S)

    def half_stopped(self) -> None:
        """
        The same where the network cannot be broken: half of all nodes sleep, and wake up.
        """
        for member in self.members[1::2]:
            member.signal(SIGSTOP)
        self.wait(self.members[::2], noticed_s(8))
        for member in self.members[1::2]:
            member.signal(SIGCONT)
        self.wait(self.members, HEALED_S)
