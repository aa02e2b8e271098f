"""
Patterns of mail addresses, as people write them in rules and block lists.  Pure.

C{alice@example.org} is that person (a sub-address is of the same one), C{alice+shop@example.org} that sub-address
only, C{*@example.org} or C{example.org} everybody of that domain, C{*@*.example.org} everybody of the domains below
it, and C{*} anybody at all.  How they are spelled does not matter (L{post.crypto.names}).
"""

from __future__ import annotations

from collections.abc import Iterable

from post.crypto.names import canonical, canonical_domain, split, tag_of

PATTERN_LIMIT = 320
"""Characters: those of the longest mail address."""


def pattern(text: str) -> str:
    """
    The one spelling of a pattern.

    @raise ValueError: if C{text} is none; says why, for whoever wrote it.
    """
    text = text.strip()
    if len(text) > PATTERN_LIMIT or not text.isprintable():
        raise ValueError("a pattern is an address, a domain, *@domain, *@*.domain or *")
    if text == "*":
        return text
    local, at, domain = text.rpartition("@")
    try:
        if at and "*" in local and local != "*":
            raise ValueError
        if at and local != "*":
            return full_name(text)
        below = domain.startswith("*.")
        if not at and "." not in domain:
            raise ValueError  # A name without its domain is more likely than a domain without a dot.
        return f"*@{'*.' if below else ''}{canonical_domain(domain.removeprefix('*.').casefold())}"
    except ValueError:
        raise ValueError(f"{text!r} is no address, domain, *@domain, *@*.domain or *") from None


def full_name(address: str) -> str:
    """
    The one spelling of an address, with its sub-address if it has one.

    @raise ValueError: if it is none.
    """
    local, domain = split(canonical(address))
    tag = tag_of(address)
    return f"{local}+{tag}@{domain}" if tag else f"{local}@{domain}"


def forms(address: str) -> frozenset[str]:
    """
    Every pattern that C{address} fits.  What is no address (the empty return path of a report) fits C{*} alone.
    """
    try:
        full, name = full_name(address), canonical(address)
    except ValueError:
        return frozenset({"*"})
    domain = split(name)[1]
    labels = domain.split(".")
    above = (f"*@*.{'.'.join(labels[start:])}" for start in range(1, len(labels)))
    return frozenset({"*", full, name, f"*@{domain}", *above})


def matches(wanted: str, address: str) -> bool:
    """
    Whether C{address} fits the L{pattern} C{wanted}.
    """
    return wanted in forms(address)


def first_match(addresses: Iterable[str], patterns: frozenset[str] | set[str]) -> str | None:
    """
    One of C{patterns} that one of C{addresses} fits, or C{None}.  The cost does not depend on how many there are.
    """
    for address in addresses:
        found = forms(address) & patterns
        if found:
            return min(found, key=lambda each: ("*" in each, each))
    return None
