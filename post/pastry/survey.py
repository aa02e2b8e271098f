"""
What one secure lookup has found out about the neighborhood of a key (pure).

Ids are certified and whoever answers over a link has proven its own, so nothing that is added can mislead: a liar can
hide others, but nobody is hidden of whom one honest node has told.  The root is the nearest of all that have been named
by anybody and answer themselves.  Nor do wrong addresses hide somebody: a node is silent when it has not answered at
any that was named for it; and who names nodes that do not exist, so that we ask for them in vain, is soon believed no
others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from post.ids import RING, Address, Contact, Id, NodeId
from post.pastry.density import step
from post.pastry.statement import Statement

NAMED_LIMIT = 24_000
"""Nodes remembered in one lookup: more than can be named in answer to as many questions as are asked for any."""
DOUBTED_SILENT = 4
"""Nodes that do not answer before it is doubted that those exist whom the same node has named."""
CONTACTS_LIMIT = 8
"""Contacts remembered of one node, with different addresses.  Of more, most are lies."""

_MASK = RING - 1


_STATED, _SILENT = 0, 1  # What is counted of those whom a node names.


class Survey:
    """
    Around C{key}, as seen by C{origin}.

    @ivar asked: questions sent for it.
    @ivar stated: who has answered, and what.
    @ivar checked: who was chosen by chance to be asked.
    """

    def __init__(self, key: Id, origin: Contact) -> None:
        self.key = key
        self.origin = origin
        self.asked = 0
        self.stated: dict[NodeId, Statement] = {}
        self.checked: set[NodeId] = set()
        self._onward: dict[NodeId, tuple[Contact, ...]] = {}
        self._named: dict[NodeId, list[Contact]] = {}
        self._namers: dict[NodeId, set[NodeId | None]] = {}
        self._credits: dict[NodeId, list[int]] = {}  # By who named them: how many answered, how many did not.
        self._tried: dict[NodeId, set[tuple[Address, ...]]] = {}
        self.name([origin])

    # Who is there.

    def name(self, contacts: Iterable[Contact], by: NodeId | None = None) -> None:
        """
        C{by} (C{None} is ourselves) says that these exist.
        """
        for contact in contacts:
            node = contact.id
            known = self._named.get(node)
            if known is None:
                if len(self._named) >= NAMED_LIMIT:
                    continue
                known = self._named[node] = []
            if len(known) < CONTACTS_LIMIT and all(contact.addresses != other.addresses for other in known):
                if self.is_silent(node):
                    self._count(node, _SILENT, -1)
                known.append(contact)
            namers = self._namers.setdefault(node, set())
            if by not in namers:
                namers.add(by)
                if node in self.stated:
                    self._credit(by, _STATED, 1)
                elif self.is_silent(node):
                    self._credit(by, _SILENT, 1)

    def answered(self, contact: Contact, statement: Statement, onward: Iterable[Contact] = ()) -> None:
        """
        C{contact} itself did.
        """
        node = contact.id
        if self.is_silent(node):
            self._count(node, _SILENT, -1)
        self._named[node] = [contact]
        self.stated[node] = statement
        self._count(node, _STATED, 1)
        self._onward[node] = tuple(onward)
        self.name(statement.members().values(), node)

    def failed(self, contact: Contact) -> None:
        """
        C{contact} has not answered.
        """
        self._tried.setdefault(contact.id, set()).add(contact.addresses)
        if self.is_silent(contact.id):
            self._count(contact.id, _SILENT, 1)

    def _count(self, node: NodeId, which: int, change: int) -> None:
        for namer in self._namers.get(node, ()):
            self._credit(namer, which, change)

    def _credit(self, namer: NodeId | None, which: int, change: int) -> None:
        if namer is not None:
            self._credits.setdefault(namer, [0, 0])[which] += change

    def _is_believed(self, node: NodeId) -> bool:
        """
        Whether C{node} has answered, or is named by anybody who has not named more that do not answer than that do.
        """
        if node in self.stated:
            return True
        for namer in self._namers.get(node, ()):
            stated, silent = self._credits.get(namer, (0, 0)) if namer is not None else (0, 0)
            if silent < DOUBTED_SILENT or silent <= stated:
                return True
        return False

    def untried(self, node: NodeId) -> Contact | None:
        """
        How to ask C{node}, if it has been named and neither has answered nor been asked in vain in that way.
        """
        if node in self.stated:
            return None
        tried = self._tried.get(node, ())
        return next((contact for contact in self._named.get(node, ()) if contact.addresses not in tried), None)

    def is_silent(self, node: NodeId) -> bool:
        """
        Whether C{node} was asked in every way that we know, and did not answer.
        """
        return node in self._tried and node not in self.stated and self.untried(node) is None

    def is_named(self, node: NodeId) -> bool:
        """
        Whether anybody said that C{node} is there.
        """
        return node in self._named

    def _alive(self) -> list[NodeId]:
        return [node for node in self._named if self._is_believed(node) and not self.is_silent(node)]

    # Ways.

    def onward(self, node: NodeId) -> list[NodeId]:
        """
        Whom C{node} named as next on the way to the key, if that leads nearer; nobody, if its leaf set has the key.
        """
        statement = self.stated.get(node)
        if statement is None or statement.covers(self.key):
            return []
        following = [contact for contact in self._onward[node] if self._leads(node, contact.id)]
        self.name(following, node)
        return [contact.id for contact in following if not self.is_silent(contact.id)]

    def _leads(self, node: NodeId, following: NodeId) -> bool:
        ours, theirs = node.shared_digits(self.key), following.shared_digits(self.key)
        return theirs > ours or (theirs == ours and following.distance(self.key) < node.distance(self.key))

    # Around the key.

    def around(self) -> list[NodeId]:
        """
        All that may live, nearest first (of equally near ones that with the smaller id).
        """
        return sorted(self._alive(), key=lambda node: (node.distance(self.key), node))

    def nearest(self, count: int, owner_of: Callable[[NodeId], str], avoid: Collection[NodeId] = ()) -> list[NodeId]:
        """
        The C{count} nearest of distinct owners.
        """
        found: list[NodeId] = []
        owners: set[str] = set()
        for node in self.around():
            owner = owner_of(node)
            if node in avoid or owner in owners:
                continue
            owners.add(owner)
            found.append(node)
            if len(found) == count:
                break
        return found

    def unheard(self) -> list[NodeId]:
        """
        Who has been named and has not answered.
        """
        return [node for node in self._named if node not in self.stated]

    def found(self, count: int, owner_of: Callable[[NodeId], str], avoid: Collection[NodeId] = ()) -> list[Contact]:
        """
        The same of those who have answered.
        """
        return [self._named[node][0] for node in self.nearest(count, owner_of, {*avoid, *self.unheard()})]

    def window(self, half: int) -> list[NodeId]:
        """
        The C{half} that may live on either side of the key, in their order on the ring; all, if there are fewer.
        """
        there = sorted(self._alive(), key=lambda node: (node - self.key) & _MASK)
        return there if len(there) <= 2 * half else [*there[-half:], *there[:half]]

    def step(self, half: int) -> float:
        """
        The mean distance between neighbors there.
        """
        return step(self.window(half))
