"""
How the nodes of a small ring come to know all of one another (L{post.pastry.roster}).

What happens is told to everybody at once (L{post.pastry.news}).  What gets lost in this is found by comparing: every
minute each node shows a neighbor, or one in its table, a fingerprint of its roster, and if both have the same that is
all: two messages.  Otherwise it is told the marks of all entries, asks for those that it lacks, and says what the other
lacks.

What is heard is hearsay.  An address is only dialled, and the certificate proves who is there, so a lie costs a dial;
whoever is said to stand right beside us, and does not, is looked for, and if it is not there its death is told as any
other: what was made up is gone from all rosters soon.  Versions far ahead of our clock are refused, since nobody could
contradict them, and what one peer can bring unasked is limited.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Annotated

from msgspec import Meta
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.complaints import Complaints
from post.errors import PostError, Refused, Unreachable
from post.ids import Contact, NodeId
from post.pastry.liveness import Liveness
from post.pastry.news import BATCH_LIMIT, Entries, Heard, News, Report, Telling
from post.pastry.ring import Ring
from post.pastry.roster import ROSTER_LIMIT, Entry, Roster
from post.rpc import Rpc, expect
from post.tasks import Tasks, sleep
from post.wire import Message, RefusalCode, message

ROUND_S = 60.0
"""Between two comparisons, where nothing is new."""
NEWS_S = 20.0
"""The same where the last one brought something."""
BATCHES_LIMIT = 10
"""Questions of one comparison: enough for all of a roster, both ways."""
ANSWER_S = 5.0
"""For one answer, some 16 kB at the most."""
MARK_BYTES = 8
MARKS_LIMIT = ROSTER_LIMIT
"""Entries that a roster can have."""
UNASKED_LIMIT = 64
"""Entries new to us that one peer can bring in L{NEWS_S}, or as many as the ring has, unless we asked it.  When more
than that come in at once, the rest is left to comparing, soon."""
HURRY_S = 4.0
"""Until then."""
LOOKED_FOR_LIMIT = 8
"""Nodes said to be right beside us that are looked for in the same time."""
INTRODUCTIONS = 2
"""Others that a newcomer asks, one soon after the other, until one compares its roster."""
REFUSALS_LIMIT = 3
"""Whoever is refused so often in a row, by others at random, is nearly alone in judging that the ring is small."""
AHEAD_MS = 86_400_000
"""How far ahead of our clock a version may be: a day, since clocks of desktops are wrong by hours."""
STALE_S = 1800.0
"""A roster that was compared with nobody for so long may name those whose deaths the others have forgotten already: it
is thrown away.  (Half of L{post.pastry.roster.DEATH_S}.)"""
TOO_LARGE_S = 3600.0
"""After the ring was found to be too large for a roster, until that is looked at again."""

Mark = Annotated[bytes, Meta(min_length=MARK_BYTES, max_length=MARK_BYTES)]


@message(0x80)
class Compare(Message, frozen=True):
    """
    My roster has this C{fingerprint}.  I have C{entries}, which you lack, and want those with the marks C{wanted}.
    """

    fingerprint: Mark
    entries: Entries = ()
    wanted: Annotated[bytes, Meta(max_length=MARK_BYTES * BATCH_LIMIT)] = b""


@message(0x81)
class Compared(Message, frozen=True):
    """
    Mine has this one.  C{entries} are what was wanted, or counts instead of what was said; C{marks}, of all that I
    have, come unless our rosters are the same or something was said or wanted.
    """

    fingerprint: Mark
    entries: Entries = ()
    marks: Annotated[bytes, Meta(max_length=MARK_BYTES * MARKS_LIMIT)] = b""


class Gossip:
    """
    Keeps the roster of L{Ring}, while the ring is small.
    """

    log = Logger()

    __slots__ = (
        "_active",
        "_agreed_at",
        "_brought",
        "_clock",
        "_complaints",
        "_forgot_at",
        "_is_new",
        "_liveness",
        "_looked_for",
        "_next_at",
        "_not_before",
        "_random",
        "_refusals",
        "_ring",
        "_rpc",
        "_running",
        "_tasks",
        "_telling",
    )

    def __init__(
        self,
        rpc: Rpc,
        clock: IReactorTime,
        random: Random,
        complaints: Complaints,
        ring: Ring,
        liveness: Liveness,
        tasks: Tasks,
        active: Callable[[], bool],
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._random = random
        self._complaints = complaints
        self._ring = ring
        self._liveness = liveness
        self._tasks = tasks
        self._active = active
        self._running = False
        self._next_at = 0.0
        self._not_before = 0.0
        self._agreed_at = 0.0
        self._brought: dict[NodeId, int] = {}  # Lately, by peer.
        self._forgot_at = 0.0
        self._looked_for = 0
        self._is_new = False  # And nobody has been told of us.
        self._refusals = 0
        self._telling = Telling(rpc, clock, ring, liveness, tasks, active)
        rpc.serve(Compare, self._asked)
        rpc.serve(News, self._told)
        rpc.serve(Report, self._reported)

    # When.

    def tick(self) -> None:
        """
        Compare with somebody, if it is time.  (Called every few seconds.)
        """
        roster = self._judge()
        if roster is not None and self._active() and not self._running and self._clock.seconds() >= self._next_at:
            self._running = True
            self._tasks.spawn(self._round(roster))

    def heard(self, contact: Contact) -> None:
        """
        C{contact} itself says that it is in the ring.  (It tells the others by itself.)
        """
        roster = self._ring.roster
        if roster is not None and roster.heard(contact, self._clock.seconds()):
            self._ring.follow(contact.id)
            entry = roster.about(contact.id)
            if entry is not None:
                self._telling.learned(entry)

    def died(self, node: NodeId) -> None:
        """
        C{node} has not answered us.  Of a whole neighborhood that found this out those next to it tell the others.
        """
        roster = self._ring.roster
        entry = roster.about(node) if roster is not None else None
        if entry is not None and entry.gone:
            self._telling.learned(entry)
            if self._is_next(node) or not self._ring.leaves.covers(node):
                self._telling.publish(entry)

    def _judge(self) -> Roster | None:
        """
        Whether the ring is so small that there is a roster, and yet no leaf set holds all of it.
        """
        ring, now = self._ring, self._clock.seconds()
        roster = ring.roster
        if roster is None:
            # By density a ring is judged rightly within a fifth, most of the time.  A roster that turns out to be too
            # small costs a few dozen messages; a node without one, in a ring of which others have one, a hop each time.
            small = ring.leaves.complete and not ring.leaves.whole and ring.size() <= 2 * ROSTER_LIMIT
            if small and now >= self._not_before and self._active():
                roster = Roster(self._rpc.transport.local)
                ring.enroll(roster, now)
                for entry in roster.entries().values():
                    self._telling.learned(entry)
                self._agreed_at = self._next_at = now
                self._is_new = True
                self._refusals = 0
            return ring.roster
        size = ring.size()
        too_large = size > 2 * ROSTER_LIMIT or (roster.overflowed and 4 * size > 3 * ROSTER_LIMIT)
        too_large = too_large or self._refusals >= REFUSALS_LIMIT
        roster.overflowed = False  # Otherwise somebody only talks of many.
        if too_large:
            self._not_before = now + TOO_LARGE_S
        if too_large or ring.leaves.whole or now - self._agreed_at > STALE_S:
            ring.enroll(None, now)
        return ring.roster

    # Asking.

    async def _round(self, roster: Roster) -> None:
        new: bool | None = None
        now = self._clock.seconds()
        if now - self._forgot_at >= NEWS_S:
            self._forgot_at, self._looked_for, self._brought = now, 0, {}
        for node in roster.expire(now):
            self._ring.follow(node)
        try:
            new = await self._compare(roster)
            for _ in range(INTRODUCTIONS - 1 if self._is_new else 0):
                if (new is not None and 2 * len(roster) > self._ring.size()) or self._ring.roster is not roster:
                    break  # Otherwise a newcomer, who has little itself, may have said what it has.
                await sleep(self._clock, HURRY_S)
                new = await self._compare(roster)
            if self._is_new and new:
                self._tasks.spawn(self._telling.await_echo([roster.own()]))  # Our partner has others told of us.
            elif self._is_new:
                self._telling.publish(roster.own())
            self._is_new = False
        finally:
            self._running = False
            self._next_at = self._clock.seconds() + (ROUND_S if new is False else NEWS_S) * self._random.uniform(
                0.9, 1.1
            )

    def _partner(self) -> Contact | None:
        """
        Anybody in the leaf set or the table: there are links with them, and together they reach everywhere.
        """
        ring = self._ring
        known = [node for node in dict.fromkeys([*ring.leaves, *ring.table]) if node not in ring.suspects]
        return ring.contacts[self._random.choice(known)] if known else None

    async def _compare(self, roster: Roster) -> bool | None:
        """
        @return: whether anything was new to us or to whom we asked; C{None} if that one does not say.
        """
        partner = self._partner()
        if partner is None:
            return None
        try:
            answer = await self._ask(partner, Compare(self._fingerprint(roster)))
            self._refusals = 0
            if answer is None or self._ring.roster is not roster:
                return None
            if answer.fingerprint == self._fingerprint(roster):
                self._agreed_at = self._clock.seconds()
                return False
            ours, deaths = roster.entries(), roster.deaths()
            theirs = _split(answer.marks)
            offered = [entry for each, entry in ours.items() if each not in theirs]
            if self._is_new:
                offered = [roster.own(), *(entry for entry in offered if entry.contact.id != roster.owner)]
            offered += [deaths[each] for each in theirs if each in deaths]
            wanted = [each for each in theirs if each not in ours and each not in deaths]
            for _ in range(BATCHES_LIMIT):
                if not offered and not wanted:
                    break
                asked, wanted = wanted[:BATCH_LIMIT], wanted[BATCH_LIMIT:]
                room = BATCH_LIMIT - len(asked)
                said, offered = offered[:room], offered[room:]
                question = Compare(self._fingerprint(roster), tuple(said), b"".join(asked))
                answer = await self._ask(partner, question)
                if answer is None or self._ring.roster is not roster:
                    return True
                offered += self._hear(partner, answer.entries, ROSTER_LIMIT)[1]
            self._agreed_at = self._clock.seconds()
            return True
        except Unreachable:
            self._liveness.suspect(partner)
        except Refused as refused:
            # Where all are new many are not ready yet.
            self._refusals += refused.code == RefusalCode.NOT_READY and not self._is_new
        except PostError as error:
            self.log.debug("{peer} compares no rosters: {error}", peer=partner, error=error)
        return None

    async def _ask(self, partner: Contact, question: Compare) -> Compared | None:
        """
        @return: C{None} if we are not in the ring any more.
        """
        answer = expect(Compared, await self._rpc.ask(partner, question, ANSWER_S))
        return answer if self._active() else None

    # Answering.

    def _asked(self, peer: Contact, question: Compare) -> Compared:
        roster = self._judge()
        if roster is None or not self._active():
            raise Refused(RefusalCode.NOT_READY)
        fresh, said = self._hear(peer, question.entries, UNASKED_LIMIT)
        self._telling.lead(entry for entry in question.entries if entry.contact.id == peer.id)
        if fresh:
            self._next_at = min(self._next_at, self._clock.seconds() + NEWS_S * self._random.uniform(0.9, 1.1))
        ours = roster.entries()
        said += [ours[each] for each in _split(question.wanted) if each in ours]
        fingerprint = self._fingerprint(roster)
        marks = b""
        if not question.entries and not question.wanted and fingerprint != question.fingerprint:
            marks = b"".join(ours)
        return Compared(fingerprint, tuple(said[:BATCH_LIMIT]), marks)

    # Telling.

    def _told(self, peer: Contact, news: News) -> Heard:
        if self._judge() is None or not self._active():
            raise Refused(RefusalCode.NOT_READY)
        better = self._hear(peer, news.entries, UNASKED_LIMIT)[1]
        # Nobody has to tell others than those who share as many digits with us as whoever tells us, and one more.
        self._telling.heard(news.entries, max(news.row, self._ring.owner.shared_digits(peer.id) + 1))
        if better:
            self._rpc.tell(peer, News(tuple(better)))
        return Heard()

    def _reported(self, peer: Contact, report: Report) -> Heard:
        if self._judge() is None or not self._active():
            raise Refused(RefusalCode.NOT_READY)
        self._hear(peer, report.entries, UNASKED_LIMIT)
        self._telling.lead(report.entries)
        return Heard()

    # What is said.

    def _hear(self, peer: Contact, entries: Iterable[Entry], limit: int) -> tuple[list[Entry], list[Entry]]:
        """
        C{peer} says C{entries}, of which at most C{limit} may be new to us.

        @return: those that were, and what counts instead where we know better.
        """
        ring, roster, now = self._ring, self._ring.roster, self._clock.seconds()
        latest = int(now * 1000) + AHEAD_MS
        limit = max(limit, ring.size())  # Which is judged by those whom we know for certain.
        fresh, better = [], []
        for entry in entries:
            node = entry.contact.id
            if roster is None:
                break
            if entry.version > latest or entry.contact.epoch > entry.version:
                self._complaints.note(peer, "impossible version of a node", node)
                continue
            if entry.gone and node == peer.id:
                self._complaints.note(peer, "calls itself dead", node)
                continue
            known = roster.about(node)
            if known is not None and known.rank >= entry.rank:
                if known.rank > entry.rank:
                    better.append(known)
                continue
            brought = self._brought.get(peer.id, 0)
            if brought >= limit:
                self._next_at = min(self._next_at, now + HURRY_S * self._random.uniform(0.5, 1))
                break
            self._brought[peer.id] = brought + 1
            if not ring.enlist(entry, now):
                continue
            if node == ring.owner:
                self._telling.publish(roster.own())  # We are not dead, and have said so.
                continue
            self._telling.learned(entry)
            self._telling.arrived(node)
            if entry.gone:
                self._liveness.doubt(peer, [node])
            fresh.append(entry)
            self._look_for(entry)
        return fresh, better

    def _look_for(self, entry: Entry) -> None:
        """
        Whoever is said to stand next to us should be in our leaf set.
        """
        ring, node = self._ring, entry.contact.id
        if entry.gone or node == ring.owner or node in ring.leaves:
            return
        if node in ring.absent:
            self._liveness.retry_soon(node)
            return
        if self._is_next(node) and self._looked_for < LOOKED_FOR_LIMIT:
            self._looked_for += 1
            self._liveness.examine(ring.contacts[node])

    def _is_next(self, node: NodeId) -> bool:
        """
        Whether nobody in our leaf set stands between C{node} and us.
        """
        ring = self._ring
        after, before = ring.leaves.successor(), ring.leaves.predecessor()
        if after is not None and ring.owner.clockwise(node) < ring.owner.clockwise(after):
            return True
        return before is not None and node.clockwise(ring.owner) < before.clockwise(ring.owner)

    @staticmethod
    def _fingerprint(roster: Roster) -> bytes:
        return roster.fingerprint.to_bytes(MARK_BYTES, "big")


def _split(marks: bytes) -> list[bytes]:
    return [marks[at : at + MARK_BYTES] for at in range(0, len(marks) - MARK_BYTES + 1, MARK_BYTES)]
