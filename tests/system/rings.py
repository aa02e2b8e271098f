"""
A ring of real processes, for tests: C{post ring} in a directory of its own, and what can be done to its nodes.
"""

from __future__ import annotations

import imaplib
import json
import os
import poplib
import shutil
import signal
import smtplib
import sqlite3
import ssl
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from post.crypto.keys import LogKey
from post.hashes import Purpose, handle_of
from post.home import Home
from post.node import WRITER
from post.past.blocks import PUBLIC_KEY

SECRETS = {"alice": "alice-secret", "bob": "bob:secret", "carol": "carol's secret"}
USERS = ("alice", "bob")
PATIENCE_S = 60.0
"""For what has to happen, on a machine that does much else."""
GRACE_S = 60.0


class Late(AssertionError):
    """
    Something that had to happen has not.
    """


def wait_for(what: str, happened: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """
    Until C{happened()} is true; returns it.
    """
    until = time.monotonic() + patience_s
    while True:
        result = happened()
        if result:
            return result
        if time.monotonic() > until:
            raise Late(f"{what}: not within {patience_s:.0f} s")
        time.sleep(0.05)


class Ring:
    """
    A running ring; use it in a C{with} statement.
    """

    def __init__(
        self, nodes: int = 5, directory: Path | None = None, options: Sequence[str] = (), users: Sequence[str] = USERS
    ) -> None:
        """
        @param options: what else C{post ring} is told when the ring is made.
        """
        # Not pytest's directory: its paths are too long for a control socket.
        self._own = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="ring-"))
        self.path = self.directory / "r"
        self._nodes = nodes
        self._options = options
        self._users = users
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, *arguments: str) -> list[str]:
        """
        C{post ring} on our directory.
        """
        return [sys.executable, "-m", "post.cli", "ring", str(self.path), *arguments]

    def __enter__(self) -> Ring:
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.show_logs()
        self.stop()
        if self._own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def show_logs(self) -> None:
        """
        Print the end of each node's log; pytest shows it where a test fails.
        """
        for log in sorted(self.path.glob("node*/node.log")):
            print(f"==> {log.parent.name}")
            print("\n".join(log.read_text(errors="replace").splitlines()[-40:]))

    def start(self) -> None:
        """
        Start it, or start it again, and wait until it serves.
        """
        users = [argument for name in self._users for argument in ("--user", f"{name}:{SECRETS[name]}")]
        arguments = (
            ["--nodes", str(self._nodes), *users, *self._options] if not (self.path / "plan.json").exists() else []
        )
        self._process = subprocess.Popen(self.command(*arguments), stdout=subprocess.DEVNULL)
        process = self._process

        def serves() -> bool:
            if process.poll() is not None:
                raise Late(f"the ring ended with {process.returncode}")
            return (self.path / "ring.json").exists()

        wait_for("the ring", serves, 120)

    def stop(self) -> None:
        """
        Stop all.
        """
        if self._process is not None and self._process.poll() is None:
            for node in self.nodes():
                self._signal(node["pid"], signal.SIGCONT)
            self._process.terminate()
            self._process.wait(GRACE_S)

    # Nodes.

    def nodes(self) -> list[dict[str, Any]]:
        """
        The nodes as C{ring.json} shows them.
        """
        try:
            found: list[dict[str, Any]] = json.loads((self.path / "ring.json").read_text())["nodes"]
        except FileNotFoundError:
            return []
        return found

    def node(self, name: str) -> dict[str, Any]:
        """
        One of them.
        """
        return next(node for node in self.nodes() if node["name"] == name)

    def home(self, name: str) -> Path:
        """
        A node's directory.
        """
        return self.path / name

    def stop_node(self, name: str) -> None:
        """
        Shut one down in order.
        """
        subprocess.run(self.command("--stop", name), check=True, timeout=GRACE_S)

    def start_node(self, name: str) -> None:
        """
        Start one again.
        """
        subprocess.run(self.command("--start", name), check=True, timeout=150)

    def configure(self, name: str, settings: str) -> None:
        """
        Add lines to the last section of a node's settings, and start it anew.
        """
        self.stop_node(name)
        with (self.home(name) / "node.toml").open("a") as file:
            file.write(f"{settings}\n")
        self.start_node(name)

    def kill(self, name: str, wipe: bool = False) -> None:
        """
        SIGKILL, and with C{wipe} its disk goes too.
        """
        self._signal(self.node(name)["pid"], signal.SIGKILL)
        if wipe:
            shutil.rmtree(self.home(name))

    def freeze(self, name: str) -> None:
        """
        SIGSTOP.
        """
        self._signal(self.node(name)["pid"], signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """
        SIGCONT.
        """
        self._signal(self.node(name)["pid"], signal.SIGCONT)

    @staticmethod
    def _signal(pid: int | None, number: int) -> None:
        if pid is None:
            return  # Stopped, or dead.
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass

    # People.

    def home_of(self, user: str) -> dict[str, Any]:
        """
        The node where a user lives.
        """
        return next(node for node in self.nodes() if f"{user}@example.org" in node["accounts"])

    def smtp(self, user: str, tls: bool = False) -> smtplib.SMTP:
        """
        Logged in at the user's submission port; with C{tls} after STARTTLS.
        """
        client = smtplib.SMTP(*place(self.home_of(user)["submission"]), timeout=60)
        if tls:
            client.starttls(context=untrusting())
        client.login(user, SECRETS[user])
        return client

    def imap(self, user: str) -> imaplib.IMAP4:
        """
        Logged in, the Inbox selected.
        """
        client = imaplib.IMAP4(*place(self.home_of(user)["imap"]), timeout=60)
        client.login(user, SECRETS[user])
        client.select()
        return client

    def pop3(self, user: str) -> poplib.POP3:
        """
        Logged in.
        """
        client = poplib.POP3(*place(self.home_of(user)["pop3"]), timeout=60)
        client.user(user)
        client.pass_(SECRETS[user])
        return client

    def send(self, sender: str, recipient: str, message: bytes) -> None:
        """
        Submit; returns at C{250}.
        """
        with self.smtp(sender) as client:
            client.sendmail(f"{sender}@example.org", [f"{recipient}@example.org"], message)

    def count(self, user: str, subject: str, folder: str = "INBOX") -> int:
        """
        How many messages with this subject are in a folder.
        """
        try:
            client = self.imap(user)
        except (OSError, imaplib.IMAP4.error):
            return 0
        try:
            client.select(folder, readonly=True)
            return len(client.search(None, "SUBJECT", f'"{subject}"')[1][0].split())
        finally:
            client.shutdown()

    def log_handle(self, user: str) -> bytes:
        """
        Under which handle the ring keeps the head of a user's mailbox log.
        """
        account = f"{user}@example.org"
        home = Home(self.home(self.home_of(user)["name"]))
        accounts = home.accounts(home.credentials(int(time.time())).root)
        credentials = next(each for each in accounts if each.address == account)
        key = LogKey.derive(credentials.master, WRITER, 0)
        return handle_of(Purpose.PUBLIC_KEY_BLOCK, key.public).packed()

    # Disks.

    def holdings(self, kinds: tuple[int, ...] | None = None) -> dict[tuple[int, bytes, bytes], set[str]]:
        """
        Who has what on disk: by kind, handle and digest the names of the nodes.
        """
        found: dict[tuple[int, bytes, bytes], set[str]] = defaultdict(set)
        for path in sorted(self.path.glob("node*/blocks.sqlite")):
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            try:
                for kind, handle, digest in connection.execute("SELECT kind, handle, digest FROM blocks"):
                    if kinds is None or kind in kinds:
                        found[kind, handle, digest].add(path.parent.name)
            finally:
                connection.close()
        return found

    def heads(self) -> dict[bytes, dict[str, int]]:
        """
        The public-key blocks: by handle, the version that each node has.
        """
        found: dict[bytes, dict[str, int]] = defaultdict(dict)
        for path in sorted(self.path.glob("node*/blocks.sqlite")):
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            try:
                rows = connection.execute("SELECT handle, rank FROM blocks WHERE kind=?", (PUBLIC_KEY,))
                for handle, rank in rows:
                    found[handle][path.parent.name] = rank
            finally:
                connection.close()
        return found


def place(service: str) -> tuple[str, int]:
    """
    Host and port.
    """
    host, _, port = service.rpartition(":")
    return host, int(port)


def untrusting() -> ssl.SSLContext:
    """
    Takes the node's own certificate, which no authority knows.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def mail(subject: str, body: bytes = b"Hello\r\n", sender: str = "alice", recipient: str = "bob") -> bytes:
    """
    A message.
    """
    head = (
        f"From: {sender}@example.org\r\nTo: {recipient}@example.org\r\nSubject: {subject}\r\n"
        f"Message-ID: <{subject.replace(' ', '.')}@test.example>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\n"
    )
    return head.encode() + body
