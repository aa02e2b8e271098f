"""
What C{post init} and C{post join} have in common: a directory becomes a node with a person living on it.

It can be cut short anywhere and repeated: keys are made once and written before anybody is asked to certify them, and
the file that says that a node lives there comes last.
"""

from __future__ import annotations

import ipaddress
import json
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from post.ca.membership import Membership
from post.ca.recovery_code import RecoveryCode
from post.cli.node import write_settings
from post.cli.starting import program, start_command
from post.cli.user import make_account
from post.config import Config
from post.crypto.certificates import IdentityCertificate, NodeCertificate, read_node
from post.crypto.documents import open_directory, open_policy
from post.crypto.entropy import system_entropy
from post.crypto.keys import SigningKey
from post.errors import ConfigError, PeerError
from post.files import make_directory, read_secret, write_secret
from post.home import Home, check_identity, check_node

LINK_PORT, DOOR_PORT = 7654, 7655
_UNUSED = ("192.0.2.1", 9)
"""An address that nobody has (RFC 5737): the system says from where it would send there, and nothing is sent."""
_JOINING = "joining"


@contextmanager
def prepare(directory: Path) -> Iterator[Home]:
    """
    The directory, ours alone for as long.

    @raise ConfigError: if a node lives there already.
    """
    home = Home(directory)
    if (directory / "version").exists():
        raise ConfigError(str(directory), "is a node's already")
    make_directory(directory, 0o700)
    home.lock()
    try:
        yield home
    finally:
        home.unlock()


def make_keys(directory: Path) -> tuple[SigningKey, SigningKey]:
    """
    The keys of the node and of the person: those that are there from an attempt that was cut short, or new ones.
    """
    return _key(directory / "node.key"), _key(directory / _JOINING / "person.key")


def _key(path: Path) -> SigningKey:
    if not path.exists():
        key = SigningKey.generate(system_entropy)
        write_secret(path, key.to_pem())
        return key
    try:
        return SigningKey.from_pem(read_secret(path))
    except ValueError as error:
        raise ConfigError(str(path), f"is no private key: {error}") from None


def settle(
    home: Home,
    keys: tuple[SigningKey, SigningKey],
    node_chain: tuple[bytes, ...],
    user_chain: tuple[bytes, ...],
    membership: Membership,
    seeds: tuple[str, ...],
    password: bytes,
    config: Config,
    recovery: RecoveryCode | None,
) -> NodeCertificate:
    """
    Make it a node.  Everything is checked before anything is written.

    @raise ConfigError: if what the authority gave does not belong together.
    """
    person = check_answer(home, keys, node_chain, user_chain, membership, config)
    home.write_account(make_account(person, keys[1], user_chain, password, recovery))
    return complete(home, keys[0], node_chain, membership, seeds)


def complete(
    home: Home, node_key: SigningKey, node_chain: tuple[bytes, ...], membership: Membership, seeds: tuple[str, ...]
) -> NodeCertificate:
    """
    Write what makes a node of a directory in which the person has been written already.
    """
    home.write_seeds(seeds)
    home.create(node_key, node_chain, membership.root, membership.convergence, membership.policy, membership.directory)
    if membership.revoked:
        home.write_revocations(membership.revoked)
    shutil.rmtree(home.path / _JOINING)
    return read_node(node_chain[0])


def check_answer(
    home: Home,
    keys: tuple[SigningKey, SigningKey],
    node_chain: tuple[bytes, ...],
    user_chain: tuple[bytes, ...],
    membership: Membership,
    config: Config,
) -> IdentityCertificate:
    """
    The person whom an authority's answer certifies.

    @raise ConfigError: if what the authority gave does not belong together.
    """
    now = int(time.time())
    answer = Path("the authority's answer")
    node_key, person_key = keys
    check_node(answer, node_chain, node_key, membership.root, now)
    person = check_identity(answer, user_chain, person_key, membership.root)
    try:
        policy = open_policy(membership.policy, membership.root, now)
        directory = open_directory(membership.directory, membership.root, now)
    except PeerError as error:
        raise ConfigError(str(answer), f"cannot be used: {error}") from None
    if not policy.domain == directory.domain == person.address.rpartition("@")[2]:
        raise ConfigError(str(answer), f"is for {person.address} and the domain {policy.domain}")
    if config.directory != home.path.resolve():
        raise ConfigError(f"{config.file}: data", "has to be the directory that the file is in")
    return person


def settings(path: Path, name: str, host: str, port: int, authority: dict[str, object]) -> Config:
    """
    Write C{node.toml} for a node that others reach at C{host}, unless it has been written by hand already.
    """
    # JSON's strings and lists are also TOML's.
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in authority.items())
    return write_settings(path, name, listening(host, port), (join(host, port),), (), f"\n[authority]\n{lines}")


def listening(host: str, port: int) -> str:
    """
    Where to listen to be reached at C{host}: at all interfaces, but for one that is this machine's own affair.
    """
    address = _literal(host)
    if address is not None and address.is_loopback:
        return join(host, port)
    return join("::" if isinstance(address, ipaddress.IPv6Address) else "0.0.0.0", port)


def join(host: str, port: int) -> str:
    """
    C{host:port}.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def own_host() -> str:
    """
    The address of the interface that leads out of this machine.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_UNUSED)
            name: str = probe.getsockname()[0]
        except OSError:
            return "127.0.0.1"
    return name


def what_next(config: Config, address: str) -> list[str]:
    """
    How the new node is started and used.
    """
    mail = config.settings.mail
    return [
        f"Start it:         {start_command(config.file)}",
        f"See how it is:    {program('post')} status --config {config.file}",
        *([f"                  or http://{mail.web}/ with that user name and password"] if mail.web else []),
        f"In a mail program (on this machine): user name {address}, the password that you gave,",
        f"                  IMAP {mail.imap}, SMTP {mail.submission}; both offer STARTTLS.",
    ]
