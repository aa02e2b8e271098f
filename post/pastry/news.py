"""
How everybody in a small ring hears at once of what happens there (L{post.pastry.gossip} keeps what is heard).

One node has the lead: whoever is nearest to a place of the ring that moves on every ten minutes.  Who comes in, finds a
neighbor dead, or contradicts its own death reports to that one, which tells one node for each place of its routing
table; each of these tells those below, with the rows after that one, so that all hear of it once, over links that are
there.  The first news goes at once, and what comes in during the seconds after it goes together: where many come and
go, a message to each node tells of all of them.  (Gupta, Liskov and Rodrigues, NSDI 2004, have leaders of slices and
units for that; here one suffices, and the table is the tree below it.)

Nobody is depended on.  If the leader does not answer, the next one is taken; if it says nothing on, whoever reported
does not hear its own news and tells it itself.  Who has others below acknowledges, or another one in its place is told.
And whoever has the news already, from wherever, tells those below it all the same, once: they have it from nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Annotated

from msgspec import Meta
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import PostError, Unreachable
from post.ids import DIGITS, RING, Contact, NodeId
from post.pastry.liveness import Liveness
from post.pastry.ring import Ring
from post.pastry.roster import ROSTER_LIMIT, Entry, Roster
from post.rpc import Rpc, expect
from post.tasks import Tasks, sleep
from post.wire import Message, message

LEAD_S = 600.0
"""For which one node has the lead, by its own clock: two with the lead cost more messages, and nothing else."""
STRIDE = int(RING * 0.6180339887498949)
"""From the place of one leader to that of the next: the golden section, so that no part of the ring is left out."""
SPREAD_S = 4.0
"""For which the leader gathers what comes after the first news, and whoever reports several things at once."""
RELAY_S = 0.5
"""The same for those below, since one who lies could send much one by one."""
ECHO_S = 15.0
"""For which whoever has reported waits to hear of it: longer than the news takes down to everybody."""
LEADERS_LIMIT = 3
"""Nodes tried as the leader; then we are it ourselves."""
HEADS_LIMIT = 3
"""Nodes of one place of the table tried one after the other."""
FEW = 3
"""So few who may stand in one place of the table are all told by us: that is as many messages, and nobody is waited
for."""
HEARD_S = 3.0
"""For an acknowledgement: a round trip, and perhaps a link that has to be made."""
RECENT_S = 60.0
"""News older than this is told on no more, since all that hear of it have compared their rosters."""
CATCH_UP_S = 15.0
"""Whoever turns out to be here hears from us what we have told so lately to others, and would have told to it."""
RECENT_LIMIT = 2 * ROSTER_LIMIT
"""Of what is remembered as recent."""
BATCH_LIMIT = 64
"""Entries in one message: about 4 kB."""

Entries = Annotated[tuple[Entry, ...], Meta(max_length=BATCH_LIMIT)]


@message(0x82)
class News(Message, frozen=True):
    """
    This is new.  Tell it to one node for each place of your table, from C{row} on.
    """

    entries: Entries
    row: Annotated[int, Meta(ge=0, le=DIGITS)] = DIGITS


@message(0x83)
class Heard(Message, frozen=True):
    """
    The answer to L{Report}, and to L{News} where it was a question: I tell it on.
    """


@message(0x84)
class Report(Message, frozen=True):
    """
    This is new, and you have the lead: see that everybody hears of it.  Answered by L{Heard}.
    """

    entries: Entries


class _Recent:
    """
    Something that became known lately.

    @ivar row: from which row on it has been told to those below.
    @ivar told: whether it has come to us as news.
    @ivar reported: whether it has been given to the leader.
    @ivar greeted: whether the node, if it has come, has been told what it may have missed.
    """

    __slots__ = ("at_s", "entry", "greeted", "reported", "row", "told")

    def __init__(self, entry: Entry, at_s: float) -> None:
        self.entry = entry
        self.at_s = at_s
        self.row = DIGITS
        self.told = self.reported = self.greeted = False


class _Gathered:
    """
    What is to be told on.

    @ivar entries: and from which row on, up to which.
    @ivar window_s: between two messages.
    @ivar running: whether the next one is waited for.
    """

    __slots__ = ("entries", "running", "window_s")

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self.entries: dict[NodeId, tuple[Entry, int, int]] = {}
        self.running = False


class Telling:
    """
    Tells what is new in the roster of L{Ring}.
    """

    __slots__ = (
        "_active",
        "_clock",
        "_leading",
        "_liveness",
        "_recent",
        "_relaying",
        "_reporting",
        "_reports",
        "_ring",
        "_rpc",
        "_tasks",
    )

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        clock: IReactorTime,
        ring: Ring,
        liveness: Liveness,
        tasks: Tasks,
        active: Callable[[], bool],
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._ring = ring
        self._liveness = liveness
        self._tasks = tasks
        self._active = active
        self._recent: dict[NodeId, _Recent] = {}  # The oldest first.
        self._leading = _Gathered(SPREAD_S)
        self._relaying = _Gathered(RELAY_S)
        self._reports: dict[NodeId, Entry] = {}  # What to tell the leader.
        self._reporting = False

    # What is known.

    def learned(self, entry: Entry) -> None:
        """
        C{entry} is known from now on, from wherever.
        """
        node, now = entry.contact.id, self._clock.seconds()
        recent = self._recent.get(node)
        if recent is not None and recent.entry.rank == entry.rank:
            return
        self._recent.pop(node, None)
        self._recent[node] = _Recent(entry, now)
        while len(self._recent) > RECENT_LIMIT or now - next(iter(self._recent.values())).at_s > RECENT_S:
            del self._recent[next(iter(self._recent))]

    def publish(self, entry: Entry) -> None:
        """
        See that everybody hears of C{entry}, which we know first-hand.
        """
        self.learned(entry)
        node = entry.contact.id
        recent = self._recent.get(node)
        if recent is None or recent.told or recent.reported or recent.row == 0:
            return  # It goes around already.
        recent.reported = True
        self._reports[node] = entry
        if not self._reporting:
            self._reporting = True
            self._tasks.spawn(self._hand_in())

    def lead(self, entries: Iterable[Entry]) -> None:
        """
        C{entries} were reported to us.  Whoever has just come in may not know yet who has the lead; then they go there.
        """
        leads = self._leader(()) is None
        for entry in entries:
            recent = self._recent.get(entry.contact.id)
            if leads or (recent is not None and recent.reported):  # Lest two give it to each other.
                self.pass_on([entry], 0)
            elif recent is not None and recent.entry.rank == entry.rank:
                self.publish(recent.entry)

    def heard(self, entries: Iterable[Entry], row: int) -> None:
        """
        C{entries} came as news, for those below us from C{row} on.
        """
        for entry in entries:
            recent = self._recent.get(entry.contact.id)
            if recent is not None and recent.entry.rank == entry.rank:
                recent.told = True
        self.pass_on(entries, row)

    def pass_on(self, entries: Iterable[Entry], row: int) -> None:
        """
        Tell what is recent of C{entries} to those below us from C{row} on, as far as that has not been done.
        """
        gathered, since = self._relaying if row else self._leading, self._clock.seconds() - RECENT_S
        for entry in entries:
            node = entry.contact.id
            recent = self._recent.get(node)
            if recent is None or recent.entry.rank != entry.rank or row >= recent.row or recent.at_s < since:
                continue
            pending = gathered.entries.get(node)
            self.arrived(node)
            last = pending[2] if pending is not None and pending[0].rank == entry.rank else recent.row
            gathered.entries[node] = (recent.entry, row, last)
            recent.row = row
        if gathered.entries and not gathered.running:
            gathered.running = True
            self._tasks.spawn(self._tell_on(gathered))

    def arrived(self, node: NodeId) -> None:
        """
        C{node} is here, which we did not know before: tell it what it may have missed, unless others stand beside it.
        """
        ring, roster, known = self._ring, self._ring.roster, self._recent.get(node)
        row = ring.owner.shared_digits(node)
        if known is None or known.greeted or known.entry.gone or node == ring.owner:
            return
        known.greeted = True
        # When it was told they may have been fewer there.
        if roster is None or len(roster.place(row, node)) > 2 * FEW or not self._active():
            return
        since = self._clock.seconds() - CATCH_UP_S
        missed = [
            recent.entry
            for each, recent in self._recent.items()
            if recent.row <= row
            and recent.at_s >= since
            and each != node
            and not (each in self._leading.entries or each in self._relaying.entries)
        ]
        if missed:
            self._rpc.tell(ring.contacts[node], News(tuple(missed[:BATCH_LIMIT])))

    # To the leader.

    async def _hand_in(self) -> None:
        try:
            while self._reports:
                entries = list(self._reports.values())[:BATCH_LIMIT]
                for entry in entries:
                    del self._reports[entry.contact.id]
                await self._hand_to_leader(entries)
                await sleep(self._clock, SPREAD_S)
        finally:
            self._reporting = False

    async def _hand_to_leader(self, entries: Sequence[Entry]) -> None:
        tried: set[NodeId] = set()
        while len(tried) < LEADERS_LIMIT:
            leader = self._leader(tried)
            if leader is None:
                break
            try:
                expect(Heard, await self._rpc.ask(leader, Report(tuple(entries)), HEARD_S))
            except Unreachable:
                self._liveness.suspect(leader)
            except PostError as error:
                self.log.debug("{peer} does not take the lead: {error}", peer=leader, error=error)
            else:
                self._tasks.spawn(self.await_echo(entries))
                return
            tried.add(leader.id)
        self.pass_on(entries, 0)

    def _leader(self, avoid: Collection[NodeId]) -> Contact | None:
        """
        Who has the lead; C{None} if that is us.
        """
        ring = self._ring
        place = int(self._clock.seconds() / LEAD_S) * STRIDE % RING
        node = ring.roster.toward(place, ring.suspects.union(avoid), True) if ring.roster is not None else None
        return None if node is None else ring.contacts.get(node)

    async def await_echo(self, entries: Sequence[Entry]) -> None:
        """
        Others were asked to tell C{entries} to everybody.  If we do not hear them soon, we do it.
        """
        await sleep(self._clock, ECHO_S)
        for entry in entries:
            recent = self._recent.get(entry.contact.id)
            if recent is None or recent.entry.rank != entry.rank or recent.told:
                continue
            if recent.reported:
                self.pass_on([entry], 0)
            else:
                self.publish(entry)

    # To those below.

    async def _tell_on(self, gathered: _Gathered) -> None:
        try:
            while gathered.entries:
                pending = list(gathered.entries.values())
                gathered.entries.clear()
                first = min(row for _, row, _ in pending)
                roster = self._ring.roster
                if roster is None or not self._active():
                    return
                for row, head in roster.heads(first, self._ring.table, self._ring.suspects):
                    said = [entry for entry, since, until in pending if since <= row < until]
                    for start in range(0, len(said), BATCH_LIMIT):
                        self._tell(roster, row, head, tuple(said[start : start + BATCH_LIMIT]))
                await sleep(self._clock, gathered.window_s)
        finally:
            gathered.running = False

    def _tell(self, roster: Roster, row: int, head: NodeId, entries: tuple[Entry, ...]) -> None:
        ring = self._ring
        there = roster.place(row, head) or [head]
        if len(there) > FEW:
            self._tasks.spawn(self._tell_head(row, head, News(entries, row + 1)))
            return
        for node in there:  # Suspects too: they may be alive, and hear of what is said of them.
            self._rpc.tell(ring.contacts[node], News(entries))

    async def _tell_head(self, row: int, head: NodeId, news: News) -> None:
        ring, place = self._ring, head
        tried: set[NodeId] = set()
        while True:
            contact = ring.contacts.get(head)
            tried.add(head)
            if contact is not None:
                try:
                    expect(Heard, await self._rpc.ask(contact, news, HEARD_S))
                    return
                except Unreachable:
                    self._liveness.suspect(contact)
                except PostError as error:
                    self.log.debug("{head} tells nothing on: {error}", head=head, error=error)
                    if ring.size() > ROSTER_LIMIT:
                        return  # It has found the ring too large for rosters, and so do the others there.
            if ring.roster is None or not self._active() or len(tried) == HEADS_LIMIT:
                return
            others = [node for node in ring.roster.place(row, place) if node not in tried and node not in ring.suspects]
            if not others:
                return
            head = others[0]
