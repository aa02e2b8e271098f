"""
Tests for L{post.past.scrub}.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.commit import DiskError
from post.crypto.keys import LogKey
from post.hashes import Purpose, handle_of
from post.ids import Handle, Id
from post.interfaces import Holding, Stored
from post.past.blocks import CONTENT, PUBLIC_KEY, sign_block
from post.past.memory import MemoryBlockStore
from post.past.scrub import BYTES, OBJECTS, PERIOD_S, Scrub
from post.tasks import Tasks
from post.wire import StorageClass
from tests.past.ring import EXPIRES, MAIL, Ring, content


def item(number: int, data: bytes = b"data") -> Stored:
    return Stored(Handle(Id(number)), CONTENT, MAIL, EXPIRES, 0, data)


class Watched(MemoryBlockStore):
    """
    Notes what is read, and does not give what is in a bad sector.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.read: list[int] = []
        self.bad: set[int] = set()

    def get(self, handle: Handle) -> Stored | None:
        self.read.append(int(handle))
        if handle in self.bad:
            raise DiskError("blocks", "bad sector")
        return super().get(handle)


class ScrubTests(SynchronousTestCase):
    """
    Tests for L{Scrub}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.store = Watched(self.clock)
        self.tasks = Tasks()
        self.addCleanup(self.tasks.stop)
        self.mended: list[int] = []
        Scrub(self.store, self.clock, self.tasks, self.mend).start()

    async def mend(self, holding: Holding) -> None:
        self.mended.append(int(holding.handle))

    def look(self) -> list[int]:
        """
        What the next look reads.
        """
        self.store.read.clear()
        self.clock.advance(PERIOD_S)
        return list(self.store.read)

    def test_round(self) -> None:
        """
        It goes round: everything is read, and then again from the beginning.
        """
        for number in range(OBJECTS + 5):
            self.store.put(item(number))
        looks = [self.look() for _ in range(3)]
        self.assertEqual(
            [list(range(OBJECTS)), list(range(OBJECTS, OBJECTS + 5)), list(range(OBJECTS))],
            looks,
        )

    def test_large(self) -> None:
        """
        Of large objects fewer are read at once.
        """
        for number in range(5):
            self.store.put(item(number, bytes(BYTES // 2)))
        self.assertEqual([[0, 1], [2, 3], [4]], [self.look() for _ in range(3)])

    def test_damaged(self) -> None:
        """
        What is damaged or cannot be read is mended, and nothing else.
        """
        for number in range(5):
            self.store.put(item(number))
        self.store.damage(Handle(Id(2)))
        self.store.bad.add(4)
        self.look()
        self.assertEqual([2, 4], self.mended)

    def test_empty(self) -> None:
        """
        Where there is nothing, nothing is read.
        """
        self.assertEqual([], self.look())


class MendTests(SynchronousTestCase):
    """
    The scrub of a node in its ring.
    """

    def test_mended(self) -> None:
        """
        A damaged block, even one that is remembered in memory, and a damaged log head are got back from the others.
        """
        key = LogKey.derive(b"m" * 32, b"device", 0)
        head = sign_block(key, 7, 0, b"\0" * 32, b"")
        blocks = (
            (CONTENT, content(b"data"), b"data"),
            (PUBLIC_KEY, handle_of(Purpose.PUBLIC_KEY_BLOCK, key.public), head),
        )
        for kind, handle, data in blocks:
            ring = Ring(5)
            member = ring.near(handle)[0]
            ring.do(member.past.insert(kind, handle, data, StorageClass.HEAD, EXPIRES))
            member.store.damage(handle)
            member.past.start()
            ring.pass_time(PERIOD_S + 1)
            self.assertEqual(data, member.store._durable[handle].data)
            self.assertIsNot(None, member.store.get(handle))
            member.past.stop()

    def test_alone(self) -> None:
        """
        Where nobody has another copy, the node goes on without.
        """
        ring = Ring(3)
        member = ring.members[0]
        ring.do(member.store.put(Stored(content(b"data"), CONTENT, MAIL, EXPIRES, 0, b"data")))
        member.store.damage(content(b"data"))
        ring.outside.update(other.contact.id for other in ring.members[1:])
        member.past.start()
        ring.pass_time(2 * PERIOD_S + 1)
        self.assertIs(None, member.store.get(content(b"data")))
        member.past.stop()
        self.assertEqual([], self.flushLoggedErrors())
