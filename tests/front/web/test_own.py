"""
Tests for L{post.front.web.own}.
"""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.template import Tag, flattenString

from post.front.web.own import mail
from post.health.durability import Durability, Kind, judge
from tests.health.counts import counted
from tests.health.samples import DURABILITY, FACTS, MAILBOX, NOW, facts


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
