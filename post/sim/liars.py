"""
Nodes that lie, and know one another: real ones, some of whose answers are replaced.

They drop messages, or pass them to whichever of them is nearest to the key, who says that it is the root and names only
others of them around it; they name only one another in rows and leaf sets; and they have got every place in the tables
of honest nodes that one of them could get by seeming near.  They keep up their own place in the ring as honest nodes
do, since otherwise they would be dead to the others, and do no more harm.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import cast

from msgspec.structs import replace

from post.ids import BITS, DIGITS, RING, Contact, Id, NodeId
from post.pastry.constrained import point
from post.pastry.messages import (
    NEWS_LIMIT,
    Claim,
    Claimed,
    Find,
    Found,
    Locate,
    Located,
    Probe,
    Probed,
    Route,
    Row,
    ShareRow,
    Taken,
    Vouch,
    Vouched,
)
from post.pastry.statement import VERSION, Statement, packed
from post.pastry.table import COLUMNS
from post.sim.overlay import CHOICES, Member, Overlay
from post.sim.signing import sign
from post.wire import Priority, decode

ALONE, MIXED, INVENTED = "alone", "mixed", "invented"
"""What they name around them: only one another; also those honest nodes that do not know who is hidden; also nodes
that do not exist.  The last two stand as close together as nodes do."""
DROPPED = 0.25
"""The part of messages that a liar drops; the others it misroutes, which does more harm."""


class Conspiracy:
    """
    All liars of a ring.

    @ivar liars: who they are; rising.
    """

    def __init__(self, overlay: Overlay, count: int, tactic: str = ALONE) -> None:
        self.overlay = overlay
        self._tactic = tactic
        self.liars: Sequence[NodeId] = sorted(overlay.random.sample(list(overlay.active()), count))
        self._are = set(self.liars)

    def __contains__(self, node: object) -> bool:
        return node in self._are

    def begin(self) -> None:
        """
        Lie from now on.
        """
        for node in self.liars:
            Liar(self, self.overlay.members[node])

    def contact(self, node: NodeId) -> Contact:
        """
        Of any node; of one that does not exist, made up.
        """
        member = self.overlay.members.get(node)
        return Contact(node, ("nowhere:1",)) if member is None else member.pastry.local

    def nearest(self, key: int) -> NodeId:
        """
        Who of them is nearest to C{key}.
        """
        place = bisect_left(self.liars, key)
        both = (self.liars[place - 1], self.liars[place % len(self.liars)])
        return min(both, key=lambda node: (node.distance(key), node))

    def stated(self, node: NodeId) -> tuple[list[NodeId], list[NodeId]]:
        """
        The leaf set that one of them says that it has: those after it, and those before.
        """
        after, before = self.around(node)
        if self._tactic == ALONE or not after or not before:
            return after, before
        half = self.overlay.config.half
        low, high = before[-1], after[-1]
        if self._tactic == INVENTED:
            step = RING // len(self.overlay.active())
            others = [self._between(low, high) for _ in range(low.clockwise(high) // step - 2 * half)]
        else:
            # Whoever is farther from us than a leaf set reaches does not know those next to us.
            near = {*self.overlay.nearest(node, 2 * half)}
            others = [
                each for each in self.overlay.nearest(node, 6 * half) if each not in near and each not in self._are
            ]
        there = {*after, *before, *others} - {node}
        return sorted(there, key=node.clockwise)[:half], sorted(there, key=lambda each: each.clockwise(node))[:half]

    def _between(self, low: NodeId, high: NodeId) -> NodeId:
        return NodeId(Id((low + self.overlay.random.randrange(low.clockwise(high))) % RING))

    def around(self, node: NodeId) -> tuple[list[NodeId], list[NodeId]]:
        """
        The leaf set that one of them would have if there were no others: those after it, and those before.
        """
        half = min(self.overlay.config.half, (len(self.liars) - 1) // 2)
        place = bisect_left(self.liars, node)
        count = len(self.liars)
        after = [self.liars[(place + step) % count] for step in range(1, half + 1)]
        before = [self.liars[(place - step) % count] for step in range(1, half + 1)]
        return after, before

    def poison(self) -> None:
        """
        Take the places in honest nodes' tables that one of them gets by seeming near: those for which one of them would
        be among the few candidates that are compared.
        """
        for node in self.overlay.active():
            if node not in self._are:
                self._poison(self.overlay.members[node])

    def _poison(self, member: Member) -> None:
        ring, random = member.pastry.ring, self.overlay.random
        missed = (1 - len(self.liars) / len(self.overlay.active())) ** CHOICES
        for low, high in _places(member.id, self.liars):
            liar = self.liars[random.randrange(low, high)]
            holder = ring.table.toward(liar)
            if holder is None or holder in self._are or random.random() < missed:
                continue
            ring.table.remove(holder)
            ring.table.add(liar)
            ring.contacts.setdefault(liar, self.contact(liar))
            if holder not in ring.leaves and (ring.roster is None or holder not in ring.roster):
                ring.contacts.pop(holder, None)


def _places(node: NodeId, ids: Sequence[NodeId]) -> Iterator[tuple[int, int]]:
    """
    For each place in the table of C{node} that some of C{ids} may have, which of these: from where up to before where.
    """
    low, high = 0, len(ids)
    for row in range(DIGITS):
        if low == high:
            return
        step = 1 << (BITS - 4 - 4 * row)
        base = (node >> (BITS - 4 * row)) << (BITS - 4 * row)
        borders = [bisect_left(ids, base + digit * step, low, high) for digit in range(COLUMNS)] + [high]
        own = node.digit(row)
        yield from (
            (borders[digit], borders[digit + 1])
            for digit in range(COLUMNS)
            if digit != own and borders[digit] < borders[digit + 1]
        )
        low, high = borders[own], borders[own + 1]


def constrained(overlay: Overlay, node: NodeId) -> Iterator[Contact]:
    """
    From global knowledge, the nodes of the constrained table of C{node}.
    """
    ids = overlay.active()
    for low, high in _places(node, ids):
        row = node.shared_digits(ids[low])
        place = point(node, row, ids[low].digit(row))
        at = bisect_left(ids, place, low, high)
        near = [ids[each] for each in (at - 1, at) if low <= each < high]
        yield overlay.members[min(near, key=lambda other: other.distance(place))].pastry.local


class Liar:
    """
    One of them.
    """

    def __init__(self, conspiracy: Conspiracy, member: Member) -> None:
        self._all = conspiracy
        self._pastry = member.pastry
        self._rpc = member.rpc
        self._random = conspiracy.overlay.random
        self._probed = cast(Callable[[Contact, Probe], Probed], member.rpc.handler(Probe))
        member.rpc.serve(Route, self._routed)
        member.rpc.serve(Vouch, self._vouch)
        member.rpc.serve(ShareRow, self._row)
        member.rpc.serve(Locate, self._locate)
        member.rpc.serve(Probe, self._probe)

    def _routed(self, peer: Contact, route: Route) -> Taken:
        """
        Whoever gave it to us has done its part.
        """
        if self._random.random() < DROPPED:
            return Taken()
        nearest = self._all.nearest(route.key)
        if nearest != self._pastry.local.id:
            onward = Route(route.key, route.number, route.hops + 1, route.origin, route.payload)
            self._rpc.ask(self._all.contact(nearest), onward).addErrback(lambda failure: None)
            return Taken()
        question = decode(route.payload)
        if isinstance(question, Claim):
            data, signature = self._statement(question.nonce)
            self._rpc.tell(route.origin, Claimed(question.nonce, data, signature), Priority.URGENT)
        elif isinstance(question, Find):
            after, before = self._all.around(nearest)
            near = sorted([nearest, *after, *before], key=lambda node: node.distance(route.key))
            named = tuple(self._all.contact(node) for node in near[: question.count])
            self._rpc.tell(route.origin, Found(route.number, route.key, route.key, named), Priority.URGENT)
        return Taken()

    def _statement(self, nonce: bytes) -> tuple[bytes, bytes]:
        local = self._pastry.local
        after, before = ([self._all.contact(node) for node in side] for side in self._all.stated(local.id))
        at_ms = int(self._all.overlay.clock.seconds() * 1000)
        change = self._pastry.ring.leaves.version
        data = packed(
            Statement(VERSION, local.id, local.epoch, change, at_ms, nonce, False, tuple(after), tuple(before))
        )
        return data, sign(local.id, data)

    def _vouch(self, peer: Contact, question: Vouch) -> Vouched:
        nearest = self._all.nearest(question.key)
        onward = () if nearest == self._pastry.local.id else (self._all.contact(nearest),)
        return Vouched(*self._statement(question.nonce), onward)

    def _row(self, peer: Contact, question: ShareRow) -> Row:
        held = self._pastry.ring.table.row(question.row)
        return Row(tuple(self._all.contact(node) for node in held if node in self._all))

    def _locate(self, peer: Contact, question: Locate) -> Located:
        nearest = self._all.nearest(question.key)
        near = sorted(self._all.liars, key=lambda node: node.distance(question.key))[: NEWS_LIMIT // 4]
        onward = None if nearest == self._pastry.local.id else self._all.contact(nearest)
        return Located(True, False, onward, tuple(self._all.contact(node) for node in near))

    def _probe(self, peer: Contact, probe: Probe) -> Probed:
        """
        Alive, and silent about whoever is honest.
        """
        answer = self._probed(peer, probe)
        return replace(answer, news=tuple(contact for contact in answer.news if contact.id in self._all))
