"""
Tests for L{post.mail.lists}, L{post.mail.expansion} and L{post.mail.showing}: mailing lists.
"""

from __future__ import annotations

from typing import cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import DeferredSemaphore
from twisted.trial.unittest import SynchronousTestCase

from post.complaints import Complaints
from post.crypto.documents import DirectoryEntry
from post.errors import NotFound, PeerError, TooFewReplicas
from post.ids import AccountId, Handle, Id
from post.mail.expansion import LISTLESS_S, LISTS_LIMIT, PEOPLE_LIMIT, Expansion
from post.mail.inbound import Inbound
from post.mail.interfaces import DirectoryUnavailable, ListTooLarge, PostingRefused, RecipientUnknown
from post.mail.lists import MEMBERS_LIMIT, MailingList, Posting, header_lines, read_list, write_list
from post.mail.personal import Unacceptable, Unfinished
from post.mail.recipients import Recipients
from post.mail.records import Standing
from post.messaging.dispatch import Dispatch, Outcome
from post.messaging.identities import Identities
from post.messaging.identity import Public
from post.messaging.notification import Notification
from post.past.blocks import CONTENT, PUBLIC_KEY
from post.tasks import gather, sleep
from post.wire import pack
from tests.messaging.test_dispatch import BOB_NODE

from .doubles import Person, Place

MAIL = b"From: bob@example.org\r\nTo: alice+team@example.org\r\nSubject: s\r\nMessage-ID: <1@x>\r\n\r\nHello.\r\n"
TEAM = "alice+team@example.org"
ID_LINES = b"List-Id: <alice+team.example.org>\r\nList-Post: <mailto:alice%2Bteam@example.org>\r\n"


class ListTests(SynchronousTestCase):
    """
    Alice maintains a list; bob and carol are on it, dave is not.
    """

    def setUp(self) -> None:
        self.place = Place(b"lists")
        self.people = {name: Person(self.place, name) for name in ("alice", "bob", "carol", "dave")}
        self.alice, self.bob, self.carol, self.dave = self.people.values()
        self.place.run(self.alice.lists.create("Alice+Team@example.org", "members", ["bob@example.org"]))
        self.place.run(self.alice.lists.add("team", ["Carol@example.org"]))

    def counts(self) -> list[int]:
        return [len(person.texts()) for person in self.people.values()]

    def expand(self, person: Person, *addresses: str) -> list[str]:
        domain = "@example.org"
        full = [address if "@" in address else address + domain for address in addresses]
        targets = self.place.run(person.expansion.expand(person.account.id, full))
        by_account = {each.account.id: name for name, each in self.people.items()}
        return [by_account[target.account] for target in targets]

    def test_expanded(self) -> None:
        """
        Each member gets the message once, to the octet, behind lines that say by which list; whoever is also addressed
        is notified as addressed.
        """
        self.bob.send(MAIL, "alice+team", "carol")
        self.assertEqual([0, 1, 1, 0], self.counts())
        (text,) = self.bob.texts()
        self.assertIn(b"\r\n" + ID_LINES + b"Received: x\r\n" + MAIL, text)
        self.assertNotIn(b"List-Id", self.carol.texts()[0])
        self.bob.send(MAIL, "alice+team", "carol")
        self.assertEqual([0, 1, 1, 0], self.counts())

    def test_offline_member(self) -> None:
        """
        For a member who is away a notification waits; nothing is said of it to the others.
        """
        self.carol.leave()
        self.bob.send(MAIL, "alice+team")
        (envelope,) = self.place.waiting()
        self.carol.open()
        self.place.run(self.place.reception.receive(envelope))
        self.assertEqual([0, 1, 1, 0], self.counts())

    def test_posting(self) -> None:
        """
        Members and the maintainer may write to it, others are told no, unless the list is for all.
        """
        run = self.place.run
        self.assertEqual(["bob", "carol"], self.expand(self.alice, "alice+team"))
        self.assertRaises(PostingRefused, run, self.dave.submission.check_recipient(TEAM))
        as_dave = MAIL.replace(b"bob@", b"dave@")
        self.assertRaises(PostingRefused, self.dave.send, as_dave, "alice+team")
        outside = self.alice.expansion.expand(None, [TEAM])
        self.assertRaises(PostingRefused, run, outside)
        run(self.alice.lists.create("alice+all@example.org", "organisation", ["bob@example.org"]))
        self.assertEqual(["bob"], self.expand(self.dave, "alice+all"))
        self.assertRaises(PostingRefused, run, self.alice.expansion.expand(None, ["alice+all@example.org"]))
        run(self.alice.lists.create("alice+info@example.org", "anyone", ["bob@example.org"]))
        self.assertEqual(1, len(run(self.alice.expansion.expand(None, ["alice+info@example.org"]))))

    def test_nested(self) -> None:
        """
        A list may be on a list; its members may write to the outer one, and everybody is reached once.
        """
        run = self.place.run
        run(self.dave.lists.create("dave+club@example.org", "members", [TEAM, "bob@example.org", "dave@example.org"]))
        self.assertEqual({"bob", "carol", "dave"}, set(self.expand(self.carol, "dave+club")))

    def test_circle(self) -> None:
        """
        A list that would come to be within itself is refused; where two maintainers make a circle at the same time,
        mail still reaches everybody once.
        """
        run = self.place.run
        run(self.dave.lists.create("dave+club@example.org", "members", [TEAM]))
        for member in ("dave+club@example.org", "alice+TEAM@example.org"):
            error = self.assertRaises(Unacceptable, run, self.alice.lists.add("team", [member]))
            self.assertIn("within itself", str(error))
        current = self.alice.lists.named("team")
        run(self.alice.lists._set(TEAM, "members", (*current.members, "dave+club@example.org")))
        self.assertEqual(["bob", "carol"], self.expand(self.carol, "dave+club"))

    def test_gone(self) -> None:
        """
        A member who has gone is passed over, and can be taken off; an address that is no list is its owner's.
        """
        self.place.authority.entries[:] = [e for e in self.place.authority.entries if "carol" not in e.address]
        self.place.past.objects = {h: o for h, o in self.place.past.objects.items() if o.kind != 3}
        self.assertEqual(["bob"], self.expand(self.bob, "alice+team"))
        self.place.run(self.alice.lists.remove("team", ["carol@example.org"]))
        self.assertEqual(("bob@example.org",), self.alice.lists.named("team").members)
        self.place.run(self.alice.lists.delete("team"))
        self.assertEqual(["alice"], self.expand(self.bob, "alice+team"))
        self.assertEqual(["alice"], self.expand(self.dave, "alice+other"))
        self.assertRaises(RecipientUnknown, self.expand, self.bob, "nobody+team")

    def test_absent(self) -> None:
        """
        A list works for the others when somebody on it has never been on-line, or has been away until their certificate
        ran out: whoever writes to it is told that it did not come to these, once, and also if they send it again.
        """
        erin = self.place.authority.account("erin")
        self.place.run(self.alice.lists.add("team", [erin.address]))
        for _ in range(2):
            self.bob.send(MAIL, "alice+team")
        (notice,) = (text for text in self.bob.texts() if text != MAIL and b"multipart/report" in text)
        self.assertIn(b"Final-Recipient: rfc822; erin@example.org\r\nAction: failed", notice)
        self.assertNotIn(b"carol@", notice)
        self.assertEqual([0, 2, 1, 0], self.counts())
        [journey] = self.bob.submission.sent()
        standings = {passage.address: passage.standing for passage in journey.passages}
        self.assertEqual(Standing.REFUSED, standings["erin@example.org"])
        self.assertEqual(Standing.DELIVERED, standings["carol@example.org"])
        self.assertRaises(NotFound, self.bob.send, MAIL, "erin")

    def test_absent_from_outside(self) -> None:
        """
        The same for mail from outside, whose sender is told nothing; but if nobody on the list can be reached, it is
        not taken.
        """
        erin, place, alice = self.place.authority.account("erin"), self.place, self.alice
        place.run(alice.lists.create("alice+all@example.org", "anyone", ["carol@example.org", erin.address]))
        place.run(alice.lists.create("alice+none@example.org", "anyone", [erin.address]))
        policy = place.authority.policy
        inbound = Inbound(alice.letters, place.dispatch, alice.expansion, policy, b"s" * 32, place.clock)
        place.run(inbound.accept("x@example.net", ["alice+all@example.org"], MAIL, b""))
        self.assertEqual(1, len(place.waiting()))  # For carol; this node is no gateway, so she does not take it.
        taken = inbound.accept("x@example.net", ["alice+none@example.org"], MAIL, b"")
        self.assertRaises(DirectoryUnavailable, place.run, taken)

    def test_some_at_once(self) -> None:
        """
        However many people a list from outside leads to, only so many are notified at once.
        """
        counts = [0, 0]

        class Counting:
            async def notify(self, sender: None, notification: Notification) -> Outcome:
                counts[0] += 1
                counts[1] = max(counts)
                await sleep(clock, 0.1)
                counts[0] -= 1
                return Outcome(True, 0, 0, 0, Handle(Id(1)))

        place, alice, clock = self.place, self.alice, self.place.clock
        inbound = Inbound(
            alice.letters, cast(Dispatch, Counting()), alice.expansion, place.authority.policy, b"s" * 32, clock
        )
        inbound._notices = DeferredSemaphore(2)
        names = [f"{name}@example.org" for name in self.people]
        place.run(inbound.accept("x@example.net", names, MAIL, b""))
        self.assertEqual([0, 2], counts)

    def test_new(self) -> None:
        """
        A list is one soon after it has been made, also for those who have just written to its maintainer.
        """
        place = self.place
        identities = Identities(place.ring, place.clock, place.authority.root, Complaints(place.clock), place.tasks)
        recipients = Recipients(place.authority.domain, place.authority.directory, identities, place.clock)
        expansion = Expansion(recipients, place.authority.directory, identities, self.bob.store)
        self.assertIsNone(place.run(expansion.list_at("alice+new@example.org")))
        place.run(self.alice.lists.create("alice+new@example.org", "organisation", ["dave@example.org"]))
        place.clock.advance(LISTLESS_S)
        self.assertIsNotNone(place.run(expansion.list_at("alice+new@example.org")))

    def test_empty(self) -> None:
        """
        Mail to a list with nobody on it, or with nobody who is still there, is refused: nobody would get it.
        """
        self.place.run(self.alice.lists.remove("team", ["bob@example.org", "carol@example.org"]))
        as_alice = MAIL.replace(b"bob@", b"alice@")
        for posting in ("members", "organisation"):
            self.assertRaises(RecipientUnknown, self.place.run, self.alice.submission.check_recipient(TEAM))
            self.assertRaises(RecipientUnknown, self.alice.send, as_alice, "alice+team", "bob")
            self.place.run(self.alice.lists.delete("team"))
            self.place.run(self.alice.lists.create(TEAM, posting))
        self.assertEqual([0, 0, 0, 0], self.counts())

    def test_unavailable(self) -> None:
        """
        Where the list cannot be had, the answer is to try again later, and never that only its maintainer gets it.
        """
        reference = self.alice.lists.named("team").reference
        lost = {h for h, o in self.place.past.objects.items() if o.kind == CONTENT}
        self.assertTrue(reference)
        for handle in lost:
            del self.place.past.objects[handle]
        self.assertRaises(DirectoryUnavailable, self.expand, self.bob, "alice+team")

    def test_named_by_authority(self) -> None:
        """
        A name that the directory gives to the maintainer's account is a list's address too; the maintainer's own
        is not.
        """
        run = self.place.run
        self.place.authority.entries.append(DirectoryEntry("staff@example.org", self.alice.account.id))
        run(self.alice.lists.create("staff@example.org", "organisation", ["dave@example.org"]))
        self.assertEqual(["dave"], self.expand(self.bob, "Staff"))
        self.assertEqual(["alice"], self.expand(self.bob, "alice"))
        self.assertRaises(Unacceptable, run, self.bob.lists.create("staff@example.org"))

    def test_somebody_elses(self) -> None:
        """
        Nobody makes a list of an address that leads to another: whatever their identity block says, it is not asked.
        """
        team = self.alice.lists.named("team").reference
        self.alice.account.public = lambda: Public(lists=(("bob+x@example.org", team),))
        self.place.run(self.alice.account.publish(BOB_NODE, 86400))
        self.assertEqual(["bob"], self.expand(self.dave, "bob+x"))

    def test_refused(self) -> None:
        """
        What cannot be is refused with a line that says what can, and nothing is changed.
        """
        lists, run = self.alice.lists, self.place.run
        for work, why in (
            (lists.create("alice@example.org"), "alice+team@example.org"),
            (lists.create("bob+team@example.org"), "does not lead to you"),
            (lists.create("nobody@example.org"), "does not lead to you"),
            (lists.create("team@elsewhere.org"), "cannot be a list's address"),
            (lists.create("no address"), "cannot be a list's address"),
            (lists.create("alice+ä@example.org"), "cannot be a list's address"),
            (lists.create(TEAM), "already"),
            (lists.create("alice+x@example.org", "everybody"), "members, organisation, anyone"),
            (lists.create("alice+x@example.org", "members", ["nobody@example.org"]), "there is no nobody"),
            (lists.create("alice+x@example.org", "members", ["a@elsewhere.org"]), "outside"),
            (lists.create("alice+x@example.org", "members", ["bob"]), "not a mail address"),
            (lists.add("other", ["bob@example.org"]), "yours: alice+team@example.org"),
            (lists.remove("team", ["dave@example.org"]), "is not on"),
            (lists.delete("other"), "you maintain no list other"),
        ):
            error = self.assertRaises(Unacceptable, run, work)
            self.assertIn(why, str(error))
        self.assertEqual([TEAM], list(lists.preferences.lists))

    def test_too_large(self) -> None:
        """
        One message goes to so many people at most, and over so many lists.
        """
        run = self.place.run
        for number in range(PEOPLE_LIMIT + 1):
            self.place.authority.entries.append(DirectoryEntry(f"p{number}@example.org", _account(number)))
        inner = [f"alice+l{number}@example.org" for number in range(3)]
        for number, name in enumerate(inner):
            some = tuple(
                f"p{each}@example.org" for each in range(number * 400, min(number * 400 + 400, PEOPLE_LIMIT + 1))
            )
            run(self.alice.lists._set(name, "anyone", some))
        run(self.alice.lists._set("alice+huge@example.org", "anyone", tuple(inner)))
        self.assertEqual(800, len(run(self.alice.expansion.expand(None, inner[:2]))))
        self.assertRaises(ListTooLarge, run, self.alice.expansion.expand(None, ["alice+huge@example.org"]))
        self.assertRaises(ListTooLarge, run, self.alice.expansion.expand(None, inner))
        many = tuple(f"p{number}@example.org" for number in range(MEMBERS_LIMIT + 1))
        error = self.assertRaises(Unacceptable, run, self.alice.lists.add("team", many))
        self.assertIn("at most", str(error))
        self.assertGreater(PEOPLE_LIMIT, LISTS_LIMIT)

    def test_both(self) -> None:
        """
        Two changes at the same time are both made.
        """
        work = [self.alice.lists.add("team", [f"{name}@example.org"]) for name in ("dave", "alice")]
        self.place.run(gather(work))
        members = {f"{name}@example.org" for name in ("alice", "bob", "carol", "dave")}
        self.assertEqual(members, set(self.alice.lists.named("team").members))

    def test_unfinished(self) -> None:
        """
        A change that the ring does not take is not made, or said to be unfinished.
        """
        self.place.past.copies = 1
        self.assertRaises(TooFewReplicas, self.place.run, self.alice.lists.add("team", ["dave@example.org"]))
        self.place.past.copies = 3
        self.assertEqual(["bob", "carol"], self.expand(self.bob, "alice+team"))
        insert = self.place.past.insert

        async def refusing(kind: int, *rest: object) -> object:
            if kind == PUBLIC_KEY:
                self.place.past.copies = 1
            try:
                return await insert(kind, *rest)  # type: ignore[arg-type]
            finally:
                self.place.past.copies = 3

        self.place.past.insert = refusing  # type: ignore[method-assign, assignment]
        error = self.assertRaises(Unfinished, self.place.run, self.alice.lists.add("team", ["dave@example.org"]))
        self.assertIn("tried again", str(error))

    def test_survives(self) -> None:
        """
        A list survives its maintainer's machine.
        """
        before = self.alice.lists.named("team")
        self.alice.restart(forget=True)
        self.assertEqual(before, self.alice.lists.named("team"))
        self.alice.mailbox.restore(self.alice.mailbox.snapshot())
        self.assertEqual(before, self.alice.lists.named("team"))
        self.assertIn(before.reference, list(self.alice.mailbox.state.preferences.references()))


class DocumentTests(SynchronousTestCase):
    """
    Tests of what is published.
    """

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """
        Whatever a maintainer's block holds is the list that was asked for, or a peer's misdeed.
        """
        self.assertRaises(PeerError, read_list, data, TEAM, _account(1))

    def test_another(self) -> None:
        """
        A list that is another's, or of another version, is not taken for the one asked for.
        """
        good = MailingList(1, TEAM, _account(1), Posting.ANYONE, ("bob@example.org",))
        self.assertEqual(good, read_list(write_list(good), TEAM, _account(1)))
        for address, account in ((TEAM, _account(2)), ("alice+x@example.org", _account(1))):
            self.assertRaises(PeerError, read_list, write_list(good), address, account)
        later = pack(msgspec.structs.replace(good, version=2))
        self.assertRaises(PeerError, read_list, later, TEAM, _account(1))

    def test_header(self) -> None:
        """
        The lines name the list as other systems do.
        """
        self.assertEqual(ID_LINES, header_lines(TEAM))


def _account(number: int) -> AccountId:
    return AccountId(Id(number + 1))
