"""
What nodes sign about their leaf sets.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from post.errors import BadSignature, PeerError
from post.ids import RING, Contact, NodeId
from post.pastry.statement import SIDE_LIMIT, STATEMENT_LIMIT, Statement, contradict, open_statement, packed
from post.sim.signing import check, sign
from tests.pastry.strategies import node, nodes

OWNER = node(1000)
NONCE = bytes(range(16))


def contact(point: int) -> Contact:
    """
    Of the node at C{point}.
    """
    return Contact(node(point), (f"host{point % 100}:1",), 5)


def statement(after: tuple[int, ...] = (1010, 1020), before: tuple[int, ...] = (990, 980)) -> Statement:
    """
    Of L{OWNER}, with these members.
    """
    sides = tuple(contact(each) for each in after), tuple(contact(each) for each in before)
    return Statement(1, OWNER, 5, 3, 1000, NONCE, False, *sides)


def opened(said: Statement, node: NodeId = OWNER, nonce: bytes = NONCE) -> Statement:
    """
    C{said}, signed by its node, as an answer of C{node}.
    """
    data = packed(said)
    return open_statement(data, sign(said.node, data), node, nonce, check)


class StatementTests(SynchronousTestCase):
    """
    Tests of L{Statement} and L{open_statement}.
    """

    def test_true(self) -> None:
        """
        What a node signed is read as it was meant.
        """
        said = opened(statement())
        self.assertEqual(statement(), said)
        self.assertEqual((node(1020), node(980)), said.ends())
        self.assertEqual({node(each) for each in (1010, 1020, 990, 980)}, set(said.members()))

    def test_largest(self) -> None:
        """
        One that names as many as it may, each with all its addresses, is not too long.
        """
        many = [Contact(node(step), ("h" * 80,) * 4, (1 << 62) - 1) for step in range(1, SIDE_LIMIT + 1)]
        said = replace(statement(), after=tuple(replace(each, id=node(1000 + each.id)) for each in many), before=())
        self.assertEqual(said, opened(said))
        both = replace(said, before=tuple(replace(each, id=node(1000 - each.id)) for each in many))
        self.assertTrue(len(packed(both)) <= STATEMENT_LIMIT)

    def test_covers(self) -> None:
        """
        It has the root of every key between its ends, and of every key if it is the whole ring.
        """
        said = statement()
        self.assertEqual([False, True, True, True, False], [said.covers(key) for key in (979, 980, 1005, 1020, 1021)])
        self.assertTrue(replace(said, whole=True).covers(RING // 2))
        alone = statement((), ())
        self.assertEqual([False, True, False], [alone.covers(key) for key in (999, 1000, 1001)])

    def test_step(self) -> None:
        """
        How far apart its members stand, on the arc or around the whole ring.
        """
        self.assertEqual(10.0, statement().step())
        self.assertEqual(RING / 5, replace(statement(), whole=True).step())
        self.assertEqual(float("inf"), statement((), ()).step())

    def test_refused(self) -> None:
        """
        Refused is what another node signed, or nobody; an answer to another question, which may be old; another
        version; members in no order, twice, or round the whole ring; and the node itself as its member.
        """
        said = statement()
        self.assertRaises(PeerError, opened, said, node(1001))
        self.assertRaises(PeerError, opened, said, OWNER, bytes(16))
        self.assertRaises(PeerError, opened, replace(said, version=2))
        for after, before in (
            ((1020, 1010), (990,)),
            ((1010, 1010), ()),
            ((1000,), ()),
            ((), (980, 990)),
            ((1010, 990), (980,)),
        ):
            self.assertRaises(PeerError, opened, statement(after, before))
        data = packed(said)
        self.assertRaises(BadSignature, open_statement, data, sign(node(1), data), OWNER, NONCE, check)
        self.assertRaises(PeerError, open_statement, data + b"\0", sign(OWNER, data + b"\0"), OWNER, NONCE, check)
        long = bytes(STATEMENT_LIMIT + 1)
        self.assertRaises(PeerError, open_statement, long, sign(OWNER, long), OWNER, NONCE, check)

    @given(st.data())
    def test_damaged(self, data: st.DataObject) -> None:
        """
        Whatever a node signs, it is a statement in order or a L{PeerError}.
        """
        damaged = bytearray(packed(statement()))
        for _ in range(data.draw(st.integers(1, 3))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
        damaged = damaged[: data.draw(st.integers(0, len(damaged)))]
        try:
            said = open_statement(bytes(damaged), sign(OWNER, bytes(damaged)), OWNER, NONCE, check)
        except PeerError:
            return
        self.assertEqual(OWNER, said.node)
        ways = [OWNER.clockwise(each.id) for each in said.after]
        self.assertEqual(sorted(set(ways)), ways)
        self.assertNotIn(OWNER, said.members())


class ContradictionTests(SynchronousTestCase):
    """
    Tests of L{contradict}.
    """

    def test_proof(self) -> None:
        """
        Two sets of members under one epoch and change cannot both be true.
        """
        self.assertTrue(contradict(statement(), statement((1020,))))
        self.assertTrue(contradict(statement(), replace(statement(), whole=True)))

    def test_no_proof(self) -> None:
        """
        That members come and go, or the node started anew, proves nothing; nor that it says the same at another time,
        to another question, with newer addresses; nor what another node says.
        """
        one = statement()
        for other in (
            replace(statement((1020,)), change=4),
            replace(statement((1020,)), epoch=6),
            replace(one, at_ms=2000, nonce=bytes(16)),
            replace(one, after=tuple(replace(each, epoch=9, addresses=()) for each in one.after)),
            replace(statement((1020,)), node=node(1001)),
        ):
            self.assertFalse(contradict(one, other))
        self.assertFalse(contradict(one, one))

    @given(nodes, nodes)
    def test_symmetric(self, first: NodeId, second: NodeId) -> None:
        """
        It does not matter which was said first.
        """
        one = replace(statement(), after=(Contact(first),))
        two = replace(statement(), after=(Contact(second),))
        self.assertEqual(first != second, contradict(one, two))
        self.assertEqual(contradict(one, two), contradict(two, one))
