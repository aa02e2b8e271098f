"""
Tests for L{post.ca.upkeep}, with an authority in the same process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.ca.authority import SHORT_S
from post.ca.errand import at_home
from post.ca.membership import Membership
from post.ca.questions import NEWS, VERSION, AskNews, sign_question
from post.ca.upkeep import HOUR_S, HURRY_S, PATIENCE_S, RETRY_S, SOON_S, Errand, Holder, Upkeep
from post.crypto.certificates import read_node
from post.crypto.documents import Directory, Policy, open_policy
from post.errors import Unreachable
from post.home import Home
from tests.ca.members import Newcomer, Office
from tests.crypto.issued import DAY, NOW
from tests.scratch import scratch


class UpkeepTests(SynchronousTestCase):
    """
    Bob's node, and its authority.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.office = Office(self.directory)
        self.clock = Clock()
        self.clock.advance(NOW)
        self.bob = Newcomer("bob")
        welcome = self.bob.join(self.office, self.office.code())
        membership = Membership.from_bytes(welcome.membership)
        self.home = Home(self.directory / "bob")
        self.home.create(
            self.bob.key,
            welcome.node_chain,
            membership.root,
            membership.convergence,
            membership.policy,
            membership.directory,
        )
        self.root = membership.root
        self.asked: list[str] = []
        self.used: list[Directory] = []
        self.revoked: list[bytes] = []
        self.policies: list[Policy] = []
        self.others: list[Holder] = []
        self.errands: list[Errand] = []
        self.away = False
        self.silent = False
        self._at_home = at_home(self.office.enrolment, self.clock.seconds)
        self.upkeep = Upkeep(
            self.home,
            self.root,
            self.ask,
            self.clock,
            Random(1),
            lambda: self.bob.addresses,
            self.holders,
            self.used.append,
            self.use_revocations,
            self.policies.append,
            lambda: self.errands,
        )
        self.addCleanup(self.upkeep.stop)

    def ask(self, question: str, made: Callable[[bytes], bytes]) -> Deferred[bytes]:
        """
        The authority, unless it is away.
        """
        self.asked.append(question)
        if self.silent:
            return Deferred()
        return fail(Unreachable("no way")) if self.away else self._at_home(question, made)

    def use_revocations(self, data: bytes) -> None:
        """
        As a node does.
        """
        self.revoked.append(data)
        self.home.write_revocations(data)

    def holders(self) -> list[Holder]:
        """
        Whose certificates are kept.
        """

        def use(chain: tuple[bytes, ...]) -> None:
            self.home.renew(Path("answer"), chain, int(self.clock.seconds()))
            self.bob.chain = chain

        return [Holder(self.bob.key, self.bob.chain, use), *self.others]

    def knows(self, name: str) -> bool:
        """
        Whether the directory on disk names somebody.
        """
        return self.home.directory(self.root, int(self.clock.seconds())).account(f"{name}@example.org") is not None

    def test_start(self) -> None:
        """
        At the start, and once an hour, what is newer is fetched, written, and used.
        """
        self.office.joined("carol")
        self.upkeep.start()
        self.assertEqual((True, 1), (self.knows("carol"), len(self.used)))
        self.assertEqual(("carol:7654",), self.home.seeds())
        self.office.joined("dave")
        self.clock.advance(HOUR_S)
        self.assertEqual((True, 2), (self.knows("dave"), len(self.used)))
        self.clock.advance(HOUR_S)
        self.assertEqual(2, len(self.used))

    async def errand(self, question: Callable[[str, Callable[[bytes], bytes]], Coroutine[Any, Any, bytes]]) -> None:
        """
        Something to tell, once.
        """
        await question(NEWS, self.news)
        self.errands.clear()

    def news(self, door: bytes) -> bytes:
        """
        A question that is always answered.
        """
        asked = AskNews(VERSION, door, int(self.clock.seconds()), 0, 0, ())
        return sign_question(asked, self.bob.key, self.bob.chain)

    def test_errand(self) -> None:
        """
        What there is to tell is told at once, and again and again as long as the authority is away: somebody waits for
        it.
        """
        self.errands.append(self.errand)
        self.upkeep.run_errands()
        self.assertEqual(([], 1), (self.errands, len(self.asked)))
        self.away = True
        self.errands.append(self.errand)
        self.upkeep.run_errands()
        self.upkeep.run_errands()
        self.assertEqual((2, "no way"), (len(self.asked), self.upkeep.trouble))
        self.clock.advance(SOON_S)
        self.assertEqual(3, len(self.asked))
        self.away = False
        self.clock.advance(RETRY_S)
        self.assertEqual(([], 4, ""), (self.errands, len(self.asked), self.upkeep.trouble))
        self.clock.advance(RETRY_S)
        self.assertEqual(4, len(self.asked))

    def test_policy(self) -> None:
        """
        A newer policy is written.
        """
        self.office.authority.change_policy(NOW, k=5)
        self.upkeep.start()
        self.assertEqual(5, self.home.policy(self.root, NOW).k)
        self.assertEqual(5, open_policy(self.office.authority.policy(), self.root, NOW).k)

    def test_stranger(self) -> None:
        """
        When somebody is met who is not known, the authority is asked soon; of many, not once for each.
        """
        self.upkeep.start()
        self.office.joined("carol")
        for _ in range(5):
            self.upkeep.hurry()
        self.clock.advance(HURRY_S)
        self.assertEqual((True, 2), (self.knows("carol"), len(self.asked)))
        self.office.joined("dave")
        self.upkeep.hurry()
        self.clock.advance(SOON_S)
        self.assertFalse(self.knows("dave"))
        self.clock.advance(HURRY_S)
        self.assertTrue(self.knows("dave"))

    def test_away(self) -> None:
        """
        An authority that does not answer is asked again, ever more rarely, and it is said that it does not.
        """
        self.away = True
        self.upkeep.start()
        self.assertEqual("no way", self.upkeep.trouble)
        self.clock.advance(RETRY_S)
        self.assertEqual(2, len(self.asked))
        self.clock.pump([RETRY_S] * 60 * 10)
        self.assertLess(len(self.asked), 24)
        self.away = False
        self.office.joined("carol")
        self.clock.advance(HOUR_S)
        self.assertEqual(("", True), (self.upkeep.trouble, self.knows("carol")))

    def test_silent(self) -> None:
        """
        One that says nothing is given up after a while.
        """
        self.silent = True
        self.upkeep.start()
        self.assertEqual("", self.upkeep.trouble)
        self.clock.advance(PATIENCE_S)
        self.assertNotEqual("", self.upkeep.trouble)

    def test_renew(self) -> None:
        """
        A certificate is renewed when a third of its life is left, not before.
        """
        before = self.bob.chain
        self.upkeep.start()
        self.clock.advance(SHORT_S * 0.6)
        self.assertEqual(before, self.bob.chain)
        self.clock.advance(SHORT_S * 0.1)
        fresh = read_node(self.bob.chain[0])
        self.assertGreater(fresh.not_after, NOW + SHORT_S)
        self.assertEqual(fresh.der, self.home.credentials(int(self.clock.seconds())).chain[0])

    def test_renew_late(self) -> None:
        """
        One that has ended is renewed first, so that the rest is answered.
        """
        self.clock.advance(SHORT_S + DAY)
        self.upkeep.start()
        self.assertEqual(["renew", "news"], self.asked)
        self.assertEqual("", self.upkeep.trouble)
        self.home.credentials(int(self.clock.seconds()))

    def test_foreign(self) -> None:
        """
        What another authority has signed is not taken, nor what is older than what is here.
        """
        other = Office(scratch(self), b"other")
        eve = other.joined("eve")
        self.bob.key, self.bob.chain = eve.key, eve.chain
        self._at_home = at_home(other.enrolment, self.clock.seconds)
        before = self.home.directory_file.read_bytes()
        other.authority.change_policy(NOW, k=7)
        self.upkeep.start()
        self.assertNotEqual("", self.upkeep.trouble)
        self.assertEqual(before, self.home.directory_file.read_bytes())
        self.assertEqual(3, self.home.policy(self.root, NOW).k)
        self.assertEqual([], self.used)

    def test_bug(self) -> None:
        """
        A failure of ours does not end the asking.
        """
        self._at_home = lambda question, made: fail(ZeroDivisionError())
        self.upkeep.start()
        self.assertIn("log says more", self.upkeep.trouble)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self._at_home = at_home(self.office.enrolment, self.clock.seconds)
        self.office.joined("carol")
        self.clock.advance(RETRY_S)
        self.assertEqual((True, ""), (self.knows("carol"), self.upkeep.trouble))

    def test_one_of_two(self) -> None:
        """
        A certificate that is not renewed, because another key has taken its place, does not keep the news away.
        """
        thief = dataclasses.replace(self.holders()[0], key=Newcomer("x").person, chain=self.bob.person_chain)
        self.others.append(thief)
        self.clock.advance(SHORT_S * 0.7)
        self.office.joined("carol")
        self.upkeep.start()
        self.assertTrue(self.knows("carol"))
        self.assertNotEqual("", self.upkeep.trouble)

    def test_revoked(self) -> None:
        """
        The list of what is revoked comes with the news, once; also to the node that it names, which gets nothing else.
        """
        carol = self.office.joined("carol")
        self.upkeep.start()
        before = len(self.revoked)
        self.office.authority.revoke("node", read_node(carol.chain[0]).node_id.hex(), NOW)
        self.clock.advance(HOUR_S)
        self.clock.advance(HOUR_S)
        self.assertEqual(before + 1, len(self.revoked))
        self.office.authority.revoke("node", read_node(self.bob.chain[0]).node_id.hex(), NOW)
        self.office.joined("dave")
        self.clock.advance(HOUR_S)
        self.assertEqual((before + 2, False), (len(self.revoked), self.knows("dave")))
        found = self.home.revocations(self.root, int(self.clock.seconds()))
        assert found is not None
        self.assertIn(self.bob.key.public, found.keys())

    def test_policy_used(self) -> None:
        """
        A newer policy is written and used, once.
        """
        self.upkeep.start()
        self.office.authority.change_policy(NOW, k=4)
        self.clock.advance(HOUR_S)
        self.clock.advance(HOUR_S)
        self.assertEqual([4], [policy.k for policy in self.policies])
        self.assertEqual(4, self.home.policy(self.root, NOW).k)
