"""
The network of a real node, as L{post.interfaces.ITransport}: listens, and links over mutual TLS.

What happens to links once they are up is decided in L{post.net.switchboard}.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IDelayedCall, IListeningPort, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from zope.interface import implementer

from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate, verify_node
from post.crypto.keys import SigningKey
from post.errors import ConfigError, PeerError
from post.ids import Address, Contact, NodeId
from post.interfaces import IReceiver, ITransport
from post.net.config import LinkConfig
from post.net.dial import connect, join_address
from post.net.link import Link, Stage
from post.net.messages import Agreed
from post.net.switchboard import Switchboard
from post.net.tls import Renewable, client_factory, options, server_factory
from post.wire import Priority

_ANYWHERE = ("", "0.0.0.0", "::")


class _Acceptor(Factory):
    """
    Makes the link for each connection that comes in, unless too many strangers are being served already.
    """

    noisy = False

    def __init__(self, switchboard: Switchboard) -> None:
        self._switchboard = switchboard

    def buildProtocol(self, addr: IAddress | None) -> Link | None:
        switchboard = self._switchboard
        if switchboard.receiver is None:
            return None
        source = str(getattr(addr, "host", "?"))
        config = switchboard.config
        strangers = Counter(
            each.source for each in switchboard.connections if not each.dialled and each.stage < Stage.UP
        )
        if strangers[source] >= config.unproven_per_source or strangers.total() >= config.unproven_limit:
            switchboard.complaints.note(source, "too many connections without a handshake")
            return None
        return Link(switchboard)


@implementer(ITransport)
class TlsTransport:
    """
    Links over TLS.

    @ivar local: our contact; its addresses are known after L{listen}.
    @ivar port: the TCP port listened on; 0 before L{listen}.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,  # IReactorTCP for ourselves, and what Twisted's endpoints want besides.
        key: SigningKey,
        chain: Sequence[bytes],
        root_der: bytes,
        listen: tuple[str, int],
        addresses: tuple[Address, ...] | None,
        epoch: int,
        random: Random,
        complaints: Complaints,
        clock: IReactorTime | None = None,
        config: LinkConfig | None = None,
    ) -> None:
        """
        @param chain: our node certificate and that of the issuing authority.
        @param listen: address of an interface (C{""} for all), and a port (0 for any that is free).
        @param addresses: where others reach us; by default the address listened on, or none if that is all interfaces:
            such a node dials others, but has to say itself under which name it can be dialled.
        @raise ConfigError: if key, certificates and root do not belong together, or the certificate is not valid now.
        """
        self.port = 0
        self._reactor = reactor
        self._clock: IReactorTime = reactor if clock is None else clock
        self._root_der = root_der
        self._listen = listen
        self._addresses = addresses
        self._port: IListeningPort | None = None
        self._tending: IDelayedCall | None = None
        try:
            self._certificate = self._identify(chain)
        except PeerError as error:
            raise ConfigError("node certificate", str(error)) from None
        self._options = Renewable(options(key, chain, root_der))
        local = Contact(self._certificate.node_id, addresses or (), epoch)
        self._switchboard = Switchboard(
            local, self._clock, random, complaints, config or LinkConfig(), self._identify, self._connect
        )

    @property
    def local(self) -> Contact:
        return self._switchboard.local

    def renew(self, key: SigningKey, chain: Sequence[bytes]) -> None:
        """
        Show newer certificates of the same key to whoever is linked with from now on.

        @raise ConfigError: if they are not for that key and our place on the ring, or not valid now.
        """
        try:
            certificate = self._identify(chain)
        except PeerError as error:
            raise ConfigError("node certificate", str(error)) from None
        if certificate.node_id != self.local.id:
            raise ConfigError("node certificate", "is of another node")
        self._options.use(options(key, chain, self._root_der))
        self._certificate = certificate

    def _identify(self, chain: Sequence[bytes]) -> NodeCertificate:
        return verify_node(chain, self._root_der, int(self._clock.seconds()))

    async def _connect(self, address: Address, expects: NodeId | None) -> Link:
        link = Link(self._switchboard, expects, dialled=True)
        outcome = link.outcome
        assert outcome is not None
        factory = client_factory(self._options, link, self._clock)
        await connect(self._reactor, address, factory, self._switchboard.config.connect_s)
        await outcome
        return link

    # Life.

    def listen(self) -> None:
        """
        Take the port.  Nobody is answered before L{start}.

        @raise ConfigError: if the port is taken, or the address is not ours.
        """
        host, port = self._listen
        factory = server_factory(self._options, _Acceptor(self._switchboard), self._clock)
        try:
            self._port = self._reactor.listenTCP(port, factory, interface=host)
        except CannotListenError as error:
            where = join_address(host, port)
            raise ConfigError("link address", f"cannot listen on {where}: {error.socketError}") from None
        self.port = self._port.getHost().port  # type: ignore[union-attr]  # Of a TCP port.
        if self._addresses is None and host not in _ANYWHERE:
            local = self.local
            self._switchboard.local = Contact(local.id, (join_address(host, self.port),), local.epoch)

    def start(self, receiver: IReceiver) -> None:
        """
        Serve; L{listen} first, if that was not done.

        @raise ConfigError: as L{listen}.
        """
        if self._port is None:
            self.listen()
        self._switchboard.receiver = receiver
        self._tend()

    def _tend(self) -> None:
        self._tending = self._clock.callLater(self._switchboard.config.tend_s, self._tend)
        self._switchboard.tend()

    def stop(self) -> Deferred[None]:
        """
        Stop listening, end every link in order, cut what has not ended in time; fires when all is closed.
        """
        if self._tending is not None:
            self._tending.cancel()
            self._tending = None
        port, self._port = self._port, None
        closed: list[Deferred[Any]] = [self._switchboard.stop()]
        if port is not None:
            closed.append(maybeDeferred(port.stopListening))
        return DeferredList(closed, consumeErrors=True).addCallback(lambda _: None)

    # ITransport.

    def introduce(self, address: Address) -> Deferred[Contact]:
        return self._switchboard.introduce(address)

    def send(self, peer: Contact, frame: bytes, priority: Priority) -> bool:
        return self._switchboard.send(peer, frame, priority)

    def writable(self, peer: NodeId) -> Deferred[None]:
        return self._switchboard.writable(peer)

    def round_trip_s(self, peer: NodeId) -> float | None:
        return self._switchboard.round_trip_s(peer)

    def silent_s(self, peer: NodeId) -> float | None:
        link = self._switchboard.linked.get(peer)
        return None if link is None else self._clock.seconds() - link.heard_at

    def certificate(self, peer: NodeId) -> NodeCertificate | None:
        if peer == self.local.id:
            return self._certificate
        return self._switchboard.certificates.get(peer)

    def linked(self, peer: NodeId) -> Contact | None:
        link = self._switchboard.linked.get(peer)
        return None if link is None else link.peer

    def links(self) -> Sequence[Contact]:
        return [link.peer for link in self._switchboard.linked.values()]

    def recheck(self) -> None:
        for link in list(self._switchboard.connections):
            link.recheck()

    # Besides.

    def agreed(self, peer: NodeId) -> Agreed | None:
        """
        The protocol version and features in use with a peer that is linked with us.
        """
        link = self._switchboard.linked.get(peer)
        return None if link is None else link.agreed

    def pause(self, peer: NodeId) -> None:
        """
        Read nothing more from C{peer}, because what it sent already is too much; L{resume} ends that.  A link lost in
        between comes back reading.
        """
        link = self._switchboard.linked.get(peer)
        if link is not None:
            link.read(False)

    def resume(self, peer: NodeId) -> None:
        """
        Read from C{peer} again.
        """
        link = self._switchboard.linked.get(peer)
        if link is not None:
            link.read(True)
