"""
What nodes say to one another about groups.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from post.ids import Contact, GroupId
from post.scribe.publication import PUBLICATION_LIMIT
from post.wire import Message, message

GROUPS_NAMED = 128
"""Groups in one message: under 3 KiB."""
ELSEWHERE_LIMIT = 4
"""Whom a parent that has no room names instead of itself."""
OTHERS_LIMIT = 32
"""Whom a node names where to go on looking: its children and its parent."""
OFFER_LIMIT = 1024
"""Octets that are offered to any one member of a group."""

Groups = Annotated[tuple[GroupId, ...], Meta(max_length=GROUPS_NAMED)]


@message(0x30)
class Seek(Message, frozen=True):
    """
    Routed towards the root of C{group}: who on the way can be my parent there?  With C{member}: who is in its tree?
    """

    group: GroupId
    number: Annotated[int, Meta(ge=0, lt=1 << 62)]
    asker: Contact
    member: bool = False


@message(0x31)
class Here(Message, frozen=True):
    """
    The answer to the L{Seek} with C{number}, straight from whoever it met: I can.
    """

    number: Annotated[int, Meta(ge=0, lt=1 << 62)]


@message(0x32)
class Attach(Message, frozen=True):
    """
    Be my parent in C{group}.
    """

    group: GroupId


@message(0x33)
class Attached(Message, frozen=True):
    """
    I am, or I have no room and these of my children might.
    """

    accepted: bool
    elsewhere: Annotated[tuple[Contact, ...], Meta(max_length=ELSEWHERE_LIMIT)] = ()


@message(0x34)
class Remain(Message, frozen=True):
    """
    Are you still my parent in these groups?
    """

    groups: Groups


@message(0x35)
class Remaining(Message, frozen=True):
    """
    Yes, but for those that are C{gone}.
    """

    gone: Groups = ()


@message(0x36)
class Leave(Message, frozen=True):
    """
    I am no longer your child in these.
    """

    groups: Groups


@message(0x37)
class Move(Message, frozen=True):
    """
    I am no longer your parent in C{group}: a child that came has to stand above you, go to it.
    """

    group: GroupId
    to: Contact


@message(0x38)
class Publish(Message, frozen=True):
    """
    Routed to the root of its group: a L{post.scribe.publication.Signed}.
    """

    publication: Annotated[bytes, Meta(max_length=PUBLICATION_LIMIT)]


@message(0x39)
class Spread(Message, frozen=True):
    """
    The same on its way down the tree.
    """

    publication: Annotated[bytes, Meta(max_length=PUBLICATION_LIMIT)]


@message(0x3A)
class Offer(Message, frozen=True):
    """
    To any one member of C{group} that takes it.
    """

    group: GroupId
    payload: Annotated[bytes, Meta(max_length=OFFER_LIMIT)]


@message(0x3B)
class Offered(Message, frozen=True):
    """
    Whether it was taken here; if not, who else is in the tree.
    """

    taken: bool
    others: Annotated[tuple[Contact, ...], Meta(max_length=OTHERS_LIMIT)] = ()
