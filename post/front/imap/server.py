"""
One IMAP connection (RFC 3501): takes commands one at a time, and answers.

It translates; L{post.mail.mailbox} decides.  The next command starts when the one before has ended, whatever the client
pipelines; beyond a bound its socket is not read.  What is advertised is there.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from post.errors import NotFound, Overloaded, PostError, Refused, TooFewReplicas, Unconfirmed, Unreachable
from post.front.auth import BadAnswer, Throttle, decode, plain, text
from post.front.imap import commands
from post.front.imap.assembler import Assembler, Command, Continue
from post.front.imap.grammar import Parser, Syntax
from post.front.imap.search import BadCharset
from post.front.imap.session import View
from post.mail.interfaces import (
    FolderExists,
    FolderRefused,
    IFolder,
    IFolderListener,
    IMailAccounts,
    IMailbox,
    MessageTooLarge,
    MessageUnavailable,
    NoSuchFolder,
)
from post.tasks import sleep

IDLE_S = 1800.0
"""RFC 3501, 5.4: at least half an hour."""
STRANGER_S = 60.0
BUFFER_LIMIT = 256 * 1024
"""Octets of commands that wait; beyond, the socket is not read."""
WRITE_LIMIT = 256 * 1024
BAD_LIMIT = 20
LOGINS_LIMIT = 5
CONNECTIONS_LIMIT = 2000
KEEPALIVE_S = 120.0
"""Between two signs of life during IDLE: NAT and mail programs forget a silent connection."""

_REFUSALS: tuple[tuple[type[PostError], str, str], ...] = (
    (NoSuchFolder, "NONEXISTENT", "There is no such folder."),
    (FolderExists, "ALREADYEXISTS", "There is a folder of that name already."),
    (FolderRefused, "CANNOT", "That cannot be done to this folder."),
    (MessageTooLarge, "TOOBIG", "The message is too large."),
    (MessageUnavailable, "UNAVAILABLE", "Parts of the message cannot be had from the ring now."),
    (TooFewReplicas, "UNAVAILABLE", "Too few other machines answer to keep it safely; try again in a moment."),
    (Unreachable, "UNAVAILABLE", "The ring does not answer; try again in a moment."),
    (Unconfirmed, "UNAVAILABLE", "The ring does not answer; try again in a moment."),
    (Overloaded, "LIMIT", "Too much at once; try again in a moment."),
)


@implementer(IFolderListener, IPushProducer)
class ImapProtocol(Protocol):
    """
    One connection.
    """

    log = Logger()

    def __init__(self, factory: ImapFactory, source: str) -> None:
        self.factory: ImapFactory = factory
        self.source = source
        self.tls = factory.implicit_tls
        self.mailbox: IMailbox | None = None
        self.folder: IFolder | None = None
        self.view: View | None = None
        self.read_only = False
        self._assembler = Assembler(factory.size_limit, factory.spool_dir)
        self._busy = self._paused = self._gone = False
        self._bad = self._logins = 0
        self._timer: IDelayedCall | None = None
        self._answer: Callable[[bytes], Coroutine[Any, Any, None]] | None = None
        self._changed = False
        self._idling: bytes | None = None
        self._keepalive: IDelayedCall | None = None
        self._full = False
        self._drained: list[Deferred[None]] = []

    # The connection.

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self._rest()
        self.write(b"* OK [CAPABILITY %b] POST ready\r\n" % self.capabilities())

    def connectionLost(self, reason: object = None) -> None:
        self._gone = True
        self.factory.connections.discard(self)
        self.close_folder()
        self._assembler.discard()
        for timer in (self._timer, self._keepalive):
            if timer is not None and timer.active():
                timer.cancel()
        self.resumeProducing()

    def drop(self) -> None:
        """
        End the connection now.
        """
        self._gone = True
        self.transport.abortConnection()  # type: ignore[union-attr]

    def leave(self) -> None:
        """
        End the connection when everything has been sent.
        """
        self._gone = True
        self.transport.unregisterProducer()  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _rest(self) -> None:
        patience = STRANGER_S if self.mailbox is None else IDLE_S
        if self._timer is not None and self._timer.active():
            self._timer.reset(patience)
        else:
            self._timer = self.factory.clock.callLater(patience, self._timed_out)

    def _timed_out(self) -> None:
        if self._busy or self._idling is not None:
            self._rest()
            return
        self.write(b"* BYE idle for too long\r\n")
        self.leave()

    # Output.

    def write(self, data: bytes) -> None:
        """
        Send C{data}, unless the connection has ended.
        """
        if not self._gone:
            self.transport.write(data)  # type: ignore[union-attr]

    def pauseProducing(self) -> None:
        self._full = True

    def resumeProducing(self) -> None:
        self._full = False
        drained, self._drained = self._drained, []
        for each in drained:
            each.callback(None)

    def stopProducing(self) -> None:
        self._gone = True
        self.resumeProducing()

    async def drained(self) -> None:
        """
        Until the client has taken enough of what was written.

        @raise Unreachable: if it has gone.
        """
        if self._full and not self._gone:
            waiting: Deferred[None] = Deferred()
            self._drained.append(waiting)
            await waiting
        if self._gone:
            raise Unreachable("the client has gone")

    # Input.

    def dataReceived(self, data: bytes) -> None:
        self._rest()
        self._assembler.feed(data)
        self._work()
        if self._busy and self._assembler.waiting > BUFFER_LIMIT and not self._paused:
            self._paused = True
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def _work(self) -> None:
        while not self._busy and not self._gone:
            found = self._assembler.next()
            if found is None:
                return
            if isinstance(found, Continue):
                self.write(b"+ go on\r\n")
            elif self._idling is not None:
                self._end_idle(found)
            elif self._answer is not None:
                answer, self._answer = self._answer, None
                self._begin(b"", answer(found.text))
            elif found.text or found.problem:
                self._command(found)

    def _command(self, command: Command) -> None:
        tag, _, rest = command.text.partition(b" ")
        if not tag or len(tag) > 100 or any(octet in b'(){%*"\\+\0' or not 32 < octet < 127 for octet in tag):
            self._reject(b"*", "that is not a tag")
            return
        if command.problem == "literal":
            self.write(tag + b" NO [TOOBIG] That is more than is taken.\r\n")
            return
        if command.problem:
            self._reject(tag, "that line cannot be read")
            return
        word = rest.partition(b" ")[0]
        name = word.decode("ascii", "replace").upper()
        parser = Parser(rest[len(word) :], command.literals)
        try:
            work = self._find(name, tag, parser)
        except Syntax as error:
            self._reject(tag, str(error))
            return
        if work is not None:
            self._begin(tag, work)

    def _find(self, name: str, tag: bytes, parser: Parser) -> Coroutine[Any, Any, None] | None:
        own = {"STARTTLS": self._starttls, "AUTHENTICATE": self._authenticate, "LOGIN": self._login, "IDLE": self._idle}
        if name in own:
            return own[name](tag, parser)
        command = commands.ALL.get(name)
        if command is None:
            raise Syntax("that is not a command here")
        if command.needs_login and self.mailbox is None:
            raise Syntax("log in first")
        if command.needs_folder and self.folder is None:
            raise Syntax("select a folder first")
        return command.run(self, tag, parser)

    def _reject(self, tag: bytes, why: str) -> None:
        self._bad += 1
        self.write(tag + b" BAD " + why.encode("ascii", "replace") + b"\r\n")
        if self._bad >= BAD_LIMIT:
            self.write(b"* BYE too many errors\r\n")
            self.leave()

    def _begin(self, tag: bytes, work: Coroutine[Any, Any, None]) -> None:
        self._busy = True
        Deferred.fromCoroutine(self._attend(tag, work))

    async def _attend(self, tag: bytes, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
            self._bad = 0
        except Syntax as error:
            self._reject(tag, str(error))
        except BadCharset:
            self.write(tag + b" NO [BADCHARSET (US-ASCII UTF-8)] That charset is not known.\r\n")
        except PostError as error:
            self.write(tag + b" NO " + refusal(error) + b"\r\n")
        except Exception:
            self.log.failure("a command failed")
            self.write(tag + b" NO [SERVERBUG] Something is wrong here.\r\n")
        self._busy = False
        if self._paused and not self._gone:
            self._paused = False
            self.transport.resumeProducing()  # type: ignore[union-attr]
        self._work()

    def done(self, tag: bytes, words: bytes, may_expunge: bool = True, quiet: frozenset[int] = frozenset()) -> None:
        """
        End a command well, after telling what has happened meanwhile.
        """
        self.tell(may_expunge, quiet)
        self.write(tag + b" OK " + words + b"\r\n")

    # The folder.

    def open_folder(self, folder: IFolder, read_only: bool) -> None:
        """
        Select C{folder}.
        """
        self.close_folder()
        self.folder, self.read_only = folder, read_only
        self.view = View(folder.entries())
        self._changed = False
        folder.listen(self)

    def close_folder(self) -> None:
        """
        Select none.
        """
        if self.folder is not None:
            self.folder.unlisten(self)
        self.folder = self.view = None

    def changed(self) -> None:
        self._changed = True
        if self._idling is not None:
            self.tell(True)

    def deleted(self) -> None:
        if self.folder is not None:
            self.write(b"* BYE the folder has been deleted\r\n")
            self.leave()

    def tell(self, may_expunge: bool, quiet: frozenset[int] = frozenset()) -> None:
        """
        Say what has happened in the folder, as far as it may be said now.
        """
        if self.view is None or self.folder is None:
            return
        if self._changed or quiet:
            lines = self.view.catch_up(self.folder.entries(), may_expunge, quiet)
            self._changed = not may_expunge and self._changed
            if lines:
                self.write(b"".join(lines))

    def touch(self) -> None:
        """
        Something was changed by ourselves just now; it is to be told with this command's answer.
        """
        self._changed = True

    # Before and at log-in.

    def capabilities(self) -> bytes:
        """
        What is offered now.
        """
        words = [b"IMAP4rev1", b"LITERAL+", b"SASL-IR", b"ID"]
        if self.factory.tls is not None and not self.tls:
            words.append(b"STARTTLS")
        if self.mailbox is None:
            words.append(b"AUTH=PLAIN" if self._may_log_in() else b"LOGINDISABLED")
            return b" ".join(words)
        words += [b"ENABLE", b"IDLE", b"NAMESPACE", b"CHILDREN", b"UNSELECT", b"UIDPLUS", b"MOVE"]
        words += [b"SPECIAL-USE", b"CREATE-SPECIAL-USE", b"LIST-EXTENDED", b"LIST-STATUS", b"STATUS=SIZE"]
        return b" ".join([*words, b"APPENDLIMIT=%d" % self.factory.size_limit])

    def _may_log_in(self) -> bool:
        return self.tls or self.factory.plain_allowed

    def _starttls(self, tag: bytes, parser: Parser) -> None:
        parser.end()
        if self.factory.tls is None or self.tls or self.mailbox is not None:
            raise Syntax("TLS is not to be started here")
        if self._assembler.waiting:
            # Whoever put this behind STARTTLS wants it to be taken for something said under TLS.
            self.log.warn("{source} sent commands behind STARTTLS", source=self.source)
            self.drop()
            return
        self.write(tag + b" OK begin TLS now\r\n")
        self.transport.unregisterProducer()  # type: ignore[union-attr]
        self.transport.startTLS(self.factory.tls)  # type: ignore[union-attr]
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self.tls = True

    def _login(self, tag: bytes, parser: Parser) -> Coroutine[Any, Any, None]:
        parser.space()
        name = parser.astring()
        parser.space()
        password = parser.astring()
        parser.end()
        self._check_may_log_in()
        return self._log_in(tag, name.decode("utf-8", "replace"), password)

    def _check_may_log_in(self) -> None:
        if self.mailbox is not None:
            raise Syntax("you are logged in already")
        if not self._may_log_in():
            raise Syntax("start TLS first")

    def _authenticate(self, tag: bytes, parser: Parser) -> Coroutine[Any, Any, None] | None:
        parser.space()
        mechanism = parser.atom().upper()
        initial = None
        if parser.accept(b" "):
            initial = parser.astring()
        parser.end()
        self._check_may_log_in()
        if mechanism == "PLAIN":
            if initial is not None:
                return self._plain(tag, initial)
            self._challenge(b"", lambda answer: self._plain(tag, answer))
        elif mechanism == "LOGIN" and initial is None:
            self._challenge(b"Username:", lambda answer: self._login_name(tag, answer))
        else:
            self.write(tag + b" NO [CANNOT] PLAIN, please.\r\n")
        return None

    def _challenge(self, challenge: bytes, step: Callable[[bytes], Coroutine[Any, Any, None]]) -> None:
        self._answer = step
        self.write(b"+ " + b64encode(challenge) + b"\r\n")

    async def _plain(self, tag: bytes, answer: bytes) -> None:
        if answer == b"*":
            self._reject(tag, "as you wish")
            return
        try:
            name, password = plain(decode(answer))
        except BadAnswer as error:
            self._reject(tag, f"that is {error}")
            return
        await self._log_in(tag, name, password)

    async def _login_name(self, tag: bytes, answer: bytes) -> None:
        try:
            name = text(decode(answer))
        except BadAnswer as error:
            self._reject(tag, f"that is {error}")
            return

        async def password(answer: bytes) -> None:
            try:
                await self._log_in(tag, name, decode(answer))
            except BadAnswer as error:
                self._reject(tag, f"that is {error}")

        self._challenge(b"Password:", password)

    async def _log_in(self, tag: bytes, name: str, password: bytes) -> None:
        throttle = self.factory.throttle
        delay_s = throttle.delay_s(self.source)
        if delay_s:
            await sleep(self.factory.clock, delay_s)
        try:
            address = await self.factory.accounts.authenticate(name, password)
        except Refused:
            throttle.failed(self.source)
            self._logins += 1
            self.write(tag + b" NO [AUTHENTICATIONFAILED] Wrong name or password.\r\n")
            if self._logins >= LOGINS_LIMIT:
                self.write(b"* BYE too many wrong passwords\r\n")
                self.leave()
            return
        throttle.succeeded(self.source)
        try:
            self.mailbox = self.factory.accounts.mailbox(address)
        except NotFound:
            self.write(tag + b" NO [UNAVAILABLE] The mailbox is still waiting for the ring; try again in a moment.\r\n")
            return
        self._assembler.stranger = False
        self._rest()
        self.write(tag + b" OK [CAPABILITY %b] Welcome.\r\n" % self.capabilities())

    # IDLE (RFC 2177).

    def _idle(self, tag: bytes, parser: Parser) -> None:
        parser.end()
        if self.mailbox is None:
            raise Syntax("log in first")
        self._idling = tag
        self.write(b"+ idling\r\n")
        self.tell(True)
        self._keepalive = self.factory.clock.callLater(KEEPALIVE_S, self._stay_alive)

    def _stay_alive(self) -> None:
        self.write(b"* OK still here\r\n")
        self._keepalive = self.factory.clock.callLater(KEEPALIVE_S, self._stay_alive)

    def _end_idle(self, command: Command) -> None:
        assert self._idling is not None and self._keepalive is not None
        tag, self._idling = self._idling, None
        self._keepalive.cancel()
        if command.text.upper() == b"DONE":
            self.done(tag, b"IDLE ended.")
        else:
            self._reject(tag, "DONE ends IDLE")


def refusal(error: PostError) -> bytes:
    """
    Response code and words of a C{NO}.
    """
    for kind, code, words in _REFUSALS:
        if isinstance(error, kind):
            return f"[{code}] {words}".encode()
    return b"That cannot be done now."


class ImapFactory(Factory):
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
        spool_dir: str | None = None,
        plain_allowed: bool = True,
    ) -> None:
        self.accounts = accounts
        self.clock = clock
        self.throttle = throttle
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.size_limit = size_limit
        self.spool_dir = spool_dir
        self.plain_allowed = plain_allowed
        self.connections: set[ImapProtocol] = set()

    def buildProtocol(self, addr: IAddress | None) -> Any:  # Twisted's stub asks for what its own protocols have.
        if len(self.connections) >= CONNECTIONS_LIMIT:
            return None
        return ImapProtocol(self, str(getattr(addr, "host", "unknown")))

    def stop_all(self) -> None:
        """
        End every connection.
        """
        for connection in list(self.connections):
            connection.drop()
