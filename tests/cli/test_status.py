"""
Tests for L{post.cli.status}.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from post import control
from post.cli.status import default_config, describe
from tests.cli.commands import post
from tests.scratch import scratch

DAY = 86400
ALICE = {
    "address": "alice@example.org",
    "open": True,
    "messages": 1,
    "folders": 5,
    "log_records": 7,
    "log_kept": 7,
    "trouble": "",
}
BOB = {
    "address": "bob@example.org",
    "open": False,
    "messages": 0,
    "folders": 0,
    "log_records": 0,
    "log_kept": 0,
    "trouble": "",
}
FOUND: dict[str, Any] = {
    "name": "node1",
    "node_id": "abcdef01" * 5,
    "active": True,
    "serving": True,
    "members": 5,
    "links": 1,
    "blocks": 1234,
    "block_bytes": 5_600_000,
    "notifications_waiting": 2,
    "copies": 3,
    "minimum": 2,
    "others": 4,
    "accounts": [ALICE, BOB],
    "complaints": {"broken message": 1},
    "certificate_expires": 100 * DAY,
}


class DescribeTests(SynchronousTestCase):
    """
    Tests of L{describe}.
    """

    def test_alerts(self) -> None:
        """
        What is wrong is said with its cure.
        """
        alert = {"level": "alarm", "name": "disk", "what": "The disk is full.", "cure": "Make room.", "address": ""}
        said = describe({**FOUND, "alerts": [alert]}, 0)
        self.assertTrue(said.endswith("\n  ALARM: The disk is full.\n    Make room."), said)

    def test_safety(self) -> None:
        """
        How many computers may vanish is said of each account, as far as it is known.
        """

        def said(missing: int, *exposed: int, **more: int) -> str:
            lost = [{"nodes": index, "exposed": count} for index, count in enumerate(exposed, 1)]
            safety = {"at": 0, "missing": missing, "lost": lost, **more}
            return describe({**FOUND, "durability": {"alice@example.org": safety, "bob@example.org": None}}, 60)

        self.assertIn(
            "alice@example.org: any 2 computers could vanish, and no mail be lost (counted 60 s", said(0, 0, 0, 5)
        )
        self.assertIn("mail would be lost with a single computer", said(0, 1, 2, 5))
        self.assertIn("of 1 object no copy can be found now", said(1, 0, 0, 5))
        self.assertIn("bob@example.org: the copies of the mail have not been counted yet", said(0, 0, 0, 5))
        self.assertIn("of 2 objects it is not known now where the copies are", said(0, 0, 0, 0, unknown=2))
        self.assertIn("copies on 1 computer that went away since do not count", said(0, 0, 0, 5, away=1))
        self.assertIn("  more: http://127.0.0.1:1/", describe({**FOUND, "web": "http://127.0.0.1:1/"}, 0))

    def test_serving(self) -> None:
        """
        What a person wants to know of a node, in words.
        """
        expected = (
            "node1 (abcdef01): in a ring of 5, 1 link",
            "  keeps 1,234 blocks for the ring, 5.6 MB",
            "  2 notifications here for people who are off-line",
            "  certificate valid for 90 more days",
            "  alice@example.org: 1 message in 5 folders, all kept by the ring",
            "  bob@example.org: waits until enough of the ring answers",
            "  complaint: 1 time broken message",
        )
        self.assertEqual("\n".join(expected), describe(FOUND, 10 * DAY))

    def test_roles(self) -> None:
        """
        A node with a role says so, and whether it has to be started again to act by what it has been given.
        """
        self.assertIn("\n  reaches 2 nodes only by way of others\n", describe({**FOUND, "indirect": 2}, 0))
        self.assertIn("\n  roles: gateway\n", describe({**FOUND, "roles": ["gateway"]}, 0))
        waiting = {"roles": ["gateway"], "roles_waiting": True}
        self.assertIn("  roles: gateway; start it again", describe({**FOUND, **waiting}, 0))
        self.assertIn("  roles: none; start it again", describe({**FOUND, **waiting, "roles": []}, 0))

    def test_not_yet(self) -> None:
        """
        What is not as it should be is said.
        """
        behind = {**ALICE, "log_kept": 6}
        text = describe({**FOUND, "active": False, "serving": False, "accounts": [behind]}, 0)
        self.assertIn("not in the ring yet, 1 link, does not serve mail programs yet", text)
        self.assertIn("1 change not yet kept by the ring", text)
        text = describe({**FOUND, "accounts": [{**ALICE, "waiting": 2}]}, 0)
        self.assertIn("all kept by the ring; not fetched yet by 2 recipients (post sent)", text)


class StatusTests(SynchronousTestCase):
    """
    Tests of C{post status}.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.config = self.directory / "node.toml"
        self.config.write_text("")

    def serve(self, answer: dict[str, Any]) -> None:
        """
        Answer as a node would, once.
        """
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        path = control.place(self.directory)
        listener.bind(os.fspath(path))
        listener.listen(1)

        def attend() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(control.reply({"status": lambda request: answer}, connection.recv(1000)))

        thread = threading.Thread(target=attend)
        thread.start()
        self.addCleanup(thread.join)

    def test_exit_codes(self) -> None:
        """
        The exit code says whether the node serves, runs, is down, or cannot be found.
        """
        for serving, code in ((True, 0), (False, 1)):
            self.serve({**FOUND, "serving": serving})
            result = post("status", "--config", self.config, "--json")
            self.assertEqual((code, serving), (result.exit_code, json.loads(result.output)["serving"]))
        control.remove(self.directory)
        down = post("status", "--config", self.config)
        self.assertEqual(
            (69, f"The node in {self.directory.resolve()} is not running.\n"), (down.exit_code, down.output)
        )
        self.assertEqual({"running": False}, json.loads(post("status", "--config", self.config, "--json").output))
        self.assertEqual(78, post("status", "--config", self.directory / "none").exit_code)

    def test_stopped(self) -> None:
        """
        A node that has been stopped is not said to be down.
        """
        self.patch(sys.modules["post.cli.status"], "PATIENCE_S", 0.1)
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(os.fspath(control.place(self.directory)))
        listener.listen(1)
        result = post("status", "--config", self.config)
        self.assertEqual(69, result.exit_code)
        self.assertIn("runs, and does not answer", result.output)
        known = json.loads(post("status", "--config", self.config, "--json").output)
        self.assertEqual({"running": True, "answers": False}, known)

    def test_default(self) -> None:
        """
        Without a word about it, the settings are where the environment says, or at home.
        """
        self.addCleanup(os.environ.update, {"HOME": os.environ["HOME"]})
        os.environ["HOME"] = "/home/alice"
        os.environ.pop("POST_CONFIG", None)
        self.assertEqual(Path("/home/alice/.config/post/node.toml"), default_config())
        os.environ["POST_CONFIG"] = str(self.config)
        self.addCleanup(os.environ.pop, "POST_CONFIG")
        self.assertEqual(69, post("status").exit_code)
