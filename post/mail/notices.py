"""
What a node says to its own account about mail that waits for somebody in the organisation, as L{post.mail.report}
writes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from post.crypto.names import canonical, split
from post.mail.journeys import Journey
from post.mail.records import Passage, Standing
from post.mail.report import Action, Fate, Report, write_report


def ended(passage: Passage, standing: Standing) -> Fate:
    """
    Its time is over, and it was not fetched, or nobody knows whether it was.
    """
    if standing == Standing.EXPIRED:
        return Fate(
            passage.address,
            Action.FAILED,
            "5.4.7",
            "their computer was not there to fetch your message in all that time.",
            until=passage.expires,
        )
    return Fate(
        passage.address,
        Action.RELAYED,
        "2.4.7",
        "your message was kept for them, but whether they fetched it can no longer be found out: your own computer was"
        " away for too long, or too many others were.",
        until=passage.expires,
    )


def delayed(passage: Passage, now: int) -> Fate:
    """
    It waits on.
    """
    return Fate(
        passage.address,
        Action.DELAYED,
        "4.4.7",
        "their computer has not been there yet to fetch your message.",
        tried=now,
        until=passage.expires,
    )


def report(address: str, key: bytes, journey: Journey, told: Sequence[Fate], header: bytes, now: int) -> bytes:
    """
    The notice to the account C{address}; C{key}, of which C{told} and nothing else are to be told, names it.
    """
    domain = split(canonical(address))[1]
    return write_report(
        Report(key[:12].hex(), domain, journey.sender, now, journey.at, tuple(told), header, journey.size)
    )
