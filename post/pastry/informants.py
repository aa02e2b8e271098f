"""
Whose word holds back what we would deliver (pure).

Who names nodes beside us makes us wait for them: until they have answered or are dead, what may be theirs is not
delivered.  Who names one after the other that does not exist would have us wait for ever.  So the time that we waited
in vain is counted against those who named such a node; beyond some seconds their word holds nothing any more.  What
they say is looked into all the same: only whoever answers gets a place.
"""

from __future__ import annotations

from collections.abc import Iterable

from post.ids import NodeId

VAIN_S = 15.0
"""For which one may have us wait in vain: three verdicts at their slowest.  After a disaster an honest neighbor names
those who died with all others before it knows, but all in one go."""
FORGIVEN = 0.1
"""The part of the time that passes which is forgiven.  Where sessions last a quarter of an hour, and hardly anybody is
named who is dead and was not known to us, honest ones need a hundredth."""
INFORMANTS_LIMIT = 256
"""Who is remembered for that, the last ones: more than ever name somebody beside us."""


class Informants:
    """
    Who had us wait in vain, and for how long.
    """

    __slots__ = ("_debts",)

    def __init__(self) -> None:
        self._debts: dict[NodeId, tuple[float, float]] = {}  # How much there was, and when.

    def __len__(self) -> int:
        return len(self._debts)

    def is_believed(self, node: NodeId, now: float) -> bool:
        """
        Whether we wait for whom C{node} names.
        """
        return self._debt_s(node, now) < VAIN_S

    def was_vain(self, nodes: Iterable[NodeId], since: float, now: float) -> None:
        """
        We have waited C{since} then for somebody who is not there, because C{nodes} had named it.  Waiting for several
        at once counts once.
        """
        for node in nodes:
            debt_s = self._debt_s(node, now)
            _, charged_at = self._debts.pop(node, (0.0, since))
            self._debts[node] = (debt_s + max(0.0, now - max(since, charged_at)), now)
            if len(self._debts) > INFORMANTS_LIMIT:
                del self._debts[next(iter(self._debts))]

    def _debt_s(self, node: NodeId, now: float) -> float:
        debt_s, at = self._debts.get(node, (0.0, now))
        return max(0.0, debt_s - FORGIVEN * max(0.0, now - at))
