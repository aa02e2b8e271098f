"""
Into a Maildir, with the folders of Maildir++ in it, as Dovecot and most other programs read them.

A message is written in C{tmp} and renamed into C{cur}: whoever looks sees all of it or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from post.files import make_directory, write_file
from post.moving.files import Exported
from post.moving.flags import KEYWORDS_LIMIT, LETTERS, read_keywords, to_letters, write_keywords
from post.moving.lines import has_bare, to_file
from post.moving.link import NotTaken
from post.moving.names import to_maildir
from post.moving.requests import Folder, Listed

NAME_BYTES = 255
"""Of a file's name, on every usual file system."""


class MaildirSink:
    """
    The directory C{root}.
    """

    def __init__(self, root: Path, exported: Exported) -> None:
        self._root = root
        self._exported = exported
        self._folder = ""
        self._directory = root
        self._keywords: dict[str, str] = {}
        self._refused: set[str] = set()

    def begin(self, folder: Folder) -> int:
        """
        As L{post.moving.exporting.Sink}.
        """
        name = to_maildir(folder.name)
        if len(name) > NAME_BYTES:
            raise NotTaken("has too long a name for a directory; nothing of it was exported")
        self._folder, self._directory = folder.name, self._root / name if name else self._root
        for part in ("cur", "new", "tmp"):
            make_directory(self._directory / part, 0o700)
        if name and not (self._directory / "maildirfolder").exists():
            write_file(self._directory / "maildirfolder", b"", 0o600)
        self._keywords, self._refused = {}, set()
        with suppress(OSError):
            text = (self._directory / "dovecot-keywords").read_text("utf-8", "replace")
            self._keywords = {keyword: letter for letter, keyword in read_keywords(text).items()}
        return 0

    def has(self, entry: Listed) -> bool:
        """
        As L{post.moving.exporting.Sink}.
        """
        name = self._exported.name(self._folder, entry.key)
        if name is None or not (self._directory / "cur" / name).exists():
            return False
        self._letter_all(entry.flags)
        wanted = self._name(entry)
        if wanted != name:
            # First the note of the new name: if this ends in between, the message is written once more, over it.
            self._exported.named(self._folder, entry.key, wanted)
            (self._directory / "cur" / name).replace(self._directory / "cur" / wanted)
        return True

    def put(self, entry: Listed, octets: bytes) -> Sequence[str]:
        """
        As L{post.moving.exporting.Sink}.
        """
        lost = self._letter_all(entry.flags)
        if has_bare(octets):
            lost = [*lost, "has bare LF in it, which will be CRLF where it is imported again"]
        name = self._name(entry)
        fresh = self._directory / "tmp" / name.partition(":")[0]
        with open(fresh, "wb", opener=_private) as file:
            file.write(to_file(octets))
            file.flush()
            os.fsync(file.fileno())
        # By the time of change Dovecot and others tell when a message came.
        os.utime(fresh, ns=(entry.date * 1_000_000, entry.date * 1_000_000))
        self._exported.named(self._folder, entry.key, name)
        fresh.replace(self._directory / "cur" / name)
        return lost

    def _name(self, entry: Listed) -> str:
        letters = to_letters(entry.flags, self._keywords)
        return f"{entry.date // 1000}.{entry.key.hex()}.post:2,{letters}"

    def _letter_all(self, flags: Sequence[str]) -> list[str]:
        """
        See that each keyword has a letter; returns what is lost because there are no more.
        """
        lost = []
        fresh = [flag for flag in flags if not flag.startswith("\\") and flag not in self._keywords]
        for keyword in fresh:
            if len(self._keywords) < KEYWORDS_LIMIT:
                self._keywords[keyword] = chr(ord("a") + len(self._keywords))
                # Before a file that uses it.
                text = write_keywords(list(self._keywords)).encode()
                write_file(self._directory / "dovecot-keywords", text, 0o600)
            elif keyword not in self._refused and keyword not in LETTERS.values():
                self._refused.add(keyword)
                lost.append(f"has the keyword {keyword}; a folder of a Maildir has {KEYWORDS_LIMIT} at most")
        return lost

    def end(self) -> None:
        """
        As L{post.moving.exporting.Sink}.
        """
        descriptor = os.open(self._directory / "cur", os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
