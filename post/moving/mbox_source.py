"""
Files in mbox format as a source: one file, or a directory with such files in it, as Thunderbird and others keep them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from post.errors import ConfigError
from post.moving.ledger import Ledger
from post.moving.maildir import DEPTH_LIMIT
from post.moving.mbox import Span, envelope_date, field_date, is_internal, is_separator, parse, spans, unescaped
from post.moving.names import from_levels, from_utf7
from post.moving.source import Broken, Loaded, SourceFolder, SourceMessage, Unfit

HEAD_BYTES = 64 * 1024
"""Of a file, to see whether it is an mbox."""
ENDINGS = (".mbox", ".mbx", ".sbd")
"""Of names of files and directories, which are not part of a folder's name."""


class MboxSource:
    """
    The file, or those in the directory, C{root}.  C{unescaped} counts lines of messages that could have been taken for
    the beginning of another one.

    @raise ConfigError: if there is none.
    """

    def __init__(self, root: Path, ledger: Ledger, size_limit: int, quoting: str) -> None:
        self._root = root
        self._ledger = ledger
        self._size_limit = size_limit
        self._quoting = quoting
        self.unescaped = 0
        if root.is_file():
            if not _is_mbox(root):
                raise ConfigError(str(root), "is no mbox: it does not begin with a line 'From SENDER DATE'")
        elif not root.is_dir():
            raise ConfigError(str(root), "is not a file or directory")
        elif next(self.folders(), None) is None:
            raise ConfigError(str(root), "has no mbox in it: no file that begins with a line 'From SENDER DATE'")

    def folders(self) -> Iterator[SourceFolder]:
        """
        As L{post.moving.source.Source}.
        """
        if self._root.is_file():
            yield SourceFolder(from_levels([_level(self._root.name)]), "", str(self._root))
        else:
            yield from self._below(self._root, [], 0)

    def _below(self, directory: Path, levels: list[str], depth: int) -> Iterator[SourceFolder]:
        try:
            # Links to directories may lead in circles.
            inner = sorted(path for path in directory.iterdir() if not (path.is_symlink() and path.is_dir()))
            for path in inner:
                if path.is_dir() and depth < DEPTH_LIMIT:
                    yield from self._below(path, [*levels, _level(path.name)], depth + 1)
                elif path.is_file() and not path.name.startswith(".") and _is_mbox(path):
                    # Apple Mail has a directory "Work.mbox" with a file "mbox" in it.
                    own = levels if path.name == "mbox" and levels else [*levels, _level(path.name)]
                    yield SourceFolder(from_levels(own), "", str(path))
        except OSError as error:
            self._ledger.trouble(str(error.filename or directory), error.strerror or "cannot be read")

    def count(self, folder: SourceFolder) -> int:
        """
        As L{post.moving.source.Source}.
        """
        with Path(folder.where).open("rb") as file:
            return sum(1 for _ in spans(file))

    def messages(self, folder: SourceFolder) -> Iterator[SourceMessage | Unfit]:
        """
        As L{post.moving.source.Source}.
        """
        try:
            with Path(folder.where).open("rb") as file:
                for span in spans(file):
                    yield SourceMessage(f"{folder.where}, line {span.line}", partial(self._read, folder.where, span))
        except OSError as error:
            raise Broken(error.strerror or "cannot be read") from None

    def _read(self, where: str, span: Span) -> Loaded:
        # What is added for the file's sake is not counted.
        if span.stop - span.start > self._size_limit + HEAD_BYTES:
            raise Broken(f"is longer than the {self._size_limit} octets that a message may have")
        try:
            with Path(where).open("rb") as file:
                file.seek(span.start)
                octets = file.read(span.stop - span.start)
        except OSError as error:
            raise Broken(error.strerror or "cannot be read") from None
        octets, flags, header = parse(octets, self._quoting)
        if is_internal(header):
            raise Broken("")
        if not octets:
            raise Broken("is empty")
        if len(octets) > self._size_limit:
            raise Broken(f"is longer than the {self._size_limit} octets that a message may have")
        self.unescaped += unescaped(octets)
        date = envelope_date(span.envelope)
        return Loaded(octets, flags, date if date is not None else field_date(header) or 0)


def _level(name: str) -> str:
    for ending in ENDINGS:
        name = name[: -len(ending)] if name.lower().endswith(ending) and len(name) > len(ending) else name
    return from_utf7(name)


def _is_mbox(path: Path) -> bool:
    """
    Whether it begins as one; an empty file that is called so is a folder without messages.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        return path.suffix == ".mbox"
    return is_separator(head.lstrip(b"\r\n").partition(b"\n")[0])
