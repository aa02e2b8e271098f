"""
A Postfix of its own (Debian's) as the rest of the Internet: queue, data and mailboxes in a directory, a loopback port.

It has to be started by root, and needs the user C{postfix} that the package makes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from unittest import SkipTest

from tests.programs import EVERYTHING, need
from tests.system.ports import free_ports
from tests.system.rings import wait_for

SERVICES = """\
pickup unix n - n 1 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


class Postfix:
    """
    A running Postfix; use it in a C{with} statement.

    @ivar place: C{host:port} of its SMTP.
    """

    def __init__(self, domain: str, settings: str = "", port: int | None = None) -> None:
        """
        @param domain: whose mail it takes, for everybody there, into L{texts}.
        @param settings: more lines for C{main.cf}.
        """
        if os.geteuid() != 0:
            if os.environ.get(EVERYTHING) == "1":
                raise AssertionError(f"Postfix has to be started by root, and {EVERYTHING}=1")
            raise SkipTest("Postfix has to be started by root")
        self._program = need("postfix", {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin"})
        self.domain = domain
        self.port = port or free_ports(1)[0]
        self.place = f"127.0.0.1:{self.port}"
        self.directory = Path(tempfile.mkdtemp(prefix="postfix-"))
        self.directory.chmod(0o755)
        self.log = self.directory / "mail.log"
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._configure(settings)
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def _configure(self, settings: str) -> None:
        postfix, nobody = pwd.getpwnam("postfix"), pwd.getpwnam("nobody")
        self._config, mail = self.directory / "postfix", self.directory / "mail"
        for path in (self._config, self.directory / "queue", self.directory / "data", mail):
            path.mkdir()
        os.chown(self.directory / "data", postfix.pw_uid, postfix.pw_gid)
        os.chown(mail, nobody.pw_uid, nobody.pw_gid)
        self.log.touch()
        (self._config / "main.cf").write_text(
            f"compatibility_level = 3.6\nqueue_directory = {self.directory}/queue\n"
            f"data_directory = {self.directory}/data\nmaillog_file = {self.log}\n"
            f"maillog_file_prefixes = /dev, {self.directory}\nmyhostname = mx.{self.domain}\n"
            "inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmydestination =\nmynetworks = 127.0.0.0/8\n"
            f"virtual_mailbox_domains = {self.domain}\nvirtual_mailbox_maps = static:all/\n"
            f"virtual_mailbox_base = {mail}\nvirtual_minimum_uid = 1\nvirtual_uid_maps = static:{nobody.pw_uid}\n"
            f"virtual_gid_maps = static:{nobody.pw_gid}\nalias_maps =\nalias_database =\n"
            # Retries come soon: the tests wait for them.
            "minimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n"
            f"smtp_tls_security_level = may\nsmtp_connect_timeout = 5s\n{settings}\n"
        )
        (self._config / "master.cf").write_text(
            f"{self.place} inet n - n - - smtpd\n{SERVICES}postlog unix-dgram n - n - 1 postlogd\n"
        )

    def __enter__(self) -> Postfix:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print("==> Postfix\n" + "\n".join(self.log.read_text(errors="replace").splitlines()[-40:]))
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        """
        Start it, or start it again with the same queue.
        """
        # What is not its terminal must not be a pipe: its daemons would hold that open.
        self._process = subprocess.Popen(
            [self._program, "-c", self._config, "start-fg"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port)) == 0

        wait_for("Postfix", listens)

    def stop(self) -> None:
        """
        Stop it; what is in its queue stays.
        """
        if self._process is not None:
            subprocess.run(
                [self._program, "-c", self._config, "stop"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
            self._process.wait(30)
            self._process = None

    def flush(self) -> None:
        """
        Try at once what is in the queue.
        """
        subprocess.run(
            [self._program, "-c", self._config, "flush"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    def logged(self, said: str) -> int:
        """
        How many lines of its log have C{said}.
        """
        return sum(said in line for line in self.log.read_text(errors="replace").splitlines())

    def texts(self) -> list[bytes]:
        """
        What has been delivered to its domain, as it is on the disk (with LF).
        """
        found = sorted((self.directory / "mail" / "all").glob("*/[0-9]*"), key=lambda path: path.stat().st_mtime)
        return [path.read_bytes() for path in found if path.parent.name in ("new", "cur")]
