"""
Who is logged in at the page.

A session is known by 32 random bytes in a cookie that scripts cannot read and that other sites' requests do not carry.
It ends with a log-out, after some hours, when its password is no longer the account's, and with the process.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from twisted.internet.interfaces import IReactorTime

from post.interfaces import Entropy

LIFE_S = 12 * 3600.0
"""A working day, however busy."""
IDLE_S = 2 * 3600.0
"""Without a request; a page that is open asks every few seconds."""
SESSIONS_LIMIT = 200
"""At once; the one unused for longest ends first."""
PER_PERSON_LIMIT = 20
"""Of these of one person: nobody can end all others' by logging in again and again."""
KEY_LIMIT = 64
"""Characters of a cookie or token that are looked at; ours have 43."""


@dataclass
class Session:
    """
    One person at one browser.
    """

    address: str
    password: str
    """The hash as it was: another one means another password."""
    began: float
    used: float


class Sessions:
    """
    All of them.
    """

    def __init__(self, clock: IReactorTime, entropy: Entropy, password: Callable[[str], str | None]) -> None:
        """
        @param password: the hash of an account's password now; C{None} if it does not live here.
        """
        self._clock = clock
        self._entropy = entropy
        self._password = password
        self._secret = entropy(32)
        # By their hash: what is in memory opens nothing.
        self._open: OrderedDict[bytes, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def key(self) -> str:
        """
        Something that nobody can guess.
        """
        return _text(self._entropy(32))

    def open(self, address: str) -> str | None:
        """
        C{address} has logged in; returns the session's key, or C{None} if the account has gone meanwhile.
        """
        password = self._password(address)
        if password is None:
            return None
        theirs = [named for named, session in self._open.items() if session.address == address]
        for named in theirs[: max(0, len(theirs) - PER_PERSON_LIMIT + 1)]:
            del self._open[named]
        if len(self._open) >= SESSIONS_LIMIT:
            self._open.popitem(last=False)
        key, now = self.key(), self._clock.seconds()
        self._open[_named(key)] = Session(address, password, now, now)
        return key

    def find(self, key: str) -> str | None:
        """
        Whose session has C{key}, if there is one.
        """
        named = _named(key)
        session = self._open.get(named)
        if session is None:
            return None
        now = self._clock.seconds()
        over = now - session.began > LIFE_S or now - session.used > IDLE_S
        if over or self._password(session.address) != session.password:
            del self._open[named]
            return None
        session.used = now
        self._open.move_to_end(named)
        return session.address

    def close(self, key: str) -> None:
        """
        Log out.
        """
        self._open.pop(_named(key), None)

    def token(self, key: str) -> str:
        """
        What a form has to bring that is for the holder of C{key}.
        """
        return _text(hmac.digest(self._secret, key[:KEY_LIMIT].encode(), sha256))

    def check(self, key: str, token: str) -> bool:
        """
        Whether a form that brings C{token} was made for the holder of C{key}.
        """
        return bool(key) and hmac.compare_digest(self.token(key).encode(), token[:KEY_LIMIT].encode())


def _named(key: str) -> bytes:
    return sha256(key[:KEY_LIMIT].encode()).digest()


def _text(key: bytes) -> str:
    return urlsafe_b64encode(key).decode().rstrip("=")
