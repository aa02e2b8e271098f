"""
Tests for L{post.past.store} and L{post.past.memory}: what every block store promises, and what only files can suffer.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.commit import DiskError
from post.errors import ConfigError, Overloaded
from post.ids import RING, Handle, Id
from post.interfaces import Holding, IBlockStore, Stored
from post.past.memory import MemoryBlockStore
from post.past.store import FLYING_LIMIT_BYTES, SqliteBlockStore
from tests.past.disks import Disk, FileDisk, MemoryDisk, disks


def handle(number: int) -> Handle:
    return Handle(Id(number))


def item(number: int, data: bytes = b"data", kind: int = 1, expires: int = 100, order: int = 0) -> Stored:
    return Stored(handle(number), kind, 2, expires, order, data)


class BlockStoreTests(SynchronousTestCase):
    """
    What every store promises.
    """

    def test_interface(self) -> None:
        """
        Both are what a node is given.
        """
        for disk in disks(self):
            verifyObject(IBlockStore, disk.store)

    def test_kept(self) -> None:
        """
        What was acknowledged is there after a restart, with all that was known of it.
        """
        for disk in disks(self):
            kept = Stored(handle(RING - 1), 3, 4, 1 << 39, (1 << 62) - 1, b"\0" * 1000)
            disk.settle(disk.store.put(kept))
            disk.restart()
            self.assertEqual(kept, disk.store.get(kept.handle))
            shown = Holding(kept.handle, 3, 4, 1 << 39, (1 << 62) - 1, 1000, sha256(kept.data).digest())
            self.assertEqual((shown, [shown]), (disk.store.holding(kept.handle), list(disk.store.scan(0, RING))))
            self.assertEqual((1, 1000), disk.store.totals())

    def test_nothing(self) -> None:
        """
        What was never put is not there, and deleting it is no harm.
        """
        for disk in disks(self):
            disk.settle(disk.store.delete(handle(1)))
            self.assertEqual((None, None), (disk.store.get(handle(1)), disk.store.holding(handle(1))))
            self.assertEqual((0, 0), disk.store.totals())

    def test_replaced(self) -> None:
        """
        The last put is what stays, however many were under way.
        """
        for disk in disks(self):
            disk.hold()
            for number in range(4):
                last = disk.store.put(item(1, b"%d" % number, order=number))
                self.assertEqual(number, disk.store.holding(handle(1)).order)  # type: ignore[union-attr]
            disk.settle(last)
            disk.restart()
            self.assertEqual(item(1, b"3", order=3), disk.store.get(handle(1)))
            self.assertEqual((1, 1), disk.store.totals())

    def test_extended(self) -> None:
        """
        The same bytes put again change what is known of them.
        """
        for disk in disks(self):
            disk.settle(disk.store.put(item(1)))
            longer = Stored(handle(1), 1, 3, 200, 5, b"data")
            disk.settle(disk.store.put(longer))
            disk.restart()
            self.assertEqual(longer, disk.store.get(handle(1)))
            self.assertEqual((1, 4), disk.store.totals())

    def test_in_flight(self) -> None:
        """
        Every way of reading sees what was put and deleted, durable or not.
        """
        for disk in disks(self):
            disk.settle(disk.store.put(item(1, kind=7)))
            disk.settle(disk.store.put(item(2, kind=7)))
            disk.hold()
            disk.store.delete(handle(1))
            disk.store.put(item(2, b"new", kind=8))
            last = disk.store.put(item(3, kind=7))
            for _ in range(2):
                self.assertEqual(
                    [None, b"new", b"data"],
                    [found and found.data for found in map(disk.store.get, map(handle, (1, 2, 3)))],
                )
                self.assertIs(None, disk.store.holding(handle(1)))
                self.assertEqual([2, 3], [each.handle for each in disk.store.scan(0, RING)])
                self.assertEqual([[3], [2]], [[each.handle for each in disk.store.of_kind(kind)] for kind in (7, 8)])
                disk.settle(last)
                last = disk.store.put(item(3, kind=7))
            disk.settle(last)
            self.assertEqual((2, 7), disk.store.totals())

    def test_scan(self) -> None:
        """
        A scan shows a range in order, with its low end and without its high one.
        """
        for disk in disks(self):
            places = [0, 1, 5, 9, RING - 1]
            for place in reversed(places):
                last = disk.store.put(item(place))
            disk.settle(last)
            for low, high in ((0, RING), (1, 9), (1, 10), (5, 5), (9, 5), (6, RING)):
                expected = [place for place in places if low <= place < high]
                self.assertEqual(expected, [each.handle for each in disk.store.scan(low, high)])

    def test_scan_while_changing(self) -> None:
        """
        What stays while a scan goes on is in it once; what goes ahead of it is not.
        """
        for disk in disks(self):
            for place in range(1200):
                last = disk.store.put(item(place, b""))
            disk.settle(last)
            seen = []
            for each in disk.store.scan(0, RING):
                seen.append(each.handle)
                if each.handle == 10:
                    disk.settle(disk.store.delete(handle(1100)))
            self.assertEqual([place for place in range(1200) if place != 1100], seen)

    def test_damage(self) -> None:
        """
        What the disk has changed is never shown, and once found out, it is missing.
        """
        for disk in disks(self):
            disk.settle(disk.store.put(item(1)))
            disk.damage(handle(1))
            self.assertEqual(([], None), (list(disk.store.of_kind(1)), disk.store.get(handle(1))))
            self.assertIs(None, disk.store.holding(handle(1)))
            self.assertEqual([], list(disk.store.scan(0, RING)))

    def test_damage_mended(self) -> None:
        """
        Putting the same bytes again mends it, found out or not: who is told that they are durable may rely on that.
        """
        for found_out in (False, True):
            for disk in disks(self):
                disk.settle(disk.store.put(item(1)))
                disk.damage(handle(1))
                if found_out:
                    disk.store.get(handle(1))
                disk.settle(disk.store.put(item(1, expires=300)))
                for _ in range(2):
                    self.assertEqual(item(1, expires=300), disk.store.get(handle(1)))
                    self.assertEqual(1, len(list(disk.store.scan(0, RING))))
                    disk.restart()

    def test_given_up(self) -> None:
        """
        Who gives up waiting takes nothing back: reads go on to see the change, so that nothing older is put over it.
        """
        for disk in disks(self):
            disk.settle(disk.store.put(item(1, b"old", order=1)))
            disk.hold()
            waiting = disk.store.put(item(1, b"new", order=2))
            waiting.cancel()
            self.failureResultOf(waiting, CancelledError)
            self.assertEqual(item(1, b"new", order=2), disk.store.get(handle(1)))
            disk.settle(disk.store.delete(handle(2)))
            disk.restart()
            self.assertEqual(item(1, b"new", order=2), disk.store.get(handle(1)))

    @given(
        st.lists(
            st.one_of(
                st.tuples(
                    st.just("put"),
                    st.builds(
                        item,
                        st.integers(0, 3),
                        st.sampled_from([b"a", b"bb", b"ccc"]),
                        st.integers(1, 2),
                        st.integers(0, 9),
                        st.integers(0, 9),
                    ),
                ),
                st.tuples(st.just("delete"), st.integers(0, 3).map(handle)),
                st.tuples(st.just("damage"), st.integers(0, 3).map(handle)),
                st.tuples(st.just("settle")),
                st.tuples(st.just("restart")),
            ),
            max_size=12,
        )
    )
    def test_alike(self, steps: list[tuple[object, ...]]) -> None:
        """
        Whatever is done, a file and memory show the same.
        """
        memory, file = MemoryDisk(self), FileDisk(self)
        for step in steps:
            shown = [_after(disk, step) for disk in (memory, file)]
            self.assertEqual(shown[0], shown[1])
        file.close()


def _after(disk: Disk, step: tuple[object, ...]) -> object:
    """
    What C{disk} shows after a step.
    """
    match step:
        case ("put", Stored() as stored):
            disk.store.put(stored)
        case ("delete", where):
            disk.store.delete(where)  # type: ignore[arg-type]
        case ("damage", where):
            disk.settle(disk.store.delete(handle(99)))
            disk.damage(where)  # type: ignore[arg-type]
            disk.store.get(where)  # type: ignore[arg-type]
        case ("settle",):
            disk.settle(disk.store.delete(handle(99)))
        case _:
            disk.restart()
    return (
        [disk.store.get(handle(number)) for number in range(4)],
        [disk.store.holding(handle(number)) for number in range(4)],
        list(disk.store.scan(0, RING)),
        sorted(each.handle for each in disk.store.of_kind(1)),
    )


class MemoryBlockStoreTests(SynchronousTestCase):
    """
    Tests for L{MemoryBlockStore}.
    """

    def test_crash(self) -> None:
        """
        A crash loses what was not flushed and nothing else, and the dead store never answers.
        """
        clock = Clock()
        store = MemoryBlockStore(clock, 1.0)
        store.put(item(1, b"one"))
        store.put(item(2, b"two"))
        clock.advance(1)
        lost = [store.put(item(1, b"new")), store.delete(handle(2)), store.put(item(3))]
        survivor = store.crash()
        clock.advance(5)
        for each in lost:
            self.assertNoResult(each)
        self.assertEqual([item(1, b"one"), item(2, b"two"), None], [survivor.get(handle(n)) for n in (1, 2, 3)])

    def test_another_clock(self) -> None:
        """
        The disk of a machine that starts again goes by the clock of its new life.
        """
        store = MemoryBlockStore(Clock(), 1.0).crash()
        clock = Clock()
        store.use(clock)
        work = store.put(item(1))
        self.assertNoResult(work)
        clock.advance(1)
        self.successResultOf(work)


class SqliteBlockStoreTests(SynchronousTestCase):
    """
    Tests for L{SqliteBlockStore}.
    """

    def setUp(self) -> None:
        self.disk = FileDisk(self)
        self.addCleanup(self.disk.close)

    def failure(self, work: Deferred[None]) -> BaseException:
        failure = self.disk.calls.wait(work)
        assert isinstance(failure, Failure)
        assert failure.value is not None
        return failure.value

    def test_counts_damage(self) -> None:
        """
        Blocks found damaged are counted once each, until they are mended.
        """
        self.disk.settle(self.disk.store.put(item(1)))
        for damage in ("x'00'", "CAST(x'ff80' AS TEXT)", "7", "x''"):
            self.disk.meddle(f"UPDATE blocks SET data={damage}")
            for _ in range(2):
                self.disk.store.get(handle(1))
            self.assertEqual(1, self.disk.store.damaged)
            self.disk.settle(self.disk.store.put(item(1)))
            self.assertEqual((0, item(1)), (self.disk.store.damaged, self.disk.store.get(handle(1))))
        self.flushLoggedErrors()

    def test_unwritable(self) -> None:
        """
        What the disk does not take fails with an error of ours, and what was there before is there again.
        """
        self.disk.settle(self.disk.store.put(item(1, b"old")))
        self.disk.meddle("CREATE TRIGGER no BEFORE UPDATE ON blocks BEGIN SELECT RAISE(ABORT, 'no room'); END")
        error = self.failure(self.disk.store.put(item(1, b"newer")))
        self.assertIsInstance(error, DiskError)
        self.assertEqual(f"{self.disk.path.name}: cannot be written: no room", str(error))
        self.assertEqual(item(1, b"old"), self.disk.store.get(handle(1)))
        self.disk.settle(self.disk.store.put(item(2, b"other")))
        self.assertEqual((2, 8), self.disk.store.totals())

    def test_unreadable(self) -> None:
        """
        What the disk does not give raises an error of ours from every way of reading, and is never taken for absent:
        an older version could be put over what cannot be seen.
        """
        self.disk.settle(self.disk.store.put(item(1)))
        self.disk.meddle("ALTER TABLE blocks RENAME TO gone")
        store = self.disk.store
        ways: list[Callable[[], object]] = [
            lambda: store.get(handle(1)),
            lambda: store.holding(handle(1)),
            lambda: list(store.scan(0, RING)),
            lambda: list(store.of_kind(1)),
        ]
        for way in ways:
            self.assertRaises(DiskError, way)
        self.assertIsInstance(self.failure(store.put(item(1))), DiskError)

    def test_too_much_in_flight(self) -> None:
        """
        A disk slower than the ring does not fill the memory: more is refused, and taken again later.
        """
        large = bytes(FLYING_LIMIT_BYTES // 4)
        self.disk.hold()
        works = [self.disk.store.put(item(number, large)) for number in range(4)]
        self.failureResultOf(self.disk.store.put(item(9)), Overloaded)
        self.assertIs(None, self.disk.store.get(handle(9)))
        for work in works:
            self.disk.settle(work)
        self.disk.settle(self.disk.store.put(item(9)))

    def test_closed(self) -> None:
        """
        A closed store refuses in one of our errors.
        """
        store = SqliteBlockStore(Path(self.mktemp()), self.disk.calls)
        self.disk.settle(store.close())
        self.assertIsInstance(self.failure(store.put(item(1))), DiskError)
        self.assertRaises(DiskError, store.get, handle(1))

    def test_foreign(self) -> None:
        """
        A journal in the place of a block store is refused.
        """
        path = Path(self.mktemp())
        self.disk.settle(SqliteBlockStore(path, self.disk.calls).close())
        self.disk.path, store_path = path, self.disk.path
        self.disk.meddle("PRAGMA application_id=7")
        self.disk.path = store_path
        error = self.assertRaises(ConfigError, SqliteBlockStore, path, self.disk.calls)
        self.assertEqual("is a database of another program", error.reason)
