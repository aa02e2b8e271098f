"""
The public log of what the authority issues, as real processes.
"""

from __future__ import annotations

import json
import shutil

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.commands import post
from tests.scratch import scratch
from tests.system.machines import Machine
from tests.system.rings import wait_for

MINUTE_S = 60


class PublicLogTests(SynchronousTestCase):
    """
    Alice runs the authority, and bob has joined.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.alice, self.bob = (Machine(self, self.directory, name) for name in ("alice", "bob"))
        self.alice.init(2)
        self.alice.start()
        self.alice.wait("active")
        code, said = self.bob.join(self.alice.token("bob"))
        self.assertEqual(0, code, said)
        self.bob.start()
        for each in (self.alice, self.bob):
            each.wait("serving")

    def warned(self, machine: Machine, name: str) -> list[str]:
        """
        What a node warns of under one name.
        """
        found = machine.status().get("alerts")
        return [each["what"] for each in found if each["name"] == name] if isinstance(found, list) else []

    def log(self, *options: object) -> list[dict[str, object]]:
        """
        What C{post ca log} shows.
        """
        result = post("ca", "log", "--json", *map(str, options))
        self.assertEqual(0, result.exit_code, result.output)
        return [json.loads(line) for line in result.output.splitlines()]

    def certify(self, name: str) -> None:
        """
        The authority's operator makes a certificate for another key of somebody.
        """
        authority = self.alice.home / "authority"
        post("ca", "request", self.directory / "key", self.directory / "request")
        options = ("--authority", authority, "--address", f"{name}@example.org", "--replace")
        result = post("ca", "issue-user", *options, self.directory / "request", self.directory / "chain")
        self.assertEqual(0, result.exit_code, result.output)

    def test_second_key(self) -> None:
        """
        Within a minute bob's node warns of a certificate for bob that it has not asked for, and alice's does not; bob
        can say that he knows of it.
        """
        wait_for("bob's copy", lambda: (self.bob.home / "issuance" / "head").exists(), MINUTE_S)
        self.assertEqual([], self.warned(self.bob, "certified-elsewhere"))
        self.certify("bob")
        wait_for("bob is warned", lambda: self.warned(self.bob, "certified-elsewhere"), MINUTE_S)
        self.assertEqual([], self.warned(self.alice, "certified-elsewhere"))
        entries = self.log("--config", self.bob.config, "bob@example.org")
        self.assertEqual(entries, self.log("--config", self.alice.config, "bob@example.org"))
        self.assertEqual(["node", "identity", "recovery", "identity"], [entry["kind"] for entry in entries])
        number = str(entries[-1]["number"])
        said = post("ca", "log", "--config", self.bob.config, "--known", number)
        self.assertEqual(0, said.exit_code, said.output)
        self.assertEqual([], self.warned(self.bob, "certified-elsewhere"))

    def test_forked(self) -> None:
        """
        An authority that begins again before what bob has seen is noticed by bob, and bob's mail goes on.
        """
        self.alice.stop()
        authority, before = self.alice.home / "authority", self.directory / "before"
        shutil.copytree(authority, before)
        self.alice.start()
        self.alice.wait("serving")
        self.certify("carol")
        wait_for("carol's entry", lambda: b"carol@" in (self.bob.home / "issuance" / "entries").read_bytes(), MINUTE_S)
        self.alice.stop()
        shutil.rmtree(authority)
        before.rename(authority)
        self.certify("dave")
        self.certify("erin")
        self.alice.start()
        self.alice.wait("serving")
        wait_for("bob is warned", lambda: self.warned(self.bob, "log-split"), MINUTE_S)
        wait_for("alice is warned", lambda: self.warned(self.alice, "log-split"), MINUTE_S)
        self.bob.send("alice", "all the same")
        self.alice.wait_for_mail("all the same")
