"""
Tests for L{post.health.alerts}.
"""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from post.health.alerts import DISK_FULL, DISK_LOW, Alert, Level, alerts
from post.health.durability import Kind, Loss
from post.health.facts import Certificate, Disk, Facts, Issuance, Unasked
from tests.health.samples import ALICE, DAY_S, DURABILITY, FACTS, MAILBOX, NOW, facts


class AlertsTests(SynchronousTestCase):
    """
    Tests of L{alerts}.
    """

    def only(self, found: Facts) -> Alert:
        """
        The one thing that is wrong.
        """
        (alert,) = alerts(found)
        self.assertTrue(alert.what.endswith("."), alert.what)
        self.assertTrue(alert.cure.endswith("."), alert.cure)
        return alert

    def test_well(self) -> None:
        """
        Of a node that is as it should be nothing is said.
        """
        self.assertEqual([], alerts(FACTS))

    def test_ring(self) -> None:
        """
        Without a ring, without enough nodes to accept mail, and with fewer than there should be copies.
        """
        self.assertEqual("not-in-ring", self.only(facts(active=False)).name)
        refused = self.only(facts(others=1))
        self.assertEqual(("cannot-accept", Level.ALARM), (refused.name, refused.level))
        self.assertIn("2 other nodes, and 1 can be reached", refused.what)
        few = self.only(facts(others=1, minimum=1))
        self.assertEqual(("few-nodes", Level.WARNING), (few.name, few.level))
        self.assertIn("only 2 nodes, and 3 copies", few.what)

    def test_liar(self) -> None:
        """
        A node that provably lies is named, and who can do something about it.
        """
        told = self.only(facts(liars=("0a0b of carol@example.org",)))
        self.assertEqual(("proven-liar", Level.WARNING), (told.name, told.level))
        self.assertIn("0a0b of carol@example.org", told.what)
        self.assertIn("evidence", told.cure)

    def test_recovery(self) -> None:
        """
        Who has no recovery code, and could have one, is told how to make it.
        """
        known, other = FACTS.status.accounts
        lacking = facts(accounts=(known, msgspec.structs.replace(other, recovery="")))
        self.assertEqual([], alerts(lacking))
        told = self.only(msgspec.structs.replace(lacking, renews=True))
        self.assertEqual(("no-recovery-code", Level.WARNING, other.address), (told.name, told.level, told.address))

    def test_revocations(self) -> None:
        """
        A list of what is revoked that should have been replaced, with the cure of a node that asks the authority and of
        one that does not.
        """
        self.assertEqual([], alerts(msgspec.structs.replace(FACTS, revoked_until=int(NOW))))
        late = msgspec.structs.replace(FACTS, revoked_until=int(NOW) - 3 * DAY_S)
        told = self.only(late)
        self.assertEqual(("revocations-late", Level.WARNING), (told.name, told.level))
        self.assertIn("3 days ago", told.what)
        self.assertIn("post node update", told.cure)
        self.assertIn("authority is served", self.only(msgspec.structs.replace(late, renews=True)).cure)

    def test_policy(self) -> None:
        """
        A newer policy that is not in force before the next start.
        """
        told = self.only(facts(policy=3, policy_waiting=4))
        self.assertEqual(("policy-waits", Level.WARNING), (told.name, told.level))
        self.assertIn("Policy 4 is not in force here yet; 3 is", told.what)

    def logged(self, **found: object) -> Alert:
        """
        What is told of what the public log shows.
        """
        clean = Issuance(10, int(NOW))
        self.assertEqual([], alerts(msgspec.structs.replace(FACTS, issuance=clean)))
        return self.only(msgspec.structs.replace(FACTS, issuance=msgspec.structs.replace(clean, **found)))

    def test_certified_elsewhere(self) -> None:
        """
        A key, a recovery code and a machine that were not asked for are told of, each to whom it concerns, and how to
        say that one knows.
        """
        for kind, name, of, said, whose in (
            ("identity", ALICE, "7", f"Another key was certified for {ALICE}", ALICE),
            ("recovery", ALICE, "", f"A recovery code that was not made here was made known for {ALICE}", ALICE),
            ("node", "ab" * 20, ALICE, f"for a machine of {ALICE} (abababab)", ALICE),
            ("node", "ab" * 20, "office", "for a machine of office (abababab)", ""),
        ):
            alert = self.logged(unasked=(Unasked(7, kind, name, of, int(NOW)),))
            self.assertEqual(("certified-elsewhere", Level.ALARM, whose), (alert.name, alert.level, alert.address))
            self.assertIn(said, alert.what)
            self.assertIn("on 2023-11-14 22:13 UTC", alert.what)
            self.assertIn("post ca log --known 7", alert.cure)

    def test_public_log(self) -> None:
        """
        Another log, a shorter one, and a certificate that is not in it.
        """
        self.assertEqual(("log-split", Level.ALARM), (self.logged(split=1).name, self.logged(split=1).level))
        self.assertIn("shorter", self.logged(shorter=True).what)
        self.assertIn("of this node is not in", self.logged(unlogged=("",)).what)
        told = self.logged(unlogged=(ALICE,))
        self.assertEqual(("not-logged", Level.WARNING, ALICE), (told.name, told.level, told.address))

    def test_clock(self) -> None:
        """
        A clock that is wrong is said to be slow or fast, and how much; a little does not matter.
        """
        self.assertEqual([], alerts(facts(clock_ahead_s=None)))
        self.assertEqual([], alerts(facts(clock_ahead_s=-20.0)))
        slow = self.only(facts(clock_ahead_s=86400.0 * 3))
        self.assertEqual((Level.ALARM, True), (slow.level, "3 days behind those" in slow.what))
        fast = self.only(facts(clock_ahead_s=-60.0))
        self.assertEqual((Level.WARNING, True), (fast.level, "60 seconds ahead of those" in fast.what))

    def test_disk(self) -> None:
        """
        A disk is nearly full, and full; of a small one a share counts.
        """
        for total, free, level in (
            (100 << 30, DISK_LOW - 1, Level.WARNING),
            (100 << 30, DISK_FULL - 1, Level.ALARM),
            (10_000 << 30, 100 << 30, Level.WARNING),
        ):
            self.assertEqual(
                ("disk", level), (lambda alert: (alert.name, alert.level))(self.only(facts(disk=Disk(total, free))))
            )

    def test_certificates(self) -> None:
        """
        What ends is said weeks before, and what has ended, with whose it is and what to do.
        """
        soon = Certificate("identity", ALICE, int(NOW + 10 * DAY_S))
        by_hand = self.only(facts(certificates=(soon,)))
        self.assertEqual((ALICE, Level.WARNING), (by_hand.address, by_hand.level))
        self.assertIn("ends in 10 days", by_hand.what)
        self.assertIn("post ca renew-user", by_hand.cure)
        self.assertIn("by itself", self.only(facts(certificates=(soon,), renews=True)).cure)
        ended = self.only(facts(certificates=(Certificate("node", "", int(NOW - 1)),)))
        self.assertEqual((Level.ALARM, "node-ends"), (ended.level, ended.name))
        self.assertEqual([], alerts(facts(certificates=(Certificate("directory", "", int(NOW + 10 * DAY_S)),))))
        directory = self.only(facts(certificates=(Certificate("directory", "", int(NOW + DAY_S)),)))
        self.assertEqual(("directory-ends", Level.WARNING), (directory.name, directory.level))
        self.assertIn("mail.pem", self.only(facts(certificates=(Certificate("mail", "", int(NOW + DAY_S)),))).cure)

    def test_authority(self) -> None:
        """
        That the authority does not answer is said with the reason.
        """
        self.assertIn("no way", self.only(facts(authority_trouble="no way")).what)

    def test_mailbox(self) -> None:
        """
        What is wrong with one mailbox is its owner's affair.
        """
        for changed, name in (
            ({"open": False, "published": False}, "not-open"),
            ({"published": False}, "not-published"),
            ({"published": False, "trouble": "moved"}, "superseded"),
        ):
            alert = self.only(facts(mailboxes=(msgspec.structs.replace(MAILBOX, **changed),)))
            self.assertEqual((name, ALICE), (alert.name, alert.address))

    def test_durability(self) -> None:
        """
        Objects without a copy, with one copy, and with fewer than there should be, are told apart; so are those of
        which nobody could say.
        """

        def names(**changed: object) -> list[str]:
            found = msgspec.structs.replace(DURABILITY, **changed)
            return [
                alert.name for alert in alerts(facts(mailboxes=(msgspec.structs.replace(MAILBOX, durability=found),)))
            ]

        self.assertEqual(["short"], names(kinds=(Kind("messages", 2, {2: 1, 3: 1}),)))
        lost = (Kind("messages", 2, {0: 1, 3: 1}),)
        self.assertEqual(["missing"], names(kinds=lost, missing=1))
        self.assertEqual(["unknown"], names(kinds=lost, unknown=1))
        one = (Kind("messages", 2, {1: 1, 3: 1}),)
        self.assertEqual(["one-copy", "short"], names(kinds=one, losses=(Loss(1, 1, 1, ("ab",), True),)))

    def test_order(self) -> None:
        """
        The worst comes first.
        """
        found = alerts(facts(others=1, authority_trouble="no way"))
        self.assertEqual(["cannot-accept", "authority"], [alert.name for alert in found])
