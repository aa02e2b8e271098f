"""
What one session believes about its folder: sequence numbers, and what it has been told.  Pure.

A session's numbers change only when it is told so; what happened meanwhile waits until it may be told (RFC 3501, 5.5
and 7.4.1: no EXPUNGE while a command that uses sequence numbers is under way).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from post.front.imap.grammar import SYSTEM_FLAGS
from post.mail.interfaces import Entry, IFolder, IMailbox

if TYPE_CHECKING:
    from post.front.imap.server import ImapProtocol


def mailbox_of(session: ImapProtocol) -> IMailbox:
    """
    The mailbox of a session that has logged in.
    """
    assert session.mailbox is not None
    return session.mailbox


def folder_of(session: ImapProtocol) -> IFolder:
    """
    The folder that a session has selected.
    """
    assert session.folder is not None
    return session.folder


def view_of(session: ImapProtocol) -> View:
    """
    What a session believes about the folder that it has selected.
    """
    assert session.view is not None
    return session.view


class View:
    """
    The entries as this session numbers them.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.uids = [entry.uid for entry in entries]
        self._told = {entry.uid: entry.flags for entry in entries}

    def number(self, uid: int) -> int:
        """
        The sequence number of C{uid}.
        """
        return bisect_left(self.uids, uid) + 1

    def tell(self, uid: int, flags: frozenset[str]) -> None:
        """
        The session is being told these flags, or takes them for granted.
        """
        self._told[uid] = flags

    def told(self, uid: int) -> frozenset[str]:
        """
        The flags that the session believes in.
        """
        return self._told.get(uid, frozenset())

    def spelled(self, flags: frozenset[str]) -> frozenset[str]:
        """
        C{flags}, where a keyword that is in use here keeps its spelling: case does not make another one.
        """
        if flags <= SYSTEM_FLAGS:
            return flags
        known = {flag.lower(): flag for told in set(self._told.values()) for flag in told}
        return frozenset(known.get(flag.lower(), flag) for flag in flags)

    def catch_up(self, entries: Sequence[Entry], may_expunge: bool) -> list[bytes]:
        """
        The untagged responses that bring the session up to C{entries}.
        """
        out: list[bytes] = []
        now = {entry.uid: entry for entry in entries}
        if may_expunge:
            # From the last to the first, so that no number is changed by what was said before it.
            gone = [index for index, uid in enumerate(self.uids) if uid not in now]
            out += [b"* %d EXPUNGE\r\n" % (index + 1) for index in reversed(gone)]
            for index in gone:
                self._told.pop(self.uids[index], None)
            self.uids = [uid for uid in self.uids if uid in now]
        for number, uid in enumerate(self.uids, 1):
            entry = now.get(uid)
            if entry is not None and self._told.get(uid) != entry.flags:
                self._told[uid] = entry.flags
                out.append(b"* %d FETCH (UID %d FLAGS %b)\r\n" % (number, uid, flag_list(entry.flags)))
        last = self.uids[-1] if self.uids else 0
        fresh = [entry for entry in entries if entry.uid > last]
        if fresh:
            self.uids += [entry.uid for entry in fresh]
            self._told.update((entry.uid, entry.flags) for entry in fresh)
            out.append(b"* %d EXISTS\r\n* 0 RECENT\r\n" % len(self.uids))
        return out


def flag_list(flags: frozenset[str]) -> bytes:
    """
    Flags in parentheses.
    """
    return b"(" + " ".join(sorted(flags)).encode() + b")"
