"""
What one session sees: the messages as they were numbered at log-in, and which of them are marked as deleted.  Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from post.errors import PostError
from post.mail.interfaces import Entry


class NoSuchMessage(PostError):
    """
    There is no message of that number, or it is marked as deleted.
    """


class Maildrop:
    """
    The messages of a session.  Numbers are those of log-in, whatever comes or goes meanwhile (RFC 1939, section 5).
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries
        self._deleted: set[int] = set()
        self.reset()

    def reset(self) -> None:
        """
        Take back all marks.
        """
        self._deleted.clear()
        self.count = len(self._entries)
        self.size = sum(entry.size for entry in self._entries)

    def message(self, number: int) -> Entry:
        """
        @raise NoSuchMessage: if there is none.
        """
        if not 1 <= number <= len(self._entries) or number in self._deleted:
            raise NoSuchMessage(str(number))
        return self._entries[number - 1]

    def delete(self, number: int) -> None:
        """
        Mark a message.

        @raise NoSuchMessage: if there is none.
        """
        entry = self.message(number)
        self._deleted.add(number)
        self.count -= 1
        self.size -= entry.size

    def messages(self) -> Iterator[tuple[int, Entry]]:
        """
        Those that are not marked, with their numbers.
        """
        return ((number, entry) for number, entry in enumerate(self._entries, 1) if number not in self._deleted)

    def deleted(self) -> list[Entry]:
        """
        Those that are.
        """
        return [self._entries[number - 1] for number in sorted(self._deleted)]


class Locks:
    """
    Whose maildrops are in use: one session each at a time (RFC 1939, section 4), whatever port it came by.
    """

    def __init__(self) -> None:
        self._held: set[str] = set()

    def take(self, address: str) -> bool:
        """
        Lock the maildrop of C{address}; false if another session has it.
        """
        if address in self._held:
            return False
        self._held.add(address)
        return True

    def release(self, address: str) -> None:
        """
        Let the next session have it.
        """
        self._held.discard(address)
