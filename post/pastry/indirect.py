"""
Nodes that are alive, and that we do not reach (Freedman, Lakshminarayanan, Rhea and Stoica, "Non-transitive
connectivity and DHTs", WORLDS 2005: 2.3 % of all pairs).

If each node judged by its own links alone, the leaf sets of two neighbors would differ, and a key have two roots.  So
before a member of the leaf set, or one that would be, is taken for dead, others are asked whether they reach it: its
neighbors on the ring, at most eight, few at a time.  If one does, it becomes the relay by which we reach that node too
(L{post.relay.transport}): the node answers our probe, keeps its place, and is its keys' root to us as to all others.

Where everybody reaches everybody this must cost next to nothing, though nodes die.  Only those next to the dead on the
ring ask, and their rumor says that others could not reach it either; who is farther waits a little for that, and asks
only if no rumor comes, as happens if the node is alive.  A rumor alone buries nobody: who hears it has probed in vain
itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import Overloaded, PostError
from post.ids import Contact, NodeId
from post.pastry.leafset import Side
from post.pastry.quotas import Shares
from post.pastry.ring import Ring
from post.relay.messages import Inquire, Inquired, Outcome
from post.relay.transport import RelayTransport
from post.rpc import Rpc, expect
from post.tasks import Tasks, gather, sleep
from post.wire import Priority

ASKED_LIMIT = 8
"""Nodes asked about one: with 24 at once, the original system's network broke down."""
AT_ONCE = 3
"""Of these in one go.  If 2.3 % of all pairs are unreachable, one of three reaches it but for one time in 10,000."""
DEAD_ENOUGH = 3
"""So many who do not reach it either, and it is dead."""
FAR_ENOUGH = 2
"""The same of a node that is far from us on the ring, and stands in our roster."""
FAR_S = 10.0
"""For which the news of such a death is waited for, which is gathered for four seconds, perhaps twice; it is avoided
meanwhile."""
RUMOR_WEIGHT = 2
"""A rumor that others confirm counts for as many of these at most: nobody is buried on the word of one."""
RUMOR_S = 2.5
"""For which a rumor is waited for by those who do not stand next to the dead: if several found out at the same time,
those who do ask first.  Messages for the dead wait at one of those and not with us."""
RUMOR_KEPT_S = 30.0
"""Rumors older than this tell of another time."""
SETTLE_S = 8.0
"""Whoever names a node so soon after it was found dead has not heard of that yet."""
INQUIRE_S = 3.0
"""For an answer: whoever is asked probes, with a second's patience, and perhaps has to link first."""
RUNNING_LIMIT = 32
"""Questions of others being looked into at once, of which one peer gets half; more are refused."""
NAMED_LIMIT = 256
"""Nodes for which it is remembered who named them, and of whom there are rumors; the last ones."""
BEFRIENDED_LIMIT = 8
"""Nodes outside of our leaf set to which ways are looked for at once, because an application needs them."""
BEFRIEND_AGAIN_S = 60.0
"""Before that is done again for the same one."""

Probe = Callable[[Contact], Awaitable[bool]]


class _Rumors:
    """
    Who says that a node is dead, and how many others they know to say so.
    """

    __slots__ = ("at_s", "confirmed", "sources")

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s
        self.sources: set[NodeId] = set()
        self.confirmed = 0

    @property
    def weight(self) -> int:
        """
        As so many it counts who say so.
        """
        return len(self.sources) - 1 + min(1 + self.confirmed, RUMOR_WEIGHT)


class Indirect:
    """
    Finds out who is alive though we do not reach it.
    """

    __slots__ = (
        "_answers",
        "_awaited",
        "_befriended",
        "_clock",
        "_confirmed",
        "_named",
        "_probe",
        "_relay",
        "_ring",
        "_rpc",
        "_rumors",
        "_running",
        "_tasks",
    )

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        clock: IReactorTime,
        ring: Ring,
        relay: RelayTransport,
        tasks: Tasks,
        probe: Probe,
        answers: Probe,
    ) -> None:
        """
        @param probe: asks a node once whether it is alive, and takes in what it says.
        @param answers: the same, unless that is known or being found out.
        """
        self._rpc = rpc
        self._clock = clock
        self._ring = ring
        self._relay = relay
        self._tasks = tasks
        self._probe = probe
        self._answers = answers
        self._running = Shares(RUNNING_LIMIT, ring.owner)
        self._named: dict[NodeId, Contact] = {}  # Who told us last of a node that is no member of the leaf set.
        self._rumors: dict[NodeId, _Rumors] = {}
        self._awaited: dict[NodeId, Deferred[None]] = {}
        self._confirmed: dict[NodeId, int] = {}  # Of those looked into now: how many do not reach it either.
        self._befriended: dict[NodeId, float] = {}  # When a way was last looked for.
        rpc.serve(Inquire, self._inquired)

    # What is heard.

    def named(self, informant: Contact, contacts: Iterable[Contact]) -> None:
        """
        C{informant} has C{contacts} in its leaf set, so it should reach them.
        """
        now = self._clock.seconds()
        for contact in contacts:
            absent = self._ring.absent.get(contact.id)
            if absent is not None and now < absent.retry_at - absent.wait_s + SETTLE_S:
                continue
            if contact.id not in self._ring.leaves:
                self._named.pop(contact.id, None)
                self._named[contact.id] = informant
                if len(self._named) > NAMED_LIMIT:
                    del self._named[next(iter(self._named))]

    def answered(self, contact: Contact, news: Iterable[Contact]) -> None:
        """
        C{contact} is reached, and names C{news}.
        """
        self._named.pop(contact.id, None)
        if news:
            self.named(contact, news)

    def rumored(self, peer: Contact, gone: Iterable[NodeId], confirmed: int) -> None:
        """
        C{peer} holds these for dead, and so do C{confirmed} others.
        """
        now = self._clock.seconds()
        for node in gone:
            if node not in self._ring.leaves or node == peer.id:
                continue
            rumors = self._rumors.pop(node, None)
            if rumors is None or now - rumors.at_s > RUMOR_KEPT_S:
                rumors = _Rumors(now)
            self._rumors[node] = rumors
            if len(self._rumors) > NAMED_LIMIT:
                del self._rumors[next(iter(self._rumors))]
            rumors.sources.add(peer.id)
            rumors.confirmed = max(rumors.confirmed, confirmed)
            awaited = self._awaited.get(node)
            if awaited is not None and not awaited.called and rumors.weight >= DEAD_ENOUGH:
                awaited.callback(None)

    def doubt(self, node: NodeId) -> None:
        """
        C{node} did not answer: if there are several ways around to it, use another one.
        """
        self._relay.doubt(node)

    def buried(self, node: NodeId, was_member: bool) -> int:
        """
        C{node} is dead, as others say too if it C{was_member} of the leaf set; what was heard of it before counts no
        more.

        @return: how many others do not reach it.
        """
        self._named.pop(node, None)
        self._rumors.pop(node, None)
        if was_member:
            self._relay.forgo(node)
        return self._confirmed.pop(node, 0)

    # Looking.

    async def seek(self, contact: Contact) -> bool:
        """
        C{contact} does not answer us: whether it answers by way of others.
        """
        node = contact.id
        is_member = node in self._ring.leaves
        if not is_member and not self._ring.leaves.wants(node, Side.BOTH):
            return await self._seek_far(contact)
        if is_member and not self._is_next(node):
            await self._wait_for_rumor(node)
        rumors = self._rumors.get(node)
        dead = 0 if rumors is None or self._clock.seconds() - rumors.at_s > RUMOR_KEPT_S else rumors.weight
        return await self._ask_around(contact, dead, DEAD_ENOUGH)

    async def _seek_far(self, contact: Contact) -> bool:
        """
        Others than C{contact} will do as well.  But where all are told of a death (L{post.pastry.gossip}), it has to be
        one; those who stand next to it know that first.
        """
        ring, node = self._ring, contact.id
        if ring.roster is None or node not in ring.roster:
            return False
        await sleep(self._clock, FAR_S)
        if node not in ring.suspects or ring.roster is None or node not in ring.roster:
            return False
        return await self._ask_around(contact, 0, FAR_ENOUGH)

    async def seek_absent(self, contact: Contact) -> bool:
        """
        C{contact} was dead to us and does not answer: if somebody has named it since, whether that one reaches it.
        """
        if contact.id not in self._named:
            return False
        reached = await self._ask_around(contact, 0, 1)
        self._named.pop(contact.id, None)
        return reached

    def befriend(self, contact: Contact) -> None:
        """
        An application got no answer from C{contact}, who is far from us on the ring: look for a way around, for the
        next time.
        """
        now, node = self._clock.seconds(), contact.id
        running = sum(now - at_s < INQUIRE_S for at_s in self._befriended.values())
        if node == self._ring.owner or node in self._ring.leaves or running >= BEFRIENDED_LIMIT:
            return
        if now - self._befriended.get(node, float("-inf")) < BEFRIEND_AGAIN_S:
            return
        self._befriended.pop(node, None)
        self._befriended[node] = now
        if len(self._befriended) > NAMED_LIMIT:
            del self._befriended[next(iter(self._befriended))]
        self._tasks.spawn(self._befriend(contact))

    async def _befriend(self, contact: Contact) -> None:
        if not await self._probe(contact):
            await self._ask_around(contact, 0, 1)

    async def _ask_around(self, contact: Contact, dead: int, enough: int) -> bool:
        """
        @param dead: how many say already that it is.
        @param enough: so many make it sure.
        """
        node = contact.id
        candidates = self._candidates(node)
        if dead < enough:
            self._confirmed[node] = 0
        while dead < enough and candidates:
            asked = candidates[: min(AT_ONCE, enough - dead)]
            del candidates[: len(asked)]
            outcomes = await gather(self._inquire(each, contact) for each in asked)
            for relay, outcome in zip(asked, outcomes, strict=True):
                if outcome is not Outcome.REACHED:
                    continue
                if await self._relay.open(contact, [relay]) and await self._probe(contact):
                    self._confirmed.pop(node, None)
                    return True
                self._relay.forgo(node, relay.id)
            dead += outcomes.count(Outcome.DEAD)
            self._confirmed[node] = dead
        return False

    def _candidates(self, node: NodeId) -> list[Contact]:
        """
        Whom to ask: who named it, then those nearest to it on the ring.
        """
        ring = self._ring
        found = [self._named[node]] if node in self._named else []
        known = ring.leaf_contacts() if ring.roster is None else ring.contacts.values()
        found += sorted(known, key=lambda each: each.id.distance(node))
        fit = {
            each.id: each
            for each in found
            if each.id not in ring.suspects
            and each.id not in (node, ring.owner)
            and not self._relay.is_indirect(each.id)
        }
        return list(fit.values())[:ASKED_LIMIT]

    async def _inquire(self, relay: Contact, contact: Contact) -> Outcome:
        try:
            answer = expect(Inquired, await self._rpc.ask(relay, Inquire(contact), INQUIRE_S, Priority.URGENT))
        except PostError as error:
            self.log.debug("{relay} does not say: {error}", relay=relay, error=error)
            return Outcome.UNKNOWN
        return Outcome(answer.outcome)

    def _is_next(self, node: NodeId) -> bool:
        """
        Whether nobody alive stands between C{node} and us.
        """
        for side in (self._ring.leaves.successors(), self._ring.leaves.predecessors()):
            for each in side:
                if each == node:
                    return True
                if each not in self._ring.suspects:
                    break
        return False

    async def _wait_for_rumor(self, node: NodeId) -> None:
        rumors = self._rumors.get(node)
        if rumors is not None and rumors.weight >= DEAD_ENOUGH:
            return
        awaited = self._awaited[node] = Deferred()
        try:
            await awaited.addTimeout(RUMOR_S, self._clock)
        except TimeoutError:
            pass
        finally:
            self._awaited.pop(node, None)

    # Others look.

    async def _inquired(self, peer: Contact, question: Inquire) -> Inquired:
        contact = question.contact
        if contact.id == self._ring.owner or contact.id == peer.id:
            return Inquired(Outcome.UNKNOWN)
        if self._relay.is_indirect(contact.id):
            return Inquired(Outcome.UNKNOWN)
        if not self._running.has_room(peer.id):
            raise Overloaded("too many questions about others")
        self._running.take(peer.id)
        try:
            if await self._answers(contact):
                return Inquired(Outcome.UNKNOWN if self._relay.is_indirect(contact.id) else Outcome.REACHED)
            return Inquired(Outcome.DEAD)
        finally:
            self._running.give(peer.id)
