"""
C{post join}: this machine becomes a member by the code that its authority gave out.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TextIO

import click

from post.ca.code import JoinCode, check_where, short_fingerprint
from post.ca.membership import Membership
from post.ca.questions import JOIN, SKEW_S, VERSION, Join, Proven, Welcome, check_proven, prove, read
from post.ca.visit import Visit
from post.cli.recovery import new_code, show_code
from post.cli.settling import LINK_PORT, make_keys, prepare, settings, settle, what_next
from post.cli.status import default_config
from post.cli.user import password_option, read_password
from post.control import EXIT_FAILED, Declined
from post.crypto.certificates import make_request
from post.crypto.keys import SigningKey
from post.errors import ConfigError, PeerError, Refused
from post.hashes import Purpose
from post.ids import Address


@click.command("join")
@click.argument("code")
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@click.option("--host", help="Name or address at which other computers reach this one; otherwise it is found out.")
@click.option("--port", type=click.IntRange(1, 65535), default=LINK_PORT, show_default=True, help="For other nodes.")
@click.option("--name", default="node", show_default=True, help="For logs and post status.")
@password_option
def join(
    code: str, directory: Path | None, host: str | None, port: int, name: str, password_file: TextIO | None
) -> None:
    """
    Make this machine a member, with CODE from "post ca token", in DIRECTORY (by default ~/.config/post).

    Asks for the password that the mail program is to use.  If it is cut short, the same command goes on.
    """
    parsed = _parse(code)
    directory = (directory or default_config().parent).resolve()
    with prepare(directory) as home:
        password = read_password(password_file)
        keys = make_keys(directory)
        with visit_door(parsed.where, parsed.fingerprint) as visit:
            check_clock(visit.time)
            config = settings(directory / "node.toml", name, host or visit.our_host, port, {"doors": [parsed.where]})
            if not config.settings.authority.doors:
                raise ConfigError(f"{config.file}: authority.doors", f"has to name {parsed.where}")
            links = config.settings.links
            welcome = _ask(visit, parsed, keys, links.addresses or (links.listen,))
        try:
            membership = Membership.from_bytes(welcome.membership)
        except PeerError as error:
            raise Declined(f"{parsed.where} answered with something else: {error}", EXIT_FAILED) from None
        if short_fingerprint(membership.root) != parsed.fingerprint:
            raise Declined(f"{parsed.where} answered for another authority", EXIT_FAILED)
        recovery = new_code(config, membership.root)
        node = settle(
            home,
            keys,
            welcome.node_chain,
            welcome.user_chain,
            membership,
            tuple(filter(check_where, welcome.seeds)),
            password,
            config,
            recovery,
        )
    click.echo(f"This machine is node {node.node_id} of {welcome.address}.")
    click.echo("\n".join(what_next(config, welcome.address)))
    show_code(recovery, welcome.address)


def _parse(code: str) -> JoinCode:
    try:
        return JoinCode.from_text(code)
    except PeerError as error:
        raise ConfigError("the code", f"is not right: {error}") from None


def visit_door(where: Address, fingerprint: bytes) -> Visit:
    """
    The authority at C{where}, if it is the one with C{fingerprint}.

    @raise Unreachable: if nobody answers.
    @raise Declined: if somebody else does.
    """
    try:
        return Visit(where, fingerprint)
    except PeerError as error:
        raise Declined(f"nothing was told to {where}, which is not whom the code means: {error}", 1) from None


def check_clock(theirs: int) -> None:
    """
    @raise ConfigError: if this machine's clock differs from C{theirs} (unix seconds) by more than certificates bear.
    """
    ahead = int(time.time()) - theirs
    if abs(ahead) > SKEW_S:
        hours = abs(ahead) / 3600
        which = "ahead of" if ahead > 0 else "behind"
        raise ConfigError("the clock", f"of this machine is {hours:.1f} hours {which} the authority's: set it first")


def _ask(visit: Visit, code: JoinCode, keys: tuple[SigningKey, SigningKey], addresses: tuple[str, ...]) -> Welcome:
    body = Join(VERSION, visit.door, make_request(keys[0]), make_request(keys[1]), addresses)
    question = prove(body, code.name, code.key, Purpose.JOIN_QUESTION)
    try:
        answer = read(Proven, visit.ask(JOIN, question))
        return check_proven(answer, Welcome, code.key, Purpose.JOIN_ANSWER)
    except Refused as error:
        raise Declined(f"the authority refused: {error.text}", EXIT_FAILED) from None
    except PeerError as error:
        raise Declined(f"{code.where} answered with something else: {error}", EXIT_FAILED) from None
