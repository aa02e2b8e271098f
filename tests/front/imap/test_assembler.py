"""
Tests for L{post.front.imap.assembler}.
"""

from __future__ import annotations

import mmap

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.front.imap.assembler import (
    LINE_LIMIT,
    LINE_LIMIT_STRANGER,
    LITERALS_LIMIT,
    MEMORY_BYTES,
    TAIL,
    Assembler,
    Command,
    Continue,
)

SIZE_LIMIT = 2 * MEMORY_BYTES


def known() -> Assembler:
    """
    An assembler for somebody who has logged in.
    """
    assembler = Assembler(SIZE_LIMIT, None)
    assembler.stranger = False
    return assembler


def all_of(assembler: Assembler, *pieces: bytes) -> list[object]:
    """
    Everything that comes out while C{pieces} go in; a command as (text, literals, problem).
    """
    out: list[object] = []
    for piece in pieces:
        assembler.feed(piece)
        while (found := assembler.next()) is not None:
            out.append("go on" if isinstance(found, Continue) else shown(found))
    return out


def shown(command: Command) -> tuple[bytes, list[bytes], str]:
    """
    A command, comparable.
    """
    return command.text, [bytes(each) for each in command.literals], command.problem


class AssemblerTests(SynchronousTestCase):
    """
    Tests for L{Assembler}.
    """

    def test_lines(self) -> None:
        """
        A line is a command, whether it ends as it should or with a bare LF.
        """
        self.assertEqual([(b"a NOOP", [], ""), (b"b NOOP", [], "")], all_of(known(), b"a NOOP\r\nb NO", b"OP\n"))

    def test_literal_asked_for(self) -> None:
        """
        A synchronizing literal is invited; whatever it holds is no command.
        """
        out = all_of(known(), b"a SELECT {6}\r\n", b"b\r\nc\r\n", b"\r\n")
        self.assertEqual(["go on", (b"a SELECT \0", [b"b\r\nc\r\n"], "")], out)

    def test_literal_at_once(self) -> None:
        """
        A LITERAL+ literal is taken without a word, also an empty one.
        """
        out = all_of(known(), b"a LOGIN {0+}\r\n {2+}\r\nxy\r\nb NOOP\r\n")
        self.assertEqual([(b"a LOGIN \0 \0", [b"", b"xy"], ""), (b"b NOOP", [], "")], out)

    def test_refused_before_it_is_sent(self) -> None:
        """
        A synchronizing literal over the limit is refused and not swallowed: the client does not send it.
        """
        out = all_of(known(), b"a APPEND x {%d}\r\nb NOOP\r\n" % (SIZE_LIMIT + 1))
        self.assertEqual([(b"a APPEND x \0", [], "literal"), (b"b NOOP", [], "")], out)

    def test_oversized_is_swallowed(self) -> None:
        """
        A LITERAL+ literal over the limit is thrown away to its last octet, and the next command is understood.
        """
        size = SIZE_LIMIT + 1
        out = all_of(known(), b"a APPEND x {%d+}\r\n" % size, b"z" * size, b"\r\nb NOOP\r\n")
        self.assertEqual([(b"a APPEND x \0", [], "literal"), (b"b NOOP", [], "")], out)

    def test_absurd_size_never_becomes_commands(self) -> None:
        """
        What follows a literal of absurd size is not taken for commands.
        """
        self.assertEqual([], all_of(known(), b"a APPEND x {99999999999999999999+}\r\nb DELETE Sent\r\n" * 3))

    def test_long_line(self) -> None:
        """
        A line that is too long keeps its tag, and the next line is the next command.
        """
        out = all_of(known(), b"a NOOP " + b"x" * LINE_LIMIT, b"y" * 100_000, b"\r\nb NOOP\r\n")
        self.assertEqual("line", out[0][2])  # type: ignore[index]
        self.assertEqual(b"a NOOP ", out[0][0][:7])  # type: ignore[index]
        self.assertEqual((b"b NOOP", [], ""), out[1])

    def test_long_line_with_literal(self) -> None:
        """
        The literal at the end of a line that is too long is swallowed with it: its octets are no commands.
        """
        line = b"a SEARCH " + b"x" * LINE_LIMIT + b" {15+}\r\nb DELETE Sent\r\n\r\nc NOOP\r\n"
        for pieces in ([line], [line[at : at + 7] for at in range(0, len(line), 7)]):
            out = all_of(known(), *pieces)
            self.assertEqual(["line", ""], [each[2] for each in out])  # type: ignore[index]
            self.assertEqual((b"c NOOP", [], ""), out[1])

    def test_long_line_takes_no_memory(self) -> None:
        """
        Of a line without end only the tail is kept.
        """
        assembler = known()
        for _ in range(100):
            all_of(assembler, b"x" * LINE_LIMIT)
        self.assertLessEqual(assembler.waiting, TAIL)

    def test_strangers(self) -> None:
        """
        Before log-in lines are shorter, and so are all literals of a command together.
        """
        assembler = Assembler(SIZE_LIMIT, None)
        half = LINE_LIMIT_STRANGER // 2 + 1
        out = all_of(assembler, b"a " + b"x" * LINE_LIMIT_STRANGER + b"\r\n")
        out += all_of(assembler, b"b APPEND x {%d}\r\n" % (LINE_LIMIT_STRANGER + 1))
        out += all_of(assembler, b"c LOGIN {%d+}\r\n" % half, b"x" * half, b" {%d+}\r\n" % half, b"x" * half, b"\r\n")
        self.assertEqual(["line", "literal", "literal"], [each[2] for each in out])  # type: ignore[index]

    def test_number_of_literals(self) -> None:
        """
        A command has so many literals and no more.
        """
        out = all_of(known(), b"a SEARCH" + b" {1+}\r\nx" * (LITERALS_LIMIT + 1) + b"\r\n")
        self.assertEqual(["literal"], [each[2] for each in out])  # type: ignore[index]

    def test_not_for_lines(self) -> None:
        """
        NUL and a lone CR are named as what they are, and a NUL does not pass for a literal.
        """
        self.assertEqual(
            [(b"a SELECT ?", [], "octets"), (b"b NO\rOP", [], "octets")],
            all_of(known(), b"a SELECT \0\r\nb NO\rOP\r\n"),
        )

    def test_large_literal_is_mapped(self) -> None:
        """
        A long message is not held in memory.
        """
        assembler = known()
        size = MEMORY_BYTES + 1
        assembler.feed(b"a APPEND x {%d+}\r\n" % size + b"z" * size + b"\r\n")
        command = assembler.next()
        assert isinstance(command, Command)
        self.assertIsInstance(command.literals[0], mmap.mmap)
        self.assertEqual(b"z" * size, command.literals[0][:])

    def test_no_room(self) -> None:
        """
        Where a literal cannot be spooled, the command is refused, and the next is understood.
        """
        assembler = Assembler(SIZE_LIMIT, "/nonexistent")
        assembler.stranger = False
        size = MEMORY_BYTES + 1
        out = all_of(assembler, b"a APPEND x {%d+}\r\n" % size + b"z" * size + b"\r\nb NOOP\r\n")
        self.assertEqual([(b"a APPEND x \0", [], "room"), (b"b NOOP", [], "")], out)

    def test_discard(self) -> None:
        """
        A literal that will not be completed leaves no open file.
        """
        assembler = known()
        all_of(assembler, b"a APPEND x {%d+}\r\nzzz" % (MEMORY_BYTES + 1))
        assembler.discard()
        self.assertIsNone(assembler._file)

    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=20),
                st.sampled_from(
                    [b"a SELECT ", b"\r\n", b"{3}\r\n", b"{3+}\r\n", b"{70000+}\r\n", b"\0", b"x" * 9000, b"b NOOP\r\n"]
                ),
            ),
            max_size=12,
        ),
        st.data(),
    )
    def test_chunking(self, parts: list[bytes], data: st.DataObject) -> None:
        """
        However the octets arrive, the same commands come out.
        """
        octets = b"".join(parts)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=12)))
        ends = [*cuts, len(octets)]
        pieces = [octets[start:end] for start, end in zip([0, *cuts], ends, strict=True)]
        whole, cut = Assembler(1000, None), Assembler(1000, None)
        self.assertEqual(all_of(whole, octets), all_of(cut, *pieces))
