"""
Asking the domain name system, so that every answer means one thing: records, no such name, none of that kind, not now.

"Not now" (L{DnsUnavailable}) is never taken for "no": a message is not refused for good, and no sender called a
forger, because a resolver was slow.  Libraries that wait for answers in threads ask through L{BlockingDns}.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, TypeVar

import idna
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.names import dns
from twisted.names.client import Resolver
from twisted.names.error import AuthoritativeDomainError, DNSNameError, DomainError, ResolverError
from twisted.python.failure import Failure

from post.config import split_service
from post.errors import NotFound, PostError

TRIES_S = (1, 2, 4)
"""For how long each server is waited for, at the first try and the next."""
DEADLINE_S = 12.0
"""For one question with all its tries; a person at a mail program waits on the other side of some of them."""
RECORDS_LIMIT = 100
"""Taken of one answer; nobody has so many mail servers."""
TEXT_LIMIT = 8192
"""Octets of one TXT record: a DKIM key of 4096 bits has 800."""
ALIASES_LIMIT = 8
"""CNAME records followed within one answer."""
UNDER_WAY_LIMIT = 500
"""Questions at once: each has a socket."""

RESOLV_CONF = "/etc/resolv.conf"

_T = TypeVar("_T")


class NoSuchName(NotFound):
    """
    The name does not exist (NXDOMAIN).
    """


class NoRecords(NotFound):
    """
    The name exists, but has nothing of the kind that was asked for.
    """


class DnsUnavailable(PostError):
    """
    It cannot be known now; to be asked again later.
    """


@dataclass(frozen=True, slots=True)
class Exchange:
    """
    An MX record: C{host} is empty for a domain that takes no mail (RFC 7505).
    """

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Service:
    """
    An SRV record: C{host} is empty where the service is decidedly not available (RFC 2782).
    """

    priority: int
    weight: int
    port: int
    host: str


def make_resolver(reactor: Any, server: str) -> Resolver:  # Any: UDP, TCP and time.
    """
    What asks C{server} (C{address:port}), or the system's resolvers if that is empty.
    """
    if server:
        return Resolver(servers=[split_service(server)], timeout=TRIES_S, reactor=reactor)
    return Resolver(resolv=RESOLV_CONF, timeout=TRIES_S, reactor=reactor)


def encode_name(name: str) -> str:
    """
    C{name} as it is asked for: A-labels (IDNA 2008), no dot at the end; labels such as C{_dmarc} are kept.

    @raise NoSuchName: if it is none, so that it cannot exist.
    """
    try:
        if not name.isascii():
            name = ".".join(
                label if label.isascii() else idna.encode(label, uts46=True).decode() for label in name.split(".")
            )
    except idna.IDNAError:
        raise NoSuchName(name) from None
    name = name.removesuffix(".").lower()
    if len(name) > 253 or not all(0 < len(label) <= 63 for label in name.split(".")) or not name.isprintable():
        raise NoSuchName(name)
    return name


def reverse_name(address: str) -> str:
    """
    Under which name the PTR record of an IP address is.

    @raise ValueError: if C{address} is none.
    """
    return ip_address(address).reverse_pointer


class Dns:
    """
    The questions that mail and joining ask.  Each raises L{NoSuchName}, L{NoRecords} or L{DnsUnavailable}.
    """

    def __init__(self, resolver: Any, clock: IReactorTime) -> None:  # Any: an IResolver; Twisted types it loosely.
        self._resolver = resolver
        self._clock = clock
        self._under_way: set[Deferred[Any]] = set()

    async def mx(self, domain: str) -> list[Exchange]:
        """
        The mail exchanges of C{domain}, by preference.
        """
        found = await self._records(domain, dns.MX, "lookupMailExchange")
        exchanges = [Exchange(record.preference, _text(record.name.name)) for record in found]
        return sorted(exchanges, key=lambda each: each.preference)

    async def a(self, host: str) -> list[str]:
        """
        The IPv4 addresses of C{host}.
        """
        return [record.dottedQuad() for record in await self._records(host, dns.A, "lookupAddress")]

    async def aaaa(self, host: str) -> list[str]:
        """
        The IPv6 addresses of C{host}.
        """
        found = await self._records(host, dns.AAAA, "lookupIPV6Address")
        return [str(ip_address(record.address)) for record in found]

    async def addresses(self, host: str) -> list[str]:
        """
        Both; what one kind is missing is only told if the other is too.
        """
        found: list[str] = []
        failed: NotFound | DnsUnavailable | None = None
        for ask in (self.a, self.aaaa):
            try:
                found += await ask(host)
            except NoSuchName:
                raise
            except NoRecords as error:
                failed = failed or error
            except DnsUnavailable as error:
                failed = error
        if not found and failed is not None:
            raise failed
        return found

    async def srv(self, name: str) -> list[Service]:
        """
        Where a service is; C{name} is such as C{_post._tcp.example.org}.
        """
        found = await self._records(name, dns.SRV, "lookupService")
        return [Service(each.priority, each.weight, each.port, _text(each.target.name)) for each in found]

    async def txt(self, name: str) -> list[bytes]:
        """
        The TXT records of C{name}, the strings of each joined (RFC 7208, 3.3).
        """
        found = await self._records(name, dns.TXT, "lookupText")
        return [text for text in (b"".join(record.data) for record in found) if len(text) <= TEXT_LIMIT]

    async def ptr(self, address: str) -> list[str]:
        """
        The names that an IP address says it has.  It may say anything: see whether they lead back.
        """
        return await self.reverse(reverse_name(address))

    async def reverse(self, name: str) -> list[str]:
        """
        The same by the name under which it is recorded.
        """
        return [_text(record.name.name) for record in await self._records(name, dns.PTR, "lookupPointer")]

    async def listed(self, address: str, zone: str) -> list[str]:
        """
        What the block list C{zone} has on an IP address (RFC 5782).
        """
        return await self.a(f"{reverse_name(address).rpartition('.')[0].rpartition('.')[0]}.{zone}")

    async def _records(self, name: str, kind: int, method: str) -> list[Any]:
        """
        What is recorded under C{name} or under what that is an alias of; a resolver's additions are passed over.
        """
        wanted = encode_name(name)
        try:
            answers = await self._ask(getattr(self._resolver, method)(wanted.encode(), TRIES_S))
        except (DNSNameError, AuthoritativeDomainError):
            raise NoSuchName(name) from None
        except (
            DomainError,
            ResolverError,
            dns.DNSQueryTimeoutError,
            TimeoutError,
            OSError,
            ValueError,
            EOFError,
        ) as error:
            raise DnsUnavailable(f"{name}: {type(error).__name__}") from None
        for _ in range(ALIASES_LIMIT):
            found = [each.payload for each in answers if each.type == kind and _text(each.name.name) == wanted]
            if found:
                return found[:RECORDS_LIMIT]
            alias = next((each for each in answers if each.type == dns.CNAME and _text(each.name.name) == wanted), None)
            if alias is None:
                break
            wanted = _text(alias.payload.name.name)
        raise NoRecords(name)

    async def _ask(self, question: Deferred[Any]) -> Sequence[Any]:
        if len(self._under_way) >= UNDER_WAY_LIMIT:
            question.addErrback(lambda _: None)
            raise DnsUnavailable("too many questions at once")
        answer: Deferred[Any] = Deferred()
        self._under_way.add(answer)
        timer = self._clock.callLater(DEADLINE_S, _settle, answer, Failure(TimeoutError()))
        # The library's question cannot be cancelled at every step of it, so its answer may come when nobody waits.
        question.addBoth(lambda result: _settle(answer, result))
        try:
            answers, _, _ = await answer
        finally:
            self._under_way.discard(answer)
            if timer.active():
                timer.cancel()
        return list(answers)

    def stop(self) -> None:
        """
        Nobody waits any longer.
        """
        for answer in list(self._under_way):
            _settle(answer, Failure(DnsUnavailable("stopped")))
        reading = getattr(self._resolver, "_parseCall", None)  # Of the system's settings, again and again.
        if reading is not None and reading.active():
            reading.cancel()


def _settle(answer: Deferred[Any], result: Any) -> None:  # Any: a result or a Failure.
    if not answer.called:
        answer.callback(result)


def _text(name: bytes) -> str:
    return name.decode("latin-1").lower().removesuffix(".")


class BlockingDns:
    """
    The same for code that waits in a thread.  Never to be used in the reactor's own.
    """

    def __init__(self, reactor: Any, asked: Dns, until: float | None = None) -> None:  # Any: threads and time.
        """
        @param until: when (unix seconds) no question is answered any more; C{None}: each has the usual deadline.
        """
        self._reactor = reactor
        self._until = until
        self.asked = asked

    def call(self, question: Callable[[Dns], Coroutine[Any, Any, _T]]) -> _T:
        """
        The result of C{question}, such as C{lambda dns: dns.a("example.net")}, which runs in the reactor.

        @raise NoSuchName, NoRecords, DnsUnavailable: as it does, or the last if there is no time left.
        """
        left_s = DEADLINE_S + 1 if self._until is None else self._until - self._reactor.seconds()
        if left_s <= 0:
            raise DnsUnavailable("no time left")
        answer: concurrent.futures.Future[_T] = concurrent.futures.Future()
        self._reactor.callFromThread(self._begin, question(self.asked), answer)
        try:
            return answer.result(left_s)
        except concurrent.futures.TimeoutError:
            raise DnsUnavailable("no answer") from None

    @staticmethod
    def _begin(question: Coroutine[Any, Any, _T], answer: concurrent.futures.Future[_T]) -> None:
        def failed(failure: Failure) -> None:
            error = failure.value
            if failure.check(CancelledError) or not isinstance(error, Exception):
                error = DnsUnavailable("stopped")
            answer.set_exception(error)

        Deferred.fromCoroutine(question).addCallbacks(answer.set_result, failed)
