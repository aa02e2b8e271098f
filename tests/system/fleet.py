"""
Many nodes, each a process, for tests of the overlay: where the machine allows it each in a network namespace of its
own, so that the network between them can break.

The nodes are those of C{post ring}, but only the first three are anybody's seeds.  They end with the test that started
them, however that comes about.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from post import control
from post.cli.founding import PlannedNode, found, read_plan
from post.errors import PostError
from post.lifeline import VARIABLE as LIFELINE
from tests.system.machines import ROOT, TWISTD
from tests.system.namespaces import Net
from tests.system.rings import GRACE_S, Late, wait_for

SEEDS = 3
"""How many of the nodes are named as seeds."""


class Member:
    """
    A node, which may or may not be running.
    """

    def __init__(self, home: Path, planned: PlannedNode, prefix: Sequence[str]) -> None:
        self.home = home
        self.name = planned.name
        self.node_id = planned.node_id
        self._prefix = prefix
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return self.name

    def start(self, lifeline: int) -> None:
        """
        Start its process, to end with whoever has the other end of C{lifeline}.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                (*self._prefix, *TWISTD, "--nodaemon", "--pidfile=", "post", "--config", str(self.home / "node.toml")),
                cwd=self.home,
                env={**os.environ, "PYTHONPATH": str(ROOT), LIFELINE: str(lifeline)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lifeline],
                start_new_session=True,
            )

    def signal(self, number: signal.Signals) -> None:
        """
        SIGKILL, SIGSTOP and so on.
        """
        assert self._process is not None
        self._process.send_signal(number)
        if number is signal.SIGKILL:
            self._process.wait(GRACE_S)

    def end(self) -> None:
        """
        Let it not run any more.
        """
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(GRACE_S)

    @property
    def runs(self) -> bool:
        """
        Whether its process has not ended.
        """
        return self._process is not None and self._process.poll() is None

    @property
    def _log(self) -> Path:
        return self.home / "node.log"

    @property
    def log(self) -> str:
        """
        What it has logged in all its lives.
        """
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def status(self) -> dict[str, Any]:
        """
        How it says it is; empty if it does not.
        """
        try:
            found: dict[str, Any] = control.ask(control.find(self.home), {"verb": "status"}, 5)
        except PostError:
            return {}
        return found

    def sees(self) -> int:
        """
        How many nodes it sees in its ring, itself included; 0 if it is in none.
        """
        status = self.status()
        return int(status["members"]) if status.get("active") else 0

    def wake(self) -> bool:
        """
        Wake it up (SIGCONT), and ask in the same moment whether it is active.  The question waits in its socket already
        when it wakes up, so it is among the first things that it does.
        """
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(GRACE_S)
            connection.connect(os.fspath(control.find(self.home)))
            connection.sendall(b'{"verb": "status"}\n')
            self.signal(signal.SIGCONT)
            with connection.makefile("rb") as lines:
                return bool(json.loads(lines.readline(control.ANSWER_LIMIT))["ok"]["active"])


class Fleet:
    """
    The nodes.  None of them runs yet; and whoever makes it removes it.
    """

    def __init__(self, count: int, net: Net | None = None) -> None:
        """
        @param net: where they live; otherwise all on loopback.
        """
        self.directory = Path(tempfile.mkdtemp(prefix="fleet-"))
        self._lifeline = os.pipe()
        path = self.directory / "r"
        found(path, count, "example.org", [("alice@example.org", "alice-secret")])
        planned = read_plan(path).nodes
        places = [net.place(index) if net is not None else node.link for index, node in enumerate(planned)]
        self.members = []
        for index, node in enumerate(planned):
            _move(path / node.name / "node.toml", places[index], places[:SEEDS])
            self.members.append(Member(path / node.name, node, net.inside(index) if net is not None else ()))

    def remove(self) -> None:
        """
        End them all, and leave nothing behind.
        """
        for member in self.members:
            member.end()
        for end in self._lifeline:
            os.close(end)
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self, members: Iterable[Member]) -> None:
        """
        Start these.
        """
        for member in members:
            member.start(self._lifeline[0])

    def wait(self, members: Sequence[Member], patience_s: float, others: int = 0) -> None:
        """
        Until C{members} are one ring, of themselves and C{others} more, as each of them sees it.
        """
        count = len(members) + others
        waiting = list(members)

        def whole() -> bool:
            ended = [member for member in members if not member.runs]
            if ended:
                raise Late(f"{ended} have ended")
            waiting[:] = [member for member in waiting if member.sees() != count]
            if not waiting:  # Whoever saw all of it a moment ago must do so still.
                waiting[:] = [member for member in members if member.sees() != count]
            return not waiting

        try:
            wait_for(f"a ring of {count}", whole, patience_s)
        except Late:
            for member in waiting:
                print(f"==> {member} sees {member.sees()}")
                print("\n".join(member.log.splitlines()[-20:]))
            raise


def _move(settings: Path, place: str, seeds: Sequence[str]) -> None:
    """
    Let a node of a trial ring live at another place, with other seeds, and show no page.
    """
    text = settings.read_text()
    text = re.sub(r'(?m)^listen = ".*"$', f'listen = "{place}"', text, count=1)
    text = re.sub(r"(?m)^seeds = .*$", f"seeds = {json.dumps(list(seeds))}", text, count=1)
    settings.write_text(re.sub(r'(?m)^web = ".*"$', 'web = ""', text, count=1))
