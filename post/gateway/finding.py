"""
Finding the ring when none of the nodes that are known answers: what the authority has told meanwhile, and what the
domain name system says (SRV, RFC 2782), under C{_post._tcp} and the mail domain.

::

    _post._tcp.example.org. 3600 IN SRV 10 0 7654 office.example.org.

Whoever answers DNS is believed nothing: a link is only made with a node that has a certificate of our authority, and
at worst some strangers are called in vain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.config import is_address
from post.errors import NotFound
from post.gateway.dns import Dns, DnsUnavailable, make_resolver
from post.ids import Address
from post.tasks import Tasks, sleep

SERVICE = "_post._tcp"
FIRST_S = 10.0
"""From the start to the first look.  Where nodes are on-line that are known, the ring is entered sooner."""
MOST_S = 600.0
"""Between two looks at last; the time doubles until then."""
FOUND_LIMIT = 16
"""Addresses taken of one answer: one node that is on-line is enough."""


async def ring_addresses(dns: Dns, domain: str, random: Random) -> tuple[Address, ...]:
    """
    Where nodes of the domain's ring are, by DNS: in the order of their priority, and of one priority in any.

    @raise NotFound: if there is no record, or it says that there is no ring.
    @raise DnsUnavailable: if it cannot be known now.
    """
    services = [each for each in await dns.srv(f"{SERVICE}.{domain}") if each.host and each.port]
    if not services:
        raise NotFound(f"{domain} has no ring that DNS knows of")
    random.shuffle(services)
    services.sort(key=lambda each: each.priority)
    # A target is a name (RFC 2782); an address in its place would not be one that anybody has checked.
    named = (f"{each.host}:{each.port}" for each in services if not is_address(each.host))
    return tuple(dict.fromkeys(named))[:FOUND_LIMIT]


class Finding:
    """
    For a node that is not in the ring yet.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        random: Random,
        told: Callable[[], Sequence[Address]],
        ask: Callable[[], Dns] | None,
        domain: str,
        use: Callable[[Sequence[Address]], bool],
    ) -> None:
        """
        @param told: the addresses of nodes that the authority has told, by now.
        @param ask: what asks DNS, made when it is needed; C{None} if it is not to be asked.
        @param use: tries these too; returns whether there were any that had not been tried.
        """
        self._clock = clock
        self._random = random
        self._told = told
        self._make = ask
        self._domain = domain
        self._use = use
        self._dns: Dns | None = None
        self._tasks = Tasks()

    def start(self) -> None:
        """
        Look, until L{stop}.
        """
        self._tasks.spawn(self._run())

    def stop(self) -> None:
        """
        The ring is found, or nobody looks for it any longer.
        """
        self._tasks.stop()
        if self._dns is not None:
            self._dns.stop()
            self._dns = None

    async def _run(self) -> None:
        pause_s = FIRST_S
        while True:
            await sleep(self._clock, pause_s * self._random.uniform(0.9, 1.1))
            pause_s = min(2 * pause_s, MOST_S)
            if not self._use(self._told()) and self._make is not None:
                await self._ask(self._make)

    async def _ask(self, make: Callable[[], Dns]) -> None:
        self._dns = self._dns or make()
        try:
            found = await ring_addresses(self._dns, self._domain, self._random)
        except (NotFound, DnsUnavailable) as error:
            self.log.info("DNS does not say where the ring is: {error}", error=error)
            return
        if self._use(found):
            self.log.info("DNS names {count} nodes, which are tried too", count=len(found))


def find(
    reactor: Any,  # UDP, TCP and time.
    resolver: str,
    told: Callable[[], Sequence[Address]],
    domain: str,
    use: Callable[[Sequence[Address]], bool],
) -> Finding:
    """
    What looks, on the real network; C{resolver} is as C{links.dns} says.
    """

    def ask() -> Dns:
        return Dns(make_resolver(reactor, resolver), reactor)

    return Finding(reactor, SystemRandom(), told, None if resolver == "none" else ask, domain, use)
