"""
The key of a group (gateways today; lists and shared folders later): a secret of one epoch, sealed to each member.

There is no secret that members have for good.  Whoever has something for a group makes a new epoch: a fresh secret, and
one sealed copy for each of those who are members now.  Who has left is in no later epoch, so nothing need be rolled,
and who has joined since is told by whoever owns the epoch, or not at all.  What authorises an epoch is the signature on
the document in which it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from post.crypto.sealing import SealingKey, seal
from post.errors import BadSignature
from post.hashes import Purpose
from post.wire import Document

MEMBERS_LIMIT = 16
"""Members of one epoch; each takes 1,180 bytes, and an organisation has two or three gateways."""
SECRET_BYTES = 32


class SealedSecret(Document, frozen=True):
    """
    The secret for the member whose sealing key has C{key_id}.
    """

    key_id: Annotated[bytes, Meta(max_length=32)]
    sealed: Annotated[bytes, Meta(max_length=1280)]


class Epoch(Document, frozen=True):
    """
    The secret of one epoch, for each member.
    """

    version: int
    secrets: Annotated[tuple[SealedSecret, ...], Meta(max_length=MEMBERS_LIMIT)]


def seal_epoch(secret: bytes, members: Sequence[tuple[bytes, bytes]], context: bytes) -> Epoch:
    """
    C{secret} (32 bytes) for each of C{members}: (id, public sealing key).  C{context} says for what, and has to be the
    same when opening.

    @raise BadSignature: if one of the keys is none.
    @raise ValueError: if there are no members, or too many.
    """
    if not 0 < len(members) <= MEMBERS_LIMIT or len(secret) != SECRET_BYTES:
        raise ValueError("a secret of 32 bytes for one member at least, and not too many")
    info = _info(context)
    return Epoch(1, tuple(SealedSecret(key_id, seal(public, info, secret)) for key_id, public in members))


def open_epoch(epoch: Epoch, key: SealingKey, context: bytes) -> bytes:
    """
    The secret, for a member.

    @raise BadSignature: if the holder of C{key} is none.
    """
    for each in epoch.secrets:
        if each.key_id == key.key_id:
            secret = key.open(_info(context), each.sealed)
            if len(secret) != SECRET_BYTES:
                raise BadSignature("a secret of another length")
            return secret
    raise BadSignature("an epoch for others")


def _info(context: bytes) -> bytes:
    return Purpose.SEAL_GROUP_KEY.value + b"\0" + context
