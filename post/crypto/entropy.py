"""
Where unguessable bytes come from: the one place that asks the operating system, and a stand-in that a seed decides.
"""

from __future__ import annotations

import os
from hashlib import sha256

from post.interfaces import Entropy

system_entropy: Entropy = os.urandom


class SeededEntropy:
    """
    Bytes that follow from a seed: for the simulator and for tests, never for keys of people.
    """

    def __init__(self, seed: bytes) -> None:
        self._seed = sha256(b"post:seeded-entropy\0" + seed).digest()
        self._counter = 0

    def __call__(self, size: int) -> bytes:
        """
        The next C{size} bytes.
        """
        out = b""
        while len(out) < size:
            out += sha256(self._seed + self._counter.to_bytes(8, "big")).digest()
            self._counter += 1
        return out[:size]
