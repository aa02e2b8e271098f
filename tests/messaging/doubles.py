"""
A ring in a dict: what L{post.past.node.Past} promises, without any network, for tests of what stands on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from post.commit import DiskError
from post.errors import Conflict, NotFound, TooFewReplicas
from post.ids import Handle, Id, NodeId
from post.interfaces import Stored
from post.journal import MemoryJournal
from post.past.blocks import PUBLIC_KEY, BlockKind, CertificateKind, ContentKind, PublicKeyKind
from post.past.lookout import Sighting
from post.wire import StorageClass

ANYBODY = NodeId(Id(1))
Rows = Sequence[tuple[int, bytes]]
Values = Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class FakeInserted:
    copies: int = 3
    elsewhere: int = 2


@dataclass(frozen=True)
class FakeNewest:
    data: bytes | None
    number: int
    confirmed: bool


class FakePast:
    """
    Keeps everything, verifies everything, and fails on demand: C{copies} is how many copies can be made just now.
    """

    def __init__(self, clock: Clock, root: bytes) -> None:
        self.clock = clock
        self.copies = 3
        self.minimum = 2
        self.silent = 0
        """How many of the three holders do not answer."""
        self.confirmed = True
        self.lookout = self
        self.objects: dict[Handle, Stored] = {}
        self.inserts: list[tuple[int, Handle]] = []
        self.widely: list[bool] = []
        self.kinds: dict[int, BlockKind] = {}
        for kind in (ContentKind(), PublicKeyKind(root), CertificateKind(root)):
            self.register(kind)

    def register(self, kind: BlockKind) -> None:
        self.kinds[kind.kind] = kind

    async def insert(
        self, kind: int, handle: Handle, data: bytes, storage_class: StorageClass, expires: int
    ) -> FakeInserted:
        if self.copies < 3:
            raise TooFewReplicas(self.copies, 2)
        order = self.kinds[kind].check(handle, data, self.clock.seconds())
        item = Stored(handle, kind, storage_class, expires, order, data)
        old = self.objects.get(handle)
        if old is not None and old.data != data and not self.kinds[kind].supersedes(item, old):
            if order != old.order or kind == PUBLIC_KEY:
                raise Conflict(old.data)
            item = old
        self.inserts.append((kind, handle))
        self.objects[handle] = item
        self.kinds[kind].stored(item)
        return FakeInserted()

    async def lookup(self, kind: int, handle: Handle) -> bytes:
        item = self.objects.get(handle)
        if item is None or item.kind != kind:
            raise NotFound(str(handle))
        return item.data

    async def look(self, handles: Sequence[Handle]) -> list[Sighting]:
        """
        As the lookout does: one node has everything.
        """
        return [
            Sighting(handle, {ANYBODY: self.objects[handle].order} if handle in self.objects else {})
            for handle in handles
        ]

    async def shown(self, kind: int, handle: Handle) -> list[bytes | None]:
        item = self.objects.get(handle)
        data = item.data if item is not None and item.kind == kind else b""
        return [*[data] * (3 - self.silent), *[None] * self.silent]

    async def furthest(self, kind: int, handle: Handle, wide: bool = False) -> bytes:
        return await self.lookup(kind, handle)

    async def newest(self, handle: Handle, wide: bool = False) -> FakeNewest:
        self.widely.append(wide)
        item = self.objects.get(handle)
        if item is None:
            return FakeNewest(None, 0, self.confirmed)
        return FakeNewest(item.data, item.order, self.confirmed)

    def held(self, handle: Handle) -> Stored | None:
        return self.objects.get(handle)

    def holdings(self, kind: int) -> Iterator[Stored]:
        return (item for item in list(self.objects.values()) if item.kind == kind)

    def rank(self, handle: Handle) -> int:
        return 0


def backup(journal: MemoryJournal, clock: Clock) -> MemoryJournal:
    """
    A copy of a disk, as of now.
    """
    copy = MemoryJournal(clock, 0.001)
    copy._rows, copy._values = dict(journal._durable_rows), dict(journal._durable_values)
    copy._durable_rows, copy._durable_values = dict(copy._rows), dict(copy._values)
    return copy


class FakeJournal:
    """
    A journal whose writes are durable at once, or fail where C{refuse} says so; what C{damaged} names cannot be read.
    """

    def __init__(self) -> None:
        self.table: dict[int, bytes] = {}
        self.values: dict[str, bytes] = {}
        self.damaged: set[int | str] = set()
        self.refuse: Callable[[Rows, Values], bool] = lambda rows, values: False

    def write(self, rows: Rows, values: Values) -> Deferred[None]:
        if self.refuse(rows, values):
            return fail(DiskError("journal", "full"))
        self.damaged -= {*dict(rows), *dict(values)}
        self.table.update(rows)
        self.values.update(values)
        return succeed(None)

    def rows(self, start: int) -> Iterator[tuple[int, bytes]]:
        for number in sorted(self.table):
            if number >= start:
                self._check(number)
                yield number, self.table[number]

    def value(self, name: str) -> bytes | None:
        self._check(name)
        return self.values.get(name)

    def _check(self, name: int | str) -> None:
        if name in self.damaged:
            raise DiskError("journal", f"{name} is damaged on disk")

    def copy(self) -> FakeJournal:
        """
        The same disk, as of now.
        """
        copy = FakeJournal()
        copy.table, copy.values = dict(self.table), dict(self.values)
        return copy

    def discard(self, before: int) -> Deferred[None]:
        self.damaged = {name for name in self.damaged if isinstance(name, str) or name >= before}
        self.table = {number: row for number, row in self.table.items() if number >= before}
        return succeed(None)
