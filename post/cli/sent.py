"""
C{post sent}: where the messages stand that people of this node have sent.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from post import control
from post.cli.status import config_option, node_config
from post.errors import Unreachable

SHOWN = 20
"""Messages of each account, if nothing else is said."""


@click.command()
@config_option
@click.option(
    "--limit", type=click.IntRange(1, 5000), default=SHOWN, help=f"Messages of each account; {SHOWN} if not set."
)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def sent(config: Path | None, limit: int, as_json: bool) -> None:
    """
    Show where the messages stand that were sent from here, the newest first.

    Exit code: 69 if the node does not run, 78 if its settings cannot be read.
    """
    directory = node_config(config).directory
    try:
        found = control.ask(control.find(directory), {"verb": "sent", "limit": limit})
    except Unreachable:
        raise Unreachable(f"the node in {directory} is not running; start it first") from None
    click.echo(json.dumps(found, indent=1) if as_json else describe(found))


def describe(found: dict[str, Any]) -> str:
    """
    The same in words.
    """
    lines = []
    for address, messages in found.items():
        lines.append(f"{address}: {'nothing sent lately' if not messages else ''}".rstrip())
        for message in messages:
            stored = f", stored on {message['copies']} nodes" if message["copies"] else ""
            lines.append(f"  {_time(message['at'])}  {message['size']:,} octets{stored}")
            ours = address.rpartition("@")[2]
            lines += [f"    {each['address']}: {_standing(each, ours)}" for each in message["recipients"]]
    return "\n".join(lines) or "nobody's mailbox is open here yet"


def _standing(passage: dict[str, Any], ours: str) -> str:
    """
    In words; C{ours} is the domain of which the others are outside.
    """
    if passage["standing"] == "waiting" and passage["address"].rpartition("@")[2].casefold() != ours.casefold():
        return "leaves through a gateway (post queue list)"
    since, expires = _time(passage["since"]), _time(passage["expires"])
    copies = f"on {passage['copies']} nodes" if passage["copies"] else "in the ring"
    return {
        "waiting": f"waits {copies} until they are there, {expires} at the latest",
        "delivered": f"delivered {since}",
        "expired": f"NOT delivered: they were not there until {expires}",
        "unknown": f"waited until {expires}; nobody knows whether it was fetched",
        "refused": f"refused {since}",
        "handed_on": f"handed on {since}",
    }.get(passage["standing"], str(passage["standing"]))


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
