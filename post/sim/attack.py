"""
An experiment: what becomes of lookups where some of the nodes lie, and what it costs to find the root all the same
(Castro et al., OSDI 2002, sections 5 and 6).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from post.errors import PostError
from post.ids import Contact, Key
from post.sim.latency import sphere
from post.sim.liars import ALONE, Conspiracy, constrained
from post.sim.network import Delay
from post.sim.overlay import Member, Overlay, Sent
from post.sim.routing import Told
from post.sim.signing import check, sign

JOINED_LIMIT = 200
"""Nodes up to which a ring forms by the protocol; a larger one is put together from global knowledge."""
JOINS_PER_S = 10.0
ORIGINS = 100
"""Nodes that look up, so that each does so often: what one learns of the ring serves all its lookups."""
LOOKUPS_PER_S = 1.0
"""Of each: nodes sign for nobody more than a few times in a second."""
STEP_LOOKUPS = 100
"""Between two tellings of how far it is."""
REPLICAS = 3
"""Nodes looked for around each key."""
GRACE_S = 60.0
"""After the last join or lookup, for what is still under way."""


@dataclass(frozen=True)
class AttackReport:
    """
    What was measured.  Origins and roots are honest, and all nodes alive.

    @ivar success: of secure lookups, that found the root and the rest of the replica set.
    @ivar plain_success: of the same lookups made as usual, that were delivered by the root.
    @ivar overhead: messages per secure lookup, questions and answers, beside those of the usual one.  C{checks} of them
        test the first answer, whatever that is; the others follow where it was doubted.
    @ivar most: of these messages, those of any one lookup.
    @ivar samples: messages of each origin, once in an hour, to learn how dense the ring is; not in the overhead.
    @ivar doubted: of secure lookups, whose first answer did not come or failed the test.
    @ivar unsure: of these, for which that remained so.
    @ivar ways: gone for each lookup.
    """

    nodes: int
    seed: int
    faulty_fraction: float
    tactic: str
    directory: bool
    lookups: int
    success: float
    plain_success: float
    overhead: float
    checks: float
    most: int
    samples: float
    doubted: float
    unsure: float
    ways: float
    wall_s: float


def run(
    nodes: int,
    seed: int,
    faulty: float,
    lookups: int,
    delay: Delay | None = None,
    told: Told = lambda done, total: None,
    directory: bool = False,
    away: float = 0.0,
    tactic: str = ALONE,
) -> AttackReport:
    """
    Make a ring of C{nodes}, of which C{faulty} lie, and look up C{lookups} keys, both ways.

    @param directory: whether nodes know who has been certified; of these the part C{away} is not there.
    @param tactic: whom liars name (L{post.sim.liars}).
    """
    began_at = time.perf_counter()
    overlay = Overlay(seed, delay or sphere(seed))
    _form(overlay, nodes)
    if directory:
        listed = [*overlay.active(), *(overlay.point() for _ in range(round(nodes * away / (1 - away))))]
        for member in overlay.members.values():
            member.pastry.secure.members = lambda: listed
    liars = Conspiracy(overlay, int(faulty * nodes), tactic)
    liars.poison()
    liars.begin()
    honest = [node for node in overlay.active() if node not in liars]
    chosen = overlay.random.sample(honest, min(ORIGINS, len(honest)))
    origins = [overlay.members[node] for node in chosen]
    attack = _Attack(overlay, liars)
    for number in range(lookups):
        attack.look_up(origins[number % len(origins)])
        overlay.clock.advance(1 / (LOOKUPS_PER_S * len(origins)))
        if number % STEP_LOOKUPS == 0:
            told(number, lookups)
    overlay.wait(lambda: attack.judged == lookups, GRACE_S)
    told(lookups, lookups)
    tallies = [origin.pastry.secure.tally for origin in origins]
    return AttackReport(
        nodes,
        seed,
        len(liars.liars) / nodes,
        tactic,
        directory,
        lookups,
        attack.found / lookups,
        sum(each.deliveries > 0 and not each.wrong for each in attack.plain) / lookups,
        2 * sum(each.asked for each in tallies) / lookups,
        2 * sum(each.checks for each in tallies) / lookups,
        2 * max(each.most for each in tallies),
        2 * sum(each.samples for each in tallies) / len(origins),
        sum(each.doubted for each in tallies) / lookups,
        sum(each.unsure for each in tallies) / lookups,
        sum(each.ways for each in tallies) / lookups,
        time.perf_counter() - began_at,
    )


def _form(overlay: Overlay, nodes: int) -> None:
    if nodes > JOINED_LIMIT:
        overlay.found(nodes)
        for node in overlay.active():
            overlay.members[node].pastry.ring.constrained.source = partial(constrained, overlay, node)
    else:
        while len(overlay.members) < nodes:
            overlay.join()
            overlay.clock.advance(1 / JOINS_PER_S)
        overlay.wait(lambda: len(overlay.active()) == nodes, GRACE_S)
        overlay.clock.advance(GRACE_S)
    for node in overlay.active():
        overlay.members[node].pastry.secure.use(partial(sign, node), check)


class _Attack:
    """
    The lookups, and what became of them.

    @ivar found: secure ones that found whom they should; C{judged}: those that have ended.
    @ivar plain: the others.
    """

    def __init__(self, overlay: Overlay, liars: Conspiracy) -> None:
        self.found = self.judged = 0
        self.plain: list[Sent] = []
        self._overlay = overlay
        self._liars = liars

    def look_up(self, origin: Member) -> None:
        """
        Some key whose root is honest, both ways.
        """
        key = self._key()
        sent = self._overlay.look_up(origin, key)
        if sent is not None:
            self.plain.append(sent)
        Deferred.fromCoroutine(origin.pastry.replica_set(key, REPLICAS, secure=True)).addCallbacks(
            self._judge, self._failed, (key,)
        )

    def _key(self) -> Key:
        while True:
            key = Key(self._overlay.point())
            if self._overlay.root(key) not in self._liars:
                return key

    def _judge(self, found: list[Contact], key: Key) -> None:
        self.judged += 1
        self.found += [contact.id for contact in found] == self._overlay.nearest(key, REPLICAS)

    def _failed(self, failure: Failure) -> None:
        failure.trap(PostError)
        self.judged += 1
