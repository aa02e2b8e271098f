"""
The head of the authority's public log, as a notice: so that nodes compare what they have been shown.

An authority that shows one log to some and another to others would have to keep them from ever meeting.  Here every
head travels on from node to node, and whoever watches the log (L{post.ca.watching}) is told of each that comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IReactorTime

from post.crypto.issuance import Head, open_head
from post.ids import Contact
from post.interfaces import ITransport
from post.notices.board import Board
from post.notices.messages import Shown
from post.rpc import Rpc

ISSUANCE = 2
"""The kind of this notice."""

PROOF_LIMIT = 32
"""Heads of several logs that are shown to whoever is met: one of each is enough."""

Heard = Callable[[bytes, Head], None]


class IssuanceNotice:
    """
    The highest head that one node has seen, whether it has the log up to there or not.  (A
    L{post.notices.board.Notice}.)

    @ivar heard: who is told of each authentic head, as signed and as read.
    """

    kind = ISSUANCE

    def __init__(self, root: bytes, board: Board, rpc: Rpc, clock: IReactorTime) -> None:
        self.serial = 0
        self.data = b""
        self.heard: list[Heard] = []
        self._root = root
        self._board = board
        self._rpc = rpc
        self._clock = clock
        self._proof: dict[bytes, None] = {}
        """Heads that are not all of one log."""
        board.add(self)
        rpc.watch(found=self._met)

    def take(self, data: bytes) -> bool:
        """
        See L{post.notices.board.Notice.take}.
        """
        found = open_head(data, self._root, int(self._clock.seconds()))
        newer = found.serial > self.serial
        if newer:
            self.serial, self.data = found.serial, data
        for heard in self.heard:
            heard(data, found)
        return newer

    def use(self, data: bytes) -> None:
        """
        Take what was fetched, or found on disk, and tell others.

        @raise PeerError: if it is not authentic.
        """
        if self.take(data):
            self._board.post(self.kind)

    def spread(self, heads: tuple[bytes, ...]) -> None:
        """
        Show these to everybody we are linked with, and will be, unasked: they contradict one another.
        """
        fresh = [data for data in heads if data not in self._proof]
        self._proof.update(dict.fromkeys(fresh[: PROOF_LIMIT - len(self._proof)]))
        transport: ITransport = self._rpc.transport
        for contact in transport.links():
            self._show(contact, fresh)

    def _met(self, contact: Contact) -> None:
        self._show(contact, self._proof)

    def _show(self, contact: Contact, heads: Iterable[bytes]) -> None:
        for data in heads:
            self._rpc.tell(contact, Shown(self.kind, data))
