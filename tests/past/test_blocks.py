"""
Tests for L{post.past.blocks}.
"""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.certificates import read_identity
from post.crypto.keys import _ORDER, LogKey, SigningKey
from post.crypto.trust import Revoked, Taken, Trust
from post.errors import BadSignature, PeerError
from post.hashes import Purpose, handle_of
from post.ids import Handle, Id
from post.interfaces import Stored
from post.past.blocks import (
    CERTIFICATE,
    CONTENT,
    CONTENT_LIMIT,
    FINAL_NUMBER,
    JUMP_LIMIT,
    LASTING_BYTES,
    PAYLOAD_LIMIT,
    PUBLIC_KEY,
    SERIAL_SHIFT,
    BlockKind,
    CertificateKind,
    ContentKind,
    PublicKeyKind,
    SignedBlock,
    account_number,
    certificate_block,
    certificate_handle,
    contradict,
    lasting,
    reach,
    read_signed_block,
    sign_block,
)
from post.sim.authority import LIFE_S, Authority
from post.wire import pack

NOW = 1_700_000_000
ZERO = b"\0" * 32
KEY = LogKey.derive(b"m" * 32, b"device", 0)
KEY_HANDLE = handle_of(Purpose.PUBLIC_KEY_BLOCK, KEY.public)
AUTHORITY = Authority(b"blocks", NOW)
ALICE, BOB = AUTHORITY.account("alice"), AUTHORITY.account("bob")
KINDS: tuple[BlockKind, ...] = (ContentKind(), PublicKeyKind(AUTHORITY.root), CertificateKind(AUTHORITY.root))


def stored(kind: int, order: int) -> Stored:
    return Stored(Handle(Id(1)), kind, 3, 0, order, b"")


def content(data: bytes) -> Handle:
    return handle_of(Purpose.CONTENT_BLOCK, data)


class ContentTests(SynchronousTestCase):
    """
    Tests for L{ContentKind}.
    """

    kind = ContentKind()

    @given(st.binary(max_size=100), st.binary(max_size=100))
    def test_hash(self, data: bytes, other: bytes) -> None:
        """
        A block is accepted under its own hash and no other.
        """
        self.assertEqual(0, self.kind.check(content(data), data, NOW))
        if data != other:
            self.assertRaises(PeerError, self.kind.check, content(data), other, NOW)

    def test_size(self) -> None:
        """
        A block of the largest size is accepted, and one octet more is not.
        """
        largest = bytes(CONTENT_LIMIT)
        self.kind.check(content(largest), largest, NOW)
        larger = largest + b"\0"
        self.assertRaises(PeerError, self.kind.check, content(larger), larger, NOW)

    def test_never_superseded(self) -> None:
        """
        What is under a hash stays.
        """
        self.assertFalse(self.kind.supersedes(stored(CONTENT, 0), stored(CONTENT, 0)))


class PublicKeyTests(SynchronousTestCase):
    """
    Tests for L{PublicKeyKind}.
    """

    kind = PublicKeyKind(AUTHORITY.root)

    def test_log(self) -> None:
        """
        What the key signs is accepted under its handle, and ordered by its number.
        """
        data = sign_block(KEY, 7, 2, ZERO, b"payload")
        self.assertEqual(7, self.kind.check(KEY_HANDLE, data, NOW))
        block = read_signed_block(data)
        self.assertEqual((7, 2, b"payload"), (block.number, block.epoch, block.payload))

    def test_account(self) -> None:
        """
        An account's block is under its account id, whichever key it has now.
        """
        handle = handle_of(Purpose.ACCOUNT_BLOCK, ALICE.account.packed())
        data = sign_block(ALICE.key, 1, 0, ZERO, b"card", ALICE.chain)
        self.assertEqual(1, self.kind.check(handle, data, NOW))

    def test_another_account(self) -> None:
        """
        Bob cannot write to Alice's handle, neither with his certificate nor with hers.
        """
        handle = handle_of(Purpose.ACCOUNT_BLOCK, ALICE.account.packed())
        for chain in (ALICE.chain, BOB.chain):
            data = sign_block(BOB.key, 1, 0, ZERO, b"card", chain)
            self.assertRaises(BadSignature, self.kind.check, handle, data, NOW)

    def test_another_key(self) -> None:
        """
        Another log's block is refused, and so is one that names a key which did not sign it.
        """
        other = LogKey.derive(b"m" * 32, b"device", 1)
        self.assertRaises(BadSignature, self.kind.check, KEY_HANDLE, sign_block(other, 1, 0, ZERO, b""), NOW)
        body = pack(SignedBlock(1, 1, 0, ZERO, b"", KEY.public, ()))
        forged = msgspec.msgpack.encode((body, other.sign(Purpose.SIGN_BLOCK, body)))
        self.assertRaises(BadSignature, self.kind.check, KEY_HANDLE, forged, NOW)

    def test_limits(self) -> None:
        """
        Numbers begin at 1 and payloads end at their limit.
        """
        self.kind.check(KEY_HANDLE, sign_block(KEY, 1, 0, ZERO, bytes(PAYLOAD_LIMIT)), NOW)
        for number, payload in ((0, b""), (1, bytes(PAYLOAD_LIMIT + 1)), (1 << 62, b"")):
            data = sign_block(KEY, number, 0, ZERO, payload)
            self.assertRaises(PeerError, self.kind.check, KEY_HANDLE, data, NOW)

    def test_version(self) -> None:
        """
        A block of a version that is not known is refused, though its owner signed it.
        """
        body = pack(SignedBlock(2, 1, 0, ZERO, b"", KEY.public, ()))
        data = msgspec.msgpack.encode((body, KEY.sign(Purpose.SIGN_BLOCK, body)))
        self.assertRaises(PeerError, self.kind.check, KEY_HANDLE, data, NOW)

    def test_one_form(self) -> None:
        """
        The same block in another encoding is refused: everybody could make one, and call it a rival.
        """
        data = sign_block(KEY, 1, 0, ZERO, b"payload")
        body, signature = msgspec.msgpack.decode(data)
        long_form = b"\xdc\0\2" + msgspec.msgpack.encode(body) + msgspec.msgpack.encode(signature)
        self.assertEqual([body, signature], msgspec.msgpack.decode(long_form))
        self.assertRaises(PeerError, self.kind.check, KEY_HANDLE, long_form, NOW)

    def test_another_signature(self) -> None:
        """
        An ECDSA signature has a twin that anybody can compute.  With it the block is authentic, but no rival.
        """
        handle = handle_of(Purpose.ACCOUNT_BLOCK, ALICE.account.packed())
        data = sign_block(ALICE.key, 1, 0, ZERO, b"card", ALICE.chain)
        body, signature = msgspec.msgpack.decode(data)
        opposite = _ORDER - int.from_bytes(signature[33:], "big")
        twin = msgspec.msgpack.encode((body, signature[:33] + opposite.to_bytes(32, "big")))
        self.assertNotEqual(data, twin)
        self.assertEqual(1, self.kind.check(handle, twin, NOW))
        self.assertFalse(contradict(PUBLIC_KEY, data, twin))

    def test_supersedes(self) -> None:
        """
        A higher number takes the place of a lower one, an equal or a lower one does not, nor one absurdly far ahead.
        """
        expected = {9: False, 10: False, 11: True, 10 + JUMP_LIMIT: True, 11 + JUMP_LIMIT: False}
        old = stored(PUBLIC_KEY, 10)
        self.assertEqual(expected, {n: self.kind.supersedes(stored(PUBLIC_KEY, n), old) for n in expected})

    def test_last(self) -> None:
        """
        The last version takes the place of whatever it continues or has seen, however far that is, and of another last
        one that had seen less; of nothing that came after, and nothing takes its own.
        """

        def held(number: int, epoch: int = 0) -> Stored:
            data = sign_block(KEY, number, epoch, ZERO, b"")
            return Stored(KEY_HANDLE, PUBLIC_KEY, 3, 0, number, data)

        last = held(FINAL_NUMBER, 10)
        expected = {1: True, 10: True, 11: False, 10 + JUMP_LIMIT: False}
        self.assertEqual(expected, {n: self.kind.supersedes(last, held(n)) for n in expected})
        expected = {9: True, 10: False, 11: False}
        self.assertEqual(expected, {n: self.kind.supersedes(last, held(FINAL_NUMBER, n)) for n in expected})
        self.assertFalse(self.kind.supersedes(held(FINAL_NUMBER - 1), last))
        self.assertEqual([10, 12], [reach(each.data) for each in (last, held(12, 3))])

    def test_serial(self) -> None:
        """
        The number of an account's block is at most what the serial of its certificate allows, and may rise up to there;
        so nothing that is signed with an older certificate comes after what a newer one signed.
        """
        handle = handle_of(Purpose.ACCOUNT_BLOCK, ALICE.account.packed())
        serial = read_identity(ALICE.chain[0]).serial
        most = ((serial + 1) << SERIAL_SHIFT) - 1
        for number in (1, account_number(7, serial), most):
            data = sign_block(ALICE.key, number, 0, ZERO, b"card", ALICE.chain)
            self.assertEqual(number, self.kind.check(handle, data, NOW))
        beyond = sign_block(ALICE.key, most + 1, 0, ZERO, b"card", ALICE.chain)
        self.assertRaises(BadSignature, self.kind.check, handle, beyond, NOW)
        self.assertGreater(account_number(most, serial + 1), most)
        self.assertEqual(most, account_number(most - 1, serial))
        far = 1_800_000_000 << SERIAL_SHIFT
        jumping = Stored(handle, PUBLIC_KEY, 3, 0, far, sign_block(ALICE.key, far, 0, ZERO, b"card", ALICE.chain))
        self.assertTrue(self.kind.supersedes(jumping, stored(PUBLIC_KEY, 10)))

    def test_revoked(self) -> None:
        """
        What a key signed that has been revoked is not taken, but has its place: what its owner writes comes after it.
        """
        handle = handle_of(Purpose.ACCOUNT_BLOCK, ALICE.account.packed())
        data = sign_block(ALICE.key, 7, 0, ZERO, b"card", ALICE.chain)
        root = Trust(AUTHORITY.root)
        kind = PublicKeyKind(root)
        kind.check(handle, data, NOW)
        root.revoke({ALICE.key.public: Taken(NOW)}, NOW)
        self.assertRaises(Revoked, kind.check, handle, data, NOW)
        self.assertEqual(7, kind.place(handle, data, NOW)[0])
        forged = sign_block(BOB.key, 8, 0, ZERO, b"card", ALICE.chain)
        self.assertRaises(BadSignature, kind.place, handle, forged, NOW)

    def test_lasting(self) -> None:
        """
        Certificates, and public-key blocks that are small, may outlive every lease.
        """
        small = sign_block(KEY, 1, 0, ZERO, b"")
        self.assertEqual([True, True], [lasting(CERTIFICATE, small), lasting(PUBLIC_KEY, small)])
        self.assertEqual([False, False], [lasting(PUBLIC_KEY, bytes(LASTING_BYTES + 1)), lasting(CONTENT, small)])

    def test_expired(self) -> None:
        """
        A block whose certificate has run out is not taken any more, but still has its place among the versions; one
        that is not valid yet has none.
        """
        handle = handle_of(Purpose.ACCOUNT_BLOCK, ALICE.account.packed())
        data = sign_block(ALICE.key, 5, 3, ZERO, b"card", ALICE.chain)
        late = NOW + LIFE_S + 1
        self.assertRaises(BadSignature, self.kind.check, handle, data, late)
        self.assertEqual((5, 3), self.kind.place(handle, data, late)[:2])
        self.assertRaises(BadSignature, self.kind.place, handle, data, NOW - 7200)

    def test_place(self) -> None:
        """
        Versions are ordered by number, then epoch, and never equal unless they are the same.
        """
        versions = [
            sign_block(KEY, 1, 5, ZERO, b"a"),
            sign_block(KEY, 2, 0, ZERO, b"a"),
            sign_block(KEY, 2, 1, ZERO, b"a"),
        ]
        places = [self.kind.place(KEY_HANDLE, data, NOW) for data in versions]
        self.assertEqual(sorted(places), places)
        fork = self.kind.place(KEY_HANDLE, sign_block(KEY, 2, 1, ZERO, b"b"), NOW)
        self.assertNotEqual(places[2], fork)


class CertificateTests(SynchronousTestCase):
    """
    Tests for L{CertificateKind}.
    """

    kind = CertificateKind(AUTHORITY.root)

    def test_certificate(self) -> None:
        """
        A certificate is accepted under its address, in any case, and no other.
        """
        data = certificate_block(ALICE.chain)
        self.assertEqual(1, self.kind.check(certificate_handle("Alice@Example.org"), data, NOW))
        self.assertRaises(PeerError, self.kind.check, certificate_handle("bob@example.org"), data, NOW)

    def test_another_root(self) -> None:
        """
        A certificate of another authority is refused.
        """
        other = Authority(b"others", NOW).account("alice")
        handle = certificate_handle("alice@example.org")
        self.assertRaises(BadSignature, self.kind.check, handle, certificate_block(other.chain), NOW)

    def test_many(self) -> None:
        """
        Nobody has to look at more certificates than a chain can have.
        """
        data = certificate_block(ALICE.chain * 3)
        self.assertRaises(PeerError, self.kind.check, certificate_handle("alice@example.org"), data, NOW)

    def test_supersedes(self) -> None:
        """
        The serial only rises.
        """
        supersedes = [self.kind.supersedes(stored(CERTIFICATE, n), stored(CERTIFICATE, 2)) for n in (1, 2, 3)]
        self.assertEqual([False, False, True], supersedes)


class HostileTests(SynchronousTestCase):
    """
    Bytes from outside.
    """

    @given(st.binary(max_size=300))
    def test_garbage(self, data: bytes) -> None:
        """
        Nothing that is sent raises anything but L{PeerError}.
        """
        for kind in KINDS:
            self.assertRaises(PeerError, kind.check, KEY_HANDLE, data, NOW)

    @given(st.data())
    def test_broken(self, chance: st.DataObject) -> None:
        """
        Nor does a good block with a few octets changed, left out or put in, and none such is accepted.
        """
        good = chance.draw(
            st.sampled_from(
                [
                    (handle_of(Purpose.ACCOUNT_BLOCK, ALICE.account.packed()), _account_block()),
                    (certificate_handle("alice@example.org"), certificate_block(ALICE.chain)),
                    (KEY_HANDLE, sign_block(KEY, 1, 0, ZERO, b"payload")),
                ]
            )
        )
        handle, data = good
        start = chance.draw(st.integers(0, len(data) - 1))
        stop = chance.draw(st.integers(start, min(len(data), start + 4)))
        broken = data[:start] + chance.draw(st.binary(max_size=4)) + data[stop:]
        if broken != data:
            for kind in KINDS:
                self.assertRaises(PeerError, kind.check, handle, broken, NOW)

    @given(st.lists(st.binary(max_size=10), max_size=6), st.binary(max_size=40))
    def test_structured(self, parts: list[bytes], owner: bytes) -> None:
        """
        Nor does something of the right form with anything inside.
        """
        body = msgspec.msgpack.encode((1, 1, 0, ZERO, b"", owner, parts))
        for data in (msgspec.msgpack.encode((body, owner)), msgspec.msgpack.encode(parts)):
            for kind in KINDS:
                self.assertRaises(PeerError, kind.check, KEY_HANDLE, data, NOW)


def _account_block() -> bytes:
    key: SigningKey = ALICE.key
    return sign_block(key, 1, 0, ZERO, b"card", ALICE.chain)
