"""
SMTP submission (RFC 6409): what a mail program sends through.  It translates; L{post.mail.submission} decides.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger

from post.errors import NotFound, Refused
from post.front.auth import MECHANISMS, BadAnswer, Exchange, Throttle, admit, on_loopback
from post.mail.interfaces import IMailAccounts, ISubmission, Octets
from post.smtp.grammar import Syntax, path
from post.smtp.server import COMMANDS, CONNECTIONS_LIMIT, RECIPIENTS_LIMIT, SmtpFactory, SmtpServer
from post.tasks import sleep

LOGINS_LIMIT = 5
"""Wrong passwords in one connection: enough for a person who mistypes."""


class SubmissionProtocol(SmtpServer):
    """
    One connection.
    """

    log = Logger()
    about = "This is the submission port of a POST node."
    passed_over = frozenset({"AUTH"})  # RFC 4954, 5: who wrote it is what we know better.
    _factory: SubmissionFactory

    def __init__(self, factory: SubmissionFactory, source: str) -> None:
        super().__init__(factory, source)
        self._exchange: Exchange | None = None
        self._submission: ISubmission | None = None
        self._logins = 0
        self._waiting: Deferred[None] | None = None

    @property
    def stranger(self) -> bool:
        """
        Whether nobody has logged in.
        """
        return self._submission is None

    def connectionLost(self, reason: object = None) -> None:
        super().connectionLost(reason)
        if self._waiting is not None:
            self._waiting.cancel()

    def _extensions(self) -> list[str]:
        return [f"AUTH {' '.join(name.decode() for name in MECHANISMS)}"] if self._may_log_in() else []

    def _may_log_in(self) -> bool:
        # A password that crosses a network in the clear is no secret any more, whatever the settings say.
        return (self._tls or on_loopback(self._source)) and self.stranger

    def _forget(self) -> None:
        self._submission = None

    def _refuse(self, error: Syntax) -> None:
        self._exchange = None  # Whatever was wrong, it ends the exchange (RFC 4954, 4).
        super()._refuse(error)

    def _unfinished(self, line: bytes) -> bool:
        if self._exchange is None:
            return False
        self._go_on(line)
        return True

    # Logging in (RFC 4954).

    def _do_auth(self, argument: bytes) -> None:
        mechanism, _, initial = argument.partition(b" ")
        if not mechanism:
            raise Syntax("AUTH needs a mechanism")
        if not self._extended or not self.stranger or self._sender is not None:
            self._bad(503, "5.5.1", "Not now.")
        elif not self._may_log_in():
            self._bad(538, "5.7.11", "Start TLS first.")
        elif mechanism.upper() not in MECHANISMS:
            self._bad(504, "5.5.4", "PLAIN or LOGIN, please.")
        else:
            self._exchange = MECHANISMS[mechanism.upper()]()
            challenge = next(self._exchange)
            if initial:
                self._go_on(initial)
            else:
                self._challenge(challenge)

    def _challenge(self, challenge: bytes) -> None:
        self._reply(334, None, b64encode(challenge).decode())

    def _go_on(self, answer: bytes) -> None:
        """
        Give the client's answer to the mechanism.
        """
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        if answer == b"*":
            self._bad(501, "5.7.0", "As you wish.")
            return
        try:
            challenge = exchange.send(answer)
        except StopIteration as end:
            self._begin(self._log_in(*end.value))
        except BadAnswer as error:
            raise Syntax(f"that is {error}", 501, "5.5.2") from None
        else:
            self._exchange = exchange
            self._challenge(challenge)

    async def _log_in(self, name: str, password: bytes) -> None:
        throttle, accounts = self._factory.throttle, self._factory.accounts
        try:
            address = await admit(accounts, throttle, self._source, name, password, self._wait)
        except Refused:
            self._refuse_login()
            return
        try:
            self._submission = accounts.submission(address)
        except NotFound:
            self._reply(454, "4.7.0", "The mailbox is still waiting for the ring; try again in a moment.")
        else:
            self._reply(235, "2.7.0", "Welcome.")

    def _refuse_login(self) -> None:
        refusal = 535, "5.7.8", "Wrong name or password."
        self._logins += 1
        if self._logins < LOGINS_LIMIT:
            self._reply(*refusal)
        else:
            self.leave(*refusal)

    async def _wait(self, seconds: float) -> None:
        """
        A pause, which L{CancelledError} ends when the client goes away: nothing of it is left waiting.
        """
        if self._gone:
            raise CancelledError
        self._waiting = sleep(self._factory.clock, seconds)
        try:
            await self._waiting
        finally:
            self._waiting = None

    # A message.

    def _do_mail(self, argument: bytes) -> Coroutine[Any, Any, None] | None:
        sender, parameters = path(argument, b"FROM:")
        if not self._helo:
            self._reply(503, "5.5.1", "Say hello first.")
        elif self._submission is None:
            self._reply(530, "5.7.0", "Log in first.")
        elif self._sender is not None:
            self._reply(503, "5.5.1", "One message at a time.")
        elif self._accept_parameters(parameters):
            return self._begin_message(self._submission, sender)
        return None

    async def _begin_message(self, submission: ISubmission, sender: str) -> None:
        submission.check_sender(sender)
        self._sender, self._recipients = sender, []
        self._reply(250, "2.1.0", "Ok.")

    def _do_rcpt(self, argument: bytes) -> Coroutine[Any, Any, None] | None:
        recipient, parameters = path(argument, b"TO:")
        if recipient.lower() == "postmaster":
            recipient = f"{recipient}@{self._factory.name}"  # RFC 5321, 4.5.1.
        if self._sender is None or self._submission is None:
            # Not counted as an error: a mail program whose MAIL was refused has sent all its RCPT already.
            self._reply(503, "5.5.1", "MAIL comes first.")
        elif parameters:
            self._reply(555, "5.5.4", "That parameter is not supported.")
        elif not recipient:
            raise Syntax("write TO:<address>")
        elif recipient in self._recipients:
            self._reply(250, "2.1.5", "Ok.")
        elif len(self._recipients) >= RECIPIENTS_LIMIT:
            self._reply(452, "4.5.3", "Too many recipients for one message.")
        else:
            return self._add_recipient(self._submission, recipient)
        return None

    async def _add_recipient(self, submission: ISubmission, recipient: str) -> None:
        await submission.check_recipient(recipient)
        self._recipients.append(recipient)
        self._reply(250, "2.1.5", "Ok.")

    async def _accept(self, sender: str, recipients: list[str], message: Octets) -> str:
        assert self._submission is not None
        trace = self._received(self._literal(), self._factory.name, "ESMTPSA" if self._tls else "ESMTPA")
        # The client may go away meanwhile; if it sends the same again, that is the same message.
        return await self._submission.submit(sender, recipients, message, trace)

    commands = {**COMMANDS, b"AUTH": _do_auth, b"MAIL": _do_mail, b"RCPT": _do_rcpt}


class SubmissionFactory(SmtpFactory):
    """
    Makes connections, up to a limit.
    """

    connections: dict[SubmissionProtocol, None]  # type: ignore[assignment]  # Its own are the only ones in it.

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
    ) -> None:
        super().__init__(clock, tls, implicit_tls, size_limit, domain, spool_dir)
        self.accounts = accounts
        self.throttle = throttle

    def buildProtocol(self, addr: IAddress | None) -> SubmissionProtocol | None:
        if len(self.connections) >= CONNECTIONS_LIMIT:
            # Whoever only opens connections does not shut out those who have something to send.
            stranger = next((each for each in self.connections if each.stranger), None)
            if stranger is None:
                return None
            stranger.drop()
        return SubmissionProtocol(self, str(getattr(addr, "host", "unknown")))
