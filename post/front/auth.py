"""
Logging in: SASL PLAIN (RFC 4616) and LOGIN, and the brake on those who guess.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections import OrderedDict

from twisted.internet.interfaces import IReactorTime

SOURCES_LIMIT = 10_000
"""Sources remembered; the one that was quiet longest is forgotten first."""
FORGET_S = 900.0
DELAY_S = 0.5
"""After the first wrong password; doubled for each further one, up to the limit."""
DELAY_LIMIT_S = 30.0


class BadAnswer(Exception):
    """
    What the client sent is not of the mechanism.
    """


class Throttle:
    """
    Slows down each source of wrong passwords.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def delay_s(self, source: str) -> float:
        """
        How long C{source} has to wait for its next answer.
        """
        count, last = self._failures.get(source, (0, 0.0))
        if not count or self._clock.seconds() - last > FORGET_S:
            return 0.0
        return min(DELAY_LIMIT_S, DELAY_S * 2.0 ** (min(count, 16) - 1))

    def failed(self, source: str) -> None:
        """
        A wrong password came from C{source}.
        """
        count, last = self._failures.pop(source, (0, 0.0))
        if self._clock.seconds() - last > FORGET_S:
            count = 0
        self._failures[source] = (count + 1, self._clock.seconds())
        if len(self._failures) > SOURCES_LIMIT:
            self._failures.popitem(last=False)

    def succeeded(self, source: str) -> None:
        """
        A right one did.
        """
        self._failures.pop(source, None)


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
