"""
SMTP as a server speaks it (RFC 5321), for whoever connects: what submission and a gateway's port have in common.

Commands are taken one at a time: while one is waiting for the ring, or while the client does not read its replies, what
it pipelines behind stays in the buffer, and beyond a bound its socket is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from email.utils import formatdate
from typing import Any, ClassVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from post.errors import PostError
from post.mail.interfaces import MessageTooLarge, Octets
from post.smtp.data import DataReader
from post.smtp.grammar import Syntax, host_name
from post.smtp.lines import LineReader
from post.smtp.replies import LATER, UNEXPECTED, Reply, reply_to

LINE_LIMIT = 4096
"""Octets of a command: RFC 5321 asks for 512, parameters and a long password may make it longer."""
RECIPIENTS_LIMIT = 1000
"""Of one message.  RFC 5321 asks for 100; each costs a notification on k nodes."""
IDLE_S = 300.0
"""As RFC 5321, 4.5.3.2.7, asks."""
LINGER_S = 15.0
"""For the last words to be read, before a connection is cut that the client does not close."""
BUFFER_LIMIT = 128 * 1024
"""Of commands pipelined while one is being worked on; beyond, the socket is not read."""
ERRORS_LIMIT = 20
"""Bad commands after which nobody is believed to be a mail program."""
COMMANDS_LIMIT = 10_000
"""Commands without a message among them: several times as many as a message for L{RECIPIENTS_LIMIT} can need."""
CONNECTIONS_LIMIT = 1000
"""Connections at once, of each port: a few KiB each, and more than a large office's mail programs keep open."""
BROWSER_WORDS = frozenset({b"CONNECT", b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT"})
"""What a browser says when a web page makes it: the page may have put commands of mail into what follows, and a browser
reaches our port on loopback from behind every firewall."""


Command = Callable[[Any, bytes], "Coroutine[Any, Any, None] | None"]
"""A method of a L{SmtpServer}; what it returns is waited for."""


@implementer(IPushProducer)
class SmtpServer(Protocol):
    """
    One connection.  Whoever serves adds its commands, and says what is done with a message.
    """

    log = Logger()
    commands: ClassVar[Mapping[bytes, Command]] = {}
    """By verb, in capitals."""
    about: ClassVar[str] = "This is a POST node."
    passed_over: ClassVar[frozenset[str]] = frozenset()
    """Parameters of MAIL that are taken and not used."""

    def __init__(self, factory: SmtpFactory, source: str) -> None:
        self._factory = factory
        self._source = source
        self._lines = LineReader(LINE_LIMIT)
        self._data: DataReader | None = None
        self._busy = False  # A command is being worked on.
        self._full = False  # The client does not read what we say.
        self._paused = False  # We do not read what the client says.
        self._working = False
        self._gone = False
        self._tls = factory.implicit_tls
        self._helo = b""
        self._extended = False
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._errors = self._commands = 0
        self._idle: IDelayedCall | None = None

    # What whoever serves says.

    def _extensions(self) -> list[str]:
        """
        What EHLO names besides what is always there.
        """
        return []

    async def _accept(self, sender: str, recipients: list[str], message: Octets) -> str:
        """
        Take a message; returns what it is called in the reply.

        @raise Syntax, PostError: if it is not taken; with the reply.
        """
        raise Syntax("nothing is taken here", 554, "5.5.1")

    def _reply_to(self, error: PostError) -> Reply | None:
        """
        How C{error} is told.
        """
        return reply_to(error)

    def _unfinished(self, line: bytes) -> bool:
        """
        Take C{line} if it is no command but goes on with what one has begun.
        """
        return False

    def _forget(self) -> None:
        """
        Believe nothing of what was said before.
        """

    # The connection.

    @property
    def occupied(self) -> bool:
        """
        Whether the client waits for an answer, or is in the middle of a message.
        """
        return self._busy or self._data is not None

    def connectionMade(self) -> None:
        self._factory.connections[self] = None
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self._rest(IDLE_S)
        self._reply(220, None, f"{self._factory.name} ESMTP POST ready")

    def connectionLost(self, reason: object = None) -> None:
        self._gone = True
        self._factory.connections.pop(self, None)
        if self._idle is not None and self._idle.active():
            self._idle.cancel()
        if self._data is not None:
            self._data.discard()

    def drop(self) -> None:
        """
        End the connection now.
        """
        self._gone = True
        self.transport.abortConnection()  # type: ignore[union-attr]

    def leave(self, code: int, status: str, words: str) -> None:
        """
        Say something last, and end the connection when it has been sent.
        """
        if self._gone:
            return
        self._reply(code, status, words)
        self._gone = True
        # A client that reads nothing, or that does not answer the end of TLS, would keep the connection for good.
        self._rest(LINGER_S)
        self.transport.unregisterProducer()  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _rest(self, patience_s: float) -> None:
        if self._idle is not None and self._idle.active():
            self._idle.reset(patience_s)
        else:
            self._idle = self._factory.clock.callLater(patience_s, self._timed_out)

    def _timed_out(self) -> None:
        if self._gone:
            self.drop()
        elif self._busy:
            self._rest(IDLE_S)
        else:
            self.leave(421, "4.4.2", "Idle for too long.")

    # Output.

    def _reply(self, code: int, status: str | None, *lines: str) -> None:
        if self._gone:
            return
        prefix = f"{status} " if status else ""
        out = [f"{code}-{prefix}{line}\r\n" for line in lines[:-1]] + [f"{code} {prefix}{lines[-1]}\r\n"]
        self.transport.write("".join(out).encode("ascii", "replace"))  # type: ignore[union-attr]

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        self._work_soon()

    def stopProducing(self) -> None:
        """
        The connection ends; L{connectionLost} follows.
        """

    # Input.

    def dataReceived(self, data: bytes) -> None:
        if self._gone:
            return
        self._rest(IDLE_S)
        self._lines.feed(data)
        self._work()

    def _work_soon(self) -> None:
        # From the reactor, because whoever has let us go on is in the middle of something.
        if not self._gone:
            self._factory.clock.callLater(0, self._work)

    def _work(self) -> None:
        """
        Take what has come, until a command has to be waited for.
        """
        self._working = True
        while self._lines.waiting and not (self._busy or self._full or self._gone):
            if self._data is not None:
                rest = self._data.feed(self._lines.take())
                if rest is not None:
                    self._lines.feed(rest)
                    self._begin(self._end_of_data())
                continue
            try:
                line = self._lines.next()
                if line is None:
                    break
                self._line(line)
            except Syntax as error:
                self._refuse(error)
        self._working = False
        held_up = (self._busy or self._full) and self._lines.waiting > BUFFER_LIMIT
        if held_up != self._paused and not self._gone:
            self._paused = held_up
            act = self.transport.pauseProducing if held_up else self.transport.resumeProducing  # type: ignore[union-attr]
            act()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._busy = True
        Deferred.fromCoroutine(self._attend(work))

    async def _attend(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Syntax as error:
            self._refuse(error)
        except PostError as error:
            self._fail(error)
        except Exception as error:
            if not (self._gone and isinstance(error, CancelledError)):
                self.log.failure("a command failed")
                self._reply(*UNEXPECTED)
        self._busy = False
        if not self._working:
            self._work_soon()

    def _fail(self, error: PostError) -> None:
        reply = self._reply_to(error)
        if reply is None:
            self.log.warn("a message failed: {error}", error=type(error).__name__)
        self._reply(*(reply or UNEXPECTED))

    def _refuse(self, error: Syntax) -> None:
        if error.code in (500, 501):
            self._bad(error.code, error.status, f"{error.words[:1].upper()}{error.words[1:]}.")
        else:
            self._reply(error.code, error.status, f"{error.words[:1].upper()}{error.words[1:]}.")

    def _bad(self, code: int, status: str, words: str) -> None:
        """
        Refuse what no mail program would send.
        """
        self._errors += 1
        self._reply(code, status, words)
        if self._errors >= ERRORS_LIMIT:
            self.leave(421, "4.7.0", "Too many errors.")

    def _line(self, line: bytes) -> None:
        self._commands += 1
        if self._commands > COMMANDS_LIMIT:
            self.leave(421, "4.7.0", "Too many commands, and no message.")
            return
        if self._unfinished(line):
            return
        verb, _, argument = line.partition(b" ")
        command = self.commands.get(verb.upper())
        if verb.upper() in BROWSER_WORDS:
            self.leave(554, "5.7.0", "This is no web server.")
            return
        if command is None:
            raise Syntax("that is not a command here", 500, "5.5.2")
        work = command(self, argument)
        if work is not None:
            self._begin(work)

    # Hello.

    def _hello(self, argument: bytes, extended: bool) -> None:
        if not argument.strip():
            raise Syntax("say who you are")
        self._helo, self._extended = argument.strip(), extended
        self._reset()
        if not extended:
            self._reply(250, None, self._factory.name)
            return
        lines = [self._factory.name, "PIPELINING", "8BITMIME", f"SIZE {self._factory.size_limit}"]
        if self._may_start_tls():
            lines.append("STARTTLS")
        self._reply(250, None, *lines, *self._extensions(), "ENHANCEDSTATUSCODES")

    def _do_helo(self, argument: bytes) -> None:
        self._hello(argument, False)

    def _do_ehlo(self, argument: bytes) -> None:
        self._hello(argument, True)

    def _may_start_tls(self) -> bool:
        return self._factory.tls is not None and not self._tls

    def _reset(self) -> None:
        self._sender, self._recipients = None, []

    def _do_starttls(self, argument: bytes) -> None:
        if argument:
            raise Syntax("STARTTLS takes nothing")
        if not self._may_start_tls():
            self._bad(503, "5.5.1", "TLS is not to be started here.")
            return
        if self._lines.waiting:
            # Whoever put this behind STARTTLS wants it to be taken for something said under TLS.
            self.log.warn("{source} sent commands behind STARTTLS", source=self._source)
            self.drop()
            return
        self._reply(220, "2.0.0", "Go ahead.")
        self.transport.startTLS(self._factory.tls)  # type: ignore[union-attr]
        # Nothing is believed of what was said before (RFC 3207, 4.2): it may have been somebody in the middle.
        self._tls, self._helo, self._extended = True, b"", False
        self._forget()
        self._reset()

    def _accept_parameters(self, parameters: dict[str, str]) -> bool:
        size = parameters.pop("SIZE", "0")
        body = parameters.pop("BODY", "7BIT").upper()
        for name in self.passed_over:
            parameters.pop(name, "")
        if parameters or body not in ("7BIT", "8BITMIME"):
            self._reply(555, "5.5.4", "That parameter is not supported.")
        elif not size.isdigit() or len(size) > 20:
            raise Syntax("SIZE takes a number")
        elif int(size) > self._factory.size_limit:
            self._reply(552, "5.3.4", f"The limit is {self._factory.size_limit} octets.")
        else:
            return True
        return False

    def _do_data(self, argument: bytes) -> None:
        if argument:
            raise Syntax("DATA takes nothing")
        if self._sender is None:
            self._reply(503, "5.5.1", "MAIL and RCPT come first.")
        elif not self._recipients:
            self._reply(554, "5.5.1", "No valid recipients.")
        else:
            self._data = DataReader(self._factory.size_limit, self._factory.spool_dir)
            self._reply(354, None, "End with a dot on a line of its own.")

    async def _end_of_data(self) -> None:
        data, sender = self._data, self._sender
        assert data is not None and sender is not None
        recipients = self._recipients
        self._data = None
        self._reset()
        if data.too_large:
            raise MessageTooLarge("over the limit")
        if data.bad_octets:
            self._reply(554, "5.6.0", "The message has a bare CR, a bare LF, or a NUL; nothing was sent.")
            return
        try:
            if data.no_room:
                raise OSError("no room")
            message = data.message()
        except OSError:
            self.log.warn("there is no room to spool a message of {size} octets", size=data.size)
            self._reply(452, "4.3.1", f"There is no room on this machine. {LATER}")
            return
        # The client may go away meanwhile; if it sends the same again, that is the same message.
        named = await self._accept(sender, recipients, message)
        self._errors = self._commands = 0
        self._reply(250, "2.0.0", f"Kept by the ring as {named}.")

    def _received(self, client: str, by: str, how: str) -> bytes:
        """
        The Received field (RFC 5321, 4.4); C{client} is what is known of it besides what it calls itself.
        """
        when = formatdate(self._factory.clock.seconds(), localtime=False)
        received = f"Received: from {host_name(self._helo)} ({client})\r\n\tby {by} (POST)"
        return f"{received} with {how};\r\n\t{when}\r\n".encode("ascii")

    def _literal(self) -> str:
        return f"[IPv6:{self._source}]" if ":" in self._source else f"[{self._source}]"

    # The rest.

    def _do_rset(self, argument: bytes) -> None:
        self._reset()
        self._reply(250, "2.0.0", "Ok.")

    def _do_noop(self, argument: bytes) -> None:
        self._reply(250, "2.0.0", "Ok.")

    def _do_vrfy(self, argument: bytes) -> None:
        self._reply(252, "2.0.0", "Send to it, and see.")

    def _do_help(self, argument: bytes) -> None:
        self._reply(214, "2.0.0", self.about)

    def _do_quit(self, argument: bytes) -> None:
        self.leave(221, "2.0.0", "Goodbye.")


COMMANDS: Mapping[bytes, Command] = {
    b"HELO": SmtpServer._do_helo,
    b"EHLO": SmtpServer._do_ehlo,
    b"STARTTLS": SmtpServer._do_starttls,
    b"DATA": SmtpServer._do_data,
    b"RSET": SmtpServer._do_rset,
    b"NOOP": SmtpServer._do_noop,
    b"VRFY": SmtpServer._do_vrfy,
    b"HELP": SmtpServer._do_help,
    b"QUIT": SmtpServer._do_quit,
}
"""What every server of SMTP does alike."""


class SmtpFactory(Factory):
    """
    Makes connections, up to a limit.
    """

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        tls: Any,  # Whatever the transport's startTLS takes.
        implicit_tls: bool,
        size_limit: int,
        name: str,
        spool_dir: str | None = None,
    ) -> None:
        """
        @param name: what the server calls itself.
        @param spool_dir: where a large message is kept until it is stored; C{None}: where temporary files are.
        """
        self.clock = clock
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.size_limit = size_limit
        self.name = name
        self.spool_dir = spool_dir
        self.connections: dict[SmtpServer, None] = {}
        """Oldest first."""

    def stop_all(self) -> None:
        """
        End every connection.
        """
        for connection in list(self.connections):
            code = 451 if connection.occupied else 421
            connection.leave(code, "4.3.2", f"This node is being stopped. {LATER}")
