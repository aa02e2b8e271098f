"""
Tests for L{post.pastry.join}.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from post.ids import RING, Contact, Id, Key, NodeId
from post.pastry.config import PastryConfig
from post.pastry.join import INVITES_LIMIT, SEEDS_LIMIT
from post.pastry.messages import Announce, Locate, Located
from post.pastry.repair import DORMANT_S
from post.rpc import expect
from tests.pastry.rings import Member, Rings

SMALL = PastryConfig(half=3)
VANISH_S = 0.06
"""An answer still arrives, and hardly anything more."""


def _note(asked: list[NodeId], node: NodeId, serve: Callable[[Contact, Locate], Located], *question: Any) -> Located:
    """
    Remember that C{node} was asked.
    """
    asked.append(node)
    return serve(*question)


class JoinTests(SynchronousTestCase):
    """
    Tests for L{Join}.
    """

    def ask(self, rings: Rings, asker: Member, asked: Member, question: Locate) -> Located:
        return expect(Located, rings.finish(asker.rpc.ask(asked.contact, question)))

    def test_smallest_founds(self) -> None:
        """
        Of several seeds that are switched on together the one with the smallest id founds the ring, and nobody else.
        """
        rings = Rings(1, 5)
        rings.boot()
        first: list[Member] = []
        for member in rings.members:
            member.joined.addCallback(lambda _, founder: first.append(founder), member)
        rings.advance(5)
        self.assertEqual(min(rings.members[:3], key=lambda member: member.id), first[0])
        self.assertEqual([], rings.wrong())

    def test_waits_for_the_others(self) -> None:
        """
        A seed does not found a ring before it has heard from the others or waited for them.
        """
        rings = Rings(2, 3)
        rings.members[0].boot(rings.seeds())
        rings.advance(4)
        self.assertFalse(rings.members[0].pastry.active)
        rings.advance(4)
        self.assertTrue(rings.members[0].pastry.active)

    def test_ring_in_sight(self) -> None:
        """
        Nor when it has heard from somebody who is in a ring, and loses sight of that before it is in.
        """
        rings = Rings(2, 4, SMALL)
        rings.formed(3)
        seed = rings.members[3]
        others = rings.members[:3]
        handlers = [other.rpc.handler(Locate) for other in others]
        for other, handler in zip(others, handlers, strict=True):
            other.rpc.serve(Locate, partial(self.answer_and_vanish, rings, seed, others, handler))
        with capturedLogs() as seen:
            seed.boot([seed.address, *rings.seeds()])
            rings.advance(30)
            self.assertNotIn("founding a ring", " ".join(str(eventAsText(event)) for event in seen))
            self.assertFalse(seed.pastry.active)
            for other, handler in zip(others, handlers, strict=True):
                other.rpc.serve(Locate, handler)
                rings.network.unblock(seed.id, other.id)
                rings.network.unblock(other.id, seed.id)
            self.assertTrue(rings.until(lambda: seed.pastry.active, 60))
        self.assertEqual([], rings.settle(10))

    def test_probed_by_a_ring(self) -> None:
        """
        Nor when those in a ring speak to it, of whom it does not know itself: it comes in through them.
        """
        rings = Rings(2, 4, SMALL)
        rings.formed(3)
        seed = rings.members[3]
        with capturedLogs() as seen:
            seed.boot([seed.address, "nobody:1"])
            rings.advance(1)
            rings.members[0].pastry.liveness.examine(seed.contact)
            self.assertTrue(rings.until(lambda: seed.pastry.active, 30))
        self.assertNotIn("founding a ring", " ".join(str(eventAsText(event)) for event in seen))
        self.assertEqual([], rings.settle(10))

    @staticmethod
    def answer_and_vanish(rings: Rings, seed: Member, others: list[Member], locate: Any, *question: Any) -> Located:
        """
        Answer one question of C{seed}, which then does not reach C{others} any more.
        """
        located: Located = locate(*question)
        for other in others:
            rings.clock.callLater(VANISH_S, rings.network.block, seed.id, other.id)
            rings.clock.callLater(VANISH_S, rings.network.block, other.id, seed.id)
        return located

    def test_dead_seeds(self) -> None:
        """
        Among dead seeds a node says now and then that it looks for the ring, goes on for as long as it takes, and is in
        soon after one of them is there.
        """
        rings = Rings(2, 4)
        late = rings.members[3]
        with capturedLogs() as seen:
            late.boot(rings.seeds())
            rings.advance(3600)
        words = [each for each in (eventAsText(event, includeTimestamp=False) for event in seen) if "still" in each]
        self.assertIn("still looking for the ring: 0 of 3 seeds answer", words[0])
        self.assertIn(len(words), range(180, 361))
        self.assertFalse(late.pastry.active)
        rings.members[1].boot([rings.members[1].address])
        self.assertTrue(rings.until(lambda: late.pastry.active, 15))

    def test_alias(self) -> None:
        """
        A node that stands in the list under a name which it does not know is in the list all the same.
        """
        rings = Rings(3, 1)
        rings.network._addresses["alias:1"] = rings.members[0].id
        rings.boot(seeds=["alias:1"])
        rings.advance(3)
        self.assertTrue(rings.members[0].pastry.active)

    def test_also(self) -> None:
        """
        Who looks for the ring in vain comes in through an address that it is told meanwhile; it tries each once.
        """
        rings = Rings(3, 2)
        one, two = rings.members
        rings.enter(one)
        two.boot(["nobody:1"])
        rings.advance(30)
        self.assertFalse(two.pastry.active)
        [address] = one.contact.addresses
        self.assertTrue(two.pastry.seek_also([address, "nobody:2", "nobody:1"]))
        self.assertFalse(two.pastry.seek_also([address, "nobody:2"]))
        rings.advance(30)
        self.assertTrue(two.pastry.active)
        self.assertEqual([], rings.wrong())

    def test_no_founder(self) -> None:
        """
        Who is told of itself, under a name that it does not know, founds no ring by that.
        """
        rings = Rings(3, 1)
        rings.network._addresses["alias:1"] = rings.members[0].id
        rings.members[0].boot(["nobody:1"])
        rings.members[0].pastry.seek_also(["alias:1"])
        rings.advance(60)
        self.assertFalse(rings.members[0].pastry.active)

    def test_many(self) -> None:
        """
        However many addresses are told, a few are asked.
        """
        rings = Rings(3, 1)
        rings.members[0].boot(["nobody:1"])
        rings.members[0].pastry.seek_also(f"nobody:{number}" for number in range(1000))
        self.assertEqual(SEEDS_LIMIT, len(rings.members[0].pastry._join._seeds))
        self.assertFalse(rings.members[0].pastry.seek_also(["nobody:5000"]))

    def test_not_ready(self) -> None:
        """
        Who is not in the ring yet says so, knows no way, and has learned that it stands in a list of seeds.
        """
        rings = Rings(4, 2)
        one, two = rings.members
        one.boot(["nobody:1"])
        two.boot(["nobody:2"])
        answer = self.ask(rings, two, one, Locate(Key(two.id), 0))
        self.assertEqual(Located(False, True), answer)

    def test_a_few_at_a_time(self) -> None:
        """
        Beside one node only a few come in at once; the next is told to wait, and a place that is not taken is free
        again after some seconds.
        """
        rings = Rings(5, 8)
        rings.enter(rings.members[0])
        for member in rings.members[1:]:
            member.boot(["nobody:1"])
        root = rings.members[0]
        answers = [self.ask(rings, member, root, Locate(Key(member.id), 0)) for member in rings.members[1:6]]
        self.assertEqual([False] * 4 + [True], [answer.busy for answer in answers])
        again = rings.members[1]
        self.assertFalse(self.ask(rings, again, root, Locate(Key(again.id), 0)).busy)
        rings.advance(4)
        last = rings.members[7]
        self.assertFalse(self.ask(rings, last, root, Locate(Key(last.id), 0)).busy)

    def test_active_need_no_place(self) -> None:
        """
        Who is in a ring and only looks for its place is never told to wait.
        """
        rings = Rings(6, 8)
        rings.enter(rings.members[0])
        for member in rings.members[1:]:
            member.boot(["nobody:1"])
            answer = self.ask(rings, member, rings.members[0], Locate(Key(member.id), 0, active=True))
            self.assertFalse(answer.busy)

    def test_not_to_the_dormant(self) -> None:
        """
        Who is asked for the way names nobody that has said, in the last seconds, that it is not in the ring.
        """
        rings = Rings(11, 3)
        rings.enter(rings.members[0])
        rings.enter(rings.members[1])
        first, second, asker = rings.members
        asker.boot(["nobody:1"])
        question = Locate(Key(Id((second.id + 1) % RING)), 0, active=True)
        rings.advance(DORMANT_S)
        self.assertEqual(second.contact, self.ask(rings, asker, first, question).next_hop)
        first.pastry._repair.heard(second.id, False)
        self.assertIsNone(self.ask(rings, asker, first, question).next_hop)
        rings.advance(DORMANT_S)
        self.assertEqual(second.contact, self.ask(rings, asker, first, question).next_hop)
        first.pastry._repair.heard(second.id, False)
        first.pastry._repair.heard(second.id, True)
        self.assertEqual(second.contact, self.ask(rings, asker, first, question).next_hop)

    def test_one_seed_suffices(self) -> None:
        """
        Whoever comes into a ring asks one seed, and the others only if that is not in the ring or silent; then it
        does not take much longer.
        """
        rings = Rings(12, 12)
        rings.formed(11)
        asked: list[NodeId] = []
        for member in rings.members[:4]:
            serve = member.pastry._join._asked_the_way
            member.rpc.serve(Locate, partial(_note, asked, member.id, serve))
        newcomer = rings.members[11]
        newcomer.boot(rings.seeds(4))
        self.assertTrue(rings.until(lambda: newcomer.pastry.active, 2))
        self.assertTrue(len(set(asked)) <= 2, asked)  # The seed and the root.
        newcomer.crash()
        for member in rings.members[:3]:
            member.crash(silent=True)
        newcomer.boot(rings.seeds(4))
        self.assertTrue(rings.until(lambda: newcomer.pastry.active, 10))

    def test_way(self) -> None:
        """
        The way to an id leads, hop by hop, to the node that is its root when the asker is left out.
        """
        rings = Rings(7, 20, SMALL)
        rings.formed()
        self.assertEqual([], rings.settle(15))
        rings.advance(DORMANT_S)  # Whoever has just come in is not named at once.
        for asker in rings.members[1:8]:
            hop, passed = rings.members[0], 0
            while True:
                answer = self.ask(rings, asker, hop, Locate(Key(asker.id), 0, active=True))
                self.assertTrue(passed < 6)
                if answer.next_hop is None:
                    break
                hop, passed = rings.by_id[answer.next_hop.id], passed + 1
            self.assertEqual(rings.root(asker.id, [member for member in rings.members if member is not asker]), hop)

    def test_around_the_dead(self) -> None:
        """
        A newcomer finds its way although nodes on it are dead and nobody has noticed yet.
        """
        rings = Rings(8, 24, SMALL)
        rings.formed(23)
        self.assertEqual([], rings.settle(15))
        for member in rings.members[8:14]:
            member.crash(silent=True)
        rings.enter(rings.members[23])
        self.assertEqual([], rings.settle(60))

    def test_announced(self) -> None:
        """
        Who waits for a ring is told when there is one, and does not wait out its pause.
        """
        rings = Rings(9, 2)
        late = rings.members[1]
        late.boot(rings.seeds(1))
        rings.advance(120)
        rings.members[0].boot(rings.seeds(1))
        self.assertFalse(late.pastry.active)
        self.assertTrue(rings.until(lambda: late.pastry.active, 10.5))

    def test_announced_in_vain(self) -> None:
        """
        A peer that announces itself all the time, and is in no ring, does not have a newcomer ask its seeds for ever.
        """
        rings = Rings(9, 3)
        late, seed, liar = rings.members
        asked: list[NodeId] = []
        for member in (seed, liar):
            member.boot(["nobody:1"])
            lost = partial(_note, asked, member.id, lambda peer, question: Located(False))
            member.rpc.serve(Locate, lost)
        late.boot([seed.address])
        rings.advance(30)
        asked.clear()
        for _ in range(200):
            liar.rpc.tell(late.contact, Announce())
            rings.advance(0.1)
        self.assertLess(asked.count(seed.id), 3 * INVITES_LIMIT + 20)
        self.assertFalse(late.pastry.active)

    def test_seek_finds_nothing(self) -> None:
        """
        To look for other rings where there is none costs a question or two and changes nothing.
        """
        rings = Rings(10, 12, SMALL)
        rings.formed()
        self.assertEqual([], rings.settle(15))
        versions = [member.pastry.ring.leaves.version for member in rings.members]
        for member in rings.members:
            rings.finish(Deferred.fromCoroutine(member.pastry._join.seek()))
        self.assertEqual(versions, [member.pastry.ring.leaves.version for member in rings.members])
