"""
Tests for L{post.pastry.origins}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.ids import Contact, Id, Key
from post.pastry.messages import Find, Route
from post.pastry.origins import STRANGERS_LIMIT
from post.sim.transport import SimTransport
from post.wire import encode
from tests.pastry.rings import Member, Rings


class OriginsTests(SynchronousTestCase):
    """
    Tests of L{Origins}, in a ring of four.
    """

    def setUp(self) -> None:
        self.rings = Rings(3, 4)
        self.rings.formed()
        self.root, self.bringer, self.other = self.rings.members[:3]
        self.origins = self.root.pastry._origins

    def contact(self, said: Contact) -> Contact:
        """
        What is made of C{said}.
        """
        return self.origins.contact(said, self.bringer.id)

    def test_known(self) -> None:
        """
        Of who is linked, or known, it counts what we know; of others what is said.
        """
        false = Contact(self.other.id, ("192.0.2.1:1",), 1 << 60)
        self.assertEqual(self.other.contact, self.contact(false))
        self.rings.network.cut(self.transport(self.root), self.transport(self.other))
        self.assertIs(None, self.root.rpc.transport.linked(self.other.id))
        self.assertEqual(self.other.contact, self.contact(Contact(self.other.id, ("192.0.2.1:1",))))
        stranger = Contact(self.rings.point(), ("192.0.2.1:1",))
        self.assertEqual(stranger, self.contact(stranger))
        self.assertEqual(self.root.contact, self.contact(Contact(self.root.id, ("192.0.2.1:1",))))

    def transport(self, member: Member) -> SimTransport:
        """
        Its end of the network.
        """
        return self.rings.network._listening[member.id]

    def test_bounded(self) -> None:
        """
        One peer has us believe so many addresses and no more; another one is believed all the same.
        """
        brought = [self.contact(Contact(self.rings.point(), ("192.0.2.1:1",))) for _ in range(STRANGERS_LIMIT + 5)]
        self.assertEqual(5, sum(not contact.addresses for contact in brought))
        self.assertEqual(5, self.root.complaints.counts["more strangers named than its share"])
        stranger = Contact(self.rings.point(), ("192.0.2.1:1",))
        self.assertEqual(stranger, self.origins.contact(stranger, self.other.id))
        self.rings.advance(10)
        self.assertEqual(stranger, self.contact(stranger))

    def test_not_called(self) -> None:
        """
        Whoever it says has asked, a root calls so many in answer to one peer and no more.
        """
        for number in range(STRANGERS_LIMIT + 20):
            stranger = Contact(self.rings.point(), ("192.0.2.1:1",))
            route = Route(Key(Id(self.root.id)), number, 1, stranger, encode(Find(3)))
            self.bringer.rpc.tell(self.root.contact, route)
        self.rings.advance(0.1)
        self.assertEqual(STRANGERS_LIMIT, len(self.transport(self.root)._backoff))
