"""
C{post} as a function: what it says and how it ends.
"""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from post.cli import main


def post(*arguments: str | Path, stdin: str | None = None) -> Result:
    """
    Run C{post}; something other than an exit code is raised.
    """
    return CliRunner().invoke(main, [str(each) for each in arguments], input=stdin, catch_exceptions=False)


class Organisation:
    """
    An authority in a directory, and what members do by hand to become members.
    """

    def __init__(self, directory: Path, *policy: str) -> None:
        self.directory = directory
        self.authority = directory / "authority"
        self.membership = directory / "membership"
        self.run("ca", "init", self.authority, "--domain", "example.org", *policy)

    def run(self, *arguments: str | Path, stdin: str | None = None) -> str:
        """
        What a command says that has to succeed.
        """
        result = post(*arguments, stdin=stdin)
        assert result.exit_code == 0, result.output
        return result.output

    def certify_node(self, name: str, *options: str) -> Path:
        """
        The directory of a node that has its key and certificates, and is none yet.
        """
        home = self.directory / name
        self.run("ca", "request", home / "node.key", home / "request")
        owner = ("--authority", self.authority, "--owner", name)
        self.run("ca", "issue-node", home / "request", home / "chain", *owner, *options)
        self.export()
        return home

    def export(self) -> None:
        """
        Write what all members need.
        """
        self.run("ca", "export", "--authority", self.authority, self.membership)

    def init_node(self, home: Path, *options: str) -> str:
        """
        Make it one.
        """
        files = ("--chain", home / "chain", "--membership", self.membership)
        return self.run("node", "init", home, *files, *options)

    def certify_user(self, name: str) -> tuple[Path, Path]:
        """
        Key and certificates of a person.
        """
        key, request, chain = (self.directory / f"{name}.{kind}" for kind in ("key", "request", "chain"))
        self.run("ca", "request", key, request)
        self.run("ca", "issue-user", request, chain, "--authority", self.authority, "--address", f"{name}@example.org")
        return key, chain

    def add_user(self, home: Path, name: str, password: str) -> str:
        """
        Let them live on a node.
        """
        key, chain = self.certify_user(name)
        config = ("--config", home / "node.toml", "--password-file", "-")
        return self.run("user", "add", *config, "--key", key, "--chain", chain, stdin=password + "\n")
