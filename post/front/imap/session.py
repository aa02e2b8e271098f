"""
What one session believes about its folder: sequence numbers, and what it has been told.  Pure.

A session's numbers change only when it is told so; what happened meanwhile waits until it may be told (RFC 3501, 5.5
and 7.4.1: no EXPUNGE while a command that uses sequence numbers is under way).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from post.mail.interfaces import Entry


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
        The session is being told these flags.
        """
        self._told[uid] = flags

    def catch_up(self, entries: Sequence[Entry], may_expunge: bool, quiet: frozenset[int] = frozenset()) -> list[bytes]:
        """
        The untagged responses that bring the session up to C{entries}; changed flags of the UIDs in C{quiet} are not
        told (STORE .SILENT).
        """
        out: list[bytes] = []
        now = {entry.uid: entry for entry in entries}
        if may_expunge:
            for index in range(len(self.uids) - 1, -1, -1):
                if self.uids[index] not in now:
                    out.append(b"* %d EXPUNGE\r\n" % (index + 1))
                    self._told.pop(self.uids[index], None)
                    del self.uids[index]
        for uid in self.uids:
            entry = now.get(uid)
            if entry is not None and self._told.get(uid) != entry.flags:
                self._told[uid] = entry.flags
                if uid not in quiet:
                    out.append(b"* %d FETCH (UID %d FLAGS %b)\r\n" % (self.number(uid), uid, flag_list(entry.flags)))
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
