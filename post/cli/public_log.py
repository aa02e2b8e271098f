"""
C{post ca log}: the public log of all that the authority has certified and taken back.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import msgspec

from post.ca.authority import Authority
from post.ca.issuance import IssuanceLog
from post.ca.watching import know
from post.cli.revoking import served_directory
from post.cli.status import config_option, default_config, node_config
from post.crypto.entropy import system_entropy
from post.crypto.issuance import NODE, RECOVERY, REVOCATION, Entry
from post.crypto.names import canonical
from post.errors import ConfigError
from post.home import Home

ID_SHOWN = 8
"""Digits of a node's id as commands print it; fewer might be somebody's name."""


@click.command("log")
@config_option
@click.option(
    "--authority", "where", type=click.Path(path_type=Path), help="The authority's own log, in its directory."
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one object a line.")
@click.option("--known", type=click.IntRange(0), metavar="NUMBER", help="Warn no more of the key in this entry.")
@click.argument("name", required=False)
def public_log(config: Path | None, where: Path | None, as_json: bool, known: int | None, name: str | None) -> None:
    """
    Show what the authority has certified and taken back, all of it or for NAME: an address, what is before
    its @, or how a node's id begins.

    On the authority's machine its own log is shown, and on others the copy that the node there has.
    """
    home = None
    asked = True
    if where is None and config is None and not default_config().exists():
        where = served_directory(None)  # It says what is to be said then.
    if where is None:
        settings = node_config(config)
        asked = bool(settings.settings.authority.doors or settings.settings.authority.directory)
        home = Home(settings.directory, settings.settings.files)
        home.check()
        if settings.settings.authority.directory:
            where = settings.directory / settings.settings.authority.directory
    if known is not None:
        if home is None:
            raise ConfigError("--known", "is said on the machine of the node that warns, without --authority")
        log = _copy(home, asked)
        if known >= len(log):
            raise ConfigError("--known", f"the log has {len(log)} entries, numbered from 0")
        know(home, log.entries[known])
        click.echo(f"Entry {known} is known: {_line(log.entries[known])}")
        return
    if where is not None:
        authority = Authority.open(where, system_entropy, patient=True)
        authority.public_log.head(int(time.time()))
        log = authority.public_log.log
    else:
        assert home is not None
        log = _copy(home, asked)
    chosen = [entry for entry in log.entries if name is None or _concerns(entry, name)]
    if name is not None and not chosen:
        raise ConfigError(name, f"is in none of the {len(log)} entries")
    for entry in chosen:
        click.echo(json.dumps(_object(entry)) if as_json else f"{entry.number:>6}  {_line(entry)}")


def _copy(home: Home, asked: bool) -> IssuanceLog:
    """
    That of the node; C{asked} says whether it asks an authority.

    @raise ConfigError: if it has none yet.
    """
    log = IssuanceLog(home.path / "issuance")
    log.refresh()
    if not len(log) and not asked:
        raise ConfigError(
            str(home.path),
            "has no copy of the public log, since this node asks no authority: post ca log --authority DIRECTORY shows"
            " the authority's own, on the machine where that is",
        )
    if not len(log):
        raise ConfigError(str(home.path), "has no copy of the public log: the node fetches it when it runs")
    return log


def _concerns(entry: Entry, name: str) -> bool:
    try:
        return canonical(name) in (entry.name, entry.of)
    except ValueError:
        pass
    wanted = name.casefold()
    if wanted in (each.partition("@")[0] for each in (entry.name, entry.of)):
        return True
    return len(wanted) >= ID_SHOWN and entry.kind in (NODE, REVOCATION) and entry.name.startswith(wanted)


def _line(entry: Entry) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.at))
    what = f"key {entry.key.hex()[:8]} of {entry.name}"
    if entry.kind == REVOCATION:
        what = f"revoked {entry.of} {what}"
    elif entry.kind == RECOVERY:
        what = f"recovery code of {entry.name}"
    elif entry.kind == NODE:
        what = f"certified node key {entry.key.hex()[:8]} of {entry.of} at {entry.name[:8]}"
    else:
        what = f"certified {what}"
    return f"{at}  {what}{' (from the records)' if entry.late else ''}"


def _object(entry: Entry) -> dict[str, object]:
    found: dict[str, object] = msgspec.structs.asdict(entry)
    found["key"], found["certificate"] = entry.key.hex(), entry.certificate.hex() if any(entry.certificate) else None
    return {name: value for name, value in found.items() if name != "version"}
