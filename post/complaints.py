"""
The misdeeds of peers: counted always, logged once per peer, kind and minute.
"""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

PEERS_LIMIT = 10_000
"""Pairs of peer and kind remembered for the once-a-minute rule; past that all are forgotten at once."""


class Complaints:
    """
    Where a node notes what others did wrong.
    """

    __slots__ = (
        "_clock",
        "_last",
        "counts",
    )

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._last: dict[tuple[str, str], float] = {}
        self.counts: Counter[str] = Counter()

    def note(self, peer: object, kind: str, detail: object = "") -> None:
        """
        C{peer} did C{kind} (a constant phrase).  C{detail} must hold no secrets; it is cut at 200 characters.
        """
        self.counts[kind] += 1
        now = self._clock.seconds()
        key = (str(peer), kind)
        # A clock that was set back must not silence us until it has caught up.
        if 0 <= now - self._last.get(key, float("-inf")) < 60:
            return
        if len(self._last) >= PEERS_LIMIT:
            self._last.clear()
        self._last[key] = now
        # It may quote the peer, who should not draw in the terminal of whoever reads the log.
        shown = "".join(each if each.isprintable() else "?" for each in str(detail)[:200])
        self.log.warn("{peer}: {kind}: {detail}", peer=key[0], kind=kind, detail=shown)
