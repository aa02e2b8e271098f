"""
Tests for L{post.mail.renewal}.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.commit import DiskError
from post.crypto.documents import DAY_S
from post.ids import RING, Handle
from post.interfaces import IJournal
from post.mail.preferences import Preferences
from post.mail.renewal import WALKS_PER_LEASE, Renewal
from post.messaging.pending import LIFE_LIMIT_S
from post.messaging.storage import Lease
from post.sim.world import World
from post.wire import StorageClass
from tests.messaging.doubles import FakeJournal

LARGE = (
    b"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: large\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: application/octet-stream\r\n\r\n" + b"0123456789abcdef\r\n" * 40_000
)
MAIL_S = LIFE_LIMIT_S
"""The first lease of mail."""
LASTING = (StorageClass.MAIL, StorageClass.HEAD)


def expiries(world: World) -> dict[int, int]:
    """
    When what mail and logs need expires, by handle: the latest that any holder knows.
    """
    found: dict[int, int] = {}
    for machine in world.machines.values():
        for holding in machine.store.scan(0, RING):
            if holding.storage_class in LASTING:
                found[holding.handle] = max(found.get(holding.handle, 0), holding.expires)
    return found


class FailingJournal(FakeJournal):
    """
    A journal whose disk is full for some time.
    """

    full = True

    def write(self, rows, values):  # type: ignore[no-untyped-def]
        return fail(DiskError("journal", "full")) if self.full else super().write(rows, values)


class NoMail:
    """
    A ring, a log and a mailbox with nothing in it.
    """

    def __init__(self) -> None:
        self.state = self
        self.by_key: dict[int, object] = {}
        self.preferences = Preferences()
        self.walks = 0

    async def handles(self) -> list[Handle]:
        self.walks += 1
        return []

    async def renew(self, handles: Sequence[Handle], expires: int) -> int:
        return 0


class RunTests(SynchronousTestCase):
    """
    Tests for L{Renewal.run}.
    """

    def test_disk_full(self) -> None:
        """
        That a walk could not be noted does not end the walks: they go on, soon, and rest when it is noted again.
        """
        clock, journal, nothing = Clock(), FailingJournal(), cast(Any, NoMail())
        clock.advance(1_700_000_000)
        renewal = Renewal(
            nothing, nothing, nothing, nothing, cast(IJournal, journal), clock, Random(1), WALKS_PER_LEASE * DAY_S
        )
        running = Deferred.fromCoroutine(renewal.run())
        self.assertEqual(1, nothing.walks)
        clock.pump([3600.0] * 24)
        self.assertGreaterEqual(nothing.walks, 3)
        journal.full = False
        clock.pump([3600.0] * 12)
        walks = nothing.walks
        clock.pump([3600.0] * 10)
        self.assertEqual(walks, nothing.walks)
        self.assertNoResult(running)
        running.addErrback(lambda failure: failure.trap(CancelledError))
        running.cancel()

    def test_shorter(self) -> None:
        """
        Leases that become shorter are renewed as often as they need, from the next day on.
        """
        clock, journal, nothing = Clock(), FakeJournal(), cast(Any, NoMail())
        clock.advance(1_700_000_000)
        renewal = Renewal(nothing, nothing, nothing, nothing, cast(IJournal, journal), clock, Random(1), 800 * DAY_S)
        running = Deferred.fromCoroutine(renewal.run())
        clock.pump([3600.0] * 24 * 10)
        self.assertEqual(1, nothing.walks)
        renewal.lease_s = 12 * DAY_S
        clock.pump([3600.0] * 24 * 10)
        self.assertIn(nothing.walks, (4, 5))
        running.addErrback(lambda failure: failure.trap(CancelledError))
        running.cancel()


class RenewalTests(SynchronousTestCase):
    """
    Tests in a world whose leases are short, but for the first lease of mail, which is never that short.
    """

    def setUp(self) -> None:
        self.world = World(5, skew_s=0.0, mail_s=DAY_S, head_s=DAY_S, pending_s=3600)
        self.addCleanup(self.world.end)
        self.world.start()

    def test_renewed(self) -> None:
        """
        All that mailboxes refer to (skeletons, parts, manifests and their pieces, the log) is kept for a lease more,
        several times within each; what nothing refers to is not.
        """
        world = self.world
        world.finish(world.send("alice", ["bob"], LARGE))
        orphan = world.do(world.node("node3").secure_store.store(b"of nobody", Lease(StorageClass.MAIL, MAIL_S)))
        referred = self.referred("alice") | self.referred("bob")
        # A manifest with its pieces, and a skeleton, of the copy in Sent as well, and two heads.
        self.assertGreater(len(referred), 6)
        before = expiries(world)
        self.assertGreater(before.keys(), referred)
        # Mail is kept for long at first: go to where only half a day of that is left.
        self.jump(MAIL_S - DAY_S / 2)
        for _ in range(2):
            world.clock.advance(0.4 * DAY_S)
            after = expiries(world)
            self.assertEqual(set(), {handle for handle in referred if after[handle] < self.now() + DAY_S / 2})
            self.assertEqual(set(), {handle for handle in referred if after[handle] <= before[handle]})
            self.assertEqual(before[orphan.handle], after[orphan.handle])
            before = after

    def test_away(self) -> None:
        """
        A walk that was missed, because the computer was off, is made up for when it is on again.
        """
        world = self.world
        world.finish(world.send("alice", ["alice"], LARGE[:300]))
        referred = self.referred("alice")
        world.finish(world.machines["node1"].stop())
        self.jump(MAIL_S - DAY_S / 8)
        world.start("node1")
        world.clock.advance(600)
        after = expiries(world)
        self.assertGreater(len(referred), 1)
        self.assertEqual(set(), {handle for handle in referred if after[handle] < self.now() + 0.9 * DAY_S})

    def now(self) -> float:
        """
        By the clocks of the machines, which agree.
        """
        return self.world.machines["node3"].clock.seconds()

    def jump(self, seconds: float) -> None:
        """
        All clocks are set ahead.
        """
        for machine in self.world.machines.values():
            machine.clock.skew_s += seconds
        self.world.clock.advance(60)

    def referred(self, user: str) -> set[int]:
        """
        The handles of all that the mailbox of C{user} needs.
        """
        world = self.world
        home = world.home(user).node
        assert home is not None
        opened = home.accounts.opened[f"{user}@example.org"]
        handles = list(world.do(opened.log.handles()))
        for entry in opened.mailbox.state.by_key.values():
            handles += world.do(opened.mailbox.letters.handles(entry.message))
        return set(handles)

    def test_incomplete(self) -> None:
        """
        A walk on which too little of the ring answers does not count.
        """
        world = self.world
        world.finish(world.send("alice", ["alice"], LARGE[:300]))
        home = world.node("node1").accounts.opened["alice@example.org"]
        for name in ("node2", "node3", "node4", "node5"):
            world.machines[name].crash()
        world.clock.advance(DAY_S / 2)
        last = int.from_bytes(home.journal.value("renewed") or b"", "big")
        self.assertLess(last, world.clock.seconds() - DAY_S / 4)
