"""
Tests of L{post.mail.outbound}, L{post.mail.gateways} and L{post.crypto.groups}: what holders and gateways take.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.entropy import SeededEntropy
from post.crypto.groups import MEMBERS_LIMIT, open_epoch, seal_epoch
from post.crypto.sealing import SealingKey
from post.crypto.trust import Taken, Trust
from post.errors import BadSignature, PeerError, Unreachable
from post.ids import Handle, Id, NodeId
from post.interfaces import Stored
from post.mail.gateways import GATEWAY_KEY, GatewayKeyKind, Gateways, key_handle, make_key, sealing_key
from post.mail.outbound import (
    DONE,
    ENDED,
    LIFE_S,
    OUTBOUND,
    TRYING,
    WAITING,
    Entry,
    OutboundKind,
    Outgoing,
    Progress,
    Queued,
    Said,
    SignedProgress,
    Waybill,
    box_said,
    make_entry,
    make_progress,
    open_entry,
    open_said,
    open_secret,
    outbound_handle,
    progress_in,
    secret_of,
    slot_of,
    waybill_in,
)
from post.messaging.dispatch import Signer
from post.messaging.notification import CLOCK_SKEW_S
from post.sim.authority import Authority
from post.wire import StorageClass, pack, unpack
from tests.mail.doubles import Place

NOW = 1_800_000_000
NAMES = ("x@example.net", "y@example.net")
SLOT = slot_of(b"m" * 32, b"content", "alice@example.org", NAMES)
SECRET = secret_of(b"m" * 32, SLOT)


class OutboundTests(SynchronousTestCase):
    """
    Tests of mail for outside as it is stored.
    """

    def setUp(self) -> None:
        self.authority = authority = Authority(b"outbound", NOW)
        self.alice = authority.account("alice")
        self.author = Signer(self.alice.key, self.alice.chain)
        self.node, self.node_id = self.member("node1")
        self.gateway, self.gateway_id = self.member("gateway", "gateway")
        self.entropy = SeededEntropy(b"outbound")
        self.opens = sealing_key(self.gateway.key)
        self.outgoing = Outgoing(
            1, self.alice.address, self.alice.address, "example.net", NAMES, b"reference", 100, NOW, SLOT
        )
        self.entry = self.make(self.outgoing)
        self.handle = outbound_handle(self.node_id, SLOT)
        self.told: list[Stored] = []
        self.kind = OutboundKind(authority.root, self.told.append)

    def member(self, name: str, *roles: str) -> tuple[Signer, NodeId]:
        """
        A node's key, and its id.
        """
        key, chain, certificate = self.authority.node(name, roles=tuple(roles))
        return Signer(key, chain), certificate.node_id

    def make(self, outgoing: Outgoing, author: Signer | None = None) -> bytes:
        """
        An entry of Alice's node.
        """
        members = [(self.opens.key_id, self.opens.public)]
        return make_entry(outgoing, author or self.author, SECRET, members, self.node_id, self.node, self.entropy)

    def progress(self, state: int = WAITING, number: int = 1, by: Signer | None = None, **changed: Any) -> bytes:
        """
        How far a gateway is.
        """
        boxed = box_said(Said(1, NAMES), SECRET, self.entropy)
        progress = Progress(1, self.node_id, SLOT, self.gateway_id, number, state, 1, NOW, NOW + 60, boxed)
        return make_progress(structs.replace(progress, **changed), by or self.gateway)

    def check(self, entry: bytes, progress: bytes = b"", handle: Handle | None = None, now: float = NOW) -> int:
        """
        The order that a holder gives it.
        """
        return self.kind.check(handle or self.handle, pack(Queued(1, entry, progress)), now)

    def test_orders(self) -> None:
        """
        What waits comes before what is tried, and that before what is done.
        """
        self.assertEqual(0, self.check(self.entry))
        self.assertEqual(7, self.check(self.entry, self.progress(TRYING, 7)))
        self.assertEqual(DONE, self.check(b"", self.progress(ENDED, 8)))

        def stored(order: int) -> Stored:
            return Stored(self.handle, OUTBOUND, StorageClass.PENDING, NOW, order, b"")

        self.assertTrue(self.kind.supersedes(stored(1), stored(0)))
        self.assertFalse(self.kind.supersedes(stored(1), stored(1)))
        self.assertFalse(self.kind.supersedes(stored(3), stored(DONE)))

    def test_dated_back(self) -> None:
        """
        Whoever has the key of a lost gateway cannot end what came since, by a progress from before it was revoked; what
        that gateway itself has ended stays so, and one that is not revoked may have a clock that is behind.
        """
        root = Trust(self.authority.root)
        kind = OutboundKind(root, self.told.append)

        def stored(entry: bytes, progress: bytes, order: int) -> Stored:
            return Stored(self.handle, OUTBOUND, StorageClass.PENDING, NOW, order, pack(Queued(1, entry, progress)))

        waiting = stored(self.entry, b"", 0)
        early = stored(b"", self.progress(ENDED, 8, at=NOW - CLOCK_SKEW_S - 1, due=NOW), DONE)
        honest = stored(b"", self.progress(ENDED, 8, at=NOW + 5), DONE)
        self.assertTrue(kind.supersedes(early, waiting))
        root.revoke({self.gateway.key.public: Taken(NOW + 100)}, NOW + 200)
        self.assertFalse(kind.supersedes(early, waiting))
        self.assertTrue(kind.supersedes(honest, waiting))
        tried = stored(self.entry, self.progress(TRYING, 3), 3)
        self.assertFalse(kind.supersedes(early, tried))

    def test_time(self) -> None:
        """
        Nothing waits for ever, and what is done is remembered for as long as anything may wait.
        """
        self.assertEqual(NOW + LIFE_S, self.kind.latest(pack(Queued(1, self.entry, b""))))
        done = pack(Queued(1, b"", self.progress(ENDED)))
        self.assertEqual(NOW + CLOCK_SKEW_S + LIFE_S, self.kind.latest(done))
        self.assertRaises(PeerError, self.check, self.entry, now=NOW - CLOCK_SKEW_S - 1)
        self.assertRaises(PeerError, self.check, self.entry, self.progress(due=NOW + LIFE_S + 1))
        # Certificates are judged by the time of acceptance.
        self.assertEqual(0, self.check(self.entry, now=NOW + 9 * 365 * 86400))

    def test_forged(self) -> None:
        """
        Nobody but the sending node can put an entry under its handle, and nobody but a gateway say how far it is.
        """
        other, other_id = self.member("node2")
        entry = unpack(Entry, self.entry)
        for forged in (
            pack(structs.replace(entry, chain=other.chain)),
            pack(structs.replace(entry, signature=b"\1" + b"x" * 64)),
            pack(structs.replace(entry, body=pack(structs.replace(unpack(Waybill, entry.body), stamp=NOW - 1)))),
            b"",
            b"x",
        ):
            self.assertRaises(PeerError, self.check, forged)
        self.assertRaises(PeerError, self.check, self.entry, handle=Handle(Id(5)))
        for progress in (
            self.progress(by=other),
            self.progress(by=other, gateway=other_id),
            self.progress(by=self.node, gateway=self.node_id),
            self.progress(slot=b"s" * 16),
            self.progress(node=other_id),
            pack(structs.replace(unpack(SignedProgress, self.progress()), signature=b"\1" + b"x" * 64)),
            b"x",
        ):
            self.assertRaises(PeerError, self.check, self.entry, progress)
        self.assertRaises(PeerError, self.check, b"", self.progress(WAITING))
        self.assertRaises(PeerError, self.check, self.entry, self.progress(ENDED))

    def test_opened(self) -> None:
        """
        A gateway to which it is sealed reads it; nobody else does.
        """
        waybill = waybill_in(self.entry)
        self.assertEqual(SECRET, open_secret(waybill, self.opens))
        outgoing, author = open_entry(waybill, SECRET, self.authority.root)
        self.assertEqual((self.outgoing, "alice@example.org"), (outgoing, author.address))
        self.assertRaises(BadSignature, open_secret, waybill, SealingKey.generate(self.entropy))
        self.assertRaises(BadSignature, open_entry, waybill, b"x" * 32, self.authority.root)
        for secret in (b"alice", b"example.net", b"x@example"):
            self.assertNotIn(secret, self.entry)

    def test_not_a_member(self) -> None:
        """
        A node cannot send in the name of somebody whose key it has not: a gateway is no open relay.
        """
        bob = self.authority.account("bob")
        for outgoing, author in (
            (self.outgoing, Signer(bob.key, bob.chain)),
            (structs.replace(self.outgoing, author="bob@example.org"), self.author),
            (self.outgoing, Signer(bob.key, self.alice.chain)),
            (self.outgoing, self.node),
            (structs.replace(self.outgoing, slot=b"s" * 16), self.author),
        ):
            waybill = waybill_in(self.make(outgoing, author))
            # What the entry says of itself, as a hostile node would.
            waybill = structs.replace(waybill, slot=SLOT)
            self.assertRaises(PeerError, open_entry, waybill, SECRET, self.authority.root)

    def test_said(self) -> None:
        """
        What became of each recipient is for gateways and the sender.
        """
        data = pack(Queued(1, self.entry, self.progress()))
        progress = progress_in(data)
        assert progress is not None
        self.assertEqual(Said(1, NAMES), open_said(progress, SECRET, ()))
        self.assertRaises(PeerError, open_said, progress, b"x" * 32, ())
        self.assertEqual(Said(1, NAMES), open_said(None, SECRET, NAMES))
        self.assertIsNone(progress_in(pack(Queued(1, self.entry, b""))))

    def test_slots(self) -> None:
        """
        The same message from the same sender to the same people is the same entry, whatever their order.
        """
        self.assertEqual(SLOT, slot_of(b"m" * 32, b"content", "alice@example.org", NAMES[::-1]))
        others = {
            slot_of(b"n" * 32, b"content", "alice@example.org", NAMES),
            slot_of(b"m" * 32, b"other", "alice@example.org", NAMES),
            slot_of(b"m" * 32, b"content", "", NAMES),
            slot_of(b"m" * 32, b"content", "alice@example.org", NAMES[:1]),
        }
        self.assertEqual(4, len(others - {SLOT}))

    def test_largest(self) -> None:
        """
        An entry and what is said of it fit their limits, with as many recipients and gateways as there may be.
        """
        names = tuple(f"{'x' * 60}{index}@{'y' * 63}.example.net" for index in range(100))
        keys = [SealingKey.generate(self.entropy) for _ in range(MEMBERS_LIMIT)]
        members = [(key.key_id, key.public) for key in keys]
        outgoing = structs.replace(self.outgoing, recipients=names)
        entry = make_entry(outgoing, self.author, SECRET, members, self.node_id, self.node, self.entropy)
        boxed = box_said(Said(1, names, (), (), "w" * 300, "r" * 253), SECRET, self.entropy)
        self.assertEqual(1, self.check(entry, self.progress(boxed=boxed)))

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """
        Anything else is a L{PeerError}.
        """
        for parts in ((data, b""), (b"", data)):
            with self.assertRaises(PeerError):
                self.check(*parts)
        with self.assertRaises(PeerError):
            self.kind.check(self.handle, data, NOW)


class GroupTests(SynchronousTestCase):
    """
    Tests of L{post.crypto.groups}.
    """

    def test_members(self) -> None:
        """
        Every member opens an epoch, for what it was made; nobody else does.
        """
        entropy = SeededEntropy(b"group")
        first, second, other = (SealingKey.generate(entropy) for _ in range(3))
        epoch = seal_epoch(b"s" * 32, [(key.key_id, key.public) for key in (first, second)], b"this")
        self.assertEqual([b"s" * 32] * 2, [open_epoch(epoch, key, b"this") for key in (first, second)])
        self.assertRaises(BadSignature, open_epoch, epoch, other, b"this")
        self.assertRaises(BadSignature, open_epoch, epoch, first, b"that")
        for members in ([], [(first.key_id, first.public)] * (MEMBERS_LIMIT + 1)):
            self.assertRaises(ValueError, seal_epoch, b"s" * 32, members, b"this")


class GatewayKeyTests(SynchronousTestCase):
    """
    Tests of L{GatewayKeyKind}.
    """

    def test_own(self) -> None:
        """
        A gateway's key is what its node signs; the newest counts, and only nodes with that role have one.
        """
        authority = Authority(b"keys", NOW)
        kind = GatewayKeyKind(authority.root)
        key, chain, certificate = authority.node("gateway", roles=("gateway",))
        data = make_key(certificate.node_id, Signer(key, chain), NOW)
        handle = key_handle(certificate.node_id)
        self.assertEqual((NOW, GATEWAY_KEY), (kind.check(handle, data, NOW), kind.kind))
        self.assertRaises(PeerError, kind.check, Handle(Id(1)), data, NOW)
        self.assertRaises(PeerError, kind.check, handle, data, NOW - CLOCK_SKEW_S - 1)
        self.assertRaises(PeerError, kind.check, handle, data[:-1], NOW)
        other, other_chain, other_certificate = authority.node("node")
        plain = make_key(other_certificate.node_id, Signer(other, other_chain), NOW)
        self.assertRaises(PeerError, kind.check, key_handle(other_certificate.node_id), plain, NOW)
        stolen = make_key(certificate.node_id, Signer(other, other_chain), NOW)
        self.assertRaises(PeerError, kind.check, handle, stolen, NOW)

    def test_revoked(self) -> None:
        """
        Nothing is sealed to a gateway whose keys are revoked, before that one, recovered, has said its new key: neither
        by whoever knows the old one already nor by whoever asks.
        """
        place = Place(b"revoked")
        authority, root = place.authority, Trust(place.authority.root)
        gateways = Gateways(place.ring, authority.directory, root, place.clock)
        old, chain, certificate = authority.node("gateway", roles=("gateway",))
        place.run(gateways.publish(certificate.node_id, Signer(old, chain)))
        self.assertEqual([sealing_key(old).public], [key for _, key in place.run(gateways.keys(Id(1)))])
        root.revoke({old.public: Taken(int(place.clock.seconds()))}, int(place.clock.seconds()))
        for each in (gateways, Gateways(place.ring, authority.directory, root, place.clock)):
            self.assertRaises(Unreachable, place.run, each.keys(Id(1)))
        place.clock.advance(1)
        new, chain, certificate = authority.node("gateway", roles=("gateway",))
        place.run(gateways.publish(certificate.node_id, Signer(new, chain)))
        self.assertIn(sealing_key(new).public, [key for _, key in place.run(gateways.keys(Id(1)))])
