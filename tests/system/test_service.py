"""
A node as a service of its machine: what it tells whoever started it, what it logs, and how it ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.scratch import scratch
from tests.system.machines import Machine
from tests.system.rings import Ring, mail, place, wait_for


class ServiceTests(SynchronousTestCase):
    """
    One machine alone.
    """

    def setUp(self) -> None:
        self.machine = Machine(self, scratch(self), "alice")
        self.machine.init(1)

    def environment(self, **variables: str) -> None:
        """
        Let the node be started with C{variables}.
        """
        for name, value in variables.items():
            os.environ[name] = value
            self.addCleanup(os.environ.pop, name, None)

    def test_supervised(self) -> None:
        """
        systemd hears that the node serves, not before it does, then that it is alive, and at last that it ends; the log
        is where the settings say, in JSON.
        """
        path = Path(tempfile.mkdtemp(prefix="post-", dir=self.machine.home)) / "notify"
        told: list[bytes] = []
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(str(path))
            systemd.setblocking(False)

            def hears(state: bytes) -> bool:
                try:
                    told.append(systemd.recv(1000))
                except BlockingIOError:
                    pass
                return state in told

            self.environment(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="600000")
            with self.machine.config.open("a") as file:
                file.write('\n[log]\nfile = "node.log"\njson = true\n')
            self.machine.start()
            wait_for("readiness", lambda: hears(b"READY=1"))
            self.assertTrue(self.machine.status()["running"])
            told.clear()
            wait_for("a sign of life", lambda: hears(b"WATCHDOG=1"))
            self.machine.stop()
            wait_for("the end", lambda: hears(b"STOPPING=1"))
        lines = (self.machine.home / "node.log").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        self.assertIn("alice serves", [event["text"] for event in events])
        self.assertNotIn("alice serves", self.machine.log)


class StopTests(SynchronousTestCase):
    """
    A node that is stopped while somebody sends.
    """

    def test_message_under_way(self) -> None:
        """
        A message of which half is there at SIGTERM gets its 250, and arrives; the node then ends.
        """
        with Ring(4) as ring:
            node = ring.home_of("alice")
            with ring.smtp("alice") as client:
                client.mail("alice@example.org")
                client.rcpt("bob@example.org")
                client.docmd("DATA")
                message = mail("half way")
                client.send(message[:50])
                os.kill(node["pid"], signal.SIGTERM)

                def refused() -> bool:
                    try:
                        socket.create_connection(place(node["submission"]), timeout=10).close()
                    except ConnectionRefusedError:
                        return True
                    return False

                wait_for("that nobody else is let in", refused)
                client.send(message[50:] + b".\r\n")
                self.assertEqual(250, client.getreply()[0])
                self.assertEqual(421, client.getreply()[0])
                client.close()
            wait_for("the message", lambda: ring.count("bob", "half way"))
            wait_for("the end of the node", lambda: ring.node(node["name"])["pid"] is None)
