"""
What a node does for the pending notifications that it keeps (POST, section 3.3): offer them to the recipient until a
receipt ends it.

Whoever is in the replica set of a pending notification is a delegate, so the work moves with the objects as nodes come
and go.  Once a recipient has not answered, the delegate listens to their presence; their return is also noticed when
their node enters our leaf set or links with us, and, should all that fail, by polling their identity block and offering
again, with growing pauses.  All that waits for a recipient is then offered at once.

While a recipient does not answer, only one of the notifications for them is offered, and what is offered to those who
are not known to be there never stands in the way of what is for those who are: an offer to a computer that is off may
take seconds to fail, and there may be thousands.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from post.complaints import Complaints
from post.errors import NotFound, PeerError, PostError, Unreachable
from post.ids import AccountId, Contact, Handle, NodeId
from post.interfaces import Stored
from post.messaging.dispatch import Dispatch
from post.messaging.identities import Identities
from post.messaging.notification import letter_in
from post.messaging.pending import DELIVERED, PENDING, envelope_in
from post.messaging.presence import Followed
from post.messaging.reception import Reception
from post.past.node import Past
from post.tasks import Tasks

PATIENCE_S = 2.0
"""Before the nearest delegate's first offer: the sender itself is offering at that moment.  The next nearest wait
longer by as much each, so that usually one delegate delivers and the others hear of it."""
PAUSE_LIMIT_S = 60.0
"""Between two offers to a recipient who stays away.  Each costs one link attempt, and no more than one identity lookup
per recipient; coming back is normally noticed by other means than this."""
OFFERS_LIMIT = 16
"""At once, over all recipients who are known to be there."""
PROBES_LIMIT = 64
"""At once, to others, one for each: of a thousand people whose computers are off and swallow what is sent to them,
each is tried within a minute and a half."""
ERRANDS_LIMIT = 200_000
"""Pending notifications worked on at once; about 60 MB of memory.  More wait in the store until these are fewer."""


@dataclass
class _Errand:
    """
    One pending notification that we keep.
    """

    recipient: AccountId
    expires: int
    pause_s: float
    timer: IDelayedCall | None = None
    offering: bool = False


class Delegates:
    """
    This node as a delegate.
    """

    log = Logger()

    def __init__(
        self,
        past: Past,
        dispatch: Dispatch,
        identities: Identities,
        reception: Reception,
        followed: Followed,
        clock: IReactorTime,
        random: Random,
        complaints: Complaints,
        tasks: Tasks,
    ) -> None:
        self._past = past
        self._dispatch = dispatch
        self._identities = identities
        self._reception = reception
        self._followed = followed
        self._clock = clock
        self._random = random
        self._complaints = complaints
        self._tasks = tasks
        self._errands: dict[Handle, _Errand] = {}
        self._by_recipient: dict[AccountId, dict[Handle, None]] = {}
        self._by_node: dict[NodeId, set[AccountId]] = {}
        self._at: dict[AccountId, NodeId] = {}
        self._said_at: dict[AccountId, Contact] = {}
        self._here: set[AccountId] = set()
        """Who was heard of, or answered, and has not failed to answer since."""
        self._probing: dict[AccountId, Handle] = {}
        """Of everybody else, the one notification that is offered.  The others have no timers."""
        self._left_out = False
        self._offers = DeferredSemaphore(OFFERS_LIMIT)
        self._probes = DeferredSemaphore(PROBES_LIMIT)
        self._stopped = False

    @property
    def waiting(self) -> int:
        """
        How many notifications wait here.
        """
        return len(self._errands)

    def resume(self) -> None:
        """
        Take up again what was waiting when this node stopped, or was too much at once.
        """
        self._left_out = False
        for item in self._past.holdings(PENDING):
            self.told(item)

    def stop(self) -> None:
        """
        Do nothing any more.
        """
        self._stopped = True
        for errand in self._errands.values():
            if errand.timer is not None and errand.timer.active():
                errand.timer.cancel()
        self._errands.clear()
        self._by_recipient.clear()
        self._by_node.clear()
        self._at.clear()
        self._said_at.clear()
        self._here.clear()
        self._probing.clear()

    def told(self, item: Stored) -> None:
        """
        C{item}, a pending notification or its receipt, is durable here.
        """
        if item.order == DELIVERED:
            self._end(item.handle)
            return
        if self._stopped or item.handle in self._errands:
            return
        if len(self._errands) >= ERRANDS_LIMIT:
            self._left_out = True
            return
        envelope = envelope_in(item.data)
        if envelope is None or item.expires < self._clock.seconds():
            return
        try:
            # Its signature was checked before it was stored.
            recipient = letter_in(envelope).recipient
        except PeerError as error:
            self._complaints.note("store", "unusable pending notification", error)
            return
        self._begin(item, recipient)

    def _begin(self, item: Stored, recipient: AccountId) -> None:
        rank = self._past.rank(item.handle)
        pause_s = PATIENCE_S * (1 + rank) * self._random.uniform(1.0, 1.25)
        errand = self._errands[item.handle] = _Errand(recipient, item.expires, pause_s)
        self._by_recipient.setdefault(recipient, {})[item.handle] = None
        if recipient in self._here:
            self._wait(item.handle, errand)
            return
        prober = self._probing.get(recipient)
        if prober is None:
            self._probe(recipient, item.handle)
            return
        # The one for which somebody else need be waited least goes first.
        timer = self._errands[prober].timer
        if timer is not None and timer.active() and timer.getTime() > self._clock.seconds() + pause_s:
            timer.cancel()
            self._probe(recipient, item.handle)

    def _wait(self, handle: Handle, errand: _Errand) -> None:
        if errand.timer is not None and errand.timer.active():
            return
        errand.timer = self._clock.callLater(errand.pause_s, self._due, handle)
        errand.pause_s = min(PAUSE_LIMIT_S, errand.pause_s * 2) * self._random.uniform(0.8, 1.0)

    def _due(self, handle: Handle) -> None:
        errand = self._errands.get(handle)
        if errand is not None and not errand.offering and self._may_offer(handle, errand):
            errand.offering = True
            self._tasks.spawn(self._offer_in_turn(handle, errand))

    def _may_offer(self, handle: Handle, errand: _Errand) -> bool:
        """
        Not if the recipient is not known to be there, and another notification is offered already.
        """
        return self._probing.get(errand.recipient, handle) == handle

    def _end(self, handle: Handle) -> None:
        errand = self._errands.pop(handle, None)
        if errand is None:
            return
        if errand.timer is not None and errand.timer.active():
            errand.timer.cancel()
        handles = self._by_recipient.get(errand.recipient)
        if handles is not None:
            handles.pop(handle, None)
            if handles and self._probing.get(errand.recipient) == handle:
                # Another one in its place.
                del self._probing[errand.recipient]
                self._probe(errand.recipient, next(iter(handles)))
            if not handles:
                del self._by_recipient[errand.recipient]
                self._here.discard(errand.recipient)
                self._probing.pop(errand.recipient, None)
                self._lives_at(errand.recipient, None)
                self._said_at.pop(errand.recipient, None)
                self._followed.forget(errand.recipient, self.present)
        if self._left_out and len(self._errands) < ERRANDS_LIMIT // 2:
            self.resume()

    def _lives_at(self, recipient: AccountId, node: NodeId | None) -> None:
        """
        Remember where somebody for whom something waits was last known to be, and nobody else.
        """
        former = self._at.pop(recipient, None)
        if former is not None:
            self._by_node[former].discard(recipient)
            if not self._by_node[former]:
                del self._by_node[former]
        if node is not None:
            self._at[recipient] = node
            self._by_node.setdefault(node, set()).add(recipient)

    def seen(self, contact: Contact) -> None:
        """
        The node at C{contact} has come (back): offer everything that waits for the people who live there.
        """
        for account in list(self._by_node.get(contact.id, ())):
            self._offer_all(account)

    def present(self, account: AccountId, contact: Contact, data: bytes = b"") -> None:
        """
        C{account} says that it is at C{contact}: the same.  What else it says is nothing to us.
        """
        if not self._stopped and account in self._by_recipient:
            self._said_at[account] = contact
            self._lives_at(account, contact.id)
            self._offer_all(account)

    def _probe(self, account: AccountId, handle: Handle) -> None:
        """
        C{account} is not known to be there: offer C{handle}, and nothing else.
        """
        self._probing[account] = handle
        self._wait(handle, self._errands[handle])

    def _offer_all(self, account: AccountId) -> None:
        self._here.add(account)
        self._probing.pop(account, None)
        for handle in list(self._by_recipient[account]):
            errand = self._errands[handle]
            if errand.timer is not None and errand.timer.active():
                errand.timer.cancel()
            # In the order of nearness again, but sooner: the recipient is there now.
            errand.pause_s = 0.05 + 0.5 * self._past.rank(handle)
            if not errand.offering:
                self._wait(handle, errand)

    async def _offer_in_turn(self, handle: Handle, errand: _Errand) -> None:
        turns = self._offers if errand.recipient in self._here else self._probes
        await turns.acquire()
        if not self._may_offer(handle, errand):
            # It has turned out meanwhile that nobody answers there.  There may be a thousand such in a row, and each
            # lets the next one go on at once.
            errand.offering = False
            self._clock.callLater(0, turns.release)
            return
        try:
            await self._offer(handle, errand)
        except PostError as error:
            self.log.debug("{handle} waits on: {error}", handle=handle, error=error)
            self._failed(handle, errand, error)
        finally:
            turns.release()
            errand.offering = False
            # Also after a failure that is our bug: a later offer may go better.
            alive = self._errands.get(handle) is errand and not self._stopped
            if alive and self._may_offer(handle, errand):
                self._wait(handle, errand)

    def _failed(self, handle: Handle, errand: _Errand, error: PostError) -> None:
        if self._errands.get(handle) is not errand or self._stopped:
            return
        if isinstance(error, Unreachable | NotFound):
            self._here.discard(errand.recipient)
            self._probe_next(handle, errand)
        elif errand.recipient not in self._here:
            # They are there, and have something against this one.
            pause_s = errand.pause_s
            self._offer_all(errand.recipient)
            errand.pause_s = pause_s
        self._follow(handle, errand)

    def _probe_next(self, handle: Handle, errand: _Errand) -> None:
        """
        Offer another one the next time, after as long: it may be this one alone that they cannot answer in time.
        """
        handles = self._by_recipient[errand.recipient]
        handles[handle] = handles.pop(handle)
        following = next(iter(handles))
        self._errands[following].pause_s = errand.pause_s
        self._probe(errand.recipient, following)

    def _follow(self, handle: Handle, errand: _Errand) -> None:
        """
        The recipient did not answer: hear of it when they are back.
        """
        here = self._reception.is_here(errand.recipient)
        if self._errands.get(handle) is errand and not here and not self._stopped:
            self._followed.follow(errand.recipient, self.present)

    async def _offer(self, handle: Handle, errand: _Errand) -> None:
        """
        Once; ends the errand if it succeeds or there is nothing left to do.
        """
        item = self._past.held(handle)
        envelope = envelope_in(item.data) if item is not None else None
        if envelope is None or errand.expires < self._clock.seconds():
            self._end(handle)
            return
        receipt = await self._ask_recipient(errand, envelope)
        self._end(handle)
        if errand.recipient in self._by_recipient and errand.recipient not in self._here:
            self._offer_all(errand.recipient)
        await self._dispatch.end(envelope, receipt, errand.expires)

    async def _ask_recipient(self, errand: _Errand, envelope: bytes) -> bytes:
        if self._reception.is_here(errand.recipient):
            return await self._reception.receive(envelope)
        said_at = self._said_at.get(errand.recipient)
        if said_at is not None:
            try:
                return await self._dispatch.push(said_at, errand.recipient, envelope)
            except PostError:
                if self._said_at.get(errand.recipient) == said_at:
                    del self._said_at[errand.recipient]
                raise
        # People move: what is known of a recipient who did not answer is asked anew.
        identity = await self._identities.find(errand.recipient, older_than_s=min(errand.pause_s, PAUSE_LIMIT_S))
        contact = identity.card.contact
        if errand.recipient in self._by_recipient:
            self._lives_at(errand.recipient, contact.id)
        return await self._dispatch.push(contact, errand.recipient, envelope)
