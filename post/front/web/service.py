"""
The page as something to start and stop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory

from post.accounts import Accounts
from post.config import Settings, is_loopback, split_service
from post.errors import ConfigError
from post.front.auth import Throttle
from post.front.web.guard import Guard
from post.front.web.resources import Desk, site_root
from post.front.web.sessions import Sessions
from post.front.web.site import PageSite
from post.health.facts import Facts
from post.health.metrics import Metrics
from post.interfaces import Entropy
from post.mail.tally import Tally
from post.tasks import Tasks


class WebService:
    """
    The port.

    @ivar site: where others may hang what is for everybody (L{PageSite.hang}).
    """

    def __init__(
        self,
        reactor: Any,  # TCP and time.
        settings: Settings,
        accounts: Accounts,
        facts: Callable[[], Facts],
        tally: Tally,
        tls: CertificateOptions,
        entropy: Entropy,
    ) -> None:
        self._reactor = reactor
        self._service = settings.mail.web
        self._tls = tls if settings.web.tls else None
        self._tasks = Tasks()
        self._port: Any = None

        def password(address: str) -> str | None:
            opened = accounts.opened.get(address)
            return None if opened is None else opened.credentials.password_hash

        sessions = Sessions(reactor, entropy, password)
        desk = Desk(accounts, sessions, Throttle(reactor), reactor, self._tasks, facts, settings.web.tls)
        metrics = Metrics(facts, tally) if settings.web.metrics else None
        away = bool(self._service) and not is_loopback(split_service(self._service)[0])
        self.site = PageSite(site_root(desk, metrics), Guard(settings.web.names), reactor, limits_sources=away)

    def listen(self) -> None:
        """
        Take the port, if one is set.

        @raise ConfigError: if it is taken.
        """
        if not self._service:
            return
        host, port = split_service(self._service)
        factory: Any = self.site  # Twisted types the wrapping one apart.
        if self._tls is not None:
            factory = TLSMemoryBIOFactory(self._tls, False, self.site)
            factory.noisy = False
        try:
            self._port = self._reactor.listenTCP(port, factory, interface=host)
        except CannotListenError as error:
            raise ConfigError("mail.web", f"cannot listen on {self._service}: {error.socketError}") from None

    @property
    def url(self) -> str | None:
        """
        Where the page is, if it is served.
        """
        if self._port is None:
            return None
        host = self._service.rpartition(":")[0]
        return f"http{'s' if self._tls is not None else ''}://{host}:{self._port.getHost().port}/"

    def stop(self) -> Deferred[Any]:
        """
        Let go of the port and the connections.
        """
        self._tasks.stop()
        stopped = maybeDeferred(self._port.stopListening) if self._port is not None else maybeDeferred(lambda: None)
        self.site.stop_all()
        return stopped
