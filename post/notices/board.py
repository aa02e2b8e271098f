"""
The notice board: signed documents of the authority that every node should have soon, and not only when it asks next.

A node that has a newer one tells those it is linked with, once; whoever lacks it fetches it from one of them, checks
it, and tells on.  Links join every node with its neighbours on the ring and some far away, so a notice reaches all that
are on-line in a few hops; whoever comes later is told when its first link is up.  A notice is its own proof: whoever
hands it on is believed nothing, and can at worst keep silent, which others do not.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.complaints import Complaints
from post.errors import NotFound, PeerError, PostError
from post.ids import Contact, NodeId
from post.notices.messages import Posted, Show, Shown
from post.rpc import Rpc, expect
from post.tasks import Tasks

FETCHES = 3
"""Peers asked at once for a notice: one that is slow, or lies about what it has, keeps nobody else waiting."""
CLAIMS_LIMIT = 256
"""Peers remembered that say to have something newer; more than have links with us in any usual ring."""
PATIENCE_S = 10.0
"""For a notice of 400 KiB over a slow line."""
DEAF_S = 60.0
"""For so long no word of a peer is heeded that has shown nothing newer when it said so."""


class Notice(Protocol):
    """
    One kind of notice, as a node has it.
    """

    @property
    def kind(self) -> int:
        """
        By which nodes name it.
        """

    @property
    def serial(self) -> int:
        """
        Of the newest that is here; 0 if there is none.
        """

    @property
    def data(self) -> bytes:
        """
        The newest, as it was signed.
        """

    def take(self, data: bytes) -> bool:
        """
        Use C{data} if it is newer; returns whether it was.

        @raise PeerError: if it is not authentic.
        """


class Board:
    """
    The notices of one node.
    """

    log = Logger()

    def __init__(self, rpc: Rpc, clock: IReactorTime, complaints: Complaints) -> None:
        self._rpc = rpc
        self._clock = clock
        self._complaints = complaints
        self._notices: dict[int, Notice] = {}
        self._claims: dict[int, OrderedDict[NodeId, tuple[Contact, int]]] = {}
        self._fetching: dict[int, int] = {}
        self._deaf: OrderedDict[NodeId, float] = OrderedDict()
        self._tasks = Tasks()
        rpc.serve(Posted, self._posted)
        rpc.serve(Show, self._asked)
        rpc.serve(Shown, self._handed)
        rpc.watch(found=self._met)

    def add(self, notice: Notice) -> None:
        """
        Keep this kind too.
        """
        self._notices[notice.kind] = notice
        self._claims[notice.kind] = OrderedDict()
        self._fetching[notice.kind] = 0

    def stop(self) -> None:
        """
        Fetch nothing more.
        """
        self._tasks.stop()

    def post(self, kind: int) -> None:
        """
        There is a newer notice here: tell everybody we are linked with.
        """
        serial = self._notices[kind].serial
        for contact in self._rpc.transport.links():
            self._rpc.tell(contact, Posted(kind, serial))

    def hand(self, contact: Contact, kind: int) -> None:
        """
        Show it to C{contact} unasked: there will be no occasion to be asked.
        """
        self._rpc.tell(contact, Shown(kind, self._notices[kind].data))

    def _met(self, contact: Contact) -> None:
        for kind, notice in self._notices.items():
            if notice.serial:
                self._rpc.tell(contact, Posted(kind, notice.serial))

    # What peers say.

    def _asked(self, peer: Contact, message: Show) -> Shown:
        notice = self._notices.get(message.kind)
        if notice is None or not notice.serial:
            raise NotFound("no such notice")
        return Shown(message.kind, notice.data)

    def _handed(self, peer: Contact, message: Shown) -> None:
        if message.kind in self._notices and not self._is_deaf_to(peer.id):
            self._take(peer, message)

    def _posted(self, peer: Contact, message: Posted) -> None:
        notice = self._notices.get(message.kind)
        if notice is None or message.serial <= notice.serial or self._is_deaf_to(peer.id):
            return
        claims = self._claims[message.kind]
        claims[peer.id] = (peer, message.serial)
        if len(claims) > CLAIMS_LIMIT:
            claims.popitem(last=False)
        if self._fetching[message.kind] < FETCHES:
            self._fetching[message.kind] += 1
            self._tasks.spawn(self._fetch(message.kind))

    def _is_deaf_to(self, peer: NodeId) -> bool:
        return self._deaf.get(peer, float("-inf")) > self._clock.seconds()

    async def _fetch(self, kind: int) -> None:
        """
        Ask one after the other of those who say that they have something newer, while anybody does.
        """
        notice, claims = self._notices[kind], self._claims[kind]
        try:
            while claims:
                _, (contact, serial) = claims.popitem(last=False)
                if serial <= notice.serial:
                    continue
                try:
                    shown = expect(Shown, await self._rpc.ask(contact, Show(kind), PATIENCE_S))
                except PostError as error:
                    self.log.debug("no notice from {peer}: {error}", peer=contact, error=error)
                    continue
                self._take(contact, shown)
                if notice.serial < serial:
                    self._be_deaf_to(contact.id)
        finally:
            self._fetching[kind] -= 1

    def _take(self, peer: Contact, shown: Shown) -> None:
        notice = self._notices[shown.kind]
        try:
            if notice.take(shown.data):
                self.post(shown.kind)
        except PeerError as error:
            self._complaints.note(peer, "a notice that is none", error)
            self._be_deaf_to(peer.id)

    def _be_deaf_to(self, peer: NodeId) -> None:
        self._deaf[peer] = self._clock.seconds() + DEAF_S
        self._deaf.move_to_end(peer)
        if len(self._deaf) > CLAIMS_LIMIT:
            self._deaf.popitem(last=False)
