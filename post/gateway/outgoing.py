"""
What a node with the role C{gateway} runs for mail that leaves: resolver, signatures, policies, and the relay itself.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from functools import partial
from random import SystemRandom
from typing import Any

from OpenSSL import crypto
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from post.config import Config
from post.crypto.certificates import read_node
from post.errors import ConfigError, PeerError, Unreachable
from post.files import read_file
from post.gateway.connection import Opportunistic
from post.gateway.dkim import Key, read_keys, sign
from post.gateway.dns import Dns, make_resolver
from post.gateway.relay import Relay
from post.gateway.service import ROLE
from post.gateway.sts import POLICY_BYTES, Policies
from post.mail.outside import Outside
from post.mail.schedule import Schedule
from post.node import NodeCredentials

THREADS = 4
"""Messages signed, and policies fetched, at once."""
FETCH_S = 20.0
"""For each step of fetching a policy; RFC 8461, 3.3, suggests a minute for all."""
POLICIES = "mta-sts.json"
"""In a gateway's directory."""
PATH = "/.well-known/mta-sts.txt"


class OutgoingService:
    """
    The way to the Internet, on the real reactor; on a node without that role nothing.
    """

    log = Logger()

    def __init__(self, reactor: Any, config: Config, credentials: NodeCredentials, domain: str) -> None:
        # Any: TCP, UDP, threads.
        """
        @raise ConfigError: if a key, or the file of trust roots, cannot be used.
        """
        self._reactor = reactor
        self._settings = config.settings.gateway
        self._domain = domain
        self._relays = ROLE in read_node(credentials.chain[0]).roles
        self._directory = config.directory
        self._keys = read_keys(config.directory) if self._relays else []
        self._roots = _read_roots(config) if self._relays else []
        self._threads = ThreadPool(0, THREADS, "outgoing")
        self._dns: Dns | None = None

    def start(self, outside: Outside) -> None:
        """
        Relay what C{outside} has.
        """
        if not self._relays:
            return
        settings = self._settings
        self._threads.start()
        self._dns = dns = Dns(make_resolver(self._reactor, settings.dns), self._reactor)
        relay = Relay(
            self._reactor,
            dns,
            Policies(dns, self._fetch, self._reactor, self._directory / POLICIES),
            self._sign,
            self._tls,
            settings.host or self._domain,
            self._domain,
            settings.smtp_port,
            SystemRandom(),
        )
        schedule = Schedule(settings.retry_s, settings.warn_s, settings.give_up_s, settings.recipients_per_day)
        if not self._keys:
            self.log.warn("what leaves here is not signed: make a key with 'post gateway dkim'")
        outside.relay(relay, schedule)

    async def stop(self) -> None:
        """
        Nobody waits any longer.
        """
        if self._dns is not None:
            self._dns.stop()
        if self._threads.started:
            await maybeDeferred(self._threads.stop)

    def _sign(self, message: bytes) -> Deferred[bytes]:
        keys: list[Key] = self._keys
        now = int(self._reactor.seconds())
        return deferToThreadPool(self._reactor, self._threads, sign, message, keys, self._domain, now)

    def _tls(self, host: str, proven: bool) -> IOpenSSLClientConnectionCreator:
        if not proven:
            return Opportunistic(host)
        trust = trustRootFromCertificates(self._roots) if self._roots else platformTrust()
        options: IOpenSSLClientConnectionCreator = optionsForClientTLS(host, trust)
        return options

    async def _fetch(self, host: str) -> bytes:
        assert self._dns is not None
        [address, *_] = await self._dns.addresses(host)
        context = ssl.create_default_context(cafile=self._settings_roots())
        get = partial(_get, host, address, self._settings.sts_port, context)
        return await deferToThreadPool(self._reactor, self._threads, get)

    def _settings_roots(self) -> str | None:
        return str(self._directory / self._settings.roots) if self._settings.roots else None


def _get(host: str, address: str, port: int, context: ssl.SSLContext) -> bytes:
    """
    The policy file of C{host}, which is at C{address}; no redirection is followed (RFC 8461, 3.3).

    @raise Unreachable, PeerError: if there is none, or the host does not prove its name.
    """
    connection = http.client.HTTPSConnection(host, port, timeout=FETCH_S, context=context)
    try:
        plain = socket.create_connection((address, port), FETCH_S)
        connection.sock = context.wrap_socket(plain, server_hostname=host)
        connection.request("GET", PATH)
        response = connection.getresponse()
        if response.status != 200:
            raise PeerError(f"{host} answers {response.status}")
        return response.read(POLICY_BYTES + 1)
    except ssl.SSLError as error:
        raise PeerError(f"{host} does not prove its name: {error.reason or error}") from None
    except http.client.HTTPException as error:
        raise PeerError(f"{host} does not speak HTTP ({type(error).__name__})") from None
    except OSError as error:
        raise Unreachable(f"{host}: {error.strerror or error}") from None
    finally:
        connection.close()


def _read_roots(config: Config) -> list[Certificate]:
    named = config.settings.gateway.roots
    if not named:
        return []
    file = config.directory / named
    data = read_file(file)
    marker = b"-----END CERTIFICATE-----"
    pieces = [piece + marker for piece in data.split(marker)[:-1]]
    try:
        found = [Certificate.loadPEM(piece) for piece in pieces]
    except crypto.Error as error:
        raise ConfigError(f"{config.file}: gateway.roots", f"cannot be used: {error}") from None
    if not found:
        raise ConfigError(f"{config.file}: gateway.roots", "has no certificate")
    return found
