"""
The past of a log, read back from the ring or from the journal, and compared with another that should be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from post.crypto.convergent import Reference
from post.crypto.keys import LogKey
from post.crypto.sealing import unbox
from post.errors import PeerError, PostError
from post.hashes import Purpose, handle_of, keyed
from post.ids import Handle
from post.interfaces import IJournal
from post.messaging.head import (
    CHUNKS_LIMIT,
    NO_SNAPSHOT,
    Closed,
    Head,
    LocalSnapshot,
    read_cluster,
    read_head,
    read_index,
)
from post.messaging.storage import SecureStore
from post.past.blocks import FINAL_NUMBER, block_hash, read_signed_block
from post.tasks import gather
from post.wire import unpack

INDEX_BYTES = CHUNKS_LIMIT * 200
FETCHES = 8
"""Chunks of a snapshot fetched at once."""


class LogClosed(PostError):
    """
    The log has been closed, and goes on under another key: this account was recovered on another machine.
    """

    def __init__(self) -> None:
        super().__init__("this account has been recovered on another machine, and this copy of it is out of use")


class LogKeys:
    """
    What writes, finds and opens the log of one writer in one epoch.
    """

    def __init__(self, master: bytes, writer: bytes, epoch: int) -> None:
        self.epoch = epoch
        self.signing = LogKey.derive(master, writer, epoch)
        self.sealing = keyed(master, Purpose.LOG_SEALING, writer, epoch.to_bytes(8, "big"))
        self.handle: Handle = handle_of(Purpose.PUBLIC_KEY_BLOCK, self.signing.public)

    def open(self, data: bytes) -> Head:
        """
        The head in C{data}.

        @raise LogClosed: if there is none any more.
        @raise PeerError: if it is no head of this log.
        """
        block = read_signed_block(data)
        payload = unbox(self.sealing, Purpose.LOG_SEALING, block.payload)
        if block.number == FINAL_NUMBER:
            raise LogClosed
        return read_head(payload)

    def open_last(self, data: bytes) -> Head:
        """
        The same, also from a log that has been closed: what it was then.

        @raise PeerError: if it is no head of this log.
        """
        block = read_signed_block(data)
        payload = unbox(self.sealing, Purpose.LOG_SEALING, block.payload)
        if block.number == FINAL_NUMBER:
            closed = unpack(Closed, payload)
            if closed.version != 1:
                raise PeerError(f"a closed log of version {closed.version}")
            payload = closed.head
        return read_head(payload)


class Reader(Protocol):
    """
    The application whose state the log is.
    """

    def restore(self, chunks: Sequence[bytes]) -> None:
        """
        Begin anew, with the state of a snapshot (none: with nothing).
        """

    def replay(self, number: int, record: bytes) -> None:
        """
        Apply the record with this number.
        """

    def snapshot(self) -> Sequence[bytes]:
        """
        The state now, in chunks of at most 200 KiB, cut so that what did not change gives the same chunks again.
        """

    def recovered(self) -> Sequence[bytes]:
        """
        The state is that of the ring, which this machine had not: records to add before its own follow.
        """

    def missing(self, chunks: Sequence[bytes]) -> Sequence[bytes]:
        """
        Records to add so that nothing is lost of what the state in C{chunks} has and the present one never had.
        """


@dataclass(frozen=True)
class History:
    """
    A head, and what it refers to: the snapshot's chunks, and all records after it.
    """

    head: Head
    references: Sequence[Reference]
    chunks: Sequence[bytes]
    records: Sequence[bytes]

    def tell(self, reader: Reader) -> None:
        """
        Bring C{reader} to this state.
        """
        reader.restore(self.chunks)
        replay(reader, self.head.snapshot.count, self.records)

    def lacks(self, first: int, rows: Sequence[bytes], kept: int) -> tuple[list[bytes], bool]:
        """
        Of C{rows}, the records of the other past from number C{first} on, those that are not in this one; and whether
        this one is seen to continue from the other's first C{kept}.

        What both have is at the same numbers.  Kept records which are here in the snapshot only cannot be compared, and
        count as being here, unless a later one shows that the two have parted.
        """
        since = self.head.snapshot.count
        number = shared = max(first, min(since, kept))
        while number < first + len(rows) and since <= number < self.head.count:
            if rows[number - first] != self.records[number - since]:
                break
            number += 1
        known = set(self.records)
        lacking = [
            record
            for place, record in enumerate(rows[number - first :], number)
            if place >= kept or record not in known
        ]
        return lacking, number >= kept and (kept == 0 or shared < kept)


def replay(reader: Reader, first: int, records: Sequence[bytes]) -> None:
    """
    Tell C{reader} of C{records}, which begin with number C{first}.
    """
    for number, record in enumerate(records, first):
        reader.replay(number, record)


def place(data: bytes) -> tuple[int, int, bytes]:
    """
    Where a head stands among all, as L{post.past.node.Past.newest} sees it.
    """
    block = read_signed_block(data)
    return block.number, block.epoch, block_hash(data)


def read_journal(journal: IJournal) -> tuple[LocalSnapshot, list[bytes], list[tuple[int, bytes]]]:
    """
    What is in a log's journal: the snapshot, its chunks, and the rows after it.

    @raise DiskError, PeerError: if it is damaged.
    """
    value = journal.value("snapshot")
    local = unpack(LocalSnapshot, value) if value is not None else NO_SNAPSHOT
    chunks = [journal.value(f"chunk/{index}") or b"" for index in range(len(local.names))]
    return local, chunks, list(journal.rows(local.count))


async def fetch_history(store: SecureStore, head: Head) -> History:
    """
    All that C{head} refers to.

    @raise NotFound, Unreachable, PeerError: if something of it cannot be had.
    """
    references: tuple[Reference, ...] = ()
    if head.snapshot.index is not None:
        references = read_index(await store.fetch(head.snapshot.index, INDEX_BYTES))
    chunks: list[bytes] = []
    for start in range(0, len(references), FETCHES):
        chunks += await gather(store.fetch(each) for each in references[start : start + FETCHES])
    records: list[bytes] = []
    for cluster in head.clusters:
        records += read_cluster(await store.fetch(cluster.reference), cluster)
    return History(head, references, chunks, [*records, *head.tail])
