"""
An authority in memory, whose keys follow from a seed: for imaginary worlds, and for tests.
"""

from __future__ import annotations

from msgspec import structs

from post.crypto.certificates import (
    NodeCertificate,
    issue_identity,
    issue_issuing,
    issue_node,
    issue_root,
    make_request,
    node_id_for,
    read_node,
)
from post.crypto.convergent import Convergence
from post.crypto.documents import Directory, DirectoryEntry, Member, Policy
from post.crypto.entropy import SeededEntropy
from post.crypto.keys import SigningKey
from post.crypto.revocations import NEXT_S, Revocation, Revocations, sign_revocations
from post.crypto.sealing import SealingKey
from post.ids import AccountId, Id
from post.messaging.account import AccountCredentials, HeldKey

DOMAIN = "example.org"
LIFE_S = 10 * 365 * 86400


class Authority:
    """
    Issues whatever it is asked for.
    """

    def __init__(self, seed: bytes, now: int, **policy: int) -> None:
        self.entropy = SeededEntropy(seed)
        self.domain = domain = DOMAIN
        self.now = now
        self.convergence = Convergence(1, self.entropy(32))
        self.policy = Policy(1, domain, 1, now, **policy)
        root_key, self.key = SigningKey.generate(self.entropy), SigningKey.generate(self.entropy)
        start, end = now - 3600, now + LIFE_S
        self.root = issue_root(root_key, domain, start, end, self.entropy)
        self.issuing = issue_issuing(self.root, root_key, self.key, domain, start, end, self.entropy)
        self._secret = self.entropy(32)
        self.entries: list[DirectoryEntry] = []
        self.members: list[Member] = []
        self.revoked: list[Revocation] = []

    def node(
        self, owner: str, index: int = 0, roles: tuple[str, ...] = ()
    ) -> tuple[SigningKey, tuple[bytes, ...], NodeCertificate]:
        """
        A node's key, chain, and certificate.
        """
        key = SigningKey.generate(self.entropy)
        node_id = node_id_for(self._secret, owner, index)
        start, end = self.now - 3600, self.now + LIFE_S
        leaf = issue_node(
            self.issuing, self.key, make_request(key), node_id, owner, "here", roles, index, start, end, self.entropy
        )
        self.members.append(Member(node_id, owner, roles))
        return key, (leaf, self.issuing), read_node(leaf)

    def account(self, name: str) -> AccountCredentials:
        """
        An account with all its keys; the password's hash is the password.
        """
        address = f"{name}@{self.domain}"
        account = AccountId(Id.from_bytes(self.entropy(20)))
        key = SigningKey.generate(self.entropy)
        start, end = self.now - 3600, self.now + LIFE_S
        leaf = issue_identity(self.issuing, self.key, make_request(key), address, account, 1, start, end, self.entropy)
        self.entries.append(DirectoryEntry(address, account))
        sealing = (HeldKey(SealingKey.generate(self.entropy), end),)
        return AccountCredentials(
            address, account, key, (leaf, self.issuing), self.entropy(32), sealing, f"{name}-secret"
        )

    def directory(self) -> Directory:
        """
        Everybody so far.
        """
        return Directory(self.domain, 1, self.now, self.now + LIFE_S, self.entries, self.members)

    def change_policy(self, **changes: int) -> Policy:
        """
        What holds from now on.
        """
        self.policy = structs.replace(self.policy, serial=self.policy.serial + 1, **changes)
        return self.policy

    def revoke(self, key: bytes, since: int, reason: str = "", kind: str = "node", name: str = "") -> bytes:
        """
        The signed list, in which C{key} stands too from now on.
        """
        self.revoked.append(Revocation(kind, name, key, since, self.now + LIFE_S, reason))
        serial = len(self.revoked)
        listed = Revocations(1, self.domain, serial, since, since + NEXT_S, tuple(self.revoked))
        return sign_revocations(listed, self.issuing, self.key)
