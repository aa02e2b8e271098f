"""
Tests for L{post.mail.personal}, L{post.mail.preferences} and L{post.mail.judging}: what a person wishes, and what then
becomes of mail.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.errors import TooFewReplicas
from post.mail.personal import BLOCKED_LIMIT, Unacceptable
from post.mail.preferences import Preferences
from post.mail.records import Blocked, Ignored, RulesSet
from post.mail.rules import RULES_LIMIT, Action, Described
from post.past.blocks import CONTENT

from .doubles import Person, Place

MAIL = b"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: Report\r\nMessage-ID: <1@x>\r\n\r\nHello.\r\n"


class ArrivalTests(SynchronousTestCase):
    """
    Alice writes to Bob, who has his own idea of that.
    """

    def setUp(self) -> None:
        self.place = Place(b"rules")
        self.alice, self.bob = Person(self.place, "alice"), Person(self.place, "bob")

    def rule(self, line: str) -> None:
        self.place.run(self.bob.personal.add_rule(line))

    def counts(self) -> dict[str, int]:
        return {folder.name: folder.messages for folder in self.bob.mailbox.folders() if folder.messages}

    def test_folder(self) -> None:
        """
        A rule puts it into a folder, which is made with its parents if there is none; the next one goes there too.
        """
        self.rule('folder "Work/Reports" if subject report')
        self.alice.send(MAIL, "bob")
        self.alice.send(MAIL.replace(b"<1@x>", b"<2@x>"), "bob")
        self.alice.send(MAIL.replace(b"Report", b"Lunch"), "bob")
        self.assertEqual({"Work/Reports": 2, "INBOX": 1}, self.counts())
        self.assertEqual({"$Verified"}, self.bob.folder("Work/Reports").entries()[0].flags)

    def test_quarantine(self) -> None:
        """
        Quarantine is the folder for junk, whatever it is called now, and says so in a keyword too.
        """
        self.place.run(self.bob.mailbox.rename("Junk", "Spam"))
        self.rule("quarantine if verified alice@example.org")
        self.alice.send(MAIL, "bob")
        self.assertEqual({"Spam": 1}, self.counts())
        self.assertIn("$Junk", self.bob.folder("Spam").entries()[0].flags)
        self.assertTrue(self.bob.mailbox.state.preferences.is_stranger(self.alice.account.id))

    def test_ignore(self) -> None:
        """
        What is ignored is receipted, so that nothing waits or bounces; it is noted and never fetched; and it does not
        come later either, when the rule is gone and the machine too.
        """
        self.rule("ignore if sender *@example.org")
        self.place.pastry.alive = False
        asked: list[int] = []
        self.bob.leave()
        self.alice.send(MAIL, "bob")
        (envelope,) = self.place.waiting()
        self.bob.open()
        lookup = self.place.past.lookup

        async def watched(kind: int, handle: object) -> bytes:
            asked.append(kind)
            return await lookup(kind, handle)  # type: ignore[arg-type]

        self.place.past.lookup = watched  # type: ignore[method-assign]
        self.place.run(self.place.reception.receive(envelope))
        self.assertNotIn(CONTENT, asked)
        self.assertEqual({}, self.counts())
        (noted,) = self.bob.mailbox.state.preferences.ignored
        self.assertEqual(("alice@example.org", "rule: ignore if sender *@example.org"), (noted.sender, noted.reason))
        self.place.run(self.bob.personal.remove_rule(1))
        self.bob.restart(forget=True)
        self.place.run(self.place.reception.receive(envelope))
        self.assertEqual({}, self.counts())

    def test_ignored_is_promised(self) -> None:
        """
        There is no receipt for what is ignored before the ring keeps that it is.
        """
        self.rule("ignore")
        self.bob.leave()
        self.alice.send(MAIL, "bob")
        (envelope,) = self.place.waiting()
        self.bob.open()
        self.place.past.copies = 1
        self.assertRaises(TooFewReplicas, self.place.run, self.place.reception.receive(envelope))
        self.place.past.copies = 3
        self.place.run(self.place.reception.receive(envelope))

    def test_blocked(self) -> None:
        """
        Who is on the block list is ignored before any rule is asked, until they are taken off it.
        """
        self.rule("accept")
        self.assertEqual(["alice@example.org"], self.place.run(self.bob.personal.block(["Alice@Example.org"])))
        self.alice.send(MAIL, "bob")
        self.assertEqual({}, self.counts())
        self.place.run(self.bob.personal.unblock(["alice@example.org"]))
        self.alice.send(MAIL.replace(b"<1@x>", b"<2@x>"), "bob")
        self.assertEqual({"INBOX": 1}, self.counts())

    def test_folder_that_cannot_be(self) -> None:
        """
        A rule for a folder that another machine's software allowed, and this one does not, loses no mail.
        """
        self.place.run(self.bob.mailbox.keep([RulesSet(("folder A//B", "sing and dance"))]))
        self.alice.send(MAIL, "bob")
        self.assertEqual({"INBOX": 1}, self.counts())

    def test_acquaintance(self) -> None:
        """
        Whom one has written to, and who has been accepted, is no stranger.
        """
        self.assertTrue(self.bob.mailbox.state.preferences.is_stranger(self.alice.account.id))
        self.alice.send(MAIL, "bob")
        self.assertFalse(self.bob.mailbox.state.preferences.is_stranger(self.alice.account.id))
        self.assertFalse(self.alice.mailbox.state.preferences.is_stranger(self.bob.account.id))


class PersonalTests(SynchronousTestCase):
    """
    Bob says what he wishes.
    """

    def setUp(self) -> None:
        self.place = Place(b"personal")
        self.bob = Person(self.place, "bob")

    def test_survives(self) -> None:
        """
        Rules and block list survive the machine, in a record or in a snapshot.
        """
        self.place.run(self.bob.personal.add_rule("quarantine if size>1M"))
        self.place.run(self.bob.personal.add_rule("accept if to bob+x@example.org", 1))
        self.place.run(self.bob.personal.block(["b.org", "a@c.org"]))
        lines = ("accept if to bob+x@example.org", "quarantine if size > 1000000")
        for _ in range(2):
            self.bob.restart(forget=True)
            self.assertEqual(lines, self.bob.personal.preferences.lines)
            self.assertEqual({"*@b.org", "a@c.org"}, self.bob.personal.preferences.blocked)
            self.bob.mailbox.restore(self.bob.mailbox.snapshot())

    def test_refused(self) -> None:
        """
        What cannot be is refused with a line that says what can, and nothing is changed.
        """
        personal, run = self.bob.personal, self.place.run
        for work, why in (
            (personal.add_rule("folder"), "folder's name"),
            (personal.add_rule("folder A//B"), "cannot be the name"),
            (personal.add_rule("accept", 2), "there are 0 rules"),
            (personal.remove_rule(1), "there is no rule 1"),
            (personal.block(["nobody"]), "no address"),
            (personal.block(["a@b.org", "*"]), "all mail"),
            (personal.block([f"a{number}@b.org" for number in range(BLOCKED_LIMIT + 1)]), "at most 4,000"),
            (personal.unblock(["a@b.org"]), "not blocked"),
        ):
            error = self.assertRaises(Unacceptable, run, work)
            self.assertIn(why, str(error))
        self.assertEqual(((), set()), (personal.preferences.lines, personal.preferences.blocked))

    def test_too_many_rules(self) -> None:
        """
        There may be so many rules.
        """
        self.place.run(self.bob.mailbox.keep([RulesSet(("accept",) * RULES_LIMIT)]))
        error = self.assertRaises(Unacceptable, self.place.run, self.bob.personal.add_rule("accept"))
        self.assertIn("remove some", str(error))

    def test_trial(self) -> None:
        """
        What would become of a message can be asked beforehand.
        """
        self.place.run(self.bob.personal.add_rule("folder Lists if to bob+list@example.org"))
        message = Described("a@b.org", "a@b.org", "bob+list@example.org", "", 1)
        verdict = self.bob.personal.test(message)
        self.assertEqual((Action.FOLDER, "Lists"), (verdict.action, verdict.folder))


class PreferencesTests(SynchronousTestCase):
    """
    Tests of the fold.
    """

    def test_chunks(self) -> None:
        """
        Whatever was said is in the snapshot, in pieces of a bounded size.
        """
        mine = Preferences()
        mine.apply(RulesSet(("accept if size < 1", "ignore")))
        many = [f"{number:04d}{'x' * 50}@example.org" for number in range(BLOCKED_LIMIT)]
        for start in range(0, BLOCKED_LIMIT, 100):
            mine.apply(Blocked(tuple(many[start : start + 100]), ()))
        for number in range(300):
            mine.apply(Ignored(number.to_bytes(16, "big"), number, "a@b.org", "rule: ignore"))
        chunks = mine.chunks()
        self.assertLess(max(map(len, chunks)), 128 * 1024)
        again = Preferences()
        for chunk in chunks:
            again.restore(chunk)
        self.assertEqual(list(mine.operations()), list(again.operations()))
        self.assertEqual(chunks, again.chunks())

    def test_missing(self) -> None:
        """
        What another writer had said and we had not is kept; where only one can be right, we are.
        """
        mine, other = Preferences(), Preferences()
        mine.apply(RulesSet(("accept",)))
        mine.apply(Blocked(("a@b.org",), ()))
        other.apply(RulesSet(("ignore",)))
        other.apply(Blocked(("c@b.org",), ()))
        for added in mine.missing(other):
            mine.apply(added)
        self.assertEqual((("accept",), {"a@b.org", "c@b.org"}), (mine.lines, mine.blocked))
