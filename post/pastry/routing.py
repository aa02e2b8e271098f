"""
Where a message goes next (pure; Pastry, figure 2).

Each hop shares a longer prefix with the key than the one before, or an equally long one and is nearer to the key, so a
message never goes in circles as long as everybody's view of who is alive agrees; L{post.pastry.node} bounds the hops
for the times when it does not.

In a small ring the roster knows everybody, and the nearest of all to the key goes first.  It obeys the same rule, so
however much is missing from it or wrong in it, it costs hops and makes no circle.  Only the first hop is exempt: one
step that goes anywhere nearer cannot be part of a circle, and without it whatever is just beyond the border of a common
prefix would be two hops away.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import chain

from post.ids import NodeId
from post.pastry.leafset import LeafSet
from post.pastry.roster import Roster
from post.pastry.table import RoutingTable


def next_hop(
    key: int,
    leaves: LeafSet,
    table: RoutingTable,
    avoid: Collection[NodeId] = (),
    roster: Roster | None = None,
    first: bool = False,
) -> NodeId:
    """
    The next node on the way to the root of C{key}; C{leaves.owner} if nobody that we know is a better one.

    @param avoid: nodes that may be dead: the message goes around them.
    @param first: whether the message has not gone over any hop yet.
    """
    if leaves.covers(key):
        closest = leaves.closest(key)
        if closest not in avoid:
            return closest
        return _nearest(key, leaves, avoid)
    if roster is not None:
        nearest = roster.toward(key, avoid, first)
        if nearest is not None:
            return nearest
    entry = table.toward(key)
    if entry is not None and entry not in avoid:
        return entry
    return _detour(key, leaves, table, avoid)


def _nearest(key: int, leaves: LeafSet, avoid: Collection[NodeId]) -> NodeId:
    owner = leaves.owner
    best, best_distance = owner, owner.distance(key)
    for node in leaves:
        distance = node.distance(key)
        if (distance, node) < (best_distance, best) and node not in avoid:
            best, best_distance = node, distance
    return best


def _detour(key: int, leaves: LeafSet, table: RoutingTable, avoid: Collection[NodeId]) -> NodeId:
    """
    The place in the table is empty: of all that share at least as long a prefix with the key as we do, the nearest to
    it (Pastry's rare case).
    """
    owner = leaves.owner
    shared = owner.shared_digits(key)
    best, best_distance = owner, owner.distance(key)
    rows = chain.from_iterable(table.row(row) for row in range(shared, table.depth))
    for node in chain(leaves, rows):
        distance = node.distance(key)
        if distance < best_distance and node.shared_digits(key) >= shared and node not in avoid:
            best, best_distance = node, distance
    return best
