"""
Mail addresses in the one form under which people are found.

The canonical form of C{local@domain}: both halves in NFKC and case-folded; of the local part what stands before the
first C{+} (a sub-address is of the same person); the domain as A-labels (IDNA 2008).  Quoted local parts, and any
control character, white space or one of C{()<>[]:;,\\"} in a local part, are no names here: no account has one, so
nothing that is refused could have been delivered.
"""

from __future__ import annotations

import re
import unicodedata

import idna

_LOCAL = re.compile(r"[^\x00-\x20\x7f()<>\[\]:;,\\\"@]+", re.ASCII)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def canonical(address: str) -> str:
    """
    @raise ValueError: if C{address} is none.
    """
    local, at, domain = unicodedata.normalize("NFKC", address).casefold().rpartition("@")
    local = local.partition("+")[0]
    if not at or len(address) > 320 or not _LOCAL.fullmatch(local) or any(character.isspace() for character in local):
        raise ValueError("not a mail address")
    if local[0] == "." or local[-1] == "." or ".." in local or len(local.encode()) > 64:
        raise ValueError("not a mail address")
    return f"{local}@{canonical_domain(domain)}"


def canonical_domain(domain: str) -> str:
    """
    @raise ValueError: if C{domain} is none.
    """
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except idna.IDNAError:
            raise ValueError("not a domain") from None
    domain = domain.lower().removesuffix(".")
    if len(domain) > 253 or not all(_LABEL.fullmatch(label) for label in domain.split(".")):
        raise ValueError("not a domain")
    return domain


def tag_of(address: str) -> str:
    """
    What a sub-address has between the first C{+} and the C{@}, in the one spelling of it; empty for other addresses.
    """
    return unicodedata.normalize("NFKC", address).casefold().rpartition("@")[0].partition("+")[2]


def split(address: str) -> tuple[str, str]:
    """
    Local part and domain of a canonical address.
    """
    local, _, domain = address.rpartition("@")
    return local, domain
