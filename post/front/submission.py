"""
SMTP submission (RFC 6409): what a mail program sends through.  It translates; L{post.mail.submission} decides.

Commands are taken one at a time: while one is waiting for the ring, what the client pipelines behind it stays in the
buffer, and beyond a bound its socket is not read.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger

from post.errors import Conflict, NotFound, Overloaded, PostError, Refused, TooFewReplicas, Unconfirmed, Unreachable
from post.front.auth import BadAnswer, Throttle, decode, plain, text
from post.mail.interfaces import (
    DirectoryUnavailable,
    IMailAccounts,
    ISubmission,
    MessageTooLarge,
    RecipientOutside,
    RecipientUnknown,
    SenderRefused,
)
from post.smtp.data import DataReader
from post.smtp.grammar import Syntax, path, printable
from post.tasks import sleep

LINE_LIMIT = 4096
RECIPIENTS_LIMIT = 1000
IDLE_S = 300.0
BUFFER_LIMIT = 128 * 1024
"""Of commands pipelined while one is being worked on; beyond, the socket is not read."""
ERRORS_LIMIT = 20
"""Bad commands after which nobody is believed to be a mail program."""
LOGINS_LIMIT = 5
CONNECTIONS_LIMIT = 1000

_LATER = "Nothing is lost; try again in a moment."

_REPLIES: tuple[tuple[type[PostError], int, str, str], ...] = (
    (RecipientUnknown, 550, "5.1.1", "There is no such person here."),
    (
        RecipientOutside,
        550,
        "5.7.1",
        "That address is outside this domain, and this ring has no gateway to the Internet.",
    ),
    (SenderRefused, 550, "5.7.1", "You may send only as yourself."),
    (DirectoryUnavailable, 450, "4.3.0", "Whether that person exists cannot be known now."),
    (MessageTooLarge, 552, "5.3.4", "The message is too large."),
    (TooFewReplicas, 451, "4.3.1", f"Too few other machines answer to keep the message safely. {_LATER}"),
    (NotFound, 451, "4.3.0", f"The recipient has never been on-line. {_LATER}"),
    (Unreachable, 451, "4.3.0", f"The ring does not answer. {_LATER}"),
    (Unconfirmed, 451, "4.3.0", f"The ring does not answer. {_LATER}"),
    (Overloaded, 451, "4.3.2", f"Too much at once. {_LATER}"),
    (Conflict, 451, "4.3.0", f"The mailbox is changing elsewhere. {_LATER}"),
)


class SubmissionProtocol(Protocol):
    """
    One connection.
    """

    log = Logger()

    def __init__(self, factory: SubmissionFactory, source: str) -> None:
        self._factory = factory
        self._source = source
        self._buffer = b""
        self._busy = False
        self._paused = False
        self._data: DataReader | None = None
        self._helo = b""
        self._extended = False
        self._tls = factory.implicit_tls
        self._account: str | None = None
        self._submission: ISubmission | None = None
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._answer: Callable[[bytes], Coroutine[Any, Any, None]] | None = None
        self._errors = self._logins = 0
        self._idle: IDelayedCall | None = None
        self._gone = False

    # The connection.

    def connectionMade(self) -> None:
        self._factory.connections.add(self)
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self._rest()
        self._reply(220, None, f"{self._factory.domain} POST ready")

    def connectionLost(self, reason: object = None) -> None:
        self._gone = True
        self._factory.connections.discard(self)
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

    def _rest(self) -> None:
        if self._idle is not None and self._idle.active():
            self._idle.reset(IDLE_S)
        else:
            self._idle = self._factory.clock.callLater(IDLE_S, self._timed_out)

    def _timed_out(self) -> None:
        if self._busy:
            self._rest()
            return
        self._reply(421, "4.4.2", "Idle for too long.")
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _reply(self, code: int, status: str | None, *lines: str) -> None:
        if self._gone:
            return
        prefix = f"{status} " if status else ""
        out = [f"{code}-{prefix}{line}\r\n" for line in lines[:-1]] + [f"{code} {prefix}{lines[-1]}\r\n"]
        self.transport.write("".join(out).encode("ascii", "replace"))  # type: ignore[union-attr]

    # Input.

    def dataReceived(self, data: bytes) -> None:
        self._rest()
        self._buffer += data
        self._work()
        if self._busy and len(self._buffer) > BUFFER_LIMIT and not self._paused:
            self._paused = True
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def _work(self) -> None:
        """
        Take what is in the buffer, until a command has to be waited for.
        """
        while self._buffer and not self._busy and not self._gone:
            if self._data is not None:
                chunk, self._buffer = self._buffer, b""
                rest = self._data.feed(chunk)
                if rest is None:
                    return
                self._buffer = rest
                self._begin(self._end_of_data())
                continue
            end = self._buffer.find(b"\n", 0, LINE_LIMIT)
            if end >= 0:
                line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
                self._line(line.removesuffix(b"\r"))
            elif len(self._buffer) >= LINE_LIMIT:
                if not self._skip_long_line():
                    return
            else:
                return

    def _skip_long_line(self) -> bool:
        """
        A line over the limit is thrown away to its end, and answered then: no part of it is taken for a command.
        """
        end = self._buffer.find(b"\n")
        if end < 0:
            self._buffer = b"\0" * LINE_LIMIT  # Stands for what was thrown away.
            return False
        self._buffer = self._buffer[end + 1 :]
        self._bad(500, "5.5.6", "That line is too long.")
        return True

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._busy = True
        Deferred.fromCoroutine(self._attend(work))

    async def _attend(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except PostError as error:
            self._fail(error)
        except Exception:
            self.log.failure("a command failed")
            self._reply(451, "4.3.0", f"Something is wrong here. {_LATER}")
        self._busy = False
        if self._paused and not self._gone:
            self._paused = False
            self.transport.resumeProducing()  # type: ignore[union-attr]
        self._factory.clock.callLater(0, self._work)

    def _fail(self, error: PostError) -> None:
        for kind, code, status, words in _REPLIES:
            if isinstance(error, kind):
                self._reply(code, status, words)
                return
        self.log.warn("submission failed: {error}", error=type(error).__name__)
        self._reply(451, "4.3.0", f"That cannot be done now. {_LATER}")

    def _bad(self, code: int, status: str, words: str) -> None:
        self._errors += 1
        self._reply(code, status, words)
        if self._errors >= ERRORS_LIMIT:
            self._reply(421, "4.7.0", "Too many errors.")
            self.transport.loseConnection()  # type: ignore[union-attr]
            self._gone = True

    # Commands.

    def _line(self, line: bytes) -> None:
        if self._answer is not None:
            answer, self._answer = self._answer, None
            if line == b"*":
                self._reply(501, "5.7.0", "As you wish.")
            else:
                self._begin(self._check_answer(answer(line)))
            return
        verb, _, argument = line.partition(b" ")
        command = _COMMANDS.get(verb.upper())
        if command is None:
            self._bad(500, "5.5.2", "That is not a command here.")
            return
        try:
            work = command(self, argument)
        except Syntax as error:
            self._bad(501, "5.5.4", str(error))
            return
        if work is not None:
            self._begin(work)

    def _hello(self, argument: bytes, extended: bool) -> None:
        if not argument.strip():
            raise Syntax("say who you are")
        self._helo, self._extended = argument.strip(), extended
        self._reset()
        if not extended:
            self._reply(250, None, self._factory.domain)
            return
        lines = [self._factory.domain, "PIPELINING", "8BITMIME", f"SIZE {self._factory.size_limit}"]
        if self._factory.tls is not None and not self._tls:
            lines.append("STARTTLS")
        if self._may_log_in():
            lines.append("AUTH PLAIN LOGIN")
        self._reply(250, None, *lines, "ENHANCEDSTATUSCODES")

    def _do_helo(self, argument: bytes) -> None:
        self._hello(argument, False)

    def _do_ehlo(self, argument: bytes) -> None:
        self._hello(argument, True)

    def _may_log_in(self) -> bool:
        return (self._tls or self._factory.plain_allowed) and self._account is None

    def _reset(self) -> None:
        self._sender, self._recipients = None, []

    def _do_starttls(self, argument: bytes) -> None:
        if argument:
            raise Syntax("STARTTLS takes nothing")
        if self._factory.tls is None or self._tls:
            self._bad(503, "5.5.1", "TLS is not to be started here.")
            return
        if self._buffer:
            # Whoever put this behind STARTTLS wants it to be taken for something said under TLS.
            self.log.warn("{source} sent commands behind STARTTLS", source=self._source)
            self.drop()
            return
        self._reply(220, "2.0.0", "Go ahead.")
        self.transport.startTLS(self._factory.tls)  # type: ignore[union-attr]
        self._tls, self._helo, self._extended = True, b"", False
        self._reset()

    def _do_auth(self, argument: bytes) -> Coroutine[Any, Any, None] | None:
        mechanism, _, initial = argument.partition(b" ")
        if not mechanism:
            raise Syntax("AUTH needs a mechanism")
        if not self._extended or self._account is not None or self._sender is not None:
            self._bad(503, "5.5.1", "Not now.")
        elif not self._may_log_in():
            self._bad(538, "5.7.11", "Start TLS first.")
        elif mechanism.upper() == b"PLAIN":
            return self._first(initial, b"", self._plain)
        elif mechanism.upper() == b"LOGIN":
            return self._first(initial, b"Username:", self._login_name)
        else:
            self._bad(504, "5.5.4", "PLAIN or LOGIN, please.")
        return None

    def _first(
        self, initial: bytes, challenge: bytes, step: Callable[[bytes], Coroutine[Any, Any, None]]
    ) -> Coroutine[Any, Any, None] | None:
        if initial:
            return self._check_answer(step(initial))
        self._challenge(challenge, step)
        return None

    def _challenge(self, challenge: bytes, step: Callable[[bytes], Coroutine[Any, Any, None]]) -> None:
        self._answer = step
        self._reply(334, None, b64encode(challenge).decode())

    async def _check_answer(self, step: Coroutine[Any, Any, None]) -> None:
        try:
            await step
        except BadAnswer as error:
            self._bad(501, "5.5.2", f"That is {error}.")

    async def _plain(self, answer: bytes) -> None:
        await self._log_in(*plain(decode(answer)))

    async def _login_name(self, answer: bytes) -> None:
        name = text(decode(answer))

        async def password(answer: bytes) -> None:
            await self._log_in(name, decode(answer))

        self._challenge(b"Password:", password)

    async def _log_in(self, name: str, password: bytes) -> None:
        throttle, clock = self._factory.throttle, self._factory.clock
        delay_s = throttle.delay_s(self._source)
        if delay_s:
            await sleep(clock, delay_s)
        try:
            address = await self._factory.accounts.authenticate(name, password)
            self._submission = self._factory.accounts.submission(address)
        except Refused:
            throttle.failed(self._source)
            self._logins += 1
            self._reply(535, "5.7.8", "Wrong name or password.")
            if self._logins >= LOGINS_LIMIT:
                self.transport.loseConnection()  # type: ignore[union-attr]
                self._gone = True
            return
        except NotFound:
            self._reply(454, "4.7.0", "The mailbox is still waiting for the ring; try again in a moment.")
            return
        throttle.succeeded(self._source)
        self._account = address
        self._reply(235, "2.7.0", "Welcome.")

    def _do_mail(self, argument: bytes) -> None:
        sender, parameters = path(argument, b"FROM:")
        if not self._helo:
            self._bad(503, "5.5.1", "Say hello first.")
        elif self._submission is None:
            self._bad(530, "5.7.0", "Log in first.")
        elif self._sender is not None:
            self._bad(503, "5.5.1", "One message at a time.")
        elif self._accept_parameters(parameters):
            try:
                self._submission.check_sender(sender)
            except PostError as error:
                self._fail(error)
                return
            self._sender, self._recipients = sender, []
            self._reply(250, "2.1.0", "Ok.")

    def _accept_parameters(self, parameters: dict[str, str]) -> bool:
        size = parameters.pop("SIZE", "0")
        body = parameters.pop("BODY", "7BIT").upper()
        parameters.pop("AUTH", "")
        if parameters or body not in ("7BIT", "8BITMIME"):
            self._reply(555, "5.5.4", "That parameter is not supported.")
        elif not size.isdigit() or len(size) > 20:
            self._bad(501, "5.5.4", "SIZE takes a number.")
        elif int(size) > self._factory.size_limit:
            self._reply(552, "5.3.4", f"The limit is {self._factory.size_limit} octets.")
        else:
            return True
        return False

    def _do_rcpt(self, argument: bytes) -> Coroutine[Any, Any, None] | None:
        recipient, parameters = path(argument, b"TO:")
        if self._sender is None:
            self._bad(503, "5.5.1", "MAIL comes first.")
        elif parameters:
            self._reply(555, "5.5.4", "That parameter is not supported.")
        elif not recipient:
            raise Syntax("write TO:<address>")
        elif len(self._recipients) >= RECIPIENTS_LIMIT:
            self._reply(452, "4.5.3", "Too many recipients for one message.")
        else:
            return self._recipient(recipient)
        return None

    async def _recipient(self, recipient: str) -> None:
        assert self._submission is not None
        await self._submission.check_recipient(recipient)
        if recipient not in self._recipients:
            self._recipients.append(recipient)
        self._reply(250, "2.1.5", "Ok.")

    def _do_data(self, argument: bytes) -> None:
        if argument:
            raise Syntax("DATA takes nothing")
        if self._sender is None:
            self._bad(503, "5.5.1", "MAIL and RCPT come first.")
        elif not self._recipients:
            self._reply(554, "5.5.1", "No valid recipients.")
        else:
            self._data = DataReader(self._factory.size_limit, self._factory.spool_dir)
            self._reply(354, None, "End with a dot on a line of its own.")

    async def _end_of_data(self) -> None:
        data, submission, sender = self._data, self._submission, self._sender
        assert data is not None and submission is not None and sender is not None
        recipients = list(self._recipients)
        self._data = None
        self._reset()
        if data.too_large:
            raise MessageTooLarge("over the limit")
        if data.bad_octets:
            self._reply(554, "5.6.0", "The message has a bare CR, a bare LF, or a NUL; nothing was sent.")
            return
        # The client may go away meanwhile; if it sends the same again, that is the same message.
        named = await submission.submit(sender, recipients, data.message(), self._trace())
        self._reply(250, "2.0.0", f"Kept by the ring as {named}.")

    def _trace(self) -> bytes:
        """
        The Received field (RFC 5321, 4.4).
        """
        how = "ESMTPSA" if self._tls else "ESMTPA"
        literal = f"[IPv6:{self._source}]" if ":" in self._source else f"[{self._source}]"
        when = formatdate(self._factory.clock.seconds(), localtime=False)
        received = f"Received: from {printable(self._helo, 100)} ({literal})\r\n\tby {self._factory.domain} (POST)"
        return f"{received} with {how};\r\n\t{when}\r\n".encode("ascii")

    def _do_rset(self, argument: bytes) -> None:
        self._reset()
        self._reply(250, "2.0.0", "Ok.")

    def _do_noop(self, argument: bytes) -> None:
        self._reply(250, "2.0.0", "Ok.")

    def _do_vrfy(self, argument: bytes) -> None:
        self._reply(252, "2.0.0", "Send to it, and see.")

    def _do_help(self, argument: bytes) -> None:
        self._reply(214, "2.0.0", "This is the submission port of a POST node.")

    def _do_quit(self, argument: bytes) -> None:
        self._reply(221, "2.0.0", "Goodbye.")
        self.transport.loseConnection()  # type: ignore[union-attr]
        self._gone = True


_Command = Callable[[SubmissionProtocol, bytes], "Coroutine[Any, Any, None] | None"]
_COMMANDS: dict[bytes, _Command] = {
    b"HELO": SubmissionProtocol._do_helo,
    b"EHLO": SubmissionProtocol._do_ehlo,
    b"STARTTLS": SubmissionProtocol._do_starttls,
    b"AUTH": SubmissionProtocol._do_auth,
    b"MAIL": SubmissionProtocol._do_mail,
    b"RCPT": SubmissionProtocol._do_rcpt,
    b"DATA": SubmissionProtocol._do_data,
    b"RSET": SubmissionProtocol._do_rset,
    b"NOOP": SubmissionProtocol._do_noop,
    b"VRFY": SubmissionProtocol._do_vrfy,
    b"HELP": SubmissionProtocol._do_help,
    b"QUIT": SubmissionProtocol._do_quit,
}


class SubmissionFactory(Factory):
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
        size_limit: int,
        domain: str,
        spool_dir: str | None = None,
        plain_allowed: bool = True,
    ) -> None:
        self.accounts = accounts
        self.clock = clock
        self.throttle = throttle
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.size_limit = size_limit
        self.domain = domain
        self.spool_dir = spool_dir
        self.plain_allowed = plain_allowed
        self.connections: set[SubmissionProtocol] = set()

    def buildProtocol(self, addr: IAddress | None) -> SubmissionProtocol | None:
        if len(self.connections) >= CONNECTIONS_LIMIT:
            return None
        return SubmissionProtocol(self, str(getattr(addr, "host", "unknown")))

    def stop_all(self) -> None:
        """
        End every connection.
        """
        for connection in list(self.connections):
            connection.drop()
