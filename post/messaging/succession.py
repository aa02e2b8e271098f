"""
How a mailbox log goes on under another key, when the machine that had its key is lost (POST, section 3.4).

The log of before is closed by a last version of its head: holders take nothing after it, and it takes the place only of
a head that it continues (L{post.past.blocks.FINAL_NUMBER}).  So no record can slip in between the reading and the
closing, and whoever has the old key learns that it is of no use any more.  It also holds all that the head before it
did; then the first head of the new log is written, which names the same clusters and snapshot.

After a crash at any point the same is done again: what is there is found, and not written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.crypto.sealing import box
from post.errors import Conflict, Unconfirmed
from post.hashes import Purpose
from post.interfaces import Entropy
from post.messaging.head import Closed, Head, write_head
from post.messaging.history import LogKeys
from post.past.blocks import FINAL_NUMBER, PUBLIC_KEY, block_hash, read_signed_block, sign_block
from post.past.node import Past
from post.past.reading import Newest
from post.wire import StorageClass, pack

ATTEMPTS = 8
"""Heads that may be written to a log while it is being closed, before that is left for later."""


class Succession:
    """
    From the logs with C{before} (the last one first) to that with C{keys}.
    """

    log = Logger()

    def __init__(
        self,
        past: Past,
        clock: IReactorTime,
        entropy: Entropy,
        keys: LogKeys,
        before: Sequence[LogKeys],
        lease_s: int,
        may_begin: Callable[[], bool],
    ) -> None:
        self._past = past
        self._clock = clock
        self._entropy = entropy
        self._keys = keys
        self._before = before
        self._lease_s = lease_s
        self._may_begin = may_begin

    async def run(self) -> None:
        """
        Returns when the new log has its first head, if there ever was an old one, and the old one is closed.

        @raise Unconfirmed: if too few holders answer, or too few members are in sight to know what the old log has.
        @raise PostError: if it cannot be done now.
        """
        if (await self._newest(self._keys)).data is not None:
            return  # The old one was closed before that was written.
        if not self._may_begin():
            raise Unconfirmed("too few members in sight to take a mailbox over")
        head = await self._close()
        if head is None:
            return
        payload = box(self._keys.sealing, Purpose.LOG_SEALING, write_head(head), self._entropy)
        first = sign_block(self._keys.signing, 1, self._keys.epoch, b"\0" * 32, payload)
        await self._insert(self._keys, first)
        self.log.info("log {old} goes on as {new}", old=self._before[0].handle, new=self._keys.handle)

    async def _newest(self, keys: LogKeys) -> Newest:
        newest = await self._past.newest(keys.handle, wide=True)
        if not newest.confirmed:
            raise Unconfirmed(f"log {keys.handle}")
        return newest

    async def _close(self) -> Head | None:
        """
        What the newest of the old logs that was ever written had at its end.
        """
        for keys in self._before:
            data = (await self._newest(keys)).data
            if data is not None:
                return await self._close_one(keys, data)
        return None

    async def _close_one(self, keys: LogKeys, data: bytes) -> Head:
        for _ in range(ATTEMPTS):
            head, block = keys.open_last(data), read_signed_block(data)
            reached = block.epoch if block.number == FINAL_NUMBER else block.number
            last = data
            if block.number != FINAL_NUMBER:
                closed = pack(Closed(1, write_head(head), self._keys.signing.public))
                payload = box(keys.sealing, Purpose.LOG_SEALING, closed, self._entropy)
                last = sign_block(keys.signing, FINAL_NUMBER, reached, block_hash(data), payload)
            try:
                # Also if it was closed before, by an attempt that may have been cut short: then on fewer holders.
                await self._insert(keys, last)
            except Conflict as conflict:
                data = conflict.current  # Its writer has been faster.
            else:
                return head
        raise Unconfirmed(f"log {keys.handle} is being written by somebody else")

    async def _insert(self, keys: LogKeys, data: bytes) -> None:
        expires = int(self._clock.seconds()) + self._lease_s
        await self._past.insert(PUBLIC_KEY, keys.handle, data, StorageClass.HEAD, expires)
