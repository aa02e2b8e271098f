"""
Whom a node has been linked with, in this life and those before: by this it finds the ring again when nobody is left of
those that it was told of, and a part of the ring the other when neither names the other as a seed (pure).

Kept as text, so that a person can read and mend it: a line for each node, its id (40 hexadecimal digits) and its
addresses, with blanks in between; who was linked last stands at the end.  It is read leniently and believed nothing:
whoever answers at an address has to show a certificate of our authority, and at worst somebody is called in vain.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from post.ids import Address, Contact, Id, NodeId

SEEN_LIMIT = 256
"""Nodes remembered, those that were linked last: one that is on-line is enough, and of 256 one nearly always is."""
LINE_LIMIT = 40 + 4 * 81
"""Characters of a line: an id and four addresses."""
SEEN_BYTES = SEEN_LIMIT * (LINE_LIMIT + 1)
"""All of them; what is behind that in a file is not read."""
FIRST_S = 15.0
"""From the start, or from when a node was first met, until it is looked for."""
AWAY_MOST_S = 3600.0
"""Between two looks for somebody who does not answer, which double up to this.  An attempt costs one dial."""
TOGETHER_S = 6 * 3600.0
"""Until somebody is looked for again who was found to be in our ring: should it come to be in another one, others of
that will be found sooner."""

_ADDRESS = re.compile(r"[!-~]{1,74}:[0-9]{1,5}", re.ASCII)


@dataclass(slots=True)
class Acquaintance:
    """
    Where a node was, and when to look for it next.
    """

    addresses: tuple[Address, ...]
    look_at: float
    wait_s: float = FIRST_S


class Seen:
    """
    The nodes seen; never more than C{limit}.

    @ivar changed: whether there is something that L{pack} did not say the last time.
    """

    def __init__(self, owner: NodeId, limit: int = SEEN_LIMIT) -> None:
        self.changed = False
        self._owner = owner
        self._limit = limit
        self._known: dict[NodeId, Acquaintance] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, node: object) -> bool:
        return node in self._known

    def __iter__(self) -> Iterator[NodeId]:
        """
        Who was linked last comes last.
        """
        return iter(self._known)

    def note(self, contact: Contact, now: float) -> None:
        """
        We are linked with C{contact}, which says itself where it can be reached.
        """
        addresses = tuple(each for each in contact.addresses if _ADDRESS.fullmatch(each))
        if contact.id == self._owner or not addresses:
            return
        known = self._known.pop(contact.id, None)
        if known is None or known.addresses != addresses:
            self.changed = True
        self._known[contact.id] = Acquaintance(addresses, known.look_at if known else now + FIRST_S)
        if len(self._known) > self._limit:
            del self._known[next(iter(self._known))]

    def addresses(self, count: int) -> tuple[Address, ...]:
        """
        Of the C{count} nodes linked last, the last one first.
        """
        last = list(self._known.values())[::-1][:count]
        return tuple(dict.fromkeys(address for known in last for address in known.addresses))

    # Looking for them.

    def due(self, now: float, here: Collection[NodeId]) -> tuple[NodeId, tuple[Address, ...]] | None:
        """
        Who is to be looked for, and where: the one whose time came first, of those that are not C{here}.
        """
        waiting = [(known.look_at, node) for node, known in self._known.items() if node not in here]
        if not waiting:
            return None
        look_at, node = min(waiting)
        if now < look_at <= now + TOGETHER_S:  # Later than that only if the clock was set back.
            return None
        return node, self._known[node].addresses

    def looked(self, node: NodeId, found: NodeId | None, now: float) -> None:
        """
        C{node} was looked for, and C{found} was there, or nobody.
        """
        known = self._known.get(node)
        if known is None:
            return
        if found is None:
            known.look_at = now + known.wait_s
            known.wait_s = min(2 * known.wait_s, AWAY_MOST_S)
        elif found == node:
            known.look_at, known.wait_s = now + TOGETHER_S, FIRST_S
        else:
            # Somebody else lives there now.
            del self._known[node]
            self.changed = True

    # What is kept.

    def pack(self) -> bytes:
        """
        As it is kept.
        """
        self.changed = False
        return "".join(f"{node.hex()} {' '.join(known.addresses)}\n" for node, known in self._known.items()).encode()

    def read(self, data: bytes, now: float) -> None:
        """
        Add what was kept, wherever it makes sense.
        """
        for line in data[:SEEN_BYTES].decode("ascii", "replace").splitlines():
            if len(line) > LINE_LIMIT:
                continue
            digits, *addresses = line.split() or [""]
            try:
                node = NodeId(Id.from_hex(digits))
            except ValueError:
                continue
            self.note(Contact(node, tuple(addresses[:4])), now)
        self.changed = False
