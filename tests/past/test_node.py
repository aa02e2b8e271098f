"""
Tests for L{post.past.node} and L{post.past.reading}: whole nodes on wires in memory.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.crypto.keys import LogKey
from post.errors import Conflict, NotFound, TooFewReplicas, Unreachable
from post.hashes import Purpose, handle_of
from post.interfaces import IApplication, ITransport, Stored
from post.past.blocks import CERTIFICATE, CONTENT, PUBLIC_KEY, certificate_block, certificate_handle, sign_block
from post.past.insertion import Inserted
from post.past.messages import Fetch, Found, Kept, Rival, Store
from post.past.reading import HEDGE_S, Cache
from post.sim.authority import LIFE_S
from post.wire import StorageClass
from tests.past.ring import DAY_S, EXPIRES, MAIL, NOW, Member, Ring, content

DATA = b"a message" * 100
HANDLE = content(DATA)
KEY = LogKey.derive(b"m" * 32, b"device", 0)
HEAD = handle_of(Purpose.PUBLIC_KEY_BLOCK, KEY.public)
ZERO = b"\0" * 32


def version(number: int, payload: bytes = b"", epoch: int = 0) -> bytes:
    return sign_block(KEY, number, epoch, ZERO, payload)


def stored(data: bytes, order: int, expires: int = EXPIRES) -> Stored:
    return Stored(HEAD, PUBLIC_KEY, StorageClass.HEAD, expires, order, data)


class InsertTests(SynchronousTestCase):
    """
    Tests for L{Past.insert}.
    """

    def setUp(self) -> None:
        self.ring = Ring(7)
        self.near = self.ring.near(HANDLE)

    def insert(self, member: Member, expires: int = EXPIRES) -> Deferred[object]:
        return Deferred.fromCoroutine(member.past.insert(CONTENT, HANDLE, DATA, MAIL, expires))

    def test_interfaces(self) -> None:
        """
        A node is what Pastry calls on, and the wires of these tests are a transport.
        """
        verifyObject(IApplication, self.near[0].past)
        verifyObject(ITransport, self.near[0].wire)

    def test_nearest(self) -> None:
        """
        An object goes to the k nearest nodes and to nobody else.
        """
        inserted = self.ring.do(self.near[5].past.insert(CONTENT, HANDLE, DATA, MAIL, EXPIRES))
        self.assertEqual((3, 3), (inserted.copies, inserted.elsewhere))
        self.assertEqual({member.contact.id for member in self.near[:3]}, set(inserted.receipts))
        self.assertCountEqual(self.near[:3], self.ring.holders(HANDLE))

    def test_misled(self) -> None:
        """
        Where whoever a lying root names keeps nothing, the nearest are found securely and keep it.
        """
        writer = self.near[6]
        writer.overlay.knows = False
        writer.overlay.misled = [member.contact for member in self.near[4:6]]
        self.ring.down |= {contact.id for contact in writer.overlay.misled}
        inserted = self.ring.do(self.insert(writer))
        assert isinstance(inserted, Inserted)
        self.assertEqual({member.contact.id for member in self.near[:3]}, set(inserted.receipts))

    def test_durable(self) -> None:
        """
        When it has been inserted, the power may fail everywhere: it is on all k disks, our own included.
        """
        self.ring.do(self.insert(self.near[1]))
        for member in self.near[:3]:
            self.assertEqual(DATA, member.store.crash().get(HANDLE).data)  # type: ignore[union-attr]

    def test_dead(self) -> None:
        """
        In the place of a dead holder comes the next one.
        """
        self.ring.down.add(self.near[0].contact.id)
        inserted = self.ring.do(self.near[6].past.insert(CONTENT, HANDLE, DATA, MAIL, EXPIRES))
        self.assertEqual({member.contact.id for member in self.near[1:4]}, set(inserted.receipts))

    def test_too_few(self) -> None:
        """
        Where only one other is alive, nothing is promised.
        """
        self.ring.down.update(member.contact.id for member in self.near[2:])
        failure = self.ring.outcome(self.insert(self.near[0]))
        assert isinstance(failure, Failure)
        failure.trap(TooFewReplicas)

    def test_lies(self) -> None:
        """
        A holder that sends a made-up receipt, or one for another object, is no holder; it is complained about.
        """
        liar, inserter = self.near[0], self.near[6]
        other = b"something else"
        real = self.ring.do(
            inserter.past._store_at(
                liar.contact, Store(CONTENT, content(other), MAIL, EXPIRES, other), sha256(other).digest(), 1
            )
        )
        for lie in (Kept(NOW, 0, (), b"\1" * 65), real, Found(MAIL, EXPIRES, DATA)):
            self.ring.instead(liar, Store, lie)
            inserted = self.ring.do(inserter.past.insert(CONTENT, HANDLE, DATA, MAIL, EXPIRES))
            self.assertNotIn(liar.contact.id, inserted.receipts)
            self.assertEqual(3, inserted.copies)
        self.assertEqual(3, inserter.complaints.counts["worthless receipt"])

    def test_made_up_rival(self) -> None:
        """
        A rival that is none, or older, or no block at all, does not stop a write.
        """
        ring, near = self.ring, self.ring.near(HEAD)
        ours = version(5)
        for lie in (version(4), ours, b"nothing"):
            ring.instead(near[0], Store, Rival(lie))
            inserted = ring.do(near[6].past.insert(PUBLIC_KEY, HEAD, ours, StorageClass.HEAD, EXPIRES))
            self.assertEqual(3, inserted.copies)

    def test_rival(self) -> None:
        """
        A newer version, or another of the same number, does, and is shown.
        """
        ring, near = self.ring, self.ring.near(HEAD)
        ring.do(near[0].store.put(stored(version(5), 5)))
        for ours in (version(4), version(5, b"fork")):
            failure = ring.outcome(near[6].past.insert(PUBLIC_KEY, HEAD, ours, StorageClass.HEAD, EXPIRES))
            assert isinstance(failure, Failure)
            failure.trap(Conflict)
            self.assertEqual(version(5), failure.value.current)  # type: ignore[union-attr]

    def test_two_writers(self) -> None:
        """
        Of two who write the same number at once, at most one succeeds.
        """
        ring, near = self.ring, self.ring.near(HEAD)
        writes: list[Deferred[Any]] = [
            Deferred.fromCoroutine(near[place].past.insert(PUBLIC_KEY, HEAD, data, StorageClass.HEAD, EXPIRES))
            for place, data in ((5, version(1, b"a")), (6, version(1, b"b")))
        ]
        failures = 0
        for write in writes:
            failures += isinstance(ring.outcome(write), Failure)
        self.assertGreaterEqual(failures, 1)

    def test_newer_and_older(self) -> None:
        """
        Of two versions written at once, the newer is what all holders end with, whichever comes first.
        """
        for first, second in ((1, 2), (2, 1)):
            ring = Ring(5)
            near = ring.near(HEAD)
            writes = [
                Deferred.fromCoroutine(
                    near[4].past.insert(PUBLIC_KEY, HEAD, version(number), StorageClass.HEAD, EXPIRES)
                )
                for number in (first, second)
            ]
            for write in writes:
                ring.outcome(write)
            for member in near[:3]:
                self.assertEqual(2, member.store.crash().get(HEAD).order)  # type: ignore[union-attr]


class LookupTests(SynchronousTestCase):
    """
    Tests for L{Past.lookup}.
    """

    def setUp(self) -> None:
        self.ring = Ring(8)
        self.near = self.ring.near(HANDLE)
        self.reader = self.near[7]

    def put(self, *members: Member) -> None:
        for member in members:
            self.ring.do(member.store.put(Stored(HANDLE, CONTENT, MAIL, EXPIRES, 0, DATA)))

    def lookup(self, member: Member | None = None) -> bytes:
        return self.ring.do((member or self.reader).past.lookup(CONTENT, HANDLE))

    def failure(self) -> Failure:
        failure = self.ring.outcome(self.reader.past.lookup(CONTENT, HANDLE))
        assert isinstance(failure, Failure)
        return failure

    def test_found(self) -> None:
        """
        The nearest holder is asked, and a second reading asks nobody.
        """
        self.put(*self.near[:3])
        self.assertEqual(DATA, self.lookup())
        asked = len(self.ring.heard)
        self.assertEqual(DATA, self.lookup())
        self.assertEqual((2, 2), (asked, len(self.ring.heard)))

    def test_held(self) -> None:
        """
        What is on our own disk is read there.
        """
        self.put(self.reader)
        self.assertEqual((DATA, []), (self.lookup(), self.ring.heard))

    def test_own_copy_damaged(self) -> None:
        """
        If our own disk has damaged it, it is read elsewhere, and our copy is good again.
        """
        self.put(*self.near[:3])
        self.near[0].store.damage(HANDLE)
        self.assertEqual(DATA, self.lookup(self.near[0]))
        self.ring.pass_time(1)
        self.assertEqual(DATA, self.near[0].store.get(HANDLE).data)  # type: ignore[union-attr]

    def test_not_found(self) -> None:
        """
        If everybody asked answers that they have not got it, it is nowhere.
        """
        self.failure().trap(NotFound)

    def test_unreachable(self) -> None:
        """
        If one of them did not answer, it may be there.
        """
        self.ring.down.add(self.near[1].contact.id)
        self.failure().trap(Unreachable)
        self.assertEqual({self.near[1].contact.id}, self.reader.overlay.suspects)

    def test_root_lost(self) -> None:
        """
        Nor is anything known if nobody can say who has it.
        """
        self.reader.overlay.knows, self.reader.overlay.lost = False, True
        self.failure().trap(Unreachable)

    def test_misled(self) -> None:
        """
        A root that names whom it likes hides nothing: before an object counts as lost those are asked who are found
        securely, and if one of them does not answer it may still be there.
        """
        overlay = self.reader.overlay
        overlay.knows, overlay.misled = False, [member.contact for member in self.near[5:7]]
        self.failure().trap(NotFound)
        self.ring.down.add(self.near[1].contact.id)
        self.failure().trap(Unreachable)
        self.put(self.near[2])
        self.assertEqual(DATA, self.lookup())

    def test_moved(self) -> None:
        """
        It is found where the replica set was before new nodes came.
        """
        self.put(self.near[5])
        self.assertEqual(DATA, self.lookup())

    def test_corrupt(self) -> None:
        """
        A copy that is not authentic is passed over, complained about, and replaced.
        """
        self.put(self.near[1])
        self.ring.instead(self.near[0], Fetch, Found(MAIL, EXPIRES, b"forged"))
        self.assertEqual(DATA, self.lookup())
        self.ring.pass_time(1)
        self.assertEqual(1, self.reader.complaints.counts["corrupt block"])
        self.assertCountEqual(self.near[:2], self.ring.holders(HANDLE))

    def test_hedged(self) -> None:
        """
        A holder that does not answer is not waited for: the next is asked soon.
        """
        self.put(*self.near[:3])
        self.ring.down.add(self.near[0].contact.id)
        started = self.ring.clock.seconds()
        self.lookup()
        self.assertLess(self.ring.clock.seconds() - started, HEDGE_S + 0.1)

    def test_repaired(self) -> None:
        """
        Who should have it and has not gets it, with class and expiry, and those beyond the k do not.
        """
        self.put(self.near[4])
        self.lookup()
        self.ring.pass_time(1)
        self.assertCountEqual([*self.near[:3], self.near[4]], self.ring.holders(HANDLE))
        self.assertEqual(EXPIRES, self.near[0].store.get(HANDLE).expires)  # type: ignore[union-attr]

    def test_certificate(self) -> None:
        """
        A certificate is found by the address.
        """
        account = self.ring.authority.account("alice")
        data, handle = certificate_block(account.chain), certificate_handle("alice@example.org")
        self.ring.do(self.reader.past.insert(CERTIFICATE, handle, data, StorageClass.FOREVER, EXPIRES))
        self.assertEqual(data, self.ring.do(self.ring.members[0].past.lookup(CERTIFICATE, handle)))

    def test_holders(self) -> None:
        """
        It can be asked who should keep something, and whether they do.
        """
        self.put(self.near[0], self.near[2])
        found = self.ring.do(self.near[2].past.holders(CONTENT, HANDLE))
        self.assertEqual([True, False, True], [has for _, has in found])
        self.assertEqual([self.near[n].contact for n in range(3)], [contact for contact, _ in found])

    def test_shown(self) -> None:
        """
        What each of the nearest shows, also of those who were in the replica set before: who has nothing is told from
        who does not answer or shows something else.
        """
        self.put(self.near[0], self.near[4])
        self.ring.down.add(self.near[1].contact.id)
        self.ring.instead(self.near[2], Fetch, Found(MAIL, EXPIRES, b"something else"))
        shown = self.ring.do(self.reader.past.shown(CONTENT, HANDLE))
        self.assertEqual([DATA, None, None, b"", DATA, b""], shown)


class NewestTests(SynchronousTestCase):
    """
    Tests for L{Past.newest}.
    """

    def setUp(self) -> None:
        self.ring = Ring(8)
        self.near = self.ring.near(HEAD)
        self.reader = self.near[7]

    def put(self, *numbers: int) -> None:
        """
        To the nearest nodes, these versions; none where it is 0.
        """
        for member, number in zip(self.near, numbers, strict=False):
            if number:
                self.ring.do(member.store.put(stored(version(number), number)))

    def newest(self, member: Member | None = None, wide: bool = False) -> tuple[int, bool]:
        """
        Number, and whether it is confirmed.
        """
        newest = self.ring.do((member or self.reader).past.newest(HEAD, wide))
        self.assertEqual(newest.data, version(newest.number) if newest.number else None)
        return newest.number, newest.confirmed

    def orders(self) -> list[int]:
        """
        What the nearest have.
        """
        return [item.order if item else 0 for item in (member.store.get(HEAD) for member in self.near[:7])]

    def test_highest(self) -> None:
        """
        The highest version of all k holders is the newest, and those who lag get it.
        """
        self.put(4, 5, 3)
        self.assertEqual((5, True), self.newest())
        self.ring.pass_time(1)
        self.assertEqual([5, 5, 5, 0], self.orders()[:4])

    def test_nothing(self) -> None:
        """
        Where nobody has anything, that is certain as well.
        """
        self.assertEqual((0, True), self.newest())

    def test_dead(self) -> None:
        """
        In the place of a dead holder the next closest is asked.
        """
        self.put(4, 4, 4, 5)
        self.ring.down.add(self.near[0].contact.id)
        self.assertEqual((5, True), self.newest())

    def test_too_few(self) -> None:
        """
        With too few answers it is not confirmed, whatever was shown.
        """
        self.put(4, 4, 4)
        self.ring.down.update(member.contact.id for member in self.near[1:7])
        self.assertEqual((4, False), self.newest())

    def test_own_copy(self) -> None:
        """
        Our own copy counts among the k, and not among the others.
        """
        self.put(4, 5, 4)
        self.assertEqual((5, True), self.newest(self.near[1]))
        self.ring.down.update(member.contact.id for member in self.near if member is not self.near[1])
        self.assertEqual((5, False), self.newest(self.near[1]))

    def test_forged(self) -> None:
        """
        A version that its owner did not sign is no answer.
        """
        self.put(4, 4, 4, 4)
        forged = sign_block(LogKey.derive(b"x" * 32, b"", 0), 9, 0, ZERO, b"")
        self.ring.instead(self.near[0], Fetch, Found(StorageClass.HEAD, EXPIRES, forged))
        self.assertEqual((4, True), self.newest())
        self.assertEqual(1, self.reader.complaints.counts["corrupt block"])

    def test_rollback(self) -> None:
        """
        If all present holders show less than was seen before, it is not confirmed.
        """
        self.put(5, 5, 5)
        self.assertEqual((5, True), self.newest())
        self.put(4, 4, 4)
        self.assertEqual((4, False), self.newest())

    def test_own_write_is_seen(self) -> None:
        """
        What was written from here counts as seen.
        """
        self.ring.do(self.reader.past.insert(PUBLIC_KEY, HEAD, version(5), StorageClass.HEAD, EXPIRES))
        self.put(4, 4, 4)
        self.assertEqual((4, False), self.newest())

    def test_all_holders_new(self) -> None:
        """
        Three nodes that have just come and have nothing yet do not make everybody believe that there is nothing.
        """
        self.put(0, 0, 0, 5, 5, 5)
        self.assertEqual((5, True), self.newest())
        self.ring.pass_time(1)
        self.assertEqual([5] * 6, self.orders()[:6])

    def test_old_holder_silent(self) -> None:
        """
        Nor do they while one of those who were there before does not answer; once it is known to be gone, they do.
        """
        self.put(0, 0, 0, 5)
        self.ring.down.add(self.near[3].contact.id)
        self.assertEqual((0, False), self.newest())
        self.assertEqual((0, True), self.newest())

    def test_written_around(self) -> None:
        """
        If the k nearest were out of reach for a moment, those after them have the newest; who asks widely gets it, and
        then so have the nearest.
        """
        self.put(4, 4, 4, 5, 5, 5)
        self.assertEqual((4, True), self.newest())
        self.assertEqual((5, True), self.newest(wide=True))
        self.ring.pass_time(1)
        self.assertEqual([5, 5, 5], self.orders()[:3])

    def test_wide_and_silent(self) -> None:
        """
        Nor are those after them believed to have nothing newer while so many are silent as can keep a version.
        """
        self.put(4, 4, 4, 5, 5)
        self.ring.down.update(member.contact.id for member in self.near[3:5])
        self.assertEqual((4, False), self.newest(wide=True))
        ring = self.ring
        ring.down.clear()
        self.reader.overlay.suspects.clear()
        ring.down.add(self.near[3].contact.id)
        self.assertEqual((5, True), self.newest(wide=True))

    def test_wide_and_alone(self) -> None:
        """
        A node that is a ring by itself, with nobody's copies required, knows what there is.
        """
        ring = Ring(1, 1, 0)
        newest = ring.do(ring.members[0].past.newest(HEAD, wide=True))
        self.assertEqual((None, True), (newest.data, newest.confirmed))

    def test_fork(self) -> None:
        """
        Of two versions of one number all readers take the same, by epoch and then by hash.
        """
        for pair in ((version(5, b"a", 1), version(5, b"b", 0)), (version(5, b"c"), version(5, b"d"))):
            ring = Ring(5)
            near = ring.near(HEAD)
            for member, data in zip(near, (*pair, pair[0]), strict=False):
                ring.do(member.store.put(stored(data, 5)))
            found = {ring.do(member.past.newest(HEAD)).data for member in near}
            self.assertEqual(1, len(found))
            if pair[0] == version(5, b"a", 1):
                self.assertEqual({pair[0]}, found)

    def test_write_back_lease(self) -> None:
        """
        Who lagged keeps it for as long as the others do.
        """
        self.put(5, 5, 0)
        self.newest()
        self.ring.pass_time(1)
        self.assertEqual(EXPIRES, self.near[2].store.get(HEAD).expires)  # type: ignore[union-attr]

    def test_certificate_ran_out(self) -> None:
        """
        After a long absence an account finds the number of its last block, though its certificate has run out.
        """
        ring = self.ring
        account = ring.authority.account("alice")
        handle = handle_of(Purpose.ACCOUNT_BLOCK, account.account.packed())
        data = sign_block(account.key, 57, 0, ZERO, b"card", account.chain)
        expires = NOW + LIFE_S
        for member in ring.near(handle)[:3]:
            ring.do(member.store.put(Stored(handle, PUBLIC_KEY, StorageClass.HEAD, expires, 57, data)))
        ring.clock.advance(LIFE_S + DAY_S)
        newest = ring.do(ring.near(handle)[5].past.newest(handle))
        self.assertEqual((57, True), (newest.number, newest.confirmed))


class RenewTests(SynchronousTestCase):
    """
    Tests for L{Past.renew}.
    """

    def test_renewed(self) -> None:
        """
        All holders keep it for longer, we ourselves included, and what is missing is counted.
        """
        ring = Ring(5)
        near = ring.near(HANDLE)
        for member in near[:2]:
            ring.do(member.store.put(Stored(HANDLE, CONTENT, MAIL, EXPIRES, 0, DATA)))
        self.assertEqual(1, ring.do(near[0].past.renew([HANDLE], EXPIRES + DAY_S)))
        expires = [member.store.crash().get(HANDLE).expires for member in near[:2]]  # type: ignore[union-attr]
        self.assertEqual([EXPIRES + DAY_S] * 2, expires)

    def test_many(self) -> None:
        """
        More than one question names are renewed all the same.
        """
        ring = Ring(3)
        blocks = [b"%d" % number for number in range(1100)]
        for data in blocks:
            for member in ring.members:
                member.store.put(Stored(content(data), CONTENT, MAIL, EXPIRES, 0, data))
        ring.pass_time(1)
        self.assertEqual(0, ring.do(ring.members[0].past.renew([content(data) for data in blocks], EXPIRES + 5)))
        for member in ring.members:
            self.assertEqual({EXPIRES + 5}, {holding.expires for holding in member.store.scan(0, 1 << 160)})

    def test_dead(self) -> None:
        """
        A holder that does not answer is a copy that is wanting, and so is one of which it cannot be known who it is.
        """
        ring = Ring(4)
        near = ring.near(HANDLE)
        for member in near[:3]:
            ring.do(member.store.put(Stored(HANDLE, CONTENT, MAIL, EXPIRES, 0, DATA)))
        ring.down.add(near[1].contact.id)
        result = ring.outcome(near[3].past.renew([HANDLE], EXPIRES + 5), 100)
        self.assertEqual(1, result)
        near[3].overlay.knows, near[3].overlay.lost = False, True
        self.assertEqual(3, ring.do(near[3].past.renew([HANDLE], EXPIRES + 5)))

    def test_alone(self) -> None:
        """
        So is one for which there is nobody in sight: our own copy alone is not what was to be renewed.
        """
        ring = Ring(4)
        near = ring.near(HANDLE)
        ring.do(near[0].store.put(Stored(HANDLE, CONTENT, MAIL, EXPIRES, 0, DATA)))
        near[0].overlay.suspects.update(member.contact.id for member in near[1:])
        self.assertEqual(2, ring.do(near[0].past.renew([HANDLE], EXPIRES + 5)))


class CacheTests(SynchronousTestCase):
    """
    Tests for L{Cache}.
    """

    def test_bounded(self) -> None:
        """
        The block used longest ago goes first, and only so many bytes stay.
        """
        cache = Cache(10)
        for data in (b"aaaa", b"bbbb"):
            cache.put(content(data), data)
        cache.get(content(b"aaaa"))
        cache.put(content(b"cccc"), b"cccc")
        cache.put(content(b"cccc"), b"cccc")
        found = [cache.get(content(data)) for data in (b"aaaa", b"bbbb", b"cccc")]
        self.assertEqual([b"aaaa", None, b"cccc"], found)

    def test_too_large(self) -> None:
        """
        What is larger than the whole cache is not kept.
        """
        cache = Cache(10)
        cache.put(content(b"x" * 11), b"x" * 11)
        self.assertIs(None, cache.get(content(b"x" * 11)))


class FurthestTests(SynchronousTestCase):
    """
    Tests for L{Past.furthest}.
    """

    def setUp(self) -> None:
        self.ring = Ring(9)
        self.near = self.ring.near(HEAD)

    def put(self, member: Member, number: int) -> None:
        """
        Let C{member} have a stage.
        """
        member.store.put(stored(version(number), number))
        self.ring.clock.advance(1)

    def furthest(self, wide: bool = False) -> int:
        """
        Which stage a node at the other end of the ring finds.
        """
        data = self.ring.do(self.near[8].past.furthest(PUBLIC_KEY, HEAD, wide))
        return next(number for number in range(1, 9) if version(number) == data)

    def test_furthest(self) -> None:
        """
        The furthest that one of them has counts, also if others have less, nothing, or do not answer.
        """
        self.put(self.near[0], 1)
        self.put(self.near[1], 3)
        self.assertEqual(3, self.furthest())
        self.ring.down.add(self.near[0].contact.id)
        self.assertEqual(3, self.furthest())

    def test_wide(self) -> None:
        """
        Those after the nearest have what was written while these were out of reach.
        """
        self.put(self.near[0], 1)
        self.put(self.near[4], 2)
        self.assertEqual((1, 2), (self.furthest(), self.furthest(wide=True)))

    def test_none(self) -> None:
        """
        Nothing is said only on the word of somebody.
        """
        failure = self.ring.outcome(Deferred.fromCoroutine(self.near[8].past.furthest(PUBLIC_KEY, HEAD)))
        assert isinstance(failure, Failure)
        failure.trap(NotFound)
        self.ring.down.update(member.contact.id for member in self.near[:8])
        failure = self.ring.outcome(Deferred.fromCoroutine(self.near[8].past.furthest(PUBLIC_KEY, HEAD)))
        assert isinstance(failure, Failure)
        failure.trap(NotFound, Unreachable)
