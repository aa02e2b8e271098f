"""
An authority in memory, for tests of what reads its certificates.
"""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes, PrivateKeyTypes

from post.crypto.certificates import (
    issue_identity,
    issue_issuing,
    issue_node,
    issue_root,
    make_request,
)
from post.crypto.entropy import SeededEntropy
from post.crypto.keys import SigningKey
from post.ids import AccountId, Id, NodeId

NOW = 1_700_000_000
DAY = 86400
PLACE = NodeId(Id(0xABCDEF << 100))
ACCOUNT = AccountId(Id(77))


class Issuer:
    """
    A root, an issuing authority under it, and one key for whoever is certified.
    """

    def __init__(self, seed: bytes = b"issuer", domain: str = "example.org") -> None:
        self.entropy = SeededEntropy(seed)
        self.root_key, self.key, self.leaf_key = (SigningKey.generate(self.entropy) for _ in range(3))
        self.root = issue_root(self.root_key, domain, NOW - DAY, NOW + 1000 * DAY, self.entropy)
        self.issuing = issue_issuing(
            self.root, self.root_key, self.key, domain, NOW - DAY, NOW + 100 * DAY, self.entropy
        )

    def node(self, roles: tuple[str, ...] = (), owner: str = "alice") -> tuple[bytes, bytes]:
        """
        The chain of a node, good for ten days.
        """
        request = make_request(self.leaf_key)
        times = (NOW - DAY, NOW + 10 * DAY)
        leaf = issue_node(self.issuing, self.key, request, PLACE, owner, "attic", roles, 3, *times, self.entropy)
        return leaf, self.issuing

    def identity(self, address: str = "alice@example.org") -> tuple[bytes, bytes]:
        """
        The chain of a person, good for ten days.
        """
        request = make_request(self.leaf_key)
        times = (NOW - DAY, NOW + 10 * DAY)
        leaf = issue_identity(self.issuing, self.key, request, address, ACCOUNT, 5, *times, self.entropy)
        return leaf, self.issuing

    def leaf(
        self,
        extensions: list[x509.ExtensionType],
        public_key: CertificateIssuerPublicKeyTypes | None = None,
    ) -> bytes:
        """
        A certificate that this authority signed and never should have.
        """
        parent = x509.load_der_x509_certificate(self.issuing)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(parent.subject)
            .public_key(public_key or self.leaf_key.private_key.public_key())
            .serial_number(5)
            .not_valid_before(parent.not_valid_before_utc)
            .not_valid_after(parent.not_valid_after_utc)
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key.private_key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def request_for(key: PrivateKeyTypes, algorithm: hashes.HashAlgorithm | None) -> bytes:
    """
    A certificate request for any kind of key.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(key, algorithm)  # type: ignore[arg-type]  # Whatever the library can sign with.
    return request.public_bytes(serialization.Encoding.DER)
