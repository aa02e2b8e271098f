"""
Tests for L{post.cli.doctor} and its checks.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from post import control
from post.cli.dns_checks import examine, examine_keys
from post.cli.findings import Finding, State, report
from post.cli.local_checks import check_certificates
from post.cli.loop import run
from post.cli.reach_checks import check_clock, check_members, check_seeds
from post.config import load
from post.errors import NotFound
from post.gateway.dkim import Key
from post.gateway.dns import Dns
from post.home import Home
from tests.cli.commands import Organisation, post
from tests.gateway.names import Zone, ZoneResolver
from tests.scratch import scratch

DAY_S = 86400
STATUS: dict[str, Any] = {"active": True, "ring_size": 3, "clock_ahead_s": 0.5, "alerts": []}


def free_port() -> int:
    """
    One that nobody has just now.
    """
    with socket.socket() as trying:
        trying.bind(("127.0.0.1", 0))
        port: int = trying.getsockname()[1]
        return port


def states(found: Iterable[Finding]) -> list[State]:
    """
    How the things are that were looked at.
    """
    return [finding.state for finding in found]


class DoctorTests(SynchronousTestCase):
    """
    Tests of C{post doctor}, on a node that does not run unless the test says so.
    """

    def setUp(self) -> None:
        self.organisation = Organisation(scratch(self))
        self.home = self.organisation.certify_node("alice")
        self.seed = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.seed.close)
        self.seeds = [f"127.0.0.1:{self.seed.getsockname()[1]}"]
        self.organisation.init_node(self.home, "--listen", f"127.0.0.1:{free_port()}", "--seed", self.seeds[0])
        self.organisation.add_user(self.home, "alice", "secret")
        with (self.home / "node.toml").open("a") as file:
            file.write("\n[mail]\n")
            for key in ("submission", "submissions", "imap", "imaps", "web"):
                file.write(f'{key} = "127.0.0.1:{free_port()}"\n')

    def examine(self, code: int) -> dict[str, list[dict[str, str]]]:
        """
        What it finds, by area.
        """
        result = post("doctor", "--config", self.home, "--json")
        self.assertEqual(code, result.exit_code, result.output)
        found: dict[str, list[dict[str, str]]] = {}
        for finding in json.loads(result.output):
            found.setdefault(finding["area"], []).append(finding)
        return found

    def only_failure(self) -> dict[str, str]:
        """
        The one thing that fails; it says what to do.
        """
        (failed,) = [each for area in self.examine(1).values() for each in area if each["state"] == "failed"]
        self.assertTrue(failed["cure"])
        return failed

    def answer(self, status: dict[str, Any]) -> None:
        """
        Answer once as a running node would.
        """
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        path = control.place(self.home)
        self.addCleanup(control.remove, self.home)
        listener.bind(os.fspath(path))
        listener.listen(1)

        def attend() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(control.reply({"status": lambda request: status}, connection.recv(1000)))

        thread = threading.Thread(target=attend)
        thread.start()
        self.addCleanup(thread.join)

    def test_well(self) -> None:
        """
        Of a node that does not run, and could, nothing fails; that it does not run is said, and what is not known.
        """
        found = self.examine(0)
        self.assertEqual({"disk", "certificates", "clock", "ports", "ring"}, set(found))
        self.assertEqual(["ok"] * 3, [each["state"] for each in found["disk"]])
        self.assertEqual(["note"], [each["state"] for each in found["clock"]])
        self.assertEqual({"ok"}, {each["state"] for each in found["ports"]})
        ring = [each["what"] for each in found["ring"]]
        self.assertIn("1 of 1 nodes through which the ring is entered can be reached", ring)
        self.assertIn("the node does not run", ring)
        text = post("doctor", "--config", self.home).output
        self.assertIn("ring:\n  ok  1 of 1 nodes", text)
        self.assertIn("  !!  the node does not run\n      Start it", text)
        self.assertTrue(text.endswith("0 failed, 2 to look after.\n"), text)

    def test_settings(self) -> None:
        """
        Without settings, or a node, there is one line that says so.
        """
        self.assertEqual(78, post("doctor", "--config", self.home / "none").exit_code)
        (self.home / "version").unlink()
        self.assertIn("is not the directory of a node", self.only_failure()["what"])

    def test_secrets(self) -> None:
        """
        Secrets that others may read are found, each with how it is mended.
        """
        account = self.home / "accounts" / "alice@example.org" / "account"
        account.chmod(0o640)
        failed = [each for area in self.examine(1).values() for each in area if each["state"] == "failed"]
        self.assertIn(f"chmod 600 {account}", [each["cure"] for each in failed])

    def test_port(self) -> None:
        """
        A port that somebody else has is named by its setting.
        """
        with socket.create_server(("127.0.0.1", self.port("imap"))):
            failed = self.only_failure()
        self.assertEqual(("ports", True), (failed["area"], failed["what"].startswith("mail.imap: cannot listen")))

    def port(self, key: str) -> int:
        """
        That of a setting of [mail].
        """
        service: str = getattr(load(self.home / "node.toml").settings.mail, key)
        return int(service.rpartition(":")[2])

    def test_alone(self) -> None:
        """
        That no other node can be reached is said with who was tried.
        """
        self.seed.close()
        failed = self.only_failure()
        self.assertEqual("ring", failed["area"])
        self.assertIn(self.seeds[0], failed["cure"])

    def test_running(self) -> None:
        """
        Of a running node, its ports have to answer, and what it warns of is said as well.
        """
        alerts = [
            {"level": "alarm", "name": "missing", "what": "Of 2 objects no copy.", "cure": "Switch on.", "address": ""},
            {"level": "alarm", "name": "disk", "what": "The disk is full.", "cure": "Make room.", "address": ""},
        ]
        self.answer({**STATUS, "alerts": alerts})
        listeners = [
            socket.create_server(("127.0.0.1", self.port(key))) for key in ("submission", "submissions", "imap")
        ]
        for listener in listeners:
            self.addCleanup(listener.close)
        found = self.examine(1)
        silent = [each["what"] for each in found["ports"] if each["state"] == "failed"]
        self.assertEqual(["links.listen", "mail.imaps", "mail.web"], [what.partition(":")[0] for what in silent])
        self.assertEqual(["Of 2 objects no copy."], [each["what"] for each in found["the running node"]])
        self.assertEqual(["ok"], [each["state"] for each in found["clock"]])

    def test_certificates(self) -> None:
        """
        What has ended fails, with the day; what will end soon is said before.
        """
        config = load(self.home / "node.toml")
        credentials = Home(self.home).credentials(int(time.time()))
        self.assertTrue(credentials.chain)
        for days, state in ((0, State.OK), (725, State.WARNING), (1000, State.FAILED)):
            found = list(check_certificates(config, int(time.time()) + days * DAY_S))
            self.assertEqual(state, max(states(found)), (days, found))

    def test_clock(self) -> None:
        """
        A clock that disagrees with the others fails by how much it does.
        """
        config = load(self.home / "node.toml")
        for ahead, state in ((2, State.OK), (-60, State.WARNING), (86400, State.FAILED)):
            (found,) = check_clock(config, None, 0, {**STATUS, "clock_ahead_s": ahead})
            self.assertEqual(state, found.state)
        (found,) = check_clock(config, None, 0, {**STATUS, "clock_ahead_s": 86400})
        self.assertIn("86,400 s behind", found.what)

    def test_members(self) -> None:
        """
        With too few people for k copies it is said what can be done.
        """
        home = Home(self.home)
        root, now = home.credentials(int(time.time())).root, int(time.time())
        policy, directory = home.policy(root, now), home.directory(root, now)
        found = list(check_members(policy, directory, STATUS))
        self.assertEqual([State.WARNING, State.OK], states(found))
        self.assertEqual(State.FAILED, list(check_members(policy, directory, {**STATUS, "active": False}))[1].state)

    def test_seeds(self) -> None:
        """
        Of several nodes one that answers is enough; those the authority told count, and oneself does not.
        """
        config = load(self.home / "node.toml")
        nobody = f"127.0.0.1:{free_port()}"
        (found,) = check_seeds(config, (nobody, config.settings.links.listen))
        self.assertEqual((State.NOTE, True), (found.state, f"not {nobody}" in found.what))


class ReportTests(SynchronousTestCase):
    """
    Tests of L{report}.
    """

    def test_nothing(self) -> None:
        """
        That nothing is wrong is said in so many words.
        """
        text = report([Finding("disk", State.OK, "it is there"), Finding("disk", State.NOTE, "it is large")])
        self.assertEqual("disk:\n  ok  it is there\n  --  it is large\n\nNothing is wrong.", text)


class DnsTests(SynchronousTestCase):
    """
    Tests of the DNS of a gateway.
    """

    zone: dict[str, dict[str, Any]] = {
        "example.org": {"MX": [[10, "mx.example.org"]], "TXT": ["v=spf1 mx -all", "something else"]},
        "mx.example.org": {"A": ["192.0.2.7"]},
        "7.2.0.192.in-addr.arpa": {"PTR": ["mx.example.org"]},
        "_dmarc.example.org": {"TXT": ["v=DMARC1; p=reject"]},
    }

    def look(self, zone: Zone) -> list[Finding]:
        """
        What is found in a zone.
        """

        async def gathered() -> list[Finding]:
            dns = Dns(ZoneResolver(zone), Clock())
            return [finding async for finding in examine(dns, "example.org", "mx.example.org")]

        return self.successResultOf(Deferred.fromCoroutine(gathered()))

    def changed(self, name: str, records: dict[str, Any]) -> list[Finding]:
        """
        What is found that is not well, when one name has other records.
        """
        return [each for each in self.look({**self.zone, name: records}) if each.state is not State.OK]

    def test_well(self) -> None:
        """
        Where all is published nothing is wrong.
        """
        self.assertEqual([State.OK] * 4, states(self.look(self.zone)))

    def test_keys(self) -> None:
        """
        A key that signs is published, or the record to publish is named; that nothing signs is said.
        """
        key = Key("s1", rsa.generate_private_key(65537, 1024))
        name, text = key.record("example.org")
        for zone, keys, state in (
            ({name: {"TXT": ["other", text.replace("; p=", ";p= ")]}}, [key], State.OK),
            ({name: {"TXT": [text[:-10]]}}, [key], State.FAILED),
            ({name: {"TXT": ["v=DKIM1; p="]}}, [key], State.FAILED),
            ({}, [key], State.FAILED),
            ({name: {"FAIL": []}}, [key], State.NOTE),
            ({}, [], State.WARNING),
        ):

            async def look(dns: Dns, keys: list[Key]) -> list[Finding]:
                return [finding async for finding in examine_keys(dns, keys, "example.org")]

            dns = Dns(ZoneResolver(zone), Clock())
            [finding] = self.successResultOf(Deferred.fromCoroutine(look(dns, keys)))
            self.assertEqual(state, finding.state, zone)
            self.assertEqual(state is State.FAILED, "Publish: s1._domainkey.example.org. IN TXT" in finding.cure)

    def test_missing(self) -> None:
        """
        What is missing or wrong is named with the record to publish.
        """
        for name, records, state, said in (
            ("example.org", {"TXT": ["v=spf1 -all"]}, State.FAILED, "example.org. MX 10 mx.example.org."),
            ("mx.example.org", {"TXT": ["x"]}, State.FAILED, "mx.example.org. A"),
            ("7.2.0.192.in-addr.arpa", {"PTR": ["host7.isp.example"]}, State.WARNING, "reverse DNS"),
            ("_dmarc.example.org", {"TXT": ["x"]}, State.WARNING, "_dmarc.example.org. TXT"),
            ("_dmarc.example.org", {"TXT": ["v=DMARC1; p=none"] * 2}, State.FAILED, "one such record only"),
        ):
            (found,) = self.changed(name, records)
            self.assertEqual((state, True), (found.state, said in found.cure), found)

    def test_unavailable(self) -> None:
        """
        That a resolver fails is not taken for a missing record.
        """
        (found,) = self.changed("example.org", {"FAIL": True})
        self.assertIn("the resolver does not answer", found.what)
        (found,) = self.changed("_dmarc.example.org", {"FAIL": True})
        self.assertEqual(State.NOTE, found.state)


class LoopTests(SynchronousTestCase):
    """
    Tests of L{run}.
    """

    def test_result(self) -> None:
        """
        What the work returns or raises comes out; it may wait in between, and be done again.
        """

        async def wait(reactor: Any) -> str:
            return await deferLater(reactor, 0, lambda: "done")

        async def fail(reactor: Any) -> str:
            raise NotFound("it")

        self.assertEqual(["done", "done"], [run(wait), run(wait)])
        self.assertRaises(NotFound, run, fail)
