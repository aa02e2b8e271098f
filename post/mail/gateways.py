"""
Who the gateways are, and to which keys mail for outside is sealed (POST, section 5).

The directory says which nodes are gateways.  Each publishes a sealing key, which follows from its node's key, under a
handle that follows from its id, signed by its node: so mail can be sealed to a gateway that is off just now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Meta
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.crypto.certificates import read_node, verify_node
from post.crypto.documents import Directory
from post.crypto.groups import MEMBERS_LIMIT
from post.crypto.keys import SigningKey, verify
from post.crypto.sealing import SealingKey, key_id
from post.crypto.trust import Revoked, check_revoked
from post.errors import NotFound, PeerError, PostError, Unreachable
from post.hashes import Purpose, handle_of
from post.ids import Handle, Id, NodeId
from post.interfaces import Stored
from post.messaging.dispatch import Signer
from post.messaging.notification import CHAIN_LIMIT, CLOCK_SKEW_S, GATEWAY
from post.past.node import Past
from post.tasks import gather
from post.wire import Document, StorageClass, pack, unpack

GATEWAY_KEY = 6
"""Among the kinds of L{post.past.blocks}."""
LEASE_S = 400 * 86400
PUBLISH_S = 86400.0
"""Between two publications: the lease is renewed, lost copies are replaced."""
FRESH_S = 3600.0
"""For so long a gateway's key is believed without asking again."""


class GatewayKey(Document, frozen=True):
    """
    The key to which mail for a gateway is sealed.
    """

    version: int
    node: NodeId
    issued: Annotated[int, Meta(ge=0, lt=1 << 40)]
    public: Annotated[bytes, Meta(max_length=1300)]


class SignedKey(Document, frozen=True):
    """
    A L{GatewayKey} as the bytes that the gateway's node signed.
    """

    version: int
    body: Annotated[bytes, Meta(max_length=2048)]
    chain: Annotated[tuple[Annotated[bytes, Meta(max_length=4096)], ...], Meta(max_length=CHAIN_LIMIT)]
    signature: Annotated[bytes, Meta(max_length=256)]


def sealing_key(key: SigningKey) -> SealingKey:
    """
    The sealing key of the node whose key is C{key}: nothing more has to be kept, and whoever has the node's key back
    has this one too.
    """
    secret = key.private_key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return SealingKey(HKDF(hashes.SHA256(), 96, None, Purpose.GATEWAY_SEALING.value).derive(secret))


def key_handle(node: NodeId) -> Handle:
    """
    Where the sealing key of a gateway is.
    """
    return handle_of(Purpose.GATEWAY_KEY, node.packed())


def make_key(node: NodeId, signer: Signer, now: int) -> bytes:
    """
    What the gateway C{node} publishes.
    """
    body = pack(GatewayKey(1, node, now, sealing_key(signer.key).public))
    return pack(SignedKey(1, body, signer.chain, signer.key.sign(Purpose.SIGN_GATEWAY_KEY, body)))


def check_key(data: bytes, root: bytes, now: float) -> GatewayKey:
    """
    @raise PeerError: if C{data} is no gateway's key, not signed by that gateway, or from the future.
    """
    signed = unpack(SignedKey, data)
    key = unpack(GatewayKey, signed.body)
    if (signed.version, key.version) != (1, 1) or key.issued > now + CLOCK_SKEW_S:
        raise PeerError("a gateway's key of another version, or from the future")
    node = verify_node(signed.chain, root, key.issued)
    if node.node_id != key.node or GATEWAY not in node.roles:
        raise PeerError("a gateway's key by somebody else")
    verify(node.public_key, Purpose.SIGN_GATEWAY_KEY, signed.body, signed.signature)
    return key


class GatewayKeyKind:
    """
    What PAST needs to know of gateways' keys.  (A C{BlockKind} of L{post.past.blocks}.)
    """

    kind = GATEWAY_KEY

    def __init__(self, root: bytes) -> None:
        self._root = root

    def check(self, handle: Handle, data: bytes, now: float) -> int:
        """
        @return: when it was issued.
        @raise PeerError: if it is no gateway's key, or another gateway's.
        """
        key = check_key(data, self._root, now)
        if key_handle(key.node) != handle:
            raise PeerError("a gateway's key under another handle")
        return key.issued

    def supersedes(self, new: Stored, old: Stored) -> bool:
        """
        The latest counts.
        """
        return new.order > old.order

    def latest(self, data: bytes) -> int | None:
        """
        Not limited.
        """
        return None

    def stored(self, item: Stored) -> None:
        """
        Nothing to do.
        """


@dataclass(frozen=True)
class _Known:
    """
    A gateway's key as it was read C{at} some time: its id and public key, and the key of the node that signed it.
    """

    at: float
    key: tuple[bytes, bytes]
    node_key: bytes


class Gateways:
    """
    The gateways of the organisation, as a node sees them.
    """

    log = Logger()

    def __init__(self, past: Past, directory: Callable[[], Directory], root: bytes, clock: IReactorTime) -> None:
        self._past = past
        self._directory = directory
        self._root = root
        self._clock = clock
        self._known: dict[NodeId, _Known] = {}
        past.register(GatewayKeyKind(root))

    def all(self) -> list[NodeId]:
        """
        Those of the directory.
        """
        return self._directory().nodes_with(GATEWAY)

    def in_order(self, handle: Id) -> list[NodeId]:
        """
        Who sees to what is under C{handle}: the nearest first, and whoever is next when that one is gone.
        """
        return sorted(self.all(), key=lambda node: (node.distance(handle), node))

    async def keys(self, handle: Id) -> list[tuple[bytes, bytes]]:
        """
        Id and public sealing key of each gateway that has one, in their order.

        @raise Unreachable: if none can be had now.
        """
        nodes = self.in_order(handle)[:MEMBERS_LIMIT]
        found = [key for key in await gather(self._key(node) for node in nodes) if key is not None]
        if not found:
            raise Unreachable("no gateway has published its key")
        return found

    async def _key(self, node: NodeId) -> tuple[bytes, bytes] | None:
        known, now = self._known.get(node), self._clock.seconds()
        if known is None or now - known.at > FRESH_S or self._is_revoked(known):
            try:
                data = await self._past.furthest(GATEWAY_KEY, key_handle(node))
                public = check_key(data, self._root, now).public
                node_key = read_node(unpack(SignedKey, data).chain[0]).public_key
                known = self._known[node] = _Known(now, (key_id(public), public), node_key)
            except PostError as error:
                if not isinstance(error, NotFound):
                    self.log.info("the key of gateway {node} cannot be had: {error}", node=node, error=error)
        return known.key if known is not None and not self._is_revoked(known) else None

    def _is_revoked(self, known: _Known) -> bool:
        """
        Whether somebody else may have the key: whoever is in the place of that gateway has not said theirs yet.
        """
        try:
            check_revoked(self._root, known.node_key, self._clock.seconds())
        except Revoked:
            return True
        return False

    async def publish(self, node: NodeId, signer: Signer) -> None:
        """
        Say to which key mail for the gateway C{node}, ourselves, is to be sealed.

        @raise PostError: if it cannot be said now.
        """
        now = int(self._clock.seconds())
        data = make_key(node, signer, now)
        await self._past.insert(GATEWAY_KEY, key_handle(node), data, StorageClass.HEAD, now + LEASE_S)
