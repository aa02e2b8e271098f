"""
Tests for L{post.front.imap.grammar}.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.front.imap.grammar import (
    Parser,
    SequenceSet,
    Syntax,
    decode_name,
    encode_name,
    matches,
)

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


class ParserTests(SynchronousTestCase):
    """
    Tests for L{Parser}.
    """

    def test_quoted(self) -> None:
        """
        Quotes and backslashes are quoted within a quoted string.
        """
        self.assertEqual(b'a "b" \\c', Parser(rb'"a \"b\" \\c"').string())

    def test_quoted_wrongly(self) -> None:
        """
        A quoted string ends, and only quotes and backslashes are quoted.
        """
        for text in (b'"a', b'"a\\', rb'"\n"', b'"a\r"', b""):
            self.assertRaises(Syntax, Parser(text).string)

    def test_astrings(self) -> None:
        """
        An astring is an atom, a quoted string or a literal.
        """
        parser = Parser(b'INBOX] "a b" \0', [b"c\r\nd"])
        found = [parser.astring()]
        for _ in range(2):
            parser.space()
            found.append(parser.astring())
        parser.end()
        self.assertEqual([b"INBOX]", b"a b", b"c\r\nd"], found)

    def test_string_of_absurd_length(self) -> None:
        """
        What may be spooled for a message is not taken for a name.
        """
        self.assertRaises(Syntax, Parser(b"\0", [b"x" * 70_000]).string)

    def test_flags(self) -> None:
        """
        System flags are spelled in one way, keywords as they come; what is neither is refused.
        """
        self.assertEqual({"\\Seen", "$Label1"}, Parser(rb"(\sEEN $Label1)").flags())
        self.assertEqual(frozenset(), Parser(b"()").flags())
        for text in (rb"(\Nosuch)", rb"(\*)", b"(a  b)", b"(a", b"(" + b"x" * 201 + b")"):
            self.assertRaises(Syntax, Parser(text).flags)

    def test_dates(self) -> None:
        """
        A day of SEARCH may be quoted; a day that the calendar does not have is none.
        """
        self.assertEqual(date(2026, 2, 1), Parser(b"1-feb-2026").date())
        self.assertEqual(date(2026, 2, 1), Parser(b'"01-Feb-2026"').date())
        self.assertRaises(Syntax, Parser(b"30-Feb-2026").date)
        self.assertRaises(Syntax, Parser(b"1-Foo-2026").date)

    def test_date_time(self) -> None:
        """
        A moment is taken with its zone, its day with a space or a zero before it.
        """
        expected = datetime(2026, 2, 1, 10, 30, tzinfo=UTC)
        self.assertEqual(expected, Parser(b'" 1-Feb-2026 12:30:00 +0200"').date_time())
        self.assertEqual(expected, Parser(b'"01-Feb-2026 12:30:00 +0200"').date_time())

    def test_moments_that_cannot_be_shown(self) -> None:
        """
        A moment before the first year or after the last, in universal time, is refused: no folder could show it.
        """
        for text in (b'"01-Jan-0001 00:00:00 +1400"', b'"31-Dec-9999 23:59:59 -1200"', b'"01-Jan-0000 00:00:00 +0000"'):
            self.assertRaises(Syntax, Parser(text).date_time)

    @given(st.binary(max_size=40), st.lists(st.binary(max_size=5), max_size=2))
    def test_garbage(self, text: bytes, literals: list[bytes]) -> None:
        """
        No octets raise anything but L{Syntax}.
        """
        for method in ("atom", "string", "astring", "pattern", "folder", "number", "flags", "flag", "use", "date"):
            try:
                getattr(Parser(text, literals), method)()
            except Syntax:
                pass
        try:
            Parser(b'"' + text + b'"').date_time()
        except Syntax:
            pass


class SequenceSetTests(SynchronousTestCase):
    """
    Tests for L{SequenceSet}.
    """

    def among(self, text: bytes, numbers: list[int]) -> list[int]:
        """
        Which of C{numbers} are in the set.
        """
        return SequenceSet.parse(text).among(numbers)

    def test_ranges(self) -> None:
        """
        Ranges go either way, overlap, and touch.
        """
        self.assertEqual([1, 2, 3, 4, 7], self.among(b"4:2,1:3,7", [1, 2, 3, 4, 5, 6, 7, 8]))

    def test_star(self) -> None:
        """
        C{*} is the last there is, and C{n:*} always has it.
        """
        self.assertEqual([9], self.among(b"*", [3, 5, 9]))
        self.assertEqual([9], self.among(b"20:*", [3, 5, 9]))
        self.assertEqual([5, 9], self.among(b"*:4", [3, 5, 9]))
        self.assertEqual([], self.among(b"1:*", []))

    def test_everything_is_cheap(self) -> None:
        """
        A range of all numbers costs no more than the messages there are.
        """
        self.assertEqual([3, 5], self.among(b"1:4294967295", [3, 5]))

    def test_thousands(self) -> None:
        """
        Three thousand numbers in one set are sorted once.
        """
        numbers = list(range(1, 6001))
        text = b",".join(b"%d" % number for number in range(5999, 0, -2))
        parsed = SequenceSet.parse(text)
        self.assertEqual(list(range(1, 6000, 2)), parsed.among(numbers))
        self.assertEqual(3000, len(parsed.ranges(6000).pairs))

    def test_wrong(self) -> None:
        """
        Zero, nothing, and more than 32 bits are in no set.
        """
        for text in (b"0", b"", b"1,", b":3", b"4294967296", b"1:2:3", b"1:,2"):
            self.assertRaises(Syntax, SequenceSet.parse, text)

    def test_exceeds(self) -> None:
        """
        A set exceeds a folder if it names a message that the folder does not have.
        """
        cases = {b"1:3": False, b"4": True, b"2:*": False, b"4:*": True, b"*": False}
        self.assertEqual(cases, {text: SequenceSet.parse(text).exceeds(3) for text in cases})
        self.assertTrue(SequenceSet.parse(b"*").exceeds(0))

    @given(
        st.lists(st.tuples(st.integers(1, 30), st.one_of(st.just(0), st.integers(1, 30))), min_size=1, max_size=6),
        st.lists(st.integers(1, 30), unique=True).map(sorted),
    )
    def test_as_defined(self, ranges: list[tuple[int, int]], numbers: list[int]) -> None:
        """
        A set is what its ranges are, with C{*} (here 0) for the last number; both ways to ask agree.
        """
        text = b",".join(b"%d:%b" % (low, b"%d" % high if high else b"*") for low, high in ranges)
        last = numbers[-1] if numbers else 0
        pairs = [sorted((low, high or last)) for low, high in ranges]
        expected = [number for number in numbers if any(low <= number <= high for low, high in pairs)]
        parsed = SequenceSet.parse(text)
        self.assertEqual(expected, parsed.among(numbers))
        self.assertEqual(expected, [number for number in numbers if number in parsed.ranges(last)])


class NameTests(SynchronousTestCase):
    """
    Tests for folders' names on the wire.
    """

    def test_known(self) -> None:
        """
        The example of RFC 3501, 5.1.3, and a name beyond the basic plane.
        """
        self.assertEqual("~peter/mail/台北/日本語", decode_name(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"))
        self.assertEqual(b"~peter/mail/&U,BTFw-/&ZeVnLIqe-", encode_name("~peter/mail/台北/日本語"))
        self.assertEqual(b"A&-B", encode_name("A&B"))
        self.assertEqual("\N{PILE OF POO}", decode_name(encode_name("\N{PILE OF POO}")))

    def test_utf8(self) -> None:
        """
        A name that comes in plain UTF-8 is understood.
        """
        self.assertEqual("Entwürfe", decode_name("Entwürfe".encode()))

    def test_neither(self) -> None:
        """
        What is neither is refused: half a character, a lone surrogate, an open shift.
        """
        for name in (b"\xff", b"&AGE", b"&2D0-", b"&A-", b"a&b"):
            self.assertRaises(Syntax, decode_name, name)

    @given(names)
    def test_there_and_back(self, name: str) -> None:
        """
        Every name survives, in printable ASCII.
        """
        encoded = encode_name(name)
        self.assertTrue(re.fullmatch(rb"[\x20-\x7e]*", encoded))
        self.assertEqual(name, decode_name(encoded))

    @given(st.binary(max_size=30))
    def test_garbage(self, name: bytes) -> None:
        """
        No octets raise anything but L{Syntax}.
        """
        try:
            decode_name(name)
        except Syntax:
            pass


class MatchTests(SynchronousTestCase):
    """
    Tests for L{matches}.
    """

    def test_wildcards(self) -> None:
        """
        C{*} crosses levels, C{%} does not.
        """
        found = {pattern: [n for n in ("a", "a/b", "a/b/c", "ab") if matches(n, pattern)] for pattern in PATTERNS}
        self.assertEqual(PATTERNS, found)

    def test_many_wildcards(self) -> None:
        """
        A pattern made to explode takes no longer than another.
        """
        self.assertFalse(matches("a" * 200, "*%a" * 300 + "b"))
        self.assertTrue(matches("a" * 200, "*%*%" * 200 + "a"))

    @given(st.text("ab/", max_size=8), st.text("ab/*%", max_size=8))
    def test_as_defined(self, name: str, pattern: str) -> None:
        """
        It is what the two wildcards mean, said as a regular expression.
        """
        expression = "".join({"*": ".*", "%": "[^/]*"}.get(c, re.escape(c)) for c in pattern)
        self.assertEqual(re.fullmatch(expression, name) is not None, matches(name, pattern))


PATTERNS = {
    "*": ["a", "a/b", "a/b/c", "ab"],
    "%": ["a", "ab"],
    "a/%": ["a/b"],
    "a*": ["a", "a/b", "a/b/c", "ab"],
    "%/%": ["a/b"],
    "*c": ["a/b/c"],
    "": [],
    "a%": ["a", "ab"],
}
