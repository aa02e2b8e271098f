"""
C{post ring}: a whole organisation on one machine, for trying out and for tests.

The supervisor is one process in the foreground.  It starts each node as a process of its own, holds the lifeline with
which they end if it is killed, and listens at a control socket for C{--stop} and C{--start}.  C{ring.json} is there
while all that was to be started serves.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from pathlib import Path

import click

from post import control
from post.cli import complain
from post.cli.founding import LOCK, Plan, check_unused, found, read_plan, who
from post.cli.greeting import describe, greet
from post.cli.processes import STOP_S, NodeProcess, stop
from post.config import check_resolver
from post.control import EXIT_FAILED, Declined, Request
from post.errors import ConfigError, Unreachable
from post.files import lock, make_directory, write_file

READY_S = 120.0
"""For a node to serve; on a busy machine five nodes take a few seconds."""
POLL_S = 0.05
"""Between two looks at whether a node serves already."""
WATCH_S = 0.25
"""Between two looks at whether all nodes still run."""
REQUEST_S = 2.0
"""For somebody who has connected to the control socket to say what for."""

SOCKET = "ring.control"
STATE = "ring.json"
_MAKING = ("nodes", "domain", "users", "gateway", "gateways", "dns")
"""What only counts when a ring is made."""


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--nodes", default=5, show_default=True, type=click.IntRange(1, 100), help="How many machines to imagine."
)
@click.option("--domain", default="example.org", show_default=True, help="The mail domain.")
@click.option(
    "--user", "users", multiple=True, metavar="NAME:PASSWORD", help="Who lives there; default: alice and bob."
)
@click.option("--gateway", is_flag=True, help="Let the last node be the gateway to the Internet.")
@click.option("--gateways", default=0, type=click.IntRange(0, 100), help="Let so many of the last nodes be gateways.")
@click.option("--dns", default="", metavar="ADDRESS:PORT", help="Which resolver gateways ask; default: the system's.")
@click.option("--stop", "stopping", metavar="NAME", help="Stop one node of the running ring in DIRECTORY.")
@click.option("--start", "starting", metavar="NAME", help="Start it again.")
@click.pass_context
def ring(
    context: click.Context,
    directory: Path,
    nodes: int,
    domain: str,
    users: tuple[str, ...],
    gateway: bool,
    gateways: int,
    dns: str,
    stopping: str | None,
    starting: str | None,
) -> None:
    """
    Run a whole organisation on this machine, in DIRECTORY.

    Stays in the foreground; Ctrl-C stops all.  Starting again on the same directory finds all mail.
    """
    gateways = max(gateways, int(gateway))
    if gateways > nodes:
        raise ConfigError("--gateways", f"{gateways} of {nodes} nodes cannot be gateways")
    if dns:
        check_resolver("--dns", dns)
    directory = directory.resolve()
    if stopping is not None and starting is not None:
        raise ConfigError("--stop and --start", "one at a time")
    if stopping is not None:
        _command(directory, {"verb": "stop", "name": stopping})
    elif starting is not None:
        _command(directory, {"verb": "start", "name": starting})
    else:
        given = [
            name for name in _MAKING if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT
        ]
        _run(directory, nodes, domain, users, gateways, dns, given)


def _command(directory: Path, request: Request) -> None:
    try:
        control.ask(control.find(directory, SOCKET), request, READY_S + 2 * STOP_S)
    except Unreachable:
        raise Unreachable(f"no ring is running in {directory}") from None


def _run(
    directory: Path, nodes: int, domain: str, users: tuple[str, ...], gateways: int, dns: str, given: list[str]
) -> None:
    check_unused(directory)
    made = (directory / "plan.json").exists()
    if made and given:
        options = ", ".join(f"--{name.removesuffix('s') if name == 'users' else name}" for name in given)
        complain(f"{options}: only counts when a ring is made, and this one exists already")
    domain, people = who(nodes, domain, users)
    make_directory(directory)
    held = lock(directory / LOCK)
    try:
        fresh = not (directory / "plan.json").exists()
        if fresh:
            found(directory, nodes, domain, people, gateways, dns)
        Supervisor(directory, read_plan(directory)).run(fresh)
    finally:
        os.close(held)


class Supervisor:
    """
    Starts the nodes of a ring, watches them, and stops them.
    """

    def __init__(self, directory: Path, plan: Plan) -> None:
        self._directory = directory
        self._plan = plan
        self._nodes = {
            node.name: NodeProcess(node.name, directory / node.name, len(node.accounts)) for node in plan.nodes
        }
        self._ending = False
        # Its writing end is never used, and closes with us: a child inherits only the end that it is handed.
        self._lifeline = os.pipe()
        # A signal handler may not take locks; so it sets a flag, and what waits is woken by a byte.
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)

    def run(self, fresh: bool) -> None:
        """
        Until a signal.
        """
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._end)
        # What an earlier supervisor left that was killed.
        (self._directory / STATE).unlink(missing_ok=True)
        try:
            self._start_all(fresh)
            if not self._ending:
                self._serve()
        finally:
            (self._directory / STATE).unlink(missing_ok=True)
            stop(self._nodes.values())
            control.remove(self._directory, SOCKET)

    def _end(self, number: int, frame: object) -> None:
        self._ending = True

    def _start_all(self, fresh: bool) -> None:
        for node in self._nodes.values():
            node.launch(self._lifeline[0])
        # Until everybody can be written to.  Of a node that is started alone this is not asked: the ring around it may
        # be too small just then for anything to be published.
        self._wait_until_serving(list(self._nodes.values()), published=True)
        if fresh and not self._ending:
            try:
                greet(self._plan, self._directory)
            except OSError as error:
                complain(f"the welcome mail was not sent: {error}")

    def _wait_until_serving(self, nodes: list[NodeProcess], published: bool = False) -> None:
        """
        See L{NodeProcess.serves}.  Returns early if we are to end.

        @raise ConfigError: if one of them ends itself, or does not come to serve in time.
        """
        until = time.monotonic() + READY_S
        waiting = nodes
        while not self._ending and waiting:
            # All of them: that one does not serve may be because another has ended.
            for node in nodes:
                if node.pid is None:
                    raise ConfigError(node.name, f"ended with exit code {node.exit_code}: {node.last_words()}")
            if time.monotonic() > until:
                slow = waiting[0]
                stop([slow])
                raise ConfigError(slow.name, f"did not serve after {READY_S:.0f} s: see {slow.log_file}")
            waiting = [node for node in waiting if not node.serves(published)]
            if waiting:
                select.select([self._woken], [], [], POLL_S)

    # While it runs.

    def _serve(self) -> None:
        with socket.socket(socket.AF_UNIX) as listener:
            path = control.place(self._directory, SOCKET)
            listener.bind(os.fspath(path))
            path.chmod(0o600)
            listener.listen(8)
            self._write_state()
            click.echo(describe(self._plan, self._directory))
            while not self._ending:
                self._report_dead()
                readable, _, _ = select.select([self._woken, listener], [], [], WATCH_S)
                if listener in readable:
                    self._attend(listener)

    def _attend(self, listener: socket.socket) -> None:
        """
        One who asks; what they do to the connection is no reason to end.
        """
        try:
            connection, _ = listener.accept()
            connection.settimeout(REQUEST_S)
            with connection, connection.makefile("rwb") as stream:
                line = stream.readline(control.LINE_LIMIT)
                stream.write(control.reply({"stop": self._stop, "start": self._start}, line))
        except OSError:
            pass

    def _named(self, request: Request) -> NodeProcess:
        name = str(request.get("name"))
        if name not in self._nodes:
            raise ConfigError(name, f"there is no such node; there are {', '.join(self._nodes)}")
        return self._nodes[name]

    def _stop(self, request: Request) -> None:
        stop([self._named(request)])
        self._write_state()

    def _start(self, request: Request) -> None:
        node = self._named(request)
        if node.pid is not None:
            raise Declined(f"{node.name} is running already", EXIT_FAILED)
        node.launch(self._lifeline[0])
        try:
            self._wait_until_serving([node])
        finally:
            # If it ended, whoever asked is told; it is no news.
            node.expected = node.pid is None
        if self._ending:
            raise Declined("the ring is being stopped", EXIT_FAILED)
        self._write_state()

    def _report_dead(self) -> None:
        dead = [node for node in self._nodes.values() if node.pid is None and not node.expected]
        for node in dead:
            node.expected = True
            complain(
                f"{node.name} has ended ({node.exit_code}) and is not started again; --start {node.name} does that"
            )
        if dead:
            self._write_state()

    def _write_state(self) -> None:
        """
        C{ring.json}; a node that does not run has no pid.
        """
        nodes = [
            {**node.describe(), "pid": self._nodes[node.name].pid, "dir": str(self._directory / node.name)}
            for node in self._plan.nodes
        ]
        state = {"domain": self._plan.domain, "nodes": nodes}
        write_file(self._directory / STATE, json.dumps(state, indent=1).encode())
