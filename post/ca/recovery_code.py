"""
Pure: the recovery code of an account, as it is printed and typed.

::

    version 1 | fingerprint of the root (16) | secret (16) | where | check (3)

in the letters of a join code (L{post.ca.code}), from which its check tells it.  It has no end: whoever keeps it in a
drawer may need it in ten years.  Where the authority is asked may have changed by then; that can be said beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

from post.ca.code import (
    CHECK,
    FINGERPRINT_BYTES,
    IPV4_BYTES,
    SECRET_BYTES,
    grouped,
    pack_where,
    to_letters,
    ungrouped,
    unpack_where,
)
from post.crypto.recovery import RecoveryKeys
from post.errors import PeerError
from post.hashes import Purpose, tagged
from post.ids import Address

VERSION = 1


@dataclass(frozen=True)
class RecoveryCode:
    """
    What a code says.

    @ivar where: where the authority is to be asked, C{host:port}.
    @ivar secret: 128 random bits.
    """

    where: Address
    fingerprint: bytes
    secret: bytes

    @property
    def keys(self) -> RecoveryKeys:
        """
        What follows from it.
        """
        return RecoveryKeys(self.secret, self.fingerprint)

    def to_text(self) -> str:
        """
        As it is printed.
        """
        body = bytes([VERSION]) + self.fingerprint + self.secret + pack_where(self.where)
        return grouped(to_letters(body + tagged(Purpose.RECOVERY_CHECK, body)[:CHECK]))

    @classmethod
    def from_text(cls, text: str) -> RecoveryCode:
        """
        @raise PeerError: if C{text} is no recovery code, or one of its letters is wrong.
        """
        data = ungrouped(text)
        body, check = data[:-CHECK], data[-CHECK:]
        if tagged(Purpose.JOIN_CHECK, body)[:CHECK] == check:
            raise PeerError('it is a join code, which is for "post join"')
        if len(body) < 1 + FINGERPRINT_BYTES + SECRET_BYTES + IPV4_BYTES:
            raise PeerError("too short: a part is missing")
        if tagged(Purpose.RECOVERY_CHECK, body)[:CHECK] != check:
            raise PeerError("a letter is wrong or missing")
        if body[0] != VERSION:
            raise PeerError(f"of version {body[0]}, and this program knows {VERSION}")
        fingerprint, secret = body[1 : 1 + FINGERPRINT_BYTES], body[1 + FINGERPRINT_BYTES :][:SECRET_BYTES]
        return cls(unpack_where(body[1 + FINGERPRINT_BYTES + SECRET_BYTES :]), fingerprint, secret)
