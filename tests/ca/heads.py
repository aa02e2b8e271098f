"""
What passes for the notice of the public log's head, without a ring.
"""

from __future__ import annotations

from post.crypto.issuance import Head, read_head
from post.notices.issuance import Heard


class FakeHeads:
    """
    What is used of L{post.notices.issuance.IssuanceNotice}; whatever comes is authentic.

    @ivar used: the heads that this node has told the others.
    @ivar shown: what it has shown them because it contradicts.
    """

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self.used: list[Head] = []
        self.shown: list[tuple[bytes, ...]] = []

    def take(self, data: bytes) -> None:
        """
        A head comes from another node.
        """
        for heard in self.heard:
            heard(data, read_head(data))

    def use(self, data: bytes) -> None:
        """
        This node has fetched a head.
        """
        self.used.append(read_head(data))
        self.take(data)

    def spread(self, heads: tuple[bytes, ...]) -> None:
        """
        Heads that contradict one another are shown.
        """
        self.shown.append(heads)
