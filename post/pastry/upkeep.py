"""
Looking after the routing table: whether who stands in it is alive, and who could stand in its holes (MSPastry, sections
4.1 and 4.3).

A node that was not heard from for a while is asked for whom it has in the places of its row that are empty here.  That
it answers is what matters; nobody is named unless somebody is missing.  How long a while is follows from how often
nodes die: with sessions of hours it is many minutes, and where nobody ever dies an hour.  Each question counts for both
ends, as does everything else that they say to one another.  Who has just got a place is asked soon, so that the link to
it is there when the first message wants to go over it.
"""

from __future__ import annotations

from math import log
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import PostError, Unreachable
from post.ids import Contact
from post.pastry.config import PastryConfig
from post.pastry.failures import period_s
from post.pastry.liveness import Liveness
from post.pastry.messages import NEWS_LIMIT, Row, ShareRow
from post.pastry.ring import Ring
from post.pastry.table import COLUMNS
from post.rpc import Rpc, expect
from post.tasks import Tasks

NEW_LIMIT = 8
"""Of those with whom there is no link yet, asked in one go: a link costs more than a question."""
SILENT_LIMIT = 20
"""Of the others."""
UNITS_PER_S = 10_000
"""Of the round trips in a L{Row}."""
UNITS_LIMIT = (1 << 24) - 1


class Upkeep:
    """
    Asks them.
    """

    __slots__ = ("_asking", "_clock", "_config", "_liveness", "_random", "_ring", "_rpc", "_tasks")

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        clock: IReactorTime,
        random: Random,
        ring: Ring,
        config: PastryConfig,
        liveness: Liveness,
        tasks: Tasks,
    ) -> None:
        self._rpc = rpc
        self._clock = clock
        self._random = random
        self._ring = ring
        self._config = config
        self._liveness = liveness
        self._tasks = tasks
        self._asking = 0
        rpc.serve(ShareRow, self._asked)

    def tick(self, size: int) -> None:
        """
        Ask those for whom it is time, in a ring of C{size} nodes.  To be called every few seconds.
        """
        ring = self._ring
        if ring.leaves.whole or self._asking:
            return
        after_s = self.after_s(size)
        silences = self._rpc.transport.silent_s
        new, silent = NEW_LIMIT, SILENT_LIMIT
        for node in ring.table:
            silent_s = silences(node)
            if (silent_s is not None and silent_s < after_s) or node in ring.suspects or node in ring.leaves:
                continue
            if silent_s is None and new:
                new -= 1
            elif silent_s is not None and silent:
                silent -= 1
            else:
                continue
            self._asking += 1
            self._tasks.spawn(self._ask(ring.contacts[node]))

    def after_s(self, size: int) -> float:
        """
        For how long a node of the table may be silent.
        """
        config = self._config
        rate = self._liveness.failures.rate(len(self._ring.leaves) + len(self._ring.table))
        # The last hop leads to a leaf, of whose death one hears.
        tuned_s = period_s(rate, config.dead_hops, max(1.0, log(max(size, 2), COLUMNS) - 1))
        return self._random.uniform(0.9, 1.0) * min(max(tuned_s, config.row_least_s), config.row_most_s)

    async def _ask(self, contact: Contact) -> None:
        ring = self._ring
        row = ring.owner.shared_digits(contact.id)
        try:
            question = ShareRow(row, ring.table.filled(row))
            answer = expect(Row, await self._rpc.ask(contact, question, self._config.seed_s))
        except Unreachable:
            self._liveness.suspect(contact)
            return
        except PostError as error:
            self.log.debug("row {row} of {contact}: {error}", row=row, contact=contact, error=error)
            return
        finally:
            self._asking -= 1
        for other in answer.contacts:
            ring.tabulate(other)

    def _asked(self, peer: Contact, question: ShareRow) -> Row:
        ring = self._ring
        ring.tabulate(peer)  # It may be nearer than who has its place.
        there = [
            node
            for node in ring.table.row(question.row)
            if not question.filled >> node.digit(question.row) & 1 and node in ring.contacts and node != peer.id
        ]
        if question.before:
            rows = range(min(question.row, ring.table.depth))
            there += [node for row in rows for node in ring.table.row(row) if node in ring.contacts and node != peer.id]
        del there[NEWS_LIMIT:]
        far = [ring.round_trip_s(node) or 0.0 for node in there]
        round_trips = tuple(min(int(each * UNITS_PER_S), UNITS_LIMIT) for each in far)
        return Row(tuple(ring.contacts[node] for node in there), round_trips)
