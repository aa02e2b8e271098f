"""
Which messages there are: frames that arrive, by what they carry.
"""

from __future__ import annotations

from collections import Counter

from post.ids import NodeId
from post.rpc import body_of
from post.sim.network import SimNetwork
from post.wire import kind_of

OTHER = "other"
"""Frames that go on with a message which did not fit into one, and what is none."""
DISTANCE = ("ShareRow", "Row")
"""What finds out who is near in the network, and what keeps the rows of the table full."""
UPKEEP = ("Heartbeat",)
"""What is said by those to whom nothing happens."""


class Census:
    """
    Counts, from when it is made until it is stopped.

    @ivar counts: frames by the name of the message; an answer counts under its own.
    """

    def __init__(self, network: SimNetwork) -> None:
        self.counts: Counter[str] = Counter()
        self._network = network
        network.observer = self._note

    def _note(self, source: NodeId, target: NodeId, frame: bytes) -> None:
        kind = kind_of(body_of(frame))
        self.counts[OTHER if kind is None else kind.__name__] += 1

    def stop(self) -> None:
        """
        Count no further.
        """
        self._network.observer = None

    def without(self, *names: str) -> int:
        """
        All frames but those that carry these.
        """
        return sum(count for name, count in self.counts.items() if name not in names)

    def of(self, *names: str) -> int:
        """
        Those that do.
        """
        return sum(self.counts[name] for name in names)
