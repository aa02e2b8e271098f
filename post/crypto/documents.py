"""
What the authority signs besides certificates: the policy and the directory.

The policy holds the numbers on which promises rest; no node lowers them because few others answer.  The directory names
the accounts and members: C{550 no such user} is said only on its strength, and while it is fresh.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, TypeVar

from msgspec import Meta

from post.crypto.certificates import SIZE_LIMIT, verify_authority
from post.crypto.keys import SigningKey, verify
from post.errors import PeerError
from post.hashes import Purpose
from post.ids import AccountId, NodeId
from post.wire import Document, pack, unpack

DAY_S = 86400
VERSION = 1
Text = Annotated[str, Meta(max_length=320)]
Number = Annotated[int, Meta(ge=0, lt=1 << 62)]


class Policy(Document, frozen=True):
    """
    The rules of one organisation.

    C{k} copies are made of everything; mail is refused (451) while fewer than C{minimum} of them can be on nodes other
    than the one that accepts it.  Lifetimes are in seconds: of a pending notification, of stored mail, of heads, each
    renewed by its owner long before.  C{size_limit} is in octets.
    """

    version: int
    domain: Text
    serial: Number
    issued: Number
    k: Annotated[int, Meta(ge=1, le=20)] = 3
    minimum: Annotated[int, Meta(ge=0, le=20)] = 2
    convergence_generation: Number = 1
    pending_s: Annotated[int, Meta(ge=3600, le=400 * DAY_S)] = 200 * DAY_S
    mail_s: Annotated[int, Meta(ge=DAY_S)] = 800 * DAY_S
    head_s: Annotated[int, Meta(ge=DAY_S)] = 800 * DAY_S
    size_limit: Annotated[int, Meta(ge=1024, le=1 << 31)] = 50 * 1000 * 1000


class DirectoryEntry(Document, frozen=True):
    """
    An account; C{address} in its canonical form.
    """

    address: Text
    account: AccountId


class Member(Document, frozen=True):
    """
    A node, whose it is, and what else it does (C{gateway}, C{always-on}): whoever has mail for outside finds a gateway
    here.
    """

    node: NodeId
    owner: Text
    roles: Annotated[tuple[Annotated[str, Meta(max_length=40)], ...], Meta(max_length=10)] = ()


class _Directory(Document, frozen=True):
    version: int
    domain: Text
    serial: Number
    issued: Number
    expires: Number
    entries: Annotated[tuple[DirectoryEntry, ...], Meta(max_length=100_000)]
    members: Annotated[tuple[Member, ...], Meta(max_length=100_000)]


class Directory:
    """
    Who there is.  Says nothing after C{expires} (unix seconds).
    """

    def __init__(
        self,
        domain: str,
        serial: int,
        issued: int,
        expires: int,
        entries: Sequence[DirectoryEntry],
        members: Sequence[Member],
    ) -> None:
        self.domain = domain
        self.serial = serial
        self.issued = issued
        self.expires = expires
        self.entries = tuple(entries)
        self.members = tuple(members)
        self._accounts = {entry.address: entry.account for entry in self.entries}
        self._names = Counter(self._accounts.values())

    def account(self, address: str) -> AccountId | None:
        """
        The account of a canonical address.
        """
        return self._accounts.get(address)

    def has_more_names(self, account: AccountId) -> bool:
        """
        Whether several addresses lead to C{account}: beside its own, those of mailing lists.
        """
        return self._names[account] > 1

    def nodes_with(self, role: str) -> list[NodeId]:
        """
        The nodes whose certificates say that they do this too.
        """
        return [member.node for member in self.members if role in member.roles]


class Signed(Document, frozen=True):
    """
    A document as the bytes that an issuing authority signed.
    """

    version: int
    body: bytes
    issuing: Annotated[bytes, Meta(max_length=SIZE_LIMIT)]
    signature: Annotated[bytes, Meta(max_length=256)]


def sign_policy(policy: Policy, issuing: bytes, key: SigningKey) -> bytes:
    """
    C{policy}, signed by the authority whose certificate is C{issuing}.
    """
    return sign_document(policy, Purpose.SIGN_POLICY, issuing, key)


def sign_directory(directory: Directory, issuing: bytes, key: SigningKey) -> bytes:
    """
    C{directory}, signed by the authority whose certificate is C{issuing}.
    """
    body = _Directory(
        VERSION,
        directory.domain,
        directory.serial,
        directory.issued,
        directory.expires,
        directory.entries,
        directory.members,
    )
    return sign_document(body, Purpose.SIGN_DIRECTORY, issuing, key)


def sign_document(document: Document, purpose: Purpose, issuing: bytes, key: SigningKey) -> bytes:
    """
    The bytes of L{Signed} for whatever the authority whose certificate is C{issuing} says.
    """
    body = pack(document)
    return pack(Signed(VERSION, body, issuing, key.sign(purpose, body)))


def open_policy(data: bytes, root: bytes, at: int) -> Policy:
    """
    @raise PeerError: if C{data} is no policy, or not signed by an authority under C{root}.
    """
    policy = open_document(data, Policy, Purpose.SIGN_POLICY, root, at)
    if policy.minimum > policy.k:
        raise PeerError(f"a policy that wants {policy.minimum} of {policy.k} copies")
    return policy


def open_directory(data: bytes, root: bytes, at: int) -> Directory:
    """
    @raise PeerError: if C{data} is no directory, or not signed by an authority under C{root}.
    """
    body = open_document(data, _Directory, Purpose.SIGN_DIRECTORY, root, at)
    return Directory(body.domain, body.serial, body.issued, body.expires, body.entries, body.members)


_D = TypeVar("_D", bound=Document)


def open_document(data: bytes, kind: type[_D], purpose: Purpose, root: bytes, at: int) -> _D:
    """
    @raise PeerError: if C{data} is not a document of C{kind} and this version, signed for C{purpose} by an authority
        under C{root}.
    """
    signed = unpack(Signed, data)
    if signed.version != VERSION:
        raise PeerError(f"a document of version {signed.version}")
    verify(verify_authority(signed.issuing, root, at), purpose, signed.body, signed.signature)
    body = unpack(kind, signed.body)
    version = getattr(body, "version", None)
    if version != VERSION:
        raise PeerError(f"a document of version {version}")
    return body
