"""
A campaign: faults of all kinds by chance, one after the other and several at once; in the end there must be one ring.

What is demanded: nobody delivers what another node is the root of that it reaches, unless the network was broken or
lost frames, from then until all leaf sets are right again; and after everything was mended all leaf sets become right,
and whatever is looked up arrives at its root.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from post.ids import NodeId
from post.sim.latency import sphere
from post.sim.overlay import Mistake, Overlay, Sent
from post.sim.routing import Told

NODES_LEAST = 4
FAULTS_MOST = 12
"""In one campaign."""
GAP_MOST_S = 60.0
"""Between two faults; many begin while others last."""
LAST_MOST_S = 120.0
"""For which a partition, a cut, a nap or a loss lasts."""
LOOKUP_S = 0.5
"""Between two lookups, in the mean."""
STEP_S = 1.0
"""Between two looks at who is wrong."""
PATIENCE_S = 600.0
"""For all leaf sets to be right in the end."""
LOOKUPS_AFTER = 200
GRACE_S = 30.0
"""For these to arrive."""


@dataclass(frozen=True)
class CampaignReport:
    """
    What became of it.

    @ivar nodes: at the end.
    @ivar faults: what happened, in the order of time.
    @ivar wrong: deliveries that were demanded to be elsewhere; C{excused}: other deliveries by who was not the root.
    @ivar right_s: after all was mended, until all leaf sets were right; C{None} if that took too long.
    @ivar missing: of L{LOOKUPS_AFTER} at the end those that did not arrive at their root.
    @ivar failed: whose way into the ring ended with an error.
    @ivar mistakes: the first few of the wrong deliveries, in words.
    """

    seed: int
    nodes: int
    faults: tuple[str, ...]
    lookups: int
    wrong: int
    excused: int
    right_s: float | None
    missing: int
    failed: int
    mistakes: tuple[str, ...]
    simulated_s: float
    wall_s: float

    @property
    def passed(self) -> bool:
        """
        Whether all was as demanded.
        """
        return self.right_s is not None and not (self.wrong or self.missing or self.failed)


class Campaign:
    """
    One run.
    """

    def __init__(self, seed: int, most: int) -> None:
        self.overlay = Overlay(seed, sphere(seed))
        self.faults: list[str] = []
        self.lookups = self.wrong = self.excused = 0
        self.mistakes: list[Mistake] = []
        self._chance = Random(f"campaign {seed}")
        self._most = most
        self._gone: list[NodeId] = []
        self._disturbed = 0  # Partitions, cuts and losses that last.
        self._unsettled = False  # There was one, and not all leaf sets have been right since.
        self.began_s = self.overlay.clock.seconds()
        self._lookup_s = 0.0

    def form(self) -> None:
        """
        Make the ring, at any pace.
        """
        count = self._chance.randint(NODES_LEAST, self._most)
        rate_per_s = self._chance.choice((2.0, 10.0, 50.0))
        for _ in range(count):
            self.overlay.join()
            self.advance(1 / rate_per_s)
        self.note(f"{count} nodes form a ring, {rate_per_s:g} in a second")
        self.advance(self._chance.uniform(0.0, GAP_MOST_S))

    def strike(self) -> None:
        """
        Let something happen, and some time pass.
        """
        self._chance.choice((self._crash, self._join, self._return, self._part, self._cut, self._nap, self._lose))()
        self.advance(self._chance.uniform(0.0, GAP_MOST_S))

    def mend(self) -> float | None:
        """
        Wait until every fault has ended and all leaf sets are right; how long that took after the last of them.
        """
        while self._disturbed or self.overlay.asleep:
            self.advance(STEP_S)
        mended_s = self.overlay.clock.seconds()
        while self.overlay.clock.seconds() < mended_s + PATIENCE_S:
            if len(self.overlay.active()) == len(self.overlay.members) and self.overlay.is_right():
                return self.overlay.clock.seconds() - mended_s
            self.advance(STEP_S)
        return None

    def probe(self) -> int:
        """
        Look up many keys; how many did not arrive at their root.
        """
        sent = [self.overlay.look_up(self.overlay.anybody()) for _ in range(LOOKUPS_AFTER)]
        self.advance(GRACE_S)
        return sum(each is None or not each.deliveries or bool(each.wrong) for each in sent)

    # Time.

    def advance(self, seconds: float) -> None:
        """
        Let C{seconds} pass, in which keys are looked up, and judge what was delivered.
        """
        clock = self.overlay.clock
        end_s = clock.seconds() + seconds
        while clock.seconds() < end_s:
            excused = self._is_excused()
            until_s = min(end_s, clock.seconds() + STEP_S)
            while self._lookup_s <= until_s:
                clock.advance(max(0.0, self._lookup_s - clock.seconds()))
                self._look_up()
            clock.advance(max(0.0, until_s - clock.seconds()))
            self._judge(excused or self._is_excused())

    def _look_up(self) -> Sent | None:
        self._lookup_s = self.overlay.clock.seconds() + self._chance.expovariate(1 / LOOKUP_S)
        awake = [node for node in self.overlay.active() if node not in self.overlay.asleep]
        if not awake:
            return None
        self.lookups += 1
        return self.overlay.look_up(self.overlay.members[self._chance.choice(awake)])

    def _is_excused(self) -> bool:
        if self._disturbed:
            self._unsettled = True
        elif self._unsettled and self.overlay.is_right():
            self._unsettled = False
        return self._unsettled

    def _judge(self, excused: bool) -> None:
        found = list(self.overlay.mistakes)
        self.overlay.mistakes.clear()
        if excused:
            self.excused += len(found)
        else:
            self.wrong += len(found)
            self.mistakes += found

    # What happens.

    def note(self, what: str) -> None:
        """
        Remember that C{what} has happened.
        """
        self.faults.append(f"{self.overlay.clock.seconds() - self.began_s:.0f} s: {what}")

    def _some(self, part: float) -> list[NodeId]:
        """
        Up to C{part} of those in the ring who are awake, and never all.
        """
        there = [node for node in self.overlay.active() if node not in self.overlay.asleep]
        most = min(len(there) - 2, max(1, round(part * len(there))))
        return self._chance.sample(there, self._chance.randint(1, most)) if most >= 1 else []

    def _for_a_while(self, end: Callable[[], None]) -> float:
        last_s = self._chance.uniform(0.5, LAST_MOST_S)
        self.overlay.clock.callLater(last_s, end)
        return last_s

    def _crash(self) -> None:
        silent = self._chance.random() < 0.5
        gone = self._some(0.3)
        for node in gone:
            self.overlay.crash(node, silent)
        self._gone += gone
        self.note(f"{len(gone)} die{' with their computers' if silent else ''}")

    def _join(self) -> None:
        count = self._chance.randint(1, max(1, self._most // 4))
        for _ in range(count):
            self.overlay.join()
        self.note(f"{count} come")

    def _return(self) -> None:
        back = self._chance.sample(self._gone, self._chance.randint(1, len(self._gone))) if self._gone else []
        self._gone = [node for node in self._gone if node not in back]
        for node in back:
            self.overlay.join(node)
        self.note(f"{len(back)} come back")

    def _part(self) -> None:
        if self._disturbed:
            return  # Of two partitions at once the network knows nothing.
        nodes = self._chance.sample(sorted(self.overlay.members), len(self.overlay.members))
        parts = self._chance.randint(2, 3)
        self.overlay.network.partition([nodes[number::parts] for number in range(parts)])
        self._disturbed += 1
        last_s = self._for_a_while(self._healed)
        self.note(f"the network breaks into {parts} for {last_s:.0f} s")

    def _cut(self) -> None:
        if self._disturbed:
            return
        there = sorted(self.overlay.members)
        pairs = [self._chance.sample(there, 2) for _ in range(self._chance.randint(1, len(there)))]
        for source, target in pairs:
            self.overlay.network.block(source, target)
        self._disturbed += 1
        last_s = self._for_a_while(self._healed)
        self.note(f"{len(pairs)} ways are cut for {last_s:.0f} s")

    def _healed(self) -> None:
        self.overlay.network.heal()
        self._disturbed -= 1

    def _nap(self) -> None:
        asleep = self._some(0.3)
        for node in asleep:
            self.overlay.sleep(node)

        def wake() -> None:
            for node in asleep:
                self.overlay.wake(node)

        self.note(f"{len(asleep)} sleep for {self._for_a_while(wake):.1f} s")

    def _lose(self) -> None:
        if self._disturbed:
            return
        self.overlay.network.loss = loss = self._chance.uniform(0.001, 0.05)
        self._disturbed += 1
        last_s = self._for_a_while(self._found)
        self.note(f"{loss:.1%} of all frames are lost for {last_s:.0f} s")

    def _found(self) -> None:
        self.overlay.network.loss = 0.0
        self._disturbed -= 1


def run(seed: int, most: int, told: Told = lambda done, total: None) -> CampaignReport:
    """
    One campaign with up to C{most} nodes at first.
    """
    began_at = time.perf_counter()
    campaign = Campaign(seed, most)
    campaign.form()
    total = Random(f"faults {seed}").randint(1, FAULTS_MOST)
    for number in range(total):
        told(number, total)
        campaign.strike()
    right_s = campaign.mend()
    missing = campaign.probe()
    told(total, total)
    overlay = campaign.overlay
    return CampaignReport(
        seed,
        len(overlay.members),
        tuple(campaign.faults),
        campaign.lookups,
        campaign.wrong,
        campaign.excused,
        right_s,
        missing,
        len(overlay.failures),
        tuple(
            f"at {each.at_s - campaign.began_s:.1f} s: {each.node} instead of {each.root}"
            for each in campaign.mistakes[:10]
        ),
        overlay.clock.seconds() - campaign.began_s,
        time.perf_counter() - began_at,
    )
