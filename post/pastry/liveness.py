"""
Who is alive (MSPastry, section 4.1; Castro, Costa and Rowstron, DSN 2004).

Nobody watches everybody.  Each node watches the one before it on the ring, which sends it a heartbeat when there is
nothing else to say; and whoever needs a node and gets no answer, or loses the link to it, suspects it.  A suspect is
avoided at once and probed; only if it does not answer to that is it dead.  Whoever stood next to it tells the others,
each of which sees for itself: nobody is buried on hearsay.

The dead are not forgotten but tried again, more and more rarely: computers come back, and two parts of a ring that
lost sight of each other find together again by this alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import Overloaded, PeerError, Refused, Unreachable
from post.ids import Contact, NodeId
from post.pastry.config import PastryConfig
from post.pastry.failures import FailureRate
from post.pastry.messages import Heartbeat, Probe, Probed, Rumor
from post.pastry.ring import Ring
from post.rpc import Rpc, expect
from post.tasks import Tasks, gather, sleep
from post.wire import Priority

if TYPE_CHECKING:
    from post.pastry.indirect import Indirect

ANSWERED_S = 2.0
"""Who has answered so lately is alive, if somebody asks."""
STALL_S = 1.0
"""A timer that rings this much too late tells that it was us who were not running."""
STALLS_LIMIT = 3
"""How often that may excuse a missing answer to one examination."""
RETRIES_LIMIT = 4
"""Absent nodes tried at once."""
LOOK_LEAST_S = 0.5
"""Between two looks at whom we watch and who watches us."""


class _Examination:
    """
    What is being found out about one node.

    @ivar answers: whether it answered, to the first probe or later; C{None} while that is not known.
    @ivar asked: who waits for whether it does.
    @ivar waiting: who waits for the verdict.
    """

    __slots__ = ("answers", "asked", "waiting")

    def __init__(self) -> None:
        self.answers: bool | None = None
        self.asked: list[Deferred[bool]] = []
        self.waiting: list[Deferred[bool]] = []


class Liveness:
    """
    Suspects, probes, and buries.

    @ivar probes: how many have been sent.
    @ivar failures: how often nodes die.
    @ivar indirect: looks for ways around to those who do not answer, if there can be any.
    """

    __slots__ = (
        "_acquitted",
        "_answered",
        "_answered_at",
        "_beat",
        "_clock",
        "_config",
        "_died",
        "_digest_at",
        "_disagreeing",
        "_examined",
        "_promised_s",
        "_question",
        "_random",
        "_ring",
        "_rpc",
        "_tasks",
        "_watched",
        "failures",
        "indirect",
        "probes",
    )

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        clock: IReactorTime,
        random: Random,
        ring: Ring,
        config: PastryConfig,
        tasks: Tasks,
        question: Callable[[bool], Probe],
        answered: Callable[[Contact, Probe, Probed], None],
        acquitted: Callable[[Contact], None],
        died: Callable[[Contact, bool], None],
    ) -> None:
        """
        @param question: makes the probe, which may ask to be probed back.
        @param answered: told of every answer.
        @param acquitted: told of suspects that are alive and have given no such answer; they are no suspects after it.
        @param died: told of every death, and whether it was a member of the leaf set.
        """
        self.probes = 0
        self.indirect: Indirect | None = None
        self._rpc = rpc
        self._clock = clock
        self._random = random
        self._ring = ring
        self._config = config
        self._tasks = tasks
        self._question = question
        self._disagreeing: set[NodeId] = set()  # Whose next probe asks to be probed back.
        self._answered = answered
        self._acquitted = acquitted
        self._died = died
        self._watched: tuple[NodeId | None, float] = (None, 0.0)  # Who stands before us, and since when.
        self._examined: dict[NodeId, _Examination] = {}
        self._answered_at: dict[NodeId, float] = {}  # When members of the leaf set last answered a probe.
        self._digest_at = 0.0
        self._beat: tuple[NodeId | None, float] = (None, 0.0)  # Who stands after us, and when it last heard from us.
        self._promised_s = config.heartbeat_s  # Between the heartbeats of whoever stands before us.
        self.failures = FailureRate(clock)
        rpc.watch(lost=self.lost)
        rpc.serve(Heartbeat, self._heartbeat)
        rpc.serve(Rumor, self._rumor)

    # What makes us look.

    def lost(self, node: NodeId) -> None:
        """
        The link to C{node} is gone: perhaps the node too.
        """
        contact = self._ring.contacts.get(node)
        if contact is not None:
            self.suspect(contact)

    def suspect(self, contact: Contact) -> None:
        """
        C{contact} did not do what a living node does.
        """
        node = contact.id
        if node == self._ring.owner:
            return
        known = self._ring.contacts.get(node)
        if known is not None:
            if self.indirect is not None:
                self.indirect.doubt(node)
            self._ring.suspects.add(node)
            self.look_after(known)

    def _rumor(self, peer: Contact, rumor: Rumor) -> None:
        self.hear_of_deaths(peer, rumor.gone, rumor.confirmed)

    def hear_of_deaths(self, peer: Contact, gone: Iterable[NodeId], confirmed: int = 0) -> None:
        """
        C{peer} holds these for dead.
        """
        if self.indirect is not None:
            self.indirect.rumored(peer, gone, confirmed)
        self.doubt(peer, gone)

    def doubt(self, peer: Contact, gone: Iterable[NodeId]) -> None:
        """
        C{peer} repeats that these are dead.  Whoever has answered us lately is not: when two parts of a ring come
        together, each holds the other for dead, and would have us ask round and round.
        """
        since = self._clock.seconds() - self._config.heartbeat_s
        for node in gone:
            if node in self._ring.leaves and node != peer.id and self._answered_at.get(node, since) <= since:
                self.suspect(self._ring.contacts[node])

    def _heartbeat(self, peer: Contact, heartbeat: Heartbeat) -> None:
        """
        C{peer} believes to stand before us.  If it does not, or one of us knows somebody that the other should, then
        each asks the other.
        """
        if peer.id == self._watched[0]:
            self._promised_s = min(heartbeat.every_s, self._config.heartbeat_s)
        if peer.id != self._ring.leaves.predecessor() or heartbeat.digest != self._ring.digest(peer.id):
            self._disagreeing.add(peer.id)
            self.look_after(peer)

    # Looking.

    def examine(self, contact: Contact) -> Deferred[bool]:
        """
        Probe C{contact}, unless that is being done; fires with whether it is alive.
        """
        done: Deferred[bool] = Deferred()
        self._examination(contact).waiting.append(done)
        return done

    def look_after(self, contact: Contact) -> None:
        """
        The same, for whom nobody waits: so nothing is kept for that, however often somebody else makes us do it.
        """
        self._examination(contact)

    def _examination(self, contact: Contact) -> _Examination:
        examination = self._examined.get(contact.id)
        if examination is None:
            examination = self._examined[contact.id] = _Examination()
            self._tasks.spawn(self._examine(contact, examination))
        return examination

    async def _examine(self, contact: Contact, examination: _Examination) -> None:
        try:
            # Whoever has not answered once is asked again, and others are asked about it at the same time: messages
            # wait for what comes out.
            alive = await self._probe(contact, 1, self._ring.suspects, again=True)
            examination.answers = alive
            _fire(examination.asked, alive)
            if not alive:
                again = self._probe(contact, self._config.probe_tries - 1, self._ring.suspects)
                alive = any(await gather([again, self._seek(contact)]))
        finally:
            del self._examined[contact.id]
            self._disagreeing.discard(contact.id)
        if not alive:
            self._bury(contact)
        elif contact.id in self._ring.suspects:
            self._acquitted(contact)
        _fire(examination.waiting, alive)

    async def _seek(self, contact: Contact) -> bool:
        """
        C{contact} does not answer us: whether it does by way of others, or is back before these have said.
        """
        if self.indirect is None:
            return False
        began_at = self._clock.seconds()
        if await self.indirect.seek(contact):
            return True
        known = self._ring.contacts.get(contact.id, contact)
        silent_s = self._rpc.transport.silent_s(contact.id)
        is_heard = silent_s is not None and silent_s < self._clock.seconds() - began_at
        return (is_heard or known.epoch > contact.epoch) and await self._probe(known, 1)

    async def probe(self, contact: Contact) -> bool:
        """
        Ask C{contact} once; whether it is alive.
        """
        return await self._probe(contact, 1)

    async def answers(self, contact: Contact) -> bool:
        """
        Whether C{contact} answers us now, for others who get no answer from it.  If it does not, and we know it, we are
        on the way to a verdict of our own.
        """
        node = contact.id
        answered_at = self._answered_at.get(node)
        examination = self._examined.get(node)
        if examination is None:
            if answered_at is not None and self._clock.seconds() - answered_at <= ANSWERED_S:
                return True
            if node not in self._ring.contacts:
                return await self._probe(contact, 1)
            examination = self._examination(self._ring.contacts[node])
        if examination.answers is not None:
            return examination.answers
        done: Deferred[bool] = Deferred()
        examination.asked.append(done)
        return await done

    async def _probe(
        self, contact: Contact, tries: int, suspects: set[NodeId] | None = None, again: bool = False
    ) -> bool:
        """
        Ask up to C{tries} times.  A time-out that comes far too late does not count: we slept, not the other.

        @param suspects: to which it is added when it does not answer; the caller takes it out again.
        @param again: whether the caller will ask again.
        """
        node = contact.id
        stalls = 0
        while tries > 0:
            # It may have started anew, elsewhere, while we were asking.
            contact = self._ring.contacts.get(node, contact)
            patience_s = self._config.probe_s + 2 * (self._rpc.transport.round_trip_s(node) or 0.0)
            asked_at = self._clock.seconds()
            self.probes += 1
            try:
                probe = self._question(node in self._disagreeing)
                answer = expect(Probed, await self._rpc.ask(contact, probe, patience_s, Priority.URGENT))
            except (Unreachable, Overloaded):
                waited_s = self._clock.seconds() - asked_at
                if waited_s > patience_s + STALL_S and stalls < STALLS_LIMIT:
                    stalls += 1
                    continue
                tries -= 1
                if suspects is not None and node in self._ring.contacts:
                    suspects.add(node)
                if (tries or again) and waited_s < patience_s:
                    # A link that breaks, or cannot be made just now, says so at once.  That is no second opinion.
                    await sleep(self._clock, patience_s - waited_s)
            except (Refused, PeerError) as error:
                self.log.debug("{peer} answers a probe with {error}", peer=contact, error=error)
                return True
            else:
                if node in self._examined and self._examined[node].answers is False:
                    self._examined[node].answers = True
                self._answered(contact, probe, answer)
                if node in self._ring.leaves:
                    self._answered_at[node] = self._clock.seconds()
                return True
        return False

    def _bury(self, contact: Contact) -> None:
        leaves = self._ring.leaves
        was_before = contact.id == leaves.predecessor()
        was_next = was_before or contact.id == leaves.successor()
        if contact.id in self._ring.contacts:
            self.failures.note()
        was_leaf = self._ring.bury(contact, self._clock.seconds())
        confirmed = self.indirect.buried(contact.id, was_leaf) if self.indirect is not None else 0
        before = leaves.predecessor()
        if was_before and before is not None:
            # Until now it was the dead one that watched it: it may be silent for as long.
            self.examine(self._ring.contacts[before])
        if was_next:
            rumor = Rumor((contact.id,), confirmed)
            for member in self._ring.leaf_contacts():
                if member.id not in self._ring.suspects:
                    self._rpc.tell(member, rumor, Priority.URGENT)
        self._died(contact, was_leaf)

    # What is done every few seconds.

    def pause_s(self) -> float:
        """
        Until the next L{tick}: a heartbeat is due then, or whom we watch has been silent for too long.
        """
        now, every_s = self._clock.seconds(), self._heartbeat_s()
        due_s = every_s if self._beat[0] is None else self._beat[1] + every_s - now
        due_s *= self._random.uniform(0.9, 1.0)
        if self._watched[0] is not None:
            due_s = min(due_s, self._silence_limit_s() - self._silence_s(now))
        return max(due_s, LOOK_LEAST_S)

    def tick(self) -> None:
        """
        Send a heartbeat if one is due, look after the node before us, and try some of the absent again.
        """
        now = self._clock.seconds()
        after, before = self._ring.leaves.successor(), self._ring.leaves.predecessor()
        config, transport = self._config, self._rpc.transport
        every_s = self._heartbeat_s()
        if after is not None and after not in self._ring.suspects:
            silent_s = transport.silent_s(after)
            heard_at = now - silent_s if silent_s is not None else now - every_s
            if self._beat[0] == after:
                heard_at = max(heard_at, self._beat[1])
            if now - heard_at >= 0.8 * every_s or now - self._digest_at >= config.digest_s:
                heard_at = self._digest_at = now
                self._rpc.tell(
                    self._ring.contacts[after], Heartbeat(self._ring.digest(after), every_s), Priority.URGENT
                )
            self._beat = (after, heard_at)
        if before != self._watched[0]:
            self._watched, self._promised_s = (before, now), config.heartbeat_s
        if before is not None and self._silence_s(now) >= self._silence_limit_s():
            self.examine(self._ring.contacts[before])  # No suspect yet: it may have heard enough from us.
        self._answered_at = {node: at for node, at in self._answered_at.items() if node in self._ring.leaves}
        self._retry(now)

    def _silence_s(self, now: float) -> float:
        """
        For how long whom we watch has not been heard from, while we watched it.
        """
        node, since = self._watched
        silent_s = None if node is None else self._rpc.transport.silent_s(node)
        return now - since if silent_s is None else min(now - since, silent_s)

    def _silence_limit_s(self) -> float:
        return self._config.silence_limit_s(self._promised_s)

    def _heartbeat_s(self) -> float:
        """
        How often to send heartbeats: the more often others die, the more often.
        """
        config = self._config
        rate = self.failures.rate(len(self._ring.leaves) + len(self._ring.table))
        # As long again passes before silence is noticed and the verdict is there.
        return min(max(config.dead_leaves / rate / 2, config.heartbeat_least_s), config.heartbeat_s)

    def _retry(self, now: float) -> None:
        due = [absent for absent in self._ring.absent.values() if absent.retry_at <= now]
        for absent in due[:RETRIES_LIMIT]:
            absent.wait_s = min(2 * absent.wait_s, self._config.absent_most_s)
            absent.retry_at = now + absent.wait_s * self._random.uniform(0.8, 1.2)
            self._tasks.spawn(self._try_again(absent.contact))

    async def _try_again(self, contact: Contact) -> None:
        if not await self._probe(contact, 1) and self.indirect is not None:
            await self.indirect.seek_absent(contact)

    def retry_soon(self, node: NodeId | None = None) -> None:
        """
        C{node} was heard of, or (C{None}) somebody came back: perhaps the others who are absent did too.
        """
        now = self._clock.seconds()
        absents = self._ring.absent.values() if node is None else [self._ring.absent[node]]
        for absent in absents:
            tried_at = absent.retry_at - absent.wait_s
            absent.retry_at = min(absent.retry_at, max(now, tried_at + self._config.heartbeat_s))


def _fire(waiting: list[Deferred[bool]], result: bool) -> None:
    """
    Tell all of them, once.
    """
    told = waiting[:]
    waiting.clear()
    for each in told:
        each.callback(result)
