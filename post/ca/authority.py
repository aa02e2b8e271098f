"""
An organisation's authority, in a directory: an off-line root, and an issuing authority under it.

::

    root.key        the root's private key: take it off the machine once the directory is made
    root.der        the root's certificate: what every member trusts
    issuing.key     signs certificates, policy and directory
    issuing.der     its certificate, under the root, constrained to the domain
    secrets         node-id secret and convergence secret
    policy          the signed policy
    directory       the signed directory
    revoked         the signed list of what is revoked
    issued.jsonl    every certificate issued, one line each, append-only
    issuance/       the public log of all that is issued or revoked (L{post.ca.publishing})
    tokens/         the join codes given out (L{post.ca.tokens})
    heard           where nodes were heard of lately (L{post.ca.heard})
    lock            locked while something is issued

Private keys of members never come here: what is issued is issued for a certificate request.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from post.ca.membership import Membership
from post.ca.publishing import PublicLog
from post.ca.recoveries import Recoveries
from post.crypto.certificates import (
    NodeCertificate,
    issue_door,
    issue_identity,
    issue_issuing,
    issue_node,
    issue_root,
    issuing_key,
    make_request,
    node_id_for,
    read_identity,
    read_node,
    request_key,
)
from post.crypto.convergent import Convergence
from post.crypto.documents import (
    DAY_S,
    Directory,
    DirectoryEntry,
    Member,
    Policy,
    open_directory,
    open_policy,
    sign_directory,
    sign_policy,
)
from post.crypto.issuance import sign_head
from post.crypto.keys import SigningKey, public_bytes
from post.crypto.names import canonical, canonical_domain, split
from post.crypto.revocations import (
    IDENTITY,
    NEXT_S,
    NODE,
    REASON_LIMIT,
    REVOKED_LIMIT,
    Revocation,
    Revocations,
    open_revocations,
    sign_revocations,
)
from post.crypto.trust import Taken
from post.errors import ConfigError, PeerError
from post.files import lock, make_directory, read_file, read_secret, write_file, write_secret
from post.ids import AccountId, Id, NodeId
from post.interfaces import Entropy
from post.wire import Document, pack, unpack

ROOT_S = 20 * 365 * DAY_S
ISSUING_S = 10 * 365 * DAY_S
LEAF_S = 2 * 365 * DAY_S
"""Life of a certificate that is carried by hand, and renewed by hand."""
SHORT_S = 90 * DAY_S
"""Life of one that renews itself, from when two thirds are over: long enough for a machine that is off in summer, short
because a certificate is the longest that somebody who has to go can stay."""
DIRECTORY_S = 2 * 365 * DAY_S
DIRECTORY_RENEW_S = DIRECTORY_S // 2
"""A directory that would end sooner is signed anew when it is given out."""
BACKDATED_S = 3600
"""Certificates begin this long ago, for members whose clocks are slow."""
NODES_PER_OWNER = 16
LATE_S = 365 * DAY_S
"""After its end a certificate may still be renewed for so long, by the same key: a machine may have been off."""


class Secrets(Document, frozen=True):
    """
    What only the authority knows, and the secret that it shares with all members.
    """

    version: int
    node_ids: bytes
    generation: int
    convergence: bytes


class Authority:
    """
    An authority's directory, open.
    """

    def __init__(
        self, path: Path, key: SigningKey, root: bytes, issuing: bytes, secrets: Secrets, entropy: Entropy
    ) -> None:
        self.path = path
        self.root = root
        self.issuing = issuing
        self._key = key
        self._secrets = secrets
        self._entropy = entropy
        self._patient = False
        self.public_log = PublicLog(
            path,
            self.alone,
            self.directory_domain,
            lambda head: sign_head(head, issuing, key),
            self._issued,
            lambda now: self._revocations(now).entries,
        )

    @classmethod
    def create(cls, path: Path, domain: str, entropy: Entropy, now: int, **policy: int) -> Authority:
        """
        A new organisation; C{policy} names fields of L{Policy} to set.

        @raise ConfigError: if there is one in C{path} already, or C{domain} is none.
        """
        if (path / "root.der").exists():
            raise ConfigError(str(path), "holds an authority already")
        try:
            domain = canonical_domain(domain)
        except ValueError:
            raise ConfigError(domain, "is not a domain") from None
        make_directory(path, 0o700)
        root_key, key = SigningKey.generate(entropy), SigningKey.generate(entropy)
        start = now - BACKDATED_S
        root = issue_root(root_key, domain, start, now + ROOT_S, entropy)
        issuing = issue_issuing(root, root_key, key, domain, start, now + ISSUING_S, entropy)
        secrets = Secrets(1, entropy(32), 1, entropy(32))
        write_secret(path / "root.key", root_key.to_pem())
        write_secret(path / "issuing.key", key.to_pem())
        write_secret(path / "secrets", pack(secrets))
        write_file(path / "issuing.der", issuing)
        write_file(path / "policy", sign_policy(Policy(1, domain, 1, now, **policy), issuing, key))
        authority = cls(path, key, root, issuing, secrets, entropy)
        authority._write_directory(Directory(domain, 1, now, now + DIRECTORY_S, (), ()))
        # Last: a directory with a root is complete.
        write_file(path / "root.der", root)
        return authority

    @classmethod
    def open(cls, path: Path, entropy: Entropy, patient: bool = False) -> Authority:
        """
        A C{patient} one waits for its turn when another process issues something, and blocks meanwhile: right for a
        command.  A node, which has others to answer, is refused.

        @raise ConfigError: if there is no authority in C{path}, or it is damaged.
        """
        if not (path / "root.der").exists():
            raise ConfigError(str(path), "holds no authority")
        try:
            key = SigningKey.from_pem(read_secret(path / "issuing.key"))
            root, issuing = read_file(path / "root.der"), read_file(path / "issuing.der")
            secrets = unpack(Secrets, read_secret(path / "secrets"))
            if issuing_key(issuing) != key.public:
                raise ConfigError(str(path / "issuing.key"), "is not the key of issuing.der")
        except (ValueError, PeerError) as error:
            raise ConfigError(str(path), f"is damaged: {error}") from None
        if secrets.version != 1:
            raise ConfigError(str(path / "secrets"), f"is of version {secrets.version}; this program knows 1")
        authority = cls(path, key, root, issuing, secrets, entropy)
        authority._patient = patient
        return authority

    @property
    def convergence(self) -> Convergence:
        """
        What members need to store what others can share.
        """
        return Convergence(self._secrets.generation, self._secrets.convergence)

    def policy(self) -> bytes:
        """
        The signed policy.
        """
        return read_file(self.path / "policy")

    def directory(self) -> bytes:
        """
        The signed directory.
        """
        return read_file(self.path / "directory")

    def state(self) -> tuple[int, ...]:
        """
        What changes when policy, directory, the list of what is revoked or the public log does.
        """
        paths = (self.path / name for name in ("policy", "directory", "revoked", "issuance/entries"))
        return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in paths)

    def directory_domain(self, now: int) -> str:
        """
        The domain, in its canonical form.
        """
        return self._opened(now)[0].domain

    def change_policy(self, now: int, **changes: int) -> Policy:
        """
        Sign a policy that differs in some fields, and return it.

        @raise ConfigError: if nobody could keep it.
        """
        with self.alone():
            policy, _ = self._opened(now)
            changed = msgspec.structs.replace(policy, serial=_next(policy.serial, now), issued=now, **changes)
            signed = sign_policy(changed, self.issuing, self._key)
            try:
                policy = open_policy(signed, self.root, now)
            except PeerError as error:
                raise ConfigError("policy", str(error)) from None
            write_file(self.path / "policy", signed)
        return policy

    def membership(self, now: int) -> Membership:
        """
        What every member has to have.
        """
        with self.alone():
            _, directory = self._opened(now)
            if directory.expires - now < DIRECTORY_RENEW_S:
                self._rewrite(directory, directory.entries, directory.members, now)
            revoked = self._revocations(now)
            if not (self.path / "revoked").exists() or revoked.next_update - now < NEXT_S // 2:
                self._write_revocations(revoked, revoked.entries, now)
        return Membership(
            self.root, self.policy(), self.directory(), self.convergence, read_file(self.path / "revoked")
        )

    # Revoking.

    def revoke(self, kind: str, name: str, now: int, reason: str = "", keeping: bytes | None = None) -> list[bytes]:
        """
        Revoke every key for which C{name} (of C{kind}, as L{newest}) has been certified; the directory names it no
        longer, until another key is certified for it, and a person's recovery code is taken back.

        @param keeping: a public key that stays, and with it the name in the directory: that of a new machine whose
            predecessor is lost.
        @return: the keys that were not revoked before.
        @raise ConfigError: if nobody has been certified under that name, or the list is full.
        """
        with self.alone():
            _, directory = self._opened(now)
            before = self._revocations(now)
            until: dict[bytes, int] = {}
            for line in self._issued():
                if (line["kind"], line["name"]) == (kind, name):
                    key, ends = _facts(kind, b64decode(line["certificate"]))
                    until[key] = max(until.get(key, 0), ends + LATE_S)
            if not until:
                raise ConfigError(name, "is not certified by this authority: post ca list shows who is")
            known = before.keys()
            fresh = [key for key in until if key not in known and key != keeping and until[key] > now]
            more = [Revocation(kind, name, key, now, until[key], reason[:REASON_LIMIT]) for key in fresh]
            if len(before.entries) + len(more) > REVOKED_LIMIT:
                raise ConfigError(str(self.path / "revoked"), f"is full: {REVOKED_LIMIT} keys can be revoked")
            if more:
                self.public_log.revoke(more, now)
                self._write_revocations(before, (*before.entries, *more), now)
            # After the list: a crash in between leaves somebody in the directory whom nobody believes, and this
            # command, given again, takes them out.
            if keeping is None:
                entries = [entry for entry in directory.entries if (kind, name) != (IDENTITY, entry.address)]
                members = [member for member in directory.members if (kind, name) != (NODE, member.node.hex())]
                if (len(entries), len(members)) != (len(directory.entries), len(directory.members)):
                    self._rewrite(directory, entries, members, now)
                if kind == IDENTITY:
                    Recoveries(self.path).take_back(name, now)
        return fresh

    def revocations(self, now: int) -> Revocations:
        """
        What is revoked.
        """
        return self._revocations(now)

    def taken(self, public_key: bytes, now: int) -> Taken | None:
        """
        Since when a key is revoked, if it is.
        """
        return self._revocations(now).keys().get(public_key)

    def node_name(self, owner: str, index: int) -> str:
        """
        The id, in hexadecimal, of C{owner}'s node number C{index}.

        @raise ConfigError: if the owner's name is none.
        """
        return node_id_for(self._secrets.node_ids, _owner(owner), index).hex()

    def _revocations(self, now: int) -> Revocations:
        path = self.path / "revoked"
        if not path.exists():
            return Revocations(1, self.directory_domain(now), 0, now, now)
        try:
            return open_revocations(read_file(path), self.root, now)
        except PeerError as error:
            raise ConfigError(str(path), f"cannot be used: {error}") from None

    def _write_revocations(self, old: Revocations, entries: Sequence[Revocation], now: int) -> None:
        current = tuple(entry for entry in entries if entry.until > now)
        signed = Revocations(1, old.domain, _next(old.serial, now), now, now + NEXT_S, current)
        write_file(self.path / "revoked", sign_revocations(signed, self.issuing, self._key))

    def _refuse_revoked(self, request: bytes, now: int) -> None:
        taken = self.taken(public_bytes(request_key(request)), now)
        if taken is not None:
            raise ConfigError("this key", f"was {taken}: make a new one, elsewhere than beside it")

    @contextmanager
    def alone(self) -> Iterator[None]:
        """
        Two that issue at once would each write a directory without the other's member.
        """
        descriptor = lock(self.path / "lock", self._patient)
        try:
            yield
        finally:
            os.close(descriptor)

    def _opened(self, now: int) -> tuple[Policy, Directory]:
        try:
            return open_policy(self.policy(), self.root, now), open_directory(self.directory(), self.root, now)
        except PeerError as error:
            raise ConfigError(str(self.path), f"cannot be used: {error}") from None

    def issue_node(
        self,
        request: bytes,
        owner: str,
        now: int,
        site: str = "",
        roles: Sequence[str] = (),
        index: int = 0,
        life_s: int = LEAF_S,
    ) -> tuple[bytes, bytes]:
        """
        The chain for C{owner}'s node number C{index}; asking again gives the same node id.

        @raise PeerError: if C{request} is not in order.
        @raise ConfigError: if the owner would have too many nodes.
        """
        if not 0 <= index < NODES_PER_OWNER:
            raise ConfigError(owner, f"may have {NODES_PER_OWNER} nodes, numbered from 0")
        owner = _owner(owner)
        self._refuse_revoked(request, now)
        node_id = node_id_for(self._secrets.node_ids, owner, index)
        start, end = now - BACKDATED_S, now + life_s
        leaf = issue_node(
            self.issuing, self._key, request, node_id, owner, site, roles, index, start, end, self._entropy
        )
        name = read_node(leaf).node_id.hex()
        with self.alone():
            _, directory = self._opened(now)
            others = [member for member in directory.members if member.node != node_id]
            self._note("node", leaf, name, owner, now)
            self._rewrite(directory, directory.entries, [*others, Member(node_id, owner, tuple(sorted(roles)))], now)
        return leaf, self.issuing

    def issue_user(self, request: bytes, address: str, now: int, life_s: int = LEAF_S) -> tuple[bytes, bytes]:
        """
        The chain for the account of C{address}; an account that exists keeps its id and gets a higher serial.

        @raise PeerError: if C{request} is not in order.
        @raise ConfigError: if C{address} is none of this domain.
        """
        with self.alone():
            return self._issue_user(request, address, now, life_s)

    def _issue_user(self, request: bytes, address: str, now: int, life_s: int) -> tuple[bytes, bytes]:
        policy, directory = self._opened(now)
        name = self._name(address, policy.domain)
        self._refuse_revoked(request, now)
        account = directory.account(name) or self._account_before(name) or AccountId(Id.from_bytes(self._entropy(20)))
        start, end = now - BACKDATED_S, now + life_s
        # Serials rise with time, and by one if the clock stood still.
        serial = _next(self._last_serial(name), now)
        leaf = issue_identity(self.issuing, self._key, request, name, account, serial, start, end, self._entropy)
        others = [entry for entry in directory.entries if entry.address != name]
        self._note("identity", leaf, name, str(read_identity(leaf).serial), now)
        self._rewrite(directory, [*others, DirectoryEntry(name, account)], directory.members, now)
        return leaf, self.issuing

    def _account_before(self, name: str) -> AccountId | None:
        """
        The account of somebody who is not in the directory any more: whoever comes back keeps it.
        """
        last = self.newest(IDENTITY, name)
        return read_identity(last).account if last is not None else None

    @staticmethod
    def _name(address: str, domain: str) -> str:
        """
        The canonical address of a new account.
        """
        try:
            name = canonical(address)
        except ValueError:
            raise ConfigError(address, f"is not a mail address, such as bob@{domain}") from None
        if "+" in address.partition("@")[0]:
            raise ConfigError(address, "is a sub-address: it belongs to whoever has the name before the '+'")
        if not name.isascii():
            raise ConfigError(address, "has a letter before the @ that certificates cannot hold")
        if split(name)[1] != domain:
            raise ConfigError(address, f"is not of the domain {domain}")
        return name

    def account_name(self, address: str, now: int) -> str:
        """
        The canonical form of an address of this domain.

        @raise ConfigError: if it is none.
        """
        return self._name(address, self.directory_domain(now))

    def node_id(self, owner: str, index: int) -> NodeId:
        """
        The place on the ring of C{owner}'s node number C{index}.

        @raise ConfigError: if C{owner} is nobody's name.
        """
        return node_id_for(self._secrets.node_ids, _owner(owner), index)

    def newest(self, kind: str, name: str) -> bytes | None:
        """
        The certificate issued last to a node (its id in hexadecimal) or an address.  C{kind}: C{node} or C{identity}.
        """
        lines = [line for line in self._issued() if line["kind"] == kind and line["name"] == name]
        return b64decode(lines[-1]["certificate"]) if lines else None

    def all_newest(self) -> dict[tuple[str, str], bytes]:
        """
        The same for everybody, by kind and name.
        """
        return {(line["kind"], line["name"]): b64decode(line["certificate"]) for line in self._issued()}

    def door(self, now: int) -> tuple[SigningKey, tuple[bytes, bytes]]:
        """
        A new key and certificate for whoever answers in this authority's name, for as long as the process lives.

        The key is only in memory, beside the issuing key that could make another: so it needs no shorter life.
        """
        key = SigningKey.generate(self._entropy)
        domain = self.directory_domain(now)
        start, end = now - BACKDATED_S, now + ISSUING_S
        leaf = issue_door(self.issuing, self._key, make_request(key), domain, start, end, self._entropy)
        return key, (leaf, self.issuing)

    def members(self, now: int) -> Directory:
        """
        The directory as it is now.
        """
        return self._opened(now)[1]

    def roles(self, node: NodeCertificate, now: int) -> frozenset[str]:
        """
        What a node is to have in its next certificate: as the directory says, which L{set_roles} changes.
        """
        named = (member.roles for member in self.members(now).members if member.node == node.node_id)
        return frozenset(next(named, node.roles))

    def set_roles(self, node: NodeId, roles: Collection[str], now: int) -> None:
        """
        Let a node have these roles from its next certificate on, for the key that it has.  It asks for that one when it
        reads the directory.

        @raise ConfigError: if it is no member.
        """
        with self.alone():
            _, directory = self._opened(now)
            found = [member for member in directory.members if member.node == node]
            if not found:
                raise ConfigError(f"node {node.hex()[:8]}", "is no member: post ca list shows who is")
            others = [member for member in directory.members if member.node != node]
            changed = Member(node, found[0].owner, tuple(sorted(roles)))
            if changed != found[0]:
                self._rewrite(directory, directory.entries, [*others, changed], now)

    def _last_serial(self, name: str) -> int:
        last = 0
        for line in self._issued():
            if line["kind"] == "identity" and line["name"] == name:
                last = max(last, int(line["of"]))
        return last

    def replaces(self, request: bytes, owner: str = "", index: int = 0, address: str = "") -> bool:
        """
        Whether a certificate for C{request} would take a place on the ring (of C{owner} and C{index}), or a name, from
        another key that has it now.

        @raise PeerError: if C{request} is not in order.
        @raise ConfigError: if the name cannot be.
        """
        if address:
            kind, name = "identity", canonical(address)
        else:
            kind, name = "node", node_id_for(self._secrets.node_ids, _owner(owner), index).hex()
        last = next((line for line in reversed(self._issued()) if (line["kind"], line["name"]) == (kind, name)), None)
        if last is None:
            return False
        leaf = b64decode(last["certificate"])
        key = read_node(leaf).public_key if kind == "node" else read_identity(leaf).public_key
        return key != public_bytes(request_key(request))

    def _issued(self) -> list[dict[str, str]]:
        path = self.path / "issued.jsonl"
        if not path.exists():
            return []
        try:
            return [json.loads(line) for line in _whole_lines(read_file(path)).splitlines()]
        except ValueError as error:
            raise ConfigError(str(path), f"is damaged: {error}") from None

    def _note(self, kind: str, leaf: bytes, name: str, of: str, now: int) -> None:
        self.public_log.certify(kind, name, of, leaf, now)  # First: what is noted here may be handed out.
        line = {"kind": kind, "name": name, "of": of, "at": now, "certificate": b64encode(leaf).decode()}
        path = self.path / "issued.jsonl"
        if not path.exists():
            write_file(path, b"")
        with path.open("r+b") as file:
            file.truncate(len(_whole_lines(file.read())))
            file.seek(0, os.SEEK_END)
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _rewrite(self, old: Directory, entries: Sequence[DirectoryEntry], members: Sequence[Member], now: int) -> None:
        ordered = sorted(entries, key=lambda entry: entry.address)
        self._write_directory(
            Directory(
                old.domain,
                _next(old.serial, now),
                now,
                now + DIRECTORY_S,
                ordered,
                sorted(members, key=lambda m: m.node),
            )
        )

    def _write_directory(self, directory: Directory) -> None:
        write_file(self.path / "directory", sign_directory(directory, self.issuing, self._key))


def _next(serial: int, now: int) -> int:
    """
    The serial after C{serial}.  It rises with time: what an authority signs that was restored from a backup has to be
    newer than what it had signed after that was made, or no member would take it.
    """
    return max(serial + 1, now)


def _facts(kind: str, certificate: bytes) -> tuple[bytes, int]:
    """
    The key of a certificate, and its end.
    """
    read = read_node(certificate) if kind == NODE else read_identity(certificate)
    return read.public_key, read.not_after


def _whole_lines(data: bytes) -> bytes:
    """
    C{data} without a last line that a crash cut off: nobody has been given the certificate that it would have named.
    """
    return data[: data.rfind(b"\n") + 1]


def _owner(owner: str) -> str:
    """
    The one spelling of an owner: of two, each could have all the nodes that one may have.
    """
    name = " ".join(owner.casefold().split())
    if "@" in name:
        try:
            return canonical(name)
        except ValueError:
            raise ConfigError(owner, "is not a mail address") from None
    if not name or not name.isprintable():
        raise ConfigError("--owner", "says nobody")
    return name
