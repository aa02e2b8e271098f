"""
What travels for a node that its sender does not reach.

Between A, who does not reach B, and a relay R that has links with both::

    A -- Carry(B, x) --> R -- Carried(A, x) --> B          R says who A is, as its link with A has proven
    A <------ NoWay(B) -- R                                R does not reach B, or has carried too much for A

and x is one of these, between A and B::

    Hail --> , <-- Hail        who speaks, signed with the node's key; the second repeats the digest of the first
    Sealed -->, <-- Sealed     a frame
    <-- Stale                  a frame was sealed with a key that is not known (any more): hail again

A relay is believed in nothing: it can drop, delay and repeat, and it sees who talks to whom, how much and when.  A node
never carries what came to it as L{Carried}, nor to a node that it does not reach itself: there is one relay at most.
Who might be one is found out by L{Inquire}, an ordinary question.

The others are frames of their own on a link: a byte that no frame of L{post.rpc} begins with, then the message.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from post.ids import Contact, NodeId
from post.wire import FRAME_LIMIT, Document, Message, Priority, message

RELAY_FRAME = 0x40
"""The first byte of such a frame."""
CHAIN_LIMIT = 4096
"""Bytes of one certificate."""
CARRIED_LIMIT = FRAME_LIMIT - 64
"""Bytes carried at once: what fits into a frame together with the head and the name of a node."""

Payload = Annotated[bytes, Meta(max_length=CARRIED_LIMIT)]
SessionId = Annotated[bytes, Meta(min_length=8, max_length=8)]


class Greeting(Document, frozen=True):
    """
    What is signed of a L{Hail}: who speaks to whom, with which ephemeral X25519 key; C{answers} is the digest of the
    greeting that this one answers, empty in the first.
    """

    version: int
    origin: Contact
    target: NodeId
    public: Annotated[bytes, Meta(min_length=32, max_length=32)]
    answers: Annotated[bytes, Meta(max_length=32)]


@message(0x70)
class Carry(Message, frozen=True):
    """
    Bring C{payload} to C{target}, whom you reach and I do not.
    """

    target: NodeId
    payload: Payload
    priority: Annotated[int, Meta(ge=0, le=2)] = Priority.NORMAL.value


@message(0x71)
class Carried(Message, frozen=True):
    """
    C{origin}, who has a link with me, sends you this.
    """

    origin: NodeId
    payload: Payload


@message(0x72)
class NoWay(Message, frozen=True):
    """
    I do not reach C{target} either; or (C{busy}) I have carried too much for you lately.
    """

    target: NodeId
    busy: bool = False


@message(0x73)
class Knock(Message, frozen=True):
    """
    Straight to a node that was not reached: does this arrive?  C{answer}: it does.
    """

    answer: bool = False


@message(0x74)
class Hail(Message, frozen=True):
    """
    C{greeting} is a L{Greeting}, signed by the key of the certificate that heads C{chain}.
    """

    greeting: Annotated[bytes, Meta(max_length=1024)]
    signature: Annotated[bytes, Meta(max_length=128)]
    chain: Annotated[tuple[Annotated[bytes, Meta(max_length=CHAIN_LIMIT)], ...], Meta(max_length=2)]


@message(0x75)
class Sealed(Message, frozen=True):
    """
    Frame C{number} of a session, under the key for this direction.
    """

    session: SessionId
    number: Annotated[int, Meta(ge=0, lt=1 << 62)]
    data: Payload


@message(0x76)
class Stale(Message, frozen=True):
    """
    I know no such session with you.
    """

    session: SessionId


class Outcome(IntEnum):
    """
    Whether a node is reached.
    """

    REACHED = 1
    DEAD = 2
    """It does not answer."""
    UNKNOWN = 3
    """Not directly; so the one who says it is no relay, and no witness either."""


@message(0x77)
class Inquire(Message, frozen=True):
    """
    I do not reach this node; do you?
    """

    contact: Contact


@message(0x78)
class Inquired(Message, frozen=True):
    """
    One of L{Outcome}.
    """

    outcome: Annotated[int, Meta(ge=1, le=3)]
