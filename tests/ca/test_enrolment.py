"""
Tests for L{post.ca.enrolment} and L{post.ca.questions}.
"""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.ca.authority import LATE_S, LEAF_S, SHORT_S
from post.ca.enrolment import QUESTIONS_LIMIT, Enrolment, WrongCode
from post.ca.membership import Membership
from post.ca.questions import (
    JOIN,
    NEWS,
    RENEW,
    SKEW_S,
    VERSION,
    Greeting,
    Join,
    Proven,
    Welcome,
    check_proven,
    prove,
    read,
    sign_question,
)
from post.ca.tokens import REPEAT_S, REPEATS_LIMIT
from post.crypto.certificates import make_request, read_identity, read_node, verify_door, verify_identity, verify_node
from post.crypto.documents import open_directory, open_policy
from post.crypto.revocations import open_revocations
from post.errors import BadSignature, ConfigError, PeerError, Refused
from post.files import lock
from post.hashes import Purpose
from post.ids import Id, NodeId
from post.wire import RefusalCode, pack
from tests.ca.members import Newcomer, Office
from tests.crypto.issued import DAY, NOW
from tests.scratch import scratch


class Case(SynchronousTestCase):
    """
    With an authority that answers.
    """

    def setUp(self) -> None:
        self.office = Office(scratch(self))
        self.root = self.office.authority.root

    def refused(self, *arguments: object, **more: object) -> str:
        """
        What is said to somebody who is refused.
        """
        error: Refused = self.assertRaises(Refused, *arguments, **more)
        return error.text


class JoinTests(Case):
    """
    Tests of newcomers.
    """

    def test_join(self) -> None:
        """
        A newcomer receives certificates for the keys that it made, what all members have, and where others are.
        """
        alice = self.office.joined("alice")
        bob = Newcomer("bob")
        welcome = bob.join(self.office, self.office.code())
        node = verify_node(welcome.node_chain, self.root, NOW)
        person = verify_identity(welcome.user_chain, self.root, NOW)
        self.assertEqual((bob.key.public, "bob@example.org"), (node.public_key, node.owner))
        self.assertEqual((bob.person.public, "bob@example.org"), (person.public_key, person.address))
        self.assertEqual(NOW + SHORT_S, node.not_after)
        membership = Membership.from_bytes(welcome.membership)
        self.assertEqual(self.office.authority.convergence, membership.convergence)
        directory = open_directory(membership.directory, membership.root, NOW)
        self.assertIsNotNone(directory.account("bob@example.org"))
        self.assertEqual(alice.addresses, welcome.seeds)

    def test_greeting(self) -> None:
        """
        The authority shows certificates that lead from its door to its root, and its clock.
        """
        greeting = read(Greeting, self.office.enrolment.greeting(NOW))
        chain = (self.office.enrolment.chain[0], greeting.issuing)
        self.assertEqual(("example.org", NOW), (verify_door(chain, greeting.root, NOW), greeting.time))

    def test_wrong(self) -> None:
        """
        Whoever does not know the secret of a code gets nothing, and does not use it up.
        """
        bob, code = Newcomer("bob"), self.office.code()
        question = read(Proven, bob.question(self.office, code))
        for name, proof in ((code.name, bytes(32)), (bytes(16), question.proof), (code.name, code.key)):
            forged = pack(Proven(VERSION, name, question.body, proof))
            self.assertRaises(WrongCode, self.office.enrolment.answer, JOIN, forged, NOW)
        bob.join(self.office, code)

    def test_used(self) -> None:
        """
        A code is good once: again for the same keys, for a day, and for no others.
        """
        bob, code = Newcomer("bob"), self.office.code()
        first = bob.join(self.office, code, NOW + DAY - 60)
        again = bob.join(self.office, code, NOW + DAY + 60)
        before, after = (read_node(each.node_chain[0]) for each in (first, again))
        self.assertEqual(before.node_id, after.node_id)
        self.assertIn("used already", self.refused(Newcomer("eve").join, self.office, code))
        self.assertIn("used already", self.refused(bob.join, self.office, code, NOW + DAY + REPEAT_S))

    def test_repeated(self) -> None:
        """
        Nor is it good again and again without end.
        """
        bob, code = Newcomer("bob"), self.office.code()
        for _ in range(REPEATS_LIMIT):
            bob.join(self.office, code)
        self.assertIn("used already", self.refused(bob.join, self.office, code))

    def test_expired(self) -> None:
        """
        A code that has ended is good no longer.
        """
        code = self.office.code()
        self.assertIn("expired", self.refused(Newcomer("bob").join, self.office, code, NOW + DAY + 60))
        Newcomer("bob").join(self.office, code)

    def test_account_exists(self) -> None:
        """
        Of two codes for one person the second does not take the first one's place, unless that is what it is for.
        """
        first, second = self.office.code(), self.office.code()
        bob = Newcomer("bob")
        bob.join(self.office, first)
        self.assertIn("has an account already", self.refused(Newcomer("eve").join, self.office, second))
        thief = bob
        found = Newcomer("bob again")
        welcome = found.join(self.office, self.office.code(replace=True))
        before, after = read_identity(thief.person_chain[0]), read_identity(welcome.user_chain[0])
        self.assertEqual((before.account, True), (after.account, after.serial > before.serial))

    def test_other_door(self) -> None:
        """
        What was asked of one authority's door is not answered by another's.
        """
        code, bob = self.office.code(), Newcomer("bob")
        question = bob.question(self.office, code)
        self.office.enrolment = Enrolment(self.office.authority, NOW)
        self.assertIn("another authority", self.refused(self.office.enrolment.answer, JOIN, question, NOW))
        bob.join(self.office, code)

    def test_no_request(self) -> None:
        """
        A code is not used up by somebody who sends no key.
        """
        code, bob = self.office.code(), Newcomer("bob")
        for requests in ((b"x", make_request(bob.person)), (make_request(bob.key), b"x")):
            body = Join(VERSION, self.office.enrolment.door, *requests, ())
            question = prove(body, code.name, code.key, Purpose.JOIN_QUESTION)
            self.assertRaises(PeerError, self.office.enrolment.answer, JOIN, question, NOW)
        bob.join(self.office, code)

    def test_answer_is_proven(self) -> None:
        """
        A newcomer takes no answer from one who does not know the secret.
        """
        code = self.office.code()
        answer = self.office.enrolment.answer(JOIN, Newcomer("bob").question(self.office, code), NOW)
        other = self.office.code("eve@example.org").key
        self.assertRaises(BadSignature, check_proven, read(Proven, answer), Welcome, other, Purpose.JOIN_ANSWER)

    def test_busy(self) -> None:
        """
        While somebody issues by hand the answer is to try again, and no code is used up.
        """
        code, bob = self.office.code(), Newcomer("bob")
        held = lock(self.office.authority.path / "lock")
        self.assertIn("try again", self.refused(bob.join, self.office, code))
        os.close(held)
        bob.join(self.office, code)


class MemberTests(Case):
    """
    Tests of what members ask.
    """

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = (self.office.joined(name) for name in ("alice", "bob"))

    def test_news(self) -> None:
        """
        A member is told what is newer, and where others are, and no more.
        """
        news = self.alice.news(self.office)
        directory, policy = open_directory(news.directory, self.root, NOW), open_policy(news.policy, self.root, NOW)
        self.assertEqual(2, len(directory.members))
        self.assertEqual(self.bob.addresses, news.seeds)
        again = self.alice.news(self.office, policy.serial, directory.serial)
        self.assertEqual((b"", b""), (again.policy, again.directory))

    def test_moved(self) -> None:
        """
        Others learn where a member is that has moved.
        """
        self.alice.addresses = ("elsewhere:1",)
        self.alice.news(self.office)
        self.assertEqual(("elsewhere:1",), self.bob.news(self.office).seeds)

    def test_renew(self) -> None:
        """
        A certificate is renewed for its key: the same place, owner and account, a later end; also late.
        """
        for later in (60 * DAY, SHORT_S + 30 * DAY):
            fresh = read_node(self.alice.renew(self.office, NOW + later)[0])
            before = read_node(self.alice.chain[0])
            self.assertEqual((before.node_id, before.owner), (fresh.node_id, fresh.owner))
            self.assertEqual(NOW + later + SHORT_S, fresh.not_after)
        person = read_identity(self.alice.renew(self.office, NOW + 60 * DAY, person=True)[0])
        self.assertEqual(read_identity(self.alice.person_chain[0]).account, person.account)
        self.assertEqual(NOW + 60 * DAY + SHORT_S, person.not_after)
        self.assertRaises(PeerError, self.alice.renew, self.office, NOW + SHORT_S + LATE_S + DAY)

    def test_roles(self) -> None:
        """
        A member that is given a role has it in its next certificate, for the same key, place and life, at once however
        young the one is that it has; and keeps it when it renews that one, or is recovered, until it is taken away.
        """
        before, authority = read_node(self.alice.chain[0]), self.office.authority
        self.assertEqual(self.alice.chain, self.alice.renew(self.office, NOW))
        authority.set_roles(before.node_id, ["gateway"], NOW)
        self.assertEqual(frozenset(), authority.roles(read_node(self.bob.chain[0]), NOW))
        given = self.alice.renew(self.office, NOW)
        fresh = read_node(given[0])
        self.assertEqual(frozenset(["gateway"]), fresh.roles)
        self.assertEqual(
            (before.node_id, before.owner, before.public_key, before.not_after),
            (fresh.node_id, fresh.owner, fresh.public_key, fresh.not_after),
        )
        self.assertEqual(given, self.alice.renew(self.office, NOW))
        # With the certificate that it had before, as a machine that was off has it.
        self.assertEqual(fresh.roles, read_node(self.alice.renew(self.office, NOW + 70 * DAY)[0]).roles)
        authority.set_roles(before.node_id, [], NOW + 70 * DAY)
        self.assertEqual(frozenset(), read_node(self.alice.renew(self.office, NOW + 70 * DAY)[0]).roles)
        self.assertRaises(ConfigError, authority.set_roles, NodeId(Id(0)), ["gateway"], NOW)

    def test_roles_by_hand(self) -> None:
        """
        A certificate that was carried by hand keeps its two years when it gets a role.
        """
        by_hand = self.office.authority.issue_node(make_request(self.alice.key), "alice@example.org", NOW)
        self.alice.chain = by_hand
        self.office.authority.set_roles(read_node(by_hand[0]).node_id, ["gateway"], NOW)
        fresh = read_node(self.alice.renew(self.office, NOW + DAY)[0])
        self.assertEqual((frozenset(["gateway"]), NOW + LEAF_S), (fresh.roles, fresh.not_after))

    def test_renewed_already(self) -> None:
        """
        Whoever asks again and again for a certificate is given the same one, and fills no disk.
        """
        later = NOW + 70 * DAY
        for person in (False, True):
            first = self.alice.renew(self.office, later, person)
            issued = self.office.authority.path / "issued.jsonl"
            size = issued.stat().st_size
            self.assertEqual(first, self.alice.renew(self.office, later + 3600, person))
            self.assertEqual(size, issued.stat().st_size)

    def test_rate(self) -> None:
        """
        A member that asks without end is put off for a minute; others are not.
        """
        for _ in range(QUESTIONS_LIMIT):
            self.alice.news(self.office)
        self.assertIn("too many", self.refused(self.alice.news, self.office))
        self.assertIn("too many", self.refused(self.alice.renew, self.office, NOW))
        self.bob.news(self.office)
        self.alice.news(self.office, now=NOW + 60)

    def test_another_key(self) -> None:
        """
        No certificate is renewed for another key than its own, nor to one who shows another's.
        """
        request = make_request(self.bob.key)
        self.assertIn("the key that it has", self.refused(self.alice.renew, self.office, NOW, request=request))
        self.assertRaises(PeerError, self.alice.renew, self.office, NOW, chain=self.bob.chain)

    def test_replaced(self) -> None:
        """
        Who has been given another key since is no longer spoken for by the old one.
        """
        Newcomer("new").join(self.office, self.office.code("alice@example.org", replace=True))
        for ask in (
            lambda: self.alice.news(self.office),
            lambda: self.alice.renew(self.office, NOW),
            lambda: self.alice.renew(self.office, NOW, person=True),
        ):
            self.assertRaises((Refused, PeerError), ask)
        self.bob.news(self.office)

    def test_stranger(self) -> None:
        """
        Neither a member of another authority nor one without certificates is told anything.
        """
        eve = Office(scratch(self), b"other").joined("eve")
        self.assertRaises(PeerError, eve.news, self.office)
        self.assertRaises(PeerError, eve.renew, self.office, NOW)
        for question in (NEWS, RENEW):
            bare = sign_question(Join(VERSION, bytes(32), b"", b"", ()), self.alice.key, ())
            self.assertRaises(PeerError, self.office.enrolment.answer, question, bare, NOW)

    def test_clock(self) -> None:
        """
        A member whose clock is far off is told so, and so is one who repeats an old question.
        """
        for said in (NOW - SKEW_S - 1, NOW + SKEW_S + 1):
            self.assertIn("clocks", self.refused(self.alice.news, self.office, said=said))
        self.alice.news(self.office, said=NOW - SKEW_S)

    def test_ended(self) -> None:
        """
        A member whose certificate has ended is told nothing before it is renewed.
        """
        later = NOW + SHORT_S + DAY
        self.assertRaises(PeerError, self.alice.news, self.office, now=later)
        self.alice.chain = self.alice.renew(self.office, later)
        self.alice.news(self.office, now=later)

    def test_unknown(self) -> None:
        """
        A question of another kind is refused.
        """
        self.assertIn("does not know", self.refused(self.office.enrolment.answer, "weather", b"", NOW))


class GarbageTests(Case):
    """
    Tests of what is no question.
    """

    @given(st.sampled_from([JOIN, NEWS, RENEW]), st.binary(max_size=200))
    def test_garbage(self, question: str, data: bytes) -> None:
        """
        It raises what the door expects, and nothing else.
        """
        self.assertRaises((PeerError, Refused), self.office.enrolment.answer, question, data, NOW)


class RevokedTests(SynchronousTestCase):
    """
    Tests of what those get who have been revoked.
    """

    def setUp(self) -> None:
        self.office = Office(scratch(self))
        self.bob = self.office.joined("bob")
        node = read_node(self.bob.chain[0]).node_id.hex()
        self.office.authority.revoke("node", node, NOW + 1, "stolen")
        self.office.authority.revoke("identity", "bob@example.org", NOW + 1, "stolen")

    def assertTold(self, error: Refused) -> None:
        """
        The line says since when, why, and what to do.
        """
        self.assertEqual(RefusalCode.FORBIDDEN, error.code)
        self.assertRegex(error.text, r"revoked on 2023-11-14 22:13 UTC \(stolen\): ask .* for a new code")

    def test_renewal(self) -> None:
        """
        Neither certificate is renewed, however old it is.
        """
        for person in (False, True):
            for now in (NOW + 2, NOW + SHORT_S + DAY):
                self.assertTold(self.assertRaises(Refused, self.bob.renew, self.office, now, person))

    def test_news(self) -> None:
        """
        They learn that they are revoked, by the signed list, and no news of the others.
        """
        self.office.joined("carol")
        news = self.bob.news(self.office, now=NOW + 2)
        self.assertEqual((b"", b"", ()), (news.policy, news.directory, news.seeds))
        found = open_revocations(news.revoked, self.office.authority.root, NOW + 2)
        self.assertEqual({self.bob.key.public, self.bob.person.public}, set(found.keys()))

    def test_same_keys(self) -> None:
        """
        A new code does not help who comes with the revoked keys, and is not used up by that.
        """
        code = self.office.code(replace=True)
        self.assertTold(self.assertRaises(Refused, self.bob.join, self.office, code))
        Newcomer("another machine of bob").join(self.office, code, NOW + 3)

    def test_again(self) -> None:
        """
        Who comes back with new keys has the same place and account as before, and is not meant by the list.
        """
        again = Newcomer("another machine of bob")
        again.join(self.office, self.office.code(), NOW + 3)
        before, after = read_identity(self.bob.person_chain[0]), read_identity(again.person_chain[0])
        self.assertEqual(before.account, after.account)
        self.assertEqual(read_node(self.bob.chain[0]).node_id, read_node(again.chain[0]).node_id)
        self.assertEqual(before.account, self.office.authority.members(NOW + 3).account("bob@example.org"))
        self.assertNotEqual(b"", again.news(self.office, now=NOW + 4).directory)
        again.renew(self.office, NOW + SHORT_S - DAY)
