"""
One IMAP connection (RFC 3501): takes commands one at a time, and answers.

It translates; L{post.mail.mailbox} decides.  The next command starts when the one before has ended, whatever the client
pipelines; beyond a bound its socket is not read.  What is advertised is there.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Coroutine, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from zope.interface import implementer

from post.errors import NotFound, Overloaded, PostError, Refused, TooFewReplicas, Unconfirmed, Unreachable
from post.front.auth import MECHANISMS, BadAnswer, Exchange, Throttle, admit, on_loopback, text
from post.front.imap import commands
from post.front.imap.assembler import Assembler, Command, Continue
from post.front.imap.grammar import Parser, Syntax
from post.front.imap.search import BadCharset
from post.front.imap.session import View
from post.mail.interfaces import (
    Entry,
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
STRANGER_S = 180.0
"""From the connection to the log-in, however busily somebody who has no password talks."""
LINGER_S = 30.0
"""For the last words of a connection to be taken, before it is cut."""
BUFFER_LIMIT = 256 * 1024
"""Octets of commands that wait; beyond, the socket is not read."""
TURN_S = 0.02
"""One connection works for so long at most before others have their turn."""
BAD_LIMIT = 20
"""Bad commands on end after which nobody is believed to be a mail program."""
LOGINS_LIMIT = 5
CONNECTIONS_LIMIT = 2000
"""A few KiB each; a mail program holds up to ten."""
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
        self._working = self._full = self._changed = self._idling = self._doomed = False
        self._bad = self._logins = 0
        self._turn = 0.0
        self._timer: IDelayedCall | None = None
        self._later: IDelayedCall | None = None
        self._keepalive: IDelayedCall | None = None
        self._asked: Deferred[Command] | None = None
        self._asleep: Deferred[None] | None = None
        self._drained: list[Deferred[None]] = []

    # The connection.

    @property
    def occupied(self) -> bool:
        """
        Whether the client waits for an answer.
        """
        return self._busy and not self._idling

    def connectionMade(self) -> None:
        self.factory.connections.add(self)
        self.transport.setTcpNoDelay(True)  # type: ignore[union-attr]
        self.transport.registerProducer(self, True)  # type: ignore[union-attr]
        self._rest(STRANGER_S)
        self.write(b"* OK [CAPABILITY %b] POST ready\r\n" % self.capabilities())

    def connectionLost(self, reason: object = None) -> None:
        self._gone = True
        self.factory.connections.discard(self)
        self.close_folder()
        self._assembler.discard()
        for timer in (self._timer, self._keepalive, self._later):
            if timer is not None and timer.active():
                timer.cancel()
        self.resumeProducing()
        if self._asked is not None:
            asked, self._asked = self._asked, None
            asked.errback(Unreachable("the client has gone"))
        if self._asleep is not None:
            self._asleep.cancel()

    def drop(self) -> None:
        """
        End the connection now.
        """
        self._gone = True
        self.transport.abortConnection()  # type: ignore[union-attr]

    def leave(self) -> None:
        """
        End the connection when everything has been sent, or if the client does not take it, soon.
        """
        if self._gone:
            return
        self._rest(LINGER_S)
        self._gone = True
        self.transport.unregisterProducer()  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]

    def _rest(self, patience: float) -> None:
        if self._gone:
            return
        if self._timer is not None and self._timer.active():
            self._timer.reset(patience)
        else:
            self._timer = self.factory.clock.callLater(patience, self._timed_out)

    def _timed_out(self) -> None:
        if self._gone or self._full:
            self.drop()
        elif self._idling or (self._busy and self._asked is None):
            self._rest(IDLE_S)
        else:
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
        if self.mailbox is not None:
            self._rest(IDLE_S)
        drained, self._drained = self._drained, []
        for each in drained:
            each.callback(None)
        if self._idling:
            self.tell(True)
        self._work()

    def stopProducing(self) -> None:
        self._gone = True
        self.resumeProducing()

    async def breathe(self) -> None:
        """
        In the middle of a long answer: until the client has taken enough of it, and others have had their turn.

        @raise Unreachable: if the client has gone.
        """
        if self._full and not self._gone:
            waiting: Deferred[None] = Deferred()
            self._drained.append(waiting)
            await waiting
        if self._overdue():
            await self._sleep(0)
            self._turn = self.factory.clock.seconds()
        self._check_here()

    async def _sleep(self, seconds: float) -> None:
        """
        @raise Unreachable: if the client goes meanwhile.
        """
        self._asleep = sleep(self.factory.clock, seconds)
        try:
            await self._asleep
        except CancelledError:
            raise Unreachable("the client has gone") from None
        finally:
            self._asleep = None

    def _overdue(self) -> bool:
        return abs(self.factory.clock.seconds() - self._turn) > TURN_S

    def _check_here(self) -> None:
        if self._gone:
            raise Unreachable("the client has gone")

    # Input.

    def dataReceived(self, data: bytes) -> None:
        if self.mailbox is not None:
            self._rest(IDLE_S)
        self._assembler.feed(data)
        self._work()
        if self._assembler.waiting > BUFFER_LIMIT and not self._paused and not self._gone:
            self._paused = True
            self.transport.pauseProducing()  # type: ignore[union-attr]

    def _work(self) -> None:
        """
        Begin commands, one after the other, until one has to wait.

        A command that ends at once returns here, and is not called from where the next one begins: thousands may be
        pipelined.
        """
        if self._working:
            return
        self._working = True
        self._turn = self.factory.clock.seconds()
        while self._can_go_on():
            if self._overdue():
                if self._later is None or not self._later.active():
                    self._later = self.factory.clock.callLater(0, self._work)
                break
            found = self._assembler.next()
            if found is None:
                break
            if isinstance(found, Continue):
                self.write(b"+ go on\r\n")
            elif self._asked is not None:
                asked, self._asked = self._asked, None
                asked.callback(found)
            elif found.text or found.problem:
                self._command(found)
        self._working = False
        if self._paused and self._assembler.waiting <= BUFFER_LIMIT and not self._gone:
            self._paused = False
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def _can_go_on(self) -> bool:
        return (not self._busy or self._asked is not None) and not self._gone and not self._full

    def _command(self, command: Command) -> None:
        tag, _, rest = command.text.partition(b" ")
        if not tag or len(tag) > 100 or any(octet in b'(){%*"\\+\0' or not 32 < octet < 127 for octet in tag):
            self._reject(b"*", "that is not a tag")
            return
        if command.problem == "literal":
            self.write(tag + b" NO [TOOBIG] That is more than is taken.\r\n")
            return
        if command.problem == "room":
            self.log.warn("there is no room for what a mail program sends")
            self.write(tag + b" NO [UNAVAILABLE] There is no room for it on this machine.\r\n")
            return
        if command.problem:
            self._reject(tag, "that line cannot be read")
            return
        word = rest.partition(b" ")[0]
        name = word.decode("ascii", "replace").upper()
        self._busy = True
        Deferred.fromCoroutine(self._attend(tag, name, Parser(rest[len(word) :], command.literals)))

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

    async def _attend(self, tag: bytes, name: str, parser: Parser) -> None:
        try:
            work = self._find(name, tag, parser)
            if work is not None:
                await work
            self._bad = 0
        except Syntax as error:
            self._reject(tag, str(error))
        except BadAnswer as error:
            self._reject(tag, f"that is {error}")
        except BadCharset:
            self.write(tag + b" NO [BADCHARSET (US-ASCII UTF-8)] That charset is not known.\r\n")
        except PostError as error:
            self.write(tag + b" NO " + refusal(error) + b"\r\n")
        except Exception:
            self.log.failure("a command failed")
            self.write(tag + b" NO [SERVERBUG] Something is wrong here.\r\n")
        self._busy = False
        if self._doomed and self.folder is not None:
            # Not before: the command may have been in the middle of a literal.
            self._end_doomed()
        self._work()

    async def _ask(self, invitation: bytes) -> bytes:
        """
        The line with which the client answers a continuation request.

        @raise Unreachable: if it goes instead.
        """
        self.write(b"+ " + invitation + b"\r\n")
        self._asked = Deferred()
        answer = await self._asked
        if answer.problem:
            raise Syntax("that line cannot be read")
        return answer.text

    def done(self, tag: bytes, words: bytes, may_expunge: bool = True) -> None:
        """
        End a command well, after telling what has happened meanwhile.
        """
        self.tell(may_expunge)
        self.write(tag + b" OK " + words + b"\r\n")

    # The folder.

    def open_folder(self, folder: IFolder, entries: Sequence[Entry], read_only: bool) -> None:
        """
        Select C{folder}, which has these C{entries} now.
        """
        self.close_folder()
        self.folder, self.read_only = folder, read_only
        self.view = View(entries)
        self._changed = False
        folder.listen(self)

    def close_folder(self) -> None:
        """
        Select none.
        """
        if self.folder is not None:
            self.folder.unlisten(self)
        self.folder = self.view = None
        self._doomed = False

    def changed(self) -> None:
        self._changed = True
        if self._idling and not self._full:
            self.tell(True)

    def deleted(self) -> None:
        self._doomed = True
        if self._idling or not self._busy:
            self._end_doomed()

    def _end_doomed(self) -> None:
        self.write(b"* BYE the folder has been deleted\r\n")
        self.leave()

    def tell(self, may_expunge: bool) -> None:
        """
        Say what has happened in the folder, as far as it may be said now.
        """
        if self.view is None or self.folder is None or not self._changed:
            return
        self._changed = not may_expunge
        self.write(b"".join(self.view.catch_up(self.folder.entries(), may_expunge)))

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
        if self.mailbox is None:
            if self.factory.tls is not None and not self.tls:
                words.append(b"STARTTLS")
            words += [b"AUTH=" + name for name in MECHANISMS] if self._may_log_in() else [b"LOGINDISABLED"]
            return b" ".join(words)
        words += [b"ENABLE", b"IDLE", b"NAMESPACE", b"CHILDREN", b"UNSELECT", b"UIDPLUS", b"MOVE"]
        words += [b"SPECIAL-USE", b"CREATE-SPECIAL-USE", b"LIST-EXTENDED", b"LIST-STATUS", b"STATUS=SIZE"]
        return b" ".join([*words, b"APPENDLIMIT=%d" % self.factory.size_limit])

    def _may_log_in(self) -> bool:
        # Whoever listens to the network does not hear what stays within this machine.
        return self.tls or on_loopback(self.source)

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

    def _login(self, tag: bytes, parser: Parser) -> Coroutine[Any, Any, None] | None:
        parser.space()
        name = parser.astring()
        parser.space()
        password = parser.astring()
        parser.end()
        if self._must_not_log_in(tag):
            return None
        return self._log_in(tag, text(name), password)

    def _must_not_log_in(self, tag: bytes) -> bool:
        if self.mailbox is not None:
            raise Syntax("you are logged in already")
        if self._may_log_in():
            return False
        self.write(tag + b" NO [PRIVACYREQUIRED] Start TLS first.\r\n")
        return True

    def _authenticate(self, tag: bytes, parser: Parser) -> Coroutine[Any, Any, None] | None:
        parser.space()
        mechanism = parser.atom().upper()
        initial = None
        if parser.accept(b" "):
            initial = parser.astring()
        parser.end()
        if self._must_not_log_in(tag):
            return None
        steps = MECHANISMS.get(mechanism.encode())
        if steps is None:
            self.write(tag + b" NO [CANNOT] PLAIN, please.\r\n")
            return None
        return self._exchange(tag, steps(), initial)

    async def _exchange(self, tag: bytes, exchange: Exchange, answer: bytes | None) -> None:
        """
        Ask what the mechanism asks; C{answer} is the first one if the client gave it at once (RFC 4959).
        """
        challenge = next(exchange)
        try:
            while True:
                if answer is None:
                    answer = await self._ask(b64encode(challenge))
                if answer == b"*":
                    raise BadAnswer("given up")
                challenge, answer = exchange.send(answer), None
        except StopIteration as end:
            name, password = end.value
        await self._log_in(tag, name, password)

    async def _log_in(self, tag: bytes, name: str, password: bytes) -> None:
        throttle, accounts = self.factory.throttle, self.factory.accounts
        try:
            address = await admit(accounts, throttle, self.source, name, password, self._sleep)
        except Refused:
            self.write(tag + b" NO [AUTHENTICATIONFAILED] Wrong name or password.\r\n")
            self._logins += 1
            if self._logins >= LOGINS_LIMIT:
                self.write(b"* BYE too many wrong passwords\r\n")
                self.leave()
            return
        self._check_here()
        try:
            self.mailbox = accounts.mailbox(address)
        except NotFound:
            self.write(tag + b" NO [UNAVAILABLE] The mailbox is still waiting for the ring; try again in a moment.\r\n")
            return
        self._assembler.stranger = False
        self._rest(IDLE_S)
        self.write(tag + b" OK [CAPABILITY %b] Welcome.\r\n" % self.capabilities())

    # IDLE (RFC 2177).

    def _idle(self, tag: bytes, parser: Parser) -> Coroutine[Any, Any, None]:
        parser.end()
        if self.mailbox is None:
            raise Syntax("log in first")
        return self._idle_until_done(tag)

    async def _idle_until_done(self, tag: bytes) -> None:
        self._idling = True
        self._keepalive = self.factory.clock.callLater(KEEPALIVE_S, self._stay_alive)
        try:
            self.tell(True)
            answer = await self._ask(b"idling")
        finally:
            self._idling = False
            if self._keepalive.active():
                self._keepalive.cancel()
        if answer.upper() != b"DONE":
            raise Syntax("DONE ends IDLE")
        self.done(tag, b"IDLE ended.")

    def _stay_alive(self) -> None:
        self.write(b"* OK still here\r\n")
        self._keepalive = self.factory.clock.callLater(KEEPALIVE_S, self._stay_alive)


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
    ) -> None:
        self.accounts = accounts
        self.clock = clock
        self.throttle = throttle
        self.tls = tls
        self.implicit_tls = implicit_tls
        self.size_limit = size_limit
        self.spool_dir = spool_dir
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
