"""
Secure lookups where it is known who may be in the ring (L{post.pastry.membership}): up to some thousand nodes, which is
where users are.

Who stands nearest to the key is known beforehand; it remains to find out who of them is there, and how to reach them.
If somebody is not named by the usual answer, though it stands nearer than those who were found, we go node after node
towards the key, but only on the word of those who name as many of the certified nodes around them as live around us
(L{Listed._is_open}).  Whoever hides half of its neighbors leads nowhere in this way; so we get there as long as there
is one honest node among any twelve in a row, and from many sides.

It ends when nobody is missing, or when a dozen such nodes have answered that have the key in their leaf sets, and none
of them knows of the others: then these are away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from math import sqrt

from post.ids import RING, Id, NodeId
from post.pastry.membership import Membership, presence
from post.pastry.replicas import OwnerOf
from post.pastry.ring import Ring
from post.pastry.statement import Statement
from post.pastry.survey import Survey
from post.pastry.vouching import Vouching

QUESTIONS_LIMIT = 600
"""For one lookup.  In a ring of a thousand, half of which lie, most take less than fifty."""
STRIDE = 8
"""Nodes asked at once on the way to the key."""
WITNESSES = 12
"""Of half as many liars as there are nodes, as many together are one chance in four thousand."""
DEVIATIONS = 1.5
"""What is named may be less than expected by so much: of 100 honest ones 93 are within."""
NEWCOMERS_LIMIT = 4
"""Nodes asked that no list has.  A list is a day old at most, and liars can name as many as they like."""
PATIENCE_LIMIT = 3
"""By so many deviations more, one after the other, when otherwise there is nobody left to ask."""

_HALF = RING >> 1


class Listed:
    """
    One search.

    @ivar begun: whether more than those who were found had to be asked.
    """

    def __init__(
        self,
        survey: Survey,
        members: Membership,
        ring: Ring,
        vouching: Vouching,
        owner_of: OwnerOf,
        count: int,
        avoid: Collection[NodeId],
        usual: Callable[[Membership], Awaitable[float]],
    ) -> None:
        """
        @param usual: finds out which part of those certified is there.
        """
        self.begun = False
        self._survey = survey
        self._members = members
        self._vouching = vouching
        self._owner_of = owner_of
        self._count = count
        self._avoid = avoid
        self._window = members.around(survey.key, ring.config.half)
        self._usual = usual
        self._present = 1.0
        self._patience = 0
        self._open: set[NodeId] = set()  # Who hides nobody, as far as one can see.
        self._judged: set[NodeId] = set()
        self._trusted = {ring.owner, *ring.leaves}  # Named by such.
        survey.name(ring.members())

    def missing(self) -> list[NodeId]:
        """
        Who stands nearer to the key than the last of those found, and is named by nobody; or did not answer, and is
        named by nobody who hides nobody: a liar may have named it with wrong addresses.
        """
        survey = self._survey
        last = self._reach(self._nearest())
        return [
            node
            for node in self._window
            if node.distance(survey.key) <= last
            and node not in self._avoid
            and (not survey.is_named(node) or (survey.is_silent(node) and node not in self._trusted))
        ]

    def _nearest(self) -> list[NodeId]:
        """
        Of those who answered, and those who are certified, the nearest.
        """
        survey = self._survey
        strangers = {node for node in survey.unheard() if node not in self._members}
        return survey.nearest(self._count, self._owner_of, strangers.union(self._avoid))

    def _reach(self, found: Sequence[NodeId]) -> int:
        return found[-1].distance(self._survey.key) if len(found) == self._count else RING

    async def run(self) -> bool:
        """
        @return: whether all was found out that is to be known.
        """
        survey = self._survey
        while survey.asked < QUESTIONS_LIMIT:
            asked = self._unasked(self._nearest())
            if not asked:
                if not self.missing():
                    break
                if not self.begun:
                    self.begun = True
                    self._present = await self._usual(self._members)
                self._judge()
                if self._is_witnessed():
                    break
                asked = self._onward()
                if not asked and self._patience < PATIENCE_LIMIT:
                    # Perhaps more are away near the key than elsewhere.
                    self._patience += 1
                    self._judged = self._open.copy()
                    continue
                if not asked:
                    return False
            await self._vouching.ask_all(survey, asked)
        await self._vouching.ask_all(survey, self._newcomers())
        return survey.asked < QUESTIONS_LIMIT

    def _newcomers(self) -> list[NodeId]:
        """
        Who is said to stand nearer than who was found, and is in no list: it may have been certified since.
        """
        survey = self._survey
        last = self._reach(self._nearest())
        near = [node for node in survey.around() if node.distance(survey.key) <= last]
        return self._unasked(node for node in near if node not in self._members)[:NEWCOMERS_LIMIT]

    def _unasked(self, nodes: Iterable[NodeId]) -> list[NodeId]:
        return [node for node in nodes if self._survey.untried(node) is not None]

    def _is_witnessed(self) -> bool:
        """
        Whether enough of those who hide nobody have the key in their leaf sets, and all that they name stand as close
        together as they should: by chance liars may stand so at one place, but hardly in two leaf sets' reach.
        """
        survey = self._survey
        witnesses = [survey.stated[node] for node in self._open if survey.stated[node].covers(survey.key)]
        if len(witnesses) < min(WITNESSES, round(len(self._window) * self._present)):
            return False
        named = {node for said in witnesses for node in (said.node, *said.members()) if node in self._members}
        ways = [(node - survey.key + _HALF) % RING - _HALF for node in named]
        if not named:
            return False
        low, high = (NodeId(Id((survey.key + way) % RING)) for way in (min(ways), max(ways)))
        return self._is_usual(len(named) / self._members.between(low, high), len(named))

    def _judge(self) -> None:
        """
        Trust whom those name who hide nobody, if they are trusted themselves.
        """
        survey = self._survey
        while fresh := [node for node in survey.stated if node in self._trusted and node not in self._judged]:
            for node in fresh:
                self._judged.add(node)
                if self._is_open(survey.stated[node]):
                    self._open.add(node)
                    named = (*survey.stated[node].members(), *survey.onward(node))
                    self._trusted.update(other for other in named if other in self._members)

    def _is_open(self, said: Statement) -> bool:
        """
        Whether a statement names as many of those certified as are to be expected.
        """
        return self._is_usual(presence(said, self._members), len(said.members()) + 1)

    def _is_usual(self, present: float, count: int) -> bool:
        """
        Whether C{count} nodes, which are the part C{present} of those certified around them, are no less than chance
        allows.
        """
        deviations = DEVIATIONS + self._patience
        return present >= self._present * (1 - deviations * sqrt((1 - self._present) / count))

    def _onward(self) -> list[NodeId]:
        """
        Of those who are trusted and have not been asked, the nearest to the key.
        """
        key = self._survey.key
        return sorted(self._unasked(self._trusted), key=lambda node: (node.distance(key), node))[:STRIDE]
