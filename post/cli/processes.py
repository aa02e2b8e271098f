"""
A node of a trial ring as a process: started, asked whether it serves, stopped.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from post import control
from post.errors import ConfigError, PostError
from post.home import Home
from post.lifeline import VARIABLE as LIFELINE

STOP_S = 10.0
"""For a node to end by itself before it is killed."""
ANSWER_S = 2.0
"""For a node to say how it is; one that is slower is asked again."""
LOG_TAIL = 16 * 1024
"""Bytes at the end of a node's log in which to look for why it ended."""

_TWISTD = "from twisted.scripts.twistd import run; run()"


class NodeProcess:
    """
    A node, which may or may not be running.

    @ivar expected: whether it should not run, or has been said not to, so that its end is no news.
    """

    def __init__(self, name: str, home: Path, accounts: int) -> None:
        self.name = name
        self.home = home
        self.expected = True
        self._accounts = accounts
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """
        Of the process that serves, if one does.
        """
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def exit_code(self) -> int | None:
        """
        How the last process ended.
        """
        return self._process.poll() if self._process is not None else None

    def launch(self, lifeline: int) -> None:
        """
        Start it, to end with whoever has the other end of the pipe C{lifeline}.

        @raise ConfigError: if there is no node in its directory any more.
        """
        try:
            Home(self.home).check(earlier=True)
        except ConfigError as error:
            raise ConfigError(self.name, f"cannot be started: {error}") from None
        command = [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile=", "post"]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--config", str(self.home / "node.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home,
                pass_fds=[lifeline],
                env={**os.environ, **_absolute_python_path(), LIFELINE: str(lifeline)},
                # A Ctrl-C is for us alone; we then stop the nodes in order.
                start_new_session=True,
            )
        self.expected = False

    def serves(self, published: bool = False) -> bool:
        """
        Whether mail programs are served, for everybody who lives there; with C{published} also whether others can write
        to them.
        """
        try:
            status = control.ask(control.find(self.home), {"verb": "status"}, ANSWER_S)
        except PostError:
            return False
        accounts = status["accounts"]
        if published and not all(account["published"] for account in accounts):
            return False
        return bool(status["serving"] and status["pid"] == self.pid and len(accounts) == self._accounts)

    @property
    def log_file(self) -> Path:
        """
        Where it writes what it does.
        """
        return self.home / "node.log"

    def last_words(self) -> str:
        """
        Why it ended, by the line for people in its log, or where to look.
        """
        with self.log_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL))
            lines = file.read().decode(errors="replace").splitlines()
        words = next((line for line in reversed(lines) if line.startswith("post: ")), "")
        return words.removeprefix("post: ") or f"see {self.log_file}"

    def terminate(self) -> None:
        """
        Ask it to stop.
        """
        self.expected = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, seconds: float) -> None:
        """
        Wait until it has ended; kill it if it has not after C{seconds}.
        """
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def stop(nodes: Iterable[NodeProcess]) -> None:
    """
    Stop C{nodes}, all at once; returns when they have ended.
    """
    nodes = list(nodes)
    for node in nodes:
        node.terminate()
    until = time.monotonic() + STOP_S
    for node in nodes:
        node.wait(until - time.monotonic())


def _absolute_python_path() -> dict[str, str]:
    """
    The nodes run in their own directories, where a relative path would lead nowhere.
    """
    path = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": os.pathsep.join(os.path.abspath(each) for each in path.split(os.pathsep))} if path else {}
