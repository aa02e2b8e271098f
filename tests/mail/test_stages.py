"""
Tests of L{post.mail.stages}: what became of each recipient.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.mail.outbound import WORDS_LIMIT, Said
from post.mail.relay import Outcome, Verdict
from post.mail.stages import merged, noted


class NotedTests(SynchronousTestCase):
    """
    Tests of L{noted} and L{merged}.
    """

    def test_noted(self) -> None:
        """
        Who has got it, and who was refused, is tried no more; what was said of the others is kept.
        """
        said = noted(
            Said(1, ("a", "b", "c"), ("z",)),
            [
                Verdict("a", Outcome.DELIVERED, "2.0.0", "ok", "mx"),
                Verdict("b", Outcome.REFUSED, "5.1.1", "no", "mx"),
                Verdict("c", Outcome.LATER, "4.7.1", "later" * 100, "mx"),
            ],
            7,
        )
        self.assertEqual((("c",), ("z", "a"), ("b",), 7), (said.left, said.delivered, said.failed, said.tried))
        self.assertEqual((("later" * 100)[:WORDS_LIMIT], "mx"), (said.words, said.remote))
        again = noted(said, [Verdict("c", Outcome.DELIVERED, "2.0.0", "ok", "mx")], 8)
        self.assertEqual(((), ("z", "a", "c"), said.words), (again.left, again.delivered, again.words))

    def test_merged(self) -> None:
        """
        Two gateways that could not hear one another have each done something: nobody is tried who has got it from one.
        """
        ours = Said(1, ("b", "c"), ("a",), ("d",), "ours", "mx", 9)
        theirs = Said(1, ("a", "c"), ("b", "d"), (), "theirs", "mx", 8, True)
        both = merged(ours, theirs)
        self.assertEqual((("c",), ("b", "d", "a"), (), True), (both.left, both.delivered, both.failed, both.warned))
