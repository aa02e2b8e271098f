"""
Who listens on a port of this machine, as far as the system tells: on Linux, by C{/proc}.

    /proc/net/tcp   local address, remote address, state (0A: listening), …, uid, …, inode of the socket
    /proc/PID/fd/N  is a link to socket:[INODE]; readable for the same user, and for root
    /proc/PID/comm  what the program is called
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LISTENING = "0A"
PROCESSES_LIMIT = 50_000
"""Processes that are looked at."""
NAME_LIMIT = 40
"""Characters of a program's name: the system keeps 15."""


class Occupant(NamedTuple):
    """
    Who has a port: in words, and the process if it may be known, else 0.
    """

    words: str
    pid: int


def occupant(port: int, proc: Path = Path("/proc")) -> Occupant | None:
    """
    Who listens on C{port}, on whichever address; C{None} if nobody does, or it cannot be known.
    """
    sockets = dict(_listeners(port, proc))
    if not sockets:
        return None
    wanted = {f"socket:[{inode}]" for inode in sockets}
    for process in _processes(proc):
        if _has(process, wanted):
            return Occupant(f"{_name(process)} (process {process.name})", int(process.name))
    uid = next(iter(sockets.values()))
    return Occupant(f"a program of the user {_user(uid)}", 0)


def _listeners(port: int, proc: Path) -> Iterator[tuple[str, int]]:
    """
    Inode and user of each socket that listens there.
    """
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text("ascii", "replace").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == LISTENING and fields[1].rpartition(":")[2] == f"{port:04X}":
                yield fields[9], int(fields[7])


def _processes(proc: Path) -> list[Path]:
    try:
        return [each for each in sorted(proc.iterdir()) if each.name.isascii() and each.name.isdigit()][
            :PROCESSES_LIMIT
        ]
    except OSError:
        return []


def _has(process: Path, wanted: set[str]) -> bool:
    try:
        return any(os.readlink(descriptor) in wanted for descriptor in (process / "fd").iterdir())
    except OSError:
        return False  # It has ended, or is somebody else's.


def _name(process: Path) -> str:
    try:
        name = (process / "comm").read_text("utf-8", "replace").strip()
    except OSError:
        name = ""
    # A program calls itself what it likes.
    return "".join(filter(str.isprintable, name))[:NAME_LIMIT] or "a program"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
