"""
How much one peer may say, so that it takes neither our time nor the room of others.

Whoever speaks over a link is a certified member; that makes it known, not honest, and a program that runs in a circle
does what a liar does.  What exceeds a quota is refused as overload, which an honest node takes for what it is: it sends
a message another way, or a little later, and holds nobody for dead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable

from twisted.internet.interfaces import IReactorTime

from post.complaints import Complaints
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
from post.relay.messages import Inquire, Inquired
from post.wire import Message

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
SAID = (Probe, Heartbeat, Rumor, Locate, Announce, ShareRow, Vouch, Compare, News, Report, Inquire)
ANSWERS = (Probed, Located, Taken, Row, Vouched, Compared, Heard, Inquired, Find, Claim)
"""Nobody says these of its own accord; the last two are routed."""
_COSTS: dict[type[Message], int] = {
    **dict.fromkeys(ROUTED, 1),
    **dict.fromkeys((*SAID, *ANSWERS), ROUTED_LIMIT // SAID_LIMIT),
}


class Quota:
    """
    C{limit} things of each peer in L{WINDOW_S}.  What is counted is forgotten with the window, so those who are silent
    cost nothing.
    """

    __slots__ = ("_clock", "_counts", "_limit", "_until")

    def __init__(self, clock: IReactorTime, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._until = 0.0
        self._counts: dict[NodeId, int] = {}

    def take(self, node: NodeId, cost: int = 1) -> bool:
        """
        One more of C{node}, or something that counts as C{cost} of them; C{False} if that is too much.
        """
        now = self._clock.seconds()
        if not self._until - WINDOW_S <= now < self._until:  # The first: the clock was set back.
            self._counts = {}
            self._until = now + WINDOW_S
        count = self._counts[node] = self._counts.get(node, 0) + cost
        return count <= self._limit


class Quotas:
    """
    What one peer says to Pastry, all in all.
    """

    __slots__ = ("_complaints", "_quota")

    def __init__(self, clock: IReactorTime, complaints: Complaints) -> None:
        self._complaints = complaints
        self._quota = Quota(clock, ROUTED_LIMIT)

    def admits(self, peer: Contact, kind: type[Message]) -> bool:
        """
        The gate of L{post.rpc.Rpc}: whether C{peer} may say one more message of C{kind}.
        """
        cost = _COSTS.get(kind)
        if cost is None or self._quota.take(peer.id, cost):
            return True
        self._complaints.note(peer, "more messages than its share", kind.__name__)
        return False


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
