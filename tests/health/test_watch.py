"""
Tests for L{post.health.watch} and L{post.health.survey}: whole nodes on an imaginary network.
"""

from __future__ import annotations

from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.health.alerts import alerts
from post.health.durability import Durability, judge
from post.health.facts import Facts, Mailbox, Presence
from post.health.survey import NEWEST, OTHERS, PERIOD_S, REST_S, SETTLE_S
from post.health.watch import Watch
from post.ids import Contact, Id, NodeId
from post.interfaces import IApplication
from post.pastry.roster import Entry, Roster
from post.sim.world import World
from tests.health.samples import ALICE

MESSAGE = (
    b"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: %d\r\nMessage-ID: <%d@example.org>\r\n\r\nHello.\r\n"
)


class WatchTests(SynchronousTestCase):
    """
    Tests of L{Watch}.
    """

    def setUp(self) -> None:
        self.world = World(7, machines=6)
        self.addCleanup(self.world.end)
        self.world.start()
        self.watch = self.look_after("node1")

    def look_after(self, name: str) -> Watch:
        """
        Have a node watched.
        """
        machine = self.world.machines[name]
        watch = Watch(self.world.node(name), machine.clock, Random(1), lambda: (100 << 30, 50 << 30))
        watch.start()
        self.addCleanup(watch.stop)
        return watch

    def send(self, number: int) -> None:
        """
        A message from Alice to Bob.
        """
        self.world.finish(self.world.send("alice", ["bob"], MESSAGE % (number, number)))

    def seen(self) -> Mailbox:
        """
        What is said of Alice's mail now.
        """
        mailbox = self.watch.facts().mailbox(ALICE)
        assert mailbox is not None
        return mailbox

    def found(self) -> Durability:
        """
        What the next look at Alice's mail finds.
        """

        def at() -> float:
            found = self.seen().durability
            return found.at if found is not None else 0.0

        before = at()
        self.world.wait(lambda: at() > before, "a look")
        found = self.seen().durability
        assert found is not None
        return found

    def copies(self, found: Durability) -> dict[str, dict[int, int]]:
        """
        By class.
        """
        return {kind.name: kind.copies for kind in found.kinds}

    def test_well(self) -> None:
        """
        In a whole ring everything of Alice's has its copies, two nodes may vanish, and nothing is wrong.
        """
        verifyObject(IApplication, self.watch)
        self.send(1)
        found = self.found()
        kinds = {kind.name: kind.total for kind in found.kinds}
        self.assertEqual({"log head": 1, "identity": 2, "messages": 1}, kinds)
        self.assertEqual((0, 0, 3), (found.short, found.missing, min(kind.fewest for kind in found.kinds)))
        three = sum(copies.get(3, 0) for copies in self.copies(found).values())
        self.assertEqual([0, 0, three], [loss.exposed for loss in found.losses])
        self.assertEqual([], alerts(self.watch.facts()))
        facts = self.watch.facts()
        self.assertEqual({Presence.HERE}, {peer.presence for peer in facts.peers})
        self.assertEqual([True], [peer.ours for peer in facts.peers if peer.node_id == facts.status.node_id])
        self.assertEqual(6, len(facts.peers))
        self.assertTrue(all(peer.owner for peer in facts.peers))

    def test_nodes_vanish(self) -> None:
        """
        When nodes vanish, that there are fewer copies is seen before long, as the ring sees who has gone; and that all
        is well again, when the others have made new copies.
        """
        self.send(1)
        before = self.found()
        self.assertEqual(0, before.short)
        for name in ("node3", "node4"):
            self.world.machines[name].crash(wipe=True)
        began = self.world.clock.seconds()
        self.world.wait(lambda: len(self.world.node("node1").pastry.members()) == 4, "that they are missed")
        after = self.found()
        self.assertLess(self.world.clock.seconds() - began, PERIOD_S / 2)
        while after.short:
            after = self.found()
        self.assertEqual([0, 0], [loss.exposed for loss in after.losses[:2]])
        away = [peer.presence for peer in self.watch.facts().peers].count(Presence.AWAY)
        self.assertEqual(2, away)

    def test_dead_afar(self) -> None:
        """
        In a ring that is larger than a leaf set, whoever is dead by the roster is away; of others nothing is known.
        """
        pastry = self.world.node("node1").pastry
        pastry.ring.leaves.open()
        pastry.ring.roster = roster = Roster(pastry.local)
        dead, unknown = (NodeId(Id(number)) for number in (1, 2))
        roster.take(Entry(Contact(dead, (), 1), 1), 0.0)
        self.assertEqual(Presence.UNSEEN, self.watch._presence(dead))
        roster.take(Entry(Contact(dead, (), 1), 1, True), 0.0)
        self.assertEqual(Presence.AWAY, self.watch._presence(dead))
        self.assertEqual(Presence.UNSEEN, self.watch._presence(unknown))

    def test_away(self) -> None:
        """
        From the moment on at which a node is known to be away, before anybody has counted anew, its copies are none;
        and when it is back before that, they are some again.
        """
        self.send(1)
        self.found()
        opened = self.world.node("node1").accounts.opened[ALICE]
        (sighting,) = self.world.do(self.world.node("node1").past.lookout.look([opened.log.handle]))
        holder = next(
            name
            for name in self.world.machines
            if name != "node1" and self.world.node(name).node_id in sighting.holders
        )
        counted = self.found_at()
        ring, gone = self.world.node("node1").pastry.ring, self.world.node(holder).node_id
        ring.suspects.add(gone)
        without = self.seen().durability
        assert without is not None
        self.assertEqual((1, counted), (without.away, without.at))
        self.assertGreater(without.short, 0)
        self.assertIn("short", [alert.name for alert in alerts(self.watch.facts())])
        ring.suspects.discard(gone)
        again = self.seen().durability
        assert again is not None
        self.assertEqual((0, 0, counted), (again.away, again.short, again.at))

    def found_at(self) -> float:
        """
        When the copies were counted.
        """
        found = self.seen().durability
        assert found is not None
        return found.at

    def test_new_mail(self) -> None:
        """
        New mail is counted before long, though no node has come or gone, and until then it is said that there is some;
        mail that comes all the time does not put it off.
        """
        self.assertIsNone(self.seen().durability)
        self.assertEqual(0, self.found().messages)
        self.send(1)
        self.world.wait(lambda: self.seen().behind, "that there is some")
        began = self.world.clock.seconds()
        self.assertEqual(1, self.found().messages)
        self.assertLess(self.world.clock.seconds() - began, SETTLE_S + REST_S + 5)
        self.assertFalse(self.seen().behind)
        at, began = self.found_at(), self.world.clock.seconds()
        for number in range(2, 40):
            self.send(number)
            self.world.clock.advance(1)
            if self.found_at() > at:
                break
        self.assertGreater(self.found_at(), at)
        self.assertLess(self.world.clock.seconds() - began, SETTLE_S + REST_S + 10)

    def test_few(self) -> None:
        """
        With too few nodes left to make copies on, what could be lost is said, and so is what to do.
        """
        self.send(1)
        self.found()
        for name in ("node3", "node4", "node5", "node6"):
            self.world.finish(self.world.machines[name].stop())
        self.world.wait(lambda: len(self.world.node("node1").pastry.members()) == 2, "that they are missed")
        found = self.found()
        while found.total != found.short:
            found = self.found()
        self.assertGreater(found.losses[1].exposed, 0)
        names = [alert.name for alert in alerts(self.watch.facts())]
        self.assertIn("cannot-accept", names)
        self.assertIn("short", names)

    def test_many(self) -> None:
        """
        Of a large mailbox the newest messages are looked at and some of the others; what is said tells how many.
        """
        opened = self.world.node("node1").accounts.opened[ALICE]
        self.send(1)
        self.found()
        survey = self.watch._surveys[ALICE]
        messages = [str(number).encode() for number in range(5 * (NEWEST + OTHERS))]
        chosen = survey._choose(messages)
        self.assertEqual(messages[-NEWEST:], chosen[:NEWEST])
        self.assertEqual(NEWEST + OTHERS, len(set(chosen)))
        self.assertNotEqual(chosen, survey._choose(messages))
        self.assertTrue(opened.ready)

    def test_unreadable(self) -> None:
        """
        A message whose first block nobody has counts as missing.
        """
        self.send(1)
        self.found()
        opened = self.world.node("node1").accounts.opened[ALICE]
        survey = self.watch._surveys[ALICE]
        survey._known.clear()
        (reference,) = {entry.message for entry in opened.mailbox.state.by_key.values()}
        (handle,) = self.world.do(opened.mailbox.letters.handles(reference))
        opened.mailbox.letters._skeletons.clear()
        self.world.node("node1").past._cache._blocks.clear()
        for machine in self.world.machines.values():
            machine.store.delete(handle)
        found = judge(self.world.do(survey.look()), frozenset())
        self.assertEqual((1, {0: 1}), (found.missing, self.copies(found)["messages"]))

    def test_facts(self) -> None:
        """
        A snapshot says of the node what its status says, and of each certificate when it ends.
        """
        facts = self.watch.facts()
        self.assertIsInstance(facts, Facts)
        self.assertEqual(self.world.node("node1").status(), facts.status)
        self.assertEqual(["node", "identity", "directory"], [each.kind for each in facts.certificates])
        self.assertIsNotNone(facts.clock_ahead_s)
        self.assertLess(abs(facts.clock_ahead_s or 0), 3)
