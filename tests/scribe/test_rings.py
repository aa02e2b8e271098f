"""
Groups in whole rings: they grow, publications reach whoever lives, and nobody is fooled.
"""

from __future__ import annotations

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.errors import NotFound, Overloaded
from post.ids import AccountId, GroupId, Id
from post.interfaces import IApplication
from post.pastry.config import PastryConfig
from post.scribe import tree
from post.scribe.climb import RENEW_S, SILENCE_S, TICK_S
from post.scribe.messages import Attach, Publish, Spread
from post.scribe.node import ROUTED_BURST, ROUTED_RATE
from post.scribe.publication import Signed, group_of
from post.scribe.tree import CHILDREN_LIMIT
from post.sim.network import Trace
from post.wire import pack, unpack
from tests.pastry.rings import Member
from tests.scribe.groups import GROUP, MALLORY, Groups

SMALL = PastryConfig(half=3)
"""Leaf sets of six: forty nodes are a ring through which messages have to be routed."""


class GroupsTests(SynchronousTestCase):
    """
    Tests of trees and of what goes down them.
    """

    def groups(self, seed: int, count: int, config: PastryConfig | None = SMALL) -> Groups:
        """
        A ring that is there.
        """
        groups = Groups(seed, count, config)
        self.assertEqual([], groups.rings.settle(30))
        return groups

    def root(self, groups: Groups) -> Member:
        """
        The root of Alice's group.
        """
        return groups.rings.root(GROUP, [member for member in groups.members if member.up])

    def test_interface(self) -> None:
        """
        Scribe is an application of Pastry.
        """
        groups = Groups(1, 1)
        verifyObject(IApplication, groups.scribes[groups.members[0]])

    def test_thin(self) -> None:
        """
        In a ring of one, of two and of seven, whoever listens hears what is published, from whichever node, once.
        """
        for count in (1, 2, 7):
            groups = self.groups(count, count)
            groups.subscribe(groups.members)
            self.assertEqual([], groups.grown(5))
            for number, member in enumerate(groups.members):
                groups.publish(member, b"%d" % number)
                self.assertEqual([], groups.deaf(b"%d" % number, groups.members))
            self.assertEqual([], groups.rings.failures)

    def test_two_hundred(self) -> None:
        """
        200 nodes listen; nobody has more children than it may, and publications reach all of them once: also when the
        root, and then a tenth of all and whoever had most children, are dead and the tree is whole again.
        """
        groups = self.groups(2, 200, None)
        groups.subscribe(groups.members)
        # Sooner than anybody asks whether all is well.
        self.assertEqual([], groups.grown(15))
        groups.publish(groups.members[5], b"all")
        self.assertEqual([], groups.deaf(b"all", groups.members))

        def living() -> list[Member]:
            return [member for member in groups.members if member.up]

        self.root(groups).crash()
        self.assertEqual([], groups.grown())
        groups.publish(living()[7], b"without the root")
        self.assertEqual([], groups.deaf(b"without the root", living()))

        def children(member: Member) -> int:
            branch = groups.scribes[member].forest.get(GROUP)
            return len(branch.children) if branch is not None else 0

        self.assertLessEqual(max(map(children, living())), CHILDREN_LIMIT)
        for member in sorted(living(), key=children)[-3:] + groups.rings.random.sample(living(), 17):
            if member.up:
                member.crash(silent=True)
        self.assertEqual([], groups.grown(120))
        groups.publish(living()[0], b"those that are left")
        self.assertEqual([], groups.deaf(b"those that are left", living()))
        self.assertLessEqual(max(map(children, living())), CHILDREN_LIMIT)
        self.assertEqual([], groups.rings.failures)

    def test_through_others(self) -> None:
        """
        A few listeners in a large ring hear; nodes that none of them needs stand in no tree.
        """
        groups = self.groups(3, 60)
        listeners = groups.members[:6]
        groups.subscribe(listeners)
        self.assertEqual([], groups.grown())
        groups.publish(groups.members[40], b"few")
        self.assertEqual([], groups.deaf(b"few", listeners))
        self.assertLess(sum(len(scribe.forest) for scribe in groups.scribes.values()), 30)

    def test_unsubscribe(self) -> None:
        """
        When nobody listens any more, nobody stands in a tree, and what is published goes nowhere.
        """
        groups = self.groups(4, 40)
        groups.subscribe(groups.members)
        self.assertEqual([], groups.grown())
        for member in groups.members[5:]:
            groups.scribes[member].unsubscribe(GROUP)
        groups.rings.advance(10)
        self.assertEqual([], groups.grown())
        groups.publish(groups.members[30], b"five")
        self.assertEqual([], groups.deaf(b"five", groups.members[:5]))
        self.assertEqual([], [member for member in groups.members[5:] if groups.heard[member]])
        for member in groups.members[:5]:
            groups.scribes[member].unsubscribe(GROUP)
        groups.rings.advance(300)
        self.assertEqual(0, sum(len(scribe.forest) for scribe in groups.scribes.values()))

    def test_root_follows(self) -> None:
        """
        When a node comes that is nearer to the group, it becomes the root, and nobody is lost.
        """
        groups = self.groups(5, 40)
        root = self.root(groups)
        root.crash()
        self.assertEqual([], groups.rings.settle(60))
        listeners = [member for member in groups.members if member.up]
        groups.subscribe(listeners)
        self.assertEqual([], groups.grown())
        groups.boot([root])
        self.assertTrue(groups.rings.until(lambda: root.pastry.active, 60))
        self.assertEqual([], groups.grown(1))
        branch = groups.scribes[root].forest.get(GROUP)
        assert branch is not None
        self.assertTrue(branch.is_root)
        groups.publish(listeners[3], b"to the new root")
        self.assertEqual([], groups.deaf(b"to the new root", listeners))

    def test_restart(self) -> None:
        """
        A parent that starts anew and knows nothing any more is found out, and listeners that sleep come back.
        """
        groups = self.groups(6, 40)
        groups.subscribe(groups.members)
        self.assertEqual([], groups.grown())
        restarted = [self.root(groups), *groups.members[:5]]
        for member in restarted:
            if member.up:
                member.crash()
        groups.boot([member for member in groups.members if not member.up])
        asleep = [member for member in groups.members if member not in restarted][:5]
        for member in asleep:
            member.freeze()
        groups.rings.advance(60)
        for member in asleep:
            member.thaw()
        self.assertEqual([], groups.rings.settle(60))
        groups.subscribe(restarted)
        self.assertEqual([], groups.grown(120))
        groups.publish(groups.members[20], b"again")
        self.assertEqual([], groups.deaf(b"again", groups.members))

    def test_partition(self) -> None:
        """
        Each part of a divided ring has a tree of its own; they are one again when the ring is.
        """
        groups = self.groups(7, 30)
        groups.subscribe(groups.members)
        self.assertEqual([], groups.grown())
        half = groups.members[:15]
        groups.rings.network.partition([[member.id for member in half]])
        groups.rings.advance(120)
        self.assertEqual([], groups.rings.settle(60, half))
        groups.rings.network.heal()
        self.assertEqual([], groups.rings.settle(330))
        self.assertEqual([], groups.grown(120))
        groups.publish(groups.members[3], b"one ring")
        self.assertEqual([], groups.deaf(b"one ring", groups.members))

    def test_late_child(self) -> None:
        """
        Whoever comes into the tree just after a publication is told of it, and later nobody is.
        """
        groups = self.groups(8, 20)
        groups.subscribe(groups.members[:10])
        self.assertEqual([], groups.grown())
        groups.publish(groups.members[2], b"a moment ago")
        groups.subscribe(groups.members[10:15])
        groups.rings.advance(5)
        self.assertEqual([], groups.deaf(b"a moment ago", groups.members[:15]))
        groups.rings.advance(120)
        groups.subscribe(groups.members[15:])
        groups.rings.advance(10)
        self.assertEqual([], [member for member in groups.members[15:] if groups.heard[member]])

    def test_forged(self) -> None:
        """
        What somebody else signed, altered, sent again or dated far off is heard by nobody, whether it comes by the root
        or straight from a parent; what Alice says after it is.
        """
        groups = self.groups(9, 30)
        liar, listeners = groups.members[0], groups.members[1:]
        groups.subscribe(listeners)
        self.assertEqual([], groups.grown())
        groups.publish(groups.members[4], b"true")
        real = unpack(Signed, groups.publication(b"real"))
        old = groups.publication(b"old")
        groups.rings.advance(4000)
        forged = [
            groups.publication(b"other key", key=MALLORY.key),
            pack(msgspec.structs.replace(real, signature=real.signature[:-1] + bytes([real.signature[-1] ^ 1]))),
            pack(msgspec.structs.replace(real, chain=MALLORY.chain)),
            pack(msgspec.structs.replace(real, chain=())),
            groups.publication(b"other chain", MALLORY),
            old,
            b"",
        ]
        for data in forged:
            liar.pastry.route(GROUP, Publish(data))
            for member in listeners:
                liar.rpc.tell(member.contact, Spread(data))
        # To a group that is not its own.
        liar.pastry.route(group_of(MALLORY.account), Publish(groups.publication(b"astray")))
        groups.rings.advance(5)
        self.assertEqual([], [groups.heard[member] for member in listeners if groups.heard[member] != [b"true"]])
        self.assertTrue(any(member.complaints.counts["refused publication"] for member in listeners))
        groups.publish(groups.members[9], b"true again")
        self.assertEqual([], groups.deaf(b"true again", listeners))

    def test_sent_again(self) -> None:
        """
        What somebody sends again, or before it, is heard once, and the newest is what counts.
        """
        groups = self.groups(17, 20)
        liar, listeners = groups.members[0], groups.members[1:]
        groups.subscribe(listeners)
        self.assertEqual([], groups.grown())
        first, second = groups.publication(b"first"), groups.publication(b"second")
        for data in (second, first, second):
            liar.pastry.route(GROUP, Publish(data))
            groups.rings.advance(1)
            for member in listeners:
                liar.rpc.tell(member.contact, Spread(data))
            groups.rings.advance(1)
        self.assertEqual([], groups.deaf(b"second", listeners))
        self.assertEqual([], [member for member in listeners if b"first" in groups.heard[member]])

    def test_forgotten(self) -> None:
        """
        Children that their parents have forgotten ask, since they hear nothing, and find others.
        """
        groups = self.groups(18, 40)
        groups.subscribe(groups.members)
        self.assertEqual([], groups.grown())
        # In its first minutes a ring has much else to say, and who hears something does not ask.
        groups.rings.advance(120)
        for scribe in groups.scribes.values():
            branch = scribe.forest.get(GROUP)
            assert branch is not None
            for child in list(branch.children):
                scribe.forest.lose(branch, child)
        self.assertLess(len(groups.grown(SILENCE_S + TICK_S + 5)), 5)
        # Between neighbors there is other traffic: they ask in a minute.
        self.assertEqual([], groups.grown(RENEW_S))
        groups.publish(groups.members[3], b"found again")
        self.assertEqual([], groups.deaf(b"found again", groups.members))

    def test_far_child(self) -> None:
        """
        Nobody becomes the parent of a node that is nearer to the group than itself.
        """
        groups = self.groups(10, 10)
        root = self.root(groups)
        other = next(member for member in groups.members if member is not root)
        asked = root.rpc.ask(other.contact, Attach(GROUP))
        groups.rings.advance(1)
        self.failureResultOf(asked)
        self.assertIsNone(groups.scribes[other].forest.get(GROUP))

    def test_flood(self) -> None:
        """
        A peer that asks without end is refused, stays below its limit, and the others are served.
        """
        groups = self.groups(11, 10)
        root = self.root(groups)
        liar, honest = [member for member in groups.members if member is not root][:2]
        refused: list[object] = []
        for number in range(3000):
            liar.rpc.ask(root.contact, Attach(group_of(AccountId(Id(number))))).addErrback(
                lambda why: refused.append(why)
            )
        groups.rings.advance(2)
        self.assertGreater(len(refused), 1000)
        groups.subscribe([honest])
        self.assertEqual([], groups.grown(10))
        groups.rings.advance(600)
        self.assertLessEqual(len(groups.scribes[root].forest), 1)

    def test_flood_of_forgeries(self) -> None:
        """
        Of forged publications no more are verified than the limit; when they end, what Alice says is heard again.
        """
        groups = self.groups(19, 10)
        root = self.root(groups)
        liar = next(member for member in groups.members if member is not root)
        groups.subscribe(groups.members)
        self.assertEqual([], groups.grown())
        forged = Publish(groups.publication(b"forged", key=MALLORY.key))
        for _ in range(20):
            for _ in range(150):
                liar.pastry.route(GROUP, forged)
            groups.rings.advance(0.1)
        refused = root.complaints.counts["refused publication"]
        self.assertIn(refused, range(int(ROUTED_BURST), int(ROUTED_BURST + 3 * ROUTED_RATE)))
        groups.rings.advance(10)
        groups.publish(groups.members[3], b"true")
        self.assertEqual([], groups.deaf(b"true", groups.members))

    def test_full(self) -> None:
        """
        Where a node on the way can take no more groups, the next one is the parent; where the root cannot, listeners
        try again, and are there when it can.
        """
        groups = self.groups(16, 60)
        root = self.root(groups)
        self.patch(tree, "GROUPS_LIMIT", 0)
        listeners = [member for member in groups.members[:20] if member is not root]
        for member in listeners:
            self.assertRaises(Overloaded, groups.subscribe, [member])
        self.patch(tree, "GROUPS_LIMIT", 1)
        own: dict[Member, GroupId] = {}
        number = 0
        while len(own) < len(groups.members):
            number += 1
            group = group_of(AccountId(Id(number)))
            own[groups.rings.root(group, groups.members)] = group
        for member in groups.members:
            if member not in listeners:
                groups.scribes[member].subscribe(own[member], lambda publication: None)
        groups.subscribe(listeners)
        groups.rings.advance(30)
        self.assertNotEqual([], groups.wrong())
        groups.scribes[root].unsubscribe(own[root])
        self.assertEqual([], groups.grown(120))
        groups.publish(root, b"room")
        self.assertEqual([], groups.deaf(b"room", listeners))

    def test_anycast(self) -> None:
        """
        One member that takes it gets what is offered, wherever it stands; when none does the asker is told.
        """
        groups = self.groups(12, 60)
        takers: list[Member] = []
        for number, member in enumerate(groups.members[:30]):

            def take(payload: bytes, origin: object, member: Member = member, willing: bool = number == 17) -> bool:
                if willing and payload == b"work":
                    takers.append(member)
                return willing and payload == b"work"

            groups.scribes[member].subscribe(GROUP, lambda publication: None, take)
        self.assertEqual([], groups.grown())
        for asker in (groups.members[50], groups.members[3], groups.members[17]):
            work = Deferred.fromCoroutine(groups.scribes[asker].anycast(GROUP, b"work"))
            self.assertEqual(groups.members[17].id, groups.rings.finish(work).id)
        self.assertEqual([groups.members[17]] * 3, takers)
        nothing = Deferred.fromCoroutine(groups.scribes[groups.members[50]].anycast(GROUP, b"nothing"))
        self.assertRaises(NotFound, groups.rings.finish, nothing)
        empty = Deferred.fromCoroutine(groups.scribes[groups.members[50]].anycast(group_of(MALLORY.account), b"work"))
        self.assertRaises(NotFound, groups.rings.finish, empty)

    def test_quiet(self) -> None:
        """
        A tree in which nothing is said costs each of its nodes a question and an answer every half minute, or less.
        """
        groups = self.groups(13, 30)
        groups.rings.advance(120)
        before = groups.rings.network.frames
        groups.rings.advance(600)
        without = groups.rings.network.frames - before
        groups.subscribe(groups.members)
        self.assertEqual([], groups.grown())
        groups.rings.advance(60)
        before = groups.rings.network.frames
        groups.rings.advance(600)
        self.assertLess(groups.rings.network.frames - before - without, 30 * 2 * 600 / 30)

    def test_stop(self) -> None:
        """
        A node that stops in order leaves no timer behind.
        """
        groups = self.groups(14, 8)
        groups.subscribe(groups.members)
        groups.rings.advance(3)
        member = groups.members[4]
        groups.scribes[member].stop()
        member.stop()
        self.assertEqual([], member.clock.getDelayedCalls())

    def test_replay(self) -> None:
        """
        The same seed tells the same story.
        """
        told = set()
        for _ in range(2):
            groups = Groups(15, 30, SMALL)
            trace = Trace(groups.rings.network)
            groups.rings.settle(30)
            groups.subscribe(groups.members)
            groups.rings.advance(30)
            self.root(groups).crash()
            groups.rings.advance(30)
            told.add(trace.hexdigest())
        self.assertEqual(1, len(told))
