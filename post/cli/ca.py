"""
C{post ca}: the authority, and the requests that members bring to it.
"""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path
from typing import Any

import click

from post.ca.authority import NODES_PER_OWNER, Authority
from post.ca.code import check_where
from post.ca.tokens import Token, Tokens
from post.cli.public_log import public_log
from post.cli.qr import show_qr
from post.cli.revoking import authority_option, opened, revoke, served_directory
from post.cli.roles import ROLES, role
from post.cli.status import config_option, node_config
from post.config import Config, load, split_service
from post.crypto.certificates import fingerprint, make_request, read_identity, read_node, request_key
from post.crypto.documents import open_policy
from post.crypto.entropy import system_entropy
from post.crypto.keys import SigningKey
from post.errors import ConfigError, PeerError
from post.files import read_file, read_secret, write_file, write_secret
from post.home import Home
from post.wire import pack

_path = click.Path(path_type=Path)
_where = click.option("--authority", "where", type=_path, required=True, help="The authority's directory.")


_replace = click.option("--replace", is_flag=True, help="Take the place or name from another key that has it.")


def _request(path: Path) -> bytes:
    """
    A certificate request.

    @raise ConfigError: if there is none in C{path}.
    """
    data = read_file(path)
    try:
        request_key(data)
    except PeerError as error:
        raise ConfigError(str(path), f"is no certificate request: {error}") from None
    return data


@click.group()
def ca() -> None:
    """
    The organisation's authority.

    Machines join it by a code (token), if a node serves it (serve; post init has done that).

    By hand, a key is made where it will be used (request), the request is certified by the authority (issue-node,
    issue-user), and the certificates go back, together with what all members have (export).  Keys never travel.
    """


ca.add_command(revoke)
ca.add_command(public_log)
ca.add_command(role)


@ca.command()
@click.argument("where", type=_path)
@click.option("--domain", required=True, help="The mail domain, such as example.org.")
@click.option("--copies", "k", type=click.IntRange(1, 20), default=3, show_default=True, help="Of everything stored.")
@click.option(
    "--minimum",
    type=click.IntRange(0, 20),
    help="Copies on other nodes, without which mail is refused for the time being; by default one less than --copies.",
)
def init(where: Path, domain: str, k: int, minimum: int | None) -> None:
    """
    Make a new authority in the directory WHERE.

    By hand: "post init" makes one together with a node and a person.
    """
    if minimum is None:
        minimum = k - 1
    if minimum > k:
        raise ConfigError("--minimum", "cannot be more than --copies")
    Authority.create(where, domain, system_entropy, int(time.time()), k=k, minimum=minimum)
    click.echo(f"Made the authority of {domain} in {where}.")
    click.echo(f"Keep {where / 'root.key'} somewhere safe, and not on this machine: it is needed only if")
    click.echo("the issuing key is lost or stolen.")


@ca.command()
@click.argument("key", type=_path)
@click.argument("request", type=_path)
def request(key: Path, request: Path) -> None:
    """
    On a member's machine: make the key KEY, if it does not exist, and a certificate request for it in REQUEST.

    post ca request alice-pc/node.key alice-pc.request
    """
    if key.resolve() == request.resolve():
        raise ConfigError(str(request), "would replace the key: name another file for the request")
    if key.exists():
        try:
            made = SigningKey.from_pem(read_secret(key))
        except ValueError as error:
            raise ConfigError(str(key), f"is no key: {error}") from None
    else:
        made = SigningKey.generate(system_entropy)
        write_secret(key, made.to_pem())
    write_file(request, make_request(made))
    click.echo(f"Bring {request} to the authority; {key} stays here.")


@ca.command("issue-node")
@_where
@click.argument("request", type=_path)
@click.argument("chain", type=_path)
@click.option("--owner", required=True, help="Whose node it is.")
@click.option("--site", default="", help="Where it stands: copies are spread over sites.")
@click.option("--role", "roles", multiple=True, type=ROLES, help="What it does beside keeping blocks.")
@click.option(
    "--index",
    type=click.IntRange(0, NODES_PER_OWNER - 1),
    default=0,
    show_default=True,
    help="Which of the owner's nodes; each number is a place on the ring of its own.",
)
@_replace
def issue_node(
    where: Path,
    request: Path,
    chain: Path,
    owner: str,
    site: str,
    roles: tuple[str, ...],
    index: int,
    replace: bool,
) -> None:
    """
    Certify a node: write the certificates for REQUEST to CHAIN.

    post ca issue-node --authority authority --owner alice alice-pc.request alice-pc.chain
    """
    authority = Authority.open(where, system_entropy, patient=True)
    asked = _request(request)
    if not replace and authority.replaces(asked, owner, index):
        raise ConfigError(
            f"{owner}, node {index}",
            "is certified for another key; two nodes in one place put each other out of the ring.  A second node of the"
            " same owner has another --index; --replace if the other one is lost",
        )
    issued = authority.issue_node(asked, owner, int(time.time()), site, roles, index)
    write_file(chain, pack(issued))
    click.echo(f"Certified a node of {owner}.")


@ca.command("issue-user")
@_where
@click.argument("request", type=_path)
@click.argument("chain", type=_path)
@click.option("--address", required=True, help="The person's mail address.")
@_replace
def issue_user(where: Path, request: Path, chain: Path, address: str, replace: bool) -> None:
    """
    Certify a person: write the certificates for REQUEST to CHAIN.

    post ca issue-user --authority authority --address alice@example.org alice.request alice.chain
    """
    authority = Authority.open(where, system_entropy, patient=True)
    asked = _request(request)
    try:
        taken = authority.replaces(asked, address=address)
    except ValueError:
        raise ConfigError(address, "is not a mail address") from None
    if taken and not replace:
        raise ConfigError(
            address,
            "is certified for another key; with --replace the new one takes the name, and whatever comes from then on,"
            " but not the mailbox: that is read with the account's old directory",
        )
    issued = authority.issue_user(asked, address, int(time.time()))
    write_file(chain, pack(issued))
    click.echo(f"Certified {address}.")


@ca.command()
@_where
@click.argument("membership", type=_path)
def export(where: Path, membership: Path) -> None:
    """
    Write what every member has to have to MEMBERSHIP: root certificate, policy, directory, convergence secret.

    It is for members only.  Members who have joined earlier need it again, to know of whoever came later.
    """
    authority = Authority.open(where, system_entropy, patient=True)
    write_secret(membership, authority.membership(int(time.time())).to_bytes())
    click.echo(f"Wrote {membership}, for members only.  The authority's fingerprint is")
    click.echo(f"  {fingerprint(authority.root)}")


@ca.command()
@config_option
@authority_option
@click.option("--copies", "k", type=click.IntRange(1, 20), help="Of everything stored.")
@click.option("--minimum", type=click.IntRange(0, 20), help="Copies on other nodes, without which mail is refused.")
@click.option("--size-limit", type=click.IntRange(1024, 1 << 31), metavar="OCTETS", help="Of a message.")
def policy(config: Path | None, where: Path | None, **changes: int | None) -> None:
    """
    Show the policy, or change it: what is given, and nothing else.

    Members fetch it within an hour, or are given it anew (export), and go by it at once.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    authority, now = opened(config, where), int(time.time())
    found = authority.change_policy(now, **given) if given else open_policy(authority.policy(), authority.root, now)
    click.echo(
        f"{found.domain}: {found.k} {'copy' if found.k == 1 else 'copies'}, at least {found.minimum} on other nodes; ",
        nl=False,
    )
    click.echo(f"messages up to {found.size_limit:,} octets")


@ca.command()
@config_option
@authority_option
@click.option("--door", metavar="HOST:PORT", help="Where it is asked, if not as the settings say.")
@click.argument("address")
@click.option("--hours", type=click.IntRange(1, 720), default=72, show_default=True, help="For so long it is good.")
@click.option("--site", default="", help="Where the machine stands: copies are spread over sites.")
@click.option("--role", "roles", multiple=True, type=ROLES, help="What it does beside keeping blocks.")
@click.option("--index", type=click.IntRange(0, NODES_PER_OWNER - 1), default=0, help="Which of the owner's nodes.")
@click.option("--replace", is_flag=True, help="Give a new key to somebody who has lost theirs, mailbox and all.")
@click.option("--qr/--no-qr", default=True, help="Show the code as a QR too.")
def token(
    config: Path | None,
    where: Path | None,
    door: str | None,
    address: str,
    hours: int,
    site: str,
    roles: tuple[str, ...],
    index: int,
    replace: bool,
    qr: bool,
) -> None:
    """
    Print the code by which the machine of ADDRESS joins, once.

    The machine becomes a member, and ADDRESS an account on it.  Give the code to that person alone: whoever uses it
    first is ADDRESS.  An earlier code for the same machine that has not
    been used is good no longer.
    """
    authority, door = _served(config, where, door)
    now = int(time.time())
    name = authority.account_name(address, now)
    if authority.members(now).account(name) is not None and not replace:
        raise ConfigError(
            name,
            "has an account already; --replace gives it a new key, which cannot open the mailbox of the old one ('post"
            " recover' there can, by the recovery code; 'post ca role' gives a machine that it has another role)",
        )
    tokens = Tokens(authority.path)
    with authority.alone():
        tokens.forget(now)
        tokens.withdraw(name, index)
        code = tokens.make(
            door, authority.root, name, now + 3600 * hours, system_entropy, index, site, roles, replace
        ).to_text()
    if qr:
        show_qr(code)
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now + 3600 * hours))
    click.echo(f"The code of {name}, good once, until {until}.  On the new machine:\n")
    click.echo(f"  post join {code}\n")


@ca.command("list")
@config_option
@authority_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def list_issued(config: Path | None, where: Path | None, as_json: bool) -> None:
    """
    List people, nodes and join codes, with the ends of their certificates.
    """
    authority, now = opened(config, where), int(time.time())
    directory, newest = authority.members(now), authority.all_newest()
    # Any: what JSON shows.
    people: list[dict[str, Any]] = [
        {"address": entry.address, "expires": read_identity(newest["identity", entry.address]).not_after}
        for entry in directory.entries
        if ("identity", entry.address) in newest
    ]
    nodes: list[dict[str, Any]] = [
        {"node": m.node.hex(), "owner": m.owner, "expires": read_node(newest["node", m.node.hex()]).not_after}
        for m in directory.members
        if ("node", m.node.hex()) in newest
    ]
    codes: list[dict[str, Any]] = [
        {"address": each.address, "expires": each.expires, "state": _state(each, now)}
        for each in Tokens(authority.path).all()
    ]
    if as_json:
        click.echo(json.dumps({"people": people, "nodes": nodes, "codes": codes}, indent=1))
        return
    for person in people:
        click.echo(f"person  {person['address']}, until {_day(person['expires'])}")
    for node in nodes:
        click.echo(f"node    {node['node'][:8]} of {node['owner']}, until {_day(node['expires'])}")
    for code in codes:
        click.echo(f"code    for {code['address']}, {code['state']}, until {_day(code['expires'])}")


@ca.command()
@config_option
@click.option("--authority", "where", type=_path, required=True, help="The authority's directory.")
@click.option(
    "--listen", default="0.0.0.0:7655", show_default=True, metavar="HOST:PORT", help="Where newcomers and members ask."
)
@click.option("--address", default="", metavar="HOST:PORT", help="Where others reach it, if not as --listen says.")
def serve(config: Path | None, where: Path, listen: str, address: str) -> None:
    """
    Let the node on this machine serve the authority, for machines that join and for members.

    It is written into the node's settings, and holds from the node's next start on.
    """
    settings = node_config(config)
    home = Home(settings.directory, settings.settings.files)
    home.check()
    authority = Authority.open(where.resolve(), system_entropy, patient=True)
    if authority.root != home.credentials(int(time.time())).root:
        raise ConfigError(str(where), "is not the authority of this node")
    text = settings.file.read_text()
    if "authority" in tomllib.loads(text):
        raise ConfigError(
            str(settings.file), "has a section [authority] already: set directory, listen and address there, not doors"
        )
    lines = {"directory": str(where.resolve()), "listen": listen, "address": address}
    # JSON's strings are also TOML's.
    section = "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())
    fresh = settings.file.with_name(f".{settings.file.name}.check")
    try:
        write_file(fresh, f"{text.rstrip()}\n\n[authority]\n{section}".encode())
        _door(load(fresh))
        fresh.replace(settings.file)
    finally:
        fresh.unlink(missing_ok=True)
    click.echo(f"{settings.file} says so now; start the node again.")


def _served(config: Path | None, where: Path | None, door: str | None) -> tuple[Authority, str]:
    """
    The authority that is meant, and where its door is.
    """
    if where is not None and door is None:
        raise ConfigError("--door", "is needed with --authority: where is it served?")
    if where is None:
        where = served_directory(config)
        door = door or _door(node_config(config))
    assert door is not None
    if not check_where(door):
        raise ConfigError("--door", f"{door!r} is not host:port")
    return Authority.open(where, system_entropy, patient=True), door


def _door(settings: Config) -> str:
    authority = settings.settings.authority
    door = authority.address or authority.listen
    if split_service(door)[0] in ("0.0.0.0", "::"):
        raise ConfigError(f"{settings.file}: authority.address", "has to say where others reach it")
    return door


def _state(token: Token, now: int) -> str:
    if token.used_by:
        return "used"
    return "expired" if token.expires < now else "open"


def _day(at: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))
