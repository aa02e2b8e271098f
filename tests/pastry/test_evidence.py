"""
Who provably lies.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.complaints import Complaints
from post.ids import Contact
from post.pastry.config import PastryConfig
from post.pastry.evidence import HEARD_LIMIT, PROOFS_BYTES, PROOFS_LIMIT, Evidence, Proof
from post.pastry.leafset import Side
from post.pastry.ring import Ring
from post.pastry.statement import Statement, packed
from post.sim.signing import sign
from post.wire import pack, unpack
from tests.pastry.strategies import node

LIAR = Contact(node(1 << 156), ("liar:1",))


def said(change: int, member: int, liar: Contact = LIAR) -> Statement:
    """
    That C{member} stands after C{liar}.
    """
    return Statement(1, liar.id, 0, change, 0, bytes(16), False, (Contact(node(liar.id + member)),), ())


class EvidenceTests(SynchronousTestCase):
    """
    Tests of L{Evidence}.
    """

    def setUp(self) -> None:
        self.complaints = Complaints(Clock())
        self.kept: list[bytes] = []
        self.evidence = self.fresh()

    def fresh(self, kept: bytes = b"") -> Evidence:
        """
        One that goes on with what was C{kept}.
        """
        self.ring = Ring(node(0), PastryConfig(), lambda contact, joined: None)
        self.ring.leaves.open()
        evidence = Evidence(self.ring, self.complaints)
        evidence.describe = lambda node: (f"owner of {node}", b"certificate")
        evidence.remember(kept, self.kept.append)
        return evidence

    def hear(self, *statements: Statement) -> None:
        """
        Each signed by its node.
        """
        for each in statements:
            data = packed(each)
            self.evidence.heard(Contact(each.node), each, data, sign(each.node, data))

    def test_proof(self) -> None:
        """
        Two sets under one change are kept as they were signed, counted, and cost the liar its places in the tables; who
        reads what was kept knows the same.
        """
        self.ring.tabulate(LIAR)
        self.assertIn(LIAR.id, self.ring.table)
        self.hear(said(1, 1), said(2, 2), said(2, 3), said(2, 4))
        self.assertEqual({"signed contradiction": 2}, dict(self.complaints.counts))
        (kept,) = self.kept
        (proof,) = unpack(tuple[Proof, ...], kept)
        self.assertEqual((LIAR.id, f"owner of {LIAR.id}", b"certificate"), (proof.node, proof.owner, proof.certificate))
        self.assertEqual((packed(said(2, 2)), packed(said(2, 3))), (proof.first, proof.second))
        self.assertEqual(sign(LIAR.id, proof.first), proof.first_signature)
        for evidence in (self.evidence, self.fresh(kept)):
            self.assertEqual({LIAR.id: proof}, evidence.proofs)
            self.ring.tabulate(LIAR)
            self.assertNotIn(LIAR.id, self.ring.table)
            self.assertEqual([], self.ring.constrained.contacts())

    def test_place(self) -> None:
        """
        Its place in the leaf set is its own, whatever it says: otherwise liars could cut the ring by lying.
        """
        self.ring.admit(LIAR, Side.BOTH)
        self.hear(said(2, 2), said(2, 3))
        self.assertIn(LIAR.id, self.ring.leaves)
        self.assertIn(LIAR.id, self.ring.contacts)

    def test_honest(self) -> None:
        """
        Whoever says the same again, or something else after a change or a restart, is not accused.
        """
        self.hear(said(1, 1), said(1, 1), said(2, 2), replace(said(2, 3), epoch=1), said(3, 2))
        self.assertEqual(({}, []), (self.evidence.proofs, self.kept))

    def test_bounded(self) -> None:
        """
        However many lie, so much is remembered and kept, and no more.
        """
        for number in range(1, PROOFS_LIMIT + 20):
            liar = Contact(node(number << 100))
            self.hear(said(1, 1, liar), said(1, 2, liar))
        self.assertEqual(PROOFS_LIMIT, len(self.evidence.proofs))
        self.assertTrue(max(map(len, self.kept)) < PROOFS_BYTES)
        self.hear(*(said(1, 1, Contact(node(number << 90))) for number in range(1, HEARD_LIMIT + 20)))
        self.assertEqual(HEARD_LIMIT, len(self.evidence._heard))

    def test_disk(self) -> None:
        """
        What cannot be written is known all the same.
        """

        def full(data: bytes) -> None:
            raise OSError("no space left")

        self.evidence.remember(b"", full)
        self.hear(said(2, 2), said(2, 3))
        self.assertEqual([LIAR.id], list(self.evidence.proofs))

    @given(st.binary(max_size=50))
    def test_damaged(self, kept: bytes) -> None:
        """
        Whatever is in the file, a node starts, and accuses nobody by it.
        """
        self.assertEqual({}, self.fresh(kept).proofs)

    def test_no_proof(self) -> None:
        """
        What was kept counts only if it proves what it says.
        """
        first, second = packed(said(1, 1)), packed(said(2, 2))
        true = Proof(1, LIAR.id, "", b"", packed(said(2, 1)), b"", second, b"")
        for false in (
            replace(true, first=first),
            replace(true, first=second),
            replace(true, node=node(5)),
            replace(true, version=2),
            replace(true, first=b"?"),
        ):
            self.assertEqual({}, self.fresh(pack((false,))).proofs)
        self.assertEqual([LIAR.id], list(self.fresh(pack((true,))).proofs))
