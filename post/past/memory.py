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
        self._alive = True

    def put(self, item: Stored) -> Deferred[None]:
        self._items[item.handle] = item
        return self._flush(item.handle, item)

    def delete(self, handle: Handle) -> Deferred[None]:
        self._items.pop(handle, None)
        return self._flush(handle, None)

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
        return self._items.get(handle)

    def holding(self, handle: Handle) -> Holding | None:
        item = self._items.get(handle)
        return holding_of(item) if item is not None else None

    def scan(self, low: int, high: int) -> Iterator[Holding]:
        handles = sorted(handle for handle in self._items if low <= handle < high)
        return (holding_of(self._items[handle]) for handle in handles if handle in self._items)

    def of_kind(self, kind: int) -> Iterator[Stored]:
        return iter([item for item in self._items.values() if item.kind == kind])

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

    def crash(self) -> MemoryBlockStore:
        """
        The store as a new process finds it; this one never answers again.
        """
        self._alive = False
        survivor = MemoryBlockStore(self._clock, self._sync_s)
        survivor._items, survivor._durable = dict(self._durable), dict(self._durable)
        return survivor
