"""
Tests for L{post.mail.mailbox} and L{post.mail.letter}: folders as a mail program has them, on a log.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from post.commit import DiskError
from post.errors import PeerError, TooFewReplicas
from post.mail import mailbox as mailbox_module
from post.mail.interfaces import (
    FolderExists,
    FolderRefused,
    IContent,
    IFolder,
    IFolderListener,
    IMailbox,
    MessageTooLarge,
    MessageUnavailable,
    NoSuchFolder,
)
from post.mail.mailbox import FLAGS_LIMIT, SPECIAL_FOLDERS, UIDS_SKIPPED
from post.mail.records import FolderDeleted
from post.messaging import log as log_module
from post.past.blocks import CONTENT
from tests.messaging.doubles import backup

from .doubles import SIZE_LIMIT, Person, Place

MAIL = b"Subject: s\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n"
NONE: frozenset[str] = frozenset()


@implementer(IFolderListener)
class Listener:
    """
    Notes what it is told.
    """

    def __init__(self) -> None:
        self.told: list[str] = []

    def changed(self) -> None:
        self.told.append("changed")

    def deleted(self) -> None:
        self.told.append("deleted")


class MailboxTests(SynchronousTestCase):
    """
    One person's mailbox.
    """

    def setUp(self) -> None:
        self.place = Place(b"seed")
        self.person = Person(self.place, "alice")
        self.run_coroutine = self.place.run

    @property
    def mailbox(self) -> mailbox_module.Mailbox:
        return self.person.mailbox

    def append(self, folder: str = "INBOX", message: bytes = MAIL, *flags: str) -> int:
        return self.run_coroutine(self.mailbox.append(folder, message, frozenset(flags), None))[1]

    def uids(self, folder: str = "INBOX") -> list[int]:
        return [entry.uid for entry in self.mailbox.folder(folder).entries()]

    def names(self) -> list[str]:
        return [status.name for status in self.mailbox.folders()]

    def test_interfaces(self) -> None:
        """
        Mailbox, folder and content are what front-ends expect, and the listener of these tests too.
        """
        self.append()
        verifyObject(IMailbox, self.mailbox)
        verifyObject(IFolder, self.mailbox.folder("INBOX"))
        verifyObject(IContent, self.mailbox.folder("INBOX").content(1))
        verifyObject(IFolderListener, Listener())

    def test_special_folders(self) -> None:
        """
        A new mailbox has them all at once, however often it is opened: there is no moment with some of them.
        """
        self.assertEqual(1, self.person.log.count)
        for forget in (False, True):
            self.person.restart(forget)
            self.assertEqual(
                [("INBOX", ""), *sorted(SPECIAL_FOLDERS[1:])],
                [(status.name, status.special_use) for status in self.mailbox.folders()],
            )

    def test_kept(self) -> None:
        """
        What APPEND was answered for survives the loss of the disk.
        """
        when = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
        self.run_coroutine(self.mailbox.append("INBOX", MAIL, frozenset({"\\Flagged"}), when))
        self.person.restart(forget=True)
        [entry] = self.mailbox.folder("INBOX").entries()
        self.assertEqual(({"\\Flagged"}, when, len(MAIL)), (entry.flags, entry.internal_date, entry.size))
        self.assertEqual([MAIL], self.person.texts())

    def test_adopted(self) -> None:
        """
        A message from elsewhere is filed once for each key, whatever comes between; at its turn, with flags and date.
        """
        when = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
        turns: list[Deferred[None]] = []

        async def turn() -> None:
            turns.append(Deferred())
            await turns[-1]

        def adopt() -> Deferred[bool]:
            work = self.mailbox.adopt("INBOX", b"k" * 16, MAIL, frozenset({"\\Seen", "$Verified"}), when, turn)
            return Deferred.fromCoroutine(work)

        first, second = adopt(), adopt()
        self.place.clock.pump([0.001] * 50)
        self.assertEqual((2, []), (len(turns), self.uids()))
        for each in turns:
            each.callback(None)
        self.place.clock.pump([0.001] * 50)
        self.assertEqual((True, False), (self.successResultOf(first), self.successResultOf(second)))
        self.person.restart(forget=True)
        [entry] = self.mailbox.folder("INBOX").entries()
        self.assertEqual((b"k" * 16, {"\\Seen"}, when), (entry.key, entry.flags, entry.internal_date))
        self.assertFalse(self.run_coroutine(self.mailbox.adopt("Sent", b"k" * 16, MAIL, NONE, when, turn)))

    def test_not_kept(self) -> None:
        """
        While the ring cannot keep it, APPEND fails, and nothing is filed.
        """
        self.place.past.copies = 1
        self.assertRaises(TooFewReplicas, self.append)
        self.assertEqual([], self.uids())

    def test_too_large(self) -> None:
        """
        A message over the limit is refused.
        """
        self.assertRaises(MessageTooLarge, self.append, "INBOX", b"x" * (SIZE_LIMIT + 1))

    def test_validity_and_uids_stay(self) -> None:
        """
        UIDVALIDITY and UIDs are the same after a restart and after the loss of the disk; then UIDs go on beyond what
        the lost machine may have shown.
        """
        for _ in range(3):
            self.append()
        self.run_coroutine(self.mailbox.folder("INBOX").expunge([3]))
        self.run_coroutine(self.person.log.kept_to(self.person.log.count - 1))
        before = self.mailbox.folder("INBOX").uid_validity
        self.person.restart(close=True)
        self.assertEqual((before, [1, 2], 4), (before, self.uids(), self.mailbox.folder("INBOX").uid_next))
        self.person.restart(forget=True)
        folder = self.mailbox.folder("INBOX")
        self.assertEqual((before, [1, 2], 4 + UIDS_SKIPPED), (folder.uid_validity, self.uids(), folder.uid_next))

    def test_restored_disk(self) -> None:
        """
        A mailbox restored from a backup while the ring is away takes UIDs for its own messages, when the ring is back,
        that nobody has seen.
        """
        disk = backup(self.person.journal, self.place.clock)
        self.append(message=MAIL + b"known to the ring")
        self.person.leave()
        self.person.journal = disk
        self.place.past.confirmed = False
        self.person.open()
        self.assertEqual([], self.uids())
        self.run_coroutine(self.mailbox.create("new"))
        self.place.past.confirmed = True
        self.append(message=MAIL + b"ours")
        self.assertEqual([1, 2 + UIDS_SKIPPED], self.uids())
        self.assertIn("new", self.names())
        self.person.restart(forget=True)
        self.assertEqual([MAIL + b"known to the ring", MAIL + b"ours"], self.person.texts())

    def test_flags(self) -> None:
        """
        Flags are added, removed and replaced, survive a restart, and each change raises MODSEQ.
        """
        self.append()
        folder = self.mailbox.folder("INBOX")
        first = folder.entries()[0].modseq
        self.run_coroutine(folder.store([1, 99], frozenset({"\\Seen", "work"}), NONE))
        second = folder.entries()[0].modseq
        self.run_coroutine(folder.store([1], NONE, frozenset({"work"})))
        self.run_coroutine(folder.replace([1], frozenset({"\\Flagged"})))
        self.assertLess(first, second)
        self.person.restart()
        self.assertEqual({"\\Flagged"}, self.mailbox.folder("INBOX").entries()[0].flags)

    def test_shown_again(self) -> None:
        """
        What did not change is shown as the same object, since sessions look at whole folders; a copy is another.
        """
        self.append()
        self.append()
        folder = self.mailbox.folder("INBOX")
        before = folder.entries()
        self.run_coroutine(folder.store([1], frozenset({"\\Seen"}), NONE))
        after = folder.entries()
        self.assertIs(before[1], after[1])
        self.assertEqual(({"\\Seen"}, frozenset()), (after[0].flags, before[0].flags))
        self.run_coroutine(folder.copy([1], "Archive"))
        copied = self.mailbox.folder("Archive").entries()[0]
        self.assertNotEqual(after[0].key, copied.key)
        self.assertEqual({"\\Seen"}, copied.flags)

    def test_same_flags(self) -> None:
        """
        A change that changes nothing is no record.
        """
        self.append("INBOX", MAIL, "\\Seen")
        count = self.person.log.count
        folder = self.mailbox.folder("INBOX")
        self.run_coroutine(folder.store([1, 1], frozenset({"\\Seen"}), frozenset({"x"})))
        self.run_coroutine(folder.replace([1], frozenset({"\\Seen"})))
        self.assertEqual(count, self.person.log.count)

    def test_verified_is_ours(self) -> None:
        """
        A mail program can neither set $Verified, however it spells it, nor remove it.
        """
        self.append("INBOX", MAIL, "$Verified", "$VERIFIED", "other")
        folder = self.mailbox.folder("INBOX")
        self.run_coroutine(folder.store([1], frozenset({"$verified"}), NONE))
        self.run_coroutine(folder.replace([1], frozenset({"$vErified", "other"})))
        self.assertEqual({"other"}, folder.entries()[0].flags)
        bob = Person(self.place, "bob")
        bob.send(b"From: bob@example.org\r\n\r\n", "alice")
        self.run_coroutine(folder.store([2], NONE, frozenset({"$Verified"})))
        self.run_coroutine(folder.replace([2], frozenset({"\\Seen"})))
        self.assertEqual({"$Verified", "\\Seen"}, folder.entries()[1].flags)

    def test_flags_limit(self) -> None:
        """
        Flags are limited in number, at once and in sum, and in length, so that every record can be read back.
        """
        many = frozenset(f"k{number}" for number in range(FLAGS_LIMIT))
        self.append("INBOX", MAIL, *many)
        folder = self.mailbox.folder("INBOX")
        for flags in (many | {"more"}, frozenset({"x" * 1000}), frozenset({"another"})):
            self.assertRaises(FolderRefused, self.run_coroutine, folder.store([1], flags, NONE))
        self.person.restart()
        self.assertEqual(many, self.mailbox.folder("INBOX").entries()[0].flags)

    def test_copy_and_move(self) -> None:
        """
        Copies and moved messages have new UIDs in the order of the old, and their bytes.
        """
        for number in range(3):
            self.append(message=MAIL + b"%d" % number)
        folder = self.mailbox.folder("INBOX")
        copied = self.run_coroutine(folder.copy([1, 3, 3, 7], "Archive"))
        self.assertEqual(((1, 3), (1, 2)), (copied.source, copied.target))
        moved = self.run_coroutine(folder.move([2], "Archive"))
        self.assertEqual(((2,), (3,)), (moved.source, moved.target))
        self.assertEqual(([1, 3], [1, 2, 3]), (self.uids(), self.uids("Archive")))
        self.assertEqual([MAIL + b"0", MAIL + b"2", MAIL + b"1"], self.person.texts("Archive"))
        self.run_coroutine(folder.expunge([1, 1]))
        self.assertEqual(MAIL + b"0", self.person.texts("Archive")[0])
        self.assertRaises(NoSuchFolder, self.run_coroutine, folder.move([3], "nowhere"))
        self.assertEqual([3], self.uids())

    def test_move_is_one_record(self) -> None:
        """
        A message is never in both folders or in none: moving is one record.
        """
        self.append()
        before = self.person.log.count
        self.run_coroutine(self.mailbox.folder("INBOX").move([1], "Trash"))
        self.assertEqual(before + 1, self.person.log.count)

    def test_uids_are_not_used_again(self) -> None:
        """
        Not after expunging the last one, not after moving it away and back, not after a restart.
        """
        self.append()
        self.run_coroutine(self.mailbox.folder("INBOX").expunge([1]))
        self.append()
        self.run_coroutine(self.mailbox.folder("INBOX").move([2], "Trash"))
        self.person.restart(close=True)
        self.run_coroutine(self.mailbox.folder("Trash").move([1], "INBOX"))
        self.assertEqual([3], self.uids())

    def test_uids_that_were_shown(self) -> None:
        """
        Nor after a crash before the journal had the message that a mail program saw under it.
        """
        self.append()
        filing = Deferred.fromCoroutine(self.mailbox.append("INBOX", MAIL, frozenset(), None))
        filing.addErrback(lambda _: None)  # Its node dies.
        while len(self.uids()) < 2:
            self.place.clock.advance(0.0001)
        self.assertEqual([1, 2], self.uids())
        self.person.restart()
        self.assertEqual([1], self.uids())
        self.append()
        self.assertGreater(self.uids()[-1], 2)

    def test_damaged_end(self) -> None:
        """
        If it cannot be read whether the mailbox was closed, it was not.
        """
        self.append()
        self.run_coroutine(self.mailbox.close())
        self.person.leave()
        journal = self.person.journal = self.person.journal.crash()
        value = journal.value

        def damaged(name: str) -> bytes | None:
            if name == "closed":
                raise DiskError("journal", "closed is damaged on disk")
            return value(name)

        journal.value = damaged  # type: ignore[method-assign]
        self.person.open()
        self.append()
        self.assertGreaterEqual(self.uids()[-1], UIDS_SKIPPED)

    def test_another_past(self) -> None:
        """
        Of two mailboxes begun under one key nothing is lost: what only one has comes to the other with its flags, into
        the folder of that name, but not what it has itself expunged.
        """
        self.patch(log_module, "SNAPSHOT_RECORDS", 3)
        for number in range(9):
            self.append("INBOX", b"Subject: first %d\r\n\r\n" % number)
        first = self.place.past.objects.pop(self.person.log.handle)
        self.person.restart(forget=True)
        for number in range(3):
            self.append("INBOX", b"Subject: second %d\r\n\r\n" % number)
        self.run_coroutine(self.mailbox.folder("INBOX").expunge([3]))
        self.run_coroutine(self.mailbox.folder("INBOX").store([2], frozenset({"\\Flagged"}), NONE))
        self.run_coroutine(self.mailbox.folder("INBOX").move([2], "Trash"))
        self.append("INBOX", b"Subject: second 3\r\n\r\n")
        self.place.past.objects[self.person.log.handle] = first
        self.place.clock.advance(log_module.LOOK_S)
        self.append("INBOX", b"Subject: second 4\r\n\r\n")
        for forget in (False, True):
            self.person.restart(forget)
            subjects = [text.split(b"\r\n")[0][9:] for text in self.person.texts()]
            wanted = {*(b"first %d" % number for number in range(9)), b"second 0", b"second 3", b"second 4"}
            self.assertEqual((wanted, len(wanted)), (set(subjects), len(subjects)))
            [moved] = self.mailbox.folder("Trash").entries()
            self.assertEqual(({"\\Flagged"}, True), (moved.flags, moved.uid > UIDS_SKIPPED))

    def test_hierarchy(self) -> None:
        """
        Parents are made; a folder with inferiors is not deleted; INBOX is INBOX however it is spelled.
        """
        self.run_coroutine(self.mailbox.create("a/b/c/"))
        self.run_coroutine(self.mailbox.create("inbox/x"))
        self.assertTrue({"a", "a/b", "a/b/c", "INBOX/x"} <= set(self.names()))
        self.assertRaises(FolderRefused, self.run_coroutine, self.mailbox.delete("a/b"))
        self.assertRaises(FolderExists, self.run_coroutine, self.mailbox.create("iNBOX"))
        self.assertRaises(FolderRefused, self.run_coroutine, self.mailbox.delete("inbox"))
        self.assertRaises(NoSuchFolder, self.run_coroutine, self.mailbox.delete("z"))
        for name in ("", "/", "a//b", "/a", "x\r\ny", "n" * 201):
            self.assertRaises(FolderRefused, self.run_coroutine, self.mailbox.create(name))
        self.run_coroutine(self.mailbox.delete("a/b/c"))
        self.person.restart()
        self.assertNotIn("a/b/c", self.names())

    def test_rename(self) -> None:
        """
        A folder is renamed with its inferiors by one record, keeps its messages, UIDs and UIDVALIDITY, and stays usable
        where it is open.
        """
        self.run_coroutine(self.mailbox.create("a/b"))
        self.append("a/b")
        folder = self.mailbox.folder("a/b")
        validity, before = folder.uid_validity, self.person.log.count
        self.run_coroutine(self.mailbox.rename("a", "new/c"))
        self.assertEqual(before + 1, self.person.log.count)
        self.assertEqual(("new/c/b", validity, 1), (folder.name, folder.uid_validity, len(folder.entries())))
        self.assertRaises(FolderRefused, self.run_coroutine, self.mailbox.rename("new", "new/d"))
        self.assertRaises(FolderExists, self.run_coroutine, self.mailbox.rename("new", "Sent"))
        self.assertRaises(FolderRefused, self.run_coroutine, self.mailbox.rename("new", "n" * 198))
        self.run_coroutine(self.person.log.kept_to(before))
        self.person.restart(forget=True)
        self.assertTrue({"new", "new/c", "new/c/b"} <= set(self.names()))
        self.assertNotIn("a", self.names())

    def test_rename_many(self) -> None:
        """
        However many folders are in it.
        """
        for number in range(1200):
            self.mailbox._append(self.mailbox._creations(f"top/{'n' * 150}{number}"))
        self.run_coroutine(self.mailbox.rename("top", "bottom"))
        self.assertEqual(1201, sum(name.startswith("bottom") for name in self.names()))

    def test_rename_inbox(self) -> None:
        """
        Renaming INBOX moves its messages to a new folder, and INBOX stays.
        """
        self.append()
        self.append()
        before = self.person.log.count
        self.run_coroutine(self.mailbox.rename("INBOX", "old/mail"))
        self.assertEqual((before + 1, [], [1, 2]), (self.person.log.count, self.uids(), self.uids("old/mail")))

    def test_name_used_again(self) -> None:
        """
        A folder that is deleted and made again in the same second has another UIDVALIDITY, also after a restart.
        """
        seen = set()
        for forget in (False, True, False, False):
            self.run_coroutine(self.mailbox.create("x"))
            seen.add(self.mailbox.folder("x").uid_validity)
            self.run_coroutine(self.mailbox.delete("x"))
            self.run_coroutine(self.person.log.kept_to(self.person.log.count - 1))
            self.person.restart(forget)
        self.assertEqual(4, len(seen))

    def test_subscribe(self) -> None:
        """
        Subscriptions are kept.
        """
        self.run_coroutine(self.mailbox.subscribe("Junk", False))
        self.person.restart()
        self.assertEqual(["Junk"], [status.name for status in self.mailbox.folders() if not status.subscribed])
        self.assertRaises(NoSuchFolder, self.run_coroutine, self.mailbox.subscribe("nope", True))

    def test_listeners(self) -> None:
        """
        Sessions are told soon after, once for many changes, of their folder alone; also that it is gone.  One that
        fails keeps nobody else from being told.
        """

        class Broken(Listener):
            def changed(self) -> None:
                raise RuntimeError("a bug of a session")

        self.run_coroutine(self.mailbox.create("x"))
        folder, listener, other = self.mailbox.folder("x"), Listener(), Listener()
        folder.listen(Broken())
        folder.listen(listener)
        self.mailbox.folder("Junk").listen(other)
        storing = [Deferred.fromCoroutine(self.mailbox.append("x", MAIL, NONE, None)) for _ in range(3)]
        self.assertEqual([], listener.told)
        self.place.clock.pump([0.001] * 50)
        for each in storing:
            self.successResultOf(each)
        self.assertTrue(listener.told and set(listener.told) == {"changed"})
        self.flushLoggedErrors(RuntimeError)
        self.run_coroutine(self.mailbox.delete("x"))
        self.place.clock.advance(0)
        self.assertEqual(("deleted", []), (listener.told[-1], other.told))
        folder.unlisten(listener)
        self.mailbox.folder("Junk").unlisten(other)
        self.mailbox.folder("Junk").unlisten(other)
        self.assertEqual([Broken], [type(each) for found in self.mailbox.listeners.values() for each in found])

    def test_unavailable(self) -> None:
        """
        A message whose blocks cannot be had says so, and can be read when they are there again.
        """
        self.append()
        self.person.restart()
        objects = self.place.past.objects
        gone = {handle: item for handle, item in objects.items() if item.kind == CONTENT}
        for handle in gone:
            del objects[handle]
        content = self.mailbox.folder("INBOX").content(1)
        self.assertRaises(MessageUnavailable, self.run_coroutine, content.read(0, 10))
        self.assertRaises(MessageUnavailable, self.run_coroutine, content.structure())
        self.assertRaises(MessageUnavailable, self.mailbox.folder("INBOX").content, 2)
        objects.update(gone)
        self.assertEqual(MAIL[:10], self.run_coroutine(content.read(0, 10)))

    def test_structure_is_forgotten(self) -> None:
        """
        The structure of a message is kept on disk, until the message is gone.
        """
        self.append()
        self.run_coroutine(self.mailbox.folder("INBOX").content(1).structure())
        name = f"mime/{self.mailbox.folder('INBOX').entries()[0].key.hex()}"
        self.assertTrue(self.person.journal.value(name))
        self.run_coroutine(self.mailbox.folder("INBOX").expunge([1]))
        self.assertFalse(self.person.journal.value(name))

    def test_unreadable_record(self) -> None:
        """
        What could not be read back is not written.
        """
        before = self.person.log.count
        self.assertRaises(FolderRefused, self.run_coroutine, self.mailbox.create("x", "\\" + "U" * 100))
        self.assertRaises(PeerError, self.mailbox._append, (FolderDeleted(-1),))
        self.assertEqual(before, self.person.log.count)
        self.person.restart()
        self.assertNotIn("x", self.names())

    def test_long_life(self) -> None:
        """
        Thousands of changes, snapshots included, come back from the journal and from the ring alike.
        """
        self.append()
        folder = self.mailbox.folder("INBOX")
        for number in range(5000):
            Deferred.fromCoroutine(
                folder.store([1], frozenset({f"k{number % 7}"}), frozenset({f"k{(number + 3) % 7}"}))
            )
            if number % 50 == 0:
                self.place.clock.advance(0.01)
        self.run_coroutine(self.person.log.kept_to(self.person.log.count - 1))
        flags = folder.entries()[0].flags
        for forget in (False, True):
            self.person.restart(forget)
            self.assertEqual(flags, self.mailbox.folder("INBOX").entries()[0].flags)


class LetterTests(SynchronousTestCase):
    """
    Tests for L{post.mail.letter}.
    """

    @settings(max_examples=25)
    @given(st.data())
    def test_ranges(self, data: st.DataObject) -> None:
        """
        Any range of any message reads as it was taken, wherever its parts are kept and whatever stands before it.
        """
        place = Place(b"seed")
        person = Person(place, "alice")
        part = b"--b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        line = b"QUJD" * 19 + b"\r\n"
        pieces = [line, line * 900, b"x" * 70_000 + b"\r\n", part, b"--b--\r\n", b"text\r\n"]
        body = b"".join(data.draw(st.lists(st.sampled_from(pieces), max_size=8)))
        message = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body
        letter = place.run(person.letters.store(message))
        content = person.letters.content(b"k" * 16, letter.reference, b"P: x\r\n", 6 + letter.size)
        whole = b"P: x\r\n" + message
        self.assertEqual(len(whole), content.size)
        for _ in range(4):
            start = data.draw(st.integers(0, len(whole)))
            stop = data.draw(st.integers(start, min(len(whole), start + 262_144)))
            self.assertEqual(whole[start:stop], place.run(content.read(start, stop)))
