"""
What the two ends of a link say to one another, apart from what they carry for others.

A link begins with TLS 1.3 and node certificates on both sides.  Then::

    dialler                                     acceptor
       HELLO  ------------------------------------>
              <------------------------------------  HELLO      (both at once, after TLS)
       ACK    ------------------------------------>             (each after judging the other's HELLO)
              <------------------------------------  ACK
       frames <----------------------------------->  frames

Each end takes the link as up when it has I{received} an ACK, and only then.  A TLS 1.3 client ends its handshake before
the server has judged its certificate, so without the ACK it would count links that the server is about to refuse.

A link ends in order by three BYEs (or four, if both begin)::

    BYE          ------------------------------------>             (after it, this end carries nothing more)
                 <------------------------------------  BYE, heard (neither does the other)
    BYE, heard   ------------------------------------>

An end that receives a BYE which says I{heard} knows that all it ever sent has arrived, and closes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from post.errors import PeerError
from post.ids import Contact, NodeId
from post.wire import Message, message

Version = Annotated[int, Meta(ge=0, lt=1 << 16)]
Count = Annotated[int, Meta(ge=0, lt=1 << 62)]


class Reason(IntEnum):
    """
    Why a link ends in order.
    """

    DUPLICATE = 1
    """There is another link between the two."""
    IDLE = 2
    """Nobody has used it."""
    STOPPING = 3
    """The node stops.  The only one of these which means that the peer is lost."""


@message(0x02)
class Hello(Message, frozen=True):
    """
    Who speaks, and what it can speak: protocol versions, feature bits, its contact; C{expects} is the node that the
    dialler wants, if it knows.
    """

    lowest: Version
    highest: Version
    features: Count
    contact: Contact
    expects: NodeId | None = None


@message(0x03)
class Ack(Message, frozen=True):
    """
    The other's HELLO and certificate are accepted.

    C{lost}: how many links between the two were up here and broke.  It tells a link dialled at the same time as
    another from one dialled because the other broke, see L{post.net.peers.judge}.
    """

    lost: Count


@message(0x04)
class Ping(Message, frozen=True):
    """
    Say L{Pong} with the same number.
    """

    number: Count


@message(0x05)
class Pong(Message, frozen=True):
    """
    The answer to L{Ping}.
    """

    number: Count


@message(0x06)
class Bye(Message, frozen=True):
    """
    This end carries nothing more.  C{reason} is one of L{Reason}, and may be one that we do not know yet; C{heard}
    confirms the other's.
    """

    reason: Version
    heard: bool = False


@dataclass(frozen=True)
class Agreed:
    """
    What both ends of a link can speak.
    """

    version: int
    features: int


def agree(ours: Hello, theirs: Hello) -> Agreed:
    """
    The highest version that both speak, and the features that both offer.

    @raise PeerError: if there is no common version.
    """
    version = min(ours.highest, theirs.highest)
    if version < max(ours.lowest, theirs.lowest):
        raise PeerError(
            f"no common protocol version: it speaks {theirs.lowest} to {theirs.highest}, "
            f"we speak {ours.lowest} to {ours.highest}"
        )
    return Agreed(version, ours.features & theirs.features)
