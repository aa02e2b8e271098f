"""
Tests for L{post.smtp.lines}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.smtp.grammar import Syntax
from post.smtp.lines import LineReader

LIMIT = 12


def read(chunks: list[bytes]) -> list[bytes | str]:
    """
    The lines in C{chunks}; a status for each that was too long.
    """
    reader = LineReader(LIMIT)
    found: list[bytes | str] = []
    for chunk in chunks:
        reader.feed(chunk)
        line: bytes | str | None = b""
        while line is not None:
            try:
                line = reader.next()
            except Syntax as error:
                line = error.status
            if line is not None:
                found.append(line)
    return found


class LineReaderTests(SynchronousTestCase):
    """
    Tests for L{LineReader}.
    """

    def test_lines(self) -> None:
        """
        Lines come without their end, empty ones too; the one that has not ended waits.
        """
        self.assertEqual([b"NOOP", b"", b"QUIT"], read([b"NOOP\r\n\r\nQUIT\nRSE"]))

    def test_too_long(self) -> None:
        """
        A line over the limit is answered once, at its end, and nothing of it is a command; the next line is.
        """
        self.assertEqual(["5.5.6", b"QUIT"], read([b"x" * 100, b"NOOP\r", b"\nQUIT\r\n"]))

    def test_limit(self) -> None:
        """
        The limit counts the end of the line.
        """
        self.assertEqual([b"x" * (LIMIT - 2)], read([b"x" * (LIMIT - 2) + b"\r\n"]))
        self.assertEqual(["5.5.6"], read([b"x" * (LIMIT - 1) + b"\r\n"]))

    def test_endless(self) -> None:
        """
        A line without end is not kept.
        """
        reader = LineReader(LIMIT)
        for _ in range(100):
            reader.feed(b"x" * 1000)
            self.assertIsNone(reader.next())
            self.assertEqual(0, reader.waiting)

    def test_take(self) -> None:
        """
        What follows a command can be taken as it is, line ends and all.
        """
        reader = LineReader(LIMIT)
        reader.feed(b"DATA\r\n.\r\nx")
        self.assertEqual(b"DATA", reader.next())
        self.assertEqual((b".\r\nx", 0), (reader.take(), reader.waiting))

    @given(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n", b"x" * LIMIT, b"\0", b"NOOP\r\n"])))
    def test_chunks(self, chunks: list[bytes]) -> None:
        """
        The same lines come out however the octets come in.
        """
        said = b"".join(chunks)
        self.assertEqual(read([said]), read(chunks))
        self.assertEqual(read([said]), read([said[index : index + 1] for index in range(len(said))]))
