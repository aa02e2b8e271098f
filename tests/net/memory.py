"""
A network in memory on which real TLS runs: the part of a reactor that links use, with time that stands still.

All nodes share one L{MemoryNetwork}.  Bytes move when a test says so, in an order that it may choose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import (
    CannotListenError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
)
from twisted.internet.interfaces import IConsumer, IDelayedCall, IProtocol, IPushProducer, ITCPTransport
from twisted.internet.protocol import ClientFactory, Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

BUFFER_BYTES = 64 * 1024
"""Above this a transport pauses its producer, and so much is read at once: as Twisted's."""


@implementer(ITCPTransport, IConsumer, IPushProducer)
class End:
    """
    One end of a connection: what is written waits here until the network delivers it to C{other}.
    """

    other: End
    protocol: IProtocol

    def __init__(self, host: IPv4Address, peer: IPv4Address) -> None:
        self._host, self._peer = host, peer
        self.waiting = bytearray()
        self.most_waiting = 0
        self.reading = True
        self.closing = False
        self.closed = False
        self.aborted = False
        self._producer: Any = None  # IPushProducer or Twisted's wrapper of one.
        self._producer_paused = False

    def write(self, data: bytes) -> None:
        if self.closed or self.aborted:
            return
        self.waiting += data
        self.most_waiting = max(self.most_waiting, len(self.waiting))
        if self._producer is not None and len(self.waiting) > BUFFER_BYTES:
            self._producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def deliver(self, most: int = BUFFER_BYTES) -> bool:
        """
        Move some bytes, or the end of the connection, to the other end.  Answers whether there was something to do.
        """
        if self.closed:
            return False
        if self.aborted:
            self._close(ConnectionAborted())
            return True
        if self.waiting and self.other.reading:
            data = bytes(self.waiting[:most])
            del self.waiting[:most]
            if not self.other.closed and not self.other.aborted:
                self.other.protocol.dataReceived(data)
            if not self.waiting and self._producer_paused and self._producer is not None:
                self._producer_paused = False
                self._producer.resumeProducing()
            return True
        if self.closing and not self.waiting:
            self._close(ConnectionDone())
            return True
        if self.other.closed and self.reading:
            self.closed = True
            self.protocol.connectionLost(Failure(ConnectionLost()))
            return True
        return False

    def _close(self, reason: Exception) -> None:
        self.closed = True
        self.waiting.clear()
        self.protocol.connectionLost(Failure(reason))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None

    def loseConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.aborted = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True

    def stopProducing(self) -> None:
        self.loseConnection()

    def loseWriteConnection(self) -> None:
        raise NotImplementedError("nobody half-closes a link")

    def getHost(self) -> IPv4Address:
        return self._host

    def getPeer(self) -> IPv4Address:
        return self._peer

    def getTcpKeepAlive(self) -> bool:
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        pass

    def getTcpNoDelay(self) -> bool:
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass


class _Port:
    def __init__(self, network: MemoryNetwork, number: int) -> None:
        self._network, self._number = network, number

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", self._number)

    def stopListening(self) -> None:
        del self._network.listening[self._number]


class _Connector:
    call: IDelayedCall

    def stopConnecting(self) -> None:
        self.call.cancel()

    def getDestination(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 0)


class MemoryNetwork(Clock):
    """
    Connects those who listen and those who dial.

    @ivar silent: ports behind which nobody answers, not even with a refusal.
    @ivar connected: both ends of every connection made, the dialling end first.
    """

    def __init__(self, now: float) -> None:
        super().__init__()
        self.advance(now)
        self.listening: dict[int, Factory] = {}
        self.silent: set[int] = set()
        self.connected: list[tuple[End, End]] = []
        self.dialled: list[int] = []
        self._next_port = 10_000

    def listenTCP(self, port: int, factory: Factory, backlog: int = 50, interface: str = "") -> _Port:
        if port == 0:
            self._next_port += 1
            port = self._next_port
        if port in self.listening:
            raise CannotListenError(interface, port, OSError("Address already in use"))
        self.listening[port] = factory
        return _Port(self, port)

    def connectTCP(
        self, host: str, port: int, factory: ClientFactory, timeout: float = 30, bindAddress: object = None
    ) -> _Connector:
        connector = _Connector()
        self.dialled.append(port)
        factory.startedConnecting(connector)  # type: ignore[arg-type]  # Enough of one.
        if port in self.silent:
            connector.call = self.callLater(timeout, self._fail, connector, factory, TimeoutError())
        else:
            connector.call = self.callLater(0, self._connect, connector, port, factory)
        return connector

    def _fail(self, connector: _Connector, factory: ClientFactory, error: Exception) -> None:
        factory.clientConnectionFailed(connector, Failure(error))  # type: ignore[arg-type]  # Enough of one.

    def _connect(self, connector: _Connector, port: int, factory: ClientFactory) -> None:
        listener = self.listening.get(port)
        if listener is None:
            self._fail(connector, factory, ConnectionRefusedError())
            return
        near = IPv4Address("TCP", "127.0.0.1", 50_000 + len(self.connected))
        far = IPv4Address("TCP", "127.0.0.1", port)
        server_protocol = listener.buildProtocol(near)
        if server_protocol is None:
            self._fail(connector, factory, ConnectionLost())
            return
        client_protocol = factory.buildProtocol(far)
        assert client_protocol is not None
        client, server = End(near, far), End(far, near)
        client.other, server.other = server, client
        client.protocol, server.protocol = client_protocol, server_protocol
        self.connected.append((client, server))
        server_protocol.makeConnection(server)
        client_protocol.makeConnection(client)

    def ends(self) -> list[End]:
        """
        All ends that are still open.
        """
        return [end for pair in self.connected for end in pair if not end.closed]

    def settle(self, until: Callable[[], bool] = lambda: False) -> None:
        """
        Deliver everything, and do what is due now, until nothing happens any more.
        """
        for _ in range(10_000):
            if until():
                return
            self.advance(0)
            moved = [end.deliver() for end in self.ends()]
            if not any(moved) and not self._due():
                return
        raise AssertionError("it never settles")

    def shuffle(self, random: Random, sizes: tuple[int, ...] = (1, 40, 500, 2000, BUFFER_BYTES)) -> None:
        """
        The same in an order, and in pieces, of chance.
        """
        for _ in range(100_000):
            if self._due() and random.random() < 0.3:
                self.advance(0)
            ends = self.ends()
            random.shuffle(ends)
            if not any(end.deliver(random.choice(sizes)) for end in ends):
                if not self._due():
                    return
                self.advance(0)
        raise AssertionError("it never settles")

    def _due(self) -> bool:
        return any(call.getTime() <= self.seconds() for call in self.getDelayedCalls())

    def pass_time(self, seconds: float, step: float = 1.0) -> None:
        """
        Let time pass in steps, with everything delivered after each.
        """
        passed = 0.0
        while passed < seconds:
            self.advance(step)
            self.settle()
            passed += step

    def cut(self) -> None:
        """
        Break every connection there is, at once; nothing under way arrives.
        """
        for end in self.ends():
            end.waiting.clear()
            end.aborted = True
