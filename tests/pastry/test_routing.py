"""
Tests for L{post.pastry.routing}.
"""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ids import BITS, Contact, NodeId
from post.pastry.leafset import LeafSet
from post.pastry.roster import Entry, Roster
from post.pastry.routing import next_hop
from post.pastry.table import RoutingTable
from tests.pastry.strategies import node, nodes, points

HALF = 2


def views(everybody: list[NodeId], holes: int = 0) -> dict[NodeId, tuple[LeafSet, RoutingTable]]:
    """
    What each node knows: a right leaf set, and a table of which each C{holes}-th entry is missing.
    """
    found = {}
    for owner in everybody:
        leaves, table = LeafSet(owner, HALF), RoutingTable(owner)
        for number, other in enumerate(everybody):
            leaves.add(other)
            if not holes or number % holes:
                table.add(other)
        found[owner] = (leaves, table)
    return found


def way(key: int, start: NodeId, known: dict[NodeId, tuple[LeafSet, RoutingTable]]) -> list[NodeId]:
    """
    The nodes that a message passes.
    """
    path = [start]
    while len(path) < 50:
        hop = next_hop(key, *known[path[-1]])
        if hop == path[-1]:
            break
        path.append(hop)
    return path


def roster_of(owner: NodeId, everybody: set[NodeId]) -> Roster:
    """
    The roster of C{owner}, which has C{everybody}.
    """
    roster = Roster(Contact(owner, (), 1))
    for each in everybody - {owner}:
        roster.take(Entry(Contact(each, (), 1), 1), 0.0)
    return roster


class NextHopTests(SynchronousTestCase):
    """
    Tests for L{next_hop}.
    """

    @given(st.lists(nodes, min_size=1, max_size=30, unique=True), points, st.integers(0, 3))
    def test_reaches_root(self, everybody: list[NodeId], key: int, holes: int) -> None:
        """
        From everywhere a message comes to the node nearest to its key, however thin the tables are.
        """
        known = views(everybody, holes)
        root = min(everybody, key=lambda each: (each.distance(key), each))
        for start in everybody:
            self.assertEqual(root, way(key, start, known)[-1])

    @given(st.lists(nodes, min_size=1, max_size=30, unique=True), points, st.integers(0, 3), st.data())
    def test_any_rosters(self, everybody: list[NodeId], key: int, holes: int, data: st.DataObject) -> None:
        """
        However little of the ring anybody's roster has, or none, a message comes to the root, and after the first hop
        each one but the last shares more digits with the key, or as many and is nearer to it.
        """
        known = views(everybody, holes)
        root = min(everybody, key=lambda each: (each.distance(key), each))
        rosters = {each: data.draw(st.none() | st.sets(st.sampled_from(everybody))) for each in everybody}
        for start in everybody:
            path = [start]
            while len(path) < 50:
                listed = rosters[path[-1]]
                roster = None if listed is None else roster_of(path[-1], listed)
                hop = next_hop(key, *known[path[-1]], (), roster, len(path) == 1)
                if hop == path[-1]:
                    break
                path.append(hop)
            self.assertEqual(root, path[-1])
            far = [each for each in path[1:] if not known[each][0].covers(key)]
            ranks = [(each.shared_digits(key), -each.distance(key)) for each in far]
            self.assertEqual(sorted(set(ranks)), ranks)

    @given(st.lists(nodes, min_size=1, max_size=40, unique=True), points)
    def test_one_hop(self, everybody: list[NodeId], key: int) -> None:
        """
        Whoever has everybody in its roster is one hop from any root.
        """
        known = views(everybody)
        root = min(everybody, key=lambda each: (each.distance(key), each))
        for start in everybody:
            hop = next_hop(key, *known[start], (), roster_of(start, set(everybody)), first=True)
            self.assertEqual(root.distance(key), hop.distance(key))

    def test_few_hops(self) -> None:
        """
        With full tables a way among 200 nodes is about as long as an id has significant digits.
        """
        random = Random(1)
        everybody = [node(random.getrandbits(BITS)) for _ in range(200)]
        known = views(everybody)
        longest = max(len(way(random.getrandbits(BITS), random.choice(everybody), known)) - 1 for _ in range(300))
        self.assertTrue(longest <= 4, longest)

    @given(st.lists(nodes, min_size=1, max_size=30, unique=True), points, st.data())
    def test_avoids(self, everybody: list[NodeId], key: int, data: st.DataObject) -> None:
        """
        Nobody that is to be avoided is chosen, and each hop is nearer to the key or shares more digits with it.
        """
        owner = everybody[0]
        leaves, table = views(everybody)[owner]
        avoid = data.draw(st.sets(st.sampled_from(everybody)))
        hop = next_hop(key, leaves, table, avoid)
        self.assertTrue(hop == owner or hop not in avoid)
        if hop != owner:
            nearer = (hop.distance(key), hop) < (owner.distance(key), owner)
            self.assertTrue(nearer or hop.shared_digits(key) > owner.shared_digits(key))
