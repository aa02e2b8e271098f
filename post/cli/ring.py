"""
C{post ring}: a whole organisation on one machine, for trying out and for tests.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from post import control
from post.cli.founding import Plan, found, read_plan
from post.cli.greeting import describe, greet
from post.errors import ConfigError, PostError, Unreachable
from post.files import write_file
from post.lifeline import VARIABLE as LIFELINE

STOP_S = 10.0
"""For a node to end by itself before it is killed."""
READY_S = 120.0
"""For a ring to serve; on a busy machine five nodes take a few seconds."""
POLL_S = 0.05

_TWISTD = "from twisted.scripts.twistd import run; run()"


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--nodes", default=5, show_default=True, type=click.IntRange(1, 100), help="How many machines to imagine."
)
@click.option("--domain", default="example.org", show_default=True, help="The mail domain.")
@click.option(
    "--user", "users", multiple=True, metavar="NAME:PASSWORD", help="Who lives there; default: alice and bob."
)
@click.option("--gateway", is_flag=True, help="Let the last node be the gateway to the Internet (not there yet).")
@click.option("--stop", "stop", metavar="NAME", help="Stop one node of the running ring in DIRECTORY.")
@click.option("--start", "start", metavar="NAME", help="Start it again.")
def ring(
    directory: Path, nodes: int, domain: str, users: tuple[str, ...], gateway: bool, stop: str | None, start: str | None
) -> None:
    """
    Run a whole organisation on this machine, in DIRECTORY.

    Stays in the foreground; Ctrl-C stops all.  Starting again on the same directory finds all mail.
    """
    if gateway:
        raise ConfigError("--gateway", "the gateway is not supported by this version")
    directory = directory.resolve()
    if stop or start:
        verb, name = ("stop", stop) if stop else ("start", start)
        try:
            control.ask(directory / "ring.control", {"verb": verb, "name": name}, READY_S)
        except Unreachable:
            raise ConfigError(str(directory), "no ring is running here") from None
        except ConfigError as error:
            raise ConfigError(str(name), error.reason) from None
        return
    fresh = not (directory / "plan.json").exists()
    if fresh:
        found(directory, nodes, domain, _users(users))
    elif users:
        click.echo("post: --user only counts when a ring is made; this one exists already", err=True)
    Supervisor(directory, read_plan(directory)).run(fresh)


def _users(users: Iterable[str]) -> list[tuple[str, str]]:
    found = []
    for user in users:
        name, colon, password = user.partition(":")
        if not colon or not name or not password:
            raise ConfigError(f"--user {name}", "is not NAME:PASSWORD")
        found.append((name, password))
    return found or [(name, secrets.token_urlsafe(9)) for name in ("alice", "bob")]


class Supervisor:
    """
    Starts the nodes of a ring, watches them, and stops them.
    """

    def __init__(self, directory: Path, plan: Plan) -> None:
        self._directory = directory
        self._plan = plan
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._reported: set[str] = set()
        self._lifeline = os.pipe()
        self._lock = threading.Lock()
        self._ending = threading.Event()

    def run(self, fresh: bool) -> None:
        """
        Until a signal.
        """
        if len(os.fsencode(self._directory / "ring.control")) > control.PATH_LIMIT:
            raise ConfigError(str(self._directory), "is too long a path for a control socket")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self._ending.set())
        try:
            for node in self._plan.nodes:
                self._launch(node.name)
            for node in self._plan.nodes:
                self._wait_ready(node.name)
            if self._ending.is_set():
                return
            listener = self._listen()
            if fresh:
                greet(self._plan)
            self._write_state()
            click.echo(describe(self._plan))
            self._serve(listener)
        finally:
            self._stop_all()

    def _launch(self, name: str) -> None:
        home = self._directory / name
        if not (home / "version").exists():
            raise ConfigError(name, "its directory is gone or not a node's; it cannot be started")
        command = [
            sys.executable,
            "-c",
            _TWISTD,
            "--nodaemon",
            "--pidfile=",
            "post",
            "--config",
            str(home / "node.toml"),
        ]
        with (home / "node.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=home,
                pass_fds=[self._lifeline[0]],
                env={**os.environ, LIFELINE: str(self._lifeline[0])},
                start_new_session=True,
            )
        self._reported.discard(name)

    def _wait_ready(self, name: str) -> None:
        """
        Until a node serves.
        """
        until = time.monotonic() + READY_S
        while not self._ready(name):
            process = self._processes[name]
            if process.poll() is not None:
                raise ConfigError(name, f"ended with exit code {process.returncode}: {self._last_line(name)}")
            if time.monotonic() > until:
                raise ConfigError(
                    name, f"does not serve after {READY_S:.0f} s; see {self._directory / name / 'node.log'}"
                )
            if self._ending.wait(POLL_S):
                return

    def _ready(self, name: str) -> bool:
        try:
            status = control.ask(control.find(self._directory / name), {"verb": "status"}, 5.0)
        except PostError:
            return False
        accounts = status["accounts"]
        expected = len(next(node for node in self._plan.nodes if node.name == name).accounts)
        return bool(status["active"] and len(accounts) == expected and all(each["open"] for each in accounts))

    def _last_line(self, name: str) -> str:
        lines = (self._directory / name / "node.log").read_text(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.startswith("post: ")), lines[-1] if lines else "")

    def _write_state(self) -> None:
        nodes = [
            {**node.describe(), "pid": self._processes[node.name].pid, "dir": str(self._directory / node.name)}
            for node in self._plan.nodes
        ]
        state = {"domain": self._plan.domain, "nodes": nodes}
        write_file(self._directory / "ring.json", json.dumps(state, indent=1).encode())

    # The ring's own control socket.

    def _listen(self) -> socket.socket:
        path = self._directory / "ring.control"
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(8)
        listener.settimeout(POLL_S * 4)
        return listener

    def _serve(self, listener: socket.socket) -> None:
        with listener:
            while not self._ending.is_set():
                self._report_dead()
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection, connection.makefile("rwb") as stream:
                    stream.write(json.dumps(self._obey(stream.readline(4096))).encode() + b"\n")

    def _obey(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            verb, name = request["verb"], request["name"]
        except (ValueError, KeyError, TypeError):
            return {"error": "not a request"}
        if name not in {node.name for node in self._plan.nodes}:
            return {"error": "there is no such node"}
        try:
            if verb == "stop":
                self._stop(name)
            elif verb == "start":
                self._start(name)
            else:
                return {"error": "no such verb"}
            self._write_state()
        except (PostError, OSError) as error:
            return {"error": error.reason if isinstance(error, ConfigError) else str(error)}
        return {"ok": None}

    def _start(self, name: str) -> None:
        if self._processes[name].poll() is None:
            raise ConfigError(name, "is running already")
        self._launch(name)
        self._wait_ready(name)

    def _stop(self, name: str) -> None:
        process = self._processes[name]
        self._reported.add(name)
        if process.poll() is None:
            process.terminate()
            _wait_for([process])

    def _report_dead(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None and name not in self._reported:
                self._reported.add(name)
                click.echo(f"post: {name} has ended ({process.returncode}); it is not started again", err=True)

    def _stop_all(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                process.terminate()
        _wait_for(list(self._processes.values()))
        for name in ("ring.json", "ring.control"):
            (self._directory / name).unlink(missing_ok=True)


def _wait_for(processes: list[subprocess.Popen[bytes]]) -> None:
    until = time.monotonic() + STOP_S
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
