"""
C{post status}: how a running node is.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import click

from post import control
from post.config import Config, load
from post.errors import ConfigError, Unreachable

_RECOVERY = {"in force": "; recovery code in force", "waiting": "; recovery code not in force yet"}
EXIT_JOINING = 1
EXIT_DOWN = control.EXIT_UNREACHABLE
PATIENCE_S = 10.0
"""For a node to say how it is, which it does in milliseconds unless it swaps."""


def default_config() -> Path:
    """
    Where a person's node keeps its settings if nothing else is said.
    """
    named = os.environ.get("POST_CONFIG")
    return Path(named) if named else Path.home() / ".config" / "post" / "node.toml"


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="The node's settings; by default $POST_CONFIG, or ~/.config/post/node.toml.",
)


def node_config(config: Path | None) -> Config:
    """
    The settings of the node that C{--config} names.

    @raise ConfigError: if they cannot be read.
    """
    file = config or default_config()
    if file.is_dir():
        file /= "node.toml"
    if config is None and not file.exists():
        raise ConfigError(str(file), "there is no node here; name the settings of one with --config FILE")
    return load(file)


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(config: Path | None, as_json: bool) -> None:
    """
    Show how the node is.

    Exit code: 0 if it serves its people, 1 if it runs but does not serve yet or cannot accept mail now, 69 if it does
    not run or not answer, 78 if its settings cannot be read.
    """
    directory = node_config(config).directory
    try:
        found = control.ask(control.find(directory), {"verb": "status"}, PATIENCE_S)
    except control.Silent:
        words = f"The node in {directory} runs, and does not answer: it has been stopped, or has too much to do."
        click.echo(json.dumps({"running": True, "answers": False}) if as_json else words)
        raise SystemExit(EXIT_DOWN) from None
    except Unreachable:
        click.echo(json.dumps({"running": False}) if as_json else f"The node in {directory} is not running.")
        raise SystemExit(EXIT_DOWN) from None
    click.echo(json.dumps(found, indent=1) if as_json else describe(found, time.time()))
    accepts = found["others"] >= found["minimum"]
    raise SystemExit(0 if found["serving"] and accepts else EXIT_JOINING)


def describe(found: dict[str, Any], now: float) -> str:
    """
    A node's status in words.
    """
    days = int((found["certificate_expires"] - now) / 86400)
    where = f"in a ring of {found['members']}" if found["active"] else "not in the ring yet"
    serving = "" if found["serving"] else ", does not serve mail programs yet"
    lines = [
        f"{found['name']} ({found['node_id'][:8]}): {where}, {_count(found['links'], 'link')}{serving}",
        f"  keeps {_count(found['blocks'], 'block')} for the ring, {found['block_bytes'] / 1e6:.1f} MB",
        f"  {_count(found['notifications_waiting'], 'notification')} here for people who are off-line",
        f"  certificate valid for {_count(days, 'more day')}",
    ]
    if indirect := found.get("indirect", 0):
        lines.append(f"  reaches {_count(indirect, 'node')} only by way of others")
    if found.get("roles") or found.get("roles_waiting"):
        again = "; start it again, then it acts by them" if found.get("roles_waiting") else ""
        lines.append(f"  roles: {', '.join(found['roles']) or 'none'}{again}")
    lines += [f"  {address}: being recovered; {what}" for address, what in found.get("recovering", {}).items()]
    lines += [f"  {_account(account)}" for account in found["accounts"]]
    lines += [f"  {_safety(address, safety, now)}" for address, safety in found.get("durability", {}).items()]
    lines += [f"  complaint: {_count(count, 'time')} {kind}" for kind, count in sorted(found["complaints"].items())]
    for alert in found.get("alerts", ()):
        lines += [f"  {alert['level'].upper()}: {alert['what']}", f"    {alert['cure']}"]
    if found.get("web"):
        lines.append(f"  more: {found['web']}")
    return "\n".join(lines)


def _safety(address: str, safety: dict[str, Any] | None, now: float) -> str:
    """
    How many computers may vanish; C{None} before that has been counted.
    """
    if safety is None:
        return f"{address}: the copies of the mail have not been counted yet"
    spared = [loss["nodes"] for loss in safety["lost"] if not loss["exposed"]]
    counted = f"counted {_count(max(0, int(now - safety['at'])), 'second')} ago"
    if away := safety.get("away", 0):
        counted += f"; copies on {_count(away, 'computer')} that went away since do not count"
    if safety["missing"]:
        return f"{address}: of {_count(safety['missing'], 'object')} no copy can be found now ({counted})"
    if unknown := safety.get("unknown", 0):
        return f"{address}: of {_count(unknown, 'object')} it is not known now where the copies are ({counted})"
    if not spared:
        return f"{address}: mail would be lost with a single computer ({counted})"
    return f"{address}: any {_count(max(spared), 'computer')} could vanish, and no mail be lost ({counted})"


def _account(account: dict[str, Any]) -> str:
    if not account["open"]:
        return f"{account['address']}: {'not open' if account['trouble'] else 'waits until enough of the ring answers'}"
    behind = account["log_records"] - account["log_kept"]
    kept = "all kept by the ring" if behind <= 0 else f"{_count(behind, 'change')} not yet kept by the ring"
    messages, folders = _count(account["messages"], "message"), _count(account["folders"], "folder")
    waiting = account.get("waiting", 0)
    sent = f"; not fetched yet by {_count(waiting, 'recipient')} (post sent)" if waiting else ""
    recovery = _RECOVERY.get(account.get("recovery", ""), "")
    return f"{account['address']}: {messages} in {folders}, {kept}{sent}{recovery}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
