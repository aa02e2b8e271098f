"""
Tests for L{post.pastry.wider}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.ids import Contact
from post.pastry.messages import Probe, Probed, Reach
from post.pastry.ring import prefixes
from post.pastry.wider import DOUBT_S, DOUBTED_LIMIT, TRIAL_S, Wider
from tests.pastry.strategies import node

FULL = Reach(False, True, node(40), node(-40), 4)


class WiderTests(SynchronousTestCase):
    """
    Tests of L{Wider} where a full leaf set has four members.
    """

    def setUp(self) -> None:
        self.wider = Wider(4)

    def test_doubted(self) -> None:
        """
        Who says so for too long is doubted, for a while.
        """
        self.wider.said(node(1), 100.0)
        self.wider.said(node(1), 140.0)
        self.assertFalse(self.wider.judge(100.0 + TRIAL_S, 4))
        self.assertFalse(self.wider.is_doubted(node(1)))
        self.assertTrue(self.wider.judge(101.0 + TRIAL_S, 4))
        self.assertTrue(self.wider.is_doubted(node(1)))
        self.assertFalse(self.wider.judge(102.0 + TRIAL_S, 4))
        self.wider.judge(101.0 + TRIAL_S + DOUBT_S, 4)
        self.assertFalse(self.wider.is_doubted(node(1)))

    def test_most(self) -> None:
        """
        What half of those whom we know say is believed, however long it takes.
        """
        for point in (1, 2):
            self.wider.said(node(point), 100.0)
        self.assertFalse(self.wider.judge(1000.0, 4))
        self.assertTrue(self.wider.judge(1000.0, 5))

    def test_settled(self) -> None:
        """
        When we lacked members for a while, and then no more, what was said counts for nothing.
        """
        self.wider.said(node(1), 100.0)
        self.wider.settled()
        self.assertFalse(self.wider.judge(1000.0, 9))

    def test_fits(self) -> None:
        """
        A full leaf set consists of us, those whom we know but for the one itself, and those that are named; a node that
        lacks nobody is named but some.
        """
        gap = Reach(True, True, node(0), node(0), 2)
        asked = Probe(True, gap, prefixes([node(1), node(2)]))
        named = tuple(Contact(node(point)) for point in (3, 4))
        self.assertTrue(self.wider.fits(node(1), asked, Probed(True, FULL, named)))
        self.assertFalse(self.wider.fits(node(1), asked, Probed(True, FULL, named[:1])))
        self.assertTrue(self.wider.fits(node(9), asked, Probed(True, FULL, named[:1])))
        self.assertTrue(self.wider.fits(node(1), Probe(True, FULL, b""), Probed(True, FULL)))

    def test_bounded(self) -> None:
        """
        So many are remembered and no more.
        """
        for number in range(3 * DOUBTED_LIMIT):
            self.wider.said(node(number), float(number))
            self.wider.judge(number + 2 * TRIAL_S, 1000)
        self.assertLessEqual(len(self.wider._doubted), DOUBTED_LIMIT)
        self.assertLessEqual(len(self.wider._since), DOUBTED_LIMIT)
