"""
Tests for L{post.past.holder}: one node, asked over a wire.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from post.commit import DiskError
from post.crypto.keys import LogKey
from post.errors import PeerError, Refused
from post.hashes import Purpose, handle_of
from post.ids import Handle, Id
from post.interfaces import Stored
from post.past.blocks import (
    CERTIFICATE,
    CONTENT,
    FINAL_NUMBER,
    JUMP_LIMIT,
    PUBLIC_KEY,
    ContentKind,
    certificate_block,
    certificate_handle,
    sign_block,
)
from post.past.holder import EXTENSIONS, LIFE_LIMIT_S
from post.past.memory import MemoryBlockStore
from post.past.messages import Fetch, Found, Kept, Offer, Offered, Renew, Rival, Store, Want
from post.past.receipts import Verifier
from post.rpc import RUNNING_LIMIT
from post.wire import Message, RefusalCode, StorageClass, decode, encode
from tests.past.ring import EXPIRES, MAIL, NOW, Ring, content

DATA = b"a message" * 100
HANDLE = content(DATA)
KEY = LogKey.derive(b"m" * 32, b"device", 0)
HEAD = handle_of(Purpose.PUBLIC_KEY_BLOCK, KEY.public)
STATES = 77


def version(number: int, payload: bytes = b"") -> bytes:
    return sign_block(KEY, number, 0, b"\0" * 32, payload)


class StateKind:
    """
    Anything under any handle; the first octet is its order, the rest does not matter.
    """

    kind = STATES

    def __init__(self) -> None:
        self.told: list[Stored] = []
        self.limit: int | None = None

    def check(self, handle: Handle, data: bytes, now: float) -> int:
        if not data:
            raise PeerError("empty")
        return data[0]

    def supersedes(self, new: Stored, old: Stored) -> bool:
        return new.order > old.order

    def latest(self, data: bytes) -> int | None:
        return self.limit

    def stored(self, item: Stored) -> None:
        self.told.append(item)


class FailingStore(MemoryBlockStore):
    """
    A disk that takes nothing more once it is C{full}.
    """

    full = False

    def put(self, item: Stored) -> Deferred[None]:
        return fail(DiskError("blocks", "full")) if self.full else super().put(item)


class HolderCase(SynchronousTestCase):
    """
    A holder, and somebody who asks it.
    """

    def setUp(self) -> None:
        self.ring = Ring(2, 1, 1)
        self.asker, self.member = self.ring.members
        self.store = self.member.store
        self.states = StateKind()
        self.member.past.register(self.states)

    def send(self, message: Message, deadline_s: float = 10.0) -> Deferred[Message]:
        return self.asker.rpc.ask(self.member.contact, message, deadline_s)

    def ask(self, message: Message) -> Message:
        return self.ring.do(self.send(message))

    def put(self, data: bytes, handle: Handle = HANDLE, kind: int = CONTENT, expires: int = EXPIRES) -> Message:
        return self.ask(Store(kind, handle, MAIL, expires, data))

    def refusal(self, message: Message) -> int:
        """
        The code with which C{message} is refused.
        """
        failure = self.ring.outcome(self.send(message))
        assert isinstance(failure, Failure) and isinstance(failure.value, Refused), failure
        return failure.value.code

    def held(self, handle: Handle = HANDLE) -> Stored:
        """
        What survives a power failure.
        """
        item = self.store._durable.get(handle)
        assert item is not None
        return item


class StoreTests(HolderCase):
    """
    What a holder does when asked to keep something.
    """

    def test_kept(self) -> None:
        """
        What is in order is kept, durably, and its receipt says so.
        """
        kept = self.put(DATA)
        assert isinstance(kept, Kept)
        self.assertEqual(Stored(HANDLE, CONTENT, MAIL, EXPIRES, 0, DATA), self.held())
        Verifier().check(kept, self.member.key.public, HANDLE, sha256(DATA).digest(), MAIL, EXPIRES)

    def test_receipt_waits(self) -> None:
        """
        No receipt leaves before the disk has it.
        """
        slow = MemoryBlockStore(self.ring.clock, 5.0)
        self.member.past._holder._store = slow
        work = self.send(Store(CONTENT, HANDLE, MAIL, EXPIRES, DATA))
        self.ring.pass_time(4.9)
        self.assertNoResult(work)
        self.assertIsNot(None, slow.get(HANDLE))
        self.ring.pass_time(1)
        self.assertIsInstance(self.successResultOf(work), Kept)

    def test_not_verified(self) -> None:
        """
        What is not what its handle says is not stored.
        """
        self.assertEqual(RefusalCode.INVALID, self.refusal(Store(CONTENT, HANDLE, MAIL, EXPIRES, b"else")))
        self.assertEqual((0, 0), self.store.totals())

    def test_unknown_kind(self) -> None:
        """
        Nor is a kind that no application here knows.
        """
        self.assertEqual(RefusalCode.UNSUPPORTED, self.refusal(Store(99, HANDLE, MAIL, EXPIRES, DATA)))

    def test_expiry(self) -> None:
        """
        An expiry lies in the future, and no further than anything is promised.
        """
        codes = [self.refusal(Store(CONTENT, HANDLE, MAIL, at, DATA)) for at in (NOW - 1, NOW + LIFE_LIMIT_S + 9)]
        self.assertEqual([RefusalCode.INVALID] * 2, codes)
        for expires in (NOW + 5, NOW + LIFE_LIMIT_S - 5):
            self.assertIsInstance(self.put(DATA, expires=expires), Kept)

    def test_for_ever(self) -> None:
        """
        Only certificates, and blocks as small as a sealed copy, outlive every lease, whoever asks and whatever is held.
        """
        forever = StorageClass.FOREVER
        self.put(DATA)
        self.assertEqual(RefusalCode.INVALID, self.refusal(Store(CONTENT, HANDLE, forever, EXPIRES, DATA)))
        self.assertEqual(MAIL, self.held().storage_class)
        data = certificate_block(self.ring.authority.account("alice").chain)
        handle = certificate_handle("alice@example.org")
        self.assertIsInstance(self.ask(Store(CERTIFICATE, handle, forever, EXPIRES, data)), Kept)
        self.assertIsInstance(self.ask(Store(PUBLIC_KEY, HEAD, forever, EXPIRES, version(1))), Kept)
        large = Store(PUBLIC_KEY, HEAD, forever, EXPIRES, version(2, bytes(9000)))
        self.assertEqual(RefusalCode.INVALID, self.refusal(large))

    def test_limited(self) -> None:
        """
        What ends at some time by itself is not kept for longer, neither when it comes nor when it is held.
        """
        self.states.limit = EXPIRES + 5
        self.assertIsInstance(self.put(b"s", HANDLE, STATES, EXPIRES + 5), Kept)
        for at in (EXPIRES + 6, EXPIRES + 600):
            self.assertEqual(RefusalCode.INVALID, self.refusal(Store(STATES, HANDLE, MAIL, at, b"s")))
        self.assertEqual(EXPIRES + 5, self.held().expires)

    def test_again(self) -> None:
        """
        The same again changes nothing, but that class and expiry rise; its receipt says what was asked.
        """
        for storage_class, expires in ((StorageClass.HEAD, EXPIRES + 9), (StorageClass.PENDING, EXPIRES - 9)):
            kept = self.ask(Store(CONTENT, HANDLE, storage_class, expires, DATA))
            assert isinstance(kept, Kept)
            digest = sha256(DATA).digest()
            Verifier().check(kept, self.member.key.public, HANDLE, digest, storage_class, expires)
            self.assertEqual(Stored(HANDLE, CONTENT, StorageClass.HEAD, EXPIRES + 9, 0, DATA), self.held())

    def test_versions(self) -> None:
        """
        A newer version takes the place of an older one and keeps the longer lease; an older one, and another of the
        same number, is answered with what is held.
        """
        self.put(version(1), HEAD, PUBLIC_KEY, EXPIRES + 9)
        self.put(version(3), HEAD, PUBLIC_KEY)
        for rival in (version(2), version(3, b"fork"), version(1)):
            self.assertEqual(Rival(version(3)), self.put(rival, HEAD, PUBLIC_KEY))
        self.assertIsInstance(self.put(version(3), HEAD, PUBLIC_KEY), Kept)
        self.assertEqual((version(3), EXPIRES + 9), (self.held(HEAD).data, self.held(HEAD).expires))

    def test_jump(self) -> None:
        """
        A version absurdly far ahead is refused.
        """
        self.put(version(1), HEAD, PUBLIC_KEY)
        message = Store(PUBLIC_KEY, HEAD, MAIL, EXPIRES, version(2 + JUMP_LIMIT))
        self.assertEqual(RefusalCode.INVALID, self.refusal(message))
        self.assertEqual(1, self.held(HEAD).order)

    def test_closed(self) -> None:
        """
        A log is closed by a version that continues the one held, and by no other: who has not seen that is shown it.
        After it there is none, and whoever tries is shown it.
        """

        def last(seen: int) -> bytes:
            return sign_block(KEY, FINAL_NUMBER, seen, b"\0" * 32, b"")

        self.put(version(3), HEAD, PUBLIC_KEY)
        self.assertEqual(Rival(version(3)), self.put(last(2), HEAD, PUBLIC_KEY))
        self.assertIsInstance(self.put(last(3), HEAD, PUBLIC_KEY), Kept)
        for later in (version(4), version(FINAL_NUMBER - 1), last(2)):
            self.assertEqual(Rival(last(3)), self.put(later, HEAD, PUBLIC_KEY))
        self.assertEqual(last(3), self.held(HEAD).data)

    def test_in_flight(self) -> None:
        """
        An older version that comes while a newer one is on its way to the disk finds it there, and so does one that
        comes when whoever sent the newer one has given up.
        """
        slow = self.store = self.member.past._holder._store = MemoryBlockStore(self.ring.clock, 5.0)
        newer = self.send(Store(PUBLIC_KEY, HEAD, MAIL, EXPIRES, version(2)), 1.0)
        self.ring.pass_time(0.5)
        self.assertEqual(Rival(version(2)), self.put(version(1), HEAD, PUBLIC_KEY))
        self.assertIsInstance(self.ring.outcome(newer), Failure)
        self.assertEqual(Rival(version(2)), self.put(version(1), HEAD, PUBLIC_KEY))
        self.assertEqual(Found(MAIL, EXPIRES, version(2)), self.ask(Fetch(PUBLIC_KEY, HEAD)))
        self.ring.pass_time(5)
        self.assertEqual(2, slow.crash().get(HEAD).order)  # type: ignore[union-attr]

    def test_as_good(self) -> None:
        """
        Where a kind says that two are as good as one another, the first stays, and the second is kept too.
        """
        self.put(b"\1first", kind=STATES)
        self.assertIsInstance(self.put(b"\1second", kind=STATES, expires=EXPIRES + 5), Kept)
        self.assertEqual((b"\1first", EXPIRES + 5), (self.held().data, self.held().expires))

    def test_older(self) -> None:
        """
        What comes earlier in its kind's order finds what is held in its way: an envelope comes too late for a receipt.
        """
        self.put(b"\2", kind=STATES)
        self.assertEqual(Rival(b"\2"), self.put(b"\1", kind=STATES))
        self.assertEqual(b"\2", self.held().data)

    def test_another_kind(self) -> None:
        """
        Nothing takes the place of an object of another kind.
        """
        self.put(DATA)
        self.assertEqual(RefusalCode.INVALID, self.refusal(Store(STATES, HANDLE, MAIL, EXPIRES, b"\5")))
        self.assertEqual(DATA, self.held().data)

    def test_told(self) -> None:
        """
        An application is told of what is durable here, also when whoever sent it has given up waiting.
        """
        self.member.past._holder._store = MemoryBlockStore(self.ring.clock, 5.0)
        work = self.send(Store(STATES, HANDLE, MAIL, EXPIRES, b"\1"), 1.0)
        self.assertIsInstance(self.ring.outcome(work), Failure)
        self.assertEqual([], self.states.told)
        self.ring.pass_time(5)
        self.assertEqual([b"\1"], [item.data for item in self.states.told])

    def test_damaged(self) -> None:
        """
        What the disk has damaged is not called kept until it is whole again.
        """
        self.put(DATA)
        self.store.damage(HANDLE)
        self.assertEqual(RefusalCode.NOT_FOUND, self.refusal(Fetch(CONTENT, HANDLE)))
        self.assertIsInstance(self.put(DATA), Kept)
        self.assertEqual(DATA, self.held().data)

    def test_full(self) -> None:
        """
        A disk that is full refuses, and nobody takes it for a bug.
        """
        store = self.member.past._holder._store = FailingStore(self.ring.clock)
        store.full = True
        self.assertEqual(RefusalCode.FAILED, self.refusal(Store(CONTENT, HANDLE, MAIL, EXPIRES, DATA)))
        self.assertEqual([], self.flushLoggedErrors())

    @given(st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.booleans()), max_size=12))
    def test_never_backward(self, steps: list[tuple[int, bool, bool]]) -> None:
        """
        Whatever comes while whatever is in flight, what is held, and what is durable, never goes back to an older
        version, and no lease gets shorter.
        """
        ring = Ring(1, 1, 1)
        member = ring.members[0]
        highest, longest, durable = 0, 0, 0
        for number, fork, settle in steps:
            data = version(number, b"fork" if fork else b"")
            message = Store(PUBLIC_KEY, HEAD, MAIL, EXPIRES + number, data)
            ring.outcome(_kept(member.past._holder.keep, message)) if settle else _start(member, message)
            item = member.store.get(HEAD)
            assert item is not None
            self.assertGreaterEqual((item.order, item.expires), (highest, longest))
            highest, longest = item.order, item.expires
            on_disk = member.store._durable.get(HEAD)
            self.assertGreaterEqual(on_disk.order if on_disk else 0, durable)
            durable = on_disk.order if on_disk else 0


async def _kept(keep, message):  # type: ignore[no-untyped-def]
    return await keep(message, sha256(message.data).digest())


def _start(member, message):  # type: ignore[no-untyped-def]
    Deferred.fromCoroutine(_kept(member.past._holder.keep, message)).addErrback(lambda _: None)


class FetchTests(HolderCase):
    """
    What a holder does when asked to show something.
    """

    def test_found(self) -> None:
        """
        It shows what it has, and for how long.
        """
        self.put(DATA)
        self.assertEqual(Found(MAIL, EXPIRES, DATA), self.ask(Fetch(CONTENT, HANDLE)))

    def test_not_found(self) -> None:
        """
        What it has not, or only of another kind, is not found.
        """
        self.put(DATA)
        codes = [self.refusal(Fetch(CONTENT, HEAD)), self.refusal(Fetch(PUBLIC_KEY, HANDLE))]
        self.assertEqual([RefusalCode.NOT_FOUND] * 2, codes)


class OfferTests(HolderCase):
    """
    What a holder does with an offer.
    """

    def offer(self, *offered: Offered) -> tuple[int, ...]:
        answer = self.ask(Offer(offered))
        assert isinstance(answer, Want)
        return answer.missing

    def test_wanted(self) -> None:
        """
        It wants what it has not, and newer versions of what it has.
        """
        self.put(DATA)
        self.put(version(3), HEAD, PUBLIC_KEY)
        self.member.overlay.knows = False
        digest = sha256(DATA).digest()
        wanted = self.offer(
            Offered(CONTENT, HANDLE, 0, EXPIRES, digest),
            Offered(CONTENT, content(b"new"), 0, EXPIRES, digest),
            Offered(PUBLIC_KEY, HEAD, 2, EXPIRES, digest),
            Offered(PUBLIC_KEY, HEAD, 3, EXPIRES, digest),
            Offered(PUBLIC_KEY, HEAD, 4, EXPIRES, digest),
            Offered(99, content(b"unknown kind"), 0, EXPIRES, digest),
            Offered(CONTENT, content(b"over"), 0, NOW - 1, digest),
        )
        self.assertEqual((1, 4), wanted)

    def test_not_ours(self) -> None:
        """
        What belongs elsewhere is not wanted; while nobody can say where it belongs, it is.
        """
        handle = next(h for h in (content(b"%d" % n) for n in range(99)) if self.ring.near(h)[0] is self.asker)
        offered = Offered(CONTENT, handle, 0, EXPIRES, b"d" * 32)
        self.assertEqual((), self.offer(offered))
        self.member.overlay.knows = False
        self.assertEqual((0,), self.offer(offered))

    def test_longer(self) -> None:
        """
        What is here is kept for as long as at the other holder, if it is the same and that is not absurd.
        """
        self.put(DATA)
        digest = sha256(DATA).digest()
        self.member.overlay.knows = False
        for other, expires in ((digest, EXPIRES + 50), (b"e" * 32, EXPIRES + 90), (digest, NOW + LIFE_LIMIT_S + 9)):
            self.assertEqual((), self.offer(Offered(CONTENT, HANDLE, 0, expires, other)))
        self.assertEqual(EXPIRES + 50, self.held().expires)


class RenewTests(HolderCase):
    """
    What a holder does when asked to keep for longer.
    """

    def renew(self, *handles: Handle) -> tuple[int, ...]:
        answer = self.ask(Renew(handles, EXPIRES + 100))
        assert isinstance(answer, Want)
        return answer.missing

    def test_renewed(self) -> None:
        """
        What is here is kept for longer, durably, and what is not is named.
        """
        self.put(DATA)
        self.assertEqual((0, 2), self.renew(HEAD, HANDLE, content(b"none")))
        self.assertEqual(EXPIRES + 100, self.held().expires)

    def test_limited(self) -> None:
        """
        What ends at some time by itself is kept until then and no longer, whoever renews or offers it.
        """
        self.put(b"s", HANDLE, STATES)
        self.states.limit = EXPIRES + 5
        self.assertEqual((), self.renew(HANDLE))
        self.assertEqual(EXPIRES + 5, self.held().expires)
        self.member.overlay.knows = False
        self.ask(Offer((Offered(STATES, HANDLE, ord("s"), EXPIRES + 50, sha256(b"s").digest()),)))
        self.assertEqual(EXPIRES + 5, self.held().expires)

    def test_never_shorter(self) -> None:
        """
        A lease that is longer already stays.
        """
        self.put(DATA, expires=EXPIRES + 500)
        self.assertEqual((), self.renew(HANDLE))
        self.assertEqual(EXPIRES + 500, self.held().expires)

    def test_many(self) -> None:
        """
        However many are renewed, each is.
        """
        blocks = [b"%d" % number for number in range(2 * EXTENSIONS + 3)]
        for data in blocks:
            self.store.put(Stored(content(data), CONTENT, MAIL, EXPIRES, 0, data))
        self.ring.pass_time(1)
        self.assertEqual((), self.renew(*map(content, blocks)))
        self.assertEqual({EXPIRES + 100}, {self.held(content(data)).expires for data in blocks})

    def test_damaged(self) -> None:
        """
        What the disk has damaged is not renewed but named as missing.
        """
        self.put(DATA)
        self.store.damage(HANDLE)
        self.assertEqual((0,), self.renew(HANDLE))

    def test_full(self) -> None:
        """
        So is what the disk did not take.
        """
        store = self.member.past._holder._store = FailingStore(self.ring.clock)
        self.put(DATA)
        store.full = True
        self.assertEqual((0,), self.renew(HANDLE))

    def test_absurd(self) -> None:
        """
        Nobody has anything kept for ever, or until yesterday.
        """
        codes = [self.refusal(Renew((HANDLE,), at)) for at in (NOW - 1, NOW + LIFE_LIMIT_S + 9)]
        self.assertEqual([RefusalCode.INVALID] * 2, codes)


class HostileTests(SynchronousTestCase):
    """
    Questions from outside.
    """

    @given(st.sampled_from([0x20, 0x23, 0x25, 0x27]), st.binary(max_size=100))
    def test_garbage(self, tag: int, data: bytes) -> None:
        """
        What is no message raises L{PeerError} and nothing else.
        """
        try:
            decode(tag.to_bytes(2, "big") + data)
        except PeerError:
            pass

    @given(
        st.one_of(
            st.builds(
                Store,
                st.integers(-(1 << 63), (1 << 64) - 1) | st.integers(0, 4),
                st.builds(lambda n: Handle(Id(n)), st.integers(0, (1 << 160) - 1)),
                st.sampled_from(StorageClass),
                st.integers(0, (1 << 40) - 1) | st.just(EXPIRES),
                st.binary(max_size=40),
            ),
            st.builds(
                Offer,
                st.lists(
                    st.builds(
                        Offered,
                        st.integers(-(1 << 63), (1 << 64) - 1) | st.integers(0, 4),
                        st.just(HANDLE),
                        st.integers(0, (1 << 62) - 1),
                        st.integers(0, (1 << 40) - 1),
                        st.binary(min_size=32, max_size=32),
                    ),
                    max_size=5,
                ).map(tuple),
            ),
            st.builds(Renew, st.lists(st.just(HANDLE), max_size=3).map(tuple), st.integers(0, (1 << 40) - 1)),
            st.builds(Fetch, st.integers(-(1 << 63), (1 << 64) - 1), st.just(HANDLE)),
        )
    )
    def test_questions(self, message: Message) -> None:
        """
        Whatever is asked is answered or refused, and nothing of it is taken for a bug of ours.
        """
        ring = Ring(2, 1, 1)
        self.assertEqual(message, decode(encode(message)))
        outcome = ring.outcome(ring.members[0].rpc.ask(ring.members[1].contact, message))
        if isinstance(outcome, Failure):
            outcome.trap(Refused)
            self.assertNotEqual(RefusalCode.FAILED, outcome.value.code)  # type: ignore[union-attr]
        self.assertEqual(0, ring.members[1].store.totals()[0])

    def test_flood(self) -> None:
        """
        Of one peer only so many questions are worked on, so that not all memory waits for the disk.
        """
        ring = Ring(2, 1, 1)
        asker, holder = ring.members
        holder.past._holder._store = MemoryBlockStore(ring.clock, 5.0)
        self.assertEqual(0, ContentKind().check(HANDLE, DATA, NOW))
        works: list[Deferred[Any]] = [
            asker.rpc.ask(holder.contact, Store(CONTENT, HANDLE, MAIL, EXPIRES, DATA)) for _ in range(RUNNING_LIMIT + 5)
        ]
        outcomes = [ring.outcome(work) for work in works]
        self.assertEqual(RUNNING_LIMIT, sum(isinstance(each, Kept) for each in outcomes))
