"""
Tests of L{post.mail.relaying}: what a gateway does not do, whoever asks.  What it does is in
C{tests/sim/test_outbound.py}.
"""

from __future__ import annotations

from typing import Any, cast

from msgspec import structs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from post.complaints import Complaints
from post.errors import BadSignature, NotFound, Refused
from post.interfaces import Stored
from post.mail.authorship import is_author, is_authored
from post.mail.gateways import sealing_key
from post.mail.messages import DROP, RETRY
from post.mail.outbound import (
    LIFE_S,
    OUTBOUND,
    OutboundKind,
    Outgoing,
    Queued,
    make_entry,
    outbound_handle,
    secret_of,
    slot_of,
)
from post.mail.relay import IRelay
from post.mail.relaying import Relaying
from post.mail.schedule import PAUSE_LIMIT_S, Schedule
from post.messaging.dispatch import Signer
from post.past.node import Past
from post.rpc import Rpc
from post.tasks import Tasks
from post.wire import StorageClass, pack
from tests.mail.doubles import NOW, Place
from tests.messaging.test_dispatch import FakeRpc

MASTER = b"m" * 32


class RelayingTests(SynchronousTestCase):
    """
    Tests of L{Relaying} on a ring in a dict.
    """

    def setUp(self) -> None:
        self.place = place = Place(b"relaying")
        self.alice = place.authority.account("alice")
        self.author = Signer(self.alice.key, self.alice.chain)
        key, chain, self.node = place.authority.node("node")
        self.sender = Signer(key, chain)
        key, chain, gateway = place.authority.node("gateway", roles=("gateway",))
        self.gateway = Signer(key, chain)
        self.told: list[Stored] = []
        place.past.register(OutboundKind(place.authority.root, self.told.append))
        self.relaying = Relaying(
            cast(Past, place.past),
            cast(Rpc, FakeRpc()),
            cast(Any, None),  # No message is read here.
            gateway.node_id,
            lambda: self.gateway,
            place.authority.root,
            "example.org",
            cast(Any, None),  # And nobody told.
            place.clock,
            cast(Any, None),
            place.entropy,
            Complaints(place.clock),
            Tasks(),
        )

    def queue(self, author: Signer | None = None, content: bytes = b"", **changed: Any) -> Deferred[int]:
        """
        Put an entry into the ring, and tell the gateway; fires as that answers.
        """
        slot = slot_of(MASTER, content, "alice@example.org", ())
        mine = self.alice.address
        outgoing = Outgoing(1, mine, mine, "example.net", ("x@example.net",), b"r", 10, NOW, slot)
        outgoing = structs.replace(outgoing, **changed)
        opens = sealing_key(self.gateway.key)
        entry = make_entry(
            outgoing,
            author or self.author,
            secret_of(MASTER, slot),
            [(opens.key_id, opens.public)],
            self.node.node_id,
            self.sender,
            self.place.entropy,
        )
        self.handle = outbound_handle(self.node.node_id, slot)
        data = pack(Queued(1, entry, b""))
        self.place.run(self.place.past.insert(OUTBOUND, self.handle, data, StorageClass.PENDING, NOW + LIFE_S))
        return Deferred.fromCoroutine(self.relaying.offered(self.handle))

    def start(self) -> None:
        """
        Begin to relay; a turn that is due never comes.
        """
        self.relaying.start(cast(IRelay, object()), Schedule())

    def test_taken(self) -> None:
        """
        A member's mail is seen to, and nobody but the node that sent it can have it given up.
        """
        self.start()
        self.assertEqual(0, self.successResultOf(self.queue()))
        self.assertEqual([self.handle], list(self.relaying.works))
        for what in (RETRY, DROP):
            asked = Deferred.fromCoroutine(
                self.relaying.prompt(self.handle, what, self.place.authority.members[0].node)
            )
            self.failureResultOf(asked, Refused)
        self.successResultOf(Deferred.fromCoroutine(self.relaying.prompt(self.handle, DROP, self.node.node_id)))
        self.relaying.stop()
        self.assertEqual([], self.place.clock.getDelayedCalls())

    def test_not_yet(self) -> None:
        """
        A node with the role that relays nothing, or no longer, says so: another one is asked then.
        """
        self.failureResultOf(self.queue(), Refused)
        self.start()
        self.relaying.stop()
        self.failureResultOf(Deferred.fromCoroutine(self.relaying.offered(self.handle)), Refused)

    def test_no_open_relay(self) -> None:
        """
        Only what goes out of the domain, from a member under their own address.
        """
        self.start()
        wrong: list[dict[str, Any]] = [
            {"sender": "bob@example.org"},
            {"sender": "alice@example.com"},
            {"domain": "example.org", "recipients": ("bob@example.org",)},
            {"recipients": ("x@example.com",)},
            {"recipients": ("x@example.net", "y@example.com")},
            {"recipients": ("nobody",)},
        ]
        for number, changed in enumerate(wrong):
            self.failureResultOf(self.queue(content=str(number).encode(), **changed), NotFound)
        bob = self.place.authority.account("bob")
        self.failureResultOf(self.queue(Signer(bob.key, bob.chain)), BadSignature)
        self.assertEqual({}, self.relaying.works)


class AuthorshipTests(SynchronousTestCase):
    """
    Tests of L{post.mail.authorship}.
    """

    def test_author(self) -> None:
        """
        Sub-addresses are of the same person, in any case of letters.
        """
        for address, own in (
            ("alice@example.org", True),
            ("Alice+lists@EXAMPLE.org", True),
            ("alice@example.com", False),
            ("bob@example.org", False),
            ("", False),
            ("alice", False),
        ):
            self.assertEqual(own, is_author(address, "alice@example.org"), address)

    def test_authored(self) -> None:
        """
        From names the sender, and nobody else, however many fields there are.
        """
        for header, own in (
            (b"From: Alice <alice@example.org>\r\n\r\n", True),
            (b"FROM : alice@example.org\r\n\r\n", True),
            (b"From: alice@example.org, bob@example.org\r\n\r\n", False),
            (b"From: alice@example.org\r\nFrom: bob@example.org\r\n\r\n", False),
            (b"From: bob@example.org\r\nSender: alice@example.org\r\n\r\n", False),
            (b"To: alice@example.org\r\n\r\n", False),
            (b"", False),
        ):
            self.assertEqual(own, is_authored(header, "alice@example.org"), header)


class ScheduleTests(SynchronousTestCase):
    """
    Tests of L{Schedule}.
    """

    def test_pauses(self) -> None:
        """
        Twice as long each time, up to a limit.
        """
        schedule = Schedule()
        pauses = [schedule.pause_s(tries) for tries in range(1, 12)]
        self.assertEqual([450, 900, 1800, 3600, 7200, 14400, 28800, PAUSE_LIMIT_S], pauses[:8])
        self.assertEqual({PAUSE_LIMIT_S}, set(pauses[7:]))
        self.assertEqual(PAUSE_LIMIT_S, schedule.pause_s(10**9))
