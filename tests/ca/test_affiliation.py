"""
Tests for L{post.ca.affiliation}: what a running node does with what its authority gives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.accounts import Accounts
from post.ca.affiliation import LOOK_S, Affiliation, renew_ended
from post.ca.authority import LATE_S, SHORT_S, Authority
from post.ca.upkeep import HURRY_S
from post.config import Config, load
from post.crypto.certificates import make_request, read_identity, read_node
from post.crypto.documents import Directory, Policy, Signed
from post.crypto.entropy import SeededEntropy
from post.crypto.keys import SigningKey
from post.crypto.revocations import NODE, Revocations
from post.crypto.trust import Taken
from post.errors import ConfigError
from post.home import Home
from post.ids import Contact
from post.wire import unpack
from tests.ca.heads import FakeHeads
from tests.ca.members import Office
from tests.crypto.issued import DAY, NOW
from tests.scratch import scratch
from tests.test_home import new_account


@dataclass
class Local:
    """
    Where a node is.
    """

    addresses: tuple[str, ...] = ("alice:7654",)


@dataclass
class Overlay:
    """
    The ring as a node sees it.
    """

    local: Local = field(default_factory=Local)


class FakeRevoked:
    """
    What is used of L{post.notices.revoked.RevokedNotice}.
    """

    def __init__(self) -> None:
        self.serial = 0
        self.heard: list[Any] = []
        self.used: list[bytes] = []
        self.keys: dict[bytes, Taken] = {}

    def use(self, data: bytes) -> None:
        found = unpack(Revocations, unpack(Signed, data).body)
        self.serial, self.keys = found.serial, found.keys()
        self.used.append(data)
        for heard in self.heard:
            heard(data, found)

    def taken(self, public_key: bytes) -> Taken | None:
        return self.keys.get(public_key)


class FakeNode:
    """
    What is used of a node (and, for C{renew}, of its transport).
    """

    def __init__(self, directory: Directory) -> None:
        self.directory = directory
        self.pastry = Overlay()
        self.accounts = Accounts(lambda password, stored: succeed(False))
        self.deposited: Any = None
        self.chains: list[tuple[bytes, ...]] = []
        self.met: Any = None
        self.revoked = FakeRevoked()
        self.issuance = FakeHeads()
        self.policies: list[Policy] = []

    def watch(self, seen: Any) -> None:
        self.met = seen

    def set_policy(self, policy: Policy) -> None:
        self.policies.append(policy)

    def set_directory(self, directory: Directory) -> None:
        self.directory = directory

    def renew(self, *arguments: Any) -> None:
        self.chains.append(arguments[-1])


class AffiliationCase(SynchronousTestCase):
    """
    A node that serves its authority.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.entropy = SeededEntropy(b"affiliation")
        self.authority = Authority.create(self.directory / "authority", "example.org", self.entropy, NOW)
        self.home = Home(self.directory)
        key = SigningKey.generate(self.entropy)
        chain = self.authority.issue_node(make_request(key), "alice", NOW, life_s=SHORT_S)
        policy, convergence = self.authority.policy(), self.authority.convergence
        self.home.create(key, chain, self.authority.root, convergence, policy, self.authority.directory())
        self.clock = Clock()
        self.clock.advance(NOW)
        self.reloads = 0
        self.ended: list[ConfigError] = []

    def config(self, directory: str = "authority") -> Config:
        """
        The settings of a node that serves an authority.
        """
        file = self.directory / "node.toml"
        file.write_text(f'[authority]\ndirectory = "{directory}"\nlisten = "127.0.0.1:0"')
        return load(file)


class AffiliationTests(AffiliationCase):
    """
    Tests of a node that serves its authority.
    """

    def start(self) -> tuple[Affiliation, FakeNode, FakeNode]:
        """
        A node that runs, and its transport.
        """
        credentials = self.home.credentials(NOW)
        affiliation = Affiliation(self.clock, self.config(), self.home, credentials, self.ended.append)
        node = FakeNode(self.home.directory(credentials.root, NOW))
        transport = FakeNode(node.directory)
        started: Any = affiliation  # The fakes are only what is used.
        started.start(node, transport, self.reload)
        self.addCleanup(lambda: self.successResultOf(Deferred.fromCoroutine(affiliation.stop())))
        return affiliation, node, transport

    def reload(self) -> None:
        """
        The accounts on disk have changed.
        """
        self.reloads += 1

    def test_renewed(self) -> None:
        """
        Renewed certificates of the node, and of a person on it, are on disk and in use, without a new start.
        """
        _, node, transport = self.start()
        account = new_account(self.authority, "alice@example.org")
        self.home.write_account(account)
        self.clock.advance(SHORT_S * 0.7)
        now = int(self.clock.seconds())
        fresh = self.home.credentials(now)
        self.assertEqual([fresh.chain], node.chains)
        self.assertEqual([fresh.chain], transport.chains)
        self.assertEqual(now + SHORT_S, read_node(fresh.chain[0]).not_after)
        # It was certified for two years, and is not exchanged for what ends sooner.
        end = read_identity(account.chain[0]).not_after
        self.clock.advance(end - 40 * DAY - now)
        self.assertEqual(0, self.reloads)
        self.clock.advance(15 * DAY)
        self.assertEqual(1, self.reloads)
        (renewed,) = self.home.accounts(fresh.root)
        self.assertGreater(read_identity(renewed.chain[0]).not_after, read_identity(account.chain[0]).not_after)

    def test_role(self) -> None:
        """
        A role that the authority gives is in the node's certificate within half a minute, on disk and in use, and
        nothing more is asked.
        """
        _, node, transport = self.start()
        (member,) = node.directory.members
        self.authority.set_roles(member.node, ["gateway"], NOW)
        self.clock.pump([LOOK_S, HURRY_S, HURRY_S])
        (chain,) = node.chains
        self.assertEqual(frozenset(["gateway"]), read_node(chain[0]).roles)
        self.assertEqual(chain, self.home.credentials(int(self.clock.seconds())).chain)
        self.assertEqual([chain], transport.chains)
        self.clock.pump([LOOK_S] * 60)
        self.assertEqual(1, len(node.chains))

    def test_met(self) -> None:
        """
        A node that is met and not known is known soon; one that is known causes no question.
        """
        affiliation, node, _ = self.start()
        before = node.directory.serial
        key = SigningKey.generate(self.entropy)
        chain = self.authority.issue_node(make_request(key), "bob", NOW)
        (member,) = node.directory.members
        node.met(Contact(member.node, (), 1))
        self.clock.advance(HURRY_S)
        self.assertEqual(before, node.directory.serial)
        node.met(Contact(read_node(chain[0]).node_id, (), 1))
        self.clock.advance(HURRY_S)
        self.assertEqual(2, len(node.directory.members))
        self.assertEqual("", affiliation.trouble)

    def test_foreign(self) -> None:
        """
        Another authority than its own is not served, nor one that is not there.
        """
        Office(self.directory / "other")
        credentials = self.home.credentials(NOW)
        for directory in ("other/authority", "none"):
            self.assertRaises(
                ConfigError, Affiliation, self.clock, self.config(directory), self.home, credentials, print
            )

    def test_by_hand(self) -> None:
        """
        A node without an authority to ask asks nobody.
        """
        file = self.directory / "node.toml"
        file.write_text("")
        affiliation = Affiliation(self.clock, load(file), self.home, self.home.credentials(NOW), self.ended.append)
        affiliation.listen()
        node: Any = FakeNode(self.home.directory(self.authority.root, NOW))
        affiliation.start(node, node, self.reload)
        self.assertEqual(([], None, ""), (self.clock.getDelayedCalls(), node.met, affiliation.trouble))

    def test_revoked_elsewhere(self) -> None:
        """
        What a command revokes in the authority's directory is used within ten seconds, written down, and the directory
        that no longer names it soon after.
        """
        _, node, _ = self.start()
        key = SigningKey.generate(self.entropy)
        self.authority.issue_node(make_request(key), "bob", NOW)
        name = self.authority.node_name("bob", 0)
        self.clock.pump([LOOK_S, 1])
        self.assertIn(name, [member.node.hex() for member in node.directory.members])
        self.authority.revoke(NODE, name, NOW + 11, "lost")
        self.clock.pump([LOOK_S, 1])
        self.assertEqual("lost", node.revoked.keys[key.public].reason)
        self.assertEqual(self.home.revoked(), node.revoked.used[-1])
        self.assertNotIn(name, [member.node.hex() for member in node.directory.members])
        self.assertEqual([], self.ended)

    def test_itself(self) -> None:
        """
        A node that hears that it is revoked ends, with a line that says what to do; and does not start again.
        """
        self.start()
        self.authority.revoke(NODE, self.authority.node_name("alice", 0), NOW, "stolen")
        self.clock.advance(LOOK_S)
        [error] = self.ended
        self.assertIn("revoked on 2023-11-14 22:13 UTC (stolen): ask the authority for a new code", str(error))
        again = self.assertRaises(ConfigError, self.home.credentials, NOW + 60)
        self.assertIn("(stolen): ask the authority for a new code", str(again))

    def test_carried(self) -> None:
        """
        A newer policy and list that somebody has put into the node's directory are used by the running node.
        """
        file = self.directory / "node.toml"
        file.write_text("")
        affiliation = Affiliation(self.clock, load(file), self.home, self.home.credentials(NOW), self.ended.append)
        node: Any = FakeNode(self.home.directory(self.authority.root, NOW))
        affiliation.start(node, node, self.reload)
        self.authority.issue_node(make_request(SigningKey.generate(self.entropy)), "bob", NOW)
        self.authority.revoke(NODE, self.authority.node_name("bob", 0), NOW)
        self.authority.change_policy(NOW, k=5)
        self.home.write_policy(self.authority.policy())
        self.home.write_revocations(self.authority.membership(NOW).revoked)
        affiliation.look_at_home(node)
        affiliation.look_at_home(node)
        self.assertEqual((1, 5), (len(node.revoked.used), node.policies[-1].k))


class EndedTests(AffiliationCase):
    """
    Tests of L{renew_ended}.
    """

    def test_renewed(self) -> None:
        """
        A node whose certificate has ended while it was off has it renewed before it starts; another is left alone.
        """
        before = self.home.credentials(NOW).chain
        renew_ended(self.config(), self.home, NOW + DAY)
        self.assertEqual(before, self.home.credentials(NOW).chain)
        later = NOW + SHORT_S + DAY
        self.assertRaises(ConfigError, self.home.credentials, later)
        renew_ended(self.config(), self.home, later)
        self.assertEqual(later + SHORT_S, read_node(self.home.credentials(later).chain[0]).not_after)

    def test_refused(self) -> None:
        """
        Why it cannot be renewed is one line; without an authority to ask nothing is tried.
        """
        late = NOW + SHORT_S + LATE_S + DAY
        said = str(self.assertRaises(ConfigError, renew_ended, self.config(), self.home, late))
        self.assertIn("cannot be renewed", said)
        file = self.directory / "node.toml"
        file.write_text('authority.doors = ["127.0.0.1:1"]')
        said = str(self.assertRaises(ConfigError, renew_ended, load(file), self.home, NOW + SHORT_S + DAY))
        self.assertIn("127.0.0.1:1", said)
        file.write_text("")
        renew_ended(load(file), self.home, late)
        self.assertRaises(ConfigError, self.home.credentials, late)
