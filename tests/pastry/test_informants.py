"""
Tests for L{post.pastry.informants}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.pastry.informants import FORGIVEN, INFORMANTS_LIMIT, VAIN_S, Informants
from tests.pastry.strategies import node


class InformantsTests(SynchronousTestCase):
    """
    Tests of L{Informants}.
    """

    def test_vain(self) -> None:
        """
        Who had us wait in vain for too long is not believed until enough of it is forgiven; another one is.
        """
        informants = Informants()
        informants.was_vain([node(1)], 100.0, 100.0 + VAIN_S - 1)
        self.assertTrue(informants.is_believed(node(1), 100.0 + VAIN_S))
        informants.was_vain([node(1)], 200.0, 200.0 + VAIN_S)
        self.assertFalse(informants.is_believed(node(1), 200.0 + VAIN_S))
        self.assertTrue(informants.is_believed(node(2), 200.0 + VAIN_S))
        self.assertTrue(informants.is_believed(node(1), 200.0 + VAIN_S + VAIN_S / FORGIVEN))

    def test_at_once(self) -> None:
        """
        Waiting for many at the same time counts once: after a disaster an honest node names many who are dead.
        """
        informants = Informants()
        for _ in range(24):
            informants.was_vain([node(1)], 100.0, 105.0)
        self.assertTrue(informants.is_believed(node(1), 105.0))
        self.assertEqual((5.0, 105.0), informants._debts[node(1)])

    def test_clock_set_back(self) -> None:
        """
        A clock that was set back makes no debts.
        """
        informants = Informants()
        informants.was_vain([node(1)], 100.0, 50.0)
        self.assertTrue(informants.is_believed(node(1), 10.0))

    def test_bounded(self) -> None:
        """
        So many are remembered and no more.
        """
        informants = Informants()
        for number in range(INFORMANTS_LIMIT + 50):
            informants.was_vain([node(number)], 100.0, 101.0)
        self.assertEqual(INFORMANTS_LIMIT, len(informants))
