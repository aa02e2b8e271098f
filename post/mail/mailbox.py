"""
A person's mailbox: folders and messages as the mail program sees them, on top of the log (POST, section 4.4).

Every change is one record: applied to the state in memory, appended to the log, and told to whoever looks.  Flags,
moves and copies are answered when the local disk has them; a message that comes in is answered when the ring has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from post.commit import DiskError
from post.crypto.certificates import IdentityCertificate
from post.hashes import Purpose, tagged
from post.interfaces import Entropy, IJournal
from post.mail.folder import MailboxState, MailEntry, MailFolder
from post.mail.interfaces import (
    SEPARATOR,
    Copied,
    Entry,
    FolderExists,
    FolderRefused,
    FolderStatus,
    IContent,
    IFolder,
    IFolderListener,
    IMailbox,
    MessageUnavailable,
    NoSuchFolder,
    Octets,
)
from post.mail.judging import ACCEPTED
from post.mail.letter import Letter, LetterBox
from post.mail.parts import fingerprint
from post.mail.records import (
    KEYS_LIMIT,
    Acquainted,
    AnyOperation,
    CertificateSeen,
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
    Record,
    UidsSkipped,
    read_record,
    write_record,
)
from post.mail.records import Copied as CopiedRecord
from post.mail.rules import Action, Verdict
from post.messaging.account import Account
from post.messaging.log import Log
from post.messaging.reception import Arrival
from post.tasks import Tasks

SPECIAL_FOLDERS = (
    ("INBOX", ""),
    ("Sent", "\\Sent"),
    ("Drafts", "\\Drafts"),
    ("Junk", "\\Junk"),
    ("Trash", "\\Trash"),
    ("Archive", "\\Archive"),
)
"""What a new mailbox has."""

UIDS_SKIPPED = 1000
"""After a recovery or a crash: more than the machine can have shown without the ring, or the journal, knowing of it."""
SEEN_KEPT_S = 500 * 86400
"""How long the key of an expunged message is remembered: longer than any notification lives."""
FOLDERS_LIMIT = 5000
NAME_LIMIT = 200
SPECIAL_USE_LIMIT = 40
FLAGS_LIMIT = 100
FLAG_LENGTH = 100
"""Of one message, and of each; far beyond what mail programs use, and what a record surely holds."""
OPERATIONS_TOGETHER = 100
"""Of 500 octets each, in one record."""
OPERATIONS_IN_RECORD = 1000
"""Where one record holds an operation for each folder."""
OWN_FLAGS = frozenset({"$Verified", "$Unverified"})
"""Set by us alone; a mail program can neither set nor remove them, however it spells them (keywords know no case)."""

_T = TypeVar("_T")


@implementer(IFolder)
class Folder:
    """
    One folder, open.
    """

    def __init__(self, mailbox: Mailbox, folder: MailFolder) -> None:
        self._mailbox = mailbox
        self._id = folder.id
        self._last = folder

    @property
    def _folder(self) -> MailFolder:
        # Looked up anew: a catching up with the ring replaces the whole state.
        self._last = self._mailbox.state.folders.get(self._id, self._last)
        return self._last

    @property
    def name(self) -> str:
        return self._folder.name

    @property
    def uid_validity(self) -> int:
        return self._folder.uid_validity

    @property
    def uid_next(self) -> int:
        return self._folder.uid_next

    def entries(self) -> Sequence[Entry]:
        return [_seen(entry) for entry in self._folder.entries()]

    def entry(self, uid: int) -> Entry | None:
        entry = self._folder.by_uid.get(uid)
        return _seen(entry) if entry is not None else None

    def content(self, uid: int) -> IContent:
        entry = self._folder.by_uid.get(uid)
        if entry is None:
            raise MessageUnavailable(f"no message with UID {uid}")
        return self._mailbox.letters.content(entry.key, entry.message, entry.prefix, entry.size, entry.omitted)

    async def store(self, uids: Sequence[int], add: frozenset[str], remove: frozenset[str]) -> None:
        add, remove = _allowed(add), _allowed(remove)
        changing = [entry for entry in self._living(uids) if (entry.flags - remove) | add != entry.flags]
        if any(len((entry.flags - remove) | add) > FLAGS_LIMIT for entry in changing):
            raise FolderRefused("too many flags")
        keys = [entry.key for entry in changing]
        await self._mailbox.commit(
            Flagged(batch, tuple(sorted(add)), tuple(sorted(remove))) for batch in _batches(keys)
        )

    async def replace(self, uids: Sequence[int], flags: frozenset[str]) -> None:
        groups: dict[frozenset[str], list[bytes]] = {}
        flags = _allowed(flags)
        for entry in self._living(uids):
            wanted = flags | (entry.flags & OWN_FLAGS)
            if wanted != entry.flags:
                groups.setdefault(entry.flags, []).append(entry.key)
        await self._mailbox.commit(
            Flagged(batch, tuple(sorted(flags)), tuple(sorted(old - flags - OWN_FLAGS)))
            for old, keys in groups.items()
            for batch in _batches(keys)
        )

    async def expunge(self, uids: Sequence[int]) -> None:
        keys = [entry.key for entry in self._living(uids)]
        await self._mailbox.commit(Expunged(batch) for batch in _batches(keys))
        self._mailbox.letters.forget(keys)

    async def copy(self, uids: Sequence[int], target: str) -> Copied:
        return await self._mailbox.copy(self._living(uids), target)

    async def move(self, uids: Sequence[int], target: str) -> Copied:
        return await self._mailbox.move(self._living(uids), target)

    def _living(self, uids: Sequence[int]) -> list[MailEntry]:
        by_uid = self._folder.by_uid
        return [by_uid[uid] for uid in dict.fromkeys(uids) if uid in by_uid]

    def listen(self, listener: IFolderListener) -> None:
        self._mailbox.listeners.setdefault(self._id, []).append(listener)

    def unlisten(self, listener: IFolderListener) -> None:
        listeners = self._mailbox.listeners.get(self._id, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            self._mailbox.listeners.pop(self._id, None)


@implementer(IMailbox)
class Mailbox:
    """
    All of one account's folders, and the writer's end of their log.  (A L{post.messaging.history.Reader}.)
    """

    log = Logger()

    def __init__(
        self,
        account: Account,
        letters: LetterBox,
        journal: IJournal,
        clock: IReactorTime,
        entropy: Entropy,
        tasks: Tasks,
    ) -> None:
        self.address = account.address
        self.state = MailboxState()
        self.letters = letters
        self.listeners: dict[int, list[IFolderListener]] = {}
        self.restored = 0
        """How often the state has been replaced by another."""
        self._account = account
        self._clock = clock
        self._entropy = entropy
        self._tasks = tasks
        self._told: set[int] = set()
        self._log: Log | None = None
        self._journal = journal

    # The log.

    async def open(self, log: Log) -> None:
        """
        Load what there is; a mailbox that has nothing yet gets its first folders.

        @raise Unconfirmed: if neither this machine nor the ring can say now what there is.
        """
        self._log = log
        await log.open()
        # What ends without closing may have shown UIDs that its journal had not got yet, and must not use them again.
        if self.state.folders and not log.recovered and self._closed_at() != log.count:
            for record in self.recovered():
                await self._journaled(self._append(read_record(record).operations))
        if not self.state.folders:
            validity = int(self._clock.seconds())
            # In one record: there is never a mailbox with some of them only.
            await self._journaled(
                self._append(
                    tuple(
                        FolderCreated(index, name, use, validity, True)
                        for index, (name, use) in enumerate(SPECIAL_FOLDERS)
                    )
                )
            )

    def _closed_at(self) -> int:
        try:
            return int.from_bytes(self._journal.value("closed") or b"", "big")
        except DiskError:
            return -1  # Damaged, and as good as not closed.

    async def close(self) -> None:
        """
        Note that all that was shown is journaled, so that the next time UIDs go on where they are.
        """
        if self._log is not None:
            await self._journal.write([], [("closed", self._log.count.to_bytes(8, "big"))])

    def restore(self, chunks: Sequence[bytes]) -> None:
        modseq = self.state.modseq
        self.restored += 1
        self.state = MailboxState.from_chunks(chunks)
        self.state.modseq = modseq + 1
        self._tell(self.listeners.keys())

    def replay(self, number: int, record: bytes) -> None:
        parsed = read_record(record)
        self._tell(self.state.apply(parsed.time, parsed.operations))

    def recovered(self) -> Sequence[bytes]:
        skips = [UidsSkipped(f.id, f.uid_next + UIDS_SKIPPED) for f in self.state.folders.values()]
        return [
            write_record(Record(1, self.state.time + number, batch))
            for number, batch in enumerate(_batches(skips, OPERATIONS_IN_RECORD), 1)
        ]

    def missing(self, chunks: Sequence[bytes]) -> Sequence[bytes]:
        other = MailboxState.from_chunks(chunks)
        records: list[bytes] = []
        for entry in other.by_key.values():
            if entry.key in self.state.by_key or entry.key in self.state.seen:
                continue
            namesake = self.state.by_name.get(other.folders[entry.folder].name)
            operations: list[AnyOperation] = [
                Inserted(
                    entry.key,
                    namesake.id if namesake is not None else entry.folder,
                    entry.uid,
                    entry.date,
                    entry.size,
                    entry.message,
                    tuple(sorted(entry.flags)),
                    entry.prefix,
                    entry.fingerprint,
                    entry.proof,
                    entry.omitted,
                )
            ]
            named = entry.proof.certificate if entry.proof is not None else b""
            if named in other.certificates and named not in self.state.certificates:
                operations.insert(0, CertificateSeen(named, other.certificates[named]))
            records.append(write_record(Record(1, self.state.time + len(records) + 1, tuple(operations))))
        for operation in self.state.journeys.missing(other.journeys):
            records.append(write_record(Record(1, self.state.time + len(records) + 1, (operation,))))
        for preference in self.state.preferences.missing(other.preferences):
            records.append(write_record(Record(1, self.state.time + len(records) + 1, (preference,))))
        return records

    def snapshot(self) -> Sequence[bytes]:
        now = int(self._clock.seconds())
        self.state.forget(now - SEEN_KEPT_S, now)
        return self.state.chunks()

    def _append(self, operations: tuple[AnyOperation, ...]) -> int:
        """
        One record: its operations take effect together.
        """
        assert self._log is not None
        time = self.state.time + 1
        record = write_record(Record(1, time, operations))
        # What could not be read back would make the whole mailbox unreadable.
        read_record(record)
        number = self._log.append(record)
        self._tell(self.state.apply(time, operations))
        return number

    async def commit(self, operations: Iterable[AnyOperation]) -> None:
        """
        Append each of C{operations}; returns when this machine has them durably.
        """
        assert self._log is not None
        number = -1
        for operation in operations:
            number = self._append((operation,))
        if number >= 0:
            await self._log.journaled(number)

    async def commit_together(self, operations: Sequence[AnyOperation]) -> None:
        """
        Append C{operations}, of at most 500 octets each, in as few records as hold them; returns when this machine has
        them durably.
        """
        number = -1
        for batch in _batches(operations, OPERATIONS_TOGETHER):
            number = self._append(batch)
        await self._journaled(number)

    async def keep(self, operations: Iterable[AnyOperation]) -> None:
        """
        The same until the ring keeps them.

        @raise PostError: if it does not now.
        """
        number = -1
        for operation in operations:
            number = self._append((operation,))
        if number >= 0:
            await self._keep(number)

    async def _keep(self, number: int) -> None:
        assert self._log is not None
        await self._log.kept_to(number)

    # Telling sessions.

    def _tell(self, folders: Iterable[int]) -> None:
        """
        Let the listeners know, after whatever is going on has ended; many changes make one call.
        """
        fresh = {folder for folder in folders if self.listeners.get(folder)}
        if fresh and not self._told:
            self._clock.callLater(0, self._tell_now)
        self._told |= fresh

    def _tell_now(self) -> None:
        told, self._told = self._told, set()
        for folder in told:
            for listener in list(self.listeners.get(folder, ())):
                try:
                    if folder in self.state.folders:
                        listener.changed()
                    else:
                        listener.deleted()
                except Exception:
                    self.log.failure("a session could not be told")

    # Folders.

    def folders(self) -> Sequence[FolderStatus]:
        ordered = sorted(self.state.folders.values(), key=lambda folder: (folder.name != "INBOX", folder.name))
        return [
            FolderStatus(
                folder.name,
                folder.special_use,
                folder.subscribed,
                folder.uid_validity,
                folder.uid_next,
                len(folder.uids),
                folder.unseen,
                folder.size,
                folder.modseq,
            )
            for folder in ordered
        ]

    def folder(self, name: str) -> Folder:
        return Folder(self, self._named(name))

    def _named(self, name: str) -> MailFolder:
        folder = self.state.by_name.get(_spelled(name))
        if folder is None:
            raise NoSuchFolder(name)
        return folder

    async def create(self, name: str, special_use: str = "") -> None:
        name = _spelled(name.rstrip(SEPARATOR))
        if name in self.state.by_name:
            raise FolderExists(name)
        check_folder_name(name)
        uses = {folder.special_use for folder in self.state.folders.values()}
        if len(special_use) > SPECIAL_USE_LIMIT:
            raise FolderRefused("not a use of a folder")
        if special_use and special_use in uses:
            raise FolderRefused(f"there is a {special_use} folder already")
        await self._journaled(self._append(self._creations(name, special_use)))

    def _creations(self, name: str, special_use: str = "") -> tuple[FolderCreated, ...]:
        """
        Of C{name} and of those of its parents that are missing.
        """
        levels = name.split(SEPARATOR) if name else []
        paths = [SEPARATOR.join(levels[: depth + 1]) for depth in range(len(levels))]
        missing = [path for path in paths if path not in self.state.by_name]
        if len(self.state.folders) + len(missing) > FOLDERS_LIMIT:
            raise FolderRefused(f"more than {FOLDERS_LIMIT} folders")
        # Rises with time, and beyond every validity ever used, so that a name created again never has an old one.
        validity = max(int(self._clock.seconds()), self.state.uid_validity + 1)
        taken = set(self.state.folders)
        created = []
        for path in missing:
            folder = int.from_bytes(self._entropy(4), "big")
            while folder in taken:
                folder = int.from_bytes(self._entropy(4), "big")
            taken.add(folder)
            created.append(FolderCreated(folder, path, special_use if path == name else "", validity, True))
        return tuple(created)

    async def delete(self, name: str) -> None:
        folder = self._named(name)
        if folder.name == "INBOX":
            raise FolderRefused("INBOX stays")
        if folder.special_use:
            # A mail program that finds no Sent makes another one; then the two of us file in different places.
            raise FolderRefused(f"{name} has a use of its own; it can be renamed")
        if any(other.startswith(folder.name + SEPARATOR) for other in self.state.by_name):
            raise FolderRefused(f"{name} has folders in it")
        keys = [entry.key for entry in folder.entries()]
        await self.commit([FolderDeleted(folder.id)])
        self.letters.forget(keys)

    async def rename(self, old: str, new: str) -> None:
        folder = self._named(old)
        new = _spelled(new.rstrip(SEPARATOR))
        if new in self.state.by_name:
            raise FolderExists(new)
        check_folder_name(new)
        if folder.name == "INBOX":
            created = self._creations(new)
            keys = [entry.key for entry in folder.entries()]
            number = self._append((*created, Moved(created[-1].folder, 1, tuple(keys[:KEYS_LIMIT]))))
            for batch in _batches(keys[KEYS_LIMIT:]):
                number = self._append((Moved(created[-1].folder, 1, batch),))
            await self._journaled(number)
            return
        if new.startswith(folder.name + SEPARATOR):
            raise FolderRefused("a folder cannot be in itself")
        for name in self.state.by_name:
            if name.startswith(folder.name + SEPARATOR):
                check_folder_name(new + name[len(folder.name) :])
        parents = self._creations(new.rpartition(SEPARATOR)[0])
        await self._journaled(self._append((*parents, FolderRenamed(folder.id, new))))

    async def subscribe(self, name: str, subscribed: bool) -> None:
        folder = self._named(name)
        if folder.subscribed != subscribed:
            await self.commit([FolderSubscribed(folder.id, subscribed)])

    # Messages.

    async def copy(self, entries: Sequence[MailEntry], target: str) -> Copied:
        """
        Copy C{entries}, all or none as far as one record holds them (2,000).

        @raise NoSuchFolder: if there is no folder C{target}.
        """
        folder = self._named(target)
        keys = [self._entropy(16) for _ in entries]
        uids = tuple(entry.uid for entry in entries)
        pairs = list(zip([entry.key for entry in entries], keys, strict=True))
        number = -1
        for batch in _batches(pairs, KEYS_LIMIT // 2):
            sources, targets = tuple(each[0] for each in batch), tuple(each[1] for each in batch)
            number = self._append((CopiedRecord(folder.id, folder.uid_next, sources, targets),))
        copied = tuple(self.state.by_key[key].uid for key in keys)
        await self._journaled(number)
        return Copied(folder.uid_validity, uids, copied)

    async def move(self, entries: Sequence[MailEntry], target: str) -> Copied:
        """
        Move C{entries}, all or none as far as one record holds them (2,000).

        @raise NoSuchFolder: if there is no folder C{target}.
        """
        folder = self._named(target)
        keys = [entry.key for entry in entries]
        uids = tuple(entry.uid for entry in entries)
        number = -1
        for batch in _batches(keys):
            number = self._append((Moved(folder.id, folder.uid_next, batch),))
        moved = tuple(self.state.by_key[key].uid for key in keys)
        await self._journaled(number)
        return Copied(folder.uid_validity, uids, moved)

    async def _journaled(self, number: int) -> None:
        assert self._log is not None
        if number >= 0:
            await self._log.journaled(number)

    async def append(
        self, name: str, message: Octets, flags: frozenset[str], internal_date: datetime | None
    ) -> tuple[int, int]:
        folder = self._named(name)
        flags = _allowed(flags)
        named = fingerprint(message)
        entry = self._filed_by_us(folder, named)
        if entry is None:
            letter = await self.letters.store(message)
            date = int((internal_date.timestamp() if internal_date else self._clock.seconds()) * 1000)
            # Looked up again: the folder may have gone while the message was being stored, or our own copy come.
            folder = self._named(name)
            entry = self._filed_by_us(folder, named)
            if entry is None:
                entry = await self._file(folder, self._entropy(16), letter, date, tuple(sorted(flags)), named)
                return folder.uid_validity, entry.uid
        uid = entry.uid
        # Our copy may be still on its way to the ring.
        await self.has_filed(entry.key)
        return folder.uid_validity, uid

    async def adopt(
        self,
        name: str,
        key: bytes,
        message: Octets,
        flags: frozenset[str],
        internal_date: datetime,
        turn: Callable[[], Awaitable[None]],
    ) -> bool:
        if await self.has_filed(key):
            return False
        folder = self._named(name)
        flags = _allowed(flags)
        letter = await self.letters.store(message)
        await turn()
        # Looked up again: another one may have brought the same meanwhile, or the folder have gone.
        if await self.has_filed(key):
            return False
        folder = self._named(name)
        date = max(0, int(internal_date.timestamp() * 1000))
        await self._file(folder, key, letter, date, tuple(sorted(flags)), fingerprint(message))
        return True

    def _filed_by_us(self, folder: MailFolder, fingerprint: bytes) -> MailEntry | None:
        """
        The copy that we filed ourselves at submission, if the mail program now wants to file its own.
        """
        if folder.special_use == "\\Sent" and fingerprint:
            for uid in reversed(folder.uids):
                entry = folder.by_uid[uid]
                if entry.fingerprint == fingerprint:
                    return entry
        return None

    async def _file(
        self,
        folder: MailFolder,
        key: bytes,
        letter: Letter,
        date: int,
        flags: tuple[str, ...],
        fingerprint: bytes = b"",
        prefix: bytes = b"",
        proof: Proof | None = None,
        omitted: tuple[tuple[int, int], ...] = (),
        also: tuple[AnyOperation, ...] = (),
    ) -> MailEntry:
        """
        Insert a message and wait until the ring keeps the record.
        """
        size = len(prefix) + letter.size - sum(stop - start for start, stop in omitted)
        inserted = Inserted(
            key, folder.id, folder.uid_next, date, size, letter.reference, flags, prefix, fingerprint, proof, omitted
        )
        number = self._append((*also, inserted))
        entry = self.state.by_key[key]
        await self._keep(number)
        return entry

    async def file_sent(
        self, key: bytes, letter: Letter, fingerprint: bytes, also: tuple[AnyOperation, ...] = ()
    ) -> None:
        """
        File what the account has just submitted; C{key} follows from the message, so that a retry files it once.
        C{also} takes effect in the same record.

        @raise PostError: if the ring does not keep it now.
        """
        if await self.has_filed(key):
            await self.commit(also)
            return
        sent = next((f for f in self.state.folders.values() if f.special_use == "\\Sent"), None)
        folder = sent or self._named("INBOX")
        date = int(self._clock.seconds() * 1000)
        await self._file(folder, key, letter, date, ("\\Seen",), fingerprint, also=also)

    async def file_arrival(
        self,
        key: bytes,
        letter: Letter,
        arrival: Arrival,
        prefix: bytes,
        omitted: tuple[tuple[int, int], ...],
        flags: frozenset[str],
        verdict: Verdict = ACCEPTED,
    ) -> None:
        """
        File what has been sent to us, with the evidence of who sent it, where C{verdict} says.  C{omitted} of its
        header is not shown.

        @raise PostError: if the ring does not keep it now.
        """
        if await self.has_filed(key):
            return
        signed = arrival.signed
        named = tagged(Purpose.CERTIFICATE_BLOCK, *signed.chain)[:16]
        also: tuple[AnyOperation, ...] = ()
        if named not in self.state.certificates:
            also = (CertificateSeen(named, signed.chain),)
        known = self.state.preferences.heard_of
        sender = arrival.sender
        wanted = verdict.action != Action.QUARANTINE
        if wanted and isinstance(sender, IdentityCertificate) and sender.account not in known:
            also += (Acquainted(sender.account, False),)
        proof = Proof(1, signed.body, signed.signature, named)
        date = int(self._clock.seconds() * 1000)
        folder, created = self._place_for(verdict)
        await self._file(
            folder,
            key,
            letter,
            date,
            tuple(sorted(flags)),
            prefix=prefix,
            proof=proof,
            omitted=omitted,
            also=(*created, *also),
        )

    async def file_notice(self, key: bytes, letter: Letter, also: tuple[AnyOperation, ...]) -> None:
        """
        File what our own node has to say to its owner, and let C{also} take effect in the same record: a crash leaves
        both or neither.  Whoever has done so before adds only what is new.

        @raise PostError: if the ring does not keep it now.
        """
        date = int(self._clock.seconds() * 1000)
        if key in self.state.by_key or key in self.state.seen:
            await self._keep(self._append(also))
            return
        await self._file(self._named("INBOX"), key, letter, date, (), prefix=b"Return-Path: <>\r\n", also=also)

    def _place_for(self, verdict: Verdict) -> tuple[MailFolder, tuple[FolderCreated, ...]]:
        """
        The folder that a verdict names, and what makes it if there is none: both are to be in one record.
        """
        name = "INBOX"
        if verdict.action == Action.QUARANTINE:
            junk = next((each for each in self.state.folders.values() if each.special_use == "\\Junk"), None)
            if junk is not None:
                return junk, ()
            name = "Junk"
        elif verdict.action == Action.FOLDER:
            name = _spelled(verdict.folder)
        folder = self.state.by_name.get(name)
        if folder is not None:
            return folder, ()
        try:
            check_folder_name(name)
            created = self._creations(name, "\\Junk" if verdict.action == Action.QUARANTINE else "")
        except FolderRefused as error:
            # Too many folders: the message is not to be lost over that.
            self.log.warn("no folder for a rule: {error}", error=error)
            return self._named("INBOX"), ()
        last = created[-1]
        return MailFolder(last.folder, last.name, last.special_use, last.uid_validity, 1, True), created

    async def ignore_arrival(self, key: bytes, sender: str, reason: str) -> None:
        """
        Note that what would have come as C{key} is ignored, so that it never comes again.

        @raise PostError: if the ring does not keep that now.
        """
        if await self.has_filed(key):
            return
        date = int(self._clock.seconds() * 1000)
        await self._keep(self._append((Ignored(key, date, sender[:320], reason[:1100]),)))

    async def has_filed(self, key: bytes) -> bool:
        """
        Whether C{key} was filed before; if so, only after the ring keeps everything up to now.

        @raise PostError: if it was, and the ring does not keep it now.
        """
        if key not in self.state.by_key and key not in self.state.seen:
            return False
        assert self._log is not None
        if self._log.count:
            await self._log.kept_to(self._log.count - 1)
        return True


def _seen(entry: MailEntry) -> Entry:
    shown = entry.shown
    # A copy begins with what was shown of its source.
    if shown is None or shown.modseq != entry.modseq or shown.uid != entry.uid or shown.key != entry.key:
        date = datetime.fromtimestamp(entry.date / 1000, UTC)
        shown = entry.shown = Entry(entry.uid, entry.flags, date, entry.size, entry.modseq, entry.key)
    return shown


def _allowed(flags: frozenset[str]) -> frozenset[str]:
    """
    C{flags} without those that only we set.

    @raise FolderRefused: if there are too many, or one is too long.
    """
    own = {flag.casefold() for flag in OWN_FLAGS}
    if len(flags) > FLAGS_LIMIT or any(len(flag) > FLAG_LENGTH for flag in flags):
        raise FolderRefused("too many flags, or too long ones")
    return frozenset(flag for flag in flags if flag.casefold() not in own)


def _spelled(name: str) -> str:
    """
    INBOX is INBOX however it is spelled, also as a parent.
    """
    first, separator, rest = name.partition(SEPARATOR)
    return ("INBOX" if first.upper() == "INBOX" else first) + separator + rest


def check_folder_name(name: str) -> None:
    """
    @raise FolderRefused: if no folder can have this name.
    """
    if not name or len(name) > NAME_LIMIT or any(not level for level in name.split(SEPARATOR)):
        raise FolderRefused("not a name for a folder")
    if any(ord(character) < 32 or ord(character) == 127 for character in name):
        raise FolderRefused("control characters in a folder's name")


def _batches(items: Sequence[_T], size: int = KEYS_LIMIT) -> Iterator[tuple[_T, ...]]:
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))
