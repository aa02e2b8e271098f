"""
Lookups that liars do not win (Castro, Druschel, Ganesh, Rowstron, Wallach: "Secure routing for structured peer-to-peer
overlay networks", OSDI 2002).

First the key is looked up as always, and whoever says that it is the root signs its leaf set.  That is put to the test.
Where the authority makes known who may be in the ring, nobody who should be there may be missing
(L{post.pastry.listed}).  Otherwise the nodes have to stand as close together as nodes do (L{post.pastry.density}), and
some of them, chosen by chance, to answer themselves and to know of nobody nearer to the key.  If nothing came, or the
test fails, the key is looked for over many ways (L{post.pastry.ways}), each of which begins at another member of our
leaf set and goes on by constrained tables (L{post.pastry.constrained}), until the test holds or all have been gone.

Our deviations from the paper, and why:

  - We go each way ourselves, asking every node on it for the next one, where the paper sends a message ahead.  So we
    learn from each node, dead ends cost one question, and where two ways meet nothing is asked twice.
  - Ways are gone in groups, and the test is made after each, so that few liars cost few messages.
  - All that was ever named is kept (L{post.pastry.survey}), and the root is the nearest that answers, whoever named it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from random import Random

from twisted.internet.interfaces import IReactorTime

from post.complaints import Complaints
from post.errors import Unreachable
from post.ids import Contact, Id, Key, NodeId
from post.pastry.config import PastryConfig
from post.pastry.constrained import point
from post.pastry.density import usual_step
from post.pastry.evidence import Evidence
from post.pastry.listed import Listed
from post.pastry.membership import Membership, presence
from post.pastry.replicas import OwnerOf
from post.pastry.ring import Ring
from post.pastry.statement import Check, Sign, Statement
from post.pastry.survey import Survey
from post.pastry.vouching import Vouching
from post.pastry.ways import WAYS, Ways
from post.rpc import Rpc
from post.wire import Message

LISTED_LIMIT = 4096
"""Certified nodes up to which the list is used: beyond, many more may be near a key than are ever there."""
FAR = 36
"""Leaf sets, anywhere in the ring, by which its density is judged: that of one wavers by a fifth, and where this is
overrated by a tenth, three times as many sets of liars are believed."""
NEAR = 3
"""The same near us.  They are partly our own, so that more of them would not tell more."""
LEAST = 0.001
"""Of those certified around it a node sees more than this part, at least itself."""
CLAIM_S = 4.0
"""For a root to answer: over some hops, each of which may have to be linked with first."""
NEAREST = 4
"""Nodes asked around the point of a place in the constrained table."""
MAINTAINED_S = 1200.0
"""Between two looks at a place in the constrained table: it has about sixty, and serves where others fail."""
SAMPLED_S = 3600.0
"""For so long they are used."""

Send = Callable[[Key, Message], None]
Members = Callable[[], Iterable[NodeId]]
"""The ids that the authority has certified, as far as is known: nobody, if it does not say."""


@dataclass(slots=True)
class Tally:
    """
    What was done so far.

    @ivar lookups: secure ones that our leaf set could not answer.
    @ivar doubted: of these, those whose first answer failed the test, or did not come.
    @ivar unsure: of these, those after which the test still failed: the nearest that answers was taken.
    @ivar ways: begun, because of doubt.
    @ivar checks: questions for testing first answers; C{asked}: all questions; C{most}: those for any one lookup.
    @ivar samples: questions for judging the ring's density.
    """

    lookups: int = 0
    doubted: int = 0
    unsure: int = 0
    ways: int = 0
    checks: int = 0
    asked: int = 0
    most: int = 0
    samples: int = 0


class Secure:
    """
    Secure lookups of one node.

    @ivar members: who has been certified.
    @ivar evidence: what there is against others.
    """

    __slots__ = (
        "_clock",
        "_config",
        "_far",
        "_local",
        "_maintained_at",
        "_near",
        "_owner_of",
        "_random",
        "_ring",
        "_sampled_until",
        "_send",
        "evidence",
        "members",
        "tally",
        "vouching",
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
        active: Callable[[], bool],
        send: Send,
    ) -> None:
        """
        @param send: routes a message to the root of a key.
        """
        self.members: Members = tuple
        self.evidence = Evidence(ring, complaints)
        self.vouching = Vouching(rpc, clock, random, ring, complaints, active, self.onward, self.evidence.heard)
        self.tally = Tally()
        self._local = rpc.transport.local
        self._clock = clock
        self._random = random
        self._ring = ring
        self._config = config
        self._owner_of = owner_of
        self._send = send
        self._maintained_at = 0.0
        self._near: Sequence[Statement] = ()
        self._far: Sequence[Statement] = ()
        self._sampled_until = 0.0

    def use(self, sign: Sign, check: Check, members: Members = tuple) -> None:
        """
        Sign by C{sign}, and verify what others sign by C{check}; C{members} have been certified.
        """
        self.vouching.sign, self.vouching.check, self.members = sign, check, members

    def onward(self, key: Key) -> tuple[Contact, ...]:
        """
        Who is next on a way to C{key} that is none of the fast ones; nobody, if our leaf set has the key.
        """
        ring = self._ring
        if ring.leaves.covers(key):
            return ()
        entry = ring.constrained.toward(key)
        if entry is not None and entry.id not in ring.suspects:
            return (entry,)
        shared, distance = ring.owner.shared_digits(key), ring.owner.distance(key)
        nearer = [
            contact
            for contact in (*ring.leaf_contacts(), *ring.constrained.contacts())
            if contact.id.shared_digits(key) >= shared and contact.id.distance(key) < distance
        ]
        return (min(nearer, key=lambda contact: contact.id.distance(key)),) if nearer else ()

    def misses(self, key: Id, found: Collection[Contact]) -> bool:
        """
        Whether somebody has been certified who stands nearer to C{key} than the last of those whom our leaf set has
        C{found}, and of whom we have not heard that it is away.
        """
        members = self._membership()
        if members is None or not found:
            return False
        ring = self._ring
        last = max(contact.id.distance(key) for contact in found)
        return any(
            node.distance(key) < last and node not in ring.leaves and node not in ring.absent and node != ring.owner
            for node in members.around(key, self._config.half)
        )

    def _membership(self) -> Membership | None:
        """
        Who has been certified, if that is known and helps.
        """
        members = Membership(self.members())
        return members if 0 < len(members) <= LISTED_LIMIT else None

    async def find(self, key: Id, count: int, avoid: Collection[NodeId] = ()) -> list[Contact]:
        """
        The C{count} nodes of distinct owners nearest to C{key}, nearest first, each of which has answered just now.

        @raise Unreachable: if nobody has.
        """
        members = self._membership()
        survey = Survey(key, self._local)
        self.tally.lookups += 1
        try:
            if members is not None:
                await self._find_listed(survey, members, count, avoid)
            else:
                await self._find_unlisted(survey, count, avoid)
        finally:
            self.tally.asked += survey.asked
            self.tally.most = max(self.tally.most, survey.asked)
        found = survey.found(count, self._owner_of, avoid)
        if not found or survey.stated.keys() <= {self._local.id}:
            raise Unreachable(f"the root of {key}")
        return found

    async def _find_listed(self, survey: Survey, members: Membership, count: int, avoid: Collection[NodeId]) -> None:
        search = Listed(survey, members, self._ring, self.vouching, self._owner_of, count, avoid, self._usual_presence)
        if search.missing():
            await self.vouching.claim(survey, self._send, CLAIM_S)
        holds = await search.run()
        self.tally.checks += 0 if search.begun else survey.asked
        self.tally.doubted += search.begun
        self.tally.unsure += not holds

    async def _find_unlisted(self, survey: Survey, count: int, avoid: Collection[NodeId]) -> None:
        usual = await self._usual_step()
        claimed = await self.vouching.claim(survey, self._send, CLAIM_S)
        search = self._ways(survey, usual, count, avoid)
        holds = claimed is not None and await search.holds()
        self.tally.checks += survey.asked
        if not holds:
            self.tally.doubted += 1
            self.tally.unsure += not await search.run(self._firsts(survey))
            self.tally.ways += search.begun

    def _ways(self, survey: Survey, usual: float, count: int, avoid: Collection[NodeId] = ()) -> Ways:
        return Ways(survey, usual, self._config.half, self._random, self.vouching, self._owner_of, count, avoid)

    def is_due(self) -> bool:
        """
        Whether there is a constrained table, and it is time to L{maintain} it.
        """
        return self._ring.constrained.made and self._clock.seconds() >= self._maintained_at + MAINTAINED_S

    async def maintain(self) -> None:
        """
        Look, for one place of the constrained table, who is nearest to its point: over ways that begin at some of our
        neighbors, and as those say who stand there.
        """
        ring = self._ring
        self._maintained_at = self._clock.seconds()
        there = ring.constrained.contacts()
        if not there or ring.leaves.whole:
            return
        holder = self._random.choice(there)
        row = ring.owner.shared_digits(holder.id)
        survey = Survey(Id(point(ring.owner, row, holder.id.digit(row))), self._local)
        survey.name([holder])
        await self._ways(survey, 0.0, 1).go([holder.id, *self._firsts(survey)[: WAYS[0]]])
        await self.vouching.ask_all(survey, survey.nearest(NEAREST, self._owner_of))
        if survey.is_silent(holder.id):
            ring.constrained.remove(holder.id)
        for contact in survey.found(NEAREST, self._owner_of):
            if contact.id not in ring.shunned:
                ring.constrained.heard(contact)

    def _firsts(self, survey: Survey) -> list[NodeId]:
        """
        Where ways begin: at the members of our leaf set, whose constrained tables differ, and then in our own.
        """
        ring = self._ring
        leaves = [contact for contact in ring.leaf_contacts() if contact.id not in ring.suspects]
        table = ring.constrained.contacts()
        self._random.shuffle(leaves)
        self._random.shuffle(table)
        firsts = [*leaves, *table][: sum(WAYS)]
        survey.name(firsts)
        return list(dict.fromkeys(contact.id for contact in firsts))

    async def _usual_step(self) -> float:
        """
        How far apart nodes stand in this ring.
        """
        await self._sample()
        near = self._random.sample(self._near, min(len(self._near), NEAR))
        return usual_step(self.vouching.statement().step(), [said.step() for said in (*near, *self._far)])

    async def _usual_presence(self, members: Membership) -> float:
        """
        Which part of those certified is in this ring, as far as we see it with our neighbors: among these are no more
        liars than in the ring, which cannot be said of our tables.
        """
        await self._sample()
        own = presence(self.vouching.statement(), members)
        return 1 / usual_step(1 / max(own, LEAST), [1 / max(presence(said, members), LEAST) for said in self._near])

    async def _sample(self) -> None:
        """
        Ask our neighbors and some others, anywhere in the ring, for their leaf sets, unless that was done lately.
        """
        now = self._clock.seconds()
        if now < self._sampled_until:
            return
        self._sampled_until = now + SAMPLED_S
        ring = self._ring
        there = ring.constrained.contacts()
        self._near = await self._states(ring.leaf_contacts())
        self._far = await self._states(self._random.sample(there, min(len(there), FAR)))

    async def _states(self, contacts: list[Contact]) -> list[Statement]:
        survey = Survey(self._ring.owner, self._local)
        survey.name(contacts)
        await self.vouching.ask_all(survey, [contact.id for contact in contacts])
        self.tally.samples += survey.asked
        return list(survey.stated.values())
