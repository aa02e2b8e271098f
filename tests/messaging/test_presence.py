"""
Tests for L{post.messaging.presence}.
"""

from __future__ import annotations

from random import Random
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.complaints import Complaints
from post.errors import Overloaded, PostError
from post.ids import AccountId, Contact, GroupId, Id, NodeId
from post.interfaces import IApplication
from post.messaging import presence
from post.messaging.account import Account
from post.messaging.identities import Identities
from post.messaging.presence import AGAIN_S, GAP_S, Announcer, Comings, Followed, Presence
from post.past.node import Past
from post.pastry.node import Pastry
from post.scribe.node import Listener, Scribe
from post.scribe.publication import Publication, check, group_of
from post.sim.authority import Authority
from post.wire import pack, unpack

NOW = 1_800_000_000
HERE = Contact(NodeId(Id(5)), ("desk:1",), 7)


class FakeScribe:
    """
    Remembers who listens and what is published; refuses on demand.
    """

    def __init__(self) -> None:
        self.listeners: dict[GroupId, Listener] = {}
        self.published: list[bytes] = []
        self.failure: PostError | None = None

    def subscribe(self, group: GroupId, heard: Listener) -> None:
        if self.failure is not None:
            raise self.failure
        self.listeners[group] = heard

    def unsubscribe(self, group: GroupId) -> None:
        del self.listeners[group]

    def publish(self, publication: bytes) -> None:
        if self.failure is not None:
            raise self.failure
        self.published.append(publication)


class FakePastry:
    """
    A place in a ring.
    """

    local = HERE

    def watch_return(self, returned: object) -> None:
        self.returned = returned


class FollowedTests(SynchronousTestCase):
    """
    Tests of listening.
    """

    def setUp(self) -> None:
        self.scribe = FakeScribe()
        self.complaints = Complaints(Clock())
        self.followed = Followed(cast(Scribe, self.scribe), self.complaints)
        self.account = AccountId(Id(1))
        self.heard: list[tuple[AccountId, Contact, bytes]] = []

    def follow(self, account: AccountId) -> None:
        """
        Note when C{account} says something.
        """
        self.followed.follow(account, self.hear)

    def hear(self, account: AccountId, contact: Contact, data: bytes) -> None:
        """
        Note it.
        """
        self.heard.append((account, contact, data))

    def say(self, payload: bytes) -> None:
        """
        Let the account say it.
        """
        self.scribe.listeners[group_of(self.account)](Publication(1, self.account, 1, payload))

    def test_hearing(self) -> None:
        """
        What is said is heard, until it is not asked for any more; following twice is following once.
        """
        self.follow(self.account)
        self.follow(self.account)
        self.say(pack(Presence(1, HERE)))
        self.say(pack(Presence(1, HERE, b"chat:7")))
        self.assertEqual([(self.account, HERE, b""), (self.account, HERE, b"chat:7")], self.heard)
        self.followed.forget(self.account, self.hear)
        self.followed.forget(self.account, self.hear)
        self.assertEqual({}, self.scribe.listeners)

    def test_several(self) -> None:
        """
        Several may follow one account; each is told, and the others still are when one has enough.
        """
        others: list[bytes] = []

        def other(account: AccountId, contact: Contact, data: bytes) -> None:
            others.append(data)

        self.follow(self.account)
        self.followed.follow(self.account, other)
        self.say(pack(Presence(1, HERE, b"1")))
        self.followed.forget(self.account, self.hear)
        self.say(pack(Presence(1, HERE, b"2")))
        self.assertEqual(([b"1", b"2"], 1), (others, len(self.heard)))
        self.followed.forget(self.account, other)
        self.assertEqual({}, self.scribe.listeners)

    def test_limits(self) -> None:
        """
        No more people are followed than the limit, or than there is room for groups; who is forgotten makes room.
        """
        self.patch(presence, "FOLLOWED_LIMIT", 2)
        for number in range(4):
            self.follow(AccountId(Id(number)))
        self.assertEqual(2, len(self.followed))
        self.followed.forget(AccountId(Id(0)), self.hear)
        self.scribe.failure = Overloaded("groups")
        self.follow(AccountId(Id(3)))
        self.scribe.failure = None
        self.follow(AccountId(Id(3)))
        self.assertEqual({group_of(AccountId(Id(number))) for number in (1, 3)}, set(self.scribe.listeners))

    @given(st.one_of(st.binary(max_size=80), st.just(pack(Presence(2, HERE)))))
    def test_nonsense(self, payload: bytes) -> None:
        """
        An account that says nonsense is complained of, and nobody is told.
        """
        self.setUp()
        self.follow(self.account)
        self.say(payload)
        self.assertEqual(([], 1), (self.heard, self.complaints.counts["unusable presence"]))


class AnnouncerTests(SynchronousTestCase):
    """
    Tests of saying it.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.scribe, self.pastry = FakeScribe(), FakePastry()
        self.authority = Authority(b"seed", NOW)
        scribe, pastry = cast(Scribe, self.scribe), cast(Pastry, self.pastry)
        self.announcer = Announcer(scribe, pastry, self.clock, Random(1))
        credentials = self.authority.account("alice")
        nobody = cast(Identities, None)
        self.alice = Account(credentials, cast(Past, None), nobody, self.clock)

    def said(self) -> list[Publication]:
        """
        What was said, verified.
        """
        return [check(each, self.authority.root, self.clock.seconds()) for each in self.scribe.published]

    def test_interface(self) -> None:
        """
        What watches the leaf set is an application of Pastry.
        """
        verifyObject(IApplication, Comings())

    def test_at_once(self) -> None:
        """
        An account that opens is announced at once, signed by itself, and again when the node was asleep: with rising
        numbers, however the clock is set.
        """
        self.announcer.open(self.alice)
        self.announcer.announce()
        self.clock.rightNow -= 100
        self.announcer.announce()
        said = self.said()
        self.assertEqual([pack(Presence(1, HERE))] * 3, [each.payload for each in said])
        self.assertEqual([NOW * 1000 + number for number in range(3)], [each.number for each in said])
        self.assertEqual({self.alice.id}, {each.account for each in said})

    def test_said(self) -> None:
        """
        What an application adds is said at once and from then on, within its limit.
        """
        self.announcer.say(self.alice.id, b"chat:7")
        self.assertEqual([], self.scribe.published)
        self.announcer.open(self.alice)
        self.announcer.say(self.alice.id, b"chat:8")
        self.announcer.announce()
        said = [unpack(Presence, each.payload).data for each in self.said()]
        self.assertEqual([b"chat:7", b"chat:8", b"chat:8"], said)
        self.assertRaises(ValueError, self.announcer.say, self.alice.id, b"x" * (presence.DATA_LIMIT + 1))
        self.announcer.say(self.alice.id, b"x" * presence.DATA_LIMIT)
        self.assertEqual(presence.DATA_LIMIT, len(unpack(Presence, self.said()[-1].payload).data))

    def test_now_and_then(self) -> None:
        """
        It is said again and again, also after it could not be; not after the end.
        """
        self.announcer.start()
        self.scribe.failure = Overloaded("routes")
        self.announcer.open(self.alice)
        self.clock.pump([10.0] * 60)
        self.assertEqual([], self.scribe.published)
        self.scribe.failure = None
        self.clock.pump([10.0] * int(AGAIN_S / 10))
        self.assertIn(len(self.scribe.published), (1, 2))
        self.announcer.stop()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_neighbors(self) -> None:
        """
        However many nodes come beside us, it is said once, and not soon again; while nobody lives here, never.
        """
        self.announcer.came(HERE)
        self.assertEqual([], self.clock.getDelayedCalls())
        self.announcer.open(self.alice)
        for _ in range(10):
            self.announcer.came(HERE)
        self.clock.pump([0.5] * 2)
        self.assertEqual(2, len(self.said()))
        self.announcer.came(HERE)
        self.clock.pump([1.0] * int(GAP_S / 2))
        self.assertEqual(2, len(self.said()))
        self.clock.pump([1.0] * int(GAP_S / 2 + 1))
        self.assertEqual(3, len(self.said()))
