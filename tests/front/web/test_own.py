"""
Tests for L{post.front.web.own}.
"""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.template import Tag, flattenString

from post.front.web.own import leaving, mail, sent
from post.health.durability import Durability, Kind, judge
from post.health.leaving import Leaving
from post.mail.journeys import ShownPassage
from tests.health.counts import counted
from tests.health.samples import DAY_S, DURABILITY, FACTS, MAILBOX, NOW, SENT, facts


class PageCase(SynchronousTestCase):
    """
    Reads parts of the page.
    """

    def html(self, part: Tag) -> str:
        """
        As it is sent.
        """
        written: Deferred[bytes] = flattenString(None, part)
        return self.successResultOf(written).decode()


class MailTests(PageCase):
    """
    Tests of L{mail}.
    """

    def said(self, durability: Durability | None = DURABILITY, nodes: int = 5, **changed: Any) -> str:
        """
        What is said of a mailbox in a ring of so many nodes.
        """
        mailbox = msgspec.structs.replace(MAILBOX, durability=durability, **changed)
        return self.html(mail(facts(peers=FACTS.peers[:nodes]), mailbox))

    def test_not_counted(self) -> None:
        """
        Before the copies have been counted it is said that they have not been.
        """
        self.assertIn("have not been counted yet", self.said(None))

    def test_age(self) -> None:
        """
        How old the count is, and what has happened since.
        """
        self.assertIn("Counted 60 seconds ago.", self.said())
        self.assertIn("came or went since", self.said(behind=True))
        self.assertIn("being counted anew", self.said(behind=True, surveying=True))
        away = msgspec.structs.replace(DURABILITY, away=2)
        self.assertIn("copies on 2 computers that went away since do not count", self.said(away))

    def test_verdict(self) -> None:
        """
        How many may vanish is what the count says, and nothing is claimed of what is not known.
        """
        for copies, nodes, how, verdict in (
            ((3, 3), 5, "good", "Any two computers could vanish now"),
            ((3, 3), 3, "good", "Any two computers could vanish now"),
            ((2, 2), 2, "warning", "Any computer could vanish now"),
            ((1, 1), 1, "alarm", "The loss of a single computer would cost you mail"),
            ((3, 1), 5, "alarm", "The loss of a single computer would cost you mail"),
            ((3, 0), 5, "alarm", "Of 1 object no copy can be found now"),
        ):
            said = self.said(judge(counted(NOW, *copies), frozenset()), nodes)
            self.assertIn(f'data-verdict="{how}"', said)
            self.assertIn(verdict, said)
        unknown = judge(counted(NOW, 3, 0, doubtful=True), frozenset())
        self.assertIn(
            "Of 1 object it is not known now where the copies are. Of the others: Any two", self.said(unknown)
        )
        nothing = msgspec.structs.replace(DURABILITY, kinds=(Kind("messages", 2, {0: 2}),), losses=(), unknown=2)
        self.assertNotIn("vanish now", self.said(nothing).partition("</p>")[2].partition("<table")[0])

    def test_small(self) -> None:
        """
        Of a ring of one or two it is not told what the loss of three would cost.
        """
        for nodes in (1, 2, 3):
            said = self.said(judge(counted(NOW, *[nodes] * 3), frozenset()), nodes)
            for lost in (1, 2, 3):
                self.assertEqual(lost <= nodes, f"any {lost} computer" in said, (nodes, lost))
            self.assertIn("at most 3 objects at once", said)


class SentTests(PageCase):
    """
    Tests of L{sent}.
    """

    def said(self, **changed: Any) -> str:
        """
        What is said of one message.
        """
        message = msgspec.structs.replace(SENT[0], **changed)
        return self.html(sent(FACTS, msgspec.structs.replace(MAILBOX, sent=(message,))))

    def test_title(self) -> None:
        """
        A message is called by its subject; by its recipients where its copy in Sent is gone, which is said.
        """
        self.assertIn("<strong>Minutes &lt;of the meeting&gt;</strong>", self.said())
        self.assertIn("<strong>…</strong>", self.said(subject=None))
        self.assertIn("<strong>(no subject)</strong>", self.said(subject=""))
        gone = self.said(subject=None, gone=True)
        self.assertIn("<strong>To bob@example.org and 2 others</strong>", gone)
        self.assertIn("its copy in Sent has been deleted", gone)

    def test_outside(self) -> None:
        """
        Of who is outside it is not said that they are away.
        """
        outside = ShownPassage("xavier@example.net", "waiting", int(NOW - 120), int(NOW + DAY_S), 3)
        said = self.said(journey=msgspec.structs.replace(SENT[0].journey, recipients=(outside,)))
        self.assertIn("through a gateway", said)
        self.assertNotIn("until they are back", said)


class LeavingTests(PageCase):
    """
    Tests of L{leaving}.
    """

    def said(self, *entries: Leaving, more: int = 0) -> str:
        """
        What is said of a queue.
        """
        return self.html(leaving(FACTS, msgspec.structs.replace(MAILBOX, leaving=entries, leaving_more=more)))

    def test_nothing(self) -> None:
        """
        Where nothing waits nothing is shown.
        """
        self.assertIn("hidden", self.said())

    def test_stages(self) -> None:
        """
        Of each it is said for whom it waits, how far it is, what the other side said, and what can be done.
        """
        entry = Leaving("ab" * 20, "Invoice", int(NOW - 7200), ("xavier@example.net",))
        for changed, words in (
            ({}, "being asked how far it is"),
            ({"known": True}, "not tried yet"),
            ({"known": True, "tries": 1, "trying": True}, "being tried"),
            (
                {"known": True, "tries": 3, "due": int(NOW + 600), "words": "<b>Come again.</b>"},
                "tried 3 times, again in 10 minutes: &lt;b&gt;Come again.&lt;/b&gt;",
            ),
            ({"known": True, "tries": 1, "due": int(NOW - 1)}, "tried 1 time, again now"),
        ):
            said = self.said(msgspec.structs.replace(entry, **changed))
            self.assertIn(words, said)
            for each in ("Invoice", "for xavier@example.net, since 2 hours", "abababababab", "post queue retry NAME"):
                self.assertIn(each, said)
        self.assertIn("3 older messages besides", self.said(entry, more=3))
