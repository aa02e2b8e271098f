"""
How the nodes of a small ring come to know all of one another (L{post.pastry.roster}).

What happens is spread: whoever comes into the ring, and whoever finds a neighbor dead, tells one node for each place
of its routing table, and each of these tells those below (with the rows after that one), so that a few seconds later
all have heard of it once, over links that are there anyway.  What gets lost in this is found by comparing: every minute
each node shows a neighbor, or one in its table, a fingerprint of its roster, and if both have the same that is all: two
messages.  Otherwise it is told the marks of all entries, asks for those that it lacks, and says what the other lacks.

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
from post.ids import DIGITS, Contact, NodeId
from post.pastry.liveness import Liveness
from post.pastry.ring import Ring
from post.pastry.roster import ROSTER_LIMIT, Entry, Roster
from post.rpc import Rpc, expect
from post.tasks import Tasks, sleep
from post.wire import Message, RefusalCode, message

ROUND_S = 60.0
"""Between two comparisons, where nothing is new."""
NEWS_S = 20.0
"""The same where the last one brought something."""
SPREAD_S = 4.0
"""Before what is heard is told on: what happens together then travels together.  With half of a second, when five nodes
come in a second, two thirds of all that is said at a join were news."""
BATCH_LIMIT = 64
"""Entries in one message: about 4 kB."""
BATCHES_LIMIT = 10
"""Questions of one comparison: enough for all of a roster, both ways."""
MARK_BYTES = 8
MARKS_LIMIT = ROSTER_LIMIT
"""Entries that a roster can have."""
UNASKED_LIMIT = 64
"""Entries new to us that one peer can bring between two of our rounds, unless we asked it.  When more than that come in
at once, the rest is left to comparing."""
LOOKED_FOR_LIMIT = 8
"""Nodes said to be right beside us that are looked for between two rounds."""
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
Entries = Annotated[tuple[Entry, ...], Meta(max_length=BATCH_LIMIT)]


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


@message(0x82)
class News(Message, frozen=True):
    """
    This is new.  Tell it to one node for each place of your table, from C{row} on.
    """

    entries: Entries
    row: Annotated[int, Meta(ge=0, le=DIGITS)] = DIGITS


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
        "_introduced",
        "_liveness",
        "_looked_for",
        "_next_at",
        "_not_before",
        "_pending",
        "_random",
        "_refusals",
        "_ring",
        "_rpc",
        "_running",
        "_tasks",
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
        self._brought: dict[NodeId, int] = {}  # Since our last round, by peer.
        self._looked_for = 0
        self._introduced = False
        self._refusals = 0
        self._pending: dict[NodeId, tuple[Entry, int]] = {}  # What to tell on, and from which row.
        rpc.serve(Compare, self._asked)
        rpc.serve(News, self._told)

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

    def died(self, node: NodeId) -> None:
        """
        C{node} has not answered us.  Of a whole neighborhood that found this out those next to it tell the others.
        """
        roster = self._ring.roster
        entry = roster.about(node) if roster is not None else None
        if entry is not None and entry.gone and (self._is_next(node) or not self._ring.leaves.covers(node)):
            self._spread([entry], 0)

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
                ring.enroll(Roster(self._rpc.transport.local), now)
                self._agreed_at = self._next_at = now
                self._introduced = False
                self._refusals = 0
            return ring.roster
        too_large = roster.overflowed and 4 * ring.size() > 3 * ROSTER_LIMIT
        too_large = too_large or self._refusals >= REFUSALS_LIMIT
        roster.overflowed = False  # Otherwise somebody only talks of many.
        if too_large:
            self._not_before = now + TOO_LARGE_S
        if too_large or ring.leaves.whole or now - self._agreed_at > STALE_S:
            ring.enroll(None, now)
        return ring.roster

    # Asking.

    async def _round(self, roster: Roster) -> None:
        new = False
        self._brought.clear()
        self._looked_for = 0
        for node in roster.expire(self._clock.seconds()):
            self._ring.follow(node)
        try:
            partner = self._partner()
            if partner is not None:
                new = await self._compare(partner, roster)
            if not self._introduced:
                self._introduced = True
                self._spread([roster.own()], 0)
        finally:
            self._running = False
            self._next_at = self._clock.seconds() + (NEWS_S if new else ROUND_S) * self._random.uniform(0.9, 1.1)

    def _partner(self) -> Contact | None:
        """
        Anybody in the leaf set or the table: there are links with them, and together they reach everywhere.
        """
        ring = self._ring
        known = [node for node in dict.fromkeys([*ring.leaves, *ring.table]) if node not in ring.suspects]
        return ring.contacts[self._random.choice(known)] if known else None

    async def _compare(self, partner: Contact, roster: Roster) -> bool:
        """
        @return: whether anything was new to either.
        """
        try:
            answer = await self._ask(partner, Compare(self._fingerprint(roster)))
            self._refusals = 0
            if answer is None or self._ring.roster is not roster:
                return False
            if answer.fingerprint == self._fingerprint(roster):
                self._agreed_at = self._clock.seconds()
                return False
            ours, deaths = roster.entries(), roster.deaths()
            theirs = _split(answer.marks)
            offered = [entry for each, entry in ours.items() if each not in theirs]
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
            self._refusals += refused.code == RefusalCode.NOT_READY
        except PostError as error:
            self.log.debug("{peer} compares no rosters: {error}", peer=partner, error=error)
        return False

    async def _ask(self, partner: Contact, question: Compare) -> Compared | None:
        """
        @return: C{None} if we are not in the ring any more.
        """
        answer = expect(Compared, await self._rpc.ask(partner, question))
        return answer if self._active() else None

    # Answering.

    def _asked(self, peer: Contact, question: Compare) -> Compared:
        roster = self._judge()
        if roster is None or not self._active():
            raise Refused(RefusalCode.NOT_READY)
        fresh, said = self._hear(peer, question.entries, UNASKED_LIMIT)
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

    def _told(self, peer: Contact, news: News) -> None:
        if self._judge() is None or not self._active():
            return
        fresh, better = self._hear(peer, news.entries, UNASKED_LIMIT)
        self._spread(fresh, news.row)
        if better:
            self._rpc.tell(peer, News(tuple(better)))

    def _spread(self, entries: Iterable[Entry], row: int) -> None:
        idle = not self._pending
        for entry in entries:
            node = entry.contact.id
            self._pending[node] = (entry, min(row, self._pending.get(node, (entry, row))[1]))
        if idle and self._pending:
            self._tasks.spawn(self._tell_on())

    async def _tell_on(self) -> None:
        await sleep(self._clock, SPREAD_S)
        pending, self._pending = self._pending, {}
        ring, roster = self._ring, self._ring.roster
        if roster is None or not self._active():
            return
        for row, head in roster.heads(min(first for _, first in pending.values()), ring.table, ring.suspects):
            said = [entry for node, (entry, first) in pending.items() if first <= row and node != head]
            if said:
                self._rpc.tell(ring.contacts[head], News(tuple(said[:BATCH_LIMIT]), row + 1))

    # What is said.

    def _hear(self, peer: Contact, entries: Iterable[Entry], limit: int) -> tuple[list[Entry], list[Entry]]:
        """
        C{peer} says C{entries}, of which at most C{limit} may be new to us.

        @return: those that were, and what counts instead where we know better.
        """
        ring, roster, now = self._ring, self._ring.roster, self._clock.seconds()
        latest = int(now * 1000) + AHEAD_MS
        fresh, better = [], []
        for entry in entries:
            node = entry.contact.id
            if roster is None:
                break
            if entry.version > latest or entry.contact.epoch > entry.version:
                self._complaints.note(peer, "impossible version of a node", node)
                continue
            known = roster.about(node)
            if known is not None and known.rank >= entry.rank:
                if known.rank > entry.rank:
                    better.append(known)
                continue
            brought = self._brought.get(peer.id, 0)
            if brought >= limit:
                break
            self._brought[peer.id] = brought + 1
            if not ring.enlist(entry, now):
                continue
            if node == ring.owner:
                self._spread([roster.own()], 0)  # We are not dead, and have said so.
                continue
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
