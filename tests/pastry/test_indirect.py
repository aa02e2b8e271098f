"""
Tests for L{post.pastry.indirect}: rings in which not everybody reaches everybody.
"""

from __future__ import annotations

from itertools import combinations

from post.ids import NodeId
from post.pastry.config import PastryConfig
from post.sim.reach import Reaches, unreachable
from tests.pastry.rings import Member, Rings
from tests.pastry.test_rings import RingCase

SMALL = PastryConfig(half=3)


def apart(*pairs: tuple[Member, Member]) -> Reaches:
    """
    Neither of two can dial the other.
    """
    cut = {frozenset((one.id, other.id)) for one, other in pairs}
    return lambda source, target: frozenset((source, target)) not in cut


def indirect(rings: Rings) -> set[tuple[NodeId, NodeId]]:
    """
    Who reaches whom by way of others.
    """
    return {(member.id, contact.id) for member in rings.living() for contact in member.relay.indirect()}


class SplitTests(RingCase):
    """
    Leaf sets are not split.
    """

    def test_every_pair(self) -> None:
        """
        Whichever two of a small ring do not reach each other: leaf sets are the true ones, and everything arrives.
        """
        for one, other in combinations(range(5), 2):
            rings = Rings(one * 5 + other, 5, SMALL)
            rings.network.reaches = apart((rings.members[one], rings.members[other]))
            rings.boot()
            self.assertRight(rings, 40, 20)
            between = {(rings.members[one].id, rings.members[other].id)}
            self.assertTrue(indirect(rings) <= between | {(high, low) for low, high in between})

    def test_neighbors(self) -> None:
        """
        Two neighbors on the ring reach each other by way of a third node, and each is root of its own keys.
        """
        rings = Rings(3, 20, SMALL)
        one = rings.members[6]
        other = rings.by_id[rings.truth(one, rings.members)[0][0]]
        rings.network.reaches = apart((one, other))
        rings.formed()
        self.assertRight(rings, 30)
        self.assertEqual({(one.id, other.id), (other.id, one.id)}, indirect(rings))

    def test_many_pairs(self) -> None:
        """
        The same where a tenth of all pairs are apart, and where one of two can dial the other: then there are links.
        """
        for one_way in (False, True):
            rings = Rings(5, 30, SMALL)
            rings.network.reaches = unreachable(2, 10, one_way)
            rings.boot(seeds=rings.seeds(8))
            self.assertRight(rings, 60)
            self.assertEqual(one_way, not indirect(rings))
