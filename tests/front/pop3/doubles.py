"""
A node's POP3 with a mailbox in memory, and connections without a socket.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from post.front.auth import Throttle
from post.front.pop3.maildrop import Locks
from post.front.pop3.server import Pop3Factory, Pop3Protocol
from tests.front.imap.doubles import SIMPLE, FakeAccounts, FakeMailbox, Wire

DOTS = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nend.\r\n"


class World:
    """
    One account, and as many connections as a test likes, at a plain port and at one of implicit TLS.
    """

    def __init__(self, *messages: bytes, tls: object = None) -> None:
        self.clock = Clock()
        self.clock.advance(1_800_000_000)
        self.mailbox = FakeMailbox(self.clock)
        for message in messages:
            self.mailbox.receive(message)
        self.accounts = FakeAccounts(self.mailbox)
        throttle, locks = Throttle(self.clock), Locks()
        self.factory = Pop3Factory(self.accounts, self.clock, throttle, tls, False, locks)
        self.secure = Pop3Factory(self.accounts, self.clock, throttle, None, True, locks)

    def connect(self, host: str = "127.0.0.1", secure: bool = False) -> Client:
        """
        A mail program that has seen the greeting.
        """
        return Client(self, host, self.secure if secure else self.factory)

    def enter(self) -> Client:
        """
        A mail program that has logged in.
        """
        client = self.connect()
        client.say("USER alice", "PASS secret")
        return client


class Client:
    """
    The other end of a connection.
    """

    def __init__(self, world: World, host: str, factory: Pop3Factory) -> None:
        self.world = world
        self.wire = Wire(host)
        self.protocol: Pop3Protocol = factory.buildProtocol(IPv4Address("TCP", host, 40000))
        self.protocol.makeConnection(self.wire)
        self.greeting = self.heard()[0]

    @property
    def ended(self) -> bool:
        """
        Whether the server has ended the connection.
        """
        return self.wire.disconnecting or self.wire.disconnected

    def send(self, octets: bytes) -> None:
        """
        Octets, as they are.
        """
        if not self.ended:
            self.protocol.dataReceived(octets)
            self.world.clock.advance(0)

    def octets(self) -> bytes:
        """
        What the server has said since last asked.
        """
        said: bytes = self.wire.value()
        self.wire.clear()
        return said

    def heard(self) -> list[str]:
        """
        The same in lines.
        """
        return self.octets().decode("latin-1").split("\r\n")[:-1]

    def say(self, *lines: str) -> list[str]:
        """
        Send lines; returns what is answered.
        """
        self.send("".join(line + "\r\n" for line in lines).encode())
        return self.heard()

    def hang_up(self) -> None:
        """
        The client goes.
        """
        self.protocol.connectionLost()


def received(answer: bytes) -> bytes:
    """
    The message in a good answer to RETR or TOP, as RFC 1939, section 3, has it read; nothing may follow.
    """
    status, _, text = answer.partition(b"\r\n")
    assert status.startswith(b"+OK"), answer
    assert text == b".\r\n" or text.endswith(b"\r\n.\r\n"), text[-100:]
    lines = text.removesuffix(b".\r\n").split(b"\r\n")[:-1]
    assert b"." not in lines
    return b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)


__all__ = ["DOTS", "SIMPLE", "Client", "World", "received"]
