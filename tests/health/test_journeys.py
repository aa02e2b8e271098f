"""
Tests for L{post.health.journeys}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.entropy import SeededEntropy
from post.errors import Unreachable
from post.health import journeys
from post.health.journeys import SHOWN_LIMIT, SUBJECT_LIMIT, Subjects, subject
from post.ids import Handle
from post.journal import MemoryJournal
from post.mail import letter
from post.mail.journeys import Journey, shown
from post.mail.letter import LetterBox
from post.mail.mime import HEADER_LIMIT
from post.messaging.storage import SecureStore
from post.past.node import Past
from post.sim.authority import Authority
from post.tasks import Tasks
from tests.messaging.doubles import FakePast

NOW = 1_800_000_000


class SlowPast(FakePast):
    """
    Answers what is looked up when L{answer} says so, or fails to.
    """

    def __init__(self, clock: Clock, root: bytes) -> None:
        super().__init__(clock, root)
        self.asked: list[Deferred[None]] = []
        self.reads = 0

    async def lookup(self, kind: int, handle: Handle) -> bytes:
        self.reads += 1
        answered: Deferred[None] = Deferred()
        self.asked.append(answered)
        await answered
        return await super().lookup(kind, handle)

    def answer(self, reachable: bool = True) -> None:
        """
        Answer the oldest question.
        """
        answered = self.asked.pop(0)
        if reachable:
            answered.callback(None)
        else:
            answered.errback(Unreachable("nobody answers"))


class SubjectsTests(SynchronousTestCase):
    """
    Tests of L{Subjects}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        authority = Authority(b"journeys", NOW)
        self.past = SlowPast(self.clock, authority.root)
        entropy = SeededEntropy(b"journeys")
        self.store = SecureStore(cast(Past, self.past), self.clock, entropy, authority.convergence)
        self.tasks = Tasks()
        self.subjects = Subjects(self.letters(), self.tasks)

    def letters(self) -> LetterBox:
        """
        One that has looked at nothing yet.
        """
        return LetterBox(self.store, MemoryJournal(self.clock, 0.001), self.clock, 86400, 1_000_000)

    def sent(self, number: int, message: bytes | None = None) -> Journey:
        """
        A message that is in the ring.
        """
        message = b"Subject: number %d\r\n\r\nHello.\r\n" % number if message is None else message
        stored = self.successResultOf(Deferred.fromCoroutine(self.letters().store(message)))
        key = b"%016d" % number
        return Journey(key, NOW - number, "alice@example.org", stored.reference, stored.size, 3, ())

    def said(self, sent: Sequence[Journey]) -> list[str | None]:
        """
        The subjects that are shown now.
        """
        return [each.subject for each in self.subjects.of(sent)]

    def test_read_once(self) -> None:
        """
        A subject is unknown until its header has been read, and is not read again.
        """
        sent = [self.sent(0)]
        self.assertEqual([None], self.said(sent))
        self.past.answer()
        for _ in range(3):
            self.assertEqual(["number 0"], self.said(sent))
        self.assertEqual(1, self.past.reads)

    def test_one_reader(self) -> None:
        """
        However often the page is asked, one message is read at a time.
        """
        sent = [self.sent(number) for number in range(3)]
        for _ in range(5):
            self.said(sent)
        self.assertEqual(1, self.past.reads)
        for known in (1, 2, 3):
            self.past.answer()
            names = [f"number {number}" for number in range(known)]
            self.assertEqual([*names, *[None] * (3 - known)], self.said(sent))
        self.assertEqual((3, []), (self.past.reads, self.past.asked))

    def test_journey(self) -> None:
        """
        Beside the subject stands how far the message is.
        """
        sent = self.sent(0)
        (said,) = self.subjects.of([sent])
        self.assertEqual((shown(sent), False), (said.journey, said.gone))

    def test_unreachable(self) -> None:
        """
        A message that cannot be read now does not keep the others from being read, and is tried again when the page is.
        """
        sent = [self.sent(0), self.sent(1)]
        self.said(sent)
        self.past.answer(reachable=False)
        self.past.answer()
        self.assertEqual([None, "number 1"], self.said(sent))
        self.past.answer()
        self.assertEqual(["number 0", "number 1"], self.said(sent))
        self.assertEqual(3, self.past.reads)

    def test_gone(self) -> None:
        """
        Without a copy in Sent there is nothing to read; that is not the same as a subject that is not known yet.
        """
        (said,) = self.subjects.of([Journey(b"k" * 16, NOW, "alice@example.org", b"", 5, 3, ())])
        self.assertEqual((None, True, 0), (said.subject, said.gone, self.past.reads))

    def test_newest(self) -> None:
        """
        No more are shown than a page has room for, and of no others is anything read.
        """
        sent = [self.sent(number) for number in range(SHOWN_LIMIT + 5)]
        self.assertEqual(sent[SHOWN_LIMIT - 1].key.hex(), self.subjects.of(sent)[-1].journey.key)
        while self.past.asked:
            self.past.answer()
        self.assertEqual([f"number {number}" for number in range(SHOWN_LIMIT)], self.said(sent))
        self.assertEqual(SHOWN_LIMIT, self.past.reads)

    def test_forgotten(self) -> None:
        """
        Of those remembered the oldest goes when they are too many, and is read again if somebody wants it.
        """
        self.patch(journeys, "KNOWN_LIMIT", 2)
        self.patch(letter, "SKELETONS_BYTES", 0)  # So that what is read again is asked for again.
        sent = [self.sent(number) for number in range(3)]
        self.said(sent)
        while self.past.asked:
            self.past.answer()
        self.assertEqual(["number 1", "number 2"], self.said(sent[1:]))
        self.assertEqual([None], self.said(sent[:1]))
        self.past.answer()
        self.assertEqual(["number 0"], self.said(sent[:1]))

    def test_text(self) -> None:
        """
        What stands in the text is not the subject, and an unreadable one does not end the reading of the others.
        """
        sent = [
            self.sent(0, b"From: alice@example.org\r\n\r\nSubject: quoted\r\n"),
            self.sent(1, "Subject: =?\x80?q??=\r\n\r\n".encode()),
            self.sent(2),
        ]
        self.said(sent)
        while self.past.asked:
            self.past.answer()
        self.assertEqual(["", "=? ?q??=", "number 2"], self.said(sent))

    def test_long_header(self) -> None:
        """
        Of a header only the beginning is looked at, so what is behind that is no subject.
        """
        filler = b"X-Filler: %s\r\n" % (b"x" * 70)
        message = filler * (HEADER_LIMIT // len(filler) + 1) + b"Subject: behind\r\n\r\n"
        sent = [self.sent(0, message)]
        self.said(sent)
        self.past.answer()
        self.assertEqual([""], self.said(sent))

    def test_stopped(self) -> None:
        """
        When the node stops, reading ends.
        """
        sent = [self.sent(0), self.sent(1)]
        self.said(sent)
        self.tasks.stop()
        self.assertEqual([None, None], self.said(sent))
        self.assertEqual(1, self.past.reads)


class SubjectTests(SynchronousTestCase):
    """
    Tests of L{subject}.
    """

    def test_fields(self) -> None:
        """
        It is the first field of that name, in any case, unfolded; without one it is empty.
        """
        for header, said in (
            (b"From: a@b\r\nSUBJECT:  Lunch \r\nSubject: Dinner\r\n\r\n", "Lunch"),
            (b"Subject: Lunch\r\n  at noon\r\nTo: b@c\r\n\r\n", "Lunch at noon"),
            (b"Subject:\r\n\r\n", ""),
            (b"X-Subject: Lunch\r\n\r\n", ""),
            (b"", ""),
        ):
            self.assertEqual(said, subject(header), header)

    def test_encoded(self) -> None:
        """
        Encoded words are decoded, and joined where they follow each other; what is broken or of an unknown charset
        stays as it was written; bare UTF-8 is read as such.
        """
        for value, said in (
            ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
            ("=?utf-8?b?R3LDvA==?=\r\n =?iso-8859-1?q?=DFe?= you", "Grüße you"),
            ("=?no-such-charset?q?x?=", "=?no-such-charset?q?x?="),
            ("=?utf-8?b?x?=", "=?utf-8?b?x?="),
            ("=?utf-8?q?broken", "=?utf-8?q?broken"),
            ("Grüße", "Grüße"),
        ):
            self.assertEqual(said, subject(f"Subject: {value}\r\n\r\n".encode()), value)

    def test_one_line(self) -> None:
        """
        Line ends, controls and marks that turn the direction of writing are not shown, encoded or not.
        """
        for value in (b"a\tb", b"=?utf-8?q?a=0D=0Ab?=", b"=?utf-8?q?a=1B=00b?=", "a\u202eb".encode()):
            self.assertEqual("a b", subject(b"Subject: %s\r\n\r\n" % value), value)

    def test_length(self) -> None:
        """
        A long one is cut, visibly.
        """
        for length, said in (
            (SUBJECT_LIMIT, "x" * SUBJECT_LIMIT),
            (SUBJECT_LIMIT + 1, "x" * (SUBJECT_LIMIT - 1) + "…"),
        ):
            self.assertEqual(said, subject(b"Subject: %s\r\n\r\n" % (b"x" * length)))

    CHARSETS = (
        "utf-8",
        "utf-7",
        "utf-16",
        "idna",
        "punycode",
        "hex",
        "undefined",
        "unknown-8bit",
        "unicode_escape",
        "\0",
    )
    WORDS = st.builds(
        "=?{}?{}?{}?=".format,
        st.sampled_from(CHARSETS) | st.text(max_size=8),
        st.sampled_from("qQbBx"),
        st.text("=ABCDEFabcdef0123456789+/_ ?-\\", max_size=20),
    )

    @given(st.lists(WORDS | st.text(max_size=10), max_size=5).map(lambda words: " ".join(words).encode()) | st.binary())
    def test_anything(self, value: bytes) -> None:
        """
        Whatever was written there, it is a printable line of limited length.
        """
        said = subject(b"Subject: " + value)
        self.assertTrue(said.isprintable())
        self.assertLessEqual(len(said), SUBJECT_LIMIT)
