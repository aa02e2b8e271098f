"""
Lookups that liars do not win, in small rings of whole nodes; L{tests.sim.test_attack} has large ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from post.errors import Overloaded, Refused, Unreachable
from post.ids import Contact, Id, Key, NodeId
from post.pastry.config import PastryConfig
from post.pastry.constrained import ConstrainedTable
from post.pastry.messages import Claim, Claimed, Route, Taken, Vouch, Vouched
from post.pastry.statement import Statement, packed
from post.pastry.survey import Survey
from post.pastry.vouching import CLAIMS_AT_ONCE, PEER_AT_ONCE, PEERS_LIMIT, SIGNED_AT_ONCE
from post.rpc import expect
from post.sim.signing import sign
from post.wire import Message, decode, encode, unpack
from tests.pastry.rings import Member, Parcel, Rings

COUNT = 30


class SecureTests(SynchronousTestCase):
    """
    Tests of L{post.pastry.secure.Secure}.
    """

    def setUp(self) -> None:
        self.rings = Rings(5, COUNT, PastryConfig(half=4))
        self.rings.formed()
        self.rings.advance(30)
        self.asker = self.rings.members[0]

    def key(self) -> Key:
        """
        One that the asker's leaf set does not reach.
        """
        while self.asker.pastry.nearest(key := Key(self.rings.point()), 3) is not None:
            pass
        return key

    def find(self, key: Key, count: int = 3) -> list[NodeId]:
        """
        What a secure lookup says.
        """
        work = Deferred.fromCoroutine(self.asker.pastry.replica_set(key, count, secure=True))
        return [contact.id for contact in self.rings.finish(work)]

    def test_honest(self) -> None:
        """
        Where nobody lies it finds what a usual one does, and no way is gone that the test did not ask for.
        """
        for _ in range(20):
            key = self.key()
            self.assertEqual(self.rings.nearest(key, 3), self.find(key))
        tally = self.asker.pastry.secure.tally
        self.assertEqual(20, tally.lookups)
        self.assertTrue(tally.asked >= tally.checks > 0, tally)
        self.assertEqual(tally.doubted == 0, tally.ways == 0, tally)
        self.assertEqual({}, dict(self.asker.complaints.counts))

    def test_near(self) -> None:
        """
        What our own leaf set knows needs no question.
        """
        key = Key(self.asker.id)
        self.assertEqual(self.rings.nearest(key, 3), self.find(key))
        self.assertEqual(0, self.asker.pastry.secure.tally.lookups)

    def test_swallowed(self) -> None:
        """
        Who swallows what is to be passed on is gone around, though usual lookups never arrive.
        """
        for member in self.rings.members[1:]:
            member.rpc.serve(Route, lambda peer, route: Taken())
        key = self.key()
        self.assertEqual(self.rings.nearest(key, 3), self.find(key))
        self.assertEqual(1, self.asker.pastry.secure.tally.doubted)

    def test_false_root(self) -> None:
        """
        Who says that it is the root of everything, and names its own neighbors, is believed its own existence, and no
        more: those whom it names know who is nearer.
        """
        liar = self.rings.members[7]
        for member in self.rings.members[1:]:
            member.rpc.serve(Route, lambda peer, route: _usurp(liar, route))
        for _ in range(5):
            key = self.key()
            self.assertEqual(self.rings.nearest(key, 3), self.find(key))

    def test_straight(self) -> None:
        """
        A message routed securely arrives at the root, once, where nobody passes on anything; also at ourselves.
        """
        for member in self.rings.members[1:]:
            member.rpc.serve(Route, _Straight(member).routed)
        for number, key in enumerate((self.key(), Key(self.asker.id))):
            self.asker.pastry.route(key, Parcel(number), secure=True)
            self.rings.advance(15)
            self.assertEqual([(key, number)], self.rings.root(key).recorder.delivered)

    def test_root_dies(self) -> None:
        """
        Of those who are named only who answers is found.
        """
        key = self.key()
        gone, *others = self.rings.nearest(key, 4)
        self.rings.by_id[gone].crash(silent=True)
        self.assertEqual(others, self.find(key))

    def test_nobody(self) -> None:
        """
        Where nobody answers, that is said; nothing is left running.
        """
        key = self.key()
        for member in self.rings.members[1:]:
            member.crash(silent=True)
        self.assertRaises(Unreachable, self.find, key, 1)

    def test_contradiction(self) -> None:
        """
        A node that says to one question what it denies to the next is found out, and counted.
        """
        liar = self.rings.members[7]
        usual = cast(Callable[[Contact, Vouch], Vouched], liar.rpc.handler(Vouch))

        def two_faced(peer: Contact, question: Vouch) -> Vouched:
            answer = usual(peer, question)
            said = unpack(Statement, answer.statement)
            data = packed(replace(said, after=said.after[1:])) if question.nonce[0] % 2 else answer.statement
            return Vouched(data, sign(liar.id, data), answer.onward)

        liar.rpc.serve(Vouch, two_faced)
        vouching = self.asker.pastry.secure.vouching
        for _ in range(12):
            survey = Survey(liar.id, self.asker.contact)
            survey.name([liar.contact])
            self.rings.finish(Deferred.fromCoroutine(vouching.ask(survey, liar.id)))
        self.assertEqual([liar.id], list(self.asker.pastry.secure.evidence.proofs))
        self.assertEqual(["signed contradiction"], list(self.asker.complaints.counts))
        self.rings.advance(60)
        self.assertNotIn(liar.id, self.asker.pastry.ring.table)
        self.assertEqual([], self.rings.wrong())

    def test_maintained(self) -> None:
        """
        The constrained table comes to hold who is nearest to its points, and not who is gone.
        """
        pastry = self.asker.pastry
        self.assertFalse(pastry.secure.is_due())
        everybody = [member.contact for member in self.rings.members if member is not self.asker]
        expected = ConstrainedTable(self.asker.id, lambda: everybody).contacts()
        pastry.ring.constrained.contacts()
        self.assertTrue(pastry.secure.is_due())
        for _ in range(200):
            self.rings.finish(Deferred.fromCoroutine(pastry.secure.maintain()))
        self.assertFalse(pastry.secure.is_due())
        self.assertEqual([contact.id for contact in expected], [each.id for each in pastry.ring.constrained.contacts()])

    def test_too_long(self) -> None:
        """
        What is too long to be routed is so securely too, and told at once.
        """
        self.assertRaises(ValueError, self.asker.pastry.route, self.key(), Claim(bytes(33000)), True)


class _Straight:
    """
    Takes parcels from their origin only.
    """

    def __init__(self, member: Member) -> None:
        self._usual = cast(Callable[[Contact, Route], Taken], member.rpc.handler(Route))

    def routed(self, peer: Contact, route: Route) -> Taken:
        """
        Swallow the others.
        """
        straight = route.origin == peer and isinstance(decode(route.payload), Parcel)
        return self._usual(peer, route) if straight else Taken()


def _usurp(liar: Member, route: Route) -> Taken:
    question = decode(route.payload)
    if isinstance(question, Claim):
        answer = expect(Vouched, _stated(liar, question.nonce))
        liar.rpc.tell(route.origin, Claimed(question.nonce, answer.statement, answer.signature))
    return Taken()


def _stated(member: Member, nonce: bytes) -> Message:
    data, signature = member.pastry.secure.vouching.state(nonce, member.id)
    return Vouched(data, signature)


class VouchingTests(SynchronousTestCase):
    """
    Tests of L{Vouching}.
    """

    def setUp(self) -> None:
        self.rings = Rings(6, 3)
        self.rings.formed()
        self.asker, self.asked, self.third = self.rings.members

    def ask(self, answer: Vouched | None = None) -> tuple[Survey, dict[str, int]]:
        """
        What is known after the one has asked the other, and what there is to complain of; if C{answer}, that is the
        answer.
        """
        if answer is not None:
            self.asked.rpc.serve(Vouch, lambda peer, question: answer)
        survey = Survey(self.asked.id, self.asker.contact)
        survey.name([self.asked.contact])
        vouching = self.asker.pastry.secure.vouching
        self.rings.finish(Deferred.fromCoroutine(vouching.ask(survey, self.asked.id)))
        return survey, dict(self.asker.complaints.counts)

    def test_answer(self) -> None:
        """
        A node signs its leaf set for whoever asks.
        """
        survey, complaints = self.ask()
        said = survey.stated[self.asked.id]
        self.assertEqual({self.asker.id, self.third.id}, set(said.members()))
        self.assertEqual(({}, 1), (complaints, survey.asked))

    def test_forged(self) -> None:
        """
        A statement that is another's, signed by another, an old one, or none, is complained of, and its sender counts
        as silent; it is not asked again.
        """
        old = _stated(self.asked, bytes(16))
        theirs = _stated(self.third, bytes(16))
        assert isinstance(old, Vouched) and isinstance(theirs, Vouched)
        for answer in (old, theirs, Vouched(old.statement, theirs.signature), Vouched(b"", b"")):
            survey, complaints = self.ask(answer)
            self.assertTrue(survey.is_silent(self.asked.id))
            self.assertEqual({}, survey.stated)
        self.assertEqual({"broken statement": 4}, complaints)

    def test_replayed(self) -> None:
        """
        A nonce answers one question: the same statement does not serve for the next one.
        """
        answers: list[Vouched] = []

        def once(peer: Contact, question: Vouch) -> Vouched:
            if not answers:
                answers.append(expect(Vouched, _stated(self.asked, question.nonce)))
            return answers[0]

        self.asked.rpc.serve(Vouch, once)
        first, _ = self.ask()
        second, complaints = self.ask()
        self.assertEqual([1, 0], [len(first.stated), len(second.stated)])
        self.assertEqual({"broken statement": 1}, complaints)

    def test_lost(self) -> None:
        """
        One answer that is lost makes nobody silent.
        """
        asked: list[Vouch] = []

        def second(peer: Contact, question: Vouch) -> Message | None:
            asked.append(question)
            return _stated(self.asked, question.nonce) if len(asked) > 1 else None

        self.asked.rpc.serve(Vouch, second)
        survey, _ = self.ask()
        self.assertEqual(({self.asked.id}, 2), (set(survey.stated), survey.asked))

    def test_no_key(self) -> None:
        """
        Who has no key, or is not in the ring, signs nothing, and says so.
        """
        vouching = self.asked.pastry.secure.vouching
        vouching.sign = None
        self.assertRaises(Refused, vouching.state, bytes(16), self.asker.id)
        vouching.sign = lambda data: sign(self.asked.id, data)
        self.asked.pastry.stop()
        self.assertRaises(Refused, vouching.state, bytes(16), self.asker.id)
        survey, complaints = self.ask()
        self.assertEqual((True, {}), (survey.is_silent(self.asked.id), complaints))

    def test_flood(self) -> None:
        """
        However often one asks, it gets so much signed in a second, and no more; others get theirs all the same.
        """
        vouching = self.asked.pastry.secure.vouching
        signed: list[bytes] = []

        def count(data: bytes) -> bytes:
            signed.append(data)
            return sign(self.asked.id, data)

        vouching.sign = count
        for _ in range(500):
            self.third.rpc.ask(self.asked.contact, Vouch(Key(self.asked.id), bytes(16)), 1).addErrback(_refused)
        self.rings.advance(0.2)
        self.assertTrue(PEER_AT_ONCE <= len(signed) <= PEER_AT_ONCE + 1, len(signed))
        survey, _ = self.ask()
        self.assertEqual({self.asked.id}, set(survey.stated))
        self.assertRaises(Overloaded, vouching.state, bytes(16), self.third.id)
        self.rings.advance(1)
        vouching.state(bytes(16), self.third.id)

    def test_flood_in_the_name_of_another(self) -> None:
        """
        What one brings as the claims of another uses up its own allowance, not that one's.
        """
        vouching = self.asked.pastry.secure.vouching
        signed: list[bytes] = []

        def count(data: bytes) -> bytes:
            signed.append(data)
            return sign(self.asked.id, data)

        vouching.sign = count
        for number in range(2 * int(CLAIMS_AT_ONCE)):
            claim = encode(Claim(number.to_bytes(16, "big")))
            self.third.rpc.tell(self.asked.contact, Route(Key(self.asked.id), number, 1, self.asker.contact, claim))
        self.rings.advance(0.1)
        self.assertTrue(CLAIMS_AT_ONCE <= len(signed) <= CLAIMS_AT_ONCE + 2, len(signed))
        survey, _ = self.ask()
        self.assertEqual({self.asked.id}, set(survey.stated))
        vouching.state(bytes(16), self.third.id)  # Nor its own for what it asks itself.

    def test_flood_of_all(self) -> None:
        """
        There is a limit for all together, too, and on those who are remembered for it.
        """
        vouching = self.asked.pastry.secure.vouching
        for number in range(int(SIGNED_AT_ONCE)):
            vouching.state(bytes(16), NodeId(Id(number)))
        self.assertRaises(Overloaded, vouching.state, bytes(16), self.third.id)
        for number in range(PEERS_LIMIT):
            self.assertRaises(Overloaded, vouching.state, bytes(16), NodeId(Id(number)))
        self.assertEqual(PEERS_LIMIT, len(vouching._peers))

    def test_busy(self) -> None:
        """
        Who has signed too much just now is no less there: it is asked again a moment later.
        """
        asked: list[Vouch] = []

        def busy(peer: Contact, question: Vouch) -> Message:
            asked.append(question)
            if len(asked) == 1:
                raise Overloaded("")
            return _stated(self.asked, question.nonce)

        self.asked.rpc.serve(Vouch, busy)
        survey, complaints = self.ask()
        self.assertEqual(({self.asked.id}, 2, {}), (set(survey.stated), survey.asked, complaints))

    def test_unasked(self) -> None:
        """
        What says that it is the root of a key that nobody looked up, or says it too late, changes nothing.
        """
        answer = _stated(self.asked, bytes(16))
        assert isinstance(answer, Vouched)
        self.asked.rpc.tell(self.asker.contact, Claimed(bytes(16), answer.statement, answer.signature))
        self.rings.advance(1)
        self.assertEqual({}, dict(self.asker.complaints.counts))


def _refused(failure: object) -> None:
    pass
