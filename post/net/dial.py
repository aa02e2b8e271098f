"""
Addresses of nodes, and reaching a node by them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.error import ConnectError, ConnectingCancelledError, DNSLookupError
from twisted.internet.interfaces import IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from post.errors import Unreachable
from post.ids import Address, Contact, NodeId
from post.net.config import LinkConfig
from post.net.link import Link
from post.net.owner import AlreadyLinked
from post.net.peers import Peer
from post.tasks import sleep

Connect = Callable[[Address, "NodeId | None"], Coroutine[Any, Any, Link]]
"""Dials an address, expecting a certain node if it knows which; comes back when the link is up.  Raises
L{Unreachable} or L{AlreadyLinked}."""


def join_address(host: str, port: int) -> Address:
    """
    C{host:port}, an IPv6 host in brackets.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(address: Address) -> tuple[str, int]:
    """
    Host and port.

    @raise Unreachable: if it is no address.
    """
    host, colon, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not (host and colon and port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
        raise Unreachable(f"{address!r} is no address")
    return host, int(port)


async def connect(reactor: Any, address: Address, factory: IProtocolFactory, timeout_s: float) -> None:
    """
    Make a TCP connection to C{address}.

    Literal addresses, the common case, go around the resolver and its threads.

    @param reactor: any: Twisted's endpoints each ask for another interface.
    @raise Unreachable: if there is no way.
    """
    host, port = split_address(address)
    endpoint: IStreamClientEndpoint
    if isIPAddress(host):
        endpoint = TCP4ClientEndpoint(reactor, host, port, timeout_s)
    elif isIPv6Address(host):
        endpoint = TCP6ClientEndpoint(reactor, host, port, timeout_s)
    else:
        endpoint = HostnameEndpoint(reactor, host, port, timeout_s)
    try:
        await endpoint.connect(factory)
    except (ConnectError, DNSLookupError, OSError, ValueError) as error:
        raise Unreachable(f"{address}: {error}") from None


class Dialler:
    """
    Tries the addresses of a contact one after the other, for as many peers at once as is good.

    @ivar failed: told when all have failed.
    """

    log = Logger()

    def __init__(
        self, clock: IReactorTime, config: LinkConfig, connect: Connect, failed: Callable[[Peer, Contact], None]
    ) -> None:
        self._clock = clock
        self._config = config
        self._connect = connect
        self._failed = failed
        self._running = 0

    def may_dial(self, peer: Peer, contact: Contact) -> bool:
        """
        Whether it makes sense to try now.
        """
        return (
            bool(contact.addresses)
            and self._running < self._config.dial_limit
            and peer.backoff.may_try(contact, self._clock.seconds())
        )

    def dial(self, peer: Peer, contact: Contact) -> None:
        """
        Try.  Cancelling C{peer.dialling} ends it.
        """
        self._running += 1
        peer.dialling = Deferred.fromCoroutine(self._reach(peer, contact))
        peer.dialling.addBoth(self._ended)

    async def _reach(self, peer: Peer, contact: Contact) -> None:
        await sleep(self._clock, 0)  # So that no failure comes back into the call of send().
        for address in contact.addresses:
            try:
                await self._connect(address, contact.id)
                break
            except AlreadyLinked:
                break
            except Unreachable as error:
                self.log.debug("{peer} at {address}: {error}", peer=peer.id, address=address, error=error)
        peer.dialling = None
        if peer.link is None and peer.pending is None:
            self._failed(peer, contact)

    def _ended(self, result: Failure | None) -> None:
        self._running -= 1
        if isinstance(result, Failure) and not result.check(CancelledError, ConnectingCancelledError):
            self.log.failure("dialling failed", failure=result)
