"""
What nodes say to one another about the ring.

Leaf sets never travel whole.  Whoever asks says which nodes it knows, by the last four bytes of each id, and how far
its leaf set reaches; the answer names only those that are missing from it.  (Should two ids end alike, another
neighbor, whose knowledge differs, will tell; and the digests of the heartbeats are over all of it.)
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from post.ids import Contact, Key, NodeId
from post.pastry.statement import NONCE_BYTES, SIGNATURE_LIMIT, STATEMENT_LIMIT
from post.wire import Message, message

NEWS_LIMIT = 64
"""Contacts in one message: a whole leaf set, or four rows of a table."""
KNOWN_LIMIT = 128
"""Nodes that a probe may say it knows."""
PAYLOAD_LIMIT = 32 * 1024
"""Bytes of a routed message.  Data does not travel by routing."""
COUNT_LIMIT = 24
"""Members of a replica set that a root can be asked for."""
AVOID_LIMIT = 64
"""Nodes that may be named as not wanted."""
GONE_LIMIT = 24
"""Deaths in one message."""
ONWARD_LIMIT = 4
"""Nodes that may be named as next on the way to a key."""

Contacts = Annotated[tuple[Contact, ...], Meta(max_length=NEWS_LIMIT)]
Avoided = Annotated[tuple[NodeId, ...], Meta(max_length=AVOID_LIMIT)]
Number = Annotated[int, Meta(ge=0, lt=1 << 62)]
Nonce = Annotated[bytes, Meta(min_length=NONCE_BYTES, max_length=NONCE_BYTES)]


class Reach(msgspec.Struct, frozen=True, array_like=True):
    """
    How far a leaf set reaches.

    C{after} and C{before} are its farthest members (the node itself where there is none), and everybody between them is
    one of its C{size} members; C{whole} says that these are the entire ring, C{complete} that nobody is missing.
    """

    whole: bool
    complete: bool
    after: NodeId
    before: NodeId
    size: Annotated[int, Meta(ge=0)] = 0


@message(0x10)
class Probe(Message, frozen=True):
    """
    Are you alive, and whom do I not know?  C{active} is C{False} while the asker is joining.

    C{ask_back}: our leaf sets do not agree, so ask me the same.
    """

    active: bool
    reach: Reach
    known: Annotated[bytes, Meta(max_length=4 * KNOWN_LIMIT)]
    ask_back: bool = False


@message(0x11)
class Probed(Message, frozen=True):
    """
    I am.  C{news} are members of my leaf set that belong into yours; C{gone} are some that you named and that seem
    dead to me: a hint, to be verified.
    """

    active: bool
    reach: Reach
    news: Contacts = ()
    gone: Annotated[tuple[NodeId, ...], Meta(max_length=GONE_LIMIT)] = ()


@message(0x12)
class Heartbeat(Message, frozen=True):
    """
    From the one before you on the ring.  C{digest} is over the nodes that both of us should know; the next heartbeat
    comes after C{every_s}.
    """

    digest: Annotated[bytes, Meta(min_length=8, max_length=8)]
    every_s: Annotated[float, Meta(ge=1, le=3600)] = 10.0


@message(0x13)
class Rumor(Message, frozen=True):
    """
    These seem dead to me, who was next to them, and to C{confirmed} others whom I asked.
    """

    gone: Annotated[tuple[NodeId, ...], Meta(max_length=GONE_LIMIT)]
    confirmed: Annotated[int, Meta(ge=0, lt=256)] = 0


@message(0x14)
class Locate(Message, frozen=True):
    """
    Who is the next on the way to C{key}, which is the asker's own id?

    C{row} is the first row of the table that the asker has not seen, C{founder} whether it would found a ring if
    nobody else does, C{active} whether it is in the ring already.
    """

    key: Key
    row: Annotated[int, Meta(ge=0, le=40)]
    founder: bool = False
    avoid: Avoided = ()
    active: bool = False


@message(0x15)
class Located(Message, frozen=True):
    """
    C{next_hop}, or C{None} if that is me.  C{rows} are nodes for the asker's table.

    If I am not C{active} I know nothing yet, and C{founder} says whether I would found a ring.  C{busy}: others are
    coming in beside me just now, I shall announce myself when it is the asker's turn.
    """

    active: bool
    founder: bool = False
    next_hop: Contact | None = None
    rows: Contacts = ()
    busy: bool = False


@message(0x16)
class Announce(Message, frozen=True):
    """
    I am active: come in through me, if you are not, and otherwise know that I am here.

    C{waiting} wanted to come in beside me, and have their places beside you.  C{invited}: you are one who waits, and
    now it is your turn; if you are active already, say so.
    """

    waiting: Contacts = ()
    invited: bool = False


@message(0x17)
class Route(Message, frozen=True):
    """
    Bring C{payload} to the root of C{key}.  C{origin} and C{number} together are unique.  C{stepwise}: digit by digit,
    also where everybody knows the root.
    """

    key: Key
    number: Number
    hops: Annotated[int, Meta(ge=0, le=255)]
    origin: Contact
    payload: Annotated[bytes, Meta(max_length=PAYLOAD_LIMIT)]
    stepwise: bool = False


@message(0x18)
class Taken(Message, frozen=True):
    """
    The acknowledgement of a hop: it is my turn now.

    C{held}: but I cannot say yet who is the next, and have the message until then; so keep it, and ask again.
    """

    held: bool = False


@message(0x19)
class Find(Message, frozen=True):
    """
    Routed to the root of a key: who are the C{count} nodes of distinct owners nearest to it, without C{avoid}?

    C{routed}: let the answer be routed to the asker's id, since none has come straight.
    """

    count: Annotated[int, Meta(ge=1, le=COUNT_LIMIT)]
    avoid: Avoided = ()
    routed: bool = False


@message(0x1A)
class Found(Message, frozen=True):
    """
    The answer to the L{Find} with C{number}, straight from the root, or routed as that was.

    From C{low} clockwise to C{high} every key has these C{contacts}, in some order.
    """

    number: Number
    low: Key
    high: Key
    contacts: Contacts


@message(0x1B)
class ShareRow(Message, frozen=True):
    """
    Are you alive, and whom do you have in this row of your table?

    C{filled} has a bit, from the lowest on, for each place in which the asker needs nobody; C{before}: whom do you have
    in the rows before it as well?
    """

    row: Annotated[int, Meta(ge=0, lt=40)]
    filled: Annotated[int, Meta(ge=0, lt=1 << 16)] = 0
    before: bool = False


@message(0x1C)
class Row(Message, frozen=True):
    """
    These; C{round_trips} says how far each is from me, in tenths of a millisecond, 0 where that is not known.
    """

    contacts: Contacts
    round_trips: Annotated[tuple[Annotated[int, Meta(ge=0, lt=1 << 24)], ...], Meta(max_length=NEWS_LIMIT)] = ()


@message(0x88)
class Vouch(Message, frozen=True):
    """
    Sign whom you have in your leaf set; and if that does not reach to C{key}, who is next on the way there?
    """

    key: Key
    nonce: Nonce


@message(0x89)
class Vouched(Message, frozen=True):
    """
    The packed L{post.pastry.statement.Statement}, its signature, and who is next, by the constrained table.
    """

    statement: Annotated[bytes, Meta(max_length=STATEMENT_LIMIT)]
    signature: Annotated[bytes, Meta(max_length=SIGNATURE_LIMIT)]
    onward: Annotated[tuple[Contact, ...], Meta(max_length=ONWARD_LIMIT)] = ()


@message(0x8A)
class Claim(Message, frozen=True):
    """
    Routed to the root of a key: show yourself to the origin, by what you sign.
    """

    nonce: Nonce


@message(0x8B)
class Claimed(Message, frozen=True):
    """
    The answer to the L{Claim} with C{nonce}, straight from the root.
    """

    nonce: Nonce
    statement: Annotated[bytes, Meta(max_length=STATEMENT_LIMIT)]
    signature: Annotated[bytes, Meta(max_length=SIGNATURE_LIMIT)]
