"""
Files that are written whole or not at all, secrets that nobody else may read, and locks that end with their process.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from post.errors import ConfigError


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """
    Put C{data} at C{path}, durably: what is there is the old content or the new, never a part of it.
    """
    make_directory(path.parent)
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)
    _sync(path.parent)


def make_directory(path: Path, mode: int = 0o777) -> None:
    """
    Make C{path}, durably, and what it is in; what exists stays as it is.
    """
    if path.is_dir():
        return
    make_directory(path.parent)
    path.mkdir(mode, exist_ok=True)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_secret(path: Path, data: bytes) -> None:
    """
    The same, readable by its owner alone.
    """
    write_file(path, data, 0o600)


def read_file(path: Path) -> bytes:
    """
    @raise ConfigError: if there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), error.strerror or "cannot be read") from None


def read_secret(path: Path) -> bytes:
    """
    @raise ConfigError: also if others may read it.
    """
    data = read_file(path)
    if path.stat().st_mode & 0o077:
        raise ConfigError(str(path), "holds a secret and may be read by others: chmod 600 it")
    return data


def lock(path: Path, patient: bool = False) -> int:
    """
    Lock C{path} until the descriptor that is returned is closed, which the end of the process does too.  Who is
    C{patient} blocks until nobody else has it.

    @raise ConfigError: if another process has it, or it cannot be made.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(str(path), error.strerror or "cannot be opened") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if patient else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        busy = isinstance(error, BlockingIOError)
        reason = "is in use by another process" if busy else f"cannot be locked: {error.strerror}"
        raise ConfigError(str(path.parent), reason) from None
    return descriptor
