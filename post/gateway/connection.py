"""
A connection to a mail server, as L{post.smtp.client} speaks over it.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import (
    IHandshakeListener,
    IOpenSSLClientConnectionCreator,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from post.errors import PeerError
from post.smtp.client import IStream, Reply, ReplyReader, TlsFailed, Unavailable

HANDSHAKE_S = 60.0


@implementer(IOpenSSLClientConnectionCreator)
class Opportunistic:
    """
    TLS to whoever answers: it protects from those who only listen, and the alternative is none at all (RFC 7435).
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._options = CertificateOptions(verify=False, raiseMinimumTo=TLSVersion.TLSv1_2)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._options.getContext(), None)
        connection.set_tlsext_host_name(self._host.encode("ascii"))
        return connection


@implementer(IStream, IPushProducer, IHandshakeListener)
class Connection(Protocol):
    """
    One who is connected to a server.
    """

    def __init__(self, clock: IReactorTime, tls: IOpenSSLClientConnectionCreator) -> None:
        self._clock = clock
        self._tls = tls
        self._reader = ReplyReader()
        self._waiting: Deferred[Any] | None = None  # Of whoever waits: one at a time.
        self._paused = False
        self._shaking = False
        self._lost = ""

    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]

    # What is received.

    def dataReceived(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except PeerError as error:
            self._break(str(error))
        self._wake()

    def handshakeCompleted(self) -> None:
        self._shaking = False
        self._wake()

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._wake()

    def stopProducing(self) -> None:
        """
        The connection is lost; L{connectionLost} says so.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        why = "" if reason.check(type(connectionDone.value)) else f": {type(reason.value).__name__}"
        self._lost = self._lost or f"The connection was lost{why}."
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def _break(self, why: str) -> None:
        self._lost = self._lost or f"The server does not speak SMTP: {why}."
        self.transport.abortConnection()  # type: ignore[union-attr]

    async def _wait(self, until: float, what: str) -> None:
        left_s = until - self._clock.seconds()
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        try:
            await waiting.addTimeout(max(0.0, left_s), self._clock)
        except TimeoutError:
            self._waiting = None
            raise Unavailable(f"The server did not {what} in time.", "4.4.1") from None

    # What is said.

    async def send(self, data: bytes, timeout_s: float) -> None:
        until = self._clock.seconds() + timeout_s
        if self._lost:
            raise Unavailable(self._lost)
        self.transport.write(data)  # type: ignore[union-attr]
        while self._paused and not self._lost:
            await self._wait(until, "take the message")
        if self._lost:
            raise Unavailable(self._lost)

    async def reply(self, timeout_s: float) -> Reply:
        until = self._clock.seconds() + timeout_s
        while True:
            try:
                reply = self._reader.next()
            except PeerError as error:
                self._break(str(error))
                reply = None
            if reply is not None:
                return reply
            if self._lost:
                raise Unavailable(self._lost)
            await self._wait(until, "answer")

    async def start_tls(self) -> None:
        if self._reader.waiting:
            # Somebody between us and the server wants to speak in its name after TLS has begun (CVE-2011-0411).
            raise TlsFailed("Something was said between STARTTLS and TLS.")
        until = self._clock.seconds() + HANDSHAKE_S
        self._shaking = True
        self.transport.unregisterProducer()  # type: ignore[union-attr]
        self.transport.startTLS(self._tls)  # type: ignore[union-attr]
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        try:
            while self._shaking and not self._lost:
                await self._wait(until, "finish the TLS handshake")
        except Unavailable as error:
            raise TlsFailed(error.words) from None
        if self._lost:
            raise TlsFailed("No secure connection could be made.", "4.7.5")

    def close(self) -> None:
        """
        Hang up.
        """
        self._lost = self._lost or "The connection is closed."
        self.transport.loseConnection()  # type: ignore[union-attr]
        self._clock.callLater(5.0, self._abort)

    def _abort(self) -> None:
        if self.connected:
            self.transport.abortConnection()  # type: ignore[union-attr]
