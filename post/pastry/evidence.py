"""
Who provably lies: two signed leaf sets of one node that no honest node signs both of
(L{post.pastry.statement.contradict}).

Anybody can verify it, since both are signed by the key in the node's certificate; whoever runs the authority can revoke
that on its strength.  Here such a node is given no place in the tables any more.  Its place on the ring it keeps, which
nobody but the authority can take.

Format of what is kept: a MessagePack array of L{Proof}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta
from twisted.logger import Logger

from post.complaints import Complaints
from post.errors import PeerError
from post.ids import Contact, NodeId
from post.pastry.ring import Ring
from post.pastry.statement import SIGNATURE_LIMIT, STATEMENT_LIMIT, Statement, contradict
from post.wire import Document, pack, unpack

HEARD_LIMIT = 1024
"""Nodes whose last statement is remembered: about 3 MB."""
PROOFS_LIMIT = 64
"""Nodes against which a proof is kept: the first ones, since of more a person learns no more."""
PROOFS_BYTES = PROOFS_LIMIT * (2 * (STATEMENT_LIMIT + SIGNATURE_LIMIT) + 8192)
"""What is kept is no longer than this."""
VERSION = 1

_Stated = Annotated[bytes, Meta(max_length=STATEMENT_LIMIT)]
_Signature = Annotated[bytes, Meta(max_length=SIGNATURE_LIMIT)]


class Proof(Document, frozen=True):
    """
    Two packed statements of C{node}, and their signatures by the key in its C{certificate} (DER).  C{owner} is whose it
    is.
    """

    version: int
    node: NodeId
    owner: Annotated[str, Meta(max_length=320)]
    certificate: Annotated[bytes, Meta(max_length=4096)]
    first: _Stated
    first_signature: _Signature
    second: _Stated
    second_signature: _Signature


class Evidence:
    """
    What one node has against others.

    @ivar proofs: by who lies.
    @ivar describe: the owner and the certificate of a node.
    """

    __slots__ = ("_complaints", "_heard", "_keep", "_ring", "describe", "proofs")

    log = Logger()

    def __init__(self, ring: Ring, complaints: Complaints) -> None:
        self.proofs: dict[NodeId, Proof] = {}
        self.describe: Callable[[NodeId], tuple[str, bytes]] = _unknown
        self._ring = ring
        self._complaints = complaints
        self._keep: Callable[[bytes], None] = _unkept
        self._heard: dict[NodeId, tuple[Statement, bytes, bytes]] = {}  # Who was heard last, last.

    def remember(self, kept: bytes, keep: Callable[[bytes], None]) -> None:
        """
        Go on with what was C{kept}, and give all there is to C{keep} whenever there is more.
        """
        self._keep = keep
        try:
            proofs = unpack(tuple[Proof, ...], kept) if kept else ()
        except PeerError as error:
            self.log.warn("what was kept against other nodes cannot be read, and is begun anew: {error}", error=error)
            return
        for proof in proofs[:PROOFS_LIMIT]:
            if _is_proof(proof):
                self.proofs[proof.node] = proof
                self._ring.shun(proof.node)

    def heard(self, contact: Contact, statement: Statement, data: bytes, signature: bytes) -> None:
        """
        C{contact} signed C{statement}, as was verified; C{data} are its bytes.
        """
        node = contact.id
        before = self._heard.pop(node, None)
        self._heard[node] = (statement, data, signature)
        if len(self._heard) > HEARD_LIMIT:
            del self._heard[next(iter(self._heard))]
        if before is None or not contradict(before[0], statement):
            return
        self._complaints.note(contact, "signed contradiction", f"under change {statement.change}")
        self._ring.shun(node)
        if node in self.proofs or len(self.proofs) >= PROOFS_LIMIT:
            return
        owner, certificate = self.describe(node)
        self.proofs[node] = Proof(VERSION, node, owner, certificate, *before[1:], data, signature)
        try:
            self._keep(pack(tuple(self.proofs.values())))
        except OSError as error:
            self.log.warn("the proof against {node} is not kept: {error}", node=node, error=error)


def _is_proof(proof: Proof) -> bool:
    try:
        first, second = unpack(Statement, proof.first), unpack(Statement, proof.second)
    except PeerError:
        return False
    return proof.version == VERSION and first.node == proof.node and contradict(first, second)


def _unknown(node: NodeId) -> tuple[str, bytes]:
    return "", b""


def _unkept(data: bytes) -> None:
    pass
