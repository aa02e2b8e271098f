"""
One POP3 connection: lines in, answers out, as fast as either end can.  What is said is in L{post.front.pop3.session}.

Commands are taken one at a time (PIPELINING, RFC 2449): while one waits for the ring, or while the client does not
read, what it sends behind stays in the buffer, and beyond a bound its socket is not read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from post.errors import PostError, Unreachable
from post.front.auth import Throttle
from post.front.pop3.maildrop import Locks
from post.front.pop3.session import Session, refusal
from post.front.pop3.transaction import BadCommand
from post.mail.interfaces import IMailAccounts
from post.smtp.grammar import Syntax
from post.smtp.lines import LineReader
from post.tasks import sleep

LINE_LIMIT = 4096
"""Octets of a command: RFC 2449 asks for 255, a long password may make it longer."""
IDLE_S = 600.0
"""RFC 1939, section 3: at least ten minutes."""
STRANGER_S = 180.0
"""From the connection to the log-in, however busily somebody who has no password talks."""
LINGER_S = 15.0
"""For the last words to be read, before a connection is cut that the client does not close."""
BUFFER_LIMIT = 128 * 1024
"""Octets of commands that wait; beyond, the socket is not read."""
TURN_S = 0.02
"""One connection works for so long at most before others have their turn."""
BAD_LIMIT = 20
"""Bad commands on end after which nobody is believed to be a mail program."""
CONNECTIONS_LIMIT = 1000
"""Connections at once, of each port: a few KiB each, and a mail program holds one."""


@implementer(IPushProducer)
class Pop3Protocol(Protocol):
    """
    One connection.
    """

    log = Logger()

    def __init__(self, factory: Pop3Factory, source: str) -> None:
        self.factory: Pop3Factory = factory
        self.source = source
        self.tls = factory.implicit_tls
        self.session = Session(self)
        self._lines = LineReader(LINE_LIMIT)
        self._busy = False  # A command is being worked on.
        self._full = False  # The client does not read what we say.
        self._paused = False  # We do not read what the client says.
        self._working = self._gone = False
        self._bad = 0
        self._turn = 0.0
        self._timer: IDelayedCall | None = None
        self._later: IDelayedCall | None = None
        self._asleep: Deferred[None] | None = None
        self._drained: Deferred[None] | None = None

    # The connection.

    @property
    def occupied(self) -> bool:
        """
        Whether the client waits for an answer.
        """
        return self._busy

    def connectionMade(self) -> None:
        self.factory.connections[self] = None
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self._rest(STRANGER_S)
        self.write(b"+OK POST ready\r\n")

    def connectionLost(self, reason: object = None) -> None:
        self._gone = True
        self.factory.connections.pop(self, None)
        for timer in (self._timer, self._later):
            if timer is not None and timer.active():
                timer.cancel()
        if self._asleep is not None:
            self._asleep.cancel()
        self._drain()
        self.session.ended()

    def drop(self) -> None:
        """
        End the connection now.
        """
        self._gone = True
        self.transport.abortConnection()  # type: ignore[union-attr]

    def leave(self, words: bytes = b"") -> None:
        """
        Say something last, and end the connection when it has been sent, or if the client does not take it, soon.
        """
        if self._gone:
            return
        self.write(words)
        self._rest(LINGER_S)
        self._gone = True
        self.transport.unregisterProducer()  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]

    def start_tls(self, words: bytes) -> bool:
        """
        Begin TLS behind C{words}.  Not if something was said behind the command already: whoever put it there wants it
        to be taken for something said under TLS, and is cut off.
        """
        if self._lines.waiting:
            self.log.warn("{source} sent commands behind STLS", source=self.source)
            self.drop()
            return False
        self.write(words)
        self.transport.startTLS(self.factory.tls)  # type: ignore[union-attr]
        self.tls = True
        return True

    def rest(self) -> None:
        """
        Somebody who is known may be silent for longer.
        """
        self._rest(IDLE_S)

    def _rest(self, patience_s: float) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.reset(patience_s)
        else:
            self._timer = self.factory.clock.callLater(patience_s, self._timed_out)

    def _timed_out(self) -> None:
        if self._gone or self._full:
            self.drop()
        elif self._busy:
            self._rest(LINGER_S if self.session.stranger else IDLE_S)
        else:
            self.leave()  # Without a word, as RFC 1939, section 3, asks.

    # Output.

    def write(self, octets: bytes) -> None:
        """
        Send C{octets}, unless the connection has ended.
        """
        if not self._gone:
            self.transport.write(octets)  # type: ignore[union-attr]

    def refuse(self, words: bytes) -> None:
        """
        Say no.
        """
        self.write(b"-ERR " + words + b"\r\n")

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        if not self._gone:
            if not self.session.stranger:
                self._rest(IDLE_S)
            self._drain()
            # From the reactor, because whoever has let us go on is in the middle of something.
            self._work_later()

    def stopProducing(self) -> None:
        """
        The connection ends; L{connectionLost} follows.
        """

    def _drain(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None:
            drained.callback(None)

    async def send(self, pieces: AsyncGenerator[bytes, None]) -> None:
        """
        Send a long answer, as fast as the client takes it.  If it breaks off, so does the connection: nothing that
        follows could be told from its text.
        """
        begun = False
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    self.check_here()
                    self.write(piece)
                    begun = True
                    await self._breathe()
        except Exception:
            if begun and not self._gone:
                self.log.warn("an answer broke off, and with it the connection of {source}", source=self.source)
                self.drop()
            raise

    async def _breathe(self) -> None:
        """
        Until the client has taken enough, and others have had their turn.

        @raise Unreachable: if the client has gone.
        """
        if self._full and not self._gone:
            self._drained = Deferred()
            await self._drained
        if self._overdue():
            await self.sleep(0)
            self._turn = self.factory.clock.seconds()
        self.check_here()

    async def sleep(self, seconds: float) -> None:
        """
        @raise Unreachable: if the client goes meanwhile.
        """
        self.check_here()
        self._asleep = sleep(self.factory.clock, seconds)
        try:
            await self._asleep
        except CancelledError:
            raise Unreachable("the client has gone") from None
        finally:
            self._asleep = None

    def _overdue(self) -> bool:
        return abs(self.factory.clock.seconds() - self._turn) > TURN_S

    def check_here(self) -> None:
        """
        @raise Unreachable: if the client has gone.
        """
        if self._gone:
            raise Unreachable("the client has gone")

    # Input.

    def dataReceived(self, data: bytes) -> None:
        if self._gone:
            return
        if not self.session.stranger:
            self._rest(IDLE_S)
        self._lines.feed(data)
        self._work()

    def _work_later(self) -> None:
        if not self._gone and (self._later is None or not self._later.active()):
            self._later = self.factory.clock.callLater(0, self._work)

    def _work(self) -> None:
        """
        Take what has come, until a command has to be waited for.
        """
        self._working = True
        self._turn = self.factory.clock.seconds()
        while self._lines.waiting and not (self._busy or self._full or self._gone):
            if self._overdue():
                self._work_later()
                break
            try:
                line = self._lines.next()
                if line is None:
                    break
                self.session.line(line)
            except Syntax as error:
                self.session.forget()
                self._reject(f"{error.words[:1].upper()}{error.words[1:]}.".encode())
            except BadCommand as error:
                self._reject(str(error).encode())
            else:
                self._bad = 0
        self._working = False
        held_up = self._lines.waiting > BUFFER_LIMIT
        if held_up != self._paused and not self._gone:
            self._paused = held_up
            act = self.transport.pauseProducing if held_up else self.transport.resumeProducing  # type: ignore[union-attr]
            act()

    def _reject(self, words: bytes) -> None:
        """
        Refuse what no mail program would send.
        """
        self._bad += 1
        if self._bad < BAD_LIMIT:
            self.refuse(words)
        else:
            self.leave(b"-ERR Too many errors.\r\n")

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """
        Work on a command; the next one waits until it has ended.
        """
        self._busy = True
        Deferred.fromCoroutine(self._attend(work))

    async def _attend(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except PostError as error:
            self.refuse(refusal(error))
        except Exception:
            self.log.failure("a command failed")
            self.refuse(b"[SYS/TEMP] Something is wrong here.")
        self._busy = False
        if not self._working:
            self._work_later()


class Pop3Factory(Factory):
    """
    Makes connections, up to a limit.
    """

    noisy = False

    def __init__(
        self,
        accounts: IMailAccounts,
        clock: IReactorTime,
        throttle: Throttle,
        tls: Any,  # Whatever the transport's startTLS takes.
        implicit_tls: bool,
        locks: Locks,
    ) -> None:
        """
        @param locks: shared by all ports of a node.
        """
        self.accounts = accounts
        self.clock = clock
        self.throttle = throttle
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.locks = locks
        self.connections: dict[Pop3Protocol, None] = {}
        """Oldest first."""

    def buildProtocol(self, addr: IAddress | None) -> Any:  # Twisted's stub asks for what its own protocols have.
        if len(self.connections) >= CONNECTIONS_LIMIT:
            # Whoever only opens connections does not shut out those who have mail to fetch.
            stranger = next((each for each in self.connections if each.session.stranger), None)
            if stranger is None:
                return None
            stranger.drop()
        return Pop3Protocol(self, str(getattr(addr, "host", "unknown")))

    def stop_all(self) -> None:
        """
        End every connection.
        """
        for connection in list(self.connections):
            connection.drop()
