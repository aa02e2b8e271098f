"""
A group while nodes crash, start, sleep, wake, come and go, all from one seed.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from post.pastry.config import PastryConfig
from tests.pastry.rings import Member
from tests.scribe.groups import GROUP, Groups

SEEDS = range(5)
STEPS = 80
LEAST_UP = 25
"""Of forty: what is left is always a ring."""


class Churn:
    """
    One run.

    @ivar listeners: who listens, as far as they have not forgotten it in a crash.
    """

    def __init__(self, seed: int) -> None:
        self.groups = Groups(seed, 40, PastryConfig(half=3))
        self.random = Random(f"churn {seed}")
        self.listeners: set[Member] = set()
        self.lasting = self.groups.members[:3]

    def step(self, number: int) -> None:
        """
        Something happens to somebody.
        """
        groups, chance = self.groups, self.random.random()
        member = self.random.choice(groups.members)
        awake = member.up and not member.frozen
        may_go = awake and member not in self.lasting and sum(each.up for each in groups.members) > LEAST_UP
        if not member.up:
            if chance < 0.5:
                groups.boot([member])
        elif member.frozen:
            if chance < 0.75:
                member.thaw()
        elif may_go and chance < 0.25:
            member.crash(silent=chance < 0.12)
            self.listeners.discard(member)
        elif may_go and chance < 0.4:
            member.freeze()
        elif member in self.listeners:
            groups.scribes[member].unsubscribe(GROUP)
            self.listeners.discard(member)
        else:
            groups.heard[member].clear()  # Who begins to listen anew may be told the newest again.
            groups.subscribe([member])
            self.listeners.add(member)
        if chance > 0.9:
            groups.scribes[self.lasting[0]].publish(groups.publication(b"%d" % number))

    def run(self) -> None:
        """
        All steps; then everybody is awake.
        """
        for number in range(STEPS):
            self.groups.rings.advance(self.random.expovariate(1 / 3))
            self.step(number)
        for member in self.groups.members:
            if member.frozen:
                member.thaw()


class ChurnTests(SynchronousTestCase):
    """
    Tests of what holds after all that.
    """

    def test_whole_again(self) -> None:
        """
        The tree is whole, whoever listens hears what is said once, nobody heard anything twice while they listened, and
        when nobody listens any more nothing is left of it.
        """
        for seed in SEEDS:
            churn = Churn(seed)
            groups = churn.groups
            self.assertEqual([], groups.rings.settle(30), f"seed {seed}")
            churn.run()
            self.assertEqual([], groups.rings.settle(330), f"seed {seed}")
            self.assertEqual([], groups.grown(120), f"seed {seed}")
            self.assertGreater(len(churn.listeners), 2, f"seed {seed}")
            groups.publish(groups.members[1], b"the end")
            self.assertEqual([], groups.deaf(b"the end", churn.listeners), f"seed {seed}")
            living = [member for member in groups.members if member.up]
            for member in living:
                groups.scribes[member].unsubscribe(GROUP)
            groups.rings.advance(300)
            self.assertEqual(0, sum(len(groups.scribes[member].forest) for member in living), f"seed {seed}")
            heard = [groups.heard[member] for member in living]
            self.assertEqual([], [each for each in heard if len(each) != len(set(each))], f"seed {seed}")
            self.assertEqual([], groups.rings.failures, f"seed {seed}")
