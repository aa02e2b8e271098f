"""
The past of a log as the ring has it, read back, and compared with another that should be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from post.crypto.convergent import Reference
from post.messaging.head import CHUNKS_LIMIT, Head, read_cluster, read_index
from post.messaging.storage import SecureStore
from post.tasks import gather

INDEX_BYTES = CHUNKS_LIMIT * 200
FETCHES = 8
"""Chunks of a snapshot fetched at once."""


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
        for number, record in enumerate(self.records, self.head.snapshot.count):
            reader.replay(number, record)

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
