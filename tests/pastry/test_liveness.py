"""
Tests for L{post.pastry.liveness}.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from post.errors import Refused
from post.ids import Contact
from post.pastry.config import PastryConfig
from post.pastry.messages import Heartbeat, Probe, Probed, Rumor
from post.wire import Priority, RefusalCode
from tests.pastry.rings import Member, Rings

SMALL = PastryConfig(half=3)


class LivenessTests(SynchronousTestCase):
    """
    Tests for L{Liveness}.
    """

    def setUp(self) -> None:
        self.rings = Rings(3, 6, SMALL)
        self.rings.formed()
        self.assertEqual([], self.rings.settle(15))
        self.rings.advance(30)
        self.one = self.rings.members[0]

    def next_to(self, member: Member) -> Member:
        """
        Who follows C{member} on the ring.
        """
        return self.rings.by_id[member.pastry.ring.leaves.successors()[0]]

    def probes(self) -> int:
        return sum(member.pastry.liveness.probes for member in self.rings.living())

    def test_provoked(self) -> None:
        """
        Who makes us look after it thousands of times, and does not answer, costs us one look, and no memory.
        """
        other = self.next_to(self.one)
        self.rings.network.block(self.one.id, other.id)
        for _ in range(10_000):
            self.one.pastry.liveness._heartbeat(other.contact, Heartbeat(b"another!"))
        examination = self.one.pastry.liveness._examined[other.id]
        self.assertEqual(([], []), (examination.asked, examination.waiting))
        self.rings.network.heal()

    def test_false_suspicion(self) -> None:
        """
        Who is suspected and answers is no suspect any more, and stays where it was.
        """
        other = self.next_to(self.one)
        self.one.pastry.suspect(other.contact)
        self.assertEqual({other.id}, self.one.pastry.ring.suspects)
        self.rings.advance(1)
        self.assertEqual(set(), self.one.pastry.ring.suspects)
        self.assertIn(other.id, self.one.pastry.ring.leaves)

    def test_silent_death(self) -> None:
        """
        A node that dies without a word, and that nobody needs, is found dead by the next one, which tells the others;
        in the time that is stated for that.
        """
        for _ in range(2):
            self.next_to(self.one).crash(silent=True)
            self.assertEqual([], self.rings.settle(SMALL.notice_s + 1))
            self.rings.advance(30)

    def test_silent_row(self) -> None:
        """
        When several in a row fall silent, the others do not take that time for each of them.
        """
        rings = Rings(4, 12)
        rings.formed()
        self.assertEqual([], rings.settle(15))
        rings.advance(30)
        for member in sorted(rings.members, key=lambda member: member.id)[3:8]:
            member.crash(silent=True)
        self.assertEqual([], rings.settle(SMALL.notice_s + 4 * SMALL.probe_tries * SMALL.probe_s + 1))

    def test_how_often(self) -> None:
        """
        Heartbeats come the more often the more nodes have died lately, within bounds; whoever is watched says how often
        its own come, and is looked after the sooner for that.
        """
        liveness, after = self.one.pastry.liveness, self.next_to(self.one)
        self.rings.advance(4000)
        self.assertEqual(SMALL.heartbeat_s, liveness._heartbeat_s())
        for _ in range(16):
            liveness.failures.note()
        self.assertEqual(SMALL.heartbeat_least_s, liveness._heartbeat_s())
        self.rings.advance(3 * SMALL.heartbeat_s)
        self.assertEqual(SMALL.heartbeat_least_s, after.pastry.liveness._promised_s)
        self.one.crash(silent=True)
        self.rings.advance(SMALL.silence_limit_s(SMALL.heartbeat_least_s) + 4)
        self.assertNotIn(self.one.id, after.pastry.ring.leaves)

    def test_watched(self) -> None:
        """
        In a quiet ring nobody is asked for its silence: heartbeats come before that.
        """
        before = self.probes()
        self.rings.advance(600)
        self.assertLessEqual(self.probes() - before, 6)

    def test_asked_by_others(self) -> None:
        """
        Whoever is asked whether it reaches a node examines that, and answers after the first probe; who asks then, or
        while the examination goes on, hears the same without another.
        """
        other = self.next_to(self.one)
        other.crash(silent=True)
        liveness = self.one.pastry.liveness
        before = liveness.probes
        answers = [Deferred.fromCoroutine(liveness.answers(other.contact)) for _ in range(3)]
        self.rings.advance(0.9)
        self.assertNoResult(answers[0])
        self.rings.advance(0.4)
        self.assertEqual([False] * 3, [self.successResultOf(each) for each in answers])
        self.assertFalse(self.successResultOf(Deferred.fromCoroutine(liveness.answers(other.contact))))
        self.assertEqual(before + 2, liveness.probes)
        self.rings.advance(2)
        self.assertNotIn(other.id, self.one.pastry.ring.leaves)

    def test_acquitted(self) -> None:
        """
        Who answers the second probe is not called dead to others any more, though these are still being asked.
        """
        rings = Rings(2, 40)
        rings.formed()
        self.assertEqual([], rings.settle(60))
        rings.advance(200)
        one = rings.members[0]
        liveness = one.pastry.liveness
        other = rings.by_id[one.pastry.ring.leaves.successors()[4]]
        rings.network.freeze(other.id)
        other.clock.pause()
        liveness.suspect(other.contact)
        rings.advance(1.6)
        self.assertFalse(self.successResultOf(Deferred.fromCoroutine(liveness.answers(other.contact))))
        other.clock.resume()
        rings.network.thaw(other.id)
        rings.advance(0.5)
        self.assertIn(other.id, liveness._examined)
        self.assertTrue(rings.finish(Deferred.fromCoroutine(liveness.answers(other.contact))))

    def test_refused(self) -> None:
        """
        Who refuses a probe is alive, and for the applications as if it had just entered.
        """
        other = self.next_to(self.one)

        def refuse(peer: Contact, probe: Probe) -> Probed:
            raise Refused(RefusalCode.OVERLOADED)

        other.rpc.serve(Probe, refuse)
        updates = len(self.one.recorder.updates)
        self.one.pastry.suspect(other.contact)
        self.rings.advance(1)
        self.assertEqual(set(), self.one.pastry.ring.suspects)
        self.assertEqual([(other.id, True)], self.one.recorder.updates[updates:])

    def test_notice(self) -> None:
        """
        A silent node is noticed within half a minute.
        """
        self.assertLess(PastryConfig().notice_s, 25)
        self.assertLess(PastryConfig().silence_limit_s(10.0), 14)

    def test_verdict(self) -> None:
        """
        Whoever is suspected and dead is buried after two probes, and not before.
        """
        other = self.next_to(self.one)
        other.crash(silent=True)
        self.one.pastry.suspect(other.contact)
        self.rings.advance(1.9)
        self.assertIn(other.id, self.one.pastry.ring.leaves)
        self.rings.advance(1.6)
        self.assertNotIn(other.id, self.one.pastry.ring.leaves)

    def test_examined_once(self) -> None:
        """
        However many want to know, a node is probed once, and all are told.
        """
        other = self.next_to(self.one)
        before = self.one.pastry.liveness.probes
        told = [self.one.pastry.liveness.examine(other.contact) for _ in range(5)]
        self.rings.advance(1)
        self.assertEqual([True] * 5, [self.successResultOf(each) for each in told])
        self.assertEqual(before + 1, self.one.pastry.liveness.probes)
        self.assertEqual({}, self.one.pastry.liveness._examined)

    def test_refusal_is_no_second_opinion(self) -> None:
        """
        A link that breaks, and cannot be made again at once, is not yet a death: a second passes before the second
        probe.
        """
        other = self.next_to(self.one)
        other.crash()
        self.rings.advance(0.5)
        self.assertIn(other.id, self.one.pastry.ring.leaves)
        self.assertIn(other.id, self.one.pastry.ring.suspects)
        self.rings.advance(2)
        self.assertNotIn(other.id, self.one.pastry.ring.leaves)
        self.assertEqual(set(), self.one.pastry.ring.suspects)

    def test_rumor(self) -> None:
        """
        On a rumor a node sees for itself; about those who answered lately it does not even do that.
        """
        other, liar = self.next_to(self.one), self.next_to(self.next_to(self.one))
        self.rings.advance(10)
        before = self.one.pastry.liveness.probes
        for _ in range(50):
            liar.rpc.tell(self.one.contact, Rumor((other.id,)), Priority.URGENT)
            self.rings.advance(0.1)
        self.assertIn(other.id, self.one.pastry.ring.leaves)
        self.assertTrue(1 <= self.one.pastry.liveness.probes - before <= 3)

    def test_rumor_of_oneself(self) -> None:
        """
        Rumors about the receiver, the sender and nobody in particular lead to nothing.
        """
        liar = self.next_to(self.one)
        before = self.probes()
        rumor = Rumor((self.one.id, liar.id, self.rings.point()))
        liar.rpc.tell(self.one.contact, rumor, Priority.URGENT)
        self.rings.advance(0.5)
        self.assertEqual(before, self.probes())

    def test_disagreement(self) -> None:
        """
        When the digests of two neighbors differ, each learns from the other.
        """
        other = self.next_to(self.one)
        third = self.next_to(other)
        for forgetful, forgotten in ((self.one, third), (other, self.next_to(third))):
            ring = forgetful.pastry.ring
            ring.bury(forgotten.contact, self.rings.clock.seconds())
            ring.absent.clear()
        digest = self.one.pastry.ring.digest(other.id)
        self.one.rpc.tell(other.contact, Heartbeat(digest), Priority.URGENT)
        self.rings.advance(1)
        self.assertIn(third.id, self.one.pastry.ring.leaves)
        self.assertIn(self.next_to(third).id, other.pastry.ring.leaves)

    def test_absent_try_leaves_no_suspect(self) -> None:
        """
        A try whether somebody absent is back, which fails after that one has come back by itself, casts no suspicion.
        """
        other = self.next_to(self.one)
        ring = self.one.pastry.ring
        ring.bury(other.contact, self.rings.clock.seconds() - 60)
        self.rings.network.block(other.id, self.one.id)
        self.one.pastry.liveness._retry(self.rings.clock.seconds())
        ring.admit(other.contact)
        self.rings.advance(1.5)
        self.assertEqual(set(), ring.suspects)

    def test_absent_more_rarely(self) -> None:
        """
        Who stays away is tried more and more rarely, and never forgotten.
        """
        other = self.next_to(self.one)
        other.crash(silent=True)
        self.rings.advance(60)
        absent = self.one.pastry.ring.absent[other.id]
        early_s = absent.wait_s
        self.rings.advance(3600)
        self.assertTrue(early_s < absent.wait_s)
        self.assertEqual(SMALL.absent_most_s, absent.wait_s)
        other.boot(self.rings.seeds())
        self.assertEqual([], self.rings.settle(10))
