"""
Tests for L{post.cli.doctor} and its checks.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase

from post import control
from post.cli.dns_checks import examine as examine_dns
from post.cli.dns_checks import examine_keys, examine_others, spf_of
from post.cli.doctor import examine
from post.cli.findings import Finding, State, report
from post.cli.local_checks import check_certificates, check_disk
from post.cli.loop import run
from post.cli.reach_checks import check_clock, check_listening, check_members, check_seeds, port_cure
from post.config import load
from post.crypto.documents import Directory, Member
from post.errors import NotFound, Unreachable
from post.gateway.dkim import Key
from post.gateway.dns import Dns
from post.gateway.service import ROLE
from post.health.alerts import DISK_FULL, DISK_LOW
from post.home import Home
from post.ids import Id, NodeId
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

    def test_stopped(self) -> None:
        """
        Of a node that has been stopped that is said, and not that somebody else has its ports.
        """
        self.patch(sys.modules["post.cli.doctor"], "PATIENCE_S", 0.1)
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(os.fspath(control.place(self.home)))
        listener.listen(1)
        failed = self.only_failure()
        self.assertEqual("the node runs, and does not answer", failed["what"])
        self.assertIn("kill -CONT", failed["cure"])

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

    def test_space(self) -> None:
        """
        A disk that is full fails, one that will be soon is warned of, each with the directory that it is about.
        """
        config = load(self.home / "node.toml")
        for free, state in ((50 << 30, State.OK), (DISK_LOW - 1, State.WARNING), (DISK_FULL - 1, State.FAILED)):

            def measure(directory: Path, free: int = free) -> tuple[int, int]:
                self.assertEqual(self.home, directory)
                return 100 << 30, free

            found = next(each for each in check_disk(config, measure) if "are free" in each.what)
            self.assertEqual((state, state is not State.OK), (found.state, str(self.home) in found.cure))

    def test_port(self) -> None:
        """
        A port that somebody else has is named by its setting.
        """
        with socket.create_server(("127.0.0.1", self.port("imap"))):
            failed = self.only_failure()
        self.assertEqual(("ports", True), (failed["area"], failed["what"].startswith("mail.imap: cannot listen")))
        if Path("/proc/net/tcp").exists():
            self.assertIn(f"(process {os.getpid()})", failed["what"])

    def test_usurped(self) -> None:
        """
        A port that another program answers while the node runs is the node's no more than one that is silent.
        """
        config = load(self.home / "node.toml")
        with socket.create_server(("127.0.0.1", self.port("web"))) as listener:
            service = f"127.0.0.1:{listener.getsockname()[1]}"
            for pid, state in ((os.getpid(), State.OK), (os.getpid() + 1, State.FAILED)):
                found = {each.what.partition(":")[0]: each for each in check_listening(config, {"pid": pid})}
                if Path("/proc/net/tcp").exists():
                    self.assertEqual(state, found["mail.web"].state)
        self.assertIn(f"{service} is answered by", found["mail.web"].what)

    def test_addresses(self) -> None:
        """
        What keeps a node from a port is told apart: somebody else, a missing privilege, an address of no interface.
        """
        for error, said in (
            (errno.EADDRINUSE, "Stop whatever listens there"),
            (errno.EACCES, "CAP_NET_BIND_SERVICE"),
            (errno.EADDRNOTAVAIL, "no such address"),
        ):
            self.assertIn(said, port_cure("mail.smtp", f"cannot listen on 192.0.2.1:25: {os.strerror(error)}"))

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
        home = Home(self.home)
        for ahead, state in ((2, State.OK), (-60, State.WARNING), (86400, State.FAILED)):
            (found,) = check_clock(config, home, 0, {**STATUS, "clock_ahead_s": ahead})
            self.assertEqual(state, found.state)
        (found,) = check_clock(config, home, 0, {**STATUS, "clock_ahead_s": 86400})
        self.assertIn("86,400 s behind the other nodes' (1.0 days)", found.what)
        self.assertIn("timedatectl", found.cure)

    def test_clock_of_authority(self) -> None:
        """
        A node that does not run, with a clock a day off and so without a valid certificate, is compared with the
        authority; the next door is asked where one does not answer, and that none does is said.
        """
        with (self.home / "node.toml").open("a") as file:
            file.write('\n[authority]\ndoors = ["127.0.0.1:1", "127.0.0.1:2"]\n')
        config, home, asked = load(self.home / "node.toml"), Home(self.home), list[str]()

        def time_at(door: str, root: bytes) -> int:
            self.assertEqual(home.root(), root)
            asked.append(door)
            if door.endswith(":1"):
                raise Unreachable("it is off")
            return 2 * DAY_S

        (found,) = check_clock(config, home, DAY_S, None, time_at)
        self.assertEqual((State.FAILED, ["127.0.0.1:1", "127.0.0.1:2"]), (found.state, asked))
        self.assertIn("86,400 s behind the authority's", found.what)

        def nobody(door: str, root: bytes) -> int:
            raise Unreachable("it is off")

        (found,) = check_clock(config, home, DAY_S, None, nobody)
        self.assertEqual((State.NOTE, True), (found.state, "it is off" in found.what))

    def test_slow(self) -> None:
        """
        Where the clock lies before the node's certificate, that is said of both, and the clock comes first.
        """
        found = list(examine(load(self.home / "node.toml"), time.time() - 2 * DAY_S))
        areas = list(dict.fromkeys(each.area for each in found))
        self.assertLess(areas.index("clock"), areas.index("certificates"))
        (failed,) = [each for each in found if each.area == "certificates" and each.state is State.FAILED]
        self.assertIn("begins on", failed.what)
        self.assertIn("timedatectl", failed.what)

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
        self.assertEqual(State.NOTE, list(check_members(policy, directory, {**STATUS, "indirect": 2}))[2].state)

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

    def look(self, zone: Zone, takes: bool = True) -> list[Finding]:
        """
        What is found in a zone; SPF is judged by the library in a thread, as gateways judge others' mail.
        """

        async def gathered(reactor: Any) -> list[Finding]:
            dns = Dns(ZoneResolver(zone), reactor)
            spf = spf_of(reactor, dns, "example.org", "mx.example.org")
            return [finding async for finding in examine_dns(dns, "example.org", "mx.example.org", spf, takes)]

        return run(gathered)

    def changed(self, name: str, records: dict[str, Any]) -> list[Finding]:
        """
        What is found that is not well, when one name has other records.
        """
        return [each for each in self.look({**self.zone, name: records}) if each.state is not State.OK]

    def test_well(self) -> None:
        """
        Where all is published nothing is wrong.
        """
        self.assertEqual([State.OK] * 5, states(self.look(self.zone)))

    def test_spf(self) -> None:
        """
        Whether others believe that this machine sends for the domain is found out as they do it.
        """
        for text, state, said in (
            ("v=spf1 ip4:192.0.2.7 -all", State.OK, ""),
            ("v=spf1 ip4:192.0.2.8 -all", State.FAILED, "ip4:192.0.2.7"),
            ("v=spf1 ~all", State.FAILED, "ip4:192.0.2.7"),
            ("v=spf1 include:slow.example -all", State.NOTE, ""),
            ("v=spf1 nonsense:x -all", State.FAILED, "that can be read"),
        ):
            zone = {**self.zone, "slow.example": {"FAIL": True}}
            zone["example.org"] = {**self.zone["example.org"], "TXT": [text]}
            (found,) = [each for each in self.look(zone) if "SPF" in each.what and "published" not in each.what]
            self.assertEqual((state, True), (found.state, said in found.cure), found)

    def test_sends_only(self) -> None:
        """
        A gateway that takes no mail need not be where mail is sent to.
        """
        zone = {**self.zone, "example.org": {"TXT": ["v=spf1 ip4:192.0.2.7 -all"]}}
        self.assertEqual(State.NOTE, max(states(self.look(zone, takes=False))))

    def test_others(self) -> None:
        """
        Of the other gateways it is seen whether a key is published under its usual name; of machines that are none
        nothing is asked.
        """
        members = (
            Member(NodeId(Id(1 << 128)), "alice", (ROLE,)),
            Member(NodeId(Id(2 << 128)), "bob", (ROLE,)),
            Member(NodeId(Id(3 << 128)), "carol", (ROLE,)),
            Member(NodeId(Id(4 << 128)), "dave", ()),
        )
        directory = Directory("example.org", 1, 0, 1, (), members)
        zone = {
            "post-00000002._domainkey.example.org": {"TXT": ["v=DKIM1; p=abcd"]},
            "post-00000003._domainkey.example.org": {"TXT": ["v=DKIM1; p="]},
        }

        async def look() -> list[Finding]:
            found = examine_others(Dns(ZoneResolver(zone), Clock()), directory, members[0].node)
            return [finding async for finding in found]

        bob, carol = self.successResultOf(Deferred.fromCoroutine(look()))
        self.assertEqual((State.OK, State.NOTE), (bob.state, carol.state))
        self.assertIn("post gateway dkim", carol.cure)

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
            ("example.org", {"TXT": ["v=spf1 ip4:192.0.2.7 -all"]}, State.FAILED, "example.org. MX 10 mx.example.org."),
            ("mx.example.org", {"TXT": ["x"]}, State.FAILED, "mx.example.org. A"),
            ("7.2.0.192.in-addr.arpa", {"PTR": ["host7.isp.example"]}, State.WARNING, "reverse DNS"),
            ("_dmarc.example.org", {"TXT": ["x"]}, State.WARNING, "_dmarc.example.org. TXT"),
            ("_dmarc.example.org", {"TXT": ["v=DMARC1; p=none"] * 2}, State.FAILED, "one such record only"),
            ("_dmarc.example.org", {"TXT": ["v=DMARC1; p=maybe"]}, State.FAILED, "p=quarantine"),
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
