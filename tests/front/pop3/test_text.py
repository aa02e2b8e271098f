"""
Tests for L{post.front.pop3.text}.
"""

from __future__ import annotations

import io
import poplib

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.front.pop3.text import Stuffing, Top

octets = st.lists(st.sampled_from([b".", b"\r", b"\n", b"\r\n", b"..", b"x", b"\0"]), max_size=40).map(b"".join)
lines = st.lists(st.sampled_from([b"", b".", b"..", b".x", b"x.", b"Subject: x"]), max_size=20).map(
    lambda each: b"".join(line + b"\r\n" for line in each)
)
cuts = st.lists(st.integers(0, 60), max_size=6).map(sorted)


def pieces(message: bytes, where: list[int]) -> list[bytes]:
    """
    C{message}, cut.
    """
    return [message[a:b] for a, b in zip([0, *where], [*where, None], strict=True)]


def stuffed(message: bytes, where: list[int]) -> bytes:
    """
    The response with C{message}.
    """
    stuffing = Stuffing()
    return b"".join([*(stuffing.feed(piece) for piece in pieces(message, where)), stuffing.end()])


def top(message: bytes, count: int, where: list[int]) -> bytes:
    """
    The header and C{count} lines.
    """
    taken, wanted = b"", Top(count)
    for piece in pieces(message, where):
        if not wanted.done:
            taken += wanted.feed(piece)
    return taken


class Read(poplib.POP3):
    """
    The standard library's client, which reads lines by LF; nothing is behind it but octets.
    """

    def __init__(self, said: bytes) -> None:
        self.file = io.BytesIO(b"+OK\r\n" + said)
        self._debugging = 0

    def rest(self) -> bytes:
        """
        What is left of the octets when it has read one response.
        """
        self._getlongresp()  # type: ignore[attr-defined]
        return self.file.read()


class StuffingTests(SynchronousTestCase):
    """
    Tests for L{Stuffing}.
    """

    @given(lines, cuts)
    @example(b"x" * 16383 + b"\r\n.\r\nMAIL FROM:<a@b>\r\n", [16384])
    def test_exact(self, message: bytes, where: list[int]) -> None:
        """
        A message of lines is read to the octet, wherever it is cut: also between a line's end and its dot.
        """
        response = stuffed(message, where)
        self.assertTrue(response.endswith(b".\r\n"))
        read = response.removesuffix(b".\r\n").split(b"\r\n")[:-1]
        self.assertNotIn(b".", read)
        self.assertEqual(message, b"".join(line.removeprefix(b".") + b"\r\n" for line in read))

    @given(octets, cuts)
    def test_one_end(self, message: bytes, where: list[int]) -> None:
        """
        Whatever a message has in it, it ends where it ends, for those too that take a bare CR or LF for a line's end.
        """
        response = stuffed(message, where)
        self.assertEqual(stuffed(message, []), response)
        self.assertEqual(b"", Read(response).rest())
        for text in (response.replace(b"\r\n", b"\n"), response.replace(b"\r\n", b"\n").replace(b"\r", b"\n")):
            self.assertEqual(1, text.split(b"\n").count(b"."))

    def test_last_line(self) -> None:
        """
        A last line that is not ended is ended; an empty message has none.
        """
        self.assertEqual(b"x\r\n.\r\n", stuffed(b"x", []))
        self.assertEqual(b"x\n\r\n.\r\n", stuffed(b"x\n", []))
        self.assertEqual(b".\r\n", stuffed(b"", []))

    def test_no_doubled_cr(self) -> None:
        """
        CRLF stays CRLF.
        """
        self.assertEqual(b"a\r\nb\r\n.\r\n", stuffed(b"a\r\nb\r\n", []))


class TopTests(SynchronousTestCase):
    """
    Tests for L{Top}.
    """

    def test_lines(self) -> None:
        """
        The header, the empty line, and so many lines.
        """
        message = b"A: b\r\nC: d\r\n\r\n1\r\n2\r\n\r\n3"
        for count, body in (
            (0, b""),
            (1, b"1\r\n"),
            (3, b"1\r\n2\r\n\r\n"),
            (4, b"1\r\n2\r\n\r\n3"),
            (99, b"1\r\n2\r\n\r\n3"),
        ):
            self.assertEqual(b"A: b\r\nC: d\r\n\r\n" + body, top(message, count, []))

    def test_odd(self) -> None:
        """
        A message without a body, one without a header, an empty one, and one with bare LF.
        """
        for message, count, taken in (
            (b"A: b\r\n", 5, b"A: b\r\n"),
            (b"\r\nx\r\ny\r\n", 1, b"\r\nx\r\n"),
            (b"", 1, b""),
            (b"A: b\n\nx\ny\n", 1, b"A: b\n\nx\n"),
            (b"A: b\r\n\rx\r\n\r\ny\r\n", 0, b"A: b\r\n\rx\r\n\r\n"),
        ):
            self.assertEqual(taken, top(message, count, []))

    @given(octets, st.integers(0, 5), cuts)
    def test_cut(self, message: bytes, count: int, where: list[int]) -> None:
        """
        Wherever the message is cut, the same is taken, and it is the message's beginning.
        """
        taken = top(message, count, [])
        self.assertEqual(taken, top(message, count, where))
        self.assertTrue(message.startswith(taken))
