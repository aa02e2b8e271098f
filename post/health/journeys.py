"""
Where each message that a person sent stands, recipient by recipient (pure).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Stage(StrEnum):
    """
    How far a message has come on its way to one recipient.
    """

    WAITING = "waiting"
    """The ring keeps the notification; its delegates offer it to the recipient."""
    DELIVERED = "delivered"
    """The recipient has signed that it is filed on k nodes."""
    REFUSED = "refused"
    EXPIRED = "expired"


class Leg(msgspec.Struct, frozen=True):
    """
    The way to one recipient.

    @ivar copies: how many nodes keep the notification while it waits; 0 if that is not known.
    @ivar at: since when it stands so, unix seconds.
    @ivar until: how long it waits at most, unix seconds; 0 if it does not wait.
    """

    recipient: str
    stage: Stage
    at: float
    copies: int = 0
    until: float = 0.0
    why: str = ""


class Journey(msgspec.Struct, frozen=True):
    """
    One message.  C{subject} is for nobody but its sender.
    """

    sent: float
    subject: str
    legs: tuple[Leg, ...]
