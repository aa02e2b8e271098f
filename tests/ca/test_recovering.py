"""
Tests of what L{post.ca.enrolment} answers to who recovers, and of L{post.ca.recoveries}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.ca.authority import SHORT_S
from post.ca.enrolment import Enrolment, WrongCode
from post.ca.questions import ENTRUST, RECOVER, VERSION, Claimed, Entrust, Recover, sign_claim, sign_question
from post.crypto.certificates import make_request, read_identity, read_node
from post.crypto.recovery import RecoveryKeys
from post.crypto.revocations import IDENTITY
from post.errors import BadSignature, PeerError, Refused
from post.wire import RefusalCode, pack, unpack
from tests.ca.members import Newcomer, Office, claim
from tests.crypto.issued import DAY, NOW
from tests.scratch import scratch

PAPER, OTHER = RecoveryKeys(b"p" * 16, b"f" * 16), RecoveryKeys(b"o" * 16, b"f" * 16)


class RecoveringCase(SynchronousTestCase):
    """
    An authority whose member bob has a recovery code.
    """

    def setUp(self) -> None:
        self.office = Office(scratch(self))
        self.bob = self.office.joined("bob")
        self.bob.entrust(self.office, PAPER)

    def refusal(self, keys: RecoveryKeys, newcomer: str = "new") -> Refused:
        """
        Why a code is not taken.
        """
        error: Refused = self.assertRaises(Refused, claim, self.office, keys, Newcomer(newcomer))
        return error


class RecoverTests(RecoveringCase):
    """
    Tests of C{recover}.
    """

    def test_certified(self) -> None:
        """
        New keys are certified for the same account and the same place on the ring, with a higher serial, and the share
        comes with them; the keys of before are certified no more.
        """
        before = read_identity(self.bob.person_chain[0]), read_node(self.bob.chain[0])
        new = Newcomer("new")
        recovered = claim(self.office, PAPER, new)
        person, node = read_identity(new.person_chain[0]), read_node(new.chain[0])
        self.assertEqual(("bob@example.org", b"s" * 32), (recovered.address, recovered.share))
        self.assertEqual((before[0].account, before[1].node_id), (person.account, node.node_id))
        self.assertEqual(new.person.public, person.public_key)
        self.assertGreater(person.serial, before[0].serial)
        new.news(self.office)
        told = self.bob.news(self.office)
        self.assertEqual((b"", b"", False), (told.policy, told.directory, told.revoked == b""))
        # A thief who has the old keys cannot make another code.
        error = self.assertRaises(Refused, self.bob.entrust, self.office, OTHER)
        self.assertEqual(RefusalCode.FORBIDDEN, error.code)

    def test_revoked(self) -> None:
        """
        The lost machine's keys are revoked in the same step, and no others; name and place stay in the directory.
        """
        eve = self.office.joined("eve")
        new = Newcomer("new")
        claim(self.office, PAPER, new)
        revoked = self.office.authority.revocations(NOW)
        self.assertEqual({self.bob.key.public, self.bob.person.public}, set(revoked.keys()))
        claim(self.office, PAPER, new)
        self.assertEqual(revoked, self.office.authority.revocations(NOW))
        directory = self.office.authority.members(NOW)
        self.assertIsNotNone(directory.account("bob@example.org"))
        self.assertIn(read_node(new.chain[0]).node_id, [member.node for member in directory.members])
        eve.news(self.office)
        new.entrust(self.office, OTHER)

    def test_replaced_itself(self) -> None:
        """
        A machine that took a lost one's place and was replaced in turn does not come back by the same keys.
        """
        second = Newcomer("second")
        claim(self.office, PAPER, second)
        claim(self.office, PAPER, Newcomer("third"))
        error = self.assertRaises(Refused, claim, self.office, PAPER, second)
        self.assertIn("replaced itself", error.text)

    def test_expelled(self) -> None:
        """
        Who was taken out of the organisation does not come back by a code; whose machine is only lost does.
        """
        authority = self.office.authority
        authority.revoke(IDENTITY, "bob@example.org", NOW, keeping=b"")
        self.assertEqual("bob@example.org", claim(self.office, PAPER, Newcomer("new")).address)
        authority.revoke(IDENTITY, "bob@example.org", NOW)
        self.assertIn("no account here any more", self.refusal(PAPER, "other").text)

    def test_taken_back(self) -> None:
        """
        Who was taken out, and comes back by a new code to join, does not come back with the old recovery code: whoever
        was the reason may have that too.  Another one is made as usual.
        """
        self.office.authority.revoke(IDENTITY, "bob@example.org", NOW)
        again = Newcomer("again")
        again.join(self.office, self.office.code("bob@example.org", replace=True), NOW)
        self.assertIn("was taken back", self.refusal(PAPER, "thief").text)
        again.news(self.office)
        self.assertRaises(Refused, again.entrust, self.office, PAPER)
        again.entrust(self.office, OTHER)
        self.assertIn("has been renewed", self.refusal(PAPER, "thief").text)
        self.assertEqual("bob@example.org", claim(self.office, OTHER, Newcomer("new")).address)

    def test_cut_short(self) -> None:
        """
        If the authority died after it had certified the new keys, and before it had revoked the old ones, the same
        question does the rest.
        """
        new = Newcomer("new")
        self.office.authority.issue_node(make_request(new.key), "bob@example.org", NOW, life_s=SHORT_S)
        self.office.authority.issue_user(make_request(new.person), "bob@example.org", NOW, SHORT_S)
        before = self.office.authority.newest(IDENTITY, "bob@example.org")
        recovered = claim(self.office, PAPER, new)
        self.assertEqual(before, recovered.user_chain[0])
        revoked = self.office.authority.revocations(NOW)
        self.assertEqual({self.bob.key.public, self.bob.person.public}, set(revoked.keys()))

    def test_again(self) -> None:
        """
        When the answer was lost, the same keys get the same certificates, from another process too.
        """
        new = Newcomer("new")
        first = claim(self.office, PAPER, new)
        self.office.enrolment = Enrolment(self.office.authority, NOW)
        second = claim(self.office, PAPER, new)
        self.assertEqual((first.node_chain, first.user_chain), (second.node_chain, second.user_chain))

    def test_another(self) -> None:
        """
        The code counts until there is a newer one: a machine that was lost before that is replaced in turn.
        """
        claim(self.office, PAPER, Newcomer("second"))
        third = Newcomer("third")
        claim(self.office, PAPER, third)
        third.entrust(self.office, OTHER)
        self.assertIn("has been renewed", self.refusal(PAPER).text)
        self.assertEqual(b"s" * 32, claim(self.office, OTHER, Newcomer("fourth")).share)

    def test_wrong(self) -> None:
        """
        A code that is not known, or was renewed, is refused, and so that the door slows down who asks.
        """
        self.assertIsInstance(self.refusal(OTHER), WrongCode)
        self.bob.entrust(self.office, OTHER, b"t" * 32)
        self.assertIsInstance(self.refusal(PAPER), WrongCode)
        self.assertEqual(b"t" * 32, claim(self.office, OTHER, Newcomer("new")).share)

    def test_share(self) -> None:
        """
        Of a code that was renewed, the share is nowhere any more.
        """
        self.bob.entrust(self.office, OTHER, b"t" * 32)
        files = [path.read_bytes() for path in self.office.authority.path.rglob("*") if path.is_file()]
        self.assertEqual((0, 1), (sum(b"s" * 32 in data for data in files), sum(b"t" * 32 in data for data in files)))

    def test_forged(self) -> None:
        """
        Who has only seen the public half of a code gets nothing; nor does who changes or carries on what was asked.
        """
        new = Newcomer("new")
        door = self.office.enrolment.door
        body = Recover(VERSION, door, make_request(new.key), make_request(new.person), 0, ())
        claimed = unpack(Claimed, sign_claim(body, PAPER.claim))
        other = Recover(VERSION, door, make_request(new.person), make_request(new.key), 0, ())
        for forged in (
            Claimed(
                VERSION, PAPER.claim.public, claimed.body, unpack(Claimed, sign_claim(body, OTHER.claim)).signature
            ),
            Claimed(VERSION, PAPER.claim.public, pack(other), claimed.signature),
        ):
            self.assertRaises(WrongCode, self.office.enrolment.answer, RECOVER, pack(forged), NOW)
        error = self.assertRaises(Refused, claim, self.office, PAPER, new, door=bytes(32))
        self.assertIn("another authority", error.text)
        for garbage in (b"", b"\x90", sign_claim(body, PAPER.claim)[:-1]):
            self.assertRaises(PeerError, self.office.enrolment.answer, RECOVER, garbage, NOW)
        self.bob.news(self.office)  # Nothing of his was replaced.

    def test_often(self) -> None:
        """
        Who asks in a circle is told to wait.
        """
        new = Newcomer("new")
        for _ in range(30):
            claim(self.office, PAPER, new)
        self.assertEqual(RefusalCode.OVERLOADED, self.refusal(PAPER).code)


class EntrustTests(RecoveringCase):
    """
    Tests of C{entrust}.
    """

    def test_signed(self) -> None:
        """
        Only the person whose account it is makes a code known, now and here.
        """
        eve = self.office.joined("eve")
        enrolment = self.office.enrolment
        body = Entrust(VERSION, enrolment.door, NOW, OTHER.claim.public, b"e" * 32)
        forged = sign_question(body, eve.person, self.bob.person_chain)
        self.assertRaises(BadSignature, enrolment.answer, ENTRUST, forged, NOW)
        for wrong in (
            Entrust(VERSION, bytes(32), NOW, OTHER.claim.public, b"e" * 32),
            Entrust(VERSION, enrolment.door, NOW - DAY, OTHER.claim.public, b"e" * 32),
        ):
            signed = sign_question(wrong, self.bob.person, self.bob.person_chain)
            self.assertRaises(Refused, enrolment.answer, ENTRUST, signed, NOW)
        node = sign_question(body, self.bob.key, self.bob.chain)
        self.assertRaises(PeerError, enrolment.answer, ENTRUST, node, NOW)
        self.assertEqual("bob@example.org", claim(self.office, PAPER, Newcomer("new")).address)

    def test_each(self) -> None:
        """
        Everybody has a code of their own.
        """
        self.office.joined("eve").entrust(self.office, OTHER, b"e" * 32)
        self.assertEqual("eve@example.org", claim(self.office, OTHER, Newcomer("new")).address)
        self.assertEqual("bob@example.org", claim(self.office, PAPER, Newcomer("new")).address)

    def test_taken(self) -> None:
        """
        Nobody makes somebody else's code lead to themselves.
        """
        eve = self.office.joined("eve")
        error = self.assertRaises(Refused, eve.entrust, self.office, PAPER)
        self.assertEqual(RefusalCode.CONFLICT, error.code)
        self.assertEqual("bob@example.org", claim(self.office, PAPER, Newcomer("new")).address)

    def test_revoked(self) -> None:
        """
        Whose key is revoked leaves no code behind that is good when the name is certified again.
        """
        self.office.authority.revoke(IDENTITY, "bob@example.org", NOW)
        self.assertIn("revoked", self.assertRaises(Refused, self.bob.entrust, self.office, OTHER, b"e" * 32).text)
        Newcomer("again").join(self.office, self.office.code("bob@example.org", replace=True), NOW)
        self.assertRaises(Refused, claim, self.office, OTHER, Newcomer("thief"))

    def test_thief(self) -> None:
        """
        Whoever has a machine that was reported stolen neither ends its owner's code nor has one of his own.
        """
        self.office.authority.revoke(IDENTITY, "bob@example.org", NOW, keeping=b"")
        self.assertRaises(Refused, self.bob.entrust, self.office, OTHER, b"e" * 32)
        self.assertRaises(Refused, claim, self.office, OTHER, Newcomer("thief"))
        self.assertEqual("bob@example.org", claim(self.office, PAPER, Newcomer("new")).address)
