"""
Tests for L{post.moving.mbox}, its source and its sink.
"""

from __future__ import annotations

from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import ConfigError, Unreachable
from post.moving import mbox_sink
from post.moving.ledger import Ledger
from post.moving.mbox import envelope_date, is_separator, parse, record, spans
from tests.mail.doubles import SIZE_LIMIT
from tests.scratch import scratch

from .doubles import Desk

LINE = b"From alice@example.org Thu Nov 24 10:00:00 2022\n"
DATE = 1_669_284_000


def cut(data: bytes) -> list[bytes]:
    """
    The messages in an mbox, as they stand there.
    """
    return [data[span.start : span.stop] for span in spans(BytesIO(data))]


class SpansTests(SynchronousTestCase):
    """
    Tests for L{spans}, on bytes.
    """

    def test_divided(self) -> None:
        """
        Messages are divided at From lines behind empty lines; the empty line belongs to neither.
        """
        data = LINE + b"A: 1\n\nfirst\n\n" + LINE + b"A: 2\n\nsecond\n\n\n" + LINE + b"A: 3\n\nthird, unended"
        self.assertEqual([b"A: 1\n\nfirst\n", b"A: 2\n\nsecond\n\n", b"A: 3\n\nthird, unended"], cut(data))
        crlf = data.replace(b"\n", b"\r\n")
        self.assertEqual([each.replace(b"\n", b"\r\n") for each in cut(data)], cut(crlf))
        self.assertEqual([1, 6, 12], [span.line for span in spans(BytesIO(data))])

    def test_unescaped(self) -> None:
        """
        A line that begins with From is text if no empty line stands before it, no date ends it, or no header follows.
        """
        for text in (
            b"no empty line\n" + LINE + b"B: 2\n",
            b"no date\n\nFrom now on, all is well\nB: 2\n",
            b"no header\n\n" + LINE + b"this is text that quotes an mbox\n",
            b"a year is no date\n\nFrom Vienna, in 2022\nB: 2\n",
        ):
            message = b"A: 1\n\n" + text
            self.assertEqual([message, b"A: 2\n\n"], cut(LINE + message + b"\n" + LINE + b"A: 2\n\n\n"))

    def test_content_length(self) -> None:
        """
        A length that leads to the next message, or to the end, is believed; another one is not.
        """
        body = b"quotes one:\n\n" + LINE + b"B: 2\n\nhere\n"
        message = b"A: 1\nContent-Length: %d\n\n" % len(body) + body
        self.assertEqual([message], cut(LINE + message))
        self.assertEqual([message, b"A: 2\n\nx\n"], cut(LINE + message + b"\n" + LINE + b"A: 2\n\nx\n"))
        wrong = b"A: 1\nContent-Length: %d\n\n" % (len(body) + 1) + body
        self.assertEqual(2, len(cut(LINE + wrong)))
        (first, second) = spans(BytesIO(LINE + message + b"\n" + LINE + b"A: 2\n\nx\n"))
        self.assertEqual((1, 12), (first.line, second.line))

    @given(
        st.binary(max_size=300)
        | st.lists(st.sampled_from([LINE, b"\n", b"\r\n", b"A: 1\n", b"From ", b"x"])).map(b"".join)
    )
    def test_anything(self, data: bytes) -> None:
        """
        Whatever a file holds, spans are in order and in it.
        """
        end = 0
        for span in spans(BytesIO(data)):
            self.assertTrue(end <= span.start <= span.stop <= len(data))
            end = span.stop
            parse(data[span.start : span.stop], "mboxrd")

    @given(
        st.lists(
            st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b"From x", LINE, b">From ", b"A: 1", b"\xff"]), max_size=8)
        )
    )
    def test_records(self, lists: list[list[bytes]]) -> None:
        """
        What is written one behind the other is read as it was, up to the line ends that a file has.
        """
        messages = [b"".join(each).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") or b"x" for each in lists]
        flags = ("\\Seen", "Work")
        data = b"".join(record(message, flags, 1000 * DATE) for message in messages)
        found = [parse(each, "none") for each in cut(data)]
        self.assertEqual(
            [message.replace(b"\r\n", b"\n") for message in messages],
            [each[0].replace(b"\r\n", b"\n") for each in found],
        )
        self.assertTrue(all(each[1] == set(flags) for each in found))


class EnvelopeTests(SynchronousTestCase):
    """
    Tests for From lines.
    """

    def test_dates(self) -> None:
        """
        The usual ways of writing the date are understood, in UTC if no zone is named.
        """
        for line, date in (
            (LINE, DATE),
            (b"From - Thu Nov 24 10:00:00 2022\r\n", DATE),
            (b"From 17@xxx Thu Nov 24 11:00:00 +0100 2022\n", DATE),
            (b"From a@b Thu Nov 24 05:00:00 2022 -0500\n", DATE),
            (b"From a@b  Thu Nov  3 10:00 EST 2022\n", 1_667_469_600),
            (b'From "a b"@c Thu, Nov 24 10:00:00 2022\n', DATE),
        ):
            self.assertTrue(is_separator(line), line)
            self.assertEqual(1000 * date, envelope_date(line), line)
        for line in (b"From me\n", b"From a@b Thu Foo 24 10:00:00 2022\n", b"from a Thu Nov 24 10:00:00 2022\n"):
            self.assertFalse(is_separator(line))

    def test_quoting(self) -> None:
        """
        One mark is taken away from what each way of quoting marks.
        """
        text = b"A: 1\n\n>From x\n>>From y\n > From z\n"
        self.assertEqual(b"A: 1\n\nFrom x\n>From y\n > From z\n", parse(text, "mboxrd")[0])
        self.assertEqual(b"A: 1\n\nFrom x\n>>From y\n > From z\n", parse(text, "mboxo")[0])
        self.assertEqual(text, parse(text, "none")[0])

    def test_fields(self) -> None:
        """
        The fields of the format become flags and are gone; a field of the message that is called so stays.
        """
        text = b"Status: RO\nSubject: s\nX-Status: AF\nX-Keywords: $Label1, Work   \nX-UID: 7\n\nStatus: R\n"
        octets, flags, _ = parse(text, "mboxrd")
        self.assertEqual(b"Subject: s\n\nStatus: R\n", octets)
        self.assertEqual({"\\Seen", "\\Answered", "\\Flagged", "$Label1", "Work"}, flags)
        self.assertEqual(b"Status: resolved\n\n", parse(b"Status: resolved\n\n", "mboxrd")[0])


class MboxTests(SynchronousTestCase):
    """
    Files, and a node.
    """

    def setUp(self) -> None:
        self.desk = Desk()
        self.root = scratch(self)
        self.ledger = Ledger(None)

    def test_kept(self) -> None:
        """
        A directory as Thunderbird has it: folders, dates, flags; what the format adds is gone.
        """
        (self.root / "Inbox").write_bytes(LINE + b"Subject: 1\nStatus: RO\n\nbody\n>From me\n\n")
        (self.root / "Inbox.msf").write_bytes(b"// <!-- no mail -->")
        (self.root / "Inbox.sbd").mkdir()
        (self.root / "Inbox.sbd" / "Fr&APw-h").write_bytes(b"From - Thu Nov 24 10:00:01 2022\r\nA: 1\r\n\r\nb\r\n")
        (self.root / "Old.mbox").mkdir()
        (self.root / "Old.mbox" / "mbox").write_bytes(LINE + b"A: 2\n\n")
        (self.root / "Empty.mbox").write_bytes(b"")
        tally = self.desk.bring_mbox(self.root, self.ledger)
        self.assertEqual((3, 0), (tally.filed, tally.troubles))
        self.assertEqual(
            {
                "INBOX": [(b"Subject: 1\r\n\r\nbody\r\nFrom me\r\n", frozenset({"\\Seen"}), DATE)],
                "INBOX/Früh": [(b"A: 1\r\n\r\nb\r\n", frozenset(), DATE + 1)],
                "Old": [(b"A: 2\r\n\r\n", frozenset(), DATE)],
            },
            self.desk.contents(),
        )
        self.assertIn("Empty", [status.name for status in self.desk.person.mailbox.folders()])

    def test_broken(self) -> None:
        """
        What is no message is named with its line, and everything else comes; an unescaped From line loses nothing.
        """
        path = self.root / "x.mbox"
        internal = b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1 2\n\nText\n"
        parts = [
            internal,
            b"A: 1\n\nFrom here\n\nFrom there on\n",
            b"A: 2\n\n\0\n",
            b"A: 3\n\n" + b"x" * SIZE_LIMIT + b"\n",
            b"A: 4\n\n",
        ]
        path.write_bytes(b"\n".join(LINE + part for part in parts))
        tally = self.desk.bring_mbox(path, self.ledger)
        self.assertEqual((2, 2), (tally.filed, tally.troubles))
        self.assertEqual(
            [
                (f"{path}, line 14", "holds NUL, which no mail program could be given"),
                (f"{path}, line 19", f"is longer than the {SIZE_LIMIT} octets that a message may have"),
            ],
            list(self.ledger.troubles()),
        )
        texts = [b"A: 1\r\n\r\nFrom here\r\n\r\nFrom there on\r\n", b"A: 4\r\n\r\n"]
        self.assertEqual(texts, self.desk.person.texts("x"))

    def test_none(self) -> None:
        """
        What is no mbox is refused with one line.
        """
        (self.root / "letter.txt").write_text("Dear Alice\n")
        for path in (self.root / "letter.txt", self.root, self.root / "nowhere"):
            self.assertRaises(ConfigError, self.desk.bring_mbox, path)

    def test_twice(self) -> None:
        """
        A second run doubles nothing.
        """
        path = self.root / "inbox"
        path.write_bytes((LINE + b"A: 1\n\n\n") * 3)
        tallies = [self.desk.bring_mbox(path) for _ in range(2)]
        self.assertEqual([(3, 0), (0, 3)], [(tally.filed, tally.already) for tally in tallies])

    def append(self, octets: bytes, *flags: str, seconds: int = DATE, folder: str = "INBOX") -> None:
        """
        Let the account have a message.
        """
        mailbox = self.desk.person.mailbox
        self.desk.place.run(mailbox.append(folder, octets, frozenset(flags), datetime.fromtimestamp(seconds, UTC)))

    def test_written(self) -> None:
        """
        What is written is mboxrd, which others read too, with a field of our own.
        """
        self.append(b"Subject: s\r\n\r\nFrom me\r\n>From you\r\n", "\\Seen", "\\Answered", "Work")
        self.append(b"unended", seconds=DATE + 1)
        self.desk.write_mbox(self.root / "out")
        self.assertEqual(
            b"From post-export@localhost Thu Nov 24 10:00:00 2022\n"
            b"X-POST-Export: 1; lines=lf; end=yes\nStatus: RO\nX-Status: A\nX-Keywords: Work\n"
            b"Subject: s\n\n>From me\n>>From you\n\n"
            b"From post-export@localhost Thu Nov 24 10:00:01 2022\n"
            b"X-POST-Export: 1; lines=lf; end=no\nStatus: O\nX-Status: \nX-Keywords: \n"
            b"unended\n\n",
            (self.root / "out" / "INBOX.mbox").read_bytes(),
        )

    def test_cut_short(self) -> None:
        """
        An export that was cut short goes on behind what is surely written; until it is complete, nothing has the name.
        """
        self.patch(mbox_sink, "SYNC_BYTES", 500)
        for number in range(40):
            self.append(b"%d\r\n" % number + b"x" * 90 + b"\r\n")
        self.desk.breaks_after = 2000
        self.assertRaises(Unreachable, self.desk.write_mbox, self.root / "out")
        part = self.root / "out" / "INBOX.mbox.part"
        self.assertEqual([False, True], [(self.root / "out" / "INBOX.mbox").exists(), part.exists()])
        with part.open("ab") as file:
            file.write(b"half a mess")
        self.desk.breaks_after = None
        tally, _ = self.desk.write_mbox(self.root / "out")
        self.assertLess(tally.written, 40)
        self.assertEqual(40, (self.root / "out" / "INBOX.mbox").read_bytes().count(b"From post-export"))
        other = Desk(b"other")
        other.bring_mbox(self.root / "out")
        self.assertEqual(self.desk.contents(), other.contents())

    def test_again(self) -> None:
        """
        A complete file is written anew, and replaced when that is complete.
        """
        self.append(b"first\r\n")
        self.desk.write_mbox(self.root / "out")
        self.append(b"second\r\n")
        self.desk.write_mbox(self.root / "out")
        self.assertEqual(2, (self.root / "out" / "INBOX.mbox").read_bytes().count(b"From post-export"))


_octets = st.lists(
    st.one_of(
        st.binary(max_size=20), st.sampled_from([b"\r\n", b"\r", LINE, b">From y\r\n", b"\r\n\r\n", b"Status: R\n"])
    ),
    max_size=12,
).map(lambda parts: b"".join(parts).replace(b"\0", b"").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") or b"x")
_flags = st.sets(st.sampled_from(["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded", "Work"]))
_messages = st.lists(
    st.tuples(
        _octets, _flags, st.integers(0, 2**32), st.sampled_from(["INBOX", "Sent", "a.mbox", "a.mbox/..", "Früh.er"])
    ),
    max_size=8,
)


class RoundTripTests(SynchronousTestCase):
    """
    Out and in again.
    """

    @settings(max_examples=25, deadline=None)
    @given(_messages)
    def test_mbox(self, messages: list[tuple[bytes, set[str], int, str]]) -> None:
        """
        What is exported and imported again is the same to the octet, with its flags, dates and folders; and what is
        exported from there is the same files.
        """
        desks = [Desk(b"one"), Desk(b"two")]
        mailbox = desks[0].person.mailbox
        for name in ("a.mbox", "a.mbox/..", "Früh.er"):
            desks[0].place.run(mailbox.create(name))
        for octets, flags, seconds, folder in messages:
            date = datetime.fromtimestamp(seconds, UTC)
            desks[0].place.run(mailbox.append(folder, octets, frozenset(flags), date))
        roots = [scratch(self) / str(number) for number in range(2)]
        _, told = desks[0].write_mbox(roots[0])
        self.assertEqual([], told)
        desks[1].bring_mbox(roots[0])
        self.assertTrue(desks[0].contents() == desks[1].contents())
        desks[1].write_mbox(roots[1])
        self.assertTrue(self.files(roots[0]) == self.files(roots[1]))

    @staticmethod
    def files(root: Path) -> dict[str, bytes]:
        """
        All mboxes.
        """
        return {str(path.relative_to(root)): path.read_bytes() for path in root.glob("**/*.mbox")}
