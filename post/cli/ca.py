"""
C{post ca}: the authority, and the requests that members bring to it.
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from post.ca.authority import NODES_PER_OWNER, Authority
from post.crypto.certificates import fingerprint, make_request, request_key
from post.crypto.documents import open_policy
from post.crypto.entropy import system_entropy
from post.crypto.keys import SigningKey
from post.errors import ConfigError, PeerError
from post.files import read_file, read_secret, write_file, write_secret
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

    A key is made where it will be used (request), the request is certified by the authority (issue-node, issue-user),
    and the certificates go back, together with what all members have (export).  Keys never travel.
    """


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
    Make a new authority in WHERE.
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
    """
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
@click.option("--role", "roles", multiple=True, type=click.Choice(["gateway", "always-on"]))
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
    """
    authority = Authority.open(where, system_entropy)
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
    """
    authority = Authority.open(where, system_entropy)
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
    authority = Authority.open(where, system_entropy)
    write_secret(membership, authority.membership(int(time.time())).to_bytes())
    click.echo(f"Wrote {membership}, for members only.  The authority's fingerprint is")
    click.echo(f"  {fingerprint(authority.root)}")


@ca.command()
@_where
@click.option("--copies", "k", type=click.IntRange(1, 20), help="Of everything stored.")
@click.option("--minimum", type=click.IntRange(0, 20), help="Copies on other nodes, without which mail is refused.")
@click.option("--size-limit", type=click.IntRange(1024, 1 << 31), metavar="OCTETS", help="Of a message.")
def policy(where: Path, **changes: int | None) -> None:
    """
    Show the policy, or change it: what is given, and nothing else.

    Members have to be given it anew (export), and use it when their nodes are started again.
    """
    given = {name: value for name, value in changes.items() if value is not None}
    authority = Authority.open(where, system_entropy)
    now = int(time.time())
    found = authority.change_policy(now, **given) if given else open_policy(authority.policy(), authority.root, now)
    click.echo(f"{found.domain}: {found.k} copies, at least {found.minimum} on other nodes; ", nl=False)
    click.echo(f"messages up to {found.size_limit:,} octets")
