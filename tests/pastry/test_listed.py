"""
Secure lookups where it is known who may be in the ring: who is looked for, and on whose word.  (Whole rings are in
L{tests.sim.test_attack}.)
"""

from __future__ import annotations

from random import Random
from typing import cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from post.ids import BITS, Contact, Id, NodeId
from post.pastry.config import PastryConfig
from post.pastry.leafset import Side
from post.pastry.listed import QUESTIONS_LIMIT, Listed
from post.pastry.membership import Membership
from post.pastry.ring import Ring
from post.pastry.statement import Statement
from post.pastry.survey import Survey
from post.pastry.vouching import Vouching

HALF = 12
COUNT = 300


class Others:
    """
    All nodes but ours, as far as they answer: an honest one states its true leaf set, a liar what a test wants.

    @ivar asked: whom, in order.
    @ivar lies: what liars state, by who they are.
    """

    def __init__(self, ids: list[NodeId]) -> None:
        self.ids = ids
        self.asked: list[NodeId] = []
        self.dead: set[NodeId] = set()
        self.lies: dict[NodeId, tuple[list[Contact], list[Contact]]] = {}

    def sides(self, node: NodeId, half: int = HALF) -> tuple[list[Contact], list[Contact]]:
        """
        The true leaf set.
        """
        there = [each for each in self.ids if each not in self.dead or each == node]
        place = there.index(node)
        steps = range(1, half + 1)
        return (
            [at(there[(place + step) % len(there)]) for step in steps],
            [at(there[(place - step) % len(there)]) for step in steps],
        )

    def around(self, node: NodeId) -> list[Contact]:
        """
        The same as one list.
        """
        after, before = self.sides(node)
        return [*after, *before]

    async def ask_all(self, survey: Survey, nodes: list[NodeId]) -> None:
        """
        As L{Vouching.ask_all}.
        """
        for each in nodes:
            while (contact := survey.untried(each)) is not None:
                survey.asked += 1
                self.asked.append(each)
                if each in self.dead or contact.addresses == ("nowhere:1",):
                    survey.failed(contact)
                    continue
                after, before = self.lies.get(each) or self.sides(each)
                said = Statement(1, each, 0, 0, 0, bytes(16), False, tuple(after), tuple(before))
                survey.answered(contact, said)


def at(node: NodeId, address: str = "here:1") -> Contact:
    """
    The contact of C{node}.
    """
    return Contact(node, (address,))


class ListedTests(SynchronousTestCase):
    """
    Tests of L{Listed}.
    """

    def setUp(self) -> None:
        random = Random(9)
        self.ids = sorted(NodeId(Id(random.getrandbits(BITS))) for _ in range(COUNT))
        self.others = Others(self.ids)
        self.owner = self.ids[100]
        self.ring = Ring(self.owner, PastryConfig(), lambda contact, joined: None)
        self.ring.leaves.open()
        after, before = self.others.sides(self.owner)
        for contact in (*after, *before):
            self.ring.admit(contact, Side.BOTH)
        self.key = Id(self.ids[180] + 1)
        self.survey = Survey(self.key, at(self.owner))

    def search(self, listed: list[NodeId] | None = None, present: float = 1.0) -> Listed:
        """
        For two nodes; C{listed} are certified (all, by default), of whom the part C{present} is usually there.
        """

        async def usual(members: Membership) -> float:
            return present

        members = Membership(self.ids if listed is None else listed)
        vouching = cast(Vouching, self.others)
        return Listed(self.survey, members, self.ring, vouching, lambda node: node.hex(), 2, (), usual)

    def run_search(self, search: Listed) -> list[NodeId]:
        """
        What it finds.
        """
        self.assertTrue(self.successResultOf(Deferred.fromCoroutine(search.run())))
        return [contact.id for contact in self.survey.found(2, lambda node: node.hex())]

    def nearest(self) -> list[NodeId]:
        """
        The two nearest of those who are there.
        """
        there = [each for each in self.ids if each not in self.others.dead]
        return sorted(there, key=lambda node: (node.distance(self.key), node))[:2]

    def test_named(self) -> None:
        """
        If the first answer names all who should be there, only those who are found are asked.
        """
        self.survey.name([*self.others.around(self.ids[180]), at(self.ids[180])])
        search = self.search()
        self.assertEqual([], search.missing())
        self.assertEqual(self.nearest(), self.run_search(search))
        self.assertEqual((2, False), (len(self.others.asked), search.begun))

    def test_walk(self) -> None:
        """
        If nothing was named, we go along the ring from our own neighbors, a leaf set's reach at a time.
        """
        self.assertEqual(self.nearest(), self.run_search(self.search()))
        self.assertTrue(len(self.others.asked) < 80, len(self.others.asked))

    def test_away(self) -> None:
        """
        Whom none of a dozen nodes that have the key in their leaf sets knows is away; that of others nearly as many
        are is usual here.
        """
        random = Random(3)
        self.others.dead = set(random.sample([each for each in self.ids if abs(self.ids.index(each) - 100) > 12], 90))
        self.others.dead.add(self.ids[180])
        self.assertEqual(self.nearest(), self.run_search(self.search(present=0.7)))
        self.assertTrue(len(self.others.asked) < QUESTIONS_LIMIT / 4)

    def test_wrong_addresses(self) -> None:
        """
        A node that liars name with addresses at which nobody answers is looked for like one that nobody names.
        """
        hidden = self.nearest()[0]
        self.survey.name([*self.others.around(hidden), at(hidden, "nowhere:1")])
        self.assertEqual(self.nearest(), self.run_search(self.search()))
        self.assertIn(at(hidden), self.survey.found(1, lambda node: node.hex()))

    def test_dead(self) -> None:
        """
        But of whom honest nodes say no other address, and who does not answer, that one is dead.
        """
        dead = self.ids[180]
        sides = {each.id: self.others.sides(each.id) for each in self.others.around(dead)}
        self.others.dead = {dead}
        self.others.lies = sides  # No lies: nobody has noticed yet.
        self.survey.name([at(dead), *self.others.around(self.ids[181])])
        self.assertEqual(self.nearest(), self.run_search(self.search()))

    def test_liars(self) -> None:
        """
        Whoever hides half of its neighbors is asked, and not followed; the way goes on past it.
        """
        liars = set(Random(5).sample(self.ids, COUNT // 2 - 1)) - {self.owner, *self.nearest()}
        for liar in liars:
            after, before = self.others.sides(liar, 40)
            keep = [[each for each in side if each.id in liars][:HALF] for side in (after, before)]
            self.others.lies[liar] = (keep[0], keep[1])
        self.assertEqual(self.nearest(), self.run_search(self.search()))

    def test_newcomer(self) -> None:
        """
        Who was certified after the list was made is found too, if the others name it; who is made up costs a question
        or two, however many there are.
        """
        listed = [each for each in self.ids if each != self.ids[180]]
        made_up = [at(NodeId(Id(self.key + number)), "nowhere:1") for number in range(100)]
        self.survey.name([*self.others.around(self.ids[180]), at(self.ids[180]), *made_up[50:]])
        self.assertEqual(self.nearest(), self.run_search(self.search(listed)))
        self.survey = Survey(self.key, at(self.owner))
        self.others.asked.clear()
        self.survey.name([*self.others.around(self.ids[180]), *made_up])
        self.assertEqual(self.ids[180], self.nearest()[0])
        self.run_search(self.search(listed))
        self.assertTrue(len(self.others.asked) < 20)

    def test_endless(self) -> None:
        """
        A search that leads nowhere ends.
        """
        self.others.dead = {each for each in self.ids if each != self.owner}
        search = self.search()
        self.assertFalse(self.successResultOf(Deferred.fromCoroutine(search.run())))
        self.assertEqual([at(self.owner)], self.survey.found(2, lambda node: node.hex()))
