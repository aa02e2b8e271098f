"""
Tests for L{post.mail.folder} and L{post.mail.records}.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PeerError
from post.mail.folder import CHUNK_ENTRIES, MailboxState
from post.mail.records import (
    AnyOperation,
    Copied,
    Expunged,
    Flagged,
    FolderCreated,
    FolderDeleted,
    FolderRenamed,
    FolderSubscribed,
    Inserted,
    Moved,
    Record,
    UidsSkipped,
    read_record,
    write_record,
)

FIRST = (FolderCreated(0, "INBOX", "", 7, True), FolderCreated(1, "Sent", "\\Sent", 7, True))


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def inserted(number: int, folder: int = 0, uid: int = 0, flags: tuple[str, ...] = ()) -> Inserted:
    return Inserted(key(number), folder, uid, 1_000, 100, b"reference", flags)


keys = st.integers(0, 12).map(key)
folders = st.integers(0, 4)
flag_sets = st.lists(st.sampled_from(["\\Seen", "\\Flagged", "$Junk"]), max_size=2, unique=True).map(tuple)
key_lists = st.lists(keys, max_size=4, unique=True).map(tuple)
operations: st.SearchStrategy[AnyOperation] = st.one_of(
    st.builds(
        FolderCreated, folders, st.sampled_from(["INBOX", "a", "b", "c"]), st.just(""), st.just(9), st.booleans()
    ),
    st.builds(FolderRenamed, folders, st.sampled_from(["a", "b", "d"])),
    st.builds(FolderDeleted, st.integers(1, 4)),
    st.builds(FolderSubscribed, folders, st.booleans()),
    st.builds(UidsSkipped, folders, st.integers(0, 50)),
    st.builds(
        Inserted, keys, folders, st.integers(0, 30), st.integers(0, 10**12), st.integers(0, 999), st.binary(), flag_sets
    ),
    st.builds(Copied, folders, st.integers(0, 30), key_lists, st.lists(keys, max_size=4, unique=True).map(tuple)),
    st.builds(Moved, folders, st.integers(0, 30), key_lists),
    st.builds(Flagged, key_lists, flag_sets, flag_sets),
    st.builds(Expunged, key_lists),
)


def fold(history: Sequence[AnyOperation]) -> MailboxState:
    state = MailboxState()
    state.apply(0, FIRST)
    for time, operation in enumerate(history, 1):
        state.apply(time, (operation,))
    return state


def picture(state: MailboxState) -> object:
    """
    All that a mail program could tell of a state, but for MODSEQ.
    """
    return (
        {
            folder.name: (
                folder.id,
                folder.uid_validity,
                folder.uid_next,
                folder.subscribed,
                folder.unseen,
                folder.size,
            )
            for folder in state.folders.values()
        },
        {entry.key: (entry.folder, entry.uid, entry.flags, entry.date) for entry in state.by_key.values()},
        sorted(state.seen),
    )


class MailboxStateTests(SynchronousTestCase):
    """
    Tests for L{MailboxState}.
    """

    @given(st.lists(operations, max_size=40))
    def test_consistent(self, history: list[AnyOperation]) -> None:
        """
        Whatever was recorded: every entry is in exactly one living folder under its UID, UIDs rise and stay below the
        next one, and the counters say what counting says.
        """
        state = fold(history)
        self.assertEqual({f.name: f for f in state.folders.values()}, state.by_name)
        self.assertEqual(len(state.by_key), sum(len(f.uids) for f in state.folders.values()))
        for folder in state.folders.values():
            self.assertEqual(sorted(set(folder.uids)), folder.uids)
            self.assertEqual(set(folder.uids), set(folder.by_uid))
            self.assertTrue(all(uid < folder.uid_next for uid in folder.uids))
            self.assertEqual(sum(e.size for e in folder.entries()), folder.size)
            self.assertEqual(sum("\\Seen" not in e.flags for e in folder.entries()), folder.unseen)
            for entry in folder.entries():
                self.assertIs(entry, state.by_key[entry.key])
                self.assertEqual(folder.id, entry.folder)

    @given(st.lists(operations, max_size=30))
    def test_snapshot(self, history: list[AnyOperation]) -> None:
        """
        A state read back from its chunks is the same, and goes on the same way.
        """
        state = fold(history)
        again = MailboxState.from_chunks(state.chunks())
        self.assertEqual(picture(state), picture(again))
        self.assertEqual(state.chunks(), again.chunks())
        for operation in history[:5]:
            state.apply(99, (operation,))
            again.apply(99, (operation,))
        self.assertEqual(picture(state), picture(again))

    @given(operations)
    def test_record(self, operation: AnyOperation) -> None:
        """
        A record survives its bytes.
        """
        record = Record(1, 5, (operation,))
        self.assertEqual(record, read_record(write_record(record)))

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """
        Bytes that are no record or snapshot raise L{PeerError} and nothing else.
        """
        for read in (read_record, lambda chunk: MailboxState.from_chunks([chunk])):
            try:
                read(data)
            except PeerError:
                pass

    def test_once(self) -> None:
        """
        The same insertion twice is one entry, also after the first was expunged: a late delegate brings nothing back.
        """
        state = fold([inserted(1), inserted(1)])
        self.assertEqual(1, len(state.by_key))
        state.apply(9, (Expunged((key(1),)),))
        state.apply(10, (inserted(1),))
        self.assertEqual({}, state.by_key)

    def test_once_after_deleting_the_folder(self) -> None:
        """
        Nor does deleting the folder in which it was.
        """
        state = fold([FolderCreated(2, "x", "", 8, True), inserted(1), Moved(2, 1, (key(1),)), FolderDeleted(2)])
        state.apply(9, (inserted(1),))
        self.assertEqual({}, state.by_key)

    def test_uid_taken(self) -> None:
        """
        A UID that was ever used in a folder is never used again, whatever a record proposes.
        """
        state = fold([inserted(1, uid=5), Expunged((key(1),)), inserted(2, uid=5), inserted(3, uid=2)])
        self.assertEqual([6, 7], state.folders[0].uids)

    def test_insert_into_deleted_folder(self) -> None:
        """
        A message for a folder that is gone comes to the Inbox rather than nowhere.
        """
        state = fold([FolderDeleted(1), inserted(1, folder=1)])
        self.assertEqual(0, state.by_key[key(1)].folder)

    def test_shared_chunks(self) -> None:
        """
        A snapshot after a change in a late message has the chunks of the early ones unchanged.
        """
        state = fold([inserted(number) for number in range(3 * CHUNK_ENTRIES)])
        before = state.chunks()
        state.apply(9999, (Flagged((key(3 * CHUNK_ENTRIES - 1),), ("\\Seen",), ()),))
        after = state.chunks()
        self.assertEqual(before[:-1][1:], after[:-1][1:])
        self.assertNotEqual(before[-1], after[-1])
