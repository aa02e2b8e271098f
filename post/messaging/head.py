"""
The formats of a log (POST, section 3.4): head, clusters and snapshot, as bytes and back.  Pure.

A head's payload is sealed to the owner; what is described here is inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from post.crypto.convergent import Reference
from post.errors import PeerError
from post.hashes import Purpose, tagged
from post.wire import Document, pack, unpack

RECORD_LIMIT = 60 * 1024
"""Octets of one record.  A head that holds one such record still fits a public-key block's payload."""
TAIL_LIMIT = 16 * 1024
"""Octets of records in a head; when they grow beyond, they become a cluster.  The whole tail is sent with every write,
so longer would cost more than the clusters it saves."""
CLUSTER_LIMIT = 240 * 1024
"""Octets of records in a cluster, which is one block."""
CLUSTERS_LIMIT = 256
CHUNKS_LIMIT = 20_000
"""Chunks of a snapshot, of up to 200 KiB each: a mailbox of five million messages."""

Number = Annotated[int, Meta(ge=0, lt=1 << 62)]
Record = Annotated[bytes, Meta(max_length=RECORD_LIMIT)]


class Cluster(Document, frozen=True):
    """
    Where the records from number C{first} on are, C{count} of them.
    """

    first: Number
    count: Annotated[int, Meta(ge=1, le=100_000)]
    reference: Reference


class Snapshot(Document, frozen=True):
    """
    The state after the first C{count} records: its chunks are named by what is stored under C{index}, so that a head
    does not grow with the state.  No index: an empty state.
    """

    count: Number
    index: Reference | None


class Closed(Document, frozen=True):
    """
    In the last version of a log: the packed L{Head} of before, and the public key of the log that goes on from there.
    """

    version: int
    head: bytes
    successor: Annotated[bytes, Meta(max_length=64)]


class Head(Document, frozen=True):
    """
    The log at one moment: the snapshot, the clusters after it, and the tail, whose first record has number C{first}.
    """

    version: int
    snapshot: Snapshot
    clusters: Annotated[tuple[Cluster, ...], Meta(max_length=CLUSTERS_LIMIT)]
    first: Number
    tail: Annotated[tuple[Record, ...], Meta(max_length=100_000)]

    @property
    def count(self) -> int:
        """
        How many records the log has.
        """
        return self.first + len(self.tail)


EMPTY = Head(1, Snapshot(0, None), (), 0, ())


class LocalSnapshot(Document, frozen=True):
    """
    Of the journal's values C{chunk/0}, C{chunk/1}, …: after how many records they were taken, their hashes, and where
    the ring has them.
    """

    version: int
    count: int
    names: Annotated[tuple[bytes, ...], Meta(max_length=CHUNKS_LIMIT)]
    chunks: Annotated[tuple[Reference, ...], Meta(max_length=CHUNKS_LIMIT)]


NO_SNAPSHOT = LocalSnapshot(1, 0, (), ())

_Chunks = Annotated[tuple[Reference, ...], Meta(max_length=CHUNKS_LIMIT)]


def read_head(data: bytes) -> Head:
    """
    The head in C{data}.

    @raise PeerError: if it is none, or its parts do not join without a gap.
    """
    head = unpack(Head, data)
    if head.version != 1:
        raise PeerError(f"a log head of version {head.version}")
    number = head.snapshot.count
    for cluster in head.clusters:
        if cluster.first != number:
            raise PeerError("a log with a gap")
        number += cluster.count
    if head.first != number:
        raise PeerError("a log with a gap before its tail")
    return head


def write_index(chunks: Sequence[Reference]) -> bytes:
    """
    The cleartext of a snapshot's index.
    """
    return pack(tuple(chunks))


def read_index(data: bytes) -> tuple[Reference, ...]:
    """
    The chunks that an index names.

    @raise PeerError: if it is none.
    """
    return unpack(_Chunks, data)


def chunk_names(chunks: Sequence[bytes]) -> tuple[bytes, ...]:
    """
    By which the chunks of a snapshot are known again.
    """
    return tuple(tagged(Purpose.SNAPSHOT_CHUNK, chunk) for chunk in chunks)


def snapshot_value(count: int, names: tuple[bytes, ...], places: Mapping[bytes, Reference]) -> tuple[str, bytes]:
    """
    The journal's value for a snapshot after C{count} records, whose chunks are at C{places} by their names.
    """
    return "snapshot", pack(LocalSnapshot(1, count, names, tuple(places[name] for name in names)))


def kept_value(count: int) -> tuple[str, bytes]:
    """
    The journal's value for how many records the ring keeps.
    """
    return "kept", count.to_bytes(8, "big")


def without_gap(rows: Iterable[tuple[int, bytes]], first: int) -> list[bytes]:
    """
    The records of a journal from number C{first} on, up to where one is missing or written over with nothing.
    """
    records: list[bytes] = []
    for number, record in rows:
        if number == first + len(records) and record:
            records.append(record)
        elif number >= first:
            break
    return records


def write_cluster(records: Sequence[bytes]) -> bytes:
    """
    The cleartext of a cluster.
    """
    return msgspec.msgpack.encode(records)


def read_cluster(data: bytes, cluster: Cluster) -> tuple[bytes, ...]:
    """
    The records of a cluster.

    @raise PeerError: if they are not as many as C{cluster} says.
    """
    records = unpack(tuple[bytes, ...], data)
    if len(records) != cluster.count:
        raise PeerError("a cluster of another length")
    return records


def cut_tail(tail: Sequence[bytes]) -> int:
    """
    How many records, from the oldest, have to leave the tail: none while it fits, else as many as one cluster takes.
    """
    if sum(map(len, tail)) <= TAIL_LIMIT:
        return 0
    size = 0
    for index, record in enumerate(tail):
        size += len(record) + 5
        if size > CLUSTER_LIMIT:
            return index
    return len(tail)


def write_head(head: Head) -> bytes:
    """
    The cleartext of a head's payload.
    """
    return pack(head)
