"""
Bringing a node's directory from the version that an older program wrote to the one that this program knows.

The file C{version} says which it is: "POST node N", and in a second line which program wrote it.  A step from one
version to the next says what files become; they are changed all or none:

  1. the files that change are copied into C{before-N}, and stay there;
  2. what they become is written into C{.migrating};
  3. the file C{migration} is written.  From here on it happens, whatever comes between: a program that finds this file
     goes on with 4;
  4. each file takes its place, and C{migration} and C{.migrating} go.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from post import __version__
from post.errors import ConfigError
from post.files import make_directory, read_file, write_file

CURRENT = 2
"""The version that this program writes: since 2, the file says which program wrote it."""

Step = Callable[[Path], Mapping[str, bytes]]
"""What files of a directory become, by their names in it."""

_VERSION = re.compile(r"POST node ([1-9][0-9]{0,5})\n(?:written by post (\S{1,40})\n)?")


def _name_program(directory: Path) -> Mapping[str, bytes]:
    """
    From 1 to 2: only the file C{version} itself changes.
    """
    return {}


STEPS: Mapping[int, Step] = {1: _name_program}
"""By the version from which they lead to the next."""


def version_file(number: int = CURRENT) -> bytes:
    """
    What the file C{version} says.
    """
    named = f"written by post {__version__}\n" if number > 1 else ""
    return f"POST node {number}\n{named}".encode()


def read_version(directory: Path) -> int:
    """
    The version of a node's directory.

    @raise ConfigError: if it is none, or newer than this program.
    """
    path = directory / "version"
    if not directory.is_dir():
        raise ConfigError(str(directory), "is not a directory")
    if not path.exists():
        raise ConfigError(str(directory), "is not the directory of a node (it has no file 'version')")
    text = read_file(path).decode("latin-1")
    match = _VERSION.fullmatch(text)
    if match is None:
        raise ConfigError(str(path), f"says {text.strip()[:40]!r}, which is no version of a node's directory")
    number = int(match[1])
    if number > CURRENT:
        by = f", written by post {match[2]}" if match[2] else ""
        raise ConfigError(
            str(path),
            f"says version {number}{by}; this is post {__version__}, which knows {CURRENT}: use the newer one",
        )
    return number


def migrate(directory: Path, steps: Mapping[int, Step] = STEPS, to: int = CURRENT) -> list[int]:
    """
    Bring C{directory}, which nobody else uses now, up to date; returns the versions that it has had on the way.

    @raise ConfigError: as L{read_version}.
    @raise OSError: if there is no room; then it is as it was, or another run finishes it.
    """
    _finish(directory)
    passed = []
    for number in range(read_version(directory), to):
        changes = {**steps[number](directory), "version": version_file(number + 1)}
        _keep(directory, directory / f"before-{number + 1}", changes)
        for name, data in changes.items():
            write_file(directory / ".migrating" / name, data, _mode(directory / name))
        write_file(directory / "migration", "".join(f"{name}\n" for name in changes).encode())
        _finish(directory)
        passed.append(number)
    return passed


def _keep(directory: Path, backup: Path, changes: Mapping[str, bytes]) -> None:
    make_directory(backup, 0o700)
    for name in changes:
        if (directory / name).exists():
            write_file(backup / name, read_file(directory / name), _mode(directory / name))


def _mode(path: Path) -> int:
    # What is new is nobody else's concern until somebody says so.
    return path.stat().st_mode & 0o777 if path.exists() else 0o600


def _finish(directory: Path) -> None:
    """
    Put in place what has been decided; forget what has not.
    """
    fresh, decided = directory / ".migrating", directory / "migration"
    if decided.exists():
        for name in read_file(decided).decode().splitlines():
            # Those that are not there any more have taken their place already.
            if (fresh / name).exists():
                data, mode = read_file(fresh / name), _mode(fresh / name)
                write_file(directory / name, data, mode)
        decided.unlink()
    shutil.rmtree(fresh, ignore_errors=True)
