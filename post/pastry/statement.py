"""
What a node signs about its leaf set, so that it can be held to it (Castro, Druschel, Ganesh, Rowstron, Wallach: "Secure
routing for structured peer-to-peer overlay networks", OSDI 2002, section 5; pure).

A statement answers one question, whose nonce it repeats, and names the node, its boot epoch, and the I{version} of its
leaf set, which rises with every change: under one epoch and version a node has one leaf set.  So two statements that
agree in these and not in the members prove that their signer lies, whatever the clocks say.  (Members that come and go
prove nothing: nodes die, and are back.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from post.errors import PeerError
from post.ids import RING, Contact, NodeId
from post.wire import Document, pack, unpack

VERSION = 1
NONCE_BYTES = 16
SIDE_LIMIT = 16
"""Members on a side of what is stated: more than any leaf set has."""
STATEMENT_LIMIT = 12 * 1024
"""Bytes of a statement: members with four addresses of 80 bytes each."""
SIGNATURE_LIMIT = 128

_MASK = RING - 1

Sign = Callable[[bytes], bytes]
"""Makes a node's signature of a statement."""
Check = Callable[[NodeId, bytes, bytes], None]
"""Whether the node signed the statement; raises L{post.errors.PeerError} if not."""

_Side = Annotated[tuple[Contact, ...], Meta(max_length=SIDE_LIMIT)]


class Statement(Document, frozen=True):
    """
    C{node} says: my leaf set has these C{after} me, going clockwise, and these C{before} me, the nearest first; it is
    the C{whole} ring, or there is nobody else between its ends.  C{at_ms} is when, by its clock.
    """

    version: int
    node: NodeId
    epoch: Annotated[int, Meta(ge=0, lt=1 << 62)]
    change: Annotated[int, Meta(ge=0, lt=1 << 62)]
    at_ms: Annotated[int, Meta(ge=0, lt=1 << 62)]
    nonce: Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]
    whole: bool
    after: _Side
    before: _Side

    def members(self) -> dict[NodeId, Contact]:
        """
        Who is named, by id.
        """
        return {contact.id: contact for contact in (*self.after, *self.before)}

    def ends(self) -> tuple[NodeId, NodeId]:
        """
        The farthest after and the farthest before the node; itself where there is none.
        """
        after = self.after[-1].id if self.after else self.node
        before = self.before[-1].id if self.before else self.node
        return after, before

    def step(self) -> float:
        """
        The mean distance between neighbors among the node and its members; infinite if there are none.
        """
        members = len(self.members())
        if not members:
            return float("inf")
        after, before = self.ends()
        return RING / (members + 1) if self.whole else before.clockwise(after) / members

    def covers(self, key: int) -> bool:
        """
        Whether the root of C{key} must be the node or one of those that are named.
        """
        after, before = self.ends()
        return self.whole or (key - before) & _MASK <= before.clockwise(after)


def open_statement(data: bytes, signature: bytes, node: NodeId, nonce: bytes, check: Check) -> Statement:
    """
    What C{node} answered to the question with C{nonce}.

    @raise PeerError: if that is no statement, or not C{node}'s, not signed by it, an answer to another question, or
        says what cannot be.
    """
    if len(data) > STATEMENT_LIMIT:
        raise PeerError(f"a statement of {len(data)} bytes")
    statement = unpack(Statement, data)
    if statement.version != VERSION:
        raise PeerError(f"a statement of version {statement.version}")
    if statement.node != node:
        raise PeerError("a statement of another node")
    if statement.nonce != nonce:
        raise PeerError("a statement for another question")
    _check_order(statement)
    check(node, data, signature)
    return statement


def _check_order(statement: Statement) -> None:
    """
    @raise PeerError: unless the members are in order, each on its side.
    """
    node = statement.node
    after = [node.clockwise(contact.id) for contact in statement.after]
    before = [contact.id.clockwise(node) for contact in statement.before]
    for ways in (after, before):
        if any(near >= far for near, far in zip([0, *ways], ways, strict=False)):
            raise PeerError("members in no order")
    if not statement.whole and after and before and after[-1] + before[-1] >= RING:
        raise PeerError("sides that overlap")


def contradict(one: Statement, other: Statement) -> bool:
    """
    Whether no honest node signs both.
    """
    same = (one.node, one.epoch, one.change) == (other.node, other.epoch, other.change)
    return same and (one.whole, _ids(one)) != (other.whole, _ids(other))


def _ids(statement: Statement) -> tuple[tuple[NodeId, ...], tuple[NodeId, ...]]:
    return tuple(each.id for each in statement.after), tuple(each.id for each in statement.before)


def packed(statement: Statement) -> bytes:
    """
    The bytes that are signed.
    """
    return pack(statement)
