"""
C{post node}: making a node of keys and certificates, and keeping it up to date.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from post.ca.membership import Membership
from post.cli.starting import start_command
from post.cli.status import config_option, node_config
from post.config import Config, load, split_service
from post.crypto.certificates import fingerprint
from post.crypto.documents import open_directory, open_policy
from post.crypto.keys import SigningKey
from post.crypto.revocations import open_revocations
from post.errors import ConfigError, PeerError
from post.files import read_file, read_secret, write_file
from post.home import Home, check_node
from post.wire import unpack

_path = click.Path(path_type=Path)
_ANYWHERE = ("0.0.0.0", "::")


@click.group()
def node() -> None:
    """
    The node on this machine.
    """


@node.command()
@click.argument("directory", type=_path)
@click.option("--chain", "chain_file", type=_path, required=True, help='What "post ca issue-node" wrote.')
@click.option("--membership", "membership_file", type=_path, required=True, help='What "post ca export" wrote.')
@click.option("--listen", required=True, metavar="HOST:PORT", help="Where to listen for other nodes.")
@click.option(
    "--address", "addresses", multiple=True, metavar="HOST:PORT", help="Where they reach it, if not as --listen says."
)
@click.option(
    "--seed",
    "seeds",
    multiple=True,
    metavar="HOST:PORT",
    help="A node through which to enter the ring; without any, this one founds it.",
)
@click.option("--name", default="node", show_default=True, help="For logs and post status.")
def init(
    directory: Path,
    chain_file: Path,
    membership_file: Path,
    listen: str,
    addresses: tuple[str, ...],
    seeds: tuple[str, ...],
    name: str,
) -> None:
    """
    Make a node in DIRECTORY, where its key is already, as node.key: "post ca request DIRECTORY/node.key REQUEST" makes
    it.
    """
    now = int(time.time())
    home = Home(directory)
    key = _read_key(directory / "node.key")
    membership = _read_membership(membership_file, now)
    chain = read_chain(chain_file, "post ca issue-node")
    certificate = check_node(chain_file, chain, key, membership.root, now)
    config = write_settings(directory / "node.toml", name, listen, addresses, seeds)
    home.create(key, chain, membership.root, membership.convergence, membership.policy, membership.directory)
    if membership.revoked:
        home.write_revocations(membership.revoked)
    click.echo(f"Made node {certificate.node_id} of {certificate.owner} in {directory}.")
    click.echo("Its authority has the fingerprint (compare it with what the authority says)")
    click.echo(f"  {fingerprint(membership.root)}")
    click.echo(f"Start it with: {start_command(config.file)}")


@node.command()
@config_option
@click.argument("membership_file", metavar="MEMBERSHIP", type=_path)
def update(config: Path | None, membership_file: Path) -> None:
    """
    Use a newer directory and policy, from MEMBERSHIP, which "post ca export" wrote.

    A node that runs uses them within half a minute.
    """
    now = int(time.time())
    settings = node_config(config)
    home = Home(settings.directory, settings.settings.files)
    home.check()
    root = home.credentials(now).root
    membership = _read_membership(membership_file, now)
    if membership.root != root:
        raise ConfigError(str(membership_file), "is of another authority than this node")
    fresh, current = open_directory(membership.directory, root, now), home.directory(root, now)
    if fresh.serial < current.serial:
        raise ConfigError(str(membership_file), f"is older ({fresh.serial}) than what is here ({current.serial})")
    if open_policy(membership.policy, root, now).serial >= home.policy(root, now).serial:
        home.write_policy(membership.policy)
    home.write_directory(membership.directory)
    known = home.revocations(root, now)
    if membership.revoked and (known is None or open_revocations(membership.revoked, root, now).serial > known.serial):
        home.write_revocations(membership.revoked)
    click.echo(f"People in the directory now: {len(fresh.entries)}; nodes: {len(fresh.members)}.")


@node.command()
@config_option
@click.option("--chain", "chain_file", type=_path, required=True, help='What "post ca issue-node" wrote.')
def renew(config: Path | None, chain_file: Path) -> None:
    """
    Use newer certificates for the key that the node has, from its next start on.

    The authority makes them from the same request, owner and index as the first.
    """
    settings = node_config(config)
    home = Home(settings.directory, settings.settings.files)
    home.check()
    certificate = home.renew(chain_file, read_chain(chain_file, "post ca issue-node"), int(time.time()))
    click.echo(f"The certificate is valid until {time.strftime('%Y-%m-%d', time.gmtime(certificate.not_after))}.")


def read_chain(path: Path, maker: str) -> tuple[bytes, ...]:
    """
    The certificates that the command C{maker} wrote to C{path}; what they are worth is not looked at.
    """
    try:
        return unpack(tuple[bytes, ...], read_file(path))
    except PeerError:
        raise ConfigError(str(path), f'is not what "{maker}" writes') from None


def _read_key(path: Path) -> SigningKey:
    if not path.exists():
        raise ConfigError(str(path), f'is not there; make it with "post ca request {path} REQUEST"')
    try:
        return SigningKey.from_pem(read_secret(path))
    except ValueError as error:
        raise ConfigError(str(path), f"is no private key: {error}") from None


def _read_membership(path: Path, now: int) -> Membership:
    try:
        membership = Membership.from_bytes(read_file(path))
        policy = open_policy(membership.policy, membership.root, now)
        directory = open_directory(membership.directory, membership.root, now)
        if membership.revoked:
            open_revocations(membership.revoked, membership.root, now)
    except PeerError as error:
        raise ConfigError(str(path), f'is not what "post ca export" writes, or cannot be used: {error}') from None
    if policy.domain != directory.domain:
        raise ConfigError(str(path), f"has a directory of {directory.domain}, and a policy of {policy.domain}")
    return membership


def write_settings(
    path: Path, name: str, listen: str, addresses: tuple[str, ...], seeds: tuple[str, ...], more: str = ""
) -> Config:
    """
    Write C{node.toml}, with C{more} at its end, unless it has been written by hand already; either way it has to be in
    order.
    """
    if not path.exists():
        # JSON's strings are also TOML's.
        text = f"""\
# Made by "post"; conf/node.toml in POST's sources explains all that can be set.
name = {json.dumps(name)}

[links]
listen = {json.dumps(listen)}
addresses = {json.dumps(addresses)}
seeds = {json.dumps(seeds)}
{more}"""
        write_file(path, text.encode())
        try:
            return _usable(load(path))
        except ConfigError:
            path.unlink()
            raise
    return _usable(load(path))


def _usable(config: Config) -> Config:
    links = config.settings.links
    if not links.addresses and split_service(links.listen)[0] in _ANYWHERE:
        raise ConfigError(
            "--address", f"is needed with {links.listen}: nobody can be told to reach a node at all interfaces"
        )
    return config
