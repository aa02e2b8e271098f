"""
C{post queue}: mail for outside that has not left yet.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from post import control
from post.cli.status import config_option, node_config
from post.errors import ConfigError


@click.group()
def queue() -> None:
    """
    Mail to the Internet that has not left yet.

    On a person's node that is what they sent; on a gateway all that it sees to.
    """


def _ask(config: Path | None, **request: Any) -> Any:
    return control.ask(control.find(node_config(config).directory), request)


@queue.command("list")
@config_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(config: Path | None, as_json: bool) -> None:
    """
    Show what waits, for whom, why, and until when.
    """
    found = _ask(config, verb="queue")
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    if not found:
        click.echo("Nothing waits to leave.")
    for each in found:
        click.echo(describe(each, time.time()))


@queue.command()
@config_option
@click.argument("name")
def retry(config: Path | None, name: str) -> None:
    """
    Try the mail called NAME (as "post queue list" shows it) now.
    """
    _ask(config, verb="queue retry", name=_checked(name))
    click.echo("It is being tried now.")


@queue.command()
@config_option
@click.argument("name")
def drop(config: Path | None, name: str) -> None:
    """
    Give up the mail called NAME.

    Whoever has got it already has it; the others do not get it, and nothing is reported.
    """
    _ask(config, verb="queue drop", name=_checked(name))
    click.echo("It is given up.")


def _checked(name: str) -> str:
    if not name or len(name) > 40 or set(name.lower()) - set("0123456789abcdef"):
        raise ConfigError(name, "is no name of mail that waits: see 'post queue list'")
    return name.lower()


def describe(entry: dict[str, Any], now: float) -> str:
    """
    One entry in words.
    """
    lines = [f"{entry['name'][:12]}  {entry['sender']}, {_ago(now - entry['accepted'])} ago"]
    lines += [f"  waits for {', '.join(entry['left'])}"] if entry["left"] else []
    lines += [f"  delivered to {', '.join(entry['delivered'])}"] if entry["delivered"] else []
    lines += [f"  refused for {', '.join(entry['failed'])}"] if entry["failed"] else []
    if entry["trying"]:
        lines.append("  is being tried")
    elif not entry["tries"]:
        lines.append("  has not been tried yet")
    else:
        tries = f"{entry['tries']} time{'' if entry['tries'] == 1 else 's'}"
        again = f"again in {_ago(entry['due'] - now)}" if entry["due"] > now else "again now"
        lines.append(f"  tried {tries}, {again}: {entry['words']}")
    return "\n".join(lines)


def _ago(seconds: float) -> str:
    seconds = max(0, int(seconds))
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit:
            count = seconds // unit
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{seconds} second{'' if seconds == 1 else 's'}"
