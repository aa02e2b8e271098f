"""
What holds of every command: it explains itself, and nothing that is mistyped ends in a traceback.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from post.cli import main
from tests.scratch import scratch

SILENT = ("--help", "--version", "--json")
"""Options that say everything by their names."""
LONG_RUNNING = ("ring", "sim")
"""These would begin to work."""
CODES = (0, 1, 2, 65, 69, 78)
"""With which a command may end."""
JUNK = (
    "",
    "-",
    "nobody",
    "a@b",
    "a@example.org",
    "@",
    "x/99",
    "00000000",
    "127.0.0.1:1",
    ":",
    "99999999999",
    "é",
    "a\nb",
)
"""Mistyped, each in its way."""


def commands(command: click.Command = main, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """
    Every command below C{command}, with the words that lead to it.
    """
    if not isinstance(command, click.Group):
        yield path, command
        return
    yield path, command
    context = click.Context(command)
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        assert found is not None
        yield from commands(found, *path, name)


class HelpTests(SynchronousTestCase):
    """
    Tests of C{--help}.
    """

    def test_all(self) -> None:
        """
        Each command says what it does, names each of its arguments in that, and says what each of its options is for.
        """
        for path, command in commands():
            said = command.help or ""
            self.assertTrue(said, path)
            for parameter in command.params:
                if isinstance(parameter, click.Argument):
                    name = parameter.make_metavar(click.Context(command)).strip("[]").removesuffix("...").strip("[]")
                    self.assertTrue(name.startswith("{") or name in said, (path, name))
                elif isinstance(parameter, click.Option) and parameter.opts[-1] not in SILENT:
                    self.assertTrue(parameter.help, (path, parameter.opts))

    def test_twice(self) -> None:
        """
        The list of commands can be had again after all of them have been looked at.
        """
        for _ in range(2):
            self.assertIn("status", CliRunner().invoke(main, ["--help"]).output)
            self.assertEqual(2, sum(path[:1] == ("gateway",) for path, _ in commands()))


class MistypedTests(SynchronousTestCase):
    """
    Tests of bad input.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        before = os.getcwd()
        self.addCleanup(os.chdir, before)
        os.chdir(self.directory)
        self.patch(os, "environ", {**os.environ, "HOME": str(self.directory), "POST_CONFIG": "none/node.toml"})

    def test_all(self) -> None:
        """
        Each command answers whatever is given for what it needs with a code that is documented, and with one line where
        the words were understood: where there is no node, and where there is one that does not run.
        """
        self.try_all()
        options = ("--user", "a@example.org", "--machines", "1", "--host", "127.0.0.1", "--password-file", "-")
        made = CliRunner().invoke(main, ["init", "none", *options], input="secret\n")
        self.assertEqual(0, made.exit_code, made.output)
        self.try_all()

    def try_all(self) -> None:
        """
        Give each command each kind of nonsense.
        """
        for path, command in commands():
            if isinstance(command, click.Group) or path[0] in LONG_RUNNING:
                continue
            for junk in JUNK:
                given = list(path)
                for parameter in command.params:
                    if isinstance(parameter, click.Argument):
                        choice = parameter.type
                        given.append(choice.choices[0] if isinstance(choice, click.Choice) else junk)
                    elif isinstance(parameter, click.Option) and parameter.required:
                        given += [parameter.opts[0], junk]
                result = CliRunner().invoke(main, given, input="")
                self.assertIn(result.exit_code, CODES, (given, result.output))
                self.assertTrue(
                    result.exception is None or isinstance(result.exception, SystemExit), (given, result.exception)
                )
                if result.exit_code in (1, 65, 69, 78):
                    self.assertEqual(1, len(result.output.splitlines()), (given, result.output))
