"""
C{post init}: a new organisation on this machine, with its authority, its first node and its first person.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TextIO

import click

from post.ca.authority import SHORT_S, Authority
from post.cli.recovery import new_code, show_code
from post.cli.settling import DOOR_PORT, LINK_PORT, join, listening, make_keys, own_host, prepare, settings, settle
from post.cli.settling import what_next as node_next
from post.cli.starting import program
from post.cli.status import default_config
from post.cli.user import password_option, read_password
from post.config import Config
from post.crypto.certificates import fingerprint, make_request
from post.crypto.entropy import system_entropy
from post.crypto.names import canonical
from post.errors import ConfigError

_PORT = click.IntRange(1, 65535)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@click.option("--user", "address", metavar="ADDRESS", help="Your mail address; what is behind the @ is the domain.")
@click.option(
    "--machines",
    type=click.IntRange(1, 10_000),
    help="How many computers will take part in the next days: of three all have to be on, of four one may be off.",
)
@click.option("--host", help="Name or address at which other computers reach this one; otherwise it is found out.")
@click.option("--port", type=_PORT, default=LINK_PORT, show_default=True, help="For other nodes.")
@click.option("--door-port", type=_PORT, default=DOOR_PORT, show_default=True, help="For computers that join.")
@click.option("--name", default="node", show_default=True, help="For logs and post status.")
@password_option
def init(
    directory: Path | None,
    address: str | None,
    machines: int | None,
    host: str | None,
    port: int,
    door_port: int,
    name: str,
    password_file: TextIO | None,
) -> None:
    """
    Make a new organisation on this machine, in DIRECTORY (by default ~/.config/post).

    Asks for what is not given.  Other computers join it by "post ca token" here and "post join" there.
    """
    directory = (directory or default_config().parent).resolve()
    with prepare(directory) as home:
        address = _address(address or _ask("--user", "Your mail address, such as alice@example.org", ""))
        machines = machines or _ask_machines()
        host = host or own_host()
        password = read_password(password_file)
        where = join(host, door_port)
        config = settings(
            directory / "node.toml",
            name,
            host,
            port,
            {"directory": "authority", "listen": listening(host, door_port), "address": where},
        )
        if not config.settings.authority.directory:
            raise ConfigError(f"{config.file}: authority.directory", "has to be set, such as to 'authority'")
        authority = _authority(config.directory / config.settings.authority.directory, address, machines)
        keys = make_keys(directory)
        now = int(time.time())
        node_chain = authority.issue_node(make_request(keys[0]), address, now, life_s=SHORT_S)
        user_chain = authority.issue_user(make_request(keys[1]), address, now, SHORT_S)
        recovery = new_code(config, authority.root)
        settle(home, keys, node_chain, user_chain, authority.membership(now), (), password, config, recovery)
    click.echo("\n".join(_what_next(config, address, authority, machines)))
    show_code(recovery, address)


def _address(text: str) -> str:
    try:
        return canonical(text)
    except ValueError:
        raise ConfigError(text, "is not a mail address") from None


def _ask(option: str, question: str, default: str, kind: click.IntRange | None = None) -> str:
    if not sys.stdin.isatty():
        raise ConfigError(option, "is needed where nobody can be asked")
    return str(click.prompt(question, default=default or None, type=kind))


def _ask_machines() -> int:
    if sys.stdin.isatty():
        click.echo(
            "Mail is taken while it can be put on two computers other than the sender's: of three all have to be"
        )
        click.echo("on, of four one may be off, of five two.")
    question = "How many computers will take part in the next days"
    return int(_ask("--machines", question, "4", click.IntRange(1, 10_000)))


def _authority(path: Path, address: str, machines: int) -> Authority:
    """
    The new authority, or the one of an attempt that was cut short.
    """
    now, domain = int(time.time()), address.rpartition("@")[2]
    if not (path / "root.der").exists():
        return Authority.create(path, domain, system_entropy, now, k=min(3, machines), minimum=min(2, machines - 1))
    authority = Authority.open(path, system_entropy, patient=True)
    if authority.directory_domain(now) != domain:
        raise ConfigError(str(path), f"is the authority of {authority.directory_domain(now)}, not of {domain}")
    return authority


def _what_next(config: Config, address: str, authority: Authority, machines: int) -> list[str]:
    domain = address.rpartition("@")[2]
    more = f'"post ca policy --config {config.file} --copies 3 --minimum 2"'
    one = f'"post ca policy --config {config.file} --minimum 1"'
    kept = {
        1: [
            "With one computer there is one copy of everything, on this one: if its disk is lost, so is the mail.",
            f"When there are four: {more}.",
        ],
        2: [
            "With two computers there are two copies of everything, and both have to be on: while one is off, mail",
            f"is refused for the time being (451).  When there are four: {more}.",
        ],
    }.get(
        machines,
        [
            "There are three copies of everything, and mail is taken while two of them can be on other computers than",
            "the sender's: mailboxes open, and mail can be sent, when three computers have joined and are on.",
            _spare(machines),
            f"{one}: then one of three may be off,",
            "and a message is on one other computer only when its sender hears 250 OK.",
        ],
    )
    return [
        f"Made {domain}: its authority, this node, and {address}.",
        *kept,
        "",
        *node_next(config, address),
        f"Bring in others:  {program('post')} ca token --config {config.file} bob@{domain}",
        "                  and on their computer, with the code that this prints: post join CODE",
        f"Back up {authority.path}, and keep its root.key somewhere safe, not on this machine: it is needed",
        "only if the issuing key is lost or stolen.  The authority's fingerprint is",
        f"  {fingerprint(authority.root)}",
    ]


def _spare(machines: int) -> str:
    """
    How many of so many computers, three at least, may be off.
    """
    if machines == 3:
        return "With three, all must be on: one that is off, and mail is refused (451).  Take four or five, or:"
    return (
        f"Of {machines}, {'one' if machines == 4 else 'two'} may be off at once.  Where only three take part for now:"
    )
