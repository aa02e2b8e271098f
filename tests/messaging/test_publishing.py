"""
Tests for L{post.messaging.publishing}: what has changed is published at once.
"""

from __future__ import annotations

from random import Random
from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.errors import Unconfirmed
from post.ids import Contact
from post.messaging.account import Account, Superseded
from post.messaging.publishing import LOOK_S, RETRY_FIRST_S, Publishing
from tests.messaging.test_dispatch import BOB_NODE


class FakeAccount:
    """
    Notes when it is published, and fails as it is told to.
    """

    address = "alice@example.org"

    def __init__(self) -> None:
        self.asked: list[Deferred[None]] = []

    async def publish(self, contact: Contact, lease_s: int) -> None:
        done: Deferred[None] = Deferred()
        self.asked.append(done)
        await done

    async def look(self, contact: Contact) -> None:
        """
        Nobody else is there.
        """


class PublishingTests(SynchronousTestCase):
    """
    Tests of L{Publishing.again}.
    """

    def setUp(self) -> None:
        self.clock, self.account = Clock(), FakeAccount()
        self.clock.advance(1000)
        account = cast(Account, self.account)
        self.noted: list[bool] = []
        publishing = Publishing(account, self.clock, Random(1), lambda: BOB_NODE, 86400, self.noted.append)
        self.publishing = publishing
        self.work = Deferred.fromCoroutine(publishing.run())
        self.work.addErrback(lambda failure: failure.trap(Superseded, CancelledError) and None)
        self.addCleanup(self.work.cancel)

    def test_again(self) -> None:
        """
        Whoever made a change is told when it is published; one that was made while an earlier one was being published
        is published after it.
        """
        self.account.asked[0].callback(None)
        first = self.publishing.again()
        second = self.publishing.again()
        self.assertNoResult(first)
        third = self.publishing.again()
        self.account.asked[1].callback(None)
        self.successResultOf(first)
        self.account.asked[2].callback(None)
        for each in (second, third):
            self.successResultOf(each)
        self.assertEqual([True] * 3, self.noted)
        self.clock.advance(LOOK_S)
        self.assertEqual(3, len(self.account.asked))

    def test_retried(self) -> None:
        """
        Whoever made a change that cannot be published is told so, and it is tried again without them.
        """
        self.account.asked[0].callback(None)
        change = self.publishing.again()
        self.account.asked[1].errback(Unconfirmed("alone"))
        self.failureResultOf(change, Unconfirmed)
        self.clock.advance(RETRY_FIRST_S)
        self.account.asked[2].callback(None)
        self.assertEqual(3, len(self.account.asked))

    def test_superseded(self) -> None:
        """
        Nobody waits for what somebody else's machine publishes now.
        """
        self.account.asked[0].callback(None)
        change = self.publishing.again()
        self.account.asked[1].errback(Superseded("used elsewhere"))
        self.failureResultOf(change, Superseded)
        self.assertEqual([], self.clock.getDelayedCalls())
