"""
Whether a member sends to the Internet as themselves.  Pure.

Stricter than among members, whose nodes show who really sent what: outside nobody sees more than From, and the domain
vouches for it with its signature (DKIM).
"""

from __future__ import annotations

from post.crypto.names import canonical
from post.mail.headers import addresses, all_fields


def is_author(address: str, author: str) -> bool:
    """
    Whether C{address} is of the account C{author}, perhaps a sub-address of it.
    """
    try:
        return canonical(address) == canonical(author)
    except ValueError:
        return False


def is_authored(header: bytes, author: str) -> bool:
    """
    Whether there is one From, which names C{author} and nobody else.  Of several (not allowed by RFC 5322, 3.6) every
    mail program shows another one, and what is no address to us may be one to them.
    """
    values = list(all_fields(header, b"from"))
    named = addresses(values[0]) if len(values) == 1 else []
    return bool(named) and all(is_author(address, author) for address in named)
