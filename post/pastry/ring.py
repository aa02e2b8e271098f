"""
What a node knows of the ring: leaf set, routing tables, contacts, and who is suspected or absent (pure).

The rules of who comes in are here; finding out who is alive is L{post.pastry.liveness}.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from post.hashes import Purpose, tagged
from post.ids import RING, Contact, NodeId
from post.pastry.config import PastryConfig
from post.pastry.constrained import ConstrainedTable
from post.pastry.leafset import LeafSet, Side
from post.pastry.messages import Reach
from post.pastry.roster import Entry, Roster
from post.pastry.table import RoutingTable

NEARER = 0.9
"""Who is to have another's place in the table has to be nearer by a tenth at least, since what is measured wavers."""
DIGESTS_LIMIT = 4
"""Digests kept until the leaf set changes: for the two next to us, and who was there before."""


@dataclass(slots=True)
class Absent:
    """
    A node that died, and when to see whether it is back.
    """

    contact: Contact
    retry_at: float
    wait_s: float


class Ring:
    """
    The ring as seen from C{owner}.

    @ivar roster: everybody, if the ring is small enough.
    @ivar contacts: of everybody in the leaf set, the table or the roster.
    @ivar constrained: the table of which liars have no more than their part.
    @ivar suspects: who may be dead; nothing is sent to them that others could do as well.
    @ivar shunned: who provably lies.
    @ivar absent: who was in the leaf set and died, the last one last.
    @ivar changed: told of everybody who enters or leaves the leaf set.
    @ivar contested: told of everybody who has got a place in the table, or could have one that another has.
    @ivar round_trip_s: how far a node is in the network, if that is known.
    """

    __slots__ = (
        "_digests",
        "absent",
        "changed",
        "config",
        "constrained",
        "contacts",
        "contested",
        "leaves",
        "owner",
        "roster",
        "round_trip_s",
        "shunned",
        "suspects",
        "table",
    )

    def __init__(self, owner: NodeId, config: PastryConfig, changed: Callable[[Contact, bool], None]) -> None:
        self.owner = owner
        self.config = config
        self.changed = changed
        self.leaves = LeafSet(owner, config.half)
        self.table = RoutingTable(owner)
        self.constrained = ConstrainedTable(owner, self.members)
        self.contacts: dict[NodeId, Contact] = {}
        self.suspects: set[NodeId] = set()
        self.shunned: frozenset[NodeId] = frozenset()
        self.roster: Roster | None = None
        self.absent: dict[NodeId, Absent] = {}
        self._digests: dict[NodeId, tuple[int, bytes]] = {}  # For which version of the leaf set.
        self.contested: Callable[[Contact], None] = lambda contact: None
        self.round_trip_s: Callable[[NodeId], float | None] = lambda node: None

    def members(self) -> Iterator[Contact]:
        """
        Everybody known and not suspected.
        """
        return (contact for contact in self.contacts.values() if contact.id not in self.suspects)

    def leaf_contacts(self) -> list[Contact]:
        """
        The leaf set.
        """
        return [self.contacts[node] for node in self.leaves]

    def size(self) -> int:
        """
        How many nodes are in the ring, the owner included and without those that seem dead (see L{Pastry.size}).
        """
        alive = sum(node not in self.suspects for node in self.leaves)
        if self.leaves.whole or not alive:
            return alive + 1
        # From the farthest predecessor to the farthest successor there are as many steps as members.
        after, before = self.leaves.ends()
        return max(alive + 1, alive * RING // before.clockwise(after))

    # Who comes.

    def admit(self, contact: Contact, sides: Side = Side.NEITHER) -> bool:
        """
        Let C{contact}, who is alive, into the leaf set if it belongs there (see L{LeafSet.wants}).

        @return: whether it is new there.
        """
        self.meet(contact)
        if not self.leaves.wants(contact.id, sides):
            return False
        self.contacts.setdefault(contact.id, contact)
        evicted = self.leaves.add(contact.id, sides)
        if evicted is None:
            self.changed(self.contacts[contact.id], True)
            return True
        gone = self.contacts[evicted]
        if evicted not in self.shunned:
            self.table.add(evicted)
        self._release(evicted)
        if evicted == contact.id:
            return False
        self.changed(self.contacts[contact.id], True)
        self.changed(gone, False)
        return True

    def place(self, leaves: Iterable[Contact], whole: bool, table: Iterable[Contact]) -> None:
        """
        C{leaves}, the nearest on either side, are the leaf set, and the entire ring if C{whole}; C{table} are the
        nearest in the network of those that may stand in the table.  For who knows it all.
        """
        if not whole:
            self.leaves.open()
        for contact in leaves:
            self.admit(contact, Side.BOTH)
        for contact in table:
            if self.table.add(contact.id):
                self.contacts.setdefault(contact.id, contact)

    def meet(self, contact: Contact) -> None:
        """
        C{contact} itself says so: what it says of its addresses counts, and a new epoch means that it started anew.
        """
        self.absent.pop(contact.id, None)
        known = self.contacts.get(contact.id)
        if known is None or known is contact or contact.epoch < known.epoch:
            return
        self.contacts[contact.id] = contact
        if contact.epoch > known.epoch:
            self.suspects.discard(contact.id)
            if contact.id in self.leaves:
                self.changed(contact, True)

    def tabulate(self, contact: Contact) -> None:
        """
        Give C{contact} its place in the table, if that is free or it is nearer than who is there.
        """
        if contact.id == self.owner or contact.id in self.absent or contact.id in self.shunned:
            return
        self.constrained.heard(contact)
        holder = self.table.toward(contact.id)
        if holder == contact.id:
            return
        if self.table.add(contact.id, self._is_nearer):
            self.contacts.setdefault(contact.id, contact)
            if holder is not None:
                self._release(holder)
        self.contested(contact)

    def shun(self, node: NodeId) -> None:
        """
        Give C{node} no place in the tables from now on.
        """
        self.shunned |= {node}
        self.table.remove(node)
        self.constrained.remove(node)
        self._release(node)

    def _is_nearer(self, node: NodeId, holder: NodeId) -> bool:
        """
        Whether C{node} is to have the place of C{holder}.
        """
        node_s = self.round_trip_s(node)
        if node_s is None:
            return False
        holder_s = self.round_trip_s(holder)
        return holder_s is not None and node_s < NEARER * holder_s

    def is_news(self, contact: Contact) -> bool:
        """
        Whether hearsay of C{contact} tells of somebody that is not known to be here, or known to be gone.
        """
        if contact.id == self.owner or contact.id in self.leaves:
            return False
        absent = self.absent.get(contact.id)
        return absent is None or contact.epoch > absent.contact.epoch

    # Who goes.

    def bury(self, contact: Contact, now: float) -> bool:
        """
        C{contact} is dead.

        @return: whether it was in the leaf set.
        """
        node = contact.id
        self.suspects.discard(node)
        self.table.remove(node)
        self.constrained.remove(node)
        was_leaf = self.leaves.remove(node)
        known = self.contacts.pop(node, contact)
        if self.roster is not None:
            self.roster.bury(node, now)
        if was_leaf:
            self.await_return(known, now)
            self.changed(known, False)
        return was_leaf

    def await_return(self, contact: Contact, now: float) -> None:
        """
        See from time to time whether C{contact} is back.
        """
        wait_s = self.config.absent_first_s
        self.absent.pop(contact.id, None)
        self.absent[contact.id] = Absent(contact, now + wait_s, wait_s)
        if len(self.absent) > self.config.absent_limit:
            del self.absent[next(iter(self.absent))]

    def _release(self, node: NodeId) -> None:
        listed = self.roster is not None and node in self.roster
        if node not in self.leaves and node not in self.table and not listed:
            self.contacts.pop(node, None)
            self.suspects.discard(node)

    # Who is anywhere in a small ring.

    def enroll(self, roster: Roster | None, now: float) -> None:
        """
        Keep a roster, which begins with the leaf set; or keep none any more: then it begins to matter who is near.
        """
        old, self.roster = self.roster, roster
        for node in old or ():
            self._release(node)
        if old is not None and roster is None:
            for node in tuple(self.table):
                self.contested(self.contacts[node])
        for contact in self.leaf_contacts() if roster is not None else ():
            self.enlist(Entry(contact, contact.epoch), now)

    def enlist(self, entry: Entry, now: float) -> bool:
        """
        Somebody said C{entry}.

        @return: whether that changes the roster.
        """
        if self.roster is None or not self.roster.take(entry, now):
            return False
        self.follow(entry.contact.id)
        return True

    def follow(self, node: NodeId) -> None:
        """
        Whether C{node} may be routed to has changed in the roster.
        """
        if self.roster is None or node not in self.roster:
            self._release(node)
            return
        if node not in self.leaves or node not in self.contacts:
            self.contacts[node] = self.roster.contact(node)  # Those beside us say themselves where they are.

    # What others are told.

    def reach(self) -> Reach:
        """
        How far our leaf set goes.
        """
        return reach(self.leaves)

    def news_for(self, node: NodeId, seen: Reach, known: Collection[bytes]) -> tuple[Contact, ...]:
        """
        The members that belong into the leaf set of C{node}, which reaches as far as C{seen} and has those whose ids
        end in C{known}.
        """
        news = []
        for contact in self.leaf_contacts():
            other = contact.id
            # Suspects too: whoever sees nothing in a gap concludes that there is nobody, and a suspect may be alive.
            if other == node or (other & 0xFFFFFFFF).to_bytes(4, "big") in known:
                continue
            # Where nobody is missing only those between the ends are news; a whole set must learn that it is not.
            after = node.clockwise(other) < node.clockwise(seen.after)
            before = other.clockwise(node) < seen.before.clockwise(node)
            if seen.whole or not seen.complete or after or before:
                news.append(contact)
        return tuple(news)

    def digest(self, neighbor: NodeId) -> bytes:
        """
        Over the nodes that we and C{neighbor}, who stands next to us, should both know; both compute the same.
        """
        leaves = self.leaves
        version, digest = self._digests.get(neighbor, (-1, b""))
        if version == leaves.version:
            return digest
        nodes = {*leaves, self.owner}
        if not leaves.whole:
            # Our last member on the side away from the neighbor is out of its sight, and its last one of ours.
            far = leaves.predecessors() if neighbor == leaves.successor() else leaves.successors()
            if len(far) == leaves.half:
                nodes.discard(far[-1])
        digest = tagged(Purpose.LEAF_DIGEST, b"".join([node.packed() for node in sorted(nodes)]))[:8]
        if len(self._digests) >= DIGESTS_LIMIT:
            self._digests.clear()
        self._digests[neighbor] = (leaves.version, digest)
        return digest


def reach(leaves: LeafSet) -> Reach:
    """
    How far a leaf set goes.
    """
    after, before = leaves.ends()
    return Reach(leaves.whole, leaves.complete, after, before, len(leaves))


def prefixes(nodes: Iterable[NodeId]) -> bytes:
    """
    The last four bytes of each id.
    """
    return b"".join([(node & 0xFFFFFFFF).to_bytes(4, "big") for node in nodes])
