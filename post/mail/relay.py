"""
What a gateway's queue needs of whatever speaks to the servers of other domains, and of whatever tells the sender.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from zope.interface import Interface

from post.ids import Handle
from post.mail.outbound import Outgoing


class Outcome(Enum):
    """
    What a server made of a message for one recipient.
    """

    DELIVERED = "delivered"
    REFUSED = "refused"
    LATER = "later"


@dataclass(frozen=True)
class Verdict:
    """
    What became of it for C{recipient} in one attempt.  C{words} is what C{remote} (a host, or empty) said or what we
    found, C{status} its enhanced status code (RFC 3463); C{explained} one sentence for the sender, if C{words} is none.
    """

    recipient: str
    outcome: Outcome
    status: str
    words: str
    remote: str = ""
    explained: str = ""


class IRelay(Interface):
    """
    Brings mail to the servers of other domains.
    """

    async def deliver(outgoing: Outgoing, recipients: Sequence[str], message: bytes) -> Sequence[Verdict]:
        """
        Try once; a verdict for each of C{recipients}.  Does not raise for anything that a server may do.
        """


@dataclass(frozen=True)
class Told:
    """
    What the sender is to be told: of some recipients that it C{failed}, or of all others that it takes long.
    """

    handle: Handle
    outgoing: Outgoing
    verdicts: tuple[Verdict, ...]
    failed: bool
    at: int
    until: int
    header: bytes


Tell = Callable[[Told], Awaitable[None]]
"""Tells the sender, once: returning means promise 1."""
