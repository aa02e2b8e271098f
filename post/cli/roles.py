"""
C{post ca role}: what a member's node does beside keeping blocks, changed for the key that it has.
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from post.ca.authority import Authority
from post.cli.revoking import authority_option, named_node, opened
from post.cli.status import config_option
from post.crypto.documents import Member
from post.crypto.names import canonical
from post.errors import ConfigError

ROLES = click.Choice(["gateway", "always-on"])
"""Those that there are: speaks to the Internet; is never switched off."""


@click.command()
@config_option
@authority_option
@click.argument("name")
@click.option("--add", multiple=True, type=ROLES, help="Give it this role.")
@click.option("--remove", multiple=True, type=ROLES, help="Take this role from it.")
def role(config: Path | None, where: Path | None, name: str, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
    """
    Show or change the roles of a machine that is a member: NAME is its owner's ADDRESS, or OWNER/INDEX if they have
    several, or its id, as "post ca list" shows it.

    Its keys, its mail and its place stay.  It fetches a certificate that says so at its next question to the authority,
    within an hour or when it is started, and acts by it when it has been started once more:

      post ca role bob@example.org --add gateway
    """
    if both := set(add) & set(remove):
        raise ConfigError("--add", f"and --remove both name {min(both)}")
    authority, now = opened(config, where), int(time.time())
    member = _member(authority, name, now)
    roles = (set(member.roles) | set(add)) - set(remove)
    said = ", ".join(sorted(roles)) or "none"
    if roles == set(member.roles):
        click.echo(f"Roles of node {member.node.hex()[:8]} of {member.owner}: {said}.")
        return
    authority.set_roles(member.node, roles, now)
    click.echo(f"Roles of node {member.node.hex()[:8]} of {member.owner} from its next certificate on: {said}.")
    click.echo("It fetches that within an hour, or when it is started; post status there shows its roles.  Then start")
    click.echo("it once more.  A node that asks no authority is certified again by hand (post ca issue-node --role).")


def _member(authority: Authority, name: str, now: int) -> Member:
    """
    @raise ConfigError: if C{name} means no member's machine, or one of several.
    """
    members = authority.members(now).members
    node = named_node(authority, name, now)
    if node is None:
        try:
            owner = canonical(name)
        except ValueError:
            owner = name.casefold()
        theirs = [member for member in members if member.owner == owner]
        if len(theirs) > 1:
            raise ConfigError(name, f"has {len(theirs)} machines: say {name}/0 or another number, or a node's id")
    else:
        theirs = [member for member in members if member.node.hex() == node]
    if not theirs:
        raise ConfigError(name, "has no machine that is a member: post ca list shows who has")
    return theirs[0]
