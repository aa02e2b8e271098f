"""
Numbers, times and names as people read them, and elements as the page is made of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.web.template import Tag

Child = Any
"""Text, an element, or a list of them: what C{twisted.web.template} flattens."""


def el(name: str, /, *children: Child, **attributes: object) -> Tag:
    """
    An element.  Of an attribute's name C{_} at the end is dropped, and C{_} within means C{-}; one that is C{None} or
    C{False} is left out, C{True} is written without a value.
    """
    tag = Tag(name)
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        tag.attributes[key.rstrip("_").replace("_", "-")] = "" if value is True else str(value)
    return tag(*children)


def count(number: int, noun: str, plural: str = "") -> str:
    """
    C{1 node}, C{2 nodes}.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def span(seconds: float) -> str:
    """
    Roughly how long.
    """
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return count(int(seconds // size), unit)
    return count(max(0, int(seconds)), "second")


def ago(seconds: float) -> str:
    """
    How long since.
    """
    return "just now" if seconds < 10 else f"{span(seconds)} ago"


def size(octets: float) -> str:
    """
    In the largest unit of which there is one.
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if octets < 1000:
            return f"{octets:.0f} {unit}" if octets >= 100 or unit == "bytes" else f"{octets:.1f} {unit}"
        octets /= 1000
    return f"{octets:,.1f} TB"


def listed(names: Iterable[str]) -> str:
    """
    C{a, b and c}.
    """
    *first, last = [*names] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def short(owner: str, limit: int = 14) -> str:
    """
    Of whose a node is, what is said in a picture.
    """
    name = owner.partition("@")[0] or owner
    return name if len(name) <= limit else f"{name[: limit - 1]}…"
