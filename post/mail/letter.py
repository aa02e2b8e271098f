"""
Messages in the secure store: a whole message in, a reference to its skeleton out, and its octets back by ranges.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from post.crypto.convergent import BLOCK_LIMIT, Reference
from post.errors import NotFound, PeerError, PostError
from post.ids import Handle
from post.interfaces import IJournal
from post.mail.interfaces import IContent, MessageTooLarge, MessageUnavailable, Octets
from post.mail.mime import HEADER_LIMIT, MimePart, header_end, prepend, scan_skeleton
from post.mail.parts import (
    Cutting,
    Skeleton,
    StoredPart,
    cuttings,
    decoded,
    encode,
    read_skeleton,
    stored_range,
)
from post.messaging.pending import LIFE_LIMIT_S
from post.messaging.storage import PIECES_LIMIT, Lease, SecureStore
from post.tasks import sleep
from post.wire import StorageClass, pack, unpack

SKELETONS_BYTES = 8 * 1024 * 1024
"""Skeletons of messages looked at lately, kept in memory."""
TREES_BYTES = 8 * 1024 * 1024
"""MIME trees kept in memory, by the octets of the headers in them; more are in the journal."""
TREE_JOURNALED = 64 * 1024
"""Trees with more than so much in them are made again rather than kept: few messages have such headers."""


@dataclass(frozen=True)
class Letter:
    """
    A message in the store: the packed reference of its skeleton, its octets, and its header (64 KiB of it at most).
    """

    reference: bytes
    size: int
    header: bytes
    copies: int = 0
    """On how many nodes each of its blocks was at least, if it has just been stored."""


LARGEST = PIECES_LIMIT * BLOCK_LIMIT
"""Octets of a message, whatever the policy says: a part is no larger than a manifest can name."""
READABLE = 50 * 1000 * 1000
"""Octets of a message from others that is taken in any case: the limit that policies have if nothing else is said."""


class LetterBox:
    """
    Stores and opens messages for one account.
    """

    def __init__(
        self, store: SecureStore, journal: IJournal, clock: IReactorTime, mail_s: int, size_limit: int
    ) -> None:
        self._store = store
        self._journal = journal
        self._clock = clock
        self._readable = READABLE
        self.use(mail_s, size_limit)
        self._skeletons: OrderedDict[bytes, Skeleton] = OrderedDict()
        self._skeleton_bytes = 0
        self._trees: OrderedDict[bytes, MimePart] = OrderedDict()
        self._tree_bytes = 0

    def use(self, mail_s: int, size_limit: int) -> None:
        """
        Store for so many seconds, and messages of so many octets at most, from now on.
        """
        # Whatever the policy says: what a notification names has to be there as long as the notification can wait.
        self._lease = Lease(StorageClass.MAIL, max(mail_s, LIFE_LIMIT_S))
        self._size_limit = min(size_limit, LARGEST)
        # What was sent under another limit is on its way.
        self._readable = max(self._readable, self._size_limit)

    async def store(self, message: Octets) -> Letter:
        """
        Put a message on the policy's number of nodes.

        @raise MessageTooLarge: if it is over the limit.
        @raise TooFewReplicas: if the ring cannot keep it now.
        """
        if len(message) > self._size_limit:
            raise MessageTooLarge(f"{len(message)} octets")
        copies: list[int] = []
        lease = replace(self._lease, kept=copies.append)
        literals: list[bytes] = []
        parts: list[StoredPart] = []
        position = filled = 0
        for cutting in cuttings(message):
            if cutting is None:
                await sleep(self._clock, 0)
                continue
            literals.append(bytes(message[position : cutting.start]))
            filled += len(literals[-1])
            position = cutting.stop
            parts.append(await self._store_part(message, cutting, filled, lease))
        literals.append(bytes(message[position:]))
        skeleton = Skeleton(1, b"".join(literals), tuple(parts))
        reference = pack(await self._store.store(pack(skeleton), lease))
        self._remember(reference, skeleton)
        return replace(_letter(reference, skeleton), copies=min(copies))

    async def without(self, letter: Letter, omitted: Sequence[tuple[int, int]]) -> Letter:
        """
        The same message without some octets of its header; what was cut out of it is shared.

        @raise TooFewReplicas: if the ring cannot keep it now.
        """
        if not omitted:
            return letter
        skeleton = (await self._skeleton(letter.reference)).without(omitted)
        reference = pack(await self._store.store(pack(skeleton), self._lease))
        self._remember(reference, skeleton)
        return _letter(reference, skeleton)

    async def _store_part(self, message: Octets, cutting: Cutting, position: int, lease: Lease) -> StoredPart:
        pieces = (piece for piece in decoded(message, cutting.start, cutting.stop, cutting.recipe) if piece)
        reference = await self._store.store_pieces(pieces, lease, cutting.shared)
        length = cutting.stop - cutting.start
        return StoredPart(position, length, cutting.lines, cutting.recipe, cutting.length, reference)

    async def fetch(self, reference: bytes, size: int) -> Letter:
        """
        The message under a reference that somebody sent, who says that it has C{size} octets.

        @raise PeerError: if it is no message, or of another size.
        @raise NotFound, Unreachable: if it cannot be had now.
        """
        if size > self._readable:
            raise PeerError(f"a message of {size} octets")
        skeleton = await self._skeleton(reference, self._readable)
        if skeleton.size != size:
            raise PeerError("a message of another size than announced")
        return _letter(reference, skeleton)

    async def _skeleton(self, reference: bytes, limit: int = LARGEST) -> Skeleton:
        """
        @param limit: octets of the message at most; what is in the mailbox already may be as large as any was.
        """
        known = self._skeletons.get(reference)
        if known is not None:
            self._skeletons.move_to_end(reference)
            return known
        skeleton = read_skeleton(await self._store.fetch(unpack(Reference, reference), 2 * limit))
        self._remember(reference, skeleton)
        return skeleton

    def _remember(self, reference: bytes, skeleton: Skeleton) -> None:
        if reference in self._skeletons or len(skeleton.literals) > SKELETONS_BYTES // 4:
            return
        self._skeletons[reference] = skeleton
        self._skeleton_bytes += len(skeleton.literals)
        while self._skeleton_bytes > SKELETONS_BYTES:
            self._skeleton_bytes -= len(self._skeletons.popitem(last=False)[1].literals)

    async def handles(self, reference: bytes) -> list[Handle]:
        """
        Every block of the message under C{reference}.

        @raise PeerError, NotFound, Unreachable: as L{fetch}.
        """
        found = await self._store.handles(unpack(Reference, reference))
        for part in (await self._skeleton(reference)).parts:
            found += await self._store.handles(part.reference)
        return found

    def content(
        self, key: bytes, reference: bytes, prefix: bytes, size: int, omitted: Sequence[tuple[int, int]] = ()
    ) -> IContent:
        """
        The octets of the message under C{reference}, behind C{prefix} and without those C{omitted}; C{key} names the
        entry that it belongs to.
        """
        content: IContent = _Content(self, key, reference, prefix, size, omitted)
        return content

    def forget(self, keys: Iterable[bytes]) -> None:
        """
        Let go of what is kept of entries that are gone.
        """
        names = [f"mime/{key.hex()}" for key in keys]
        emptied = [(name, b"") for name in names if self._journal.value(name)]
        if emptied:
            self._journal.write([], emptied).addErrback(_ignore)

    async def tree(
        self, key: bytes, reference: bytes, prefix: bytes, omitted: Sequence[tuple[int, int]] = ()
    ) -> MimePart:
        """
        The MIME tree of an entry; computed once, then kept in the journal.
        """
        known = self._trees.get(key)
        if known is not None:
            self._trees.move_to_end(key)
            return known
        stored = self._journal.value(f"mime/{key.hex()}")
        if stored:
            tree = unpack(MimePart, stored)
        else:
            skeleton = (await self._skeleton(reference)).without(omitted)
            tree = prepend(scan_skeleton(skeleton.literals, skeleton.holes), prefix)
            packed = pack(tree)
            if len(packed) <= TREE_JOURNALED:
                # Only an index, which can be made again: nobody waits for it, and its loss does not matter.
                self._journal.write([], [(f"mime/{key.hex()}", packed)]).addErrback(_ignore)
        if key not in self._trees:  # It may have come while we waited for the skeleton.
            self._trees[key] = tree
            self._tree_bytes += _weight(tree)
        while self._tree_bytes > TREES_BYTES:
            self._tree_bytes -= _weight(self._trees.popitem(last=False)[1])
        return tree

    async def read(self, reference: bytes, start: int, stop: int, omitted: Sequence[tuple[int, int]] = ()) -> bytes:
        """
        The octets C{start:stop} of a message.

        @raise PeerError, NotFound, Unreachable: as L{fetch}.
        """
        skeleton = (await self._skeleton(reference)).without(omitted)
        out: list[bytes] = []
        at = literal = 0
        for part in skeleton.parts:
            gap = part.position - literal
            out.append(_overlap(skeleton.literals, literal, at, gap, start, stop))
            at, literal = at + gap, part.position
            first, last = max(start, at) - at, min(stop, at + part.length) - at
            if first < last:
                out.append(await self._read_part(part, first, last))
            at += part.length
        out.append(_overlap(skeleton.literals, literal, at, len(skeleton.literals) - literal, start, stop))
        return b"".join(out)

    async def _read_part(self, part: StoredPart, start: int, stop: int) -> bytes:
        first, last = stored_range(part.recipe, part.stored, start, stop)
        octets = await self._store.read(part.reference, first, last)
        if len(octets) != last - first:
            raise PeerError("a part of another length")
        return encode(part.recipe, part.stored, start, stop, octets)


def _overlap(literals: bytes, literal: int, at: int, length: int, start: int, stop: int) -> bytes:
    """
    Of C{length} literals from C{literal} on, which stand at C{at} of the message, those within C{start:stop}.
    """
    first, last = max(start, at) - at, min(stop, at + length) - at
    return literals[literal + first : literal + last] if first < last else b""


def _letter(reference: bytes, skeleton: Skeleton) -> Letter:
    return Letter(reference, skeleton.size, skeleton.literals[: min(header_end(skeleton.literals), HEADER_LIMIT)])


def _weight(tree: MimePart) -> int:
    return 500 + len(tree.header) + sum(map(_weight, tree.children))


def _ignore(failure: object) -> None:
    """
    See where it is used.
    """


@implementer(IContent)
class _Content:
    """
    A message as a mail program reads it.
    """

    log = Logger()

    def __init__(
        self,
        letters: LetterBox,
        key: bytes,
        reference: bytes,
        prefix: bytes,
        size: int,
        omitted: Sequence[tuple[int, int]],
    ) -> None:
        self.size = size
        self._letters = letters
        self._key = key
        self._reference = reference
        self._prefix = prefix
        self._omitted = omitted

    async def read(self, start: int, stop: int) -> bytes:
        head = len(self._prefix)
        stop = min(stop, self.size)
        out = self._prefix[start:stop]
        if stop > head:
            try:
                out += await self._letters.read(self._reference, max(0, start - head), stop - head, self._omitted)
            except PostError as error:
                raise self._unavailable(error) from error
        if len(out) != max(0, stop - start):
            raise self._unavailable(NotFound("some octets"))
        return out

    async def structure(self) -> MimePart:
        try:
            return await self._letters.tree(self._key, self._reference, self._prefix, self._omitted)
        except PostError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: PostError) -> MessageUnavailable:
        self.log.warn("message {key} cannot be read now: {error}", key=self._key[:4].hex(), error=error)
        return MessageUnavailable(str(error))
