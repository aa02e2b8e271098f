"""
Tests for L{post.front.pop3.server}: order, backpressure, limits and time.
"""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.front.pop3.server import (
    BAD_LIMIT,
    BUFFER_LIMIT,
    CONNECTIONS_LIMIT,
    IDLE_S,
    LINE_LIMIT,
    LINGER_S,
    STRANGER_S,
)
from post.front.pop3.transaction import PIECE
from tests.front.pop3.doubles import DOTS, SIMPLE, Client, World, received

LARGE = b"Subject: large\r\n\r\n" + b".0123456789\r\n" * 100_000


class OrderTests(SynchronousTestCase):
    """
    Tests for commands that are pipelined.
    """

    def setUp(self) -> None:
        self.world = World(SIMPLE, DOTS)

    def test_interface(self) -> None:
        """
        A connection is a producer.
        """
        self.assertTrue(verifyObject(IPushProducer, self.world.connect().protocol))

    def test_pipelined(self) -> None:
        """
        A whole session in one segment is answered in order, the log-in included, and done.
        """
        client = self.world.connect()
        said = client.say("USER alice", "PASS secret", "STAT", "DELE 2", "DELE 9", "RETR 1", "NOOP", "QUIT", "STAT")
        sizes = len(SIMPLE), len(SIMPLE) + len(DOTS)
        self.assertEqual(
            [
                "+OK",
                f"+OK 2 messages, {sizes[1]} octets",
                f"+OK 2 {sizes[1]}",
                "+OK Marked.",
                "-ERR There is no such message.",
                f"+OK {sizes[0]} octets",
                *SIMPLE.decode().split("\r\n")[:-1],
                ".",
                "+OK",
                "+OK Goodbye.",
            ],
            said,
        )
        self.assertTrue(client.ended)

    def test_one_at_a_time(self) -> None:
        """
        While a command waits for the ring, the next one does too.
        """
        client = self.world.enter()
        client.heard()
        self.world.mailbox.held = []
        self.assertEqual([], client.say("RETR 1", "STAT"))
        self.world.mailbox.release()
        self.world.clock.advance(0)
        self.assertEqual([".", f"+OK 2 {len(SIMPLE) + len(DOTS)}"], client.heard()[-2:])

    def test_long_pipeline(self) -> None:
        """
        Thousands of commands are answered one after the other, on a stack of any depth.
        """
        client = self.world.enter()
        client.heard()
        self.assertEqual(["+OK"] * 5000, client.say(*["NOOP"] * 5000))
        self.assertEqual(3 * 2000, len([line for line in client.say(*["LIST"] * 2000) if line != "."]))

    def test_turns(self) -> None:
        """
        Who has much to ask lets others have their turn.
        """
        client = self.world.enter()
        client.heard()
        self.world.mailbox.effort_s = 0.03
        client.protocol.dataReceived(b"RETR 1\r\n" * 3)
        self.assertEqual(1, client.octets().count(b"+OK"))
        for _ in range(10):
            self.world.clock.advance(0)
        self.assertEqual(2, client.octets().count(b"+OK"))

    def test_short_turns(self) -> None:
        """
        So does who has many short commands.
        """
        client = self.world.enter()
        self.world.mailbox.vanish(1)
        client.heard()
        self.world.mailbox.effort_s = 0.03
        client.protocol.dataReceived(b"RETR 1\r\n" * 3)
        self.assertEqual(1, client.octets().count(b"-ERR"))
        self.world.clock.advance(0)
        self.assertEqual(2, client.octets().count(b"-ERR"))


class BackpressureTests(SynchronousTestCase):
    """
    Tests for clients that are slower, or faster, than we are.
    """

    def setUp(self) -> None:
        self.world = World(LARGE)
        self.client = self.world.enter()
        self.client.heard()

    def test_reads_slowly(self) -> None:
        """
        Of a large message no more is fetched than the client takes; what it gets in the end is the message.
        """
        self.client.protocol.pauseProducing()
        self.client.send(b"RETR 1\r\n")
        self.assertEqual(b"", self.client.octets())
        answer = b""
        for _ in range(2 + len(LARGE) // PIECE):
            self.client.protocol.resumeProducing()
            self.client.protocol.pauseProducing()
            self.world.clock.advance(0)
            answer += self.client.octets()
            self.assertLess(self.world.mailbox.read, len(answer) + 2 * PIECE)
        self.client.protocol.resumeProducing()
        self.world.clock.advance(0)
        self.assertEqual(LARGE, received(answer + self.client.octets()))

    def full(self) -> None:
        """
        The client asks for the message, and does not read on after the first piece.
        """
        write = self.client.wire.write

        def once(octets: bytes) -> None:
            write(octets)
            self.client.protocol.pauseProducing()

        self.client.wire.write = once  # type: ignore[method-assign]
        self.client.send(b"RETR 1\r\n")

    def test_reads_nothing(self) -> None:
        """
        A client that does not read is cut off in the end; the message stays unread, and the maildrop is free.
        """
        self.full()
        self.assertEqual(PIECE, self.world.mailbox.read)
        self.world.clock.advance(IDLE_S)
        self.assertTrue(self.client.wire.disconnected or self.client.wire.disconnecting)
        self.client.hang_up()
        self.assertEqual((set(), []), (self.world.mailbox.flags(1), self.world.clock.getDelayedCalls()))
        self.assertEqual("+OK 1", self.world.enter().say("STAT")[0][:5])

    def test_gone_in_the_middle(self) -> None:
        """
        Who goes in the middle of a message leaves it unread, and nothing that waits.
        """
        self.full()
        self.client.hang_up()
        self.world.clock.advance(0)
        self.assertFalse(self.client.protocol._busy)
        self.assertEqual((set(), []), (self.world.mailbox.flags(1), self.world.clock.getDelayedCalls()))

    def test_breaks_off(self) -> None:
        """
        If the rest of a message cannot be had, the connection is cut: no client takes what it has for the whole.
        """
        self.full()
        self.world.mailbox.lost.add(LARGE)
        self.client.octets()
        self.client.protocol.resumeProducing()
        self.assertEqual((b"", True), (self.client.octets(), self.client.wire.disconnected))
        self.client.hang_up()
        self.assertEqual(set(), self.world.mailbox.flags(1))

    def test_sends_too_much(self) -> None:
        """
        A client that sends far ahead is not read from, until what it has sent is answered.
        """
        self.world.mailbox.held = []
        self.client.send(b"RETR 1\r\n" + b"NOOP\r\n" * (BUFFER_LIMIT // 6 + 1))
        self.assertEqual("paused", self.client.wire.producerState)
        self.world.mailbox.release()
        self.world.clock.advance(0)
        self.assertEqual("producing", self.client.wire.producerState)
        self.assertTrue(self.client.octets().endswith(b"+OK\r\n+OK\r\n"))


class LimitTests(SynchronousTestCase):
    """
    Tests for limits and time.
    """

    def setUp(self) -> None:
        self.world = World(SIMPLE)

    def test_long_line(self) -> None:
        """
        Of a line that is too long nothing is taken for a command, and little is kept.
        """
        client = self.world.enter()
        client.heard()
        for _ in range(20):
            client.send(b"NOOP\rQUIT " * 10_000)
        self.assertLessEqual(client.protocol._lines.waiting, LINE_LIMIT)
        self.assertEqual([], client.heard())
        self.assertEqual(["-ERR That line is too long.", "+OK"], client.say("", "NOOP"))

    def test_nonsense(self) -> None:
        """
        After many bad commands on end the connection ends; good ones in between count.
        """
        client = self.world.enter()
        for _ in range(3):
            client.say(*["BAD"] * (BAD_LIMIT - 1), "NOOP")
        self.assertFalse(client.ended)
        self.assertEqual("-ERR Too many errors.", client.say(*["BAD"] * BAD_LIMIT)[-1])
        self.assertTrue(client.ended)

    def test_browser(self) -> None:
        """
        A web page cannot have a browser speak POP3.
        """
        client = self.world.connect()
        said = client.say("POST / HTTP/1.1", "Host: 127.0.0.1", "", "USER alice", "PASS secret")
        self.assertEqual((["-ERR This is no web server."], True), (said, client.ended))

    def test_idle(self) -> None:
        """
        An idle client is let go after ten minutes, without a word; each command gives it as many again.
        """
        client = self.world.enter()
        for _ in range(3):
            self.world.clock.advance(IDLE_S - 1)
            self.assertEqual("+OK", client.say("NOOP")[-1])
        self.world.clock.advance(IDLE_S)
        self.assertEqual(([], True), (client.heard(), client.ended))

    def test_slow_ring(self) -> None:
        """
        A client that waits for the ring is not idle.
        """
        client = self.world.enter()
        self.world.mailbox.held = []
        client.say("RETR 1")
        self.world.clock.advance(IDLE_S + 1)
        self.assertFalse(client.ended)
        self.world.mailbox.release()
        self.assertEqual(SIMPLE, received(client.octets()))

    def test_stranger(self) -> None:
        """
        Who does not log in is let go sooner, however much he says.
        """
        client = self.world.connect()
        self.world.clock.advance(STRANGER_S - 1)
        client.say("CAPA")
        self.world.clock.advance(1)
        self.assertTrue(client.ended)

    def test_lingers(self) -> None:
        """
        A connection that the client does not close is cut.
        """
        client = self.world.connect()
        client.say("QUIT")
        self.assertFalse(client.wire.disconnected)
        self.world.clock.advance(LINGER_S)
        self.assertTrue(client.wire.disconnected)
        client.hang_up()
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def test_many(self) -> None:
        """
        There are so many connections at most; one who has logged in is never given up for a stranger.
        """
        client = self.world.enter()
        others = [self.world.connect() for _ in range(CONNECTIONS_LIMIT - 1)]
        late = self.world.connect()
        self.assertEqual((False, True), (client.wire.disconnected, others[0].wire.disconnected))
        self.assertEqual("+OK POST ready", late.greeting)
        for other in (*others, late):
            other.protocol.session._transaction = client.protocol.session._transaction
        self.assertIsNone(self.world.factory.buildProtocol(None))

    def test_stop(self) -> None:
        """
        When the service stops, every connection ends.
        """
        clients: list[Client] = [self.world.connect(), self.world.enter()]
        self.world.factory.stop_all()
        self.assertEqual([True, True], [client.wire.disconnected for client in clients])
