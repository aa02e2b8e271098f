"""
The roster: everybody in a ring that is small enough for each to know all, so that one hop leads to any root (pure).

After Gupta, Liskov and Rodrigues, "Efficient routing for peer-to-peer overlays" (NSDI 2004): the whole membership on
every node costs little as long as few come and go, and what little is wrong of it costs a hop, never a wrong delivery,
since only the leaf set of the root decides who delivers.  They tell of each change along a hierarchy; in a few hundred
nodes it is enough that neighbors compare what they know now and then (L{post.pastry.gossip}).

What is known of a node is an I{entry}.  It begins with the node itself, its version being the boot epoch.  Whoever
finds the node dead says so under the same version; of two entries with one version that of the death counts, of others
the higher version.  So a restart ends a death, by its epoch, and a node that hears of its own death while it lives
contradicts by the next higher version.  Who is called dead is not routed to; nobody leaves a leaf set because of it.
Deaths are told only to those who still have the node, are no part of what is compared, and are forgotten after a while,
by each node at its own time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import Meta

from post.hashes import Purpose, tagged
from post.ids import BITS, DIGITS, Contact, NodeId

ROSTER_LIMIT = 256
"""Nodes of the largest ring of which each keeps all: most organisations are smaller.  It is some 100 kB of memory and,
at two changes a minute, as many messages as the heartbeats; both grow with the ring, while the second hop that it saves
hardly costs more."""
DEATHS_LIMIT = 2 * ROSTER_LIMIT
"""Deaths remembered; of more, the oldest is forgotten."""
DEATH_S = 3600.0
"""For which a death is remembered.  By then everybody has heard of it many times over."""
DISPUTE_S = 1800.0
"""Whoever contradicted the death that we told of is alive, and only unreachable to us: so long we tell it no more."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """
    What is said of a node: that it is here, or, under C{gone}, that it is dead.

    C{version} is the node's boot epoch, or one more than that of the death which it contradicts.
    """

    contact: Contact
    version: Annotated[int, Meta(ge=0, lt=1 << 62)]
    gone: bool = False

    @property
    def rank(self) -> tuple[int, bool]:
        """
        Of two entries of one node the one with the higher rank counts.
        """
        return self.version, self.gone


class Roster:
    """
    All nodes of the ring, as far as C{local} has heard.

    @ivar fingerprint: over all who are here; two rosters with the same one are the same.
    @ivar overflowed: whether somebody was left out because there are too many.
    """

    __slots__ = ("_deaths", "_entries", "_ids", "_local", "_reported", "_shunned", "fingerprint", "overflowed", "owner")

    def __init__(self, local: Contact) -> None:
        self.owner = local.id
        self.fingerprint = 0
        self.overflowed = False
        self._local = local
        self._entries: dict[NodeId, Entry] = {}  # Who is here, the owner included.
        self._deaths: dict[NodeId, tuple[Entry, float]] = {}  # And since when; the oldest first.
        self._ids: list[NodeId] = []  # Whom to route to; rising.
        self._reported: dict[NodeId, float] = {}  # When we told of a death ourselves.
        self._shunned: dict[NodeId, float] = {}  # Here by the word of others, silent to us: until when to believe it.
        self._set(Entry(local, local.epoch))

    def __len__(self) -> int:
        """
        How many are here, the owner included.
        """
        return len(self._entries)

    def __contains__(self, node: object) -> bool:
        """
        Whether C{node} may be routed to.
        """
        if not isinstance(node, int):
            return False
        place = bisect_left(self._ids, node)
        return place < len(self._ids) and self._ids[place] == node

    def __iter__(self) -> Iterator[NodeId]:
        """
        Whom to route to.
        """
        return iter(tuple(self._ids))

    # Routing.

    def toward(self, key: int, avoid: Collection[NodeId] = (), anywhere: bool = False) -> NodeId | None:
        """
        Who is nearest to C{key} of all that are nearer than the owner and share as many digits with it, or, with
        C{anywhere}, however few.  Goes outward from C{key}, so that the first one that will do is the one.
        """
        ids = self._ids
        count = len(ids)
        if not count:
            return None
        limit = self.owner.distance(key)
        shared = 0 if anywhere else self.owner.shared_digits(key)
        high = bisect_left(ids, key) % count
        low = high - 1
        for _ in range(count):
            before, after = ids[low], ids[high]
            behind, ahead = before.distance(key), after.distance(key)
            if behind < ahead or (behind == ahead and before < after):
                node, distance = before, behind
                low -= 1  # Below zero it goes on from the end of the list, which is the other end of the ring.
            else:
                node, distance = after, ahead
                high = (high + 1) % count
            if distance >= limit:
                return None
            if node not in avoid and node.shared_digits(key) >= shared:
                return node
        return None

    def heads(self, first: int, preferred: Iterable[NodeId], avoid: Collection[NodeId]) -> Iterator[tuple[int, NodeId]]:
        """
        One node for each place of a routing table, from row C{first} on, and the row: one of C{preferred} if any of
        them may stand there.  Below these, each with the rows after its own, are all others, exactly once.
        """
        ids, owner = self._ids, self.owner
        chosen = {(row, node.digit(row)): node for node in preferred if (row := owner.shared_digits(node)) >= first}
        last = max((row for row, _ in chosen), default=0)
        for row in range(first, DIGITS):
            shift = BITS - 4 - 4 * row
            base = owner >> (shift + 4) << 4
            if row > last and not self._between(base << shift, base + 16 << shift):
                return
            for digit in range(16):
                if digit == owner.digit(row):
                    continue
                node = chosen.get((row, digit))
                if node is None or node not in self or node in avoid:
                    there = self._between(base + digit << shift, base + digit + 1 << shift)
                    # Should all of them be called dead, which may be a lie, those whom we know are told all the same.
                    node = next((ids[place] for place in there if ids[place] not in avoid), node)
                if node is not None:
                    yield row, node

    def place(self, row: int, node: NodeId) -> list[NodeId]:
        """
        Everybody who may stand where C{node} does in row C{row} of a routing table.
        """
        shift = BITS - 4 - 4 * row
        low = node >> shift << shift
        there = self._between(low, low + (1 << shift))
        return self._ids[there.start : there.stop]

    def _between(self, low: int, high: int) -> range:
        """
        The places of those from C{low} up to C{high}.
        """
        return range(bisect_left(self._ids, low), bisect_left(self._ids, high))

    # What is said of whom.

    def about(self, node: NodeId) -> Entry | None:
        """
        What is known of C{node}.
        """
        entry = self._entries.get(node)
        if entry is not None:
            return entry
        death = self._deaths.get(node)
        return death[0] if death is not None else None

    def own(self) -> Entry:
        """
        What the owner says of itself.
        """
        return self._entries[self.owner]

    def is_gone(self, node: NodeId) -> bool:
        """
        Whether C{node} is dead, by what is said.
        """
        return node in self._deaths

    def contact(self, node: NodeId) -> Contact:
        """
        How to reach C{node}, who is here, by what is said.
        """
        return self._entries[node].contact

    def take(self, entry: Entry, now: float) -> bool:
        """
        Hear C{entry}.

        @return: whether it changes who is here.
        """
        node = entry.contact.id
        if node == self.owner:
            return self._contradict(entry)
        known = self.about(node)
        if known is not None and entry.rank <= known.rank:
            return False
        if entry.gone:
            if known is None:
                return False  # Nobody whom we would miss.
            self._die(entry, now)
            return not known.gone
        if node not in self._entries and len(self._entries) >= ROSTER_LIMIT:
            self.overflowed = True
            return False
        self._deaths.pop(node, None)
        self._shunned.pop(node, None)
        self._set(entry)
        self._use(node)
        return True

    def heard(self, contact: Contact, now: float) -> bool:
        """
        C{contact} itself says that it is in the ring.

        @return: whether that changes who is here.
        """
        node = contact.id
        if self._shunned.pop(node, None) is not None:
            self._use(node)
        known = self.about(node)
        if known is not None and contact.epoch <= known.version:
            return False  # If it is dead to others it has to contradict that itself; it hears of it soon.
        return self.take(Entry(contact, contact.epoch), now)

    def bury(self, node: NodeId, now: float) -> bool:
        """
        C{node} does not answer us.

        @return: whether that changes who is here.
        """
        entry = self._entries.get(node)
        if entry is None or node == self.owner:
            return False
        reported_at = self._reported.get(node)
        if reported_at is not None and now - reported_at < DISPUTE_S:
            self._shunned[node] = now + DISPUTE_S
            self._pass_over(node)
            return False
        self._reported[node] = now
        if len(self._reported) > DEATHS_LIMIT:
            del self._reported[next(iter(self._reported))]
        self._die(Entry(Contact(node, (), entry.contact.epoch), entry.version, True), now)
        return True

    def expire(self, now: float) -> list[NodeId]:
        """
        Forget what is old.

        @return: who may be routed to again.
        """
        self._deaths = {node: death for node, death in self._deaths.items() if now - death[1] < DEATH_S}
        self._reported = {node: at for node, at in self._reported.items() if now - at < DISPUTE_S}
        again = [node for node, until in self._shunned.items() if until <= now]
        for node in again:
            del self._shunned[node]
            self._use(node)
        return again

    # What is compared.

    def entries(self) -> dict[bytes, Entry]:
        """
        Who is here, the owner included, by the mark of each entry.
        """
        return {mark(entry): entry for entry in self._entries.values()}

    def deaths(self) -> dict[bytes, Entry]:
        """
        Who is not, by the mark of the entry that says otherwise.
        """
        return {mark(entry): entry for entry, _ in self._deaths.values()}

    # How.

    def _contradict(self, entry: Entry) -> bool:
        """
        Somebody says of us what we have not said.
        """
        own = self._entries[self.owner]
        if entry.rank <= own.rank:
            return False
        self._set(Entry(self._local, entry.version + 1))
        return True

    def _set(self, entry: Entry) -> None:
        known = self._entries.get(entry.contact.id)
        if known is not None:
            self.fingerprint ^= int.from_bytes(mark(known), "big")
        self._entries[entry.contact.id] = entry
        self.fingerprint ^= int.from_bytes(mark(entry), "big")

    def _die(self, death: Entry, now: float) -> None:
        node = death.contact.id
        known = self._entries.pop(node, None)
        if known is not None:
            self.fingerprint ^= int.from_bytes(mark(known), "big")
            self._pass_over(node)
            self._shunned.pop(node, None)
        _, since = self._deaths.pop(node, (death, now))
        self._deaths[node] = (death, now if known is not None else since)
        if len(self._deaths) > DEATHS_LIMIT:
            del self._deaths[next(iter(self._deaths))]

    def _use(self, node: NodeId) -> None:
        place = bisect_left(self._ids, node)
        if place == len(self._ids) or self._ids[place] != node:
            self._ids.insert(place, node)

    def _pass_over(self, node: NodeId) -> None:
        place = bisect_left(self._ids, node)
        if place < len(self._ids) and self._ids[place] == node:
            del self._ids[place]


def mark(entry: Entry) -> bytes:
    """
    Eight bytes that tell an entry of somebody who is here from any other.  Addresses are no part of it: what others
    say of them must not make two rosters differ for ever.
    """
    return _mark(entry.contact.id, entry.version)


@lru_cache(4 * ROSTER_LIMIT)
def _mark(node: NodeId, version: int) -> bytes:
    return tagged(Purpose.ROSTER_MARK, node.packed() + version.to_bytes(8, "big"))[:8]
