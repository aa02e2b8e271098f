"""
Bringing a message to the servers of another domain (RFC 5321, 5): which they are, in which order, how securely.

One attempt: a verdict for each recipient, whatever happens.  When the next one is, and who makes it, is for
L{post.mail.relaying}.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.logger import Logger
from zope.interface import implementer

from post.errors import NotFound, PostError
from post.gateway.connection import Connection
from post.gateway.dns import Dns, DnsUnavailable, Exchange, NoRecords, NoSuchName
from post.gateway.sts import Policies, Policy
from post.mail.headers import field
from post.mail.mime import header_end
from post.mail.outbound import Outgoing
from post.mail.relay import IRelay, Outcome, Verdict
from post.smtp.client import Session, TlsFailed, Unavailable

CONNECT_S = 30
"""RFC 5321 has no figure; who has not answered three packets of TCP by then is not there."""
HOSTS_LIMIT = 5
"""Servers tried in one attempt (RFC 5321, 5.1: two at least)."""
ADDRESSES_LIMIT = 3
"""Of each."""

Sign = Callable[[bytes], Deferred[bytes]]
"""The signature fields for a message; may take its time, in a thread."""
Tls = Callable[[str, bool], IOpenSSLClientConnectionCreator]
"""TLS to the server of that name; C{True}: only with a certificate that proves the name."""


class _Failed(Exception):
    """
    There is nothing to try: C{outcome} for all recipients.
    """

    def __init__(self, outcome: Outcome, status: str, words: str) -> None:
        super().__init__(words)
        self.outcome = outcome
        self.status = status
        self.words = words


@implementer(IRelay)
class Relay:
    """
    A gateway's way to the Internet.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,  # Any: TCP and time.
        dns: Dns,
        policies: Policies,
        sign: Sign,
        tls: Tls,
        host: str,
        domain: str,
        port: int,
        random: Random,
    ) -> None:
        """
        @param host: what we call ourselves.
        @param domain: whose mail it is that leaves here.
        @param port: on which the servers of other domains listen.
        """
        self._reactor = reactor
        self._dns = dns
        self._policies = policies
        self._sign = sign
        self._tls = tls
        self._host = host
        self._domain = domain
        self._port = port
        self._random = random

    async def deliver(self, outgoing: Outgoing, recipients: Sequence[str], message: bytes) -> Sequence[Verdict]:
        try:
            exchanges = await self._exchanges(outgoing.domain)
            policy = await self._policies.of(outgoing.domain)
            prepared = await self._prepared(outgoing, message)
        except _Failed as failed:
            return [Verdict(each, failed.outcome, failed.status, failed.words) for each in recipients]
        except PostError as error:
            words = f"That domain cannot be asked about now: {type(error).__name__}."
            return [Verdict(each, Outcome.LATER, "4.4.3", words) for each in recipients]
        last = Unavailable("None of its servers has an address.", "4.4.4")
        remote = ""
        for exchange in exchanges[:HOSTS_LIMIT]:
            try:
                return await self._try_host(exchange.host, policy, outgoing.sender, recipients, prepared)
            except Unavailable as error:
                last, remote = error, exchange.host
                self.log.info("{host}: {words}", host=exchange.host, words=error.words)
        return [Verdict(each, Outcome.LATER, last.status, last.words, remote) for each in recipients]

    # Whom to ask.

    async def _exchanges(self, domain: str) -> list[Exchange]:
        """
        The servers of C{domain} in the order in which they are tried.
        """
        try:
            found = await self._dns.mx(domain)
        except NoSuchName:
            raise _Failed(Outcome.REFUSED, "5.1.2", "There is no such domain.") from None
        except NoRecords:
            # RFC 5321, 5.1: then its address is where its mail goes.
            found = [Exchange(0, await self._itself(domain))]
        except DnsUnavailable:
            raise _Failed(Outcome.LATER, "4.4.3", "The domain's servers cannot be found out now.") from None
        if [each.host for each in found] == [""]:
            raise _Failed(Outcome.REFUSED, "5.1.10", "That domain takes no mail.")  # RFC 7505
        ours = [each.preference for each in found if each.host in (self._host, self._domain)]
        # What is as near as we are would send it back to us (RFC 5321, 5.1).
        found = [each for each in found if not ours or each.preference < min(ours)]
        if ours and not found:
            raise _Failed(Outcome.REFUSED, "5.4.6", "That domain's mail would come back to us.")
        found = [each for each in found if each.host and each.host.isascii() and each.host.isprintable()]
        self._random.shuffle(found)
        return sorted(found, key=lambda each: each.preference)

    async def _itself(self, domain: str) -> str:
        """
        C{domain}, if it has an address.
        """
        try:
            await self._dns.addresses(domain)
        except NotFound:
            raise _Failed(Outcome.REFUSED, "5.1.2", "That domain has no server for mail.") from None
        return domain

    async def _addresses(self, host: str) -> list[str]:
        try:
            found = await self._dns.addresses(host)
        except PostError as error:
            raise Unavailable(f"{host} has no address: {type(error).__name__}.", "4.4.4") from None
        self._random.shuffle(found)
        return found[:ADDRESSES_LIMIT]

    # Speaking to them.

    async def _try_host(
        self, host: str, policy: Policy | None, sender: str, recipients: Sequence[str], message: bytes
    ) -> Sequence[Verdict]:
        """
        The first address that can be used.

        @raise Unavailable: if none can.
        """
        must = policy is not None and policy.enforces
        if policy is not None and policy.enforces and not policy.allows(host):
            raise Unavailable(f"The domain's policy does not know its server {host}.", "4.7.0")
        error = Unavailable(f"{host} has no address.", "4.4.4")
        for address in await self._addresses(host):
            for tls in (True, False):
                try:
                    return await self._try_address(host, address, tls, must, sender, recipients, message)
                except TlsFailed as failed:
                    error = failed
                    if must:
                        break
                    # Encryption that does not work is no better than none; without it mail goes through (RFC 7435).
                except Unavailable as failed:
                    error = failed
                    break
        raise error

    async def _try_address(
        self, host: str, address: str, tls: bool, must: bool, sender: str, recipients: Sequence[str], message: bytes
    ) -> Sequence[Verdict]:
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        endpoint = kind(self._reactor, address, self._port, timeout=CONNECT_S)
        connection = Connection(self._reactor, self._tls(host, must))
        try:
            await connectProtocol(endpoint, connection)
        except (ConnectError, OSError) as error:
            raise Unavailable(f"It cannot be connected to: {type(error).__name__}.", "4.4.1") from None
        try:
            session = Session(connection, self._host, host)
            await session.begin(tls, must)
            verdicts = await session.send(sender, recipients, message)
            await session.end()
            return verdicts
        finally:
            # Also when the attempt as a whole takes too long, or we are stopped.
            connection.close()

    # What is sent.

    async def _prepared(self, outgoing: Outgoing, message: bytes) -> bytes:
        """
        With what makes it mail of the Internet.  The Received field names neither the machine nor the program where it
        was written: among members that is known, outside it is nobody's business.
        """
        header = message[: header_end(message)]
        date = format_datetime(datetime.fromtimestamp(outgoing.accepted, UTC))
        added = []
        if field(header, b"date") is None:
            added.append(f"Date: {date}")
        if field(header, b"message-id") is None:
            added.append(f"Message-ID: <{outgoing.slot.hex()}@{self._domain}>")
        whole = "".join(f"{line}\r\n" for line in added).encode() + message
        try:
            signature = await self._sign(whole)
        except ValueError:
            raise _Failed(Outcome.REFUSED, "5.6.0", "The message has a header that cannot be signed.") from None
        received = (
            f"Received: from {self._domain} by {self._host} (POST) with SMTP\r\n\tid {outgoing.slot.hex()}; {date}\r\n"
        )
        return signature + received.encode() + whole
