"""
Pure: the sealed copy of an account (POST, section 3.1 leaves open what becomes of an account whose machine is lost).

In the ring it is a public-key block with number 1 under the copy key of a recovery code (L{post.crypto.recovery}); its
payload is an L{AccountCopy} boxed under the code's sealing key.  It is written once and never changed: what changes
later is in the mailbox log, which its keys open, and a new code is a new copy under another key.

On the machine a L{Deposit} remains, with which nobody can open the copy or replace it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from post.crypto.recovery import SHARE_BYTES, RecoveryKeys
from post.crypto.sealing import box, unbox
from post.errors import PeerError
from post.hashes import Purpose, handle_of
from post.ids import AccountId, Handle
from post.interfaces import Entropy
from post.past.blocks import read_signed_block, sign_block
from post.wire import Document, pack, unpack

VERSION = 1
PAST_LIMIT = 8
"""Logs before the present one whose keys are carried along, the newest and the first.  Of the newest one is needed
until the present log has its first head, more if machines are lost within minutes; of the first one, names follow from
it."""
SEALING_LIMIT = 16
"""Sealing keys of before that are carried along, the newest: each opens what was sealed before a machine was lost, and
nothing waits for longer than the policy's life of notifications."""

Secret = Annotated[bytes, Meta(min_length=32, max_length=32)]
Number = Annotated[int, Meta(ge=0, lt=1 << 62)]


class PastKeys(Document, frozen=True):
    """
    From which the keys of a log follow.
    """

    master: Secret
    epoch: Number


class SealingSecret(Document, frozen=True):
    """
    A sealing key, 96 bytes, and until when others may seal to it.
    """

    secret: Annotated[bytes, Meta(min_length=96, max_length=96)]
    expires: Number


class AccountCopy(Document, frozen=True):
    """
    All that cannot be had anew when a machine is lost.
    """

    version: int
    address: Annotated[str, Meta(max_length=320)]
    account: AccountId
    master: Secret
    epoch: Number
    past: Annotated[tuple[PastKeys, ...], Meta(max_length=PAST_LIMIT)]
    sealing: Annotated[tuple[SealingSecret, ...], Meta(max_length=SEALING_LIMIT)]


class Deposit(Document, frozen=True):
    """
    What a machine has of its account's recovery code.

    @ivar block: the sealed copy, as it lies in the ring.
    @ivar claim: the public half of the claim key.
    @ivar share: what the authority is to keep; empty as soon as it does.
    """

    version: int
    block: Annotated[bytes, Meta(max_length=8 * 1024)]
    claim: Annotated[bytes, Meta(max_length=64)]
    share: Annotated[bytes, Meta(max_length=SHARE_BYTES)]

    @property
    def entrusted(self) -> bool:
        """
        Whether the authority knows the code's claim key, and has its share.
        """
        return not self.share

    @property
    def handle(self) -> Handle:
        """
        Where the copy is.
        """
        return handle_of(Purpose.PUBLIC_KEY_BLOCK, read_signed_block(self.block).owner)


def make_deposit(copy: AccountCopy, keys: RecoveryKeys, entropy: Entropy) -> Deposit:
    """
    C{copy}, sealed for who has the code of C{keys}.
    """
    share = entropy(SHARE_BYTES)
    payload = box(keys.sealing(share), Purpose.RECOVERY_SEALING, pack(copy), entropy)
    return Deposit(VERSION, sign_block(keys.copy, 1, 0, b"\0" * 32, payload), keys.claim.public, share)


def open_copy(block: bytes, keys: RecoveryKeys, share: bytes) -> AccountCopy:
    """
    What is in a sealed copy, which PAST has verified to be under its key.

    @raise PeerError: if nothing that C{keys} and C{share} open.
    """
    copy = unpack(AccountCopy, unbox(keys.sealing(share), Purpose.RECOVERY_SEALING, read_signed_block(block).payload))
    if copy.version != VERSION:
        raise PeerError(f"a sealed copy of version {copy.version}")
    return copy
