"""
Making a ring: the authority, the nodes, the people.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import msgspec

from post.ca.authority import LEAF_S, Authority
from post.crypto.certificates import make_request, read_identity, read_node
from post.crypto.entropy import system_entropy
from post.crypto.keys import SigningKey
from post.crypto.passwords import hash_password
from post.crypto.sealing import SealingKey
from post.errors import ConfigError
from post.files import read_file, write_file, write_secret
from post.home import Home
from post.messaging.account import AccountCredentials, HeldKey

SERVICES = ("link", "submission", "submissions", "imap", "imaps")


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

    def describe(self) -> dict[str, Any]:
        """
        As C{ring.json} shows it.
        """
        return {**msgspec.to_builtins(self), "pop3": None, "smtp": None, "web": None, "roles": []}


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
        return msgspec.json.decode(read_file(directory / "plan.json"), type=Plan)
    except msgspec.DecodeError as error:
        raise ConfigError(str(directory / "plan.json"), f"is damaged: {error}") from None


def found(directory: Path, nodes: int, domain: str, users: list[tuple[str, str]]) -> None:
    """
    Make a ring in C{directory}; the plan is written last, so that a half-made ring is made anew.

    @raise ConfigError: if that cannot be done.
    """
    if len(users) > nodes:
        raise ConfigError("--user", f"{len(users)} users need as many nodes")
    if directory.exists() and any(directory.iterdir()) and not (directory / "authority").exists():
        raise ConfigError(str(directory), "is not empty and holds no ring")
    _clear(directory)
    now = int(time.time())
    # A ring of one or two cannot have two copies elsewhere; it says less, and keeps what it says.
    copies = min(3, nodes)
    minimum = min(2, nodes - 1)
    authority = Authority.create(directory / "authority", domain, system_entropy, now, k=copies, minimum=minimum)
    ports = _free_ports(nodes * len(SERVICES))
    made = [_make_node(directory, authority, index, users[index : index + 1], ports, now) for index in range(nodes)]
    seeds = [node.link for node in made]
    for node in made:
        home = Home(directory / node.name)
        home.write_directory(authority.directory())
        write_file(home.path / "node.toml", _settings(node, seeds).encode())
    domain = authority.directory_domain(now)
    plan = Plan(domain, made, {f"{name}@{domain}": password for name, password in users})
    write_secret(directory / "plan.json", json.dumps(msgspec.to_builtins(plan), indent=1).encode())


def _clear(directory: Path) -> None:
    """
    Remove what an interrupted founding left.
    """
    import shutil

    for path in directory.glob("node*"):
        shutil.rmtree(path)
    shutil.rmtree(directory / "authority", ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _make_node(
    directory: Path, authority: Authority, index: int, users: list[tuple[str, str]], ports: list[int], now: int
) -> PlannedNode:
    name = f"node{index + 1}"
    key = SigningKey.generate(system_entropy)
    owner = users[0][0] if users else f"owner{index + 1}"
    chain = authority.issue_node(make_request(key), owner, now, site="here")
    home = Home(directory / name)
    home.path.mkdir(parents=True, exist_ok=True)
    home.create(key, chain, authority.root, authority.convergence, authority.policy(), authority.directory())
    accounts = [_make_account(home, authority, user, password, now) for user, password in users]
    places = [f"127.0.0.1:{port}" for port in ports[index * len(SERVICES) : (index + 1) * len(SERVICES)]]
    services = dict(zip(SERVICES, places, strict=True))
    return PlannedNode(name=name, node_id=read_node(chain[0]).node_id.hex(), accounts=accounts, **services)


def _make_account(home: Home, authority: Authority, user: str, password: str, now: int) -> str:
    key = SigningKey.generate(system_entropy)
    address = user if "@" in user else f"{user}@{authority.directory_domain(now)}"
    chain = authority.issue_user(make_request(key), address, now)
    certificate = read_identity(chain[0])
    home.write_account(
        AccountCredentials(
            certificate.address,
            certificate.account,
            key,
            chain,
            system_entropy(32),
            (HeldKey(SealingKey.generate(system_entropy), now + LEAF_S),),
            hash_password(password.encode(), system_entropy),
        )
    )
    return certificate.address


def _settings(node: PlannedNode, seeds: list[str]) -> str:
    others = json.dumps(seeds)
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
"""
