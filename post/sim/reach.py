"""
Who reaches whom on the imaginary network, where not everybody does (Freedman, Lakshminarayanan, Rhea and Stoica, WORLDS
2005); and how nodes that have no keys prove to each other who they are: they say so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import cast

from post.crypto.certificates import NodeCertificate
from post.errors import BadSignature
from post.ids import SIZE_BYTES, Id, NodeId

Reaches = Callable[[NodeId, NodeId], bool]
"""Whether the first node can make a link with the second; once there is one, frames go both ways."""

_SCALE = 1 << 64


def unreachable(seed: int, percent: float, one_way: bool = False) -> Reaches:
    """
    Of all pairs C{percent} cannot link with each other; with C{one_way} one of the two, whichever it is, can dial the
    other (a firewall, a router that translates addresses).

    Nothing is remembered: a hash of the seed and the pair decides.
    """
    key = f"unreachable {seed}".encode()
    limit = int(percent / 100 * _SCALE)

    def reaches(source: NodeId, target: NodeId) -> bool:
        low, high = (source, target) if source < target else (target, source)
        digest = blake2b(low.packed() + high.packed(), key=key, digest_size=9).digest()
        if int.from_bytes(digest[:8], "big") >= limit:
            return True
        return one_way and (source == low) is bool(digest[8] & 1)

    return reaches


class Claimed:
    """
    As much of a certificate as is looked at of a node without keys.
    """

    __slots__ = ("node_id", "owner")

    def __init__(self, node_id: NodeId) -> None:
        self.node_id = node_id
        self.owner = node_id.hex()


class Claims:
    """
    L{post.relay.proof.Proof} among nodes that do not lie about themselves.
    """

    __slots__ = ("chain",)

    def __init__(self, node_id: NodeId) -> None:
        self.chain: tuple[bytes, ...] = (node_id.packed(),)

    def sign(self, greeting: bytes) -> bytes:
        """
        Nothing.
        """
        return b""

    def verify(self, chain: Sequence[bytes], greeting: bytes, signature: bytes) -> NodeCertificate:
        """
        Whoever it says.
        """
        return self.believe(chain)

    def believe(self, chain: Sequence[bytes]) -> NodeCertificate:
        """
        The same.

        @raise BadSignature: if it says nothing.
        """
        if len(chain) != 1 or len(chain[0]) != SIZE_BYTES:
            raise BadSignature("no claim")
        return cast(NodeCertificate, Claimed(NodeId(Id.from_bytes(chain[0]))))
