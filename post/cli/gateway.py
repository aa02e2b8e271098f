"""
C{post gateway}: what the person needs who looks after a gateway to the Internet.
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from post.cli.status import config_option, node_config
from post.crypto.certificates import read_node
from post.errors import ConfigError
from post.gateway.dkim import make_key, selector_of
from post.gateway.service import ROLE
from post.home import Home


@click.group()
def gateway() -> None:
    """
    Look after a gateway to the Internet.
    """


@gateway.command()
@config_option
@click.option("--selector", help="The key's name in DNS; by default one that follows from this node's id.")
@click.option("--ed25519", is_flag=True, help="A short Ed25519 key, which few verify yet, beside RSA.")
def dkim(config: Path | None, selector: str | None, ed25519: bool) -> None:
    """
    Make the key that signs what leaves here, and print what the DNS has to say.

    Each gateway has a key of its own, which never leaves it, and each has to be published.  A key that is there is not
    changed, so this can be run again.  A running node signs with a new key after a restart: publish it before that.
    """
    found = node_config(config)
    home = Home(found.directory, found.settings.files)
    now = int(time.time())
    credentials = home.credentials(now)
    certificate = read_node(credentials.chain[0])
    if ROLE not in certificate.roles:
        raise ConfigError(
            str(found.file),
            "is of a node without the role gateway: 'post ca role ADDRESS --add gateway' where the authority is, and"
            " start this node again",
        )
    selector = selector or f"{selector_of(certificate.node_id)}{'-ed' if ed25519 else ''}"
    key = make_key(found.directory, selector, "ed25519" if ed25519 else "rsa")
    click.echo(key.zone_line(home.policy(credentials.root, now).domain))
