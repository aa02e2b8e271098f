"""
The single-writer log (POST, section 3.4): an owner's records, oldest first, kept by the ring and sealed to the owner.

In the ring a log is three things (L{post.messaging.head})::

    head       a public-key block: the newest records themselves (the tail), references to what is older
    clusters   content blocks of records, cut off the tail when it is longer than 16 KiB
    snapshot   the application's state after some record, in chunks; unchanged chunks are shared with the last one

(dev: the paper keeps a partial cluster under the handle of its oldest record, which nobody could verify.)

On the owner's machine every record is journaled first, so a change that concerns only its owner is answered at the
speed of the local disk (L{Log.journaled}).  What is promised to others waits until a head that contains the record is
on the policy's number of nodes (L{Log.kept_to}).  While one head is being written, appends gather for the next.

A head is journaled before it is sent, and exactly those bytes are sent again after a crash, so one number never
names two blocks.  A head in the ring that is ahead of the journal (a restored backup, a lost journal) is caught up with
before anything is written; so is one that does not continue from ours, written by another copy of this account or in
another part of the ring: what was kept in either is in the log afterwards, at worst twice.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.commit import DiskError
from post.crypto.convergent import Reference
from post.crypto.sealing import box
from post.errors import Conflict, PeerError, PostError, Unconfirmed, Unreachable
from post.hashes import Purpose
from post.ids import Handle
from post.interfaces import Entropy, IJournal
from post.messaging.head import (
    CHUNKS_LIMIT,
    EMPTY,
    RECORD_LIMIT,
    Cluster,
    Head,
    Snapshot,
    chunk_names,
    cut_tail,
    kept_value,
    read_index,
    snapshot_value,
    without_gap,
    write_cluster,
    write_head,
    write_index,
)
from post.messaging.history import (
    FETCHES,
    INDEX_BYTES,
    LogClosed,
    LogKeys,
    Reader,
    fetch_history,
    place,
    read_journal,
    replay,
)
from post.messaging.storage import Lease, SecureStore
from post.messaging.waiting import Waiting
from post.past.blocks import PUBLIC_KEY, block_hash, contradict, read_signed_block, sign_block
from post.past.node import Past
from post.tasks import Tasks, gather, sleep
from post.wire import StorageClass

SNAPSHOT_RECORDS = 2000
"""A snapshot is made after so many records: whoever reads a mailbox back replays at most these."""
SNAPSHOT_CLUSTERS = 32
"""Or after so many clusters, so that the head's list of them stays short."""
SNAPSHOT_BYTES = 4 * 1024 * 1024
"""Or when so much waits to be written at once, as after a long time without the ring."""
CONFLICTS = 3
"""So often in a row another head stands in the way of ours, although we took over what there was: then somebody else is
writing now.  Once is usual where parts of the ring meet again."""
LOOK_S = 300.0
"""Before a head is written, the ring is asked for the newest if it was not for so long: a next number is in nobody's
way, and would silently replace what was written in another part of the ring."""
RETRY_S = 1.0
"""Before a head that could not be written is tried again; doubled up to the limit while nobody waits for it."""
RETRY_LIMIT_S = 60.0
_ALL = 1 << 62
"""Beyond the number of any row."""


class Forked(PostError):
    """
    Somebody else writes this log with our key: another copy of this account's files is in use.
    """


class Log:
    """
    The writer's end of one log.
    """

    log = Logger()

    def __init__(
        self,
        past: Past,
        store: SecureStore,
        journal: IJournal,
        clock: IReactorTime,
        entropy: Entropy,
        master: bytes,
        writer: bytes,
        epoch: int,
        lease_s: int,
        reader: Reader,
        tasks: Tasks,
        may_begin: Callable[[], bool] = lambda: True,
    ) -> None:
        self._past = past
        self._store = store
        self._journal = journal
        self._clock = clock
        self._entropy = entropy
        self._keys = LogKeys(master, writer, epoch)
        self.lease_s = lease_s
        self._reader = reader
        self._tasks = tasks
        self._may_begin = may_begin
        self.rivaled: Callable[[], None] = lambda: None
        """Called when a head of another writer was met."""
        self.handle = self._keys.handle
        self.count = 0
        """Records ever appended: the number of the next one."""
        self.kept = 0
        """Of these, how many the ring keeps."""
        self.recovered = False
        """Whether records came from the ring that this machine did not have."""
        self._journaled = 0
        self._block: bytes | None = None
        """The newest head: ours, or one that was continued from."""
        self._number = 0
        self._parent = b"\0" * 32
        self._head = EMPTY
        self._order: tuple[bytes, ...] = ()
        self._chunks: dict[bytes, Reference] = {}
        self._tail: list[bytes] = []
        self._unsent: bytes | None = None
        self._rival: bytes | None = None
        """What stood in the way of a head of ours, and is to be come to terms with."""
        self._discarded = 0
        self._whole = False
        """Whether memory and journal agree, and have all that the head has."""
        self._damaged, self._complained = False, False
        self._past_turn = 0
        """How often the numbers of our own records changed."""
        self._confirmed, self._looked = False, 0.0
        self._writing, self._nudged = False, False
        self._resting: Deferred[None] | None = None
        self._failed: PostError | None = None
        self._waiting_journaled, self._waiting_kept = Waiting(), Waiting()

    # Opening.

    async def open(self) -> None:
        """
        Bring the reader up to the newest record known on this machine and, if it can be reached, in the ring.

        @raise Unconfirmed: if this machine knows nothing, and too few holders answer to know what the ring has; or if
            what is in sight may be a part of the ring only, which has less than the rest, or nothing.
        @raise PostError: if this machine knows only a part, and the ring does not give the rest now.
        @raise LogClosed: if it goes on under another key.
        @raise DiskError: if the journal cannot be used at all.  After any of these it may be opened again.
        """
        if self._failed is not None:
            if self._writing or isinstance(self._failed, Unreachable):
                raise self._failed
            self._failed = None  # Tried again, with what the journal has.
        self._open_journal()
        if self._whole and (stale := self._stale()):
            await self._journal.write(stale, [])
        try:
            await self._catch_up()
        except LogClosed:
            raise
        except PostError as error:
            if not self._whole or (self._number == 0 and self.count == 0):
                raise
            self.log.info("log {handle}: opened without the ring: {error}", handle=self.handle, error=error)
        if self.kept < self.count:
            self._wake()

    def _open_journal(self) -> None:
        """
        From the journal: the last head written, the snapshot it names, and the records after that.

        What of it is damaged is in the ring, but for what only this machine had.
        """
        self._block, self._number, self._parent, self._head = None, 0, b"\0" * 32, EMPTY
        self._unsent, self._rival, self.kept, self._damaged = None, None, 0, False
        self._order, self._chunks = (), {}
        self._past_turn += 1
        try:
            data = self._journal.value("head")
            if data is not None:
                self._take_head(data, self._read(data))
                self._unsent = data
                self.kept = int.from_bytes(self._journal.value("kept") or b"", "big")
                if self.kept >= self._head.count:
                    self._unsent = None
            self._whole = self._open_records()
        except (DiskError, PeerError) as error:
            self._complain(
                "log {handle}: the journal is damaged ({error}); all is taken from the ring, and what had not got there"
                " yet is lost",
                error,
            )
            self._whole, self._damaged = False, True
            self._tail, self.count = list(self._head.tail), self._head.count
        self._journaled = self.count

    def _open_records(self) -> bool:
        """
        The state, from snapshot and rows.  If that is not all that the head has, only what comes after the head.
        """
        local, chunks, rows = read_journal(self._journal)
        records = without_gap(rows, local.count)
        if chunk_names(chunks) != local.names or local.count + len(records) < self._head.count:
            self._complain("log {handle}: the journal lacks what its head has; that is taken from the ring")
            self._tail = [*self._head.tail, *without_gap(rows, self._head.count)]
            self.count = self._head.first + len(self._tail)
            return False
        self._reader.restore(chunks)
        replay(self._reader, local.count, records)
        self._order, self._chunks = local.names, dict(zip(local.names, local.chunks, strict=False))
        self._tail = records[max(0, self._head.first - local.count) :]
        self.count = local.count + len(records)
        return True

    def _complain(self, text: str, error: Exception | None = None) -> None:
        if not self._complained:  # Once, however often it is tried to open this log.
            self.log.error(text, handle=self.handle, error=error)
        self._complained = True

    def _stale(self) -> list[tuple[int, bytes]]:
        """
        What to write over rows beyond our last: they are of another past, and would else seem to follow one day.
        """
        return [(number, b"") for number, record in self._journal.rows(self.count) if record]

    def _read(self, data: bytes) -> Head:
        return self._keys.open(data)

    def _take_head(self, data: bytes, head: Head) -> None:
        self._block, self._head = data, head
        self._number = read_signed_block(data).number
        self._parent = block_hash(data)

    async def _catch_up(self) -> None:
        """
        Compare with the ring, and take over what it has and we have not.

        @raise Unconfirmed: if too few holders answer.
        """
        self._looked = self._clock.seconds()
        newest = await self._past.newest(self.handle, wide=True)
        if not newest.confirmed:
            raise Unconfirmed(f"log {self.handle}")
        # Whoever knows nothing takes what is in sight for all there is: a part of the ring may have nothing, or less.
        known = self._block or (self._whole and self.count)
        if not known and not self._may_begin():
            raise Unconfirmed("too few members in sight to begin a mailbox, or to take one over")
        if not self._whole:
            await self._recover(newest.data)
        met = {data for data in (newest.data, self._rival) if data is not None}
        for data in sorted(met, key=place, reverse=True):
            await self._meet(data)
        self._rival, self._confirmed = None, True

    async def _meet(self, data: bytes) -> None:
        """
        Come to terms with a head in the ring.  Of two with one number all choose that of the higher hash, as
        L{Past.newest} does, so that two copies of this account which meet do not only change places.
        """
        if self._block is None or place(data) > place(self._block):
            await self._adopt(data)
        elif read_signed_block(data).number == self._number and contradict(PUBLIC_KEY, data, self._block):
            await self._absorb(data)

    async def _recover(self, newest: bytes | None) -> None:
        """
        Of what the journal does not have whole: from the newest head there is, the ring's or our own.
        """
        if heads := [data for data in (newest, self._block) if data is not None]:
            await self._adopt(max(heads, key=place))
        else:
            await self._journal.discard(_ALL)
            self._reader.restore([])
            self._tail, self.count, self._whole = [], 0, True

    async def _adopt(self, data: bytes) -> None:
        """
        Continue from a head of ours that is ahead of what this machine knew; what only this machine knew comes after.

        Everything is fetched before anything is changed: half of another past would be worse than none, and the owner
        goes on appending meanwhile.
        """
        theirs = await fetch_history(self._store, self._read(data))
        if self._damaged:
            await self._journal.discard(_ALL)
        head = theirs.head
        ours, continues = theirs.lacks(*self._rows(), self.kept)
        continues = continues or data == self._block or read_signed_block(data).parent == self._parent
        before = self._reader.snapshot() if self._whole and not continues else ()
        self.log.info("log {handle}: continuing from record {count} of the ring", handle=self.handle, count=head.count)

        # Until the journal has it too, memory and journal are of two pasts.
        self._whole = False
        if data != self._block:  # Else it is known how much of it is kept.
            self._take_head(data, head)
            self._unsent = None
            self.kept = head.count
        self._order = chunk_names(theirs.chunks)
        self._chunks = dict(zip(self._order, theirs.references, strict=True))
        theirs.tell(self._reader)
        after = [*self._reader.recovered(), *ours]
        replay(self._reader, head.count, after)
        # Our own records have other numbers now, also for whoever waits for them.
        shift = head.count + len(after) - self.count
        self._waiting_journaled.renumber(shift)
        self._waiting_kept.renumber(shift)
        if before:
            # Of what is in our snapshot there are no records.
            missing = self._reader.missing(before)
            replay(self._reader, head.count + len(after), missing)
            after += missing
        self._tail = [*head.tail, *after]
        self.count = count = head.count + len(after)
        self._journaled = 0
        self._past_turn += 1
        self.recovered = True
        values = [(f"chunk/{index}", chunk) for index, chunk in enumerate(theirs.chunks)]
        values += [("head", data), kept_value(self.kept)]
        values.append(snapshot_value(head.snapshot.count, self._order, self._chunks))
        rows = enumerate([*theirs.records, *after], head.snapshot.count)
        await self._journal.write([*rows, *([] if self._damaged else self._stale())], values)
        self._whole, self._damaged = True, False
        self._journaled = max(self._journaled, count)
        self._waiting_journaled.release(self._journaled)
        self._waiting_kept.release(self.kept)

    async def _absorb(self, data: bytes) -> None:
        """
        Another head has the number of ours, which is to stay: the next one of ours also has what is only in that.
        """
        theirs = await fetch_history(self._store, self._read(data))
        self.log.warn("log {handle}: taking in what another writer wrote", handle=self.handle)
        ours = self._reader.snapshot()
        try:
            theirs.tell(self._reader)
            state = self._reader.snapshot()
        finally:
            self._reader.restore(ours)
        self._unsent = None
        for added in (self._reader.recovered, lambda: self._reader.missing(state)):
            for record in added():
                self._reader.replay(self.append(record), record)

    def _rows(self) -> tuple[int, list[bytes]]:
        """
        The records that we have as such, and the number of the first: at least all that are not kept.
        """
        in_tail = self.count - len(self._tail)
        first, rows = min(self._head.snapshot.count, self.kept), list[bytes]()
        if self._whole:
            rows = without_gap(islice(self._journal.rows(first), in_tail - first), first)
        if len(rows) < in_tail - first:
            first, rows = in_tail, []
        # The rest from memory: the journal may be still at writing them.
        return first, rows + self._tail

    # Appending.

    def append(self, record: bytes) -> int:
        """
        Add C{record}, which the caller applies to its own state in the same breath; returns its number, to wait for.

        @raise Forked: if another copy of this account is writing.
        @raise ValueError: if it is empty, or longer than L{RECORD_LIMIT}.
        """
        if self._failed is not None:
            raise self._failed
        if not 0 < len(record) <= RECORD_LIMIT:
            raise ValueError(f"a record of {len(record)} octets")
        number = self.count
        self.count += 1
        self._tail.append(record)
        written = self._journal.write([(number, record)], [])
        written.addCallbacks(self._written, self._broken, callbackArgs=(number, self._past_turn))
        self._wake()
        return number

    def _written(self, _: None, number: int, past_turn: int) -> None:
        # After a failure a record before this one is missing, and without it this one is not read back.  And after a
        # catching up it has another number, under which it is being written again.
        if self._failed is None and past_turn == self._past_turn:
            self._journaled = max(self._journaled, number + 1)
            self._waiting_journaled.release(self._journaled)

    def _broken(self, failure: object) -> None:
        """
        The local disk failed: nothing can be promised any more.
        """
        self.log.error("log {handle}: the journal cannot be written: {failure}", handle=self.handle, failure=failure)
        if self._failed is None:
            self._fail(PostError("the journal cannot be written: see that the disk has room, and start the node again"))

    def stop(self) -> None:
        """
        Write no more; whoever waits is told so.
        """
        if self._failed is None:
            self._fail(Unreachable("this node is stopping"))

    def give_up(self, error: PostError) -> None:
        """
        Write no more, because somebody else goes on with this account.
        """
        if self._failed is None:
            self._fail(error)

    def _fail(self, error: PostError) -> None:
        self._failed = error
        self._waiting_journaled.refuse(error)
        self._waiting_kept.refuse(error)

    async def journaled(self, number: int) -> None:
        """
        Until the record with this number is durable on this machine.
        """
        if number >= self._journaled:
            if self._failed is not None:
                raise self._failed
            await self._waiting_journaled.until(number)

    async def kept_to(self, number: int) -> None:
        """
        Until the ring keeps the record with this number.

        @raise PostError: if it could not be written now.  The record stays in the log, and writing goes on.
        """
        if number >= self.kept:
            if self._failed is not None:
                raise self._failed
            kept = self._waiting_kept.until(number)
            if self._resting is not None and not self._nudged:
                self._nudged = True
                self._resting.cancel()
            await kept

    async def handles(self) -> list[Handle]:
        """
        Every block that the ring keeps of this log.

        @raise PostError: if a manifest cannot be had now.
        """
        head = self._head
        references = [cluster.reference for cluster in head.clusters]
        if head.snapshot.index is not None:
            references += [head.snapshot.index, *read_index(await self._store.fetch(head.snapshot.index, INDEX_BYTES))]
        return [self.handle, *[each for reference in references for each in await self._store.handles(reference)]]

    # Writing heads.

    def _wake(self) -> None:
        if not self._writing and self._failed is None:
            self._writing = True
            self._tasks.spawn(self._write_heads())

    async def _write_heads(self) -> None:
        rest_s, conflicts = RETRY_S, 0
        try:
            # Whoever appends applies the record right after; a snapshot must not be taken in between.  Appends of the
            # same turn also share one head.
            await sleep(self._clock, 0)
            while self.kept < self.count and self._failed is None:
                try:
                    await self._write_next()
                    rest_s, conflicts = RETRY_S, 0
                except Conflict as conflict:
                    conflicts += 1
                    self.rivaled()
                    if conflicts > CONFLICTS:
                        self.log.error("log {handle}: another copy of this account is writing", handle=self.handle)
                        self._fail(Forked("another copy of this account is in use"))
                    self._rival, self._confirmed = conflict.current, False
                except LogClosed as error:
                    self.log.error("log {handle}: {error}", handle=self.handle, error=error)
                    self._fail(error)
                except PostError as error:
                    if not self._whole:
                        self._broken(error)
                    if self._failed is not None:
                        return
                    self.log.info("log {handle}: not kept yet: {error}", handle=self.handle, error=error)
                    self._waiting_kept.refuse(error)
                    await self._rest(rest_s)
                    rest_s = min(RETRY_LIMIT_S, rest_s * 2)
        except CancelledError:
            self.stop()
            raise
        except Exception:
            self._fail(PostError("the log cannot be written"))
            raise
        finally:
            self._writing = False

    async def _rest(self, seconds: float) -> None:
        """
        Wait, but not while somebody waits for us.
        """
        self._nudged = False
        self._resting = sleep(self._clock, seconds)
        try:
            await self._resting
        except CancelledError:
            if not self._nudged:
                raise  # Our service stops.
        finally:
            self._resting = None

    async def _write_next(self) -> None:
        """
        One head, with everything appended so far.
        """
        if not self._confirmed or self._clock.seconds() - self._looked >= LOOK_S:
            try:
                await self._catch_up()
            except LogClosed:
                raise
            except PostError:
                if not (self._confirmed and self._whole):
                    raise
            if self.kept >= self.count:
                return
        if self._unsent is None:
            await self._prepare()
        assert self._unsent is not None
        expires = int(self._clock.seconds()) + self.lease_s
        await self._past.insert(PUBLIC_KEY, self.handle, self._unsent, StorageClass.HEAD, expires)
        self._unsent = None
        self.kept = self._head.count
        # If this is not written because we die, the same head is sent again, which changes nothing.
        self._journal.write([], [kept_value(self.kept)]).addErrback(self._broken)
        self._waiting_kept.release(self.kept)
        if self._head.snapshot.count > self._discarded:
            # Only now: until a snapshot is kept, its records may have to be written after somebody else's.
            self._discarded = self._head.snapshot.count
            self._journal.discard(self._discarded).addErrback(self._broken)

    async def _prepare(self) -> None:
        """
        Build, sign and journal the next head.
        """
        order, values = self._order, list[tuple[str, bytes]]()
        if self._snapshot_due():
            head, order, values = await self._with_snapshot()
        else:
            head = await self._with_clusters()
        payload = box(self._keys.sealing, Purpose.LOG_SEALING, write_head(head), self._entropy)
        data = sign_block(self._keys.signing, self._number + 1, self._keys.epoch, self._parent, payload)
        # With the rows of its records: one of them may have failed by itself, and a head is not to be without them.
        known = self._head.count
        rows = list(enumerate(self._tail[known - self._head.first : head.count - self._head.first], known))
        await self._journal.write(rows, [("head", data), *values])
        if self._failed is not None:
            raise self._failed
        # Only now: were this write to fail, the journal would still have the chunks of before.
        self._order = order
        self._chunks = {name: self._chunks[name] for name in order}
        del self._tail[: head.first - self._head.first]
        self._head = head
        self._block, self._number, self._parent = data, self._number + 1, block_hash(data)
        self._unsent = data

    def _snapshot_due(self) -> bool:
        if self.count - self._head.snapshot.count < 2:
            return False
        if self.count - self._head.snapshot.count >= SNAPSHOT_RECORDS:
            return True
        return len(self._head.clusters) >= SNAPSHOT_CLUSTERS or sum(map(len, self._tail)) >= SNAPSHOT_BYTES

    async def _with_snapshot(self) -> tuple[Head, tuple[bytes, ...], list[tuple[str, bytes]]]:
        """
        A head that begins with the state now, the names of that state's chunks, and what the journal has to change.
        """
        count = self.count
        chunks = self._reader.snapshot()
        if len(chunks) > CHUNKS_LIMIT:
            raise PostError(f"a snapshot of {len(chunks)} chunks")
        names = chunk_names(chunks)
        lease = Lease(StorageClass.HEAD, self.lease_s)
        fresh = {name: chunk for name, chunk in zip(names, chunks, strict=True) if name not in self._chunks}
        waiting = list(fresh)
        while waiting:
            batch, waiting = waiting[:FETCHES], waiting[FETCHES:]
            stored = await gather(self._store.store(fresh[name], lease) for name in batch)
            # At once, so that an attempt which fails later need not store these again.
            self._chunks.update(zip(batch, stored, strict=True))
        index = await self._store.store(write_index([self._chunks[name] for name in names]), lease)
        head = Head(1, Snapshot(count, index), (), count, ())
        moved = [i for i, name in enumerate(names) if i >= len(self._order) or self._order[i] != name]
        values = [(f"chunk/{index}", chunks[index]) for index in moved]
        return head, names, [*values, snapshot_value(count, names, self._chunks)]

    async def _with_clusters(self) -> Head:
        tail = list(self._tail)
        first, clusters = self._head.first, self._head.clusters
        while cut := cut_tail(tail):
            records, tail = tail[:cut], tail[cut:]
            lease = Lease(StorageClass.HEAD, self.lease_s)
            reference = await self._store.store(write_cluster(records), lease)
            clusters = (*clusters, Cluster(first, cut, reference))
            first += cut
        return Head(1, self._head.snapshot, clusters, first, tuple(tail))
