"""
What stands for signatures in rings of imaginary nodes, where real ones would take most of the time.
"""

from __future__ import annotations

from hashlib import sha256

from post.errors import BadSignature
from post.ids import NodeId


def sign(node: NodeId, data: bytes) -> bytes:
    """
    Stands for the signature by a node's key: nobody here makes one in another's name.
    """
    return sha256(node.packed() + data).digest()


def check(node: NodeId, data: bytes, signature: bytes) -> None:
    """
    @raise BadSignature: unless L{sign} made it.
    """
    if signature != sign(node, data):
        raise BadSignature("not signed by this node")
