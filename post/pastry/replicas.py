"""
Which nodes keep what lies under a key (pure): the nearest ones, of distinct owners.

Nobody's data should hang on one person, so a second node of the same owner is passed over.  For the answer to serve for
more keys than one, L{span} tells how far around a key it stays the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from post.ids import RING, Id, Key, NodeId
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
    were chosen for C{key} without passing anybody over.

    One of them is nearer than some other node on just half of the ring: from the middle between the two, past itself,
    to the point opposite.  The range is what all these halves have in common.
    """
    others = {int(node) for node in (leaves.owner, *leaves) if node not in nodes}
    if not leaves.whole:
        # Somebody may live right behind our farthest members.
        after, before = leaves.ends()
        others |= {(after + 1) & _MASK, (before - 1) & _MASK}
    behind = ahead = _MASK
    for node in nodes:
        for other in others:
            way = (node - other) & _MASK
            low, high = other + way // 2 + 1, node + (RING - way - 1) // 2
            if ((key - low) & _MASK) > ((high - low) & _MASK):
                return key, key  # It is itself in the middle.
            behind, ahead = min(behind, (key - low) & _MASK), min(ahead, (high - key) & _MASK)
    if behind + ahead >= _MASK:
        return key, key  # The nodes are the whole ring; no range need be remembered for that.
    return Key(Id((key - behind) & _MASK)), Key(Id((key + ahead) & _MASK))
