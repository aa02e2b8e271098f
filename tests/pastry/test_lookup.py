"""
Tests for L{post.pastry.lookup}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from post.errors import Unreachable
from post.ids import RING, Contact, Id, Key
from post.pastry.config import PastryConfig
from post.pastry.messages import Found
from post.pastry.ring import Ring
from post.wire import Priority
from tests.pastry.rings import Member, Rings

SMALL = PastryConfig(half=3)


class LookupTests(SynchronousTestCase):
    """
    Tests for L{Lookup}, through L{Pastry.replica_set}.
    """

    def setUp(self) -> None:
        self.rings = Rings(1, 16, SMALL)
        self.rings.formed()
        self.assertEqual([], self.rings.settle(15))
        self.asker = self.rings.members[0]

    def far(self) -> Key:
        """
        A key whose replica set the asker cannot know.
        """
        return Key(Id((self.asker.id + RING // 2) % RING))

    def ask(self, key: Key, avoid: tuple[Contact, ...] = ()) -> list[Contact]:
        nodes = [contact.id for contact in avoid]
        return self.rings.finish(Deferred.fromCoroutine(self.asker.pastry.replica_set(key, 3, nodes)))

    def named(self, contacts: list[Contact]) -> list[Member]:
        return [self.rings.by_id[contact.id] for contact in contacts]

    def test_cached(self) -> None:
        """
        What a root answered is used for its whole range, and for ten seconds.
        """
        key = self.far()
        self.assertIs(None, self.asker.pastry.nearest(key, 3))
        expected = self.ask(key)
        frames = self.rings.network.frames
        again = Deferred.fromCoroutine(self.asker.pastry.replica_set(Key(Id(key + 1)), 3))
        self.assertEqual(expected, self.successResultOf(again))
        self.assertEqual(frames, self.rings.network.frames)
        self.rings.advance(11)
        self.assertNoResult(later := Deferred.fromCoroutine(self.asker.pastry.replica_set(key, 3)))
        self.assertEqual(expected, self.rings.finish(later))

    def test_avoid(self) -> None:
        """
        Whom the asker does not want is not named, and the answer to that is remembered for nobody else.
        """
        key = self.far()
        whole = self.ask(key)
        other = self.ask(key, (whole[0],))
        self.assertNotIn(whole[0], other)
        self.assertEqual(3, len(other))
        self.assertEqual(whole, self.ask(key))

    def test_dead_are_not_named(self) -> None:
        """
        After a member of a replica set has died, and its neighbors know, it is not named any more.
        """
        key = self.far()
        first = self.ask(key)[0]
        self.rings.by_id[first.id].crash()
        self.rings.advance(15)
        self.assertEqual(self.rings.nearest(key, 3), [contact.id for contact in self.ask(key)])

    def test_unreachable(self) -> None:
        """
        A root that never answers is unreachable, and nothing is left of the question.
        """
        key = self.far()
        self.rings.network.partition([[self.asker.id]])
        failed = Deferred.fromCoroutine(self.asker.pastry.replica_set(key, 3))
        self.assertRaises(Unreachable, self.rings.finish, failed)
        self.assertEqual({}, self.asker.pastry._lookup._asked)

    def test_inactive(self) -> None:
        """
        A node that is not in the ring yet does not take itself for all of it.
        """
        newcomer = Member(self.rings, 99, self.rings.point())
        self.rings.members.append(newcomer)
        newcomer.boot(["nobody:1"])
        self.rings.advance(0.1)
        self.assertIs(None, newcomer.pastry.nearest(self.far(), 3))
        self.assertNoResult(Deferred.fromCoroutine(newcomer.pastry.replica_set(self.far(), 3)))

    def test_answers_to_nothing(self) -> None:
        """
        An answer that nobody asked for, or that claims a range without the key, is not remembered.
        """
        liar = self.rings.members[1]
        liar.rpc.tell(self.asker.contact, Found(1, Key(Id(0)), Key(Id(RING - 1)), (liar.contact,)), Priority.NORMAL)
        self.rings.advance(1)
        self.assertEqual(self.rings.nearest(self.far(), 3), [contact.id for contact in self.ask(self.far())])

    def seen(self, key: Key) -> tuple[int, Deferred[list[Contact]]]:
        """
        Ask for the replica set of C{key}; the number of the question, which others see.
        """
        asked = Deferred.fromCoroutine(self.asker.pastry.replica_set(key, 3))
        return next(iter(self.asker.pastry._lookup._asked)), asked

    def test_not_of_the_root(self) -> None:
        """
        Who saw the number of a question, and is not nearest to the key of those that it names itself, names somebody
        twice, or more than were asked for, is not believed; the root is.
        """
        key = self.far()
        root, liar = self.rings.root(key), self.rings.root(Key(Id(self.asker.id + 5)), self.rings.members[1:])
        number, asked = self.seen(key)
        every = tuple(member.contact for member in self.rings.members)
        for contacts in ((root.contact,), (root.contact, liar.contact), (liar.contact,) * 2, every, ()):
            self.asker.pastry._lookup.found(liar.contact, Found(number, key, key, contacts))
        self.assertEqual(5, self.asker.complaints.counts["answer that does not fit the question"])
        self.assertNoResult(asked)
        self.assertEqual(self.rings.nearest(key, 3), [contact.id for contact in self.rings.finish(asked)])

    def test_not_routed(self) -> None:
        """
        An answer that comes by the ring, and so from anybody, counts only if it was asked for in that way.
        """
        key = self.far()
        liar = self.rings.members[1]
        number, asked = self.seen(key)
        self.asker.pastry._lookup.brought(liar.contact, Found(number, key, key, (liar.contact,)))
        self.assertNoResult(asked)
        self.rings.finish(asked)

    def test_range(self) -> None:
        """
        Whoever claims half of the ring for the nodes that it names is not asked for other keys by that.
        """
        key = self.far()
        self.patch(Ring, "size", lambda ring: 10_000)
        number, asked = self.seen(key)
        root = self.rings.root(key)
        low, high = Key(Id((key - RING // 4) % RING)), Key(Id((key + RING // 4) % RING))
        self.asker.pastry._lookup.found(root.contact, Found(number, low, high, (root.contact,)))
        self.assertEqual([root.contact], self.successResultOf(asked))
        self.assertEqual(1, self.asker.complaints.counts["impossible range of keys"])
        self.assertEqual([(key, key)], [(each.low, each.high) for each in self.asker.pastry._lookup._known])
