"""
Machines of one organisation, each a directory with a C{twistd post}, for tests of how they come together.
"""

from __future__ import annotations

import imaplib
import os
import re
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post import control
from post.errors import PostError
from tests.cli.commands import post
from tests.system.ports import free_ports
from tests.system.rings import GRACE_S, mail, wait_for

ROOT = Path(__file__).parent.parent.parent
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")


class Machine:
    """
    One of them, of the person C{name}.
    """

    def __init__(self, case: SynchronousTestCase, directory: Path, name: str) -> None:
        self.name = name
        self.home = directory / name
        directory.mkdir(exist_ok=True)
        self.link, self.door, self.submission, self.imap = free_ports(4)
        self._log = directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.recovery_code = ""
        case.addCleanup(self.stop)

    @property
    def config(self) -> Path:
        """
        Its settings.
        """
        return self.home / "node.toml"

    def init(self, machines: int) -> str:
        """
        Make a new organisation there.
        """
        options = ("--user", f"{self.name}@example.org", "--machines", str(machines), "--door-port", str(self.door))
        result = post("init", self.home, *options, *self._options(), stdin=f"{self.name}-secret\n")
        assert result.exit_code == 0, result.output
        self._settle()
        self._note_code(result.output)
        return result.output

    def join(self, code: str) -> tuple[int, str]:
        """
        Let it join; exit code and words.
        """
        result = post("join", code, self.home, *self._options(), stdin=f"{self.name}-secret\n")
        if result.exit_code == 0:
            self._settle()
            self._note_code(result.output)
        return result.exit_code, result.output

    def recover(self, code: str, *options: str) -> tuple[int, str]:
        """
        Let it take the place of a lost one; exit code and words.
        """
        result = post("recover", code, self.home, *self._options(), *options, stdin=f"{self.name}-secret\n")
        if result.exit_code == 0:
            self._settle()
            self._note_code(result.output)
        return result.exit_code, result.output

    def renew_code(self) -> str:
        """
        Another recovery code; what is said.
        """
        result = post("recover", "--new-code", "--config", self.config)
        assert result.exit_code == 0, result.output
        self._note_code(result.output)
        return result.output

    def _note_code(self, said: str) -> None:
        found = re.search(r"^  ([0-9A-Z]{5}(?:-[0-9A-Z]{1,5})+)$", said, re.M)
        assert found is not None, said
        self.recovery_code = found[1]

    @property
    def recovery(self) -> object:
        """
        Whether the recovery code of the person who lives here is in force.
        """
        accounts = self.status().get("accounts")
        return accounts[0]["recovery"] if isinstance(accounts, list) and accounts else ""

    def _options(self) -> tuple[str, ...]:
        return ("--host", "127.0.0.1", "--port", str(self.link), "--name", self.name, "--password-file", "-")

    def _settle(self) -> None:
        """
        Mail ports that nobody else on this one machine has.
        """
        if "[mail]" in self.config.read_text():
            return
        with self.config.open("a") as file:
            file.write(f'\n[mail]\nsubmission = "127.0.0.1:{self.submission}"\nsubmissions = ""\n')
            file.write(f'imap = "127.0.0.1:{self.imap}"\nimaps = ""\nweb = ""\n')

    def token(self, name: str, *options: str) -> str:
        """
        A code for C{name}, from the authority that is served here.
        """
        result = post("ca", "token", "--config", self.config, f"{name}@example.org", "--no-qr", *options)
        assert result.exit_code == 0, result.output
        found = re.search(r"post join (\S+)", result.output)
        assert found is not None
        return found[1]

    def start(self) -> None:
        """
        Start its node.
        """
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                (*TWISTD, "--nodaemon", "--pidfile=", "post", "--config", str(self.config)),
                cwd=self.home,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """
        Stop it, if it runs.
        """
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(GRACE_S)

    def kill(self) -> None:
        """
        SIGKILL.
        """
        assert self._process is not None
        self._process.kill()
        self._process.wait(GRACE_S)

    def ended(self) -> int:
        """
        Wait until it ends by itself: its exit code.
        """
        assert self._process is not None
        return self._process.wait(GRACE_S)

    @property
    def log(self) -> str:
        """
        What it has logged and said.
        """
        return self._log.read_text()

    def status(self) -> dict[str, object]:
        """
        How the node says it is; empty if it does not.
        """
        try:
            found: dict[str, object] = control.ask(control.find(self.home), {"verb": "status"}, 5)
        except PostError:
            return {}
        return found

    def wait(self, what: str) -> None:
        """
        Until C{what} is so: C{serving}, or C{active}.
        """
        try:
            wait_for(f"{self.name}: {what}", lambda: self.status().get(what), 90)
        except AssertionError:
            print("\n".join(self._log.read_text().splitlines()[-40:]))
            raise

    def send(self, recipient: str, subject: str) -> None:
        """
        Submit a message; returns at C{250}.
        """
        with smtplib.SMTP("127.0.0.1", self.submission, timeout=60) as client:
            client.login(self.name, f"{self.name}-secret")
            message = mail(subject, sender=self.name, recipient=recipient)
            client.sendmail(f"{self.name}@example.org", [f"{recipient}@example.org"], message)

    def wait_for_mail(self, subject: str) -> None:
        """
        Until a message with this subject is in the Inbox.
        """
        wait_for(subject, lambda: self.subjects(subject))

    @property
    def published(self) -> bool:
        """
        Whether the person who lives here can be found by others.
        """
        accounts = self.status().get("accounts")
        return isinstance(accounts, list) and bool(accounts and accounts[0]["published"])

    @property
    def behind(self) -> int:
        """
        Changes of the mailbox that the ring does not keep yet.
        """
        accounts = self.status().get("accounts")
        assert isinstance(accounts, list)
        return int(accounts[0]["log_records"]) - int(accounts[0]["log_kept"])

    @contextmanager
    def logged_in(self) -> Iterator[imaplib.IMAP4]:
        """
        A mail program.
        """
        client = imaplib.IMAP4("127.0.0.1", self.imap, timeout=60)
        try:
            client.login(self.name, f"{self.name}-secret")
            yield client
        finally:
            client.shutdown()

    def subjects(self, subject: str) -> int:
        """
        How many messages with this subject are in the Inbox.
        """
        client = imaplib.IMAP4("127.0.0.1", self.imap, timeout=60)
        try:
            client.login(self.name, f"{self.name}-secret")
            client.select(readonly=True)
            return len(client.search(None, "SUBJECT", f'"{subject}"')[1][0].split())
        finally:
            client.shutdown()
