"""
The notification (POST, section 3.3): what tells a recipient of a message and hands over its key.

Three layers, inside out::

    Notification    recipient, time, id, the application's payload
    Signed          the same as bytes, with the sender's signature and certificates    -- sealed to the recipient
                    (version 2: with those of a gateway's node, for who wrote from outside has none)
    Envelope        what delegates see: recipient, expiry, the sealed bytes, signed by the sending *node*

A delegate learns who receives, which node sent, when and how much; the sender's name, and everything else, is sealed.

The id is a MAC under the sender's key over the message's bytes and the recipient: sending again after a crash or a lost
reply is the same notification, and the recipient files it once.

Where an envelope waits follows from its recipient, its sending node and its I{slot}, a hash of the id and the time, and
from nothing that the sealing draws by chance: a run of the simulator puts it on the same nodes again.  The recipient
signs the slot in the receipt, and takes nothing for a slot that is not its notification's own, so a delegate who knows
the slot of somebody else's cannot have something of theirs receipted under it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from post.crypto.certificates import IdentityCertificate, NodeCertificate, verify_identity, verify_node
from post.crypto.keys import SigningKey, verify
from post.crypto.sealing import SealingKey, seal
from post.errors import BadSignature, PeerError
from post.hashes import Purpose, handle_of, tagged
from post.ids import AccountId, Handle, NodeId
from post.wire import Document, pack, unpack

PAYLOAD_LIMIT = 16 * 1024
"""Octets of what the application says; a mail's notice takes under one KiB."""
ENVELOPE_LIMIT = 32 * 1024
CHAIN_LIMIT = 4
GATEWAY = "gateway"
"""The role by which a node may bring in what comes from outside (POST, section 5)."""
BY_SENDER, BY_GATEWAY = 1, 2
"""The versions of L{Signed}: whose signature it is."""
CLOCK_SKEW_S = 3600
"""How far ahead of ours another clock may be."""

Id32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Slot = Annotated[bytes, Meta(min_length=16, max_length=16)]
Chain = Annotated[tuple[Annotated[bytes, Meta(max_length=4096)], ...], Meta(max_length=CHAIN_LIMIT)]


class Notification(Document, frozen=True):
    """
    What the sender says to one recipient.  C{application} names who interprets C{payload} ("mail").  C{sent} is in unix
    seconds.
    """

    version: int
    id: Id32
    recipient: AccountId
    sent: int
    application: Annotated[str, Meta(max_length=32)]
    payload: Annotated[bytes, Meta(max_length=PAYLOAD_LIMIT)]


class Signed(Document, frozen=True):
    """
    A notification as its signed bytes; C{version} says who signed, L{BY_SENDER} or L{BY_GATEWAY}.
    """

    version: int
    body: Annotated[bytes, Meta(max_length=PAYLOAD_LIMIT + 1024)]
    chain: Chain
    signature: Annotated[bytes, Meta(max_length=256)]


class Letter(Document, frozen=True):
    """
    What the envelope's signature covers.  C{node} is whose signature that is.
    """

    version: int
    recipient: AccountId
    node: NodeId
    slot: Slot
    key_id: Annotated[bytes, Meta(max_length=32)]
    stamp: int
    expires: int
    sealed: Annotated[bytes, Meta(max_length=ENVELOPE_LIMIT - 6144)]


class Envelope(Document, frozen=True):
    """
    A letter as the bytes its sending node signed.
    """

    version: int
    letter: Annotated[bytes, Meta(max_length=ENVELOPE_LIMIT - 5120)]
    chain: Chain
    signature: Annotated[bytes, Meta(max_length=256)]


class Delivered(Document, frozen=True):
    """
    The recipient's receipt: what was in the envelope with this hash is filed where it survives.
    """

    version: int
    envelope: Id32
    recipient: AccountId
    node: NodeId
    slot: Slot
    at: int


class Receipt(Document, frozen=True):
    """
    A L{Delivered} as the bytes the recipient signed.
    """

    version: int
    body: Annotated[bytes, Meta(max_length=256)]
    chain: Chain
    signature: Annotated[bytes, Meta(max_length=256)]


def envelope_hash(envelope: bytes) -> bytes:
    """
    The 32 bytes by which receipts name an envelope.
    """
    return tagged(Purpose.PENDING, envelope)


def slot_of(notification: Notification) -> bytes:
    """
    The 16 bytes that say, with the recipient and the sending node, where a notification waits.
    """
    return tagged(Purpose.PENDING, b"slot", notification.id, str(notification.sent).encode())[:16]


def pending_handle(place: Letter | Delivered) -> Handle:
    """
    Where an envelope waits, and where its receipt replaces it.

    The recipient is in it, so that a receipt which somebody else signs for the same envelope belongs elsewhere: it can
    neither end the wait nor take the envelope's place before it comes.  The sending node is in it, so that nobody else
    can sign an envelope that would take its place.
    """
    return handle_of(Purpose.PENDING, b"handle", place.recipient.packed(), place.node.packed(), place.slot)


def enclose(
    notification: Notification,
    sender: SigningKey,
    sender_chain: Sequence[bytes],
    sealing_key: bytes,
    key_id: bytes,
    node: SigningKey,
    node_id: NodeId,
    node_chain: Sequence[bytes],
    expires: int,
) -> bytes:
    """
    The envelope of a notification, ready to be sent by the node C{node_id}, whose key C{node} is.  A node that is
    itself the sender brings in what comes from outside, as a gateway.
    """
    body = pack(notification)
    version, purpose = BY_SENDER, Purpose.SIGN_NOTIFICATION
    if tuple(sender_chain) == tuple(node_chain):
        version, purpose = BY_GATEWAY, Purpose.SIGN_INBOUND
    signed = pack(Signed(version, body, tuple(sender_chain), sender.sign(purpose, body)))
    sealed = seal(sealing_key, _context(notification.recipient), signed)
    slot = slot_of(notification)
    letter = pack(Letter(1, notification.recipient, node_id, slot, key_id, notification.sent, expires, sealed))
    return pack(Envelope(1, letter, tuple(node_chain), node.sign(Purpose.SIGN_ENVELOPE, letter)))


def _context(recipient: AccountId) -> bytes:
    return Purpose.SEAL_NOTIFICATION.value + b"\0" + recipient.packed()


def check_envelope(data: bytes, root: bytes, now: float) -> tuple[Letter, NodeCertificate]:
    """
    The letter in an envelope, and the node that sent it.

    @raise PeerError: if it is no envelope, not signed by a certified node at its time, or from the future.
    """
    if len(data) > ENVELOPE_LIMIT:
        raise PeerError(f"an envelope of {len(data)} bytes")
    envelope = unpack(Envelope, data)
    letter = unpack(Letter, envelope.letter)
    if (envelope.version, letter.version) != (1, 1):
        raise PeerError("an envelope of another version")
    if letter.stamp > now + CLOCK_SKEW_S:
        raise PeerError("an envelope from the future")
    # Judged by the time of acceptance: mail does not become invalid because its sender's certificate ran out since.
    node = verify_node(envelope.chain, root, letter.stamp)
    if node.node_id != letter.node:
        raise PeerError("an envelope in another node's name")
    verify(node.public_key, Purpose.SIGN_ENVELOPE, envelope.letter, envelope.signature)
    return letter, node


def letter_in(envelope: bytes) -> Letter:
    """
    The letter in C{envelope}, which L{check_envelope} has accepted before, or which we made.

    @raise PeerError: if it is no envelope.
    """
    return unpack(Letter, unpack(Envelope, envelope).letter)


def disclose(letter: Letter, keys: Sequence[SealingKey]) -> Signed:
    """
    What is sealed in a letter to us, still to be verified by L{authenticate}.

    @raise BadSignature: if none of C{keys} opens it.
    """
    for key in keys:
        if key.key_id == letter.key_id:
            return unpack(Signed, key.open(_context(letter.recipient), letter.sealed))
    raise BadSignature("sealed to a key that is not here")


def authenticate(
    signed: Signed, letter: Letter, root: bytes
) -> tuple[Notification, IdentityCertificate | NodeCertificate]:
    """
    The notification, and who really sent it; or, of one that came from outside, which gateway took it.

    @raise PeerError: if the signature, the sender's certificates, or the recipient is wrong.
    """
    notification = unpack(Notification, signed.body)
    if signed.version not in (BY_SENDER, BY_GATEWAY) or notification.version != 1:
        raise PeerError("a notification of another version")
    if (notification.recipient, notification.sent, slot_of(notification)) != (
        letter.recipient,
        letter.stamp,
        letter.slot,
    ):
        raise PeerError("an envelope that is not of its notification")
    if signed.version == BY_GATEWAY:
        gateway = verify_node(signed.chain, root, letter.stamp)
        if GATEWAY not in gateway.roles or gateway.node_id != letter.node:
            raise PeerError("from outside, through a node that is no gateway")
        verify(gateway.public_key, Purpose.SIGN_INBOUND, signed.body, signed.signature)
        return notification, gateway
    sender = verify_identity(signed.chain, root, letter.stamp)
    verify(sender.public_key, Purpose.SIGN_NOTIFICATION, signed.body, signed.signature)
    return notification, sender


def acknowledge(envelope_hash: bytes, letter: Letter, at: int, key: SigningKey, chain: Sequence[bytes]) -> bytes:
    """
    The receipt for an envelope and the letter in it.
    """
    body = pack(Delivered(1, envelope_hash, letter.recipient, letter.node, letter.slot, at))
    return pack(Receipt(1, body, tuple(chain), key.sign(Purpose.SIGN_DELIVERY, body)))


def receipt_names(receipt: bytes) -> bytes:
    """
    The hash of the envelope that C{receipt} is for, which L{check_receipt} has accepted before.

    @raise PeerError: if it is none.
    """
    return unpack(Delivered, unpack(Receipt, receipt).body).envelope


def receipt_time(receipt: bytes) -> int:
    """
    When C{receipt}, which L{check_receipt} has accepted before, was made.

    @raise PeerError: if it is none.
    """
    return unpack(Delivered, unpack(Receipt, receipt).body).at


def is_timely(at: int, letter: Letter) -> bool:
    """
    Whether a receipt made C{at} can be for C{letter}: nobody takes an envelope from the future (L{check_envelope}).

    Certificates are judged by the time that a receipt names.  Whoever has a key that was revoked could date receipts
    back, and so end the wait of what was sent since to the one who has a new key.
    """
    return at >= letter.stamp - CLOCK_SKEW_S


def check_receipt(data: bytes, root: bytes, now: float) -> Delivered:
    """
    What a receipt says.  Any account can sign one for any envelope: who relies on it compares the recipient too.

    @raise PeerError: if it is none, or not signed by the account that it names.
    """
    receipt = unpack(Receipt, data)
    delivered = unpack(Delivered, receipt.body)
    if (receipt.version, delivered.version) != (1, 1):
        raise PeerError("a receipt of another version")
    if delivered.at > now + CLOCK_SKEW_S:
        raise PeerError("a receipt from the future")
    signer = verify_identity(receipt.chain, root, delivered.at)
    if signer.account != delivered.recipient:
        raise PeerError("a receipt by somebody else")
    verify(signer.public_key, Purpose.SIGN_DELIVERY, receipt.body, receipt.signature)
    return delivered
