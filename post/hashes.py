"""
Every purpose for which something is hashed, signed or derived, in one place, and the tagged hashes themselves.

Two purposes never share a tag, so that a hash or signature made for one can never serve as another.  A tag is part
of the format: changing one makes everything stored under it unreadable.
"""

from __future__ import annotations

import hmac
from enum import Enum
from hashlib import sha256

from post.ids import SIZE_BYTES, Handle, Id


class Purpose(bytes, Enum):
    """
    What a hash, signature or derived key is for.
    """

    # Handles of stored objects.
    CONTENT_BLOCK = b"post:content-block:1"
    PUBLIC_KEY_BLOCK = b"post:public-key-block:1"
    ACCOUNT_BLOCK = b"post:account-block:1"
    CERTIFICATE_BLOCK = b"post:certificate-block:1"
    PENDING = b"post:pending-notification:1"
    OUTBOUND = b"post:outbound:1"
    GATEWAY_KEY = b"post:gateway-key:1"
    # Hashes that name or commit.
    CIPHERTEXT = b"post:ciphertext:1"
    COMMITMENT = b"post:commitment:1"
    BLOCK_VERSION = b"post:block-version:1"
    RECEIPT_LEAF = b"post:receipt-leaf:1"
    RECEIPT_NODE = b"post:receipt-node:1"
    SNAPSHOT_CHUNK = b"post:snapshot-chunk:1"
    MESSAGE_BODY = b"post:message-body:1"
    GROUP = b"post:scribe-group:1"
    LEAF_DIGEST = b"post:leaf-digest:1"
    ROSTER_MARK = b"post:roster-mark:1"
    JOIN_CHECK = b"post:join-check:1"
    JOIN_NAME = b"post:join-name:1"
    JOIN_KEYS = b"post:join-keys:1"
    RECOVERY_CHECK = b"post:recovery-check:1"
    DOOR = b"post:door:1"
    IMPORTED = b"post:imported:1"
    ISSUANCE_LINK = b"post:issuance-link:1"
    ISSUANCE_KEY = b"post:issuance-key:1"
    ISSUANCE_CERTIFICATE = b"post:issuance-certificate:1"
    RECIPIENT_TAG = b"post:recipient-tag:1"
    PUZZLE = b"post:puzzle:1"
    RELAY_GREETING = b"post:relay-greeting:1"
    # Signatures.
    SIGN_BLOCK = b"post:sign-block:1"
    SIGN_RECEIPTS = b"post:sign-receipts:1"
    SIGN_POLICY = b"post:sign-policy:1"
    SIGN_DIRECTORY = b"post:sign-directory:1"
    SIGN_REVOCATIONS = b"post:sign-revocations:1"
    SIGN_ISSUANCE = b"post:sign-issuance:1"
    SIGN_NOTIFICATION = b"post:sign-notification:1"
    SIGN_INBOUND = b"post:sign-inbound:1"
    SIGN_ENVELOPE = b"post:sign-envelope:1"
    SIGN_DELIVERY = b"post:sign-delivery-receipt:1"
    SIGN_QUESTION = b"post:sign-question:1"
    SIGN_PUBLICATION = b"post:sign-publication:1"
    SIGN_RECOVERY = b"post:sign-recovery:1"
    SIGN_OUTGOING = b"post:sign-outgoing:1"
    SIGN_OUTBOUND = b"post:sign-outbound:1"
    SIGN_PROGRESS = b"post:sign-progress:1"
    SIGN_GATEWAY_KEY = b"post:sign-gateway-key:1"
    SIGN_RELAYED = b"post:sign-relayed:1"
    SIGN_LEAVES = b"post:sign-leaves:1"
    # Derived keys and identifiers, and proofs of knowing a secret.
    JOIN_KEY = b"post:join-key:1"
    JOIN_QUESTION = b"post:join-question:1"
    JOIN_ANSWER = b"post:join-answer:1"
    CONVERGENT_KEY = b"post:convergent-key:1"
    RANDOM_KEY = b"post:random-key:1"
    NODE_ID = b"post:node-id:1"
    NOTIFICATION_ID = b"post:notification-id:1"
    LOG_SIGNING = b"post:log-signing-key:1"
    LOG_SEALING = b"post:log-sealing-key:1"
    ACCOUNT_MASTER = b"post:account-master:1"
    SEALING_KEY_ID = b"post:sealing-key-id:1"
    SEAL_NOTIFICATION = b"post:seal-notification:1"
    KEY_FILE = b"post:key-file:1"
    RECOVERY_COPY_KEY = b"post:recovery-copy-key:1"
    RECOVERY_CLAIM_KEY = b"post:recovery-claim-key:1"
    RECOVERY_SEALING = b"post:recovery-sealing-key:1"
    SEAL_GROUP_KEY = b"post:seal-group-key:1"
    OUTBOUND_KEY = b"post:outbound-key:1"
    GATEWAY_SEALING = b"post:gateway-sealing-key:1"
    RELAY_KEY = b"post:relay-key:1"


def tagged(purpose: Purpose, *parts: bytes | memoryview) -> bytes:
    """
    The SHA-256 of C{parts} for one purpose: 32 bytes.

    Every part but the last is preceded by its length, so that no two lists of parts hash alike.
    """
    digest = sha256(purpose.value + b"\0")
    for part in parts[:-1]:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    digest.update(parts[-1])
    return digest.digest()


def keyed(key: bytes, purpose: Purpose, *parts: bytes) -> bytes:
    """
    HMAC-SHA256 under C{key}, tagged and framed as L{tagged}: 32 bytes.
    """
    framed = [purpose.value, b"\0"]
    for part in parts[:-1]:
        framed += [len(part).to_bytes(8, "big"), part]
    framed.append(parts[-1])
    return hmac.digest(key, b"".join(framed), "sha256")


def handle_of(purpose: Purpose, *parts: bytes) -> Handle:
    """
    The first 160 bits of a tagged hash: where PAST keeps it.
    """
    return Handle(Id.from_bytes(tagged(purpose, *parts)[:SIZE_BYTES]))
