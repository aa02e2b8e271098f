"""
Finding the replica set of a key: from our own leaf set where that suffices, otherwise from the key's root.

A root's answer names the range of keys for which it holds, and is used for all of them for a few seconds.  It is what
the root says: whoever acts on it verifies what the nodes named there do.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from random import Random

from msgspec.structs import replace
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from post.complaints import Complaints
from post.errors import Overloaded, Unreachable
from post.ids import RING, Contact, Id, Key, NodeId
from post.pastry.config import PastryConfig
from post.pastry.messages import AVOID_LIMIT, Find, Found
from post.pastry.replicas import OwnerOf, choose, span
from post.pastry.ring import Ring
from post.rpc import Rpc
from post.wire import Message, Priority

WIDEST = 16
"""Ranges of keys with the same replica set are as wide as nodes stand apart; wider than so many times that is one in a
million million of them, and none is believed.  (It would have whoever claims it asked for the keys of all others.)"""


@dataclass(frozen=True, slots=True)
class _Asked:
    """
    A question, and who waits for its answer.
    """

    key: Key
    question: Find
    answer: Deferred[Found]


@dataclass(frozen=True, slots=True)
class _Known:
    """
    A root's answer.
    """

    low: Key
    high: Key
    count: int
    contacts: tuple[Contact, ...]
    until: float

    def serves(self, key: Id, count: int, avoid: Collection[NodeId]) -> bool:
        """
        Whether it answers this question too.
        """
        within = (key - self.low) % RING <= (self.high - self.low) % RING
        return within and self.count == count and not any(contact.id in avoid for contact in self.contacts)


class Lookup:
    """
    Asks, remembers, and answers.
    """

    __slots__ = (
        "_asked",
        "_clock",
        "_complaints",
        "_config",
        "_known",
        "_owner_of",
        "_random",
        "_ring",
        "_route",
        "_rpc",
    )

    def __init__(
        self,
        rpc: Rpc,
        clock: IReactorTime,
        random: Random,
        ring: Ring,
        config: PastryConfig,
        complaints: Complaints,
        owner_of: OwnerOf,
        route: Callable[[Key, Message, int], None],
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._random = random
        self._ring = ring
        self._config = config
        self._complaints = complaints
        self._owner_of = owner_of
        self._route = route
        self._asked: dict[int, _Asked] = {}
        self._known: list[_Known] = []
        rpc.serve(Found, self.found)

    def here(self, key: Id, count: int, avoid: Collection[NodeId]) -> list[Contact] | None:
        """
        From our own leaf set; C{None} if it does not reach far enough.
        """
        choice = choose(key, count, self._ring.leaves, self._owner_of, self._ring.suspects.union(avoid))
        return [self._contact(node) for node in choice.nodes] if choice.certain else None

    async def anywhere(self, key: Id, count: int, avoid: Collection[NodeId]) -> list[Contact]:
        """
        From wherever else it is known.

        @raise Unreachable: if the root of C{key} does not answer.
        @raise Overloaded: if too many messages wait for a decision here.
        """
        gone = self._ring.suspects.union(avoid)
        now = self._clock.seconds()
        self._known = [known for known in self._known if known.until > now]
        for known in self._known:
            if known.serves(key, count, gone):
                return sorted(known.contacts, key=lambda contact: (contact.id.distance(key), contact.id))
        answer = await self._ask(Key(key), Find(count, tuple(list(avoid)[:AVOID_LIMIT])))
        if not avoid and (key - answer.low) % RING <= (answer.high - answer.low) % RING:
            self._known.append(_Known(answer.low, answer.high, count, answer.contacts, now + self._config.cache_s))
            del self._known[: -self._config.cache_ranges]
        return list(answer.contacts)

    async def _ask(self, key: Key, question: Find) -> Found:
        for attempt in range(self._config.lookup_tries):
            number = self._random.getrandbits(62)
            answer: Deferred[Found] = Deferred()
            # The root may not reach us, though others reach both.
            asked = self._asked[number] = _Asked(key, replace(question, routed=attempt > 0), answer)
            try:
                self._route(key, asked.question, number)
                return await answer.addTimeout(self._config.lookup_s, self._clock)
            except TimeoutError:
                continue
            finally:
                del self._asked[number]
        raise Unreachable(f"the root of {key}")

    def found(self, peer: Contact, answer: Found) -> None:
        """
        C{peer} answers.  A question is seen by all who bring it to the root; so an answer has to fit it, and to come
        from somebody who, by what it says itself, is the root.
        """
        asked = self._asked.get(answer.number)
        if asked is None or asked.answer.called:
            return  # Late, or nothing that we asked.
        nodes = [contact.id for contact in answer.contacts]
        fits = len(nodes) == len(set(nodes)) <= asked.question.count
        if not fits or (peer.id not in asked.question.avoid and not _is_first(peer.id, nodes, asked.key)):
            self._complaints.note(peer, "answer that does not fit the question")
            return
        if (answer.high - answer.low) % RING * self._ring.size() > WIDEST * RING:
            self._complaints.note(peer, "impossible range of keys")
            answer = replace(answer, low=asked.key, high=asked.key)
        asked.answer.callback(answer)

    def brought(self, origin: Contact, answer: Found) -> None:
        """
        An answer was routed to us; it says that it is of C{origin}.
        """
        asked = self._asked.get(answer.number)
        if asked is not None and (asked.question.routed or origin.id == self._ring.owner):
            self.found(origin, answer)

    def asked(self, key: Key, number: int, question: Find, origin: Contact) -> None:
        """
        We are the root of C{key}: tell C{origin} who is near it.
        """
        leaves = self._ring.leaves
        choice = choose(key, question.count, leaves, self._owner_of, self._ring.suspects.union(question.avoid))
        if not choice.certain and not leaves.complete:
            return  # Our leaf set is being repaired.  It asks again, and half an answer would pass for a whole one.
        low = high = key
        if choice.plain and choice.certain and not question.avoid:
            low, high = span(key, choice.nodes, leaves)
        answer = Found(number, low, high, tuple(self._contact(node) for node in choice.nodes))
        if origin.id == self._ring.owner:
            self.found(origin, answer)
        elif question.routed:
            with suppress(Overloaded):  # It asks again.
                self._route(Key(origin.id), answer, self._random.getrandbits(62))
        else:
            self._rpc.tell(origin, answer, Priority.URGENT)

    def forget(self, node: NodeId) -> None:
        """
        C{node} is dead: no answer that names it is used any more.
        """
        self._known = [known for known in self._known if all(contact.id != node for contact in known.contacts)]

    def _contact(self, node: NodeId) -> Contact:
        return self._rpc.transport.local if node == self._ring.owner else self._ring.contacts[node]


def _is_first(node: NodeId, nodes: Collection[NodeId], key: Id) -> bool:
    """
    Whether C{node} is one of C{nodes}, and no other is nearer to C{key}.
    """
    return node in nodes and all((node.distance(key), node) <= (other.distance(key), other) for other in nodes)
