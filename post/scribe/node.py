"""
Scribe on one node: what the applications above see of groups.

Whoever subscribes has a place in the group's tree (L{post.scribe.climb}).  A publication is routed to the root and
goes down the tree; every node that it passes verifies who signed it, forwards it once, and knows by its number whether
it has seen it.  Nothing here is certain to arrive: parents die while it is on its way.  Those who need to know ask
elsewhere, now and then.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from post.complaints import Complaints
from post.errors import NotFound, Overloaded, PeerError, PostError, Refused
from post.ids import Contact, GroupId, Key, NodeId
from post.interfaces import IApplication
from post.pastry.node import Pastry
from post.rpc import Rpc, expect
from post.scribe.allowance import Allowances, Bucket
from post.scribe.climb import CHILD_LIFE_S, TICK_S, Climber
from post.scribe.messages import (
    OFFER_LIMIT,
    OTHERS_LIMIT,
    Attach,
    Attached,
    Here,
    Leave,
    Move,
    Offer,
    Offered,
    Publish,
    Remain,
    Remaining,
    Seek,
    Spread,
)
from post.scribe.publication import Publication, check, claimed
from post.scribe.tree import Branch, Forest, is_nearer
from post.tasks import Tasks, sleep
from post.wire import Message, RefusalCode

PEER_RATE = 50.0
PEER_BURST = 1000.0
"""Questions and publications per second that a peer may send us, and how many at once: a delegate that starts with a
thousand recipients to follow is not slowed down, and one that does nothing else costs us a hundredth of our time."""
ROUTED_RATE = 200.0
ROUTED_BURST = 2000.0
"""The same for what is routed to us, as nobody can tell who sent it: for all that seek, and for all publications that
have to be verified."""
LATEST_S = 60.0
"""How long the newest publication is handed to children that come: those that are finding a new parent just then would
miss it."""
OFFERED_LIMIT = 64
"""Members asked by one L{Scribe.anycast}."""
OFFER_S = 5.0

Listener = Callable[[Publication], None]
Taker = Callable[[bytes, Contact], bool]


@implementer(IApplication)
class Scribe:
    """
    The groups of one node.
    """

    log = Logger()

    def __init__(
        self, rpc: Rpc, pastry: Pastry, clock: IReactorTime, random: Random, complaints: Complaints, root: bytes
    ) -> None:
        self._rpc = rpc
        self._pastry = pastry
        self._clock = clock
        self._random = random
        self._complaints = complaints
        self._root = root
        self._local: NodeId = pastry.local.id
        self._tasks = Tasks()
        self._listeners: dict[GroupId, tuple[Listener, Taker | None]] = {}
        self._peers = Allowances(PEER_RATE, PEER_BURST)
        self._seeking = Bucket(ROUTED_RATE, ROUTED_BURST, ROUTED_BURST, clock.seconds())
        self._verifying = Bucket(ROUTED_RATE, ROUTED_BURST, ROUTED_BURST, clock.seconds())
        self.forest = Forest(self._local)
        self._climber = Climber(rpc, pastry, clock, random, self.forest, self._tasks)
        rpc.serve(Attach, self._attach)
        rpc.serve(Remain, self._remain)
        rpc.serve(Leave, self._leave)
        rpc.serve(Move, self._move)
        rpc.serve(Spread, self._spread)
        rpc.serve(Offer, self._offered)
        pastry.add_application(self)

    def start(self) -> None:
        """
        Begin to look after our places.
        """
        self._tasks.every(self._clock, lambda: TICK_S * self._random.uniform(0.9, 1.1), self._tick)

    def stop(self) -> None:
        """
        Take part no longer.  Nobody is told: our link with them ends, which tells more.
        """
        self._tasks.stop()
        self._listeners.clear()

    # For the applications.

    def subscribe(self, group: GroupId, heard: Listener, taker: Taker | None = None) -> None:
        """
        Call C{heard} with what is published in C{group} from now on, once we are in its tree, and C{taker} with what is
        offered to any one of its members: it says whether it takes it.

        @raise ValueError: if somebody on this node does so already.
        @raise Overloaded: if these are too many groups.
        """
        if group in self._listeners:
            raise ValueError(f"group {group} has a listener here")
        branch = self.forest.grow(group)
        branch.subscribed = True
        self._listeners[group] = (heard, taker)
        if self._is_fresh(branch):
            # For others below us we have it already.  Nobody is called back before we return.
            self._tasks.spawn(self._tell_listener(branch, branch.newest))
        self._climber.settle(branch)

    async def _tell_listener(self, branch: Branch, number: int) -> None:
        await sleep(self._clock, 0)
        if branch.newest == number and branch.latest and branch.group in self._listeners:
            self._listeners[branch.group][0](claimed(branch.latest))

    def _is_fresh(self, branch: Branch) -> bool:
        return bool(branch.latest) and abs(self._clock.seconds() - branch.latest_at) < LATEST_S

    def unsubscribe(self, group: GroupId) -> None:
        """
        Nobody here listens to C{group} any more.
        """
        self._listeners.pop(group, None)
        branch = self.forest.get(group)
        if branch is not None:
            branch.subscribed = False
            self._climber.prune(branch)

    def publish(self, publication: bytes) -> None:
        """
        Bring what L{post.scribe.publication.sign} made to those who listen.

        @raise Overloaded: if too much is being routed here.
        """
        self._pastry.route(claimed(publication).group, Publish(publication))

    async def anycast(self, group: GroupId, payload: bytes) -> Contact:
        """
        Offer C{payload} to the members of C{group}, those near the way to its root first, until one takes it; returns
        which one.

        @raise NotFound: if none does.
        """
        if len(payload) > OFFER_LIMIT:
            raise ValueError(f"an offer of {len(payload)} bytes")
        offer = Offer(group, payload)
        first = self._pastry.local if self.forest.get(group) else await self._climber.seek(group, member=True)
        candidates = [first] if first is not None else []
        asked: set[NodeId] = set()
        while candidates and len(asked) < OFFERED_LIMIT:
            candidate = candidates.pop()
            if candidate.id in asked:
                continue
            asked.add(candidate.id)
            try:
                if candidate.id == self._local:
                    answer = self._offer(self._pastry.local, offer)
                else:
                    answer = expect(Offered, await self._rpc.ask(candidate, offer, OFFER_S))
            except PostError as error:
                self.log.debug("{peer} does not take it: {error}", peer=candidate, error=error)
                continue
            if answer.taken:
                return candidate
            candidates += answer.others
        raise NotFound(f"nobody in group {group} takes it")

    # What Pastry tells.

    def deliver(self, key: Key, message: Message, origin: Contact) -> None:
        if isinstance(message, Seek):
            self._sought(key, message)
        elif isinstance(message, Publish):
            try:
                self._take(key, message.publication)
            except PeerError as error:
                self._complaints.note(origin, "refused publication", error)

    def forward(self, key: Key, message: Message, next_hop: Contact) -> bool:
        """
        Step in for the root where somebody looks for a parent: then the message has come far enough.
        """
        if not isinstance(message, Seek) or message.asker.id == self._local or key != message.group:
            return True
        known = self.forest.get(message.group) is not None
        if not known and (message.member or self.forest.is_full or not self._pastry.active):
            return True
        if not message.member and not is_nearer(message.group, self._local, message.asker.id):
            return True  # Our parent must not be below us.
        if not self._seeking.take(self._clock.seconds()):
            return True
        self._rpc.tell(message.asker, Here(message.number))
        return False

    def _sought(self, key: Key, seek: Seek) -> None:
        if key != seek.group:
            return
        if seek.asker.id == self._local:
            self._climber.met(seek.number, self._pastry.local)
        elif self._seeking.take(self._clock.seconds()):
            self._rpc.tell(seek.asker, Here(seek.number))

    def update(self, contact: Contact, joined: bool) -> None:
        """
        A root is one no longer when somebody nearer comes; a parent that leaves the leaf set may be dead.
        """
        if not joined:
            self._climber.doubt(contact.id)
            return
        for branch in self.forest:
            if branch.is_root and branch.may_follow(contact.id):
                branch.is_root = False
                self._climber.settle(branch)

    # What children say.

    def _allow(self, peer: Contact) -> None:
        if not self._peers.take(peer.id, self._clock.seconds()):
            raise Overloaded("more than a peer may ask")

    def _attach(self, peer: Contact, message: Attach) -> Attached:
        self._allow(peer)
        if not is_nearer(message.group, self._local, peer.id):
            raise PeerError("a child that is nearer to the group than its parent")
        if not self._pastry.active:
            raise Refused(RefusalCode.NOT_READY, "not in the ring")
        branch = self.forest.grow(message.group)
        try:
            admission = self.forest.admit(branch, peer, self._clock.seconds() + CHILD_LIFE_S)
        finally:
            self._climber.prune(branch)
        if admission.displaced is not None:
            self._rpc.tell(admission.displaced, Move(branch.group, peer))
        if admission.accepted and self._is_fresh(branch):
            self._rpc.tell(peer, Spread(branch.latest))
        self._climber.settle(branch)
        return Attached(admission.accepted, admission.elsewhere)

    def _remain(self, peer: Contact, message: Remain) -> Remaining:
        self._allow(peer)
        gone = []
        for group in message.groups:
            branch = self.forest.get(group)
            if branch is None or not self.forest.renew(branch, peer.id, self._clock.seconds() + CHILD_LIFE_S):
                gone.append(group)
        return Remaining(tuple(gone))

    def _leave(self, peer: Contact, message: Leave) -> None:
        for group in message.groups:
            branch = self.forest.get(group)
            if branch is not None:
                self.forest.lose(branch, peer.id)
                self._climber.prune(branch)

    # What parents say.

    def _move(self, peer: Contact, message: Move) -> None:
        branch = self.forest.get(message.group)
        if branch is not None and branch.parent is not None and branch.parent.id == peer.id:
            self.forest.follow(branch, None)
            branch.hint = message.to
            self._climber.settle(branch)

    def _spread(self, peer: Contact, message: Spread) -> None:
        self._allow(peer)
        self._take(None, message.publication)

    def _take(self, key: Key | None, data: bytes) -> None:
        """
        A publication has come: see whether it is real and new, and hand it on.

        @raise PeerError: if it is not real.
        """
        claim = claimed(data)
        branch = self.forest.get(claim.group)
        # A signature costs more than all the rest: none is looked at for what is not wanted anyway.
        if branch is None or claim.number <= branch.newest:
            return
        if key is not None and key != claim.group:
            raise PeerError("a publication to another group")
        now = self._clock.seconds()
        if key is not None and not self._verifying.take(now):
            return
        publication = check(data, self._root, now)
        branch.newest, branch.latest, branch.latest_at = publication.number, data, now
        for child in branch.children.values():
            self._rpc.tell(child.contact, Spread(data))
        if branch.group in self._listeners:
            self._listeners[branch.group][0](publication)

    def _offered(self, peer: Contact, message: Offer) -> Offered:
        self._allow(peer)
        return self._offer(peer, message)

    def _offer(self, origin: Contact, offer: Offer) -> Offered:
        branch = self.forest.get(offer.group)
        if branch is None:
            return Offered(False)
        taker = self._listeners[offer.group][1] if offer.group in self._listeners else None
        if taker is not None and taker(offer.payload, origin):
            return Offered(True)
        above = [branch.parent] if branch.parent is not None else []
        below = [child.contact for child in branch.children.values()]
        return Offered(False, (*above, *below)[:OTHERS_LIMIT])

    # Now and then.

    async def _tick(self) -> None:
        now = self._clock.seconds()
        for branch in self.forest:
            for node, child in list(branch.children.items()):
                # Also where the clock was set back by more than a child can have been promised.
                if not now <= child.until <= now + CHILD_LIFE_S:
                    self.forest.lose(branch, node)
            if not self._is_fresh(branch):
                branch.latest = b""
            self._climber.prune(branch)
            self._look_for_root(branch)
        self._climber.tick()

    def _look_for_root(self, branch: Branch) -> None:
        """
        We may have been told of a nearer node while it was not in the ring yet.
        """
        if branch.is_root and self._pastry.active:
            nearest = self._pastry.nearest(branch.group, 1)
            if nearest and branch.may_follow(nearest[0].id):
                branch.is_root = False
        self._climber.settle(branch)
