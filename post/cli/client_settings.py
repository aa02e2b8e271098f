"""
C{post client-settings}: what to enter in a mail program.
"""

from __future__ import annotations

import plistlib
import re
import uuid
from pathlib import Path
from urllib.parse import quote

import click

from post.cli.status import config_option, node_config
from post.config import Config, split_service
from post.crypto.names import canonical
from post.errors import ConfigError
from post.files import write_file
from post.front.autoconfig import ORDER, Server, client_config, servers

FORMS = ("text", "thunderbird", "mutt", "mobileconfig")
KINDS = {"imap": "IMAP", "pop3": "POP3", "smtp": "SMTP"}
SECURITY = {"SSL": "SSL/TLS", "STARTTLS": "STARTTLS"}
SPACE = uuid.UUID("b0c3ae5c-5c0e-4d3e-9a8e-0b6f6d5c7d11")
"""In which the profiles for Apple's programs have their names: the same profile again replaces the one before."""


@click.command("client-settings")
@click.argument("address")
@config_option
@click.option("--host", default="", help="By which name mail programs reach this machine, if not all are on it.")
@click.option("--form", type=click.Choice(FORMS), default=FORMS[0], show_default=True, help="For whom.")
@click.option("--output", type=click.Path(path_type=Path), help="Write it into this file.")
def client_settings(address: str, config: Path | None, host: str, form: str, output: Path | None) -> None:
    """
    Print what to enter in the mail program of ADDRESS.

    Or a file for it: for Thunderbird (put it into the folder "isp" of the installation, as DOMAIN.xml), for mutt (a
    part of .muttrc), or a profile for Apple Mail.
    """
    try:
        name = canonical(address)
    except ValueError:
        raise ConfigError(address, "is not a mail address") from None
    found = servers(_set(node_config(config)), host or "localhost")
    if not found:
        raise ConfigError("[mail]", "turns all services off: there is nothing to enter")
    made = {
        "text": lambda: describe(name, found),
        "thunderbird": lambda: client_config(name.partition("@")[2], found).decode(),
        "mutt": lambda: muttrc(name, found),
        "mobileconfig": lambda: profile(name, found),
    }[form]()
    if output is None:
        click.echo(made, nl=False)
    else:
        write_file(output, made.encode())
        click.echo(f"Written to {output}.")


def _set(config: Config) -> dict[str, tuple[str, int]]:
    services = {name: getattr(config.settings.mail, name) for name in ORDER}
    return {name: split_service(service) for name, service in services.items() if service}


def describe(address: str, found: list[Server]) -> str:
    """
    For people.
    """
    lines = [f"User name   {address}", "Password    the one that was given when this person came to live here", ""]
    lines += [
        f"{KINDS[server.kind]:11} {server.host}, port {server.port}, {SECURITY[server.security]}, normal password"
        for server in found
    ]
    lines += [
        "",
        "Of several of one kind take the first.  The certificate is the node's own (mail.pem in its directory): the",
        "mail program asks once whether to trust it.  Let it file no copies of what is sent: the node does that.",
    ]
    return "\n".join(lines) + "\n"


def _first(found: list[Server], kind: str) -> Server:
    for server in found:
        if server.kind == kind:
            return server
    raise ConfigError("[mail]", f"has no {KINDS[kind]}, without which this form says nothing")


def muttrc(address: str, found: list[Server]) -> str:
    """
    A part of a .muttrc.
    """
    imap, smtp = _first(found, "imap"), _first(found, "smtp")
    user = quote(address, safe="")
    # What mutt would take for a variable, or for a command.
    quoted = re.sub(r'([\\"$`])', r"\\\1", address)

    def url(server: Server) -> str:
        return f"{server.kind}{'s' if server.security == 'SSL' else ''}://{user}@{server.host}:{server.port}"

    return (
        f'set from = "{quoted}"\nset folder = "{url(imap)}/"\nset spoolfile = "+INBOX"\nset postponed = "+Drafts"\n'
        f'set trash = "+Trash"\nset smtp_url = "{url(smtp)}"\nset ssl_starttls = yes\nset ssl_force_tls = yes\n'
        "# The node files what is sent by itself.\nunset record\n"
    )


def profile(address: str, found: list[Server]) -> str:
    """
    A configuration profile (com.apple.mail.managed), without the password, for which Apple's programs ask.
    """
    imap, smtp = _first(found, "imap"), _first(found, "smtp")
    account = {
        "PayloadType": "com.apple.mail.managed",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"post.mail.{address}",
        "PayloadUUID": str(uuid.uuid5(SPACE, f"mail {address}")).upper(),
        "PayloadDisplayName": f"POST, {address}",
        "EmailAccountType": "EmailTypeIMAP",
        "EmailAccountDescription": f"POST, {address}",
        "EmailAddress": address,
        "IncomingMailServerAuthentication": "EmailAuthPassword",
        "IncomingMailServerHostName": imap.host,
        "IncomingMailServerPortNumber": imap.port,
        "IncomingMailServerUseSSL": imap.security == "SSL",
        "IncomingMailServerUsername": address,
        "OutgoingMailServerAuthentication": "EmailAuthPassword",
        "OutgoingMailServerHostName": smtp.host,
        "OutgoingMailServerPortNumber": smtp.port,
        "OutgoingMailServerUseSSL": smtp.security == "SSL",
        "OutgoingMailServerUsername": address,
        "OutgoingPasswordSameAsIncomingPassword": True,
    }
    whole = {
        "PayloadType": "Configuration",
        "PayloadVersion": 1,
        "PayloadIdentifier": f"post.{address}",
        "PayloadUUID": str(uuid.uuid5(SPACE, address)).upper(),
        "PayloadDisplayName": f"POST, {address}",
        "PayloadContent": [account],
    }
    return plistlib.dumps(whole).decode()
