"""
The leaf set: the nodes nearest to us on either side of the ring (pure).

It decides who is the root of a key near us, and so who may deliver and who keeps what.  The members are kept as one
list, in the order in which one meets them going clockwise around the ring from the owner::

    owner | nearest successor ... farthest successor | gap | farthest predecessor ... nearest predecessor | owner

In a ring of up to C{2 * half} others everybody is a member.  Then the set is I{whole}: there is no gap, and we know
the root of every key.  In a larger ring nothing is known about the gap, except that whoever lives there is none of the
nearest C{half} on either side.  A set that is not whole and has fewer than C{half} members on a side has lost some and
waits for its repair; that the others have died too, and the set is whole again, takes evidence (L{LeafSet.close}).

Into the gap nobody comes who was merely met: between a stranger and our last member there may be others.  It takes
somebody who sees all of the arc from our last member to the newcomer (L{LeafSet.vouched}).

Knows nothing of addresses, liveness or time: the node above says who has come and who has gone.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from enum import IntFlag

from post.ids import RING, NodeId

HALF = 12
"""Members on a side (the papers' l is 24)."""

_MASK = RING - 1


class Side(IntFlag):
    """
    Where a node may extend a leaf set into its gap.
    """

    NEITHER = 0
    AFTER = 1
    """As the farthest successor."""
    BEFORE = 2
    """As the farthest predecessor."""
    BOTH = 3


class LeafSet:
    """
    The C{half} nodes nearest to C{owner} on either side.

    @ivar whole: whether every node of the ring is a member, as far as we know.
    @ivar version: rises with every change.
    """

    __slots__ = ("_ids", "_split", "_ways", "half", "owner", "version", "whole")

    def __init__(self, owner: NodeId, half: int = HALF) -> None:
        self.owner = owner
        self.half = half
        self.whole = True
        self.version = 0
        self._ways: list[int] = []  # How far clockwise from the owner; rising.
        self._ids: list[NodeId] = []  # Who is there.
        self._split = 0  # How many of them are successors; means nothing while the set is whole.

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[NodeId]:
        return iter(tuple(self._ids))

    def __contains__(self, node: object) -> bool:
        return isinstance(node, int) and self._at(node) is not None

    # Who is there.

    def successors(self) -> list[NodeId]:
        """
        Up to C{half} nodes going clockwise, nearest first.
        """
        return self._ids[: self.half if self.whole else self._split]

    def predecessors(self) -> list[NodeId]:
        """
        Up to C{half} nodes going counterclockwise, nearest first.
        """
        start = max(0, len(self._ids) - self.half) if self.whole else self._split
        return self._ids[start:][::-1]

    def successor(self) -> NodeId | None:
        """
        Who comes next, going clockwise.
        """
        return self._ids[0] if self._ids and (self.whole or self._split) else None

    def predecessor(self) -> NodeId | None:
        """
        Who comes next, going counterclockwise.
        """
        return self._ids[-1] if self._ids and (self.whole or self._split < len(self._ids)) else None

    def missing(self) -> tuple[int, int]:
        """
        How many successors and predecessors have to be found yet.
        """
        if self.whole:
            return 0, 0
        return self.half - self._split, self.half - (len(self._ids) - self._split)

    def ends(self) -> tuple[NodeId, NodeId]:
        """
        The farthest successor and the farthest predecessor, between which the gap lies; the owner where there is none.
        """
        after = self._ids[self._split - 1] if self._split else self.owner
        before = self._ids[self._split] if self._split < len(self._ids) else self.owner
        return after, before

    @property
    def complete(self) -> bool:
        """
        Whether nobody is missing.
        """
        return self.whole or len(self._ids) == 2 * self.half

    def copy(self) -> LeafSet:
        """
        Another one with the same members.
        """
        other = LeafSet(self.owner, self.half)
        other.whole, other._split = self.whole, self._split
        other._ways, other._ids = self._ways.copy(), self._ids.copy()
        return other

    # Who comes and goes.

    def vouched(self, node: NodeId, low: NodeId, high: NodeId) -> Side:
        """
        On which sides C{node} may come into the gap on the word of somebody who knows everybody from C{low} clockwise
        to C{high}.
        """
        after, before = self.ends()
        to_node, reach = low.clockwise(node), low.clockwise(high)
        side = Side.NEITHER
        if low.clockwise(after) <= to_node <= reach:
            side |= Side.AFTER
        if to_node <= low.clockwise(before) <= reach:
            side |= Side.BEFORE
        return side

    def wants(self, node: NodeId, sides: Side = Side.NEITHER) -> bool:
        """
        Whether C{node} would become a member, or at least tells that we do not know everybody.

        @param sides: where it may come into the gap, if that is where it is.
        """
        if node == self.owner:
            return False
        way = (node - self.owner) & _MASK
        place = bisect_left(self._ways, way)
        if place < len(self._ways) and self._ways[place] == way:
            return False
        if not self.whole and place == self._split:
            return bool(sides & self._lacking())
        return True

    def add(self, node: NodeId, sides: Side = Side.NEITHER) -> NodeId | None:
        """
        Make C{node} a member if it is wanted.

        @return: who has to go for it, if anybody: perhaps C{node} itself, which then only ended that the set was whole.
        """
        if not self.wants(node, sides):
            return None
        way = (node - self.owner) & _MASK
        place = bisect_left(self._ways, way)
        self._ways.insert(place, way)
        self._ids.insert(place, node)
        self.version += 1
        if self.whole:
            return self._overflow()
        if place < self._split or (place == self._split and self._joins_successors(place, sides)):
            self._split += 1
        predecessors = len(self._ids) - self._split
        # Whoever has no place on one side may be wanted on the other: it stands between C{node} and our last member
        # there, so the same word vouches for it.
        if self._split > self.half:
            if not sides & Side.BEFORE or predecessors >= self.half:
                return self._drop(self._split - 1)
            self._split -= 1
        elif predecessors > self.half:
            if not sides & Side.AFTER or self._split >= self.half:
                return self._drop(self._split)
            self._split += 1
        return None

    def remove(self, node: NodeId) -> bool:
        """
        Forget C{node}.

        @return: whether it was a member.
        """
        place = self._at(node)
        if place is None:
            return False
        self._drop(place)
        self.version += 1
        return True

    def close(self) -> None:
        """
        It turned out that there is nobody in the gap.
        """
        if not self.whole and len(self._ids) <= 2 * self.half:
            self.whole = True
            self.version += 1

    def open(self) -> None:
        """
        It turned out that there are nodes which we do not know.  Where, nobody said: most likely in the widest gap.
        """
        if not self.whole:
            return
        self.whole = False
        self.version += 1
        ways = [0, *self._ways, RING]
        first = max(0, len(self._ids) - self.half)
        last = min(self.half, len(self._ids))
        self._split = max(range(first, last + 1), key=lambda place: ways[place + 1] - ways[place])

    # Whose a key is.

    def covers(self, key: int) -> bool:
        """
        Whether the root of C{key} must be the owner or a member.
        """
        if self.whole:
            return True
        way = (key - self.owner) & _MASK
        split = self._split
        return (
            way == 0
            or (split > 0 and way <= self._ways[split - 1])
            or (split < len(self._ways) and way >= self._ways[split])
        )

    def closest(self, key: int) -> NodeId:
        """
        The node, the owner included, nearest to C{key}; of two equally near ones that with the smaller id.
        """
        way = (key - self.owner) & _MASK
        place = bisect_left(self._ways, way)
        behind = way - (self._ways[place - 1] if place else 0)
        ahead = (self._ways[place] if place < len(self._ways) else RING) - way
        low = self._ids[place - 1] if place else self.owner
        high = self._ids[place] if place < len(self._ids) else self.owner
        if behind == ahead:
            return min(low, high)
        return low if behind < ahead else high

    def around(self, key: int) -> Iterator[NodeId]:
        """
        The nodes, the owner included, by their distance to C{key}, nearest first (of equals the smaller id), for as
        long as it is certain that no node unknown to us is nearer than the next one.
        """
        count = len(self._ids) + 1
        way = (key - self.owner) & _MASK
        # Positions on the circle of the owner (0) and the members (1 and up): the nearest at or past the key, and the
        # one before it.  What has not been yielded is always an arc, and the nearest of an arc is at one of its ends.
        high = bisect_left(self._ways, way) + 1 if way else 0
        low = (high - 1) % count
        high %= count
        last, first = (-1, -1) if self.whole else (self._split, (self._split + 1) % count)  # The ends of the gap.
        if low == last and high == first:
            if self._apart(key, high) == 0:
                yield self._node(high)
            return
        for _ in range(count):
            behind, ahead = self._apart(key, low), self._apart(key, high)
            node_behind, node_ahead = self._node(low), self._node(high)
            if behind < ahead or (behind == ahead and node_behind < node_ahead):
                yield node_behind
                if low == first:
                    return
                low = (low - 1) % count
            else:
                yield node_ahead
                if high == last:
                    return
                high = (high + 1) % count

    def _node(self, place: int) -> NodeId:
        return self._ids[place - 1] if place else self.owner

    def _apart(self, key: int, place: int) -> int:
        way = ((self._ways[place - 1] if place else 0) - (key - self.owner)) & _MASK
        return min(way, RING - way)

    def _at(self, node: int) -> int | None:
        way = (node - self.owner) & _MASK
        place = bisect_left(self._ways, way)
        return place if place < len(self._ways) and self._ways[place] == way else None

    def _lacking(self) -> Side:
        """
        The sides that lack members.
        """
        after, before = self.missing()
        return (Side.AFTER if after else Side.NEITHER) | (Side.BEFORE if before else Side.NEITHER)

    def _joins_successors(self, place: int, sides: Side) -> bool:
        """
        To which side whoever was just put into the gap belongs: where it may, and if on both, to the nearer one.
        """
        lacking = Side.AFTER if self._split < self.half else Side.NEITHER
        if len(self._ids) - 1 - self._split < self.half:
            lacking |= Side.BEFORE
        if sides & lacking != Side.BOTH:
            return sides & lacking == Side.AFTER
        way = self._ways[place]
        behind = way - (self._ways[place - 1] if place else 0)
        ahead = (self._ways[place + 1] if place + 1 < len(self._ways) else RING) - way
        return behind <= ahead

    def _overflow(self) -> NodeId | None:
        if len(self._ids) <= 2 * self.half:
            return None
        self.whole = False
        self._split = self.half + 1
        return self._drop(self.half)

    def _drop(self, place: int) -> NodeId:
        node = self._ids.pop(place)
        del self._ways[place]
        if place < self._split:
            self._split -= 1
        return node
