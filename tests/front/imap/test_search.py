"""
Tests for L{post.front.imap.search}.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.front.imap.grammar import Parser, Syntax
from post.front.imap.search import DEPTH_LIMIT, KEYS_LIMIT, BadCharset, SearchParser, Subject, holds
from tests.front.imap.doubles import FakeMailbox

MESSAGE = (
    "From: Björn <bjorn@example.org>\r\nTo: alice@example.org\r\nCc: c@example.org\r\nBcc: b@example.org\r\n"
    "Subject: =?utf-8?q?Caf=C3=A9?= tomorrow\r\nDate: Tue, 3 Mar 2026 23:30:00 -0500\r\nX-Empty:\r\n\r\nHello World\r\n"
).encode()


def found(keys: bytes, message: bytes = MESSAGE, *flags: str, literals: tuple[bytes, ...] = ()) -> bool:
    """
    Whether SEARCH finds a message: the second of three, with UID 5, come on 4 March 2026.
    """
    test = SearchParser(Parser(keys, literals), [3, 5, 9]).parse()
    mailbox = FakeMailbox(Clock())
    uid = mailbox.receive(message)
    folder = mailbox.folder("INBOX")
    entry = folder.entry(uid)
    assert entry is not None
    entry = replace(entry, uid=5, flags=frozenset(flags), internal_date=datetime(2026, 3, 4, 23, 59, tzinfo=UTC))
    result: bool = SynchronousTestCase().successResultOf(holds(test, Subject(2, entry, folder.content(uid))))
    return result


class KeyTests(SynchronousTestCase):
    """
    Tests for each key.
    """

    def check(self, yes: tuple[bytes, ...], no: tuple[bytes, ...], *flags: str) -> None:
        """
        Which keys find the message and which do not.
        """
        for key in yes:
            self.assertTrue(found(key, MESSAGE, *flags), key)
            self.assertFalse(found(b"NOT " + key, MESSAGE, *flags), key)
        for key in no:
            self.assertFalse(found(key, MESSAGE, *flags), key)
            self.assertTrue(found(b"not " + key, MESSAGE, *flags), key)

    def test_flags(self) -> None:
        """
        Flags and keywords, set and not; nothing is ever recent.
        """
        names = ("ANSWERED", "DELETED", "DRAFT", "FLAGGED", "SEEN")
        set_, unset = tuple(n.encode() for n in names), tuple(b"UN" + n.encode() for n in names)
        self.check(set_, unset, *("\\" + name.capitalize() for name in names))
        self.check(unset, set_)
        self.check((b"KEYWORD $junk", b"OLD", b"ALL"), (b"UNKEYWORD $JUNK", b"NEW", b"RECENT"), "$Junk")

    def test_numbers(self) -> None:
        """
        Sequence numbers and UIDs, in ranges, with C{*}.
        """
        self.check((b"2", b"1:*", b"3,1:2", b"UID 5", b"UID 4:8", b"UID 5:*"), (b"1", b"3:*", b"*", b"UID 2", b"UID *"))

    def test_size_and_date(self) -> None:
        """
        Size is compared strictly; the day is that of INTERNALDATE, and for SENT... that of the Date field as written.
        """
        size = len(MESSAGE)
        self.check(
            (b"LARGER %d" % (size - 1), b"SMALLER %d" % (size + 1), b"ON 4-Mar-2026", b'SINCE "4-Mar-2026"'),
            (b"LARGER %d" % size, b"SMALLER %d" % size, b"BEFORE 4-Mar-2026", b"SINCE 5-Mar-2026", b"ON 3-Mar-2026"),
        )
        self.check(
            (b"SENTON 3-Mar-2026", b"SENTSINCE 3-Mar-2026", b"SENTBEFORE 4-Mar-2026", b"BEFORE 5-Mar-2026"),
            (b"SENTON 4-Mar-2026", b"SENTBEFORE 3-Mar-2026", b"SENTSINCE 4-Mar-2026"),
        )

    def test_headers(self) -> None:
        """
        Fields in any case, decoded; HEADER with no text asks whether the field is there.
        """
        self.check(
            (
                b'SUBJECT "caf\xc3\x89 TOM"',
                b"FROM BJ\xc3\xb6RN",
                b"TO alice",
                b"CC c@",
                b"BCC b@",
                b'HEADER x-empty ""',
                b"HEADER Subject tomorrow",
            ),
            (b"SUBJECT x", b"FROM alice", b"TO bjorn", b'HEADER X-Missing ""', b"HEADER X-Empty x"),
        )

    def test_text(self) -> None:
        """
        BODY looks into the body, TEXT into the header too.
        """
        self.check((b'BODY "hello w"', b"TEXT hello", b"TEXT CAF\xc3\xa9", b'BODY ""'), (b"BODY tomorrow", b"TEXT xyz"))

    def test_combined(self) -> None:
        """
        All keys together, lists, OR and NOT.
        """
        self.check(
            (b"(UNSEEN (SUBJECT tomorrow))", b"OR SEEN UNSEEN", b"OR (SEEN) (OR DELETED ALL)", b"NOT (SEEN ALL)"),
            (b"(UNSEEN SUBJECT x)", b"OR SEEN DELETED"),
        )
        self.assertFalse(found(b"UNSEEN SUBJECT x"))
        self.assertTrue(found(b"CHARSET us-ascii UNSEEN TO \0", literals=(b"alice",)))


class BodyTests(SynchronousTestCase):
    """
    Tests for how texts are looked into.
    """

    def test_encodings(self) -> None:
        """
        Transfer encodings and charsets are undone; what is no text is not looked into.
        """
        text = "Grüße".encode("latin-1")
        declared = b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: "
        self.assertTrue(found(b"BODY GR\xc3\x9cSSE", declared + b"8bit\r\n\r\n" + text))
        self.assertTrue(found(b"BODY GR\xc3\x9cSSE", declared + b"quoted-printable\r\n\r\nGr=FC=\r\n=DFe"))
        self.assertTrue(
            found(
                b"BODY GR\xc3\x9cSSE",
                declared + b"base64\r\n\r\n" + b64encode(text)[:3] + b"\r\n!" + b64encode(text)[3:],
            )
        )
        self.assertFalse(found(b"BODY hello", b"Content-Type: image/png\r\n\r\nhello"))

    def test_message_within(self) -> None:
        """
        A forwarded message is found by its own subject and text.
        """
        message = b"Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?b?R3LDvMOfZQ==?=\r\n\r\ninner text"
        self.assertTrue(found(b"BODY GR\xc3\xbcsse", message))
        self.assertTrue(found(b"BODY INNER", message))

    def test_charsets_that_are_none(self) -> None:
        """
        A charset that does not exist, is none for texts, or would take for ever, is taken for UTF-8.
        """
        for charset in (b"x", b"hex", b"idna", b"punycode", b"undefined", b'"a\0"', b"\xff"):
            message = b"Content-Type: text/plain; charset=" + charset + b"\r\n\r\nhello"
            self.assertTrue(found(b"BODY hello", message), charset)

    def test_broken_encoded_words(self) -> None:
        """
        One broken encoded word does not keep other messages, or this one, from being found.
        """
        for word in (b"=?utf-8?b?A?=", b"=?x?q?hello?=", b"=?utf-8?b?=?= hello", b"=?\0?q?hello?="):
            self.assertTrue(found(b"OR SUBJECT hello UNSEEN", b"Subject: " + word + b"\r\n\r\n"))

    @given(st.binary(max_size=60), st.binary(max_size=60))
    def test_any_message(self, header: bytes, text: bytes) -> None:
        """
        Every key can be tried on every message.
        """
        message = b"Subject: =?" + header + b"\r\nDate: " + header + b"\r\nContent-Type: text/x; charset=" + header
        message += b"\r\nContent-Transfer-Encoding: base64\r\n\r\n" + text
        for key in (b"SUBJECT x", b"TEXT x", b"SENTON 1-Jan-2020", b"FROM x"):
            found(key, message)


class LimitTests(SynchronousTestCase):
    """
    Tests for what is no search.
    """

    def parse(self, keys: bytes) -> None:
        """
        Parse C{keys}.
        """
        SearchParser(Parser(keys), [3, 5]).parse()

    def test_wrong(self) -> None:
        """
        Nonsense is L{Syntax}, an unknown charset is said to be that.
        """
        for keys in (
            b"",
            b"FOO x",
            b"FOO",
            b"(ALL",
            b"()",
            b"ON 31-Feb-2026",
            b"OR ALL",
            b"NOT",
            b"SUBJECT \xff",
            b"LARGER x",
        ):
            self.assertRaises(Syntax, self.parse, keys)
        self.assertRaises(BadCharset, self.parse, b"CHARSET latin-1 ALL")

    def test_limits(self) -> None:
        """
        Depth and number of keys have a limit.
        """
        self.parse(b"(" * DEPTH_LIMIT + b"ALL" + b")" * DEPTH_LIMIT)
        self.assertRaises(Syntax, self.parse, b"(" * (DEPTH_LIMIT + 1) + b"ALL" + b")" * (DEPTH_LIMIT + 1))
        self.assertRaises(Syntax, self.parse, b"NOT " * 6000 + b"ALL")
        self.parse(b" ".join([b"1:*"] * KEYS_LIMIT))
        self.assertRaises(Syntax, self.parse, b" ".join([b"1:*"] * (KEYS_LIMIT + 1)))

    @given(
        st.lists(st.sampled_from([b"NOT", b"OR", b"(", b")", b"ALL", b"1:*", b"UID", b"ON", b"x", b'"', b" ", b"\0"]))
    )
    def test_garbage(self, words: list[bytes]) -> None:
        """
        No keys raise anything but L{Syntax}.
        """
        for joint in (b" ", b""):
            try:
                self.parse(joint.join(words))
            except Syntax:
                pass
