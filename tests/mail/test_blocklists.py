"""
Tests for L{post.mail.blocklists}: a block list that one person shares and another follows.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PeerError
from post.ids import AccountId, Id
from post.mail.blocklists import FOLLOWED_LIMIT, BlockList, read_block_list
from post.mail.personal import Unacceptable
from post.mail.records import BlockListFollowed
from post.messaging.identities import FRESH_S
from post.wire import pack

from .doubles import Person, Place

MAIL = b"From: carol@example.org\r\nTo: bob@example.org\r\nSubject: s\r\nMessage-ID: <1@x>\r\n\r\nHello.\r\n"
OWNER = AccountId(Id(1))


class SharingTests(SynchronousTestCase):
    """
    Alice shares her list, and bob follows it; carol is on it.
    """

    def setUp(self) -> None:
        self.place = Place(b"blocklists")
        self.alice, self.bob, self.carol = (Person(self.place, name) for name in ("alice", "bob", "carol"))
        self.place.run(self.alice.personal.block(["carol@example.org"]))
        self.place.run(self.alice.blocking.share(True))
        self.place.run(self.bob.blocking.follow("Alice@example.org"))

    def where(self) -> list[str]:
        return [folder.name for folder in self.bob.mailbox.folders() if folder.messages and folder.name != "Sent"]

    def test_followed(self) -> None:
        """
        Whoever is on the list is put into quarantine, also after the next start, before anybody is asked.
        """
        self.bob.restart()
        self.carol.send(MAIL, "bob")
        self.assertEqual(["Junk"], self.where())

    def test_rule_first(self) -> None:
        """
        Bob's own rules are asked before somebody else's list.
        """
        self.place.run(self.bob.personal.add_rule("accept if verified carol@example.org"))
        self.carol.send(MAIL, "bob")
        self.assertEqual(["INBOX"], self.where())

    def test_changes(self) -> None:
        """
        What alice changes counts when bob's node looks again; what she shares no longer stays as it was.
        """
        self.place.run(self.alice.personal.unblock(["carol@example.org"]))
        self.place.run(self.alice.blocking.changed())
        self.place.clock.advance(FRESH_S + 1)
        self.place.run(self.bob.blocking.refresh())
        self.assertEqual({"alice@example.org": frozenset()}, self.bob.blocking.others())
        self.place.run(self.alice.personal.block(["carol@example.org"]))
        self.place.run(self.alice.blocking.changed())
        self.place.clock.advance(FRESH_S + 1)
        self.place.run(self.bob.blocking.refresh())
        self.place.run(self.alice.blocking.share(False))
        self.place.clock.advance(FRESH_S + 1)
        self.place.run(self.bob.blocking.refresh())
        self.assertEqual({"alice@example.org": {"carol@example.org"}}, self.bob.blocking.others())

    def test_given_up(self) -> None:
        """
        A list that is given up counts no longer.
        """
        self.place.run(self.bob.blocking.give_up("Alice@example.org"))
        self.carol.send(MAIL, "bob")
        self.assertEqual(["INBOX"], self.where())

    def test_new_machine(self) -> None:
        """
        On a new machine the same lists are followed, and fetched again.
        """
        self.bob.restart(forget=True)
        self.assertEqual(["alice@example.org"], list(self.bob.personal.preferences.followed))
        self.place.run(self.bob.blocking.refresh())
        self.carol.send(MAIL, "bob")
        self.assertEqual(["Junk"], self.where())

    def test_refused(self) -> None:
        """
        What cannot be followed is said in a line, and nothing is changed.
        """
        run, blocking = self.place.run, self.carol.blocking
        for work, why in (
            (blocking.follow("bob@example.org"), "share none"),
            (blocking.follow("nobody@example.org"), "there is no nobody"),
            (blocking.follow("a@elsewhere.org"), "there is no a@"),
            (blocking.follow("nobody"), "not a mail address"),
            (blocking.give_up("bob@example.org"), "not followed"),
        ):
            self.assertIn(why, str(self.assertRaises(Unacceptable, run, work)))
        self.assertEqual({}, self.carol.personal.preferences.followed)
        run(self.carol.mailbox.keep(BlockListFollowed(f"p{n}@example.org", True) for n in range(FOLLOWED_LIMIT)))
        self.assertIn("at most", str(self.assertRaises(Unacceptable, run, blocking.follow("alice@example.org"))))


class DocumentTests(SynchronousTestCase):
    """
    Tests of what is published.
    """

    @given(st.one_of(st.binary(max_size=100), st.lists(st.text(max_size=20), max_size=4).map(tuple)))
    def test_garbage(self, data: bytes | tuple[str, ...]) -> None:
        """
        Whatever somebody publishes is a list of patterns in their one spelling, or a peer's misdeed.
        """
        packed = data if isinstance(data, bytes) else pack(BlockList(1, OWNER, data))
        try:
            patterns = read_block_list(packed, OWNER)
        except PeerError:
            return
        self.assertNotIn("*", patterns)

    def test_another(self) -> None:
        """
        A list that is somebody else's, or blocks everybody, is none.
        """
        good = pack(BlockList(1, OWNER, ("a@b.org",)))
        self.assertEqual({"a@b.org"}, read_block_list(good, OWNER))
        self.assertRaises(PeerError, read_block_list, good, AccountId(Id(2)))
        for patterns in (("*",), ("A@b.org",), ("a",)):
            self.assertRaises(PeerError, read_block_list, pack(BlockList(1, OWNER, patterns)), OWNER)
