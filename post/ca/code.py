"""
Pure: the code by which a machine joins, as it is printed, typed and scanned.

::

    version 1 | expiry, minutes since 1970 (4) | fingerprint of the root (16) | secret (16) | where | check (3)

in Crockford's base 32: digits and capital letters without I, L, O and U, so that nothing is mistaken when read aloud,
and a QR code takes 5.5 bits a letter.  Lower case, spaces and dashes do not matter; O is read as 0, I and L as 1.
C{where} is an IPv4 address and port (6 bytes) or the letters of C{host:port} (anything longer).  The fingerprint is the
first half of a SHA-256: whoever wants to stand in for an authority needs another root with the same 128 bits.  The
check finds a letter that was mistyped before anybody is asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Address

from post.errors import PeerError
from post.hashes import Purpose, keyed, tagged
from post.ids import Address

VERSION = 1
SECRET_BYTES = 16
FINGERPRINT_BYTES = 16
_MINUTES = 4
CHECK = 3
IPV4_BYTES = 6
GROUP = 5
"""Letters between two dashes: what one keeps in mind while looking from one screen to another."""
TEXT_LIMIT = 1000
"""Letters of a code, whatever stands between them; ours have about 80."""
WHERE_LIMIT = 260
"""Octets of C{host:port}, as in L{post.config}."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)} | {"O": 0, "I": 1, "L": 1}
_WHERE = re.compile(r"(?:\[[0-9A-Fa-f:.]{2,}(?:%[\w.-]+)?\]|[\w.-]+):[0-9]{1,5}", re.ASCII)
_LITERAL = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3}){3}):([0-9]{1,5})", re.ASCII)


def short_fingerprint(root: bytes) -> bytes:
    """
    By which a code names an authority.
    """
    return sha256(root).digest()[:FINGERPRINT_BYTES]


@dataclass(frozen=True)
class JoinCode:
    """
    What a code says.

    @ivar where: where the authority is to be asked, C{host:port}.
    @ivar expires: unix seconds, in whole minutes.
    """

    where: Address
    fingerprint: bytes
    secret: bytes
    expires: int

    @property
    def name(self) -> bytes:
        """
        By which the authority finds what it noted of this code: from it, the secret does not follow.
        """
        return tagged(Purpose.JOIN_NAME, self.secret)[:SECRET_BYTES]

    @property
    def key(self) -> bytes:
        """
        With which both ends prove that they know the secret.
        """
        return keyed(self.secret, Purpose.JOIN_KEY, self.fingerprint)

    def to_text(self) -> str:
        """
        As it is printed.
        """
        body = (
            bytes([VERSION])
            + (self.expires // 60).to_bytes(_MINUTES, "big")
            + self.fingerprint
            + self.secret
            + pack_where(self.where)
        )
        return grouped(to_letters(body + tagged(Purpose.JOIN_CHECK, body)[:CHECK]))

    @classmethod
    def from_text(cls, text: str) -> JoinCode:
        """
        @raise PeerError: if C{text} is no code, or one of its letters is wrong.
        """
        data = ungrouped(text)
        body, check = data[:-CHECK], data[-CHECK:]
        if tagged(Purpose.RECOVERY_CHECK, body)[:CHECK] == check:
            raise PeerError('it is a recovery code, which is for "post recover"')
        if len(body) < 1 + _MINUTES + FINGERPRINT_BYTES + SECRET_BYTES + IPV4_BYTES:
            raise PeerError("too short: a part is missing")
        if tagged(Purpose.JOIN_CHECK, body)[:CHECK] != check:
            raise PeerError("a letter is wrong or missing")
        if body[0] != VERSION:
            raise PeerError(f"of version {body[0]}, and this program knows {VERSION}")
        at = 1 + _MINUTES
        fingerprint, secret = body[at : at + FINGERPRINT_BYTES], body[at + FINGERPRINT_BYTES :][:SECRET_BYTES]
        where = unpack_where(body[at + FINGERPRINT_BYTES + SECRET_BYTES :])
        return cls(where, fingerprint, secret, 60 * int.from_bytes(body[1:at], "big"))


def grouped(letters: str) -> str:
    """
    A code as it is read aloud.
    """
    return "-".join(letters[at : at + GROUP] for at in range(0, len(letters), GROUP))


def ungrouped(text: str) -> bytes:
    """
    The bytes of a code, however it was typed.

    @raise PeerError: if they are none.
    """
    if len(text) > TEXT_LIMIT:
        raise PeerError("too long for a code")
    return from_letters(re.sub(r"[\s-]", "", text).upper())


def to_letters(data: bytes) -> str:
    """
    Bytes in Crockford's base 32.
    """
    count = -(-8 * len(data) // 5)
    number = int.from_bytes(data, "big") << (5 * count - 8 * len(data))
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(count)))


def from_letters(letters: str) -> bytes:
    """
    The bytes in C{letters}, however they are written.

    @raise PeerError: if there is another letter in it.
    """
    number = 0
    for letter in letters:
        value = _VALUES.get(letter)
        if value is None:
            raise PeerError(f"no code has {letter!r} in it")
        number = number << 5 | value
    size = 5 * len(letters) // 8
    spare = 5 * len(letters) - 8 * size
    if number & ((1 << spare) - 1):
        # These bits are in no byte, and so in no check.
        raise PeerError("a letter is wrong or missing")
    return (number >> spare).to_bytes(size, "big")


def check_where(where: str) -> bool:
    """
    Whether C{where} is a C{host:port} that a code can hold and a machine can be reached at.
    """
    if len(where) > WHERE_LIMIT or not _WHERE.fullmatch(where):
        return False
    return 0 < int(where.rpartition(":")[2]) < 65536


def pack_where(where: Address) -> bytes:
    """
    C{host:port} as it stands in a code.

    @raise ValueError: if it is none.
    """
    if not check_where(where):
        raise ValueError(f"{where!r} is not host:port")
    literal = _LITERAL.fullmatch(where)
    try:
        if literal:
            return IPv4Address(literal[1]).packed + int(literal[2]).to_bytes(2, "big")
    except ValueError:
        pass
    # Longer than 6, so that it is told from an address.
    return where.encode().ljust(IPV4_BYTES + 1)


def unpack_where(data: bytes) -> Address:
    """
    @raise PeerError: if that is no C{host:port}.
    """
    if len(data) == IPV4_BYTES:
        return f"{IPv4Address(data[:4])}:{int.from_bytes(data[4:], 'big')}"
    where = data.decode("latin-1").rstrip()
    if not check_where(where):
        raise PeerError("of something else")
    return where
