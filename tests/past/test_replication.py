"""
Tests for L{post.past.replication}: k copies as nodes come and go.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.keys import LogKey
from post.hashes import Purpose, handle_of
from post.ids import Handle, Id
from post.interfaces import Holding, Stored
from post.past.blocks import CONTENT, PUBLIC_KEY, sign_block
from post.past.messages import OFFER_LIMIT
from post.past.replication import PAGE, PERIOD_S
from post.wire import StorageClass
from tests.past.ring import DAY_S, EXPIRES, MAIL, NOW, Member, Ring, content

KEY = LogKey.derive(b"m" * 32, b"device", 0)
HEAD = handle_of(Purpose.PUBLIC_KEY_BLOCK, KEY.public)
HOUR_S = 3600


def put(ring: Ring, member: Member, data: bytes, expires: int = EXPIRES) -> Handle:
    """
    A content block, on one disk.
    """
    handle = content(data)
    ring.do(member.store.put(Stored(handle, CONTENT, MAIL, expires, 0, data)))
    return handle


class ReplicationTests(SynchronousTestCase):
    """
    Tests for L{Replication}.
    """

    def setUp(self) -> None:
        self.ring = Ring(6)

    def settle(self) -> None:
        """
        The leaf sets have changed; wait until everything has been copied.
        """
        self.ring.change()
        self.ring.pass_time(20)

    def test_k_copies(self) -> None:
        """
        After a change every object is on its k nearest nodes, with class and expiry, and who had it keeps it.
        """
        handles = [put(self.ring, self.ring.members[n % 6], b"%d" % n) for n in range(50)]
        before = {handle: self.ring.holders(handle) for handle in handles}
        self.settle()
        for handle in handles:
            holders = self.ring.holders(handle)
            for member in [*self.ring.near(handle)[:3], *before[handle]]:
                self.assertIn(member, holders)
                item = member.store.get(handle)
                assert item is not None
                self.assertEqual((MAIL, EXPIRES), (item.storage_class, item.expires))

    def test_only_the_missing(self) -> None:
        """
        What is everywhere already is not sent again.
        """
        put(self.ring, self.ring.members[0], b"data")
        self.settle()
        sent = [member.past._replication.sent for member in self.ring.members]
        self.settle()
        self.assertEqual(sent, [member.past._replication.sent for member in self.ring.members])

    def test_dead_holder(self) -> None:
        """
        When a holder has died, the next closest gets a copy.
        """
        data = b"data"
        near = self.ring.near(content(data))
        for member in near[:3]:
            put(self.ring, member, data)
        gone = near[0].contact.id
        self.ring.down.add(gone)
        self.ring.outside.add(gone)
        self.settle()
        self.assertCountEqual(near[:4], self.ring.holders(content(data)))

    def test_newest_version(self) -> None:
        """
        Of a public-key block the newest version spreads, and no older one comes back.
        """
        near = self.ring.near(HEAD)
        for member, number in zip(near, (3, 5, 4), strict=False):
            data = sign_block(KEY, number, 0, b"\0" * 32, b"")
            self.ring.do(member.store.put(Stored(HEAD, PUBLIC_KEY, StorageClass.HEAD, EXPIRES, number, data)))
        self.settle()
        orders = [member.store.get(HEAD).order for member in near[:3]]  # type: ignore[union-attr]
        self.assertEqual([5, 5, 5], orders)

    def test_lease(self) -> None:
        """
        A renewal that reached only one holder reaches the others with the next walk.
        """
        data = b"data"
        near = self.ring.near(content(data))
        for member, expires in zip(near, (EXPIRES, EXPIRES + DAY_S, EXPIRES), strict=False):
            put(self.ring, member, data, expires)
        self.settle()
        expiries = [member.store.get(content(data)).expires for member in near[:3]]  # type: ignore[union-attr]
        self.assertEqual([EXPIRES + DAY_S] * 3, expiries)

    def test_refused(self) -> None:
        """
        An object that nobody takes does not keep the others from being copied.
        """
        # Under a handle that comes first, so that it is sent first.
        bad = Stored(Handle(Id(1)), CONTENT, MAIL, EXPIRES, 0, b"no such hash")
        source = self.ring.members[0]
        self.ring.do(source.store.put(bad))
        handles = [put(self.ring, source, b"%d" % n) for n in range(30)]
        self.settle()
        for handle in handles:
            self.assertGreaterEqual(len(self.ring.holders(handle)), 3)
        self.assertEqual([source], self.ring.holders(bad.handle))

    def test_many(self) -> None:
        """
        More objects than a page or an offer has are all copied.
        """
        ring = Ring(3)
        count = OFFER_LIMIT + PAGE + 7
        for number in range(count):
            data = b"%d" % number
            ring.members[0].store.put(Stored(content(data), CONTENT, MAIL, EXPIRES, 0, data))
        ring.pass_time(1)
        ring.change()
        ring.pass_time(30)
        self.assertEqual([count] * 3, [member.store.totals()[0] for member in ring.members])

    def test_without_occasion(self) -> None:
        """
        A walk comes now and then also where nothing changes: here, after the disk has lost a block.
        """
        data = b"data"
        near = self.ring.near(content(data))
        for member in near[:3]:
            put(self.ring, member, data)
        for member in self.ring.members:
            member.past.start()
        self.ring.pass_time(20)
        near[1].store.damage(content(data))
        near[1].store.get(content(data))
        self.ring.pass_time(2 * PERIOD_S)
        self.assertEqual(data, near[1].store.get(content(data)).data)  # type: ignore[union-attr]
        for member in self.ring.members:
            member.past.stop()

    def test_rest(self) -> None:
        """
        However often something changes, a node rests for as long as it walks.
        """
        ring, data = Ring(2, 2, 1), b"data"
        walker, other = ring.members
        put(ring, walker, data)
        ring.down.add(other.contact.id)
        began: list[float] = []
        scan = walker.store.scan

        def counted(low: int, high: int) -> Iterator[Holding]:
            began.append(ring.clock.seconds())
            return scan(low, high)

        walker.store.scan = counted  # type: ignore[method-assign]
        for _ in range(300):
            walker.past.update(other.contact, True)
            ring.pass_time(1)
        # Each walk waits half a minute for an answer.
        self.assertGreaterEqual(len(began), 4)
        self.assertGreater(min(after - before for before, after in pairwise(began)), 59)

    def test_not_known(self) -> None:
        """
        While a node cannot know who is near, it offers nothing.
        """
        handle = put(self.ring, self.ring.members[0], b"data")
        for member in self.ring.members:
            member.overlay.knows = False
        self.settle()
        self.assertEqual([self.ring.members[0]], self.ring.holders(handle))

    def test_stopped(self) -> None:
        """
        A node that stops leaves nothing behind that would run.
        """
        ring = Ring(1)
        ring.members[0].past.start()
        ring.members[0].past.stop()
        ring.change()
        self.assertEqual([], ring.clock.getDelayedCalls())


class ExpiryTests(SynchronousTestCase):
    """
    What becomes of objects whose lease has ended.
    """

    def setUp(self) -> None:
        self.ring = Ring(3)
        self.member = self.ring.members[0]

    def walk(self) -> None:
        self.member.past.update(self.member.contact, True)
        self.ring.pass_time(5)

    def test_kept(self) -> None:
        """
        What has expired stays, however long ago by whatever clock, and is found by those who ask for it.
        """
        handle = put(self.ring, self.member, b"soon", NOW + HOUR_S)
        self.ring.clock.advance(10 * 366 * DAY_S)
        self.walk()
        for member in self.ring.members:
            self.assertEqual(b"soon", self.ring.do(member.past.lookup(CONTENT, handle)))

    def test_not_offered(self) -> None:
        """
        What has expired is not given to others any more.
        """
        handle = put(self.ring, self.member, b"soon", NOW + HOUR_S)
        self.ring.clock.advance(HOUR_S + 60)
        self.walk()
        self.assertEqual([self.member], self.ring.holders(handle))


class ChurnTests(SynchronousTestCase):
    """
    Any coming and going.
    """

    @settings(max_examples=15)
    @given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=8))
    def test_survives(self, steps: list[tuple[int, bool]]) -> None:
        """
        Whoever comes and goes, one at a time: afterwards all objects are on the k nearest of those who are there.
        """
        ring = Ring(7)
        handles = []
        for number in range(12):
            data = b"%d" % number
            handles.append(content(data))
            ring.do(ring.members[number % 7].past.insert(CONTENT, content(data), data, MAIL, EXPIRES))
        for place, leaves in steps:
            node = ring.members[place].contact.id
            if leaves and len(ring.outside) < 4:
                ring.outside.add(node)
                ring.down.add(node)
            else:
                ring.outside.discard(node)
                ring.down.discard(node)
            ring.change()
            ring.pass_time(5)
        for handle in handles:
            for member in ring.near(handle)[:3]:
                self.assertIn(member, ring.holders(handle))
