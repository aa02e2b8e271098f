"""
Tests for L{post.supervision}, and of what is in C{conf/systemd}.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.supervision import READY, Supervisor
from tests.programs import need
from tests.scratch import scratch

CONF = Path(__file__).parent.parent / "conf"


class SupervisorTests(SynchronousTestCase):
    """
    A socket in the place of systemd's.
    """

    def setUp(self) -> None:
        self.path = scratch(self) / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.socket.close)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)

    def told(self) -> list[bytes]:
        """
        What came.
        """
        found = []
        try:
            while True:
                found.append(self.socket.recv(1000))
        except BlockingIOError:
            return found

    def test_told(self) -> None:
        """
        It is told what happens, and our children cannot tell it anything.
        """
        environment = {"NOTIFY_SOCKET": str(self.path), "OTHER": "x"}
        supervisor = Supervisor(environment)
        supervisor.tell(READY)
        self.assertEqual([b"READY=1"], self.told())
        self.assertEqual({"OTHER": "x"}, environment)

    def test_abstract(self) -> None:
        """
        The socket's name may be one without a file.
        """
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
            name = f"post-test-{os.getpid()}"
            abstract.bind(f"\0{name}")
            abstract.settimeout(10)
            Supervisor({"NOTIFY_SOCKET": f"@{name}"}).tell(READY)
            self.assertEqual(b"READY=1", abstract.recv(100))

    def test_watchdog(self) -> None:
        """
        It hears of us three times as often as it wants to, while we are alive.
        """
        clock, alive = Clock(), [True]
        supervisor = Supervisor({"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": "6000000"})
        supervisor.watch(clock, lambda: alive[0])
        clock.pump([1.0] * 6)
        self.assertEqual([b"WATCHDOG=1"] * 4, self.told())
        alive[0] = False
        clock.pump([1.0] * 6)
        self.assertEqual(([], []), (self.told(), clock.getDelayedCalls()))

    def test_nobody(self) -> None:
        """
        Without systemd, with a watchdog for somebody else, and with one that does not listen, nothing happens.
        """
        clock = Clock()
        for environment in (
            {},
            {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
            {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": "soon"},
        ):
            Supervisor(environment).watch(clock, lambda: True)
        Supervisor({"NOTIFY_SOCKET": str(self.path.parent / "nowhere")}).tell(READY)
        self.assertEqual(([], []), (self.told(), clock.getDelayedCalls()))


class UnitTests(SynchronousTestCase):
    """
    The units.
    """

    def verify(self, unit: Path, *options: str) -> str:
        """
        What systemd-analyze says of a unit, where what it starts is there.
        """
        directory = scratch(self)
        text = unit.read_text()
        for prefix in ("/opt/post", "%h/.local/share/post"):
            text = text.replace(f"{prefix}/bin/twistd", sys.executable)
        copy = directory / unit.name
        copy.write_text(text.replace("User=post\n", ""))
        command = [need("systemd-analyze"), *options, "verify", str(copy)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={**os.environ, "HOME": "/tmp"})
        lines = (done.stdout + done.stderr).splitlines()
        return "\n".join(line for line in lines if unit.name in line or str(copy) in line)

    def test_system(self) -> None:
        """
        systemd understands the unit for the system, with what a gateway adds to it.
        """
        self.assertEqual("", self.verify(CONF / "systemd" / "post.service"))
        both = scratch(self) / "post.service"
        text = (CONF / "systemd" / "post.service").read_text()
        gateway = (CONF / "systemd" / "post.service.d" / "gateway.conf").read_text()
        both.write_text(f"{text}\n{gateway}")
        self.assertEqual("", self.verify(both))

    def test_user(self) -> None:
        """
        systemd understands the unit for a person.
        """
        self.assertEqual("", self.verify(CONF / "systemd" / "user" / "post.service", "--user"))

    def test_mistake(self) -> None:
        """
        A mistake would be told.
        """
        wrong = scratch(self) / "post.service"
        wrong.write_text(
            (CONF / "systemd" / "post.service").read_text().replace("ProtectClock=yes", "ProtectCluck=yes")
        )
        self.assertIn("ProtectCluck", self.verify(wrong))
