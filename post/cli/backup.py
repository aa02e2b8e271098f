"""
C{post backup}: a copy of a node's directory, while it runs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from post.backup import write_backup
from post.cli.status import config_option, node_config
from post.home import Home


@click.command()
@config_option
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--without-blocks", is_flag=True, help="Leave out what the node keeps for others: the ring has it too.")
def backup(config: Path | None, target: Path, without_blocks: bool) -> None:
    """
    Copy the node's directory into the file TARGET, or into a new file in the directory TARGET.

    The node may run meanwhile.  The copy holds private keys and is not encrypted: keep it as you would keep those.
    """
    found = node_config(config)
    home = Home(found.directory, found.settings.files)
    home.check()
    now = int(time.time())
    if target.is_dir():
        target /= time.strftime(f"{found.settings.name}-%Y%m%dT%H%M%SZ.tar", time.gmtime(now))
    size = write_backup(found.directory, target, now, not without_blocks, tell_name)
    click.echo(f"{target}: {size / 1e6:.1f} MB.  It holds private keys.")
    for outside in _outside(found.directory, found.file, found.settings.authority.directory):
        click.echo(f"Not in it, since it lies elsewhere: {outside}")


def tell_name(name: str) -> None:
    """
    To who looks at a terminal: what is being copied, since some of it is large.
    """
    if sys.stderr.isatty():
        click.echo(f"  {name}", err=True)


def _outside(directory: Path, settings: Path, authority: str) -> list[Path]:
    """
    What belongs to the node and does not lie in its directory.
    """
    places = [settings.resolve(), *([(directory / authority).resolve()] if authority else [])]
    return [place for place in places if not place.is_relative_to(directory.resolve())]
