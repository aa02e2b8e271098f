"""
What is said on a POP3 connection (RFC 1939): logging in, the commands of L{post.front.pop3.transaction}, and the end.

Messages are removed at QUIT only, and C{+OK} is said when that is durable.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import TYPE_CHECKING

from twisted.logger import Logger

from post.errors import NotFound, PostError, Refused
from post.front.auth import MECHANISMS, BadAnswer, Exchange, admit, on_loopback, text
from post.front.pop3.maildrop import NoSuchMessage
from post.front.pop3.transaction import COMMANDS, BadCommand, Gone, Transaction
from post.smtp.server import BROWSER_WORDS

if TYPE_CHECKING:
    from post.front.pop3.server import Pop3Protocol

LOGINS_LIMIT = 5
"""Wrong passwords in one connection: enough for a person who mistypes."""

_LATER = b"[SYS/TEMP] The ring does not have that now; try again in a moment."
_REFUSALS: tuple[tuple[type[PostError], bytes], ...] = (
    (NoSuchMessage, b"There is no such message."),
    (Gone, b"That message has been removed or moved meanwhile."),
    (NotFound, b"[SYS/TEMP] The mailbox is still waiting for the ring; try again in a moment."),
)


def refusal(error: PostError) -> bytes:
    """
    What is said of C{error}.  The words are ours: what a peer said is nobody's business out there.
    """
    return next((words for kind, words in _REFUSALS if isinstance(error, kind)), _LATER)


class Session:
    """
    One client, from its first word to its last.
    """

    log = Logger()

    def __init__(self, connection: Pop3Protocol) -> None:
        self._connection = connection
        self._factory = connection.factory
        self._name: str | None = None
        self._exchange: Exchange | None = None
        self._transaction: Transaction | None = None
        self._locked: str | None = None
        self._updating = False
        self._logins = 0

    @property
    def stranger(self) -> bool:
        """
        Whether nobody has logged in.
        """
        return self._transaction is None

    def ended(self) -> None:
        """
        The connection has ended.  Without QUIT nothing is removed (RFC 1939, section 6); what QUIT has begun is done
        all the same, and until then nobody else has the maildrop.
        """
        if not self._updating:
            self._unlock()

    def _unlock(self) -> None:
        if self._locked is not None:
            self._factory.locks.release(self._locked)
            self._locked = None

    def forget(self) -> None:
        """
        A log-in that was begun is not gone on with.
        """
        self._name = self._exchange = None

    def line(self, line: bytes) -> None:
        """
        The client says C{line}, and waits for an answer.

        @raise BadCommand: if that is nothing that a mail program says here.
        """
        name, exchange = self._name, self._exchange
        self.forget()
        if exchange is not None:
            self._go_on(exchange, line)
            return
        verb, _, argument = line.partition(b" ")
        verb = verb.upper()
        if verb in BROWSER_WORDS:
            self._connection.leave(b"-ERR This is no web server.\r\n")
        elif verb == b"PASS" and self.stranger:
            self._pass(name, argument)
        elif verb in _OWN:
            _OWN[verb](self, argument.strip())
        elif verb not in COMMANDS:
            raise BadCommand("That is not a command here.")
        elif self._transaction is None:
            raise BadCommand("Log in first.")
        else:
            self._transact(self._transaction, verb, argument)

    def _transact(self, transaction: Transaction, verb: bytes, argument: bytes) -> None:
        try:
            answer = transaction.answer(verb, argument)
        except NoSuchMessage as error:
            self._connection.refuse(refusal(error))
            return
        if isinstance(answer, bytes):
            self._connection.write(answer)
        else:
            self._connection.begin(self._connection.send(answer))

    def _capa(self, argument: bytes) -> None:
        """
        What is offered now (RFC 2449).  What is not there is not named: neither UTF8 (RFC 6856) nor APOP.
        """
        words = [b"TOP", b"UIDL", b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"EXPIRE NEVER"]
        if self._may_start_tls():
            words.append(b"STLS")
        if self._may_log_in():
            words += [b"USER", b"SASL " + b" ".join(MECHANISMS)]
        self._say(b"+OK", *words, b"IMPLEMENTATION POST", b".")

    def _say(self, *lines: bytes) -> None:
        self._connection.write(b"".join(line + b"\r\n" for line in lines))

    # Before log-in.

    def _may_start_tls(self) -> bool:
        return self._factory.tls is not None and not self._connection.tls and self.stranger

    def _may_log_in(self) -> bool:
        # A password that crosses a network in the clear is no secret any more, whatever the settings say.
        return self._connection.tls or on_loopback(self._connection.source)

    def _must_not_log_in(self) -> bool:
        if not self.stranger:
            raise BadCommand("You are logged in already.")
        if self._may_log_in():
            return False
        self._connection.refuse(b"[AUTH] Start TLS first.")
        return True

    def _stls(self, argument: bytes) -> None:
        if argument or not self._may_start_tls():
            raise BadCommand("TLS is not to be started here.")
        self._connection.start_tls(b"+OK Begin TLS now.\r\n")

    def _user(self, argument: bytes) -> None:
        if self._must_not_log_in():
            return
        try:
            name = text(argument)
        except BadAnswer as error:
            raise BadCommand(f"That is {error}.") from None
        if not name:
            raise BadCommand("USER takes a name.")
        self._name = name  # Whether there is such a person is not told.
        self._say(b"+OK")

    def _pass(self, name: str | None, password: bytes) -> None:
        if name is None:
            raise BadCommand("USER comes right before PASS.")
        # All that stands behind the first space: a password may have spaces (RFC 1939, section 7).
        self._connection.begin(self._log_in(name, password))

    def _auth(self, argument: bytes) -> None:
        if self._must_not_log_in():
            return
        mechanism, _, initial = argument.partition(b" ")
        if not mechanism:
            # So some mail programs ask what there is, instead of by CAPA.
            self._say(b"+OK", *MECHANISMS, b".")
            return
        if mechanism.upper() not in MECHANISMS:
            raise BadCommand("PLAIN, please.")
        exchange = MECHANISMS[mechanism.upper()]()
        challenge = next(exchange)
        if initial:
            self._go_on(exchange, initial)
        else:
            self._challenge(exchange, challenge)

    def _challenge(self, exchange: Exchange, challenge: bytes) -> None:
        self._exchange = exchange
        self._say(b"+ " + b64encode(challenge))

    def _go_on(self, exchange: Exchange, answer: bytes) -> None:
        """
        Give the client's answer to the mechanism (RFC 5034, section 4).
        """
        if answer == b"*":
            raise BadCommand("As you wish.")
        try:
            challenge = exchange.send(answer)
        except StopIteration as end:
            self._connection.begin(self._log_in(*end.value))
        except BadAnswer as error:
            raise BadCommand(f"That is {error}.") from None
        else:
            self._challenge(exchange, challenge)

    async def _log_in(self, name: str, password: bytes) -> None:
        connection, factory = self._connection, self._factory
        try:
            address = await admit(
                factory.accounts, factory.throttle, connection.source, name, password, connection.sleep
            )
        except Refused:
            connection.refuse(b"[AUTH] Wrong name or password.")
            self._logins += 1
            if self._logins >= LOGINS_LIMIT:
                connection.leave()
            return
        connection.check_here()  # Nobody would unlock what is locked for one who has gone.
        transaction = Transaction(factory.accounts.mailbox(address).folder("INBOX"))
        if not factory.locks.take(address):
            connection.refuse(b"[IN-USE] Another POP3 session has this mailbox; try again in a moment.")
            return
        self._locked, self._transaction = address, transaction
        connection.rest()
        self._say(b"+OK %d messages, %d octets" % (transaction.maildrop.count, transaction.maildrop.size))

    # The end.

    def _quit(self, argument: bytes) -> None:
        if argument:
            raise BadCommand("QUIT takes nothing.")
        if self._transaction is None:
            self._connection.leave(b"+OK Goodbye.\r\n")
        else:
            self._connection.begin(self._update(self._transaction))

    async def _update(self, transaction: Transaction) -> None:
        """
        Remove what is marked (RFC 1939, section 6).
        """
        self._updating = True
        last = b"-ERR [SYS/TEMP] Some deleted messages were not removed.\r\n"
        try:
            await transaction.update()
            last = b"+OK Goodbye.\r\n"
        except PostError as error:
            self.log.warn("messages cannot be removed: {error}", error=error)
        except Exception:
            self.log.failure("messages cannot be removed")
        self._updating = False
        # Before the last words: whoever has read them may log in again at once.
        self._unlock()
        self._connection.leave(last)


_OWN: dict[bytes, Callable[[Session, bytes], None]] = {
    b"CAPA": Session._capa,
    b"QUIT": Session._quit,
    b"STLS": Session._stls,
    b"USER": Session._user,
    b"AUTH": Session._auth,
}
