"""
Tests for L{post.crypto.certificates}.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.certificates import (
    CHAINS_KEPT,
    IDENTITY_OID,
    NODE_OID,
    SIZE_LIMIT,
    IdentityFacts,
    NodeFacts,
    _verified,
    fingerprint,
    issue_issuing,
    make_request,
    node_id_for,
    read_identity,
    read_node,
    request_key,
    verify_authority,
    verify_identity,
    verify_node,
)
from post.crypto.keys import SigningKey
from post.errors import BadSignature, PeerError
from post.wire import pack
from tests.crypto.issued import ACCOUNT, DAY, NOW, PLACE, Issuer, request_for

OURS = Issuer()
THEIRS = Issuer(b"another")
NODE, ISSUING = OURS.node(("gateway",))
IDENTITY, _ = OURS.identity()
REQUEST = make_request(OURS.leaf_key)

USAGE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.EMAIL_PROTECTION])
NO_AUTHORITY = x509.BasicConstraints(False, None)
PLACE_URI = x509.UniformResourceIdentifier("post-node:" + PLACE.hex())
READERS: tuple[Callable[[bytes], object], ...] = (
    read_node,
    read_identity,
    request_key,
    lambda data: verify_node((data, ISSUING), OURS.root, NOW),
    lambda data: verify_identity((data, ISSUING), OURS.root, NOW),
    lambda data: verify_node((NODE, data), OURS.root, NOW),
    lambda data: verify_authority(data, OURS.root, NOW),
)


def mutations() -> st.SearchStrategy[bytes]:
    """
    Certificates and requests in which some bytes are others, are missing, or are too many.
    """

    def change(data: bytes, cut: slice, put: bytes) -> bytes:
        return data[: cut.start] + put + data[cut.stop :]

    def cuts(data: bytes) -> st.SearchStrategy[bytes]:
        places = st.integers(0, len(data) - 1)
        slices = st.tuples(places, st.integers(0, 3)).map(lambda pair: slice(pair[0], pair[0] + pair[1]))
        return st.builds(change, st.just(data), slices, st.binary(max_size=3))

    return st.sampled_from([NODE, ISSUING, IDENTITY, OURS.root, REQUEST]).flatmap(cuts)


def facts(version: int = 1) -> x509.UnrecognizedExtension:
    """
    The extension of a node.
    """
    return x509.UnrecognizedExtension(NODE_OID, pack(NodeFacts(version, "eve", "", (), 0)))


class ReadingTests(SynchronousTestCase):
    """
    Tests of what certificates say.
    """

    def test_node(self) -> None:
        """
        A node certificate says whose node it is, where on the ring and where on earth, and what it may do.
        """
        node = verify_node((NODE, ISSUING), OURS.root, NOW)
        self.assertEqual(
            (PLACE, "alice", "attic", frozenset({"gateway"}), 3, OURS.leaf_key.public),
            (node.node_id, node.owner, node.site, node.roles, node.index, node.public_key),
        )
        self.assertEqual((NOW - DAY, NOW + 10 * DAY), (node.not_before, node.not_after))
        names = x509.load_der_x509_certificate(NODE).extensions.get_extension_for_class(x509.SubjectAlternativeName)
        self.assertEqual([f"post-node:{PLACE.hex()}"], names.value.get_values_for_type(x509.UniformResourceIdentifier))

    def test_identity(self) -> None:
        """
        An identity certificate says the address, the account, and how new it is.
        """
        identity = verify_identity((IDENTITY, ISSUING), OURS.root, NOW)
        self.assertEqual(
            ("alice@example.org", ACCOUNT, 5, OURS.leaf_key.public),
            (identity.address, identity.account, identity.serial, identity.public_key),
        )

    def test_place(self) -> None:
        """
        A node's place follows from authority, owner and index: the same again, another for any other.
        """
        place = node_id_for(b"k" * 32, "alice", 0)
        self.assertEqual(place, node_id_for(b"k" * 32, "alice", 0))
        others = [
            node_id_for(b"k" * 32, "alice", 1),
            node_id_for(b"k" * 32, "bob", 0),
            node_id_for(b"l" * 32, "alice", 0),
        ]
        self.assertEqual(4, len({place, *others}))

    def test_fingerprint(self) -> None:
        """
        Two people can compare a certificate by 64 digits.
        """
        self.assertEqual(64 + 15, len(fingerprint(NODE)))
        self.assertNotEqual(fingerprint(NODE), fingerprint(ISSUING))


class RefusalTests(SynchronousTestCase):
    """
    Tests of certificates that are not to be believed.
    """

    def test_each_for_its_purpose(self) -> None:
        """
        Neither kind of leaf is taken for the other, nor an authority for a member.
        """
        for read, data in (
            (read_node, IDENTITY),
            (read_identity, NODE),
            (read_node, ISSUING),
            (read_identity, OURS.root),
        ):
            self.assertRaises(PeerError, read, data)

    def test_dates(self) -> None:
        """
        A certificate holds from its first second to its last; what is remembered of an earlier check changes nothing.
        """
        for at in (NOW - DAY, NOW + 10 * DAY):
            verify_node((NODE, ISSUING), OURS.root, at)
            verify_identity((IDENTITY, ISSUING), OURS.root, at)
        for at in (NOW - DAY - 1, NOW + 10 * DAY + 1):
            self.assertRaises(BadSignature, verify_node, (NODE, ISSUING), OURS.root, at)
            self.assertRaises(BadSignature, verify_identity, (IDENTITY, ISSUING), OURS.root, at)

    def test_issuer_ends_first(self) -> None:
        """
        A leaf is worth nothing once the certificate above it has ended.
        """
        times = (NOW - DAY, NOW + DAY)
        short = issue_issuing(OURS.root, OURS.root_key, OURS.key, "example.org", *times, OURS.entropy)
        verify_node((NODE, short), OURS.root, NOW)
        self.assertRaises(BadSignature, verify_node, (NODE, short), OURS.root, NOW + 2 * DAY)
        self.assertRaises(BadSignature, verify_authority, short, OURS.root, NOW + 2 * DAY)

    def test_other_authority(self) -> None:
        """
        What an authority of the same name signed is not ours.
        """
        self.assertRaises(BadSignature, verify_node, THEIRS.node(), OURS.root, NOW)
        self.assertRaises(BadSignature, verify_node, (THEIRS.node()[0], ISSUING), OURS.root, NOW)
        self.assertRaises(BadSignature, verify_authority, THEIRS.issuing, OURS.root, NOW)
        self.assertRaises(BadSignature, verify_node, (NODE, ISSUING), THEIRS.root, NOW)

    def test_member_as_issuer(self) -> None:
        """
        A member's key certifies nobody.
        """
        eve = Issuer(b"eve")
        eve.issuing, eve.key = NODE, OURS.leaf_key
        self.assertRaises(BadSignature, verify_node, eve.node(), OURS.root, NOW)
        self.assertRaises(BadSignature, verify_authority, NODE, OURS.root, NOW)

    def test_length(self) -> None:
        """
        A chain is exactly two certificates.
        """
        for chain in ((), (NODE,), (NODE, ISSUING, OURS.root), (ISSUING, OURS.root)):
            self.assertRaises(PeerError, verify_node, chain, OURS.root, NOW)

    def test_domain(self) -> None:
        """
        An issuing authority certifies addresses of its domain, in their canonical spelling, and no others.
        """
        for address in (
            "alice@example.com",
            "alice@sub.example.org",
            "Alice@example.org",
            "alice@EXAMPLE.ORG",
            "example.org",
        ):
            self.assertRaises(BadSignature, verify_identity, OURS.identity(address), OURS.root, NOW)

    def test_unconstrained(self) -> None:
        """
        An issuing authority whose certificate names no domain certifies no address.
        """
        request = OURS.identity()[0]
        self.assertRaises(BadSignature, verify_identity, (request, OURS.root), OURS.root, NOW)

    def test_forgetting(self) -> None:
        """
        What is remembered of checked chains is bounded.
        """
        self.addCleanup(_verified.clear)
        _verified.clear()
        oldest, *_ = others = [(number.to_bytes(4, "big"),) for number in range(CHAINS_KEPT)]
        _verified.update((key, (0, 0)) for key in others)
        verify_node((NODE, ISSUING), OURS.root, NOW)
        self.assertEqual(CHAINS_KEPT, len(_verified))
        self.assertNotIn(oldest, _verified)


class MadeUpTests(SynchronousTestCase):
    """
    Tests of bytes that somebody made up: they raise L{PeerError} and nothing else.
    """

    @given(mutations())
    @settings(max_examples=400)
    def test_mutated(self, data: bytes) -> None:
        """
        A certificate or request that was altered anywhere.
        """
        for read in READERS:
            try:
                read(data)
            except PeerError:
                pass

    @given(st.binary(max_size=300))
    def test_garbage(self, data: bytes) -> None:
        """
        Anything at all.
        """
        for read in READERS:
            self.assertRaises(PeerError, read, data)

    def test_large(self) -> None:
        """
        What is too large is not even parsed.
        """
        for read in READERS:
            self.assertRaises(PeerError, read, NODE + bytes(SIZE_LIMIT))

    def test_altered(self) -> None:
        """
        No certificate in which one bit of what is signed is another is believed.
        """
        for place in range(30, len(NODE) - 80, 7):
            altered = bytearray(NODE)
            altered[place] ^= 1
            self.assertRaises(PeerError, verify_node, (bytes(altered), ISSUING), OURS.root, NOW)

    def test_version(self) -> None:
        """
        An X.509 version that does not exist.
        """
        for data, read in ((NODE, read_node), (NODE, READERS[3])):
            self.assertEqual(1, data.count(b"\xa0\x03\x02\x01\x02"))
            self.assertRaises(PeerError, read, data.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09"))

    def test_unknown_kind_of_name(self) -> None:
        """
        A kind of name that the library cannot express (x400Address).
        """
        uri = b"\x86" + bytes([len(PLACE_URI.value)])
        self.assertEqual(1, NODE.count(uri))
        self.assertRaises(PeerError, read_node, NODE.replace(uri, b"\xa3" + uri[1:]))

    def test_odd_leaves(self) -> None:
        """
        Leaves that the authority did sign, but that are not as they have to be.
        """
        address = x509.RFC822Name("alice@example.org")
        odd_facts = x509.UnrecognizedExtension(IDENTITY_OID, pack(IdentityFacts(2, ACCOUNT, 1)))
        for names, extra in (
            ([PLACE_URI, address], [facts()]),
            ([x509.DNSName("example.org")], [facts()]),
            ([x509.UniformResourceIdentifier("post-node:abc")], [facts()]),
            ([x509.UniformResourceIdentifier("post-node:" + "z" * 40)], [facts()]),
            ([PLACE_URI], []),
            ([PLACE_URI], [facts(2)]),
            ([PLACE_URI], [x509.UnrecognizedExtension(NODE_OID, b"\xff")]),
            ([address], [odd_facts]),
        ):
            leaf = OURS.leaf([NO_AUTHORITY, USAGE, x509.SubjectAlternativeName(names), *extra])
            self.assertRaises(PeerError, verify_node, (leaf, ISSUING), OURS.root, NOW)
            self.assertRaises(PeerError, verify_identity, (leaf, ISSUING), OURS.root, NOW)

    def test_odd_keys(self) -> None:
        """
        Keys of other kinds are neither certified nor believed.
        """
        other, edwards = ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()
        for key, algorithm in ((other, hashes.SHA384()), (edwards, None)):
            self.assertRaises(PeerError, request_key, request_for(key, algorithm))
            public = key.public_key()
            leaf = OURS.leaf([NO_AUTHORITY, USAGE, x509.SubjectAlternativeName([PLACE_URI]), facts()], public)
            self.assertRaises(PeerError, verify_node, (leaf, ISSUING), OURS.root, NOW)

    def test_unproven_request(self) -> None:
        """
        A request that its key has not signed proves nothing.
        """
        theirs = SigningKey.generate(OURS.entropy)
        mine, other = (
            key.private_key.public_key().public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
            for key in (OURS.leaf_key, theirs)
        )
        self.assertEqual(1, REQUEST.count(mine))
        self.assertRaises(PeerError, request_key, REQUEST.replace(mine, other))
