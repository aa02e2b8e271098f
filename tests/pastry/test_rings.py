"""
Whole rings: they form, route and heal, judged by somebody who sees everything.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.ids import Key
from post.interfaces import IApplication
from post.pastry.config import PastryConfig
from tests.pastry.rings import Member, Recorder, Rings

SMALL = PastryConfig(half=3)
"""Leaf sets of six, so that twenty nodes are a large ring."""


class RingCase(SynchronousTestCase):
    """
    What every ring must be in the end.
    """

    def assertRight(self, rings: Rings, limit_s: float, parcels: int = 60) -> None:
        """
        Within C{limit_s} every leaf set is right; then all that is routed arrives once, at its root, replica sets are
        the true ones, and nobody remembers more than it should.
        """
        self.assertEqual([], rings.settle(limit_s))
        self.assertEqual([], rings.misrouted(parcels))
        self.assertEqual([], rings.misplaced(parcels // 3))
        self.assertEqual([], rings.overgrown())
        self.assertEqual([], rings.failures)
        self.assertEqual([], rings.usurped)

    def traffic(self, rings: Rings, origins: Sequence[Member], count: int, gap_s: float) -> list[tuple[Key, int]]:
        """
        Let C{count} parcels be sent by whoever of C{origins} is in the ring.
        """
        sent = []
        for _ in range(count):
            active = [member for member in origins if member.up and member.pastry.active]
            sent.append(rings.send(rings.random.choice(active)))
            rings.advance(gap_s)
        return sent

    def assertArrived(self, rings: Rings, sent: list[tuple[Key, int]]) -> None:
        """
        Everything arrived, and nothing where it should not.
        """
        rings.until(lambda: rings.deliveries().keys() >= set(sent), 30)
        self.assertEqual(set(), set(sent) - rings.deliveries().keys())
        self.assertEqual([], rings.usurped)


class FormingTests(RingCase):
    """
    How rings come about.
    """

    def test_interface(self) -> None:
        """
        What records deliveries is an application.
        """
        verifyObject(IApplication, Recorder())

    def test_one_by_one(self) -> None:
        """
        Rings of any size around that of a leaf set form one by one.
        """
        for count in (1, 2, 3, 6, 7, 8, 9, 20):
            rings = Rings(count, count, SMALL)
            rings.formed()
            self.assertRight(rings, 15)

    def test_at_once(self) -> None:
        """
        A ring that is switched on all at once is there after a few seconds, whatever its size.
        """
        for seed, count in enumerate((2, 3, 5, 6, 7, 8, 9, 13, 30)):
            rings = Rings(seed, count, SMALL)
            rings.boot()
            self.assertRight(rings, 15)

    def test_two_hundred(self) -> None:
        """
        So is one of 200, with leaf sets of the usual size.
        """
        rings = Rings(1, 200)
        rings.boot()
        self.assertRight(rings, 10)

    def test_around_a_leaf_set(self) -> None:
        """
        So are those where everybody can just know, or just not know, everybody.
        """
        for count in (24, 25, 26, 27):
            rings = Rings(count, count)
            rings.boot()
            self.assertRight(rings, 10)

    def test_five_soon(self) -> None:
        """
        Five nodes that start within a second of one another are a ring a few round trips after the last of them.
        """
        rings = Rings(3, 5)
        for member in rings.members:
            member.boot(rings.seeds(5))
            rings.advance(0.25)
        self.assertTrue(rings.until(lambda: all(member.pastry.active for member in rings.members), 0.6))
        self.assertRight(rings, 1)

    def test_seeds_without_oneself(self) -> None:
        """
        A ring forms where everybody lists only others.
        """
        rings = Rings(4, 6, SMALL)
        for member in rings.members:
            member.boot([seed for seed in rings.seeds(2) if seed != member.address])
        self.assertRight(rings, 15)

    def test_chain_of_seeds(self) -> None:
        """
        A ring forms where each one lists only the next.
        """
        for seed in range(4):
            rings = Rings(seed, 6, SMALL)
            for member, following in zip(rings.members, [*rings.members[1:], rings.members[0]], strict=True):
                member.boot([following.address])
            self.assertRight(rings, 100)

    def test_seeds_off(self) -> None:
        """
        Seeds that are off only cost time: five seconds where they refuse, and where nothing answers too.
        """
        rings = Rings(6, 6, SMALL)
        seeds = ["nobody:1", rings.members[0].address, rings.members[1].address, "nobody:2"]
        rings.boot(seeds=seeds)
        self.assertRight(rings, 12)

    def test_off_line(self) -> None:
        """
        Whoever is in nobody's list and reaches nobody does not found a ring, but joins once a seed is there.
        """
        rings = Rings(7, 3)
        rings.boot(rings.members[1:], rings.seeds(1))
        rings.advance(60)
        self.assertEqual([False, False], [member.pastry.active for member in rings.members[1:]])
        rings.boot(rings.members[:1], rings.seeds(1))
        self.assertRight(rings, 15)

    def test_alone(self) -> None:
        """
        A node without seeds founds a ring at once, and is the root of everything.
        """
        rings = Rings(8, 1)
        rings.boot(seeds=[])
        self.assertTrue(rings.members[0].pastry.active)
        self.assertRight(rings, 0)

    def test_traffic_while_joining(self) -> None:
        """
        While a ring doubles nothing is lost, and nothing delivered by a node that an active one is nearer than.
        """
        rings = Rings(9, 24, SMALL)
        rings.formed(12)
        rings.settle(10)
        rings.boot(rings.members[12:])
        self.assertArrived(rings, self.traffic(rings, rings.members, 150, 0.02))
        self.assertRight(rings, 15)

    def test_same_owner(self) -> None:
        """
        The nodes of a replica set have distinct owners, whoever is asked.
        """
        rings = Rings(10, 40, owners=11)
        rings.formed()
        self.assertRight(rings, 15)


class HealingTests(RingCase):
    """
    What rings survive.
    """

    def formed(self, seed: int, count: int = 20) -> Rings:
        """
        A healthy ring.
        """
        rings = Rings(seed, count, SMALL)
        rings.formed()
        self.assertEqual([], rings.settle(15))
        return rings

    def test_half_crashes(self) -> None:
        """
        After half of a ring has died at once, with or without the computers, the rest is a ring.
        """
        for seed, silent in ((1, False), (2, True)):
            rings = self.formed(seed)
            for member in rings.random.sample(rings.members[3:], 10):
                member.crash(silent)
            self.assertRight(rings, 90)

    def test_most_crash(self) -> None:
        """
        Even the last two of twenty are a ring again, whose members are the roots of all keys.
        """
        rings = self.formed(3)
        for member in rings.members[2:]:
            member.crash()
        self.assertRight(rings, 120)

    def test_last_one(self) -> None:
        """
        So is the last one.
        """
        rings = self.formed(4)
        for member in rings.members[1:]:
            member.crash(silent=True)
        self.assertRight(rings, 120)

    def test_traffic_while_crashing(self) -> None:
        """
        While a quarter of a ring dies nothing that the others send is lost.
        """
        rings = self.formed(5)
        for member in rings.random.sample(rings.members, 5):
            member.crash(silent=True)
        self.assertArrived(rings, self.traffic(rings, rings.members, 60, 0.05))

    def test_stop(self) -> None:
        """
        A node that is stopped in order is gone, and leaves no timer behind.
        """
        rings = self.formed(6, 8)
        rings.members[4].stop()
        self.assertRight(rings, 10)
        self.assertEqual([], rings.members[4].clock.getDelayedCalls())

    def test_stop_while_joining(self) -> None:
        """
        So is one that has not found a ring yet.
        """
        rings = Rings(7, 2)
        member = rings.members[1]
        member.boot(rings.seeds(1))
        rings.advance(20)
        member.stop()
        rings.advance(20)
        self.assertFalse(member.pastry.active)
        self.assertEqual([], member.clock.getDelayedCalls())

    def test_restart(self) -> None:
        """
        Nodes that start anew, before or after the others have noticed, are taken for what they are now.
        """
        for away_s in (0.0, 0.5, 30.0):
            rings = self.formed(8)
            gone = rings.random.sample(rings.members, 5)
            for member in gone:
                member.crash()
            rings.advance(away_s)
            rings.boot(gone)
            self.assertRight(rings, 30)
            for member in rings.members:
                epochs = {contact.id: contact.epoch for contact in member.pastry.ring.leaf_contacts()}
                self.assertEqual({node: rings.by_id[node].contact.epoch for node in epochs}, epochs)

    def test_all_restart(self) -> None:
        """
        A ring of which everybody starts anew is one ring again.
        """
        rings = self.formed(9)
        for member in rings.members:
            member.crash()
        rings.boot()
        self.assertRight(rings, 30)

    def test_thaw(self) -> None:
        """
        Nodes that sleep are replaced, and are back in their place soon after they wake up; meanwhile they deliver
        nothing.
        """
        for seconds in (3.0, 60.0):
            rings = self.formed(10)
            asleep = rings.random.sample(rings.members, 5)
            for member in asleep:
                member.freeze()
            awake = [member for member in rings.members if not member.frozen]
            sent = self.traffic(rings, awake, 20, seconds / 20)
            for member in asleep:
                member.thaw()
            self.assertArrived(rings, sent)
            self.assertRight(rings, 30)

    def test_partition(self) -> None:
        """
        A broken network makes two rings, each of them right; once it works again they are soon one.
        """
        for minutes in (1, 10):
            rings = self.formed(11)
            half = rings.random.sample(rings.members, 10)
            others = [member for member in rings.members if member not in half]
            rings.network.partition([[member.id for member in half]])
            rings.advance(60 * minutes)
            self.assertEqual([], rings.settle(60, half))
            self.assertEqual([], rings.settle(60, others))
            rings.network.heal()
            frames = rings.network.frames
            self.assertRight(rings, 330)
            self.assertTrue(rings.network.frames - frames < 6000, rings.network.frames - frames)

    def test_founded_apart(self) -> None:
        """
        Two rings that arose apart find each other through a seed that only some know.
        """
        for mine, theirs in ((1, 1), (1, 20), (4, 16), (10, 10)):
            rings = Rings(mine, mine + theirs, SMALL)
            one, other = rings.members[:mine], rings.members[mine:]
            rings.network.partition([[member.id for member in one]])
            rings.boot(one, [one[0].address, other[0].address])
            rings.boot(other, [other[0].address])
            rings.advance(30)
            self.assertEqual([], rings.settle(30, one))
            self.assertEqual([], rings.settle(30, other))
            rings.network.heal()
            self.assertRight(rings, 200)

    def test_one_way(self) -> None:
        """
        That one node cannot reach another loses nobody to the rest.
        """
        rings = self.formed(12, 8)
        first, second = rings.members[2], rings.members[5]
        rings.network.block(first.id, second.id)
        rings.advance(120)
        others = [member for member in rings.members if member not in (first, second)]
        for member in others:
            successors, predecessors = rings.truth(member)
            self.assertEqual({*successors, *predecessors}, set(member.pastry.ring.leaves))
        rings.network.heal()
        self.assertRight(rings, 330)

    def test_quiet(self) -> None:
        """
        A healthy ring says little: for each node about one heartbeat in its time, now and then a question to who stands
        in its table, and hardly a probe.
        """
        rings = self.formed(13)
        rings.advance(120)
        frames, probes = rings.network.frames, sum(member.pastry.liveness.probes for member in rings.members)
        rings.advance(600)
        each = (rings.network.frames - frames) / 20 / (600 / SMALL.heartbeat_s)
        self.assertTrue(each < 2.0, each)
        probed = sum(member.pastry.liveness.probes for member in rings.members) - probes
        self.assertTrue(probed < 20 * 40, probed)
