"""
Tests for L{post.messaging.notification}, L{post.messaging.pending} and L{post.messaging.identity}: formats that others
write, and what nobody may get by lying in them.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.certificates import IdentityCertificate, read_identity
from post.crypto.sealing import seal
from post.errors import PeerError
from post.hashes import Purpose
from post.ids import Contact, Id, NodeId
from post.interfaces import Stored
from post.messaging.account import AccountCredentials
from post.messaging.identity import SIZE_LIMIT, Card, Identity, PublishedKey, parse, render
from post.messaging.notification import (
    CLOCK_SKEW_S,
    PAYLOAD_LIMIT,
    Delivered,
    Envelope,
    Letter,
    Notification,
    Receipt,
    Signed,
    acknowledge,
    authenticate,
    check_envelope,
    check_receipt,
    disclose,
    enclose,
    envelope_hash,
    letter_in,
    pending_handle,
    receipt_names,
)
from post.messaging.pending import (
    DELIVERED,
    LIFE_LIMIT_S,
    PENDING,
    RECEIPT_OUTLIVES_S,
    WAITING,
    PendingKind,
    delivered,
    waiting,
)
from post.sim.authority import Authority
from post.wire import StorageClass, pack, unpack

NOW = 1_800_000_000
AUTHORITY = Authority(b"seed", NOW)
ALICE, BOB, MALLORY = (AUTHORITY.account(name) for name in ("alice", "bob", "mallory"))
NODE_KEY, NODE_CHAIN, NODE = AUTHORITY.node("alice")
ROOT = AUTHORITY.root


def notification(recipient: AccountCredentials = BOB, sent: int = NOW, number: bytes = b"i" * 32) -> Notification:
    return Notification(1, number, recipient.account, sent, "mail", b"payload")


def envelope(
    said: Notification, sender: AccountCredentials = ALICE, to: AccountCredentials = BOB, lives_s: int = 86400
) -> bytes:
    key = to.sealing[0].key
    return enclose(
        said, sender.key, sender.chain, key.public, key.key_id, NODE_KEY, NODE.node_id, NODE_CHAIN, said.sent + lives_s
    )


def opened(data: bytes, by: AccountCredentials = BOB, now: float = NOW) -> tuple[Notification, str]:
    letter, _ = check_envelope(data, ROOT, now)
    found, sender = authenticate(disclose(letter, [held.key for held in by.sealing]), letter, ROOT)
    assert isinstance(sender, IdentityCertificate)
    return found, sender.address


def signed(letter: Letter) -> bytes:
    packed = pack(letter)
    return pack(Envelope(1, packed, NODE_CHAIN, NODE_KEY.sign(Purpose.SIGN_ENVELOPE, packed)))


def receipt(data: bytes, by: AccountCredentials = BOB, at: int = NOW) -> bytes:
    letter = msgspec.structs.replace(letter_in(data), recipient=by.account)
    return acknowledge(envelope_hash(data), letter, at, by.key, by.chain)


GOOD = envelope(notification())
SAMPLES = (GOOD, receipt(GOOD), letter_in(GOOD).sealed)


def mutations(data: bytes) -> st.SearchStrategy[bytes]:
    """
    C{data} with some bytes changed, cut out or put in.
    """

    def change(edits: list[tuple[int, int, bytes]]) -> bytes:
        out = data
        for position, cut, put in edits:
            at = position % (len(out) + 1)
            out = out[:at] + put + out[at + cut :]
        return out

    return st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 9), st.binary(max_size=9)), max_size=4).map(
        change
    )


class EnvelopeTests(SynchronousTestCase):
    """
    Tests for the layers of a notification.
    """

    def test_opened(self) -> None:
        """
        The recipient gets what the sender said, and who it was.
        """
        self.assertEqual((notification(), "alice@example.org"), opened(GOOD))

    def test_largest(self) -> None:
        """
        The largest payload fits in an envelope.
        """
        said = msgspec.structs.replace(notification(), payload=b"x" * PAYLOAD_LIMIT)
        self.assertEqual(said, opened(envelope(said))[0])

    @settings(max_examples=200)
    @given(st.binary(max_size=400) | st.sampled_from(SAMPLES).flatmap(mutations))
    def test_anything(self, data: bytes) -> None:
        """
        Any bytes, and any changed envelope or receipt, raise L{PeerError} or are what they were.
        """
        kind = PendingKind(ROOT, lambda item: None)
        readers = (
            lambda: check_envelope(data, ROOT, NOW),
            lambda: check_receipt(data, ROOT, NOW),
            lambda: letter_in(data),
            lambda: receipt_names(data),
            lambda: waiting(data),
            lambda: opened(data),
            lambda: kind.check(pending_handle(letter_in(GOOD)), data, NOW),
        )
        for read in readers:
            try:
                read()
            except PeerError:
                pass

    @settings(max_examples=60)
    @given(mutations(GOOD))
    def test_altered(self, data: bytes) -> None:
        """
        A changed envelope is never opened, unless nothing was changed.
        """
        if data != GOOD:
            self.assertRaises(PeerError, opened, data)

    def test_garbage_inside(self) -> None:
        """
        Nor does garbage that is properly signed and sealed raise anything else.
        """
        for body in (b"", b"\xc1", pack((1, 2, 3)), pack(Signed(1, b"x", ALICE.chain, b"y"))):
            sealed = seal(
                BOB.sealing[0].key.public, Purpose.SEAL_NOTIFICATION.value + b"\0" + BOB.account.packed(), body
            )
            self.assertRaises(PeerError, opened, signed(msgspec.structs.replace(letter_in(GOOD), sealed=sealed)))
            self.assertRaises(PeerError, opened, signed(msgspec.structs.replace(letter_in(GOOD), sealed=body)))

    def test_wrong_people(self) -> None:
        """
        What is sealed to Bob is opened by nobody else; what says it is for Mallory is not taken by Bob; nobody signs
        for somebody else.
        """
        self.assertRaises(PeerError, opened, GOOD, MALLORY)
        inner = letter_in(envelope(notification(MALLORY)))
        self.assertRaises(PeerError, opened, signed(msgspec.structs.replace(inner, recipient=BOB.account)))
        forged = replace(ALICE, key=MALLORY.key)
        self.assertRaises(PeerError, opened, envelope(notification(), forged))
        stranger = Authority(b"another", NOW).account("alice")
        self.assertRaises(PeerError, opened, envelope(notification(), stranger))

    def test_slot_is_the_notifications(self) -> None:
        """
        An envelope in another slot than its notification's is refused, although a member's node signed it.
        """
        data = signed(msgspec.structs.replace(letter_in(GOOD), slot=b"s" * 16))
        self.assertEqual(b"s" * 16, check_envelope(data, ROOT, NOW)[0].slot)
        self.assertRaises(PeerError, opened, data)

    def test_time(self) -> None:
        """
        An envelope from the future is refused; an old one is judged by its own time.
        """
        self.assertRaises(PeerError, opened, envelope(notification(sent=NOW + CLOCK_SKEW_S + 1)))
        self.assertTrue(opened(GOOD, now=NOW + 20 * 365 * 86400))
        self.assertRaises(PeerError, opened, envelope(notification(sent=NOW - 86400)))

    def test_versions(self) -> None:
        """
        What is of another version is refused, however well it is signed.
        """
        self.assertRaises(PeerError, opened, pack(msgspec.structs.replace(unpack(Envelope, GOOD), version=2)))
        self.assertRaises(PeerError, opened, envelope(msgspec.structs.replace(notification(), version=2)))

    def test_node(self) -> None:
        """
        An envelope waits under the name of the node that signed it: another can neither use that name nor the place.
        """
        key, chain, other = AUTHORITY.node("mallory")
        letter = pack(letter_in(GOOD))
        forged = pack(Envelope(1, letter, chain, key.sign(Purpose.SIGN_ENVELOPE, letter)))
        self.assertRaises(PeerError, check_envelope, forged, ROOT, NOW)
        own = pack(msgspec.structs.replace(letter_in(GOOD), node=other.node_id))
        rival = pack(Envelope(1, own, chain, key.sign(Purpose.SIGN_ENVELOPE, own)))
        check_envelope(rival, ROOT, NOW)
        self.assertNotEqual(pending_handle(letter_in(GOOD)), pending_handle(letter_in(rival)))

    def test_receipt(self) -> None:
        """
        A receipt names envelope and recipient; one in somebody else's name, or from the future, is refused.
        """
        found = check_receipt(receipt(GOOD), ROOT, NOW)
        self.assertEqual((envelope_hash(GOOD), BOB.account), (found.envelope, found.recipient))
        body = pack(Delivered(1, envelope_hash(GOOD), BOB.account, NODE.node_id, b"s" * 16, NOW))
        forged = pack(Receipt(1, body, MALLORY.chain, MALLORY.key.sign(Purpose.SIGN_DELIVERY, body)))
        self.assertRaises(PeerError, check_receipt, forged, ROOT, NOW)
        self.assertRaises(PeerError, check_receipt, receipt(GOOD, at=NOW + CLOCK_SKEW_S + 1), ROOT, NOW)

    def test_sizes(self) -> None:
        """
        Whatever the sealing draws by chance: an envelope is always equally long, and waits in the same place.
        """
        several = [envelope(notification()) for _ in range(8)]
        self.assertEqual(8, len(set(several)))
        self.assertEqual({len(GOOD)}, {len(each) for each in several})
        self.assertEqual(1, len({waiting(each)[0] for each in several}))


class PendingKindTests(SynchronousTestCase):
    """
    Tests for L{PendingKind}.
    """

    def setUp(self) -> None:
        self.told: list[Stored] = []
        self.kind = PendingKind(ROOT, self.told.append)

    def stored(self, handle: object, data: bytes) -> Stored:
        order = self.kind.check(handle, data, NOW)  # type: ignore[arg-type]
        return Stored(handle, PENDING, StorageClass.PENDING, NOW + 9, order, data)  # type: ignore[arg-type]

    def test_dated_back(self) -> None:
        """
        A receipt from long before the envelope was sealed does not end its wait: its key may have been revoked since.
        """
        for ahead_s, ends in ((CLOCK_SKEW_S, True), (CLOCK_SKEW_S + 1, False)):
            data = envelope(notification(sent=NOW + ahead_s))
            item = Stored(waiting(data)[0], PENDING, StorageClass.PENDING, NOW + 9, WAITING, waiting(data)[1])
            self.assertEqual(ends, self.kind.supersedes(self.stored(*delivered(data, receipt(data))), item))

    def test_ends(self) -> None:
        """
        The recipient's receipt supersedes the envelope, and nothing supersedes the receipt.
        """
        envelope_item = self.stored(*waiting(GOOD))
        receipt_item = self.stored(*delivered(GOOD, receipt(GOOD)))
        self.assertEqual((WAITING, DELIVERED), (envelope_item.order, receipt_item.order))
        self.assertEqual(envelope_item.handle, receipt_item.handle)
        self.assertTrue(self.kind.supersedes(receipt_item, envelope_item))
        for new, old in ((envelope_item, receipt_item), (receipt_item, receipt_item), (envelope_item, envelope_item)):
            self.assertFalse(self.kind.supersedes(new, old))

    def test_somebody_elses_receipt(self) -> None:
        """
        Mallory, who has an account and keeps the envelope, cannot end its wait: her receipt belongs elsewhere.
        """
        handle, _ = waiting(GOOD)
        self.assertRaises(PeerError, self.kind.check, handle, b"R" + receipt(GOOD, MALLORY), NOW)

    def test_receipt_of_another_envelope(self) -> None:
        """
        Nor does Bob's receipt for something else in the same slot.
        """
        another = envelope(notification())
        old, new = self.stored(*waiting(GOOD)), self.stored(*delivered(another, receipt(another)))
        self.assertEqual(old.handle, new.handle)
        self.assertFalse(self.kind.supersedes(new, old))

    def test_refused(self) -> None:
        """
        What is under another handle, wants to live too long, or is neither, is not kept.
        """
        handle, data = waiting(GOOD)
        self.assertRaises(PeerError, self.kind.check, waiting(envelope(notification(number=b"j" * 32)))[0], data, NOW)
        self.assertRaises(PeerError, self.kind.check, handle, b"X" + data[1:], NOW)
        self.assertRaises(PeerError, self.kind.check, handle, b"", NOW)
        immortal = waiting(envelope(notification(), lives_s=LIFE_LIMIT_S + 1))
        self.assertRaises(PeerError, self.kind.check, *immortal, NOW)

    def test_latest(self) -> None:
        """
        An envelope is kept until it expires and no longer; a receipt somewhat longer than any envelope it may be for.
        """
        self.assertEqual(letter_in(GOOD).expires, self.kind.latest(waiting(GOOD)[1]))
        longest = envelope(notification(), lives_s=LIFE_LIMIT_S)
        _, data = delivered(longest, receipt(longest))
        latest = self.kind.latest(data)
        assert latest is not None
        self.assertGreaterEqual(latest, letter_in(longest).expires + RECEIPT_OUTLIVES_S)
        self.assertLess(latest, NOW + LIFE_LIMIT_S + RECEIPT_OUTLIVES_S + 86400)

    def test_told(self) -> None:
        """
        Delegates hear of what became durable.
        """
        item = self.stored(*waiting(GOOD))
        self.kind.stored(item)
        self.assertEqual([item], self.told)


CARD = Card(
    "Alice & <Co>",
    "alice@example.org",
    Contact(NodeId(Id(5)), ("127.0.0.1:9", "[::1]:9"), 7),
    (PublishedKey(b"12345678", b"\x10" * 1217, NOW),),
    3,
)


class IdentityTests(SynchronousTestCase):
    """
    Tests for L{parse} and L{render}.
    """

    def test_round_trip(self) -> None:
        """
        A card survives its XML.
        """
        self.assertEqual(CARD, parse(render(CARD)))

    @settings(max_examples=300)
    @given(st.binary(max_size=300) | mutations(render(CARD)))
    def test_anything(self, data: bytes) -> None:
        """
        Any bytes, and any changed card, raise L{PeerError} or are a card.
        """
        try:
            self.assertIsInstance(parse(data), Card)
        except PeerError:
            pass

    def test_hostile(self) -> None:
        """
        Entities, other encodings that hide them, depth, size, and numbers without end are refused.
        """
        good = render(CARD).decode()
        hostile = [
            b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + good.encode(),
            good.encode("utf-16"),
            ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x>' + good).encode("utf-16-le"),
            b'<?xml version="1.0" encoding="utf-7"?>+ADwAIQ-DOCTYPE x>' + good.encode(),
            b'<?xml version="1.0" encoding="nonsense"?>' + good.encode(),
            b"<a>" * 10_000,
            b"<a>" * 4_000 + b"</a>" * 4_000,
            good.encode() + b" " * SIZE_LIMIT,
            good.replace('epoch="7"', 'epoch="' + "9" * 5000 + '"').encode(),
            good.replace('epoch="7"', 'epoch="-1"').encode(),
            good.replace('bits="3"', 'bits="65"').encode(),
            good.replace("3132333435363738", "31" * 40).encode(),
            good.replace(f'expires="{NOW}"', 'expires="' + "9" * 30 + '"').encode(),
            good.replace("127.0.0.1:9", "x" * 81).encode(),
            good.replace('node="', 'node="z').encode(),
        ]
        for data in hostile:
            self.assertRaises(PeerError, parse, data)

    def test_sealing_key(self) -> None:
        """
        The key that lives longest is sealed to, and none that has expired.
        """
        keys = tuple(PublishedKey(bytes([n] * 8), b"k", NOW + n) for n in (1, 3, 2))
        identity = Identity(read_identity(ALICE.chain[0]), replace(CARD, keys=keys), 1)
        self.assertEqual(NOW + 3, identity.sealing_key(NOW).expires)
        self.assertRaises(PeerError, identity.sealing_key, NOW + 3)
