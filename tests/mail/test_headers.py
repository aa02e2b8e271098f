"""
Tests for L{post.mail.headers}.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.mail.headers import (
    ADDRESSES_LIMIT,
    PARAMETERS_LIMIT,
    Address,
    address_list,
    addresses,
    all_fields,
    field,
    media_type,
    parameters,
    raw_fields,
    spans,
)
from post.mail.mime import scan
from post.mail.parts import blind_fields


class FieldTests(SynchronousTestCase):
    """
    Tests for finding fields.
    """

    @given(st.lists(st.sampled_from([b"A: b\r\n", b"\tfold\r\n", b"\r\n", b"x\n", b"A", b":", b"\n", b"\xff: y\r\n"])))
    def test_spans(self, lines: list[bytes]) -> None:
        """
        Fields do not overlap, are in order, and nothing but line ends is left out between them.
        """
        header, position = b"".join(lines), 0
        for (_, start, end), (_, octets) in zip(spans(header), raw_fields(header), strict=True):
            self.assertEqual(b"", header[position:start].strip(b"\r\n"))
            self.assertEqual(header[start:end], octets)
            position = end
        self.assertEqual(b"", header[position:].strip(b"\r\n"))

    def test_field(self) -> None:
        """
        Found in any case, unfolded; with several, the first, or none if there must be only one.
        """
        header = b"Subject : one\r\n two\r\nTO: x\r\nsubject: three\r\n\r\n"
        self.assertEqual(b"one two", field(header, b"subject"))
        self.assertEqual([b"one two", b"three"], list(all_fields(header, b"subject")))
        self.assertEqual(
            (None, b"x", None), (field(header, b"subject", True), field(header, b"to"), field(header, b"cc"))
        )

    def test_blind(self) -> None:
        """
        Blind copies are found as fields, not as text in another.
        """
        header = b"X: a\r\n Bcc: no\r\nBcc: yes\r\n more\r\nXBcc: no\r\n"
        self.assertEqual([b"Bcc: yes\r\n more\r\n"], [header[start:stop] for start, stop in blind_fields(header)])


class AddressTests(SynchronousTestCase):
    """
    Tests for L{address_list}.
    """

    def test_forms(self) -> None:
        """
        The forms of RFC 5322, obsolete ones among them.
        """
        for value, expected in (
            (b"a@x", ["a@x"]),
            (b"A <a@x>, b@y", ["a@x", "b@y"]),
            (b'"a, <b@y>" <a@x>', ["a@x"]),
            (b"(b@y) a@x (c@z)", ["a@x"]),
            (b"<@r1,@r2:a@x>", ["a@x"]),
            (b"friends: a@x, b@y;", ["a@x", "b@y"]),
            (b"a . b @ x . y", ["a.b@x.y"]),
            (b'"quoted\\" local"@x', ['quoted" local@x']),
            (b",,a@x,,", ["a@x"]),
            (b"", []),
        ):
            self.assertEqual(expected, addresses(value), value)

    def test_group(self) -> None:
        """
        A group begins and ends with marks, also if its end is missing.
        """
        expected = [Address(None, b"g", None), Address(None, b"a", b"x"), Address(None, None, None)]
        self.assertEqual(expected, address_list(b"g: a@x;"))
        self.assertEqual(expected, address_list(b"g: a@x"))

    @given(st.binary(max_size=200) | st.text(alphabet='a@<>,;:."\\()[] \r\n').map(str.encode))
    def test_anything(self, value: bytes) -> None:
        """
        Any octets give a list, of a bounded length.
        """
        self.assertLessEqual(len(address_list(value)), ADDRESSES_LIMIT + 2)
        addresses(value)
        media_type(value)
        parameters(value)

    def test_long(self) -> None:
        """
        A quarter of a megabyte of what is hardest to read takes no time to speak of, wherever it stands.
        """
        size = 1 << 18
        for hard in (
            b";",
            b"(",
            b"\\",
            b'"',
            b"<",
            b"[",
            b"a=",
            b"a ",
            b"=;",
            b'";',
            b"; ",
            b"\r\n ",
            b",",
            b"@",
            b":",
            b"(",
        ):
            value = hard * (size // len(hard))
            address_list(value)
            media_type(b"text/plain;" + value)
            parameters(value)
            field(b"A: " + value, b"b")
        scan(b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b \n--a\n" * size)


class MediaTypeTests(SynchronousTestCase):
    """
    Tests for L{media_type} and L{parameters}.
    """

    def test_type(self) -> None:
        """
        Type and parameters, quoted or not, with comments; nonsense is none.
        """
        self.assertEqual(
            ("text/plain", (("charset", "UTF-8"), ("name", 'a"b; c'))),
            media_type(b'Text/PLAIN; CharSet = UTF-8 ;; name="a\\"b; c"'),
        )
        self.assertEqual(
            ("multipart/mixed", (("boundary", "x"),)), media_type(b"multipart/mixed (c) ;\r\n\tboundary=x")
        )
        for value in (b"", b"text", b"/", b"text/", b"te xt/plain", b"text/pl\x00ain"):
            self.assertIsNone(media_type(value))

    def test_limit(self) -> None:
        """
        No more than so many.
        """
        self.assertEqual(PARAMETERS_LIMIT, len(parameters(b"; a=b" * 1000)))
