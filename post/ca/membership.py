"""
What the authority gives to every member alike, as one file to carry to a new node.

Format, version 1, MessagePack: the organization's root certificate, its signed policy and directory, the convergence
secret, and the signed list of what is revoked (empty if there is none).  Because of the secret it is for members only:
whoever has it can test guesses about what attachments the ring keeps.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from post.crypto.certificates import SIZE_LIMIT
from post.crypto.convergent import Convergence
from post.errors import PeerError
from post.wire import Document, pack, unpack

VERSION = 1


class _Membership(Document, frozen=True):
    version: int
    root: Annotated[bytes, Meta(max_length=SIZE_LIMIT)]
    policy: bytes
    directory: bytes
    generation: Annotated[int, Meta(ge=0, lt=1 << 32)]
    secret: Annotated[bytes, Meta(min_length=32, max_length=32)]
    revoked: bytes = b""


class Membership:
    """
    The parts.  C{policy}, C{directory} and C{revoked} are as signed, and not yet looked at.
    """

    def __init__(
        self, root: bytes, policy: bytes, directory: bytes, convergence: Convergence, revoked: bytes = b""
    ) -> None:
        self.root = root
        self.policy = policy
        self.directory = directory
        self.convergence = convergence
        self.revoked = revoked

    def to_bytes(self) -> bytes:
        """
        The file.
        """
        shared = self.convergence
        return pack(
            _Membership(VERSION, self.root, self.policy, self.directory, shared.generation, shared.secret, self.revoked)
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Membership:
        """
        @raise PeerError: if C{data} is no such file, or of another version.
        """
        found = unpack(_Membership, data)
        if found.version != VERSION:
            raise PeerError(f"a membership of version {found.version}")
        return cls(
            found.root, found.policy, found.directory, Convergence(found.generation, found.secret), found.revoked
        )
