"""
C{post recover}: an empty machine takes the place of one that was lost, by the recovery code of the person whose it was.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import click

from post import control
from post.ca.authority import NODES_PER_OWNER
from post.ca.code import SECRET_BYTES, check_where, short_fingerprint
from post.ca.membership import Membership
from post.ca.questions import RECOVER, VERSION, Recover, Recovered, read, sign_claim
from post.ca.recovery_code import RecoveryCode
from post.ca.retrieval import VERSION as RECOVERING
from post.ca.retrieval import Recovering, provided, write_recovering
from post.ca.visit import Visit
from post.cli.join import check_clock, visit_door
from post.cli.recovery import NONE, new_code, show_code
from post.cli.settling import LINK_PORT, check_answer, complete, make_keys, prepare, settings, what_next
from post.cli.status import config_option, default_config, node_config
from post.cli.user import password_option, read_password, tell
from post.control import EXIT_FAILED, Declined
from post.crypto.certificates import make_request
from post.crypto.entropy import system_entropy
from post.crypto.keys import SigningKey
from post.crypto.names import canonical
from post.crypto.passwords import hash_password
from post.errors import ConfigError, PeerError, Refused, Unreachable
from post.home import Home
from post.messaging.account import AccountCredentials

FORCE_S = 60.0
"""For a new code to be in force, where ring and authority are there: it takes some seconds."""
_LOOK_S = 0.5


@click.command()
@click.argument("code", required=False)
@click.argument("directory", type=click.Path(path_type=Path), required=False)
@click.option("--host", help="Name or address at which other computers reach this one; otherwise it is found out.")
@click.option("--port", type=click.IntRange(1, 65535), default=LINK_PORT, show_default=True, help="For other nodes.")
@click.option("--name", default="node", show_default=True, help="For logs and post status.")
@click.option("--authority", "where", metavar="HOST:PORT", help="Where the authority is, if it has moved since.")
@click.option(
    "--index",
    type=click.IntRange(0, NODES_PER_OWNER - 1),
    default=0,
    show_default=True,
    help="Which of the person's machines was lost, as it was numbered when it joined.",
)
@click.option("--new-code", is_flag=True, help="On a machine that works: make another code, and end the one before.")
@click.option("--user", "address", metavar="ADDRESS", help="Whose code, where several people live on one node.")
@config_option
@password_option
def recover(
    code: str | None,
    directory: Path | None,
    host: str | None,
    port: int,
    name: str,
    where: str | None,
    index: int,
    new_code: bool,
    address: str | None,
    config: Path | None,
    password_file: TextIO | None,
) -> None:
    """
    Bring an account back on this machine, in DIRECTORY (by default ~/.config/post), after its own was lost.

    CODE is the recovery code that was printed when the account was made; it is asked for if it is not given, so that it
    stays out of the shell's history.  The lost machine is shut out.  If this is cut short, the same command goes on.
    """
    if new_code:
        if code is not None:
            raise ConfigError("--new-code", "is for a machine that works, and takes no code")
        _renew(config, address)
        return
    parsed = _parse(code or _ask_code())
    if where is not None:
        if not check_where(where):
            raise ConfigError("--authority", f"{where!r} is not HOST:PORT")
        parsed = replace(parsed, where=where)
    directory = (directory or default_config().parent).resolve()
    with prepare(directory) as home:
        _recover(parsed, home, host, port, name, index, read_password(password_file))


def _recover(
    code: RecoveryCode, home: Home, host: str | None, port: int, name: str, index: int, password: bytes
) -> None:
    keys = make_keys(home.path)
    with visit_door(code.where, code.fingerprint) as visit:
        check_clock(visit.time)
        config = settings(home.path / "node.toml", name, host or visit.our_host, port, {"doors": [code.where]})
        if not config.settings.authority.doors:
            raise ConfigError(f"{config.file}: authority.doors", f"has to name {code.where}")
        links = config.settings.links
        answer = _ask(visit, code, keys, index, links.addresses or (links.listen,))
    try:
        membership = Membership.from_bytes(answer.membership)
    except PeerError as error:
        raise Declined(f"{code.where} answered with something else: {error}", EXIT_FAILED) from None
    if short_fingerprint(membership.root) != code.fingerprint:
        raise Declined(f"{code.where} answered for another authority", EXIT_FAILED)
    person = check_answer(home, keys, answer.node_chain, answer.user_chain, membership, config)
    fresh = RecoveryCode(code.where, code.fingerprint, system_entropy(SECRET_BYTES))
    recovering = Recovering(
        RECOVERING,
        code.secret,
        answer.share,
        fresh.secret,
        keys[1].to_pem(),
        answer.user_chain,
        hash_password(password, system_entropy),
    )
    write_recovering(home, person.address, recovering)
    # Before it can come to be in force: a code that nobody has seen must not end the one on paper.
    show_code(fresh, person.address)
    click.echo("The code of before is good until this one is: until the node has started and found the ring.\n")
    complete(home, keys[0], answer.node_chain, membership, tuple(filter(check_where, answer.seeds)))
    click.echo(f"This machine takes the place of the one that {person.address} has lost.")
    click.echo("Folders and mail come back from the other machines when it is started.")
    click.echo("\n".join(what_next(config, person.address)))


def _parse(text: str) -> RecoveryCode:
    try:
        return RecoveryCode.from_text(text)
    except PeerError as error:
        raise ConfigError("the recovery code", f"is not right: {error}") from None


def _ask_code() -> str:
    if not sys.stdin.isatty():
        raise ConfigError("CODE", "is needed where nobody can be asked")
    return str(click.prompt("Recovery code"))


def _ask(
    visit: Visit, code: RecoveryCode, keys: tuple[SigningKey, SigningKey], index: int, addresses: tuple[str, ...]
) -> Recovered:
    body = Recover(VERSION, visit.door, make_request(keys[0]), make_request(keys[1]), index, addresses)
    try:
        return read(Recovered, visit.ask(RECOVER, sign_claim(body, code.keys.claim)))
    except Refused as error:
        raise Declined(f"the authority refused: {error.text}", EXIT_FAILED) from None
    except PeerError as error:
        raise Declined(f"{code.where} answered with something else: {error}", EXIT_FAILED) from None


# On a machine that works.


def _renew(config: Path | None, address: str | None) -> None:
    found = node_config(config)
    home = Home(found.directory, found.settings.files)
    home.check()
    root = home.credentials(int(time.time())).root
    account = _account(home, root, address)
    code = new_code(found, root)
    if code is None:
        raise ConfigError(str(found.file), NONE[0].lower() + NONE[1:])
    show_code(code, account.address)  # As above.
    home.write_account(provided(account, code.keys, system_entropy))
    tell(found)
    if _in_force(found.directory, account.address):
        click.echo("It is in force, and the one before leads nowhere.")
    else:
        click.echo("It is in force as soon as this node has found the ring and the authority (post status says so);")
        click.echo("until then the one before is.")


def _account(home: Home, root: bytes, address: str | None) -> AccountCredentials:
    accounts = home.accounts(root)
    if address is not None:
        try:
            name = canonical(address)
        except ValueError:
            raise ConfigError(address, "is not a mail address") from None
        accounts = [each for each in accounts if each.address == name]
    if not accounts:
        raise ConfigError(address or str(home.path), "does not live here" if address else "is where nobody lives yet")
    if len(accounts) > 1:
        raise ConfigError("--user", f"has to say which: {', '.join(each.address for each in accounts)}")
    return accounts[0]


def _in_force(directory: Path, address: str) -> bool:
    """
    Wait until the node says so.
    """
    until = time.monotonic() + FORCE_S
    while time.monotonic() < until:
        try:
            found = control.ask(control.find(directory), {"verb": "status"})
        except Unreachable:
            return False
        if any((each["address"], each["recovery"]) == (address, "in force") for each in found["accounts"]):
            return True
        time.sleep(_LOOK_S)
    return False
