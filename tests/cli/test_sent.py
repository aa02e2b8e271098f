"""
Tests for L{post.cli.sent}.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from post.cli.sent import describe
from tests.cli.commands import post
from tests.scratch import scratch


def passage(standing: str) -> dict[str, Any]:
    """
    Of a message to Bob.
    """
    return {"address": "bob@example.org", "standing": standing, "since": 0, "expires": 200 * 86400, "copies": 3}


class SentTests(SynchronousTestCase):
    """
    Tests for L{describe} and the command.
    """

    def test_describe(self) -> None:
        """
        For each recipient is said where the message stands, and since or until when.
        """
        for standing, words in (
            ("waiting", "bob@example.org: waits on 3 nodes until they are there, 1970-07-"),
            ("delivered", "bob@example.org: delivered 19"),
            ("expired", "NOT delivered: they were not there until 1970-07-"),
            ("unknown", "nobody knows whether it was fetched"),
            ("refused", "refused 19"),
            ("handed_on", "handed on 19"),
        ):
            message = {"key": "00", "at": 0, "size": 1234, "copies": 3, "recipients": [passage(standing)]}
            text = describe({"alice@example.org": [message]})
            self.assertIn(words, text)
            self.assertIn("1,234 octets, stored on 3 nodes", text)

    def test_outside(self) -> None:
        """
        Of mail to the Internet it is not said that somebody is away, but where more is told.
        """
        outside = {**passage("waiting"), "address": "xavier@example.net"}
        message = {"key": "00", "at": 0, "size": 1234, "copies": 3, "recipients": [outside]}
        text = describe({"alice@example.org": [message]})
        self.assertIn("xavier@example.net: leaves through a gateway (post queue list)", text)
        self.assertNotIn("until they are there", text)

    def test_nothing(self) -> None:
        """
        That there is nothing is said too.
        """
        self.assertIn("alice@example.org: nothing sent lately", describe({"alice@example.org": []}))
        self.assertIn("nobody", describe({}))

    def test_no_node(self) -> None:
        """
        Where no node runs, one line says so.
        """
        directory = scratch(self)
        config = directory / "node.toml"
        config.write_text("")
        result = post("sent", "--config", config)
        said = f"post: the node in {directory.resolve()} is not running; start it first\n"
        self.assertEqual((69, said), (result.exit_code, result.output))
