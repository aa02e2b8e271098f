"""
Tests of L{post.cli.queue} and L{post.mail.queue}.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from post.cli.queue import describe
from post.errors import NotFound, PeerError
from post.ids import Handle, Id
from post.mail.messages import DROP, RETRY
from post.mail.outbox import Shown
from post.mail.outside import Outside
from post.mail.queue import verbs

NAME = "ab" * 20
OTHER = "ac" * 20


def shown(name: str = NAME, **changed: Any) -> Shown:
    """
    An entry.
    """
    values = {
        "handle": Handle(Id.from_hex(name)),
        "accepted": 1000,
        "sender": "alice@example.org",
        "left": ("x@example.net",),
        "delivered": ("y@example.net",),
        "failed": ("z@example.net",),
        "tries": 2,
        "trying": False,
        "due": 5000,
        "words": "450 come again",
    }
    return Shown(**{**values, **changed})


class FakeOutside:
    """
    Notes what is asked of it.
    """

    relaying = None

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    async def prompt(self, handle: Handle, what: int) -> None:
        self.asked.append((handle.hex(), what))


class FakeNode:
    """
    A node from which C{waiting} has not left.
    """

    def __init__(self, *waiting: Shown) -> None:
        self.fake = FakeOutside()
        self.outside = cast(Outside, self.fake)
        self.waiting = list(waiting)

    async def leaving(self) -> list[Shown]:
        return self.waiting


class QueueTests(SynchronousTestCase):
    """
    Tests of what the control socket answers.
    """

    def ask(self, node: FakeNode | None, verb: str, **request: Any) -> Any:
        """
        The answer.
        """
        work: Coroutine[Any, Any, Any] = verbs(lambda: node)[verb]({"verb": verb, **request})
        return Deferred.fromCoroutine(work)

    def test_list(self) -> None:
        """
        What waits is listed, the oldest first, each with its whole name.
        """
        node = FakeNode(shown(OTHER, accepted=2000), shown())
        listed = self.successResultOf(self.ask(node, "queue"))
        self.assertEqual([NAME, OTHER], [each["name"] for each in listed])
        self.assertEqual(
            (["x@example.net"], 2, "450 come again"), tuple(listed[0][key] for key in ("left", "tries", "words"))
        )

    def test_named(self) -> None:
        """
        The beginning of a name is enough if it names one.
        """
        node = FakeNode(shown(), shown(OTHER))
        self.successResultOf(self.ask(node, "queue retry", name="ab"))
        self.successResultOf(self.ask(node, "queue drop", name=OTHER))
        self.assertEqual([(NAME, RETRY), (OTHER, DROP)], node.fake.asked)

    def test_not_named(self) -> None:
        """
        A name of none, or of several, is refused; so is what is no name.
        """
        node = FakeNode(shown(), shown(OTHER))
        for name, error in (
            ("a", PeerError),
            ("ff", NotFound),
            ("", PeerError),
            ("g" * 40, PeerError),
            (None, NotFound),
        ):
            self.failureResultOf(self.ask(node, "queue drop", name=name), error)
        self.failureResultOf(self.ask(None, "queue"), NotFound)
        self.assertEqual([], node.fake.asked)


class DescribeTests(SynchronousTestCase):
    """
    Tests of L{describe}.
    """

    def words(self, **changed: Any) -> str:
        """
        An entry in words, at 4,600.
        """
        node = FakeNode(shown(**changed))
        [entry] = self.successResultOf(Deferred.fromCoroutine(verbs(lambda: node)["queue"]({})))
        return describe(entry, 4600)

    def test_words(self) -> None:
        """
        For whom, why, how often, and when again.
        """
        self.assertEqual(
            "abababababab  alice@example.org, 1 hour ago\n"
            "  waits for x@example.net\n"
            "  delivered to y@example.net\n"
            "  refused for z@example.net\n"
            "  tried 2 times, again in 6 minutes: 450 come again",
            self.words(),
        )
        self.assertIn("tried 1 time, again now: ", self.words(tries=1, due=4000))
        self.assertTrue(self.words(trying=True).endswith("\n  is being tried"))
        self.assertTrue(self.words(tries=0).endswith("\n  has not been tried yet"))
