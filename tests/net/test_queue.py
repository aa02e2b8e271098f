"""
Tests for L{post.net.queue}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.net.config import LinkConfig
from post.net.framing import HEAD_BYTES, FrameReader
from post.net.queue import Budget, SendQueue
from post.wire import FRAME_LIMIT, Priority

CONFIG = LinkConfig(queue_bytes=10_000, queue_frames=40)
puts = st.lists(st.tuples(st.sampled_from(Priority), st.binary(max_size=900)), max_size=60)


def taken(data: bytes) -> list[bytes]:
    """
    The frames in what was taken.
    """
    return [frame for _, frame in FrameReader(FRAME_LIMIT).feed(data)]


class SendQueueTests(SynchronousTestCase):
    """
    Tests for L{SendQueue}.
    """

    def test_priorities(self) -> None:
        """
        What is urgent goes first, bulk last; within a priority the order is that of putting.
        """
        queue = SendQueue(CONFIG, Budget(10**6))
        for number, priority in enumerate((Priority.BULK, Priority.NORMAL, Priority.BULK, Priority.URGENT)):
            queue.put(b"%d" % number, priority)
        self.assertEqual([b"3", b"1", b"0", b"2"], taken(queue.take(1000)))

    def test_overtaking(self) -> None:
        """
        An urgent frame that comes while bulk is going waits for the batch that was taken, and for no more.
        """
        queue = SendQueue(CONFIG, Budget(10**6))
        for _ in range(5):
            queue.put(b"b" * 1000, Priority.BULK)
        self.assertEqual(1, len(taken(queue.take(1500))))
        queue.put(b"now", Priority.URGENT)
        self.assertEqual(b"now", taken(queue.take(1500))[0])

    def test_at_least_one(self) -> None:
        """
        A frame that is larger than a batch is taken alone.
        """
        queue = SendQueue(CONFIG, Budget(10**6))
        queue.put(b"x" * 500, Priority.NORMAL)
        queue.put(b"y", Priority.NORMAL)
        self.assertEqual([b"x" * 500], taken(queue.take(10)))

    def test_bulk_leaves_room(self) -> None:
        """
        When no more bulk is taken there is still room for what is urgent, up to the limit.
        """
        queue = SendQueue(CONFIG, Budget(10**6))
        while queue.put(b"b" * 500, Priority.BULK):
            pass
        self.assertEqual(7500, queue.bytes)
        while queue.put(b"u" * 500, Priority.URGENT):
            pass
        self.assertEqual(10_000, queue.bytes)

    def test_frames_limited(self) -> None:
        """
        Tiny frames are limited by number.
        """
        queue = SendQueue(CONFIG, Budget(10**6))
        self.assertEqual(40, sum(queue.put(b"", Priority.NORMAL) for _ in range(100)))

    def test_budget(self) -> None:
        """
        All queues together keep to the budget, and give back what is taken or dropped.
        """
        budget = Budget(1000)
        queues = [SendQueue(CONFIG, budget) for _ in range(3)]
        self.assertEqual([True, True, False], [queue.put(b"x" * 400, Priority.NORMAL) for queue in queues])
        queues[0].take(1000)
        self.assertEqual(True, queues[2].put(b"x" * 400, Priority.NORMAL))
        for queue in queues:
            queue.clear()
        self.assertEqual(0, budget.used)

    @given(puts, st.integers(1, 3000))
    def test_nothing_lost(self, sent: list[tuple[Priority, bytes]], batch: int) -> None:
        """
        Every frame that was accepted comes out once, in the order of its priority, in batches of limited size; and
        the counters end at nothing.
        """
        budget = Budget(10**6)
        queue = SendQueue(CONFIG, budget)
        kept = [(priority, frame) for priority, frame in sent if queue.put(frame, priority)]
        self.assertEqual(sum(len(frame) for _, frame in kept), queue.bytes)
        received = []
        while queue:
            data = queue.take(batch)
            frames = taken(data)
            if len(frames) > 1:
                self.assertLessEqual(len(data), batch)
            self.assertEqual(sum(len(frame) + HEAD_BYTES for frame in frames), len(data))
            received += frames
        self.assertEqual([frame for _, frame in sorted(kept, key=lambda each: each[0])], received)
        self.assertEqual((0, 0, 0, 0), (queue.bytes, queue.frames, queue.bulk_bytes, budget.used))
