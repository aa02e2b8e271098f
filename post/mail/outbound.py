"""
Mail for outside as it waits in the ring (POST, section 5; DESIGN: gateways): what a member's node hands over, and how
far the gateways are with it.

Layers, inside out::

    Outgoing     sender, recipients of one domain, reference of the message
    SignedMail   the same as bytes, with the member's signature and certificates   -- boxed under the key of an epoch
    Waybill      what holders see: sending node, slot, times, the epoch (its key sealed to each gateway), the box
    Entry        the same as bytes, signed by the sending I{node}
    Progress     who works on it, which attempt, when the next one is; what servers said is boxed under the same key;
                 signed by the gateway

Under its handle the ring keeps an entry and the latest progress, or, when it is done, the progress alone.  The handle
follows from the sending node and the I{slot}, a MAC under the sender's key over the message and its recipients: the
same submission is the same entry, however often it comes, and nobody else can put anything in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from msgspec import Meta

from post.crypto.certificates import (
    IdentityCertificate,
    NodeCertificate,
    read_node,
    verify_identity,
    verify_node,
)
from post.crypto.groups import Epoch, open_epoch, seal_epoch
from post.crypto.keys import verify
from post.crypto.sealing import SealingKey, box, unbox
from post.crypto.trust import Trust
from post.errors import BadSignature, PeerError
from post.hashes import Purpose, handle_of, keyed
from post.ids import Handle, NodeId
from post.interfaces import Entropy, Stored
from post.messaging.dispatch import Signer
from post.messaging.notification import CHAIN_LIMIT, CLOCK_SKEW_S, GATEWAY
from post.wire import Document, pack, unpack

OUTBOUND = 5
"""Among the kinds of L{post.past.blocks}."""

RECIPIENTS_LIMIT = 100
"""In one entry: as many as every server takes in one transaction (RFC 5321, 4.5.3.1.8)."""
LIFE_S = 30 * 86400
"""An entry may be kept for so long: longer than anybody tries to deliver, and long enough that of mail for which no
gateway was there at all the sender's node hears."""
DONE = 1 << 40
"""The order of what is done; below it, of the attempts."""
BOX_LIMIT = 48 * 1024
"""Octets of the boxes: a hundred addresses, with what was said of each."""
WORDS_LIMIT = 300
"""Characters kept of a server's reply."""

_Chain = Annotated[tuple[Annotated[bytes, Meta(max_length=4096)], ...], Meta(max_length=CHAIN_LIMIT)]
_Slot = Annotated[bytes, Meta(min_length=16, max_length=16)]
_Time = Annotated[int, Meta(ge=0, lt=1 << 40)]
_Address = Annotated[str, Meta(max_length=320)]


class Outgoing(Document, frozen=True):
    """
    One message for some of the people of one domain.  C{sender} is the envelope's, "" for the null sender; C{author} is
    the account that answers for it and hears what became of it.  C{message} is the packed reference of the skeleton,
    C{size} its octets, C{accepted} in unix seconds.
    """

    version: int
    author: _Address
    sender: _Address
    domain: Annotated[str, Meta(max_length=253)]
    recipients: Annotated[tuple[_Address, ...], Meta(min_length=1, max_length=RECIPIENTS_LIMIT)]
    message: Annotated[bytes, Meta(max_length=512)]
    size: Annotated[int, Meta(ge=0, lt=1 << 40)]
    accepted: _Time
    slot: _Slot


class SignedMail(Document, frozen=True):
    """
    An L{Outgoing} as the bytes that its author signed.
    """

    version: int
    body: Annotated[bytes, Meta(max_length=BOX_LIMIT)]
    chain: _Chain
    signature: Annotated[bytes, Meta(max_length=256)]


class Waybill(Document, frozen=True):
    """
    What an entry's signature covers.  C{node} is whose signature that is.
    """

    version: int
    node: NodeId
    slot: _Slot
    stamp: _Time
    expires: _Time
    epoch: Epoch
    boxed: Annotated[bytes, Meta(max_length=BOX_LIMIT + 12 * 1024)]


class Entry(Document, frozen=True):
    """
    A waybill as the bytes that the sending node signed.
    """

    version: int
    body: Annotated[bytes, Meta(max_length=2 * BOX_LIMIT)]
    chain: _Chain
    signature: Annotated[bytes, Meta(max_length=256)]


TRYING, WAITING, ENDED = 0, 1, 2
"""States of L{Progress}: a gateway is at it until C{due} at the latest; the next attempt is C{due}; nothing is left to
do."""


class Progress(Document, frozen=True):
    """
    How far it is.  C{number} counts the changes, C{tries} the attempts that have ended; C{boxed} is L{Said}.
    """

    version: int
    node: NodeId
    slot: _Slot
    gateway: NodeId
    number: Annotated[int, Meta(ge=1, lt=DONE)]
    state: Annotated[int, Meta(ge=TRYING, le=ENDED)]
    tries: Annotated[int, Meta(ge=0, lt=1 << 20)]
    at: _Time
    due: _Time
    boxed: Annotated[bytes, Meta(max_length=BOX_LIMIT + 12 * 1024)]


class SignedProgress(Document, frozen=True):
    """
    A progress as the bytes that a gateway signed.
    """

    version: int
    body: Annotated[bytes, Meta(max_length=2 * BOX_LIMIT)]
    chain: _Chain
    signature: Annotated[bytes, Meta(max_length=256)]


class Said(Document, frozen=True):
    """
    What became of each recipient so far, for the gateways and the sender.  C{left} are those still to be tried;
    C{words} is what was last heard of one of them, from C{remote}, at C{tried}.  C{warned}: the sender has been told
    that it takes long.
    """

    version: int
    left: Annotated[tuple[_Address, ...], Meta(max_length=RECIPIENTS_LIMIT)]
    delivered: Annotated[tuple[_Address, ...], Meta(max_length=RECIPIENTS_LIMIT)] = ()
    failed: Annotated[tuple[_Address, ...], Meta(max_length=RECIPIENTS_LIMIT)] = ()
    words: Annotated[str, Meta(max_length=WORDS_LIMIT)] = ""
    remote: Annotated[str, Meta(max_length=253)] = ""
    tried: _Time = 0
    warned: bool = False


class Queued(Document, frozen=True):
    """
    What the ring keeps: packed L{Entry} (empty when it is done) and packed L{SignedProgress} (empty before the first).
    """

    version: int
    entry: Annotated[bytes, Meta(max_length=3 * BOX_LIMIT)]
    progress: Annotated[bytes, Meta(max_length=3 * BOX_LIMIT)]


def slot_of(master: bytes, content: bytes, sender: str, recipients: Sequence[str]) -> bytes:
    """
    The 16 bytes that name what a member sends: the same for the same message, sender and recipients.
    """
    named = [sender, *sorted(recipients)]
    return keyed(master, Purpose.OUTBOUND, content, *(each.encode() for each in named))[:16]


def secret_of(master: bytes, slot: bytes) -> bytes:
    """
    The epoch's secret of what a member sends.  It follows from the account's key, so that the sender can read how it
    goes on without keeping anything.
    """
    return keyed(master, Purpose.OUTBOUND_KEY, slot)


def outbound_handle(node: NodeId, slot: bytes) -> Handle:
    """
    Where an entry is.
    """
    return handle_of(Purpose.OUTBOUND, b"handle", node.packed(), slot)


def make_entry(
    outgoing: Outgoing,
    author: Signer,
    secret: bytes,
    gateways: Sequence[tuple[bytes, bytes]],
    node_id: NodeId,
    node: Signer,
    entropy: Entropy,
) -> bytes:
    """
    An entry, ready to be stored: for C{gateways} (id and public sealing key of each).

    @raise BadSignature: if one of these keys is none.
    """
    body = pack(outgoing)
    signed = pack(SignedMail(1, body, author.chain, author.key.sign(Purpose.SIGN_OUTGOING, body)))
    epoch = seal_epoch(secret, gateways, _context(node_id, outgoing.slot))
    boxed = box(secret, Purpose.OUTBOUND_KEY, signed, entropy)
    stamp = outgoing.accepted
    waybill = pack(Waybill(1, node_id, outgoing.slot, stamp, stamp + LIFE_S, epoch, boxed))
    return pack(Entry(1, waybill, node.chain, node.key.sign(Purpose.SIGN_OUTBOUND, waybill)))


def _context(node: NodeId, slot: bytes) -> bytes:
    return Purpose.OUTBOUND.value + b"\0" + node.packed() + slot


def check_entry(data: bytes, root: bytes, now: float) -> Waybill:
    """
    @raise PeerError: if C{data} is no entry, not signed by a certified node at its time, or from the future.
    """
    entry = unpack(Entry, data)
    waybill = unpack(Waybill, entry.body)
    if (entry.version, waybill.version) != (1, 1):
        raise PeerError("an entry of another version")
    if waybill.stamp > now + CLOCK_SKEW_S or not 0 < waybill.expires - waybill.stamp <= LIFE_S:
        raise PeerError("an entry from the future, or one that wants to live too long")
    # Judged by the time of acceptance: mail does not become invalid because its sender's certificate ran out since.
    node = verify_node(entry.chain, root, waybill.stamp)
    if node.node_id != waybill.node:
        raise PeerError("an entry in another node's name")
    verify(node.public_key, Purpose.SIGN_OUTBOUND, entry.body, entry.signature)
    return waybill


def waybill_in(entry: bytes) -> Waybill:
    """
    The waybill in C{entry}, which L{check_entry} has accepted before, or which we made.

    @raise PeerError: if it is no entry.
    """
    return unpack(Waybill, unpack(Entry, entry).body)


def open_secret(waybill: Waybill, key: SealingKey) -> bytes:
    """
    The secret of the epoch, for a gateway.

    @raise BadSignature: if it is not for the holder of C{key}.
    """
    return open_epoch(waybill.epoch, key, _context(waybill.node, waybill.slot))


def open_entry(waybill: Waybill, secret: bytes, root: bytes) -> tuple[Outgoing, IdentityCertificate]:
    """
    The mail in an entry, and the member who sends it.

    @raise PeerError: unless that member signed it, as themselves.
    """
    signed = unpack(SignedMail, unbox(secret, Purpose.OUTBOUND_KEY, waybill.boxed))
    outgoing = unpack(Outgoing, signed.body)
    if (signed.version, outgoing.version) != (1, 1):
        raise PeerError("mail of another version")
    if (outgoing.slot, outgoing.accepted) != (waybill.slot, waybill.stamp):
        raise PeerError("an entry that is not of its mail")
    author = verify_identity(signed.chain, root, waybill.stamp)
    verify(author.public_key, Purpose.SIGN_OUTGOING, signed.body, signed.signature)
    if author.address != outgoing.author:
        raise BadSignature("mail by somebody else than it says")
    return outgoing, author


def make_progress(progress: Progress, gateway: Signer) -> bytes:
    """
    C{progress}, signed by the gateway that it names.
    """
    body = pack(progress)
    return pack(SignedProgress(1, body, gateway.chain, gateway.key.sign(Purpose.SIGN_PROGRESS, body)))


def check_progress(data: bytes, root: bytes, now: float) -> Progress:
    """
    @raise PeerError: if C{data} is no progress, or not signed by a gateway.
    """
    signed = unpack(SignedProgress, data)
    progress = unpack(Progress, signed.body)
    if (signed.version, progress.version) != (1, 1):
        raise PeerError("a progress of another version")
    if progress.at > now + CLOCK_SKEW_S or progress.due > progress.at + LIFE_S:
        raise PeerError("a progress from the future, or one that never goes on")
    gateway: NodeCertificate = verify_node(signed.chain, root, progress.at)
    if gateway.node_id != progress.gateway or GATEWAY not in gateway.roles:
        raise PeerError("a progress by a node that is no gateway")
    verify(gateway.public_key, Purpose.SIGN_PROGRESS, signed.body, signed.signature)
    return progress


def progress_in(data: bytes) -> Progress | None:
    """
    The progress in what the ring keeps, which L{OutboundKind.check} has accepted before.

    @raise PeerError: if it is none.
    """
    progress = unpack(Queued, data).progress
    return unpack(Progress, unpack(SignedProgress, progress).body) if progress else None


def box_said(said: Said, secret: bytes, entropy: Entropy) -> bytes:
    """
    C{said}, for gateways and sender alone.
    """
    return box(secret, Purpose.OUTBOUND_KEY, pack(said), entropy)


def open_said(progress: Progress | None, secret: bytes, recipients: Sequence[str]) -> Said:
    """
    What became of each of C{recipients}; before the first attempt nothing.

    @raise PeerError: if it was boxed under another secret.
    """
    if progress is None:
        return Said(1, tuple(recipients))
    return unpack(Said, unbox(secret, Purpose.OUTBOUND_KEY, progress.boxed))


class OutboundKind:
    """
    What PAST needs to know of mail for outside.  (A C{BlockKind} of L{post.past.blocks}.)
    """

    kind = OUTBOUND

    def __init__(self, root: bytes, told: Callable[[Stored], None]) -> None:
        self._root = root
        self._told = told

    def check(self, handle: Handle, data: bytes, now: float) -> int:
        """
        @return: 0, the number of the progress, or L{DONE}.
        @raise PeerError: if C{data} is no mail for outside, or belongs under another handle.
        """
        queued = unpack(Queued, data)
        if queued.version != 1 or pack(queued) != data:
            raise PeerError("mail for outside in another form")
        places: list[Waybill | Progress] = []
        order = 0
        if queued.entry:
            places.append(check_entry(queued.entry, self._root, now))
        if queued.progress:
            progress = check_progress(queued.progress, self._root, now)
            places.append(progress)
            order = DONE if progress.state == ENDED else progress.number
        if not places or (order == DONE) == bool(queued.entry):
            raise PeerError("mail for outside that is neither waiting nor done")
        if any(outbound_handle(place.node, place.slot) != handle for place in places):
            raise PeerError("mail for outside under another handle")
        return order

    def supersedes(self, new: Stored, old: Stored) -> bool:
        """
        Progress only goes on; but not by a key that was revoked, to before the entry was there: whoever has stolen a
        gateway could otherwise end what has been accepted since then.
        """
        return new.order > old.order and not self._is_dated_back(new.data, old.data)

    def _is_dated_back(self, new: bytes, old: bytes) -> bool:
        if not isinstance(self._root, Trust):
            return False
        said, entry = unpack(Queued, new).progress, unpack(Queued, old).entry
        if not said or not entry:
            return False
        signed = unpack(SignedProgress, said)
        if self._root.taken(read_node(signed.chain[0]).public_key) is None:
            return False
        return unpack(Progress, signed.body).at < waybill_in(entry).stamp - CLOCK_SKEW_S

    def latest(self, data: bytes) -> int | None:
        """
        An entry says until when it may wait.  What is done is kept until no entry for which it is lives on.
        """
        queued = unpack(Queued, data)
        if queued.entry:
            return waybill_in(queued.entry).expires
        progress = progress_in(data)
        assert progress is not None
        return progress.at + CLOCK_SKEW_S + LIFE_S

    def stored(self, item: Stored) -> None:
        """
        It is durable here: we see that a gateway knows of it, or need no longer.
        """
        self._told(item)
