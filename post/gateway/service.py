"""
What a node with the role C{gateway} runs beside its mail services.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.ssl import CertificateOptions
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from post.config import Config, split_service
from post.crypto.certificates import NodeCertificate
from post.crypto.names import canonical, split
from post.errors import ConfigError
from post.front.certificate import load_certificate
from post.front.service import DRAIN_S, GLANCE_S
from post.gateway.dns import Dns, make_resolver
from post.gateway.greylist import Greylist
from post.gateway.mx import MxFactory, MxPolicy
from post.gateway.sources import Sources
from post.gateway.verification import Verifier
from post.mail.inbound import Inbound
from post.tasks import sleep

VERIFIERS = 8
"""Threads in which senders are verified: they mostly wait for the DNS."""

ROLE = "gateway"
"""As the node's certificate has it."""


def check_role(config: Config, certificate: NodeCertificate, domain: str) -> None:
    """
    See that a node that is set to take mail from the Internet may do so.

    @raise ConfigError: if its certificate has not that role, or postmaster is nobody of C{domain}.
    """
    if not config.settings.mail.smtp:
        return
    if ROLE not in certificate.roles:
        raise ConfigError(
            f"{config.file}: mail.smtp",
            "needs the role gateway in this node's certificate: leave it empty and start the node, have"
            " 'post ca role ADDRESS --add gateway' done where the authority is, and set it when post status shows that",
        )
    postmaster = config.settings.gateway.postmaster
    try:
        known = split(canonical(postmaster))[1] == domain
    except ValueError:
        known = False
    if not known:
        raise ConfigError(f"{config.file}: gateway.postmaster", f"{postmaster!r} is no address of {domain}")


class InboundService:
    """
    The port for mail from the Internet, and what it needs.
    """

    log = Logger()

    def __init__(self, reactor: Any, config: Config, inbound: Inbound, tls: CertificateOptions) -> None:
        """
        @param reactor: TCP, UDP, threads and time.
        @param tls: what is shown if the settings name no certificate.
        @raise ConfigError: if one is named that cannot be used.
        """
        settings = config.settings.gateway
        host = settings.host or inbound.domain
        inbound.postmaster = settings.postmaster
        if settings.certificate:
            where = config.file.parent
            tls = load_certificate(where / settings.key, where / settings.certificate)
        self._reactor = reactor
        self._service = config.settings.mail.smtp
        self._threads = ThreadPool(0, VERIFIERS, "verifiers")
        self.dns = Dns(make_resolver(reactor, settings.dns), reactor)
        verifier = Verifier(
            self.dns, reactor, reactor, lambda *work: deferToThreadPool(reactor, self._threads, *work), host
        )
        self._greylist = _greylist(config.directory / "greylist.sqlite", reactor, settings.greylist_s)
        sources = Sources(reactor, settings.connections_per_source, settings.messages_per_minute)
        policy = MxPolicy(settings.dmarc, settings.dnsbl)
        spool = str(config.directory)
        self._factory = MxFactory(
            inbound, verifier, self.dns, self._greylist, sources, policy, reactor, tls, host, spool
        )
        self._port: Any = None  # A listening port.

    def limit(self, size_limit: int) -> None:
        """
        Take messages of so many octets from now on.
        """
        self._factory.size_limit = size_limit

    def listen(self) -> None:
        """
        Take the port.

        @raise ConfigError: if it is taken.
        """
        self._threads.start()
        host, port = split_service(self._service)
        try:
            self._port = self._reactor.listenTCP(port, self._factory, interface=host)
        except CannotListenError as error:
            raise ConfigError("mail.smtp", f"cannot listen on {self._service}: {error.socketError}") from None
        self.log.info("mail from the Internet is taken on {service}", service=self._service)

    async def stop(self) -> None:
        """
        Let go of the port, let what is under way come to its end, within L{DRAIN_S}, and let go of the rest.
        """
        if self._port is not None:
            await maybeDeferred(self._port.stopListening)
        until = self._reactor.seconds() + DRAIN_S
        while any(connection.occupied for connection in self._factory.connections):
            if self._reactor.seconds() >= until:
                break
            await sleep(self._reactor, GLANCE_S)
        self._factory.stop_all()
        self.dns.stop()
        if self._threads.started:
            self._threads.stop()
        self._greylist.close()


def _greylist(path: Path, reactor: Any, delay_s: int) -> Greylist:
    try:
        return Greylist(path, reactor, delay_s)
    except sqlite3.Error as error:
        raise ConfigError(str(path), f"cannot be used: {error}") from None
