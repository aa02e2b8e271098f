"""
Mutual TLS 1.3 for links: both ends show node certificates of our own authority.

OpenSSL checks the chain up to our root, and the purpose of each end's certificate; the profile of a node certificate,
its id and the time by I{our} clock are checked again by L{post.crypto.certificates}.  Names of hosts play no role: the
identity of a link is the node id in the certificate.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Any, cast

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_der_x509_certificate
from OpenSSL.crypto import FILETYPE_ASN1
from OpenSSL.SSL import Connection
from OpenSSL.SSL import Error as TlsError
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IProtocol,
    IReactorTime,
    ISystemHandle,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, CertificateOptions, TLSVersion, trustRootFromCertificates
from twisted.internet.tcp import Connection as TcpConnection
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from post.crypto.keys import SigningKey
from post.errors import ConfigError, PeerError
from post.net.config import LinkConfig

PROTOCOL = b"post/1"
"""The name of our protocol in ALPN."""
KEEP_ALIVE_TRIES = 3
"""Of the kernel without an answer, after which a link on which nothing is said is broken."""


def options(key: SigningKey, chain: Sequence[bytes], root_der: bytes) -> CertificateOptions:
    """
    What both ends of a connection are made with.  It keeps its OpenSSL context: make one, use it for all links.

    @raise ConfigError: if key, certificates and root do not belong together.
    """
    # Twisted's types still ask for pyOpenSSL's own objects, which pyOpenSSL is giving up in favor of these.
    leaf, *issuing = [cast("Any", load_der_x509_certificate(each)) for each in chain]
    made = CertificateOptions(
        privateKey=cast("Any", key.private_key),
        certificate=leaf,
        extraCertChain=issuing,
        trustRoot=trustRootFromCertificates([Certificate.load(root_der, FILETYPE_ASN1)]),
        acceptableProtocols=[PROTOCOL],
        raiseMinimumTo=TLSVersion.TLSv1_3,
    )
    try:
        made.getContext()
    except TlsError as error:
        raise ConfigError("node key", f"does not fit the node certificate ({error})") from None
    return made


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class Renewable:
    """
    What both ends of a connection are made with, while it may be exchanged for another.
    """

    def __init__(self, made: CertificateOptions) -> None:
        self._made = made

    def use(self, made: CertificateOptions) -> None:
        """
        For every connection from now on.
        """
        self._made = made

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> Connection:
        return self._made.clientConnectionForTLS(protocol)

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> Connection:
        return self._made.serverConnectionForTLS(protocol)


class _Wrapping(TLSMemoryBIOFactory):
    """
    Puts TLS under a protocol.

    Without Twisted's buffering of small writes: links gather what is written in one turn of the reactor themselves, so
    a second wait for the same purpose would only cost time.
    """

    protocol = TLSMemoryBIOProtocol

    def buildProtocol(self, addr: IAddress | None) -> TLSMemoryBIOProtocol | None:  # type: ignore[override]
        # Twisted's would wrap the refusal of the factory within.
        inner: IProtocol | None = self.wrappedFactory.buildProtocol(addr)
        return None if inner is None else TLSMemoryBIOProtocol(self, inner)


class _Single(Factory):
    """
    Hands out the one protocol that there is.
    """

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._protocol


def client_factory(made: Renewable, link: Protocol, clock: IReactorTime) -> TLSMemoryBIOFactory:
    """
    For the end that dials: makes C{link} speak TLS.
    """
    return _Wrapping(made, True, _Single(link), clock)


def server_factory(made: Renewable, links: Factory, clock: IReactorTime) -> TLSMemoryBIOFactory:
    """
    For the end that listens.
    """
    return _Wrapping(made, False, links, clock)


def negotiated(tls: Any) -> None:  # Here and below: Twisted's TLS wrapper, which has no types.
    """
    Check that the other end speaks our protocol.  One that offers no ALPN at all gets past OpenSSL.

    @raise PeerError: if it does not.
    """
    if tls.negotiatedProtocol != PROTOCOL:
        raise PeerError("it does not speak post/1")


def proven_chain(tls: Any) -> list[bytes]:
    """
    The chain that OpenSSL verified, leaf first, without the root; empty if there is none.
    """
    certificates = tls.getHandle().get_verified_chain(as_cryptography=True) or []
    return [each.public_bytes(Encoding.DER) for each in certificates[:-1]]


def tune(tls: Any, config: LinkConfig) -> None:
    """
    Set the options of the socket: small frames go at once, a peer that vanished is noticed, and the kernel takes no
    more bulk than the line does (see L{LinkConfig.unsent_bytes <post.net.config.LinkConfig>}).
    """
    tls.setTcpNoDelay(True)
    tls.setTcpKeepAlive(True)
    if not ISystemHandle.providedBy(tls.transport):
        return
    handle = tls.transport.getHandle()
    if isinstance(handle, socket.socket):
        # Each system has some of these.
        for name, value in (
            ("TCP_NOTSENT_LOWAT", config.unsent_bytes),
            ("TCP_USER_TIMEOUT", int(1000 * config.unacknowledged_s)),
            ("TCP_KEEPIDLE", int(config.keep_alive_s)),
            ("TCP_KEEPINTVL", int(config.unacknowledged_s / KEEP_ALIVE_TRIES)),
            ("TCP_KEEPCNT", KEEP_ALIVE_TRIES),
        ):
            option = getattr(socket, name, None)
            if option is not None:
                handle.setsockopt(socket.IPPROTO_TCP, option, value)


def push(tls: Any) -> None:
    """
    Send now what was written, instead of in the next round of the reactor, which would be a round for this alone: of a
    small question and its answer that takes 12% of the CPU time (measured).

    If the socket is full, or broken, the reactor goes on with the rest as always.
    """
    connection = tls.transport
    if isinstance(connection, TcpConnection):
        connection.doWrite()
