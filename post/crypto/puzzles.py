"""
Puzzles for strangers (POST, section 4.5): work that costs whoever writes to one person a second, and whoever writes to
a million of them weeks; verified by one hash.  Pure.

A solution is a number that, hashed with the notification's id and the recipient's account, begins with enough zero
bits (Back, "Hashcash", 2002).  So it is worth nothing for another message, for another recipient, or twice: the same id
is filed once.
"""

from __future__ import annotations

from hashlib import sha256

from post.hashes import Purpose, tagged
from post.ids import AccountId

BITS_LIMIT = 24
"""What somebody may demand, and what is agreed to: some ten seconds of a desktop of today.  Twenty bits take one."""


def challenge(named: bytes, recipient: AccountId) -> bytes:
    """
    The 32 bytes that a solution is for: of the notification with the id C{named} to C{recipient}.
    """
    return tagged(Purpose.PUZZLE, named, recipient.packed())


def is_solved(challenge: bytes, bits: int, solution: int) -> bool:
    """
    Whether C{solution} is one of this difficulty; every number is, of 0 bits.
    """
    return search(challenge, bits, solution, 1) is not None


def search(challenge: bytes, bits: int, first: int, count: int) -> int | None:
    """
    The first of C{count} numbers from C{first} on that is a solution, C{None} if none of them is.  About one in
    C{2 ** bits} is.

    @raise OverflowError: if one of them does not fit in 64 bits.
    """
    begun = sha256(challenge)
    shift = 64 - bits
    for number in range(first, first + count):
        tried = begun.copy()
        tried.update(number.to_bytes(8, "big"))
        if not int.from_bytes(tried.digest()[:8], "big") >> shift:
            return number
    return None
