"""
Tests for L{post.smtp.data}.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.smtp.data import MEMORY_BYTES, DataReader

LIMIT = 3 * MEMORY_BYTES

SMUGGLED = (
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r\n.\r",
    b"\r.\r\n",
    b"\n\n.\r\n",
    b"\r\r\n.\n",
    b"\0\r\n.\n",
)
"""What some server or other has taken for the end of a message (SMTP smuggling, 2023)."""

pieces = st.sampled_from(
    [b"a", b".", b"\r\n", b"\r\n.", b"\r\n..", b"\r", b"\n", b"\0", b"\r\n.\r", b"\xff", b"x" * 998]
)
lines = st.lists(st.binary(max_size=30).map(lambda line: line.translate(None, b"\r\n\0")))


def stuffed(message: bytes) -> bytes:
    """
    C{message} as a client sends it (RFC 5321, 4.5.2), with its end.
    """
    dotted = (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]
    return dotted + (b"" if message.endswith(b"\r\n") or not message else b"\r\n") + b".\r\n"


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """
    C{data} in pieces.
    """
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[start:stop] for start, stop in pairwise(places)]


def read(chunks: list[bytes]) -> tuple[DataReader, bytes | None]:
    """
    A reader that has been fed C{chunks}, and what came behind the end.
    """
    reader = DataReader(LIMIT, None)
    rest: bytes | None = None
    for chunk in chunks:
        rest = reader.feed(chunk) if rest is None else rest + chunk
    return reader, rest


class DataReaderTests(SynchronousTestCase):
    """
    Tests for L{DataReader}.
    """

    def test_whole(self) -> None:
        """
        The message is what stands before the end, to the octet, and what comes behind the end is given back.
        """
        reader, rest = read([b"Subject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n"])
        self.assertEqual((b"Subject: x\r\n\r\nhello\r\n", b"QUIT\r\n"), (bytes(reader.message()), rest))

    def test_empty(self) -> None:
        """
        A dot at once is a message of nothing.
        """
        reader, rest = read([b".\r\n"])
        self.assertEqual((b"", b"", 0), (reader.message(), rest, reader.size))

    def test_dots(self) -> None:
        """
        One dot is taken from the beginning of each line that has one, and no other.
        """
        reader, _ = read([b"..\r\n...a\r\n.b\r\na.\r\na\r\n..\r\n\r\n.\r\n"])
        self.assertEqual(b".\r\n..a\r\nb\r\na.\r\na\r\n.\r\n\r\n", reader.message())

    def test_long_lines(self) -> None:
        """
        No line is too long, and none is cut.
        """
        for length in (998, 999, 16_384, 70_000):
            message = b"x" * length + b"\r\n." + b"y" * length + b"\r\n"
            reader, rest = read(cut(stuffed(message), [length, length + 1, length + 2, length + 3]))
            self.assertEqual((message, b""), (reader.message(), rest))

    def test_smuggled(self) -> None:
        """
        Nothing but CRLF, dot, CRLF is an end, and a message with anything that resembles one is refused.
        """
        for end in SMUGGLED:
            for before in (b"", b"hello", b"hello\r\n"):
                reader, rest = read([before + end + b"MAIL FROM:<>\r\n"])
                self.assertIsNone(rest, end)
                self.assertEqual(b"QUIT\r\n", reader.feed(b"\r\n.\r\nQUIT\r\n"))
                self.assertTrue(reader.bad_octets, end)
                self.assertEqual(b"", reader.message())

    def test_too_large(self) -> None:
        """
        A message over the limit is read to its end, and not kept.
        """
        reader, rest = read([b"x" * MEMORY_BYTES] * 4 + [b"\r\n", b".\r\n", b"NOOP\r\n"])
        self.assertEqual((True, b"NOOP\r\n", b""), (reader.too_large, rest, reader.message()))

    def test_limit(self) -> None:
        """
        The limit is that of the message as it will be kept: stuffed dots and the end do not count.
        """
        message = b".\r\n" * (LIMIT // 3)
        reader, _ = read([stuffed(message)])
        self.assertEqual((False, len(message)), (reader.too_large, reader.size))
        reader, _ = read([stuffed(message + b"\r\n")])
        self.assertTrue(reader.too_large)

    def test_spooled(self) -> None:
        """
        A large message goes through a file, which is gone when the message has been read.
        """
        (directory := Path(self.mktemp())).mkdir()
        reader = DataReader(LIMIT, str(directory))
        message = b"0123456789abcdef" * (MEMORY_BYTES // 8) + b"\r\n"
        data = stuffed(message)
        for start in range(0, len(data), 60_000):
            reader.feed(data[start : start + 60_000])
        self.assertEqual(message, bytes(reader.message()))
        self.assertEqual([], list(directory.iterdir()))

    def test_no_room(self) -> None:
        """
        Where nothing can be written, a large message is still read to its end.
        """
        reader = DataReader(LIMIT, str(Path(self.mktemp()) / "nowhere"))
        self.assertIsNone(reader.feed(b"x" * (MEMORY_BYTES + 10)))
        self.assertEqual(b"NOOP\r\n", reader.feed(b"\r\n.\r\nNOOP\r\n"))
        self.assertTrue(reader.no_room)

    @given(lines, st.lists(st.integers(0, 2000), max_size=10), st.booleans())
    def test_exact(self, body: list[bytes], at: list[int], ended: bool) -> None:
        """
        Every message arrives to the octet, in whatever chunks.
        """
        message = b"\r\n".join(body) + (b"\r\n" if ended and body else b"")
        reader, rest = read(cut(stuffed(message) + b"NOOP\r\n", at))
        expected = message if message.endswith(b"\r\n") or not message else message + b"\r\n"
        self.assertEqual((expected, b"NOOP\r\n"), (reader.message(), rest))
        self.assertFalse(reader.bad_octets)

    @given(st.lists(pieces, max_size=30))
    def test_chunks(self, chunks: list[bytes]) -> None:
        """
        The same comes out however the octets come in: end, message, and what is wrong with it.
        """
        data = b"".join(chunks)
        seen = set()
        for way in ([data], chunks, [data[index : index + 1] for index in range(len(data))]):
            reader, rest = read([*way, b"\r\n.\r\n"])
            seen.add((rest, bytes(reader.message()), reader.size, reader.bad_octets))
        self.assertEqual(1, len(seen))

    @given(st.lists(pieces, max_size=30))
    def test_one_end(self, chunks: list[bytes]) -> None:
        """
        The message ends where the first CRLF, dot, CRLF is, and is refused if and only if a bare CR, a bare LF or a NUL
        is in it.
        """
        data = b"\r\n" + b"".join(chunks) + b"\r\n.\r\n"
        end = data.find(b"\r\n.\r\n")
        reader, rest = read([data[2:]])
        self.assertEqual(data[end + 5 :], rest)
        plain = data[: end + 2].replace(b"\r\n", b"")
        self.assertEqual(bool(set(plain) & set(b"\r\n\0")), reader.bad_octets)
