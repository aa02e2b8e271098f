"""
Tests for L{post.gateway.greylist}.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.gateway import greylist
from post.gateway.greylist import PASSED_S, RETRY_S, Greylist
from tests.scratch import scratch

NOW = 1_800_000_000


class GreylistTests(SynchronousTestCase):
    """
    Tests of L{Greylist}, of which strangers have to wait for a minute.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.path: Path = scratch(self) / "greylist.sqlite"
        self.list = self.open()

    def open(self, delay_s: int = 60) -> Greylist:
        """
        The same list.
        """
        opened = Greylist(self.path, self.clock, delay_s)
        self.addCleanup(opened.close)
        return opened

    def passes(self, net: str = "192.0.2.1", sender: str = "eve@b.example", recipient: str = "alice@a.example") -> bool:
        """
        Whether it need not wait.
        """
        return self.list.passes(net, sender, recipient)

    def test_stranger(self) -> None:
        """
        Who is new waits; trying again at once does not help, and does not make it longer.
        """
        self.assertFalse(self.passes())
        self.clock.advance(59)
        self.assertFalse(self.passes())
        self.clock.advance(1)
        self.assertTrue(self.passes())

    def test_known(self) -> None:
        """
        Who has passed once need not wait again, whoever of that domain writes to whom from there; but from elsewhere.
        """
        self.passes()
        self.clock.advance(60)
        self.assertTrue(self.passes())
        self.assertTrue(self.passes(sender="Mallory@B.example", recipient="bob@a.example"))
        self.assertFalse(self.passes(net="192.0.2.2"))
        self.assertFalse(self.passes(sender="eve@c.example"))
        self.clock.advance(PASSED_S + 1)
        self.assertFalse(self.passes())

    def test_late(self) -> None:
        """
        Who comes again after days begins anew, as one whose clock was set back does.
        """
        self.passes()
        self.clock.advance(RETRY_S + 1)
        self.assertFalse(self.passes())
        self.clock.rightNow -= 2 * RETRY_S
        self.assertFalse(self.passes())
        self.clock.advance(60)
        self.assertTrue(self.passes())

    def test_restart(self) -> None:
        """
        A gateway that is started again knows whom it has put off.
        """
        self.passes()
        self.list.close()
        self.clock.advance(60)
        self.list = self.open()
        self.assertTrue(self.passes())

    def test_damaged(self) -> None:
        """
        A damaged or newer file is begun anew: nobody's mail depends on it.
        """
        self.list.close()
        self.path.write_bytes(b"no database at all, but something else" * 100)
        self.list = self.open()
        self.assertFalse(self.passes())
        self.list.close()
        with sqlite3.connect(self.path) as connection:
            connection.execute("PRAGMA user_version=9")
        connection.close()
        self.list = self.open()
        self.assertFalse(self.passes())

    def test_off(self) -> None:
        """
        Without a delay nobody waits.
        """
        self.list.close()
        self.list = self.open(0)
        self.assertTrue(self.passes())

    def test_bounded(self) -> None:
        """
        However many strangers come, no more are remembered than the limit; those heard of last are.
        """
        self.patch(greylist, "ROWS_LIMIT", 100)
        for number in range(500):
            self.clock.advance(1)
            self.list.passes(f"192.0.2.{number}", "eve@b.example", "alice@a.example")
        connection = sqlite3.connect(self.path)
        self.addCleanup(connection.close)
        (rows,) = connection.execute("SELECT count(*) FROM seen").fetchone()
        self.assertLessEqual(rows, 111)
        self.clock.advance(60)
        self.assertTrue(self.list.passes("192.0.2.499", "eve@b.example", "alice@a.example"))
