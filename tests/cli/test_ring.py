"""
Tests of C{post ring} as real processes, and of a ring that was made by hand.

Few, because each costs seconds; what can be shown without processes is in C{test_founding}.
"""

from __future__ import annotations

import imaplib
import json
import os
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from post import control
from post.errors import PostError
from tests.cli.commands import Organisation, post
from tests.scratch import scratch

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 60.0
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def wait_until(what: str, happened: Callable[[], Any]) -> Any:
    """
    Until C{happened()} is true; returns it.
    """
    until = time.monotonic() + PATIENCE_S
    while not (result := happened()):
        if time.monotonic() > until:
            raise AssertionError(f"{what}: not within {PATIENCE_S:.0f} s")
        time.sleep(0.05)
    return result


def runs(pid: int) -> bool:
    """
    Whether there is such a process, and it is not a dead child that nobody has looked after.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class RingTestCase(SynchronousTestCase):
    """
    A directory for a ring, and supervisors that are gone when the test is over.
    """

    def setUp(self) -> None:
        self.directory = scratch(self) / "ring"
        self.state = self.directory / "ring.json"
        self.said: dict[subprocess.Popen[str], str] = {}

    def supervise(self, *options: str) -> subprocess.Popen[str]:
        """
        Start C{post ring}.
        """
        command = (sys.executable, "-m", "post.cli", "ring", str(self.directory), *options)
        process = subprocess.Popen(
            command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[str]) -> tuple[int, str]:
        """
        Stop it; its exit code, and what it said on standard error.
        """
        if process.poll() is None:
            process.terminate()
        if process not in self.said:
            self.said[process] = process.communicate(timeout=PATIENCE_S)[1]
        return process.returncode, self.said[process]

    def serving(self, process: subprocess.Popen[str]) -> list[dict[str, Any]]:
        """
        The nodes of the ring, once they all serve.
        """
        wait_until("a ring that serves", lambda: process.poll() is not None or self.state.exists())
        self.assertTrue(self.state.exists(), self.end(process) if process.poll() is not None else "")
        return self.nodes()

    def nodes(self) -> list[dict[str, Any]]:
        """
        What C{ring.json} says of the nodes.
        """
        nodes: list[dict[str, Any]] = json.loads(self.state.read_text())["nodes"]
        return nodes


class RingTests(RingTestCase):
    """
    Tests of C{post ring}.
    """

    def test_life(self) -> None:
        """
        A ring serves its people under the names and passwords that were given; its nodes are stopped, started, reported
        when they die; nothing of it is left when it ends, and it comes back as it was.
        """
        supervisor = self.supervise("--nodes", "2", "--domain", "EXAMPLE.org", "--user", "Alice:a:b é")
        one, two = self.serving(supervisor)
        self.assertEqual([["alice@example.org"], []], [one["accounts"], two["accounts"]])
        self.assertEqual([None, True], [one["smtp"], one["web"] != two["web"]])
        self.assertNotEqual(one["pop3"], one["pop3s"])
        for login in ("alice", "alice@example.org", "ALICE@Example.Org"):
            self.login(one, login, "a:b é")

        # A second one is refused, and so is what cannot be done to a node.
        for options, code, said in (
            ((), 78, "is in use by another process"),
            (("--start", "node1"), 1, "node1 is running already"),
            (("--stop", "node3"), 78, "node3: there is no such node"),
        ):
            result = post("ring", self.directory, *options)
            self.assertEqual((code, 1), (result.exit_code, len(result.output.splitlines())), result.output)
            self.assertIn(said, result.output)

        # Somebody who connects and says nothing, or hangs up, does not disturb it.
        for words in (b"", b"{}\n", b'{"verb": "stop", "name": "node9"}\n'):
            with socket.socket(socket.AF_UNIX) as asking:
                asking.connect(str(control.find(self.directory, "ring.control")))
                asking.sendall(words)

        # Stopped is stopped when the command returns, and started is serving.
        self.assertEqual(0, post("ring", self.directory, "--stop", "node2").exit_code)
        self.assertEqual((False, None), (runs(two["pid"]), self.nodes()[1]["pid"]))
        self.assertEqual(0, post("ring", self.directory, "--start", "node2").exit_code)
        self.assertTrue(control.ask(control.find(Path(two["dir"])), {"verb": "status"})["serving"])

        # One that dies is reported, not started again, and cannot be started without its directory.
        os.kill(self.nodes()[1]["pid"], signal.SIGKILL)
        wait_until("a report", lambda: self.nodes()[1]["pid"] is None)
        shutil.rmtree(two["dir"])
        result = post("ring", self.directory, "--start", "node2")
        self.assertEqual((78, 1), (result.exit_code, len(result.output.splitlines())))
        self.assertIn("node2: cannot be started", result.output)

        code, said = self.end(supervisor)
        self.assertEqual((0, False, False), (code, self.state.exists(), runs(one["pid"])))
        self.assertEqual("post: node2 has ended (-9) and is not started again; --start node2 does that\n", said)
        self.assertEqual(69, post("ring", self.directory, "--stop", "node1").exit_code)

    def login(self, node: dict[str, Any], login: str, password: str) -> None:
        host, port = node["imap"].split(":")
        with imaplib.IMAP4(host, int(port), timeout=PATIENCE_S) as client:
            answer = f"\0{login}\0{password}".encode()
            self.assertEqual("OK", client.authenticate("PLAIN", lambda _: answer)[0])

    def test_killed(self) -> None:
        """
        A supervisor that is killed leaves no node behind; the next one takes over what it left, on the same ports.
        """
        supervisor = self.supervise("--nodes", "1")
        (before,) = self.serving(supervisor)
        supervisor.kill()
        wait_until("the node's end", lambda: not runs(before["pid"]))
        self.assertTrue(self.state.exists())

        supervisor = self.supervise()
        (after,) = self.serving(supervisor)
        self.assertEqual({**before, "pid": after["pid"]}, after)

        # While it starts, it can be told to stop.
        self.end(supervisor)
        log = self.directory / "node1" / "node.log"
        size = log.stat().st_size
        supervisor = self.supervise()
        wait_until("a node", lambda: log.stat().st_size > size or supervisor.poll() is not None)
        self.assertEqual((0, ""), self.end(supervisor))
        self.assertFalse(self.state.exists())


class ByHandTests(SynchronousTestCase):
    """
    Tests of two nodes that were made by hand, as two machines would have them.
    """

    def test_mail(self) -> None:
        """
        What administration.md says leads to two nodes that exchange mail; a person who is added to a node that runs can
        log in at once, and with a new password too.
        """
        organisation = Organisation(scratch(self), "--copies", "2", "--minimum", "1")
        places = self.free_places(6)
        homes = [organisation.certify_node(name) for name in ("alice", "bob")]
        for name in ("alice", "bob"):
            organisation.certify_user(name)
        organisation.export()
        for home, (link, submission, imap), seed in zip(
            homes, (places[:3], places[3:]), (places[3], places[0]), strict=True
        ):
            organisation.init_node(home, "--listen", link, "--seed", seed)
            with (home / "node.toml").open("a") as file:
                file.write(f'[mail]\nsubmission = "{submission}"\nimap = "{imap}"\nsubmissions = ""\nimaps = ""\n')
        organisation.add_user(homes[0], "alice", "one")
        for home in homes:
            self.start(home)
        for home in homes:
            wait_until("a node that serves", lambda home=home: self.status(home).get("serving"))  # type: ignore[misc]
        self.assertEqual([2, 2], [self.status(home)["members"] for home in homes])

        organisation.add_user(homes[1], "bob", "two")
        wait_until("the mailbox", lambda: all(account["open"] for account in self.status(homes[1])["accounts"]))
        host, port = places[1].split(":")
        with smtplib.SMTP(host, int(port), timeout=PATIENCE_S) as client:
            client.login("alice", "one")
            client.sendmail("alice@example.org", ["bob@example.org"], b"Subject: by hand\r\n\r\nhello\r\n")
        wait_until("the message", lambda: self.status(homes[1])["accounts"][0]["messages"])

        config = ("--config", homes[1] / "node.toml")
        organisation.run("user", "password", *config, "--password-file", "-", "bob@example.org", stdin="three\n")
        host, port = places[5].split(":")
        with imaplib.IMAP4(host, int(port), timeout=PATIENCE_S) as reader:
            self.assertRaises(imaplib.IMAP4.error, reader.login, "bob", "two")
            reader.login("bob", "three")
            reader.select("INBOX")
            (_, text), *_ = reader.fetch("1", "BODY[TEXT]")[1]  # type: ignore[misc]  # What the library calls data.
            self.assertEqual(b"hello\r\n", text)

    def free_places(self, count: int) -> list[str]:
        """
        Places on loopback at which nobody listens.
        """
        sockets = [socket.socket() for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        places = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
        for each in sockets:
            each.close()
        return places

    def start(self, home: Path) -> None:
        """
        C{twistd post}.
        """
        command = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--nodaemon", "--pidfile=")
        process = subprocess.Popen(
            (*command, "--logfile", home / "log", "post", "--config", home / "node.toml"), env=ENVIRONMENT, cwd="/"
        )

        def end() -> None:
            process.terminate()
            process.wait(PATIENCE_S)

        self.addCleanup(end)

    def status(self, home: Path) -> dict[str, Any]:
        """
        What C{post status} would say; nothing while the node does not answer.
        """
        try:
            found: dict[str, Any] = control.ask(control.find(home), {"verb": "status"})
        except PostError:
            return {}
        return found
