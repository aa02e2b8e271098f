"""
Tests for L{post.front.imap.responses}, against the grammar of RFC 3501, section 9.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.front.imap.grammar import Parser, Syntax
from post.front.imap.responses import body_structure, envelope, moment, nstring, string
from post.mail.mime import scan
from tests.front.imap.test_fetch import FLAT, INNER, NESTED

BOB = b'(("Bob" NIL "bob" "example.org"))'
NOBODY = b'((NIL NIL "MISSING_MAILBOX" "MISSING_DOMAIN"))'


class StringTests(SynchronousTestCase):
    """
    Tests for strings.
    """

    def test_quoted(self) -> None:
        """
        Quotes and backslashes are quoted; nothing and NIL are not the same.
        """
        self.assertEqual([rb'"a\"\\b"', b'""', b"NIL"], [string(rb'a"\b'), nstring(b""), nstring(None)])

    def test_literal(self) -> None:
        """
        What cannot be quoted is a literal, and never holds a NUL.
        """
        self.assertEqual([b"{1}\r\n\xff", b"{3}\r\n\r\n?"], [string(b"\xff"), string(b"\r\n\0")])

    @given(st.binary(max_size=60))
    def test_read_again(self, octets: bytes) -> None:
        """
        A string is read as it was written.
        """
        written = string(octets)
        parser = Parser(b"\0", [written.partition(b"\r\n")[2]]) if written.startswith(b"{") else Parser(written)
        self.assertEqual(octets.replace(b"\0", b"?"), parser.string())

    def test_moment(self) -> None:
        """
        A date is written with all its digits, and is read as it was.
        """
        for when in (datetime(2026, 2, 1, 3, 4, 5, tzinfo=UTC), datetime(7, 12, 31, tzinfo=UTC)):
            self.assertEqual(when, Parser(moment(when)).date_time())


class EnvelopeTests(SynchronousTestCase):
    """
    Tests for L{envelope}.
    """

    def envelope(self, header: bytes) -> bytes:
        """
        The ENVELOPE of a message with this header.
        """
        return envelope(scan(header + b"\r\n\r\n"))

    def test_all(self) -> None:
        """
        Every field has its place.
        """
        header = (
            b"Date: Tue, 3 Mar 2026 10:00:00 +0000\r\nSubject: a\r\n b\r\nFrom: Bob <bob@example.org>\r\n"
            b"Sender: s@example.org\r\nReply-To: r@example.org\r\nTo: t@example.org, u@example.org\r\n"
            b"Cc: c@example.org\r\nBcc: d@example.org\r\nIn-Reply-To: <1@x>\r\nMessage-ID: <2@x>"
        )
        expected = (
            b'("Tue, 3 Mar 2026 10:00:00 +0000" "a b" ' + BOB + b' ((NIL NIL "s" "example.org"))'
            b' ((NIL NIL "r" "example.org")) ((NIL NIL "t" "example.org")(NIL NIL "u" "example.org"))'
            b' ((NIL NIL "c" "example.org")) ((NIL NIL "d" "example.org")) "<1@x>" "<2@x>")'
        )
        self.assertEqual(expected, self.envelope(header))

    def test_sender_is_from(self) -> None:
        """
        Sender and Reply-To are From where they are missing or empty; To may be NIL; an empty subject is not NIL.
        """
        header = b"From: Bob <bob@example.org>\r\nReply-To:\r\nSubject:"
        self.assertEqual(b'(NIL "" ' + b" ".join([BOB] * 3) + b" NIL NIL NIL NIL NIL)", self.envelope(header))

    def test_from_is_never_missing(self) -> None:
        """
        From, and so Sender and Reply-To, are never NIL.
        """
        for header in (b"Subject: x", b"Subject: x\r\nFrom:", b"Subject: x\r\nFrom: ,"):
            self.assertEqual(b'(NIL "x" ' + b" ".join([NOBODY] * 3) + b" NIL NIL NIL NIL NIL)", self.envelope(header))

    def test_group(self) -> None:
        """
        A group has a start and an end; an address without a domain is no group.
        """
        header = b"From: Bob <bob@example.org>\r\nTo: friends: a@b;, root"
        found = self.envelope(header)
        self.assertIn(b'((NIL NIL "friends" NIL)(NIL NIL "a" "b")(NIL NIL NIL NIL)(NIL NIL "root" ""))', found)


class BodyStructureTests(SynchronousTestCase):
    """
    Tests for L{body_structure}.
    """

    def test_flat(self) -> None:
        """
        A text has its lines and the charset that is meant if none is said.
        """
        expected = b'("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 10 1'
        self.assertEqual(expected + b")", body_structure(scan(FLAT), False))
        self.assertEqual(expected + b" NIL NIL NIL NIL)", body_structure(scan(FLAT), True))

    def test_nested(self) -> None:
        """
        Parts within parts; a message has its ENVELOPE and its own structure.
        """
        text = b'("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 5 1)'
        html = b'("TEXT" "HTML" NIL NIL NIL "7BIT" 3 1)'
        inner = b"(" + text + html + b' "ALTERNATIVE")'
        shown = envelope(scan(NESTED).children[1].children[0])
        message = b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" %d ' % len(INNER) + shown + b" " + inner
        message += b" %d)" % INNER.count(b"\n")
        self.assertEqual(b"(" + text + message + b' "MIXED")', body_structure(scan(NESTED), False))

    def test_extensions(self) -> None:
        """
        Disposition with its parameters, languages, location, MD5 and id are shown.
        """
        header = (
            b'Content-Type: image/png; NAME="a b.png"\r\nContent-ID: <1@x>\r\nContent-Description: d\r\n'
            b"Content-Transfer-Encoding: BASE64\r\nContent-MD5: m==\r\nContent-Language: de, en\r\n"
            b"Content-Location: l\r\nContent-Disposition: attachment; filename=a.png\r\n\r\nAAAA"
        )
        self.assertEqual(
            b'("IMAGE" "PNG" ("NAME" "a b.png") "<1@x>" "d" "BASE64" 4 "m==" ("ATTACHMENT" ("FILENAME" "a.png")) '
            b'("de" "en") "l")',
            body_structure(scan(header), True),
        )
        multipart = NESTED.replace(b"boundary=out\r\n", b"boundary=out\r\nContent-Disposition: inline\r\n")
        self.assertTrue(
            body_structure(scan(multipart), True).endswith(b' "MIXED" ("BOUNDARY" "out") ("INLINE" NIL) NIL NIL)')
        )

    def test_message_that_cannot_be_looked_into(self) -> None:
        """
        An encoded message has no ENVELOPE to show, so it is not called a message, whose grammar wants one.
        """
        part = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA"
        self.assertEqual(b'("APPLICATION" "OCTET-STREAM" NIL NIL NIL "BASE64" 4)', body_structure(scan(part), False))
        part = b"Content-Type: message/global\r\n\r\nSubject: x\r\n\r\n"
        self.assertEqual(b'("MESSAGE" "GLOBAL" NIL NIL NIL "7BIT" 14)', body_structure(scan(part), False))

    @given(
        st.lists(
            st.sampled_from(
                [
                    b"Content-Type: multipart/mixed; boundary=b\r\n",
                    b"Content-Type: message/rfc822\r\n",
                    b"Content-Type: text/plain; charset=\xff\r\n",
                    b'Content-Type: a/b; x="\\"\r\n\0"\r\n',
                    b"Content-Disposition: ;;\r\n",
                    b"Content-Language: ,\r\n",
                    b"Content-Transfer-Encoding: base64\r\n",
                    b'From: ("<x@\r\n y>, g:;\r\n',
                    b"Subject: \xff\0\r\n",
                    b"--b\r\n",
                    b"--b--\r\n",
                    b"\r\n",
                    b"text",
                ]
            ),
            max_size=20,
        )
    )
    def test_grammar(self, lines: list[bytes]) -> None:
        """
        Whatever the message, ENVELOPE and both structures are of the grammar.
        """
        root = scan(b"".join(lines))
        _Grammar(envelope(root)).whole(_Grammar.envelope)
        _Grammar(body_structure(root, False)).whole(lambda grammar: grammar.body(False))
        _Grammar(body_structure(root, True)).whole(lambda grammar: grammar.body(True))


class _Grammar:
    """
    Reads responses as RFC 3501, section 9, defines them; raises L{Syntax} where they are not so.
    """

    def __init__(self, octets: bytes) -> None:
        # Literals are taken out first, as a client does.
        text, literals = b"", []
        while True:
            start = octets.find(b"{")
            quote = octets.find(b'"')
            if quote >= 0 and (start < 0 or quote < start):
                end = quote + 1
                while octets[end : end + 1] != b'"':
                    end += 2 if octets[end : end + 1] == b"\\" else 1
                text, octets = text + octets[: end + 1], octets[end + 1 :]
            elif start >= 0:
                size, _, rest = octets[start + 1 :].partition(b"}\r\n")
                literals.append(rest[: int(size)])
                text, octets = text + octets[:start] + b"\0", rest[int(size) :]
            else:
                break
        self.parser = Parser(text + octets, literals)

    def whole(self, rule: object) -> None:
        """
        C{rule} and nothing else.
        """
        assert callable(rule)
        rule(self)
        self.parser.end()

    def nstring(self) -> None:
        if not self.parser.accept(b"NIL"):
            self.parser.string()

    def addresses(self, may_be_nil: bool) -> None:
        if may_be_nil and self.parser.accept(b"NIL"):
            return
        self.parser.literally(b"(")
        while not self.parser.accept(b")"):
            self.parser.literally(b"(")
            for index in range(4):
                if index:
                    self.parser.space()
                self.nstring()
            self.parser.literally(b")")

    def envelope(self) -> None:
        self.parser.literally(b"(")
        for index in range(10):
            if index:
                self.parser.space()
            if 2 <= index <= 7:
                self.addresses(index > 4)
            else:
                self.nstring()
        self.parser.literally(b")")

    def parameters(self) -> None:
        if self.parser.accept(b"NIL"):
            return
        self.parser.literally(b"(")
        count = 0
        while not count or not self.parser.accept(b")"):
            if count:
                self.parser.space()
            self.parser.string()
            self.parser.space()
            self.parser.string()
            count += 1

    def extensions(self) -> None:
        self.parser.space()
        if not self.parser.accept(b"NIL"):
            self.parser.literally(b"(")
            self.parser.string()
            self.parser.space()
            self.parameters()
            self.parser.literally(b")")
        self.parser.space()
        if self.parser.accept(b"("):
            self.parser.string()
            while self.parser.accept(b" "):
                self.parser.string()
            self.parser.literally(b")")
        else:
            self.nstring()
        self.parser.space()
        self.nstring()

    def body(self, extended: bool) -> None:
        self.parser.literally(b"(")
        if self.parser.peek() == b"(":
            while self.parser.peek() == b"(":
                self.body(extended)
            self.parser.space()
            self.parser.string()
            if extended:
                self.parser.space()
                self.parameters()
        else:
            self.single(extended)
        if extended:
            self.extensions()
        self.parser.literally(b")")

    def single(self, extended: bool) -> None:
        kind = self.parser.string()
        self.parser.space()
        kind += b"/" + self.parser.string()
        self.parser.space()
        self.parameters()
        for _ in range(2):
            self.parser.space()
            self.nstring()
        self.parser.space()
        self.parser.string()
        self.parser.space()
        self.parser.number()
        if kind == b"MESSAGE/RFC822":
            self.parser.space()
            self.envelope()
            self.parser.space()
            self.body(extended)
        if kind == b"MESSAGE/RFC822" or kind.startswith(b"TEXT/"):
            self.parser.space()
            self.parser.number()
        if kind.startswith(b"MULTIPART/"):
            raise Syntax("a multipart without parts")
        if extended:
            self.parser.space()
            self.nstring()
