"""
What a link asks of the transport that it belongs to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from zope.interface import Attribute, Interface

from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate
from post.errors import PeerError
from post.ids import Contact, NodeId
from post.net.config import LinkConfig
from post.net.messages import Hello

if TYPE_CHECKING:
    from post.net.link import Link


class AlreadyLinked(PeerError):
    """
    The node that answered, C{peer}, is linked with us already, or about to be: the new connection is not needed.
    """

    def __init__(self, peer: NodeId) -> None:
        super().__init__(f"already linked with {peer}")
        self.peer = peer


class ILinkOwner(Interface):
    """
    The transport, as its links see it.
    """

    local: Contact = Attribute("Our own contact.")
    config: LinkConfig = Attribute("Limits and patience.")
    clock: IReactorTime = Attribute("Time.")
    complaints: Complaints = Attribute("Where misdeeds are noted.")

    def opened(link: Link) -> None:
        """
        There is a connection, of which nothing is known yet.
        """

    def identify(chain: Sequence[bytes]) -> NodeCertificate:
        """
        The verified certificate at the head of C{chain}; raises L{post.errors.PeerError}.
        """

    def hello(link: Link) -> Hello:
        """
        What we say first on C{link}.
        """

    def admit(link: Link) -> int:
        """
        The peer's HELLO is in order.  The answer is what to put into our ACK; raises L{AlreadyLinked} if we dialled
        the link in vain.
        """

    def up(link: Link) -> None:
        """
        Both sides have acknowledged.
        """

    def received(link: Link, frame: bytes) -> None:
        """
        A frame that was carried for somebody above.
        """

    def wake(link: Link) -> None:
        """
        There is something to send: call C{link.flush()} before this turn of the reactor is over.
        """

    def drained(link: Link) -> None:
        """
        The line took what it was given; there may be room in the queue again.
        """

    def ended(link: Link) -> None:
        """
        Nothing more will be sent or received; C{link.clean} tells whether anything may be lost.
        """

    def closed(link: Link) -> None:
        """
        The connection is gone.
        """
