"""
Objects that are inserted and fetched by nodes of an imaginary ring, each of them judged by global knowledge.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from random import Random

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from post.errors import NotFound, PostError
from post.hashes import Purpose, handle_of
from post.ids import Handle
from post.past.blocks import CONTENT
from post.past.insertion import Inserted
from post.past.node import Past
from post.sim.hosts import Host, Hosts
from post.wire import StorageClass

INSERTING_S = 120.0
"""In which all objects are inserted, or a fifth of the time, if that is less."""
LATE_S = 10.0
"""Who reads does not wait for longer."""
REPAIR_S = 60.0
"""Within so long of a departure the copies that went with it are made again: half a minute until a silent node is held
for dead, and as much for what is to be copied."""
SAMPLES = 120
SAMPLE_LEAST_S = 5.0
"""Copies are counted so often, but not more often than that."""
LEASE_S = 30 * 86400

Sample = tuple[float, int, tuple[int, ...]]
"""When; how many nodes were in the ring; of how many objects 0, 1, ..., k or more copies were on these."""


class _Fetch:
    """
    One that is under way.
    """

    def __init__(self, host: Host, past: Past, handle: Handle, at_s: float, dark: bool) -> None:
        self.host = host
        self.past = past
        self.handle = handle
        self.at_s = at_s
        self.dark = dark

    @property
    def orphaned(self) -> bool:
        """
        Whether who wanted it has died meanwhile.
        """
        return self.host.past is not self.past


class Keeping:
    """
    One run; what became of inserts and fetches.  The counts are those of L{post.sim.storage.StorageReport}.

    @ivar acknowledged: objects of which it was said that they are kept, in that order.
    @ivar expected: what is to be found under each handle.
    @ivar stored_copies: of these, all together, by that.
    """

    def __init__(self, hosts: Hosts, chance: Random) -> None:
        self.acknowledged: list[Handle] = []
        self.stored_copies = 0
        self.failed_inserts = 0
        self.fetches = self.fetched = self.not_found = self.dark = self.late = self.wrong = self.orphaned = 0
        self.unrepaired = 0
        self.samples: list[Sample] = []
        self._hosts = hosts
        self._chance = chance
        self._clock = hosts.overlay.clock
        self._began_s = self._clock.seconds()
        self.expected: dict[Handle, bytes] = {}
        self._kept: set[Handle] = set()  # Those acknowledged.
        self._left: dict[Handle, deque[float]] = {}  # When the last k nodes went that had it.
        self._open: set[_Fetch] = set()
        self._bugs: list[Failure] = []

    @property
    def second(self) -> float:
        """
        Since the beginning.
        """
        return self._clock.seconds() - self._began_s

    def begin(self, objects: int, size: int, simulated_s: float, fetches_per_s: float) -> None:
        """
        Insert C{objects} of C{size} bytes, then fetch at a steady rate until C{simulated_s}.
        """
        inserting_s = min(INSERTING_S, simulated_s / 5)
        for number in range(objects):
            self._clock.callLater(inserting_s * number / objects, self._insert_any, size)
        self._clock.callLater(inserting_s, self._fetch_any, 1 / fetches_per_s, simulated_s)
        self._clock.callLater(0.0, self._sample, max(SAMPLE_LEAST_S, simulated_s / SAMPLES), simulated_s)

    def close(self) -> None:
        """
        Judge what has not ended yet.
        """
        for each in self._open:
            if each.orphaned:
                self.orphaned += 1
            else:
                self.late += 1
        self._open.clear()
        for bug in self._bugs:
            bug.raiseException()

    def left(self, handles: Iterable[Handle]) -> None:
        """
        A node has gone that had these.
        """
        now = self._clock.seconds()
        for handle in handles:
            times = self._left[handle]
            times.append(now)
            repairable = len(times) < self._hosts.k or now - times[0] > REPAIR_S
            if repairable and handle in self._kept and not self._hosts.runs(handle):
                self.unrepaired += 1

    @property
    def lost(self) -> int:
        """
        How many acknowledged objects are on no disk any more.
        """
        return sum(not self._hosts.ledger.disks(handle) for handle in self.acknowledged)

    @property
    def below_k(self) -> float:
        """
        The mean share of objects of which fewer than k copies are on nodes in the ring.
        """
        shares = [sum(counts[:-1]) / sum(counts) for _, _, counts in self.samples if sum(counts)]
        return sum(shares) / len(shares) if shares else 0.0

    # Inserting.

    def _insert_any(self, size: int) -> None:
        self.insert(self._chance.choice(self._hosts.up()), self._chance.randbytes(size))

    def insert(self, host: Host, data: bytes) -> Handle:
        """
        Let the node of C{host} insert C{data}; under which handle.
        """
        handle, past = handle_of(Purpose.CONTENT_BLOCK, data), host.past
        assert past is not None
        self.expected[handle] = data
        self._left[handle] = deque(maxlen=self._hosts.k)
        expires = int(self._clock.seconds()) + LEASE_S
        Deferred.fromCoroutine(past.insert(CONTENT, handle, data, StorageClass.MAIL, expires)).addCallbacks(
            self._inserted, self._refused, callbackArgs=(handle,), errbackArgs=(handle,)
        ).addErrback(self._bugs.append)
        return handle

    def _inserted(self, inserted: Inserted, handle: Handle) -> None:
        self.acknowledged.append(handle)
        self.stored_copies += inserted.copies
        self._kept.add(handle)
        self._hosts.ledger.settled.add(handle)

    def _refused(self, failure: Failure, handle: Handle) -> None:
        failure.trap(PostError, CancelledError)
        self.failed_inserts += 1
        self._hosts.ledger.settled.add(handle)

    # Fetching.

    def _fetch_any(self, every_s: float, until_s: float) -> None:
        if self.second < until_s:
            self._clock.callLater(every_s, self._fetch_any, every_s, until_s)
            if self.acknowledged:
                self.fetch(self._chance.choice(self._hosts.up()), self._chance.choice(self.acknowledged))

    def fetch(self, host: Host, handle: Handle) -> None:
        """
        Let the node of C{host} fetch an object that was acknowledged.
        """
        assert host.past is not None
        self.fetches += 1
        fetch = _Fetch(host, host.past, handle, self._clock.seconds(), not self._hosts.copies_up(handle))
        self._open.add(fetch)
        Deferred.fromCoroutine(host.past.lookup(CONTENT, handle)).addCallbacks(
            self._found, self._missed, callbackArgs=(fetch,), errbackArgs=(fetch,)
        ).addErrback(self._bugs.append)

    def _found(self, data: bytes, fetch: _Fetch) -> None:
        self._open.discard(fetch)
        if data != self.expected[fetch.handle]:
            self.wrong += 1
        elif self._clock.seconds() - fetch.at_s > LATE_S:
            self.late += 1
        else:
            self.fetched += 1

    def _missed(self, failure: Failure, fetch: _Fetch) -> None:
        failure.trap(PostError, CancelledError)
        self._open.discard(fetch)
        if fetch.orphaned:
            self.orphaned += 1
            return
        self.dark += fetch.dark or not self._hosts.copies_up(fetch.handle)
        if failure.check(NotFound):
            self.not_found += 1
        else:
            self.late += 1

    # Counting.

    def _sample(self, every_s: float, until_s: float) -> None:
        counts = [0] * (self._hosts.k + 1)
        for handle in self.acknowledged:
            counts[min(self._hosts.copies_up(handle), self._hosts.k)] += 1
        self.samples.append((self.second, len(self._hosts.up()), tuple(counts)))
        if self.second + every_s <= until_s:
            self._clock.callLater(every_s, self._sample, every_s, until_s)
