"""
C{post ca revoke}: what the authority takes back.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import click

from post.ca.authority import NODES_PER_OWNER, Authority
from post.ca.tokens import Tokens
from post.cli.status import config_option, default_config, node_config
from post.crypto.entropy import system_entropy
from post.crypto.names import canonical
from post.crypto.revocations import IDENTITY, NODE, REASON_LIMIT
from post.errors import ConfigError

_PLACE = re.compile(r"(.+)/([0-9]{1,2})")
_NODE_ID = re.compile(r"[0-9a-fA-F]{8,40}")

authority_option = click.option(
    "--authority",
    "where",
    type=click.Path(path_type=Path),
    help="The authority's directory, if no node here serves it.",
)


def opened(config: Path | None, where: Path | None) -> Authority:
    """
    The authority that is meant: in C{where}, or served by the node here.

    @raise ConfigError: if there is none.
    """
    return Authority.open(where or served_directory(config), system_entropy, patient=True)


def served_directory(config: Path | None) -> Path:
    """
    The directory of the authority that the node here serves.

    @raise ConfigError: if there is no node, or it serves none.
    """
    file = config or default_config()
    if config is None and not file.exists():
        raise ConfigError(
            "--authority", f"is needed (the authority's directory), or --config: there is no node here ({file})"
        )
    settings = node_config(config)
    if not settings.settings.authority.directory:
        raise ConfigError(
            f"{settings.file}: authority.directory",
            "is not set, this node serves no authority: say --authority DIRECTORY, on the machine where that is",
        )
    return settings.directory / settings.settings.authority.directory


def named_node(authority: Authority, name: str, now: int) -> str | None:
    """
    The id of the node that C{name} means; C{None} if it means none.
    """
    place = _PLACE.fullmatch(name)
    if place is not None and int(place[2]) < NODES_PER_OWNER:
        return authority.node_name(place[1], int(place[2]))
    if _NODE_ID.fullmatch(name):
        known = {issued for kind, issued in authority.all_newest() if kind == NODE}
        found = [each for each in known if each.startswith(name.lower())]
        if len(found) != 1:
            raise ConfigError(name, "is the beginning of several node ids" if found else "is no node of this authority")
        return found[0]
    return None


@click.command()
@config_option
@authority_option
@click.argument("name")
@click.option("--reason", default="", help="A few words, which all members can read.")
@click.option("--nodes", is_flag=True, help="With an address: all the machines of that person too.")
@click.option("--lost", is_flag=True, help="The person stays: their recovery code goes on to be good.")
def revoke(config: Path | None, where: Path | None, name: str, reason: str, nodes: bool, lost: bool) -> None:
    """
    Let nobody believe NAME's certificates any more: a person (ADDRESS), or a machine (OWNER/INDEX, such as
    bob@example.org/0, or its id, as "post ca list" shows it).

    Every node that is on-line knows it within a minute.  Mail that was accepted before is delivered.  It is for good;
    whoever was meant can be given a new code ("post ca token --replace"), and gets new keys by it.
    """
    if len(reason) > REASON_LIMIT or not reason.isprintable():
        raise ConfigError("--reason", f"has to be one line of {REASON_LIMIT} characters at most")
    # No key is this: all go, and the name stays in the directory.
    keeping = b"" if lost else None
    authority, now = opened(config, where), int(time.time())
    node = named_node(authority, name, now)
    if node is not None:
        if nodes:
            raise ConfigError("--nodes", "goes with a person's address")
        _tell(f"node {node}", authority.revoke(NODE, node, now, reason, keeping))
        return
    try:
        address = canonical(name)
    except ValueError:
        raise ConfigError(name, "is neither an address, nor OWNER/INDEX, nor a node id") from None
    theirs = [member.node.hex() for member in authority.members(now).members if member.owner == address]
    _tell(address, authority.revoke(IDENTITY, address, now, reason, keeping))
    tokens = Tokens(authority.path)
    with authority.alone():
        for index in range(NODES_PER_OWNER):
            tokens.withdraw(address, index)
    for each in theirs:
        if nodes:
            _tell(f"node {each}", authority.revoke(NODE, each, now, reason, keeping))
        else:
            click.echo(f"Their node {each[:8]} stays a member; --nodes revokes it too.")


def _tell(what: str, keys: list[bytes]) -> None:
    click.echo(f"Revoked {what}." if keys else f"{what} was revoked before.")
