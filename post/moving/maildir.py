"""
A Maildir as a source: one file for each message (https://cr.yp.to/proto/maildir.html).

Both ways of keeping folders are understood: Maildir++, C{.Work.2026} beside C{cur}, and directories in directories, as
mbsync has them.
"""

from __future__ import annotations

import os
import re
import stat
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from post.errors import ConfigError
from post.moving.flags import from_letters, read_keywords
from post.moving.ledger import Ledger
from post.moving.names import from_levels, from_maildir, from_utf7
from post.moving.source import Broken, Loaded, SourceFolder, SourceMessage, Unfit

DEPTH_LIMIT = 30
"""Directories in one another."""
KEYWORDS_BYTES = 64 * 1024
"""Of a file C{dovecot-keywords} that are read: 26 keywords are far less."""

_INFO = re.compile(r"[:;!]2,([A-Za-z]*)\Z")
_GZIP = b"\x1f\x8b"
_ENCRYPTED = b"CRYPTED\x03\x07"


class MaildirSource:
    """
    The Maildir at C{root}, and those in it.

    @raise ConfigError: if there is none.
    """

    def __init__(self, root: Path, ledger: Ledger, size_limit: int) -> None:
        self._root = root
        self._ledger = ledger
        self._size_limit = size_limit
        if not root.is_dir():
            raise ConfigError(str(root), "is not a directory")
        if next(self.folders(), None) is None:
            raise ConfigError(str(root), "has no Maildir in it: no directory with 'cur' and 'new'")

    def folders(self) -> Iterator[SourceFolder]:
        """
        As L{post.moving.source.Source}.
        """
        yield from self._below(self._root, [], 0)

    def _below(self, directory: Path, levels: list[str], depth: int) -> Iterator[SourceFolder]:
        if (directory / "cur").is_dir() and (directory / "new").is_dir():
            yield SourceFolder(from_levels(levels) or "INBOX", "", str(directory))
        if depth >= DEPTH_LIMIT:
            return
        try:
            # Links to directories may lead in circles.
            inner = sorted(e.name for e in os.scandir(directory) if e.is_dir(follow_symlinks=False))
        except OSError as error:
            self._ledger.trouble(str(directory), error.strerror or "cannot be read")
            return
        for name in inner:
            if name not in ("cur", "new", "tmp"):
                own = from_maildir(name).split("/") if name.startswith(".") else [from_utf7(name)]
                yield from self._below(directory / name, levels + own, depth + 1)

    def count(self, folder: SourceFolder) -> int:
        """
        As L{post.moving.source.Source}.
        """
        total = 0
        for part in ("cur", "new"):
            try:
                total += sum(1 for _ in os.scandir(Path(folder.where) / part))
            except OSError:
                pass  # Told when it is gone through.
        return total

    def messages(self, folder: SourceFolder) -> Iterator[SourceMessage | Unfit]:
        """
        As L{post.moving.source.Source}.
        """
        directory = Path(folder.where)
        keywords = self._keywords(directory)
        unfit: list[Unfit] = []
        for rank, name in self._ledger.ordered(self._listing(directory, unfit)):
            path = directory / name
            base = _INFO.sub("", path.name)
            read = partial(self._read, directory, path, base, keywords)
            try:
                size = path.stat().st_size
            except OSError:
                size = -1  # It is moving; whoever reads it finds it again.
            yield SourceMessage(str(path), read, base, f"{size}.{rank}")
        yield from unfit

    def _listing(self, directory: Path, unfit: list[Unfit]) -> Iterator[tuple[int, str]]:
        """
        The messages by when they came, for which their time of change stands.
        """
        for part in ("new", "cur"):
            try:
                entries = os.scandir(directory / part)
            except OSError as error:
                unfit.append(Unfit(str(directory / part), error.strerror or "cannot be read"))
                continue
            for entry in entries:
                if entry.name.startswith("."):
                    continue  # No message, by the format.
                try:
                    found = entry.stat()
                except OSError as error:
                    unfit.append(Unfit(entry.path, error.strerror or "cannot be read"))
                    continue
                if not stat.S_ISREG(found.st_mode):
                    unfit.append(Unfit(entry.path, "is not a file"))
                    continue
                yield found.st_mtime_ns, f"{part}/{entry.name}"

    def _keywords(self, directory: Path) -> dict[str, str]:
        try:
            with (directory / "dovecot-keywords").open("rb") as file:
                return read_keywords(file.read(KEYWORDS_BYTES).decode("utf-8", "replace"))
        except OSError:
            return {}

    def _read(self, directory: Path, path: Path, base: str, keywords: dict[str, str]) -> Loaded:
        try:
            descriptor = self._open(directory, path, base)
        except OSError as error:
            raise Broken(error.strerror or "cannot be read") from None
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Broken("is not a file")
            try:
                octets = file.read(self._size_limit + 1)
            except OSError as error:
                raise Broken(error.strerror or "cannot be read") from None
        octets = self._plain(octets)
        if len(octets) > self._size_limit:
            raise Broken(f"is longer than the {self._size_limit} octets that a message may have")
        if not octets:
            raise Broken("is empty")
        match = _INFO.search(path.name)
        flags = from_letters(match[1], keywords) if match else frozenset()
        return Loaded(octets, flags, found.st_mtime_ns // 1_000_000)

    def _plain(self, octets: bytes) -> bytes:
        """
        What Dovecot may have compressed.
        """
        if octets.startswith(_ENCRYPTED):
            raise Broken("is encrypted by Dovecot; import it over IMAP instead")
        if not octets.startswith(_GZIP):
            return octets
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            plain = inflater.decompress(octets, self._size_limit + 1)
        except zlib.error as error:
            raise Broken(f"is compressed, and damaged: {error}") from None
        if not inflater.eof and len(plain) <= self._size_limit:
            raise Broken("is compressed, and cut off")
        return plain

    def _open(self, directory: Path, path: Path, base: str) -> int:
        # Not to wait for whoever writes into a pipe that somebody has put there.
        how = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            return os.open(path, how)
        except FileNotFoundError:
            # A mail program has changed its flags, or seen it, and so its name.
            for part in ("cur", "new"):
                for entry in os.scandir(directory / part):
                    if _INFO.sub("", entry.name) == base:
                        return os.open(entry.path, how)
            raise
