"""
How fast a lost machine is replaced: bob's node is killed and wiped, and "post recover" brings 5,000 messages back.

    python benchmarks/recovery.py [--messages N] [--json]

Prints the seconds that the command takes, those from the start of the new node until its mailbox is open, those until a
mail program has seen the envelope and flags of every message, and until it has read every one; and the sum.
"""

from __future__ import annotations

import argparse
import imaplib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # Free ports are chosen as in the tests.

from tests.system.ports import free_ports

ROOT = Path(__file__).parent.parent
POST = (sys.executable, "-m", "post.cli")
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
PEOPLE = ("alice", "bob", "carol", "dave")
CONNECTIONS = 8
PATIENCE_S = 300.0
PAGE = 500
"""Messages asked for at once, as mail programs do."""
_CODE = re.compile(r"\b[0-9A-Z]{5}(?:-[0-9A-Z]{1,5}){8,}")


class Machine:
    """
    One of them, in a directory of its own.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self.home = directory / name
        self.ports = free_ports(4)
        self.code = ""
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> None:
        """
        Make it a node; C{arguments} are the verb, what it needs, and nothing that all verbs have.
        """
        link, _, submission, imap = self.ports
        common = ("--host", "127.0.0.1", "--port", str(link), "--name", self.name, "--password-file", "-")
        said = post(*arguments, *common, stdin="secret\n")
        found = _CODE.search(said)
        assert found is not None, said
        self.code = found[0]
        with (self.home / "node.toml").open("a") as file:
            file.write(f'\n[mail]\nsubmission = "127.0.0.1:{submission}"\nsubmissions = ""\n')
            file.write(f'imap = "127.0.0.1:{imap}"\nimaps = ""\nweb = ""\n')

    def start(self) -> None:
        """
        Start its node.
        """
        settings = ("post", "--config", str(self.home / "node.toml"))
        with (self.home.parent / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                (*TWISTD, "--nodaemon", "--pidfile=", *settings),
                cwd=self.home,
                stdout=log,
                stderr=log,
                env=environment(),
            )

    def stop(self, how: int = signal.SIGTERM) -> None:
        """
        Stop it.
        """
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(60)

    def wait(self, what: str) -> None:
        """
        Until C{what} is true in its status.
        """
        until = time.monotonic() + PATIENCE_S
        while not self.status().get(what):
            if time.monotonic() > until:
                raise SystemExit(f"{self.name}: not {what} in {PATIENCE_S:.0f} s")
            time.sleep(0.02)

    def status(self) -> dict[str, object]:
        """
        As the node says it; empty if it does not.
        """
        command = (*POST, "status", "--json", "--config", str(self.home))
        result = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
        found: dict[str, object] = json.loads(result.stdout or "{}")
        accounts = found.get("accounts")
        if isinstance(accounts, list) and accounts:
            found["code"] = accounts[0]["recovery"] == "in force"
            found["kept"] = accounts[0]["open"] and accounts[0]["log_records"] == accounts[0]["log_kept"]
        return found

    def imap(self) -> imaplib.IMAP4:
        """
        A mail program.
        """
        client = imaplib.IMAP4("127.0.0.1", self.ports[3], timeout=PATIENCE_S)
        client.login(self.name, "secret")
        return client


def environment() -> dict[str, str]:
    """
    With which our own sources are run.
    """
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def post(*arguments: str, stdin: str | None = None) -> str:
    """
    What a command says that has to succeed.
    """
    result = subprocess.run(
        (*POST, *arguments), input=stdin, capture_output=True, text=True, env=environment(), check=False
    )
    if result.returncode:
        raise SystemExit(f"post {' '.join(arguments)}: {result.stdout}{result.stderr}")
    return result.stdout


def fill(machine: Machine, messages: int) -> None:
    """
    So many messages of about 1 KB, in five folders, every third one seen.
    """

    def some(first: int) -> None:
        with machine.imap() as client:
            for number in range(first, messages, CONNECTIONS):
                text = (
                    f"From: carol@example.org\r\nSubject: number {number}\r\n\r\n{'x' * 76}\r\n"
                    + "word " * 180
                    + "\r\n"
                )
                folder = f"Folder{number % 4}" if number % 5 else "INBOX"
                flags = "" if number % 3 else "(\\Seen)"
                client.append(folder, flags, "", text.encode())

    with machine.imap() as client:
        for number in range(4):
            client.create(f"Folder{number}")
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(some, range(CONNECTIONS)))
    machine.wait("kept")


def read(machine: Machine, what: str) -> int:
    """
    C{what} of every message; returns how many there are.
    """
    total = 0
    with machine.imap() as client:
        for folder in ("INBOX", *(f"Folder{number}" for number in range(4))):
            count = int(client.select(folder, readonly=True)[1][0] or b"0")
            for first in range(1, count + 1, PAGE):
                outcome, found = client.fetch(f"{first}:{min(count, first + PAGE - 1)}", what)
                assert outcome == "OK", found
                total += sum(isinstance(each, tuple) or b"UID" in (each or b"") for each in found)
    return total


def measure(messages: int) -> dict[str, float]:
    """
    All figures of one run.
    """
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        machines = [Machine(directory, name) for name in PEOPLE]
        alice, bob, *_ = machines
        try:
            alice.run(
                *("init", str(alice.home), "--user", "alice@example.org", "--machines", "4"),
                *("--door-port", str(alice.ports[1])),
            )
            alice.start()
            alice.wait("active")
            for machine in machines[1:]:
                config = ("--config", str(alice.home), "--no-qr")
                found = _CODE.search(post("ca", "token", *config, f"{machine.name}@example.org"))
                assert found is not None
                machine.run("join", found[0], str(machine.home))
                machine.start()
            for machine in machines:
                machine.wait("serving")
            bob.wait("code")
            fill(bob, messages)
            bob.stop(signal.SIGKILL)
            shutil.rmtree(bob.home)
            again = Machine(directory / "again", "bob")
            again.home.parent.mkdir()
            machines.append(again)
            began = time.monotonic()
            again.run("recover", bob.code, str(again.home))
            commanded = time.monotonic()
            again.start()
            again.wait("serving")
            opened = time.monotonic()
            assert read(again, "(UID FLAGS ENVELOPE)") == messages
            listed = time.monotonic()
            assert read(again, "(BODY.PEEK[])") == messages
            done = time.monotonic()
        finally:
            for machine in machines:
                machine.stop()
    results |= {"command_s": commanded - began, "open_s": opened - commanded, "envelopes_s": listed - opened}
    results |= {"read_s": done - listed, "total_s": done - began}
    return results


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = measure(arguments.messages)
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    print(f"{arguments.messages} messages, four machines")
    for name, value in results.items():
        print(f"  {name:12} {value:8.1f}")


if __name__ == "__main__":
    main()
