"""
All that mail programs connect to, as one thing to start and stop.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory

from post.config import Mail, split_service
from post.errors import ConfigError
from post.front.auth import Throttle
from post.front.imap.server import ImapFactory
from post.front.pop3.maildrop import Locks
from post.front.pop3.server import Pop3Factory
from post.front.submission import SubmissionFactory
from post.mail.interfaces import IMailAccounts
from post.tasks import sleep

DRAIN_S = 20.0
"""When the node is stopped: a message that is being sent then gets its answer, unless that takes longer.  Less than
what whoever stops us waits for."""
GLANCE_S = 0.05
"""Between two looks at who is still being served."""


class MailServices:
    """
    SMTP submission, IMAP and POP3, each with STARTTLS and over TLS.
    """

    def __init__(
        self,
        reactor: Any,  # TCP and time.
        accounts: IMailAccounts,
        settings: Mail,
        tls: CertificateOptions,
        size_limit: int,
        domain: str,
        spool_dir: str | None = None,
    ) -> None:
        """
        @param spool_dir: where the octets of a large message are kept until it is stored, in a file without a name;
            C{None}: where temporary files are.
        """
        self._reactor = reactor
        self._settings = settings
        self._tls = tls
        throttle = Throttle(reactor)
        locks = Locks()
        self._factories: dict[str, Factory] = {
            "submission": SubmissionFactory(accounts, reactor, throttle, tls, False, size_limit, domain, spool_dir),
            "submissions": SubmissionFactory(accounts, reactor, throttle, None, True, size_limit, domain, spool_dir),
            "imap": ImapFactory(accounts, reactor, throttle, tls, False, size_limit, spool_dir),
            "imaps": ImapFactory(accounts, reactor, throttle, None, True, size_limit, spool_dir),
            "pop3": Pop3Factory(accounts, reactor, throttle, tls, False, locks),
            "pop3s": Pop3Factory(accounts, reactor, throttle, None, True, locks),
        }
        self._ports: list[Any] = []
        self.bound: dict[str, tuple[str, int]] = {}

    def listen(self) -> None:
        """
        Take the ports.

        @raise ConfigError: if one is taken.
        """
        for name, factory in self._factories.items():
            service = getattr(self._settings, name)
            if not service:
                continue
            host, port = split_service(service)
            try:
                listening = self._reactor.listenTCP(port, self._over_tls(name, factory), interface=host)
            except CannotListenError as error:
                raise ConfigError(f"mail.{name}", f"cannot listen on {service}: {error.socketError}") from None
            self._ports.append(listening)
            self.bound[name] = (host, listening.getHost().port)

    def _over_tls(self, name: str, factory: Factory) -> Any:  # A factory; Twisted types the wrapping one apart.
        if not name.endswith("s"):
            return factory
        wrapping = TLSMemoryBIOFactory(self._tls, False, factory)
        wrapping.noisy = False
        return wrapping

    def limit(self, size_limit: int) -> None:
        """
        Take messages of so many octets from now on; a command that is under way ends as it began.
        """
        for factory in self._factories.values():
            if isinstance(factory, SubmissionFactory | ImapFactory):
                factory.size_limit = size_limit

    async def stop(self) -> None:
        """
        Let go of the ports, let what is under way come to its end, within L{DRAIN_S}, and let go of the connections.
        """
        await DeferredList([maybeDeferred(port.stopListening) for port in self._ports])
        until = self._reactor.seconds() + DRAIN_S
        while self._occupied() and self._reactor.seconds() < until:
            await sleep(self._reactor, GLANCE_S)
        for factory in self._factories.values():
            factory.stop_all()  # type: ignore[attr-defined]  # Each of ours has it.

    def _occupied(self) -> bool:
        """
        Whether anybody waits for an answer, or is in the middle of a message.
        """
        return any(
            connection.occupied
            for factory in self._factories.values()
            for connection in factory.connections  # type: ignore[attr-defined]  # Each of ours has them.
        )
