"""
C{post}: one command, with a verb for everything that a person does with POST from a terminal.

What goes wrong is told in one line, and in the exit code (L{post.control.exit_code}).
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from post import __version__
from post.errors import PostError

VERBS = (
    "backup",
    "block",
    "ca",
    "client-settings",
    "doctor",
    "export",
    "gateway",
    "import",
    "init",
    "join",
    "list",
    "node",
    "queue",
    "recover",
    "restore",
    "ring",
    "rules",
    "sent",
    "sim",
    "status",
    "user",
)
"""Each is the command of that name in the module of that name, if L{MODULES} has no other."""

MODULES = {"client-settings": "client_settings", "export": "exporting", "import": "importing"}
"""Where the name would be no name for a module; the command is called like the module."""


class Verbs(click.Group):
    """
    Imports a verb when it is used: C{post status} should not wait for what C{post ring} needs.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """
        For C{--help}.
        """
        return [*VERBS]  # "list" is the module of that name here, once it has been imported.

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """
        The verb, or C{None} if there is none of that name.
        """
        if cmd_name not in VERBS:
            return None
        module = MODULES.get(cmd_name, cmd_name)
        command: click.Command = getattr(import_module(f"post.cli.{module}"), module)
        return command

    def invoke(self, ctx: click.Context) -> Any:  # Any: what the command returns, as click has it.
        """
        Turn what goes wrong into one line and an exit code.
        """
        try:
            return super().invoke(ctx)
        except PostError as error:
            from post.control import exit_code

            complain(error)
            sys.exit(exit_code(error))
        except BrokenPipeError:
            raise  # Whoever reads our output has had enough: click ends quietly.
        except OSError as error:
            # A file that cannot be written, a disk that is full.
            complain(f"{error.filename}: {error.strerror}" if error.filename else error)
            sys.exit(1)


def complain(what: object) -> None:
    """
    One line on standard error.
    """
    click.echo(f"post: {' '.join(str(what).split())}", err=True)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="post")
def main() -> None:
    """
    Serverless, secure messaging on the computers people already have.

    Begin with "post init", which makes an organisation, or "post join CODE", which makes this machine a member of one;
    each says how to start the node ("twistd post --config FILE").  For trying out, "post ring DIRECTORY" runs a whole
    organisation on this machine.
    """
