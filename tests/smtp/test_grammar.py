"""
Tests for L{post.smtp.grammar}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.smtp.grammar import PATH_LIMIT, Syntax, host_name, path


class PathTests(SynchronousTestCase):
    """
    Tests for L{path}.
    """

    def test_accepted(self) -> None:
        """
        What mail programs send is understood, with what RFC 5321 asks servers to put up with.
        """
        cases: list[tuple[bytes, tuple[str, dict[str, str]]]] = [
            (b"FROM:<alice@example.org>", ("alice@example.org", {})),
            (b"from:<alice@example.org>", ("alice@example.org", {})),
            (b"FROM: <alice@example.org>", ("alice@example.org", {})),
            (b"FROM:<>", ("", {})),
            (b"FROM:<> ", ("", {})),
            (b"FROM:<a@b> SIZE=12 body=8BITMIME", ("a@b", {"SIZE": "12", "BODY": "8BITMIME"})),
            (b"FROM:<a@b>  SIZE=12  ", ("a@b", {"SIZE": "12"})),
            (b"FROM:<a@b> AUTH=<>", ("a@b", {"AUTH": "<>"})),
            (b"FROM:<a@b> SMTPUTF8", ("a@b", {"SMTPUTF8": ""})),
            (b"FROM:<@relay.example,@other.example:a@b>", ("a@b", {})),
            (b'FROM:<"a b"@c>', ('"a b"@c', {})),
            (b'FROM:<"a\\"b>"@c>', ('"a\\"b>"@c', {})),
            (b'FROM:<"alice"@example.org>', ("alice@example.org", {})),
        ]
        for argument, expected in cases:
            self.assertEqual(expected, path(argument, b"FROM:"), argument)

    def test_refused(self) -> None:
        """
        What is no path is refused, whatever it resembles.
        """
        for argument in (
            b"",
            b"FROM:",
            b"TO:<a@b>",
            b"FROM:a@b",
            b"FROM:<a@b",
            b"FROM:a@b>",
            b"FROM:<a b@c>",
            b"FROM:<a<b@c>",
            b"FROM:<a@b>SIZE=1",
            b"FROM:<a@b> SIZE=",
            b"FROM:<a@b> =1",
            b"FROM:<a@b> SIZE=1=2",
            b"FROM:<a@b> SIZE=1 SIZE=1",
            b"FROM:<alice+\x07@b>",
            b"FROM:<alice+\0@b>",
            b"FROM:<a@b>\r",
            b'FROM:<"a@b>',
            b'FROM:<"a\rb"@c>',
            b"FROM:<" + b"a" * PATH_LIMIT + b"@b>",
        ):
            with self.assertRaises(Syntax, msg=argument) as caught:
                path(argument, b"FROM:")
            self.assertEqual(501, caught.exception.code)

    def test_beyond_ascii(self) -> None:
        """
        An address that would need SMTPUTF8 is refused as such (RFC 6531, 3.5), not as a mistake.
        """
        with self.assertRaises(Syntax) as caught:
            path("FROM:<jürgen@example.org>".encode(), b"FROM:")
        self.assertEqual((553, "5.6.7"), (caught.exception.code, caught.exception.status))

    def test_hostile(self) -> None:
        """
        Thousands of hops, quotes or backslashes that lead to nothing cost nothing: with an expression that can match in
        more than one way, each of these would keep the whole node busy for longer than the universe has existed.
        """
        for piece in (b"@a,", b"@a", b'"a"', b"\\a", b'"\\', b"a@", b"<", b" "):
            with self.assertRaises(Syntax):
                path(b"FROM:<" + piece * 1300, b"FROM:")
            with self.assertRaises(Syntax):
                path(b"FROM:<" + piece * 1300 + b">", b"FROM:")

    @given(st.binary(max_size=200))
    def test_anything(self, said: bytes) -> None:
        """
        Whatever is said is a path of clean ASCII, or refused.
        """
        try:
            address, _ = path(b"TO:<" + said, b"TO:")
        except Syntax:
            return
        self.assertTrue(address.isascii())
        self.assertFalse(set(address) & {chr(code) for code in (*range(32), 127)})


class HostNameTests(SynchronousTestCase):
    """
    Tests for L{host_name}.
    """

    def test_harmless(self) -> None:
        """
        What a client calls itself cannot add to the header, nor open a comment in it.
        """
        self.assertEqual("mail.example.org", host_name(b"mail.example.org"))
        self.assertEqual("[IPv6:::1]", host_name(b"[IPv6:::1]"))
        self.assertEqual("a??b?c?d?e?", host_name(b"a\r\nb(c)d;e\xff"))
        self.assertEqual(10, len(host_name(b"a" * 4000, 10)))
