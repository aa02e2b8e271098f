"""
Logging in: SASL PLAIN (RFC 4616) and LOGIN, and the brake on those who guess.
"""

from __future__ import annotations

import binascii
import math
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from twisted.internet.interfaces import IReactorTime

from post.errors import Refused
from post.mail.interfaces import IMailAccounts

SOURCES_LIMIT = 10_000
"""Sources remembered; the one that was quiet longest is forgotten first."""
FORGET_S = 900.0
"""After so long without a wrong password a source begins anew."""
DELAY_S = 0.5
"""For the first wrong password; doubled for each further one, up to the limit."""
DELAY_LIMIT_S = 15.0
"""Shorter than any mail program waits: it is to be told that its password is wrong, not that the server is dead."""
PLACES = 12
"""Passwords of one source that are being judged, or were wrong and not yet answered.  A mail program has five or so
connections; with all places taken by wrong passwords, that many can be guessed in L{DELAY_LIMIT_S}."""
NAME_KEPT = 64
"""Characters of a name that is remembered."""


class BadAnswer(Exception):
    """
    What the client sent is not of the mechanism.
    """


@dataclass(slots=True)
class _Source:
    """
    What is known of one source: how many passwords were wrong, when the last one was, whose they were (C{None} if of
    several people), and until when each place is taken.
    """

    failures: int = 0
    last: float = 0.0
    name: str | None = ""
    places: list[float] = field(default_factory=list)


class Throttle:
    """
    Slows down each source of wrong passwords.

    The answer to a wrong password is kept back, longer each time; a right one is answered at once, so that nobody is
    shut out because another mail program on the same machine (all of them are 127.0.0.1) has an old password.  But who
    guesses may take silence for a no, and open the next connection.  So each wrong password takes one of L{PLACES} of
    its source for as long as its answer is kept back, whether or not anybody waits for that; and when all are taken,
    the next password from there is not looked at before one is free.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._sources: OrderedDict[str, _Source] = OrderedDict()

    def delay_s(self, source: str) -> float:
        """
        How long C{source} has to wait before its next password may be judged.  To be asked again after that.
        """
        known = self._sources.get(_network(source))
        if known is None:
            return 0.0
        now = self._clock.seconds()
        known.places = [until for until in known.places if until > now]
        if len(known.places) < PLACES:
            return 0.0
        return min(DELAY_S if until == math.inf else until - now for until in known.places)

    def begin(self, source: str) -> None:
        """
        A password of C{source} is being judged: one of L{failed}, L{succeeded} and L{abandoned} has to follow.
        """
        self._known(source).places.append(math.inf)

    def failed(self, source: str, name: str = "") -> float:
        """
        It was wrong, and said to be that of C{name}; returns how long to keep the answer back.
        """
        known = self._known(source)
        now = self._clock.seconds()
        if now - known.last > FORGET_S:
            known.failures = 0
        if not known.failures:
            known.name = _person(name)
        elif known.name != _person(name):
            known.name = None
        known.failures += 1
        known.last = now
        delay_s: float = min(DELAY_LIMIT_S, DELAY_S * 2.0 ** (min(known.failures, 16) - 1))
        self._leave(known)
        known.places.append(now + delay_s)
        return delay_s

    def succeeded(self, source: str, name: str = "") -> None:
        """
        It was right: whoever mistyped a password is forgiven.  But who has one account cannot go on guessing at another
        by logging in from time to time.
        """
        known = self._known(source)
        if known.name == _person(name):
            known.failures = 0
        self._leave(known)

    def abandoned(self, source: str) -> None:
        """
        It could not be judged.
        """
        self._leave(self._known(source))

    def _known(self, source: str) -> _Source:
        key = _network(source)
        known = self._sources.setdefault(key, _Source(last=self._clock.seconds()))
        self._sources.move_to_end(key)
        if len(self._sources) > SOURCES_LIMIT:
            self._sources.popitem(last=False)
        return known

    def _leave(self, known: _Source) -> None:
        if math.inf in known.places:
            known.places.remove(math.inf)


async def admit(
    accounts: IMailAccounts,
    throttle: Throttle,
    source: str,
    name: str,
    password: bytes,
    wait: Callable[[float], Awaitable[None]],
) -> str:
    """
    The address of the account that C{name} and C{password} open, with the brake on.  C{wait} waits for so many seconds,
    or raises something if the client has gone.

    @raise Refused: if they are wrong, when the answer has been kept back for as long as it has to be.
    """
    while (delay_s := throttle.delay_s(source)) > 0:
        await wait(delay_s)
    throttle.begin(source)
    try:
        address: str = await accounts.authenticate(name, password)
    except Refused:
        await wait(throttle.failed(source, name))
        raise
    except BaseException:
        throttle.abandoned(source)
        raise
    throttle.succeeded(source, name)
    return address


def _person(name: str) -> str:
    """
    One may log in by full address or by name.
    """
    return name.casefold().partition("@")[0][:NAME_KEPT]


def _network(source: str) -> str:
    """
    Who is to be slowed down: an address, or the 64 bits of an IPv6 address that a provider gives to one customer.
    """
    address = _address(source)
    if isinstance(address, IPv6Address):
        return str(ip_network((address.packed, 64), strict=False))
    return str(address or source)


def on_loopback(source: str) -> bool:
    """
    Whether a connection from C{source} does not leave this machine.
    """
    address = _address(source)
    return address is not None and address.is_loopback


def _address(source: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(source)
    except ValueError:
        return None
    # A socket for both families shows IPv4 clients as ::ffff:a.b.c.d.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


Exchange = Generator[bytes, bytes, tuple[str, bytes]]
"""What a mechanism asks, and is sent, before it returns name and password."""


def _ask_plain() -> Exchange:
    return plain(decode((yield b"")))


def _ask_login() -> Exchange:
    name = text(decode((yield b"Username:")))
    return name, decode((yield b"Password:"))


MECHANISMS: dict[bytes, Callable[[], Exchange]] = {b"PLAIN": _ask_plain, b"LOGIN": _ask_login}


def decode(answer: bytes) -> bytes:
    """
    The octets of a base64 answer; C{=} is the empty one.

    @raise BadAnswer: if it is no base64.
    """
    if answer.strip() == b"=":
        return b""
    try:
        return b64decode(answer.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise BadAnswer("not base64") from None


def plain(answer: bytes) -> tuple[str, bytes]:
    """
    Name and password of a decoded PLAIN answer.  Acting for somebody else is not offered.

    @raise BadAnswer: if it is none.
    """
    parts = answer.split(b"\0")
    if len(parts) != 3 or not parts[1]:
        raise BadAnswer("not PLAIN")
    name = text(parts[1])
    if parts[0] and text(parts[0]) != name:
        raise BadAnswer("one may act only for oneself")
    return name, parts[2]


def text(octets: bytes) -> str:
    """
    @raise BadAnswer: if it is not UTF-8.
    """
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise BadAnswer("not UTF-8") from None
