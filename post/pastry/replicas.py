"""
Which nodes keep what lies under a key (pure): the nearest ones, of distinct owners.

Nobody's data should hang on one person, so a second node of the same owner is passed over.  For the answer to serve for
more keys than one, L{span} tells how far around a key it stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from post.ids import RING, Key, NodeId
from post.pastry.leafset import LeafSet

_MASK = RING - 1

OwnerOf = Callable[[NodeId], str]
"""Whose a node is; something unique where that is not known."""


@dataclass(frozen=True, slots=True)
class Choice:
    """
    The nodes chosen, nearest first.

    @ivar certain: whether no node that we do not know can be nearer than these, and there are as many as were asked
        for, or no more in the whole ring.
    @ivar plain: whether nobody was passed over, so that L{span} applies.
    """

    nodes: tuple[NodeId, ...]
    certain: bool
    plain: bool


def choose(key: int, count: int, leaves: LeafSet, owner_of: OwnerOf, avoid: Collection[NodeId] = ()) -> Choice:
    """
    The C{count} nodes of distinct owners nearest to C{key}, without those to C{avoid}.
    """
    nodes: list[NodeId] = []
    owners: set[str] = set()
    seen = 0
    for node in leaves.around(key):
        seen += 1
        owner = owner_of(node)
        if node in avoid or owner in owners:
            continue
        owners.add(owner)
        nodes.append(node)
        if len(nodes) == count:
            return Choice(tuple(nodes), True, seen == count)
    return Choice(tuple(nodes), leaves.whole, seen == len(nodes))


def span(key: Key, nodes: Collection[NodeId], leaves: LeafSet) -> tuple[Key, Key]:
    """
    The range of keys, from the first clockwise to the second, to which the same C{nodes} are the nearest ones.  They
    are neighbors on the ring, chosen for C{key} without passing anybody over.

    A key leaves the range where the node beyond one end becomes nearer than the one at the other end.
    """
    around = [leaves.owner, *leaves]
    if len(nodes) >= len(around) or not nodes:
        return key, key
    by_way = sorted(around, key=lambda node: (node - key) & _MASK)
    clockwise = [node for node in by_way if node in nodes]
    # The chosen ones stand together around the key: some at the start of this order, the others at its end.
    ahead = 0
    while ahead < len(by_way) and by_way[ahead] in nodes:
        ahead += 1
    behind = len(clockwise) - ahead
    first, last = by_way[-behind] if behind else by_way[0], by_way[ahead - 1] if ahead else by_way[-1]
    before, after = by_way[-behind - 1], by_way[ahead]
    low = (before + (((last - before) & _MASK) + 1) // 2 + 1) & _MASK
    high = (first + ((after - first) & _MASK) // 2 - 1) & _MASK
    if ((key - low) & _MASK) > ((high - low) & _MASK):
        return key, key  # The key is itself on the border.
    return Key(type(key)(low)), Key(type(key)(high))
