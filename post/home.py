"""
The directory in which a node lives, and those of the accounts that live on it.

Format, version 2::

    version             "POST node 2", and which program wrote it (L{post.migration})
    before-N/           what files were before version N
    node.toml           settings (L{post.config})
    lock                locked while a process uses the directory
    control             the socket of C{post status} while the node runs (L{post.control})
    node.key            the node's private key, PEM, mode 0600
    node.chain          its certificates: leaf and issuing authority, as a MessagePack array
    root.der            the organization's root certificate
    convergence         generation and secret shared by all members, MessagePack, mode 0600
    policy, directory   as signed by the authority (L{post.crypto.documents})
    revoked             what it has revoked, signed (L{post.crypto.revocations})
    issuance/           its public log (L{post.ca.issuance}), and what there is against it (L{post.ca.watching})
    seeds               addresses of nodes that the authority has told, one a line
    seen                nodes that this one has been linked with, and where (L{post.pastry.seen})
    evidence            what proves that other nodes lie (L{post.pastry.evidence})
    blocks.sqlite       what this node keeps for the ring (L{post.past.store})
    moving              the socket of C{post import} and C{post export} while the node runs (L{post.moving.server})
    imports/            what imports have brought so far (L{post.moving.ledger})
    mail.key, mail.pem  the certificate that mail programs see (L{post.front.certificate})
    accounts/ADDRESS/   of each account that lives here, what is no letter, digit or one of @._-~ as %XX:
        account         keys, certificates, master secret, sealing keys, hash of the password, those of lost machines,
                        and what lies in the ring for recovery; MessagePack, mode 0600
        recovering      until that is there: what C{post recover} was given (L{post.ca.retrieval}), mode 0600
        journal.sqlite  its mailbox log, as this node wrote it (L{post.journal})

What the authority issued may be elsewhere, as L{post.config.Files} says.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import quote, unquote

from msgspec import Meta

from post.config import Files
from post.crypto.certificates import (
    IdentityCertificate,
    NodeCertificate,
    read_identity,
    read_node,
    verify_identity,
    verify_node,
)
from post.crypto.convergent import Convergence
from post.crypto.documents import Directory, Policy, open_directory, open_policy
from post.crypto.keys import SigningKey
from post.crypto.revocations import Revocations, open_revocations
from post.crypto.sealing import SealingKey
from post.crypto.trust import Revoked, Trust
from post.errors import ConfigError, PeerError
from post.files import lock, make_directory, read_file, read_secret, write_file, write_secret
from post.messaging.account import AccountCredentials, HeldKey
from post.messaging.sealed_copy import Deposit, PastKeys
from post.migration import CURRENT, migrate, read_version, version_file
from post.node import NodeCredentials
from post.pastry.evidence import PROOFS_BYTES
from post.pastry.seen import SEEN_BYTES
from post.wire import Document, pack, unpack

FORMAT = 1
"""Of the files that are MessagePack."""
CURE_CLOCK = "set the clock by the network (timedatectl set-ntp true)"
CURE_REVOKED = 'ask the authority for a new code, and join again with it in an empty directory ("post join")'
_T = TypeVar("_T")


class _Convergence(Document, frozen=True):
    """
    The file C{convergence}.
    """

    version: int
    generation: Annotated[int, Meta(ge=0, lt=1 << 32)]
    secret: Annotated[bytes, Meta(min_length=32, max_length=32)]


class _HeldKey(Document, frozen=True):
    """
    A sealing key, 96 bytes, and until when others may seal to it.
    """

    secret: bytes
    expires: int


class _Account(Document, frozen=True):
    """
    The file C{account}.
    """

    version: int
    key: bytes
    chain: tuple[bytes, ...]
    master: bytes
    sealing: tuple[_HeldKey, ...]
    password_hash: str
    # Absent in what was written before there were recovery codes.
    epoch: int = 0
    past: tuple[PastKeys, ...] = ()
    deposit: Deposit | None = None


class Home:
    """
    A node's directory.
    """

    def __init__(self, path: Path, files: Files | None = None) -> None:
        self.path = path
        self._files = files or Files()
        self._lock: int | None = None

    # Making one.

    def create(
        self,
        key: SigningKey,
        chain: Sequence[bytes],
        root: bytes,
        convergence: Convergence,
        policy: bytes,
        directory: bytes,
    ) -> None:
        """
        Write everything that makes a node a member; the version file comes last, so what has one is complete.

        @raise ConfigError: if a node lives here already.
        """
        files = self._files
        if (self.path / "version").exists():
            raise ConfigError(str(self.path), "is a node's already")
        make_directory(self.path)
        self.path.chmod(0o700)
        write_secret(self.path / files.key, key.to_pem())
        write_file(self.path / files.chain, pack(tuple(chain)))
        write_file(self.path / files.root, root)
        shared = _Convergence(FORMAT, convergence.generation, convergence.secret)
        write_secret(self.path / files.convergence, pack(shared))
        write_file(self.path / files.policy, policy)
        self.write_directory(directory)
        write_file(self.path / "version", version_file())

    def write_directory(self, directory: bytes) -> None:
        """
        Replace the signed directory.
        """
        write_file(self.path / self._files.directory, directory)

    def write_account(self, credentials: AccountCredentials) -> None:
        """
        Let an account live here.
        """
        sealing = tuple(_HeldKey(held.key.to_bytes(), held.expires) for held in credentials.sealing)
        account = _Account(
            FORMAT,
            credentials.key.to_pem(),
            credentials.chain,
            credentials.master,
            sealing,
            credentials.password_hash,
            credentials.epoch,
            credentials.past,
            credentials.deposit,
        )
        write_secret(self._account_directory(credentials.address) / "account", pack(account))

    def renew(self, where: Path, chain: tuple[bytes, ...], now: int) -> NodeCertificate:
        """
        Replace the node's certificates by those that were found at C{where}.

        @raise ConfigError: if they are not for its key and its place on the ring, or not valid C{now}.
        """
        root = read_file(self.path / self._files.root)
        key_file, chain_file = self.path / self._files.key, self.path / self._files.chain
        fresh = check_node(where, chain, self._key(key_file), root, now)
        try:
            # It may have ended: then it is renewed late, but it is renewed.
            before = read_node(_read(tuple[bytes, ...], chain_file)[0])
        except (PeerError, IndexError) as error:
            raise ConfigError(str(chain_file), f"is damaged: {error}") from None
        if fresh.node_id != before.node_id:
            raise ConfigError(str(where), "is of another owner or index than this node")
        write_file(chain_file, pack(chain))
        return fresh

    def renew_account(self, where: Path, chain: tuple[bytes, ...], root: bytes) -> IdentityCertificate:
        """
        The same for the account that C{chain} names.

        @raise ConfigError: if it does not live here, or they are not for its key, or older than what it has.
        """
        try:
            address = read_identity(chain[0]).address
        except (PeerError, IndexError) as error:
            raise ConfigError(str(where), f"cannot be used: {error}") from None
        if not self.has_account(address):
            raise ConfigError(address, f"does not live in {self.path}")
        account = self._account(self._account_directory(address) / "account", root)
        fresh = check_identity(where, chain, account.key, root)
        if fresh.serial < read_identity(account.chain[0]).serial or fresh.account != account.account:
            raise ConfigError(str(where), f"is older than what {address} has, or of another account")
        # Its sealing key serves for as long: without one that is valid nobody could write to this account.
        *older, newest = account.sealing
        sealing = (*older, HeldKey(newest.key, max(newest.expires, fresh.not_after)))
        self.write_account(dataclasses.replace(account, chain=chain, sealing=sealing))
        return fresh

    def write_policy(self, policy: bytes) -> None:
        """
        Replace the signed policy.
        """
        write_file(self.path / self._files.policy, policy)

    def write_revocations(self, revocations: bytes) -> None:
        """
        Replace the signed list of what is revoked.
        """
        write_file(self.path / "revoked", revocations)

    def write_seeds(self, addresses: Sequence[str]) -> None:
        """
        Remember through which nodes the ring can be entered.
        """
        write_file(self.path / "seeds", "".join(f"{address}\n" for address in addresses).encode())

    def seeds(self) -> tuple[str, ...]:
        """
        Those last remembered.
        """
        path = self.path / "seeds"
        return tuple(read_file(path).decode("utf-8", "replace").splitlines()) if path.exists() else ()

    def write_seen(self, nodes: bytes) -> None:
        """
        Remember which nodes this one has been linked with.
        """
        write_file(self.path / "seen", nodes)

    def seen(self) -> bytes:
        """
        Those last remembered; empty where that cannot be read, since a node does without it.
        """
        try:
            with (self.path / "seen").open("rb") as file:
                return file.read(SEEN_BYTES)
        except OSError:
            return b""

    def write_evidence(self, proofs: bytes) -> None:
        """
        Keep what proves that other nodes lie.
        """
        write_file(self.path / "evidence", proofs)

    def evidence(self) -> bytes:
        """
        That; empty where there is none, or it cannot be read, since a node does without it.
        """
        try:
            with (self.path / "evidence").open("rb") as file:
                return file.read(PROOFS_BYTES)
        except OSError:
            return b""

    def account_file(self, address: str, name: str) -> Path:
        """
        Where the file C{name} of a canonical address is, or is to be.
        """
        return self._account_directory(address) / name

    def addresses_with(self, name: str) -> list[str]:
        """
        The addresses whose directories have the file C{name}.
        """
        return [unquote(path.parent.name) for path in sorted((self.path / "accounts").glob(f"*/{name}"))]

    def _account_directory(self, address: str) -> Path:
        # An address may have a slash.
        return self.path / "accounts" / quote(address, safe="@")

    # Using one.

    def check(self, earlier: bool = False) -> None:
        """
        @raise ConfigError: if this is no node's directory, of a newer version than this program, or of an earlier one,
            unless C{earlier} are welcome.
        """
        number = read_version(self.path)
        if number < CURRENT and not earlier:
            reason = f"is of version {number}, and {CURRENT} is wanted: start the node, which brings it up to date"
            raise ConfigError(str(self.path), reason)

    def open(self) -> None:
        """
        Use it, and nobody else: lock it, and bring it up to date.

        @raise ConfigError: if it is no node's directory, of a newer version than this program, or in use.
        """
        self.check(earlier=True)
        self.lock()
        migrate(self.path)

    def lock(self) -> None:
        """
        Make sure that no other process uses this directory, until this process ends.

        @raise ConfigError: if one does.
        """
        self._lock = lock(self.path / "lock")

    def unlock(self) -> None:
        """
        Let others use it.
        """
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def root(self) -> bytes:
        """
        The root certificate, whatever the time is and whatever else is missing.

        @raise ConfigError: if it is not there.
        """
        return read_file(self.path / self._files.root)

    def credentials(self, now: int) -> NodeCredentials:
        """
        @raise ConfigError: if a file is missing, damaged, or readable by others; if key, certificates and root do not
            belong together, or are not valid C{now}.
        """
        key_file, chain_file = self.path / self._files.key, self.path / self._files.chain
        key = self._key(key_file)
        shared = _read(_Convergence, self.path / self._files.convergence, secret=True)
        chain = _read(tuple[bytes, ...], chain_file)
        root = Trust(read_file(self.path / self._files.root))
        # Before anything else is verified: to a clock that is slow nothing is valid yet.
        check_begun(chain_file, chain, now)
        revocations = self.revocations(root, now)
        if revocations is not None:
            root.revoke(revocations.keys(), now)
        check_node(chain_file, chain, key, root, now)
        return NodeCredentials(key, chain, root, Convergence(shared.generation, shared.secret))

    def ended(self, now: int) -> tuple[SigningKey, tuple[bytes, ...], bytes] | None:
        """
        Key, certificates and root, if the node's certificate has ended; nothing else about them is looked at.

        @raise ConfigError: if a file is missing, damaged, or readable by others.
        """
        chain_file = self.path / self._files.chain
        chain = _read(tuple[bytes, ...], chain_file)
        try:
            if not chain or read_node(chain[0]).not_after >= now:
                return None
        except PeerError as error:
            raise ConfigError(str(chain_file), f"is damaged: {error}") from None
        return self._key(self.path / self._files.key), chain, read_file(self.path / self._files.root)

    @staticmethod
    def _key(path: Path) -> SigningKey:
        try:
            return SigningKey.from_pem(read_secret(path))
        except ValueError as error:
            raise ConfigError(str(path), f"is no private key: {error}") from None

    def policy(self, root: bytes, now: int) -> Policy:
        """
        @raise ConfigError: if it is missing, or not signed by our authority.
        """
        return _signed(open_policy, self.path / self._files.policy, root, now)

    @property
    def directory_file(self) -> Path:
        """
        The signed directory.
        """
        return self.path / self._files.directory

    def directory(self, root: bytes, now: int) -> Directory:
        """
        @raise ConfigError: if it is missing, or not signed by our authority.
        """
        return _signed(open_directory, self.directory_file, root, now)

    def revoked(self) -> bytes:
        """
        The signed list of what is revoked; empty if there is none.
        """
        path = self.path / "revoked"
        return read_file(path) if path.exists() else b""

    def revocations(self, root: bytes, now: int) -> Revocations | None:
        """
        What the authority has revoked, as far as it has been heard of.

        @raise ConfigError: if it is not signed by our authority.
        """
        path = self.path / "revoked"
        return _signed(open_revocations, path, root, now) if path.exists() else None

    def accounts(self, root: bytes) -> list[AccountCredentials]:
        """
        The accounts that live here.

        @raise ConfigError: if one is damaged, or of another authority.
        """
        found = sorted((self.path / "accounts").glob("*/account"))
        return [self._account(path, root) for path in found]

    def has_account(self, address: str) -> bool:
        """
        Whether the account of a canonical address lives here.
        """
        return (self._account_directory(address) / "account").exists()

    def _account(self, path: Path, root: bytes) -> AccountCredentials:
        stored = _read(_Account, path, secret=True)
        try:
            key = SigningKey.from_pem(stored.key)
            sealing = tuple(HeldKey(SealingKey(held.secret), held.expires) for held in stored.sealing)
        except ValueError as error:
            raise ConfigError(str(path), f"is damaged: {error}") from None
        certificate = check_identity(path, stored.chain, key, root)
        if self._account_directory(certificate.address) != path.parent:
            raise ConfigError(str(path), f"is that of {certificate.address}")
        return AccountCredentials(
            certificate.address,
            certificate.account,
            key,
            stored.chain,
            stored.master,
            sealing,
            stored.password_hash,
            stored.epoch,
            stored.past,
            stored.deposit,
        )

    def journal(self, address: str) -> Path:
        """
        Where the journal of an account is.
        """
        return self._account_directory(address) / "journal.sqlite"

    def write_password(self, address: str, password_hash: str, root: bytes) -> None:
        """
        Give an account another password.

        @raise ConfigError: if it does not live here.
        """
        if not self.has_account(address):
            raise ConfigError(address, f"does not live in {self.path}")
        credentials = self._account(self._account_directory(address) / "account", root)
        self.write_account(dataclasses.replace(credentials, password_hash=password_hash))


def check_begun(where: Path, chain: Sequence[bytes], now: int) -> None:
    """
    @raise ConfigError: if the certificate that heads C{chain} begins later than C{now}.
    """
    try:
        begins = read_node(chain[0]).not_before if chain else now
    except PeerError as error:
        raise ConfigError(str(where), f"cannot be used: {error}") from None
    if now < begins:
        said, clock = (time.strftime("%Y-%m-%d %H:%M", time.gmtime(at)) for at in (begins, now))
        raise ConfigError(str(where), f"begins on {said} UTC, and the clock says {clock}: {CURE_CLOCK}")


def check_node(where: Path, chain: Sequence[bytes], key: SigningKey, root: bytes, now: int) -> NodeCertificate:
    """
    The node certificate that heads C{chain}, which was found at C{where}.

    @raise ConfigError: if it is not that of C{key}, not of the authority of C{root}, or not valid C{now}.
    """
    try:
        certificate = read_node(chain[0]) if chain else None
        if certificate is not None and certificate.not_after < now:
            raise ConfigError(str(where), f"ended on {time.strftime('%Y-%m-%d', time.gmtime(certificate.not_after))}")
        certificate = verify_node(chain, root, now)
    except Revoked as error:
        raise ConfigError(str(where), f"holds {error}: {CURE_REVOKED}") from None
    except PeerError as error:
        raise ConfigError(str(where), f"cannot be used: {error}") from None
    if certificate.public_key != key.public:
        raise ConfigError(str(where), "is not for the key of this node")
    return certificate


def check_identity(where: Path, chain: Sequence[bytes], key: SigningKey, root: bytes) -> IdentityCertificate:
    """
    The same for an identity certificate.  When it is valid is left to those who see it: a mailbox can be read with one
    that has ended.

    @raise ConfigError: if it is not that of C{key}, or not of the authority of C{root}.
    """
    try:
        certificate = verify_identity(chain, root, read_identity(chain[0]).not_before if chain else 0)
    except PeerError as error:
        raise ConfigError(str(where), f"cannot be used: {error}") from None
    if certificate.public_key != key.public:
        raise ConfigError(str(where), "has a key that is not the certificate's")
    return certificate


def _read(kind: type[_T], path: Path, secret: bool = False) -> _T:
    try:
        found = unpack(kind, read_secret(path) if secret else read_file(path))
    except PeerError as error:
        raise ConfigError(str(path), f"is damaged: {error}") from None
    version = getattr(found, "version", FORMAT)
    if version != FORMAT:
        raise ConfigError(str(path), f"is of format {version}; this program knows {FORMAT}")
    return found


def _signed(opened: Callable[[bytes, bytes, int], _T], path: Path, root: bytes, now: int) -> _T:
    try:
        return opened(read_file(path), root, now)
    except PeerError as error:
        raise ConfigError(str(path), f"cannot be used: {error}") from None
