"""
What is remembered of a peer, and the one link that joins us with it.

Two nodes have one link, although both may dial at the same moment, one may restart unnoticed by the other, and a line
may break so that only one end knows.  When a second link to the same peer comes up, L{judge} decides from what both
ends know, so that both decide alike:

  1. A link from a newer boot of the peer replaces the old one, which leads to a process that is gone.
  2. If the peer lost a link with us before it acknowledged the new one (its L{Ack <post.net.messages.Ack>} counts
     those), the old one is what it lost.  Only its end has noticed so far.
  3. Of two links dialled by the same end the later replaces the earlier: nobody dials while it has a link.
  4. Otherwise both ends dialled at once, and the link that the node with the lower id dialled stays.

In the first three cases the old link is cut and the peer counts as lost and found again.  In the fourth nothing may be
lost: the other link ends in order, what waits in the queue goes over the one that stays, and that one waits until the
peer has confirmed the end of the other, so that frames also keep their order.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from twisted.internet.defer import Deferred, succeed

from post.errors import Unreachable
from post.ids import Contact, NodeId
from post.net.config import LinkConfig
from post.net.link import Link
from post.net.queue import Budget, SendQueue

PEERS_LIMIT = 10_000
"""Peers remembered without a link: when they may be dialled again, their round-trip time, their certificate."""


class Verdict(Enum):
    """
    What to do with the link we have and the one that just came up.
    """

    REPLACE = "cut the old"
    REFUSE = "cut the new"
    SWITCH = "the old ends in order"
    KEEP = "the new ends in order"


@dataclass(frozen=True)
class Claim:
    """
    What counts for a link: the boot epoch of the peer, how many links it had lost when it acknowledged this one, and
    who dialled.
    """

    epoch: int
    lost: int
    dialler: NodeId

    @classmethod
    def of(cls, link: Link) -> Claim:
        """
        The claim of a link that is up.
        """
        return cls(link.peer.epoch, link.peer_lost, link.owner.local.id if link.dialled else link.peer.id)


def judge(old: Claim, new: Claim) -> Verdict:
    """
    Which of two links to one peer stays.
    """
    mine, rival = (new.epoch, new.lost), (old.epoch, old.lost)
    if mine != rival:
        return Verdict.REPLACE if mine > rival else Verdict.REFUSE
    if new.dialler == old.dialler:
        return Verdict.REPLACE
    return Verdict.SWITCH if new.dialler < old.dialler else Verdict.KEEP


@dataclass
class Backoff:
    """
    When a peer that could not be reached may be tried again: later after every failure, and not at the same moment by
    everybody who lost it.
    """

    failures: int = 0
    until: float = 0.0
    tried: Contact | None = None

    def may_try(self, contact: Contact, now: float) -> bool:
        """
        Whether the wait is over, or C{contact} says something that was not tried: a newer boot, another address.
        """
        tried = self.tried
        return (
            now >= self.until
            or tried is None
            or contact.epoch > tried.epoch
            or not set(contact.addresses) <= set(tried.addresses)
        )

    def failed(self, contact: Contact, now: float, random: Random, config: LinkConfig) -> None:
        """
        C{contact} could not be reached.
        """
        fresh = self.may_try(contact, float("-inf"))
        self.failures = 1 if fresh else self.failures + 1
        # Past sixteen doublings every wait is the longest one.
        longest = min(config.backoff_first_s * 2 ** min(self.failures - 1, 16), config.backoff_most_s)
        self.until = now + longest * (1 - random.random() / 2)
        self.tried = contact

    def reset(self) -> None:
        """
        The peer was reached, and stayed.
        """
        self.failures, self.until, self.tried = 0, 0.0, None


@dataclass(eq=False, slots=True)
class Peer:
    """
    A node that we are linked with, want to be, or were.

    @ivar link: the one link over which we send.
    @ivar pending: a link dialled by us and acknowledged, of which we do not know yet whether it comes up.
    @ivar predecessors: links that were the one and are ending in order; C{link} sends nothing until they have.
    @ivar dialling: the attempt to reach it.
    @ivar lost: how many links with it were up and broke.
    """

    id: NodeId
    link: Link | None = None
    pending: Link | None = None
    predecessors: set[Link] = field(default_factory=set)
    dialling: Deferred[None] | None = None
    backoff: Backoff = field(default_factory=Backoff)
    queue: SendQueue | None = None
    lost: int = 0
    round_trip_s: float | None = None
    introductions: list[Deferred[Contact]] = field(default_factory=list)
    writers: deque[Deferred[None]] = field(default_factory=deque)

    @property
    def idle(self) -> bool:
        """
        Whether it may be forgotten.
        """
        return not (self.link or self.pending or self.predecessors or self.dialling or self.queue)

    def queue_for(self, config: LinkConfig, budget: Budget) -> SendQueue:
        """
        The queue, made when first needed.
        """
        if self.queue is None:
            self.queue = SendQueue(config, budget)
        return self.queue

    def writable(self, low_bytes: int) -> Deferred[None]:
        """
        Fires when less than C{low_bytes} of bulk wait, or there is nothing to wait for any more.
        """
        if self.queue is None or (self.queue.bulk_bytes < low_bytes and not self.writers):
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._forget_writer)
        self.writers.append(waiting)
        return waiting

    def _forget_writer(self, waiting: Deferred[None]) -> None:
        if waiting in self.writers:
            self.writers.remove(waiting)

    def refill(self, low_bytes: int) -> None:
        """
        Let those who wait for room in the queue go on, while there is room.
        """
        while self.writers and (self.queue is None or self.queue.bulk_bytes < low_bytes):
            self.writers.popleft().callback(None)

    def introduction(self) -> Deferred[Contact]:
        """
        Fires when the link that is about to come up does, or fails with L{Unreachable}.
        """
        waiting: Deferred[Contact] = Deferred()
        self.introductions.append(waiting)
        return waiting

    def introduced(self, contact: Contact | None) -> None:
        """
        Tell those who wait to be introduced: it is linked, or it could not be reached.
        """
        waiting, self.introductions = self.introductions, []
        for each in waiting:
            if contact is None:
                each.errback(Unreachable(f"no way to {self.id}"))
            else:
                each.callback(contact)

    def drop_queue(self) -> None:
        """
        Forget what waits to be sent.
        """
        queue, self.queue = self.queue, None
        if queue is not None:
            queue.clear()
        waiting, self.writers = self.writers, deque()
        for each in waiting:
            each.callback(None)


class Peers(dict[NodeId, Peer]):
    """
    The peers we know, the one that was linked last at the end.  Past the limit those longest without a link go.
    """

    def known(self, node_id: NodeId) -> Peer:
        """
        The peer of this id, made if it is new.
        """
        peer = self.get(node_id)
        if peer is None:
            if len(self) >= PEERS_LIMIT:
                for each in [each for each in self.values() if each.idle][: PEERS_LIMIT // 100]:
                    del self[each.id]
            peer = self[node_id] = Peer(node_id)
        return peer

    def renew(self, peer: Peer) -> None:
        """
        C{peer} was linked just now.
        """
        self[peer.id] = self.pop(peer.id)
