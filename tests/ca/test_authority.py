"""
Tests for L{post.ca.authority} and L{post.ca.membership}.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path
from threading import Thread

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ca.authority import DIRECTORY_S, LATE_S, LEAF_S, NODES_PER_OWNER, Authority
from post.ca.membership import Membership
from post.crypto.certificates import make_request, read_node, verify_identity, verify_node
from post.crypto.documents import open_directory, open_policy
from post.crypto.entropy import SeededEntropy
from post.crypto.keys import SigningKey
from post.crypto.revocations import (
    IDENTITY,
    NEXT_S,
    NODE,
    REVOKED_LIMIT,
    Revocation,
    Revocations,
    open_revocations,
)
from post.errors import ConfigError, PeerError
from post.files import lock, write_file
from tests.crypto.issued import DAY, NOW
from tests.scratch import scratch

ENTROPY = SeededEntropy(b"members")
REQUEST, OTHER = (make_request(SigningKey.generate(ENTROPY)) for _ in range(2))


class AuthorityTests(SynchronousTestCase):
    """
    Tests of L{Authority}.
    """

    def setUp(self) -> None:
        self.path = scratch(self) / "authority"
        self.authority = Authority.create(self.path, "Example.ORG", SeededEntropy(b"authority"), NOW, k=2, minimum=1)

    def reopen(self) -> Authority:
        return Authority.open(self.path, SeededEntropy(b"again"))

    def test_create(self) -> None:
        """
        A new authority has a policy, an empty directory and secrets that nobody else can read.
        """
        policy = open_policy(self.authority.policy(), self.authority.root, NOW)
        self.assertEqual(("example.org", 2, 1), (policy.domain, policy.k, policy.minimum))
        self.assertEqual((), open_directory(self.authority.directory(), self.authority.root, NOW).entries)
        for name in ("root.key", "issuing.key", "secrets"):
            self.assertEqual(0o600, stat.S_IMODE((self.path / name).stat().st_mode))
        self.assertEqual(0o700, stat.S_IMODE(self.path.stat().st_mode))

    def test_once(self) -> None:
        """
        A second one is not made over the first; one whose making was cut short is made anew.
        """
        self.assertRaises(ConfigError, Authority.create, self.path, "example.org", ENTROPY, NOW)
        self.assertRaises(ConfigError, Authority.create, self.path / "x", "no domain", ENTROPY, NOW)
        (self.path / "root.der").unlink()
        self.assertRaises(ConfigError, self.reopen)
        Authority.create(self.path, "example.org", ENTROPY, NOW)

    def test_root_not_needed(self) -> None:
        """
        Once the directory is made, the root's key is needed no more.
        """
        (self.path / "root.key").unlink()
        self.reopen().issue_node(REQUEST, "alice", NOW)

    def test_node(self) -> None:
        """
        A node is certified under the root, and asking again, for a new key too, gives the same place on the ring.
        """
        chain = self.authority.issue_node(REQUEST, "alice", NOW, "attic", ["gateway"])
        node = verify_node(chain, self.authority.root, NOW)
        self.assertEqual(("alice", "attic", {"gateway"}), (node.owner, node.site, node.roles))
        again = read_node(self.reopen().issue_node(OTHER, " Alice", NOW + DAY)[0])
        self.assertEqual(node.node_id, again.node_id)
        second = read_node(self.authority.issue_node(REQUEST, "alice", NOW, index=1)[0])
        self.assertNotEqual(node.node_id, second.node_id)
        directory = open_directory(self.authority.directory(), self.authority.root, NOW)
        self.assertEqual({node.node_id, second.node_id}, {member.node for member in directory.members})
        # What it was certified for last.
        self.assertEqual([], directory.nodes_with("gateway"))
        self.authority.issue_node(OTHER, "alice", NOW, roles=["gateway"], index=1)
        directory = open_directory(self.authority.directory(), self.authority.root, NOW)
        self.assertEqual([second.node_id], directory.nodes_with("gateway"))

    def test_nodes_are_limited(self) -> None:
        """
        Nobody gets more places on the ring than there are numbers.
        """
        for index in (-1, NODES_PER_OWNER):
            self.assertRaises(ConfigError, self.authority.issue_node, REQUEST, "alice", NOW, index=index)
        for owner in ("", " ", "a\x07b", "a@b@c"):
            self.assertRaises(ConfigError, self.authority.issue_node, REQUEST, owner, NOW)

    def test_user(self) -> None:
        """
        A person keeps the account when certified again, and the serial rises even while the clock stands still.
        """
        chain = self.authority.issue_user(REQUEST, "Alice@EXAMPLE.org", NOW)
        identity = verify_identity(chain, self.authority.root, NOW)
        self.assertEqual("alice@example.org", identity.address)
        for now in (NOW, NOW - 60):
            again = verify_identity(self.reopen().issue_user(OTHER, "alice@example.org", now), self.authority.root, NOW)
            self.assertEqual(identity.account, again.account)
            self.assertGreater(again.serial, identity.serial)
            identity = again
        bob = verify_identity(self.authority.issue_user(REQUEST, "bob@example.org", NOW), self.authority.root, NOW)
        self.assertNotEqual(identity.account, bob.account)
        directory = open_directory(self.authority.directory(), self.authority.root, NOW)
        self.assertEqual(identity.account, directory.account("alice@example.org"))
        self.assertEqual(["alice@example.org", "bob@example.org"], [entry.address for entry in directory.entries])

    def test_not_certified(self) -> None:
        """
        Neither what is no address, nor one of another domain, nor one that a certificate cannot hold; and no request
        that is none.
        """
        for address in ("alice", "alice@example.com", "a b@example.org", "jörg@example.org", "alice+x@example.org"):
            self.assertRaises(ConfigError, self.authority.issue_user, REQUEST, address, NOW)
        self.assertRaises(PeerError, self.authority.issue_user, b"nonsense", "alice@example.org", NOW)
        self.assertRaises(PeerError, self.authority.issue_node, b"nonsense", "alice", NOW)
        directory = open_directory(self.authority.directory(), self.authority.root, NOW)
        self.assertEqual(((), ()), (directory.entries, directory.members))

    def test_cut_short(self) -> None:
        """
        A crash that cuts off a line of what was issued does not end the authority, nor does it spoil the next line.
        """
        self.authority.issue_user(REQUEST, "alice@example.org", NOW)
        with (self.path / "issued.jsonl").open("a") as file:
            file.write('{"kind": "ident')
        self.reopen().issue_user(REQUEST, "alice@example.org", NOW)
        lines = [json.loads(line) for line in (self.path / "issued.jsonl").read_text().splitlines()]
        self.assertEqual(["alice@example.org"] * 2, [line["name"] for line in lines])

    def test_damaged(self) -> None:
        """
        What is damaged, foreign, newer or readable by others is said, not used.
        """
        other = scratch(self) / "other"
        Authority.create(other, "example.org", ENTROPY, NOW)
        for name, data in (
            ("issuing.key", b"nonsense"),
            ("secrets", b"nonsense"),
            ("issuing.der", b"nonsense"),
            ("issuing.key", (other / "issuing.key").read_bytes()),
        ):
            whole = (self.path / name).read_bytes()
            (self.path / name).write_bytes(data)
            self.assertRaises(ConfigError, self.reopen)
            (self.path / name).write_bytes(whole)
        (self.path / "secrets").chmod(0o644)
        self.assertRaises(ConfigError, self.reopen)
        (self.path / "secrets").chmod(0o600)
        (self.path / "policy").write_bytes((other / "policy").read_bytes())
        self.assertRaises(ConfigError, self.reopen().issue_node, REQUEST, "alice", NOW)
        (self.path / "issued.jsonl").write_text("nonsense\n")
        self.assertRaises(ConfigError, self.reopen().issue_user, REQUEST, "alice@example.org", NOW)

    def test_alone(self) -> None:
        """
        Of two that issue at once one is refused, instead of forgetting a member of the other's.
        """
        held = lock(self.path / "lock")
        self.assertRaises(ConfigError, self.authority.issue_user, REQUEST, "alice@example.org", NOW)
        os.close(held)
        self.authority.issue_user(REQUEST, "alice@example.org", NOW)

    def test_patient(self) -> None:
        """
        A command waits until the node has issued what it is about to.
        """
        held = lock(self.path / "lock")
        patient = Authority.open(self.path, ENTROPY, patient=True)
        issued: list[tuple[bytes, bytes]] = []
        command = Thread(target=lambda: issued.append(patient.issue_user(REQUEST, "alice@example.org", NOW)))
        command.start()
        self.assertEqual([], issued)
        os.close(held)
        command.join()
        self.assertEqual(1, len(issued))


class MembershipTests(SynchronousTestCase):
    """
    Tests of L{Membership}.
    """

    def setUp(self) -> None:
        self.path: Path = scratch(self) / "authority"
        self.authority = Authority.create(self.path, "example.org", SeededEntropy(b"authority"), NOW)

    def test_round_trip(self) -> None:
        """
        A member finds in the file what the authority has.
        """
        found = Membership.from_bytes(self.authority.membership(NOW).to_bytes())
        self.assertEqual(
            (self.authority.root, self.authority.policy(), self.authority.directory(), self.authority.convergence),
            (found.root, found.policy, found.directory, found.convergence),
        )

    def test_fresh(self) -> None:
        """
        A directory near its end is signed anew before it is given out.
        """
        first = open_directory(self.authority.membership(NOW).directory, self.authority.root, NOW)
        later = NOW + DIRECTORY_S - DAY
        second = open_directory(self.authority.membership(later).directory, self.authority.root, later)
        self.assertEqual((NOW + DIRECTORY_S, later + DIRECTORY_S), (first.expires, second.expires))
        self.assertGreater(second.serial, first.serial)

    @given(st.binary(max_size=100))
    def test_garbage(self, data: bytes) -> None:
        """
        Anything else is refused.
        """
        self.assertRaises(PeerError, Membership.from_bytes, data)


class RevokeTests(SynchronousTestCase):
    """
    Tests of L{Authority.revoke}.
    """

    def setUp(self) -> None:
        self.path = scratch(self) / "authority"
        self.authority = Authority.create(self.path, "example.org", SeededEntropy(b"authority"), NOW)
        self.keys = [SigningKey.generate(ENTROPY) for _ in range(2)]
        for key in self.keys:
            self.authority.issue_user(make_request(key), "bob@example.org", NOW)
        self.authority.issue_node(make_request(self.keys[0]), "bob@example.org", NOW)

    def signed(self, now: int = NOW) -> Revocations:
        """
        The list as members get it.
        """
        return open_revocations(self.authority.membership(now).revoked, self.authority.root, now)

    def test_person(self) -> None:
        """
        All keys of a name are revoked, and the directory names it no longer; others are not touched.
        """
        fresh = self.authority.revoke(IDENTITY, "bob@example.org", NOW + 5, "left")
        self.assertEqual([key.public for key in self.keys], fresh)
        found = self.signed(NOW + 5)
        self.assertEqual([(NOW + 5, "left")] * 2, [(each.since, each.reason) for each in found.entries])
        directory = self.authority.members(NOW + 5)
        self.assertEqual((None, 1), (directory.account("bob@example.org"), len(directory.members)))

    def test_again(self) -> None:
        """
        Revoking once more adds nothing, and mends a directory that a crash left naming whom the list names.
        """
        before = self.authority.directory()
        self.authority.revoke(IDENTITY, "bob@example.org", NOW)
        write_file(self.path / "directory", before)
        self.assertEqual([], self.authority.revoke(IDENTITY, "bob@example.org", NOW + 9))
        self.assertEqual(None, self.authority.members(NOW).account("bob@example.org"))
        self.assertEqual({NOW}, {entry.since for entry in self.signed().entries})

    def test_keeping(self) -> None:
        """
        Of somebody who has a new machine only the former keys are revoked, and the directory goes on to name them.
        """
        fresh = self.authority.revoke(IDENTITY, "bob@example.org", NOW, keeping=self.keys[1].public)
        self.assertEqual([self.keys[0].public], fresh)
        self.assertIsNotNone(self.authority.members(NOW).account("bob@example.org"))

    def test_nobody(self) -> None:
        """
        Who was never certified cannot be revoked, and a key that was cannot be certified again.
        """
        self.assertRaises(ConfigError, self.authority.revoke, IDENTITY, "carol@example.org", NOW)
        self.authority.revoke(NODE, self.authority.node_name("Bob@example.org", 0), NOW)
        request = make_request(self.keys[0])
        self.assertRaises(ConfigError, self.authority.issue_node, request, "bob@example.org", NOW)
        self.assertRaises(ConfigError, self.authority.issue_user, request, "bob@example.org", NOW)

    def test_next_update(self) -> None:
        """
        The list is signed anew in time, though nothing changes; entries leave it a year after the certificate's end.
        """
        first = self.signed()
        self.assertEqual(first, self.signed(NOW + NEXT_S // 2 - 1))
        second = self.signed(NOW + NEXT_S // 2 + 1)
        self.assertGreater(second.serial, first.serial)
        self.authority.revoke(IDENTITY, "bob@example.org", NOW)
        self.assertEqual(2, len(self.signed(NOW + LEAF_S + LATE_S - 1).entries))
        self.assertEqual(0, len(self.signed(NOW + LEAF_S + LATE_S + NEXT_S).entries))

    def test_restored(self) -> None:
        """
        What an authority signs that was made of a backup is newer than all that it had signed since: members would not
        take it otherwise, and whoever was revoked would stay.
        """
        copy = self.path.with_name("backup")
        shutil.copytree(self.path, copy)
        for number in range(3):
            self.authority.change_policy(NOW + number, k=4 + number)
            self.authority.revoke(IDENTITY, "bob@example.org", NOW + number, keeping=self.keys[number % 2].public)
            self.authority.issue_user(OTHER, f"user{number}@example.org", NOW + number)
        before = self.serials(NOW + 3)
        self.authority = Authority.open(copy, SeededEntropy(b"again"))
        self.authority.revoke(IDENTITY, "bob@example.org", NOW + DAY)
        self.authority.change_policy(NOW + DAY, k=4)
        for old, new in zip(before, self.serials(NOW + DAY), strict=True):
            self.assertGreater(new, old)

    def serials(self, now: int) -> tuple[int, int, int]:
        """
        Those of what members get.
        """
        policy = open_policy(self.authority.membership(now).policy, self.authority.root, now)
        return self.signed(now).serial, self.authority.members(now).serial, policy.serial

    def test_full(self) -> None:
        """
        A list of as many entries as there may be, with reasons as long as they may be, fits into a message; one more is
        refused before anything is changed.
        """
        entries = tuple(
            Revocation(NODE, "ab" * 20, i.to_bytes(33, "big"), NOW, NOW + DAY, "") for i in range(REVOKED_LIMIT - 1)
        )
        self.authority._write_revocations(self.signed(), entries, NOW)
        self.assertRaises(ConfigError, self.authority.revoke, IDENTITY, "bob@example.org", NOW)
        self.assertEqual(REVOKED_LIMIT - 1, len(self.signed().entries))
        self.assertIsNotNone(self.authority.members(NOW).account("bob@example.org"))
