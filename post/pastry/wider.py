"""
Who says that the ring is larger than we know (pure).

A node that has a full leaf set, and does not see the whole ring by that, proves to one with fewer members that it lacks
somebody: so a small ring finds out that it is a part of a larger one.  But it is only said, and while we look for those
whom we lack, nobody takes what is beyond our last members.  Who says so and lies could keep up a small ring for ever.

So what it says must fit together: each of its members is one that we said we know, or us, or is named in its answer.
And it must lead somewhere: if our leaf set is not full after a while, and most of those whom we know do not say so, it
is not believed any more.  Those whom it names are looked for all the same, and who is there is found.
"""

from __future__ import annotations

from post.ids import NodeId
from post.pastry.messages import Probe, Probed

TRIAL_S = 45.0
"""For which somebody may say so without our leaf set being full: longer than it takes to repair one from its ends."""
DOUBT_S = 3600.0
"""For which it is not believed then."""
DOUBTED_LIMIT = 64
"""Who is remembered for that: more than can be in a leaf set."""


class Wider:
    """
    What is said of it.
    """

    __slots__ = ("_doubted", "_full", "_since")

    def __init__(self, full: int) -> None:
        """
        @param full: members of a full leaf set.
        """
        self._full = full
        self._since: dict[NodeId, float] = {}  # Who says so, and since when, while we lack members.
        self._doubted: dict[NodeId, float] = {}

    def is_doubted(self, node: NodeId | None) -> bool:
        """
        Whether C{node} said so in vain.
        """
        return node in self._doubted

    def said(self, node: NodeId, now: float) -> None:
        """
        C{node} says so, and we do lack members.
        """
        if node in self._since or len(self._since) < DOUBTED_LIMIT:
            self._since.setdefault(node, now)

    def settled(self) -> None:
        """
        We do not lack members any more.
        """
        self._since.clear()

    def judge(self, now: float, count: int) -> bool:
        """
        See who has said so for too long, while there are C{count} in our leaf set.

        @return: whether somebody is doubted who was not.
        """
        self._doubted = {node: at for node, at in self._doubted.items() if now - at < DOUBT_S}
        overdue = [node for node, at in self._since.items() if now - at > TRIAL_S]
        if not overdue or 2 * len(self._since) >= count:
            return False
        overdue = overdue[: DOUBTED_LIMIT - len(self._doubted)]
        for node in overdue:
            del self._since[node]
            self._doubted[node] = now
        return bool(overdue)

    def fits(self, node: NodeId, probe: Probe, answer: Probed) -> bool:
        """
        Whether C{node}, asked with C{probe}, may have a full leaf set and answer that.  If we lack nobody, it names but
        some of its members; otherwise all that we have not said we know.
        """
        if probe.reach.complete and not probe.reach.whole:
            return True
        itself = (node & 0xFFFFFFFF).to_bytes(4, "big")
        known = {probe.known[at : at + 4] for at in range(0, len(probe.known), 4)} - {itself}
        return 1 + len(known) + len(answer.news) >= self._full
