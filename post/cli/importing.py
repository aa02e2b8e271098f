"""
C{post import}: mail from elsewhere into an account on the node that runs here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

import click

from post import control
from post.cli.status import config_option, node_config
from post.cli.user import password_option, read_password
from post.config import Config
from post.control import EXIT_FAILED
from post.errors import ConfigError, PostError, Unreachable
from post.moving.imap_source import SECURITY, UNCHECKED, ImapSource, Login, connect
from post.moving.importing import Importer, Tally
from post.moving.ledger import Ledger
from post.moving.link import Link, SocketConnection
from post.moving.maildir import MaildirSource
from post.moving.mbox import QUOTINGS
from post.moving.mbox_source import MboxSource
from post.moving.requests import Folders, Survey
from post.moving.source import Source

EXIT_DATA = 65
"""As in BSD's sysexits: some of the messages cannot be imported as they are; all others are in."""

Options = Callable[[Callable[..., Any]], Callable[..., Any]]
account_option = click.option("--account", default="", help="Whose mailbox, if several people live on the node.")
_path = click.Path(path_type=Path)


def is_loopback(host: str) -> bool:
    """
    Whether C{host} is this machine, by its name or number.
    """
    return host in ("localhost", "::1") or host.startswith("127.")


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        config_option,
        account_option,
        click.option("--into", default="", help="A folder to put everything into."),
        click.option("--dry-run", is_flag=True, help="Read everything, and file nothing."),
    ):
        command = option(command)
    return command


@click.group("import")
def importing() -> None:
    """
    Bring mail from elsewhere into an account on the node that runs here.

    It can be stopped at any time: the same command goes on where it was, and doubles nothing.  Flags, dates and folders
    are kept.  Exit code: 0 if all of it is in, 65 if all is but what the last lines name, 69 if the node does not run.
    """


@importing.command()
@click.argument("directory", type=_path)
@_options
def maildir(directory: Path, config: Path | None, account: str, into: str, dry_run: bool) -> None:
    """
    From the Maildir DIRECTORY, and all that are in it.
    """
    _run(config, account, into, dry_run, f"maildir {directory.resolve()}", lambda *x: MaildirSource(directory, *x))


@importing.command()
@click.argument("path", type=_path)
@click.option(
    "--quoting",
    type=click.Choice(QUOTINGS),
    default=QUOTINGS[0],
    show_default=True,
    help='How lines of messages that begin with "From" are marked.',
)
@_options
def mbox(path: Path, quoting: str, config: Path | None, account: str, into: str, dry_run: bool) -> None:
    """
    From the mbox PATH, or all that are in the directory PATH.
    """
    sources: list[MboxSource] = []

    def make(ledger: Ledger, size_limit: int) -> Source:
        sources.append(MboxSource(path, ledger, size_limit, quoting))
        return sources[0]

    try:
        _run(config, account, into, dry_run, f"mbox {path.resolve()} {quoting}", make)
    finally:
        if sources and sources[0].unescaped:
            click.echo(f'{sources[0].unescaped:,} lines that begin with "From" were taken for text of a message.')


@importing.command()
@click.argument("server")
@click.option("--user", required=True, help="As whom to log in there.")
@password_option
@click.option(
    "--security",
    type=click.Choice(SECURITY),
    default=SECURITY[0],
    show_default=True,
    help="TLS from the first octet, STARTTLS, or no TLS at all.",
)
@click.option("--ca", "authority", type=_path, help="Who issued the server's certificate, if no public authority did.")
@click.option("--insecure", is_flag=True, help="Do not check the certificate: anybody between could read everything.")
@click.option("--folder", "folders", multiple=True, help="Only this folder; can be given several times.")
@click.option("--exclude", "excluded", multiple=True, help="Not this folder; can be given several times.")
@_options
def imap(
    server: str,
    user: str,
    password_file: TextIO | None,
    security: str,
    authority: Path | None,
    insecure: bool,
    folders: tuple[str, ...],
    excluded: tuple[str, ...],
    config: Path | None,
    account: str,
    into: str,
    dry_run: bool,
) -> None:
    """
    From the IMAP server SERVER (HOST or HOST:PORT), where nothing is changed.

    What is called Sent, Drafts, Junk, Trash or Archive there comes into the folder of that use here.
    """
    host, port = _server(server, security)
    if security == UNCHECKED and not (insecure or is_loopback(host)):
        raise ConfigError("--security none", "sends the password in clear: add --insecure if that is what you want")
    secret = _secret(password_file, user, host)
    login = Login(host, port, security, insecure, authority, user, secret)

    def wanted(name: str) -> bool:
        return (not folders or name in folders) and name not in excluded

    def make(ledger: Ledger, size_limit: int) -> Source:
        return ImapSource(connect(login, size_limit), f"{host}:{port}", size_limit, wanted)

    _run(config, account, into, dry_run, f"imap {host} {port} {user}", make)


def _server(server: str, security: str) -> tuple[str, int]:
    host, separator, port = server.rpartition(":")
    if not separator or host.endswith(":") or server.endswith("]"):
        return server.strip("[]"), 993 if security == "tls" else 143
    if not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(server, "is not HOST or HOST:PORT")
    return host.strip("[]"), int(port)


def _secret(file: TextIO | None, user: str, host: str) -> str:
    if file is not None:
        return read_password(file).decode()
    if not sys.stdin.isatty():
        raise ConfigError("--password-file", "is needed where nobody can be asked")
    return str(click.prompt(f"Password of {user} at {host}", hide_input=True))


def _run(
    config: Path | None,
    account: str,
    into: str,
    dry_run: bool,
    what: str,
    make: Callable[[Ledger, int], Source],
) -> None:
    settings = node_config(config)
    with linked(settings, account) as (link, address):
        there = link.ask("survey", Survey(1), Folders)
        size_limit = there.size_limit
        name = ledger_name(address, there, into, what)
        ledger = Ledger(None if dry_run else settings.directory / "imports" / name)
        try:
            _import(link, ledger, make(ledger, size_limit), address, into, dry_run)
        finally:
            ledger.close()


def ledger_name(address: str, there: Folders, into: str, what: str) -> str:
    """
    The file that remembers what came from the source C{what} into the folder C{into} of this very mailbox: another one
    that gets the same address later, and is empty, has another UIDVALIDITY.
    """
    (validity,) = (folder.uid_validity for folder in there.folders if folder.name == "INBOX")
    return sha256(f"{address} {validity} {into} {what}".encode()).hexdigest()[:32] + ".sqlite"


def _import(link: Link, ledger: Ledger, source: Source, address: str, into: str, dry_run: bool) -> None:
    total = sum(source.count(folder) for folder in source.folders())
    stopped: BaseException | None = None
    with click.progressbar(length=total, label="Importing", file=sys.stderr) as bar:
        importer = Importer(None if dry_run else link, ledger, into, time.sleep, lambda: bar.update(1))
        try:
            importer.run(source)
        except (PostError, OSError, KeyboardInterrupt) as error:
            stopped = error
    _report(importer.tally, ledger, address, dry_run)
    if stopped is not None:
        reason = "interrupted" if isinstance(stopped, KeyboardInterrupt) else str(stopped)
        click.echo(f"post: {' '.join(reason.split())}; the same command goes on where this one ended", err=True)
        raise SystemExit(control.exit_code(stopped) if isinstance(stopped, PostError) else EXIT_FAILED)
    if importer.tally.troubles:
        raise SystemExit(EXIT_DATA)


def _report(tally: Tally, ledger: Ledger, address: str, dry_run: bool) -> None:
    for place, reason in ledger.troubles():
        click.echo(f"{printable(place)}: {printable(reason)}", err=True)
    did = "would come" if dry_run else "came"
    words = [f"{tally.filed:,} messages ({tally.octets / 1e6:,.1f} MB) {did} into the mailbox of {address}"]
    if tally.already:
        words.append(f"{tally.already:,} were there already")
    if tally.changed:
        words.append(f"{tally.changed:,} had LF as line ends and have CRLF now, as mail has")
    if tally.troubles:
        words.append(f"{tally.troubles:,} could not be imported: see above")
    click.echo("; ".join(words) + ".")


def printable(text: str) -> str:
    """
    One line that does nothing to a terminal, whatever names files have.
    """
    return "".join(each if each.isprintable() else "?" for each in text)


@contextmanager
def linked(settings: Config, account: str) -> Iterator[tuple[Link, str]]:
    """
    To the mailbox of C{account} on the node that runs; to that of the one person who lives there, if nobody is named.

    @raise Unreachable: if the node does not run.
    @raise ConfigError: if nobody of that name lives there, or it has to be said who.
    """
    try:
        found = control.ask(control.find(settings.directory), {"verb": "status"})
    except Unreachable:
        raise Unreachable(f"the node in {settings.directory} is not running: start it first") from None
    people = [str(each["address"]) for each in found["accounts"]]
    fitting = [each for each in people if account in ("", each, each.partition("@")[0])]
    if len(fitting) != 1:
        who = f"{account} does not live on this node; --account" if account else "--account"
        raise ConfigError(who, f"has to name one of {', '.join(people) or 'nobody: nobody lives here'}")
    link = Link(SocketConnection(settings.directory), fitting[0])
    try:
        yield link, fitting[0]
    finally:
        link.close()
