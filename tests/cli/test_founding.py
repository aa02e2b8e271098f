"""
Tests for L{post.cli.founding} and L{post.cli.greeting}.
"""

from __future__ import annotations

import json
import socket
import stat
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.cli.founding import LOCK, PORTS, SERVICES, check_unused, found, free_ports, read_plan, who
from post.cli.greeting import describe, welcome
from post.config import load
from post.crypto.certificates import read_node
from post.errors import ConfigError
from post.gateway.service import check_role
from post.home import Home
from tests.scratch import scratch


class PortTests(SynchronousTestCase):
    """
    Tests of L{free_ports}.
    """

    def test_free(self) -> None:
        """
        As many as are asked for, none of which anybody has, and none that the system lends to others; behind the last
        one comes the first.
        """
        (taken,) = free_ports(1, 5000)
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", taken))
            found = free_ports(20, taken - PORTS.start)
        around = free_ports(20, len(PORTS) - 10)
        self.assertNotIn(taken, found)
        for ports in (found, around):
            self.assertEqual((20, set()), (len(set(ports)), set(ports) - set(PORTS)))
        self.assertGreater(around[0], around[-1])

    def test_too_few(self) -> None:
        """
        More than there are cannot be had.
        """
        self.assertRaises(ConfigError, free_ports, len(PORTS) + 1, 0)


class WhoTests(SynchronousTestCase):
    """
    Tests of L{who}.
    """

    def test_usual(self) -> None:
        """
        Of a ring of which nothing is said, alice and bob live in it, as many as it has nodes, each with a password that
        nobody can guess.
        """
        for nodes, names in ((1, ["alice"]), (2, ["alice", "bob"]), (5, ["alice", "bob"])):
            domain, people = who(nodes, "example.org", [])
            self.assertEqual(
                ("example.org", [f"{name}@example.org" for name in names]), (domain, [a for a, _ in people])
            )
        self.assertNotEqual(who(2, "example.org", [])[1], people)

    def test_given(self) -> None:
        """
        Names are brought into their canonical form, full addresses too, and a password may have colons.
        """
        domain, people = who(2, "BÜCHER.example", ["Alice:a:b:", "bob@bücher.example: x "])
        self.assertEqual("xn--bcher-kva.example", domain)
        self.assertEqual([(f"alice@{domain}", "a:b:"), (f"bob@{domain}", " x ")], people)

    def test_refused(self) -> None:
        """
        What cannot be is named, in one line.
        """
        for nodes, domain, users, said in (
            (1, "example.org", ["a:x", "b:x"], "--user: 2 users need as many nodes, and --nodes is 1"),
            (2, "a b", [], "--domain a b: is not a domain"),
            (2, "example.org", ["alice"], "--user alice: is not NAME:PASSWORD"),
            (2, "example.org", [":x"], "--user : is not NAME:PASSWORD"),
            (2, "example.org", ["alice:"], "--user alice: the password has to be"),
            (2, "example.org", ["alice:a\nb"], "--user alice: the password has to be"),
            (2, "example.org", ["a b:x"], "--user a b: cannot be the name of a mail account"),
            (2, "example.org", ["..:x"], "--user ..: cannot be the name"),
            (2, "example.org", ["a+b:x"], "--user a+b: is a sub-address"),
            (2, "example.org", ["jörg:x"], "--user jörg: has a letter that certificates cannot hold"),
            (2, "example.org", ["a@example.com:x"], "--user a@example.com: is not of the domain example.org"),
            (2, "example.org", ["alice:x", "ALICE:z"], "--user alice@example.org: is there twice"),
        ):
            error = self.assertRaises(ConfigError, who, nodes, domain, users)
            self.assertTrue(str(error).startswith(said), str(error))


class FoundTests(SynchronousTestCase):
    """
    Tests of L{found}.
    """

    def setUp(self) -> None:
        self.directory = scratch(self) / "ring"
        self.domain, self.people = who(3, "example.org", ["a/b:x:y", "bob:z"])

    def found(self) -> None:
        found(self.directory, 3, self.domain, self.people)

    def test_found(self) -> None:
        """
        Every node has an owner of its own, settings that load, and the accounts that live on it; everybody is in the
        directory of each.
        """
        self.found()
        plan = read_plan(self.directory)
        self.assertEqual(["node1", "node2", "node3"], [node.name for node in plan.nodes])
        self.assertEqual([["a/b@example.org"], ["bob@example.org"], []], [node.accounts for node in plan.nodes])
        self.assertEqual({"a/b@example.org": "x:y", "bob@example.org": "z"}, plan.passwords)
        owners, now = set(), int(time.time())
        for node in plan.nodes:
            config = load(self.directory / node.name / "node.toml")
            home = Home(config.directory)
            credentials = home.credentials(now)
            certificate = read_node(credentials.chain[0])
            owners.add(certificate.owner)
            self.assertEqual((node.node_id, node.link), (certificate.node_id.hex(), config.settings.links.listen))
            self.assertEqual(node.accounts, [account.address for account in home.accounts(credentials.root)])
            directory = home.directory(credentials.root, now)
            self.assertEqual((2, 3), (len(directory.entries), len(directory.members)))
            mail = config.settings.mail
            self.assertEqual((node.pop3, node.pop3s, node.web), (mail.pop3, mail.pop3s, mail.web))
            self.assertEqual(("", frozenset(), []), (mail.smtp, certificate.roles, node.describe()["roles"]))
        self.assertEqual(3, len(owners))
        services = {getattr(node, service) for node in plan.nodes for service in SERVICES} - {""}
        self.assertEqual(24, len(services))

    def test_gateways(self) -> None:
        """
        The last nodes are gateways if that is asked for: by their certificates, in everybody's directory, and with a
        port, a postmaster and a resolver of their own.
        """
        found(self.directory, 3, self.domain, self.people, 2, "127.0.0.1:53")
        plan = read_plan(self.directory)
        self.assertEqual([[], ["gateway"], ["gateway"]], [node.describe()["roles"] for node in plan.nodes])
        self.assertIsNone(plan.nodes[0].describe()["smtp"])
        now = int(time.time())
        for node in plan.nodes[1:]:
            config = load(self.directory / node.name / "node.toml")
            self.assertEqual(node.smtp, config.settings.mail.smtp)
            self.assertIn(f"mail from the Internet by SMTP at {node.smtp}", describe(plan, self.directory))
            gateway = config.settings.gateway
            self.assertEqual(
                (f"{node.name}.example.org", "a/b@example.org", "127.0.0.1:53"),
                (gateway.host, gateway.postmaster, gateway.dns),
            )
            home = Home(config.directory)
            credentials = home.credentials(now)
            certificate = read_node(credentials.chain[0])
            check_role(config, certificate, self.domain)
            directory = home.directory(credentials.root, now)
            self.assertEqual(
                {each.node_id for each in plan.nodes[1:]}, {each.hex() for each in directory.nodes_with("gateway")}
            )

    def test_before_pop3(self) -> None:
        """
        A ring that was made before there was POP3, or a page, opens as it is, and has none.
        """
        self.found()
        file = self.directory / "plan.json"
        made = json.loads(file.read_text())
        for node in made["nodes"]:
            del node["pop3"], node["pop3s"], node["web"]
        file.write_text(json.dumps(made))
        plan = read_plan(self.directory)
        shown = plan.nodes[0].describe()
        self.assertEqual([None] * 3, [shown["pop3"], shown["pop3s"], shown["web"]])
        self.assertEqual(["-", "-"], describe(plan, self.directory).splitlines()[3].split()[-2:])

    def test_secret(self) -> None:
        """
        The passwords are kept where nobody else can read them.
        """
        self.found()
        plan = self.directory / "plan.json"
        self.assertEqual(0o600, stat.S_IMODE(plan.stat().st_mode))
        plan.chmod(0o644)
        self.assertRaises(ConfigError, read_plan, self.directory)

    def test_interrupted(self) -> None:
        """
        A ring whose making was cut short is made anew.
        """
        self.found()
        (self.directory / "plan.json").unlink()
        (self.directory / "authority" / "root.der").unlink()
        check_unused(self.directory)
        self.found()
        self.assertEqual(3, len(read_plan(self.directory).nodes))

    def test_not_ours(self) -> None:
        """
        A directory with something else in it is left alone, whatever that is called.
        """
        check_unused(self.directory)
        self.directory.mkdir()
        (self.directory / LOCK).touch()
        check_unused(self.directory)
        (self.directory / "node_modules").mkdir()
        self.assertRaises(ConfigError, check_unused, self.directory)
        self.assertRaises(ConfigError, check_unused, self.directory / LOCK)

    def test_damaged(self) -> None:
        """
        A damaged plan is said to be so.
        """
        self.directory.mkdir()
        for data in (b"", b"{}", b"\xff", b"[1]"):
            (self.directory / "plan.json").write_bytes(data)
            (self.directory / "plan.json").chmod(0o600)
            self.assertIn("is damaged", str(self.assertRaises(ConfigError, read_plan, self.directory)))

    def test_width(self) -> None:
        """
        With ordinary names and passwords it fits a terminal of 80 columns; so does the welcome mail, and it names the
        other's node, not one's own.
        """
        found(self.directory, 5, self.domain, self.people)
        plan = read_plan(self.directory)
        self.assertEqual([], [line for line in describe(plan, Path("ring")).splitlines() if len(line) > 80])
        for node, other in ((plan.nodes[0], plan.nodes[1]), (plan.nodes[1], plan.nodes[0])):
            text = welcome(plan, Path("ring"), node.accounts[0], node, other.accounts[0]).get_content()
            self.assertEqual([], [line for line in text.splitlines() if len(line) > 80])
            self.assertIn(f"--stop {other.name}", text)

    def test_describe(self) -> None:
        """
        The table names every node, who lives there and the ports; what is to be pasted into a shell is quoted.
        """
        self.people = [("it's@example.org", "p w'$"), *self.people[1:]]
        self.found()
        plan = read_plan(self.directory)
        text = describe(plan, self.directory)
        for node in plan.nodes:
            for service in (node.submission, node.submissions, node.imap, node.imaps, node.pop3, node.pop3s):
                self.assertIn(service.rpartition(":")[2], text)
        self.assertIn("""curl --user 'it'"'"'s@example.org:p w'"'"'$' \\\n  'imap://""", text)
        self.assertIn("imap://it%27s:p%20w%27%24@127.0.0.1:", text)
