"""
The experiment about stored objects.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from post.ids import Handle
from post.sim.hosts import Host, Hosts
from post.sim.keeping import LATE_S, REPAIR_S, Keeping
from post.sim.latency import sphere
from post.sim.overlay import Overlay
from post.sim.storage import StorageReport, form, run
from post.sim.turnover import Turnover

SIZE = 500


def ring(nodes: int, seed: int = 1) -> tuple[Hosts, Keeping]:
    """
    A ring where nobody comes or goes by itself, and what judges it.
    """
    hosts = Hosts(Overlay(seed, sphere(seed)), 3, 2)
    form(hosts, nodes)
    return hosts, Keeping(hosts, Random(seed))


class RunTests(SynchronousTestCase):
    """
    Tests of L{run}.
    """

    def run_small(self, seed: int, session_s: float, gone_part: float = 0.0) -> StorageReport:
        """
        A few minutes of twenty nodes.
        """
        return run(20, seed, 30, SIZE, session_s, 120.0, gone_part, 420.0)

    def test_nobody_goes(self) -> None:
        """
        Then all is found where it was put, k times, and nothing is sent again.
        """
        found = self.run_small(1, 0.0)
        self.assertEqual((30, 30, 0), (found.objects, found.inserted, found.failed_inserts))
        self.assertEqual((336, 336), (found.fetches, found.fetched))
        self.assertEqual((0, 0.0, 0), (found.lost, found.below_k, found.repair_bytes))
        self.assertEqual((30 * 3 * SIZE, 30 * 3 * SIZE), (found.stored_bytes, found.disk_bytes))
        self.assertEqual((0, 20.0), (found.departures, found.up_mean))
        self.assertEqual((420.0, 20, (0, 0, 0, 30)), found.copies_up[-1])

    def test_nodes_come_and_go(self) -> None:
        """
        Copies are made again as nodes go, some for good: every fetch by a node that lives on gets the right bytes.
        """
        found = self.run_small(2, 600.0, 0.3)
        self.assertTrue(found.departures > found.gone > 0)
        self.assertTrue(found.up_mean < 20)
        self.assertEqual(found.inserted, found.objects - found.failed_inserts)
        self.assertEqual(found.fetches, found.fetched + found.orphaned)
        self.assertEqual((0, 0), (found.lost, found.unrepaired))
        self.assertTrue(0 < found.below_k < 0.2, found.below_k)
        self.assertTrue(found.repair_bytes > found.needless_bytes)
        self.assertEqual(found.repair_ratio, found.repair_bytes / found.stored_bytes)

    def test_repeated(self) -> None:
        """
        A seed repeats all but how long it took here; another seed gives another run.
        """
        found = [replace(self.run_small(seed, 300.0, 0.2), wall_s=0.0) for seed in (3, 3, 4)]
        self.assertEqual(found[0], found[1])
        self.assertNotEqual(found[0].copies_up, found[2].copies_up)


class KeepingTests(SynchronousTestCase):
    """
    Tests of L{Keeping}, which has to see what goes wrong.
    """

    def setUp(self) -> None:
        self.hosts, self.keeping = ring(12)
        first = self.hosts.up()[0]
        self.handle = self.keeping.insert(first, b"kept, or not" * 10)
        self.pass_time(5.0)
        self.assertEqual([self.handle], self.keeping.acknowledged)

    def pass_time(self, seconds: float) -> None:
        """
        Let everything happen that does in so many seconds.
        """
        self.hosts.overlay.clock.advance(seconds)

    def holders(self, handle: Handle) -> list[Host]:
        """
        Whose disks have an object.
        """
        return [host for host in self.hosts.all.values() if host.id in self.hosts.ledger.disks(handle)]

    def reader(self) -> Host:
        """
        Some node that has not got it.
        """
        return next(host for host in self.hosts.up() if host.id not in self.hosts.ledger.disks(self.handle))

    def crash(self, gone: bool, every_s: float = 0.0) -> list[Host]:
        """
        All who have it go, one after the other; who they were.
        """
        holders = self.holders(self.handle)
        for host in holders:
            had = set(self.hosts.ledger.objects(host.id))
            host.crash(gone)
            self.keeping.left(had)
            self.pass_time(every_s)
        return holders

    def counted(self) -> tuple[int, int, int, int, int]:
        """
        Fetches that got it, and that did not: not found, dark, late, orphaned.
        """
        self.keeping.close()
        kept = self.keeping
        return kept.fetched, kept.not_found, kept.dark, kept.late, kept.orphaned

    def test_lost(self) -> None:
        """
        An object is lost when the disks of all who had it are, and then nobody finds it.
        """
        self.assertEqual(3, len(self.crash(gone=True)))
        self.assertEqual(1, self.keeping.lost)
        self.pass_time(120.0)
        self.keeping.fetch(self.reader(), self.handle)
        self.pass_time(60.0)
        self.assertEqual((0, 1, 1, 0, 0), self.counted())
        self.assertEqual(0, self.keeping.unrepaired)

    def test_back(self) -> None:
        """
        It is not lost where disks come back: it is found again then.
        """
        holders = self.crash(gone=False)
        self.assertEqual((0, 0), (self.keeping.lost, self.hosts.copies_up(self.handle)))
        self.pass_time(60.0)
        holders[0].boot()
        self.pass_time(60.0)
        self.keeping.fetch(self.reader(), self.handle)
        self.pass_time(60.0)
        self.assertEqual((1, 0, 0, 0, 0), self.counted())
        self.assertEqual(3, self.hosts.copies_up(self.handle))

    def test_unrepaired(self) -> None:
        """
        That nobody makes the copies again which went, though there is time, is seen.
        """
        for host in self.hosts.up():
            assert host.past is not None
            host.past.stop()
        self.crash(gone=True, every_s=REPAIR_S)
        self.assertEqual((1, 1), (self.keeping.lost, self.keeping.unrepaired))

    def test_repaired(self) -> None:
        """
        They do make them: so slowly all who had it may go, and it is still there k times.
        """
        holders = self.crash(gone=True, every_s=REPAIR_S)
        self.assertEqual((0, 0), (self.keeping.lost, self.keeping.unrepaired))
        self.assertEqual(3, len(self.holders(self.handle)))
        self.assertEqual([], [host for host in holders if host.up])
        self.assertTrue(self.hosts.ledger.repair_bytes > 0)

    def test_late(self) -> None:
        """
        Who gets no answer in time is late; and a node that sleeps is not in the ring.
        """
        for host in self.holders(self.handle):
            self.hosts.overlay.sleep(host.id)
        self.keeping.fetch(self.reader(), self.handle)
        self.pass_time(LATE_S)
        self.assertEqual((0, 0, 1, 1, 0), self.counted())

    def test_orphaned(self) -> None:
        """
        A fetch whose origin goes is not held against anybody.
        """
        reader = self.reader()
        self.keeping.fetch(reader, self.handle)
        reader.crash()
        self.pass_time(60.0)
        self.assertEqual((0, 0, 0, 0, 1), self.counted())

    def test_wrong(self) -> None:
        """
        The right bytes are those that were inserted, not merely those that somebody kept.
        """
        self.keeping.expected[self.handle] = b"others"
        self.keeping.fetch(self.reader(), self.handle)
        self.pass_time(5.0)
        self.assertEqual((0, 0, 0, 0, 0), self.counted())
        self.assertEqual(1, self.keeping.wrong)


class TurnoverTests(SynchronousTestCase):
    """
    Tests of L{Turnover}.
    """

    def test_times(self) -> None:
        """
        Times up and off are as long as was asked for, in the mean, and as many disks are lost; as many computers are
        there as ever.
        """
        hosts, _ = ring(20)
        turnover = Turnover(hosts, Random(1), 300.0, 100.0, 0.5, lambda had: None)
        turnover.begin()
        hosts.overlay.clock.advance(3000.0)
        self.assertTrue(100 < len(turnover.stays_s) < 200, len(turnover.stays_s))
        self.assertTrue(240 < sum(turnover.stays_s) / len(turnover.stays_s) < 360)
        self.assertTrue(80 < sum(turnover.aways_s) / len(turnover.aways_s) < 120)
        self.assertTrue(0.4 < turnover.gone / len(turnover.stays_s) < 0.6)
        self.assertEqual(turnover.gone, sum(host.disk is None for host in hosts.all.values()))
        turnover.end()
        hosts.overlay.clock.advance(2000.0)
        self.assertEqual(20, len(hosts.up()))

    def test_the_last_stays(self) -> None:
        """
        Of two that hardly ever are up one is, all the time: otherwise there would be nobody to come to.
        """
        hosts, _ = ring(2)
        turnover = Turnover(hosts, Random(1), 60.0, 3600.0, 0.0, lambda had: None)
        turnover.begin()
        for _ in range(20):
            hosts.overlay.clock.advance(60.0)
            self.assertTrue(hosts.up())
        self.assertTrue(turnover.stays_s)
