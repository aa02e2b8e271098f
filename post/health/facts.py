"""
What is to be known of a node, as plain values: one snapshot, from which page, metrics and warnings are made (pure).
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from post.health.durability import Durability
from post.health.journeys import Sent
from post.health.leaving import Leaving
from post.node import Status


class Presence(StrEnum):
    """
    How another node seems to be.
    """

    HERE = "here"
    SUSPECT = "suspect"
    """It did not answer lately; nothing is sent to it that others could do as well."""
    AWAY = "away"
    """It is a member, and not in the ring."""
    UNSEEN = "unseen"
    """It is a member of a ring that is too large for this node to know all of it."""


class Peer(msgspec.Struct, frozen=True):
    """
    A node of the ring, ourselves included.  C{owner} is empty where nobody has told.
    """

    node_id: str
    owner: str
    roles: tuple[str, ...]
    presence: Presence
    linked: bool
    round_trip_ms: float | None
    ours: bool = False


class Disk(msgspec.Struct, frozen=True):
    """
    The disk under the data directory, in bytes.
    """

    total: int
    free: int


class Certificate(msgspec.Struct, frozen=True):
    """
    Something that ends, in unix seconds.  C{kind} is C{node}, C{identity}, C{mail}, C{directory}; C{whose} an address
    for those of people.
    """

    kind: str
    whose: str
    ends: int


class Mailbox(msgspec.Struct, frozen=True):
    """
    What concerns one person, and nobody else.

    @ivar durability: of what the ring keeps; C{None} before it has been looked at once.
    @ivar behind: whether mail or nodes came or went since then.
    @ivar leaving: what waits to leave for the Internet, the newest, and C{leaving_more} how many messages besides.
    """

    address: str
    open: bool
    published: bool
    trouble: str
    messages: int
    folders: int
    unconfirmed: int
    """Records of the log that the ring does not keep yet."""
    durability: Durability | None = None
    surveying: bool = False
    sent: tuple[Sent, ...] = ()
    behind: bool = False
    leaving: tuple[Leaving, ...] = ()
    leaving_more: int = 0


class Unasked(msgspec.Struct, frozen=True):
    """
    An entry of the public issuance log that concerns somebody here and was not asked for here: C{kind} is C{node},
    C{identity} or C{recovery}, C{of} the owner of a node.
    """

    number: int
    kind: str
    name: str
    of: str
    at: int


class Issuance(msgspec.Struct, frozen=True):
    """
    The public issuance log, as this node knows it.

    @ivar length: entries of our copy.
    @ivar checked: when the authority was last asked for more, and answered; 0 if never since the start.
    @ivar unlogged: whose certificates are not in it: addresses, or empty for the node's own.
    @ivar split: heads that other nodes have been shown and that are not of this log.
    @ivar shorter: whether the authority now shows less than it did.
    """

    length: int
    checked: int
    unasked: tuple[Unasked, ...] = ()
    unlogged: tuple[str, ...] = ()
    split: int = 0
    shorter: bool = False


class Facts(msgspec.Struct, frozen=True):
    """
    A node at the time C{now}.

    @ivar clock_ahead_s: by how many seconds the others' clocks are ahead of ours, if that is known.
    @ivar renews: whether certificates are renewed by themselves.
    @ivar relaying: of a gateway, for how many messages it sees that they leave.
    """

    now: float
    started: float
    domain: str
    status: Status
    serving: bool
    peers: tuple[Peer, ...]
    ring_size: int
    disk: Disk
    certificates: tuple[Certificate, ...]
    mailboxes: tuple[Mailbox, ...]
    clock_ahead_s: float | None = None
    authority_trouble: str = ""
    renews: bool = False
    relaying: int | None = None
    issuance: Issuance | None = None
    revoked_until: int = 0
    """When there should be a newer list of what is revoked than ours; 0 if there is none."""

    def mailbox(self, address: str) -> Mailbox | None:
        """
        That of C{address}, if it is here.
        """
        return next((each for each in self.mailboxes if each.address == address), None)

    def round_trip_ms(self) -> float | None:
        """
        The median of those that were measured.
        """
        measured = sorted(each.round_trip_ms for each in self.peers if each.round_trip_ms is not None)
        return measured[len(measured) // 2] if measured else None
