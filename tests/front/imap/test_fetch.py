"""
Tests for L{post.front.imap.fetch}: sections of messages, octet for octet.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.front.imap.fetch import PIECE, Item, answer, parse_items, section
from post.front.imap.grammar import Parser, Syntax
from post.mail.mime import MimePart, scan
from tests.front.imap.doubles import FakeMailbox

INNER = (
    b"Subject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n"
    b"--in\r\nX-Part: one\r\n\r\nplain\r\n--in\r\nContent-Type: text/html\r\n\r\n<p>\r\n--in--\r\n"
)
NESTED = (
    b"From: a@example.org\r\nsubject:  One \r\nReceived: 1\r\nRECEIVED: 2\r\n\tfolded\r\n"
    b"Content-Type: multipart/mixed; boundary=out\r\n\r\n"
    b"preamble\r\n--out\r\n\r\nfirst\r\n--out\r\nContent-Type: message/rfc822\r\nX-Mime: yes\r\n\r\n"
    + INNER
    + b"\r\n--out--\r\n"
)
"""Part 1 is text, part 2 a message whose parts are 2.1 and 2.2."""
FLAT = b"Subject: flat\r\nMIME-Version: 1.0\r\n\r\n0123456789"


def fetched(message: bytes, items: str) -> bytes:
    """
    What FETCH answers for C{items} of C{message}.
    """
    mailbox = FakeMailbox(Clock())
    uid = mailbox.receive(message)
    folder = mailbox.folder("INBOX")
    entry = folder.entry(uid)
    assert entry is not None
    parsed = parse_items(Parser(items.encode()))

    async def collected(parsed: list[Item]) -> bytes:
        return b"".join([piece async for piece in answer(parsed, entry, folder.content(uid))])

    found: bytes = SynchronousTestCase().successResultOf(collected(parsed))
    return found


def body(message: bytes, wanted: str) -> bytes | None:
    """
    The octets of C{BODY[wanted]}, or C{None} for NIL; the label and the length announced are checked.
    """
    label = f"BODY[{wanted}] ".encode()
    out = fetched(message, f"BODY[{wanted}]")
    assert out.startswith(label), out
    out = out.removeprefix(label)
    if out == b"NIL":
        return None
    if out.startswith(b'"'):
        return out[1:-1]
    size, _, octets = out.partition(b"}\r\n")
    assert int(size[1:]) == len(octets)
    return octets


class SectionTests(SynchronousTestCase):
    """
    Tests for what C{BODY[...]} names.
    """

    def test_whole(self) -> None:
        """
        The whole message, and its two halves: HEADER and TEXT together are it, to the octet.
        """
        for message in (NESTED, FLAT, b"", b"no header at all", b"A: b\r\n", b"\r\nbody", b"A: b\n\nbare\n"):
            self.assertEqual(message, body(message, ""))
            self.assertEqual(message, (body(message, "HEADER") or b"") + (body(message, "TEXT") or b""))

    def test_parts_of_a_message_within(self) -> None:
        """
        Parts, their MIME headers, and header and text of a message that is a part (RFC 3501, 6.4.5).
        """
        self.assertEqual(b"first", body(NESTED, "1"))
        self.assertEqual(b"\r\n", body(NESTED, "1.MIME"))
        self.assertEqual(INNER, body(NESTED, "2"))
        self.assertEqual(b"Content-Type: message/rfc822\r\nX-Mime: yes\r\n\r\n", body(NESTED, "2.MIME"))
        header, _, text = INNER.partition(b"\r\n\r\n")
        self.assertEqual(header + b"\r\n\r\n", body(NESTED, "2.HEADER"))
        self.assertEqual(text, body(NESTED, "2.TEXT"))
        self.assertEqual(b"Subject: inner\r\n\r\n", body(NESTED, "2.HEADER.FIELDS (Subject)"))
        self.assertEqual(b"plain", body(NESTED, "2.1"))
        self.assertEqual(b"X-Part: one\r\n\r\n", body(NESTED, "2.1.MIME"))
        self.assertEqual(b"<p>", body(NESTED, "2.2"))

    def test_parts_that_are_not(self) -> None:
        """
        NIL for what the message does not have: a part of a text, a header of what is no message.
        """
        for wanted in ("3", "1.1", "1.HEADER", "1.TEXT", "2.3", "2.1.1", "2.1.HEADER", "1.2.3.4"):
            self.assertIsNone(body(NESTED, wanted), wanted)
        for wanted in ("2", "1.1", "1.HEADER"):
            self.assertIsNone(body(FLAT, wanted), wanted)

    def test_part_one_of_no_multipart(self) -> None:
        """
        A message that is no multipart has one part, itself.
        """
        self.assertEqual(b"0123456789", body(FLAT, "1"))
        self.assertEqual(b"Subject: flat\r\nMIME-Version: 1.0\r\n\r\n", body(FLAT, "1.MIME"))

    def test_multipart_without_parts(self) -> None:
        """
        A multipart in which no part can be found is one part, as BODYSTRUCTURE shows it.
        """
        message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\nnothing"
        self.assertEqual(b"nothing", body(message, "1"))
        self.assertIn(b'"APPLICATION" "OCTET-STREAM"', fetched(message, "BODY"))

    def test_message_as_message(self) -> None:
        """
        A message that is itself a message/rfc822: part 1 is the message within, and its parts are counted below.
        """
        message = b"Content-Type: message/rfc822\r\n\r\n" + INNER
        self.assertEqual(INNER, body(message, "1"))
        self.assertEqual(b"plain", body(message, "1.1"))
        self.assertEqual(b"Subject: inner\r\n\r\n", body(message, "1.HEADER.FIELDS (SUBJECT)"))

    def test_fields(self) -> None:
        """
        Fields in the order, case and folding of the message, all that are repeated, and a blank line.
        """
        self.assertEqual(
            b"subject:  One \r\nReceived: 1\r\nRECEIVED: 2\r\n\tfolded\r\n\r\n",
            body(NESTED, "HEADER.FIELDS (received SUBJECT)"),
        )
        self.assertEqual(
            b"From: a@example.org\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\n",
            body(NESTED, "HEADER.FIELDS.NOT (RECEIVED subject)"),
        )
        self.assertEqual(b"\r\n", fetched(FLAT, "BODY[HEADER.FIELDS (X)]")[-2:])

    def test_header_without_end(self) -> None:
        """
        The last field of a message that ends with it gets its line end, so that the blank line is one.
        """
        self.assertEqual(b"A: b\r\n\r\n", body(b"A: b", "HEADER.FIELDS (A)"))

    def test_label_of_fields(self) -> None:
        """
        The answer names fields as they were asked for, quoted where they must be.
        """
        out = fetched(FLAT, 'BODY[HEADER.FIELDS (x-a "a b" "a]")]')
        self.assertEqual(b'BODY[HEADER.FIELDS (x-a "a b" "a]")] {2}\r\n\r\n', out)

    def test_nul(self) -> None:
        """
        No literal holds a NUL, whatever a message does: octets are counted, and stand where they stood.
        """
        self.assertEqual(b"a\x80b", body(b"A: b\r\n\r\na\0b", "TEXT"))
        self.assertEqual(b"X: ?\r\n\r\n", body(b"X: \0\r\n\r\n", "HEADER.FIELDS (X)"))

    def test_old_names(self) -> None:
        """
        RFC822 and its kin are answered under their names.
        """
        self.assertEqual(b"RFC822.TEXT {10}\r\n0123456789", fetched(FLAT, "RFC822.TEXT"))
        self.assertEqual(b"RFC822 {%d}\r\n%b" % (len(FLAT), FLAT), fetched(FLAT, "RFC822"))
        self.assertEqual(FLAT[:-10], fetched(FLAT, "RFC822.HEADER")[-len(FLAT) + 10 :])


class RangeTests(SynchronousTestCase):
    """
    Tests for partial fetches.
    """

    def test_exact(self) -> None:
        """
        The octets asked for, as far as there are any.
        """
        self.assertEqual(b"BODY[TEXT]<2> {3}\r\n234", fetched(FLAT, "BODY[TEXT]<2.3>"))
        self.assertEqual(b"BODY[TEXT]<8> {2}\r\n89", fetched(FLAT, "BODY.PEEK[TEXT]<8.100>"))
        self.assertEqual(b"BODY[TEXT]<10> {0}\r\n", fetched(FLAT, "BODY[TEXT]<10.5>"))
        self.assertEqual(b"BODY[]<0> {20}\r\n" + FLAT[:20], fetched(FLAT, "BODY[]<0.20>"))
        self.assertEqual(b'BODY[HEADER.FIELDS (SUBJECT)]<0> "Sub"', fetched(FLAT, "BODY[HEADER.FIELDS (SUBJECT)]<0.3>"))
        self.assertEqual(b"BODY[1]<1> {1}\r\n1", fetched(FLAT, "BODY[1]<1.1>"))

    def test_long(self) -> None:
        """
        A range longer than a piece is made of pieces, and the same.
        """
        message = b"A: b\r\n\r\n" + bytes(range(1, 256)) * (PIECE // 60)
        expected = message[1000 : 1000 + 2 * PIECE]
        out = fetched(message, f"(UID BODY.PEEK[]<1000.{2 * PIECE}> FLAGS)")
        self.assertEqual(b"UID 1 BODY[]<1000> {%d}\r\n%b FLAGS ()" % (len(expected), expected), out)

    @given(st.integers(0, 600), st.integers(1, 600), st.sampled_from(["", "TEXT", "HEADER", "2", "2.TEXT", "2.1"]))
    def test_every_range(self, start: int, length: int, wanted: str) -> None:
        """
        A range is that slice of the section.
        """
        whole = body(NESTED, wanted)
        assert whole is not None
        expected = whole[start : start + length]
        self.assertEqual(
            b"BODY[%b]<%d> {%d}\r\n%b" % (wanted.encode(), start, len(expected), expected),
            fetched(NESTED, f"BODY[{wanted}]<{start}.{length}>"),
        )


class PropertyTests(SynchronousTestCase):
    """
    Tests for whatever comes.
    """

    @given(st.binary(max_size=60))
    def test_items(self, text: bytes) -> None:
        """
        No octets raise anything but L{Syntax}.
        """
        for whole in (text, b"BODY[" + text, b"BODY[HEADER.FIELDS (" + text, b"BODY[]<" + text):
            try:
                parse_items(Parser(whole, [b"x"]))
            except Syntax:
                pass

    @given(st.lists(st.sampled_from([*NESTED.splitlines(True), b"--out\r\n", b"\r\n", b"--in--", b"x"]), max_size=25))
    def test_every_part_that_is_shown(self, lines: list[bytes]) -> None:
        """
        Each part that BODYSTRUCTURE shows can be fetched, and is where it says.
        """
        message = b"".join(lines)
        root = scan(message)
        for path, part in _numbered(root, ()):
            self.assertIs(part, section(root, path))
        self.assertIn(b"BODYSTRUCTURE (", fetched(message, "(ENVELOPE BODYSTRUCTURE)"))


def _numbered(message: MimePart, path: tuple[int, ...]) -> list[tuple[tuple[int, ...], MimePart]]:
    """
    The parts of a message with their numbers, as RFC 3501 counts them: said again, from the top down.
    """
    if message.kind.startswith("multipart/") and message.children:
        return [found for n, child in enumerate(message.children, 1) for found in _of_part(child, (*path, n))]
    return _of_part(message, (*path, 1))


def _of_part(part: MimePart, path: tuple[int, ...]) -> list[tuple[tuple[int, ...], MimePart]]:
    found = [(path, part)]
    if part.kind.startswith("message/") and part.children:
        return found + _numbered(part.children[0], path)
    if part.kind.startswith("multipart/") and part.children:
        return found + _numbered(part, path)
    return found
