"""
A block store in memory, on a disk that takes time to flush and forgets what was not flushed when it crashes.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from post.ids import Handle
from post.interfaces import Holding, IBlockStore, Stored
from post.past.store import holding_of


@implementer(IBlockStore)
class MemoryBlockStore:
    """
    Blocks in a dict; durable C{sync_s} seconds after they were put.
    """

    def __init__(self, clock: IReactorTime, sync_s: float = 0.002) -> None:
        self._clock = clock
        self._sync_s = sync_s
        self._items: dict[Handle, Stored] = {}
        self._durable: dict[Handle, Stored] = {}
        self._holdings: dict[Handle, Holding] = {}
        self._damaged: set[Handle] = set()
        self._alive = True

    def put(self, item: Stored) -> Deferred[None]:
        self._forget(item.handle)
        self._items[item.handle] = item
        return self._flush(item.handle, item)

    def delete(self, handle: Handle) -> Deferred[None]:
        self._forget(handle)
        return self._flush(handle, None)

    def _forget(self, handle: Handle) -> None:
        self._items.pop(handle, None)
        self._holdings.pop(handle, None)
        self._damaged.discard(handle)

    def _flush(self, handle: Handle, item: Stored | None) -> Deferred[None]:
        done: Deferred[None] = Deferred()

        def act() -> None:
            if not self._alive:
                return
            if item is None:
                self._durable.pop(handle, None)
            else:
                self._durable[handle] = item
            done.callback(None)

        self._clock.callLater(self._sync_s, act)
        return done

    def get(self, handle: Handle) -> Stored | None:
        if handle in self._damaged:
            # Found out now, and not shown by scans from here on.
            self._items.pop(handle, None)
        return self._items.get(handle)

    def holding(self, handle: Handle) -> Holding | None:
        item = self._items.get(handle)
        if item is None:
            return None
        holding = self._holdings.get(handle)
        if holding is None:
            holding = self._holdings[handle] = holding_of(item)
        return holding

    def scan(self, low: int, high: int) -> Iterator[Holding]:
        for handle in sorted(handle for handle in self._items if low <= handle < high):
            holding = self.holding(handle)
            if holding is not None:
                yield holding

    def of_kind(self, kind: int) -> Iterator[Stored]:
        return iter([item for item in self._items.values() if item.kind == kind and item.handle not in self._damaged])

    def totals(self) -> tuple[int, int]:
        return len(self._items), sum(len(item.data) for item in self._items.values())

    def close(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._clock.callLater(self._sync_s, done.callback, None)
        return done

    def use(self, clock: IReactorTime) -> None:
        """
        Go on with another clock: a halted machine's disk in its next life.
        """
        self._clock = clock

    def damage(self, handle: Handle) -> None:
        """
        Let the disk give back other bytes under C{handle} than it was given.
        """
        self._damaged.add(handle)

    def crash(self) -> MemoryBlockStore:
        """
        The store as a new process finds it; this one never answers again.
        """
        self._alive = False
        survivor = MemoryBlockStore(self._clock, self._sync_s)
        survivor._items, survivor._durable = dict(self._durable), dict(self._durable)
        survivor._damaged = set(self._damaged)
        return survivor
