"""
The records of a mailbox log (POST, section 4.4): what may happen to messages and folders.

One log holds a whole mailbox: a folder is a view of it, so moving a message is one record (dev: the paper has a log per
folder).  Operations name entries by 128-bit keys and are idempotent: the same one applied twice, or by two devices,
changes nothing the second time.  UIDs in a record are proposals of the device that wrote it; L{post.mail.folder} takes
them unless they are taken.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from post.errors import PeerError
from post.ids import AccountId, Handle
from post.wire import Document, pack, unpack

KEYS_LIMIT = 2000
"""Entries in one operation; more take several records (16 octets each, and a record has at most 60 KiB)."""

PASSAGES_LIMIT = 100
"""Recipients in one operation, of up to 400 octets each."""

EntryKey = Annotated[bytes, Meta(min_length=16, max_length=16)]
EntryKeys = Annotated[tuple[EntryKey, ...], Meta(max_length=KEYS_LIMIT)]
FolderId = Annotated[int, Meta(ge=0, lt=1 << 32)]
Uid = Annotated[int, Meta(ge=0, lt=1 << 32)]
Name = Annotated[str, Meta(max_length=1000)]
Flags = Annotated[tuple[Annotated[str, Meta(max_length=200)], ...], Meta(max_length=200)]


class Operation(msgspec.Struct, frozen=True, array_like=True, tag_field="kind", forbid_unknown_fields=True):
    """
    One change.
    """


class FolderCreated(Operation, frozen=True, tag=1):
    """
    C{folder} is a new id; C{uid_validity} never recurs for the same name.
    """

    folder: FolderId
    name: Name
    special_use: Annotated[str, Meta(max_length=40)]
    uid_validity: Uid
    subscribed: bool


class FolderRenamed(Operation, frozen=True, tag=2):
    """
    C{folder} is called C{name} now, and the folders in it by names that begin so.
    """

    folder: FolderId
    name: Name


class FolderDeleted(Operation, frozen=True, tag=3):
    """
    C{folder} is gone, and with it its entries.
    """

    folder: FolderId


class FolderSubscribed(Operation, frozen=True, tag=4):
    """
    LSUB shows C{folder}, or not.
    """

    folder: FolderId
    subscribed: bool


class UidsSkipped(Operation, frozen=True, tag=5):
    """
    The next UID of C{folder} is at least C{uid_next}: smaller ones may have been shown by a machine that is lost.
    """

    folder: FolderId
    uid_next: Uid


class Proof(Document, frozen=True):
    """
    Who sent it, so that it can be shown again years later (POST, section 4.4): the signed notification and its
    signature; the sender's certificates are in the record L{CertificateSeen} with hash C{certificate}.
    """

    version: int
    body: bytes
    signature: bytes
    certificate: bytes


class Inserted(Operation, frozen=True, tag=6):
    """
    A message came into C{folder} as C{key}.

    C{date} is in milliseconds since 1970, C{size} in octets with C{prefix}, the lines we put before it.  C{message} is
    the packed L{post.crypto.convergent.Reference} of its skeleton.  C{fingerprint} is known for what we filed in Sent,
    so that the mail program's own copy is recognised.
    """

    key: EntryKey
    folder: FolderId
    uid: Uid
    date: int
    size: int
    message: Annotated[bytes, Meta(max_length=512)]
    flags: Flags
    prefix: Annotated[bytes, Meta(max_length=8192)] = b""
    fingerprint: Annotated[bytes, Meta(max_length=32)] = b""
    proof: Proof | None = None
    omitted: Annotated[tuple[tuple[int, int], ...], Meta(max_length=100)] = ()
    """Octets of the message's header that are not shown: results that the sender made up.  Not counted in C{size}."""


class Copied(Operation, frozen=True, tag=7):
    """
    The entries C{sources} are also in C{folder}, as C{keys}, with UIDs from C{uid} on, in this order.
    """

    folder: FolderId
    uid: Uid
    sources: EntryKeys
    keys: EntryKeys


class Moved(Operation, frozen=True, tag=8):
    """
    The entries C{keys} are in C{folder} now, with UIDs from C{uid} on, in this order.
    """

    folder: FolderId
    uid: Uid
    keys: EntryKeys


class Flagged(Operation, frozen=True, tag=9):
    """
    Flags that the entries C{keys} got and lost.
    """

    keys: EntryKeys
    added: Flags
    removed: Flags


class Expunged(Operation, frozen=True, tag=10):
    """
    The entries C{keys} are gone for good.
    """

    keys: EntryKeys


class CertificateSeen(Operation, frozen=True, tag=11):
    """
    The certificates of a correspondent, once for all their messages.
    """

    hash: Annotated[bytes, Meta(max_length=32)]
    chain: Annotated[tuple[Annotated[bytes, Meta(max_length=4096)], ...], Meta(max_length=4)]


class Standing(IntEnum):
    """
    Where a message stands for one recipient.
    """

    WAITING = 1
    """Its notification is on other nodes, which offer it to the recipient."""
    DELIVERED = 2
    """The recipient has given a receipt."""
    EXPIRED = 3
    """It was not fetched in time."""
    UNKNOWN = 4
    """Its time is over, and nobody in the ring knows any more whether it was fetched."""
    REFUSED = 5
    """It was turned away for good."""
    HANDED_ON = 6
    """It has left the organisation, and nothing more is known."""


class Passage(Document, frozen=True):
    """
    A sent message's way to C{address}.  C{at} is since when it stands there, C{expires} how long it may wait, in unix
    seconds; C{copies} how many nodes keep its notification, which is in the ring under C{handle}, if it is.
    """

    address: Annotated[str, Meta(max_length=320)]
    standing: Standing
    at: int
    expires: int
    copies: int
    handle: Handle | None = None


Passages = Annotated[tuple[Passage, ...], Meta(max_length=PASSAGES_LIMIT)]
Addresses = Annotated[tuple[Annotated[str, Meta(max_length=320)], ...], Meta(max_length=PASSAGES_LIMIT)]


class Dispatched(Operation, frozen=True, tag=12):
    """
    A message of ours was accepted at C{at} (unix seconds): where it stands for these of its recipients.  C{key} is that
    of its entry in Sent, C{message} and C{size} as there; C{sender} is the return path, empty if nobody is to be told;
    C{copies} is on how many nodes each of its blocks was at least.  Where nobody is waited for, return path and message
    are left empty: that is nearly every mail, and the record is half as long without.
    """

    key: EntryKey
    at: int
    sender: Annotated[str, Meta(max_length=320)]
    message: Annotated[bytes, Meta(max_length=512)]
    size: int
    copies: int
    passages: Passages


class Settled(Operation, frozen=True, tag=13):
    """
    The message that was filed in Sent as C{key} waits no longer for C{addresses}, since C{at} (unix seconds).
    """

    key: EntryKey
    addresses: Addresses
    standing: Standing
    at: int


class SenderWarned(Operation, frozen=True, tag=14):
    """
    Its sender has been told that the message filed in Sent as C{key} takes long.
    """

    key: EntryKey


# What a person wishes: see L{post.mail.preferences}.

TEXTS_LIMIT = 100
"""Addresses or patterns in one operation, of up to 320 characters each."""

Address = Annotated[str, Meta(max_length=320)]
Texts = Annotated[tuple[Address, ...], Meta(max_length=TEXTS_LIMIT)]


class RulesSet(Operation, frozen=True, tag=20):
    """
    These are all rules now, as lines (L{post.mail.rules}), in this order.
    """

    rules: Annotated[tuple[Annotated[str, Meta(max_length=1000)], ...], Meta(max_length=200)]


class Blocked(Operation, frozen=True, tag=21):
    """
    Patterns (L{post.mail.patterns}) that are on the block list now, and no longer.
    """

    added: Texts
    removed: Texts


class BlockListFollowed(Operation, frozen=True, tag=22):
    """
    The block list that C{address} publishes counts here too, or no longer.
    """

    address: Address
    followed: bool


class BlockListShared(Operation, frozen=True, tag=23):
    """
    Our block list is in the ring under the packed L{post.crypto.convergent.Reference}; nowhere, if that is empty.
    """

    reference: Annotated[bytes, Meta(max_length=512)]


class Ignored(Operation, frozen=True, tag=24):
    """
    What would have come as C{key} was ignored at C{date} (milliseconds): who sent it, and why.
    """

    key: EntryKey
    date: int
    sender: Address
    reason: Annotated[str, Meta(max_length=1100)]


class Acquainted(Operation, frozen=True, tag=25):
    """
    C{account} is no stranger: we have written to them (C{wrote}), or accepted what they wrote.
    """

    account: AccountId
    wrote: bool


class PuzzleSet(Operation, frozen=True, tag=26):
    """
    Strangers have to solve a puzzle of C{bits}; what was sent before C{at} (unix seconds) may have been made when only
    C{before} were demanded.
    """

    bits: Annotated[int, Meta(ge=0, le=64)]
    before: Annotated[int, Meta(ge=0, le=64)]
    at: int


class MailingListSet(Operation, frozen=True, tag=27):
    """
    We maintain the mailing list C{address}: its members now, and who may write to it (L{post.mail.lists.Posting}).  It
    is in the ring under the packed L{post.crypto.convergent.Reference}.
    """

    address: Address
    posting: Annotated[str, Meta(max_length=20)]
    members: Annotated[tuple[Address, ...], Meta(max_length=500)]
    reference: Annotated[bytes, Meta(max_length=512)]


class MailingListDeleted(Operation, frozen=True, tag=28):
    """
    There is no mailing list C{address} any more.
    """

    address: Address


Preference = (
    RulesSet
    | Blocked
    | BlockListFollowed
    | BlockListShared
    | Ignored
    | Acquainted
    | PuzzleSet
    | MailingListSet
    | MailingListDeleted
)

AnyOperation = (
    FolderCreated
    | FolderRenamed
    | FolderDeleted
    | FolderSubscribed
    | UidsSkipped
    | Inserted
    | Copied
    | Moved
    | Flagged
    | Expunged
    | CertificateSeen
    | Dispatched
    | Settled
    | SenderWarned
    | Preference
)


class Record(Document, frozen=True):
    """
    What one append adds to the log: operations that take effect together, and their Lamport time.

    C{parents} names heads of other devices' logs that the writer had seen; empty as long as an account has one device.
    """

    version: int
    time: int
    operations: tuple[AnyOperation, ...]
    parents: tuple[bytes, ...] = ()


def write_record(record: Record) -> bytes:
    """
    Its bytes in the log.
    """
    return pack(record)


def read_record(data: bytes) -> Record:
    """
    The record in C{data}.

    @raise PeerError: if it is none, or has an operation that this version does not know: skipping it would give another
        mailbox than the one that was written.
    """
    record = unpack(Record, data)
    if record.version != 1:
        raise PeerError(f"a record of version {record.version}")
    return record
