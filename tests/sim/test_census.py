"""
Frames by what they carry.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.ids import Key
from post.sim.census import Census
from post.sim.overlay import Overlay


class CensusTests(SynchronousTestCase):
    """
    Tests of L{Census}.
    """

    def test_counts(self) -> None:
        """
        Questions, answers and what is merely told count under their names, and together they are all frames.
        """
        overlay = Overlay(1)
        overlay.found(2)
        census = Census(overlay.network)
        one, two = overlay.active()
        overlay.look_up(overlay.members[one], Key(two))
        overlay.clock.advance(60)
        self.assertEqual((1, 1), (census.counts["Route"], census.counts["Taken"]))
        self.assertTrue(census.counts["Heartbeat"] > 5, census.counts)
        self.assertEqual(0, census.counts["other"])
        self.assertEqual(overlay.network.frames, census.without())
        self.assertEqual(census.without(), census.without("Route", "Heartbeat") + census.of("Route", "Heartbeat"))
        census.stop()
        counted = census.without()
        overlay.clock.advance(60)
        self.assertEqual(counted, census.without())
        self.assertTrue(overlay.network.frames > counted)
