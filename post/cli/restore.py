"""
C{post restore}: a node's directory from what C{post backup} wrote.
"""

from __future__ import annotations

import time
from pathlib import Path

import click

from post.backup import read_backup
from post.cli.backup import tell_name
from post.cli.starting import start_command
from post.journal import forget_closing


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("directory", type=click.Path(path_type=Path))
def restore(source: Path, directory: Path) -> None:
    """
    Make DIRECTORY, which must not exist or be empty, of the backup SOURCE.

    What the mailbox has become since is in the ring, and the node takes it over when it starts.  Never run it beside
    the machine that the backup is of: two copies of one account get in each other's way.
    """
    made = read_backup(source, directory.resolve(), tell_name)
    for journal in sorted(directory.glob("accounts/*/journal.sqlite")):
        # It says that nothing was shown after this; since the backup something was.
        forget_closing(journal)
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(made))
    click.echo(f"{directory} is as it was on {when}.  Make sure that the machine of before is off, then start it:")
    click.echo(f"  {start_command(directory / 'node.toml')}")
