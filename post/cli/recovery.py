"""
Recovery codes as people see them.
"""

from __future__ import annotations

import sys

import click

from post.ca.code import SECRET_BYTES, short_fingerprint
from post.ca.recovery_code import RecoveryCode
from post.cli.qr import show_qr
from post.config import Config
from post.crypto.entropy import system_entropy
from post.ids import Address

NONE = (
    "There is no recovery code, since this node asks no authority (authority.doors in node.toml): keep a copy of its"
    " directory."
)


def door_of(config: Config) -> Address:
    """
    Where an empty machine would ask; empty if nowhere.
    """
    authority = config.settings.authority
    return authority.doors[0] if authority.doors else authority.address if authority.directory else ""


def new_code(config: Config, root: bytes) -> RecoveryCode | None:
    """
    A new code for an account of this node, if there is an authority that it could lead to.
    """
    where = door_of(config)
    return RecoveryCode(where, short_fingerprint(root), system_entropy(SECRET_BYTES)) if where else None


def show_code(code: RecoveryCode | None, address: str) -> None:
    """
    Print it, the only time.
    """
    if code is None:
        click.echo(NONE)
        return
    click.echo(f"\nThe recovery code of {address}.  Write it down, and keep it away from this machine:\n")
    click.echo(f"  {code.to_text()}\n")
    if sys.stdout.isatty():
        show_qr(code.to_text())
    click.echo('If this machine is lost, "post recover" on an empty one brings back the account and all mail by it.')
    click.echo("It is shown this once, and not kept here.  Whoever has it can do the same.")
