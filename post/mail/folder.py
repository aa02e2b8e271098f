"""
The state of a mailbox: a fold of its log's records (POST, section 4.4).  Pure.

Replaying the same records gives the same state, UIDs included; applying an operation twice changes nothing the second
time.  MODSEQ is the local sequence number of applied changes, and is not part of what is shared.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated

import msgspec
from msgspec import Meta

from post.errors import PeerError
from post.mail.interfaces import SEPARATOR, Entry
from post.mail.journeys import Journeys
from post.mail.preferences import Preferences
from post.mail.records import (
    AnyOperation,
    CertificateSeen,
    Copied,
    Dispatched,
    Expunged,
    Flagged,
    FolderCreated,
    FolderDeleted,
    FolderRenamed,
    FolderSubscribed,
    Ignored,
    Inserted,
    Moved,
    Proof,
    SenderWarned,
    Settled,
    UidsSkipped,
)
from post.wire import Document, pack, unpack

CHUNK_ENTRIES = 256
"""Entries in one chunk of a snapshot: about 100 KiB.  Entries keep their chunk for life, so a snapshot rewrites only
the chunks in which something changed."""
CHUNK_LIMIT = 200 * 1024
CERTIFICATES_IN_CHUNK = 32
"""Chains of up to 4 KiB; in the order in which they were first seen, so that full chunks stay as they are."""
SEEN_IN_CHUNK = 4000
SEEN_PERIOD_S = 30 * 86400
"""Keys of expunged messages are grouped by the month in which these came, so that old months stay as they are."""


class MailEntry(msgspec.Struct):
    """
    One message in one folder.
    """

    key: bytes
    ordinal: int
    """When it came, among all entries ever: decides its chunk."""
    folder: int
    uid: int
    date: int
    size: int
    message: bytes
    flags: frozenset[str]
    prefix: bytes
    fingerprint: bytes
    proof: Proof | None
    omitted: tuple[tuple[int, int], ...] = ()
    modseq: int = 0
    shown: Entry | None = None
    """What mail programs were last shown of it: made anew only after a change, since they look at whole folders."""


class MailFolder(msgspec.Struct):
    """
    A folder: its name and numbers, and its entries by UID.
    """

    id: int
    name: str
    special_use: str
    uid_validity: int
    uid_next: int
    subscribed: bool
    uids: list[int] = msgspec.field(default_factory=list)
    by_uid: dict[int, MailEntry] = msgspec.field(default_factory=dict)
    size: int = 0
    unseen: int = 0
    modseq: int = 0

    def entries(self) -> Iterator[MailEntry]:
        """
        By rising UID.
        """
        return (self.by_uid[uid] for uid in self.uids)


class _FolderState(Document, frozen=True):
    id: int
    name: str
    special_use: str
    uid_validity: int
    uid_next: int
    subscribed: bool


class _Base(Document, frozen=True):
    """
    The first chunk of a snapshot: the counters, and how many of the chunks that follow are of folders, certificates,
    keys seen, journeys and preferences; the rest are of entries.
    """

    version: int
    time: int
    ordinal: int
    uid_validity: int
    folders: int
    certificates: int
    seen: int
    journeys: int = 0
    preferences: int = 0


_FOLDERS_IN_CHUNK = 200
_Folders = tuple[_FolderState, ...]
_Certificates = tuple[tuple[bytes, tuple[bytes, ...]], ...]
_Seen = tuple[tuple[bytes, int], ...]


class _EntryState(Document, frozen=True):
    key: bytes
    ordinal: int
    folder: int
    uid: int
    date: int
    size: int
    message: bytes
    flags: tuple[str, ...]
    prefix: bytes
    fingerprint: bytes
    proof: Proof | None
    omitted: tuple[tuple[int, int], ...]


_Entries = Annotated[tuple[_EntryState, ...], Meta(max_length=CHUNK_ENTRIES * 8)]


class MailboxState:
    """
    Folders and entries, as the records applied so far make them.
    """

    def __init__(self) -> None:
        self.folders: dict[int, MailFolder] = {}
        self.by_name: dict[str, MailFolder] = {}
        self.by_key: dict[bytes, MailEntry] = {}
        self.certificates: dict[bytes, tuple[bytes, ...]] = {}
        self.seen: dict[bytes, int] = {}
        """Keys of insertions that were expunged, with the time (seconds) until which they could come again."""
        self.journeys = Journeys()
        self.preferences = Preferences()
        self.time = 0
        self.ordinal = 0
        self.modseq = 1
        self.uid_validity = 0
        """The highest that any folder ever had: a name that is used again must not have one that it had before."""

    # Applying records.

    def apply(self, time: int, operations: Iterable[AnyOperation]) -> set[int]:
        """
        Let C{operations} take effect at Lamport C{time}; returns the ids of the folders in which something changed.
        """
        self.time = max(self.time, time)
        self.modseq += 1
        changed: set[int] = set()
        for operation in operations:
            self._apply(operation, changed)
        for folder in changed:
            if folder in self.folders:
                self.folders[folder].modseq = self.modseq
        return changed

    def _apply(self, operation: AnyOperation, changed: set[int]) -> None:
        match operation:
            case Inserted():
                self._insert(operation, changed)
            case Flagged():
                self._flag(operation, changed)
            case Moved():
                self._move(operation, changed)
            case Copied():
                self._copy(operation, changed)
            case Expunged():
                self._expunge(operation, changed)
            case Dispatched() | Settled() | SenderWarned():
                self.journeys.apply(operation)
            case CertificateSeen():
                self.certificates[operation.hash] = operation.chain
            case FolderCreated():
                self._create(operation, changed)
            case FolderRenamed():
                self._rename(operation, changed)
            case FolderDeleted():
                self._delete(operation, changed)
            case FolderSubscribed():
                if operation.folder in self.folders:
                    self.folders[operation.folder].subscribed = operation.subscribed
            case UidsSkipped():
                if operation.folder in self.folders:
                    folder = self.folders[operation.folder]
                    folder.uid_next = max(folder.uid_next, operation.uid_next)
            case _:
                if isinstance(operation, Ignored) and operation.key not in self.by_key:
                    self.seen.setdefault(operation.key, operation.date // 1000)
                self.preferences.apply(operation)

    def _insert(self, operation: Inserted, changed: set[int]) -> None:
        if operation.key in self.by_key or operation.key in self.seen:
            return
        # A folder that another device deleted meanwhile: the message is not to be lost with it.
        folder = self.folders.get(operation.folder) or self.by_name.get("INBOX")
        if folder is None:
            return
        entry = MailEntry(
            operation.key,
            self.ordinal,
            folder.id,
            0,
            operation.date,
            operation.size,
            operation.message,
            frozenset(operation.flags),
            operation.prefix,
            operation.fingerprint,
            operation.proof,
            operation.omitted,
        )
        self.ordinal += 1
        self.by_key[entry.key] = entry
        self._place(entry, folder, operation.uid, changed)

    def _place(self, entry: MailEntry, folder: MailFolder, uid: int, changed: set[int]) -> None:
        """
        Put C{entry} into C{folder} with the proposed UID, or the next that was never used there.
        """
        uid = max(uid, folder.uid_next)
        folder.uid_next = uid + 1
        entry.folder, entry.uid, entry.modseq = folder.id, uid, self.modseq
        folder.uids.append(uid)
        folder.by_uid[uid] = entry
        folder.size += entry.size
        folder.unseen += "\\Seen" not in entry.flags
        changed.add(folder.id)

    def _take_out(self, entry: MailEntry, changed: set[int]) -> None:
        folder = self.folders[entry.folder]
        del folder.by_uid[entry.uid]
        index = bisect_left(folder.uids, entry.uid)
        del folder.uids[index]
        folder.size -= entry.size
        folder.unseen -= "\\Seen" not in entry.flags
        changed.add(folder.id)

    def _flag(self, operation: Flagged, changed: set[int]) -> None:
        added, removed = frozenset(operation.added), frozenset(operation.removed)
        for key in operation.keys:
            entry = self.by_key.get(key)
            if entry is None:
                continue
            flags = (entry.flags - removed) | added
            if flags == entry.flags:
                continue
            folder = self.folders[entry.folder]
            folder.unseen += ("\\Seen" not in flags) - ("\\Seen" not in entry.flags)
            entry.flags, entry.modseq = flags, self.modseq
            changed.add(folder.id)

    def _move(self, operation: Moved, changed: set[int]) -> None:
        target = self.folders.get(operation.folder)
        uid = operation.uid
        for key in operation.keys:
            entry = self.by_key.get(key)
            if target is None or entry is None:
                continue
            self._take_out(entry, changed)
            self._place(entry, target, uid, changed)
            uid = entry.uid + 1

    def _copy(self, operation: Copied, changed: set[int]) -> None:
        target = self.folders.get(operation.folder)
        uid = operation.uid
        for source, key in zip(operation.sources, operation.keys, strict=False):
            entry = self.by_key.get(source)
            if target is None or entry is None or key in self.by_key or key in self.seen:
                continue
            copy = msgspec.structs.replace(entry, key=key, ordinal=self.ordinal)
            self.ordinal += 1
            self.by_key[key] = copy
            self._place(copy, target, uid, changed)
            uid = copy.uid + 1

    def _expunge(self, operation: Expunged, changed: set[int]) -> None:
        for key in operation.keys:
            entry = self.by_key.pop(key, None)
            if entry is not None:
                self._take_out(entry, changed)
                self._bury(entry)

    def _bury(self, entry: MailEntry) -> None:
        """
        Remember that it was here, so that a late delegate does not deliver it again.
        """
        self.seen[entry.key] = entry.date // 1000

    def _create(self, operation: FolderCreated, changed: set[int]) -> None:
        if operation.folder in self.folders or operation.name in self.by_name:
            return
        self.uid_validity = max(self.uid_validity, operation.uid_validity)
        folder = MailFolder(
            operation.folder, operation.name, operation.special_use, operation.uid_validity, 1, operation.subscribed
        )
        self.folders[folder.id] = self.by_name[folder.name] = folder
        changed.add(folder.id)

    def _rename(self, operation: FolderRenamed, changed: set[int]) -> None:
        folder = self.folders.get(operation.folder)
        if folder is None or operation.name in self.by_name:
            return
        former = folder.name
        inside = [each for name, each in self.by_name.items() if name.startswith(former + SEPARATOR)]
        for each in (folder, *inside):
            name = operation.name + each.name[len(former) :]
            if name not in self.by_name:
                del self.by_name[each.name]
                each.name = name
                self.by_name[name] = each
                changed.add(each.id)

    def _delete(self, operation: FolderDeleted, changed: set[int]) -> None:
        folder = self.folders.pop(operation.folder, None)
        if folder is None:
            return
        del self.by_name[folder.name]
        for entry in folder.by_uid.values():
            del self.by_key[entry.key]
            self._bury(entry)
        changed.add(folder.id)

    def forget(self, before_s: int, now: int) -> None:
        """
        Let go of the keys of expunged messages that are too old to be delivered again, and of old journeys.
        """
        self.seen = {key: at for key, at in self.seen.items() if at >= before_s}
        self.journeys.forget(now)

    # Snapshots.

    def chunks(self) -> list[bytes]:
        """
        The state as chunks: first all but entries, then the entries by the order in which they came.
        """
        folders = _in_chunks(
            [
                _FolderState(f.id, f.name, f.special_use, f.uid_validity, f.uid_next, f.subscribed)
                for f in self.folders.values()
            ],
            _FOLDERS_IN_CHUNK,
        )
        certificates = _in_chunks(list(self.certificates.items()), CERTIFICATES_IN_CHUNK)
        months: dict[int, list[tuple[bytes, int]]] = {}
        for key, at in self.seen.items():
            months.setdefault(at // SEEN_PERIOD_S, []).append((key, at))
        seen = [chunk for month in sorted(months) for chunk in _in_chunks(months[month], SEEN_IN_CHUNK)]
        journeys = self.journeys.chunks()
        preferences = self.preferences.chunks()
        counts = (len(folders), len(certificates), len(seen), len(journeys), len(preferences))
        base = _Base(1, self.time, self.ordinal, self.uid_validity, *counts)
        groups: dict[int, list[MailEntry]] = {}
        for entry in self.by_key.values():
            groups.setdefault(entry.ordinal // CHUNK_ENTRIES, []).append(entry)
        entries = [chunk for index in sorted(groups) for chunk in _pack_entries(groups[index])]
        return [pack(base), *folders, *certificates, *seen, *journeys, *preferences, *entries]

    @classmethod
    def from_chunks(cls, chunks: Sequence[bytes]) -> MailboxState:
        """
        The state that L{chunks} described.

        @raise PeerError: if they describe none.
        """
        state = cls()
        if not chunks:
            return state
        base = unpack(_Base, chunks[0])
        counts = (base.folders, base.certificates, base.seen, base.journeys, base.preferences)
        if base.version != 1 or min(counts) < 0:
            raise PeerError("a snapshot of no known form")
        state.time, state.ordinal, state.uid_validity = base.time, base.ordinal, base.uid_validity
        rest = iter(chunks[1:])
        for chunk in islice(rest, base.folders):
            for f in unpack(_Folders, chunk):
                folder = MailFolder(f.id, f.name, f.special_use, f.uid_validity, f.uid_next, f.subscribed)
                state.folders[f.id] = state.by_name[f.name] = folder
        for chunk in islice(rest, base.certificates):
            state.certificates.update(unpack(_Certificates, chunk))
        for chunk in islice(rest, base.seen):
            state.seen.update(unpack(_Seen, chunk))
        for chunk in islice(rest, base.journeys):
            state.journeys.restore(chunk)
        for chunk in islice(rest, base.preferences):
            state.preferences.restore(chunk)
        for chunk in rest:
            for each in unpack(_Entries, chunk):
                state._restore(each)
        return state

    def _restore(self, each: _EntryState) -> None:
        folder = self.folders.get(each.folder)
        if folder is None:
            raise PeerError("a snapshot with an entry in no folder")
        entry = MailEntry(
            each.key,
            each.ordinal,
            each.folder,
            each.uid,
            each.date,
            each.size,
            each.message,
            frozenset(each.flags),
            each.prefix,
            each.fingerprint,
            each.proof,
            each.omitted,
            self.modseq,
        )
        self.by_key[entry.key] = entry
        folder.by_uid[entry.uid] = entry
        insort(folder.uids, entry.uid)
        folder.size += entry.size
        folder.unseen += "\\Seen" not in entry.flags


def _in_chunks(items: Sequence[object], size: int) -> list[bytes]:
    return [pack(tuple(items[start : start + size])) for start in range(0, len(items), size)]


def _pack_entries(entries: Sequence[MailEntry]) -> Iterator[bytes]:
    """
    The chunk of C{entries}, or several if they are bulky.
    """
    states = tuple(
        _EntryState(
            e.key,
            e.ordinal,
            e.folder,
            e.uid,
            e.date,
            e.size,
            e.message,
            tuple(sorted(e.flags)),
            e.prefix,
            e.fingerprint,
            e.proof,
            e.omitted,
        )
        for e in entries
    )
    packed = pack(states)
    if len(packed) <= CHUNK_LIMIT or len(states) == 1:
        yield packed
        return
    half = len(entries) // 2
    yield from _pack_entries(entries[:half])
    yield from _pack_entries(entries[half:])
