"""
Linking with a node of which only an address is known.
"""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError

from post.errors import Unreachable
from post.ids import Address, Contact
from post.net.dial import Connect
from post.net.owner import AlreadyLinked
from post.net.peers import Peers

_T = TypeVar("_T")


class Introductions:
    """
    The introductions under way.

    The node that answers may turn out to be linked with us already, or to be one that we are just linking with: then
    that link is the answer.
    """

    def __init__(self, connect: Connect, peers: Peers) -> None:
        self._connect = connect
        self._peers = peers
        self._running: set[Deferred[Contact]] = set()

    def introduce(self, address: Address) -> Deferred[Contact]:
        """
        Fires with whoever is at C{address} when we are linked; fails with L{Unreachable}.
        """
        introduced = Deferred.fromCoroutine(self._introduce(address))
        if not introduced.called:
            self._running.add(introduced)
            introduced.addBoth(self._ended, introduced)
        return introduced

    async def _introduce(self, address: Address) -> Contact:
        try:
            return (await self._connect(address, None)).peer
        except AlreadyLinked as error:
            peer = self._peers.known(error.peer)
            return peer.link.peer if peer.link is not None else await peer.introduction()
        except (CancelledError, ConnectingCancelledError):
            raise Unreachable(f"{address}: given up") from None

    def _ended(self, result: _T, introduced: Deferred[Contact]) -> _T:
        self._running.discard(introduced)
        return result

    def stop(self) -> None:
        """
        Give up all.
        """
        for introduced in list(self._running):
            introduced.cancel()
