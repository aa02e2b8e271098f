"""
Tests for L{post.moving.maildir} and L{post.moving.importing}: a Maildir becomes an account's mail.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.errors import ConfigError, Unreachable
from post.moving.importing import PAUSES_S
from post.moving.ledger import Ledger
from post.moving.link import NotNow
from post.moving.maildir import MaildirSource
from tests.mail.doubles import SIZE_LIMIT
from tests.scratch import scratch

from .doubles import Desk, maildir

DATE = 1_000_000_000


def put(path: Path, octets: bytes, date: int = DATE) -> Path:
    """
    A file that was last changed at C{date}.
    """
    path.write_bytes(octets)
    os.utime(path, (date, date))
    return path


class MaildirTests(SynchronousTestCase):
    """
    One Maildir, and a node.
    """

    def setUp(self) -> None:
        self.desk = Desk()
        self.root = maildir(scratch(self) / "Maildir", ".Sent", ".Work.2026", ".Entw&APw-rfe")
        self.ledger = Ledger(None)

    def troubles(self) -> list[tuple[str, str]]:
        """
        What the last import complained about, by the name of the file.
        """
        return [(Path(place).name, reason) for place, reason in self.ledger.troubles()]

    def bring(self) -> tuple[int, int, int]:
        """
        Import: how many came, were there, and could not be.
        """
        tally = self.desk.bring_maildir(self.root, self.ledger)
        return tally.filed, tally.already, tally.troubles

    def test_kept(self) -> None:
        """
        Folders, flags, keywords and dates are kept, and octets but for the ends of lines.
        """
        put(self.root / "new" / "1.a.host", b"Subject: new\n\n8 bit: \xff\xc3\xbc\nlong: " + b"x" * 5000 + b"\n")
        put(self.root / "cur" / "2.a.host:2,FSa", b"Subject: seen\r\n\r\nCRLF\r\n", DATE + 7)
        (self.root / "dovecot-keywords").write_text("0 $Label1\n1 Work\n")
        put(self.root / ".Sent" / "cur" / "3.a.host,S=10:2,RTDP", b"Subject: sent\n\nno end of line")
        put(self.root / ".Work.2026" / "cur" / "4.a.host", b"\nno header\n")
        put(self.root / ".Entw&APw-rfe" / "cur" / "5.a.host:2,", b"Subject: draft\n\r\n\rbare CR\n")
        self.assertEqual((5, 0, 0), self.bring())
        sent = frozenset({"\\Answered", "\\Deleted", "\\Draft", "$Forwarded"})
        self.assertEqual(
            {
                "INBOX": [
                    (
                        b"Subject: new\r\n\r\n8 bit: \xff\xc3\xbc\r\nlong: " + b"x" * 5000 + b"\r\n",
                        frozenset(),
                        DATE,
                    ),
                    (b"Subject: seen\r\n\r\nCRLF\r\n", frozenset({"\\Flagged", "\\Seen", "$Label1"}), DATE + 7),
                ],
                "Sent": [(b"Subject: sent\r\n\r\nno end of line", sent, DATE)],
                "Work/2026": [(b"\r\nno header\r\n", frozenset(), DATE)],
                "Entwürfe": [(b"Subject: draft\r\n\r\n\rbare CR\r\n", frozenset(), DATE)],
            },
            self.desk.contents(),
        )

    def test_order(self) -> None:
        """
        What came first has the lower UID, though the directory lists it later.
        """
        for number in range(40):
            put(self.root / "cur" / f"{97 * number % 40}.host:2,S", b"%d\n" % number, DATE + number)
        self.bring()
        texts = self.desk.person.texts()
        self.assertEqual([b"%d\r\n" % number for number in range(40)], texts)

    def test_directories(self) -> None:
        """
        Directories in directories are folders too, also where nothing at the top is one.
        """
        top = scratch(self) / "mail"
        maildir(top / "Inbox"), maildir(top / "Archive" / "2025"), maildir(top / "Archive")
        put(top / "Inbox" / "new" / "1", b"in\n")
        put(top / "Archive" / "2025" / "new" / "1", b"old\n")
        os.symlink(top, top / "Archive" / "circle")
        self.desk.bring_maildir(top)
        self.assertEqual({"INBOX", "Archive/2025"}, set(self.desk.contents()))

    def test_twice(self) -> None:
        """
        A second run doubles nothing, with or without memory of the first; equal messages are as many as they were.
        """
        for name in ("1", "2", "3"):
            put(self.root / "cur" / name, b"the same\n")
        put(self.root / "cur" / "4", b"another\n")
        path = scratch(self) / "ledger.sqlite"
        counts = []
        for each in (path, path, None):
            self.ledger = Ledger(each)
            counts.append(self.bring())
            self.ledger.close()
        self.assertEqual([(4, 0, 0), (0, 4, 0), (0, 4, 0)], counts)
        texts = [text for text, *_ in self.desk.contents()["INBOX"]]
        self.assertEqual([b"another\r\n", *[b"the same\r\n"] * 3], texts)

    def test_deleted(self) -> None:
        """
        What was imported and is deleted since does not come back.
        """
        self.desk.place.clock.advance(0)
        put(self.root / "cur" / "1", b"unwanted\n", int(self.desk.place.clock.seconds()))
        self.bring()
        self.desk.place.run(self.desk.person.folder().expunge([1]))
        self.ledger = Ledger(None)
        self.assertEqual((0, 1, 0), self.bring())
        self.assertEqual({}, self.desk.contents())

    def test_not_read_again(self) -> None:
        """
        What a ledger knows is not read again, though its flags, and so its name, have changed.
        """
        path = scratch(self) / "ledger.sqlite"
        found = put(self.root / "cur" / "1.host:2,", b"once\n")
        self.ledger = Ledger(path)
        self.bring()
        self.ledger.close()
        found.chmod(0)
        found.rename(self.root / "cur" / "1.host:2,S")
        self.ledger = Ledger(path)
        self.addCleanup(self.ledger.close)
        self.assertEqual((0, 1, 0), self.bring())

    def test_cut_short(self) -> None:
        """
        After a connection that broke at any place, another run brings the rest, and nothing twice.
        """
        texts = [b"message %d\n" % number + b"x" * (number * 100) + b"\n" for number in range(12)]
        for number, text in enumerate(texts):
            put(self.root / "cur" / str(number), text)
        for octets in range(500, 8000, 1500):
            self.desk, self.ledger = Desk(), Ledger(None)
            self.desk.breaks_after = octets
            self.assertRaises(Unreachable, self.bring)
            self.desk.breaks_after = None
            self.ledger = Ledger(None)
            filed, already, troubles = self.bring()
            self.assertEqual((12, 0), (filed + already, troubles))
            self.assertEqual(sorted(text.replace(b"\n", b"\r\n") for text in texts), sorted(self.desk.person.texts()))

    def test_broken(self) -> None:
        """
        What is no message is named, one line each, and everything else comes.
        """
        cur = self.root / "cur"
        put(cur / "1.good", b"good\n")
        put(cur / "2.empty", b"")
        put(cur / "3.nul", b"a\0b\n")
        put(cur / "4.large", b"x" * (SIZE_LIMIT + 1))
        (cur / "5.directory").mkdir()
        os.symlink(cur / "nowhere", cur / "6.dangling")
        os.mkfifo(cur / "7.pipe")
        put(cur / "8.cut", gzip.compress(b"compressed and cut\n" * 100)[:-20])
        put(cur / "9.encrypted", b"CRYPTED\x03\x07...")
        put(cur / ".hidden", b"no message by the format")
        self.assertEqual((1, 0, 8), self.bring())
        self.assertEqual(
            [
                ("2.empty", "is empty"),
                ("3.nul", "holds NUL, which no mail program could be given"),
                ("4.large", f"is longer than the {SIZE_LIMIT} octets that a message may have"),
                ("5.directory", "is not a file"),
                ("6.dangling", "No such file or directory"),
                ("7.pipe", "is not a file"),
                ("8.cut", "is compressed, and cut off"),
                ("9.encrypted", "is encrypted by Dovecot; import it over IMAP instead"),
            ],
            sorted(self.troubles()),
        )
        self.assertEqual([b"good\r\n"], self.desk.person.texts())

    def test_grown_by_line_ends(self) -> None:
        """
        What is over the limit only with the line ends of mail is refused by the node, and named.
        """
        put(self.root / "cur" / "1", b"x\n" * (SIZE_LIMIT // 2 - 1))
        self.assertEqual((0, 0, 1), self.bring())
        self.assertIn("the limit is", self.troubles()[0][1])

    def test_compressed(self) -> None:
        """
        What Dovecot has compressed is kept as it was before.
        """
        put(self.root / "cur" / "1.host:2,SZ", gzip.compress(b"compressed\n"))
        self.bring()
        self.assertEqual([b"compressed\r\n"], self.desk.person.texts())

    def test_renamed_meanwhile(self) -> None:
        """
        A mail program may set flags, and so change names, while we read.
        """
        put(self.root / "new" / "1.host", b"moving\n")
        source = MaildirSource(self.root, self.ledger, SIZE_LIMIT)
        folder = next(source.folders())
        (message,) = list(source.messages(folder))
        (self.root / "new" / "1.host").rename(self.root / "cur" / "1.host:2,S")
        self.assertEqual(b"moving\n", message.read().octets)  # type: ignore[union-attr]

    def test_bad_folder(self) -> None:
        """
        A folder whose name cannot be here is named, and the others come.
        """
        maildir(self.root, f".{'x' * 201}")
        put(self.root / f".{'x' * 201}" / "cur" / "1", b"lost?\n")
        put(self.root / "cur" / "1", b"good\n")
        self.assertEqual((1, 0, 1), self.bring())
        self.assertIn("nothing in it was imported", self.troubles()[0][1])

    def test_ring_cannot(self) -> None:
        """
        While the ring cannot keep it, it is tried again for a minute; then it ends, and what is filed is filed.
        """
        put(self.root / "cur" / "1", b"first\n")
        self.desk.place.past.copies = 1
        error = self.assertRaises(NotNow, self.bring)
        self.assertIn("the ring cannot keep it now", str(error))
        self.assertEqual(list(PAUSES_S), self.desk.pauses)
        self.assertEqual({}, self.desk.contents())
        self.desk.place.past.copies = 3
        self.ledger = Ledger(None)
        self.assertEqual((1, 0, 0), self.bring())

    def test_ring_can_again(self) -> None:
        """
        A ring that can keep it a little later is given it then.
        """
        put(self.root / "cur" / "1", b"first\n")
        put(self.root / "cur" / "2", b"second\n", DATE + 1)
        past = self.desk.place.past
        past.copies = 1

        class Pauses(list[float]):
            """
            In the third pause others come back.
            """

            def append(self, pause: float) -> None:
                super().append(pause)
                if len(self) == 3:
                    past.copies = 3

        self.desk.pauses = Pauses()
        self.assertEqual((2, 0, 0), self.bring())
        self.assertEqual(3, len(self.desk.pauses))

    def test_into(self) -> None:
        """
        All can be put into one folder.
        """
        put(self.root / "cur" / "1", b"a\n")
        put(self.root / ".Sent" / "cur" / "1", b"b\n")
        self.desk.bring(MaildirSource(self.root, self.ledger, SIZE_LIMIT), self.ledger, "Old mail/")
        self.assertEqual({"Old mail/INBOX", "Old mail/Sent"}, set(self.desk.contents()))

    def test_dry_run(self) -> None:
        """
        A dry run reads all, says what is broken, and files nothing.
        """
        put(self.root / "cur" / "1", b"a\n")
        put(self.root / "cur" / "2", b"")
        tally = self.desk.bring(MaildirSource(self.root, self.ledger, SIZE_LIMIT), self.ledger, dry_run=True)
        self.assertEqual((1, 1, {}), (tally.filed, tally.troubles, self.desk.contents()))

    def test_none(self) -> None:
        """
        Where there is no Maildir, that is said.
        """
        error = self.assertRaises(ConfigError, MaildirSource, scratch(self), self.ledger, SIZE_LIMIT)
        self.assertIn("has no Maildir in it", str(error))
        error = self.assertRaises(ConfigError, MaildirSource, self.root / "no", self.ledger, SIZE_LIMIT)
        self.assertIn("is not a directory", str(error))
