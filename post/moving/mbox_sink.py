"""
Into files in mbox format (mboxrd), one for each folder: C{Work/2026.mbox}.

A file is written beside its place, under a name that ends with C{.part}, and gets its name when it is complete.  A run
that was cut short goes on behind the last message that is surely on disk.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from post.files import make_directory
from post.moving.files import Exported
from post.moving.lines import has_bare
from post.moving.link import NotTaken
from post.moving.maildir_sink import NAME_BYTES
from post.moving.mbox import record
from post.moving.names import to_file
from post.moving.requests import Folder, Listed

SYNC_BYTES = 8 * 1024 * 1024
"""Written between two places from which to go on: as much as is soon written again."""


class MboxSink:
    """
    The directory C{root}.
    """

    def __init__(self, root: Path, exported: Exported) -> None:
        self._root = root
        self._exported = exported
        self._folder: Folder | None = None
        self._file: IO[bytes] | None = None
        self._place = self._part = root
        self._synced = 0

    def begin(self, folder: Folder) -> int:
        """
        As L{post.moving.exporting.Sink}.
        """
        self.abandon()
        name = to_file(folder.name)
        if any(len(level) > NAME_BYTES - len(".mbox.part") for level in name.split("/")):
            raise NotTaken("has too long a name for a file; nothing of it was exported")
        self._place = self._root / f"{name}.mbox"
        self._part = self._root / f"{name}.mbox.part"
        make_directory(self._place.parent, 0o700)
        known = self._exported.place(folder.name)
        after = length = 0
        if known is not None and known[0] == folder.uid_validity and self._length() >= known[2]:
            _, after, length = known
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        # Behind it may be a part of a message.
        self._file.truncate(length)
        self._file.seek(length)
        self._folder, self._synced = folder, length
        return after

    def _length(self) -> int:
        return self._part.stat().st_size if self._part.exists() else -1

    def has(self, entry: Listed) -> bool:
        """
        As L{post.moving.exporting.Sink}: all before were passed over at once.
        """
        return False

    def put(self, entry: Listed, octets: bytes) -> Sequence[str]:
        """
        As L{post.moving.exporting.Sink}.
        """
        assert self._file is not None and self._folder is not None
        self._file.write(record(octets, entry.flags, entry.date))
        place = self._file.tell()
        if place - self._synced > SYNC_BYTES:
            self._sync()
            self._exported.placed(self._folder.name, (self._folder.uid_validity, entry.uid, place))
            self._synced = place
        return ["has bare LF in it, which will be CRLF where it is imported again"] if has_bare(octets) else []

    def _sync(self) -> None:
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())

    def end(self) -> None:
        """
        As L{post.moving.exporting.Sink}.
        """
        assert self._file is not None and self._folder is not None
        self._sync()
        self._exported.placed(self._folder.name, None)
        self._part.replace(self._place)
        self.abandon()

    def abandon(self) -> None:
        """
        Let go of a file that is not complete; it can be gone on with.
        """
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:
                pass  # What was buffered did not fit, and lies behind the place from which to go on.
