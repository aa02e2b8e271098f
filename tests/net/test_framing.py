"""
Tests for L{post.net.framing}.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PeerError
from post.net.framing import OWN, FrameReader, head, own_frame

LIMIT = 200
frames = st.lists(st.tuples(st.booleans(), st.binary(max_size=LIMIT)), max_size=20)


def line(sent: list[tuple[bool, bytes]]) -> bytes:
    """
    The bytes of C{sent}.
    """
    return b"".join(own_frame(body) if own else head(len(body)) + body for own, body in sent)


class FrameReaderTests(SynchronousTestCase):
    """
    Tests for L{FrameReader}.
    """

    @given(frames, st.lists(st.integers(0, 4000), max_size=30))
    def test_chunks(self, sent: list[tuple[bool, bytes]], cuts: list[int]) -> None:
        """
        However the line cuts the bytes, the frames come out as they were sent.
        """
        data = line(sent)
        reader = FrameReader(LIMIT)
        received = []
        places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
        for start, end in pairwise(places):
            received += list(reader.feed(data[start:end]))
        self.assertEqual(sent, received)

    @given(frames)
    def test_byte_by_byte(self, sent: list[tuple[bool, bytes]]) -> None:
        """
        Also when it delivers single bytes.
        """
        reader = FrameReader(LIMIT)
        received = [frame for byte in line(sent) for frame in reader.feed(bytes([byte]))]
        self.assertEqual(sent, received)

    @given(st.binary(max_size=500), st.integers(1, 50))
    def test_garbage(self, data: bytes, step: int) -> None:
        """
        Garbage is frames or a L{PeerError}, and never more than one frame of it is kept.
        """
        reader = FrameReader(LIMIT)
        received = 0
        try:
            for start in range(0, len(data), step):
                for _, frame in reader.feed(data[start : start + step]):
                    received += len(frame)
        except PeerError:
            return
        self.assertLessEqual(received, len(data))

    def test_oversize(self) -> None:
        """
        A frame over the limit is refused as soon as its length is known; one at the limit passes.
        """
        self.assertEqual([(False, b"x" * LIMIT)], list(FrameReader(LIMIT).feed(line([(False, b"x" * LIMIT)]))))
        for length in (LIMIT + 1, OWN - 1):
            with self.assertRaises(PeerError):
                list(FrameReader(LIMIT).feed(head(length)))

    def test_limit_raised(self) -> None:
        """
        The limit may be raised between two frames of one piece, as it is after HELLO.
        """
        reader = FrameReader(4)
        sent = [(True, b"four"), (False, b"more than four")]
        received = []
        for frame in reader.feed(line(sent)):
            received.append(frame)
            reader.limit = 100
        self.assertEqual(sent, received)
