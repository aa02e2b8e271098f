"""
A copy of the public issuance log (L{post.crypto.issuance}) on disk: the authority's own, and each member's.

Format, version 1, in a directory of its own::

    entries     one after the other: length (4 bytes, big-endian), packed entry
    head        the newest head that was signed, or verified, MessagePack; it never names entries that are not there

C{entries} only grows.  A crash may cut the last entry off, or leave entries that no head names yet.  At the authority
the first was promised to nobody and is dropped, and the others get a head when it is asked for next; so what is
appended before a certificate is handed out is in the log whenever that was.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from post.crypto.issuance import LENGTH_LIMIT, START, Entry, Head, link, read_entry, read_head
from post.errors import ConfigError, PeerError
from post.files import make_directory, read_file, write_file
from post.wire import pack


class IssuanceLog:
    """
    One copy.

    @ivar entries: all that is here, oldest first.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "entries"
        self._links: list[bytes] = [START]
        self._size = 0
        self.entries: list[Entry] = []

    @property
    def exists(self) -> bool:
        """
        Whether there is a log at all.
        """
        return self._path.exists()

    def __len__(self) -> int:
        return len(self.entries)

    def refresh(self) -> None:
        """
        Read what has been appended, by whichever process, since the last time.

        @raise ConfigError: if the file is damaged.
        """
        if not self.exists and not self.head():
            self._forget()
            return
        # Before the entries: another process may append meanwhile, and then names what has not been read here.
        head = self._head()
        data = b""
        if self.exists:
            if self._path.stat().st_size < self._size:
                self._forget()  # Somebody has put another there.
            with self._path.open("rb") as file:
                file.seek(self._size)
                data = file.read()
        at = 0
        while packed := _next(data, at):
            try:
                self._note(packed)
            except PeerError as error:
                raise ConfigError(str(self._path), f"is damaged: {error}") from None
            at += 4 + len(packed)
        if head is not None and (head.length > len(self) or head.link != self.link(head.length)):
            # Not the end that a crash has cut off, which no head names: nothing may be put in its place.
            raise ConfigError(str(self._path), "is not what its signed head says: put a backup of both back")

    def _head(self) -> Head | None:
        signed = self.head()
        try:
            return read_head(signed) if signed else None
        except PeerError as error:
            raise ConfigError(str(self._directory / "head"), f"is damaged: {error}") from None

    def _forget(self) -> None:
        self._links, self._size, self.entries = [START], 0, []

    def _note(self, packed: bytes) -> None:
        self.entries.append(read_entry(packed, len(self.entries)))
        self._links.append(link(self._links[-1], packed))
        self._size += 4 + len(packed)

    def link(self, length: int) -> bytes:
        """
        That of the first C{length} entries.
        """
        return self._links[length]

    def packed(self, start: int, count: int) -> tuple[bytes, ...]:
        """
        C{count} entries from number C{start} on, or as many as there are.
        """
        return tuple(pack(entry) for entry in self.entries[start : start + count])

    def append(self, made: Sequence[Callable[[int], Entry]]) -> None:
        """
        Add entries, each made for its number; returns when they are durable.  Whoever appends is alone.

        @raise ConfigError: if the log is damaged, or full.
        """
        self.refresh()
        if len(self) + len(made) > LENGTH_LIMIT:
            raise ConfigError(str(self._path), f"is full: it has {len(self):,} entries")
        packed = [pack(make(len(self) + place)) for place, make in enumerate(made)]
        self.extend(packed)

    def extend(self, packed: Sequence[bytes]) -> None:
        """
        The same with entries as they were read elsewhere, and verified: C{refresh} before.
        """
        data = b"".join(len(each).to_bytes(4, "big") + each for each in packed)
        make_directory(self._directory)
        if not self.exists:
            write_file(self._path, data)  # Whole, or not at all.
        else:
            with self._path.open("r+b") as file:
                file.truncate(self._size)  # What a crash has cut off.
                file.seek(self._size)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for each in packed:
            self._note(each)

    def links_of(self, packed: Sequence[bytes]) -> list[bytes]:
        """
        The links of this log continued by C{packed}, one for each entry.

        @raise PeerError: if one is no entry, or not in its place.
        """
        found, last = [], self._links[-1]
        for place, each in enumerate(packed):
            read_entry(each, len(self) + place)
            last = link(last, each)
            found.append(last)
        return found

    # The head.

    def head(self) -> bytes:
        """
        The signed head that is on disk; empty if there is none.
        """
        path = self._directory / "head"
        return read_file(path) if path.exists() else b""

    def write_head(self, signed: bytes) -> None:
        """
        Replace it: the entries that it names are there.
        """
        write_file(self._directory / "head", signed)


def _next(data: bytes, at: int) -> bytes:
    """
    The entry that begins at C{at}; empty if none is whole.
    """
    length = int.from_bytes(data[at : at + 4], "big")
    packed = data[at + 4 : at + 4 + length]
    return packed if len(packed) == length else b""
