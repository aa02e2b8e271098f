"""
How a node proves to another one, with nobody in between to be believed, who it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from post.crypto.certificates import NodeCertificate, verify_node
from post.crypto.keys import SigningKey, verify
from post.hashes import Purpose


class Proof(Protocol):
    """
    Signs for this node, and verifies others.  The simulator has a cheap one for nodes that have no keys.

    @ivar chain: our certificates.
    """

    chain: tuple[bytes, ...]

    def sign(self, greeting: bytes) -> bytes:
        """
        Our signature.
        """

    def verify(self, chain: Sequence[bytes], greeting: bytes, signature: bytes) -> NodeCertificate:
        """
        Who signed.

        @raise PeerError: if that cannot be believed, now.
        """

    def believe(self, chain: Sequence[bytes]) -> NodeCertificate:
        """
        Whom these certificates name.

        @raise PeerError: if they are not, or no longer, to be believed.
        """


class CertifiedProof:
    """
    By the node's key and certificates, as in TLS.
    """

    def __init__(self, key: SigningKey, chain: Sequence[bytes], root: bytes, clock: IReactorTime) -> None:
        self.chain = tuple(chain)
        self._key = key
        self._root = root
        self._clock = clock

    def sign(self, greeting: bytes) -> bytes:
        """
        See L{Proof.sign}.
        """
        return self._key.sign(Purpose.SIGN_RELAYED, greeting)

    def verify(self, chain: Sequence[bytes], greeting: bytes, signature: bytes) -> NodeCertificate:
        """
        See L{Proof.verify}.
        """
        certificate = self.believe(chain)
        verify(certificate.public_key, Purpose.SIGN_RELAYED, greeting, signature)
        return certificate

    def believe(self, chain: Sequence[bytes]) -> NodeCertificate:
        """
        See L{Proof.believe}.
        """
        return verify_node(chain, self._root, int(self._clock.seconds()))
