"""
C{post list}: the mailing lists that a person maintains.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from post.cli.asking import account_option, ask_node, json_option
from post.cli.status import config_option
from post.mail.lists import Posting


@click.group("list")
def list() -> None:
    """
    The mailing lists that you maintain.

    \b
    The address of a list is a sub-address of yours, such as you+team@example.org.  LIST is that address, or the word
    that makes it differ from yours.
    """


@list.command()
@config_option
@account_option
@json_option
@click.argument("address", metavar="[LIST]", default="")
def show(config: Path | None, account: str, as_json: bool, address: str) -> None:
    """
    Show the list LIST, or all that you maintain.
    """
    found = ask_node(config, "list", account, do="show", address=address)
    if as_json:
        click.echo(json.dumps(found, indent=1))
    elif address:
        _print(found)
    else:
        for each in found["lists"]:
            count = len(each["members"])
            said = f"{count} member{'' if count == 1 else 's'}"
            click.echo(f"{each['address']}: {said}; written to by {each['posting']}")
        if not found["lists"]:
            click.echo("you maintain no lists: see post list create --help")


@list.command()
@config_option
@account_option
@click.option(
    "--posting",
    type=click.Choice([each.value for each in Posting]),
    default=Posting.MEMBERS.value,
    show_default=True,
    help="Who may write to it.",
)
@click.argument("address")
@click.argument("members", nargs=-1)
def create(config: Path | None, account: str, posting: str, address: str, members: tuple[str, ...]) -> None:
    """
    Make the list ADDRESS, a sub-address of yours, with these MEMBERS.

    post list create alice+team@example.org bob@example.org carol@example.org
    """
    _print(ask_node(config, "list", account, do="create", address=address, posting=posting, members=[*members]))


@list.command()
@config_option
@account_option
@click.argument("address", metavar="LIST")
@click.argument("members", nargs=-1, required=True)
def add(config: Path | None, account: str, address: str, members: tuple[str, ...]) -> None:
    """
    Put MEMBERS, people or other lists, on the list LIST.

    post list add team dave@example.org
    """
    _print(ask_node(config, "list", account, do="add", address=address, members=[*members]))


@list.command()
@config_option
@account_option
@click.argument("address", metavar="LIST")
@click.argument("members", nargs=-1, required=True)
def remove(config: Path | None, account: str, address: str, members: tuple[str, ...]) -> None:
    """
    Take MEMBERS off the list LIST.
    """
    _print(ask_node(config, "list", account, do="remove", address=address, members=[*members]))


@list.command()
@config_option
@account_option
@click.argument("address", metavar="LIST")
def delete(config: Path | None, account: str, address: str) -> None:
    """
    Let there be no list LIST any more: what is sent there then comes to you.
    """
    found = ask_node(config, "list", account, do="delete", address=address)
    click.echo(f"{found['address']} is no list any more: what is sent there comes to you")


def _print(found: dict[str, Any]) -> None:
    click.echo(f"{found['address']}: written to by {found['posting']}; members:")
    for each in found["members"]:
        click.echo(f"  {each}")
    if not found["members"]:
        click.echo("  nobody yet: see post list add --help")
