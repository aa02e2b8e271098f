"""
A copy of a node's directory in one file, made while the node runs, and a directory made of it again.

Format, version 1: a tar (POSIX.1-2001) of plain files, mode 0600, the last of which is C{MANIFEST}, JSON: version, time
(unix seconds), and of each file its size, SHA-256 and mode.  Databases are what SQLite's backup API gives: each as it
was at one moment.  All other files are small and replaced whole; they are read again until none has changed meanwhile.

What is not in it: locks, sockets, logs, and files that something is just being written to.  It is not encrypted, and
holds private keys.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec

from post.errors import ConfigError
from post.files import make_directory

VERSION = 1
MANIFEST = "MANIFEST"
BLOCKS = "blocks.sqlite"
ATTEMPTS = 5
"""Times that the small files are read, if one changes while they are: a node writes them a few times a day."""
SMALL_BYTES = 64 * 1024 * 1024
"""Of a file that is no database; the largest is an authority's list of what it has issued."""
FILES_LIMIT = 100_000
"""Files in a backup; a node has some twenty, and a few for each account and code."""
_PIECE = 1024 * 1024
_SKIPPED = frozenset({"lock", "control.path", "moving.path", "twistd.log", "node.pid", "twistd.pid"})
_SKIPPED_ENDINGS = ("-wal", "-shm", "-journal", ".new", ".log", ".pid")


class _Entry(msgspec.Struct, frozen=True):
    size: int
    sha256: str
    mode: int


class _Manifest(msgspec.Struct, frozen=True):
    version: int
    time: int
    files: dict[str, _Entry]


def write_backup(
    directory: Path,
    target: Path,
    now: int,
    blocks: bool = True,
    progress: Callable[[str], None] = lambda name: None,
    read: Callable[[Path], bytes] = Path.read_bytes,
) -> int:
    """
    Copy C{directory} into the file C{target}, which is there when it is whole; returns its size in bytes.

    @param blocks: whether what the node keeps for others is copied too.
    @param progress: told the name of each file that is begun with.
    @param read: reads a small file.
    @raise ConfigError: if something cannot be read, or keeps changing.
    """
    if target.exists():
        raise ConfigError(str(target), "exists already")
    fresh, scratch = target.with_name(f".{target.name}.new"), target.with_name(f".{target.name}.sqlite")
    try:
        # A file of our own: one that is there, in a directory for all, may be somebody's who has it open.
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as out:
            entries: dict[str, _Entry] = {}
            with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
                for name, data in _small_files(directory, read).items():
                    progress(name)
                    mode = stat.S_IMODE((directory / name).stat().st_mode)
                    entries[name] = _add(tar, name, io.BytesIO(data), len(data), mode, now)
                for name in _databases(directory):
                    if blocks or name != BLOCKS:
                        progress(name)
                        entries[name] = _add_database(tar, directory, name, scratch, now)
                manifest = msgspec.json.encode(_Manifest(VERSION, now, entries))
                _add(tar, MANIFEST, io.BytesIO(manifest), len(manifest), 0o600, now)
            out.flush()
            os.fsync(descriptor)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
        scratch.unlink(missing_ok=True)
    return target.stat().st_size


def _files(directory: Path) -> Iterator[str]:
    """
    The names, below C{directory}, of all plain files that matter.
    """
    for path in sorted(directory.rglob("*")):
        name = path.name
        if name in _SKIPPED or name.endswith(_SKIPPED_ENDINGS) or name.startswith(".") or ".log." in name:
            continue
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(directory).as_posix()


def _databases(directory: Path) -> list[str]:
    """
    The journals first: what they name has been in the ring before.
    """
    return sorted((name for name in _files(directory) if name.endswith(".sqlite")), key=lambda name: name == BLOCKS)


def _small_files(directory: Path, read: Callable[[Path], bytes]) -> dict[str, bytes]:
    for _ in range(ATTEMPTS):
        before = _seen(directory)
        try:
            found = {name: read(directory / name) for name in before}
        except FileNotFoundError:
            continue
        if _seen(directory) == before:
            return found
    raise ConfigError(str(directory), "changes all the time: try again when less is going on")


def _seen(directory: Path) -> dict[str, tuple[int, int, int]]:
    """
    By which it is noticed that a file is another one.
    """
    seen = {}
    for name in _files(directory):
        if name.endswith(".sqlite"):
            continue
        try:
            found = (directory / name).stat()
        except FileNotFoundError:
            continue
        if found.st_size > SMALL_BYTES:
            raise ConfigError(str(directory / name), f"has {found.st_size} bytes: nothing of a node's is so large")
        seen[name] = (found.st_ino, found.st_mtime_ns, found.st_size)
    return seen


def _add(tar: tarfile.TarFile, name: str, data: IO[bytes], size: int, mode: int, now: int) -> _Entry:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, mode, now
    reader = _Hashing(data)
    tar.addfile(info, reader)
    return _Entry(size, reader.digest.hexdigest(), mode)


class _Hashing:
    """
    What is read, and its SHA-256.
    """

    def __init__(self, data: IO[bytes]) -> None:
        self._data = data
        self.digest = sha256()

    def read(self, size: int = -1) -> bytes:
        """
        The next bytes.
        """
        piece = self._data.read(size)
        self.digest.update(piece)
        return piece


def _add_database(tar: tarfile.TarFile, directory: Path, name: str, scratch: Path, now: int) -> _Entry:
    source = directory / name
    mode = stat.S_IMODE(source.stat().st_mode)
    scratch.unlink(missing_ok=True)
    os.close(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        live = sqlite3.connect(f"file:{_quoted(source)}?mode=rw", uri=True)
        try:
            copy = sqlite3.connect(scratch)
            try:
                # In one step: in several, each write of the node in between would make it begin again.
                live.backup(copy)
            finally:
                copy.close()
        finally:
            live.close()
    except sqlite3.Error as error:
        raise ConfigError(str(source), f"cannot be copied: {error}") from None
    with scratch.open("rb") as data:
        return _add(tar, name, data, scratch.stat().st_size, mode, now)


def _quoted(path: Path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


# Back again.


def read_backup(source: Path, directory: Path, progress: Callable[[str], None] = lambda name: None) -> int:
    """
    Make C{directory} of a backup; it is there when all of it is, and has been compared with the manifest.  Returns when
    the backup was made (unix seconds).

    @raise ConfigError: if C{directory} has something in it, or C{source} is no backup, or is damaged.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(str(directory), "is not empty: restore into a new directory, and move that where it belongs")
    make_directory(directory.parent)
    fresh = directory.with_name(f".{directory.name}.restoring")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(0o700)
    try:
        manifest = _extract(source, fresh, progress)
        _sync_all(fresh)
        fresh.replace(directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return manifest.time


def _extract(source: Path, directory: Path, progress: Callable[[str], None]) -> _Manifest:
    found: dict[str, tuple[int, str]] = {}
    manifest: _Manifest | None = None
    try:
        with tarfile.open(source, "r:") as tar:
            for info in tar:
                if manifest is not None or len(found) >= FILES_LIMIT:
                    raise ConfigError(str(source), "has more in it than a backup")
                data = tar.extractfile(info) if info.isreg() else None
                if data is None or info.name in found:
                    raise ConfigError(str(source), f"has {info.name!r} in it, which no backup has")
                if info.name == MANIFEST:
                    manifest = _read_manifest(source, data.read(SMALL_BYTES))
                    continue
                progress(info.name)
                found[info.name] = _write(_place(source, directory, info.name), data)
    except (tarfile.TarError, EOFError) as error:
        raise ConfigError(str(source), f"is no backup, or is damaged: {error}") from None
    except OSError as error:
        raise ConfigError(str(error.filename or source), error.strerror or str(error)) from None
    if manifest is None:
        raise ConfigError(str(source), "is no backup, or only a part of one: it has no manifest")
    _compare(source, directory, manifest, found)
    return manifest


def _read_manifest(source: Path, data: bytes) -> _Manifest:
    try:
        version = json.loads(data)["version"]
        if version == VERSION:
            return msgspec.json.decode(data, type=_Manifest)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(str(source), f"has a damaged manifest: {error}") from None
    raise ConfigError(str(source), f"is of version {str(version)[:20]}; this program knows {VERSION}")


def _place(source: Path, directory: Path, name: str) -> Path:
    """
    @raise ConfigError: if C{name} does not lie below C{directory}.
    """
    parts = PurePosixPath(name).parts
    if not parts or ".." in parts or PurePosixPath(name).is_absolute() or "\0" in name:
        raise ConfigError(str(source), f"has {name!r} in it, which no backup has")
    return directory.joinpath(*parts)


def _write(path: Path, data: IO[bytes]) -> tuple[int, str]:
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    size, digest = 0, sha256()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        while piece := data.read(_PIECE):
            size += len(piece)
            digest.update(piece)
            out.write(piece)
        out.flush()
        os.fsync(descriptor)
    return size, digest.hexdigest()


def _compare(source: Path, directory: Path, manifest: _Manifest, found: dict[str, tuple[int, str]]) -> None:
    if found.keys() != manifest.files.keys():
        wrong: Any = sorted(found.keys() ^ manifest.files.keys())[0]
        raise ConfigError(str(source), f"is damaged: {wrong} is missing, or there is too much")
    for name, entry in manifest.files.items():
        if found[name] != (entry.size, entry.sha256):
            raise ConfigError(str(source), f"is damaged: {name} is not what was saved")
        # Nothing of a node's is for others to write, or to execute.
        directory.joinpath(*PurePosixPath(name).parts).chmod(entry.mode & 0o644)


def _sync_all(directory: Path) -> None:
    for path in [directory, *(each for each in directory.rglob("*") if each.is_dir())]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
