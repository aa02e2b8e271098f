"""
The list of what is revoked, as a notice, and what a node does with a newer one.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.crypto.revocations import Revocations, open_revocations
from post.crypto.trust import Taken, Trust
from post.interfaces import ITransport
from post.notices.board import Board

REVOKED = 1
"""The kind of this notice."""
PARTING_S = 0.5
"""From showing a revoked peer the list, so that it can say to its owner what is the matter, to cutting its link."""

Heard = Callable[[bytes, Revocations], None]


class RevokedNotice:
    """
    What one node knows to be revoked.  (A L{post.notices.board.Notice}.)

    @ivar heard: who is told of each newer list, as signed and as read, when it is in use.
    """

    log = Logger()

    kind = REVOKED

    def __init__(self, trust: Trust, board: Board, transport: ITransport, clock: IReactorTime) -> None:
        self.serial = 0
        self.data = b""
        self.list: Revocations | None = None
        self.heard: list[Heard] = []
        self._trust = trust
        self._board = board
        self._transport = transport
        self._clock = clock
        board.add(self)

    def taken(self, public_key: bytes) -> Taken | None:
        """
        Since when a key is revoked, if it is.
        """
        return self._trust.taken(public_key)

    def take(self, data: bytes) -> bool:
        """
        See L{post.notices.board.Notice.take}.
        """
        now = int(self._clock.seconds())
        found = open_revocations(data, self._trust, now)
        if found.serial <= self.serial:
            return False
        self.serial, self.data, self.list = found.serial, data, found
        self._trust.revoke(found.keys(), now)
        for contact in self._transport.links():
            certificate = self._transport.certificate(contact.id)
            if certificate is not None and self.taken(certificate.public_key) is not None:
                self._board.hand(contact, self.kind)
        self._clock.callLater(PARTING_S, self._transport.recheck)
        for heard in self.heard:
            heard(data, found)
        return True

    def use(self, data: bytes) -> None:
        """
        Take what was fetched, or found on disk, and tell others.

        @raise PeerError: if it is not authentic.
        """
        if self.take(data):
            self._board.post(self.kind)
