"""
The experiment about nodes that lie, and the liars.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from post.ids import RING, Key, NodeId
from post.pastry.constrained import ConstrainedTable
from post.pastry.listed import QUESTIONS_LIMIT
from post.pastry.messages import Find, Found, Route, Row, ShareRow, Vouch, Vouched
from post.pastry.statement import open_statement
from post.rpc import expect
from post.sim.attack import REPLICAS, run
from post.sim.latency import sphere
from post.sim.liars import ALONE, INVENTED, MIXED, Conspiracy, constrained
from post.sim.overlay import Overlay
from post.sim.signing import check, sign
from post.wire import Message, encode


class AttackTests(SynchronousTestCase):
    """
    Tests of L{run}.
    """

    def test_liars(self) -> None:
        """
        Where 30 % lie most usual lookups are lost, and the secure ones find everybody; each costs no more than 30 ways.
        """
        report = run(500, 5, 0.3, 80)
        self.assertEqual((500, 80, 0.3), (report.nodes, report.lookups, report.faulty_fraction))
        self.assertEqual(1.0, report.success)
        self.assertTrue(0 < report.plain_success < 0.4, report)
        self.assertTrue(report.doubted > 0.3 and 1 <= report.ways <= 30, report)
        self.assertTrue(report.checks < report.overhead <= report.most <= 400, report)

    def test_honest(self) -> None:
        """
        Where nobody lies all are found, both ways; few are doubted, and of the others only the first answer is tested.
        """
        report = run(300, 5, 0.0, 60)
        self.assertEqual((1.0, 1.0), (report.success, report.plain_success))
        self.assertTrue(report.doubted < 0.1 and report.checks < 2 * 12, report)

    def test_small(self) -> None:
        """
        In a ring where everybody is a neighbor nothing need be asked, and a ring that forms by the protocol can be
        attacked too.
        """
        report = run(12, 5, 0.4, 40)
        self.assertEqual((1.0, 0.0, 4 / 12), (report.success, report.overhead, report.faulty_fraction))
        report = run(40, 5, 0.3, 30)
        self.assertEqual(1.0, report.success)

    def test_listed(self) -> None:
        """
        Where it is known who may be there, half of the nodes less one lie in vain, in rings formed by the protocol, and
        also where some of those who may be there are away.
        """
        for nodes, away in ((5, 0.4), (40, 0.0), (40, 0.3), (300, 0.0)):
            report = run(nodes, 6, 0.49, 30, directory=True, away=away)
            self.assertEqual((1.0, True), (report.success, report.directory), report)
            self.assertTrue(report.most <= 2 * QUESTIONS_LIMIT)
        self.assertTrue(report.plain_success < 0.4)

    def test_tactics(self) -> None:
        """
        Liars who name honest nodes too, or make nodes up, so that there are enough of them, are found out all the same.
        """
        for tactic, directory in ((MIXED, False), (INVENTED, False), (INVENTED, True)):
            report = run(280, 6, 0.3, 15, directory=directory, tactic=tactic)
            self.assertEqual((1.0, tactic), (report.success, report.tactic), report)

    def test_listed_honest(self) -> None:
        """
        Where nobody lies, nobody is missing, and only those who are found are asked whether they live.
        """
        report = run(300, 6, 0.0, 30, directory=True)
        self.assertEqual((1.0, 0.0), (report.success, report.doubted))
        self.assertTrue(report.overhead <= 2 * REPLICAS, report)

    def test_repeated(self) -> None:
        """
        A seed repeats all but the time it took; another does not.
        """
        one, two, other = (run(260, seed, 0.25, 15) for seed in (3, 3, 4))
        self.assertEqual(replace(one, wall_s=0), replace(two, wall_s=0))
        self.assertNotEqual(one.overhead, other.overhead)


class LiarsTests(SynchronousTestCase):
    """
    Tests of L{Conspiracy}: that liars do what the experiment says.
    """

    def setUp(self) -> None:
        self.overlay = Overlay(8, sphere(8))
        self.overlay.found(200)
        self.liars = Conspiracy(self.overlay, 60)
        for node in self.overlay.active():
            self.overlay.members[node].pastry.secure.use(partial(sign, node), check)
        self.honest = [node for node in self.overlay.active() if node not in self.liars]
        self.asker = self.overlay.members[self.honest[0]]

    def ask(self, node: NodeId, question: Message) -> Message:
        """
        What C{node} answers.
        """
        answers: list[Message] = []
        self.asker.rpc.ask(self.overlay.members[node].pastry.local, question).addCallback(answers.append)
        self.overlay.clock.advance(5)
        return answers[0]

    def test_named(self) -> None:
        """
        They name one another and nobody else, in rows and in leaf sets, and these they sign.
        """
        self.liars.begin()
        liar = self.liars.liars[10]
        row = expect(Row, self.ask(liar, ShareRow(0)))
        self.assertTrue(all(contact.id in self.liars for contact in row.contacts))
        answer = expect(Vouched, self.ask(liar, Vouch(Key(self.overlay.point()), bytes(16))))
        said = open_statement(answer.statement, answer.signature, liar, bytes(16), check)
        self.assertEqual(24, len(said.members()))
        self.assertTrue(all(node in self.liars for node in said.members()))
        self.assertTrue(all(contact.id in self.liars for contact in answer.onward))

    def test_tactic(self) -> None:
        """
        What they state stands as close together as nodes do where they name honest nodes that do not know those who are
        hidden, or make some up, but not where they name themselves alone.
        """
        usual = RING / 200
        for tactic, low, high in ((ALONE, 2.3, 5.0), (MIXED, 0.8, 2.2), (INVENTED, 0.6, 1.6)):
            liars = Conspiracy(self.overlay, 60, tactic)
            liar = liars.liars[20]
            after, before = liars.stated(liar)
            self.assertEqual((12, 12), (len(after), len(before)))
            ratio = before[-1].clockwise(after[-1]) / 24 / usual
            self.assertTrue(low < ratio < high, (tactic, ratio))
            honest = {each for each in (*after, *before) if each in self.overlay.members and each not in liars}
            self.assertEqual(tactic == MIXED, bool(honest))
            self.assertEqual(set(), honest & {*self.overlay.nearest(liar, 12)})

    def test_kept_up(self) -> None:
        """
        They remain members of the ring: nobody's leaf set changes.
        """
        self.liars.begin()
        self.overlay.clock.advance(100)
        self.assertEqual(0, self.overlay.wrong_leaf_sets())

    def test_poison(self) -> None:
        """
        Of the places in honest tables most have a liar then, where they had as many as others, and it belongs there.
        """

        def held() -> float:
            tables = [self.overlay.members[node].pastry.ring.table for node in self.honest]
            return sum(node in self.liars for table in tables for node in table) / sum(map(len, tables))

        before = held()
        self.liars.poison()
        self.assertTrue(before < 0.4 < 0.6 < held(), (before, held()))
        ring = self.asker.pastry.ring
        self.assertEqual([], [node for node in ring.table if ring.table.toward(node) != node])
        self.assertEqual(set(), {*ring.table, *ring.leaves} ^ ring.contacts.keys())

    def test_constrained(self) -> None:
        """
        The constrained table from global knowledge is the one that a node makes which has heard of everybody.
        """
        everybody = [self.overlay.members[node].pastry.local for node in self.overlay.active()]
        for node in self.honest[:5]:
            others = [contact for contact in everybody if contact.id != node]
            known = ConstrainedTable(node, partial(constrained, self.overlay, node))
            heard = ConstrainedTable(node, others.copy)
            self.assertEqual(heard.contacts(), known.contacts())

    def test_usurped(self) -> None:
        """
        Whatever comes to one of them is dropped, or its root is said to be the liar nearest to the key.
        """
        self.liars.begin()
        found: list[object] = []
        key = Key(self.overlay.point())
        for number in range(20):
            route = Route(key, number, 1, self.asker.pastry.local, encode(Find(3)))
            self.asker.rpc.ask(self.overlay.members[self.liars.liars[number]].pastry.local, route)
        self.asker.rpc.serve(Found, lambda peer, answer: found.append(peer.id))
        self.overlay.clock.advance(10)
        self.assertEqual({self.liars.nearest(key)}, set(found))
        self.assertTrue(len(found) < 20)
