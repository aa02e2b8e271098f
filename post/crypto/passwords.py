"""
Passwords of mail programs: Argon2id (RFC 9106).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from post.interfaces import Entropy

_LANES, _ITERATIONS, _MEMORY_KIB = 1, 2, 19 * 1024


def hash_password(password: bytes, entropy: Entropy) -> str:
    """
    What to keep instead of C{password} (a PHC string).  Takes about 80 ms.
    """
    kdf = Argon2id(salt=entropy(16), length=32, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_MEMORY_KIB)
    return kdf.derive_phc_encoded(password)


def check_password(password: bytes, hashed: str) -> bool:
    """
    Whether C{hashed} was made of C{password}.  Takes about 80 ms, also if C{hashed} is nothing.
    """
    if not hashed:
        kdf = Argon2id(salt=bytes(16), length=32, iterations=_ITERATIONS, lanes=_LANES, memory_cost=_MEMORY_KIB)
        kdf.derive(password)
        return False
    try:
        Argon2id.verify_phc_encoded(password, hashed)
    except (InvalidKey, ValueError):
        return False
    return True
