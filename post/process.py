"""
The process that a node is: what it says to whoever started it, its ports, its open files, and how it ends.
"""

from __future__ import annotations

import atexit
import errno
import os
import resource
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from post.config import Config, Mail, split_service
from post.control import EXIT_CONFIG
from post.errors import ConfigError
from post.occupant import occupant

DESCRIPTORS = 16_384
"""Open files that all limits on connections and links together may ask for, and some to spare."""


def give_up(error: Exception) -> NoReturn:
    """
    End with one line.
    """
    say(error)
    sys.exit(EXIT_CONFIG)


def say(error: Exception) -> None:
    """
    One line for a person, past twistd's log.
    """
    stderr = sys.__stderr__
    if stderr is not None:
        print("post:", " ".join(str(error).split()), file=stderr, flush=True)


def ports(config: Config) -> dict[str, str]:
    """
    What this node listens on, by the setting that says so.
    """
    settings = config.settings
    wanted = {"links.listen": settings.links.listen}
    if settings.authority.directory:
        wanted["authority.listen"] = settings.authority.listen
    mail = {key: getattr(settings.mail, key) for key in settings.mail.__struct_fields__}
    if mail["web"] == Mail().web:
        # Nobody has chosen it, and that somebody else has it is no reason not to carry mail.
        del mail["web"]
    return wanted | {f"mail.{key}": service for key, service in mail.items()}


def check_ports(file: Path, wanted: Mapping[str, str]) -> None:
    """
    See that the ports can be taken, while whoever started us is still looking: a daemon that finds one taken later can
    tell only its log.

    @param wanted: C{host:port} by the setting that names it; an empty one is not wanted.
    @raise ConfigError: if one is taken.
    """
    for key, service in wanted.items():
        if not service:
            continue
        host, port = split_service(service)
        try:
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
        except OSError as error:
            found = occupant(port) if error.errno == errno.EADDRINUSE else None
            by = f" by {found.words}" if found is not None else ""
            raise ConfigError(f"{file}: {key}", f"cannot listen on {service}: {error.strerror or error}{by}") from None


def allow_descriptors() -> None:
    """
    As many open files as the system lets us have: the usual soft limit is 1,024, and that many idle strangers at one
    port would leave no descriptor for links and databases.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def disk(directory: Path) -> tuple[int, int]:
    """
    How large the disk under C{directory} is, and how much of it we may still use, in bytes.
    """
    found = shutil.disk_usage(directory)
    return found.total, found.free


def end_with(code: int) -> None:
    """
    Let the process end with C{code} once twistd, which always ends with 0, has put everything in order.
    """

    def end() -> None:
        sys.stdout.flush()
        os._exit(code)

    atexit.register(end)
