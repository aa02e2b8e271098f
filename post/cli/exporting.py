"""
C{post export}: an account on the node that runs here into files.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from post import control
from post.cli.importing import EXIT_DATA, account_option, linked, printable
from post.cli.status import config_option, node_config
from post.control import EXIT_FAILED
from post.errors import ConfigError, PostError
from post.moving.exporting import Exporter, Sink
from post.moving.files import Exported
from post.moving.maildir_sink import MaildirSink
from post.moving.mbox_sink import MboxSink
from post.moving.requests import Folders, Survey


@click.command("export")
@click.argument("form", type=click.Choice(("maildir", "mbox")))
@click.argument("directory", type=click.Path(path_type=Path))
@config_option
@account_option
@click.option("--folder", "folders", multiple=True, help="Only this folder; can be given several times.")
def exporting(form: str, directory: Path, config: Path | None, account: str, folders: tuple[str, ...]) -> None:
    """
    Write the mailbox of an account on the node that runs here into DIRECTORY: as a Maildir with folders, or as files
    in mbox format (mboxrd).

    It can be stopped at any time: the same command goes on; later it adds to a Maildir what has come since, and
    writes an mbox anew.  Exit code: 0 if all of
    it is there, 65 if all is but what the last lines name, 69 if the node does not run.
    """
    with linked(node_config(config), account) as (link, address):
        there = link.ask("survey", Survey(1), Folders).folders
        missing = [name for name in folders if name not in [folder.name for folder in there]]
        if missing:
            raise ConfigError(f"--folder {missing[0]}", "is no folder of this mailbox")
        exported = Exported(directory, address, form)
        sink: Sink = (MaildirSink if form == "maildir" else MboxSink)(directory, exported)
        chosen = [folder for folder in there if not folders or folder.name in folders]
        stopped: BaseException | None = None
        troubles: list[str] = []
        length = sum(folder.messages for folder in chosen)
        with click.progressbar(length=length, label="Exporting", file=sys.stderr) as bar:
            exporter = Exporter(
                link,
                sink,
                lambda where, reason: troubles.append(f"{printable(where)}: {printable(reason)}"),
                lambda: bar.update(1),
            )
            try:
                exporter.run(lambda folder: not folders or folder.name in folders)
            except (PostError, OSError, KeyboardInterrupt) as error:
                stopped = error
        exported.close()
    for line in troubles:
        click.echo(line, err=True)
    tally = exporter.tally
    click.echo(
        f"{tally.written:,} messages ({tally.octets / 1e6:,.1f} MB) of {address} written to {directory};"
        f" {tally.already:,} were there already."
    )
    if stopped is not None:
        reason = "interrupted" if isinstance(stopped, KeyboardInterrupt) else str(stopped)
        click.echo(f"post: {' '.join(reason.split())}; the same command goes on where this one ended", err=True)
        raise SystemExit(control.exit_code(stopped) if isinstance(stopped, PostError) else EXIT_FAILED)
    if troubles:
        raise SystemExit(EXIT_DATA)
