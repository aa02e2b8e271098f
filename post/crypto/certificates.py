"""
X.509 as POST uses it: P-256 throughout, an off-line root, an issuing authority under it, and
three kinds of leaf.

A *node certificate* carries the node id as URI SAN C{post-node:<40 hex>} and is good for both ends of a TLS link.  An
*identity certificate* carries the mail address as rfc822Name.  What X.509 has no field for (owner, site, roles, index;
account id, serial) is one extension each, a MessagePack document of ours.  A *door certificate* carries the URI SAN
C{post-door:<domain>}: whoever answers with it speaks for the issuing authority, which no member can.

Our profile is checked here and not by a general verifier, which knows the Web's profile: exactly two certificates under
a root that is given, dates, basic constraints, usages, and that an identity is of a domain the issuing authority may
certify.
"""

from __future__ import annotations

import datetime
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Meta

from post.crypto.keys import SigningKey, public_bytes
from post.crypto.names import canonical
from post.crypto.trust import check_revoked
from post.errors import BadSignature, PeerError
from post.hashes import Purpose, keyed
from post.ids import SIZE_BYTES, AccountId, Id, NodeId
from post.interfaces import Entropy
from post.wire import Document, pack, unpack

NODE_URI = "post-node:"
"""One colon only: service_identity fails on two."""
DOOR_URI = "post-door:"
NODE_OID = x509.ObjectIdentifier("1.3.6.1.4.1.59999.7.1")
IDENTITY_OID = x509.ObjectIdentifier("1.3.6.1.4.1.59999.7.2")
DOOR_OID = x509.ObjectIdentifier("1.3.6.1.4.1.59999.7.3")

SIZE_LIMIT = 4096
"""Bytes of a certificate; ours have about 700."""
FACTS = 1
"""The version of what our extensions hold."""
CHAINS_KEPT = 4096
"""Verified chains remembered, so that a second message from one sender costs no signature check of certificates."""

READ_KEPT = 2048
"""Certificates of each kind whose contents are remembered: the same few head nearly all that arrives."""

_MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises on bytes that somebody made up; several of these are not each other's kin."""


class NodeFacts(Document, frozen=True):
    """
    The extension of a node certificate.
    """

    version: int
    owner: Annotated[str, Meta(max_length=320)]
    site: Annotated[str, Meta(max_length=100)]
    roles: Annotated[tuple[Annotated[str, Meta(max_length=40)], ...], Meta(max_length=10)]
    index: Annotated[int, Meta(ge=0, lt=1 << 16)]


class IdentityFacts(Document, frozen=True):
    """
    The extension of an identity certificate.
    """

    version: int
    account: AccountId
    serial: Annotated[int, Meta(ge=0, lt=1 << 62)]


class DoorFacts(Document, frozen=True):
    """
    The extension of a door certificate.
    """

    version: int


class NodeCertificate(msgspec.Struct, frozen=True):
    """
    What a node certificate says.  Times are unix seconds.
    """

    node_id: NodeId
    owner: str
    site: str
    roles: frozenset[str]
    index: int
    not_before: int
    not_after: int
    public_key: bytes
    der: bytes


class IdentityCertificate(msgspec.Struct, frozen=True):
    """
    What an identity certificate says.
    """

    address: str
    account: AccountId
    serial: int
    not_before: int
    not_after: int
    public_key: bytes
    der: bytes


def node_id_for(secret: bytes, owner: str, index: int) -> NodeId:
    """
    The place on the ring of C{owner}'s node number C{index}: nobody chooses it, and enrolling again gives the same.
    """
    named = keyed(secret, Purpose.NODE_ID, owner.encode(), index.to_bytes(4, "big"))
    return NodeId(Id.from_bytes(named[:SIZE_BYTES]))


# Issuing.


def make_request(key: SigningKey) -> bytes:
    """
    A certificate request (DER) that proves possession of C{key}; the authority decides what the certificate says.
    """
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    request = builder.sign(key.private_key, hashes.SHA256(), ecdsa_deterministic=True)
    return request.public_bytes(serialization.Encoding.DER)


def request_key(request: bytes) -> ec.EllipticCurvePublicKey:
    """
    The key for which a certificate is requested.

    @raise PeerError: if it is no request, not signed by its key, or the key is not P-256.
    """
    if len(request) > SIZE_LIMIT:
        raise PeerError(f"a certificate request of {len(request)} bytes")
    try:
        parsed = x509.load_der_x509_csr(request)
        valid = parsed.is_signature_valid
        key = parsed.public_key()
    except _MALFORMED as error:
        raise PeerError(f"no certificate request: {error}") from None
    if not valid or not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise PeerError("a request not signed by its own P-256 key")
    return key


def issue_root(key: SigningKey, organisation: str, not_before: int, not_after: int, entropy: Entropy) -> bytes:
    """
    A self-signed root (DER).
    """
    name = _name(organisation, "root")
    public = key.private_key.public_key()
    builder = _builder(name, name, public, not_before, not_after, entropy, public)
    return _sign(_with_authority(builder, 1), key)


def issue_issuing(
    root: bytes, root_key: SigningKey, key: SigningKey, domain: str, not_before: int, not_after: int, entropy: Entropy
) -> bytes:
    """
    The certificate (DER) of an issuing authority that may certify mail addresses of C{domain}.
    """
    parent = x509.load_der_x509_certificate(root)
    public = key.private_key.public_key()
    builder = _builder(
        _name(domain, "issuing"),
        parent.subject,
        public,
        not_before,
        not_after,
        entropy,
        root_key.private_key.public_key(),
    )
    builder = _with_authority(builder, 0)
    constraint = x509.NameConstraints([x509.RFC822Name(domain)], None)
    return _sign(builder.add_extension(constraint, critical=True), root_key)


def issue_node(
    issuing: bytes,
    issuing_key: SigningKey,
    request: bytes,
    node_id: NodeId,
    owner: str,
    site: str,
    roles: Sequence[str],
    index: int,
    not_before: int,
    not_after: int,
    entropy: Entropy,
) -> bytes:
    """
    A node certificate (DER).

    @raise PeerError: if C{request} is not in order.
    """
    facts = NodeFacts(FACTS, owner, site, tuple(sorted(roles)), index)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    name = x509.UniformResourceIdentifier(NODE_URI + node_id.hex())
    return _issue_leaf(
        issuing, issuing_key, request, name, usages, NODE_OID, pack(facts), not_before, not_after, entropy
    )


def issue_identity(
    issuing: bytes,
    issuing_key: SigningKey,
    request: bytes,
    address: str,
    account: AccountId,
    serial: int,
    not_before: int,
    not_after: int,
    entropy: Entropy,
) -> bytes:
    """
    An identity certificate (DER).

    @raise PeerError: if C{request} is not in order.
    """
    facts = IdentityFacts(FACTS, account, serial)
    usages = [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    name = x509.RFC822Name(address)
    return _issue_leaf(
        issuing, issuing_key, request, name, usages, IDENTITY_OID, pack(facts), not_before, not_after, entropy
    )


def issue_door(
    issuing: bytes,
    issuing_key: SigningKey,
    request: bytes,
    domain: str,
    not_before: int,
    not_after: int,
    entropy: Entropy,
) -> bytes:
    """
    A door certificate (DER).

    @raise PeerError: if C{request} is not in order.
    """
    usages = [ExtendedKeyUsageOID.SERVER_AUTH]
    name = x509.UniformResourceIdentifier(DOOR_URI + domain)
    facts = pack(DoorFacts(FACTS))
    return _issue_leaf(issuing, issuing_key, request, name, usages, DOOR_OID, facts, not_before, not_after, entropy)


def _issue_leaf(
    issuing: bytes,
    issuing_key: SigningKey,
    request: bytes,
    name: x509.GeneralName,
    usages: Sequence[x509.ObjectIdentifier],
    oid: x509.ObjectIdentifier,
    facts: bytes,
    not_before: int,
    not_after: int,
    entropy: Entropy,
) -> bytes:
    parent = x509.load_der_x509_certificate(issuing)
    issuer_key = issuing_key.private_key.public_key()
    builder = _builder(x509.Name([]), parent.subject, request_key(request), not_before, not_after, entropy, issuer_key)
    builder = (
        builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        .add_extension(_key_usage(sign=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName([name]), critical=True)
        .add_extension(x509.UnrecognizedExtension(oid, facts), critical=False)
    )
    return _sign(builder, issuing_key)


def _name(organisation: str, role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, f"POST {role}"),
        ]
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    not_before: int,
    not_after: int,
    entropy: Entropy,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(int.from_bytes(entropy(16), "big") | 1)
        .not_valid_before(datetime.datetime.fromtimestamp(not_before, datetime.UTC))
        .not_valid_after(datetime.datetime.fromtimestamp(not_after, datetime.UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _with_authority(builder: x509.CertificateBuilder, path: int) -> x509.CertificateBuilder:
    return builder.add_extension(x509.BasicConstraints(True, path), critical=True).add_extension(
        _key_usage(sign=False), critical=True
    )


def _key_usage(sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(sign, False, False, False, False, not sign, not sign, False, False)


def _sign(builder: x509.CertificateBuilder, key: SigningKey) -> bytes:
    certificate = builder.sign(key.private_key, hashes.SHA256(), ecdsa_deterministic=True)
    return certificate.public_bytes(serialization.Encoding.DER)


# Reading.


_Facts = TypeVar("_Facts", NodeFacts, IdentityFacts, DoorFacts)


def _load(der: bytes) -> x509.Certificate:
    if len(der) > SIZE_LIMIT:
        raise PeerError(f"a certificate of {len(der)} bytes")
    try:
        return x509.load_der_x509_certificate(der)
    except _MALFORMED as error:
        raise PeerError(f"no certificate: {error}") from None


def _leaf(
    certificate: x509.Certificate, usage: x509.ObjectIdentifier, oid: x509.ObjectIdentifier, kind: type[_Facts]
) -> tuple[_Facts, x509.GeneralName, bytes]:
    """
    The facts, the only name, and the key of a leaf.
    """
    try:
        extensions = certificate.extensions
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise PeerError("an authority's certificate in a member's place")
        if usage not in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value:
            raise PeerError("a certificate for another usage")
        names = list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
        raw = extensions.get_extension_for_oid(oid).value
    except _MALFORMED as error:
        raise PeerError(f"not a certificate of ours: {error}") from None
    if len(names) != 1 or not isinstance(raw, x509.UnrecognizedExtension):
        raise PeerError("a certificate of several names")
    facts = unpack(kind, raw.value)
    if facts.version != FACTS:
        raise PeerError(f"a certificate of version {facts.version}")
    return facts, names[0], _key(certificate)


def _key(certificate: x509.Certificate) -> bytes:
    """
    The P-256 key of a certificate, in our form.
    """
    try:
        key = certificate.public_key()
    except _MALFORMED:
        key = None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise PeerError("a certificate of another algorithm")
    return public_bytes(key)


@lru_cache(maxsize=READ_KEPT)
def read_node(der: bytes) -> NodeCertificate:
    """
    What a node certificate says; whether to believe it is for L{verify_node}.

    @raise PeerError: if it is none.
    """
    certificate = _load(der)
    facts, name, key = _leaf(certificate, ExtendedKeyUsageOID.CLIENT_AUTH, NODE_OID, NodeFacts)
    if not isinstance(name, x509.UniformResourceIdentifier) or not name.value.startswith(NODE_URI):
        raise PeerError("a node certificate without a node id")
    try:
        node_id = NodeId(Id.from_hex(name.value[len(NODE_URI) :]))
    except ValueError:
        raise PeerError("a node certificate without a node id") from None
    return NodeCertificate(
        node_id, facts.owner, facts.site, frozenset(facts.roles), facts.index, *_dates(certificate), key, der
    )


@lru_cache(maxsize=READ_KEPT)
def read_identity(der: bytes) -> IdentityCertificate:
    """
    What an identity certificate says; whether to believe it is for L{verify_identity}.

    @raise PeerError: if it is none.
    """
    certificate = _load(der)
    facts, name, key = _leaf(certificate, ExtendedKeyUsageOID.EMAIL_PROTECTION, IDENTITY_OID, IdentityFacts)
    if not isinstance(name, x509.RFC822Name):
        raise PeerError("an identity certificate without an address")
    return IdentityCertificate(name.value, facts.account, facts.serial, *_dates(certificate), key, der)


def _dates(certificate: x509.Certificate) -> tuple[int, int]:
    try:
        return (
            int(certificate.not_valid_before_utc.timestamp()),
            int(certificate.not_valid_after_utc.timestamp()),
        )
    except _MALFORMED as error:
        raise PeerError(f"a certificate without dates: {error}") from None


def fingerprint(der: bytes) -> str:
    """
    By which two people can compare a certificate: its SHA-256 in groups of four digits.
    """
    digits = sha256(der).hexdigest()
    return " ".join(digits[start : start + 4] for start in range(0, len(digits), 4))


# Verifying.

_verified: OrderedDict[tuple[bytes, ...], tuple[int, int]] = OrderedDict()
"""Chains (with their root) whose signatures are in order, and between which times all of them are valid.  Nothing about
them depends on who asks, so one memory serves all nodes of a process."""


def verify_node(chain: Sequence[bytes], root: bytes, at: int) -> NodeCertificate:
    """
    The node certificate that heads C{chain} (leaf, issuing), verified to C{root} at C{at} (unix seconds).

    @raise PeerError: if it is not in order (L{BadSignature} if it is well-formed, but not to be believed;
        L{post.crypto.trust.Revoked} if C{root} knows that its key was revoked by then).
    """
    _verify_chain(chain, root, at)
    node = read_node(chain[0])
    check_revoked(root, node.public_key, at)
    return node


def verify_identity(chain: Sequence[bytes], root: bytes, at: int) -> IdentityCertificate:
    """
    The identity certificate that heads C{chain}, verified to C{root} at C{at}.

    @raise PeerError: as L{verify_node}; also if the issuing authority may not certify the address.
    """
    _verify_chain(chain, root, at)
    identity = read_identity(chain[0])
    domain = identity.address.rpartition("@")[2]
    if not _is_canonical(identity.address) or domain not in _domains(chain[1]):
        raise BadSignature("an address that its issuer may not certify")
    check_revoked(root, identity.public_key, at)
    return identity


def verify_door(chain: Sequence[bytes], root: bytes, at: int | None) -> str:
    """
    The domain for whose authority the holder of the certificate that heads C{chain} speaks, verified to C{root} at
    C{at}, or at any time.

    @raise PeerError: as L{verify_node}.
    """
    if not chain:
        raise BadSignature("no certificate")
    certificate = _load(chain[0])
    _, name, _ = _leaf(certificate, ExtendedKeyUsageOID.SERVER_AUTH, DOOR_OID, DoorFacts)
    _verify_chain(chain, root, _dates(certificate)[0] if at is None else at)
    if not isinstance(name, x509.UniformResourceIdentifier) or not name.value.startswith(DOOR_URI):
        raise PeerError("not the certificate of an authority's door")
    return name.value[len(DOOR_URI) :]


def _is_canonical(address: str) -> bool:
    """
    Accounts are found by their canonical address; one certified in another spelling would be a second person.
    """
    try:
        return canonical(address) == address
    except ValueError:
        return False


def verify_authority(issuing: bytes, root: bytes, at: int) -> bytes:
    """
    The public key of an issuing authority, verified to C{root} at C{at}.

    @raise PeerError: if it is none of ours.
    """
    certificate, top = _load(issuing), _load(root)
    _check_authority(certificate)
    _check_authority(top)
    _check_issued(certificate, top)
    dates = [_dates(each) for each in (certificate, top)]
    if not all(start <= at <= end for start, end in dates):
        raise BadSignature("a certificate that is not valid at this time")
    return _key(certificate)


def issuing_key(issuing: bytes) -> bytes:
    """
    The public key of an authority's certificate, not verified.

    @raise PeerError: if it is no certificate of ours.
    """
    return _key(_load(issuing))


@lru_cache(maxsize=64)
def _domains(der: bytes) -> list[str]:
    """
    The domains for which an issuing authority may certify addresses.
    """
    try:
        permitted = _load(der).extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    except _MALFORMED:
        return []
    return [name.value.lower() for name in permitted or () if isinstance(name, x509.RFC822Name)]


def _verify_chain(chain: Sequence[bytes], root: bytes, at: int) -> None:
    key = (root, *chain)
    dates = _verified.get(key)
    if dates is None:
        dates = _check_chain(chain, root)
        _verified[key] = dates
        if len(_verified) > CHAINS_KEPT:
            _verified.popitem(last=False)
    if not dates[0] <= at <= dates[1]:
        raise BadSignature("a certificate that is not valid at this time")


def _check_chain(chain: Sequence[bytes], root: bytes) -> tuple[int, int]:
    if len(chain) != 2:
        raise BadSignature(f"a chain of {len(chain)} certificates")
    leaf, issuing, top = _load(chain[0]), _load(chain[1]), _load(root)
    _check_authority(issuing)
    _check_authority(top)
    _check_issued(leaf, issuing)
    _check_issued(issuing, top)
    dates = [_dates(each) for each in (leaf, issuing, top)]
    return max(each[0] for each in dates), min(each[1] for each in dates)


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*_MALFORMED, InvalidSignature):
        raise BadSignature("a certificate of another authority") from None


def _check_authority(certificate: x509.Certificate) -> None:
    _key(certificate)
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except _MALFORMED:
        raise BadSignature("an issuer that is no authority") from None
    if not constraints.ca or not usage.key_cert_sign:
        raise BadSignature("an issuer that is no authority")
