"""
C{post user}: the people who live on the node on this machine.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TextIO

import click

from post import control
from post.ca.recovery_code import RecoveryCode
from post.ca.retrieval import provided
from post.cli.node import read_chain
from post.cli.recovery import new_code, show_code
from post.cli.status import config_option, node_config
from post.config import Config
from post.crypto.certificates import IdentityCertificate
from post.crypto.entropy import system_entropy
from post.crypto.keys import SigningKey
from post.crypto.names import canonical
from post.crypto.passwords import hash_password
from post.crypto.sealing import SealingKey
from post.errors import ConfigError, Unreachable
from post.files import read_secret
from post.home import Home, check_identity
from post.messaging.account import AccountCredentials, HeldKey

PASSWORD_LIMIT = 1000
"""Characters; mail programs and the protocols they speak have lines of about that length."""

_path = click.Path(path_type=Path)
password_option = click.option(
    "--password-file", type=click.File("r", encoding="utf-8"), help="Read the password there (- is standard input)."
)


@click.group()
def user() -> None:
    """
    The people who live on the node on this machine.
    """


@user.command()
@config_option
@click.option("--key", "key_file", type=_path, required=True, help="The person's key, as post ca request made it.")
@click.option("--chain", "chain_file", type=_path, required=True, help='What "post ca issue-user" wrote.')
@password_option
def add(config: Path | None, key_file: Path, chain_file: Path, password_file: TextIO | None) -> None:
    """
    Let a person live here.  Asks for the password that their mail program is to use.

    The key is copied into the node's directory; the file that it came from is needed no more.
    """
    now = int(time.time())
    settings, home, root = _open(config, now)
    try:
        key = SigningKey.from_pem(read_secret(key_file))
    except ValueError as error:
        raise ConfigError(str(key_file), f"is no private key: {error}") from None
    chain = read_chain(chain_file, "post ca issue-user")
    certificate = check_identity(chain_file, chain, key, root)
    if home.has_account(certificate.address):
        raise ConfigError(certificate.address, "lives here already")
    recovery = new_code(settings, root)
    home.write_account(make_account(certificate, key, chain, read_password(password_file), recovery))
    click.echo(f"{certificate.address} lives here now; {key_file} is needed no more and should be deleted.")
    tell(settings)
    show_code(recovery, certificate.address)


@user.command()
@config_option
@click.argument("address")
@password_option
def password(config: Path | None, address: str, password_file: TextIO | None) -> None:
    """
    Give the person ADDRESS, or who has that name before the @, another password.
    """
    settings, home, root = _open(config, int(time.time()))
    try:
        names = [canonical(address)]
    except ValueError:
        here = (account.address for account in home.accounts(root))
        names = [each for each in here if each.partition("@")[0] == address.casefold()]
    if not names or not home.has_account(names[0]):
        raise ConfigError(address, "does not live here: post user list shows who does")
    name = names[0]  # Of one domain: there is no second one of that name.
    hashed = hash_password(read_password(password_file), system_entropy)
    home.write_password(name, hashed, root)
    click.echo(f"{name} has another password.")
    tell(settings)


@user.command()
@config_option
@click.option("--chain", "chain_file", type=_path, required=True, help='What "post ca issue-user" wrote.')
def renew(config: Path | None, chain_file: Path) -> None:
    """
    Use newer certificates for a person who lives here, from the node's next start on.

    The authority makes them from the same request and address as the first.
    """
    _, home, root = _open(config, int(time.time()))
    certificate = home.renew_account(chain_file, read_chain(chain_file, "post ca issue-user"), root)
    until = time.strftime("%Y-%m-%d", time.gmtime(certificate.not_after))
    click.echo(f"The certificate of {certificate.address} is valid until {until}.")


@user.command("list")
@config_option
def list_users(config: Path | None) -> None:
    """
    List the people who live here, one address a line.
    """
    _, home, root = _open(config, int(time.time()))
    for account in home.accounts(root):
        click.echo(account.address)


def make_account(
    certificate: IdentityCertificate,
    key: SigningKey,
    chain: tuple[bytes, ...],
    password: bytes,
    recovery: RecoveryCode | None = None,
) -> AccountCredentials:
    """
    A new account: its master secret and its first sealing key are made here; to be had again with C{recovery}.
    """
    account = AccountCredentials(
        certificate.address,
        certificate.account,
        key,
        chain,
        system_entropy(32),
        (HeldKey(SealingKey.generate(system_entropy), certificate.not_after),),
        hash_password(password, system_entropy),
    )
    return account if recovery is None else provided(account, recovery.keys, system_entropy)


def check_password(password: str) -> bytes:
    """
    The password as mail programs send it.

    @raise ConfigError: if they could not.
    """
    if not password or len(password) > PASSWORD_LIMIT or not password.isprintable():
        raise ConfigError(
            "the password", f"has to be 1 to {PASSWORD_LIMIT} characters, none of them a control character"
        )
    return password.encode()


def _open(config: Path | None, now: int) -> tuple[Config, Home, bytes]:
    """
    The node's settings, its directory, and its authority's root certificate.
    """
    settings = node_config(config)
    home = Home(settings.directory, settings.settings.files)
    home.check()
    return settings, home, home.credentials(now).root


def read_password(file: TextIO | None) -> bytes:
    """
    The password of somebody's mail program, from C{file} or by asking.

    @raise ConfigError: if it cannot be one, or nobody can be asked.
    """
    if file is not None:
        try:
            text = file.read(2 * PASSWORD_LIMIT)
        except UnicodeDecodeError:
            raise ConfigError("the password", "is not UTF-8") from None
        return check_password(text.removesuffix("\n").removesuffix("\r"))
    if not sys.stdin.isatty():
        raise ConfigError("--password-file", "is needed where nobody can be asked")
    return check_password(click.prompt("Password", hide_input=True, confirmation_prompt=True))


def tell(settings: Config) -> None:
    """
    Let the node know, if it runs.
    """
    try:
        control.ask(control.find(settings.directory), {"verb": "reload"})
    except Unreachable:
        click.echo("The node is not running; it will know when it is started.")
