"""
What an examination of a node finds (pure).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import msgspec


class State(IntEnum):
    """
    How one thing is.
    """

    OK = 0
    NOTE = 1
    """It could not be looked at, or does not matter here."""
    WARNING = 2
    """It works, and will not for long, or less well than it could."""
    FAILED = 3


class Finding(msgspec.Struct, frozen=True):
    """
    One thing that was looked at: in which C{area}, how it is, C{what} was found, and how it is mended.
    """

    area: str
    state: State
    what: str
    cure: str = ""


_MARKS = {State.OK: "ok", State.NOTE: "--", State.WARNING: "!!", State.FAILED: "XX"}


def report(found: Sequence[Finding]) -> str:
    """
    For people: by area, each failing thing with what to do about it.
    """
    lines: list[str] = []
    area = ""
    for finding in found:
        if finding.area != area:
            area = finding.area
            lines.append(f"{area}:")
        lines.append(f"  {_MARKS[finding.state]}  {finding.what}")
        if finding.cure:
            lines.append(f"      {finding.cure}")
    failed, warned = (sum(each.state is state for each in found) for state in (State.FAILED, State.WARNING))
    lines.append("")
    if not failed and not warned:
        lines.append("Nothing is wrong.")
    else:
        lines.append(f"{failed} failed, {warned} to look after.")
    return "\n".join(lines)


def machine_readable(found: Sequence[Finding]) -> list[dict[str, str]]:
    """
    For programs.
    """
    return [
        {"area": each.area, "state": each.state.name.lower(), "what": each.what, "cure": each.cure} for each in found
    ]
