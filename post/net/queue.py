"""
Pure: the frames that wait to be sent to one peer, urgent ones first, within limits.
"""

from __future__ import annotations

from collections import deque

from post.net.config import LinkConfig
from post.net.framing import HEAD_BYTES, head
from post.wire import Priority


class Budget:
    """
    The bytes that all queues of a node may hold together.
    """

    __slots__ = ("limit", "used")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class SendQueue:
    """
    What waits for one peer.

    Strict order of priority, frame by frame: a bulk frame goes only when nothing else waits.  The limits of bulk are
    three quarters of the whole, so that there is room for what is urgent.
    """

    __slots__ = ("_budget", "_lanes", "_limits", "bulk_bytes", "bytes", "frames")

    def __init__(self, config: LinkConfig, budget: Budget) -> None:
        self._budget = budget
        whole = (config.queue_bytes, config.queue_frames)
        bulk = (config.queue_bytes * 3 // 4, config.queue_frames * 3 // 4)
        self._limits = (whole, whole, bulk)
        self._lanes: tuple[deque[bytes], ...] = (deque(), deque(), deque())
        self.bytes = 0
        self.frames = 0
        self.bulk_bytes = 0

    def __bool__(self) -> bool:
        return self.frames > 0

    def put(self, frame: bytes, priority: Priority) -> bool:
        """
        Keep C{frame}, or answer C{False} if a limit is reached.
        """
        size = len(frame)
        most_bytes, most_frames = self._limits[priority]
        budget = self._budget
        if self.bytes + size > most_bytes or self.frames >= most_frames or budget.used + size > budget.limit:
            return False
        self._lanes[priority].append(frame)
        self.bytes += size
        self.frames += 1
        budget.used += size
        if priority == Priority.BULK:
            self.bulk_bytes += size
        return True

    def take(self, most_bytes: int) -> bytes:
        """
        The next frames with their heads, ready for the line: as many as fit in C{most_bytes}, but at least one.
        """
        batch: list[bytes] = []
        size = taken = 0
        for lane in self._lanes:
            before = taken
            while lane:
                length = len(lane[0])
                size += length + HEAD_BYTES
                if batch and size > most_bytes:
                    break
                batch.append(head(length))
                batch.append(lane.popleft())
                self.frames -= 1
                taken += length
            if lane is self._lanes[Priority.BULK]:
                self.bulk_bytes -= taken - before
            if lane:
                break
        self.bytes -= taken
        self._budget.used -= taken
        return b"".join(batch)

    def clear(self) -> None:
        """
        Drop everything.
        """
        self._budget.used -= self.bytes
        self.bytes = self.frames = self.bulk_bytes = 0
        for lane in self._lanes:
            lane.clear()
