"""
Secure lookups where it is not known who may be in the ring, or too many are: by the density of what is claimed, and
over redundant ways (Castro et al., OSDI 2002, section 5).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from random import Random

from post.ids import NodeId
from post.pastry.density import DOUBTED, checks, step
from post.pastry.replicas import OwnerOf
from post.pastry.survey import Survey
from post.pastry.vouching import Vouching

WAYS = (4, 8, 18)
"""Ways in each group: 30 in all, which the paper finds to suffice where 30 % lie."""
HOPS_LIMIT = 12
"""Nodes on a way.  A ring of a million needs five."""
ROUNDS_LIMIT = 8
"""How often others are asked because those before named somebody new, or did not answer."""


class Ways:
    """
    One search.

    @ivar begun: how many ways.
    """

    def __init__(
        self,
        survey: Survey,
        usual: float,
        half: int,
        random: Random,
        vouching: Vouching,
        owner_of: OwnerOf,
        count: int,
        avoid: Collection[NodeId],
    ) -> None:
        """
        @param usual: how far apart nodes stand in this ring.
        @param half: how many on a side of the key are looked at.
        """
        self.begun = 0
        self._survey = survey
        self._usual = usual
        self._half = half
        self._random = random
        self._vouching = vouching
        self._owner_of = owner_of
        self._count = count
        self._avoid = avoid

    async def run(self, firsts: list[NodeId]) -> bool:
        """
        Go ways that begin at C{firsts}, until the test holds.

        @return: whether it does.
        """
        for ways in WAYS:
            group, firsts = firsts[:ways], firsts[ways:]
            self.begun += len(group)
            await self.go(group)
            if await self.holds(last=not firsts or ways == WAYS[-1]):
                return True
        return False

    async def go(self, hops: Iterable[NodeId]) -> None:
        """
        All ways that begin at C{hops}, side by side.
        """
        for _ in range(HOPS_LIMIT):
            await self._vouching.ask_all(self._survey, hops)
            hops = dict.fromkeys(onward for hop in hops for onward in self._survey.onward(hop))
            if not hops:
                return

    async def holds(self, last: bool = False) -> bool:
        """
        Whether what is known around the key passes the test, when the nearest and some of the others have been asked;
        all of them, if this is the C{last} time.
        """
        survey = self._survey
        for _ in range(ROUNDS_LIMIT):
            window = survey.window(self._half)
            ratio = step(window) / self._usual
            asked = survey.nearest(self._count, self._owner_of, self._avoid)
            if last:
                asked += window
            elif ratio <= DOUBTED:
                # Once ways were gone, honest nodes on one side may make up for liars on the other.
                asked += self._drawn(window, checks(ratio) * (2 if self.begun else 1))
            fresh = [node for node in asked if survey.untried(node) is not None]
            if not fresh:
                return ratio <= DOUBTED
            await self._vouching.ask_all(survey, fresh)
        return False

    def _drawn(self, window: list[NodeId], wanted: int) -> list[NodeId]:
        """
        C{wanted} of C{window} that were chosen by chance, after it was known who is in it.
        """
        checked = self._survey.checked
        there = [node for node in window if node in checked]
        others = [node for node in window if node not in checked]
        drawn = self._random.sample(others, min(len(others), max(0, wanted - len(there))))
        checked.update(drawn)
        return [*there, *drawn]
