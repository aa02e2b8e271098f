"""
Tests for L{post.pastry.messages}, and for what a node makes of whatever it is sent.
"""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PeerError
from post.ids import BITS, Contact, Id, Key, NodeId
from post.pastry.messages import (
    AVOID_LIMIT,
    Announce,
    Claim,
    Claimed,
    Find,
    Found,
    Heartbeat,
    Locate,
    Located,
    Probe,
    Probed,
    Reach,
    Route,
    Row,
    Rumor,
    ShareRow,
    Taken,
    Vouch,
    Vouched,
)
from post.wire import Message, Priority, decode, encode
from tests.pastry.rings import Parcel, Rings
from tests.pastry.strategies import nodes

contacts = st.builds(Contact, nodes, st.just(("host:1",)), st.integers(0, 3))
reaches = st.builds(Reach, st.booleans(), st.booleans(), nodes, nodes, st.integers(0, 30))
keys = nodes.map(Key)
several = st.lists(contacts, max_size=6).map(tuple)
named = st.lists(nodes, max_size=6).map(tuple)
nonces = st.binary(min_size=16, max_size=16)
payloads = st.one_of(
    st.binary(max_size=30), st.just(encode(Parcel(1))), st.just(encode(Find(3))), st.just(encode(Claim(bytes(16))))
)
messages = st.one_of(
    st.builds(Probe, st.booleans(), reaches, st.binary(max_size=30), st.booleans()),
    st.builds(Probed, st.booleans(), reaches, several, named),
    st.builds(Heartbeat, st.binary(min_size=8, max_size=8)),
    st.builds(Rumor, named),
    st.builds(Locate, keys, st.integers(0, 40), st.booleans(), named, st.booleans()),
    st.builds(Located, st.booleans(), st.booleans(), st.none() | contacts, several, st.booleans()),
    st.just(Announce()),
    st.builds(Route, keys, st.integers(0, 3), st.integers(0, 255), contacts, payloads),
    st.just(Taken()),
    st.builds(Find, st.integers(1, 24), named),
    st.builds(Found, st.integers(0, 3), keys, keys, several),
    st.builds(ShareRow, st.integers(0, 39)),
    st.builds(Row, several),
    st.builds(Vouch, keys, nonces),
    st.builds(Vouched, st.binary(max_size=50), st.binary(max_size=70), several.map(lambda some: some[:4])),
    st.builds(Claim, nonces),
    st.builds(Claimed, nonces, st.binary(max_size=50), st.binary(max_size=70)),
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
        many = tuple(NodeId(Id(number)) for number in range(AVOID_LIMIT + 1))
        for message in (Find(3, many), Find(25), Find(0), Rumor(many), ShareRow(40), Probe(True, _reach(), bytes(513))):
            self.assertRaises(PeerError, decode, encode(message))


def _reach() -> Reach:
    return Reach(True, True, NodeId(Id(0)), NodeId(Id(0)))


class StrangerTests(SynchronousTestCase):
    """
    A node that is told nonsense.
    """

    @settings(max_examples=60)
    @given(st.lists(st.tuples(messages, st.booleans()), min_size=1, max_size=12), st.integers(0, 2))
    def test_nonsense(self, said: list[tuple[Message, bool]], booted: int) -> None:
        """
        Whatever a peer tells or asks, joining or in the ring, nothing goes wrong here: no failure is logged, the tables
        stay in order, and the ring still works when the liar is gone.
        """
        rings = Rings(1, 4)
        liar = rings.members[3]
        rings.boot(rings.members[:3])
        rings.advance((0.0, 0.3, 5.0)[booted])
        liar.boot(rings.seeds())
        rings.advance(0.5)
        for message, asks in said:
            victim = rings.members[0].contact
            if asks:
                liar.rpc.ask(victim, message, 1.0).addErrback(lambda failure: None)
            else:
                liar.rpc.tell(victim, message, Priority.NORMAL)
            rings.advance(0.1)
        rings.advance(1)
        liar.crash()
        self.assertEqual([], rings.settle(90))
        self.assertEqual([], rings.misrouted(5))
        self.assertEqual([], rings.overgrown())
        self.assertEqual([], self.flushLoggedErrors())

    def test_flood_of_names(self) -> None:
        """
        A peer that names thousands of nodes which do not exist fills no table of ours.
        """
        rings = Rings(2, 3)
        rings.formed()
        random = Random(1)
        victim, liar = rings.members[0], rings.members[1]
        for _ in range(100):
            made_up = tuple(Contact(NodeId(Id(random.getrandbits(BITS))), ("nobody:1",)) for _ in range(64))
            answer = Probed(True, _reach(), made_up)
            victim.pastry._repair.learned(liar.contact, victim.pastry._question(False), answer)
        ring = victim.pastry.ring
        self.assertTrue(len(victim.pastry._repair._pool) <= 512)
        rings.advance(60)
        self.assertEqual(2, len(ring.leaves))
        self.assertEqual({}, victim.pastry._repair._pool)
        self.assertEqual([], rings.overgrown())
        self.assertEqual([], rings.misrouted(10))
