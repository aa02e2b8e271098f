"""
Where the origin of a routed message is reached.

Messages name their origin, and nobody on the way verifies that.  So what we know ourselves goes before what a message
says; and of nodes that we do not know one peer can name only so many, since each may cost us a call to wherever it
likes.  Beyond that no address is believed: who really asked gets no answer, and asks once more, for one by the ring.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from post.complaints import Complaints
from post.ids import Contact, NodeId
from post.interfaces import ITransport
from post.pastry.quotas import Quota
from post.pastry.ring import Ring

STRANGERS_LIMIT = 200
"""Messages of nodes that we neither are linked with nor know which one peer may bring in ten seconds, and be believed
where these are.  A node looks up ten keys a second when it is busy, and by one neighbor come those of a few dozen."""


class Origins:
    """
    Looks them up.
    """

    __slots__ = ("_complaints", "_quota", "_ring", "_transport")

    def __init__(self, transport: ITransport, clock: IReactorTime, complaints: Complaints, ring: Ring) -> None:
        self._transport = transport
        self._complaints = complaints
        self._ring = ring
        self._quota = Quota(clock, STRANGERS_LIMIT)

    def contact(self, origin: Contact, bringer: NodeId) -> Contact:
        """
        How to reach C{origin}, of whom C{bringer} brought a message; without addresses if we do not believe these.
        """
        node = origin.id
        if node == self._ring.owner:
            return self._transport.local
        linked = self._transport.linked(node)
        if linked is not None:
            return linked
        known = self._ring.contacts.get(node)
        if known is not None and known.epoch >= origin.epoch:
            return known
        if self._quota.take(bringer):
            return origin
        self._complaints.note(bringer, "more strangers named than its share")
        return known or Contact(node, (), origin.epoch)
