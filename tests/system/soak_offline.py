"""
Somebody who is off-line while machines burn, again and again with fresh seeds: C{make soak}.

C{POST_SOAK_RUNS} says how often, a tenth of it; C{POST_SOAK_SEED} repeats one run.
"""

from __future__ import annotations

import os
import random

from twisted.trial.unittest import SynchronousTestCase

from tests.system.test_offline import MESSAGES, PROMISED_S, absence, expected


class SoakTests(SynchronousTestCase):
    """
    The same with the time that is promised.
    """

    def test_soak(self) -> None:
        """
        Whichever machines burn, everything arrives exactly once, within ten seconds of coming back.
        """
        seeded = os.environ.get("POST_SOAK_SEED")
        runs = max(1, int(os.environ.get("POST_SOAK_RUNS", "200")) // 10) if seeded is None else 1
        for number in range(runs):
            seed = int(seeded) if seeded is not None else random.SystemRandom().getrandbits(32)
            returned = absence(MESSAGES, random.Random(seed))
            print(f"{number + 1}: {MESSAGES} messages in {returned.seconds:.1f} s, seed {seed}", flush=True)
            again = f"POST_SOAK_SEED={seed} make soak"
            self.assertEqual(expected(MESSAGES), sorted(returned.subjects), again)
            self.assertLess(returned.seconds, PROMISED_S, again)
