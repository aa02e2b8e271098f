"""
Making a ring: the authority, the nodes, the people.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from post.ca.authority import Authority
from post.cli.user import check_password, make_account
from post.crypto.certificates import make_request, read_identity, read_node
from post.crypto.entropy import system_entropy
from post.crypto.keys import SigningKey
from post.crypto.names import canonical, canonical_domain
from post.errors import ConfigError
from post.files import make_directory, read_secret, write_file, write_secret
from post.home import Home

SERVICES = ("link", "submission", "submissions", "imap", "imaps", "pop3", "pop3s", "smtp", "web")
"""Each node has a port for each, also for those that it does not offer."""
PORTS = range(10_000, 32_768)
"""Where a ring listens: above the ports of known services, and below those that a system lends to outgoing connections
(Linux from 32,768 on, others from 49,152), so that nobody has one of them when the ring is opened again."""
APART = 256
"""Ports between where two processes with neighboring numbers begin to look: room for 28 nodes."""
MARK = ".post-ring"
"""The file that says that a directory is a ring's, from the first moment of its making."""
LOCK = "ring.lock"
"""Locked while a supervisor uses the directory."""
GATEWAY = ("gateway",)
"""The roles of a node that is a gateway to the Internet."""
USUAL = ("alice", "bob")
"""Who lives in a ring of which nothing else is said; as many of them as it has nodes."""


class PlannedNode(msgspec.Struct, frozen=True):
    """
    A node of a ring, and where it listens (C{host:port}).
    """

    name: str
    node_id: str
    link: str
    submission: str
    submissions: str
    imap: str
    imaps: str
    accounts: list[str]
    # Empty in a ring that was made before there was POP3, or a page: it stays as it is.
    pop3: str = ""
    pop3s: str = ""
    smtp: str = ""
    web: str = ""
    roles: list[str] = []

    def describe(self) -> dict[str, Any]:
        """
        As C{ring.json} shows it.
        """
        services = {key: getattr(self, key) or None for key in ("pop3", "pop3s", "smtp", "web")}
        return {**msgspec.to_builtins(self), **services}


class Plan(msgspec.Struct, frozen=True):
    """
    What a ring consists of.  C{passwords} by address.
    """

    domain: str
    nodes: list[PlannedNode]
    passwords: dict[str, str]


def read_plan(directory: Path) -> Plan:
    """
    @raise ConfigError: if the ring in C{directory} is damaged.
    """
    try:
        return msgspec.json.decode(read_secret(directory / "plan.json"), type=Plan)
    except msgspec.DecodeError as error:
        raise ConfigError(str(directory / "plan.json"), f"is damaged: {error}") from None


def who(nodes: int, domain: str, users: Sequence[str]) -> tuple[str, list[tuple[str, str]]]:
    """
    The canonical domain of a ring of so many nodes; address and password of everybody who is to live there, C{users}
    being given as C{NAME:PASSWORD}.

    @raise ConfigError: if that cannot be.
    """
    try:
        domain = canonical_domain(domain)
    except ValueError:
        raise ConfigError(f"--domain {domain}", "is not a domain") from None
    pairs = [_pair(user) for user in users] or [(name, secrets.token_hex(6)) for name in USUAL[:nodes]]
    if len(pairs) > nodes:
        raise ConfigError("--user", f"{len(pairs)} users need as many nodes, and --nodes is {nodes}")
    people = [(_address(name, domain), password) for name, password in pairs]
    for address, _ in people:
        if [each for each, _ in people].count(address) > 1:
            raise ConfigError(f"--user {address}", "is there twice")
    return domain, people


def found(
    directory: Path, nodes: int, domain: str, people: list[tuple[str, str]], gateways: int = 0, dns: str = ""
) -> None:
    """
    Make a ring in C{directory} of what L{who} said; the plan is written last, so that a half-made ring is made anew.

    @param gateways: how many nodes, from the last one on, are gateways to the Internet.
    @param dns: the resolver (C{address:port}) that they ask; empty: those of the system.
    """
    _clear(directory)
    # Keys and mail: not to be committed with what lies around it by accident.
    write_file(directory / ".gitignore", b"*\n")
    now = int(time.time())
    # A ring of one or two cannot have two copies elsewhere; it says less, and keeps what it says.
    copies = min(3, nodes)
    minimum = min(2, nodes - 1)
    authority = Authority.create(directory / "authority", domain, system_entropy, now, k=copies, minimum=minimum)
    # In a row, and rings that are made at the same time begin apart: each looks at ports that nobody has yet.
    ports = free_ports(nodes * len(SERVICES), os.getpid() * APART % len(PORTS))
    roles = [GATEWAY if index >= nodes - gateways else () for index in range(nodes)]
    made = [
        _make_node(directory, authority, index, people[index : index + 1], ports, now, roles[index])
        for index in range(nodes)
    ]
    seeds = [node.link for node in made]
    postmaster = people[0][0]
    for node in made:
        home = Home(directory / node.name)
        home.write_directory(authority.directory())
        write_file(home.path / "node.toml", _settings(node, seeds, postmaster, domain, dns).encode())
    plan = Plan(domain, made, dict(people))
    write_secret(directory / "plan.json", json.dumps(msgspec.to_builtins(plan), indent=1).encode())


def check_unused(directory: Path) -> None:
    """
    @raise ConfigError: if C{directory} holds something that is not a ring, so that none can be made there.
    """
    if not directory.exists() or _holds_ring(directory):
        return
    if not directory.is_dir():
        raise ConfigError(str(directory), "is not a directory")
    if any(path.name != LOCK for path in directory.iterdir()):
        raise ConfigError(str(directory), "is not empty and holds no ring")


def _holds_ring(directory: Path) -> bool:
    return any((directory / name).exists() for name in (MARK, "plan.json"))


def _pair(user: str) -> tuple[str, str]:
    name, colon, password = user.partition(":")
    if not colon or not name:
        raise ConfigError(f"--user {name}", "is not NAME:PASSWORD")
    try:
        check_password(password)
    except ConfigError as error:
        raise ConfigError(f"--user {name}", f"the password {error.reason}") from None
    return name, password


def _address(name: str, domain: str) -> str:
    try:
        address = canonical(name if "@" in name else f"{name}@{domain}")
    except ValueError:
        raise ConfigError(f"--user {name}", "cannot be the name of a mail account") from None
    if "+" in name.partition("@")[0]:
        raise ConfigError(f"--user {name}", "is a sub-address: it belongs to whoever has the name before the '+'")
    if not address.isascii():
        raise ConfigError(f"--user {name}", "has a letter that certificates cannot hold")
    if address.rpartition("@")[2] != domain:
        raise ConfigError(f"--user {name}", f"is not of the domain {domain}")
    return address


def _clear(directory: Path) -> None:
    """
    Remove what an interrupted founding left, and mark the directory as ours to clear before anything is in it.
    """
    if (directory / MARK).exists():
        for path in directory.glob("node*"):
            shutil.rmtree(path)
        shutil.rmtree(directory / "authority", ignore_errors=True)
    make_directory(directory)
    write_file(directory / MARK, b"Made by post ring.\n")


def free_ports(count: int, start: int) -> list[int]:
    """
    Ports of L{PORTS} that nobody has, from C{start} on.

    @raise ConfigError: if there are too few.
    """
    places = (PORTS[(start + index) % len(PORTS)] for index in range(len(PORTS)))
    ports = list(islice(filter(_is_free, places), count))
    if len(ports) < count:
        raise ConfigError("--nodes", f"{count} ports are needed, and fewer are free")
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as trying:
        try:
            trying.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _make_node(
    directory: Path,
    authority: Authority,
    index: int,
    people: list[tuple[str, str]],
    ports: list[int],
    now: int,
    roles: tuple[str, ...],
) -> PlannedNode:
    name = f"node{index + 1}"
    key = SigningKey.generate(system_entropy)
    owner = people[0][0] if people else f"owner{index + 1}"
    chain = authority.issue_node(make_request(key), owner, now, "here", roles)
    home = Home(directory / name)
    home.create(key, chain, authority.root, authority.convergence, authority.policy(), authority.directory())
    accounts = [_make_account(home, authority, address, password, now) for address, password in people]
    places = [f"127.0.0.1:{port}" for port in ports[index * len(SERVICES) : (index + 1) * len(SERVICES)]]
    services = dict(zip(SERVICES, places, strict=True))
    if not roles:
        services.pop("smtp")
    node_id = read_node(chain[0]).node_id.hex()
    return PlannedNode(name=name, node_id=node_id, accounts=accounts, roles=list(roles), **services)


def _make_account(home: Home, authority: Authority, address: str, password: str, now: int) -> str:
    key = SigningKey.generate(system_entropy)
    chain = authority.issue_user(make_request(key), address, now)
    home.write_account(make_account(read_identity(chain[0]), key, chain, check_password(password)))
    return address


def _settings(node: PlannedNode, seeds: list[str], postmaster: str, domain: str, dns: str) -> str:
    others = json.dumps(seeds)
    gateway = f"""
[gateway]
host = "{node.name}.{domain}"
postmaster = "{postmaster}"
dns = "{dns}"
"""
    return f"""\
# A node of a trial ring, made by "post ring".
name = "{node.name}"

[links]
listen = "{node.link}"
seeds = {others}

[mail]
submission = "{node.submission}"
submissions = "{node.submissions}"
imap = "{node.imap}"
imaps = "{node.imaps}"
pop3 = "{node.pop3}"
pop3s = "{node.pop3s}"
web = "{node.web}"
smtp = "{node.smtp}"
{gateway if node.smtp else ""}"""
