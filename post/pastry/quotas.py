"""
How much one peer may say, so that it takes neither our time nor the room of others.

Whoever speaks over a link is a certified member; that makes it known, not honest, and a program that runs in a circle
does what a liar does.  What exceeds a quota is refused as overload, which an honest node takes for what it is: it sends
a message another way, or a little later, and holds nobody for dead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from twisted.internet.interfaces import IReactorTime

from post.complaints import Complaints
from post.errors import PeerError
from post.ids import Contact, NodeId
from post.pastry.gossip import Compare, Compared
from post.pastry.messages import (
    Announce,
    Claim,
    Claimed,
    Find,
    Found,
    Heartbeat,
    Locate,
    Located,
    Probe,
    Probed,
    Route,
    Row,
    Rumor,
    ShareRow,
    Taken,
    Vouch,
    Vouched,
)
from post.pastry.news import Heard, News, Report
from post.rpc import Failed, Rpc
from post.wire import Message, RefusalCode

WINDOW_S = 10.0
"""Counting begins anew after so long."""
ROUTED_LIMIT = 4000
"""Messages to be routed, and answers to such, that are taken from one peer in that time: 400 in a second are about a
twentieth of a processor.  A busy node looks up ten keys a second, and those go to many."""
SAID_LIMIT = 500
"""The same of all else.  Peers say next to nothing when all is quiet, and a dozen things in a second when one of them
comes into the ring."""
KEPT_PART = 0.9
"""What is remembered is cut to this part when it is too much, so that it need not be cut at each thing that comes."""

ROUTED = (Route, Found, Claimed)
SAID = (Probe, Heartbeat, Rumor, Locate, Announce, ShareRow, Vouch, Compare, News, Report)
ANSWERS = (Probed, Located, Taken, Row, Vouched, Compared, Heard, Find, Claim)
"""Nobody says these of its own accord; the last two are routed."""


class Quota:
    """
    C{limit} things of each peer in C{WINDOW_S}.  What is counted is forgotten with the window, so those who are silent
    cost nothing.
    """

    __slots__ = ("_clock", "_counts", "_limit", "_until")

    def __init__(self, clock: IReactorTime, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._until = 0.0
        self._counts: dict[NodeId, int] = {}

    def take(self, node: NodeId) -> bool:
        """
        One more of C{node}; C{False} if that is too much.
        """
        now = self._clock.seconds()
        if not self._until - WINDOW_S <= now < self._until:  # The first: the clock was set back.
            self._counts = {}
            self._until = now + WINDOW_S
        count = self._counts[node] = self._counts.get(node, 0) + 1
        return count <= self._limit


class Quotas:
    """
    Stands before all handlers of Pastry.
    """

    __slots__ = ("_complaints", "_routed", "_said")

    def __init__(self, clock: IReactorTime, complaints: Complaints) -> None:
        self._complaints = complaints
        self._routed = Quota(clock, ROUTED_LIMIT)
        self._said = Quota(clock, SAID_LIMIT)

    def guard(self, rpc: Rpc, also: Iterable[type[Message]] = ()) -> None:
        """
        From now on what C{rpc} hands to Pastry's handlers, all of which are there, is counted first; and C{also} that.
        """
        for kind in _kinds(ROUTED):
            rpc.serve(kind, self._guarded(rpc.handler(kind), self._routed))
        for kind in _kinds(SAID, also):
            rpc.serve(kind, self._guarded(rpc.handler(kind), self._said))
        for kind in _kinds(ANSWERS):
            rpc.serve(kind, self._guarded(_out_of_turn, self._said))

    def _guarded(self, handler: Callable[[Contact, Any], Any], quota: Quota) -> Callable[[Contact, Any], Any]:
        take, complaints = quota.take, self._complaints

        def guarded(peer: Contact, message: Message) -> Any:
            if take(peer.id):
                return handler(peer, message)
            complaints.note(peer, "more messages than its share", type(message).__name__)
            return Failed(RefusalCode.OVERLOADED)

        return guarded


class Shares:
    """
    Room for C{most} things of all peers together, of which none gets more than it leaves to the others: whoever would
    have more than is free waits (after Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet
    switches", 1998).  One peer fills half of it, n fill all but the (n+1)th part, and who comes then finds that.

    C{owner} has as much of its own.
    """

    __slots__ = ("_by", "_most", "_owner", "_total")

    def __init__(self, most: int, owner: NodeId) -> None:
        self._most = most
        self._owner = owner
        self._total = 0  # Of the others.
        self._by: dict[NodeId, int] = {}

    def __len__(self) -> int:
        return self._total + self._by.get(self._owner, 0)

    def has_room(self, node: NodeId) -> bool:
        """
        Whether C{node} gets room for one more.
        """
        return self._by.get(node, 0) < self._most - (0 if node == self._owner else self._total)

    def take(self, node: NodeId) -> None:
        """
        C{node} has one more.
        """
        self._by[node] = self._by.get(node, 0) + 1
        self._total += node != self._owner

    def give(self, node: NodeId) -> None:
        """
        And one less.
        """
        count = self._by[node] - 1
        self._total -= node != self._owner
        if count:
            self._by[node] = count
        else:
            del self._by[node]


class Remembered:
    """
    Things that came lately, C{most} at most.  If it is too much those that brought most lose their oldest, so that
    nobody makes us forget what others brought.
    """

    __slots__ = ("_by", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._by: dict[Hashable, NodeId] = {}  # Who brought it; the oldest first.

    def __len__(self) -> int:
        return len(self._by)

    def __contains__(self, thing: object) -> bool:
        return thing in self._by

    def add(self, thing: Hashable, node: NodeId) -> None:
        """
        C{node} brought C{thing}.
        """
        self._by[thing] = node
        if len(self._by) > self._most:
            self._shrink()

    def _shrink(self) -> None:
        counts = Counter(self._by.values())
        share = fair_share(list(counts.values()), int(self._most * KEPT_PART))
        kept: dict[Hashable, NodeId] = {}
        for thing, node in self._by.items():
            if counts[node] > share:
                counts[node] -= 1
            else:
                kept[thing] = node
        self._by = kept


def fair_share(wanted: list[int], most: int) -> int:
    """
    How much each may have of C{most} if some want less than that.
    """
    left, others = most, len(wanted)
    for each in sorted(wanted):
        if each * others > left:
            return left // others
        left -= each
        others -= 1
    return max(wanted, default=most)


def _kinds(*some: Iterable[type[Message]]) -> list[type[Any]]:
    return [kind for each in some for kind in each]


def _out_of_turn(peer: Contact, message: Message) -> None:
    raise PeerError(f"{type(message).__name__} answers nothing")
