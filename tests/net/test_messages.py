"""
Tests for L{post.net.messages}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PeerError
from post.ids import Contact, Id, NodeId
from post.net.messages import Ack, Agreed, Bye, Hello, Ping, Pong, agree
from post.wire import decode, encode

US = Contact(NodeId(Id(1)), ("127.0.0.1:1",), 5)


def hello(lowest: int, highest: int, features: int = 0) -> Hello:
    """
    A HELLO of somebody who speaks these versions.
    """
    return Hello(lowest, highest, features, US)


class MessagesTests(SynchronousTestCase):
    """
    Tests for the messages of links.
    """

    def test_round_trip(self) -> None:
        """
        Each is decoded as it was encoded.
        """
        for message in (Hello(1, 2, 3, US, NodeId(Id(9))), hello(1, 1), Ack(7), Ping(1), Pong(1), Bye(2)):
            self.assertEqual(message, decode(encode(message)))

    @given(st.binary(max_size=200), st.sampled_from((b"\0\2", b"\0\3", b"\0\4", b"\0\5", b"\0\6")))
    def test_garbage(self, body: bytes, tag: bytes) -> None:
        """
        Anything else is a L{PeerError}.
        """
        try:
            decode(tag + body)
        except PeerError:
            pass

    def test_fits(self) -> None:
        """
        The largest HELLO of this version stays far below the limit of frames before it.
        """
        contact = Contact(NodeId(Id(2**160 - 1)), ("x" * 80,) * 4, 2**62 - 1)
        largest = Hello(65535, 65535, 2**62 - 1, contact, NodeId(Id(2**160 - 1)))
        self.assertLess(len(encode(largest)), 500)


class AgreeTests(SynchronousTestCase):
    """
    Tests for L{agree}.
    """

    def test_highest(self) -> None:
        """
        The highest version that both speak is used, with the features that both offer.
        """
        self.assertEqual(Agreed(3, 0b0100), agree(hello(1, 3, 0b0110), hello(2, 5, 0b1100)))

    def test_none(self) -> None:
        """
        Without a common version there is no link, and the complaint says which versions meet.
        """
        for ours, theirs in ((hello(1, 2), hello(3, 4)), (hello(3, 4), hello(1, 2)), (hello(2, 1), hello(2, 1))):
            error = self.assertRaises(PeerError, agree, ours, theirs)
            self.assertIn(f"it speaks {theirs.lowest} to {theirs.highest}", str(error))

    @given(*(st.integers(0, 5),) * 4)
    def test_symmetric(self, a: int, b: int, c: int, d: int) -> None:
        """
        Both ends come to the same answer.
        """

        def answer(ours: Hello, theirs: Hello) -> Agreed | None:
            try:
                return agree(ours, theirs)
            except PeerError:
                return None

        self.assertEqual(answer(hello(a, b), hello(c, d)), answer(hello(c, d), hello(a, b)))
