"""
Tests for L{post.pastry.entrance}.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.ids import Contact, NodeId
from post.pastry.config import PastryConfig
from post.pastry.entrance import SHOW_S, WAITING_LIMIT, Entrance
from post.pastry.leafset import Side
from post.pastry.messages import NEWS_LIMIT, Announce
from post.pastry.ring import Ring
from post.rpc import Rpc
from post.wire import Message, Priority
from tests.pastry.strategies import node

CONFIG = PastryConfig(join_limit=2, join_entry_s=3.0)


def contact(point: int) -> Contact:
    """
    The node at C{point}.
    """
    return Contact(node(point), (f"host{point}:1",))


class Told:
    """
    As much of L{Rpc} as is needed: remembers what was told to whom.
    """

    def __init__(self) -> None:
        self.messages: list[tuple[NodeId, Message]] = []

    def tell(self, peer: Contact, message: Message, priority: Priority) -> None:
        self.messages.append((peer.id, message))


class EntranceTests(SynchronousTestCase):
    """
    Tests for L{Entrance} of the node at 0, with room for two.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.rpc = Told()
        self.ring = Ring(node(0), CONFIG, lambda contact, joined: None)
        self.entrance = Entrance(cast(Rpc, self.rpc), self.clock, self.ring, CONFIG)

    def come(self, *points: int) -> None:
        """
        These have their places in our leaf set, and are active.
        """
        for point in points:
            self.ring.admit(contact(point), Side.BOTH)
            self.entrance.came_in(contact(point))

    def told(self) -> list[tuple[NodeId, Message]]:
        """
        What was told since this was asked last.
        """
        messages, self.rpc.messages = self.rpc.messages, []
        return messages

    def test_room(self) -> None:
        """
        Two may come in, again and again if they ask; the third is told when one of them has, and others not before.
        """
        self.assertEqual([True, True, False], [self.entrance.lets_in(contact(point)) for point in (10, 20, 3)])
        self.assertTrue(self.entrance.lets_in(contact(10)))
        self.assertFalse(self.entrance.lets_in(contact(40)))
        self.assertEqual([], self.told())
        self.come(-10)
        self.assertEqual([], self.told())
        self.come(20)
        self.assertEqual([(node(20), Announce((contact(40),))), (node(3), Announce(invited=True))], self.told())

    def test_not_taken(self) -> None:
        """
        A place that is not taken is free again.
        """
        for point in (10, 20, 30):
            self.entrance.lets_in(contact(point))
        self.clock.advance(3.0)
        self.assertTrue(self.entrance.lets_in(contact(40)))

    def test_handed_over(self) -> None:
        """
        Whoever has come in beside us is told, in as many messages as it takes, of all who wait and are nearer to it.
        """
        for point in (-5, -6):
            self.entrance.lets_in(contact(point))
        for point in [*range(1000, 1000 + NEWS_LIMIT + 1), 3]:
            self.assertFalse(self.entrance.lets_in(contact(point)))
        self.come(1100)
        told = self.told()
        self.assertEqual([node(1100)] * 2, [peer for peer, _ in told])
        waiting = [each for _, message in told if isinstance(message, Announce) for each in message.waiting]
        self.assertEqual([contact(point) for point in range(1000, 1000 + NEWS_LIMIT + 1)], waiting)
        self.come(-5)
        self.assertEqual([(node(3), Announce(invited=True))], self.told())

    def test_taken_over(self) -> None:
        """
        Those of whom a neighbor tells are let in, as many as there is room for; strangers are not believed, and who is
        here already is not told.
        """
        self.entrance.take_over(contact(5), [contact(10)])
        self.assertEqual([], self.told())
        self.come(5, 10)
        self.entrance.take_over(contact(5), [contact(point) for point in (10, 0, 11, 12, 13)])
        self.assertEqual([(node(point), Announce(invited=True)) for point in (11, 12)], self.told())

    def test_not_past_newcomers(self) -> None:
        """
        Whoever has its place beside a newcomer waits for that to be active, even if there is room.
        """
        self.come(-100)
        self.entrance.lets_in(contact(100))
        self.ring.admit(contact(100), Side.BOTH)
        self.entrance.take_over(contact(-100), [contact(99), contact(-10)])
        self.assertEqual([(node(-10), Announce(invited=True))], self.told())
        self.come(100)
        self.assertEqual([(node(100), Announce((contact(99),)))], self.told())

    def test_open(self) -> None:
        """
        The first one tells all who wait; another one nobody, and it forgets them.
        """
        for to_all in (True, False):
            for point in range(10):
                self.assertTrue(self.entrance.note(contact(100 + point), point == 3))
            self.assertEqual([node(103)], self.entrance.rivals(-1.0))
            self.entrance.open(to_all)
            self.assertEqual([(node(100 + point), Announce()) for point in range(10) if to_all], self.told())
        self.come(5)
        self.assertEqual([], self.told())

    def test_limit(self) -> None:
        """
        However many ask, so many are remembered.
        """
        noted = [self.entrance.note(contact(point), False) for point in range(1, WAITING_LIMIT + 10)]
        self.assertEqual(WAITING_LIMIT, sum(noted))
        self.assertFalse(self.entrance.note(contact(1), False))

    def test_phantoms(self) -> None:
        """
        Whom a neighbor hands over, and who does not come, keeps no place from who asks itself; who does come keeps it.
        """
        self.come(5)
        self.entrance.take_over(contact(5), [contact(point) for point in range(11, 11 + NEWS_LIMIT)])
        self.assertEqual([node(11), node(12)], [peer for peer, _ in self.told()])
        self.assertTrue(self.entrance.lets_in(contact(12)))
        self.assertFalse(self.entrance.lets_in(contact(-40)))
        self.clock.advance(SHOW_S)
        self.assertTrue(self.entrance.lets_in(contact(-40)))
        self.assertFalse(self.entrance.lets_in(contact(-50)))
        self.assertEqual({node(12), node(-40)}, set(self.entrance._entering))

    def test_phantoms_wait(self) -> None:
        """
        Nor do they keep it from being remembered; and who asked itself is not taken for one of them later.
        """
        self.come(5, -5)
        phantoms = [contact(point) for point in range(1000, 1000 + WAITING_LIMIT + 10)]
        self.entrance.note(contact(20), False)
        self.entrance.take_over(contact(5), [contact(20), *phantoms])
        self.assertEqual([node(20), node(1000)], [peer for peer, _ in self.told()])
        self.entrance.take_over(contact(5), phantoms[-20:])
        self.assertEqual(WAITING_LIMIT, len(self.entrance._waiting))
        self.assertTrue(self.entrance.note(contact(30), False))
        self.assertFalse(self.entrance.note(contact(30), False))
        self.assertEqual(WAITING_LIMIT, len(self.entrance._waiting))
        self.entrance.take_over(contact(5), [contact(30)])
        self.assertFalse(self.entrance._waiting[node(30)].handed_over)
