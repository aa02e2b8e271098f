"""
The seams: what a node is given instead of reaching for it.

Time is Twisted's C{IReactorTime}, chance is C{random.Random}, entropy is L{Entropy}; network and disk are below.
Production gives sockets and SQLite, the simulator gives its own; the same L{post.node.Node} runs on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from post.ids import Contact, Handle, Key, NodeId
from post.wire import Message, Priority

if TYPE_CHECKING:
    from post.crypto.certificates import NodeCertificate

Entropy = Callable[[int], bytes]
"""So many bytes that nobody can guess (in the simulator: that a seed decides)."""


class ITransport(Interface):
    """
    How to send bytes to a node that has proven its id.  One link per pair, made when needed.
    """

    local: Contact = Attribute("Our own contact.")

    def start(receiver: IReceiver) -> None:
        """
        Begin to listen; everything that arrives goes to C{receiver}.
        """

    def stop() -> Deferred[None]:
        """
        Close every link and stop listening.
        """

    def introduce(address: str) -> Deferred[Contact]:
        """
        Link with whichever node of our authority listens at C{host:port}.

        Fails with L{post.errors.Unreachable}.
        """

    def send(peer: Contact, frame: bytes, priority: Priority) -> bool:
        """
        Queue a frame of at most L{post.wire.FRAME_LIMIT} bytes; link first if there is no link yet.

        C{False} if the frame was dropped because the peer's queue is full or it is known to be unreachable.  C{True}
        promises nothing about arrival.
        """

    def writable(peer: NodeId) -> Deferred[None]:
        """
        Fires when the queue to C{peer} is short enough for another bulk frame (at once if it is).  It also fires if
        the link goes away.
        """

    def round_trip_s(peer: NodeId) -> float | None:
        """
        The estimated round-trip time to a peer, if there is one.
        """

    def silent_s(peer: NodeId) -> float | None:
        """
        For how long nothing at all has come from a peer; C{None} if it is not linked with us.
        """

    def certificate(peer: NodeId) -> NodeCertificate | None:
        """
        The verified certificate of a peer we are, or lately were, linked with; our own for our own id.
        """

    def linked(peer: NodeId) -> Contact | None:
        """
        What a peer that is linked with us says of itself.
        """

    def links() -> Sequence[Contact]:
        """
        The peers linked with us now.
        """

    def recheck() -> None:
        """
        Cut the links with those whose certificates are not to be believed any more.
        """


class IReceiver(Interface):
    """
    What a transport tells.
    """

    def frame_received(peer: Contact, frame: bytes) -> None:
        """
        A whole frame from C{peer}, whose id is proven (its addresses are what it claims).
        """

    def peer_found(peer: Contact) -> None:
        """
        A link is up.
        """

    def peer_lost(peer: NodeId) -> None:
        """
        A link is gone, or could not be made.  A hint: it may come late, or never.
        """


class IApplication(Interface):
    """
    What Pastry calls on those above it (the common interface of the Pastry papers).
    """

    def deliver(key: Key, message: Message, origin: Contact) -> None:
        """
        C{message} has reached the root of C{key}, which is this node.
        """

    def forward(key: Key, message: Message, next_hop: Contact) -> bool:
        """
        C{message} is about to go on to C{next_hop}; C{False} stops it, because the application has taken it over.  It
        may also pass without a word, where the way changes at the last moment.
        """

    def update(contact: Contact, joined: bool) -> None:
        """
        C{contact} entered or left the leaf set.  Who was suspected, and passed over, and is well, enters it again.
        """


class Stored(msgspec.Struct, frozen=True):
    """
    A stored object and what its holder knows of it.

    C{order} compares versions under one handle: 0 for what never changes, the version of a public-key block, the
    state of a notification.
    """

    handle: Handle
    kind: int
    storage_class: int
    expires: int
    order: int
    data: bytes


class Holding(msgspec.Struct, frozen=True):
    """
    A stored object without its data, as it appears in scans.  C{digest} is the full SHA-256 of the data.
    """

    handle: Handle
    kind: int
    storage_class: int
    expires: int
    order: int
    size_bytes: int
    digest: bytes


class IBlockStore(Interface):
    """
    Durable storage of objects by handle.

    Guarantee: when the Deferred of C{put} or C{delete} fires, the change survives the death of the process and of the
    machine's power.  Reads see what was put, durable or not.
    """

    def put(item: Stored) -> Deferred[None]:
        """
        Keep C{item}, replacing what is under its handle.
        """

    def get(handle: Handle) -> Stored | None:
        """
        What is under C{handle}; C{None} also if the data no longer matches its digest (the damage is counted).
        """

    def holding(handle: Handle) -> Holding | None:
        """
        The same without reading the data.
        """

    def delete(handle: Handle) -> Deferred[None]:
        """
        Forget what is under C{handle}, if anything.
        """

    def scan(low: int, high: int) -> Iterator[Holding]:
        """
        The holdings with C{low <= handle < high}, in order.
        """

    def of_kind(kind: int) -> Iterator[Stored]:
        """
        Everything of one kind.
        """

    def totals() -> tuple[int, int]:
        """
        How many objects, and how many bytes of data.
        """

    def close() -> Deferred[None]:
        """
        Write out what is queued and let go of the disk.
        """


class IJournal(Interface):
    """
    A durable table of rows by rising number, and a few named values beside it: what a log's writer keeps locally.

    Guarantee: when the Deferred fires, the rows and values of that call are durable, all of them or none.
    """

    def write(rows: Sequence[tuple[int, bytes]], values: Sequence[tuple[str, bytes]]) -> Deferred[None]:
        """
        Insert or replace C{rows}, set C{values}.
        """

    def rows(start: int) -> Iterator[tuple[int, bytes]]:
        """
        The rows numbered C{start} and up, in order.
        """

    def value(name: str) -> bytes | None:
        """
        What was last written under C{name}.
        """

    def discard(before: int) -> Deferred[None]:
        """
        Forget the rows numbered below C{before}.
        """

    def close() -> Deferred[None]:
        """
        Write out what is queued and let go of the disk.
        """
