"""
Computers that are switched off and on again, or never again.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from post.ids import Handle
from post.sim.hosts import Host, Hosts

Left = Callable[[set[Handle]], None]
"""Is told what was on the disk of a node that has just gone."""


class Turnover:
    """
    Each is up, and then off, for times that are exponentially distributed.  In place of one that does not come back
    there comes another one, with an empty disk.

    @ivar stays_s: how long those were up that went; C{aways_s}: how long those were off that came.
    @ivar gone: how many went for good.
    """

    def __init__(
        self, hosts: Hosts, chance: Random, session_s: float, off_s: float, gone_part: float, left: Left
    ) -> None:
        """
        @param session_s: the mean time up; 0: nobody goes.
        @param off_s: the mean time off.
        @param gone_part: of those that go, which part does so for good.
        """
        self.stays_s: list[float] = []
        self.aways_s: list[float] = []
        self.gone = 0
        self._hosts = hosts
        self._clock = hosts.overlay.clock
        self._chance = chance
        self._session_s = session_s
        self._off_s = off_s
        self._gone_part = gone_part
        self._left = left
        self._goes_on = session_s > 0

    def begin(self) -> None:
        """
        Whoever is there may go from now on.
        """
        for host in list(self._hosts.all.values()):
            self._stay(host)

    def end(self) -> None:
        """
        Nobody goes any more; those that are off come back when they would have.
        """
        self._goes_on = False

    def _stay(self, host: Host) -> None:
        if self._goes_on:
            stay_s = self._chance.expovariate(1 / self._session_s)
            self._clock.callLater(stay_s, self._leave, host, stay_s)

    def _leave(self, host: Host, stayed_s: float) -> None:
        if not self._goes_on:
            return
        if host.up and sum(each.up for each in self._hosts.up()) == 1:
            # Who comes needs somebody to come to: the last one stays.
            self._stay(host)
            return
        had = set(self._hosts.ledger.objects(host.id))
        is_gone = self._chance.random() < self._gone_part
        self.stays_s.append(stayed_s)
        self.gone += is_gone
        host.crash(is_gone)
        self._left(had)
        away_s = self._chance.expovariate(1 / self._off_s)
        self._clock.callLater(away_s, self._come, None if is_gone else host, away_s)

    def _come(self, host: Host | None, away_s: float) -> None:
        self.aways_s.append(away_s)
        host = self._hosts.buy() if host is None else host
        host.boot()
        self._stay(host)
