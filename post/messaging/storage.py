"""
The secure single-copy store (POST, section 3.2): cleartext in, L{Reference} out, and back.

What is shared (attachments) is encrypted under a key that follows from its content and the organisation's secret, so
that the same bytes stored by two people are one block.  What is private (text, small parts, logs) gets a key of its own
each time.  Cleartexts above one block are cut into pieces under a manifest, which is itself stored like any object;
storing and reading go piece by piece, so memory does not grow with the attachment.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

from msgspec import Meta
from twisted.internet.interfaces import IReactorTime

from post.crypto.convergent import BLOCK_LIMIT, Convergence, Reference, conceal_private, conceal_shared, reveal
from post.errors import PeerError
from post.ids import Handle
from post.interfaces import Entropy
from post.past.blocks import CONTENT
from post.past.node import Past
from post.tasks import gather
from post.wire import Document, StorageClass, pack, unpack

WINDOW = 4
"""Pieces on their way at once: a megabyte of memory per object being stored or read."""

PIECES_LIMIT = 1024
"""Of one manifest, which is a block: 256 MiB, five times the largest message taken by default."""

MANIFESTS_KEPT = 32
"""Read manifests remembered, so that reading an attachment range by range fetches its manifest once."""

BLOCK, MANIFEST = 0, 1


class Manifest(Document, frozen=True):
    """
    The pieces of a large object, each of C{piece_bytes} but the last.
    """

    version: int
    length: Annotated[int, Meta(ge=0, le=PIECES_LIMIT * BLOCK_LIMIT)]
    piece_bytes: Annotated[int, Meta(ge=1, le=BLOCK_LIMIT)]
    pieces: Annotated[tuple[Reference, ...], Meta(max_length=PIECES_LIMIT)]


@dataclass(frozen=True)
class Lease:
    """
    The class under which something is stored, and for how many seconds.
    """

    storage_class: StorageClass
    seconds: int
    kept: Callable[[int], None] | None = None
    """Is told of each block how many nodes have made it durable."""


class SecureStore:
    """
    What an application stores into and fetches from.
    """

    def __init__(self, past: Past, clock: IReactorTime, entropy: Entropy, convergence: Convergence) -> None:
        self._past = past
        self._clock = clock
        self._entropy = entropy
        self._convergence = convergence
        self._manifests: OrderedDict[bytes, Manifest] = OrderedDict()

    async def store(self, cleartext: bytes, lease: Lease, shared: bool = False) -> Reference:
        """
        Keep C{cleartext} on the policy's number of nodes.

        @raise TooFewReplicas: if the ring cannot keep it now.
        """
        if len(cleartext) <= BLOCK_LIMIT:
            return await self._store_block(cleartext, lease, shared)
        pieces = (cleartext[start : start + BLOCK_LIMIT] for start in range(0, len(cleartext), BLOCK_LIMIT))
        return await self.store_pieces(pieces, lease, shared)

    async def store_pieces(self, pieces: Iterable[bytes], lease: Lease, shared: bool = False) -> Reference:
        """
        The same for a cleartext that comes in pieces of any size up to L{BLOCK_LIMIT}; they are cut anew, so that the
        result does not depend on how they came.

        @raise TooFewReplicas: if the ring cannot keep it now.
        @raise ValueError: if it is longer than L{PIECES_LIMIT} blocks.
        """
        references: list[Reference] = []
        length = 0
        anew = _recut(pieces)
        while batch := list(islice(anew, WINDOW)):
            length += sum(map(len, batch))
            if length > PIECES_LIMIT * BLOCK_LIMIT:
                raise ValueError(f"an object of more than {PIECES_LIMIT} blocks")
            references += await gather(self._store_block(piece, lease, shared) for piece in batch)
        if len(references) == 1:
            return references[0]
        manifest = pack(Manifest(1, length, BLOCK_LIMIT, tuple(references)))
        return await self._store_block(manifest, lease, shared, MANIFEST)

    async def _store_block(self, cleartext: bytes, lease: Lease, shared: bool, kind: int = BLOCK) -> Reference:
        if shared:
            reference, ciphertext = conceal_shared(cleartext, self._convergence, kind)
        else:
            reference, ciphertext = conceal_private(cleartext, self._entropy, kind)
        expires = int(self._clock.seconds()) + lease.seconds
        inserted = await self._past.insert(CONTENT, reference.handle, ciphertext, lease.storage_class, expires)
        if lease.kept is not None:
            lease.kept(inserted.copies)
        return reference

    async def fetch(self, reference: Reference, limit: int = BLOCK_LIMIT) -> bytes:
        """
        The whole cleartext.

        @raise PeerError: if it is longer than C{limit} bytes, or not what the reference promises.
        @raise NotFound, Unreachable: if its blocks cannot be had.
        """
        if reference.kind == BLOCK:
            return await self._fetch_block(reference)
        manifest = await self.manifest(reference)
        if manifest.length > limit:
            raise PeerError(f"an object of {manifest.length} bytes")
        return await self.read(reference, 0, manifest.length)

    async def read(self, reference: Reference, start: int, stop: int) -> bytes:
        """
        The octets C{start:stop} of the cleartext.

        @raise PeerError, NotFound, Unreachable: as L{fetch}.
        """
        if reference.kind == BLOCK:
            return (await self._fetch_block(reference))[start:stop]
        manifest = await self.manifest(reference)
        size = manifest.piece_bytes
        stop = min(stop, manifest.length)
        wanted = manifest.pieces[start // size : -(-stop // size)]
        parts: list[bytes] = []
        for first in range(0, len(wanted), WINDOW):
            batch = wanted[first : first + WINDOW]
            parts += await gather(self._fetch_block(piece) for piece in batch)
        offset = start // size * size
        return b"".join(parts)[start - offset : stop - offset]

    async def handles(self, reference: Reference) -> list[Handle]:
        """
        Every block that C{reference} needs.

        @raise PeerError, NotFound, Unreachable: if its manifest cannot be had.
        """
        if reference.kind == BLOCK:
            return [reference.handle]
        return [reference.handle, *(piece.handle for piece in (await self.manifest(reference)).pieces)]

    async def manifest(self, reference: Reference) -> Manifest:
        """
        The manifest under a reference of kind L{MANIFEST}.

        @raise PeerError: if it contradicts itself.
        """
        known = self._manifests.get(reference.ciphertext_hash)
        if known is not None:
            self._manifests.move_to_end(reference.ciphertext_hash)
            return known
        manifest = unpack(Manifest, await self._fetch_block(reference))
        whole, rest = divmod(manifest.length, manifest.piece_bytes)
        lengths = [piece.length for piece in manifest.pieces]
        if manifest.version != 1:
            raise PeerError(f"a manifest of version {manifest.version}")
        if lengths != [manifest.piece_bytes] * whole + ([rest] if rest else []) or any(p.kind for p in manifest.pieces):
            raise PeerError("a manifest that contradicts itself")
        self._manifests[reference.ciphertext_hash] = manifest
        if len(self._manifests) > MANIFESTS_KEPT:
            self._manifests.popitem(last=False)
        return manifest

    async def _fetch_block(self, reference: Reference) -> bytes:
        return reveal(reference, await self._past.lookup(CONTENT, reference.handle))


def _recut(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """
    The same bytes in pieces of exactly L{BLOCK_LIMIT}, but for the last; at least one.
    """
    held = bytearray()
    empty = True
    for piece in pieces:
        held += piece
        while len(held) >= BLOCK_LIMIT:
            yield bytes(held[:BLOCK_LIMIT])
            empty = False
            del held[:BLOCK_LIMIT]
    if held or empty:
        yield bytes(held)
