"""
What would be lost if nodes vanished: counted from who has what (pure).

An object is lost with some set of nodes if all its holders are among them.  For one, two and three nodes two numbers
are given: of how many objects there are no more holders than that (each could be lost by somebody's misfortune), and
how many the one worst set would take at once.  The first is exact.  The second is exact as long as there are few
different sets of holders, and otherwise the worst found, which is then said.

What was counted is judged anew whenever nodes come or go (L{judge}): a copy on a computer that is away is none now.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from itertools import combinations

import msgspec

from post.ids import NodeId

DEPTH = 3
"""How many nodes may vanish in the question: one machine, two, a burglary."""
EXACT = 4000
"""Sets of nodes tried at most; a choice of three of thirty nodes.  Each costs a few microseconds per set of holders."""
SETS = 200
"""Sets of holders that are compared with each of those."""


class Kind(msgspec.Struct, frozen=True):
    """
    The objects of one class.

    @ivar copies: how many objects have so many copies, by the number of copies.
    """

    name: str
    total: int
    copies: dict[int, int]

    @property
    def fewest(self) -> int:
        """
        The copies of the object that has least.
        """
        return min(self.copies, default=0)


class Loss(msgspec.Struct, frozen=True):
    """
    If C{nodes} nodes vanished.

    @ivar exposed: objects that could be lost by it, whichever nodes they are.
    @ivar worst: objects that the worst choice would take.
    @ivar whose: that choice, in hexadecimal.
    @ivar exact: whether all choices were tried.
    """

    nodes: int
    exposed: int
    worst: int
    whose: tuple[str, ...]
    exact: bool


class Objects(msgspec.Struct, frozen=True):
    """
    What objects have in common that are counted together.

    @ivar doubtful: somebody who might have one could not be asked, so that no holders does not mean no copy.
    """

    name: str
    holders: frozenset[NodeId]
    doubtful: bool = False


class Count(msgspec.Struct, frozen=True):
    """
    What one look at a person's objects found: how many of each sort there are.  The rest as in L{Durability}.
    """

    at: float
    wanted: int
    objects: dict[Objects, int]
    messages: int
    sampled: int


class Durability(msgspec.Struct, frozen=True):
    """
    How one person's objects stand.

    @ivar at: when they were looked at, unix seconds.
    @ivar wanted: the copies that the policy asks for.
    @ivar missing: objects of which no copy was found.
    @ivar unknown: objects of which nobody could be asked, or somebody who might have one was silent and no copy was
        found.
    @ivar messages: how many messages there are, and C{sampled} how many of them were looked at.
    @ivar away: nodes that had copies when they were looked at, and are away now: theirs do not count.
    """

    at: float
    wanted: int
    kinds: tuple[Kind, ...]
    losses: tuple[Loss, ...]
    missing: int
    unknown: int
    messages: int
    sampled: int
    away: int = 0

    @property
    def total(self) -> int:
        """
        Objects that were looked at.
        """
        return sum(kind.total for kind in self.kinds)

    @property
    def spared(self) -> int:
        """
        How many nodes could vanish, whichever they are, without any object being lost of which a copy was found.
        """
        return max((loss.nodes for loss in self.losses if not loss.exposed), default=0)

    @property
    def short(self) -> int:
        """
        Objects with fewer copies than wanted, those with none included.
        """
        return sum(n for kind in self.kinds for copies, n in kind.copies.items() if copies < self.wanted)


def judge(count: Count, absent: Set[NodeId]) -> Durability:
    """
    How what was counted stands while the nodes in C{absent} are away.
    """
    held: list[tuple[str, frozenset[NodeId]]] = []
    missing = unknown = 0
    for objects, number in count.objects.items():
        holders = objects.holders - absent
        held += [(objects.name, holders)] * number
        if not holders and objects.doubtful:
            unknown += number
        elif not holders:
            missing += number
    away = frozenset().union(*(objects.holders for objects in count.objects)) & absent
    return Durability(
        count.at,
        count.wanted,
        kinds(held),
        losses(holders for _, holders in held),
        missing,
        unknown,
        count.messages,
        count.sampled,
        len(away),
    )


def kinds(found: Iterable[tuple[str, frozenset[NodeId]]]) -> tuple[Kind, ...]:
    """
    The objects by class, in the order in which the classes come first, and by number of copies.
    """
    counts: dict[str, Counter[int]] = {}
    for name, holders in found:
        counts.setdefault(name, Counter())[len(holders)] += 1
    return tuple(Kind(name, count.total(), dict(sorted(count.items()))) for name, count in counts.items())


def losses(objects: Iterable[frozenset[NodeId]], depth: int = DEPTH) -> tuple[Loss, ...]:
    """
    What would be lost if any 1 to C{depth} nodes vanished, given the holders of each object that has any.
    """
    counts = Counter(holders for holders in objects if holders)
    return tuple(_loss(counts, nodes) for nodes in range(1, depth + 1))


def _loss(counts: Mapping[frozenset[NodeId], int], nodes: int) -> Loss:
    at_risk = {holders: count for holders, count in counts.items() if len(holders) <= nodes}
    exposed = sum(at_risk.values())
    if not at_risk:
        return Loss(nodes, 0, 0, (), True)
    heaviest = sorted(at_risk, key=lambda holders: (-at_risk[holders], sorted(holders)))
    named = sorted(frozenset().union(*at_risk))
    choices = [frozenset(choice) for choice in _combinations(named, nodes)]
    exact = bool(choices) and len(heaviest) <= SETS
    # Too many to try all: the sets of holders themselves, heaviest first.
    tried = choices if exact else heaviest[:EXACT]
    compared = heaviest if exact else heaviest[:SETS]

    def taken(choice: frozenset[NodeId]) -> int:
        return sum(at_risk[holders] for holders in compared if holders <= choice)

    worst = max(tried, key=lambda choice: (taken(choice), [-node for node in sorted(choice)]))
    return Loss(nodes, exposed, taken(worst), tuple(node.hex() for node in sorted(worst)), exact)


def _combinations(named: list[NodeId], nodes: int) -> list[tuple[NodeId, ...]]:
    """
    All choices of so many nodes, none if they are too many to try.
    """
    size = min(nodes, len(named))
    number = 1
    for step in range(size):
        number = number * (len(named) - step) // (step + 1)
    return list(combinations(named, size)) if number <= EXACT else []
