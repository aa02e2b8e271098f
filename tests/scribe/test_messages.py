"""
Tests for L{post.scribe.messages}, and for what a node makes of whatever it is sent.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PeerError
from post.ids import Contact, GroupId, Key
from post.scribe.messages import (
    GROUPS_NAMED,
    OFFER_LIMIT,
    Attach,
    Attached,
    Here,
    Leave,
    Move,
    Offer,
    Offered,
    Publish,
    Remain,
    Remaining,
    Seek,
    Spread,
)
from post.scribe.publication import PUBLICATION_LIMIT
from post.wire import Message, decode, encode
from tests.pastry.strategies import nodes
from tests.scribe.groups import GROUP, Groups

contacts = st.builds(Contact, nodes, st.just(("host0:1",)), st.integers(0, 3))
ids = st.one_of(st.just(GROUP), nodes.map(lambda node: GroupId(Key(node))))
several = st.lists(ids, max_size=4).map(tuple)
elsewhere = st.lists(contacts, max_size=4).map(tuple)
numbers = st.integers(0, (1 << 62) - 1)
some = st.binary(max_size=60)
messages = st.one_of(
    st.builds(Seek, ids, numbers, contacts, st.booleans()),
    st.builds(Here, numbers),
    st.builds(Attach, ids),
    st.builds(Attached, st.booleans(), elsewhere),
    st.builds(Remain, several),
    st.builds(Remaining, several),
    st.builds(Leave, several),
    st.builds(Move, ids, contacts),
    st.builds(Publish, some),
    st.builds(Spread, some),
    st.builds(Offer, ids, some),
    st.builds(Offered, st.booleans(), elsewhere),
)


class MessagesTests(SynchronousTestCase):
    """
    What nodes say survives the wire, and what is not that is refused.
    """

    @given(messages)
    def test_round_trip(self, message: Message) -> None:
        """
        Every message is read as it was written.
        """
        self.assertEqual(message, decode(encode(message)))

    @given(messages, st.data())
    def test_damaged(self, message: Message, data: st.DataObject) -> None:
        """
        Damaged bytes are another message or a L{PeerError}.
        """
        damaged = bytearray(encode(message))
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(2, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        try:
            decode(bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
        except PeerError:
            pass

    def test_limits(self) -> None:
        """
        More than a message may hold is refused.
        """
        many = (GROUP,) * (GROUPS_NAMED + 1)
        too_much = (
            Remain(many),
            Remaining(many),
            Leave(many),
            Spread(bytes(PUBLICATION_LIMIT + 1)),
            Publish(bytes(PUBLICATION_LIMIT + 1)),
            Offer(GROUP, bytes(OFFER_LIMIT + 1)),
            Here(1 << 62),
        )
        for message in too_much:
            self.assertRaises(PeerError, decode, encode(message))


class StrangerTests(SynchronousTestCase):
    """
    A node that is told nonsense.
    """

    @settings(max_examples=40)
    @given(st.lists(st.tuples(messages, st.integers(0, 2)), min_size=1, max_size=12))
    def test_nonsense(self, said: list[tuple[Message, int]]) -> None:
        """
        Whatever a peer tells, asks or routes, nothing goes wrong here: no failure is logged, and when the liar is gone
        the tree is whole, and what Alice says is heard.
        """
        groups = Groups(1, 5)
        honest, liar = groups.members[:4], groups.members[4]
        self.assertEqual([], groups.rings.settle(30))
        groups.subscribe(honest)
        groups.rings.advance(3)
        for message, way in said:
            for victim in honest:
                if way == 0:
                    liar.rpc.ask(victim.contact, message, 1.0).addErrback(lambda failure: None)
                elif way == 1:
                    liar.rpc.tell(victim.contact, message)
            if way == 2:
                liar.pastry.route(GROUP, message)
            groups.rings.advance(0.1)
        liar.crash()
        self.assertEqual([], groups.rings.settle(90))
        self.assertEqual([], groups.grown())
        groups.publish(honest[1], b"true")
        self.assertEqual([], groups.deaf(b"true", honest))
        self.assertEqual([], groups.rings.failures)
        self.assertEqual([], self.flushLoggedErrors())
