"""
C{post block}: whose messages a person does not want.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from post.cli.asking import account_option, ask_node, json_option
from post.cli.status import config_option


@click.group()
def block() -> None:
    """
    Whose messages you do not want: they are ignored, and the sender is not told.

    \b
    A PATTERN is an address, a domain, *@domain, or *@*.domain for all domains below one.
    """


@block.command("list")
@config_option
@account_option
@json_option
def show(config: Path | None, account: str, as_json: bool) -> None:
    """
    Show who is blocked.
    """
    found = ask_node(config, "block", account, do="list")
    if as_json:
        click.echo(json.dumps(found, indent=1))
    else:
        _print(found)


@block.command()
@config_option
@account_option
@click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")
def add(config: Path | None, account: str, patterns: tuple[str, ...]) -> None:
    """
    Ignore what comes from senders that fit a PATTERN.

    post block add spammer@example.org "*@*.example.net"
    """
    _print(ask_node(config, "block", account, do="add", patterns=list(patterns)))


@block.command()
@config_option
@account_option
@click.argument("patterns", nargs=-1, required=True, metavar="PATTERN...")
def remove(config: Path | None, account: str, patterns: tuple[str, ...]) -> None:
    """
    Block each PATTERN no longer, as "post block list" shows it.
    """
    _print(ask_node(config, "block", account, do="remove", patterns=list(patterns)))


@block.command()
@config_option
@account_option
@click.option("--off", is_flag=True, help="No longer.")
def share(config: Path | None, account: str, off: bool) -> None:
    """
    Let others subscribe to your list: every member of the organisation can then see it.
    """
    _print(ask_node(config, "block", account, do="unshare" if off else "share"))


@block.command()
@config_option
@account_option
@click.argument("address")
def subscribe(config: Path | None, account: str, address: str) -> None:
    """
    Put into Junk what comes from senders whom ADDRESS blocks, who has to share that list.
    """
    _print(ask_node(config, "block", account, do="subscribe", address=address))


@block.command()
@config_option
@account_option
@click.argument("address")
def unsubscribe(config: Path | None, account: str, address: str) -> None:
    """
    Go by the list of ADDRESS no longer.
    """
    _print(ask_node(config, "block", account, do="unsubscribe", address=address))


def _print(found: dict[str, Any]) -> None:
    for each in found["blocked"]:
        click.echo(each)
    if not found["blocked"]:
        click.echo("nobody is blocked")
    if found["shared"]:
        click.echo("this list is shared: others can subscribe to it")
    for address, count in found["subscribed"].items():
        click.echo(f"subscribed to the list of {address}, with {count} on it: what they send goes to Junk")
