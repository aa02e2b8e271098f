"""
Tests for L{post.pastry.patience}.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from post.pastry.patience import Patience


class PatienceTests(SynchronousTestCase):
    """
    Tests for L{Patience}.
    """

    def setUp(self) -> None:
        self.patience = Patience(0.03, 0.5)

    def test_unknown(self) -> None:
        """
        Before anything is known others have a tenth of a second.
        """
        self.assertAlmostEqual(0.3, self.patience.wait_s(0.2))

    def test_prompt(self) -> None:
        """
        Where all are prompt it is the least, on top of the round trip.
        """
        for _ in range(50):
            self.patience.took(0.2, 0.2)
        self.assertAlmostEqual(0.13, self.patience.wait_s(0.1))

    def test_busy(self) -> None:
        """
        Where acknowledgements take their time nearly all of them come in the time that they are given.
        """
        chance = Random(1)
        late = 0
        for number in range(2000):
            took_s = 0.05 + chance.expovariate(1 / 0.04)
            late += number > 50 and took_s > self.patience.wait_s(0.05)
            self.patience.took(took_s, 0.05)
        self.assertLess(late, 2000 // 20)

    def test_hasty(self) -> None:
        """
        Whoever was wrong several times waits longer, with a limit.
        """
        for _ in range(50):
            self.patience.took(0.2, 0.2)
        waits = []
        for _ in range(12):
            self.patience.hasty()
            waits.append(self.patience.wait_s(0.0))
        self.assertEqual(sorted(waits), waits)
        self.assertGreater(waits[2], 0.1)
        self.assertEqual(0.5, waits[-1])

    def test_now_and_then(self) -> None:
        """
        Where one in five is late, and those are not measured since they come too late, few are taken for silent.
        """
        chance = Random(3)
        wrong = 0
        for _ in range(2000):
            late_s = 0.08 if chance.random() < 0.2 else 0.005
            if late_s > self.patience.wait_s(0.0):
                wrong += 1
                self.patience.hasty()
            else:
                self.patience.took(late_s, 0.0)
        self.assertLess(wrong, 2000 // 50)

    def test_slept(self) -> None:
        """
        One acknowledgement that took minutes, because we slept, is forgotten in some hundred.
        """
        self.patience.took(600.0, 0.1)
        self.assertEqual(0.6, self.patience.wait_s(0.1))
        for _ in range(200):
            self.patience.took(0.1, 0.1)
        self.assertAlmostEqual(0.13, self.patience.wait_s(0.1))

    def test_early(self) -> None:
        """
        A link that has become faster than it was measured to be does not make it impatient.
        """
        for _ in range(50):
            self.patience.took(0.1, 0.4)
        self.assertAlmostEqual(0.43, self.patience.wait_s(0.4))
