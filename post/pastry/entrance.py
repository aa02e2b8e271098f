"""
Who is coming in beside a node, and who waits for that.

If hundreds came in at once beside the only active node, none of them could find out who its neighbors are.  So each
node lets in a few at a time, and remembers the others, who need not ask again: they are told when it is their turn.
Whoever has come in is the root of some of those that wait beside it; these are handed over to it, and it lets in a few
at once.  In this way a whole ring that is switched on doubles again and again, and nobody asks in vain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from post.ids import Contact, NodeId
from post.pastry.config import PastryConfig
from post.pastry.messages import NEWS_LIMIT, Announce
from post.pastry.ring import Ring
from post.rpc import Rpc
from post.wire import Priority

WAITING_LIMIT = 1000
"""Newcomers remembered to be told when they can come in; the others ask again by themselves.  Who asks us itself goes
before whom others hand over."""
SHOW_S = 1.0
"""Who was handed over, and invited, has to ask us by then, or its place is for the next one who does: others may hand
over whom they like, and nobody comes."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """
    A newcomer, whether it would found a ring, when it asked, and whether that is only what another one says.
    """

    contact: Contact
    founder: bool
    asked_at: float
    handed_over: bool = False


class Entrance:
    """
    One node's.
    """

    def __init__(self, rpc: Rpc, clock: IReactorTime, ring: Ring, config: PastryConfig) -> None:
        self._rpc = rpc
        self._clock = clock
        self._ring = ring
        self._config = config
        self._waiting: dict[NodeId, _Waiting] = {}
        self._entering: dict[NodeId, float] = {}  # Until when their place is kept.
        self._unseen: dict[NodeId, float] = {}  # Of these, who has not asked us itself: when it was invited.

    def note(self, peer: Contact, founder: bool) -> bool:
        """
        C{peer} asked for the way, and waits.

        @return: whether it had not asked before.
        """
        return self._note(_Waiting(peer, founder, self._clock.seconds()))

    def _note(self, newcomer: _Waiting) -> bool:
        node = newcomer.contact.id
        known = self._waiting.get(node)
        if known is None and len(self._waiting) >= WAITING_LIMIT:
            others = (each for each, waiting in self._waiting.items() if waiting.handed_over)
            displaced = None if newcomer.handed_over else next(others, None)
            if displaced is None:
                return False
            del self._waiting[displaced]
        if known is None or not newcomer.handed_over:
            self._waiting[node] = newcomer
        return known is None

    def rivals(self, since: float) -> list[NodeId]:
        """
        Who would found a ring, and has asked after C{since}.
        """
        waiting = self._waiting.values()
        return [each.contact.id for each in waiting if each.founder and each.asked_at > since]

    def lets_in(self, peer: Contact) -> bool:
        """
        Whether C{peer} may come in beside us now.  If not, it is told when it may.
        """
        self._unseen.pop(peer.id, None)
        if peer.id in self._entering or self._has_room() or self._displace():
            self._admit(peer)
            return True
        self.note(peer, False)
        return False

    def open(self, to_all: bool) -> None:
        """
        We are active; C{to_all}: the first one, so tell all who wait.  (Otherwise they wait elsewhere too, and will be
        handed over to us if they are to come in here.)
        """
        waiting, self._waiting = self._waiting, {}
        if to_all:
            for each in waiting.values():
                self._tell(each.contact, Announce())

    def came_in(self, peer: Contact) -> None:
        """
        C{peer} is active now.
        """
        self._entering.pop(peer.id, None)
        self._waiting.pop(peer.id, None)
        leaves = self._ring.leaves
        theirs = [node for node in self._waiting if leaves.closest(node) == peer.id]
        for start in range(0, len(theirs), NEWS_LIMIT):
            chunk = theirs[start : start + NEWS_LIMIT]
            self._tell(peer, Announce(tuple(self._waiting.pop(node).contact for node in chunk)))
        self._call()

    def take_over(self, peer: Contact, waiting: Iterable[Contact]) -> None:
        """
        C{peer}, beside whom we came in, says that these wait.
        """
        if peer.id not in self._ring.leaves:
            return
        for contact in waiting:
            if contact.id != self._ring.owner and contact.id not in self._ring.leaves:
                self._note(_Waiting(contact, False, self._clock.seconds(), handed_over=True))
        self._call()

    def _call(self) -> None:
        """
        Tell as many as can come in.
        """
        for node in list(self._waiting):
            if not self._has_room():
                return
            if self._ring.leaves.closest(node) in self._entering:
                continue  # Its place is beside somebody who comes in just now, and will let it in.
            contact, is_hearsay = self._waiting[node].contact, self._waiting[node].handed_over
            self._admit(contact)
            if is_hearsay:
                self._unseen[node] = self._clock.seconds()
            self._tell(contact, Announce(invited=True))

    def _has_room(self) -> bool:
        now = self._clock.seconds()
        self._entering = {node: until for node, until in self._entering.items() if until > now}
        self._unseen = {node: at for node, at in self._unseen.items() if node in self._entering}
        return len(self._entering) < self._config.join_limit

    def _displace(self) -> bool:
        """
        Take the place of one who was invited on hearsay, and has not come.
        """
        since = self._clock.seconds() - SHOW_S
        node = next((node for node, at in self._unseen.items() if at <= since), None)
        if node is None:
            return False
        del self._unseen[node]
        del self._entering[node]
        return True

    def _admit(self, peer: Contact) -> None:
        self._waiting.pop(peer.id, None)
        self._entering[peer.id] = self._clock.seconds() + self._config.join_entry_s

    def _tell(self, peer: Contact, announce: Announce) -> None:
        self._rpc.tell(peer, announce, Priority.URGENT)
