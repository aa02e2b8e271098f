"""
Tests for L{post.moving.exporting} and L{post.moving.maildir_sink}: an account's mail becomes a Maildir, and comes back.
"""

from __future__ import annotations

import os
import resource
import signal
import stat
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import ConfigError, Unreachable
from post.moving import requests, server
from post.moving.files import Exported
from post.moving.flags import KEYWORDS_LIMIT, from_letters, read_keywords
from tests.scratch import scratch

from .doubles import ADDRESS, Desk

DATE = datetime(2009, 2, 13, 23, 31, 30, 250_000, UTC)
NONE: frozenset[str] = frozenset()


class MaildirSinkTests(SynchronousTestCase):
    """
    One account, and a directory.
    """

    def setUp(self) -> None:
        self.desk = Desk()
        self.root = scratch(self) / "out"

    def append(self, octets: bytes, *flags: str, folder: str = "INBOX", date: datetime = DATE) -> None:
        """
        Let the account have a message.
        """
        run, mailbox = self.desk.place.run, self.desk.person.mailbox
        if folder not in [status.name for status in mailbox.folders()]:
            run(mailbox.create(folder))
        run(mailbox.append(folder, octets, frozenset(flags), date))

    def files(self) -> dict[str, bytes]:
        """
        The messages in the directory, by path.
        """
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.glob("**/cur/*")}

    def test_written(self) -> None:
        """
        Folders, flags, keywords, dates; LF where CRLF comes back from it, and the very octets where not.
        """
        self.append(b"Subject: a\r\n\r\nbody\r\n", "\\Seen", "\\Flagged", "$Label1")
        self.append(b"\xff\r\r\n\r\n", folder="Work/a.b")
        tally, told = self.desk.write_maildir(self.root)
        self.assertEqual((2, 0, []), (tally.written, tally.already, told))
        (first, second) = sorted(self.files().items(), key=lambda item: len(item[0]))
        self.assertRegex(first[0], r"^cur/1234567890\.[0-9a-f]{32}\.post:2,FSa$")
        self.assertEqual(b"Subject: a\n\nbody\n", first[1])
        self.assertTrue(second[0].startswith(".Work.a&AC4-b/cur/"))
        self.assertEqual(b"\xff\r\r\n\r\n", second[1])
        self.assertEqual("0 $Label1\n", (self.root / "dovecot-keywords").read_text())
        self.assertTrue((self.root / ".Sent" / "maildirfolder").exists())
        found = (self.root / first[0]).stat()
        self.assertEqual((1_234_567_890_250_000_000, 0o600), (found.st_mtime_ns, stat.S_IMODE(found.st_mode)))

    def test_again(self) -> None:
        """
        Another run writes what is new, and makes flags those of now; what somebody has deleted here is written again.
        """
        for number in range(3):
            self.append(b"%d\r\n" % number)
        self.desk.write_maildir(self.root)
        victim, changed = sorted(self.root.glob("cur/*"))[:2]
        victim.unlink()
        folder = self.desk.person.folder()
        key = bytes.fromhex(changed.name.split(".")[1])
        uid = next(entry.uid for entry in folder.entries() if entry.key == key)
        self.desk.place.run(folder.store([uid], frozenset({"\\Answered", "Todo"}), NONE))
        self.append(b"3\r\n")
        tally, told = self.desk.write_maildir(self.root)
        self.assertEqual((2, 2, []), (tally.written, tally.already, told))
        self.assertEqual([b"0\n", b"1\n", b"2\n", b"3\n"], sorted(self.files().values()))
        self.assertTrue(changed.with_name(changed.name + "Ra").exists())

    def test_cut_short(self) -> None:
        """
        After a connection that broke, another run brings the rest.
        """
        for number in range(30):
            self.append(b"%d\r\n" % number)
        self.desk.breaks_after = 1500
        self.assertRaises(Unreachable, self.desk.write_maildir, self.root)
        self.assertLess(len(self.files()), 30)
        self.desk.breaks_after = None
        self.desk.write_maildir(self.root)
        self.assertEqual(sorted(b"%d\n" % number for number in range(30)), sorted(self.files().values()))
        self.assertEqual([], list(self.root.glob("tmp/*")))

    def test_pages(self) -> None:
        """
        However many there are, and however far apart their numbers: all are written.
        """
        for module in (server, requests):
            self.patch(module, "PAGE_LIMIT", 3)
            self.patch(module, "LOOK_LIMIT", 5)
        for number in range(40):
            self.append(b"%d\r\n" % number)
        folder = self.desk.person.folder()
        self.desk.place.run(folder.expunge([*range(2, 12), *range(20, 33), 40]))
        tally, _ = self.desk.write_maildir(self.root)
        left = [number for number in range(40) if number + 1 not in (*range(2, 12), *range(20, 33), 40)]
        self.assertEqual(sorted(b"%d\n" % number for number in left), sorted(self.files().values()))
        self.assertEqual(len(left), tally.written)

    def test_large(self) -> None:
        """
        A message of several pieces comes whole.
        """
        text = bytes(range(1, 256)) * 8 * 1024
        self.append(text)
        tally, _ = self.desk.write_maildir(self.root)
        self.assertEqual(len(text), tally.octets)
        self.desk = Desk(b"other")
        self.desk.bring_maildir(self.root)
        self.assertEqual([text.replace(b"\n", b"\r\n")], self.desk.person.texts())

    def test_lost(self) -> None:
        """
        What the ring cannot give now, and what a Maildir cannot hold, is named; everything else is written.
        """
        self.append(b"kept\r\n")
        self.append(b"bare\n")
        keywords = [f"Keyword{number}" for number in range(KEYWORDS_LIMIT + 1)]
        self.append(b"many\r\n", *keywords)
        self.append(b"\r\n" + b"x" * 70_000 + b"\r\n", folder="Lost")
        self.append(b"y\r\n", folder="ü" * 190)
        self.desk.person.restart()  # So that nothing is in memory.
        objects = self.desk.place.past.objects
        for handle in [handle for handle, item in objects.items() if len(item.data) > 60_000]:
            del objects[handle]
        tally, told = self.desk.write_maildir(self.root)
        self.assertEqual([b"bare\n", b"kept\n", b"many\n"], sorted(self.files().values()))
        self.assertEqual((3, 4), (tally.written, len(told)), told)
        self.assertIn("bare LF", told[0])
        self.assertIn("26 at most", told[1])
        self.assertTrue(told[2].startswith("Lost, UID 1: "), told)
        self.assertIn("too long a name", told[3])

    def test_not_ours(self) -> None:
        """
        A directory with something else in it, or with another account's mail, is left alone.
        """
        self.root.mkdir()
        (self.root / "thesis.txt").write_text("years of work")
        error = self.assertRaises(ConfigError, self.desk.write_maildir, self.root)
        self.assertIn("is not empty", str(error))
        (self.root / "thesis.txt").unlink()
        self.desk.write_maildir(self.root)
        error = self.assertRaises(ConfigError, Exported, self.root, "bob@example.org", "maildir")
        self.assertIn(f"has an export of {ADDRESS}", str(error))

    def test_full_disk(self) -> None:
        """
        Where a file cannot be written, nothing of it is there, and another run goes on.
        """
        self.append(b"small\r\n")
        self.append(b"x" * 100_000 + b"\r\n")
        self.desk.write_maildir(self.root)  # So that all directories are there.
        for path in self.root.glob("cur/*"):
            path.unlink()
        self.assertEqual((2, sorted([b"small\n", b"x" * 100_000 + b"\n"])), self.limited())

    def limited(self) -> tuple[int, list[bytes]]:
        """
        Export while no file may have more than 64 KiB, and then again.
        """
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, before[1]))
        try:
            self.assertRaises(OSError, self.desk.write_maildir, self.root)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        self.assertEqual([b"small\n"], list(self.files().values()))
        self.desk.write_maildir(self.root)
        files = self.files()
        return len(files), sorted(files.values())


_flags = st.sets(st.sampled_from(["\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$Forwarded", "Work"]))
_octets = st.lists(
    st.one_of(st.binary(max_size=20), st.sampled_from([b"\r\n", b"\r", b"From x\r\n", b">From y\r\n", b"\r\n\r\n"])),
    max_size=12,
).map(lambda parts: b"".join(parts).replace(b"\0", b"").replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") or b"x")
_messages = st.lists(
    st.tuples(_octets, _flags, st.integers(0, 2**32), st.sampled_from(["INBOX", "Sent", "Work/2026", "Früh.er/x"])),
    max_size=8,
)


class RoundTripTests(SynchronousTestCase):
    """
    Out and in again.
    """

    @settings(max_examples=25)
    @given(_messages)
    def test_maildir(self, messages: list[tuple[bytes, set[str], int, str]]) -> None:
        """
        What is exported and imported again is the same to the octet, with its flags, dates and folders; and what is
        exported from there is the same files.
        """
        desks = [Desk(b"one"), Desk(b"two")]
        mailbox = desks[0].person.mailbox
        for name in ("Work/2026", "Früh.er/x"):
            desks[0].place.run(mailbox.create(name))
        for octets, flags, seconds, folder in messages:
            date = datetime.fromtimestamp(seconds, UTC)
            desks[0].place.run(mailbox.append(folder, octets, frozenset(flags), date))
        roots = [scratch(self) / str(number) for number in range(2)]
        _, told = desks[0].write_maildir(roots[0])
        self.assertEqual([], told)
        desks[1].bring_maildir(roots[0])
        self.assertTrue(desks[0].contents() == desks[1].contents())
        desks[1].write_maildir(roots[1])
        self.assertEqual(*[self.shape(root) for root in roots])

    @staticmethod
    def shape(root: Path) -> list[tuple[str, str, bytes, float]]:
        """
        The files of a Maildir, but for the keys in their names.
        """
        found = []
        for path in root.glob("**/cur/*"):
            date, _, rest = path.name.partition(".")
            name = f"{path.parent.relative_to(root)}/{date}{rest[32:].split(',')[0]}"
            text = (path.parent.parent / "dovecot-keywords").read_text() if rest[-1].islower() else ""
            flags = from_letters(rest.split(",")[1], read_keywords(text))
            found.append((name, str(sorted(flags)), path.read_bytes(), os.stat(path).st_mtime))
        return sorted(found)
