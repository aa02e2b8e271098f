"""
Tests for L{post.mail.submission} and L{post.mail.arrival}: one person's mail in another's Inbox.
"""

from __future__ import annotations

from base64 import encodebytes
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.crypto.certificates import issue_identity, make_request
from post.errors import NotFound, PeerError, TooFewReplicas
from post.hashes import Purpose, tagged
from post.mail.arrival import forged_claims, is_from
from post.mail.interfaces import (
    DirectoryUnavailable,
    ISubmission,
    MessageTooLarge,
    RecipientOutside,
    RecipientUnknown,
    SenderRefused,
)
from post.mail.letter import Letter
from post.mail.sameness import AGAIN_S
from post.messaging.account import HeldKey
from post.messaging.identities import FRESH_S
from post.messaging.identity import Lapsed
from post.messaging.notification import Delivered, Receipt, acknowledge, disclose, letter_in
from post.past.blocks import CONTENT
from post.smtp.replies import UNEXPECTED, reply_to
from post.wire import unpack
from tests.messaging.doubles import backup
from tests.messaging.test_dispatch import BOB_NODE

from .doubles import SIZE_LIMIT, Person, Place

HEADER = b"From: Alice <alice@example.org>\r\nTo: bob@example.org\r\nSubject: s\r\nMessage-ID: <1@example.org>\r\n"
MAIL = HEADER + b"\r\nHello.\r\n"
RESULTS = b"Authentication-Results: example.org; auth=pass smtp.auth=alice@example.org\r\n"
PREFIX = RESULTS + b"Return-Path: <alice@example.org>\r\nReceived: x\r\n"
ATTACHED = (
    HEADER + b"Bcc: carol@example.org\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nHello.\r\n"
    b"--b\r\nContent-Type: application/x\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + encodebytes(bytes(range(256)) * 900).replace(b"\n", b"\r\n")
    + b"--b--\r\n"
)


class SubmissionTests(SynchronousTestCase):
    """
    Alice writes to Bob.
    """

    def setUp(self) -> None:
        self.place = Place(b"seed")
        self.alice, self.bob = Person(self.place, "alice"), Person(self.place, "bob")

    def test_interface(self) -> None:
        """
        A submission is what front-ends expect.
        """
        self.assertTrue(verifyObject(ISubmission, self.alice.submission))

    def test_delivered(self) -> None:
        """
        The message is in Bob's Inbox to the octet, behind the lines of its way, and Alice's own copy is in Sent.
        """
        self.alice.send(MAIL, "bob")
        self.assertEqual([PREFIX + MAIL], self.bob.texts())
        self.assertEqual([MAIL], self.alice.texts("Sent"))
        self.assertEqual({"\\Seen"}, self.alice.folder("Sent").entries()[0].flags)
        self.assertEqual({"$Verified"}, self.bob.folder().entries()[0].flags)

    def test_again(self) -> None:
        """
        Submitting the same message again, as after a lost reply, doubles nothing on either side.
        """
        for _ in range(3):
            self.alice.send(MAIL, "bob", trace=b"Received: another\r\n")
        self.assertEqual((1, 1), (len(self.bob.texts()), len(self.alice.texts("Sent"))))

    def test_again_after_expunge(self) -> None:
        """
        Nor does it bring back what was expunged, not even when the message cannot be fetched any more.
        """
        self.alice.send(MAIL, "bob")
        self.place.run(self.bob.folder().expunge([1]))
        self.alice.send(MAIL, "bob")
        self.bob.restart()
        self.alice.send(MAIL, "bob")
        self.bob.restart(forget=True)
        self.alice.send(MAIL, "bob")
        self.assertEqual([], self.bob.texts())

    def test_known_is_not_fetched(self) -> None:
        """
        A message that was filed is receipted again although its blocks are gone.
        """
        self.bob.leave()
        self.alice.send(MAIL, "bob")
        [envelope] = self.place.waiting()
        self.bob.open()
        self.place.run(self.place.reception.receive(envelope))
        self.place.run(self.bob.folder().expunge([1]))
        self.bob.restart()
        objects = self.place.past.objects
        for handle in [handle for handle, item in objects.items() if item.kind == CONTENT]:
            del objects[handle]
        self.place.reception._receipts.clear()
        self.assertTrue(self.place.run(self.place.reception.receive(envelope)))

    def test_restored_disk(self) -> None:
        """
        What arrived after the backup was made does not arrive again on the restored disk.
        """
        disk = backup(self.bob.journal, self.place.clock)
        self.alice.send(MAIL, "bob")
        self.bob.leave()
        self.bob.journal = disk
        self.bob.open()
        self.alice.send(MAIL, "bob")
        self.assertEqual(1, len(self.bob.texts()))

    def test_too_few(self) -> None:
        """
        While the ring cannot keep it, the message is refused; a retry doubles nothing.
        """
        for copies in (0, 1, 2):
            self.place.past.copies = copies
            self.assertRaises(TooFewReplicas, self.alice.send, MAIL, "bob")
        self.place.past.copies = 3
        self.alice.send(MAIL, "bob")
        self.assertEqual((1, 1), (len(self.bob.texts()), len(self.alice.texts("Sent"))))

    def test_promise(self) -> None:
        """
        Wherever the ring fails for good while a message is taken: if it was taken nevertheless, both copies survive the
        loss of both disks; if not, the retry leaves one of each.
        """
        for failing in range(12):
            place = Place(b"seed %d" % failing)
            alice, bob = Person(place, "alice"), Person(place, "bob")
            insert, left = place.past.insert, [failing]

            async def limited(*arguments: object, insert: object = insert, left: list[int] = left) -> object:
                left[0] -= 1
                if left[0] < 0:
                    raise TooFewReplicas(1, 2)
                return await insert(*arguments)  # type: ignore[operator]

            place.past.insert = limited  # type: ignore[method-assign, assignment]
            taken = True
            try:
                alice.send(MAIL, "bob")
            except TooFewReplicas:
                taken = False
            place.past.insert = insert  # type: ignore[method-assign]
            if not taken:
                alice.send(MAIL, "bob")
            for person in (alice, bob):
                person.restart(forget=True)
            for envelope in place.waiting():
                place.run(place.reception.receive(envelope))
            self.assertEqual((1, 1), (len(bob.texts()), len(alice.texts("Sent"))), f"{failing} inserts, taken {taken}")

    def test_off_line(self) -> None:
        """
        For somebody whose node is off the notification waits; it arrives once, however often it is offered.
        """
        self.bob.leave()
        self.alice.send(MAIL, "bob")
        self.alice.send(MAIL, "bob")
        self.bob.open()
        for envelope in self.place.waiting() * 2:
            self.place.run(self.place.reception.receive(envelope))
        self.assertEqual(1, len(self.bob.texts()))

    def test_receipt_means_kept(self) -> None:
        """
        Bob gives no receipt before the ring keeps his copy.
        """
        self.bob.leave()
        self.alice.send(MAIL, "bob")
        [envelope] = self.place.waiting()
        self.bob.open()
        self.place.past.copies = 1
        self.assertRaises(TooFewReplicas, self.place.run, self.place.reception.receive(envelope))
        self.place.past.copies = 3
        receipt = self.place.run(self.place.reception.receive(envelope))
        named = unpack(Delivered, unpack(Receipt, receipt).body).envelope
        self.assertEqual(tagged(Purpose.PENDING, envelope), named)
        self.bob.restart(forget=True)
        self.assertEqual(1, len(self.bob.texts()))

    def test_several(self) -> None:
        """
        Several recipients, some of them twice, one of them the sender: everybody gets one.
        """
        carol = Person(self.place, "carol")
        self.alice.send(MAIL, "bob", "carol", "BOB", "bob+lists", "alice", "alice")
        self.assertEqual([1, 1, 1], [len(each.texts()) for each in (self.alice, self.bob, carol)])
        self.assertEqual(1, len(self.alice.texts("Sent")))

    def test_bcc(self) -> None:
        """
        Nobody but the sender sees who got a blind copy; the attachment is stored once.
        """
        carol = Person(self.place, "carol")
        self.alice.send(ATTACHED, "bob", "carol")
        hidden = ATTACHED.replace(b"Bcc: carol@example.org\r\n", b"")
        self.assertEqual([PREFIX + hidden], self.bob.texts())
        self.assertEqual([PREFIX + hidden], carol.texts())
        self.assertEqual([ATTACHED], self.alice.texts("Sent"))
        large = [item for item in self.place.past.objects.values() if len(item.data) > 200_000]
        self.assertEqual(1, len(large))

    def test_bcc_folded(self) -> None:
        """
        However the field is spelled and folded, and also if there are several.
        """
        message = (
            b"bCC : a@example.org,\r\n\tb@example.org\r\n" + HEADER + b"Resent-Bcc: c@example.org\r\nBcc:\r\n\r\nx"
        )
        self.alice.send(message, "bob")
        self.assertEqual([PREFIX + HEADER + b"\r\nx"], self.bob.texts())

    def test_own_copy(self) -> None:
        """
        The mail program's own copy for Sent is answered with the one that is there, before and after a restart.
        """
        self.alice.send(MAIL, "bob")
        copy = b"Bcc: x@example.org\r\n" + MAIL
        first = self.place.run(self.alice.mailbox.append("Sent", copy, frozenset({"\\Seen"}), None))
        self.alice.restart()
        second = self.place.run(self.alice.mailbox.append("Sent", copy, frozenset({"\\Seen"}), None))
        self.assertEqual((1, 1, first), (first[1], len(self.alice.texts("Sent")), second))
        self.place.run(self.alice.mailbox.append("Drafts", copy, frozenset(), None))
        self.assertEqual(1, len(self.alice.texts("Drafts")))

    def test_sender(self) -> None:
        """
        Alice sends as herself, also with a sub-address or the null sender, and as nobody else.
        """
        for address in ("alice@example.org", "ALICE@example.org", "alice+x@example.org", ""):
            self.alice.submission.check_sender(address)
        for address in ("bob@example.org", "alice@example.com", "alice", "@", "alice@example.org@example.org"):
            self.assertRaises(SenderRefused, self.alice.submission.check_sender, address)
        self.assertRaises(SenderRefused, self.alice.send, MAIL, "bob", sender="bob@example.org")

    def test_recipients(self) -> None:
        """
        Who does not exist is refused at once, but only on the strength of a fresh directory.
        """
        check = self.alice.submission.check_recipient
        self.assertRaises(RecipientUnknown, self.place.run, check("nobody@example.org"))
        self.assertRaises(RecipientUnknown, self.place.run, check("no address"))
        self.assertRaises(RecipientOutside, self.place.run, check("bob@example.com"))
        self.place.clock.advance(20 * 365 * 86400)
        self.assertRaises(DirectoryUnavailable, self.place.run, check("nobody@example.org"))
        self.assertIsNone(self.place.run(check("bob@example.org")))

    def test_never_seen(self) -> None:
        """
        Mail to somebody who has an account and never was on-line is refused for the moment; others get theirs.
        """
        self.place.authority.account("dave")
        self.assertRaises(NotFound, self.alice.send, MAIL, "bob", "dave")
        self.assertEqual(1, len(self.bob.texts()))

    def test_lapsed(self) -> None:
        """
        Mail to somebody who has been away until what others could seal to, or their certificate, has run out is refused
        for the moment, which says so.
        """
        bob, now = self.bob.credentials, int(self.place.clock.seconds())
        self.bob.account.renew(replace(bob, sealing=(HeldKey(bob.sealing[0].key, now + 60),)))
        self.place.run(self.bob.account.publish(BOB_NODE, 86400))
        self.place.clock.advance(61)
        self.assertRaises(Lapsed, self.alice.send, MAIL, "bob")
        authority = self.place.authority
        request, end = make_request(bob.key), int(self.place.clock.seconds()) + 60
        leaf = issue_identity(
            authority.issuing, authority.key, request, bob.address, bob.account, 2, now - 60, end, authority.entropy
        )
        self.bob.account.renew(replace(bob, chain=(leaf, authority.issuing)))
        self.place.run(self.bob.account.publish(BOB_NODE, 86400))
        self.place.clock.advance(FRESH_S + 1)
        self.assertRaises(Lapsed, self.alice.send, MAIL, "bob")
        self.assertEqual(450, (reply_to(Lapsed("x")) or UNEXPECTED)[0])

    def test_limits(self) -> None:
        """
        A message over the limit, or of nothing but header, is refused; one at the limit arrives.
        """
        self.assertRaises(MessageTooLarge, self.alice.send, b"x" * (SIZE_LIMIT + 1), "bob")
        self.assertRaises(MessageTooLarge, self.alice.send, HEADER + b"X: y\r\n" * 20_000, "bob")
        whole = MAIL + b"y" * (SIZE_LIMIT - len(MAIL))
        self.alice.send(whole, "bob")
        folder = self.bob.folder()
        content = folder.content(1)
        self.assertEqual(len(PREFIX) + SIZE_LIMIT, content.size)
        pieces = [self.place.run(content.read(at, at + 262_144)) for at in range(0, content.size, 262_144)]
        self.assertEqual(PREFIX + whole, b"".join(pieces))

    def test_nothing_in_clear(self) -> None:
        """
        Neither the message, nor its header, nor who sent it can be read in anything that the ring keeps.
        """
        self.bob.leave()
        self.alice.send(ATTACHED, "bob")
        for item in self.place.past.objects.values():
            for secret in (b"Hello", b"Subject", b"Message-ID", b"Received", bytes(range(100))):
                self.assertNotIn(secret, item.data)
        [envelope] = self.place.waiting()
        self.assertNotIn(b"alice", envelope)

    def test_proof(self) -> None:
        """
        Who sent a message can be shown from the mailbox years later: the signed notification and its certificates.
        """
        self.alice.send(MAIL, "bob")
        self.bob.restart(forget=True)
        [entry] = self.bob.mailbox.state.by_key.values()
        assert entry.proof is not None
        self.assertEqual(self.alice.account.chain, self.bob.mailbox.state.certificates[entry.proof.certificate])

    def test_foreign_trace(self) -> None:
        """
        A sender's node may put lines of the message's way before it, and no others.
        """
        self.alice.send(MAIL, "bob", trace=b"Received: x\r\nFrom: carol@example.org\r\n")
        self.assertEqual([RESULTS + MAIL], self.bob.texts())

    def test_author(self) -> None:
        """
        From may not be somebody else of the domain, unless Sender or Resent-From says who sends; who really sent it is
        told in front of the message, whatever From says.
        """
        as_carol = MAIL.replace(b"alice@example.org>", b"carol@example.org>")
        self.assertRaises(SenderRefused, self.alice.send, as_carol, "bob")
        self.assertRaises(SenderRefused, self.alice.send, as_carol.replace(b"\r\nTo", b", a@b.example\r\nTo"), "bob")
        self.assertEqual([], self.bob.texts())
        for line in (b"Sender: alice@example.org\r\n", b"Resent-From: Alice <alice@example.org>\r\n"):
            self.alice.send(line + as_carol, "bob")
        self.alice.send(MAIL.replace(b"alice@example.org>", b"boss@elsewhere.example>"), "bob")
        self.assertEqual([RESULTS] * 3, [text[: len(RESULTS)] for text in self.bob.texts()])
        self.assertEqual([frozenset()] * 3, [entry.flags for entry in self.bob.folder().entries()])

    def test_newcomer(self) -> None:
        """
        Somebody whom our directory does not name yet is found by the certificate under their name.
        """
        old = self.place.authority.directory()
        carol = Person(self.place, "carol")
        self.alice.expansion._recipients._directory = lambda: old
        self.alice.send(MAIL, "carol")
        self.assertEqual(1, len(carol.texts()))
        self.assertRaises(RecipientUnknown, self.place.run, self.alice.submission.check_recipient("dave@example.org"))

    def test_without_message_id(self) -> None:
        """
        A report that says the same every day arrives every day; sent again within the hour it is a retry.
        """
        report = b"From: alice@example.org\r\nSubject: all is well\r\n\r\n.\r\n"
        for _ in range(2):
            self.alice.send(report, "bob")
        self.assertEqual(1, len(self.bob.texts()))
        self.place.clock.advance(AGAIN_S + 1)
        self.alice.send(report, "bob")
        self.assertEqual(2, len(self.bob.texts()))
        self.assertEqual(2, len(self.alice.texts("Sent")))

    def test_slot_of_another(self) -> None:
        """
        A receipt that is for another envelope does not end a wait, although the recipient signed it for that slot.
        """
        self.bob.leave()
        self.alice.send(MAIL, "bob")
        [envelope] = self.place.waiting()
        letter = letter_in(envelope)
        receipt = acknowledge(b"x" * 32, letter, letter.stamp, self.bob.account.key, self.bob.account.chain)
        self.place.run(self.place.dispatch.end(envelope, receipt, letter.expires))
        self.assertEqual([envelope], self.place.waiting())
        self.assertTrue(disclose(letter, self.bob.account.sealing_keys))


class VerifiedTests(SynchronousTestCase):
    """
    Tests for L{is_from} and L{forged_claims}.
    """

    def verified(self, header: bytes) -> bool:
        return is_from(Letter(b"", len(header) + 100, header), "alice@example.org")

    def test_one_address(self) -> None:
        """
        One field with one address, that of the sender.
        """
        for value in (b"alice@example.org", b"Bob <ALICE@example.org>", b'"x, y" <alice@example.org> (z)'):
            self.assertTrue(self.verified(b"From: " + value + b"\r\n\r\n"), value)

    def test_anything_else(self) -> None:
        """
        Several addresses, several fields, none, another: not verified.
        """
        for header in (
            b"From: bob@example.org\r\n\r\n",
            b"From: alice@example.org, bob@example.org\r\n\r\n",
            b"From: alice@example.org\r\nFrom: bob@example.org\r\n\r\n",
            b"From: alice@example.org\r\nfrom : bob@example.org\r\n\r\n",
            b"From: alice\r\n\r\n",
            b"Sender: alice@example.org\r\n\r\n",
            b"\r\n",
        ):
            self.assertFalse(self.verified(header), header)

    def test_ambiguous(self) -> None:
        """
        Nor a header that mail programs may read differently, or that was not seen to its end.
        """
        for header in (
            b"From: alice@example.org\r\nX: y\nFrom: bob@example.org\r\n\r\n",
            b"From: alice@example.org\r\nX: y\rFrom: bob@example.org\r\n\r\n",
            b"From: alice@example.org\0\r\n\r\n",
            b"From: alice@example.org\r\n",
            b"From: alice@example.org\n\n",
        ):
            self.assertFalse(self.verified(header), header)

    def test_results(self) -> None:
        """
        Results in our domain's name are found, however they are written; those of others stay.
        """
        forged = (
            b" example.org; spf=pass",
            b" (a; (b)) mx.Example.ORG 1; x=y",
            b'\r\n "example.org"; none',
            b" example.org",
        )
        for value in forged:
            field = b"authentication-Results :" + value + b"\r\n"
            self.assertEqual(((3, 3 + len(field)),), forged_claims(b"A:\n" + field + b"\r\n", "example.org"), value)
        for value in (b" example.com; spf=pass smtp.mailfrom=example.org", b" notexample.org; none"):
            self.assertEqual((), forged_claims(b"Authentication-Results:" + value + b"\r\n", "example.org"), value)

    def test_results_not_shown(self) -> None:
        """
        What Bob reads is the message without them, and its structure and size agree with that.
        """
        place = Place(b"seed")
        alice, bob = Person(place, "alice"), Person(place, "bob")
        forged = b"Authentication-Results: example.org; dkim=pass\r\n\tspf=pass\r\n"
        alice.send(
            ATTACHED.replace(b"Subject:", forged + b"Subject:").replace(b"Bcc: carol@example.org\r\n", b""), "bob"
        )
        shown = PREFIX + ATTACHED.replace(b"Bcc: carol@example.org\r\n", b"")
        bob.restart(forget=True)
        self.assertEqual([shown], bob.texts())
        tree = place.run(bob.folder().content(1001 if bob.folder().entry(1) is None else 1).structure())
        self.assertEqual((len(shown), shown.index(b"Hello.")), (tree.body_end, tree.children[0].body_start))

    def test_other_application(self) -> None:
        """
        A notification that is none of mail is refused.
        """
        place = Place(b"seed")
        alice, bob = Person(place, "alice"), Person(place, "bob")
        notification = alice.account.notification("chess", b"e4", bob.account.id, b"e4")
        place.run(place.dispatch.notify(alice.account.signer, notification))
        [envelope] = place.waiting()
        self.assertRaises(PeerError, place.run, place.reception.receive(envelope))
        self.assertEqual([], bob.texts())
