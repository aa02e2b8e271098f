"""
An organisation made by C{post init}, and machines that join it by code, as real processes.
"""

from __future__ import annotations

import dataclasses
import time
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from post.ca.authority import Authority
from post.ca.code import JoinCode
from post.ca.questions import JOIN, VERSION, Join, prove
from post.ca.tokens import Tokens
from post.ca.visit import Visit
from post.cli.doctor import examine
from post.cli.findings import State
from post.cli.settling import make_keys
from post.config import load
from post.crypto.certificates import make_request
from post.crypto.entropy import system_entropy
from post.hashes import Purpose
from post.home import Home
from post.wire import pack
from tests.cli.commands import post
from tests.scratch import scratch
from tests.system.machines import Machine
from tests.system.rings import wait_for


class JoiningTests(SynchronousTestCase):
    """
    Tests of joining.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.alice = self.machine("alice")

    def machine(self, name: str) -> Machine:
        """
        Another one.
        """
        return Machine(self, self.directory, name)

    def test_mail(self) -> None:
        """
        Two machines join in empty directories, and all three write to one another; who joins later is known to those
        who joined earlier, though nobody carries a file.
        """
        self.assertIn("post ca token", self.alice.init(3))
        self.alice.start()
        self.alice.wait("active")
        others = [self.machine(name) for name in ("bob", "carol")]
        secrets = [f"{each.name}-secret" for each in (self.alice, *others)]
        for other in others:
            token = self.alice.token(other.name)
            # The half of it that is secret; in groups, and without them.
            secrets += [token, token.replace("-", "")[30:60], *token.split("-")[6:10]]
            code, said = other.join(token)
            self.assertEqual(0, code, said)
            other.start()
            other.wait("active")
        everybody = [self.alice, *others]
        for each in everybody:
            each.wait("serving")
        bob, carol = others
        wait_for("bob knows carol", lambda: knows(bob, "carol"), 90)
        for sender in everybody:
            for recipient in everybody:
                if sender is not recipient:
                    subject = f"from {sender.name} to {recipient.name}"
                    sender.send(recipient.name, subject)
                    recipient.wait_for_mail(subject)
        for each in everybody:
            self.assertEqual("", each.status()["authority_trouble"])
            log = each.log
            for secret in (*secrets, "from bob to"):
                self.assertNotIn(secret, log)
        listed = post("ca", "list", "--config", self.alice.config).output
        self.assertEqual(3, listed.count("person  "), listed)
        self.assertEqual(3, listed.count("node  "), listed)
        self.assertEqual(2, listed.count("used"), listed)
        # Where the others are is known from the authority alone, after all were off.
        for each in everybody:
            each.stop()
        for each in everybody:
            each.start()
        for each in everybody:
            each.wait("serving")
        carol.send("bob", "again")
        bob.wait_for_mail("again")

    def test_role(self) -> None:
        """
        A machine that has been a member for some time becomes a gateway, by what is said where the authority is and two
        restarts; keys and mailbox stay.
        """
        self.alice.init(2)
        self.alice.start()
        self.alice.wait("active")
        bob = self.machine("bob")
        code, said = bob.join(self.alice.token("bob"))
        self.assertEqual(0, code, said)
        bob.start()
        for each in (self.alice, bob):
            each.wait("serving")
        self.alice.send("bob", "from before")
        bob.wait_for_mail("from before")
        key = (bob.home / "node.key").read_bytes()
        refused = post("gateway", "dkim", "--config", bob.config)
        self.assertEqual((78, True), (refused.exit_code, "post ca role" in refused.output))
        post("ca", "role", "bob@example.org", "--add", "gateway", "--config", self.alice.config)
        for waiting in (True, False):
            bob.stop()
            bob.start()
            wait_for("the role", partial(acts, bob, waiting), 60)
        bob.wait("serving")
        self.assertEqual(key, (bob.home / "node.key").read_bytes())
        self.assertIn("v=DKIM1", post("gateway", "dkim", "--config", bob.config).output)
        bob.wait_for_mail("from before")
        self.alice.send("bob", "from after")
        bob.wait_for_mail("from after")

    def test_refused(self) -> None:
        """
        A code that is mistyped, invented, expired, used, of another authority, or that leads to nobody: one line, and
        nothing is made.  The machine can then join with a right one.
        """
        self.alice.init(1)
        self.alice.start()
        self.alice.wait("serving")
        bob, eve = self.machine("bob"), self.machine("eve")
        other = Machine(self, self.directory / "other", "mallory")
        other.init(1)
        good = self.alice.token("bob")
        code = JoinCode.from_text(good)
        authority = Authority.open(self.alice.home / "authority", system_entropy)
        past = int(time.time()) - 60
        expired = Tokens(authority.path).make(code.where, authority.root, "eve@example.org", past, system_entropy)
        foreign = JoinCode.from_text(other.token("bob"))
        for text, exit_code, said in (
            (good[:-1] + ("0" if good[-1] != "0" else "1"), 78, "a letter is wrong"),
            (good[:20], 78, "is not right"),
            (dataclasses.replace(code, secret=bytes(16)).to_text(), 1, "has given out no such code"),
            (expired.to_text(), 1, "has expired"),
            (dataclasses.replace(foreign, where=code.where).to_text(), 1, "belongs to another authority"),
            (dataclasses.replace(code, where=f"127.0.0.1:{self.alice.link}").to_text(), 1, "nothing was told"),
            (dataclasses.replace(code, where=f"127.0.0.1:{eve.link}").to_text(), 69, "refused"),
        ):
            ended, words = bob.join(text)
            self.assertEqual((exit_code, 1), (ended, len(words.splitlines())), words)
            self.assertIn(said, words)
            self.assertFalse((bob.home / "version").exists())
        self.assertEqual(0, bob.join(good)[0])
        self.assertIn("is a node's already", bob.join(good)[1])
        ended, words = eve.join(good)
        self.assertEqual(1, ended)
        self.assertIn("has been used already", words)
        self.assertIn(
            "has an account already", post("ca", "token", "--config", self.alice.config, "bob@example.org").output
        )

    def test_ended(self) -> None:
        """
        A machine that was off when its certificate ended has it renewed when it comes back; if it cannot be, it says
        so.
        """
        self.alice.init(1)
        self.alice.start()
        self.alice.wait("serving")
        bob = self.machine("bob")
        self.assertEqual(0, bob.join(self.alice.token("bob"))[0])
        home, now = Home(bob.home), int(time.time())
        authority = Authority.open(self.alice.home / "authority", system_entropy)
        request = make_request(home.credentials(now).key)
        ended = authority.issue_node(request, "bob@example.org", now - 1800, life_s=900)
        (bob.home / "node.chain").write_bytes(pack(ended))
        bob.start()
        bob.wait("serving")
        home.credentials(now)
        bob.stop()
        self.alice.stop()
        (bob.home / "node.chain").write_bytes(pack(ended))
        bob.start()
        self.assertEqual(78, bob.ended())
        self.assertIn("has a certificate that has ended, and it cannot be renewed", bob.log)

    def test_clock(self) -> None:
        """
        On a machine whose clock is days off, slow or fast, it is the clock that is found, by the authority's.
        """
        self.alice.init(1)
        self.alice.start()
        self.alice.wait("serving")
        bob = self.machine("bob")
        self.assertEqual(0, bob.join(self.alice.token("bob"))[0])
        for days, state, said in (
            (0, State.OK, "agrees with the authority's"),
            (-2, State.FAILED, "behind the authority's"),
            (3, State.FAILED, "ahead of the authority's"),
        ):
            found = examine(load(bob.config), time.time() + days * 86400)
            (clock,) = [each for each in found if each.area == "clock"]
            self.assertEqual((state, True), (clock.state, said in clock.what), clock)

    def test_again(self) -> None:
        """
        When the answer was lost on the way, the same machine can use the code again, and no other can.
        """
        self.alice.init(1)
        self.alice.start()
        self.alice.wait("serving")
        text = self.alice.token("bob")
        code = JoinCode.from_text(text)
        bob = self.machine("bob")
        keys = make_keys(bob.home)
        with Visit(code.where, code.fingerprint) as visit:
            body = Join(VERSION, visit.door, make_request(keys[0]), make_request(keys[1]), ())
            visit.ask(JOIN, prove(body, code.name, code.key, Purpose.JOIN_QUESTION))
        self.assertIn("has been used already", self.machine("eve").join(text)[1])
        self.assertEqual(0, bob.join(text)[0])


def acts(machine: Machine, waiting: bool) -> bool:
    """
    Whether it has the role of a gateway, and waits, or does not, to be started again.
    """
    found = machine.status()
    return (found.get("roles"), found.get("roles_waiting")) == (["gateway"], waiting)


def knows(machine: Machine, name: str) -> bool:
    """
    Whether the directory on a machine names somebody.
    """
    home, now = Home(machine.home), int(time.time())
    return home.directory(home.credentials(now).root, now).account(f"{name}@example.org") is not None
