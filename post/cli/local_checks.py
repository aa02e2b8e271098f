"""
What C{post doctor} finds on the machine itself: disk, secrets, certificates.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from post.cli.findings import Finding, State
from post.config import Config
from post.crypto.certificates import read_identity, read_node
from post.errors import ConfigError, PeerError
from post.front.certificate import certificate_end
from post.health.alerts import DIRECTORY_SOON_S, DISK_FULL, DISK_LOW, DISK_SHARE, ENDS_SOON_S
from post.home import Home
from post.process import disk

DISK, CERTIFICATES = "disk", "certificates"
SLOW_S = 0.25
"""For one small durable write.  Each message takes a few of them in a row on several nodes."""
DAY_S = 86400
_SECRETS = ("mail.key", "accounts/*/account")
"""Besides those that the settings name."""


def check_disk(config: Config, measure: Callable[[Path], tuple[int, int]] = disk) -> Iterator[Finding]:
    """
    Whether the directory is the node's and writable, how fast and how full the disk is, who may read secrets.

    @param measure: size of the disk under a directory, and what is free of it.
    """
    directory, settings = config.directory, config.settings
    try:
        Home(directory, settings.files).check()
    except ConfigError as error:
        yield Finding(
            DISK, State.FAILED, str(error), "Name the node's settings with --config, or make a node: post init."
        )
        return
    yield from _space(directory, *measure(directory))
    yield from _writing(directory)
    secrets = [directory / settings.files.key, directory / settings.files.convergence]
    secrets += [path for pattern in _SECRETS for path in sorted(directory.glob(pattern))]
    open_ = [path for path in secrets if path.exists() and path.stat().st_mode & 0o077]
    for path in open_:
        yield Finding(DISK, State.FAILED, f"{path} holds a secret and may be read by others", f"chmod 600 {path}")
    if not open_:
        yield Finding(DISK, State.OK, "secrets can be read by their owner only")


def _space(directory: Path, total: int, free: int) -> Iterator[Finding]:
    said = f"{free / 1e9:,.1f} of {total / 1e9:,.1f} GB are free"
    cure = f"Make room on the disk with {directory}, or move the directory to a larger one."
    if free < DISK_FULL:
        yield Finding(DISK, State.FAILED, f"the disk is full: {said}", cure)
    elif free < DISK_LOW or free < DISK_SHARE * total:
        yield Finding(DISK, State.WARNING, f"the disk is nearly full: {said}", cure)
    else:
        yield Finding(DISK, State.OK, said)


def _writing(directory: Path) -> Iterator[Finding]:
    """
    One durable write, as every message needs some.
    """
    began = time.monotonic()
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        cure = f"Let the user that runs the node own {directory}, and see that its file system is not read-only."
        yield Finding(DISK, State.FAILED, f"{directory} cannot be written to: {error.strerror}", cure)
        return
    took_s = time.monotonic() - began
    said = f"a durable write takes {took_s * 1000:.0f} ms"
    if took_s > SLOW_S:
        yield Finding(DISK, State.WARNING, said, "A disk without a queue of other work, or an SSD, makes mail faster.")
    else:
        yield Finding(DISK, State.OK, said)


def check_certificates(config: Config, now: int) -> Iterator[Finding]:
    """
    Whether keys, certificates, policy and directory belong together, and when they end.
    """
    home = Home(config.directory, config.settings.files)
    try:
        credentials = home.credentials(now)
        home.policy(credentials.root, now)
        directory = home.directory(credentials.root, now)
        accounts = home.accounts(credentials.root)
    except ConfigError as error:
        renews = config.settings.authority.doors or config.settings.authority.directory
        ended = "ended on" in error.reason and renews
        cure = "Start the node: it has it renewed." if ended else "docs/administration.md tells how to get another one."
        yield Finding(CERTIFICATES, State.FAILED, str(error), cure)
        return
    node = read_node(credentials.chain[0])
    yield _ends("the certificate of this node", node.not_after, now)
    for account in accounts:
        try:
            yield _ends(f"the certificate of {account.address}", read_identity(account.chain[0]).not_after, now)
        except PeerError as error:
            yield Finding(CERTIFICATES, State.FAILED, f"{account.address}: {error}", "Have it certified again.")
    yield _ends("the list of people and machines", directory.expires, now, DIRECTORY_SOON_S)
    if not accounts:
        yield Finding(CERTIFICATES, State.NOTE, "nobody lives on this node")
    if (config.directory / "mail.pem").exists():
        try:
            yield _ends("the certificate that mail programs see", certificate_end(config.directory), now)
        except ConfigError as error:
            yield Finding(CERTIFICATES, State.FAILED, str(error), "Put a right one there, or remove it: one is made.")


def _ends(what: str, ends: int, now: int, soon_s: float = ENDS_SOON_S) -> Finding:
    days = (ends - now) // DAY_S
    when = time.strftime("%Y-%m-%d", time.gmtime(ends))
    cure = "Where an authority is asked it is renewed by itself; otherwise: docs/administration.md."
    if ends <= now:
        return Finding(CERTIFICATES, State.FAILED, f"{what} ended on {when}", cure)
    if ends - now < soon_s:
        return Finding(CERTIFICATES, State.WARNING, f"{what} ends on {when}, in {days} days", cure)
    return Finding(CERTIFICATES, State.OK, f"{what} is valid until {when}")
